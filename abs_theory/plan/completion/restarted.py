"""Tasks that were restarted when they were too stale: how long they would have lasted, and what that leaves unknown.

They were stopped because of other workers, which says nothing about themselves, but a round that lost none of them was
a fast one.  How long they would have lasted follows from the law of Kaplan & Meier (1958), as far as that reaches.

If nothing tells workers and attempts apart, E[T_(k)] is that of this law, and bootstrap traces draw single tasks.
Otherwise it is the mean over the completed rows.  Bootstrap traces then draw blocks of rows, and complete the tasks of
these by laws of their own, because the law that completed the trace is an estimate as well.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from abs_theory.checks import explains_types
from abs_theory.plan import intervals
from abs_theory.plan.completion.completed import MOST_MOVED, Completed, number_of_copies
from abs_theory.plan.completion.survival import Law, mean_arrivals_of_weights
from abs_theory.plan.diagnosis import exchangeable, few_enough
from abs_theory.plan.effects import Effects, Mask, RoundTable
from abs_theory.plan.fleet_model import resized
from abs_theory.typing import Array

__all__ = ["Restarted", "complete_restarted"]

TAIL_ERROR = 4.0  # factor by which what lies beyond the horizon may be wrong, either way (a convention)
ALIKE = 0.01  # significance at which workers are taken to have different laws
LEAST_RATIO = 1e-3  # of a resampled mean to the mean
MOST_RESAMPLED_CELLS = 20_000_000  # of all bootstrap traces together
MOST_RESAMPLED_LAWS = 4000  # the same; more would take over a second
FEWEST_TRACES = 25  # bootstrap traces, whose spread is that of all
REPLAYED_TRACES = 32  # bootstrap traces to be replayed


@dataclass(frozen=True, eq=False)
class Restarted:
    """A trace with restarts as arrays, and its tasks as long as they would have lasted; seconds."""

    data: RoundTable
    groups: list[NDArray[np.intp]]  # workers of one law
    late: Array  # shape copies x rows x workers
    least: Array  # the same, but tasks beyond the horizon of their law end there

    def completed(self, n: int, parts: Effects, copies: int, rng: np.random.Generator) -> Completed:
        """What is known of the arrivals of ``n`` workers, those of the trace or others like them.

        ``parts`` are the factors of ``late[0]``, ``copies`` is the number of bootstrap traces.  They get the error of
        the tail, which may move a mean by up to TAIL_ERROR times what it does.
        """
        seeds = rng.integers(2**63, size=len(self.late))  # the same workers whenever a copy is resized
        late, least = (
            np.stack([_of_size(*of, parts, n) for of in zip(fleets, seeds, strict=True)])
            for fleets in (self.late, self.least)
        )
        arrivals, bounds = (np.sort(fleets, axis=2).mean(axis=0) for fleets in (late, least))
        if few_enough(self.data.seconds.size, n) and len(self.groups) == 1 and exchangeable(self.late[0]):
            means, at_least, ratios = self._of_one_sample(n, copies, rng)
            bounds = np.broadcast_to(at_least, bounds.shape)
        else:
            means, at_least = arrivals.mean(axis=0), bounds.mean(axis=0)
            ratios = self._of_rows(n, parts, seeds, copies, rng)
        moved = means / at_least - 1
        known = np.maximum.accumulate(moved) <= MOST_MOVED
        known[0] = True
        if ratios is not None:
            tail = TAIL_ERROR ** rng.uniform(-1, 1, (len(ratios), 1))
            ratios = ratios * (1 + (tail - 1) * moved / (1 + moved))
        nothing = np.zeros(arrivals.shape, dtype=bool)
        open_tail = bool(self.late.mean() > (1 + MOST_MOVED) * self.least.mean())
        arrivals, means = np.where(known, arrivals, np.nan), np.where(known, means, np.nan)
        levels = self.late.mean(axis=(0, 2))
        count = int(np.clip(MOST_RESAMPLED_CELLS // levels.size // n, 2, REPLAYED_TRACES))
        rows = intervals.resampled_rounds(levels, self.data.window, rng, count)
        resampled = np.stack([self._resampled(row, n, parts, seeds[i % len(seeds)], rng) for i, row in enumerate(rows)])
        return Completed(
            late, arrivals, (), bounds, nothing, nothing, means, ratios, open_tail, ended=least, resampled=resampled
        )

    def _resampled(self, rows: NDArray[np.int64], n: int, parts: Effects, seed: int, rng: np.random.Generator) -> Array:
        """A trace of these ``rows``, completed by its own laws."""
        fleet = self.data.seconds[rows]
        for law, row, worker in _laws(fleet, self.data.observed[rows], self.groups):
            fleet[row, worker] = law.later(fleet[row, worker], rng)
        return _of_size(fleet, seed, replace(parts, round=parts.round[rows]), n)

    def _of_one_sample(self, n: int, copies: int, rng: np.random.Generator) -> tuple[Array, Array, Array]:
        """E[T_(k)] by the law of all tasks, E[min(T_(k), horizon)], and the means of bootstrap samples over it."""
        seconds, observed = self.data.seconds.ravel(), self.data.observed.ravel()
        count = seconds.size
        weights = np.ones((copies + 1, count))
        for weight in weights[1:]:
            weight[:] = np.bincount(rng.integers(count, size=count), minlength=count)
        means, least = mean_arrivals_of_weights(seconds, observed, weights, n)
        return means[0], least[0], means[1:] / means[0]

    def _of_rows(
        self, n: int, parts: Effects, seeds: NDArray[np.int64], copies: int, rng: np.random.Generator
    ) -> Array | None:
        """Mean arrivals of bootstrap traces, completed by their own laws, over those of the trace; None: too few rows.

        Of a large trace there are fewer of them, and ``copies`` normal ones have their covariance.
        """
        drawn = intervals.drawn_blocks(self.late.mean(axis=(0, 2)), self.data.window, rng, copies)
        if drawn is None:
            return None
        block, draws, few_blocks = drawn
        most = min(MOST_RESAMPLED_CELLS // self.data.seconds.size, MOST_RESAMPLED_LAWS // len(self.groups))
        count = min(copies, max(most, FEWEST_TRACES))
        means = [_mean_arrivals(_of_size(*of, parts, n)) for of in zip(self.late, seeds, strict=True)]
        ratios = np.empty((count, n))
        for i, draw in enumerate(draws[:count].astype(int)):
            rows = np.repeat(np.arange(block.size), draw[block])
            copy = i % len(seeds)
            ratios[i] = _mean_arrivals(self._resampled(rows, n, parts, seeds[copy], rng)) / means[copy]
        ratios = np.maximum(ratios, LEAST_RATIO) ** few_blocks
        if count == copies:
            return ratios
        logs = np.log(ratios)
        normal = rng.standard_normal((copies, count)) / np.sqrt(count - 1)
        return np.exp(logs.mean(axis=0) + normal @ (logs - logs.mean(axis=0)))


@explains_types
def complete_restarted(data: RoundTable, rng: np.random.Generator) -> Restarted:
    """The tasks of ``data``, with those that were restarted drawn from their law.

    >>> seconds = np.random.default_rng(0).exponential(size=(100, 4))
    >>> restarted = seconds > 2
    >>> data = RoundTable(np.minimum(seconds, 2), ~restarted, np.zeros(100, dtype=np.int64), lined_up=True)
    >>> late = complete_restarted(data, np.random.default_rng(0)).late
    >>> late.shape, bool((late[:, restarted] > 2).all())
    ((8, 100, 4), True)
    """
    late = np.repeat(data.seconds[None], number_of_copies(data.seconds.size), axis=0)
    least = late.copy()
    groups = _groups(data)
    for law, row, worker in _laws(data.seconds, data.observed, groups):
        after = data.seconds[row, worker]
        for copy, bound in zip(late, least, strict=True):
            copy[row, worker] = law.later(after, rng)
            bound[row, worker] = np.minimum(copy[row, worker], np.maximum(law.horizon, after))
    return Restarted(data, groups, late, least)


def _groups(data: RoundTable) -> list[NDArray[np.intp]]:
    """Workers of one law: all, or each alone if the deliveries of some are not those expected (log-rank test)."""
    workers = np.arange(data.seconds.shape[1])
    order = np.argsort(data.seconds, axis=None, kind="stable")
    seen = data.observed.ravel()[order]
    hazard = np.empty(seen.size)
    hazard[order] = np.cumsum(seen / np.arange(seen.size, 0, -1))
    expected = hazard.reshape(data.seconds.shape).sum(axis=0)
    chi2 = float(((data.observed.sum(axis=0) - expected) ** 2 / np.maximum(expected, 1e-9)).sum())
    alike = stats.chi2.sf(chi2, max(workers.size - 1, 1)) >= ALIKE
    return [workers] if alike else list(workers[:, None])


def _laws(
    seconds: Array, observed: Mask, groups: list[NDArray[np.intp]]
) -> Iterator[tuple[Law, NDArray[np.intp], NDArray[np.intp]]]:
    """The law of each group, with the rows and workers of its tasks that were restarted."""
    for group in groups:
        seen = observed[:, group]
        row, place = np.nonzero(~seen)
        yield Law.of(seconds[:, group].ravel(), seen.ravel()), row, group[place]


def _of_size(fleet: Array, seed: int, parts: Effects, n: int) -> Array:
    """Rows of ``n`` workers: those of ``fleet``, or others like them, the same ones for the same ``seed``."""
    if n == fleet.shape[1]:
        return fleet
    return resized(fleet, parts, n, np.random.default_rng(seed), copies=1)[0]


def _mean_arrivals(fleet: Array) -> Array:
    return np.sort(fleet, axis=1).mean(axis=0)
