"""The replicates of a server that are simulated: how many, with which control variates, and what a round costs."""

import math
from typing import NamedTuple, Self

import numpy as np

from abs_theory.delays import Exponential, LocalSteps, ShiftedExponential, Uniform
from abs_theory.monte_carlo.controls import Controls
from abs_theory.monte_carlo.draws import SharedDelays, SharedDraws
from abs_theory.monte_carlo.fast import TaskPool
from abs_theory.monte_carlo.long_run import LongRun
from abs_theory.monte_carlo.plain import PlainPool
from abs_theory.monte_carlo.precise.mixing import warmup
from abs_theory.monte_carlo.precise.stretches import PARTS, Pool, Stretch, play
from abs_theory.monte_carlo.tally import MOST_ENTRIES
from abs_theory.typing import Law
from abs_theory.workers import Workers

__all__ = ["Servers", "usual_replicates"]

TASKS_TOGETHER = 1 << 13  # of all replicates
FEWEST, MOST = 128, 1024  # replicates
CALL_SECONDS, TASK_SECONDS = 60e-6, 60e-9  # cost of a round, and of each task that begins in it; rough
UNEQUAL_SECONDS = 150e-9  # the same for unequal workers
# control variates by age: cost of each law and age in a round; they are used if a round costs at most this times more
# in all, and if so many workers are late for each delivery
CLASS_SECONDS, WORTH_CLASSES, FEWEST_LATE = 60e-9, 1.5, 1 / 12
PLAIN_SECONDS = 60e-9  # of each worker in a round, where tasks may tie
MIXING_SECONDS = 0.1  # effort for a warm-up in which every worker delivers, under a bound
# replicates for long runs, so that so many tasks begin in a round; and their costs, as above
FEW_TASKS, LEAST_REPLICATES = 1 << 11, 64
BARE_SECONDS, UNEQUAL_BARE_SECONDS = (30e-6, 12e-9), (75e-6, 25e-9)  # of a round, of a task without its delay
BARE_CLASS_SECONDS, DRAW_SECONDS, QUICK_SECONDS = 80e-9, 17e-9, 4e-9  # of each law and age; of a delay
OTHER_SECONDS = 5e-9  # of a task that goes on
QUICK = Exponential, ShiftedExponential, Uniform
# coefficient of variation, from which on the longest delays make the rounds; what their control variates cost, times
WILD, CONTROLS_COST = 2.0, 2.0
MOST_ROUNDS = 1 << 24
MOST_REMEMBERED = 1000  # rounds for which the long tasks are remembered, to be a control variate of the restarts
FEW_ENTRIES = 10  # of the staleness law, which a limit of none has all the same
NEGLIGIBLE_MASS = 1e-8  # the staleness law ends where less remains


class Servers(NamedTuple):
    """Replicates of a server that waits for ``k``, under a ``bound``."""

    workers: Workers
    k: int
    bound: float
    run: LongRun
    rng: np.random.Generator
    replicates: int
    cost: float  # of a round, in seconds
    controlled: bool  # whether there are control variates
    by_age: bool  # whether these are of the tasks of each age
    shared: SharedDelays | None  # delays that were drawn ahead

    @classmethod
    def many(
        cls, workers: Workers, k: int, bound: float, run: LongRun, rng: np.random.Generator, shared: SharedDelays | None
    ) -> Self:
        """So many that the noise is small after few rounds, and control variates work."""
        replicates = usual_replicates(workers.n)
        cost = _cost(workers, k, bound, replicates)
        if workers.has_atoms and cost * warmup(workers, k, bound, math.inf) > MIXING_SECONDS:
            replicates = FEWEST  # and more rounds: each costs all workers
            cost = _cost(workers, k, bound, replicates)
        classes_seconds = CLASS_SECONDS * replicates * (bound + 1) * len(workers.laws)
        by_age = not workers.has_atoms and classes_seconds <= WORTH_CLASSES * cost and FEWEST_LATE * k <= workers.n - k
        cost += classes_seconds if by_age else 0.0
        return cls(workers, k, bound, run, rng, replicates, cost, True, by_age, shared)

    def few(self) -> Self:
        """Fewer of the same, for long runs; capped delays are control variates where the longest make the rounds."""
        load = self.workers.n if self.workers.has_atoms else _load(self.workers, self.k, self.bound)
        replicates = max(LEAST_REPLICATES, min(PARTS, 1 << round(math.log2(FEW_TASKS / load))))
        if self.workers.has_atoms:
            cost = _cost(self.workers, self.k, self.bound, replicates)
            return self._replace(replicates=replicates, cost=cost, shared=None)
        call, task = BARE_SECONDS if self.workers.equal else UNEQUAL_BARE_SECONDS
        task += float(np.average([_draw_seconds(law) for law in self.workers.laws], weights=self.workers.counts))
        cost = call + replicates * (task * load + OTHER_SECONDS * (self.workers.n - load))
        classes = BARE_CLASS_SECONDS * replicates * (self.bound + 1) * len(self.workers.laws)
        by_age = self.by_age and classes <= WORTH_CLASSES * cost
        wild = 2 * self.k > self.workers.n and any(law.var > (WILD * law.mean) ** 2 for law in self.workers.laws)
        cost = (cost + (classes if by_age else 0.0)) * (CONTROLS_COST if wild else 1.0)
        return self._replace(replicates=replicates, cost=cost, by_age=by_age, controlled=wild, shared=None)

    def begin(self, start: LongRun | None) -> TaskPool | PlainPool:
        """All workers fresh, or as they are in the long run if there is a ``start``."""
        workers, k, bound = self.workers, self.k, self.bound
        if workers.has_atoms:
            return PlainPool(workers, k, bound, self.rng, self.replicates, start)
        controls = None
        if self.controlled:
            late = int(bound) + 1 if bound < MOST_REMEMBERED and not self.by_age else None
            restart = None if late is None else (late, late * self.run.round_time)
            draws = None if self.shared is None else SharedDraws(self.shared)
            controls = Controls(workers, self.replicates, restart, draws)
        return TaskPool(workers, k, bound, self.rng, self.replicates, MOST_ROUNDS, start, controls)

    def play(self, pool: Pool, rounds: int, every: int = 2) -> Stretch:
        """Play and watch so many rounds of a ``pool``; ``every`` few of them numbers of tasks are looked at."""
        return play(pool, rounds, self.entries, every, self.run.round_time if self.by_age else None)

    @property
    def entries(self) -> int:
        """Entries of the staleness law: twice as many as in the limit of many workers, whose rounds are all alike."""
        last = max(int(np.flatnonzero(s > NEGLIGIBLE_MASS)[-1]) for s in self.run.survive)
        return int(min(self.bound + 1, MOST_ENTRIES, 2 * (self.run.low[last] + self.run.size[last]) + FEW_ENTRIES))


def usual_replicates(n: int) -> int:
    """Replicates of ``n`` workers."""
    return max(FEWEST, min(MOST, TASKS_TOGETHER // n)) // PARTS * PARTS


def _load(workers: Workers, k: int, bound: float) -> float:
    """Tasks that begin in a round."""
    return k + (workers.n - k) / (bound + 1)


def _draw_seconds(law: Law) -> float:
    """Estimated cost of a delay."""
    if isinstance(law, LocalSteps):
        return law.steps * _draw_seconds(law.delay)
    return QUICK_SECONDS if isinstance(law, QUICK) else DRAW_SECONDS


def _cost(workers: Workers, k: int, bound: float, replicates: int) -> float:
    """Estimated seconds of a round."""
    if workers.has_atoms:
        return CALL_SECONDS + PLAIN_SECONDS * replicates * workers.n
    return CALL_SECONDS + (TASK_SECONDS if workers.equal else UNEQUAL_SECONDS) * replicates * _load(workers, k, bound)
