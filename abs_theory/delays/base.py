"""The base class of all delay laws, and the law of a fixed time plus a random one."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import fields
from functools import cached_property, wraps
from typing import ParamSpec, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from abs_theory.delays.numerics import moments
from abs_theory.delays.numerics.ageing import Ageing, numerical_ageing
from abs_theory.delays.numerics.lattice import common_step
from abs_theory.delays.numerics.panels import TailTable, tail_table
from abs_theory.typing import Array, Size

L = TypeVar("L", bound="Delay")
P = ParamSpec("P")
R = TypeVar("R")
CLOSE = 1e-6  # relative difference of times, and difference of probabilities, that functions of a law may have
MAX_MEAN = 1e100  # cubes of times and of their inverses are then floating-point numbers


@np.errstate(divide="ignore", over="ignore", under="ignore")
def _called_quietly(f: Callable[P, R], *args: P.args, **keywords: P.kwargs) -> R:
    return f(*args, **keywords)


def at_the_ends(f: Callable[P, R]) -> Callable[P, R]:
    """Let ``f`` compute log(0) = -inf and exp(1000) = inf without warnings: both are correct at the ends of a law.

    ``numpy.errstate`` as a decorator does the same, but a law of a script could then not be sent to other processes.
    """

    @wraps(f)
    def quiet(*args: P.args, **keywords: P.kwargs) -> R:
        return _called_quietly(f, *args, **keywords)

    return quiet


def quantile(f: Callable[[L, Array], Array]) -> Callable[[L, ArrayLike], Array]:
    """Make ``f`` a ppf or isf that takes any ArrayLike and raises ValueError unless 0 <= q <= 1."""

    @wraps(f)
    def checked(law: L, q: ArrayLike) -> Array:
        q = np.asarray(q, float)
        if not np.all((q >= 0) & (q <= 1)):
            raise ValueError(f"q must be in [0, 1], got {q!r}")
        return _called_quietly(f, law, q)

    return checked


def positive(t: ArrayLike) -> Array:
    """The larger of ``t`` and 0: no task is done at a negative time."""
    return np.maximum(t, 0.0)


class Delay(ABC):
    """Distribution of the seconds that one worker needs for one task.

    A subclass is a frozen dataclass that defines ``cdf``, ``sf``, ``ppf`` and ``isf``; quadrature gives the rest.
    """

    def __post_init__(self) -> None:
        """Check the parameters and make them plain numbers, so that ``eval(repr(law))`` gives the law again."""
        self._check()
        for field in fields(self):  # pyright: ignore[reportArgumentType]
            if field.type in (int, float):
                object.__setattr__(self, field.name, field.type(getattr(self, field.name)))  # pyright: ignore
        if not type(self).__module__.startswith("abs_theory."):
            check_functions(self)

    def _check(self) -> None:  # noqa: B027
        """Raise ValueError unless the parameters make a law."""

    @abstractmethod
    def cdf(self, t: ArrayLike) -> Array:
        """P(X <= t)."""

    @abstractmethod
    def sf(self, t: ArrayLike) -> Array:
        """P(X > t), accurate also where it is tiny."""

    @abstractmethod
    def ppf(self, q: ArrayLike, /) -> Array:
        """The smallest time t with P(X <= t) >= q, accurate also for tiny q."""

    @abstractmethod
    def isf(self, q: ArrayLike, /) -> Array:
        """The smallest time t with P(X > t) <= q, accurate also for tiny q."""

    @cached_property
    def has_atoms(self) -> bool:
        """Whether some single time has positive probability."""
        return False

    @cached_property
    def lattice(self) -> float:
        """The largest step such that every time is a multiple of it, in seconds; 0 if there is no such step."""
        return 0.0

    @cached_property
    def breaks(self) -> tuple[float, ...]:
        """Increasing times between which the cdf is smooth, from the first possible time to the last (or inf)."""
        return float(self.ppf(0.0)), float(self.isf(0.0))

    @cached_property
    def resolution(self) -> float:
        """Relative precision of cdf and sf; smaller differences from a smooth law are noise."""
        return 3e-12

    @cached_property
    def ageing(self) -> Ageing:
        """How the hazard rate, density / sf, changes with the age of a task.

        "increasing" (also for a fixed time), "decreasing", "constant" (memoryless) or "neither".  Proved for laws that
        override it; for all others found on a fine grid, which is no proof (``numerical_ageing``).
        """
        return numerical_ageing(self)

    # A cached property, because Exponential has a field of this name, which a property would not allow.
    @cached_property
    def mean(self) -> float:
        """E[X]; inf if infinite."""
        return moments.mean_order_statistic(self, 1, 1)

    @cached_property
    def var(self) -> float:
        """Var[X]; inf if infinite."""
        return moments.var_order_statistic(self, 1, 1)

    def sample(self, rng: np.random.Generator, size: Size = None) -> Array:
        """Independent draws, shape ``size``."""
        return self.ppf(rng.random(size))

    def mean_order_statistic(self, k: int, n: int) -> float:
        """E[X_(k)], the k-th smallest of ``n`` independent draws; inf if infinite."""
        return moments.mean_order_statistic(self, k, n)

    def mean_order_statistics(self, n: int) -> Array:
        """E[X_(1)], ..., E[X_(n)], shape ``n``."""
        return moments.mean_order_statistics(self, n)

    def var_order_statistic(self, k: int, n: int) -> float:
        """Var[X_(k)]; inf if infinite."""
        return moments.var_order_statistic(self, k, n)

    def integrated_tail(self, t: ArrayLike) -> Array:
        """E[(X - t)+], the integral of sf beyond ``t``; inf if the mean is infinite."""
        return moments.integrated_tail(self, self.tail_table, t)

    def seconds_until(self, t: ArrayLike) -> Array:
        """E[min(X, t)], the mean seconds of a task that is stopped at ``t``; finite also where the mean is not.

        >>> from abs_theory.delays import Lomax
        >>> round(float(Lomax(scale=1.0, index=0.5).seconds_until(8.0)), 9)
        4.0
        """
        if math.isfinite(self.mean):
            return self.mean - self.integrated_tail(t)
        return moments.seconds_until(self, self.tail_table, t)

    @cached_property
    def tail_table(self) -> TailTable:
        """Integrals of sf beyond each of many times, for ``integrated_tail``."""
        return tail_table(self)


def check_functions(law: Delay) -> None:
    """Raise ValueError unless cdf, sf, ppf and isf of ``law``, of another module, are those of one law of times >= 0.

    Cost: a call of each at a few points.

    >>> from abs_theory.delays import Exponential
    >>> class Backwards(Exponential):
    ...     def ppf(self, q):
    ...         return -super().ppf(q)
    >>> check_functions(Backwards(mean=1.0))
    Traceback (most recent call last):
    ...
    ValueError: ppf of Backwards must give times >= 0 that rise with q, got ppf([0.01, 0.1, 0.5, 0.9, 0.99]) = \
[-0.01005034 -0.10536052 -0.69314718 -2.30258509 -4.60517019]
    """
    name, q = type(law).__name__, np.array([0.01, 0.1, 0.5, 0.9, 0.99])
    for way, levels in (("ppf", q), ("isf", q[::-1])):
        times = np.asarray(getattr(law, way)(levels))
        called = f"{way}({levels.tolist()}) = {times}"
        if times.shape != q.shape:
            raise ValueError(f"{way} of {name} must take an array and give as many times, got {called}")
        if not (np.all(np.isfinite(times)) and times[0] >= 0 and np.all(np.diff(times) >= 0)):
            rise = "rise" if way == "ppf" else "fall"
            raise ValueError(f"{way} of {name} must give times >= 0 that {rise} with q, got {called}")
        for function, done in (("cdf", law.cdf), ("sf", lambda t: 1 - np.asarray(law.sf(t)))):
            fits = (done(times * (1 - CLOSE)) <= q + CLOSE) & (done(times * (1 + CLOSE)) >= q - CLOSE)  # jumps do
            for level, time in zip(levels[~fits].tolist(), times[~fits].tolist(), strict=True):
                at = float(np.asarray(getattr(law, function)(np.array([time])))[0])
                raise ValueError(
                    f"{function} and {way} of {name} must be those of one law, got {way}({level}) = {time:.6g} and "
                    f"{function}({time:.6g}) = {at:.6g}"
                )


def check_mean(law: Delay) -> None:
    """Raise ValueError if the mean of ``law`` is finite and so large or small that its powers are no numbers.

    >>> from abs_theory.delays import Exponential
    >>> check_mean(Exponential(mean=1.0))
    >>> check_mean(Exponential(mean=1e200))
    Traceback (most recent call last):
    ...
    ValueError: the mean of a delay law must be 1e-100 to 1e+100, got 1e+200: use another unit of time
    """
    try:
        mean = law.mean
    except ArithmeticError:  # of a heavy tail that is not known
        return
    if 0 < mean < 1 / MAX_MEAN or MAX_MEAN < mean < math.inf:
        limits = f"{1 / MAX_MEAN:g} to {MAX_MEAN:g}"
        raise ValueError(f"the mean of a delay law must be {limits}, got {mean:.3g}: use another unit of time")


class Shifted(Delay):
    """A fixed number of seconds plus a draw from the law of the random part."""

    @cached_property
    @abstractmethod
    def fixed_part(self) -> float:
        """Seconds that every task takes."""
        ...

    @cached_property
    @abstractmethod
    def random_part(self) -> Delay:
        """Law of the seconds beyond the fixed part."""
        ...

    def cdf(self, t: ArrayLike) -> Array:
        return self.random_part.cdf(np.asarray(t) - self.fixed_part)

    def sf(self, t: ArrayLike) -> Array:
        return self.random_part.sf(np.asarray(t) - self.fixed_part)

    def ppf(self, q: ArrayLike) -> Array:
        return self.fixed_part + self.random_part.ppf(q)

    def isf(self, q: ArrayLike) -> Array:
        return self.fixed_part + self.random_part.isf(q)

    @cached_property
    def has_atoms(self) -> bool:
        return self.random_part.has_atoms

    @cached_property
    def lattice(self) -> float:
        return common_step(np.array(self.breaks)) if self.random_part.lattice else 0.0

    @cached_property
    def breaks(self) -> tuple[float, ...]:
        return tuple(self.fixed_part + t for t in self.random_part.breaks)

    @cached_property
    def resolution(self) -> float:
        return self.random_part.resolution

    @cached_property
    def ageing(self) -> Ageing:
        """A fixed part raises the hazard rate from 0 to that of the random part."""
        ageing = self.random_part.ageing
        if self.fixed_part == 0 or ageing == "increasing":
            return ageing
        return "increasing" if ageing == "constant" else "neither"

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
