r"""Simulation of the numbers of tasks of each law and age, for few deliveries per round and small thresholds.

Workers of one law whose tasks began at the same update are alike.  So it is enough to know how many tasks m there are
of each law and age, and how long each age has worked, a seconds.  With H the cumulative hazard -log S of the law, the
first, second, ... of these tasks end at the times

.. math:: H^{-1}\Big(H(a) + \frac{E_1}{m} + \frac{E_2}{m-1} + \dots\Big) - a

for independent exponential numbers E.  A round costs as much for a thousand workers as for ten.  Means of the next
round given the state (``conditional``) replace its draws, which vary by orders of magnitude.  Copies of a replicate
have antithetic numbers E, so that one has long rounds where the other has short ones.

The hazard of all tasks at work, summed over the round until each of them ends, is a sum A of k independent exponential
numbers, whatever happened before.  A short round makes the next ones short, because older tasks have not worked for
long.  So the sums of log A and of A over all rounds, less their means, are control variates that explain most of what
the next rounds differ by.
Source: Renyi (1953), On the theory of order statistics, for the gaps of exponential order statistics; Meyer (1971),
Demonstration simplifiee d'un theoreme de Knight, for the law of the summed hazard.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy import special

from abs_theory.monte_carlo.ages import AgeState
from abs_theory.monte_carlo.conditional import HARDLY_ANY, MANY, MeanRound, age_state
from abs_theory.monte_carlo.fast import TaskPool
from abs_theory.monte_carlo.tally import Tally
from abs_theory.typing import Array, Ints

__all__ = ["AgePool", "Played", "applies"]

CALL_SECONDS, CLASS_SECONDS = 60e-6, 40e-9  # cost of a round, and of each delivery and class of a replicate; rough
ROWS = 512  # replicates and copies of them, at least
INVERSE_NODES, FAR = 1 << 13, 15.0  # of the table of times; logs of the hazard, by which it goes on to earlier times
LEAST_GAP = 1e-300


LEAST_HAZARD = 1e-9  # of the table; no task ends before
MOST_STEP = 0.1  # of the log time between two nodes of the table


def applies(mean: MeanRound) -> bool:
    """Whether the tables resolve all laws: not those that no task ends in for long, between two peaks."""
    n = mean.pool.workers.n
    return all(_inverse(mean, table).largest_step(HARDLY_ANY / n, MANY) <= MOST_STEP for table in mean.tables)


class Played(NamedTuple):
    """What some rounds did, one row or column for each replicate."""

    tally: Tally
    controls: Array  # replicates x any, of mean 0
    expected: Array  # sums of the means of the next round: seconds, idle and useful worker-seconds


class AgePool:
    """The replicates of a ``TaskPool`` from their states now on, by numbers of tasks.

    Each replicate goes on as several independent copies.  What is counted is their mean, in the histogram their sum.
    """

    def __init__(self, pool: TaskPool, mean: MeanRound, rng: np.random.Generator) -> None:
        self.mean, self.rng, self.k = mean, rng, pool.k
        self.replicates, self.late, self.updates = pool.now.size, int(pool.late), pool.updates
        self.copies = -(-ROWS // self.replicates)
        state = age_state(pool)
        self.numbers = np.tile(state.numbers, self.copies).astype(float)
        self.worked = np.tile(state.worked, self.copies)
        self.tables = [_inverse(mean, table) for table in mean.tables]
        groups, ages, rows = self.numbers.shape
        self.seconds = CALL_SECONDS + CLASS_SECONDS * self.k * groups * ages * rows  # rough cost of a round
        self.looking_seconds = mean.seconds * rows / self.replicates

    def watch(self, rounds: int, every: int, parts: int) -> Played:
        """Play ``rounds`` rounds and look at the state after ``every`` few of them."""
        groups, ages, rows = self.numbers.shape
        sums = np.zeros((6, rows))  # seconds, idle, wasted, restarts, log A and A
        delivered = np.zeros((groups, ages, rows))
        expected = np.zeros((3, rows))
        age = np.arange(ages)
        before = age @ self.numbers.sum(axis=0)
        self.hazard = self._hazard(self.worked)
        for played in range(1, rounds + 1):
            delivered += self._round(sums)
            if played % every == 0:
                expected += self.mean(AgeState(self.numbers, self.worked), self.rng)
        grown = age @ self.numbers.sum(axis=0) - before
        by_age = delivered.sum(axis=0)
        histogram = by_age.T.reshape(self.copies, parts, -1, ages).sum(axis=(0, 2)).astype(np.int64)
        sums[4:] -= rounds * np.array([[special.digamma(self.k)], [self.k]])
        means = self._of_replicates(np.vstack([sums, age @ by_age, grown]))
        seconds, idle, wasted, restarts, *controls, staleness, grown = means
        by_group = self._of_replicates(delivered.sum(axis=1)).T
        tally = Tally(seconds, idle, wasted, restarts, staleness, grown, histogram, by_group)
        return Played(tally, np.array(controls).T, self._of_replicates(expected))

    def in_first_phase(self) -> Ints:
        """Tasks at work that began at a multiple of theta + 1 updates, of one copy; replicates x groups."""
        return self.numbers[:, self.updates % self.late, : self.replicates].T.astype(np.int64)

    def _of_replicates(self, rows: Array) -> Array:
        """Means over the copies of each replicate."""
        return rows.reshape(len(rows), self.copies, self.replicates).mean(axis=1)

    def _round(self, sums: Array) -> Array:
        """Play one round and add what it did to ``sums``; the deliveries of each law and age."""
        ends, hazard_then = self._ends()
        left = ends.reshape(-1, ends.shape[-1]).copy()
        length = left.min(axis=0)
        for _ in range(self.k - 1):
            left[left <= length] = math.inf
            length = left.min(axis=0)
        done = ends <= length
        if self.k > 1:
            sums[1] += np.where(done, length - ends, 0.0).sum(axis=(0, 1, 2))
        delivered = done.sum(axis=0)
        stay = self.numbers - delivered
        restarts = stay[:, -1].sum(axis=0)
        sums[0] += length
        sums[2] += restarts * (self.worked[-1] + length)
        sums[3] += restarts
        now = self._hazard(self.worked + length)
        passed = np.where(done, hazard_then, 0.0).sum(axis=(0, 1, 2))
        passed += np.einsum("gar,gar->r", stay, now) - np.einsum("gar,gar->r", self.numbers, self.hazard)
        sums[4] += np.log(np.maximum(passed, LEAST_GAP))
        sums[5] += passed
        self.numbers, self.hazard = np.roll(stay, 1, axis=1), np.roll(now, 1, axis=1)
        self.numbers[:, 0] += delivered.sum(axis=1)
        self.worked[1:], self.hazard[:, 0] = self.worked[:-1] + length, 0.0
        self.updates += 1
        return delivered

    def _hazard(self, worked: Array) -> Array:
        """H of each law for tasks that have worked for these seconds, laws x ages x rows; 0 if they are fresh."""
        mean = self.mean
        return np.array([np.where(worked > 0, -mean.log_survival(table, worked), 0.0) for table in mean.tables])

    def _ends(self) -> tuple[Array, Array]:
        """Seconds until the first k tasks of each law and age end, k x laws x ages x rows, and H then.

        The seconds are inf if there are fewer tasks.
        """
        ends = np.empty((self.k, *self.numbers.shape))
        gaps, hazard_then = self._gaps(ends.shape), np.empty_like(ends)
        for g, table in enumerate(self.tables):
            numbers, total = self.numbers[g], self.hazard[g].copy()
            now = table.log_time(total[1:])
            for i in range(self.k):
                some = numbers > i
                total += gaps[i, g] / np.where(some, numbers - i, 1.0)
                then = table.log_time(total)
                ends[i, g, 0] = np.exp(then[0])
                ends[i, g, 1:] = np.exp(now) * np.expm1(then[1:] - now)  # accurate also if it is short
                ends[i, g][~some] = math.inf
                hazard_then[i, g] = total
        return ends, hazard_then

    def _gaps(self, shape: tuple[int, ...]) -> Array:
        """Exponential numbers; those of the second half of the copies are small where those of the first are large."""
        if self.copies % 2:
            return self.rng.standard_exponential(shape)
        gaps = self.rng.standard_exponential((*shape[:-1], shape[-1] // 2))
        opposite = -np.log(-np.expm1(-np.maximum(gaps, LEAST_GAP)))
        return np.concatenate([gaps, opposite], axis=-1)


class _InverseHazard(NamedTuple):
    """Log times at equal steps of the log of the cumulative hazard."""

    first: float
    step: float
    log_times: Array

    def log_time(self, hazard: Array) -> Array:
        """Log of the time with this cumulative hazard."""
        with np.errstate(divide="ignore"):
            place = np.log(hazard)
        place -= self.first
        place /= self.step
        np.clip(place, 0.0, self.log_times.size - 1.000001, out=place)
        node = place.astype(int)
        place -= node
        before = self.log_times[node]
        place *= self.log_times[1:][node] - before
        place += before
        return place

    def largest_step(self, least: float, most: float) -> float:
        """Largest step of the log time where the hazard is between these."""
        first, last = ((math.log(hazard) - self.first) / self.step for hazard in (least, most))
        return float(np.diff(self.log_times[max(int(first), 0) : math.ceil(last) + 1]).max(initial=0.0))


def _inverse(mean: MeanRound, log_survival: Array) -> _InverseHazard:
    """Increasing and far enough for all that is drawn."""
    log_time, hazard = mean.log_first + mean.step * np.arange(log_survival.size), -log_survival
    grows = np.append(np.diff(hazard) > 0, True) & (hazard > LEAST_HAZARD)
    log_time, log_hazard = log_time[grows], np.log(hazard[grows])
    first = log_hazard[0] - FAR
    nodes = np.linspace(first, log_hazard[-1] + math.log(2), INVERSE_NODES)
    slope = (log_time[1] - log_time[0]) / (log_hazard[1] - log_hazard[0])
    growth = (log_time[-1] - log_time[-2]) / (log_hazard[-1] - log_hazard[-2])
    log_time = np.concatenate([[log_time[0] - FAR * slope], log_time, [log_time[-1] + math.log(2) * growth]])
    log_hazard = np.concatenate([[first], log_hazard, [nodes[-1]]])
    return _InverseHazard(first, nodes[1] - first, np.interp(nodes, log_hazard, log_time))
