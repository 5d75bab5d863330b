"""Many replicates of an ABS server at once, worker by worker: any delay law, also one that ties, and any k and bound.

The plain way to play the rounds.  It checks ``fast``, which is faster but does not keep track of single workers.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from abs_theory.monte_carlo.long_run import LongRun
from abs_theory.monte_carlo.tally import Tally, counts
from abs_theory.typing import Array, Ints, Laws
from abs_theory.workers import Workers, as_workers

__all__ = ["PlainPool", "PlayedFleet", "PlayedRound", "watch"]


class PlayedRound(NamedTuple):
    """What one round did, per replicate: seconds have shape ``replicates``, masks ``replicates x n``."""

    duration: Array  #: seconds until the k-th delivery
    staleness: NDArray[np.int64]  #: of the k applied gradients, shape replicates x k
    idle_seconds: Array  #: of all workers together, between delivery and the end of the round
    useful_seconds: Array  #: of all workers together, of the tasks delivered in this round, from their start
    wasted_seconds: Array  #: of all workers together, of the tasks thrown away at its end, from their start
    delivered: NDArray[np.bool_]  #: who delivered
    restarted: NDArray[np.bool_]  #: who was told to start again


class PlayedFleet:
    """Independent replicates of n workers under an ABS server, at time 0 fresh or, with ``long_run``, in its states."""

    def __init__(
        self, delay: Laws, n: int, rng: np.random.Generator, replicates: int, long_run: LongRun | None = None
    ) -> None:
        self.workers, self.rng = as_workers(delay, n), rng
        self.updates = 0
        self.time = np.zeros(replicates)
        self.start = np.zeros((replicates, n))
        self.finish = self._draw(np.arange(replicates * n)).reshape(replicates, n)
        self.version = np.zeros((replicates, n), dtype=np.int64)  # updates made when the worker got its model
        if long_run is not None:
            age, self.finish = long_run.draw(rng, replicates)
            self.updates = long_run.oldest
            self.version, self.start = self.updates - age, -long_run.round_time * age

    @property
    def staleness(self) -> NDArray[np.int64]:
        """Staleness of every gradient in flight, shape ``replicates x n``."""
        return self.updates - self.version

    def round(self, k: int, max_staleness: float) -> PlayedRound:
        """Wait for ``k`` gradients, update, restart whoever is now staler than ``max_staleness``.

        Equal finish times: lower worker index first.  Cost O(n) per replicate, whatever ``k``.
        """
        replicates = self.time.size
        now = np.partition(self.finish, k - 1, axis=1)[:, k - 1 : k]
        delivered = self.finish <= now
        if np.count_nonzero(delivered) > k * replicates:
            first = np.argsort(self.finish, axis=1, kind="stable")[:, :k]
            delivered = np.zeros_like(delivered)
            np.put_along_axis(delivered, first, True, axis=1)
        done = np.flatnonzero(delivered)
        finish, start = (times.take(done).reshape(replicates, k) for times in (self.finish, self.start))
        staleness = self.updates - self.version.take(done).reshape(replicates, k)
        self.updates += 1
        fresh, restarted, wasted = delivered, np.zeros_like(delivered), np.zeros(replicates)
        if max_staleness < self.updates:
            restarted = ~delivered & (self.version < self.updates - max_staleness)
            wasted = np.einsum("ij,ij->i", now - self.start, restarted)
            fresh = delivered | restarted
        jobs = np.flatnonzero(fresh)
        begin = now[:, 0].take(jobs // fresh.shape[1])
        self.start.put(jobs, begin)
        self.finish.put(jobs, begin + self._draw(jobs))
        self.version.put(jobs, self.updates)
        duration, self.time = now[:, 0] - self.time, now[:, 0]
        idle, useful = (now - finish).sum(axis=1), (finish - start).sum(axis=1)
        return PlayedRound(duration, staleness, idle, useful, wasted, delivered, restarted)

    def _draw(self, jobs: NDArray[np.intp]) -> Array:
        """Delays of the workers at these places of a ``replicates x n`` table."""
        if self.workers.equal:
            return self.workers.laws[0].sample(self.rng, jobs.size)
        group, delays = self.workers.group[jobs % self.workers.n], np.empty(jobs.size)
        for g in np.unique(group):
            mine = group == g
            delays[mine] = self.workers.laws[g].sample(self.rng, int(np.count_nonzero(mine)))
        return delays


class PlainPool:
    """The tasks of a server that waits for ``k`` and restarts what is staler than ``max_staleness``."""

    def __init__(
        self,
        workers: Workers,
        k: int,
        max_staleness: float,
        rng: np.random.Generator,
        replicates: int,
        start: LongRun | None,
    ) -> None:
        self.k, self.max_staleness, self.rng = k, max_staleness, rng
        self.fleet = PlayedFleet(workers, workers.n, rng, replicates, start)

    def run(self, rounds: int) -> None:
        """Play ``rounds`` rounds."""
        for _ in range(rounds):
            self.fleet.round(self.k, self.max_staleness)

    def watch(self, rounds: int, most_staleness: int | None = None, spread: int = 1) -> Tally:
        """Count what ``rounds`` rounds do; each replicate is watched from one of the next ``spread`` rounds on."""
        begin = self.rng.integers(spread, size=self.fleet.time.size)
        return _counted(self.fleet, self.k, self.max_staleness, begin, rounds, spread - 1 + rounds, most_staleness)

    def in_first_phase(self) -> Ints:
        """Tasks at work that began at a multiple of theta + 1 updates, replicates x groups."""
        group, groups = self.fleet.workers.group, len(self.fleet.workers.laws)
        first = self.fleet.version % int(self.max_staleness + 1) == 0
        return counts(np.where(first, group, groups), groups + 1)[:, :groups]


def watch(
    workers: Workers,
    k: int,
    max_staleness: float,
    rng: np.random.Generator,
    replicates: int,
    warmup: int,
    rounds: int,
    start: LongRun | None = None,
) -> Tally:
    """Sums over ``rounds`` rounds after the ``warmup``, which ends at a random round in each replicate.

    Constant delays repeat a cycle for ever, of n // k rounds if they are equal and there is no bound: the random end
    makes the replicates differ, and their mean that of the cycle, wherever the window cuts it.
    """
    fleet = PlayedFleet(workers, workers.n, rng, replicates, start)
    spread = 4 * (workers.n // k)
    begin = warmup + rng.integers(spread, size=replicates)
    return _counted(fleet, k, max_staleness, begin, rounds, warmup + spread - 1 + rounds)


def _counted(
    fleet: PlayedFleet,
    k: int,
    max_staleness: float,
    begin: Ints,
    rounds: int,
    total: int,
    most_staleness: int | None = None,
) -> Tally:
    """What each replicate does in ``rounds`` rounds from its ``begin`` on, while all play ``total`` rounds."""
    replicates, n = fleet.version.shape
    longest = total + fleet.updates if most_staleness is None else most_staleness
    tally = Tally.of(replicates, min(longest, max_staleness), columns=n)
    for j in range(total):
        tally.aged[begin == j] -= fleet.staleness[begin == j].sum(axis=1)
        done = fleet.round(k, max_staleness)
        rows = np.flatnonzero((begin <= j) & (j < begin + rounds))
        if rows.size:
            tally.seconds[rows] += done.duration[rows]
            tally.idle[rows] += done.idle_seconds[rows]
            tally.wasted[rows] += done.wasted_seconds[rows]
            tally.restarts[rows] += np.count_nonzero(done.restarted[rows], axis=1)
            tally.delivered[rows] += done.delivered[rows]
            tally.add_staleness(done.staleness[rows], rows)
        over = begin + rounds == j + 1
        tally.aged[over] += fleet.staleness[over].sum(axis=1)
    return tally
