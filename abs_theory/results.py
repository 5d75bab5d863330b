"""What the theory and the simulations report: a mean with its error, and the steady state of a server."""

import math
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from abs_theory.checks import check_count

__all__ = ["Estimate", "SteadyState"]

_LAWS = ("staleness_pmf", "participation")  # fields with one more axis than the grid


@dataclass(frozen=True)
class Estimate:
    """A mean over independent samples, with its standard error."""

    mean: float  #: of the samples
    stderr: float  #: its standard error
    num_samples: int  #: independent samples

    @classmethod
    def of(cls, values: ArrayLike) -> Self:
        """Estimate from independent ``values``, at least two; the law must have a finite variance."""
        values = np.asarray(values, dtype=float)
        check_count("the number of values", values.size, minimum=2)
        return cls(float(values.mean()), float(values.std(ddof=1) / math.sqrt(values.size)), values.size)

    def half_width(self, confidence: float = 0.95) -> float:
        """Half the width of the confidence interval, by Student's t."""
        return float(stats.t.isf((1 - confidence) / 2, self.num_samples - 1)) * self.stderr

    def _repr_html_(self) -> str:
        """For Jupyter."""
        return f"{self.mean:.5g} &plusmn; {self.half_width():.2g} (95 %, {self.num_samples} samples)"


@dataclass(frozen=True, eq=False)
class SteadyState:
    """Long-run averages of a server that runs ABS for ever, per round (one update) unless said otherwise.

    Each field is a float, or an array over a grid of ``k`` and ``max_staleness``; ``staleness_pmf`` has one more axis,
    the staleness 0, 1, ..., whose last entry is the probability of that staleness *or more*.  ``error`` holds the
    half-widths of the same fields: 0 where exact, 95 % if by Monte Carlo, the documented error if by mean field.
    """

    round_time: Any  #: mean seconds from one update to the next
    mean_staleness: Any  #: of the gradients the server applies
    staleness_pmf: NDArray[np.float64]  #: probabilities of the staleness of such a gradient
    restarts: Any  #: workers told to start again
    uplinks: Any  #: gradients sent to the server
    downlinks: Any  #: models sent to workers
    idle_fraction: Any  #: share of worker time spent waiting for the round to end
    wasted_fraction: Any  #: share of worker time thrown away by restarts
    participation: Any = None  #: gradients each worker delivers per round, shape (..., n)
    method: Any = None  #: by which each cell was computed
    error: Any = None  #: half-widths of the same fields, a SteadyState

    def to_frame(self) -> pd.DataFrame:
        """One row per cell of the grid, in the order of its raveled arrays; with each result its half-width."""
        names = [field.name for field in fields(self) if field.name not in (*_LAWS, "method", "error")]
        columns: dict[str, Any] = {}
        for name in names:
            columns[name] = np.ravel(getattr(self, name))
            if self.error is not None:
                columns[f"{name} ±"] = np.ravel(getattr(self.error, name))
        if self.method is not None:
            columns["method"] = np.ravel(self.method)
        return pd.DataFrame(columns)

    def plot(self, ax: Any = None) -> Any:
        """Draw the law of the staleness, with its half-widths, and return the matplotlib axes.

        Raises ValueError for a grid.
        """
        if self.staleness_pmf.ndim > 1:
            raise ValueError(f"a plot shows one cell, this is a grid of shape {self.staleness_pmf.shape[:-1]}")
        if ax is None:
            from matplotlib import pyplot  # here, because the theory itself draws nothing

            ax = pyplot.subplots(figsize=(5, 2.5), layout="constrained")[1]
        half = None if self.error is None else self.error.staleness_pmf
        ax.bar(np.arange(self.staleness_pmf.size), self.staleness_pmf, yerr=half, capsize=2)
        ax.xaxis.get_major_locator().set_params(integer=True)
        last = "; the last bar: or more" if self._staler_than_drawn() else ""
        ax.set(xlabel=f"staleness (updates{last})", ylabel="share of gradients")
        return ax

    def _staler_than_drawn(self) -> bool:
        """Whether the last entry of one cell's law stands for staler gradients as well.

        Restarts show that there is a bound.  The law then ends at it, unless it was cut before, which makes its mean
        less than the mean staleness.  Without restarts nothing limits the staleness; but there is no more where all
        gradients have the last one, as with K = n, or none has.
        """
        law, mean = self.staleness_pmf, float(self.mean_staleness)
        if float(self.restarts) == 0:
            return bool(0 < law[-1] < 1)
        return bool(law @ np.arange(law.size) < mean * (1 - 1e-6))

    def _repr_html_(self) -> str:
        """For Jupyter: of one cell a column of numbers, of a grid a row for each."""
        frame = self.to_frame()
        if len(frame) > 1:
            return frame.to_html(float_format="{:.4g}".format)
        values: dict[str, Any] = {str(name): column[0] for name, column in frame.items()}
        rows = [(name.replace("_", " "), value, values.get(f"{name} ±", "")) for name, value in values.items()]
        table = pd.DataFrame([row for row in rows if "±" not in row[0]], columns=["per round", "", "±"])
        return table.to_html(index=False, float_format="{:.4g}".format)
