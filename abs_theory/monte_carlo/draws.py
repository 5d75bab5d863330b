"""Delays drawn ahead in bulk: for one simulation that needs a few at a time, or for many simulations of one fleet."""

import numpy as np
from numpy.typing import NDArray

from abs_theory.delays import Delay
from abs_theory.monte_carlo.long_run import StartRandomness
from abs_theory.typing import Array, Ints, places_within
from abs_theory.workers import Workers

__all__ = ["Draws", "SharedDelays", "SharedDraws"]


DRAWS_AT_ONCE = 8192  # delays drawn at a time
ROUNDS_AHEAD = 16  # for which a group draws at once, unless these are too many
STORED_AT_ONCE, MOST_STORED = 1 << 16, 1 << 21  # delays; more are drawn again by each simulation
NOTED_AT_ONCE = 64  # requests
DRAWS_OF_A_GROUP = 1 << 13  # for each of several groups: a call for one draw costs as much as for a hundred


class Draws:
    """Delays of workers that are named by their group; ``replicates`` fleets ask together."""

    def __init__(self, workers: Workers, rng: np.random.Generator, replicates: int) -> None:
        self.workers, self.rng = workers, rng
        # nobody asks for more at a time than one for each worker
        most = replicates * np.array(workers.counts)
        self.size = np.maximum(most, np.minimum(DRAWS_OF_A_GROUP, ROUNDS_AHEAD * most))
        if workers.equal:
            self.size[:] = DRAWS_AT_ONCE
        self.first = np.cumsum(self.size) - self.size
        self.used = self.size.copy()
        self.ahead = np.empty(int(self.size.sum()))

    def equal(self, size: int) -> Array:
        """Delays of workers of the only group; large samples are not worth storing."""
        if size > DRAWS_AT_ONCE // 8:
            return self.workers.laws[0].sample(self.rng, size)
        if self.used[0] + size > DRAWS_AT_ONCE:
            self._draw(0)
        self.used[0] += size
        return self.ahead[self.used[0] - size : self.used[0]]

    def unequal(self, groups: NDArray[np.int64]) -> Array:
        """A delay for each entry of ``groups``, the i-th of a group the i-th unused delay of that group."""
        asked = np.bincount(groups, minlength=self.size.size)
        for g in np.flatnonzero(self.used + asked > self.size):
            self._draw(int(g))
        order = np.argsort(groups.astype(np.min_scalar_type(self.size.size)), kind="stable")
        self.used += asked
        delays = np.empty(groups.size)
        delays[order] = self.ahead[np.repeat(self.first + self.used - asked, asked) + places_within(asked)]
        return delays

    def _draw(self, group: int) -> None:
        first, size = self.first[group], int(self.size[group])
        self.ahead[first : first + size] = self.workers.laws[group].sample(self.rng, size)
        self.used[group] = 0


class SharedDelays:
    """Delays of equal workers in numbered blocks, each with the running sums of the control variates min(X, c) - mean.

    Simulations of the same fleet for different k and thresholds read the same blocks from the first one on.  So the
    delays are drawn once, and the controls of a round cost a difference of two running sums.
    """

    def __init__(self, law: Delay, caps: Array, means: Array, seed: int, largest: int) -> None:
        """Blocks for requests of up to ``largest`` delays; ``means`` are those of min(X, c) for the ``caps`` c."""
        self.law, self.caps, self.means, self.seed = law, caps, means, seed
        self.size = max(STORED_AT_ONCE, 2 * largest)
        self.stored: list[tuple[Array, Array]] = []
        self._start: StartRandomness | None = None

    def start(self, replicates: int, workers: int) -> StartRandomness:
        """Random numbers for the start, drawn once, because every simulation asks for the same shape."""
        if self._start is None:
            self._start = StartRandomness.of(np.random.default_rng(self.seed), (replicates, workers), self.law)
        return self._start

    def block(self, number: int) -> tuple[Array, Array]:
        """Delays, and the sums of the first 0, 1, ... of the control variates for each cap, caps x delays + 1."""
        if number < len(self.stored):
            return self.stored[number]
        delays = self.law.sample(np.random.default_rng([self.seed, number]), self.size)
        running = np.zeros((self.caps.size, self.size + 1))
        for row, cap, mean in zip(running, self.caps, self.means, strict=True):
            surplus = np.minimum(delays, cap)
            surplus -= mean
            np.cumsum(surplus, out=row[1:])
        if number == len(self.stored) and (number + 1) * self.size <= max(MOST_STORED, self.size):
            self.stored.append((delays, running))
        return delays, running


class SharedDraws:
    """One simulation's reading of ``SharedDelays``."""

    def __init__(self, shared: SharedDelays) -> None:
        self.shared, self.number = shared, 0
        self.delays, self.running = shared.block(0)
        self.first = self.used = 0  # of the last request; end of it
        self._noted: list[Ints] = []  # ends in the block
        self._sums: Array | float = 0.0

    def equal(self, size: int) -> Array:
        """The next delays, read only."""
        if self.used + size > self.delays.size:
            self._add()
            self.number, self.used = self.number + 1, 0
            self.delays, self.running = self.shared.block(self.number)
        self.first, self.used = self.used, self.used + size
        return self.delays[self.first : self.used]

    def unequal(self, groups: NDArray[np.int64]) -> Array:
        """Only workers of one group share their delays."""
        return self.equal(groups.size)

    def note(self, ends: NDArray[np.intp]) -> None:
        """Note the control variates of the last request; the parts of the replicates lie between ``ends``, 0 first."""
        self._noted.append(self.first + ends)
        if len(self._noted) == NOTED_AT_ONCE:
            self._add()

    def noted(self) -> Array | float:
        """Sums of the control variates noted since the last time, replicates x caps; 0 if there are none."""
        self._add()
        sums, self._sums = self._sums, 0.0
        return sums

    def _add(self) -> None:
        if self._noted:
            self._sums = self._sums + np.diff(self.running[:, np.array(self._noted)], axis=2).sum(axis=1).T
            self._noted = []
