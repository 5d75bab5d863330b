r"""The law of a sum of independent draws, with relative accuracy in both tails.

For independent A and B and any split t = a + b, the event {A + B > t} is the disjoint union of
{A > a, B > b}, {A <= a, A + B > t} and {B <= b, A + B > t}; the same holds for <=.  All terms are positive, so
nothing cancels, however small the probability.  The integrals are over the logit of u / F(a), where u is the
probability F(A) (or that of B); there they are smooth for any scale and tail.  Doubling gives sums of many draws.

A sum is stored as a quintic spline of x = logit(F) in y = log(t - start), or in log((t - start) / (end - t)) if the
law is bounded, where |x| < 90.  Further out it continues linearly, which is exact for power laws and at bounds.
The density of a sum has kinks where two laws end; one spline ends there and another begins.

Accuracy: against the closed forms for gammas, quantiles down to 1e-30 are good to 1e-9 (1e-11 in the centre).  With
bounded laws, probabilities are good to 1e-7 for two terms and to 1e-5 for more; to 5e-6 for two terms if the other law
has an infinite density, such as a gamma of shape 0.3.  Means of order statistics are good to 2e-8.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import BSpline, make_interp_spline
from scipy.special import expit, logit

from abs_theory.typing import Array, Law

INTEGRATION_PANELS = 240  # of the trapezoid rule
SPLINE_NODES = 480
MOST_KINKS = 24  # a sum with more kinks has kinks too weak to matter to the spline
NEAREST_TO_BOUND = 1e-10  # relative; nearer to a bound other than 0, t - start is mostly rounding
LOGIT_PER_LOG_TIME = 2.0  # distance of nodes: one unit of y counts as so many units of x
LOGIT_KNEE = 8.0  # nodes become sparser where |x| is larger
KEPT_REACH = 100.0  # logit up to which sums are tabulated that are part of other sums
LOGITS = np.arange(-40.0, 40.1, 0.25)  # where the smoothness of a law is looked at
ROUNDING = 1e-8  # relative; a time nearer to the start of its law has too few digits to show a bend
LARGEST_BEND = 2.0  # ratio of neighbouring slopes dy/dx, a step of .25 apart, up to which sums are good to 1e-8


@dataclass(frozen=True, eq=False)
class Scale:
    """The coordinate y of the table of a law on (``start``, ``end``) that is not smooth at the ``kinks`` between."""

    start: float
    end: float
    kinks: tuple[float, ...] = ()

    def from_time(self, t: Array) -> Array:
        with np.errstate(divide="ignore"):
            y = np.log(np.maximum(t - self.start, 0.0))
            return y - np.log(np.maximum(self.end - t, 0.0)) if math.isfinite(self.end) else y

    def to_time(self, y: Array) -> Array:
        if math.isfinite(self.end):
            return np.where(
                y < 0,
                self.start + (self.end - self.start) * expit(y),
                self.end - (self.end - self.start) * expit(-y),
            )
        with np.errstate(over="ignore"):
            return self.start + np.exp(y)


@dataclass(frozen=True, eq=False)
class Line:
    """An increasing quintic spline, in pieces that meet at its kinks, linear beyond its ends."""

    splines: tuple[BSpline, ...]
    ends: Array  # of the pieces
    slopes: tuple[float, float]

    @classmethod
    def through(cls, x: Array, y: Array, kinks: NDArray[np.intp]) -> "Line":
        """The spline through the points (x, y), with kinks at the points of the given indices."""
        slopes = float((y[4] - y[0]) / (x[4] - x[0])), float((y[-1] - y[-5]) / (x[-1] - x[-5]))
        cuts = [0, *kinks.tolist(), x.size - 1]
        pieces = [slice(i, j + 1) for i, j in pairwise(cuts)]
        return cls(tuple(make_interp_spline(x[p], y[p], k=5) for p in pieces), x[cuts], slopes)

    def __call__(self, x: Array) -> Array:
        below, above = np.minimum(x - self.ends[0], 0.0), np.maximum(x - self.ends[-1], 0.0)
        inside = np.clip(x, self.ends[0], self.ends[-1])
        if len(self.splines) == 1:
            value = self.splines[0](inside)
        else:
            piece, value = np.searchsorted(self.ends[1:-1], inside), np.empty(inside.shape)
            for i, spline in enumerate(self.splines):
                value[piece == i] = spline(inside[piece == i])
        return value + self.slopes[0] * below + self.slopes[1] * above


@dataclass(frozen=True, eq=False)
class Exact:
    """What convolution needs of a law: time to logit(F) and back."""

    law: Law
    kinks = ()

    @cached_property
    def start(self) -> float:
        return float(self.law.ppf(0.0))

    @cached_property
    def end(self) -> float:
        return float(self.law.isf(0.0))

    def logit(self, t: Array) -> Array:
        with np.errstate(divide="ignore"):
            return np.log(self.law.cdf(t)) - np.log(self.law.sf(t))

    def at_logit(self, x: Array) -> Array:
        return np.where(x < 0, self.law.ppf(expit(np.minimum(x, 0))), self.law.isf(expit(-np.maximum(x, 0))))


@dataclass(frozen=True, eq=False)
class TabulatedSum:
    """The tabulated law of a sum."""

    scale: Scale
    x_of_y: Line
    y_of_x: Line

    @property
    def start(self) -> float:
        return self.scale.start

    @property
    def end(self) -> float:
        return self.scale.end

    @property
    def kinks(self) -> tuple[float, ...]:
        return self.scale.kinks

    def logit(self, t: ArrayLike) -> Array:
        return self.x_of_y(self.scale.from_time(np.asarray(t, float)))

    def at_logit(self, x: ArrayLike) -> Array:
        return self.scale.to_time(self.y_of_x(np.asarray(x, float)))

    def cdf(self, t: ArrayLike) -> Array:
        return expit(self.logit(t))

    def sf(self, t: ArrayLike) -> Array:
        return expit(-self.logit(t))

    def ppf(self, q: ArrayLike) -> Array:
        return self.at_logit(logit(q))

    def isf(self, q: ArrayLike) -> Array:
        return self.at_logit(-logit(q))


def sum_of_draws(law: Law, steps: int, reach: float = 90.0) -> TabulatedSum:
    """Law of the sum of ``steps`` >= 2 independent draws from ``law``, tabulated for |logit(F)| < ``reach``."""
    single = Exact(law)
    first = steps - 1 if steps % 2 else steps // 2
    a = single if first == 1 else sum_of_draws(law, first, reach + 10)  # its tail is part of that of the sum
    b = single if steps % 2 else a
    # {S <= t} needs every draw to be <= t, {S > t} needs one to be > t / steps
    low = float(law.ppf(math.exp(-reach / steps)))
    high = steps * float(law.isf(math.exp(-reach) / steps))
    return _tabulated(a, b, first / steps, (low - single.start, high), reach)


def is_smooth(law: Law) -> bool:
    """Whether splines and quadrature in the logit resolve ``law``: it has no gaps or nearly flat parts of the cdf.

    Sums of laws that are smooth in this sense are good to 1e-8, of 2 to 64 draws.
    """
    exact = Exact(law)
    t = exact.at_logit(LOGITS)
    since_start = np.where(t - exact.start > ROUNDING * t, t - exact.start, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = np.diff(np.log(since_start))
        bend = slope[1:] / slope[:-1]
    bend = bend[np.isfinite(bend) & (bend > 0)]  # none at the ends of a law, where times cannot be told apart
    return bool(np.all(np.maximum(bend, 1 / bend) < LARGEST_BEND))


@lru_cache(maxsize=256)
def _table_of_draws(law: Law, steps: int) -> Exact | TabulatedSum:
    """Like ``sum_of_draws``, for many numbers of ``steps`` in turn: tables are kept, and all have the same reach."""
    if steps == 1:
        return Exact(law)
    first = steps - 1 if steps % 2 else steps // 2
    a, b = _table_of_draws(law, first), _table_of_draws(law, steps - first)
    low, high = float(law.ppf(math.exp(-KEPT_REACH / steps))), steps * float(law.isf(math.exp(-KEPT_REACH) / steps))
    return _tabulated(a, b, first / steps, (low - Exact(law).start, high), KEPT_REACH)


def sum_of_laws(parts: Sequence[tuple[Law, int]]) -> Exact | TabulatedSum:
    """Law of the sum of independent draws, ``count`` from each law of ``parts``; short laws are added first."""
    if len(parts) == 1 and parts[0][1] > 1:
        return sum_of_draws(*parts[0], KEPT_REACH)
    tables = [_table_of_draws(law, count) for law, count in parts]
    total, *others = sorted(tables, key=_typical)
    for other in others:
        share = _typical(total) / (_typical(total) + _typical(other))
        low, high = (
            np.array([float(law.at_logit(np.array(x))) - law.start for law in (total, other)]) for x in (-50.0, 92.0)
        )
        total = _tabulated(total, other, share, (low.max() / 2, total.start + other.start + 2 * high.max()), 90.0)
    return total


@lru_cache(maxsize=16)
def table(law: Law) -> TabulatedSum:
    """A table of ``law`` itself, for a law whose quantiles are slow."""
    exact = Exact(law)
    times = float(law.ppf(expit(-110.0))) - exact.start, float(law.isf(expit(-110.0)))
    return tabulated(exact.logit, Scale(exact.start, exact.end), times, 100.0)


def _typical(law: Exact | TabulatedSum) -> float:
    return max(_reached(law, 0.0), 1e-290)


def _reached(law: Exact | TabulatedSum, x: float) -> float:
    """Seconds from the start to the time at which the logit is ``x``."""
    return float(law.at_logit(np.array(x))) - law.start


def _tabulated(
    a: Exact | TabulatedSum, b: Exact | TabulatedSum, share: float, times: tuple[float, float], reach: float
) -> TabulatedSum:
    """Law of A + B; A gets a ``share`` of each time.  At ``times`` after the start the logit is beyond ``reach``."""
    ends = a.start + b.start, a.end + b.end
    kinks = np.add.outer([a.start, *a.kinks, a.end], [b.start, *b.kinks, b.end])
    kinks = np.unique(kinks[(kinks > ends[0]) & (kinks < ends[1])])
    scale = Scale(*ends, tuple(kinks.tolist()) if kinks.size <= MOST_KINKS else ())

    def logit_of_sum(t: Array) -> Array:
        return _logit_of_sum(a, b, share, t, scale.start)

    return tabulated(logit_of_sum, scale, times, reach)


def tabulated(
    logit_at: Callable[[Array], Array],
    scale: Scale,
    times: tuple[float, float],
    reach: float,
    nodes: tuple[int, int, int] = (64, 128, SPLINE_NODES),
) -> TabulatedSum:
    """Table of the law on ``scale`` from its logit(F) at a time; ``times`` after the start enclose the table.

    The logit is computed at two first sets of ``nodes`` and at those of the table.
    """
    first, second, last = nodes
    if math.isfinite(scale.end):
        ends = -reach, -math.log(NEAREST_TO_BOUND)
    else:
        ends = np.log(np.maximum([times[0], times[1] - scale.start], 1e-290))
    if scale.start > 0:
        ends = max(ends[0], math.log(NEAREST_TO_BOUND * min(scale.start, 1.0))), ends[1]
    y = np.linspace(ends[0], ends[1], first)
    for number, x_max in ((second, 2 * reach), (last, reach)):
        y = _respaced(y, logit_at(scale.to_time(y)), number, x_max)
    y, kinks = _with_kinks(y, scale.from_time(np.array(scale.kinks)))
    x = logit_at(scale.to_time(y))
    if not np.all(np.diff(x) > 0):
        raise ArithmeticError(
            "no table can follow the cdf of a sum of delays: a term has gaps or flat parts, or rounding errors, as "
            "some of scipy have; write the law as a Mixture of laws without them, or use simulation"
        )
    return TabulatedSum(scale, Line.through(y, x, kinks), Line.through(x, y, kinks))


def _with_kinks(y: Array, kinks: Array) -> tuple[Array, NDArray[np.intp]]:
    """Nodes that include the ``kinks``, at least 24 per piece, and the indices of the kinks.

    Pieces are divided like ``y``, but evenly between close kinks.
    """
    if not kinks.size:
        return y, np.zeros(0, np.intp)
    cuts = np.unique([y[0], *kinks[(kinks > y[0]) & (kinks < y[-1])], y[-1]])
    rank = np.interp(cuts, y, np.arange(y.size))
    counts = np.maximum(np.ceil(np.diff(rank)).astype(int), 24)
    pieces = [
        np.interp(np.linspace(rank[i], rank[i + 1], count + 1), np.arange(y.size), y)[:-1]
        for i, count in enumerate(counts)
    ]
    for piece, cut in zip(pieces, cuts, strict=False):
        piece[0] = cut
    return np.append(np.concatenate(pieces), cuts[-1]), np.cumsum(counts)[:-1]


def _respaced(y: Array, x: Array, nodes: int, x_max: float) -> Array:
    """``nodes`` values of y, dense where the logit x rises fast, and only where |x| < ``x_max``."""
    x = np.clip(x, -800.0, 800.0)
    slack = 1 + np.abs(x[1:] + x[:-1]) / 2 / LOGIT_KNEE
    pace = np.append(0.0, np.cumsum((np.diff(x) + LOGIT_PER_LOG_TIME * np.diff(y)) / slack))
    first, last = np.interp([-x_max, x_max], x, pace)
    return np.interp(np.linspace(first, last, nodes), pace, y)


def _logit(law: Exact | TabulatedSum, t: Array) -> Array:
    return np.clip(law.logit(t), -800.0, 800.0)  # finite, so that differences are never NaN


def _logit_of_sum(a: Exact | TabulatedSum, b: Exact | TabulatedSum, share: float, t: Array, start: float) -> Array:
    """logit P(A + B <= t), split where A has its ``share`` of t, within the bounds of both laws."""
    of_a = np.clip(a.start + share * (t - start), t - b.end, a.end)
    of_b = t - of_a
    crossing = _crossing(a, b, of_a, of_b)
    below, above = crossing + (crossing if a is b else _crossing(b, a, of_b, of_a))
    xa, xb = _logit(a, of_a), _logit(b, of_b)
    with np.errstate(divide="ignore"):
        return np.log(below + expit(xa) * expit(xb)) - np.log(above + expit(-xa) * expit(-xb))


def _crossing(a: Exact | TabulatedSum, b: Exact | TabulatedSum, of_a: Array, of_b: Array) -> Array:
    """P(A <= of_a, B > of_b, A + B <= t) and P(A <= of_a, A + B > t), where t = of_a + of_b."""
    of_a, of_b = of_a[:, None], of_b[:, None]
    xa, xb = _logit(a, of_a), _logit(b, of_b)
    x_free = _logit(a, of_a + of_b - b.end)  # if A is below it, the sum is in time for any B
    share = expit(xa) * expit(-x_free) * -np.expm1(x_free - xa)  # P(x_free < logit F(A) <= xa)
    low, high = -37.0, 37.0 + np.where(of_a < a.end, np.minimum(np.logaddexp(0.0, xa), 200.0), 0.0)
    step = (high - low) / INTEGRATION_PANELS
    z = low + step * np.arange(INTEGRATION_PANELS + 1)
    u, u_above = expit(x_free) + share * expit(z), expit(-xa) + share * expit(-z)
    with np.errstate(divide="ignore"):
        time_left = np.maximum(of_a - a.at_logit(np.log(u) - np.log(u_above)), 0.0)
    x = _logit(b, of_b + time_left)
    weight = share * expit(z) * expit(-z) * step
    gap = expit(x) * expit(-xb) * -np.expm1(np.minimum(xb - x, 0.0))  # expit(x) - expit(xb)
    in_time, late = (gap * weight).sum(axis=1), (expit(-x) * weight).sum(axis=1)
    return np.stack([in_time + expit(x_free[:, 0]) * expit(-xb[:, 0]), late])
