"""Delays drawn ahead in bulk, for simulations that need a few at a time."""

import numpy as np
from numpy.typing import NDArray

from abs_theory.typing import Array
from abs_theory.workers import Workers

__all__ = ["Draws"]


BULK = 8192  # delays drawn at a time
EACH = 256  # for each of several groups, at least: a call for one draw costs as much as for a hundred


class Draws:
    """Delays of workers that are named by their group; ``replicates`` fleets ask together."""

    def __init__(self, workers: Workers, rng: np.random.Generator, replicates: int) -> None:
        self.workers, self.rng = workers, rng
        # nobody asks for more at a time than one for each worker
        self.size = np.maximum(replicates * np.array(workers.counts), EACH)
        if workers.equal:
            self.size[:] = BULK
        self.first = np.cumsum(self.size) - self.size
        self.used = self.size.copy()
        self.ahead = np.empty(int(self.size.sum()))

    def equal(self, size: int) -> Array:
        """Delays of workers of the only group, the caller's to change; large samples are not worth storing."""
        if size > BULK // 8:
            return self.workers.laws[0].sample(self.rng, size)
        if self.used[0] + size > BULK:
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
        last = np.cumsum(asked)
        delays = np.empty(groups.size)
        delays[order] = self.ahead[np.arange(groups.size) + np.repeat(self.first + self.used - last, asked)]
        return delays

    def _draw(self, group: int) -> None:
        first, size = self.first[group], int(self.size[group])
        self.ahead[first : first + size] = self.workers.laws[group].sample(self.rng, size)
        self.used[group] = 0
