"""Replicates in step: all replicates of a run of the ABS family advance together, as rows of arrays.

In every round each row makes one update.  The result is that of the event server to the last bit: the same draws, and
the same order of arrivals, sums and decisions.  The event server stays the reference, see ``Server``.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import pairwise, repeat
from typing import NamedTuple

import numpy as np
import pandas as pd

from simulations.measuring import Measured, Meter
from simulations.problems import drawn_ahead, rows_are_exact
from simulations.server.decisions import Decisions, Policy
from simulations.server.evaluations import Evaluations
from simulations.server.next_steps import NextSteps
from simulations.server.server import AVERAGED_BATCHES, Run, checked_weight, nothing_arrives
from simulations.server.steps import Checked, Contributions, GradientDraws, slopes, walked, warn_of_nan
from simulations.server.tables import rounds_table
from simulations.streams import streams

RECORDED = (
    "time", "k", "max_staleness", "mean_staleness", "largest_staleness", "downlinks", "restarts", "computed",
    "idle_seconds", "wasted_seconds",
)  # fmt: skip
SORTED_SHARE = 0.25  # of the workers; a larger k is found by sorting all of them, which is then faster


class ChangingPrecision(Exception):  # noqa: N818 (no error: the event server can do it)
    """The gradients have another precision than the model, which changes with the first update."""


class Arrivals(NamedTuple):
    """The gradients of the next update of each row, in order of arrival; what stands behind the k-th has no meaning."""

    number: np.ndarray  #: of the worker, shape (rows, largest k)
    time: np.ndarray  #: seconds, the same shape
    version: np.ndarray  #: updates made before its model was sent, the same shape
    params: np.ndarray  #: its model, shape (rows, largest k, d)
    downlinks: np.ndarray  #: models sent since the last update, shape (rows,)
    local_steps: np.ndarray | None  #: of its task, shape (rows, largest k); None: all tasks are one step
    step_size: np.ndarray | None  #: of these steps, the same shape
    start: np.ndarray | None  #: of its task, in seconds, the same shape; None: nobody measures


class InStep:
    """The replicates that have not ended: one row each, all with the same number of updates.

    Each replicate has its run; these differ in policies, step size and budget at most (``kind``).  Worker w of row r
    has the number r n + w.
    """

    def __init__(self, replicates: Sequence[tuple[Run, int]], steps: NextSteps):
        run, rows = replicates[0][0], len(replicates)
        protocol, problem, n = run.protocol, run.problem, run.fleet.n
        assert protocol.family is not None
        self.problem, self.n, self.family, self.steps = problem, n, protocol.family, steps
        self.runs = [run for run, _ in replicates]
        self.update_limit = np.array([run.budget.update_limit for run in self.runs])
        self.exact = rows_are_exact(problem)
        self.replicate = np.arange(rows)  # of each row, among the replicates
        self.updates = 0
        self.params = np.repeat(problem.initial[None], rows, axis=0)
        self.negative_zeros = bool(np.signbit(problem.initial[problem.initial == 0]).any())
        self.initial_loss = run.initial_loss
        self.loss = np.full(rows, self.initial_loss)
        most = math.inf if protocol.batch else n
        self.decisions = [
            Decisions(run.protocol.k, run.protocol.max_staleness, run.step_size, local_steps_of(run), most)
            for run in self.runs
        ]
        self.moving, self.single = any(decisions.moving for decisions in self.decisions), local_steps_of(run) == 1
        size, dtype = problem.initial.size, problem.initial.dtype
        self.meter = Meter(rows, size, dtype) if any(decisions.measuring for decisions in self.decisions) else None
        self._decide(np.zeros(rows), np.zeros(rows))
        self.evaluations = [Evaluations(run) for run in self.runs]
        self.pause = np.array([evaluations.pause for evaluations in self.evaluations])
        # by number of the worker
        self.rngs = [rng for _, replicate in replicates for rng in streams(run.seed, replicate, "batch", n)]
        ahead = drawn_ahead(problem) if self.exact else None
        repeated = self.family.continues and any(run.protocol.k != 1 for run in self.runs)
        self.draws = None if ahead is None else GradientDraws(ahead, self.rngs, n, repeated)
        self.held = np.repeat(self.params, n, axis=0)  # its model
        self.version = np.zeros(rows * n, int)  # of its model
        self.start, self.finish = np.zeros(rows * n), np.empty(rows * n)  # of its task, in seconds
        self.task_steps, self.task_size = np.ones(rows * n, int), np.empty(rows * n)  # of its local steps
        # what is recorded
        self.lines: list[tuple[np.ndarray, ...]] = []  # of the updates since rows have ended last
        self.blocks: list[tuple[np.ndarray, list[np.ndarray]]] = []  # of those before: the replicates, and columns
        self.ended: dict[int, tuple[float, Evaluations]] = {}  # idle seconds after the last update, and evaluations
        self._arrange()
        self._begin(np.arange(rows * n), self.row_of_worker, np.zeros(rows * n))

    def tables(self) -> list[pd.DataFrame]:
        """Run to the end; the rounds of each replicate, as ``drive`` returns them."""
        count = len(self.replicate)
        while len(self.replicate):
            self._advance()
        return [self._table(replicate) for replicate in range(count)]

    # ------------------------------------------------------------------ a round
    def _advance(self) -> None:
        """Make one update in every row, and end the rows that have come to the end of their budget."""
        arrivals = self._one_by_one() if self.family.continues else self._first_k()
        if arrivals is None:
            return
        k, bound, used = self.k, self.bound, self.used
        number, time = arrivals.number, arrivals.time
        now = time[:, -1] if used is None else time[self.rows, k - 1]
        self._check(now, time)
        staleness = self.updates - arrivals.version
        step, losses, contributions = self._step(arrivals, staleness)
        if np.result_type(self.params, step) != self.params.dtype:
            raise ChangingPrecision
        self.params -= step  # what others hold are copies
        if self.meter is not None:
            self._measure(arrivals, now, contributions, step, losses)
        self.loss = self.loss + self.rate * (losses - self.loss)
        self.updates += 1
        if number.shape[1] == 1:
            mean = largest = staleness[:, 0]
        else:
            staleness = staleness if used is None else np.where(used, staleness, 0)
            mean, largest = staleness.sum(axis=1) / k, staleness.max(axis=1)
        if arrivals.local_steps is None:
            computed = k
        else:
            computed = (arrivals.local_steps if used is None else np.where(used, arrivals.local_steps, 0)).sum(axis=1)
        if self.moving:
            for decisions, moved in zip(self.decisions, step, strict=True):
                decisions.watch(moved)
            self._decide(now, mean.astype(float), number)
        if self.family.continues:
            idle, senders, models = self.no_seconds, number[self.rows, k - 1], 1
        else:
            idle = self._idle(number, time, now)
            senders, models = number.ravel() if used is None else number[used], k
        restarts, wasted = self._send(senders, now)
        downlinks = arrivals.downlinks + models + restarts
        self.lines.append((now, k, bound, mean, largest, downlinks, restarts, computed, idle, wasted))
        if self.updates >= self.least_limit or not np.isfinite(self.loss).all():
            over = (self.updates >= self.update_limit) | ~np.isfinite(self.loss)
            self._end(dict.fromkeys(np.flatnonzero(over).tolist(), 0.0))
        elif self.moving and (self.k != k).any():
            self._arrange()

    def _first_k(self) -> Arrivals | None:
        """The first k gradients of each row to arrive; of equal times the lower worker comes first."""
        if self.most == 1:
            number = self.finish.reshape(-1, self.n).argmin(axis=1)[:, None] + self.base
            time = self.finish[number]
        else:
            number, time = self._smallest()
        kept = self._look(number, time)
        if kept is not None:
            if not kept.size:
                return None
            number, time = number[kept, : self.most] % self.n + self.base, time[kept, : self.most]
        steps, sizes = (None, None) if self.single else (self.task_steps[number], self.task_size[number])
        start = None if self.meter is None else self.start[number]
        return Arrivals(number, time, self.version[number], self.held[number], self.first_models, steps, sizes, start)

    def _smallest(self) -> tuple[np.ndarray, np.ndarray]:
        """The ``most`` workers of each row that finish first, by time and then by worker, and their times."""
        finish, most = self.finish.reshape(-1, self.n), self.most
        if most > SORTED_SHARE * self.n:
            number = finish.argsort(axis=1, kind="stable")[:, :most] + self.base
            return number, self.finish[number]
        number = finish.argpartition(most - 1, axis=1)[:, :most] + self.base
        number.sort(axis=1)
        time = self.finish[number]
        order = time.argsort(axis=1, kind="stable")
        number, time = number[self.rows[:, None], order], time[self.rows[:, None], order]
        if np.count_nonzero(finish <= time[:, -1:]) > number.size:  # equal times, of which the partition took any
            number = finish.argsort(axis=1, kind="stable")[:, :most] + self.base
            time = self.finish[number]
        return number, time

    def _one_by_one(self) -> Arrivals | None:
        """The next k gradients of each row to arrive; a worker that has delivered continues with the current model."""
        shape = len(self.replicate), self.most
        number, time, version = np.zeros(shape, int), np.zeros(shape), np.zeros(shape, int)
        steps, sizes, start = np.ones(shape, int), np.zeros(shape), np.zeros(shape)
        params, downlinks = np.zeros((*shape, self.params.shape[1]), self.held.dtype), self.first_models.copy()
        finish = self.finish.reshape(-1, self.n)
        for place in range(self.most):
            row = np.flatnonzero(self.k > place)
            first = (finish if len(row) == len(finish) else finish[row]).argmin(axis=1) + row * self.n
            number[row, place], time[row, place], version[row, place] = first, self.finish[first], self.version[first]
            steps[row, place], sizes[row, place] = self.task_steps[first], self.task_size[first]
            params[row, place], start[row, place] = self.held[first], self.start[first]
            more = self.k[row] > place + 1
            row, first = row[more], first[more]
            if row.size:
                downlinks[row] += self.version[first] != self.updates
                self._give(first, row, time[row, place])
        kept = self._look(number, time)
        if kept is None:
            kept = self.rows
        if not kept.size:
            return None
        number, time, version, params, steps, sizes, start = (
            values[kept, : self.most] for values in (number, time, version, params, steps, sizes, start)
        )
        number, downlinks = number % self.n + self.base, downlinks[kept]
        if self.single:
            return Arrivals(number, time, version, params, downlinks, None, None, start)
        return Arrivals(number, time, version, params, downlinks, steps, sizes, start)

    def _look(self, number: np.ndarray, time: np.ndarray) -> np.ndarray | None:
        """Evaluate the rows whose next look is due before the update, and end those at the end of their budget.

        If rows have ended, return the others; else None.
        """
        if not self.looks:
            return None
        ended: dict[int, float] = {}
        for row in np.flatnonzero(time[self.rows, self.k - 1] > self.pause).tolist():
            times = time[row, : self.k[row]].tolist()
            delivered = self._pass(row, times)
            if delivered is not None:
                since = sorted(zip(number[row, :delivered].tolist(), times[:delivered], strict=True))
                idle = sum((times[delivered - 1] - begin for _, begin in since), 0.0)  # in the order of the workers
                ended[row] = 0.0 if self.family.continues else idle
        if not ended:
            return None
        kept = np.array([row for row in self.rows.tolist() if row not in ended], int)
        self._end(ended)
        return kept

    def _pass(self, row: int, times: list[float]) -> int | None:
        """Pass the looks that are due up to the last of ``times``; the arrivals before the run ends, if it does."""
        evaluations = self.evaluations[row]
        if evaluations.lies_far_beyond(times):  # one look instead of one for each arrival
            if not evaluations.go_on(times[-1], self.updates, self.params[row].copy()):
                return bisect_right(times, evaluations.pause)
        else:
            for delivered, time in enumerate(times):
                while time > evaluations.pause:
                    if not evaluations.go_on(time, self.updates, self.params[row].copy()):
                        return delivered
        self.pause[row] = evaluations.pause
        return None

    # ------------------------------------------------------------------ an update
    def _step(self, arrivals: Arrivals, staleness: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The step of each row, shape (rows, d), the mean of its mini-batch losses, and what each job contributes."""
        used, count, most = self.used, *arrivals.number.shape
        everything = slice(None) if used is None else used.ravel()
        number = arrivals.number.ravel()[everything]
        params = arrivals.params.reshape(count * most, self.params.shape[1])[everything]
        if arrivals.local_steps is None or arrivals.step_size is None:
            losses, rows = self._gradients(number, params)
        else:
            steps, sizes = arrivals.local_steps.ravel()[everything], arrivals.step_size.ravel()[everything]
            rows, losses = walked(params, steps, sizes, lambda going, at: self._gradients(number[going], at))
        if not self.updates or np.isnan(losses).any():
            warn_of_nan(self.problem, params, losses, rows if self.single else None, self.updates + 1)
        shares = self._shares(staleness, rows.dtype)
        if most == 1:
            own = self.draws is not None and self.meter is None  # new arrays, of which only the step is needed
            step = np.multiply(shares, rows, out=rows if own else None)
            if self.negative_zeros:
                step += 0.0  # a sum of one number is never -0.0, which would change the sign of a parameter -0.0
            return step, losses.astype(float), rows
        if used is None:
            step = np.matmul(shares[:, None], rows.reshape(count, most, rows.shape[1]))[:, 0]
            return step, np.array([sum(row) / most for row in losses.reshape(count, most).tolist()]), rows
        values, moves, means, begin = losses.tolist(), [], [], 0
        for k, share in zip(self.k.tolist(), shares, strict=True):
            moves.append(share[:k].dot(rows[begin : begin + k]))
            means.append(sum(values[begin : begin + k]) / k)
            begin += k
        return np.array(moves), np.array(means), rows

    def _measure(
        self, arrivals: Arrivals, now: np.ndarray, contributions: np.ndarray, step: np.ndarray, losses: np.ndarray
    ) -> None:
        assert self.meter is not None
        assert arrivals.start is not None
        used = slice(None) if self.used is None else self.used.ravel()
        time, version, start = (values.ravel()[used] for values in (arrivals.time, arrivals.version, arrivals.start))
        if arrivals.local_steps is not None and arrivals.step_size is not None:
            counts, sizes = arrivals.local_steps.ravel()[used], arrivals.step_size.ravel()[used]
            contributions = slopes(contributions, counts, sizes)
        self.meter.update(contributions, self.k, version, time - start, now, step, losses)

    def _measured(self, now: np.ndarray, number: np.ndarray | None) -> Iterable[Measured | None]:
        """What has been measured in each row up to ``now``; the workers ``number`` have delivered."""
        if self.meter is None:
            return repeat(None, len(now))
        ages = [list if number is None else partial(self._ages, row, now[row], number[row]) for row in range(len(now))]
        return [self.meter.of(row, float(now[row]), ages[row]) for row in range(len(now))]

    def _ages(self, row: int, now: float, number: np.ndarray) -> np.ndarray:
        """Seconds since the tasks of a row that are running at ``now`` began; workers ``number`` have delivered."""
        idle = number[self.k[row] - 1 :][:1] if self.family.continues else number[: self.k[row]]
        return now - np.delete(self.start[row * self.n : (row + 1) * self.n], idle % self.n)

    def _gradients(self, number: np.ndarray, params: np.ndarray) -> Contributions:
        """Losses and gradients at ``params``: in one call for all rows if that gives the same bits."""
        workers = (number % self.n).tolist()
        if self.draws is not None:
            return self.draws.problem.gradients_from(params, workers, self.draws.take(number))
        rngs = [self.rngs[place] for place in number.tolist()]
        problem = self.problem if self.updates else Checked(self.problem)
        if self.exact:
            return problem.gradients(params, workers, rngs)
        cuts = [0, *(np.flatnonzero(np.diff(number // self.n)) + 1).tolist(), len(workers)]
        parts = [slice(*ends) for ends in pairwise(cuts)]
        batches = [problem.gradients(params[part], workers[part], rngs[part]) for part in parts]
        losses, rows = zip(*batches, strict=True)
        return np.concatenate(losses), np.concatenate(rows)

    def _shares(self, staleness: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """What each gradient is multiplied by, shape (rows, largest k)."""
        scale = ((self.step_size if self.single else 1.0) / self.k)[:, None]
        if self.family.weight is None:
            return scale.astype(dtype).repeat(staleness.shape[1], axis=1)
        seen = staleness if self.used is None else staleness[self.used]
        weigh = self.family.weight
        weights = {value: checked_weight(weigh(value, self.n), value) for value in set(seen.ravel().tolist())}
        weight = np.array([[weights.get(value, 0.0) for value in row] for row in staleness.tolist()])
        return (scale * weight).astype(dtype)

    def _idle(self, number: np.ndarray, time: np.ndarray, now: np.ndarray) -> np.ndarray:
        """Seconds in which the senders waited for the update, added in the order of the workers."""
        if number.shape[1] == 1:
            return self.no_seconds
        seconds = now[:, None] - time
        if self.used is not None:
            seconds[~self.used] = 0.0
        return seconds[self.rows[:, None], number.argsort(axis=1)].cumsum(axis=1)[:, -1]

    def _send(self, senders: np.ndarray, now: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Send the new models to the senders, and to busy workers that are too stale: their number and lost seconds."""
        row = self.row_of_sender
        if not self.bounded:
            self._give(senders, row, now[row])
            return self.nobody, self.no_seconds
        self.version[senders] = self.updates
        oldest = (self.updates - self.bound)[:, None]
        stale = np.flatnonzero(self.version.reshape(-1, self.n) < oldest)
        row_of_stale = stale // self.n
        # added one after the other, in the order of the workers
        wasted = np.bincount(row_of_stale, now[row_of_stale] - self.start[stale], len(self.rows))
        restarts = np.bincount(row_of_stale, minlength=len(self.rows))
        if self.meter is not None and stale.size:
            self.meter.restart(row_of_stale, now[row_of_stale] - self.start[stale], now[row_of_stale])
        number = np.sort(np.concatenate([senders, stale]))
        row = number // self.n
        self._give(number, row, now[row])
        return restarts, wasted

    def _give(self, number: np.ndarray, row: np.ndarray, now: np.ndarray) -> None:
        """Give these workers the model of their row, with which they begin a task at ``now``."""
        self.version[number] = self.updates
        self.held[number] = self.params if row is self.rows else self.params[row]
        self._begin(number, row, now)

    def _begin(self, number: np.ndarray, row: np.ndarray, now: np.ndarray) -> None:
        counts = None
        if not self.single:
            self.task_steps[number] = counts = self.local_steps[row]
            self.task_size[number] = self.step_size[row]
        if self.bounded or self.moving:
            self.start[number] = now
        self.finish[number] = self.steps.ends(number, now, counts, self.updates)

    def _decide(self, now: np.ndarray, mean: np.ndarray, number: np.ndarray | None = None) -> None:
        """Evaluate the policies of each row, in which the workers ``number`` have delivered."""
        values = zip(
            self.decisions, now.tolist(), mean.tolist(), self.loss.tolist(), self._measured(now, number), strict=True
        )
        for decisions, time, staleness, loss, measured in values:
            decisions.decide(self.n, self.updates, time, staleness, loss, self.initial_loss, measured)
        self.k = np.array([decisions.k for decisions in self.decisions])
        self.bound = np.array([decisions.max_staleness for decisions in self.decisions], float)
        self.step_size = np.array([decisions.step_size for decisions in self.decisions], float)
        self.local_steps = np.array([decisions.local_steps for decisions in self.decisions])
        self.bounded = bool(self.bound.min() < math.inf)

    def _check(self, now: np.ndarray, time: np.ndarray) -> None:
        """Raise RuntimeError if a gradient that an update waits for never arrives."""
        if now.max() == math.inf:
            times = time[now.argmax()]
            before = [times[times < math.inf], [line[0][now.argmax()] for line in self.lines[-1:]], [0.0]]
            raise nothing_arrives(max(map(max, filter(len, before))), self.updates, self.n)

    # ------------------------------------------------------------------ rows
    def _arrange(self) -> None:
        """What follows from which rows there are, and from their k."""
        count = len(self.replicate)
        self.rows = np.arange(count)
        self.row_of_worker = np.repeat(self.rows, self.n)
        self.base = self.rows[:, None] * self.n
        self.most = int(self.k.max())
        self.used = None if (self.k == self.most).all() else np.arange(self.most) < self.k[:, None]
        self.row_of_sender = self.rows if self.family.continues else np.repeat(self.rows, self.k)
        self.rate = np.minimum(self.k / AVERAGED_BATCHES, 1.0)
        self.looks, self.least_limit = bool(self.pause.min() < math.inf), float(self.update_limit.min())
        self.nobody, self.no_seconds = np.zeros(count, int), np.zeros(count)

    @property
    def first_models(self) -> np.ndarray:
        """Models sent before the update that is not made yet: those of the start."""
        return self.nobody if self.updates else self.nobody + self.n

    def _end(self, idle: dict[int, float]) -> None:
        """End these rows, with the seconds in which workers have waited since the last update."""
        for row, seconds in idle.items():
            evaluations = self.evaluations[row]
            evaluations.end(self.updates, self.params[row].copy(), float(self.loss[row]))
            self.ended[int(self.replicate[row])] = seconds, evaluations
        if self.lines:
            columns = [np.concatenate(column).reshape(len(self.lines), -1) for column in zip(*self.lines, strict=True)]
            self.blocks.append((self.replicate, columns))
            self.lines = []
        kept = np.array([row for row in self.rows.tolist() if row not in idle], int)
        self.replicate = self.replicate[kept]
        if not kept.size:
            return
        for name in ("params", "loss", "pause", "update_limit", "k", "bound", "step_size", "local_steps"):
            setattr(self, name, getattr(self, name)[kept])
        self.decisions = [self.decisions[row] for row in kept.tolist()]
        self.evaluations = [self.evaluations[row] for row in kept.tolist()]
        number = (kept[:, None] * self.n + np.arange(self.n)).ravel()
        for name in ("held", "version", "start", "finish", "task_steps", "task_size"):
            setattr(self, name, getattr(self, name)[number])
        self.rngs = [self.rngs[place] for place in number.tolist()]
        self.steps.keep(number)
        if self.draws is not None:
            self.draws.keep(number)
        if self.meter is not None:
            self.meter.keep(kept)
        self._arrange()

    def _table(self, replicate: int) -> pd.DataFrame:
        """The rounds of one replicate that has ended."""
        idle, evaluations = self.ended[replicate]
        blocks = [(np.searchsorted(there, replicate), columns) for there, columns in self.blocks if replicate in there]
        columns = {
            name: np.concatenate([columns[place][:, row] for row, columns in blocks] or [np.zeros(0)])
            for place, name in enumerate(RECORDED)
        }
        updates = len(columns["time"])
        if updates:
            columns["idle_seconds"][-1] += idle
        zeros = np.zeros(updates)
        columns |= {"update": np.arange(1, updates + 1), "uplinks": columns["k"], "used": columns["computed"]}
        columns |= {"discarded": zeros, "away_seconds": zeros}
        return rounds_table(columns, evaluations.values, self.runs[replicate])


def local_steps_of(run: Run) -> Policy:
    """Local steps per task: those that the protocol says, or else those of the run."""
    return run.local_steps if run.protocol.local_steps is None else run.protocol.local_steps


def kind(run: Run) -> tuple[object, ...]:
    """What runs have in common that may advance in step with each other."""
    return id(run.problem), run.fleet, run.seed, run.protocol.family, run.protocol.batch, local_steps_of(run) == 1
