r"""Moments of order statistics from cdf and sf alone, also for laws made of several parts.

.. math:: E[X_{(k)}] = \int_0^\infty P(X_{(k)} > t)\,dt, \qquad
          E[X_{(j+1)}] - E[X_{(j)}] = \binom{n}{j} \int_0^\infty F(t)^j (1 - F(t))^{n-j}\,dt

(the second: exactly j of n are done by t; David & Nagaraja 2003, ch. 3).  No term is negative, so nothing cancels.
Neither a density nor a quantile is needed, so kinks, atoms, gaps and parts of different scales are no problem.
The nodes come from ``panels``.  Against closed forms and mpmath, n up to 10^6: means to 1e-11, variances to 1e-9.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from abs_theory.delays.numerics import binomial, panels
from abs_theory.delays.numerics.panels import INDEX_ERROR, NEGLIGIBLE_LOG, WIDEST_PANEL, Grid, Mask
from abs_theory.typing import Array, PiecewiseLaw

MOST_AT_ONCE = 1 << 23  # ranks times nodes; 64 MB


def mean_order_statistic(law: PiecewiseLaw, k: int, n: int) -> float:
    """E[X_(k)] of ``n`` independent draws; inf if infinite.

    Raises ArithmeticError if F is not smooth between the breaks, or if a tail matters beyond the range of floating
    point and is no power law.  Cost: about 500 to 1500 nodes.
    """
    grid, late, _ = _of_rank(law, k, n, 1)
    return float(grid.weight @ late) + _tail(grid, k, n, 1)


def var_order_statistic(law: PiecewiseLaw, k: int, n: int) -> float:
    """Var[X_(k)] of ``n`` independent draws; like ``mean_order_statistic``.

    About any c, E[(X - c)^2] is the integral of 2 (t - c) P(X > t) beyond c and of 2 (c - t) P(X <= t) before.
    """
    grid, late, early = _of_rank(law, k, n, 2)
    tail = _tail(grid, k, n, 2)
    if math.isinf(tail):
        return math.inf
    mean = float(grid.weight @ late)
    centre = grid.edges[np.argmin(abs(grid.edges - mean))]
    excess = np.where(grid.t > centre, late, -early) * grid.weight
    offset = float(excess.sum()) + _tail(grid, k, n, 1)  # E[X] - c
    return 2 * (float(excess @ (grid.t - centre)) + tail) - offset * offset


def mean_order_statistics(law: PiecewiseLaw, n: int) -> Array:
    """E[X_(1)], ..., E[X_(n)] of ``n`` independent draws: the spacings, summed.  Cost: about n^1.5."""

    def too_wide(x0: Array, x1: Array) -> Mask:
        return x1 - x0 > WIDEST_PANEL * width((x0 + x1) / 2, n)

    def log_late(x: Array) -> Array:
        return np.minimum(0.0, math.log(n) - x)

    x_range = -math.log(n) + NEGLIGIBLE_LOG, math.log(n) + 3
    grid = panels.grid(law, too_wide, log_late, 1 / (n + 1), x_range)
    spacing = spacings(np.log(grid.weight), grid.log_cdf, grid.log_sf, n)
    if grid.tail is not None:
        still = np.arange(n, 0, -1)
        rate = grid.tail.power * still - 1
        rate[rate <= INDEX_ERROR] = 0.0
        height = np.exp(grid.tail.log_t + still * grid.tail.log_sf + _log_binomial(n))
        spacing += np.divide(height, rate, out=np.full(n, math.inf), where=rate > 0)
    return np.cumsum(spacing)


def width(x: Array, n: int) -> Array:
    """Standard deviation of the logit of the order statistic of ``n`` whose logit is about ``x``."""
    return np.sqrt(1 / (n * special.expit(x) + 1) + 1 / (n * special.expit(-x) + 1))


def spacings(log_weight: Array, log_cdf: Array, log_sf: Array, n: int, sign: Array | float = 1.0) -> Array:
    """Sum over nodes of ``sign`` exp(``log_weight``) C(n, j) F^j (1 - F)^(n-j), for j = 0, ..., n - 1, F increasing.

    Ranks are computed in blocks, each over the nodes that matter to it.
    """
    log_binomial = _log_binomial(n)
    log_cdf, log_sf = np.maximum(log_cdf, -1e6), np.maximum(log_sf, -1e6)  # finite: 0 log 0 is 0
    signs = np.broadcast_to(sign, log_weight.shape)
    spacing = np.empty(n)
    logs = np.stack([log_cdf, log_sf, log_weight, np.ones_like(log_sf)])
    size = max(8, math.isqrt(n))
    blocks = [np.arange(start, min(start + size, n)) for start in range(0, n, size)]
    while blocks:
        j = blocks.pop()
        ranks = np.stack([j, n - j, np.ones(j.size), log_binomial[j]], axis=1)
        first, last = ranks[[0, -1]] @ logs
        left = int(np.argmax(first > first.max() + NEGLIGIBLE_LOG))
        right = last.size - int(np.argmax(last[::-1] > last.max() + NEGLIGIBLE_LOG))
        seen = slice(min(left, right), max(left, right))
        if (seen.stop - seen.start) * j.size > MOST_AT_ONCE and j.size > 1:
            blocks += np.array_split(j, 2)
        else:
            spacing[j] = np.exp(ranks @ logs[:, seen]) @ signs[seen]
    return spacing


def _log_binomial(n: int) -> Array:
    """log C(n, j) for j = 0, ..., n - 1, by Stirling's series, because differences of log-gammas lose digits."""
    j = np.arange(1.0, n)
    other = n - j
    entropy = j * np.log(n / j) + other * np.log(n / other) + np.log(n / (2 * math.pi * j * other)) / 2
    return np.append(0.0, entropy + _stirling(np.array([n])) - _stirling(j) - _stirling(other))


def _stirling(j: Array) -> Array:
    """log j! - log(sqrt(2 pi j) (j / e)^j)."""
    i = 1.0 / j
    series = i * (1 / 12 - i**2 * (1 / 360 - i**2 * (1 / 1260 - i**2 / 1680)))
    small = np.minimum(j, 30)
    direct = special.gammaln(small + 1) - (small + 0.5) * np.log(small) + small - math.log(2 * math.pi) / 2
    return np.where(j < 30, direct, series)


def _of_rank(law: PiecewiseLaw, k: int, n: int, order: int) -> tuple[Grid, Array, Array]:
    """A grid for the k-th of n, with P(X_(k) > t) and P(X_(k) <= t) on it."""
    after = n - k + 1
    peak, width = math.log(k / after), math.sqrt(1 / k + 1 / after)

    def log_density(x: Array) -> Array:
        """Of the logit of the k-th of n uniforms, relative to its peak."""
        d = np.clip(x - peak, -panels.LARGEST_LOGIT, panels.LARGEST_LOGIT)
        return -k * np.log1p(after / (n + 1) * np.expm1(-d)) - after * np.log1p(k / (n + 1) * np.expm1(d))

    def too_wide(x0: Array, x1: Array) -> Mask:
        change = abs(log_density(x1) - log_density(x0))
        return (x1 - x0 > WIDEST_PANEL * width) & ((change > 6) | ((x0 < peak) & (x1 > peak)))

    def log_late(x: Array) -> Array:
        return log_density(np.maximum(x, peak))

    x_range = peak - max(10 * width, 50 / k), peak + 3 * width
    grid = panels.grid(law, too_wide, log_late, k / (n + 1), x_range, order)
    done, busy = np.exp(grid.log_cdf), np.exp(grid.log_sf)
    return grid, binomial.fewer_than(k, n, done, busy), binomial.at_least(k, n, done, busy)


def _tail(grid: Grid, k: int, n: int, order: int) -> float:
    """Integral of t^(order - 1) P(X_(k) > t) over the power tail, where P is C(n, k - 1) sf^(n-k+1)."""
    if grid.tail is None:
        return 0.0
    after = n - k + 1
    rate = grid.tail.power * after - order
    if rate <= INDEX_ERROR:
        return math.inf
    log_late = after * grid.tail.log_sf - math.log(after) - float(special.betaln(k, after))
    return math.exp(order * grid.tail.log_t + log_late) / rate


def integrated_tail(law: PiecewiseLaw, table: panels.TailTable, t: ArrayLike) -> Array:
    """E[(X - t)+], the integral of sf beyond ``t``, from sf and its ``table`` alone; inf if the mean is."""
    t = np.asarray(t, float)
    i = np.clip(np.searchsorted(table.edges, t, side="right"), 1, table.edges.size - 1)
    start = np.clip(t, table.edges[i - 1], table.edges[i])
    nodes, weight = panels.gauss(start, table.edges[i])
    return table.beyond[i] + (law.sf(nodes) * weight).sum(axis=-1) + np.maximum(table.edges[0] - t, 0.0)


def seconds_until(law: PiecewiseLaw, table: panels.TailTable, t: ArrayLike) -> Array:
    """E[min(X, t)], the integral of sf up to ``t``, from sf and the edges of its ``table`` alone."""
    t, edges = np.asarray(t, float), table.edges
    nodes, weight = panels.gauss(edges[:-1], edges[1:])
    before = np.append(0.0, np.cumsum((law.sf(nodes) * weight).sum(axis=-1)))
    i = np.clip(np.searchsorted(edges, t, side="right"), 1, edges.size - 1) - 1
    nodes, weight = panels.gauss(edges[i], np.clip(t, edges[i], edges[i + 1]))
    until = np.minimum(t, edges[0]) + before[i] + (law.sf(nodes) * weight).sum(axis=-1)
    return np.where(t == math.inf, math.inf, until)  # no mean
