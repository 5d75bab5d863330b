"""Control variates of the Monte Carlo: sums over the tasks that begin, whose means are known exactly.

When a task begins, nothing that happened before depends on its delay X.  So the sum of min(X, c) - E[min(X, c)] over
all tasks that begin in a simulated run is a martingale, with mean 0 for every cap c, however long the run is.  The same
holds for the number of tasks with X > c less its mean.  With c the usual time until a restart, and the tasks counted in
the round in which they are due for it, this number is nearly that of the restarts.
Source: Glynn & Szechtman (2002), Some new perspectives on the method of control variates.
"""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import integrate

from abs_theory.delays import Delay
from abs_theory.monte_carlo.draws import SharedDraws
from abs_theory.monte_carlo.long_run import LongRun
from abs_theory.typing import Array
from abs_theory.workers import Workers

__all__ = ["Controls", "capped_means"]

CAPS_AT = (0.5, 0.1, 0.01, 0.001, 0.0001)  # the caps are exceeded with these probabilities by the slowest group


class Controls:
    """Sums of min(X, c) minus its mean over the tasks that begin, for several caps c and for each replicate.

    Given ``restart``, the rounds that a task may last and their usual seconds in all, the last column is the number of
    tasks that take longer, minus its mean, so many rounds after they began.
    """

    def __init__(
        self,
        workers: Workers,
        replicates: int,
        restart: tuple[int, float] | None = None,
        shared: SharedDraws | None = None,
    ) -> None:
        """With ``shared`` draws their running sums are used."""
        self.shared = shared
        self.caps, self.means = capped_means(workers)
        self._sums = np.zeros((replicates, self.caps.size + (restart is not None)))
        self.restart_seconds, due = math.inf, np.zeros((0, replicates))
        if restart is not None:
            rounds, self.restart_seconds = restart
            due = np.zeros((rounds, replicates))
        self.due = due  # surplus of long tasks, by the round in which they began, modulo the number of rows
        self.late = np.array([float(law.sf(self.restart_seconds)) for law in workers.laws])

    @property
    def sums(self) -> Array:
        """Replicates x caps, and one more for the restarts."""
        if self.shared is not None:
            self._sums[:, : self.caps.size] += self.shared.noted()
        return self._sums

    def at_start(self, update: int, age: NDArray[np.int64], left: Array, start: LongRun) -> None:
        """Note the tasks at work before the first round, which have run for ``age`` rounds of the long run."""
        if len(self.due):
            surplus = left + age * start.round_time > self.restart_seconds
            surplus = surplus - start.outlasting(age, self.restart_seconds)
            place = (update - age) % len(self.due) * len(age) + np.arange(len(age))[:, None]
            self.due += np.bincount(place.ravel(), surplus.ravel(), self.due.size).reshape(self.due.shape)

    def end_round(self, update: int, counting: bool) -> None:
        """Before the tasks of this ``update`` begin: those of the oldest model are due."""
        if len(self.due):
            due = self.due[update % len(self.due)]
            if counting:
                self._sums[:, -1] += due
            due[:] = 0.0

    def begin(
        self,
        update: int,
        delays: Array,
        group: NDArray[np.int64] | None,
        ends: NDArray[np.intp] | None,
        counting: bool,
    ) -> None:
        """Note ``delays``, those of each replicate between two of the ``ends``; of these groups, None if equal.

        If there are no ``ends``, each replicate has as many.
        """
        if not (counting or len(self.due)):
            return
        if ends is None:
            ends = np.arange(0, delays.size + 1, delays.size // len(self._sums))
        if len(self.due):
            late = (delays.ravel() > self.restart_seconds).nonzero()[0].searchsorted(ends)
            if group is None:
                surplus = late - self.late[0] * ends
                self.due[update % len(self.due)] += surplus[1:] - surplus[:-1]
            else:
                self.due[update % len(self.due)] += late[1:] - late[:-1] - _sums(self.late[group], ends)
        if not counting:
            return
        if self.shared is not None:
            self.shared.note(ends)
            return
        for i, cap in enumerate(self.caps):
            surplus = np.minimum(delays, cap)
            surplus -= self.means[0, i] if group is None else self.means[group, i]
            self._sums[:, i] += _sums(surplus, ends)


def capped_means(workers: Workers) -> tuple[Array, Array]:
    """Caps c, and E[min(X, c)] of each group, groups x caps; read only."""
    return _capped_means(tuple(workers.laws))


@lru_cache(maxsize=32)
def _capped_means(laws: tuple[Delay, ...]) -> tuple[Array, Array]:
    slowest = max(laws, key=lambda law: float(law.isf(0.01)))
    caps = {float(slowest.isf(q)) for q in CAPS_AT}
    caps |= {float(law.isf(0.1)) for law in laws} if len(laws) <= 3 else set()
    caps = sorted(c for c in caps if 0 < c < 1e300)
    return np.array(caps), np.array([[_capped_mean(law, c) for c in caps] for law in laws])


def _sums(values: Array, ends: NDArray[np.intp]) -> Array:
    """Sums of the ``values`` between ``ends``."""
    return np.diff(np.append(0.0, np.cumsum(values))[ends])


@lru_cache(maxsize=2048)
def _capped_mean(law: Delay, cap: float) -> float:
    """E[min(X, cap)], the integral of the survival function up to ``cap``."""
    if math.isfinite(law.mean):
        return law.mean - float(law.integrated_tail(cap))
    least = max(float(law.ppf(0.0)), cap * 1e-9)  # seconds; a shorter part of the integral is its length
    beyond, _ = integrate.quad(
        lambda u: math.exp(u) * float(law.sf(math.exp(u))), math.log(least), math.log(cap), limit=400, epsrel=1e-9
    )
    return least + beyond
