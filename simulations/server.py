"""The parameter server: a clock, the jobs in flight, and the verbs protocols are written in.

``next_arrival`` drives the clock; a protocol answers each arrival with ``accept``, ``update`` and
``assign``.  Between two updates the parameters do not change, so gradients are computed only when they
are applied, all of an update in one batched call, each at the parameters its worker was given.
"""

import heapq
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from abs_theory.checks import is_finite
from simulations.problems import Problem

LOSS_MEMORY = 100  # mini-batches over which the server averages the loss it sees


class Progress(NamedTuple):
    """What a server knows when it decides; everything a policy may use."""

    n: int
    updates: int
    time: float  # seconds
    decided: float  # time of the last decision, seconds
    k: int  # in force until now
    max_staleness: float  # in force until now
    mean_staleness: float  # of the gradients of the last update
    loss: float  # running average over the mini-batches of accepted gradients
    initial_loss: float


Policy = float | None | Callable[[Progress], float | None]  # None: no threshold


@dataclass(slots=True, eq=False)
class Job:
    """What a worker is doing: one task, from the model it received to the gradient it will deliver."""

    worker: int
    version: int  # updates made when the worker received its model
    start: float
    finish: float
    params: np.ndarray
    local_steps: int
    step_size: float


class Round(NamedTuple):
    """One update and what led to it; counts since the previous update, assignments after this one included."""

    update: int
    time: float
    k: int
    max_staleness: float
    mean_staleness: float
    largest_staleness: int
    uplinks: int
    downlinks: int
    restarts: int
    computed: int
    used: int
    discarded: int
    idle_seconds: float
    wasted_seconds: float


class Server:
    """A clock, ``n`` workers with their jobs, the model, and the verbs accept / update / assign.

    ``times[i]`` yields the seconds of worker i's successive local steps.  All workers receive the first
    model at time 0.  A worker that has delivered is idle until ``assign`` gives it the current model;
    ``assign`` to a busy worker drops its unfinished work (a restart).  ``k``, ``max_staleness`` and
    ``step_size`` are policies, evaluated once per update, the threshold after the new ``k``.
    """

    def __init__(
        self,
        problem: Problem,
        times: Sequence[Iterator[float]],
        rngs: Sequence[np.random.Generator],
        *,
        step_size: Policy,
        k: Policy = 1,
        max_staleness: Policy = math.inf,
        local_steps: int = 1,
        keep_jobs: bool = False,
    ):
        self.problem, self.times, self.rngs = problem, times, rngs
        self.n, self.local_steps = len(times), local_steps
        self.workers = range(self.n)
        self.params = problem.initial
        self.time, self.updates = 0.0, 0
        self.accepted: list[tuple[Job, float]] = []
        self.jobs: list[Job | None] = [None] * self.n  # None: idle
        self.rounds: list[Round] = []
        self.task_log: list[tuple] | None = [] if keep_jobs else None
        self._policies = (k, max_staleness, step_size)
        self._idle_since = [0.0] * self.n
        self._queue: list[tuple[float, int, int, Job]] = []
        self._tasks = 0
        self._applied: tuple[Any, ...] = ()
        self._reset_counters()
        self.k, self.max_staleness, self.step_size = 1, math.inf, 0.0
        self.initial_loss = self.loss = problem.loss(self.params)
        self._decided = 0.0
        self._decide(mean_staleness=0.0)
        self.assign(self.workers)

    # ------------------------------------------------------------------ the clock
    @property
    def next_time(self) -> float:
        """When the next job will finish; raises RuntimeError if nobody is working."""
        queue = self._queue
        while queue and self.jobs[queue[0][1]] is not queue[0][3]:
            heapq.heappop(queue)  # a job that was dropped
        if not queue or queue[0][0] == math.inf:
            raise RuntimeError(
                f"no worker will ever deliver again at t={self.time:.3g}, after {self.updates} updates: the protocol "
                f"waits for more gradients than its {self.n} workers will send"
            )
        return queue[0][0]

    def next_arrival(self) -> Job:
        """Advance the clock to the next finished job; equal finish times: lower worker index first."""
        if self._applied:
            self._close_round()
        self.time = self.next_time
        job = heapq.heappop(self._queue)[3]
        self.jobs[job.worker] = None
        self._idle_since[job.worker] = job.finish
        self._uplinks += 1
        self._computed += job.local_steps
        return job

    # ------------------------------------------------------------------ the verbs
    def accept(self, job: Job, weight: float = 1.0) -> None:
        """Take this gradient, times a finite ``weight``, into the next update."""
        if not math.isfinite(weight):
            raise ValueError(
                f"the weight of a gradient must be finite, got {weight} at staleness {self.staleness(job)}"
            )
        self.accepted.append((job, weight))

    def update(self) -> list[int]:
        """Step along the average of the accepted gradients; return the workers that sent them."""
        jobs = [job for job, _ in self.accepted]
        weights = np.array([weight for _, weight in self.accepted], dtype=self.params.dtype)
        senders = [job.worker for job in jobs]
        direction, loss = self._direction(jobs, weights, senders)
        self.params = self.params - direction
        memory = min(len(jobs) / LOSS_MEMORY, 1.0)
        self.loss += memory * (loss - self.loss)
        staleness = [self.updates - job.version for job in jobs]
        for job in jobs:
            self._log(job, job.finish, self.updates + 1, "applied")
        self.updates += 1
        self._applied = (
            self.updates,
            self.time,
            self.k,
            self.max_staleness,
            sum(staleness) / len(jobs),
            max(staleness),
        )
        self._used += sum(job.local_steps for job in jobs)
        self.accepted = []
        self._decide(self._applied[4])
        return senders

    def assign(self, workers: Iterable[int]) -> None:
        """Send the current model to ``workers``; those still busy drop their work and start again."""
        now, jobs = self.time, self.jobs
        for worker in sorted(workers):  # in a fixed order, so that equal sets give equal sums to the last bit
            job = jobs[worker]
            if job is None:
                self._idle += now - self._idle_since[worker]
            else:
                self._restarts += 1
                self._wasted += now - job.start
                self._log(job, now, -1, "restarted")
            times, steps = self.times[worker], self.local_steps
            seconds = next(times) if steps == 1 else sum(islice(times, steps))
            job = Job(worker, self.updates, now, now + seconds, self.params, steps, self.step_size)
            jobs[worker] = job
            self._tasks += 1
            self._downlinks += 1
            heapq.heappush(self._queue, (job.finish, worker, self._tasks, job))
        if len(self._queue) > 4 * self.n:  # mostly dropped jobs: rebuild, at amortised cost O(1) per restart
            self._queue = [entry for entry in self._queue if jobs[entry[1]] is entry[3]]
            heapq.heapify(self._queue)

    def staleness(self, job: Job) -> int:
        """Updates made since the worker of this job received its model."""
        return self.updates - job.version

    def staler_than(self, bound: float) -> list[int]:
        """The busy workers whose job has a staleness above ``bound``."""
        if bound == math.inf:
            return []
        oldest = self.updates - bound
        return [job.worker for job in self.jobs if job is not None and job.version < oldest]

    def finish(self) -> list[Round]:
        """Close the books and return the rounds; idle time since the last update goes to the last one."""
        if self._applied:
            self._close_round()
        waiting = [self.time - self._idle_since[worker] for worker, job in enumerate(self.jobs) if job is None]
        if self.rounds:
            last = self.rounds[-1]
            self.rounds[-1] = last._replace(idle_seconds=last.idle_seconds + sum(waiting))
        for job, _ in self.accepted:
            self._log(job, job.finish, -1, "unfinished")
        for job in self.jobs:
            if job is not None:
                self._log(job, self.time, -1, "unfinished")
        return self.rounds

    # ------------------------------------------------------------------ inside
    def _direction(self, jobs: list[Job], weights: np.ndarray, senders: list[int]) -> tuple[np.ndarray, float]:
        """The step and the mean mini-batch loss.

        With one local step the step size in force *now* scales the averaged gradient; with several, each
        worker walks with the step size it was given and the averaged model difference is applied.
        """
        start = np.array([job.params for job in jobs])
        rngs = [self.rngs[worker] for worker in senders]
        losses, gradients = self.problem.gradients(start, senders, rngs)
        if self.local_steps == 1:
            return self.step_size / len(jobs) * (weights @ gradients), float(losses.sum()) / len(jobs)
        steps = np.array([[job.step_size] for job in jobs], dtype=start.dtype)
        params = start - steps * gradients
        for _ in range(self.local_steps - 1):
            params -= steps * self.problem.gradients(params, senders, rngs)[1]
        return weights @ (start - params) / len(jobs), float(losses.sum()) / len(jobs)

    def _decide(self, mean_staleness: float) -> None:
        progress = Progress(
            self.n, self.updates, self.time, self._decided, self.k, self.max_staleness, mean_staleness,
            self.loss, self.initial_loss,
        )  # fmt: skip
        k, max_staleness, step_size = self._policies
        chosen = _value(k, progress)
        if not (is_finite(chosen) and 1 <= chosen <= self.n and chosen == int(chosen)):
            raise ValueError(f"k must be a whole number in 1..n, its policy gave k={chosen!r} with n={self.n} workers")
        progress = progress._replace(k=int(chosen))
        bound = _value(max_staleness, progress)
        if bound is None:
            bound = math.inf
        if not ((is_finite(bound) or bound == math.inf) and bound >= 0):
            raise ValueError(f"max_staleness must be >= 0 or math.inf, its policy gave {bound!r}")
        step = _value(step_size, progress)
        if not (is_finite(step) and step > 0):
            raise ValueError(f"step_size must be finite and > 0, its policy gave {step!r}")
        self.k, self.max_staleness, self.step_size = progress.k, bound, step
        self._decided = self.time

    def _close_round(self) -> None:
        counts = (self._uplinks, self._downlinks, self._restarts, self._computed, self._used)
        rest = (self._computed - self._used, self._idle, self._wasted)
        self.rounds.append(Round._make((*self._applied, *counts, *rest)))
        self._applied = ()
        self._reset_counters()

    def _reset_counters(self) -> None:
        self._uplinks = self._downlinks = self._restarts = 0
        self._computed = self._used = 0
        self._idle = self._wasted = 0.0

    def _log(self, job: Job, end: float, applied: int, outcome: str) -> None:
        if self.task_log is not None:
            self.task_log.append((job.worker, job.start, end, job.version, self.updates, applied, outcome))


def _value(policy: Policy, progress: Progress) -> Any:
    """What a policy decides; a number always decides itself."""
    return policy(progress) if callable(policy) else policy
