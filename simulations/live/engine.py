"""The engine of a live run: real workers, whose tasks arrive in the order in which they ended.

Times are seconds of the run.  One second of the run takes ``time_scale`` seconds on the clock of this machine.  If
delays are real, a task ends when its gradient is computed.  If they are emulated, a worker also waits until the planned
end.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np

from simulations.live.messages import (
    DIFFERENCE,
    FAILED,
    GRADIENT,
    READY,
    REST,
    AnswerMessage,
    TaskMessage,
    set_stream,
)
from simulations.problems import Problem
from simulations.server import Engine, Entry, Job, NothingComes, contribution

DEATHS_IN_A_ROW = 3  # of one worker that delivers nothing between them; then the run is given up
SLICE_SECONDS = 0.25  # between two looks at workers that hang; longest wait for a message


class Answer(NamedTuple):
    """What came from a worker; None as message: its process has ended."""

    worker: int
    message: AnswerMessage | None
    received: float  #: on the clock of the machine, s
    result: np.ndarray | None = None  #: its gradient or difference
    words: str = ""  #: what went wrong


class Crew(Protocol):
    """Workers that are reached by messages: processes on this machine, or actors of a cluster."""

    n: int  #: workers
    numbers: Iterator[int]  #: the numbers of the tasks to come; each is used once

    def send(self, worker: int, task: TaskMessage, params: np.ndarray, version: int) -> None:
        """Give a worker a task on these parameters, which are the same for the same ``version``."""
        ...

    def receive(self, seconds: float) -> Sequence[Answer]:
        """All that has come; if nothing has, what comes first within ``seconds``."""
        ...

    def is_about_to_answer(self, worker: int, number: int) -> bool:
        """Whether a worker has perhaps ended this task already, though its message is not here."""
        ...

    def replace(self, worker: int) -> None:
        """End this worker, whatever it does, and start another one, which will say READY."""
        ...

    def forget(self) -> None:
        """No model of an earlier run is used any more."""
        ...


@dataclass(eq=False)
class _Task:
    job: Job
    number: int
    planned: float  # its end by the law of its worker (s); inf: unknown, -inf: nothing is planned
    alone: bool = False  # it ends by itself when it was planned: its worker is away, or gives it up
    answer: Answer | None = None  # once it is here

    @property
    def ended(self) -> bool:
        return self.alone or self.answer is not None


class Message(NamedTuple):
    """How long a task and its messages took, in seconds of the clock of this machine."""

    worker: int  #: that did the task
    start: float  #: of the task, after the start of the run
    to_worker: float  #: from the start of the task until its worker had the model
    computing: float  #: until the gradient was computed
    late: float  #: from the planned end until the end; NaN if nothing was planned
    to_server: float  #: from the end until the server had the gradient


@dataclass
class Measured:
    """What a live run measures beside its tables."""

    messages: list[Message] = field(default_factory=list)  #: one for each task that was delivered
    clock_seconds: float = 0.0  #: from the first task to the end, on the clock of the machine
    planned_seconds: float = 0.0  #: the same by the tables: the time of the last arrival, times ``time_scale``
    late_answers: int = 0  #: answers to tasks that had been dropped
    deaths: int = 0  #: worker processes that ended, hung, or sent numbers that were not finite, and were replaced
    resumed: list[str] = field(default_factory=list)  #: where it went on from a checkpoint, and what was not kept


class LiveEngine(Engine):
    """Starts tasks on the workers of a ``crew`` and returns them in the order in which they end.

    A planned task that ends at most ``grace`` seconds of the clock late counts as having ended when it was planned.
    So a busy machine does not change the order, and the server waits for such a task before it believes a later one.
    Tasks that end at the same time are ordered by worker, as by the simulated clock.
    """

    computes = True

    def __init__(  # noqa: PLR0913
        self,
        crew: Crew,
        problem: Problem,
        streams: Sequence[bytes],
        *,
        one_step: bool,
        emulated: bool,
        time_scale: float,
        grace: float,
        patience: float,
        watch: Callable[[int], object] | None = None,
        measured: Measured | None = None,
    ):
        self._crew, self._problem = crew, problem
        self._kind = GRADIENT if one_step else DIFFERENCE
        self._emulated, self._scale, self._grace, self._patience = emulated, time_scale, grace, patience
        self._watch = watch
        self._streams = list(streams)  # where the mini-batches of each worker go on
        self._delivered: dict[int, tuple[Job, bytes]] = {}  # the last of each worker, and its stream after it
        self._tasks: dict[int, _Task] = {}  # begun and not returned, by worker
        self._absent: set[int] = set()  # workers that are being replaced
        self._deaths = [0] * crew.n  # since the last delivery
        self._next_time = 0.0
        self._next_look = 0.0  # at workers that hang, on the clock of the machine
        self._last_end = 0.0  # of the tasks that were returned
        self._zero: float | None = None  # of the time of the run, on the clock of the machine
        self.measured = measured or Measured()

    # ------------------------------------------------------------------ the verbs of an engine
    def start(self, run: list[Entry]) -> None:
        if self._zero is None:
            self._zero = time.monotonic() - run[0][2].start * self._scale
        for planned, worker, job, _ in run:
            last = self._delivered.pop(worker, None)
            if last is not None and last[0].contribution is not None:  # else it was discarded: it uses up no draw
                self._streams[worker] = last[1]
            task = self._tasks[worker] = _Task(job, next(self._crew.numbers), planned if self._emulated else -math.inf)
            if worker in self._absent:
                _lose(task, job.start)
            elif self._emulated and (job.cut or job.lost_at < math.inf):
                task.alone = True
                self._send(task, self._kind, math.inf)
            else:
                self._send(task, self._kind, self._clock(task.planned))
        if self._watch is not None:
            self._watch(run[0][2].version)

    def drop(self, jobs: list[Job]) -> None:
        for job in jobs:
            task = self._tasks.get(job.worker)
            if task is not None and task.job is job:  # its worker has not been given another one
                del self._tasks[job.worker]
                if job.worker not in self._absent:
                    self._send(task, REST, math.inf)

    def clear(self) -> None:
        self.measured_so_far()
        self.drop([task.job for task in self._tasks.values()])

    def next(self, until: float) -> Job | None:
        answers = self._crew.receive(0.0)
        while True:
            self._hear(answers)
            clock = time.monotonic()
            now = self._time_of(clock)
            self._give_up(now)
            if clock > self._next_look:
                self._next_look = clock + SLICE_SECONDS
                self._replace_those_that_hang(clock)
            ends = [(self._earliest_end(task, now), worker) for worker, task in self._tasks.items()]
            end, worker = min(ends, default=(math.inf, 0))
            if end == math.inf:
                raise NothingComes
            if end > until:
                self._next_time = end
                return None
            task = self._tasks[worker]
            if task.ended and not self._one_is_about_to_end():
                del self._tasks[worker]
                if task.answer is not None and task.answer.message is not None:
                    self._delivered[worker] = task.job, task.answer.message.stream
                self._last_end = task.job.finish
                return task.job
            answers = self._crew.receive(self._pause(clock, until, [other for other, _ in ends], task))

    def measured_so_far(self) -> Measured:
        """What has been measured, up to this moment."""
        self.measured.clock_seconds = time.monotonic() - self._clock(0.0)
        self.measured.planned_seconds = self._last_end * self._scale
        return self.measured

    @property
    def streams(self) -> list[bytes]:
        """Where the mini-batches of each worker go on, as ``packed_stream`` writes it."""
        used = {worker: stream for worker, (job, stream) in self._delivered.items() if job.contribution is not None}
        return [used.get(worker, stream) for worker, stream in enumerate(self._streams)]

    # ------------------------------------------------------------------ when tasks end
    def _earliest_end(self, task: _Task, now: float) -> float:
        """When a task has ended; of others, a time (s) before which they do not end."""
        if task.ended:
            return task.job.finish
        if self._clock(task.planned) + self._grace >= self._clock(now):
            return task.planned  # it counts as in time
        return max(task.planned, now)

    def _pause(self, clock: float, until: float, ends: list[float], first: _Task) -> float:
        """Seconds from ``clock`` on until something may be decided without a message."""
        moments = [*map(self._clock, ends), self._clock(until), self._clock(first.planned) + self._grace]
        return min([SLICE_SECONDS, *(moment - clock for moment in moments if moment > clock)])

    def _one_is_about_to_end(self) -> bool:
        """Whether a task may have ended whose end is not known here."""
        return any(
            not task.ended and self._crew.is_about_to_answer(worker, task.number)
            for worker, task in self._tasks.items()
        )

    def _give_up(self, now: float) -> None:
        """End the tasks that have reached the cut-off of their workers, if delays are real."""
        if self._emulated:
            return
        for worker, task in self._tasks.items():
            expired = task.job.cut and not task.ended and now > task.job.finish
            if expired and not self._crew.is_about_to_answer(worker, task.number):
                task.alone = True
                self._send(task, REST, math.inf)

    # ------------------------------------------------------------------ messages
    def _send(self, task: _Task, kind: int, deadline: float) -> None:
        job = task.job
        message = TaskMessage(
            kind, task.number, deadline, 0, job.local_steps, job.step_size, self._streams[job.worker]
        )  # fmt: skip
        self._crew.send(job.worker, message, job.params, job.version)

    def _hear(self, answers: Sequence[Answer]) -> None:
        for answer in answers:
            worker, message = answer.worker, answer.message
            task = self._tasks.get(worker)
            if message is None:
                self._replace(worker, "ended")
            elif message.kind == READY:
                if worker in self._absent and task is not None and not task.ended:
                    task.job.finish, task.alone = max(self.now, task.job.lost_at), True
                self._absent.discard(worker)
            elif message.kind == FAILED:
                raise RuntimeError(f"worker {worker} failed at t={self.now:.3g}: {answer.words}")
            elif task is None or task.ended or task.number != message.number:
                self.measured.late_answers += 1
            else:
                self._deliver(task, answer, message)

    def _deliver(self, task: _Task, answer: Answer, message: AnswerMessage) -> None:
        job, result = task.job, answer.result
        assert result is not None
        planned = self._clock(task.planned)
        if message.ended <= planned + self._grace:
            end = task.planned
        else:
            end = max(self._time_of(message.ended), job.start, task.planned)
        if not self._is_sound(job, result, message.loss):
            self._replace(job.worker, "sent numbers that are not finite", end)
            return
        job.finish, job.cut = end, False
        job.contribution = result, message.loss
        task.answer = answer
        self._deaths[job.worker] = 0
        start = self._clock(job.start)
        late = message.ended - planned if self._emulated else math.nan
        self.measured.messages.append(
            Message(
                job.worker, job.start, message.began - start, message.computed - message.began, late,
                answer.received - message.ended,
            )
        )  # fmt: skip

    # ------------------------------------------------------------------ faults
    def _is_sound(self, job: Job, result: np.ndarray, loss: float) -> bool:
        """Whether a result is finite, or is not because training diverges: then it is the same when computed here."""
        if math.isfinite(loss) and np.isfinite(result).all():
            return True
        rng = np.random.default_rng(0)
        set_stream(rng, self._streams[job.worker])
        expected, loss = contribution(self._problem, job, rng, self._kind == GRADIENT)
        return not (math.isfinite(loss) and np.isfinite(expected).all())

    def _replace(self, worker: int, why: str, ended: float | None = None) -> None:
        """Start another process in the place of ``worker``; its task is lost, at its end if that is known (s)."""
        self.measured.deaths += 1
        self._deaths[worker] += 1
        if self._deaths[worker] > DEATHS_IN_A_ROW:
            times = f"{self._deaths[worker]} times in a row, last at t={self.now:.3g}"
            raise RuntimeError(f"worker {worker} {why} {times}: it delivers nothing")
        self._absent.add(worker)
        task = self._tasks.get(worker)
        if task is not None and not task.ended:
            # emulated tasks may be behind the clock of the machine: it counts as lost since the last arrival
            at = self._last_end if self._emulated else self.now
            _lose(task, max(at if ended is None else ended, task.job.start))
        self._crew.replace(worker)

    def _replace_those_that_hang(self, clock: float) -> None:
        for worker, task in list(self._tasks.items()):
            due = self._clock(max(task.planned, task.job.start))
            if not task.ended and worker not in self._absent and clock > due + self._patience:
                self._replace(worker, f"did not answer for {self._patience:g} s")

    # ------------------------------------------------------------------ time
    @property
    def now(self) -> float:
        """The time of the run, in seconds."""
        return self._time_of(time.monotonic())

    @property
    def next_time(self) -> float:
        return self._next_time

    def _clock(self, seconds: float) -> float:
        """The clock of the machine at a time of the run."""
        assert self._zero is not None
        return self._zero + seconds * self._scale

    def _time_of(self, clock: float) -> float:
        return 0.0 if self._zero is None else (clock - self._zero) / self._scale


def _lose(task: _Task, time: float) -> None:
    """Let the worker of a task be away from ``time`` on, until somebody says when it is back."""
    task.planned = -math.inf
    task.job.lost_at, task.job.finish, task.job.cut = time, math.inf, False
