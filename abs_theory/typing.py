"""Types that all rooms share: arrays, and what the numerics need of a delay law; places in ragged arrays.

The numerics use no more than the protocols here, so they do not depend on the classes of laws.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Array", "DelayLike", "Ints", "Law", "Laws", "PiecewiseLaw", "Size", "Values", "places_within"]

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Values = float | Array  # one number, or one for each cell of a grid
Size = int | tuple[int, ...] | None  # shape of a sample, as in numpy


class Law(Protocol):
    """A distribution on [0, inf) whose four functions are accurate in both tails."""

    def cdf(self, t: ArrayLike, /) -> Array:
        """P(X <= t)."""
        ...

    def sf(self, t: ArrayLike, /) -> Array:
        """P(X > t)."""
        ...

    def ppf(self, q: ArrayLike, /) -> Array:
        """The smallest t with P(X <= t) >= q."""
        ...

    def isf(self, q: ArrayLike, /) -> Array:
        """The smallest t with P(X > t) <= q."""
        ...


class PiecewiseLaw(Law, Protocol):
    """A law whose cdf is smooth between its breaks."""

    @cached_property
    def breaks(self) -> tuple[float, ...]:
        """Increasing times where the cdf is not smooth; the first and the last are the ends of the law."""
        ...

    @cached_property
    def has_atoms(self) -> bool:
        """Whether some single time has a positive probability."""
        ...

    @cached_property
    def resolution(self) -> float:
        """Relative accuracy of cdf and sf."""
        ...


DelayLike = Law  # a law of ``abs_theory.delays``, or any frozen distribution of scipy
Laws = DelayLike | Sequence[DelayLike]  # one law for all workers, or one law per worker


def places_within(counts: NDArray[np.integer]) -> NDArray[np.intp]:
    """0, ..., c - 1 for each c of ``counts``, one after another: the place of each entry in its own group."""
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
