r"""Rounds of ABS with finitely many workers, which fluctuate: the correction to the mean field.

At the start of a round f workers are fresh and the others spread over the ages j = 1..theta; an age-j worker has worked
for T_j = the last j rounds.  Four approximations close the problem:

- *The past is common to all workers.*  The law of a round is represented by a few bins, and T_j in a bin is its mean
  plus s_j times the deviation of one round; averages over the past are outside averages over the workers.
- *Numbers are two-moment binomial.*  Given the past, the number N(x) done after x seconds is a sum of binomial numbers
  (fresh and old of each group), replaced by one of the same mean and variance; the round ends when N reaches K.
- *A worker sees the others* (the cavity of statistical physics).  A worker still busy does not change the rounds it
  lives through: they are the K-th of the n - 1 others.  Its survival S(T_j) in these rounds gives the ages.
- *Rounds are autoregressive.*  Older workers finish sooner, so long rounds are followed by short ones: the slope b_j of
  the next round in T_j gives T_0 = mean - sum_j b_j (T_j - mean) + noise, whose spectrum gives s_j.

The law of the round, r, s_j and f that reproduce themselves are found by iteration.
Source: derived in notebooks/proofs/staleness.ipynb.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from abs_theory.delays import Delay
from abs_theory.delays.survival import survival, survival_of_sums
from abs_theory.steady_state.past import FREQUENCIES, RESOLVED_AGES, Ages, Past, ages_to, bin_edges
from abs_theory.steady_state.two_moment_count import beyond_two_moments, number
from abs_theory.typing import Array
from abs_theory.workers import Workers

__all__ = ["Rounds", "fluctuating_rounds"]


FEW_WORKERS = 40  # workers, up to which the grids are finer
# it runs from r exp(-SPAN_IN_LOGS) to r exp(SPAN_IN_LOGS); further, with more nodes, for broad laws
SPAN_IN_LOGS, WIDEST_SPAN = 7.0, 60.0
NONE_ALIVE = 1e-200  # survival probability taken as 0, before its inverse overflows
MOST_AT_ONCE = 2**16  # survival probabilities computed at once


class Effort(NamedTuple):
    bins: int  # of the law of a round
    nodes: int  # of the integral over its length
    steps: int  # of the iteration


FINE, COARSE = Effort(10, 48, 8), Effort(6, 32, 5)


class Rounds(NamedTuple):
    """What the iteration found, per cell."""

    mean: Array  #: seconds of a round
    idle_seconds: Array  #: per round, summed over the K workers
    misplaced: Array  #: share of a round that two moments alone misplace because groups differ
    past: tuple[Past, ...]  #: lengths of the last rounds, seen by a busy worker of each group


def fluctuating_rounds(workers: Workers, k: NDArray[np.int64], n: int, theta: Array, guess: Array) -> Rounds:
    """Self-consistent rounds for arrays of ``k`` in 1..n-1 and ``theta``, started from the round times of the limit."""
    effort = FINE if n <= FEW_WORKERS else COARSE
    parts, order = [], []
    for bound in np.unique(theta):
        cells, at, ages = np.flatnonzero(theta == bound), 0, ages_to(float(bound))
        while at < cells.size:
            alive = ages.alive(workers, float(guess[cells[at]]))
            at_once = max(1, MOST_AT_ONCE // (effort.bins * effort.nodes * max(alive.middle.size, 1)))
            block = cells[at : at + at_once]
            parts.append(_settle(workers, k[block].astype(float), n, float(bound), guess[block], alive, effort))
            order.append(block)
            at += at_once
    back = np.argsort(np.concatenate(order))
    past = tuple(
        Past(*(np.concatenate(field)[back] for field in zip(*(part.past[g] for part in parts), strict=True)))
        for g in range(len(workers.laws))
    )
    return Rounds(
        np.concatenate([p.mean for p in parts])[back],
        np.concatenate([p.idle_seconds for p in parts])[back],
        np.concatenate([p.misplaced for p in parts])[back],
        past,
    )


def _settle(workers: Workers, k: Array, n: int, theta: float, r: Array, ages: Ages, effort: Effort) -> Rounds:
    cells, groups = k.size, range(len(workers.laws))
    independent = np.sqrt(np.arange(1, RESOLVED_AGES + 1) * np.ones((cells, 1)))
    level = np.zeros((cells, effort.bins))
    past = Past(r, np.zeros(cells), level, level, independent)
    seen = [past for _ in groups]
    log_r, before = np.log(r), None
    span = max(_span(law) for law in workers.laws)
    this = None
    for step in range(effort.steps):
        fresh, old = _census(workers, k, theta, seen, ages)
        this = _round(workers, k, n, past, fresh, old, ages, effort.nodes, span, step == effort.steps - 1)
        move = np.log(this.mean) - log_r
        # the next mean falls as the past gets longer: secant steps towards the mean that reproduces itself
        slope = np.full(cells, -1.3)
        if before is not None:
            change = log_r - before[0]
            moved = np.abs(change) > 1e-9
            slope = np.where(moved, np.clip((move - before[1]) / np.where(moved, change, 1.0), -3.0, -1.0), -1.0)
        before = (log_r, move)
        if step > 0:
            log_r = log_r - move / slope
        half = 0.5 if step > 0 else 1.0
        scale = np.exp(log_r)
        spread = independent if step == 0 else past.spread + 0.5 * (this.spread - past.spread)
        level = _mix(past.deviation, this.deviation * (scale / this.mean)[:, None], half)
        past = Past(scale, past.start, level, level, spread)
        seen = [_blend(seen[g], this.seen[g], half, spread) for g in groups]
    assert this is not None
    return Rounds(this.mean, this.idle_seconds, this.misplaced, tuple(seen))


def _span(law: Delay) -> float:
    low, high = float(law.ppf(0.01)), float(law.isf(0.01))
    return min(max(SPAN_IN_LOGS, 0.6 * math.log(high / low)), WIDEST_SPAN) if low > 0 else WIDEST_SPAN


def _blend(past: Past, new: tuple[Array, Array, Array, Array], share: float, spread: Array) -> Past:
    mean, start, first, deviation = (_mix(a, b, share) for a, b in zip(past[:4], new, strict=True))
    return Past(mean, start, first, deviation, spread)


def _mix(a: Array, b: Array, share: float) -> Array:
    return a + share * (b - a)


def _census(workers: Workers, k: Array, theta: float, seen: list[Past], ages: Ages) -> tuple[list[Array], list[Array]]:
    """Fresh workers of each group, and its old ones per block of ages."""
    fresh, old = [], []
    for law, count, past in zip(workers.laws, workers.counts, seen, strict=True):
        survive = np.einsum("cej,e->cj", survival(law, past.length(ages.middle)), past.weights) * ages.size
        fresh.append(count / (1 + survive.sum(axis=1)))
        old.append(survive)
    total = np.sum(fresh, axis=0)
    # at least the K senders are fresh, and without a bound nobody else
    share = np.where(math.isinf(theta) | (total < k), k / total, 1.0)
    for g, count in enumerate(workers.counts):
        fresh[g] = np.minimum(fresh[g] * share, count)
        late = old[g].sum(axis=1)
        old[g] *= ((count - fresh[g]) / np.where(late > 0, late, 1.0))[:, None]
    return fresh, old


class _Next(NamedTuple):
    mean: Array
    deviation: Array
    spread: Array
    seen: list[tuple[Array, Array, Array, Array]]
    idle_seconds: Array
    misplaced: Array


def _round(  # noqa: PLR0913
    workers: Workers,
    k: Array,
    n: int,
    past: Past,
    fresh: list[Array],
    old: list[Array],
    ages: Ages,
    nodes: int,
    span: float,
    last: bool,
) -> _Next:
    """Law of the next round after this ``past``."""
    x, dx = _grid(past.mean, n, nodes, span)
    edges, weights = bin_edges(past.deviation.shape[1]), past.weights
    length = past.length(ages.middle)
    mean = square = np.zeros((k.size, edges.size - 1, x.shape[1]))
    done, slopes, averages = [], [], []
    variance = past.deviation**2 @ weights
    per_second = past.deviation * weights / np.where(variance > 0, variance, 1.0)[:, None]
    s = past.spread[:, np.minimum(ages.middle, RESOLVED_AGES).astype(int) - 1]
    for law, count, f, m in zip(workers.laws, workers.counts, fresh, old, strict=True):
        now = survival(law, length)
        alive = np.where(now > NONE_ALIVE, m[:, None, :], 0.0)
        total, alive_total = m.sum(axis=1), alive.sum(axis=2)
        per_survivor = alive / np.where(now > NONE_ALIVE, now, 1.0)
        later = survival_of_sums(law, length, x)
        scale = np.where(alive_total > 0, total[:, None] / np.where(alive_total > 0, alive_total, 1.0), 0.0)
        busy = np.matmul(later, (per_survivor * scale[:, :, None])[..., None])[..., 0]
        p_old = np.clip(1 - busy / np.where(total > 0, total, 1.0)[:, None, None], 0.0, 1.0)
        p_fresh = law.cdf(x)[:, None, :]
        mean = mean + f[:, None, None] * p_fresh + total[:, None, None] * p_old
        square = square + f[:, None, None] * p_fresh**2 + total[:, None, None] * p_old**2
        done.append((p_fresh, p_old))
        in_old = np.einsum("cex,e->cx", p_old, weights)
        averages.append((f[:, None] * p_fresh[:, 0, :] + (count - f)[:, None] * in_old) / count)
        slopes.append((later, per_survivor))
    kk = k[:, None, None]
    unfinished, waiting, one_short = number(mean, square, kk, n, last)
    misplaced = np.zeros(k.size)
    if len(done) > 1:
        late, waits = beyond_two_moments(workers, averages, k, n)
        unfinished = np.clip(unfinished + late[:, None, :], 0.0, 1.0)
        waiting = np.maximum(waiting + waits[:, None, :], 0.0)
        misplaced = np.sum(np.abs(late) * dx, axis=1) / past.mean
    short = np.einsum("cex,e->cx", unfinished, weights)
    average, deviation = _law(x, dx, edges, short)
    weight = (np.einsum("cex,e->cx", one_short, weights) * dx)[:, None, None, :]
    seen, b = [], np.zeros((k.size, ages.middle.size))
    for (p_fresh, p_old), (later, per_survivor) in zip(done, slopes, strict=True):
        # one worker less: one more must be done where it would have been
        (first, early), (then, spread) = (
            _law(
                x,
                dx,
                edges,
                short + np.einsum("cex,cex,e->cx", np.broadcast_to(mine, one_short.shape), one_short, weights),
            )
            for mine in (p_fresh, p_old)
        )
        seen.append((then, first - then, early, spread))
        fewer_done = np.matmul(weight, later)[:, :, 0, :] * per_survivor  # cells x bins x ages
        b = b - np.matmul(per_second[:, None, :], fewer_done)[:, 0, :] / s
    damping = np.abs(1 + np.cumsum(b[:, ::-1], axis=1)[:, ::-1] @ ages.waves)
    spectrum = (damping.min(axis=1, keepdims=True) / damping) ** 2  # relative to its largest: squares do not overflow
    sums = np.sqrt(spectrum @ SUMS / spectrum.sum(axis=1, keepdims=True))
    idle = np.einsum("cex,e,cx->c", waiting, weights, dx)
    return _Next(average, deviation, sums, seen, idle, misplaced)


_LAG = np.arange(1, RESOLVED_AGES + 1)
SUMS = (np.sin(np.outer(FREQUENCIES, _LAG) / 2) / np.sin(FREQUENCIES / 2)[:, None]) ** 2  # gain of a sum of j rounds


def _grid(r: Array, n: int, nodes: int, span: float) -> tuple[Array, Array]:
    """Nodes and weights of the integral over the length of a round, dense around ``r``, the more so the larger n."""
    steep = 1 + 0.5 * math.log(n)
    u = np.linspace(-1, 1, math.ceil(nodes * min(span / SPAN_IN_LOGS, 8)))
    x = np.exp(np.clip(np.log(r)[:, None] + span * np.sinh(steep * u) / np.sinh(steep), -690.0, 690.0))
    dx = x * span * steep * np.cosh(steep * u) / np.sinh(steep) * (u[1] - u[0])
    dx[:, [0, -1]] /= 2
    return x, dx


def _law(x: Array, dx: Array, edges: Array, unfinished: Array) -> tuple[Array, Array]:
    """Mean, and deviations of the bins from it, of a time with P(time > x) = ``unfinished``."""
    mean = x[:, 0] + np.sum(unfinished * dx, axis=1)
    ended = np.maximum.accumulate(1 - np.clip(unfinished, 0.0, 1.0), axis=1)
    ended = np.concatenate([np.zeros((x.shape[0], 1)), ended[:, :-1], np.ones((x.shape[0], 1))], axis=1)
    middle = np.concatenate([x[:, :1], (x[:, 1:] + x[:, :-1]) / 2], axis=1)
    overlap = np.minimum(ended[:, None, 1:], edges[1:, None]) - np.maximum(ended[:, None, :-1], edges[:-1, None])
    bins = np.einsum("cbx,cx->cb", np.maximum(overlap, 0.0), middle) / np.diff(edges)
    return mean, (bins / (bins @ np.diff(edges))[:, None] - 1) * mean[:, None]
