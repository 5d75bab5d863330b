"""What a choice of k may lose: plausible values of E[T_(k)] for all k at once, given a trace.

A plausible value is a bootstrap mean of the measured arrivals, plus the effect of stalls that are rarer than those
seen.  If workers and rounds are exchangeable, all delays are resampled as one sample, which knows best how often
several slow ones meet; otherwise blocks of rounds are.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from abs_theory.plan.arrivals import LONGEST_STALL
from abs_theory.plan.diagnosis import exchangeable, few_enough
from abs_theory.plan.effects import Mask, RoundTable
from abs_theory.plan.evidence import COPIES, Evidence
from abs_theory.plan.intervals import FEWEST, block_averages
from abs_theory.typing import Array

__all__ = ["MOST_LOST", "Losses", "PlausibleMeans", "further_rounds"]


MOST_LOST = 0.05  # upper loss above which the data do not carry a choice (a convention)
UPPER = 0.95  # quantile that is the upper loss
NOT_CLEARLY_WORSE = 0.025  # of the plausible traces in which a candidate is as good as the best: one end of 95 %
# Rounds without a stall do not prove that there are none.  Their number is drawn from a Gamma law as if this many had
# been seen more, and their length is log-uniform up to LONGEST_STALL usual delays.  The weaker prior of the range in
# which choices called identified keep their error on rare stalls (python -m benchmarks losses); 0.5 is Jeffreys'.
UNSEEN_STALLS = 0.4
TIMES_AS_LONG = 1.2 ** np.arange(1, 46)  # traces considered for the number of rounds needed
LEAST_RATIO = 1e-3  # of a resampled mean to the mean
STALL_ROWS, STALL_LENGTHS = 200, 8  # rounds and lengths of stalls tried for the effect of one stall


@dataclass(frozen=True, eq=False)
class Losses:
    """By which share of its own rate each candidate is below the best one in hindsight, shape ``candidates`` each.

    1.5 means that the best one delivers 2.5 times as much, or takes 1 / 2.5 of the time.
    """

    expected: Array
    upper: Array  # not exceeded with a probability of UPPER at least, and not below the expected one
    alike: NDArray[np.bool_]  # not clearly worse (NOT_CLEARLY_WORSE) than the one with the least expected loss

    @classmethod
    def of(cls, rates: Array) -> "Losses":
        """Losses of ``rates``, shape ``copies x candidates``; the more, the better."""
        lost = rates.max(axis=1, keepdims=True) / rates - 1
        expected = lost.mean(axis=0)
        least = rates[:, [int(expected.argmin())]]
        alike = (rates >= least).mean(axis=0) >= NOT_CLEARLY_WORSE
        # the mean of a few large losses may be above the quantile
        return cls(expected, np.maximum(np.quantile(lost, UPPER, axis=0), expected), alike)

    def safest(self, slack: float) -> int:
        """The last candidate that the data cannot tell from the best and that loses at most MOST_LOST.

        Of those alike whose expected loss is within ``slack`` of the least.  If none is safe, the one of them with the
        least upper loss.
        """
        equals = self.alike & (self.expected <= self.expected.min() + slack)
        limit = max(MOST_LOST, self.upper[equals].min())
        return int(np.flatnonzero(equals & (self.upper <= limit))[-1])


class PlausibleMeans:
    """Plausible E[T_(k)] for k = 1..n, in seconds, given a trace; NaN for a k that no round saw."""

    def __init__(self, evidence: Evidence, rng: np.random.Generator) -> None:
        data, parts, n = evidence.taking_part, evidence.effects, evidence.n
        self.rounds = len(data.seconds)
        lost = _stalled_by_loss(data)
        self.delays = int(np.count_nonzero(data.observed | lost))
        self.usual = float(np.nanmedian(parts.worker))
        stall_seconds = evidence.measured.seconds[parts.stalled]
        if lost.any():  # a lost call is a stall: without it, losing calls would make the choice safer
            drawn = evidence.completed.copies
            as_drawn = drawn.shape[1:] == data.seconds.shape  # else the plan is for another number of workers
            late = drawn[:, lost].mean(axis=0) if as_drawn else np.maximum(data.seconds[lost], self.usual)
            stall_seconds = np.concatenate([stall_seconds, late])
        self.stalls = stall_seconds.size
        self.stall_seconds = float(stall_seconds.mean()) if self.stalls else self.usual
        self.uniform = rng.random((3, COPIES))  # for the number, the kind and the length of stalls
        if evidence.completed.means is not None:
            self.mean, self.ratios = evidence.completed.means, evidence.completed.ratios
            self.stalled, self.moved = None, None
        elif few_enough(self.delays, n) and data.observed.all() and exchangeable(data.seconds):
            delays = np.sort(data.seconds, axis=None)
            self.mean, self.ratios = _of_one_sample(delays, n, rng)
            self.stalled, self.moved = None, None
        else:
            arrivals = evidence.completed.arrivals
            seen = np.isfinite(arrivals)
            self.mean = np.where(seen, arrivals, 0.0).sum(axis=0) / np.where(seen.any(axis=0), seen.sum(axis=0), np.nan)
            self.ratios = _of_blocks(arrivals, self.mean, evidence.rounds.window, rng)
            at_once = (evidence.round_effects.stalled | _stalled_by_loss(evidence.rounds)).sum(axis=1)
            self.stalled = (at_once[:, None] > n - np.arange(1, n + 1)).mean(axis=0)
            self.moved = _one_stall(arrivals)

    @property
    def known(self) -> NDArray[np.bool_]:
        """Whether some round saw so many arrivals, for each k."""
        return np.isfinite(self.mean)

    def draws(self, times: float = 1.0) -> Array | None:
        """Plausible means, shape ``COPIES x n``, given a trace ``times`` as long that looks the same; None: unknown."""
        if self.ratios is None:
            return None
        return self.mean * self.ratios ** (1 / math.sqrt(times)) + self.later(times)

    def later(self, times: float = 1.0) -> Array:
        """Plausible seconds, shape ``COPIES x n``, by which stalls rarer than those seen make the arrivals later."""
        number, kind, length = self.uniform
        seen = 0.0 if self.stalled is None else self.stalls * times
        share = stats.gamma.ppf(number, seen + UNSEEN_STALLS) / (self.delays * times)
        unseen_seconds = self.usual * LONGEST_STALL**length
        seconds = np.where(kind * (seen + UNSEEN_STALLS) < seen, self.stall_seconds, unseen_seconds)
        late = np.maximum(seconds[:, None] - self.mean, 0.0)
        hit = _share_hit(np.minimum(share, 1.0), self.mean.size)
        if self.stalled is None or self.moved is None:  # those seen are in the one sample
            return hit * late
        rare = stats.gamma.ppf(number, UNSEEN_STALLS) / (self.delays * times)
        single = self.moved[(length * len(self.moved)).astype(int)] * rare[:, None]
        return np.maximum(np.maximum(hit - self.stalled, 0.0) * late, single)

    def losses(self, times: float = 1.0, among: NDArray[np.bool_] | None = None) -> Losses | None:
        """Losses of the k ``among`` those known; None if too few rounds tell nothing of them."""
        means = self.draws(times)
        if means is None:
            return None
        ks = np.flatnonzero(self.known if among is None else among)
        return Losses.of((ks + 1) / means[:, ks])

    def further_rounds(self, slack: float, among: NDArray[np.bool_]) -> int:
        """About how many rounds more until some choice of k loses at most MOST_LOST; 0: none."""
        if np.count_nonzero(among) == 1:
            return 0

        def upper(times: float) -> float:
            losses = self.losses(times, among)
            return math.inf if losses is None else float(losses.upper[losses.safest(slack)])

        return further_rounds(upper, self.rounds)


def further_rounds(upper: Callable[[float], float], rounds: int) -> int:
    """About how many rounds more, two digits, until ``upper`` of a trace ``times`` as long is at most MOST_LOST."""
    if upper(1.0) <= MOST_LOST:
        return max(FEWEST - rounds, 0)
    enough = (times for times in TIMES_AS_LONG if upper(float(times)) <= MOST_LOST)
    further = (next(enough, TIMES_AS_LONG[-1]) - 1) * rounds if math.isfinite(upper(1.0)) else rounds
    unit = 10 ** max(math.floor(math.log10(max(further, 1))) - 1, 0)
    return max(FEWEST - rounds, math.ceil(further / unit) * unit)


def _stalled_by_loss(data: RoundTable) -> Mask:
    """Lost calls of workers that deliver mostly; one that hardly ever does is slow, which is no stall of others."""
    return data.lost & (data.lost.sum(axis=0) <= data.observed.sum(axis=0))


def _share_hit(share: Array, n: int) -> Array:
    """P(more than n - k of n workers stall) for each ``share`` of stalls and k."""
    return np.asarray(stats.binom.sf(n - np.arange(1, n + 1), n, share[:, None]))


def _of_one_sample(delays: Array, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """E[T_(k)] for n draws from sorted ``delays``, and those of bootstrap samples over them."""
    count = delays.size
    below = np.asarray(stats.binom.sf(np.arange(n), n, np.arange(count + 1)[:, None] / count))  # P(T_(k) <= delays[i])
    mean = delays @ np.diff(below, axis=0)
    # sum x_i (B_i - B_(i-1)) = x_last - sum (x_(i+1) - x_i) B_i; equal delays need one term
    step = np.flatnonzero(np.diff(delays) > 0)
    gaps = np.diff(delays)[step]
    ratios = np.empty((COPIES, n))
    for copy in ratios:
        drawn = np.cumsum(np.bincount(rng.integers(count, size=count), minlength=count))
        copy[:] = (delays[-1] - gaps @ below[drawn[step]]) / mean
    return mean, ratios


def _of_blocks(arrivals: Array, mean: Array, window: NDArray[np.int64], rng: np.random.Generator) -> Array | None:
    """Mean k-th arrivals of bootstrap traces over those of the trace; None with too few blocks."""
    resampled = block_averages(arrivals, window, rng, COPIES)
    return None if resampled is None else np.maximum(resampled / mean, LEAST_RATIO)


def _one_stall(arrivals: Array) -> Array:
    """Slope of the mean k-th arrivals in the share of calls that stall, shape ``lengths x k``, seconds.

    If a worker that came among the first k stalls, the next one takes its place, or nobody if all are needed.
    """
    rows = arrivals[np.isfinite(arrivals[:, 0])]
    rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), STALL_ROWS)).astype(int)]
    n = rows.shape[1]
    moved = np.zeros((STALL_LENGTHS, n))
    for row in rows:
        known = row[np.isfinite(row)]
        size = known.size
        ks = np.arange(1, size + 1)
        after = np.append(known[1:], math.inf if size == n else 2 * known[-1] - known[0])
        for i in range(STALL_LENGTHS):
            stalled = LONGEST_STALL ** ((i + 0.5) / STALL_LENGTHS) * known
            total = np.append(0.0, np.cumsum(stalled))
            # of the first k, those before ``first`` still come in time, and those from ``passed`` on after the next one
            first = np.minimum(np.searchsorted(stalled, known), ks)
            passed = np.clip(np.searchsorted(stalled, after), first, ks)
            moved[i, :size] += total[passed] - total[first] - (passed - first) * known
            with np.errstate(invalid="ignore"):
                moved[i, :size] += np.where(ks > passed, (ks - passed) * (after - known), 0.0)
    return moved / len(rows)
