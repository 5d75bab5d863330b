"""E[T_(k)] from a trace, for each k: the mean of the k-th arrival, with an interval or the reason why there is none.

No law is assumed for the delays: common factors of workers and of rounds are in the measured arrivals.

The intervals hold the truth in 90 to 99 % of repetitions (tests/abs_theory/plan/test_intervals.py) from this many
rounds on:

    30    almost i.i.d. or unequal workers
    80    windows of different level
    60    heavy tails, as lognormal with sigma 1
    100   common slowdowns that last three rounds, in general 30 times what they last
    400   stalls of 2 % of the attempts, in general 8 that reach the rank
    800   spells of stalls that last eight rounds, in general 100 times what they last

They also do if 1 to 20 % of the calls are lost, any or the slowest, at a deadline or without a word of when (``python
-m benchmarks coverage``: 180 traces of each kind; 91 to 99.6 % hold, and 95.5 % of all).  Lost calls and stalls count
together.  Where more of them may meet in a round than did, the upper end of the interval is raised by what this may
add; there is no interval if this is more than its half-width.  Otherwise a trace in which they did not meet, by luck,
would have narrow intervals around a mean that is too small.  If more than MOST_BLIND_CALLS are lost without a word, or
whole slow rounds, nothing tells how late they were, and there is no interval either.

With fewer rounds most intervals are not identified, and the table says so.  Events that never happened in the trace
cannot be known; if they are missing from a short trace, its intervals are too narrow.
"""

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from abs_theory.plan import intervals
from abs_theory.plan.completion import Completed, complete
from abs_theory.plan.effects import Effects, RoundTable
from abs_theory.results import percent
from abs_theory.traces import counted
from abs_theory.typing import Array

__all__ = ["LONGEST_STALL", "MOST_BLIND_CALLS", "full_wait_every", "mean_arrivals"]


# Chosen so that the intervals hold their level in the regimes above.
STALLED_ROUNDS_NEEDED = 8  # rounds in which a rank stalled, before its mean is trusted
MOST_WIDENING = 1.0  # of the half-width: by how much stalls not seen and empty rounds may widen an interval
STANDARD_ERRORS_90 = 1.645  # half-width of a 90 % interval of a normal estimate
# Share of calls lost at an unknown time, above which they may be of another kind: up to it the intervals hold in at
# least 90 % for each of six laws, whether calls are lost at random or are the slowest (a test); at 0.15 not for all.
MOST_BLIND_CALLS = 0.12
LONGEST_STALL = 30.0  # usual delays: a stall or a lost call of unknown length lasts up to this, log-uniformly
MEAN_STALL = (LONGEST_STALL - 1) / math.log(LONGEST_STALL)  # usual delays, of that law
FULL_WAITS_NEEDED = 20  # rounds that wait for everybody, to learn E[T_(k)] for every k


def mean_arrivals(
    data: RoundTable, parts: Effects, rng: np.random.Generator, completed: Completed | None = None
) -> pd.DataFrame:
    """One row for each k = 1..n (the index): mean, stderr, low, high, rounds, reason and at_least; seconds.

    The mean is over the rounds in which k workers delivered, or would have if no call had been lost; ``at_least`` is a
    lower bound of the mean from the times at which lost calls were given up, without a law.  ``reason`` is "" where the
    95 % interval [low, high] is identified; it covers that calls lost at an unknown time, or that failed early, were
    late, and that they were as fast as others.  Elsewhere it says why not, and low and high are NaN:

    - nobody waited so long, or rounds lost calls at that rank;
    - the mean depends on few rounds;
    - the rank has seen few stalls and lost calls, and more of them at once, or rounds in which nothing arrived, would
      move its mean by more than noise does (``_unseen_delay``).  Where they may move it by less, ``high`` is raised by
      that much.
    """
    completed = complete(data, parts, rng) if completed is None else completed
    arrivals = completed.arrivals
    rounds, n = arrivals.shape
    estimates = intervals.resampled_means(arrivals, data.window, rng)
    reason = np.full(n, "", dtype=object)
    unseen = estimates.rounds == 0
    # whether calls lost at an unknown time were late or as fast as others
    readings = [estimates, *(intervals.resampled_means(other, data.window, rng) for other in completed.others)]
    low, high = np.min([of.low for of in readings], axis=0), np.max([of.high for of in readings], axis=0)
    enough = np.fmax.reduce([of.needed for of in readings])
    for i in np.flatnonzero(~np.isfinite(high - low) & ~unseen):
        seen = int(estimates.rounds[i])
        reason[i] = (
            f"{counted(seen, 'round')} saw so many arrivals, {max(enough[i], seen + 1):.0f} needed for an interval"
        )
    half = np.min([of.high - of.low for of in readings], axis=0) / 2
    if completed.means is not None:
        estimates.mean[:] = completed.means
    if completed.ratios is not None:
        estimates.stderr[:] = estimates.mean * completed.ratios.std(axis=0)
        low, high = estimates.mean * np.quantile(completed.ratios, [0.025, 0.975], axis=0)
    late, needed = _unseen_delay(data, parts, estimates.mean)
    usual = float(np.nanmedian(parts.worker))
    empty = data.empty / (rounds + data.empty) * np.maximum(MEAN_STALL * usual - estimates.mean, 0)
    for i in np.flatnonzero((late + empty > MOST_WIDENING * half) & (reason == "")):
        if empty[i] > late[i]:
            reason[i] = f"{counted(data.empty, 'round')} in which nothing arrived may have been slow"
        elif data.lost.any():
            reason[i] = "more calls may be lost at once than were"
        else:
            reason[i] = f"more workers may stall at once than did: {needed[i]:.0f} rounds needed"
    high += late + empty
    blind = float(data.end_unknown.mean())
    if blind > MOST_BLIND_CALLS:
        reason[:] = f"{percent(blind)} of the calls were lost, and nobody knows when"
    lost = completed.imputed.sum(axis=0)
    for i in np.flatnonzero(lost):
        reason[i] = f"{counted(int(lost[i]), 'round')} lost a call: at least {completed.bounds[i]:.4g} s"
    for i in np.flatnonzero((estimates.rounds < rounds) & (lost == 0)):
        missing = ~np.isfinite(arrivals[:, i])
        if unseen[i]:
            hidden = completed.means is not None
            reason[i] = "restarts hide how late it is" if hidden else "no round saw so many arrivals"
        elif _at_least(data, missing) > estimates.mean[i]:
            rounds_lost = counted(int(missing.sum()), "round")
            reason[i] = f"{rounds_lost} lost an attempt after a longer time than this mean"
    table = pd.DataFrame(
        {
            "mean": estimates.mean,
            "stderr": estimates.stderr,
            "low": low,
            "high": high,
            "rounds": estimates.rounds,
        },
        index=pd.RangeIndex(1, n + 1, name="k"),
    ).assign(reason=reason, at_least=completed.bounds)
    table.loc[table["reason"] != "", ["low", "high"]] = np.nan
    table["rounds"] = table["rounds"].astype(int)
    return table


def _at_least(data: RoundTable, rows: NDArray[np.bool_]) -> float:
    """Lower bound of the mean seconds of rounds ``rows``: the last arrival or the last time given up."""
    return float(np.nanmax(data.seconds[rows], axis=1).mean())


def _unseen_delay(data: RoundTable, parts: Effects, mean: Array) -> tuple[Array, Array]:
    """Seconds by which stalls and lost calls of more workers at once than were seen may move the means, for each k.

    The upper end of a 90 % interval of their share counts; 0 where enough rounds saw so many.  Also the rounds that
    would be enough.
    """
    n = mean.size
    both = parts.stalled | data.lost
    number = both.sum(axis=1)
    if not number.any():
        return np.zeros(n), np.zeros(n)
    residuals = np.where(data.lost, MEAN_STALL, parts.residual)[both]
    seconds = float(np.nanmedian(parts.worker)) * float(residuals.mean())
    tau = intervals.correlation_time(number.astype(float), np.zeros(number.size, dtype=np.int64))
    share = number.mean() / n
    dispersion = max(number.var() / (n * share * (1 - share)), 1.0) if share < 1 else 1.0
    independent = number.sum() / (tau * dispersion)  # events that came by themselves
    upper = 1 + STANDARD_ERRORS_90 / math.sqrt(independent)
    needed = tau * STALLED_ROUNDS_NEEDED / np.maximum(_share_beyond(number, n), 1e-9)
    moved = _share_beyond(number, n, upper) * np.maximum(seconds - mean, 0)
    return np.where(number.size < needed, moved, 0.0), needed


def _share_beyond(number: NDArray[np.integer], n: int, times: float = 1.0) -> Array:
    """Share of rounds in which the ``number`` of n workers is above n - k, for each k.

    By the beta-binomial law of ``times`` the mean and of equal correlation; never less than the share that was seen.
    """
    spare = n - np.arange(1, n + 1)
    share = number.mean() / n
    together = number.var() / (n * share * (1 - share)) if share < 1 else 1.0
    inside = min(max((together - 1) / max(n - 1, 1), 0.0), 0.95)  # correlation of two workers of a round
    share = min(share * times, 1.0)
    if inside > 1e-3 and share < 1:
        size = 1 / inside - 1
        tail = stats.betabinom(n, share * size, (1 - share) * size).sf(spare)
    else:
        tail = stats.binom(n, share).sf(spare)
    return np.maximum(tail, (number[:, None] > spare).mean(axis=0))


def full_wait_every(largest: int, n: int, rounds: int) -> int:
    """Rounds from one full wait to the next: a trace as long as this one then has FULL_WAITS_NEEDED; 0: no need."""
    return 0 if largest == n else min(max(rounds // FULL_WAITS_NEEDED, 2), FULL_WAITS_NEEDED)
