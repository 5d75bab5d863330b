"""The books of a run: what was sent, computed, used and lost between two updates, and what became of every task."""

from simulations.server.job import Job, Round


class Books:
    """Counters since the last update, the rounds closed so far, and, if asked for, one line per task."""

    def __init__(self, keep_jobs: bool):
        self.rounds: list[Round] = []
        self.tasks: list[list] | None = [] if keep_jobs else None
        self._reset()

    def log(self, job: Job, end: float, version: int, outcome: str) -> None:
        """Write the line of a task that ended when there had been ``version`` updates.

        What becomes of a gradient that was delivered is filled in later.
        """
        if self.tasks is not None:
            job.line = [job.worker, job.start, end, job.version, version, -1, outcome]
            self.tasks.append(job.line)

    def waste(self, job: Job, end: float, version: int, outcome: str) -> None:
        """Note a task that is thrown away before it is delivered."""
        self.wasted += end - job.start
        if self.tasks is not None:
            self.log(job, end, version, outcome)

    def apply(self, jobs: list[Job], version: int) -> None:
        """Note the first update that each gradient goes into.  Raises ValueError if one goes into it twice."""
        for job in jobs:
            if not job.applied:
                self.used += job.local_steps
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
        self.wasted += job.finish - job.start
        if job.line is not None:
            job.line[-1] = "discarded"

    def close_round(self, applied: tuple) -> None:
        """Write the line of an update, ``applied`` being its first columns, and begin to count anew."""
        computed, used = self.computed, self.used
        counts = (self.uplinks, self.downlinks, self.restarts, computed, used, computed - used)
        self.rounds.append(Round._make((*applied, *counts, self.idle, self.wasted, self.away)))
        self._reset()

    def extend_last_round(self) -> None:
        """Charge the seconds counted since the last update to it: there will be no other."""
        if self.rounds:
            last = self.rounds[-1]
            self.rounds[-1] = last._replace(
                idle_seconds=last.idle_seconds + self.idle,
                wasted_seconds=last.wasted_seconds + self.wasted,
                away_seconds=last.away_seconds + self.away,
            )
            self._reset()

    def _reset(self) -> None:
        self.uplinks = self.downlinks = self.restarts = 0
        self.computed = self.used = 0
        self.idle = self.wasted = self.away = 0.0
