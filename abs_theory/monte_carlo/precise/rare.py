"""What rounds add that are too rare to have been seen: bounds on the probability that a round is long."""

import math
from typing import NamedTuple

import numpy as np
from scipy import special

from abs_theory.monte_carlo.long_run import LongRun
from abs_theory.typing import Array
from abs_theory.workers import Workers

__all__ = ["RareRounds"]

MOST_UNSEEN = 12.0  # rounds that are expected but may not be seen: their absence has a probability of exp(-12)
RARE_NODES = 150  # of the integral over long rounds


class RareRounds(NamedTuple):
    """Bounds on the probability that a round is longer than t, at a grid of t."""

    late: Array  # in the long run
    late_if_fresh: Array  # if all workers begin
    steps: Array  # dt

    @classmethod
    def of(cls, run: LongRun, workers: Workers, k: int) -> "RareRounds":
        """Those of a server that waits for ``k``.

        At most n - k tasks are old when a round begins.  So one of the n - k + 1 that are longer than t is fresh, and
        its delay does not depend on the others.
        Source: Hoeffding (1956), On the distribution of the number of successes in independent trials, for unequal
        workers.
        """
        log_t = np.linspace(math.log(run.round_time), max(table.log_time[-1] for table in run.tables), RARE_NODES)
        t, worked = np.exp(log_t), (run.low + (run.size - 1) / 2) * run.round_time
        survive = np.array(
            [
                (run.size @ table.sf_at(np.log(worked[:, None] + t)) / (run.size @ alive), table.sf_at(log_t))
                for table, alive in zip(run.tables, run.survive, strict=True)
            ]
        )
        # of unequal workers the tail is no heavier than that of equal ones with the mean of their probabilities
        mean = np.tensordot(np.array(workers.counts) / workers.n, survive, 1)
        late, late_if_fresh = special.betainc(workers.n - k + 1, k, np.minimum(mean, 1.0))
        begin = [count / (run.size @ alive) for count, alive in zip(workers.counts, run.survive, strict=True)]
        one_is_fresh = np.array(begin) @ survive[:, 1]
        others = np.minimum(mean[0] * workers.n / (workers.n - 1), 1.0)
        late = np.minimum(late, one_is_fresh * special.betainc(workers.n - k, k, others))
        return cls(late, late_if_fresh, t * (log_t[1] - log_t[0]))

    def unseen(self, rounds: int, fresh: bool) -> float:
        """Mean seconds per round that rounds too rare to have been seen may add, of ``fresh`` workers or of all ages.

        They are E[(X_(k) - t)+], with t exceeded once in all ``rounds``.
        """
        late = self.late_if_fresh if fresh else self.late
        return float(np.where(late * rounds < MOST_UNSEEN, late, 0.0) @ self.steps)
