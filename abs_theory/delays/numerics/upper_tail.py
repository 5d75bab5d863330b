"""Upper tails of laws, such as scipy's, whose sf is computed as 1 - cdf, which has no digits left below 1e-16."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from abs_theory.delays.numerics.density_tail import density_tail
from abs_theory.typing import Array, Law

__all__ = ["BEGINS", "DensityLaw", "Tail", "upper_tail"]


BEGINS = 1e-3  # P(X > t) from which the tail is taken elsewhere: 1 - cdf still has 13 digits there
ROUNDED = np.array([1e-6, 3e-7, 1e-7, 3e-8, 1e-8, 3e-9, 1e-9])  # where 1 - cdf shows as a multiple of 2^-53
LIGHT_INDEX = 8.0  # what lies beyond 1e-16 of a tail that falls faster is less than 1e-12 of the variance
SETTLED_INDEX = 1e-4  # relative difference between the indices at two times of a tail that has become a power law


class DensityLaw(Law, Protocol):
    """A law with a density, as a frozen continuous distribution of scipy."""

    def pdf(self, t: ArrayLike, /) -> Array:
        """The density."""
        ...

    def support(self) -> tuple[float, float]:
        """The smallest and the largest possible time."""
        ...


class Tail(Protocol):
    """P(X > t) beyond a time."""

    @property
    def first(self) -> float:
        """The time from which the tail holds."""
        ...

    def __call__(self, t: Array, /) -> Array:
        """P(X > t)."""
        ...


@dataclass(frozen=True)
class PowerTail:
    """P(X > t) = ``probability`` ((t - ``start``) / (``first`` - ``start``))^-``index`` for t >= ``first``."""

    first: float  #: the time at which the tail begins
    start: float  #: the time at which the law begins
    probability: float  #: P(X > first)
    index: float  #: of the power law

    def __call__(self, t: Array) -> Array:
        """P(X > t), shape of ``t``."""
        ratio = (np.maximum(t, self.first) - self.start) / (self.first - self.start)
        return self.probability * ratio**-self.index


def upper_tail(law: DensityLaw) -> Tail | None:
    """The tail of ``law`` to be used instead of its sf; None where this is accurate, or the law has an end.

    The integral of the density, or else the power law that sf has become before it loses its digits.  Raises
    ArithmeticError if neither is known and the tail is heavy.
    """
    start, end = map(float, law.support())
    if not math.isinf(end):
        return None
    times = np.asarray(law.isf(ROUNDED), float)
    probabilities = np.asarray(law.sf(times), float)
    units = probabilities * 2.0**53
    if not (np.all(np.isfinite(times)) and np.allclose(units, np.rint(units), rtol=1e-14, atol=0)):
        return None
    try:
        first = float(law.isf(BEGINS))
        return density_tail(law.pdf, start, first, float(law.sf(first)))
    except ArithmeticError:
        pass
    with np.errstate(divide="ignore", invalid="ignore"):
        early, late = (
            -math.log(probabilities[j] / probabilities[i]) / math.log((times[j] - start) / (times[i] - start))
            for i, j in ((0, 2), (2, 4))
        )
    if math.isclose(early, late, rel_tol=SETTLED_INDEX):
        return PowerTail(float(times[4]), start, float(probabilities[4]), late)
    if late < LIGHT_INDEX:
        raise ArithmeticError(
            f"the upper tail is heavy (index about {late:.3g} at P(X > t) = 1e-8), and scipy knows neither P(X > t) "
            "nor the density far out; define _sf in the distribution, or use Empirical with samples"
        )
    return None
