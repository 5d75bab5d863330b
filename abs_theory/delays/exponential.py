"""Delay laws made of exponentials: one, one after a fixed time, a sum of several, or a mixture of several."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from abs_theory.checks import check_count, check_nonnegative, check_positive
from abs_theory.delays.base import Ageing, Array, Delay, Shifted, Size, at_the_ends, positive, quantile

# For a shape and x up to EARLY, gammaincc takes microseconds; TERMS of its series have all digits there
EARLY, TERMS = 1.1, 20


@dataclass(frozen=True)
class Exponential(Delay):
    """P(X > t) = exp(-t / mean): the memoryless law.

    Its order statistics are sums of independent exponentials, X_(k) = mean * sum of E_i / i, i = n-k+1..n.
    Source: Renyi (1953).

    >>> round(Exponential(mean=2.0).mean_order_statistic(k=3, n=3), 4)  # 2 (1/1 + 1/2 + 1/3)
    3.6667
    """

    #: seconds, > 0
    mean: float = field()  # pyright: ignore

    def _check(self) -> None:
        check_positive("mean", self.mean)

    def cdf(self, t: ArrayLike) -> Array:
        return -np.expm1(-positive(t) / self.mean)

    @at_the_ends
    def sf(self, t: ArrayLike) -> Array:
        return np.exp(-positive(t) / self.mean)

    @quantile
    def ppf(self, q: Array) -> Array:
        return -self.mean * np.log1p(-q)

    @quantile
    def isf(self, q: Array) -> Array:
        return -self.mean * np.log(q)

    @cached_property
    def var(self) -> float:
        return self.mean * self.mean

    @cached_property
    def ageing(self) -> Ageing:
        return "constant"

    def sample(self, rng: np.random.Generator, size: Size = None) -> Array:
        return self.mean * rng.standard_exponential(size)

    def mean_order_statistic(self, k: int, n: int) -> float:
        return self.mean * float(np.sum(1 / np.arange(n - k + 1, n + 1)))

    def mean_order_statistics(self, n: int) -> Array:
        return self.mean * np.cumsum(1 / np.arange(n, 0, -1))

    def var_order_statistic(self, k: int, n: int) -> float:
        return self.mean * self.mean * float(np.sum(np.arange(n - k + 1, n + 1) ** -2.0))

    def integrated_tail(self, t: ArrayLike) -> Array:
        return self.mean * self.sf(t) - np.minimum(t, 0.0)


@dataclass(frozen=True)
class ShiftedExponential(Shifted):
    """A fixed ``shift`` plus an exponential time of mean ``scale``.

    >>> ShiftedExponential(shift=0.5, scale=1.5).mean
    2.0
    """

    shift: float  #: seconds that every task takes, >= 0
    scale: float  #: mean of the seconds beyond the shift, > 0

    def _check(self) -> None:
        check_nonnegative("shift", self.shift)
        check_positive("scale", self.scale)

    @cached_property
    def fixed_part(self) -> float:
        return self.shift

    @cached_property
    def random_part(self) -> Exponential:
        return Exponential(self.scale)


@dataclass(frozen=True)
class Gamma(Delay):
    """Density proportional to t^(shape - 1) exp(-t / scale).

    >>> Gamma(shape=4.0, scale=0.25).mean, Gamma(shape=4.0, scale=0.25).var
    (1.0, 0.25)
    """

    shape: float  #: > 0; 1 is exponential, and a smaller shape has more long tasks
    scale: float  #: seconds, > 0; the mean is shape * scale

    def _check(self) -> None:
        check_positive("shape", self.shape)
        check_positive("scale", self.scale)

    def cdf(self, t: ArrayLike) -> Array:
        return special.gammainc(self.shape, positive(t) / self.scale)

    @at_the_ends
    def sf(self, t: ArrayLike) -> Array:
        x = np.asarray(positive(t) / self.scale)
        if self.shape > EARLY:
            return special.gammaincc(self.shape, x)
        early = x <= EARLY
        result = np.empty_like(x)
        result[early] = self._early_sf(x[early])
        result[~early] = special.gammaincc(self.shape, x[~early])
        return result[()]

    def _early_sf(self, x: Array) -> Array:
        """P(X > x scale) by the series of ``gammaincc``, whose coefficients that function computes for each x anew."""
        log_power = self.shape * np.log(x)
        series = np.polynomial.polynomial.polyval(x, self._coefficients)
        return -np.expm1(log_power - special.gammaln(1 + self.shape)) - np.exp(log_power) * series

    @cached_property
    def _coefficients(self) -> Array:
        m = np.arange(1, TERMS)
        return np.append(0.0, (-1.0) ** m / (special.factorial(m) * (self.shape + m) * special.gamma(self.shape)))

    @quantile
    def ppf(self, q: Array) -> Array:
        return self.scale * special.gammaincinv(self.shape, q)

    @quantile
    def isf(self, q: Array) -> Array:
        return self.scale * special.gammainccinv(self.shape, q)

    @cached_property
    def mean(self) -> float:
        return self.shape * self.scale

    @cached_property
    def var(self) -> float:
        return self.shape * self.scale * self.scale

    @cached_property
    def ageing(self) -> Ageing:
        return "constant" if self.shape == 1 else "increasing" if self.shape > 1 else "decreasing"

    def sample(self, rng: np.random.Generator, size: Size = None) -> Array:
        return self.scale * rng.standard_gamma(self.shape, size)

    @at_the_ends
    def integrated_tail(self, t: ArrayLike) -> Array:
        a, x = self.shape, np.minimum(positive(t) / self.scale, 1e300)
        density = np.exp(special.xlogy(a, x) - x - special.gammaln(a))  # times x
        return self.scale * ((a - x) * special.gammaincc(a, x) + density) - np.minimum(t, 0.0)


@dataclass(frozen=True)
class Erlang(Shifted):
    """Sum of ``steps`` independent exponentials of mean ``scale``.

    >>> Erlang(steps=4, scale=0.25).mean
    1.0
    """

    steps: int  #: number of exponentials, >= 1
    scale: float  #: mean seconds of one exponential, > 0

    def _check(self) -> None:
        check_count("steps", self.steps)
        check_positive("scale", self.scale)

    @cached_property
    def fixed_part(self) -> float:
        return 0.0

    @cached_property
    def random_part(self) -> Gamma:
        return Gamma(self.steps, self.scale)


@dataclass(frozen=True)
class HyperExponential(Delay):
    """Exponential of mean ``means[i]`` with probability ``probs[i]``: mostly short tasks, with some long stalls.

    >>> round(HyperExponential(probs=(0.9, 0.1), means=(0.5, 5.5)).mean, 12)
    1.0
    """

    probs: Sequence[float]  #: probabilities of the kinds of tasks, > 0, with sum 1
    means: Sequence[float]  #: mean seconds of each kind, > 0

    def _check(self) -> None:
        for name in ("probs", "means"):
            values = np.atleast_1d(getattr(self, name)).tolist()
            for i, value in enumerate(values):
                check_positive(f"{name}[{i}]", value)
            object.__setattr__(self, name, tuple(map(float, values)))
        if len(self.probs) != len(self.means) or not math.isclose(math.fsum(self.probs), 1, abs_tol=1e-9):
            raise ValueError(f"probs must sum to 1 and have the same length as means, got {self}")

    @cached_property
    def _p(self) -> Array:
        return np.array(self.probs) / math.fsum(self.probs)

    @cached_property
    def _rate(self) -> Array:
        return 1 / np.array(self.means)

    @at_the_ends
    def _terms(self, t: ArrayLike) -> Array:
        return np.exp(-positive(t)[..., None] * self._rate)

    @at_the_ends
    def cdf(self, t: ArrayLike) -> Array:
        t = positive(t)
        return -sum((p * np.expm1(-rate * t) for p, rate in zip(self._p, self._rate, strict=True)), np.zeros(()))

    @at_the_ends
    def sf(self, t: ArrayLike) -> Array:
        t = positive(t)  # by kinds: numpy is slow along short axes
        return sum((p * np.exp(-rate * t) for p, rate in zip(self._p, self._rate, strict=True)), np.zeros(()))

    @quantile
    def ppf(self, q: Array) -> Array:
        low = q <= 0.5
        return np.where(low, self._lower(np.where(low, q, 0.0)), self._upper(np.where(low, 1.0, 1 - q)))

    @quantile
    def isf(self, q: Array) -> Array:
        low = q <= 0.5
        return np.where(low, self._upper(np.where(low, q, 1.0)), self._lower(np.where(low, 0.0, 1 - q)))

    def _lower(self, q: Array) -> Array:
        """Quantile for q <= 1/2 by Newton's method on the cdf.

        The cdf is concave and increasing, so its tangents lie above it and the iterates rise from 0 to the root
        without passing it.
        """
        return _climb(np.zeros_like(q), lambda t: (q - self.cdf(t)) / (self._terms(t) @ (self._p * self._rate)))

    @at_the_ends
    def _upper(self, q: Array) -> Array:
        """Quantile of the upper tail for q <= 1/2 (or 1) by Newton's method on log sf.

        log sf is convex and decreasing (the log of a sum of exponentials), so its tangents lie below it.  Hence the
        iterates rise to the root without passing it, from any start below it.  Such a start is known, because each
        term of sf is smaller than sf.
        """
        log_q = np.log(np.where(q > 0, q, 1.0))

        def step(t: Array) -> Array:
            log_terms = np.log(self._p) - t[..., None] * self._rate
            log_sf = np.logaddexp.reduce(log_terms, axis=-1)
            return (log_sf - log_q) / (np.exp(log_terms - log_sf[..., None]) @ self._rate)

        start = ((np.log(self._p) - log_q[..., None]) / self._rate).max(axis=-1)
        return np.where(q > 0, _climb(positive(start), step), math.inf)

    @cached_property
    def mean(self) -> float:
        return float(self._p @ self.means)

    @cached_property
    def var(self) -> float:
        excess = np.array(self.means) - self.mean
        return float(self._p @ (np.square(self.means) + excess**2))

    @cached_property
    def ageing(self) -> Ageing:
        return "constant" if len(set(self.means)) == 1 else "decreasing"

    def sample(self, rng: np.random.Generator, size: Size = None) -> Array:
        component = np.searchsorted(np.cumsum(self._p)[:-1], rng.random(size), side="right")
        return np.array(self.means)[component] * rng.standard_exponential(size)

    def integrated_tail(self, t: ArrayLike) -> Array:
        return self._terms(t) @ (self._p * self.means) - np.minimum(t, 0.0)


def _climb(t: Array, step: Callable[[Array], Array]) -> Array:
    """Add Newton steps, which never overshoot, until rounding stops the increase."""
    for _ in range(200):
        new = t + step(t)
        if not np.any(new > t * (1 + 1e-15)):
            break
        t = np.fmax(t, new)
    return t
