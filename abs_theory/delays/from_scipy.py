"""Distributions of scipy as delay laws."""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, wraps
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from abs_theory.delays.base import Array, Delay, Size, quantile
from abs_theory.delays.discrete import Discrete
from abs_theory.delays.exponential import Exponential, Gamma
from abs_theory.delays.heavy import LogNormal, Lomax, Pareto, Weibull
from abs_theory.typing import DelayLike, Law

MAX_ATOMS = 2**20  # times of a discrete law
OMITTED_MASS = 1e-290, 1e-30  # probability left out of an unbounded discrete law; the first that MAX_ATOMS allows


class Frozen(Law, Protocol):
    """What the wrappers use of a frozen distribution of scipy."""

    args: tuple[float, ...]  #: positional parameters
    kwds: dict[str, float]  #: keyword parameters
    dist: stats.rv_continuous | stats.rv_discrete  #: the distribution that was frozen

    def support(self) -> tuple[float, float]:
        """The smallest and the largest possible time."""
        ...

    def mean(self) -> float:
        """E[X]."""
        ...

    def var(self) -> float:
        """Var[X]."""
        ...

    def rvs(self, size: Size, random_state: np.random.Generator) -> Array:
        """Independent draws."""
        ...


def as_delay(law: DelayLike) -> Delay:
    """``law`` as a Delay; it may be one already, or a frozen scipy distribution, continuous or discrete.

    Common scipy distributions become the law of ``abs_theory.delays`` of the same name.  All others are wrapped and are
    as accurate as scipy's cdf and sf.  Raises ValueError for anything else, for parameters that make no law, and for a
    distribution with negative times.

    >>> from scipy import stats
    >>> as_delay(stats.gamma(2.0, scale=0.5))
    Gamma(shape=2.0, scale=0.5)
    >>> as_delay(stats.invgauss(0.5)).mean
    0.5
    """
    if isinstance(law, Delay):
        return law
    if not isinstance(getattr(law, "dist", None), stats.rv_continuous | stats.rv_discrete):
        raise ValueError(
            f"delay must be a Delay such as Exponential(mean=1.0), or a frozen scipy distribution, got {law!r}"
        )
    return _from_frozen(cast("Frozen", law))


def _from_frozen(law: Frozen) -> Delay:
    shapes, loc, scale = _parameters(law)
    if not all(np.ndim(v) == 0 for v in (*shapes, loc, scale)):
        raise ValueError(f"delay must be one law, got arrays of parameters in {_described(law)}")
    low, high = law.support()
    if not low <= high:
        raise ValueError(f"{_described(law)} must have parameters that make a law")
    if low < 0:
        raise ValueError(f"{_described(law)} must have no negative times, but its support begins at {low}; truncate it")
    if high <= 0 or not low < math.inf:
        raise ValueError(f"{_described(law)} must have times > 0")
    if isinstance(law.dist, stats.rv_discrete):
        return ScipyDiscrete(law)
    match law.dist.name, *map(float, (*shapes, loc, scale)):
        case "expon", 0.0, scale:
            return Exponential(scale)
        case "gamma" | "erlang", shape, 0.0, scale:
            return Gamma(shape, scale)
        case "weibull_min", shape, 0.0, scale:
            return Weibull(scale, shape)
        case "lomax", index, 0.0, scale:
            return Lomax(scale, index)
        case "pareto", index, 0.0, scale:
            return Pareto(scale, index)
        case "lognorm", sigma, 0.0, scale:
            return LogNormal(scale, sigma)
    return ScipyContinuous(law)


def _parameters(law: Any) -> tuple[tuple[float, ...], float, float]:
    """Shapes, loc and scale."""
    return law.dist._parse_args(*law.args, **law.kwds)


def _described(law: Frozen) -> str:
    parameters = [repr(v) for v in law.args] + [f"{name}={v!r}" for name, v in law.kwds.items()]
    return f"stats.{law.dist.name}({', '.join(parameters)})".replace("np.float64", "")


def _quiet(f: Callable[[Any, Any], Array]) -> Any:
    """Suppress the warnings of formulas that overflow in the far tail."""

    @wraps(f)
    def quiet(law: Any, argument: Any) -> Array:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return f(law, argument)

    return quiet


class _Scipy(Delay):
    """Equality, repr and draws of wrapped distributions."""

    law: Frozen

    @cached_property
    def _key(self) -> tuple[Any, ...]:
        shapes, loc, scale = _parameters(self.law)
        own = getattr(stats, self.law.dist.name, None)
        identity = self.law.dist.name if type(own) is type(self.law.dist) else id(self.law.dist)
        return (identity, *map(float, (*shapes, loc, scale)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Scipy) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return f"as_delay({_described(self.law)})"

    def sample(self, rng: np.random.Generator, size: Size = None) -> Array:
        draws = self.law.rvs(size=() if size is None else size, random_state=rng)
        return np.asarray(draws, float)


@dataclass(frozen=True, eq=False, repr=False)
class ScipyContinuous(_Scipy):
    """A continuous distribution of scipy, made by ``as_delay``."""

    law: Frozen

    @cached_property
    def _ends(self) -> tuple[float, float]:
        low, high = self.law.support()
        return float(low), float(high)

    @cached_property
    def breaks(self) -> tuple[float, ...]:
        low, high = self._ends
        shapes, loc, scale = _parameters(self.law)
        bends = shapes if self.law.dist.name in ("triang", "trapezoid") else ()
        return (low, *(t for t in sorted(float(loc + scale * s) for s in bends) if low < t < high), high)

    @cached_property
    def resolution(self) -> float:
        return 1e-10

    @cached_property
    def _middle(self) -> float:
        return float(self.law.ppf(0.5))

    # scipy returns NaN where one of its formulas overflows in the far tail.
    @_quiet
    def cdf(self, t: ArrayLike) -> Array:
        cdf = self.law.cdf(np.asarray(t, float))
        return np.where(np.isnan(cdf), np.asarray(t) > self._middle, cdf)

    @_quiet
    def sf(self, t: ArrayLike) -> Array:
        sf = self.law.sf(np.asarray(t, float))
        return np.where(np.isnan(sf), np.asarray(t) < self._middle, sf)

    @quantile
    @_quiet
    def ppf(self, q: ArrayLike) -> Array:
        return np.asarray(self.law.ppf(q))

    @quantile
    @_quiet
    def isf(self, q: ArrayLike) -> Array:
        return np.asarray(self.law.isf(q))

    @cached_property
    def mean(self) -> float:
        mean = float(self.law.mean())
        return super().mean if math.isnan(mean) else mean

    @cached_property
    def var(self) -> float:
        var = float(self.law.var())
        return super().var if math.isnan(var) else var


@dataclass(frozen=True, eq=False, repr=False)
class ScipyDiscrete(_Scipy, Discrete):
    """A discrete distribution of scipy, made by ``as_delay``.

    A tail of probability below 1e-290 is left out (1e-30 for wide laws).  Raises ArithmeticError when it is used if
    more than 2^20 times matter.
    """

    law: Frozen

    @cached_property
    def _atoms(self) -> tuple[Array, Array]:
        low, high = self.law.support()
        for faint in OMITTED_MASS:
            last = low + 1
            while last < high and last - low <= MAX_ATOMS and self.law.sf(last) > faint:
                last = low + 2 * (last - low)
            last = min(last, high)
            if last - low <= MAX_ATOMS:
                times = np.arange(low, last + 1, dtype=float)
                weights = np.asarray(cast("Any", self.law).pmf(times), float)
                return times[weights > 0], weights[weights > 0]
        raise ArithmeticError(f"{self!r} has too long a tail: more than {MAX_ATOMS} times matter")

    @property
    def times(self) -> Array:  # pyright: ignore
        return self._atoms[0]

    @property
    def weights(self) -> Array:  # pyright: ignore
        return self._atoms[1]
