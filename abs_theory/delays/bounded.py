"""Delay laws with bounded times: uniform, sums of uniforms, and a fixed time."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import BSpline

from abs_theory.checks import check_count, check_nonnegative, check_positive
from abs_theory.delays.base import Ageing, Array, Delay, Size, positive, quantile
from abs_theory.delays.numerics.bisection import first_time

MOST_KINKED_STEPS = 6  # a sum of more uniform times is smooth to the last digit


@dataclass(frozen=True)
class Uniform(Delay):
    """Uniform between ``low`` and ``high``.

    >>> Uniform(low=1.0, high=3.0).mean_order_statistic(k=3, n=3)
    2.5
    """

    low: float  #: smallest time in seconds, >= 0
    high: float  #: largest time in seconds, > low

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

    @quantile
    def ppf(self, q: Array) -> Array:
        return self.low + self._width * q

    @quantile
    def isf(self, q: Array) -> Array:
        return self.high - self._width * q

    @cached_property
    def mean(self) -> float:
        return self.low + self._width / 2

    @cached_property
    def var(self) -> float:
        return self._width * self._width / 12

    @cached_property
    def ageing(self) -> Ageing:
        return "increasing"

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
    """Always ``value`` seconds.

    >>> Deterministic(value=2.0).mean
    2.0
    """

    value: float  #: seconds, > 0

    def _check(self) -> None:
        check_positive("value", self.value)

    @cached_property
    def has_atoms(self) -> bool:
        return True

    @cached_property
    def lattice(self) -> float:
        return self.value

    def cdf(self, t: ArrayLike) -> Array:
        return np.asarray(np.asarray(t) >= self.value, float)

    def sf(self, t: ArrayLike) -> Array:
        return np.asarray(np.asarray(t) < self.value, float)

    @quantile
    def ppf(self, q: Array) -> Array:
        return np.full(np.shape(q), self.value)

    @quantile
    def isf(self, q: Array) -> Array:
        return np.full(np.shape(q), self.value)

    @cached_property
    def mean(self) -> float:
        return self.value

    @cached_property
    def var(self) -> float:
        return 0.0

    @cached_property
    def ageing(self) -> Ageing:
        return "increasing"

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
class IrwinHall(Delay):
    """Sum of ``steps`` uniform times between 0 and ``width``.

    The cdf is a sum of cardinal B-splines without negative terms, so it is accurate in both tails.  Cost of a
    probability: steps^2.  Source: Irwin (1927), Hall (1927); B-splines by de Boor's recursion.
    """

    steps: int  #: number of uniforms
    width: float  #: largest time of each, seconds

    def _check(self) -> None:
        check_count("steps", self.steps)
        check_positive("width", self.width)

    @cached_property
    def _share(self) -> BSpline:
        """P(sum <= x) for width 1."""
        m = self.steps
        return BSpline(np.arange(-m, 2 * m + 1.0), np.repeat([0.0, 1.0], m), m)

    def cdf(self, t: ArrayLike) -> Array:
        return self._reached(np.asarray(t, float))

    def sf(self, t: ArrayLike) -> Array:
        return self._reached(self._end - np.asarray(t, float))

    def _reached(self, t: Array) -> Array:
        return np.where(t < self._end, self._share(np.clip(t, 0.0, self._end) / self.width), 1.0)

    @cached_property
    def _end(self) -> float:
        return self.steps * self.width

    @quantile
    def ppf(self, q: Array) -> Array:
        end = np.full(q.shape, self._end)
        return first_time(lambda t: (self.cdf(t) >= q) & (q < 1), np.zeros(q.shape), end)

    @quantile
    def isf(self, q: Array) -> Array:
        end = np.full(q.shape, self._end)
        return first_time(lambda t: (self.sf(t) <= q) & (q > 0), np.zeros(q.shape), end)

    @cached_property
    def breaks(self) -> tuple[float, ...]:
        step = 1 if self.steps <= MOST_KINKED_STEPS else self.steps
        return tuple((self.width * np.arange(0, self.steps + 1, step)).tolist())

    @cached_property
    def ageing(self) -> Ageing:
        return "increasing"

    @cached_property
    def mean(self) -> float:
        return self.steps * self.width / 2

    @cached_property
    def var(self) -> float:
        return self.steps * self.width * self.width / 12

    def sample(self, rng: np.random.Generator, size: Size = None) -> Array:
        shape = () if size is None else (size,) if isinstance(size, int | np.integer) else tuple(size)
        return self.width * rng.random((*shape, self.steps)).sum(axis=-1)
