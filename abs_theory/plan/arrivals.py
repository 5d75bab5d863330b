"""E[T_(k)] from a trace, for each k: the mean of the k-th arrival, with an interval or the reason why there is none.

Nothing is assumed of the delays: whatever makes workers alike, or rounds, is in the measured arrivals.

The intervals hold the truth in 90 to 99 % of repetitions (tests/test_plan_intervals.py) from this many rounds on:

    30    almost i.i.d. or unequal workers
    80    windows of different level
    60    heavy tails, as lognormal with sigma 1
    100   common slowdowns that last three rounds, in general 30 times what they last
    400   stalls of 2 % of the attempts, in general 8 that reach the rank
    800   spells of stalls that last eight rounds, in general 100 times what they last

With fewer they are mostly not identified, which is said; but what has never happened in the trace cannot be known, and
its absence from a short trace makes an interval too narrow.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from abs_theory.plan import intervals
from abs_theory.plan.effects import Effects, Table
from abs_theory.typing import Array

__all__ = ["full_wait_every", "mean_arrivals"]


SEEN = 8  # rounds that were stalled at a rank, before its mean can be trusted
WORTH = 0.25  # of the half-width: what stalls not seen may move a mean unnoticed
NEW = 20  # full-wait rounds that tell E[T_(k)] for every k


def mean_arrivals(data: Table, parts: Effects, rng: np.random.Generator) -> pd.DataFrame:
    """One row for each k = 1..n (the index): mean, stderr, low, high, rounds and reason; seconds.

    The mean is over the rounds in which k workers delivered.  ``reason`` is "" where the 95 % interval [low, high] is
    identified, else says why not, and low and high are NaN: nobody waited so long; rounds that lost an attempt were
    longer than the others; the mean hangs on few rounds; or stalls of which a rank has seen none, or few, would
    move it, to judge by the number of workers that stall at once (``_hits``).
    """
    arrivals = data.arrivals
    rounds, n = arrivals.shape
    found = intervals.means(arrivals, data.window, rng)
    reason = np.full(n, "", dtype=object)
    unseen = found.rounds == 0
    few = np.flatnonzero(~found.identified & ~unseen)
    for i in few:
        reason[i] = f"{found.rounds[i]:.0f} rounds, {max(found.needed[i], found.rounds[i] + 1):.0f} needed"
    share, length, tau = _hits(parts, n)
    needed = tau * SEEN / np.maximum(share, 1e-9)
    half = (found.high - found.low) / 2
    moved = np.where(rounds < needed, share * np.maximum(length - found.mean, 0), 0.0)
    for i in np.flatnonzero((moved > WORTH * half) & (reason == "")):
        reason[i] = f"more workers may stall at once than did: {needed[i]:.0f} rounds needed"
    for i in np.flatnonzero(found.rounds < rounds):
        missing = ~np.isfinite(arrivals[:, i])
        if unseen[i]:
            reason[i] = "no round saw so many arrivals"
        elif _at_least(data, missing) > found.mean[i]:
            reason[i] = f"{missing.sum()} rounds lost an attempt, and lasted longer than this mean before they did"
    table = pd.DataFrame(
        {"mean": found.mean, "stderr": found.stderr, "low": found.low, "high": found.high, "rounds": found.rounds},
        index=pd.RangeIndex(1, n + 1, name="k"),
    ).assign(reason=reason)
    table.loc[table["reason"] != "", ["low", "high"]] = np.nan
    table["rounds"] = table["rounds"].astype(int)
    return table


def _at_least(data: Table, rows: NDArray[np.bool_]) -> float:
    """Mean seconds that rounds ``rows`` lasted at least: until their last sign of life."""
    return float(np.nanmax(data.seconds[rows], axis=1).mean())


def _hits(parts: Effects, n: int) -> tuple[Array, float, float]:
    """Share of rounds in which more than n - k workers stall, for each k; seconds of a stall; rounds in a spell.

    From the number of stalled workers per round, by the beta-binomial law with its mean and variance: stalls that
    strike together go far beyond those seen.  Raised to what was seen, if more.
    """
    stalled = parts.stalled.sum(axis=1)
    if not stalled.any():
        return np.zeros(n), 0.0, 1.0
    spare = n - np.arange(1, n + 1)
    share = stalled.mean() / n
    together = stalled.var() / (n * share * (1 - share)) if share < 1 else 1.0
    inside = min(max((together - 1) / max(n - 1, 1), 0.0), 0.95)  # correlation of two workers of a round
    if inside > 1e-3:
        size = 1 / inside - 1
        tail = stats.betabinom(n, share * size, (1 - share) * size).sf(spare)
    else:
        tail = stats.binom(n, share).sf(spare)
    seen = (stalled[:, None] > spare).mean(axis=0)
    length = float(np.nanmedian(parts.worker)) * float(parts.rest[parts.stalled].mean())
    tau = intervals.correlation_time(stalled.astype(float), np.zeros(stalled.size, dtype=np.int64))
    return np.maximum(tail, seen), length, tau


def full_wait_every(largest: int, n: int, rounds: int) -> int:
    """Wait for everybody once in so many rounds: a trace as long as this one then has NEW such rounds; 0: no need."""
    return 0 if largest == n else min(max(rounds // NEW, 2), NEW)
