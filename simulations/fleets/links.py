"""What comes between server and workers: messages that take time, and workers that leave and come back.

Each is a fleet made of another one (``fleets.Wrapper``) and leaves its step times as they are.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import repeat
from numbers import Real
from operator import add

import numpy as np

from abs_theory.checks import check_nonnegative
from abs_theory.delays import Delay
from simulations.fleets.base import Times, Wrapper, checked_law, duration_law
from simulations.streams import task_times


@dataclass(frozen=True)
class Links(Wrapper):
    """Messages take time: each model sent and each gradient delivered, ``download`` and ``upload`` seconds.

    A number is a constant, a law is drawn anew for each message.  Times of wrappers of this kind within are added.
    """

    download: Delay | float = 0.0  #: seconds from the server to a worker
    upload: Delay | float = 0.0  #: seconds from a worker to the server

    def _check(self) -> None:
        for name in "download", "upload":
            value = getattr(self, name)
            if isinstance(value, Real):
                check_nonnegative(name, value)
                self._set(name, float(value))
            else:
                self._set(name, checked_law(name, value))

    def times(self, seed: int, replicate: int) -> list[Times]:
        def linked(times: Times, download: Iterator[float] | None, upload: Iterator[float] | None) -> Times:
            return times._replace(download=_added(times.download, download), upload=_added(times.upload, upload))

        messages = [self._messages(seed, replicate, name) for name in ("download", "upload")]
        return list(map(linked, self.fleet.times(seed, replicate), *messages))

    def _messages(self, seed: int, replicate: int, name: str) -> Sequence[Iterator[float] | None]:
        seconds = getattr(self, name)
        if isinstance(seconds, Delay):
            return [task_times(seconds, rng) for rng in self.streams(seed, replicate, name)]
        return [repeat(seconds) if seconds else None] * self.n


@dataclass(frozen=True)
class Absences(Wrapper):
    """Workers that leave, which loses their work in progress, and come back: ``up`` seconds there, ``down`` away, ...

    Both are laws, or numbers: the means of exponential laws; ``down=math.inf`` means for good, a crash.  Everybody is
    there at time 0.  Two wrappers of this kind are two independent reasons to be away.
    """

    up: Delay | float  #: seconds at work until it leaves
    down: Delay | float  #: seconds until it is back

    def _check(self) -> None:
        self._set("up", duration_law("up", self.up))
        self._set("down", math.inf if self.down == math.inf else duration_law("down", self.down))

    def times(self, seed: int, replicate: int) -> list[Times]:
        def leaving(rng: np.random.Generator) -> Iterator[tuple[float, float]]:
            ups = task_times(duration_law("up", self.up), rng)
            downs = repeat(math.inf, 1) if self.down == math.inf else task_times(duration_law("down", self.down), rng)
            back = 0.0
            for up, down in zip(ups, downs, strict=False):
                leaves = back + up
                back = leaves + down
                yield leaves, back

        def absent(times: Times, rng: np.random.Generator) -> Times:
            reasons = [leaving(rng)] if times.absences is None else [times.absences, leaving(rng)]
            return times._replace(absences=_united(*reasons))

        return list(map(absent, self.fleet.times(seed, replicate), self.streams(seed, replicate, "absence")))


def _added(one: Iterator[float] | None, other: Iterator[float] | None) -> Iterator[float] | None:
    if one is None or other is None:
        return other if one is None else one
    return map(add, one, other)


def _united(*reasons: Iterator[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """The times away for at least one reason: what overlaps or touches becomes one."""
    spells = merge(*reasons)
    leaves, back = next(spells)
    for again, later in spells:
        if again > back:
            yield leaves, back
            leaves, back = again, later
        else:
            back = max(back, later)
        if back == math.inf:
            break
    yield leaves, back
