"""Delay laws whose tails may be heavier than any exponential: Weibull, Lomax, Pareto and lognormal."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special

from abs_theory.checks import check_positive
from abs_theory.delays.base import Ageing, Array, Delay, Shifted, Size, at_the_ends, positive, quantile
from abs_theory.delays.numerics import moments


@dataclass(frozen=True)
class Weibull(Delay):
    """P(X > t) = exp(-(t / scale) ** shape); heavier than exponential for ``shape`` < 1.

    >>> Weibull(scale=1.0, shape=0.5).mean, Weibull(scale=1.0, shape=0.5).ageing
    (2.0, 'decreasing')
    """

    scale: float  #: seconds, > 0; a share 1/e of the tasks takes longer
    shape: float  #: > 0; the hazard rate decreases for a shape < 1 and increases for a shape > 1

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

    @quantile
    def ppf(self, q: Array) -> Array:
        return self.scale * (-np.log1p(-q)) ** (1 / self.shape)

    @quantile
    def isf(self, q: Array) -> Array:
        return self.scale * (-np.log(q)) ** (1 / self.shape)

    @cached_property
    def mean(self) -> float:
        return self.scale * float(special.gamma(1 + 1 / self.shape))

    @cached_property
    def var(self) -> float:
        return float(self.mean * self.mean * special.expm1(_log_gamma_curvature(1 / self.shape)))

    @cached_property
    def ageing(self) -> Ageing:
        return "constant" if self.shape == 1 else "increasing" if self.shape > 1 else "decreasing"

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
    """P(X > t) = (1 + t / scale) ** -index: a power-law tail from 0 on.

    log(1 + X / scale) is exponential, so the order statistics are products over i = n-k+1..n of
    independent powers, and E[1 + X_(k) / scale] = product of 1 / (1 - 1 / (index i)).
    Source: Renyi (1953) for the representation; infinite unless index (n - k + 1) > 1 (variance: > 2).

    >>> Lomax(scale=1.0, index=2.0).mean, Lomax(scale=1.0, index=0.9).mean
    (1.0, inf)
    """

    scale: float  #: seconds, > 0
    index: float  #: exponent of the tail, > 0; the mean is finite above 1, the variance above 2

    def _check(self) -> None:
        check_positive("scale", self.scale)
        check_positive("index", self.index)

    def cdf(self, t: ArrayLike) -> Array:
        return -np.expm1(-self.index * np.log1p(positive(t) / self.scale))

    @at_the_ends
    def sf(self, t: ArrayLike) -> Array:
        return np.exp(-self.index * np.log1p(positive(t) / self.scale))

    @quantile
    def ppf(self, q: Array) -> Array:
        return self.scale * np.expm1(-np.log1p(-q) / self.index)

    @quantile
    def isf(self, q: Array) -> Array:
        return self.scale * np.expm1(-np.log(q) / self.index)

    @cached_property
    def mean(self) -> float:
        return self.mean_order_statistic(1, 1)

    @cached_property
    def var(self) -> float:
        return self.var_order_statistic(1, 1)

    @cached_property
    def ageing(self) -> Ageing:
        return "decreasing"

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
    """P(X > t) = (t / minimum) ** -index for t > ``minimum``: a Lomax law shifted by its scale.

    >>> Pareto(minimum=1.0, index=2.0).mean
    2.0
    """

    minimum: float  #: seconds, > 0
    index: float  #: exponent of the tail, > 0; the mean is finite above 1, the variance above 2

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
    """exp of a normal variable with mean log(``median``) and standard deviation ``sigma``.

    Moments of order statistics are integrals over the normal variable, computed in logarithms.  The times that
    determine a moment may be too large for floating point even where the moment is not.

    >>> round(LogNormal(median=1.0, sigma=1.0).mean, 4)  # exp(1/2)
    1.6487
    """

    median: float  #: seconds, > 0
    sigma: float  #: standard deviation of the logarithm, > 0

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

    @quantile
    def ppf(self, q: Array) -> Array:
        return self.median * np.exp(self.sigma * special.ndtri(q))

    @quantile
    def isf(self, q: Array) -> Array:
        return self.median * np.exp(-self.sigma * special.ndtri(q))

    @cached_property
    @at_the_ends
    def mean(self) -> float:
        return float(self.median * np.exp(self.sigma * self.sigma / 2))

    @cached_property
    @at_the_ends
    def var(self) -> float:
        return float(self.mean * self.mean * np.expm1(self.sigma * self.sigma))

    @cached_property
    def ageing(self) -> Ageing:
        return "neither"

    @at_the_ends
    def sample(self, rng: np.random.Generator, size: Size = None) -> Array:
        return self.median * np.exp(self.sigma * rng.standard_normal(size))

    @at_the_ends
    def integrated_tail(self, t: ArrayLike) -> Array:
        upper = np.exp(self.sigma * self.sigma / 2 + special.log_ndtr(self.sigma - self._z(t)))
        return self.median * upper - np.minimum(t, 1e300) * self.sf(t)

    def mean_order_statistic(self, k: int, n: int) -> float:
        z, log_weight = _normal_order_statistic(k, n, self.sigma)
        return self._checked(_log_sum_exp(log_weight + self.sigma * z), 1, k, n)

    def var_order_statistic(self, k: int, n: int) -> float:
        z, log_weight = _normal_order_statistic(k, n, 2 * self.sigma)
        y = self.sigma * (z - np.exp(log_weight) @ z)
        is_narrow = y.max() < 1  # then expm1 keeps the digits of X - E[X]
        log_mean = np.log1p(np.exp(log_weight) @ np.expm1(y)) if is_narrow else _log_sum_exp(log_weight + y)
        excess = y - log_mean  # log X / E[X]
        log_mean += self.sigma * z[0] - y[0]
        with np.errstate(divide="ignore"):
            log_excess = np.where(excess > 30, excess, np.log(abs(np.expm1(np.minimum(excess, 30)))))
        return self._checked(float(2 * log_mean + _log_sum_exp(log_weight + 2 * log_excess)), 2, k, n)

    def mean_order_statistics(self, n: int) -> Array:
        if self.sigma < 1:
            return super().mean_order_statistics(n)
        first, last = special.ndtri(1e-18 / n) - 42 / self.sigma, max(self.sigma, 9.0) + 10
        step = 0.3 / math.sqrt(n + 8)
        z = np.arange(first, last, step)
        log_weight = self.sigma * z + math.log(self.median * step * self.sigma)
        with np.errstate(over="ignore"):
            spacing = moments.spacings(log_weight, special.log_ndtr(z), special.log_ndtr(-z), n)
        if not np.isfinite(spacing).all():
            raise ArithmeticError(f"mean order statistics of {n} draws from {self} are too large for floating point")
        return np.cumsum(spacing)

    def _checked(self, log_moment: float, order: int, k: int, n: int) -> float:
        log_moment += order * math.log(self.median)
        if log_moment > 709:
            raise ArithmeticError(
                f"moment {order} of the {k}-th of {n} draws from {self} is too large for floating point"
            )
        return math.exp(log_moment)


def _log_sum_exp(x: Array) -> float:
    top = float(x.max())
    return top + math.log(float(np.exp(x - top).sum()))


def _normal_order_statistic(k: int, n: int, tilt: float) -> tuple[Array, Array]:
    """Nodes z and their log weights for means under the k-th of n normal draws Z of g(Z) up to exp(``tilt`` z).

    The normal density, cdf and sf are log-concave, so the weight has one peak, with and without the factor.  For such
    bell-shaped weights the trapezoid rule converges geometrically.
    """

    def log_weight(z: Any) -> Any:
        return (k - 1) * special.log_ndtr(z) + (n - k) * special.log_ndtr(-z) - z * z / 2

    def bell(tilt: float) -> tuple[float, float]:
        def slope(z: float) -> float:
            log_density = -z * z / 2 - math.log(2 * math.pi) / 2
            late, early = math.exp(log_density - special.log_ndtr(z)), math.exp(log_density - special.log_ndtr(-z))
            return (k - 1) * late - (n - k) * early - z + tilt

        peak = float(optimize.brentq(slope, -60.0, tilt + 60.0))  # pyright: ignore[reportArgumentType]

        def above_floor(z: float) -> float:
            return log_weight(z) - log_weight(peak) + tilt * (z - peak) + 42

        ends = [optimize.brentq(above_floor, peak, peak + d, xtol=1e-3 / math.sqrt(n)) for d in (-10.0, 10.0)]
        return float(ends[0]), float(ends[1])  # pyright: ignore[reportArgumentType]

    low, high = zip(bell(0.0), bell(tilt), strict=True)
    step = min(high[0] - low[0], high[1] - low[1]) / 96
    z = np.arange(low[0], high[1] + step, step)
    weight = log_weight(z)
    return z, weight - _log_sum_exp(weight)
