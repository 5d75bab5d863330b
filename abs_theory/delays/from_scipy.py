"""Distributions of scipy as delay laws."""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache, wraps
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats
from scipy.interpolate import PchipInterpolator

from abs_theory.delays.base import Array, Delay, Size, quantile
from abs_theory.delays.discrete import Discrete
from abs_theory.delays.exponential import Exponential, Gamma
from abs_theory.delays.heavy import LogNormal, Lomax, Pareto, Weibull
from abs_theory.delays.numerics import moments
from abs_theory.delays.numerics.bisection import first_time
from abs_theory.delays.numerics.scipy_tables import (
    LARGEST_TABLE_ERROR,
    SLOW_PROBABILITIES,
    SLOW_QUANTILES,
    Frozen,
    Quick,
    is_slow,
    own_name,
    parameters,
    table_of,
)
from abs_theory.delays.numerics.upper_tail import BEGINS, Tail, upper_tail
from abs_theory.typing import DelayLike

MAX_ATOMS = 2**20  # times of a discrete law
OMITTED_MASS = 1e-290, 1e-30  # probability left out of an unbounded discrete law; the first that MAX_ATOMS allows


GAP = 64  # longest run of times without probability that is not taken for the end of a discrete law
FAR = np.array([1e-12, 1e-20, 1e-60])  # where isf must invert sf to be taken as accurate
SLOW_DRAWS = ("genexpon", "halfgennorm", "invgamma", "kstwobign", "truncnorm")  # half a microsecond each, by quantiles
WRAPPED_DRAWS = ("vonmises_line",)  # scipy draws from it on a circle about 0, whatever its loc
DRAWS_FROM_TABLE = 200  # draws of such a law, from which on they come from a table
# of its quantiles, in the logit of the probability: the ends, and the nodes where a quantile takes long or not
TABLE_ENDS, TABLE_NODES, MANY_NODES = 25.0, 201, 1601
AGREEMENT = 1e-8  # relative difference up to which scipy's mean and variance are taken as right


def as_delay(law: DelayLike, name: str = "delay", kinds: str = "a Delay") -> Delay:
    """``law`` as a Delay; it may be one already, or a frozen scipy distribution, continuous or discrete.

    Common scipy distributions become the law of ``abs_theory.delays`` of the same name; all others are wrapped.  A tail
    that scipy computes as 1 - cdf is replaced by the integral of the density, or by the power law that it has become.
    Raises ValueError for anything else, for parameters that make no law, and for a distribution with negative times.
    Later, what depends on a heavy tail that is not known raises ArithmeticError.  Messages call the argument ``name``,
    and what it may be ``kinds``.

    >>> from scipy import stats
    >>> as_delay(stats.gamma(2.0, scale=0.5))
    Gamma(shape=2.0, scale=0.5)
    >>> as_delay(stats.invgauss(0.5)).mean
    0.5
    """
    if isinstance(law, Delay):
        return law
    if hasattr(law, "xk") or hasattr(law, "_hbins"):
        law = cast("Any", law)()  # from values or a histogram, complete without parameters
    if not isinstance(getattr(law, "dist", None), stats.rv_continuous | stats.rv_discrete):
        mend = "; abs_theory.delays.text.delay_law reads a text" if isinstance(law, str) else ""
        raise ValueError(
            f"{name} must be {kinds} such as Exponential(mean=1.0), or a frozen scipy distribution, "
            f"e.g. stats.gamma(4), got {_unfrozen(law)}{mend}"
        )
    return _from_frozen(cast("Frozen", law))


def _from_frozen(law: Frozen) -> Delay:
    shapes, loc, scale = parameters(law)
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
    match own_name(law), *map(float, (*shapes, loc, scale)):
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
    return _kept(ScipyContinuous(law))


@lru_cache(maxsize=64)
def _kept(law: "ScipyContinuous") -> "ScipyContinuous":
    """``law``, or an equal one that was made before and knows its mean and its table already."""
    return law


def _unfrozen(law: object) -> str:
    """What is no law, in words."""
    family = isinstance(law, stats.rv_continuous | stats.rv_discrete)
    return f"stats.{law.name} without its parameters" if family else repr(law)


def _described(law: Frozen) -> str:
    parameters = [repr(v) for v in law.args] + [f"{name}={v!r}" for name, v in law.kwds.items()]
    shown, name = f"({', '.join(parameters)})".replace("np.float64", ""), law.dist.name
    if (times := getattr(law.dist, "xk", None)) is not None:
        name = f"rv_discrete(values=<{len(times)} times from {min(times):g} to {max(times):g}>)"
    elif (edges := getattr(law.dist, "_hbins", None)) is not None:
        name = f"rv_histogram(<{len(edges) - 1} bins from {edges[0]:g} to {edges[-1]:g}>)"
    return f"stats.{name}{shown if parameters or name == law.dist.name else ''}"


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
        shapes, loc, scale = parameters(self.law)
        identity = own_name(self.law) or id(self.law.dist)
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
    """A continuous distribution of scipy, made by ``as_delay``.

    Mean and variance are scipy's where they agree with integrals of sf; otherwise they are these integrals.
    """

    law: Frozen

    @cached_property
    def _ends(self) -> tuple[float, float]:
        low, high = self.law.support()
        return float(low), float(high)

    @cached_property
    def breaks(self) -> tuple[float, ...]:
        low, high = self._ends
        shapes, loc, scale = parameters(self.law)
        bends = shapes if own_name(self.law) in ("triang", "trapezoid") else getattr(self.law.dist, "_hbins", ())
        return (low, *(t for t in sorted(float(loc + scale * s) for s in bends) if low < t < high), high)

    @cached_property
    def resolution(self) -> float:
        return 1e-10 if self.quick is None else 2 * LARGEST_TABLE_ERROR

    @cached_property
    def quick(self) -> Quick | None:
        """The law tabulated, if it is one of scipy whose quantiles are slow and a table can follow it."""
        return table_of(self.law, self.logit, repr(self)) if is_slow(self.law) else None

    def logit(self, t: Array) -> Array:
        """log P(X <= t) - log P(X > t), by scipy."""
        if own_name(self.law) in SLOW_PROBABILITIES:
            cdf = np.clip(np.asarray(self.law.cdf(t), float), 0.0, 1.0)
            return special.logit(cdf)
        with np.errstate(divide="ignore"):
            return np.log(self._own_cdf(t)) - np.log(self._own_sf(t))

    def sample(self, rng: np.random.Generator, size: Size = None) -> Array:
        """Independent draws; many of a law whose quantiles are slow come from a table, with errors of 1e-5 or so."""
        if own_name(self.law) in WRAPPED_DRAWS:
            return self.ppf(rng.random(size))
        own = stats.rv_continuous
        slow = type(self.law.dist)._ppf is own._ppf or own_name(self.law) in (*SLOW_QUANTILES, *SLOW_DRAWS)
        many = np.prod(() if size is None else size) >= DRAWS_FROM_TABLE
        if not (many and slow and type(self.law.dist)._rvs is own._rvs):
            return super().sample(rng, size)
        within = special.expit(TABLE_ENDS)
        return self._quantiles(special.logit(np.clip(rng.random(size), 1 - within, within)))

    @cached_property
    def _quantiles(self) -> PchipInterpolator:
        """Quantiles by the logit of the probability."""
        nodes = MANY_NODES if own_name(self.law) in SLOW_DRAWS else TABLE_NODES
        z = np.linspace(-TABLE_ENDS, TABLE_ENDS, nodes)
        times = np.where(z < 0, self.ppf(special.expit(z)), self.isf(special.expit(-z)))
        return PchipInterpolator(z, np.maximum.accumulate(times))

    @cached_property
    def _middle(self) -> float:
        return float(self.law.ppf(0.5))

    # scipy returns NaN where one of its formulas overflows in the far tail.
    def cdf(self, t: ArrayLike) -> Array:
        t = np.asarray(t, float)
        if self.quick is None:
            return self._own_cdf(t)
        x = self.quick.table.logit(t)
        return self.quick.joined(special.expit(x), x, self._own_cdf, t)

    def sf(self, t: ArrayLike) -> Array:
        t = np.asarray(t, float)
        if self.quick is None:
            return self._own_sf(t)
        x = self.quick.table.logit(t)
        return self.quick.joined(special.expit(-x), x, self._own_sf, t)

    @_quiet
    def _own_cdf(self, t: Array) -> Array:
        cdf = self.law.cdf(t)
        cdf = np.where(np.isnan(cdf), t > self._middle, np.clip(cdf, 0.0, 1.0))
        return cdf if self._tail is None else np.where(t > self._tail.first, 1 - self._tail(t), cdf)

    @_quiet
    def _own_sf(self, t: Array) -> Array:
        sf = self.law.sf(t)
        sf = np.where(np.isnan(sf), t < self._middle, np.clip(sf, 0.0, 1.0))
        return sf if self._tail is None else np.where(t > self._tail.first, self._tail(t), sf)

    @cached_property
    def _tail(self) -> Tail | None:
        if own_name(self.law) in SLOW_PROBABILITIES:
            return None  # the table has it
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                return upper_tail(self.law)
            except ArithmeticError as error:
                raise ArithmeticError(f"{self!r}: {error}") from None

    @quantile
    def ppf(self, q: Array) -> Array:
        if self.quick is None:
            return self._own_ppf(q)
        x = special.logit(q)
        return self.quick.joined(self.quick.table.at_logit(x), x, self._own_ppf, q)

    @quantile
    def isf(self, q: Array) -> Array:
        if self.quick is None:
            return self._own_isf(q)
        x = -special.logit(q)
        return self.quick.joined(self.quick.table.at_logit(x), x, self._own_isf, q)

    @_quiet
    def _own_ppf(self, q: Array) -> Array:
        return np.asarray(self.law.ppf(q))

    @_quiet
    def _own_isf(self, q: Array) -> Array:
        t = np.asarray(self.law.isf(q), float)
        far = (q > 0) & (q < BEGINS)
        if not far.any() or self._isf_is_accurate:
            return t
        first, t = float(self.law.isf(BEGINS)), np.array(t)
        low, high = np.full(int(far.sum()), first), np.full(int(far.sum()), 1e308)
        t[far] = first_time(lambda t: self._own_sf(t) <= q[far], low, high)
        return t

    @cached_property
    def _isf_is_accurate(self) -> bool:
        if not math.isinf(self._ends[1]):
            return True  # as far as times near the end can be told apart
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return bool(np.allclose(self._own_sf(self.law.isf(FAR)), FAR, rtol=1e-6, atol=0))

    @cached_property
    def mean(self) -> float:
        if own_name(self.law) in SLOW_PROBABILITIES:
            return moments.mean_order_statistic(self, 1, 1)
        return _confirmed(float(self.law.mean()), lambda: moments.mean_order_statistic(self, 1, 1))

    @cached_property
    def var(self) -> float:
        if own_name(self.law) in SLOW_PROBABILITIES:
            return moments.var_order_statistic(self, 1, 1)
        return _confirmed(float(self.law.var()), lambda: moments.var_order_statistic(self, 1, 1))


def _confirmed(of_scipy: float, integral: Callable[[], float]) -> float:
    """The moment ``of_scipy`` if the ``integral`` agrees with it, or cannot be computed; else the integral."""
    try:
        ours = integral()
    except ArithmeticError:
        if math.isfinite(of_scipy):
            return of_scipy
        raise
    return of_scipy if math.isclose(of_scipy, ours, rel_tol=AGREEMENT) else ours


@dataclass(frozen=True, eq=False, repr=False)
class ScipyDiscrete(_Scipy, Discrete):
    """A discrete distribution of scipy, made by ``as_delay``.

    A tail of probability below 1e-290 is left out (1e-30 for wide laws).  Raises ArithmeticError when it is used if
    more than 2^20 times matter.
    """

    law: Frozen

    @cached_property
    def _atoms(self) -> tuple[Array, Array]:
        if hasattr(self.law.dist, "xk"):  # any times, each with its probability
            _, loc, _ = parameters(self.law)
            times, weights = loc + np.ravel(cast("Any", self.law.dist).xk), np.ravel(cast("Any", self.law.dist).pk)
            return np.asarray(times[weights > 0], float), np.asarray(weights[weights > 0], float)
        low, high = self.law.support()
        for faint in OMITTED_MASS:
            last = low + 1
            beyond = self._mass_beyond if math.isinf(high) else self.law.sf
            while last < high and last - low <= MAX_ATOMS and beyond(last) > faint:
                last = low + 2 * (last - low)
            last = min(last, high)
            if last - low <= MAX_ATOMS:
                times = np.arange(low, last + 1, dtype=float)
                weights = np.asarray(cast("Any", self.law).pmf(times), float)
                return times[weights > 0], weights[weights > 0]
        raise ArithmeticError(f"{self!r} has too long a tail: more than {MAX_ATOMS} times matter")

    def _mass_beyond(self, last: float) -> float:
        """About P(X > ``last``), from the probabilities of single times, because 1 - cdf has no digits there."""
        low = self.law.support()[0]
        near = np.arange(max(low, last - GAP), last + 1)
        return float(np.max(cast("Any", self.law).pmf(near))) * (last - low)

    @property
    def times(self) -> Array:  # pyright: ignore
        return self._atoms[0]

    @property
    def weights(self) -> Array:  # pyright: ignore
        return self._atoms[1]
