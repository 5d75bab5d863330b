"""Reasons why workers are slow at times: a factor common to all, rare long stalls, fast and slow spells.

Each is a fleet made of another one, of which it changes the step times only.
"""

import math
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np

from abs_theory.checks import check_positive, is_finite
from abs_theory.delays import Delay
from abs_theory.delays.numerics.bisection import first_time
from simulations.fleets.base import Times, Wrapper, checked_law, duration_law
from simulations.streams import in_blocks, task_times


@dataclass(frozen=True)
class CommonFactor(Wrapper):
    """All workers are slow at the same time: steps take a random ``factor`` times as long, the same for all workers.

    A factor is drawn from the law ``factor`` for each version of the model, and holds for the steps that start on it:
    a round of a synchronous protocol.  With ``every`` it is drawn for each period of ``every`` seconds, and holds for
    the steps that begin in it.  All factors are kept: 8 bytes per version, or per period.

    >>> from abs_theory.delays import Deterministic, Uniform
    >>> from simulations.fleets import as_fleet
    >>> first, second = CommonFactor(as_fleet(Deterministic(1.0), 2), factor=Uniform(1.0, 3.0)).times(0, 0)
    >>> first.step(0.0, 5) == second.step(0.0, 5)  # seconds of a step that starts on model 5
    True
    """

    factor: Delay  #: law of the factor
    every: float | None = None  #: seconds for which a factor holds; None: one per version of the model

    def _check(self) -> None:
        self._set("factor", checked_law("factor", self.factor))
        if self.every is not None:
            check_positive("every", self.every)
            self._set("every", float(self.every))

    def times(self, seed: int, replicate: int) -> list[Times]:
        drawn = task_times(self.factor, self.streams(seed, replicate, "common")[0])
        known, every = array("d"), self.every

        def factor_at(time: float, version: int) -> float:
            place = version if every is None else int(time // every)
            if place >= len(known):
                known.extend(islice(drawn, place + 1 - len(known)))
            return known[place]

        def slowed(times: Times) -> Times:
            step = times.step
            return times._replace(step=lambda time, version: factor_at(time, version) * step(time, version))

        return list(map(slowed, self.fleet.times(seed, replicate)))


@dataclass(frozen=True)
class Stalls(Wrapper):
    """Rare long stalls: with probability ``prob`` a step takes longer, by a draw from the law ``stall``.

    The law of a step is Mixture((1 - prob, prob), (step, Sum((step, stall)))).

    >>> from abs_theory.delays import Deterministic
    >>> from simulations.fleets import as_fleet
    >>> (times,) = Stalls(as_fleet(Deterministic(1.0), 1), prob=0.2, stall=Deterministic(10.0)).times(0, 0)
    >>> [times.step(0.0, 0) for _ in range(5)]
    [1.0, 1.0, 11.0, 11.0, 11.0]
    """

    prob: float  #: of a stall, per step
    stall: Delay  #: law of its seconds

    def _check(self) -> None:
        if not (is_finite(self.prob) and 0 <= self.prob <= 1):
            raise ValueError(f"prob must be a probability, got prob={self.prob!r}")
        self._set("stall", checked_law("stall", self.stall))

    def times(self, seed: int, replicate: int) -> list[Times]:
        def stalled(times: Times, rng: np.random.Generator) -> Times:
            def draw(size: int) -> np.ndarray:
                hit = rng.random(size) < self.prob
                extra = np.zeros(size)
                extra[hit] = self.stall.sample(rng, int(np.count_nonzero(hit)))
                return extra

            step, following = times.step, in_blocks(draw).__next__
            return times._replace(step=lambda time, version: step(time, version) + following())

        return list(map(stalled, self.fleet.times(seed, replicate), self.streams(seed, replicate, "stall")))


@dataclass(frozen=True)
class Spells(Wrapper):
    """Modulated speed: each worker has ``fast`` and ``slow`` spells in turn, in wall-clock time.

    Work of one second in a fast spell takes ``factor`` seconds in a slow one.  A step that spans several spells gets
    its exact time, from the integral of the speed.  ``fast`` and ``slow`` are laws of the length of a spell, or
    numbers: the means of exponential laws (Markov-modulated speed).  At time 0 the state is stationary: slow with
    probability E[slow] / (E[fast] + E[slow]), and the spell in progress has the equilibrium law, with density
    P(spell > t) / E[spell].  All spells are kept, 8 bytes each.
    Source: Cox (1962, Renewal Theory), ch. 5, for the equilibrium law.
    Raises ValueError if a mean is infinite.

    >>> from abs_theory.delays import Deterministic
    >>> from simulations.fleets import as_fleet
    >>> (times,) = Spells(as_fleet(Deterministic(1.0), 1), fast=1000.0, slow=1.0, factor=4.0).times(0, 0)
    >>> times.step(0.0, 0)  # in a fast spell
    1.0
    """

    fast: Delay | float  #: seconds of a fast spell
    slow: Delay | float  #: seconds of a slow spell
    factor: float  #: how many times as long a step takes in a slow spell

    def _check(self) -> None:
        for name in "fast", "slow":
            law = duration_law(name, getattr(self, name))
            if not math.isfinite(law.mean):
                raise ValueError(f"{name} must have a finite mean, or no state is stationary, got {law!r}")
            self._set(name, law)
        check_positive("factor", self.factor)
        self._set("factor", float(self.factor))

    def times(self, seed: int, replicate: int) -> list[Times]:
        laws = duration_law("fast", self.fast), duration_law("slow", self.slow)
        paces = 1.0, self.factor
        rngs = self.streams(seed, replicate, "speed")
        state, q = np.array([rng.random(2) for rng in rngs]).T
        begin = (state * (laws[0].mean + laws[1].mean) >= laws[0].mean).astype(int)  # 0: fast, 1: slow
        first = np.choose(begin, [_equilibrium(law, q) for law in laws])

        def modulated(times: Times, rng: np.random.Generator, now: int, end: float) -> Times:
            later = zip(task_times(laws[1 - now], rng), task_times(laws[now], rng), strict=True)
            spells = chain([end], chain.from_iterable(later))
            return times._replace(step=_through(spells, (paces[now], paces[1 - now]), times.step))

        return list(map(modulated, self.fleet.times(seed, replicate), rngs, begin.tolist(), first.tolist()))


def _through(
    spells: Iterator[float], paces: tuple[float, float], step: Callable[[float, int], float]
) -> Callable[[float, int], float]:
    """Steps whose work (seconds at pace 1) is done at two ``paces`` (seconds per second of work) in turn."""
    ends = array("d", [next(spells)])

    def seconds(time: float, version: int) -> float:
        work = step(time, version)
        while ends[-1] <= time:
            ends.append(ends[-1] + next(spells))
        j, now = bisect_right(ends, time), time
        while True:
            pace, left = paces[j % 2], ends[j] - now
            if pace * work <= left:
                return now - time + pace * work
            work -= left / pace
            now = ends[j]
            j += 1
            if j == len(ends):
                ends.append(now + next(spells))

    return seconds


def _equilibrium(law: Delay, q: np.ndarray) -> np.ndarray:
    """The time left of a spell at a random moment that is exceeded with probability ``q``."""
    top = np.full_like(q, np.finfo(float).max)
    return first_time(lambda t: law.integrated_tail(t) <= q * law.mean, np.zeros_like(q), top)
