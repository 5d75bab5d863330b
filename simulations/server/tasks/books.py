"""The books of a run: what was sent, computed, used and lost between two updates, and what became of every task."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from simulations.server.tasks.job import Job, Round


class Books:
    """Counters since the last update, the rounds closed so far, and, if asked for, one line per task."""

    def __init__(self, keep_tasks: bool, rounds: list[Round] | None = None, tasks: list[list] | None = None):
        self.rounds: list[Round] = rounds or []
        self.tasks: list[list] | None = (tasks or []) if keep_tasks else None
        self._reset()

    # ------------------------------------------------------------------ what happens to a task
    def deliver(self, job: Job, version: int) -> None:
        """Note a gradient that has arrived when there had been ``version`` updates."""
        self._uplinks += 1
        self._computed += job.local_steps
        if self.tasks is not None:
            self._write(job, job.finish, version, "unfinished")  # until it is applied or discarded

    def restart(self, job: Job, end: float, version: int) -> None:
        """Note a task that is dropped because its busy worker is given a new model."""
        self._restarts += 1
        self._wasted += end - job.start
        if self.tasks is not None:
            self._write(job, end, version, "restarted")

    def cut_off(self, job: Job, end: float, version: int) -> None:
        """Note a task that was given up because it took too long."""
        self._waste(job, end, version, "cut off")

    def lose(self, job: Job, end: float, version: int) -> None:
        """Note a task that was lost because its worker went away."""
        self._waste(job, end, version, "lost")

    def apply(self, jobs: list[Job], version: int) -> None:
        """Note the first update that each gradient goes into.  Raises ValueError if one goes into it twice."""
        for job in jobs:
            if not job.applied:
                self._used += job.local_steps
                if job.line is not None:
                    job.line[-2:] = version, "applied"
            elif job.applied == version:
                raise ValueError(
                    f"a gradient must be accepted once for an update, the one that worker {job.worker} finished at "
                    f"t={job.finish:.3g} was accepted twice"
                )
            job.applied = version

    def discard(self, job: Job) -> None:
        """Note a gradient that goes into no update."""
        self._wasted += job.finish - job.start
        if job.line is not None:
            job.line[-1] = "discarded"

    def leave_unfinished(self, job: Job, end: float, version: int) -> None:
        """Note a task that is still in progress when the run ends."""
        if self.tasks is not None:
            self._write(job, end, version, "unfinished")

    # ------------------------------------------------------------------ messages, and seconds of workers
    def send(self, models: int) -> None:
        """Count ``models`` sent to workers."""
        self._downlinks += models

    def rest(self, idle: float, away: float = 0.0) -> None:
        """Add seconds in which workers had nothing to do, and seconds in which they were away."""
        self._idle += idle
        self._away += away

    def stop(self, seconds: float) -> None:
        """Add seconds of work on a local step that was stopped before its end."""
        self._wasted += seconds

    # ------------------------------------------------------------------ rounds
    def close_round(self, applied: tuple) -> None:
        """Write the line of an update, ``applied`` being its first columns, and begin to count anew."""
        computed, used = self._computed, self._used
        counts = (self._uplinks, self._downlinks, self._restarts, computed, used, computed - used)
        self.rounds.append(Round._make((*applied, *counts, self._idle, self._wasted, self._away)))
        self._reset()

    def extend_last_round(self) -> None:
        """Add the seconds counted since the last update to its line: there will be no other update."""
        if self.rounds:
            last = self.rounds[-1]
            self.rounds[-1] = last._replace(
                idle_seconds=last.idle_seconds + self._idle,
                wasted_seconds=last.wasted_seconds + self._wasted,
                away_seconds=last.away_seconds + self._away,
            )
            self._reset()

    # ------------------------------------------------------------------ inside
    def _waste(self, job: Job, end: float, version: int, outcome: str) -> None:
        self._wasted += end - job.start
        if self.tasks is not None:
            self._write(job, end, version, outcome)

    def _write(self, job: Job, end: float, version: int, outcome: str) -> None:
        job.line = [job.worker, job.start, end, job.version, version, -1, outcome]
        if self.tasks is not None:
            self.tasks.append(job.line)

    def _reset(self) -> None:
        self._uplinks = self._downlinks = self._restarts = 0
        self._computed = self._used = 0
        self._idle = self._wasted = self._away = 0.0


@dataclass(frozen=True)
class Remembered:
    """What a server knows beside the model and the books; another protocol may remember anything in its notes."""

    notes: SimpleNamespace  #: of the protocol
    accepted: list[Job]  #: gradients delivered since the last update
    weights: list[float]  #: of these
    queued: list[Job]  #: gradients that came while the server updated
    last_step: np.ndarray | None  #: of the model, if a policy may ask whether steps oppose each other
    measured: dict[str, object] | None  #: for a policy that asks, as ``Meter.state`` gives it


@dataclass(frozen=True)
class ServerState:
    """The model and the books after an update, and what each worker was doing: another server can go on from it.

    It is that of the server, which changes it when it goes on.
    """

    params: np.ndarray  #: the model
    time: float  #: seconds
    updates: int  #: made so far
    loss: float  #: that the server sees
    decisions: tuple[float, ...]  #: in force, in the order of ``Decisions.in_force``
    rounds: list[Round]  #: closed so far
    tasks: list[list] | None  #: lines of the table of tasks, if they are kept
    in_progress: list[tuple[int, float, int, float]]  #: worker, start (s), version, lost at (s) of each task
    idle_since: list[float]  #: seconds, for each worker
    remembered: Remembered | None  #: None: it could not be kept, and protocol and policies start afresh
