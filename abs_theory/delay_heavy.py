"""Delay laws that may have tails heavier than any exponential: Weibull, Lomax, Pareto and lognormal."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from abs_theory.checks import check_positive
from abs_theory.delay_base import Array, Delay, Shifted, Size, at_the_ends, positive


@dataclass(frozen=True)
class Weibull(Delay):
    """P(X > t) = exp(-(t / scale) ** shape); heavier than exponential for ``shape`` < 1."""

    scale: float
    shape: float

    def _check(self) -> None:
        check_positive("scale", self.scale)
        check_positive("shape", self.shape)

    @at_the_ends
    def _hazard(self, t: ArrayLike) -> Array:
        """Cumulative hazard, -log sf."""
        return (positive(t) / self.scale) ** self.shape

    def cdf(self, t: ArrayLike) -> Array:
        return -np.expm1(-self._hazard(t))

    @at_the_ends
    def sf(self, t: ArrayLike) -> Array:
        return np.exp(-self._hazard(t))

    @at_the_ends
    def ppf(self, q: ArrayLike) -> Array:
        return self.scale * (-np.log1p(-np.asarray(q))) ** (1 / self.shape)

    @at_the_ends
    def isf(self, q: ArrayLike) -> Array:
        return self.scale * (-np.log(q)) ** (1 / self.shape)

    @cached_property
    def mean(self) -> float:
        return self.scale * float(special.gamma(1 + 1 / self.shape))

    @cached_property
    def var(self) -> float:
        return float(self.mean * self.mean * special.expm1(_log_gamma_curvature(1 / self.shape)))

    def sample(self, rng: np.random.Generator, size: Size = None) -> Array:
        return self.scale * rng.weibull(self.shape, size)

    def integrated_tail(self, t: ArrayLike) -> Array:
        return self.mean * special.gammaincc(1 / self.shape, self._hazard(t)) - np.minimum(t, 0.0)


def _log_gamma_curvature(e: float) -> float:
    """log Gamma(1 + 2e) - 2 log Gamma(1 + e), by its Taylor series (zeta values) where that would cancel."""
    if e > 0.1:
        return float(special.gammaln(1 + 2 * e) - 2 * special.gammaln(1 + e))
    j = np.arange(2, 40)
    return float(np.sum(special.zeta(j) * (-e) ** j * (2.0**j - 2) / j))


@dataclass(frozen=True)
class Lomax(Delay):
    """P(X > t) = (1 + t / scale) ** -index: a power tail that starts at 0.

    log(1 + X / scale) is exponential, so the order statistics are products over i = n-k+1..n of
    independent powers, and E[1 + X_(k) / scale] = product of 1 / (1 - 1 / (index i)).
    Source: Renyi (1953) for the representation; infinite unless index (n - k + 1) > 1 (variance: > 2).
    """

    scale: float
    index: float

    def _check(self) -> None:
        check_positive("scale", self.scale)
        check_positive("index", self.index)

    def cdf(self, t: ArrayLike) -> Array:
        return -np.expm1(-self.index * np.log1p(positive(t) / self.scale))

    @at_the_ends
    def sf(self, t: ArrayLike) -> Array:
        return np.exp(-self.index * np.log1p(positive(t) / self.scale))

    @at_the_ends
    def ppf(self, q: ArrayLike) -> Array:
        return self.scale * np.expm1(-np.log1p(-np.asarray(q)) / self.index)

    @at_the_ends
    def isf(self, q: ArrayLike) -> Array:
        return self.scale * np.expm1(-np.log(q) / self.index)

    @cached_property
    def mean(self) -> float:
        return self.mean_order_statistic(1, 1)

    @cached_property
    def var(self) -> float:
        return self.var_order_statistic(1, 1)

    def sample(self, rng: np.random.Generator, size: Size = None) -> Array:
        return self.scale * rng.pareto(self.index, size)  # numpy's pareto is Lomax

    @at_the_ends
    def mean_order_statistic(self, k: int, n: int) -> float:
        s = 1 / (self.index * np.arange(n - k + 1, n + 1))
        return self.scale * float(np.expm1(-np.log1p(-s).sum())) if s[0] < 1 else math.inf

    @at_the_ends
    def mean_order_statistics(self, n: int) -> Array:
        s = 1 / (self.index * np.arange(n, 0, -1))
        finite = s < 1
        growth = np.where(finite, -np.log1p(-s, where=finite, out=np.zeros(n)), math.inf)
        return self.scale * np.expm1(np.cumsum(growth))

    @at_the_ends
    def var_order_statistic(self, k: int, n: int) -> float:
        s = 1 / (self.index * np.arange(n - k + 1, n + 1))
        if s[0] >= 0.5:
            return math.inf
        mean = self.scale * np.exp(-np.log1p(-s).sum())
        return float(mean**2 * np.expm1(np.log1p(s**2 / (1 - 2 * s)).sum()))

    @at_the_ends
    def integrated_tail(self, t: ArrayLike) -> Array:
        if self.index <= 1:
            return np.full(np.shape(t), math.inf)
        return self.mean * np.exp((1 - self.index) * np.log1p(positive(t) / self.scale)) - np.minimum(t, 0.0)


@dataclass(frozen=True)
class Pareto(Shifted):
    """P(X > t) = (t / minimum) ** -index for t > ``minimum``: a Lomax law moved by its scale."""

    minimum: float
    index: float

    def _check(self) -> None:
        check_positive("minimum", self.minimum)
        check_positive("index", self.index)

    @cached_property
    def fixed_part(self) -> float:
        return self.minimum

    @cached_property
    def random_part(self) -> Lomax:
        return Lomax(self.minimum, self.index)


@dataclass(frozen=True)
class LogNormal(Delay):
    """exp of a normal variable with mean log(``median``) and standard deviation ``sigma``."""

    median: float
    sigma: float

    def _check(self) -> None:
        check_positive("median", self.median)
        check_positive("sigma", self.sigma)

    @at_the_ends
    def _z(self, t: ArrayLike) -> Array:
        return np.log(positive(t) / self.median) / self.sigma

    def cdf(self, t: ArrayLike) -> Array:
        return special.ndtr(self._z(t))

    def sf(self, t: ArrayLike) -> Array:
        return special.ndtr(-self._z(t))

    @at_the_ends
    def ppf(self, q: ArrayLike) -> Array:
        return self.median * np.exp(self.sigma * special.ndtri(q))

    @at_the_ends
    def isf(self, q: ArrayLike) -> Array:
        return self.median * np.exp(-self.sigma * special.ndtri(q))

    @cached_property
    @at_the_ends
    def mean(self) -> float:
        return float(self.median * np.exp(self.sigma * self.sigma / 2))

    @cached_property
    @at_the_ends
    def var(self) -> float:
        return float(self.mean * self.mean * np.expm1(self.sigma * self.sigma))

    @at_the_ends
    def sample(self, rng: np.random.Generator, size: Size = None) -> Array:
        return self.median * np.exp(self.sigma * rng.standard_normal(size))

    @at_the_ends
    def integrated_tail(self, t: ArrayLike) -> Array:
        upper = np.exp(self.sigma * self.sigma / 2 + special.log_ndtr(self.sigma - self._z(t)))
        return self.median * upper - np.minimum(t, 1e300) * self.sf(t)
