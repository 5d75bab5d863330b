"""Types that all rooms share: arrays, and what is asked of a delay law.

The numerics ask for no more than the protocols here, so they do not know the classes of laws.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Array", "DelayLike", "Law", "Laws", "PiecewiseLaw"]

Array = NDArray[np.float64]


class Law(Protocol):
    """A distribution on [0, inf) whose four functions are accurate in their own tail."""

    def cdf(self, t: ArrayLike, /) -> Array:
        """P(X <= t)."""
        ...

    def sf(self, t: ArrayLike, /) -> Array:
        """P(X > t)."""
        ...

    def ppf(self, q: ArrayLike, /) -> Array:
        """The least t with P(X <= t) >= q."""
        ...

    def isf(self, q: ArrayLike, /) -> Array:
        """The least t with P(X > t) <= q."""
        ...


class PiecewiseLaw(Law, Protocol):
    """A law that is smooth between its breaks."""

    @cached_property
    def breaks(self) -> tuple[float, ...]:
        """Times where the cdf is not smooth, in order; the first is where the law begins."""
        ...

    @cached_property
    def has_atoms(self) -> bool:
        """Whether single times have a probability of their own."""
        ...

    @cached_property
    def resolution(self) -> float:
        """Relative accuracy of cdf and sf."""
        ...


DelayLike = Law  # a law of ``abs_theory.delays``, or any frozen distribution of scipy
Laws = DelayLike | Sequence[DelayLike]  # one law for all workers, or one for each
