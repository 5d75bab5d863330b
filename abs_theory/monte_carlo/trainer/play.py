"""Many replicates of a server whose updates take time, played together: each step is one event in every replicate.

Slots run tasks, finished tasks queue, and the trainer takes k of them for an update.  ``Rules`` says who may start
when, and what happens to stale work.  So one engine plays ABS, K-async, K-batch-async with a threshold, and admission
control; that with a window, or without spare slots and thresholds, is played by ``windows``.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from abs_theory.checks import explains_types
from abs_theory.delays import Delay, Mixture
from abs_theory.monte_carlo.draws import Draws
from abs_theory.monte_carlo.tally import counts
from abs_theory.monte_carlo.trainer.queues import Queues
from abs_theory.monte_carlo.trainer.records import LONGEST_STALENESS, Record, Rules, length_edges
from abs_theory.monte_carlo.trainer.windows import play_in_windows, play_rounds
from abs_theory.results import Estimate, TrainerState
from abs_theory.typing import Array
from abs_theory.workers import Workers

__all__ = ["may_lock", "played"]

Rows = NDArray[np.intp]

DRAWN_AHEAD = 4096  # numbers
FIELDS = 4  # of a finished task: version at its start, updates at its end, slot, length
WARM_UP = 20  # updates, and half as many generations of slots
LONGEST_QUEUE = 200  # batches; a longer queue has no end
STEADY = 0.3  # coefficient of variation of a task, below which rounds may lock to each other
STAGGERED = 12  # starts of the watch, if they may


def pooled(workers: Workers) -> Delay:
    """The law of a task of a random slot."""
    if workers.equal:
        return workers.laws[0]
    return Mixture(tuple(count / workers.n for count in workers.counts), workers.laws)


def may_lock(workers: Workers) -> bool:
    """Whether the tasks of some worker vary so little that rounds may lock to each other.

    >>> from abs_theory.delays import Exponential, Uniform
    >>> from abs_theory.workers import as_workers
    >>> may_lock(as_workers(Uniform(1.0, 1.1), 4)), may_lock(as_workers(Exponential(1.0), 4))
    (True, False)
    """
    return any(law.var < (STEADY * law.mean) ** 2 for law in workers.laws)


@explains_types
def played(
    workers: Workers, rules: Rules, update: Delay | None, rng: np.random.Generator, num_rounds: int = 200,
    replicates: int = 32, warmup: int | None = None,
) -> TrainerState:  # fmt: skip
    """Means over ``num_rounds`` updates after a warm-up, with 95 % half-widths; ``update`` None takes no time.

    Where tasks vary little, rounds may repeat in cycles.  Then replicates are watched from different updates on, so
    that the half-widths show what a cycle cut in the middle does.
    Cost: about 1 us for each task and replicate at n = 64, 2 us at n = 512.
    Raises ValueError if the queue before the trainer grows without end.

    >>> from abs_theory.delays import Exponential
    >>> from abs_theory.workers import as_workers
    >>> state = played(as_workers(Exponential(1.0), 8), Rules(k=2), None, np.random.default_rng(0), 100, 16)
    >>> abs(state.mean_staleness - 7 / 2) < 0.1  # (n - 1) / k
    True
    """
    n, k = workers.n, rules.k
    if warmup is None:
        warmup = WARM_UP + math.ceil(WARM_UP * n / k / 2)
        if update is not None and rules.max_staleness < math.inf:  # the queue may grow slowly to that age
            warmup += WARM_UP * int(rules.max_staleness) // 2
    law = pooled(workers)
    edges = length_edges(law)
    record, per_round = Record.of(replicates, n, edges.size + 1), 1 / num_rounds
    first = np.full(replicates, warmup)
    if may_lock(workers):
        first += np.arange(replicates) % STAGGERED
    in_rounds = rules.most_open == n and workers.equal and math.isinf(rules.max_staleness)
    if in_rounds and (update is not None or rules.window < math.inf):
        play_rounds(record, rules, workers.laws[0], update, rng, edges, first, num_rounds)
    elif rules.window < math.inf:
        for row in range(replicates):
            task, seconds = _one_by_one(law, rng), _one_by_one(update, rng)
            watched = range(first[row], first[row] + num_rounds)
            play_in_windows(record, row, rules, n, task, seconds, edges, watched)
    else:
        fleet = _Fleet(workers, rules, update, rng, record, edges, first, first + num_rounds)
        while (fleet.updates < fleet.last).any():
            fleet.step()
    lost = record.aborted + record.dropped
    columns: dict[str, Array] = {
        "round_time": record.seconds * per_round,
        "mean_staleness": record.staleness * per_round / k,
        "staleness_pmf": record.histogram * per_round / k,
        "restarts": record.aborted * per_round,
        "uplinks": k + record.dropped * per_round,
        "downlinks": k + lost * per_round,
        "idle_fraction": record.idle / (n * record.seconds),
        "wasted_fraction": record.lost / (n * record.seconds),
        "participation": record.participation * per_round,
        "queued_staleness": record.queued * per_round / k,
        "dropped": record.dropped * per_round,
        "trainer_busy": record.training / record.seconds,
        "trained_length": record.trained_seconds * per_round / k,
    }
    last = int(np.flatnonzero(record.histogram.any(axis=0))[-1]) + 1
    columns["staleness_pmf"] = columns["staleness_pmf"][:, :last]
    unit = Estimate(0.0, 1.0, replicates).half_width() / math.sqrt(replicates)
    below = np.array([0.0, *law.cdf(edges), 1.0])
    offered = record.offered.sum(axis=0)
    seen = offered > 0
    shares = law.ppf((below[1:] + below[:-1]) / 2)[seen], record.trained.sum(axis=0)[seen] / offered[seen]

    def state(values: dict[str, Array]) -> dict[str, Any]:
        return {name: value if value.ndim else float(value) for name, value in values.items()} | {"shares": shares}

    means = state({name: values.mean(axis=0) for name, values in columns.items()})
    widths = state({name: unit * values.std(axis=0, ddof=1) for name, values in columns.items()})
    return TrainerState(**means, method="monte-carlo", error=TrainerState(**widths))


def _one_by_one(law: Delay | None, rng: np.random.Generator) -> Callable[[], float]:
    """A function that draws from this law, or is always 0."""
    if law is None:
        return lambda: 0.0
    drawn: list[float] = []

    def draw() -> float:
        if not drawn:
            drawn.extend(law.sample(rng, DRAWN_AHEAD).tolist())
        return drawn.pop()

    return draw


class _Fleet:
    """The state of all replicates."""

    def __init__(
        self, workers: Workers, rules: Rules, update: Delay | None, rng: np.random.Generator, record: Record,
        edges: Array, first: Rows, last: Rows,
    ):  # fmt: skip
        n, replicates = workers.n, record.seconds.size
        self.workers, self.rules, self.update, self.rng, self.first, self.last = (
            workers,
            rules,
            update,
            rng,
            first,
            last,
        )
        self.draws, self.record = Draws(workers, rng, replicates), record
        self.edges = edges
        self.rows = np.arange(replicates)
        # by slot; an idle one never finishes
        self.finish, self.start = np.full((replicates, n), math.inf), np.zeros((replicates, n))
        self.version = np.zeros((replicates, n), np.int64)
        self.waits = np.zeros((replicates, n), bool)  # for its task to be trained; only if there is no slot to spare
        # by replicate
        self.time, self.until = np.zeros(replicates), np.full(replicates, math.inf)  # until: end of the update
        self.updates, self.open, self.busy = np.zeros((3, replicates), np.int64)
        self.queues = Queues(replicates, 4 * rules.k, FIELDS)
        self.in_training = np.zeros((replicates, rules.k), np.int64)  # the slots of the tasks of the last batch
        everything, slots = np.nonzero(np.isinf(self.finish))
        few = slots < rules.most_open
        self._begin(everything[few], slots[few])

    def step(self) -> None:
        """Advance every replicate by one event: a task that ends, or an update."""
        slot = self.finish.argmin(axis=1)
        arrives = self.finish[self.rows, slot]
        updated = self.until < arrives  # as in the simulator, a task that ends together with an update comes first
        now = np.where(updated, self.until, arrives)
        passed = (now - self.time) * self._watched(self.rows)
        self.record.seconds[:] += passed
        self.record.idle[:] += passed * (self.workers.n - self.busy)
        self.record.training[:] += passed * np.isfinite(self.until)
        self.time = now
        if updated.any():
            rows = np.flatnonzero(updated)
            self._update(rows)
            self._take(rows)
        rows = np.flatnonzero(~updated)
        self._arrive(rows, slot[rows])
        self._take(rows)
        if self.update is None:  # an update that takes no time precedes the next start
            done = rows[self.until[rows] <= self.time[rows]]
            self._update(done)
        free = rows[np.isinf(self.finish[rows, slot[rows]]) & (self.open[rows] < self.rules.most_open)]
        self._begin(free, slot[free])

    def _watched(self, rows: Rows) -> NDArray[np.bool_]:
        return (self.updates[rows] >= self.first[rows]) & (self.updates[rows] < self.last[rows])

    def _begin(self, rows: Rows, slots: Rows) -> None:
        """Start a task in each of these slots; ``rows`` in order."""
        if not rows.size:
            return
        new = np.bincount(rows, minlength=self.rows.size)
        if self.workers.equal:
            delays = self.draws.equal(rows.size)
        else:
            delays = self.draws.unequal(self.workers.group[slots].astype(np.int64))
        self.start[rows, slots] = self.time[rows]
        self.finish[rows, slots] = self.time[rows] + delays
        self.version[rows, slots] = self.updates[rows]
        self.open += new
        self.busy += new

    def _arrive(self, rows: Rows, slots: Rows) -> None:
        """Put the tasks that have ended into the queue, or drop them if they are too stale."""
        version, length = self.version[rows, slots], self.finish[rows, slots] - self.start[rows, slots]
        self.finish[rows, slots] = math.inf
        self.waits[rows, slots] = self.rules.most_open == self.workers.n
        self.busy[rows] -= 1
        stale = self.updates[rows] - version > self.rules.max_staleness
        if stale.any():
            late = rows[stale]
            self.waits[late, slots[stale]] = False
            self.open[late] -= 1
            self._count_lost(late, length[stale], length[stale], self.record.dropped, self._watched(late))
            rows, slots, version, length = rows[~stale], slots[~stale], version[~stale], length[~stale]
        self.queues.put(rows, np.array([version, self.updates[rows], slots, length], float))
        endless = self.rules.most_open == self.rules.max_staleness == math.inf
        if endless and self.queues.waiting[rows].max(initial=0) > LONGEST_QUEUE * self.rules.k + self.workers.n:
            raise ValueError(
                "the queue before the trainer grows without end: updates take longer than the slots need for a batch; "
                "use fewer slots, a threshold, or a limit of tasks started and not yet trained"
            )

    def _take(self, rows: Rows) -> None:
        """Let each idle trainer take what it may; a complete batch starts an update."""
        rows = rows[np.isinf(self.until[rows]) & (self.queues.waiting[rows] >= self.rules.k)]
        if not rows.size:
            return
        tasks = self.queues.take(rows, self.rules.k)
        self._count_trained(rows, tasks)
        self.in_training[rows] = tasks[2]
        seconds = 0.0 if self.update is None else self.update.sample(self.rng, rows.size)
        self.until[rows] = self.time[rows] + seconds

    def _update(self, rows: Rows) -> None:
        """End an update: drop or restart what is now too stale, and let idle slots start."""
        if not rows.size:
            return
        watched = self._watched(self.rows)
        self.updates[rows] += 1
        self.until[rows] = math.inf
        self.open[rows] -= self.rules.k
        self.waits[rows[:, None], self.in_training[rows]] = False
        if self.rules.max_staleness < math.inf:
            oldest = self.updates[rows] - self.rules.max_staleness
            late, (_, _, slots, length) = self.queues.remove_older(rows, oldest)
            if late.size:
                self.waits[late, slots.astype(np.int64)] = False
                self.open -= np.bincount(late, minlength=self.rows.size)
                restarts = self.rules.most_open == self.workers.n  # a slot that waits for its task starts it again
                tally = self.record.aborted if restarts else self.record.dropped
                self._count_lost(late, length, length, tally, watched[late])
            if self.rules.in_flight:
                stale, slots = np.nonzero((self.version[rows] < oldest[:, None]) & np.isfinite(self.finish[rows]))
                late = rows[stale]
                spent, length = self.time[late] - self.start[late, slots], self.finish[late, slots]
                self._count_lost(late, spent, length - self.start[late, slots], self.record.aborted, watched[late])
                gone = np.bincount(late, minlength=self.rows.size)
                self.open -= gone
                self.busy -= gone
                order = np.lexsort((slots, late))
                self._begin(late[order], slots[order])
        if self.rules.most_open < math.inf:
            idle = np.isinf(self.finish[rows]) & ~self.waits[rows]
            free = (self.rules.most_open - self.open[rows])[:, None]
            row, slots = np.nonzero(idle & (idle.cumsum(axis=1) <= free))
            order = np.lexsort((slots, rows[row]))
            self._begin(rows[row][order], slots[order])

    def _count_lost(self, rows: Rows, spent: Array, length: Array, tally: Array, watched: NDArray[np.bool_]) -> None:
        np.add.at(tally, rows, watched)
        np.add.at(self.record.lost, rows, spent * watched)
        np.add.at(self.record.offered, (rows, self.edges.searchsorted(length)), watched)

    def _count_trained(self, rows: Rows, tasks: Array) -> None:
        """Count the ``tasks`` that the trainers of these ``rows`` take, shape ``FIELDS x rows x k``."""
        kept = self._watched(rows)
        rows, tasks, record = rows[kept], tasks[:, kept], self.record
        if not rows.size:
            return
        version, ended, slot = tasks[:3].astype(np.int64)
        length, updates = tasks[3], self.updates[rows][:, None]
        record.staleness[rows] += (updates - version).sum(axis=1)
        record.queued[rows] += (updates - ended).sum(axis=1)
        record.trained_seconds[rows] += length.sum(axis=1)
        record.histogram[rows] += counts(updates - version, LONGEST_STALENESS + 1)
        bins = counts(self.edges.searchsorted(length), self.edges.size + 1)
        record.trained[rows] += bins
        record.offered[rows] += bins
        np.add.at(record.participation, (rows[:, None], slot), 1)
