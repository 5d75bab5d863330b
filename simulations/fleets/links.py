"""Messages that take time, and workers that leave and come back.

Both are fleets made of another one, whose step times they leave as they are.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import repeat
from numbers import Real
from operator import add

import numpy as np

from abs_theory.checks import check_nonnegative, explains_types
from abs_theory.delays import Delay
from simulations.fleets.base import Times, Wrapper, checked_law, duration_law
from simulations.streams import task_times


@dataclass(frozen=True)
class Links(Wrapper):
    """Messages take time: ``download`` seconds for each model sent, ``upload`` seconds for each gradient.

    A number is a constant; from a law the time is drawn anew for each message.  The times of nested links are added.
    Raises ValueError unless both are laws or finite numbers >= 0.

    >>> from abs_theory.delays import Exponential
    >>> from simulations.fleets import as_fleet
    >>> Links(as_fleet(Exponential(1.0), 2), upload=0.25).upload
    0.25
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


@explains_types
@dataclass(frozen=True)
class Absences(Wrapper):
    """Workers that leave and come back: ``up`` seconds at work, ``down`` seconds away, and so on.

    A worker that leaves loses its work in progress.  Both are laws, or numbers: the means of exponential laws.  With
    ``down=math.inf`` a worker never comes back: a crash.  All workers are present at time 0.  Two nested wrappers of
    this kind are two independent reasons to be away.

    >>> from abs_theory.delays import Deterministic
    >>> from simulations.fleets import as_fleet
    >>> fleet = Absences(as_fleet(Deterministic(1.0), 1), up=Deterministic(10.0), down=Deterministic(2.0))
    >>> next(fleet.times(seed=0, replicate=0)[0].absences)
    (10.0, 12.0)
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


def _added(inner: Iterator[float] | None, outer: Iterator[float] | None) -> Iterator[float] | None:
    if inner is None or outer is None:
        return outer if inner is None else inner
    return map(add, inner, outer)


def _united(*reasons: Iterator[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """The times away for at least one reason; intervals that overlap or touch are joined."""
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
