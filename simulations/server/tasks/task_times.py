"""When a task will end if it is more than one step: links, local steps, cut-offs, absences."""

from collections import deque
from collections.abc import Mapping, Sequence
from itertools import islice

from simulations.fleets import Times
from simulations.server.tasks.job import Job


class TaskPlanner:
    """Plans the tasks of workers that take these ``times``; knows when each worker goes away next."""

    def __init__(self, times: Sequence[Times], cut_off: Sequence[float] | None):
        self.times, self.cut_off = times, cut_off
        self._absence = [None if t.absences is None else next(t.absences, None) for t in times]

    def go_on_from(self, time: float, tasks: Mapping[int, int]) -> None:
        """Pass what was drawn up to ``time``, at which so many ``tasks`` of each worker had been planned."""
        for worker, count in tasks.items():
            for draws in (self.times[worker].download, self.times[worker].upload):
                if draws is not None:
                    deque(islice(draws, count), maxlen=0)
        for worker, absence in enumerate(self._absence):
            while absence is not None and absence[1] <= time:
                absence = self._next_absence(worker)

    def plan(self, job: Job) -> float:
        """Set when the local steps of a job end, whether it is given up or lost, and when it finishes: the result.

        A lost job finishes when its worker is back.  A job of a worker that is away is lost at once.
        """
        worker, times = job.worker, self.times[job.worker]
        now = job.start if times.download is None else job.start + next(times.download)
        job.marks = []
        for _ in range(job.local_steps):
            now += times.step(now, job.version)
            job.marks.append(now)
        job.finish = now if times.upload is None else now + next(times.upload)
        if self.cut_off is not None and job.finish > job.start + self.cut_off[worker]:
            job.finish, job.cut = job.start + self.cut_off[worker], True
        absence = self._absence[worker]
        if absence is not None and absence[0] < job.finish:
            job.lost_at, job.finish = max(absence[0], job.start), absence[1]
        return job.finish

    def away(self, worker: int, start: float, end: float) -> float:
        """Seconds between ``start`` and ``end`` for which this idle worker was away."""
        seconds, absence = 0.0, self._absence[worker]
        while absence is not None and absence[1] <= end:
            seconds += absence[1] - max(absence[0], start)
            absence = self._next_absence(worker)
        if absence is not None and absence[0] < end:
            seconds += end - max(absence[0], start)
        return seconds

    def come_back(self, worker: int, time: float) -> None:
        """Note that this worker is back at ``time``; it may have been away for a reason that was not planned."""
        absence = self._absence[worker]
        if absence is not None and absence[1] <= time:
            self._next_absence(worker)

    def _next_absence(self, worker: int) -> tuple[float, float] | None:
        """Go to the next absence of this worker and return it."""
        absences = self.times[worker].absences
        self._absence[worker] = None if absences is None else next(absences, None)
        return self._absence[worker]
