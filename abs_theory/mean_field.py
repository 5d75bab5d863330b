r"""Mean field of ABS with equal workers and any delay law without atoms.

With many workers every round takes the same time r.  A worker's attempt survives j rounds with probability
S(jr), is cut after theta+1 of them, and the successes per worker and round must be K/n, which determines r:

.. math:: F((\theta+1) r) \Big/ \sum_{j=0}^\theta S(jr) = K/n

The root is unique if F increases strictly from 0 to 1; where F has a flat piece, as for delays uniform on (2, 3) with
K/n = 1/2, a whole interval may solve the equation and one point of it is returned.

With few workers rounds fluctuate.  ``abs_sgd`` lets j rounds take T_j = r (j + sqrt(j) D), where r (1 + D) is
one round, and takes n independent workers: about n / sum_j E[S(T_j)] fresh ones (exactly K without a bound), the
others of age j with probability proportional to E[S(T_j)].  The next round ends when K of them are done, so its
law, its mean and the time the early ones idle follow; r and D are those that reproduce themselves.  Without a
bound, work is conserved: n r (1 - idle fraction) = K E[X].
Source: derived in notebooks/02_staleness.ipynb.
"""

import math
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import elementwise
from scipy.special import betainc

from abs_theory.delays import Delay
from abs_theory.monte_carlo import SteadyState

__all__ = ["abs_sgd", "limit_round_time"]

Array = NDArray[np.float64]

DIRECT = 64  # survivals summed one by one; beyond, the sum is an integral
DIRECT_MIXED = 16  # the same where they are averaged over D and so are smooth
BLOCK = 2**15  # survivals computed at once, to stay in the cache
NODES = 64  # of the integral over the length of a round
SPAN = 7.0  # it runs from r exp(-SPAN) to r exp(SPAN)
LEVELS = (np.arange(6) + 0.5) / 6  # quantiles that represent D
NEGLIGIBLE, LONGEST = 1e-9, 4096  # a staleness law ends where less mass remains, or after so many entries


def limit_round_time(delay: Delay, share: ArrayLike, max_staleness: ArrayLike) -> Array:
    """Round time with infinitely many workers when the server waits for a ``share`` of them.

    ``max_staleness`` inf is no bound.  Solved for a whole grid at once, about 20 times 64 survival probabilities per
    cell.  Raises ValueError unless 0 < share < 1, the law has no atoms, and E[X] is finite where there is no bound.
    """
    share, theta = np.broadcast_arrays(np.asarray(share, dtype=float), np.asarray(max_staleness, dtype=float))
    if not np.all((share > 0) & (share < 1) & (theta >= 0)):
        raise ValueError(f"share must be in (0, 1) and max_staleness >= 0, got share={share}, max_staleness={theta}")
    if delay.has_atoms or (np.any(np.isinf(theta)) and math.isinf(delay.mean)):
        raise ValueError(f"no mean field for {delay!r}: it has atoms, or an infinite mean and no bound")
    root = _root(delay, share.ravel(), theta.ravel(), np.zeros((share.size, 1)), np.full(share.size, _scale(delay)))
    return root.reshape(share.shape)


def abs_sgd(delay: Delay, k: NDArray[np.int64], n: int, max_staleness: float) -> SteadyState:
    r"""Steady state for an array of ``k`` in 1..n-1 and one ``max_staleness``, with its error.

    Exact in the limit of many workers; at any n the round time is exact for exponential delays, mean staleness and
    restarts (none) without a bound, and round and idle time at ``k = 1`` without a bound.  Elsewhere ``error`` is a
    bound on what simulation shows for shifted exponential, uniform, Weibull, gamma, Pareto, Lomax, lognormal and
    hyper-exponential delays, n from 2 to 300, all k, any threshold; the typical error is ten times smaller.  With A the
    round time of the limit, B that of n independent workers with the ages of the limit, and
    s = exp(-25 Var[X] / E[X]^2) / 2, because workers of nearly constant delay march in step, it is, with and without
    a bound:

    - round time, relative: .06 + .8/n^2 + .3 \|ln(B/A)\| + s; .015 + .06/n + s/3;
    - idle fraction: .025 + s/3; the same;
    - wasted fraction: .015 + .2/n + .03/k + .7 s; 0;
    - restarts and downlinks: .1 + .002 n + .4 s n; 0;
    - mean staleness tau: tau (.1 + s) + .08/k + .3/n^2 + 1.5 s; 0;
    - probability of each staleness: .24 + s; .01 + .45/n + .03/k + 1.2 s.

    Not covered: mixtures with a nearly constant component, which also march in step (23 % seen in the round time).
    Cost: 1536 survival probabilities for each ``k`` and threshold up to 16; about .5 ms for a cheap law.
    """
    theta, bounded = np.full(k.size, float(max_staleness)), math.isfinite(max_staleness)
    limit = _root(delay, k / n, theta, np.zeros((k.size, 1)), np.full(k.size, _scale(delay)))
    spread = _round(delay, k, n, theta, limit, np.zeros((k.size, 1))).spread
    first = _round(delay, k, n, theta, limit, spread)
    second = _round(delay, k, n, theta, first.mean, first.spread)
    # one secant step to the round time that reproduces itself; plain iteration where it does not overshoot
    move, next_move = np.log(first.mean / limit), np.log(second.mean / first.mean)
    overshoot = np.clip(-next_move / np.where(np.abs(move) > 1e-9, move, 1.0), 0.0, None)
    round_time = limit * np.exp(move / (1 + overshoot))
    settled = _round(delay, k, n, theta, round_time, second.spread)
    idle = settled.idle_seconds / (n * settled.mean)
    if not bounded:
        round_time = k * delay.mean / (n * (1 - idle))

    # the same balance of successes as in the limit, with rounds that fluctuate
    balanced = _root(delay, k / n, theta, second.spread, limit)
    pmf, cut = _staleness_law(delay, balanced, second.spread, max_staleness)
    restarts = k * cut / (1 - cut)
    mean_staleness = (n - k - (max_staleness + 1 if bounded else 0.0) * restarts) / k
    wasted = (max_staleness + 1) * restarts / n if bounded else np.zeros(k.size)
    result = SteadyState(
        round_time=round_time,
        mean_staleness=mean_staleness,
        staleness_pmf=pmf,
        restarts=restarts,
        uplinks=k.astype(float),
        downlinks=k + restarts,
        idle_fraction=idle,
        wasted_fraction=wasted,
        method="mean-field",
    )
    in_step = 0.5 * math.exp(-25 * delay.var / delay.mean**2) if math.isfinite(delay.mean) else 0.0
    error = _error_with_bound(result, k, n, move, in_step) if bounded else _error_without(result, k, n, in_step)
    return replace(result, error=error)


def _error_with_bound(state: SteadyState, k: NDArray[np.int64], n: int, move: Array, in_step: float) -> SteadyState:
    restarts = np.full(k.size, 0.1 + 0.002 * n + 0.4 * in_step * n)
    return SteadyState(
        round_time=state.round_time * (0.06 + 0.8 / n**2 + 0.3 * np.abs(move) + in_step),
        mean_staleness=0.1 * state.mean_staleness + 0.08 / k + 0.3 / n**2 + in_step * (1.5 + state.mean_staleness),
        staleness_pmf=np.full(state.staleness_pmf.shape, 0.24 + in_step),
        restarts=restarts,
        uplinks=np.zeros(k.size),
        downlinks=restarts,
        idle_fraction=np.full(k.size, 0.025 + in_step / 3),
        wasted_fraction=0.015 + 0.2 / n + 0.7 * in_step + 0.03 / k,
    )


def _error_without(state: SteadyState, k: NDArray[np.int64], n: int, in_step: float) -> SteadyState:
    none, several = np.zeros(k.size), k > 1
    pmf = 0.01 + 0.45 / n + 0.03 / k + 1.2 * in_step
    return SteadyState(
        round_time=state.round_time * several * (0.015 + 0.06 / n + in_step / 3),
        mean_staleness=none,
        staleness_pmf=np.repeat(pmf[:, None], state.staleness_pmf.shape[1], axis=1),
        restarts=none,
        uplinks=none,
        downlinks=none,
        idle_fraction=several * (0.025 + in_step / 3),
        wasted_fraction=none,
    )


class _Round(NamedTuple):
    mean: Array
    spread: Array  # quantiles of D: length of the round over its mean, minus 1
    idle_seconds: Array  # summed over the K workers


def _round(delay: Delay, k: NDArray[np.int64], n: int, theta: Array, r: Array, spread: Array) -> _Round:
    """Law of the next round if the previous ones took about ``r``, fluctuating like ``spread``."""
    steep = 1 + 0.5 * math.log(n)  # nodes are dense around r, the more so the sharper a round ends
    u = np.linspace(-1, 1, NODES)
    x = r[:, None] * np.exp(SPAN * np.sinh(steep * u) / np.sinh(steep))
    dx = x * SPAN * steep * np.cosh(steep * u) / np.sinh(steep) * (u[1] - u[0])
    dx[:, [0, -1]] /= 2

    old = _busy(delay, r[:, None], spread, theta, 0.0, DIRECT_MIXED)
    later = _busy(delay, r[:, None, None], spread[:, None, :], theta[:, None], x[:, :, None], DIRECT_MIXED)
    fresh = np.clip(np.where(np.isinf(theta), k, n / (1 + old)), k, n)[:, None]
    done_old = 1 - later / np.where(old > 0, old, 1.0)[:, None]
    done_fresh = delay.cdf(x)
    # the number done by x, a sum of two binomial numbers, as one binomial number of the same mean and variance
    mean = fresh * done_fresh + (n - fresh) * done_old
    square = fresh * done_fresh**2 + (n - fresh) * done_old**2
    trials = np.clip(mean**2 / np.where(square > 0, square, 1.0), k[:, None], n)
    busy = np.clip(1 - mean / trials, 0, 1)
    after, k = trials - k[:, None] + 1, k[:, None]
    unfinished = betainc(after, k, busy)  # P(fewer than k done by x)
    waiting = np.where(k > 1, mean * betainc(after, np.maximum(k - 1, 1), busy), 0.0)  # E[number done; fewer than k]

    ended = np.maximum.accumulate(1 - unfinished, axis=1)
    quantiles = np.exp([np.interp(LEVELS, row, log_x) for row, log_x in zip(ended, np.log(x), strict=True)])
    return _Round(
        x[:, 0] + np.sum(unfinished * dx, axis=1),
        quantiles / quantiles.mean(axis=1, keepdims=True) - 1,
        np.sum(waiting * dx, axis=1),
    )


def _staleness_law(delay: Delay, r: Array, spread: Array, max_staleness: float) -> tuple[Array, Array]:
    """Law of the staleness of applied gradients, and the probability that an attempt is cut instead."""
    bounded = math.isfinite(max_staleness)
    cut = np.mean(delay.sf(_length(max_staleness + 1, r[:, None], spread)), axis=1) if bounded else np.zeros(r.size)
    rounds = float(delay.isf(NEGLIGIBLE)) / r.min()
    entries = int(min(max_staleness + 1, LONGEST, rounds + 4 * math.sqrt(rounds) + 1))
    ages = np.arange(entries + 1)[:, None]
    survive = np.mean(delay.sf(_length(ages, r[:, None, None], spread[:, None, :])), axis=2)
    survive[:, -1] = cut
    return (survive[:, :-1] - survive[:, 1:]) / (1 - cut)[:, None], cut


def _root(delay: Delay, share: Array, theta: Array, spread: Array, guess: Array) -> Array:
    """Round time at which successes per worker and round are ``share``."""

    def excess(log_r: Array, share: Array, theta: Array, cell: NDArray[np.int64]) -> Array:
        r, spread_ = np.exp(log_r)[:, None], spread[cell]
        cut = np.where(np.isinf(theta), 0.0, _survival(delay, np.where(np.isinf(theta), 0.0, theta) + 1, r, spread_))
        return (1 - cut) / (1 + _busy(delay, r, spread_, theta, 0.0, DIRECT)) - share

    args = (share, theta, np.arange(share.size))
    start = np.log(guess)
    bracket = elementwise.bracket_root(excess, start - 0.5, start + 0.5, args=args, maxiter=200)
    root = elementwise.find_root(excess, bracket.bracket, args=args)
    if not np.all(root.success):
        raise ArithmeticError(f"no round time found for {delay!r}: its cdf may not be continuous")
    return np.exp(root.x)


def _busy(delay: Delay, r: Array, spread: Array, theta: Array, x: Any, direct: int) -> Array:
    """Sum over j = 1..theta of E[S(T_j + x)]; the last axis of ``r``, ``spread`` and ``x`` is averaged over."""
    last = int(min(theta.max(), direct if math.isfinite(delay.mean) else theta.max()))
    total = np.zeros(np.broadcast_shapes(theta.shape, np.shape(x)[:-1]))
    at_once = max(1, BLOCK // (total.size * spread.shape[-1]))
    for first in range(1, last + 1, at_once):
        j = np.arange(first, min(first + at_once, last + 1)).reshape(-1, *[1] * r.ndim)
        each = np.mean(delay.sf(_length(j, r, spread) + x), axis=-1)
        total += np.sum(np.where(theta >= j[..., 0], each, 0.0), axis=0)
    if np.any(theta > last):
        end = np.where(np.isinf(theta), last, theta)[..., None]
        more = _from(delay, last, r, spread, x)
        more -= np.where(np.isinf(theta), 0.0, _from(delay, end, r, spread, x))
        total += np.where(theta > last, more, 0.0)
    return total


def _from(delay: Delay, j: Any, r: Array, spread: Array, x: Any) -> Array:
    """Sum beyond age ``j`` of E[S(T_i + x)] by the Euler-Maclaurin formula."""
    here, after = (delay.sf(_length(j + i, r, spread) + x) for i in (0, 1))
    integral = delay.integrated_tail(_length(j + 0.5, r, spread) + x) / r
    return np.mean(integral + (after - here) / 24, axis=-1)


def _survival(delay: Delay, j: Array, r: Array, spread: Array) -> Array:
    return np.mean(delay.sf(_length(j[:, None], r, spread)), axis=1)


def _length(j: Any, r: Array, spread: Array) -> Array:
    """Seconds that j rounds take, at each quantile of their sum; beyond DIRECT rounds it spreads no further."""
    return r * np.maximum(j + np.sqrt(np.minimum(j, DIRECT)) * spread, 0.0)


def _scale(delay: Delay) -> float:
    return float(delay.ppf(0.5))
