"""Delays drawn ahead in bulk, for simulations that need a few at a time."""

import numpy as np
from numpy.typing import NDArray

from abs_theory.typing import Array, places_within
from abs_theory.workers import Workers

__all__ = ["Draws"]


DRAWS_AT_ONCE = 8192  # delays drawn at a time
DRAWS_OF_A_GROUP = 256  # for each of several groups, at least: a call for one draw costs as much as for a hundred


class Draws:
    """Delays of workers that are named by their group; ``replicates`` fleets ask together."""

    def __init__(self, workers: Workers, rng: np.random.Generator, replicates: int) -> None:
        self.workers, self.rng = workers, rng
        # nobody asks for more at a time than one for each worker
        self.size = np.maximum(replicates * np.array(workers.counts), DRAWS_OF_A_GROUP)
        if workers.equal:
            self.size[:] = DRAWS_AT_ONCE
        self.first = np.cumsum(self.size) - self.size
        self.used = self.size.copy()
        self.ahead = np.empty(int(self.size.sum()))

    def equal(self, size: int) -> Array:
        """Delays of workers of the only group, the caller's to change; large samples are not worth storing."""
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
