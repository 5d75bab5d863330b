"""What a delay law is: the base class of every law, and the law of a fixed time plus a random one."""

from abc import ABC, abstractmethod
from dataclasses import fields
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from abs_theory import quadrature

Array = NDArray[np.float64]
Size = int | tuple[int, ...] | None

# log(0) = -inf and exp(1000) = inf are the right answers at the ends of a law
at_the_ends = np.errstate(divide="ignore", over="ignore", under="ignore")


def positive(t: ArrayLike) -> Array:
    return np.maximum(t, 0.0)


class Delay(ABC):
    """Law of the seconds one worker needs for one task."""

    def __post_init__(self) -> None:
        """Check, then make the parameters plain numbers, so that the repr reads well and evaluates back."""
        self._check()
        for f in fields(self):  # pyright: ignore[reportArgumentType]
            if f.type in (int, float):
                object.__setattr__(self, f.name, f.type(getattr(self, f.name)))

    def _check(self) -> None:  # noqa: B027
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


class Shifted(Delay):
    """A fixed part in seconds plus a draw from the law of the random part."""

    @cached_property
    @abstractmethod
    def fixed_part(self) -> float: ...

    @cached_property
    @abstractmethod
    def random_part(self) -> Delay: ...

    def cdf(self, t: ArrayLike) -> Array:
        return self.random_part.cdf(np.asarray(t) - self.fixed_part)

    def sf(self, t: ArrayLike) -> Array:
        return self.random_part.sf(np.asarray(t) - self.fixed_part)

    def ppf(self, q: ArrayLike) -> Array:
        return self.fixed_part + self.random_part.ppf(q)

    def isf(self, q: ArrayLike) -> Array:
        return self.fixed_part + self.random_part.isf(q)

    @property
    def has_atoms(self) -> bool:
        return self.random_part.has_atoms

    @cached_property
    def mean(self) -> float:
        return self.fixed_part + self.random_part.mean

    @cached_property
    def var(self) -> float:
        return self.random_part.var

    def sample(self, rng: np.random.Generator, size: Size = None) -> Array:
        return self.fixed_part + self.random_part.sample(rng, size)

    def mean_order_statistic(self, k: int, n: int) -> float:
        return self.fixed_part + self.random_part.mean_order_statistic(k, n)

    def mean_order_statistics(self, n: int) -> Array:
        return self.fixed_part + self.random_part.mean_order_statistics(n)

    def var_order_statistic(self, k: int, n: int) -> float:
        return self.random_part.var_order_statistic(k, n)

    def integrated_tail(self, t: ArrayLike) -> Array:
        return self.random_part.integrated_tail(np.asarray(t) - self.fixed_part)
