"""Quadrature nodes in time for any delay law, from its cdf and sf.

The law names its ``breaks``, the times where its cdf F is not smooth.  Between two breaks a and b, time is measured by
y = log((t - a) / (b - t)), or by log(t - a) if b is infinite; there powers and exponentials of any scale are smooth.
Panels of y are halved until x = logit(F) changes by no more than the caller allows and F is a polynomial on each.
Then each panel gets 16 Gauss-Legendre nodes.  A tail that matters beyond the range of floating point is continued as
the power law that it has become.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from abs_theory.typing import Array, PiecewiseLaw, places_within

Mask = NDArray[np.bool_]

ORDER = 16  # nodes per panel
NODES, WEIGHTS = np.polynomial.legendre.leggauss(ORDER)  # on [-1, 1]
# values at the nodes -> Legendre coefficients of the polynomial through them
LEGENDRE = WEIGHTS * np.polynomial.legendre.legvander(NODES, ORDER - 1).T * (np.arange(ORDER)[:, None] + 0.5)
WIDEST_PANEL = 3.0  # in y; in x, in standard deviations of the order statistic
NARROWEST_PANEL = 1e-13  # relative to its time, beside a kink or jump that the law did not name
MAX_PANELS = 2**15
NEGLIGIBLE_LOG = -42.0  # exp(-42) = 6e-19: integrands are left out below this share of the largest
LATEST_LOG_TIME = 690.0  # log of the largest time
LARGEST_LOGIT = 700.0  # logit of the nearest to 0 or 1 that a probability can be
TINY = 1e-20  # a probability that 1 - cdf cannot be
INDEX_ERROR = 1e-9  # of the index of a power tail; a moment within it of the index is infinite
ROUNDING_ERROR = 1e-15  # relative, of a time and of a probability


class Tail(NamedTuple):
    """A power law: sf(t) = exp(log_sf) (t / exp(log_t))^-power for t > exp(log_t)."""

    log_t: float
    log_sf: float
    power: float


class Grid(NamedTuple):
    """Increasing nodes; ``weight`` includes dt, ``edges`` are the ends of the panels in time.

    The first node stands for all time before the panels.
    """

    t: Array
    weight: Array
    log_cdf: Array
    log_sf: Array
    edges: Array
    tail: Tail | None


class Panels(NamedTuple):
    """Intervals (y0, y1) of the coordinate y of the pieces (a, b) of the time axis, all of shape m."""

    a: Array
    b: Array
    y0: Array
    y1: Array

    def keep(self, which: Mask) -> Panels:
        return Panels(*(v[which] for v in self))

    def halved(self, which: Mask) -> Panels:
        """The same, with those of ``which`` in two."""
        a, b, y0, y1 = (np.repeat(v, 1 + which) for v in self)
        left = (np.cumsum(1 + which) - 2)[which]
        y1[left] = y0[left + 1] = (self.y0[which] + self.y1[which]) / 2
        return Panels(a, b, y0, y1)

    def ends(self) -> tuple[Array, Array]:
        return _time(self.y0, self.a, self.b)[0], _time(self.y1, self.a, self.b)[0]

    def nodes(self) -> tuple[Array, Array]:
        """Nodes in time and their weights, shape (m, 16)."""
        half = (self.y1 - self.y0)[:, None] / 2
        t, speed = _time(self.y0[:, None] + half * (1 + NODES), self.a[:, None], self.b[:, None])
        return t, half * WEIGHTS * speed


def _time(y: Array, a: Array, b: Array) -> tuple[Array, Array]:
    """Time at the coordinate y of the piece (a, b), and dt/dy."""
    endless = np.isinf(b)
    width = np.where(endless, 1.0, b - a)
    share = np.where(endless, np.exp(np.where(endless, y, 0.0)), expit(y))
    t = np.where(endless | (y < 0), a + width * share, np.where(endless, 0.0, b) - width * expit(-y))
    return t, width * share * np.where(endless, 1.0, expit(-y))


def _pieces(breaks: Array, least: float) -> Panels:
    """The first panels: all times between the breaks that are further than ``least``, or rounding, from them."""
    a, b = breaks[:-1], breaks[1:]
    width = np.where(np.isinf(b), 1.0, b - a)
    y0 = np.log(np.maximum(least, ROUNDING_ERROR * a) / width)
    y1 = np.where(
        np.isinf(b), LATEST_LOG_TIME, -np.log(np.maximum(least, ROUNDING_ERROR * np.where(np.isinf(b), 0.0, b)) / width)
    )
    wide = y1 > y0
    a, b, y0, y1 = a[wide], b[wide], y0[wide], y1[wide]
    parts = np.ceil((y1 - y0) / WIDEST_PANEL).astype(int)
    i = places_within(parts)
    step = np.repeat((y1 - y0) / parts, parts)
    start = np.repeat(y0, parts)
    return Panels(np.repeat(a, parts), np.repeat(b, parts), start + i * step, start + (i + 1) * step)


def _log(p: Array) -> Array:
    with np.errstate(divide="ignore"):
        return np.log(p)


def _logit(law: PiecewiseLaw, t: Array) -> Array:
    return np.clip(_log(law.cdf(t)) - _log(law.sf(t)), -LARGEST_LOGIT, LARGEST_LOGIT)


def _rough(near: Array, t: Array, resolution: float) -> Mask:
    """Whether the probability ``near`` differs from a polynomial on a panel by more than noise and rounding of t.

    The highest Legendre coefficients estimate the error of the polynomial.
    """
    rounding = ROUNDING_ERROR * (1 + t[:, -1] * np.ptp(near, axis=1) / np.ptp(t, axis=1))
    return abs(near @ LEGENDRE[-2:].T).max(axis=1) > resolution * near.max(axis=1) + rounding


def _about_quantile(law: PiecewiseLaw, u: float) -> float:
    """A time shortly before the ``u``-quantile."""
    first, last = -LATEST_LOG_TIME, LATEST_LOG_TIME
    for _ in range(2):
        log_t = np.linspace(first, last, 64)
        i = int(np.searchsorted(law.cdf(np.exp(log_t)), u))
        first, last = float(log_t[max(i - 1, 0)]), float(log_t[min(i, 63)])
    return math.exp(first)


def grid(
    law: PiecewiseLaw,
    too_wide: Callable[[Array, Array], Mask],
    log_late: Callable[[Array], Array],
    u: float,
    x_range: tuple[float, float],
    order: int = 1,
) -> Grid:
    """Nodes for integrals of t^(order - 1) times a probability of about exp(``log_late(x)``).

    Panels cover all times where the integrand is not negligible, and at least the logits up to the end of ``x_range``.
    Panels before the start of ``x_range`` are not halved; there are none before 1e-18 of the ``u``-quantile.
    Raises ArithmeticError if F does not become smooth.
    """
    panels = _pieces(np.array(law.breaks), 1e-18 * max(_about_quantile(law, u), law.breaks[0], 1e-270))
    while True:
        t0, t1 = panels.ends()
        x0, x1 = _logit(law, t0), _logit(law, t1)
        size, bulk = order * np.log(t0) + log_late(x0), x0 < x_range[1]
        if not bulk.any():
            if law.breaks[0] <= 0:
                raise ArithmeticError(f"times of {law!r} are too small for floating point")
            bulk[0] = True  # the first possible time has so large a probability that nothing later matters
        top = size.max(where=bulk, initial=-math.inf)
        seen = order * np.log(t1) + log_late(x0) > top + NEGLIGIBLE_LOG
        kept = bulk | (seen & (log_late(x0) > -LARGEST_LOGIT) & (x0 < LARGEST_LOGIT))
        panels, x0, x1 = panels.keep(kept), x0[kept], x1[kept]
        t0, t1 = t0[kept], t1[kept]
        free = (x1 > x_range[0]) & (t1 - t0 > NARROWEST_PANEL * t1)
        split = free & too_wide(x0, x1)
        if not split.any():
            t, weight = panels.nodes()
            cdf, sf = law.cdf(t), law.sf(t)
            split = free & _rough(np.where(x1[:, None] < 0, cdf, sf), t, law.resolution)
            if not split.any():
                break
        if x0.size > MAX_PANELS:
            raise ArithmeticError(f"the cdf of {law!r} is not smooth between its breaks")
        panels = panels.halved(split)
    share = order * np.log(t0) + np.minimum(log_late(x0), -x0)
    cut = np.isinf(panels.b) & (x1 >= LARGEST_LOGIT) & (share > share.max() + NEGLIGIBLE_LOG)
    if cut.any():  # a power law that still matters where its probabilities become too small for floating point
        kept = np.arange(cut.size) < np.argmax(cut)
        panels, x1, t, weight, cdf, sf = panels.keep(kept), x1[kept], t[kept], weight[kept], cdf[kept], sf[kept]
    edges = np.append(panels.ends()[0], panels.ends()[1][-1])
    before = 0.0 if panels.a[0] > 0 else float(law.cdf(edges[0]))  # of the time up to the first panel, one node
    t, weight = np.append(edges[0] / 2, t), np.append(edges[0], weight)
    cdf, sf = np.append(before, cdf), np.append(1 - before, sf)
    log_cdf = np.where(cdf < 0.5, _log(cdf), np.log1p(-np.minimum(sf, 0.5)))
    log_sf = np.where(sf < 0.5, _log(sf), np.log1p(-np.minimum(cdf, 0.5)))
    height = order * math.log(edges[-1]) + float(log_late(x1[-1:])[0])
    lasts = math.isinf(panels.b[-1]) and x1[-1] < LARGEST_LOGIT and height > top + NEGLIGIBLE_LOG
    return Grid(t, weight, log_cdf, log_sf, edges, _power_tail(law, float(edges[-1])) if lasts else None)


def _power_tail(law: PiecewiseLaw, t: float) -> Tail:
    """The power law that sf has become at ``t``; raises ArithmeticError if it has not."""
    log_sf = np.log(law.sf(t * np.exp([-40.0, -20.0, 0.0])))
    before, index = -np.diff(log_sf) / 20
    if not math.isclose(before, index, rel_tol=1e-6):
        raise too_heavy(law)
    return Tail(math.log(t), float(log_sf[-1]), float(index))


def too_heavy(law: PiecewiseLaw) -> ArithmeticError:
    """The error of a tail that is no power law where its probabilities end; it says if ``sf`` has lost them before."""
    with np.errstate(all="ignore"):
        time = float(law.isf(TINY))
        survival = float(law.sf(time))
    if math.isfinite(time) and not TINY / 2 < survival < 2 * TINY:
        return ArithmeticError(
            f"sf of {law!r} must be accurate where it is tiny, got sf(isf({TINY})) = {survival:.3g}: compute it, and "
            "isf, without 1 - cdf"
        )
    return ArithmeticError(f"the tail of {law!r} is too heavy for floating point")


class TailTable(NamedTuple):
    """``beyond[i]`` is the integral of sf beyond ``edges[i]``."""

    edges: Array
    beyond: Array


def tail_table(law: PiecewiseLaw) -> TailTable:
    """Integrals of sf beyond each of many times, down to the smallest probabilities."""

    def too_wide(x0: Array, x1: Array) -> Mask:
        return x1 - x0 > 2 * WIDEST_PANEL

    nodes = grid(law, too_wide, lambda x: np.where(x < LARGEST_LOGIT, 0.0, -math.inf), 0.5, (NEGLIGIBLE_LOG, math.inf))
    area = (np.exp(nodes.log_sf) * nodes.weight)[1:].reshape(-1, ORDER).sum(axis=1)
    beyond = np.append(np.cumsum(area[::-1])[::-1], 0.0)
    if nodes.tail is not None:
        rate = nodes.tail.power - 1
        beyond += math.exp(nodes.tail.log_t + nodes.tail.log_sf) / rate if rate > INDEX_ERROR else math.inf
    return TailTable(nodes.edges, beyond)


def gauss(start: Array, end: Array) -> tuple[Array, Array]:
    """Nodes and weights between ``start`` and ``end``, shape (..., 16)."""
    half = ((end - start) / 2)[..., None]
    return start[..., None] + half * (1 + NODES), half * WEIGHTS
