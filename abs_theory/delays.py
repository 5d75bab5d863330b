"""Delay laws: how long one worker needs for one task, in seconds.

Every law is a frozen value whose repr says all about it.  It is defined by ``cdf``, ``sf``, ``ppf`` and ``isf``,
each accurate to its own far tail; the rest follows by quadrature, and is overridden wherever a closed form is
known.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from abs_theory import convolution, quadrature
from abs_theory.checks import check_count, check_nonnegative, check_positive
from abs_theory.delay_base import Array, Delay, Shifted, Size, positive
from abs_theory.delay_exponential import Erlang, Exponential, Gamma, HyperExponential, ShiftedExponential
from abs_theory.delay_heavy import LogNormal, Lomax, Pareto, Weibull

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
    "as_delay",
]


def as_delay(law: Any) -> Delay:
    """``law`` itself if it is a Delay; raises ValueError if it is no delay law."""
    if isinstance(law, Delay):
        return law
    raise ValueError(f"delay must be a Delay such as Exponential(mean=1.0), got {law!r}")


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
        return self._width * self._width / 12

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
        return left**2 / (2 * self._width) + positive(self.low - np.asarray(t))


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
        return positive(self.value - np.asarray(t))


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
class LocalSteps(Shifted):
    """Sum of ``steps`` independent draws from ``delay``, a task of several local steps.

    A closed form where the family is closed under addition, numerical convolution elsewhere; mean and variance
    are exact.  The numerical law is good to 1e-10 in the time (relative) for smooth laws, 5e-5 for bounded ones.
    """

    delay: Delay
    steps: int

    def _check(self) -> None:
        if not isinstance(self.delay, Delay):
            raise ValueError(f"delay must be a Delay such as Exponential(mean=1.0), got {self.delay!r}")
        check_count("steps", self.steps)

    @cached_property
    def fixed_part(self) -> float:
        match self.delay:
            case Shifted(fixed_part=shift) | Uniform(low=shift):
                return self.steps * shift
        return 0.0

    @cached_property
    def random_part(self) -> Delay:
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
                return LocalSteps(delay, self.steps * steps).random_part
            case Shifted(random_part=rest):
                return LocalSteps(rest, self.steps).random_part
            case Uniform(low=low, high=high) if low > 0:
                return LocalSteps(Uniform(0.0, high - low), self.steps).random_part
            case delay:
                return delay if self.steps == 1 else _NumericalSum(delay, self.steps)

    def sample(self, rng: np.random.Generator, size: Size = None) -> Array:
        """Sums of real draws, shape ``size``: the draws of one task follow one another in the stream."""
        shape = () if size is None else (size,) if isinstance(size, int | np.integer) else tuple(size)
        return self.delay.sample(rng, (*shape, self.steps)).sum(axis=-1)
