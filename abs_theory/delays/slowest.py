"""The slowest of several independent tasks, such as the answers to one prompt."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from abs_theory.checks import check_count, explains_types
from abs_theory.delays.base import Ageing, Array, Delay, Size, quantile
from abs_theory.delays.from_scipy import as_delay
from abs_theory.delays.numerics.ageing import numerical_ageing
from abs_theory.typing import DelayLike


@explains_types
@dataclass(frozen=True)
class Slowest(Delay):
    """The largest of ``count`` independent draws: P(X <= t) is the ``count``-th power of that of one draw.

    A group is done when its slowest task is.  If the tasks of a group resemble each other, use a Mixture of such laws.

    >>> from abs_theory.delays import Exponential
    >>> round(Slowest(Exponential(mean=1.0), count=3).mean, 4)  # 1 + 1/2 + 1/3
    1.8333
    """

    delay: DelayLike  #: law of one draw
    count: int  #: draws

    def _check(self) -> None:
        check_count("count", self.count)
        object.__setattr__(self, "delay", as_delay(self.delay))

    @property
    def _law(self) -> Delay:
        return as_delay(self.delay)

    def cdf(self, t: ArrayLike) -> Array:
        return np.asarray(self._law.cdf(t) ** self.count)

    @np.errstate(divide="ignore")
    def sf(self, t: ArrayLike) -> Array:
        return -np.expm1(self.count * np.log1p(-self._law.sf(t)))

    @quantile
    def ppf(self, q: Array) -> Array:
        high = q > 0.5
        near = -np.expm1(np.log1p(-np.where(high, 1 - q, 0.0)) / self.count)
        return np.where(high, self._law.isf(near), self._law.ppf(np.where(high, 0.5, q) ** (1 / self.count)))

    @quantile
    def isf(self, q: Array) -> Array:
        return self._law.isf(-np.expm1(np.log1p(-q) / self.count))

    @cached_property
    def has_atoms(self) -> bool:
        return self._law.has_atoms

    @cached_property
    def lattice(self) -> float:
        return self._law.lattice

    @cached_property
    def breaks(self) -> tuple[float, ...]:
        return self._law.breaks

    @cached_property
    def resolution(self) -> float:
        return self.count * self._law.resolution

    @cached_property
    def ageing(self) -> Ageing:
        """That of one draw if it is increasing (Barlow & Proschan 1975) or alone; otherwise found on a fine grid."""
        law = self._law
        if self.count == 1 or (law.ageing == "increasing" and not law.has_atoms):
            return law.ageing
        return "increasing" if law.ageing == "constant" else numerical_ageing(self)

    @cached_property
    def mean(self) -> float:
        return float(self._law.mean_order_statistic(self.count, self.count))

    @cached_property
    def var(self) -> float:
        return float(self._law.var_order_statistic(self.count, self.count))

    def sample(self, rng: np.random.Generator, size: Size = None) -> Array:
        return self.ppf(rng.random(size))

    def mean_order_statistic(self, k: int, n: int) -> float:
        largest = k == n and math.isfinite(self.mean)
        if largest:
            return float(self._law.mean_order_statistic(n * self.count, n * self.count))
        return super().mean_order_statistic(k, n)
