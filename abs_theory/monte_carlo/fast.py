"""Many replicates of an ABS server at once, fast: the engine of the Monte Carlo for delays that never tie.

Nobody needs to know which of several equal workers is which, so a replicate is a row of n *tasks* in any order, and
a round is a partial sort of the row: the k tasks that end first come to the front, and those that their workers
begin next take their places.  Three ideas make it fast.

- **A task is one integer.**  The bits of a positive float sort like integers, and the lowest of them matter little:
  there goes the label of the task, the group of its worker and the update at which it began.  So the labels travel
  with the sort; an end is cut by a relative 2^-52 times the number of labels.
- **Only the near future is sorted.**  The next m rounds deliver k m tasks, so they can be played among the k m that
  end first now, and those that may be restarted: a task that begins takes the place of one that was delivered, and
  whatever was left out ends after all that these rounds need.  Applied again to the few it is an incremental
  quicksort, O(log(n / k)) for each delivered task instead of O(n / k).
- **Many replicates** share every call of numpy.

Source: Navarro & Paredes (2010), On Sorting, Heaps, and Minimum Spanning Trees, for the incremental quicksort.
"""

import math

import numpy as np
from numpy.typing import NDArray

from abs_theory.monte_carlo.ages import AgeControls
from abs_theory.monte_carlo.controls import Controls
from abs_theory.monte_carlo.draws import Draws
from abs_theory.monte_carlo.long_run import LongRun
from abs_theory.monte_carlo.tally import Tally, counts
from abs_theory.typing import Array
from abs_theory.workers import Workers

__all__ = ["TaskPool", "label_bits", "watch"]

Tasks = NDArray[np.int64]

NEAR_SHARE = 4  # the near future holds one in so many tasks
ROUNDS_WORTH_LOOKING_AHEAD = 4
LEAST_ROUNDS_OF_CLOCK = 64  # after so many rounds, or more, time starts again from 0, so that ends keep their digits
COUNTED_AT_ONCE = 1 << 15  # delivered tasks


class TaskPool:
    """Independent replicates of n workers under an ABS server of constant ``k`` and bound, all fresh at time 0."""

    def __init__(
        self,
        workers: Workers,
        k: int,
        max_staleness: float,
        rng: np.random.Generator,
        replicates: int,
        most_rounds: int,
        start: LongRun | None = None,
        controls: Controls | None = None,
    ) -> None:
        """All fresh, or as they are in the long run if there is a ``start``.

        The delays are drawn with ``rng``, unless the ``controls`` have shared draws.
        """
        self.k, self.workers = k, workers
        self.controls = controls
        self.ages: AgeControls | None = None  # to which watched rounds are added, if these are the last played
        oldest = 0 if start is None else start.oldest
        most_rounds += oldest
        # rounds missed before a restart
        self.late = int(max_staleness) + 1 if max_staleness < most_rounds else math.inf
        # tasks that a round touches, delivered and, in the long run, restarted
        self.load = k + (workers.n - k) / self.late
        shared = None if controls is None else controls.shared
        self.draws = Draws(workers, rng, replicates) if shared is None else shared
        self.shift = most_rounds.bit_length()
        self.version = (1 << self.shift) - 1
        self.group = ((1 << label_bits(workers, most_rounds)) - 1) ^ self.version
        self.end = ~(self.version | self.group)  # these three are masks

        self.updates = oldest
        self.now, self.elapsed = np.zeros((2, replicates))  # seconds since the clock was set back, and before
        self.updated = np.zeros((0 if self.late == math.inf else int(self.late), replicates))  # seconds, by update
        self.tally: Tally | None = None
        labels = np.broadcast_to(workers.group.astype(np.int64) << self.shift, (replicates, workers.n))
        if start is None:
            self.tasks = self._next(labels, self.now[:, None])
        else:
            age, left = start.draw(rng, replicates, shared and shared.shared.start(replicates, workers.n))
            self.tasks = (left.view(np.int64) & self.end) | labels | (self.updates - age)
            if controls is not None:
                controls.at_start(self.updates, age, left, start)
            missed = np.arange(self.updates, self.updates - len(self.updated), -1)
            self.updated[missed % max(len(self.updated), 1)] = (missed - self.updates)[:, None] * start.round_time
        self._rows = np.arange(replicates + 1)
        self._seen = 0  # rounds of which these were not yet counted, by replicate and round: delivered tasks, end
        self._done = np.empty((replicates, max(1, COUNTED_AT_ONCE // (replicates * k)), k), dtype=np.int64)
        self._ends = np.empty(self._done.shape[:2])
        self._begin = self.now  # of the first of them

    def run(self, rounds: int) -> None:
        """Play ``rounds`` rounds."""
        self.ages = None
        self._run(rounds)

    def _run(self, rounds: int) -> None:
        step = max(LEAST_ROUNDS_OF_CLOCK, self._few(self.workers.n))
        for done in range(0, rounds, step):
            self._set_back_the_clock()
            self._play(self.tasks, min(step, rounds - done))

    def watch(self, rounds: int, most_staleness: int | None = None, parts: int | None = None) -> Tally:
        """Play ``rounds`` rounds and count what they do; ``delivered`` has a column for each group.

        The histogram of the staleness ends at ``most_staleness``, if given, and has a row for each of ``parts`` equal
        parts of the replicates, if given.
        """
        longest = min(self.late - 1, self.version) if most_staleness is None else most_staleness
        self.tally = Tally.of(self.now.size, longest, columns=len(self.workers.laws), parts=parts)
        begin, ages = self.elapsed + self.now, self._ages()
        self._begin = self.now
        self._run(rounds)
        if self._seen:
            self._count()
        tally, self.tally = self.tally, None
        tally.seconds[:] = self.elapsed + self.now - begin
        tally.aged[:] = self._ages() - ages
        return tally

    def _ages(self) -> NDArray[np.int64]:
        """Sum of the ages in flight, of each replicate."""
        return self.updates * self.workers.n - (self.tasks & self.version).sum(axis=1)

    def _play(self, tasks: Tasks, rounds: int) -> None:
        """Play rounds that touch no other tasks."""
        if self._can_leap(tasks, rounds):
            self._leap(tasks, rounds)
            return
        few = min(self._few(tasks.shape[1]), rounds)
        for done in range(0, rounds, few):
            part = min(few, rounds - done)
            near = self._near(tasks, part) if few >= ROUNDS_WORTH_LOOKING_AHEAD else tasks
            width = near.shape[1]
            if width < tasks.shape[1]:
                self._play(near, part)
                tasks[:, :width] = near
            else:
                for _ in range(part):
                    self._round(tasks)

    def _few(self, size: int) -> int:
        """Rounds, at least one, that touch about one in ``NEAR_SHARE`` of ``size`` tasks."""
        return max(1, int(size / (NEAR_SHARE * self.load)))

    def _near(self, tasks: Tasks, rounds: int) -> Tasks:
        """A copy of the tasks that the next ``rounds`` rounds can touch, brought to the front; or all themselves."""
        width, due = self.k * rounds, None
        if self.late <= self.updates + rounds:
            due = (tasks & self.version) <= self.updates + rounds - self.late
            width += int(due.sum(axis=1).max())
        if width >= tasks.shape[1]:
            return tasks
        if due is not None:
            np.negative(tasks, where=due, out=tasks)  # before all others
        tasks.partition(width - 1, axis=1)
        near = tasks[:, :width]
        return near.copy() if due is None else np.abs(near)

    def _round(self, tasks: Tasks) -> None:
        """Play a round among these ``tasks``, which are contiguous."""
        tasks.partition(self.k - 1, axis=1)
        done, busy = tasks[:, : self.k], tasks[:, self.k :]
        self.now = now = (done[:, -1] & self.end).view(float)
        self._see(done[:, None], now[:, None])
        self.updates += 1
        if self.controls is not None:
            self.controls.end_round(self.updates, self.tally is not None)
        done[:] = self._next(done, now[:, None])
        if self.late == math.inf:
            return
        begun = self.updated[self.updates % self.updated.shape[0]]  # the model that is now too old
        if self.late <= self.updates:
            late = np.flatnonzero((busy & self.version) == self.updates - self.late)
            row = late // busy.shape[1]
            late += self.k * (row + 1)
            ends = row.searchsorted(self._rows)
            tasks.put(late, self._next(tasks.take(late), now[row], ends))
            if self.tally is not None:
                restarts = np.diff(ends)
                self.tally.restarts[:] += restarts
                self.tally.wasted[:] += restarts * (self.elapsed + now - begun)
        begun[:] = self.elapsed + now

    def _can_leap(self, tasks: Tasks, rounds: int) -> bool:
        """Whether these are just the tasks that equal workers deliver in these rounds, if few that begin interfere."""
        replicates, width = tasks.shape
        size = replicates * width
        plain = self.late == math.inf and self.workers.equal
        return (
            plain
            and rounds > 1
            and width == self.k * rounds
            and 4 * width**2 <= self.workers.n
            and size <= COUNTED_AT_ONCE
        )

    def _leap(self, tasks: Tasks, rounds: int) -> None:
        """Play all rounds at once: what begins and ends within them is found by repetition.

        The order of the deliveries gives the ends of the rounds, hence the tasks that begin, hence the order.  A task
        ends after it begins, so each repetition is right for at least one round more than the last.
        """
        tasks.sort(axis=1)
        replicates, width = tasks.shape
        delays = self.draws.equal(tasks.size).reshape(-1, rounds, self.k)
        self._control(delays.reshape(replicates, -1))
        versions = np.arange(self.updates + 1, self.updates + rounds + 1)[:, None]
        order = tasks
        while True:
            ends = (order[:, self.k - 1 :: self.k] & self.end).view(float)
            begun = ((delays + ends[:, :, None]).view(np.int64) & self.end) | versions
            both = np.concatenate([tasks, begun.reshape(tasks.shape)], axis=1)
            both.sort(axis=1)
            if np.array_equal(order, both[:, :width]):
                break
            order = both[:, :width]
        self._see(order.reshape(begun.shape), ends)
        self.updates, self.now = self.updates + rounds, ends[:, -1]
        tasks[:] = both[:, width:]

    def _see(self, done: Tasks, ends: Array) -> None:
        """Keep the deliveries of the next rounds for counting; shapes ``replicates x rounds x k`` and without k."""
        if self.tally is None:
            return
        if self._seen + ends.shape[1] > self._ends.shape[1]:
            self._count()
        seen = slice(self._seen, self._seen + ends.shape[1])
        self._done[:, seen], self._ends[:, seen] = done, ends
        self._seen = seen.stop

    def _next(self, tasks: Tasks, now: Array, ends: NDArray[np.intp] | None = None) -> Tasks:
        """What the workers of these tasks begin at ``now``.

        Those of each replicate end at one of the ``ends`` and begin at that before; if None, each has as many.
        """
        if self.workers.equal:
            group, label = None, self.updates
            delays = self.draws.equal(tasks.size).reshape(tasks.shape)
        else:
            group = tasks & self.group
            label = group | self.updates
            group >>= self.shift
            delays = self.draws.unequal(group.ravel()).reshape(tasks.shape)
        self._control(delays, group, ends)
        begun = (delays + now).view(np.int64)
        begun &= self.end
        begun |= label
        return begun

    def _control(self, delays: Array, group: Tasks | None = None, ends: NDArray[np.intp] | None = None) -> None:
        """Sum what has a known mean over the ``delays`` of the tasks that begin."""
        if self.controls is not None:
            self.controls.begin(self.updates, delays, group, ends, self.tally is not None)

    def _set_back_the_clock(self) -> None:
        if self._seen and self.ages is not None:
            self._count()
        label = self.tasks & ~self.end
        left = (self.tasks & self.end).view(float) - self.now[:, None]
        self.tasks = (left.view(np.int64) & self.end) | label
        self.elapsed += self.now
        self.now = self._begin = np.zeros_like(self.now)

    def _count(self) -> None:
        """Count the deliveries seen since the last time."""
        assert self.tally is not None
        rounds, self._seen = self._seen, 0
        tasks, ends = self._done[:, :rounds], self._ends[:, :rounds]
        updates = np.arange(self.updates - rounds, self.updates)[:, None]  # made before each round
        times, version = (tasks & self.end).view(float), tasks & self.version
        group = None if self.workers.equal else (tasks & self.group) >> self.shift
        if self.ages is not None:
            self.tally.idle[:] += self.k * ends.sum(axis=1) - times.sum(axis=(1, 2))
            self._count_by_age(self.ages, ends, updates, times, version, group)
            return
        self.tally.idle[:] += (ends[:, :, None] - times).sum(axis=(1, 2))
        self.tally.add_staleness((updates - version).reshape(len(ends), -1))
        if group is not None:
            self.tally.delivered[:] += counts(group.reshape(len(ends), -1), len(self.workers.laws))

    def _count_by_age(
        self, controls: AgeControls, ends: Array, updates: Tasks, times: Array, version: Tasks, group: Tasks | None
    ) -> None:
        """Count deliveries at these ``times`` of tasks of these versions by law and age."""
        assert self.tally is not None
        replicates, rounds = ends.shape
        begins = np.concatenate([self._begin[:, None], ends[:, :-1]], axis=1)
        self._begin = ends[:, -1].copy()
        laws, ages = controls.changes.shape[:2]
        first = (np.arange(rounds)[:, None] * laws * ages + updates) * replicates + np.arange(replicates)  # of age 0
        place = version * -replicates
        place += first.T[:, :, None]
        if group is not None:
            place += group * (ages * replicates)
        shape = rounds, laws, ages, replicates
        delivered = np.bincount(place.ravel(), minlength=math.prod(shape)).reshape(shape)
        usual, late = controls.usual_round, np.zeros(controls.changes.shape)
        long = np.flatnonzero(times > (begins + usual)[:, :, None])
        if long.size:  # a task is late if more usual rounds are over than it might go on for
            row, place = long // self.k, place.ravel()[long]
            left = (ages - updates[row % rounds, 0] + version.ravel()[long]) * usual
            place = place[times.ravel()[long] > begins.ravel()[row] + left] % late.size
            late = np.bincount(place, minlength=late.size).reshape(late.shape)
        controls.add(delivered, late, (ends - begins).T)
        self.tally.add_by_age(delivered)


def label_bits(workers: Workers, rounds: int) -> int:
    """Bits that a label takes from the end of a task."""
    return rounds.bit_length() + (len(workers.laws) - 1).bit_length()


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
    """Sums over ``rounds`` rounds after the ``warmup``; from ``start``, else from fresh workers."""
    pool = TaskPool(workers, k, max_staleness, rng, replicates, warmup + rounds, start)
    pool.run(warmup)
    return pool.watch(rounds)
