"""What the theory and the simulations report: a mean with its error, and the steady state of a server."""

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from abs_theory.checks import check_count

__all__ = ["Estimate", "SteadyState"]


@dataclass(frozen=True)
class Estimate:
    """A mean over independent samples, with its standard error."""

    mean: float
    stderr: float
    num_samples: int

    @classmethod
    def of(cls, values: ArrayLike) -> Self:
        """Estimate from independent ``values``, at least two; the law must have a finite variance."""
        values = np.asarray(values, dtype=float)
        check_count("the number of values", values.size, minimum=2)
        return cls(float(values.mean()), float(values.std(ddof=1) / math.sqrt(values.size)), values.size)

    def half_width(self, confidence: float = 0.95) -> float:
        """Half the width of the confidence interval, by Student's t."""
        return float(stats.t.isf((1 - confidence) / 2, self.num_samples - 1)) * self.stderr


@dataclass(frozen=True, eq=False)
class SteadyState:
    """Long-run averages of a server that runs ABS for ever, per round (one update) unless said otherwise.

    Each field is a float, or an array over a grid of ``k`` and ``max_staleness``; ``staleness_pmf`` has one more axis,
    the staleness 0, 1, ..., whose last entry is the probability of that staleness *or more*.  ``error`` holds the
    half-widths of the same fields: 0 where exact, 95 % if by Monte Carlo, the documented bound if by mean field.
    """

    round_time: Any
    mean_staleness: Any  # of the gradients the server applies
    staleness_pmf: NDArray[np.float64]
    restarts: Any
    uplinks: Any
    downlinks: Any
    idle_fraction: Any  # share of worker time spent waiting for the round to end
    wasted_fraction: Any  # share of worker time thrown away by restarts
    participation: Any = None  # gradients each worker delivers per round, shape (..., n)
    method: Any = None
    error: Any = None  # a SteadyState
