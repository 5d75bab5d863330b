"""Delay laws: how long one worker needs for one task, in seconds.

Every law is a frozen value whose repr says all about it; it is defined by ``cdf``, ``sf``, ``ppf`` and ``isf``, each
accurate to its own far tail.  The rest follows by quadrature, and is overridden wherever a closed form is known.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from abs_theory import convolution, quadrature
from abs_theory.checks import check_count, check_nonnegative, check_positive

__all__ = [
    "Delay",
    "Deterministic",
    "Erlang",
    "Exponential",
    "Gamma",
    "HyperExponential",
    "LocalSteps",
    "LogNormal",
    "Lomax",
    "Pareto",
    "ShiftedExponential",
    "Uniform",
    "Weibull",
]

Array = NDArray[np.float64]
Size = int | tuple[int, ...] | None

# log(0) = -inf and exp(1000) = inf are the right answers at the ends of a law
at_the_ends = np.errstate(divide="ignore", over="ignore", under="ignore")


class Delay(ABC):
    """Law of the seconds one worker needs for one task."""

    def __post_init__(self) -> None:
        """Check, then make the parameters plain numbers, so that equal laws have one repr and it evaluates back."""
        self._check()
        for f in fields(self):  # pyright: ignore[reportArgumentType]
            if f.type in (int, float):
                object.__setattr__(self, f.name, f.type(getattr(self, f.name)))

    def _check(self) -> None:
        """Raise ValueError unless the parameters make a law."""

    @abstractmethod
    def cdf(self, t: ArrayLike) -> Array:
        """P(X <= t)."""

    @abstractmethod
    def sf(self, t: ArrayLike) -> Array:
        """P(X > t), accurate however small."""

    @abstractmethod
    def ppf(self, q: ArrayLike) -> Array:
        """Time t with P(X <= t) = q, accurate however small q is."""

    @abstractmethod
    def isf(self, q: ArrayLike) -> Array:
        """Time t with P(X > t) = q, accurate however small q is."""

    @property
    def has_atoms(self) -> bool:
        """Whether some single time has positive probability."""
        return False

    # A cached property, unlike a property, lets Exponential have a field of this name.
    @cached_property
    def mean(self) -> float:
        """E[X]; inf if infinite."""
        return quadrature.mean_order_statistic(self, 1, 1)

    @cached_property
    def var(self) -> float:
        """Var[X]; inf if infinite."""
        return quadrature.var_order_statistic(self, 1, 1)

    def sample(self, rng: np.random.Generator, size: Size = None) -> Array:
        """Independent draws, shape ``size``."""
        return self.ppf(rng.random(size))

    def mean_order_statistic(self, k: int, n: int) -> float:
        """E[X_(k)], the k-th smallest of ``n`` independent draws; inf if infinite."""
        return quadrature.mean_order_statistic(self, k, n)

    def mean_order_statistics(self, n: int) -> Array:
        """E[X_(1)], ..., E[X_(n)], shape ``n``."""
        return quadrature.mean_order_statistics(self, n)

    def var_order_statistic(self, k: int, n: int) -> float:
        """Var[X_(k)]; inf if infinite."""
        return quadrature.var_order_statistic(self, k, n)

    def integrated_tail(self, t: ArrayLike) -> Array:
        """E[(X - t)+], the integral of sf beyond ``t``; inf if the mean is."""
        return quadrature.integrated_tail(self, t)


def _positive(t: ArrayLike) -> Array:
    return np.maximum(t, 0.0)


@dataclass(frozen=True)
class Exponential(Delay):
    """P(X > t) = exp(-t / mean): the memoryless law.

    Its order statistics are sums of independent exponentials, X_(k) = mean * sum of E_i / i, i = n-k+1..n.
    Source: Renyi (1953).
    """

    mean: float = field()  # pyright: ignore

    def _check(self) -> None:
        check_positive("mean", self.mean)

    def cdf(self, t: ArrayLike) -> Array:
        return -np.expm1(-_positive(t) / self.mean)

    @at_the_ends
    def sf(self, t: ArrayLike) -> Array:
        return np.exp(-_positive(t) / self.mean)

    @at_the_ends
    def ppf(self, q: ArrayLike) -> Array:
        return -self.mean * np.log1p(-np.asarray(q))

    @at_the_ends
    def isf(self, q: ArrayLike) -> Array:
        return -self.mean * np.log(q)

    @cached_property
    def var(self) -> float:
        return self.mean**2

    def sample(self, rng: np.random.Generator, size: Size = None) -> Array:
        return self.mean * rng.standard_exponential(size)

    def mean_order_statistic(self, k: int, n: int) -> float:
        return self.mean * float(np.sum(1 / np.arange(n - k + 1, n + 1)))

    def mean_order_statistics(self, n: int) -> Array:
        return self.mean * np.cumsum(1 / np.arange(n, 0, -1))

    def var_order_statistic(self, k: int, n: int) -> float:
        return self.mean**2 * float(np.sum(np.arange(n - k + 1, n + 1) ** -2.0))

    def integrated_tail(self, t: ArrayLike) -> Array:
        return self.mean * self.sf(t) - np.minimum(t, 0.0)


class _Shifted(Delay):
    """``shift`` + a draw from the law ``base``."""

    shift: float
    base: Delay

    def cdf(self, t: ArrayLike) -> Array:
        return self.base.cdf(np.asarray(t) - self.shift)

    def sf(self, t: ArrayLike) -> Array:
        return self.base.sf(np.asarray(t) - self.shift)

    def ppf(self, q: ArrayLike) -> Array:
        return self.shift + self.base.ppf(q)

    def isf(self, q: ArrayLike) -> Array:
        return self.shift + self.base.isf(q)

    @property
    def has_atoms(self) -> bool:
        return self.base.has_atoms

    @cached_property
    def mean(self) -> float:
        return self.shift + self.base.mean

    @cached_property
    def var(self) -> float:
        return self.base.var

    def sample(self, rng: np.random.Generator, size: Size = None) -> Array:
        return self.shift + self.base.sample(rng, size)

    def mean_order_statistic(self, k: int, n: int) -> float:
        return self.shift + self.base.mean_order_statistic(k, n)

    def mean_order_statistics(self, n: int) -> Array:
        return self.shift + self.base.mean_order_statistics(n)

    def var_order_statistic(self, k: int, n: int) -> float:
        return self.base.var_order_statistic(k, n)

    def integrated_tail(self, t: ArrayLike) -> Array:
        return self.base.integrated_tail(np.asarray(t) - self.shift)


@dataclass(frozen=True)
class ShiftedExponential(_Shifted):
    """A fixed ``shift`` and an exponential part of mean ``scale``."""

    shift: float
    scale: float

    def _check(self) -> None:
        check_nonnegative("shift", self.shift)
        check_positive("scale", self.scale)

    @cached_property
    def base(self) -> Exponential:
        return Exponential(self.scale)


class _Gamma(Delay):
    """Density proportional to t^(shape - 1) exp(-t / scale)."""

    shape: float
    scale: float

    def cdf(self, t: ArrayLike) -> Array:
        return special.gammainc(self.shape, _positive(t) / self.scale)

    def sf(self, t: ArrayLike) -> Array:
        return special.gammaincc(self.shape, _positive(t) / self.scale)

    def ppf(self, q: ArrayLike) -> Array:
        return self.scale * special.gammaincinv(self.shape, q)

    def isf(self, q: ArrayLike) -> Array:
        return self.scale * special.gammainccinv(self.shape, q)

    @cached_property
    def mean(self) -> float:
        return self.shape * self.scale

    @cached_property
    def var(self) -> float:
        return self.shape * self.scale**2

    def sample(self, rng: np.random.Generator, size: Size = None) -> Array:
        return self.scale * rng.standard_gamma(self.shape, size)

    @at_the_ends
    def integrated_tail(self, t: ArrayLike) -> Array:
        a, x = self.shape, _positive(t) / self.scale
        density = np.exp(special.xlogy(a, x) - x - special.gammaln(a))  # times x
        return self.scale * ((a - x) * special.gammaincc(a, x) + density) - np.minimum(t, 0.0)


@dataclass(frozen=True)
class Gamma(_Gamma):
    """Density proportional to t^(shape - 1) exp(-t / scale)."""

    shape: float
    scale: float

    def _check(self) -> None:
        check_positive("shape", self.shape)
        check_positive("scale", self.scale)


@dataclass(frozen=True)
class Erlang(_Gamma):
    """Sum of ``steps`` independent exponentials of mean ``scale``."""

    steps: int
    scale: float

    def _check(self) -> None:
        check_count("steps", self.steps)
        check_positive("scale", self.scale)

    @cached_property
    def shape(self) -> float:
        return float(self.steps)


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
        return (_positive(t) / self.scale) ** self.shape

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
        return float(self.mean**2 * special.expm1(_log_gamma_curvature(1 / self.shape)))

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
        return -np.expm1(-self.index * np.log1p(_positive(t) / self.scale))

    @at_the_ends
    def sf(self, t: ArrayLike) -> Array:
        return np.exp(-self.index * np.log1p(_positive(t) / self.scale))

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
        return self.mean * self.sf(t) * (1 + _positive(t) / self.scale) - np.minimum(t, 0.0)


@dataclass(frozen=True)
class Pareto(_Shifted):
    """P(X > t) = (t / minimum) ** -index for t > ``minimum``: Pareto's first law, Lomax moved by its scale."""

    minimum: float
    index: float

    def _check(self) -> None:
        check_positive("minimum", self.minimum)
        check_positive("index", self.index)

    @cached_property
    def shift(self) -> float:
        return self.minimum

    @cached_property
    def base(self) -> Lomax:
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
        return np.log(_positive(t) / self.median) / self.sigma

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
        return float(self.median * np.exp(self.sigma**2 / 2))

    @cached_property
    @at_the_ends
    def var(self) -> float:
        return float(self.mean**2 * np.expm1(self.sigma**2))

    @at_the_ends
    def sample(self, rng: np.random.Generator, size: Size = None) -> Array:
        return self.median * np.exp(self.sigma * rng.standard_normal(size))

    @at_the_ends
    def integrated_tail(self, t: ArrayLike) -> Array:
        upper = np.exp(self.sigma**2 / 2 + special.log_ndtr(self.sigma - self._z(t)))
        return self.median * upper - t * self.sf(t)


@dataclass(frozen=True)
class Uniform(Delay):
    """Any time between ``low`` and ``high``, equally likely."""

    low: float
    high: float

    def _check(self) -> None:
        check_nonnegative("low", self.low)
        check_positive("high", self.high)
        if not self.low < self.high:
            raise ValueError(f"low must be < high (use Deterministic for a fixed time), got {self}")

    @property
    def _width(self) -> float:
        return self.high - self.low

    def cdf(self, t: ArrayLike) -> Array:
        return np.clip((np.asarray(t) - self.low) / self._width, 0.0, 1.0)

    def sf(self, t: ArrayLike) -> Array:
        return np.clip((self.high - np.asarray(t)) / self._width, 0.0, 1.0)

    def ppf(self, q: ArrayLike) -> Array:
        return self.low + self._width * np.asarray(q)

    def isf(self, q: ArrayLike) -> Array:
        return self.high - self._width * np.asarray(q)

    @cached_property
    def mean(self) -> float:
        return self.low + self._width / 2

    @cached_property
    def var(self) -> float:
        return self._width**2 / 12

    def sample(self, rng: np.random.Generator, size: Size = None) -> Array:
        return self.low + self._width * rng.random(size)

    def mean_order_statistic(self, k: int, n: int) -> float:
        return self.low + self._width * k / (n + 1)

    def mean_order_statistics(self, n: int) -> Array:
        return self.low + self._width * np.arange(1, n + 1) / (n + 1)

    def var_order_statistic(self, k: int, n: int) -> float:
        return self._width**2 * (k / (n + 1)) * ((n + 1 - k) / (n + 1)) / (n + 2)

    def integrated_tail(self, t: ArrayLike) -> Array:
        left = np.clip(self.high - np.asarray(t), 0.0, self._width)
        return left**2 / (2 * self._width) + _positive(self.low - np.asarray(t))


@dataclass(frozen=True)
class Deterministic(Delay):
    """Always ``value`` seconds."""

    value: float

    def _check(self) -> None:
        check_positive("value", self.value)

    @property
    def has_atoms(self) -> bool:
        return True

    def cdf(self, t: ArrayLike) -> Array:
        return np.asarray(np.asarray(t) >= self.value, float)

    def sf(self, t: ArrayLike) -> Array:
        return np.asarray(np.asarray(t) < self.value, float)

    def ppf(self, q: ArrayLike) -> Array:
        return np.full(np.shape(q), self.value)

    def isf(self, q: ArrayLike) -> Array:
        return np.full(np.shape(q), self.value)

    @cached_property
    def mean(self) -> float:
        return self.value

    @cached_property
    def var(self) -> float:
        return 0.0

    def sample(self, rng: np.random.Generator, size: Size = None) -> Array:
        return np.full(() if size is None else size, self.value)

    def mean_order_statistic(self, k: int, n: int) -> float:
        return self.value

    def mean_order_statistics(self, n: int) -> Array:
        return np.full(n, self.value)

    def var_order_statistic(self, k: int, n: int) -> float:
        return 0.0

    def integrated_tail(self, t: ArrayLike) -> Array:
        return _positive(self.value - np.asarray(t))


@dataclass(frozen=True)
class HyperExponential(Delay):
    """Exponential of mean ``means[i]`` with probability ``probs[i]``: mostly quick, now and then a long stall."""

    probs: Sequence[float]
    means: Sequence[float]

    def _check(self) -> None:
        for name in ("probs", "means"):
            values = tuple(np.asarray(getattr(self, name)).tolist())
            object.__setattr__(self, name, values)
            for i, value in enumerate(values):
                check_positive(f"{name}[{i}]", value)
        if len(self.probs) != len(self.means) or not math.isclose(math.fsum(self.probs), 1, abs_tol=1e-9):
            raise ValueError(f"probs must sum to 1 and be as many as means, got {self}")

    @cached_property
    def _p(self) -> Array:
        return np.array(self.probs) / math.fsum(self.probs)

    @cached_property
    def _rate(self) -> Array:
        return 1 / np.array(self.means)

    @at_the_ends
    def _terms(self, t: ArrayLike) -> Array:
        return np.exp(-_positive(t)[..., None] * self._rate)

    def cdf(self, t: ArrayLike) -> Array:
        return -np.expm1(-_positive(t)[..., None] * self._rate) @ self._p

    def sf(self, t: ArrayLike) -> Array:
        return self._terms(t) @ self._p

    def ppf(self, q: ArrayLike) -> Array:
        q = np.asarray(q, float)
        low = q <= 0.5
        return np.where(low, self._lower(np.where(low, q, 0.0)), self._upper(np.where(low, 1.0, 1 - q)))

    def isf(self, q: ArrayLike) -> Array:
        q = np.asarray(q, float)
        low = q <= 0.5
        return np.where(low, self._upper(np.where(low, q, 1.0)), self._lower(np.where(low, 0.0, 1 - q)))

    def _lower(self, q: Array) -> Array:
        """Quantile for q <= 1/2 by Newton's method on the cdf.

        The cdf is concave and increasing: its tangents lie above it, so the iterates climb from 0 to the root
        without passing it.
        """
        return _climb(
            np.zeros_like(q), lambda t: (q - self.cdf(t)) / (self._terms(t) @ (self._p * self._rate))
        )

    @at_the_ends
    def _upper(self, q: Array) -> Array:
        """Quantile of the upper tail for q <= 1/2 (or 1) by Newton's method on log sf.

        log sf is convex and decreasing (a log of a sum of exponentials): its tangents lie below it, so the
        iterates climb to the root without passing it, from any start at or below it.  One is known: each term
        of sf alone is less than sf.
        """
        log_q = np.log(np.where(q > 0, q, 1.0))

        def step(t: Array) -> Array:
            log_terms = np.log(self._p) - t[..., None] * self._rate
            log_sf = np.logaddexp.reduce(log_terms, axis=-1)
            return (log_sf - log_q) / (np.exp(log_terms - log_sf[..., None]) @ self._rate)

        start = ((np.log(self._p) - log_q[..., None]) / self._rate).max(axis=-1)
        return np.where(q > 0, _climb(_positive(start), step), math.inf)

    @at_the_ends
    def _chart(self, log_t: Array) -> tuple[Array, Array]:
        """logit(F) and its slope at times exp(log_t): smooth there even if the means are far apart."""
        t = np.exp(log_t)
        log_terms = np.log(self._p) - t[:, None] * self._rate
        log_sf = np.logaddexp.reduce(log_terms, axis=1)
        hazard = np.exp(log_terms - log_sf[:, None]) @ self._rate
        cdf = self.cdf(t)
        return np.log(cdf) - log_sf, t * hazard / cdf

    def mean_order_statistic(self, k: int, n: int) -> float:
        return quadrature.mean_order_statistic(self, k, n, self._chart)

    def var_order_statistic(self, k: int, n: int) -> float:
        return quadrature.var_order_statistic(self, k, n, self._chart)

    @cached_property
    def mean(self) -> float:
        return float(self._p @ self.means)

    @cached_property
    def var(self) -> float:
        excess = np.array(self.means) - self.mean
        return float(self._p @ (np.square(self.means) + excess**2))

    def sample(self, rng: np.random.Generator, size: Size = None) -> Array:
        component = np.searchsorted(np.cumsum(self._p)[:-1], rng.random(size), side="right")
        return np.array(self.means)[component] * rng.standard_exponential(size)

    def integrated_tail(self, t: ArrayLike) -> Array:
        return self._terms(t) @ (self._p * self.means) - np.minimum(t, 0.0)


def _climb(t: Array, step: Callable[[Array], Array]) -> Array:
    """Add Newton steps that never overshoot until rounding stops the climb."""
    for _ in range(200):
        new = t + step(t)
        if not np.any(new > t * (1 + 1e-15)):
            break
        t = np.fmax(t, new)
    return t


@dataclass(frozen=True)
class _NumericalSum(Delay):
    """Sum of ``steps`` independent draws from ``delay``, tabulated by numerical convolution."""

    delay: Delay
    steps: int

    @cached_property
    def _table(self) -> convolution.Sum:
        if self.delay.has_atoms:
            raise ValueError(f"numerical convolution needs a law without atoms, got {self.delay}")
        return convolution.sum_of_draws(self.delay, self.steps)

    def cdf(self, t: ArrayLike) -> Array:
        return self._table.cdf(t)

    def sf(self, t: ArrayLike) -> Array:
        return self._table.sf(t)

    def ppf(self, q: ArrayLike) -> Array:
        return self._table.ppf(q)

    def isf(self, q: ArrayLike) -> Array:
        return self._table.isf(q)

    @cached_property
    def mean(self) -> float:
        return self.steps * self.delay.mean

    @cached_property
    def var(self) -> float:
        return self.steps * self.delay.var

    # A sum has the moments that its largest term has.
    def mean_order_statistic(self, k: int, n: int) -> float:
        finite = math.isfinite(self.delay.mean_order_statistic(k, n))
        return quadrature.mean_order_statistic(self, k, n) if finite else math.inf

    def var_order_statistic(self, k: int, n: int) -> float:
        finite = math.isfinite(self.delay.var_order_statistic(k, n))
        return quadrature.var_order_statistic(self, k, n) if finite else math.inf

    def integrated_tail(self, t: ArrayLike) -> Array:
        if math.isinf(self.mean):
            return np.full(np.shape(t), math.inf)
        return quadrature.integrated_tail(self, t)


@dataclass(frozen=True)
class LocalSteps(_Shifted):
    """Sum of ``steps`` independent draws from ``delay``, a task of several local steps.

    A closed form where the family is closed under addition, numerical convolution elsewhere (``convolution.py``
    says how accurate); mean and variance are exact.
    """

    delay: Delay
    steps: int

    def _check(self) -> None:
        if not isinstance(self.delay, Delay):
            raise ValueError(f"delay must be a Delay such as Exponential(mean=1.0), got {self.delay!r}")
        check_count("steps", self.steps)

    @cached_property
    def shift(self) -> float:
        match self.delay:
            case _Shifted(shift=shift) | Uniform(low=shift):
                return self.steps * shift
        return 0.0

    @cached_property
    def base(self) -> Delay:
        match self.delay:
            case Exponential(mean=scale):
                return Erlang(self.steps, scale)
            case Erlang(steps=steps, scale=scale):
                return Erlang(self.steps * steps, scale)
            case Gamma(shape=shape, scale=scale):
                return Gamma(self.steps * shape, scale)
            case Deterministic(value=value):
                return Deterministic(self.steps * value)
            case LocalSteps(delay=delay, steps=steps):
                return LocalSteps(delay, self.steps * steps).base
            case _Shifted(base=base):
                return LocalSteps(base, self.steps).base
            case Uniform(low=low, high=high) if low > 0:
                return LocalSteps(Uniform(0.0, high - low), self.steps).base
            case delay:
                return delay if self.steps == 1 else _NumericalSum(delay, self.steps)

    def sample(self, rng: np.random.Generator, size: Size = None) -> Array:
        """Sums of real draws, shape ``size``: the draws of one task follow one another in the stream."""
        shape = () if size is None else (size,) if isinstance(size, int | np.integer) else tuple(size)
        return self.delay.sample(rng, (*shape, self.steps)).sum(axis=-1)
