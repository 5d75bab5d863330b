r"""States of an ABS server as they are in the long run, to start simulations from.

In the limit of many workers a round lasts r, and an attempt of worker i is at work at age j, the number of rounds it
has missed, with a probability proportional to S_i(jr), j = 0..theta.  Drawing age and rest of each worker from this law
puts rare long stalls where a simulation from fresh workers would take longer to get than it lasts.  The
start is approximate: rounds of few workers fluctuate, and workers depend on each other.  So a warm-up has to follow.
Source: derived in notebooks/proofs/staleness.ipynb, section 3.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from abs_theory.delays import Delay
from abs_theory.typing import Array
from abs_theory.workers import Workers

__all__ = ["LongRun", "StartRandomness", "forgets", "long_run", "repeats"]

OLDEST_AGE = 1 << 22  # rounds; older attempts count as of this age
SINGLE_AGES, BLOCK_GROWTH = 32, 1.2  # ages taken one by one; width of the blocks beyond, relative to the last
FINE_STEPS, COARSE_STEPS, COARSE_FROM, LEAST_LOG_SURVIVAL = 64, 112, 4.0, 60.0  # of the table; of -log survival
LOG_SURVIVAL = -np.concatenate(
    [
        np.linspace(0.0, COARSE_FROM, FINE_STEPS + 1)[1:],
        np.linspace(COARSE_FROM, LEAST_LOG_SURVIVAL, COARSE_STEPS + 1)[1:],
    ]
)
TINY = 1e-300  # seconds
LOG_OF_NOTHING = -700.0  # of survival beyond the table
WHOLE = 1e-9  # steps of a lattice, by which a whole number of them may be missed


class SurvivalTable(NamedTuple):
    """Log survival as a function of log time, interpolated between quantiles."""

    log_time: Array
    log_survival: Array

    @classmethod
    @lru_cache(maxsize=256)
    def of(cls, law: Delay) -> "SurvivalTable":
        """The table of a law."""
        times = np.maximum(np.asarray(law.isf(np.exp(LOG_SURVIVAL)), float), TINY)
        times = np.minimum(np.maximum.accumulate(np.nan_to_num(times, nan=TINY)), 1 / TINY)
        first = max(float(law.ppf(0.0)), TINY)
        return cls(np.log(np.append(first, times)), np.append(0.0, LOG_SURVIVAL))

    def sf(self, t: Array) -> Array:
        return np.where(t <= 0, 1.0, self.sf_at(np.log(np.maximum(t, TINY))))

    def sf_at(self, log_t: Array) -> Array:
        """Survival at the time with this log."""
        return np.exp(np.interp(log_t, self.log_time, self.log_survival, right=LOG_OF_NOTHING))

    def isf(self, s: Array) -> Array:
        """Time of a survival above exp(-60)."""
        x = -np.log(s)
        coarse = COARSE_STEPS / (LEAST_LOG_SURVIVAL - COARSE_FROM)
        place = np.minimum(x * (FINE_STEPS / COARSE_FROM), FINE_STEPS + (x - COARSE_FROM) * coarse)  # in the table
        i = place.astype(np.intp)
        return np.exp(self.log_time[i] + (place - i) * np.diff(self.log_time)[i])


class StartRandomness(NamedTuple):
    """Uniform numbers from which the attempts of equal workers at the start are made, replicates x workers."""

    place: Array  # in the law of the ages, one replicate in each stratum
    in_block: Array
    rest: Array
    # if drawn ahead: delays of fresh attempts, and the order of the places
    fresh: Array | None = None
    order: NDArray[np.intp] | None = None

    @classmethod
    def of(cls, rng: np.random.Generator, shape: tuple[int, int], fresh: Delay | None = None) -> "StartRandomness":
        """Drawn with ``rng``, with delays of fresh attempts if their law is given."""
        replicates, workers = shape
        stratum = rng.permuted(np.tile(np.arange(replicates), (workers, 1)), axis=1).T
        place = (stratum + rng.random(shape)) / replicates
        in_block, rest = rng.random(shape), rng.random(shape)
        if fresh is None:
            return cls(place, in_block, rest)
        return cls(place, in_block, rest, fresh.sample(rng, place.size), place.argsort(axis=None))

    def blocks(self, weight: Array) -> NDArray[np.intp]:
        """The block of each attempt in the law of the ages, whose running sums are ``weight``."""
        if self.order is None:
            return weight[:-1].searchsorted(self.place * weight[-1], side="right")
        ends = (self.place.take(self.order) * weight[-1]).searchsorted(weight[:-1])
        block = np.empty(self.place.shape, dtype=np.intp)
        block.put(self.order, np.repeat(np.arange(weight.size), np.diff(ends, prepend=0, append=block.size)))
        return block


class LongRun(NamedTuple):
    """Rounds and attempts in the limit of many workers."""

    workers: Workers
    round_time: float
    low: NDArray[np.int64]  # first age of each block
    size: NDArray[np.int64]  # ages in it
    survive: list[Array]  # of each law, at the middle of each block
    tables: list[SurvivalTable]

    def draw(
        self, rng: np.random.Generator, replicates: int, randomness: "StartRandomness | None" = None
    ) -> tuple[NDArray[np.int64], Array]:
        """Age in rounds and seconds left of each worker's attempt at the start of a round, replicates x n.

        If all times of a law are multiples of one step, so is the time worked: workers that begin together stay on that
        lattice, and finish at the same times.  Equal workers may use ``randomness`` that was drawn before, instead of
        the ``rng``.
        """
        age = np.zeros((replicates, self.workers.n), dtype=np.int64)
        left = np.empty(age.shape)
        for g, (law, table) in enumerate(zip(self.workers.laws, self.tables, strict=True)):
            mine = np.flatnonzero(self.workers.group == g)
            weight = np.cumsum(self.survive[g] * self.size)
            drawn = randomness or StartRandomness.of(rng, (replicates, mine.size))
            ages = block = drawn.blocks(weight)
            if self.oldest >= weight.size:  # some blocks are of several ages
                ages = self.low[block] + np.floor(drawn.in_block * self.size[block]).astype(np.int64)
            worked = np.asarray(ages * self.round_time, dtype=np.float64)
            by_age = np.arange(float(min(ages.max(initial=0) + 1, ages.size))) * self.round_time
            survived = table.sf(by_age)[ages] if ages.max(initial=0) < by_age.size else table.sf(worked)
            rest = table.isf(np.maximum(survived * (1 - drawn.rest), math.exp(-59.0))) - worked
            if law.lattice:
                worked = law.lattice * np.floor(worked / law.lattice + WHOLE)
                rest = law.isf(law.sf(worked) * (1 - drawn.rest)) - worked
            fresh = ages == 0
            number = int(np.count_nonzero(fresh))
            rest[fresh] = law.sample(rng, number) if drawn.fresh is None else drawn.fresh[:number]
            age[:, mine], left[:, mine] = ages, np.maximum(rest, 0.0)
        return age, left

    def outlasting(self, age: NDArray[np.int64], seconds: float) -> Array:
        """Probability that each worker's attempt, drawn at this ``age``, takes more than these ``seconds`` in all."""
        probability = np.empty(age.shape)
        for g, (law, table) in enumerate(zip(self.workers.laws, self.tables, strict=True)):
            mine = np.flatnonzero(self.workers.group == g)
            ages = age[:, mine]
            survived = table.sf(np.arange(float(ages.max(initial=0) + 1)) * self.round_time)
            given = np.minimum(table.sf(np.array(seconds)) / survived, 1.0)
            given[0] = law.sf(seconds)
            probability[:, mine] = given[ages]
        return probability

    @property
    def mean_age(self) -> float:
        """Mean age in rounds of the tasks at work."""
        weights = [s * self.size / (s @ self.size) for s in self.survive]
        middle = self.low + (self.size - 1) / 2
        return float(np.average([weight @ middle for weight in weights], weights=self.workers.counts))

    @property
    def oldest(self) -> int:
        return int(self.low[-1] + self.size[-1] - 1)


def forgets(workers: Workers) -> bool:
    """Whether the start is forgotten: not where a worker always takes the same time, for its phase never changes."""
    return all(_varies(law) for law in workers.laws)


@lru_cache(maxsize=256)
def _varies(law: Delay) -> bool:
    return float(law.ppf(0.0)) < float(law.isf(0.0))


def repeats(workers: Workers) -> bool:
    """Whether rounds may repeat a cycle for long: half of the tasks of some worker take exactly the same time."""
    return any(float(law.ppf(0.25)) == float(law.ppf(0.75)) for law in workers.laws)


def long_run(workers: Workers, k: int, bound: float) -> LongRun:
    """The limit of many workers for a server that waits for ``k``; ``bound`` inf is none."""
    tables = [SurvivalTable.of(law) for law in workers.laws]
    low, size = _blocks(bound)
    with np.errstate(divide="ignore"):
        log_ages = np.log(np.append(low + (size - 1) / 2, bound + 1))  # of the middle of each block, and of the end

    def survive(log_r: float) -> list[Array]:
        return [table.sf_at(log_ages + log_r) for table in tables]

    def excess(log_r: float) -> float:
        alive = zip(workers.counts, survive(log_r), strict=True)
        return sum(count * (1 - float(s[-1])) / float(s[:-1] @ size) for count, s in alive) - k

    log_r = _root(excess, min(t.log_time[0] for t in tables) - 20, max(t.log_time[-1] for t in tables) + 1)
    alive = survive(log_r)
    last = max(int(np.flatnonzero(s[:-1] * size > 1e-12)[-1]) for s in alive) + 1
    return LongRun(workers, math.exp(log_r), low[:last], size[:last], [s[:last] for s in alive], tables)


def _root(f: Callable[[float], float], low: float, high: float) -> float:
    low, high = max(low, -690.0), min(high, 690.0)
    if f(high) < 0:
        return high
    if f(low) > 0:
        return low
    return float(brentq(f, low, high, xtol=1e-10))  # pyright: ignore


def _blocks(bound: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First ages and sizes of blocks that cover 0..``bound``."""
    end = int(min(bound, OLDEST_AGE)) + 1
    edges = list(range(min(SINGLE_AGES, end) + 1))
    while edges[-1] < end:
        edges.append(min(math.ceil(edges[-1] * BLOCK_GROWTH), end))
    edges = np.array(edges, dtype=np.int64)
    return edges[:-1], np.diff(edges)
