"""Engines: what a server needs of the world in which its workers run.  The simulated clock is one of them."""

import math
from collections.abc import Callable, Mapping
from heapq import heappop, heapreplace
from typing import ClassVar, Protocol

from abs_theory.checks import explains_types
from simulations.server.tasks.agenda import Agenda, Entry, add, drop_first, retain
from simulations.server.tasks.job import Job

__all__ = ["Engine", "EngineFactory", "NothingComes", "SimulatedClock"]


class NothingComes(Exception):  # noqa: N818 (no error)
    """No task will ever end: there is none, or all wait for ever."""


class Engine(Protocol):
    """What runs the workers.  Times are seconds since the start of the run.

    A server plans when a task will end, from the law of its worker.  The engine says when it has ended.
    """

    computes: ClassVar[
        bool
    ]  #: whether a task ends with its gradient in ``job.contribution``; else the server computes it

    @property
    def next_time(self) -> float:
        """No event comes before this time; valid only after ``next`` returned None."""
        ...

    def start(self, run: list[Entry]) -> None:
        """Let the tasks of ``run`` begin together; a worker that is busy drops its task."""
        ...

    def drop(self, jobs: list[Job]) -> None:
        """Forget these tasks, which are no longer in force."""
        ...

    def next(self, until: float) -> Job | None:
        """The next task that ends, its ``finish`` being when; None if none ends up to ``until``.

        A task whose worker has gone away (``lost_at``) ends when the worker is back.
        Raises NothingComes if no task will ever end.
        """
        ...

    def clear(self) -> None:
        """Forget all tasks: the run is over."""
        ...


EngineFactory = Callable[[Mapping[int, Job]], Engine]  # given the tasks in force, by worker, which the server changes


@explains_types
class SimulatedClock(Engine):
    """The engine of a simulation: tasks end when it was planned, and nobody waits for it.

    >>> import numpy as np
    >>> job = Job(worker=0, version=0, start=0.0, params=np.zeros(0), local_steps=1, step_size=1.0, finish=2.0)
    >>> clock, run = SimulatedClock({0: job}), []
    >>> run.append((2.0, 0, job, run))
    >>> clock.start(run)
    >>> clock.next(until=1.0), clock.next_time, clock.next(until=3.0) is job
    (None, 2.0, True)
    """

    computes = False  #: the server computes the gradients

    def __init__(self, jobs: Mapping[int, Job]):
        self._jobs = jobs  # in force
        self._agenda: Agenda = []  # the jobs by when they end, and dropped ones whose time has not come
        self._dropped = 0  # of them, at most

    @property
    def next_time(self) -> float:
        return self._agenda[0][0]

    def start(self, run: list[Entry]) -> None:
        add(self._agenda, run)

    def drop(self, jobs: list[Job]) -> None:
        self._dropped += len(jobs)
        if self._dropped > 4 * len(self._jobs):  # at amortised cost O(1) for each
            retain(self._agenda, lambda job: self._jobs.get(job.worker) is job)
            self._dropped = 0

    def next(self, until: float) -> Job | None:
        agenda, jobs = self._agenda, self._jobs
        while agenda:
            time, worker, job, run = agenda[0]
            if jobs.get(worker) is not job:  # it was dropped
                drop_first(agenda)
                continue
            if time >= until:
                if time > until:
                    return None
                if time == math.inf:
                    break
            if run:  # ``drop_first``, without a call
                heapreplace(agenda, run.pop())
            else:
                heappop(agenda)
            return job
        raise NothingComes

    def clear(self) -> None:
        retain(self._agenda, lambda job: False)  # its runs know themselves, and would keep all these models alive
