"""Round lengths as seen by a worker that is still busy, and the ages of tasks in blocks."""

import math
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from abs_theory.typing import Array
from abs_theory.workers import Workers

__all__ = ["FREQUENCIES", "RESOLVED_AGES", "Ages", "Past", "ages_to", "bin_edges"]


RESOLVED_AGES = 64  # ages up to which the spread of T_j is resolved; beyond, it stays
SINGLE_AGES, BLOCK_GROWTH = 6, 1 / 3  # ages taken one by one, and the relative width of the blocks beyond
FREQUENCIES = np.pi * (np.arange(2 * RESOLVED_AGES) + 0.5) / (2 * RESOLVED_AGES)
OLDEST_AGE = 2.0**16  # older tasks count as of this age
EXTINCT = 1e-12  # survival probability taken as 0


@cache
def bin_edges(bins: int) -> Array:
    """Probabilities at the edges of the bins, narrow at both ends."""
    return (1 - np.cos(np.pi * np.arange(bins + 1) / bins)) / 2


@cache
def _widths(bins: int) -> Array:
    return np.diff(bin_edges(bins))


class Past(NamedTuple):
    """Lengths of the last rounds, seen by a worker: T_j = mean j + start + s_j times the deviation of a round."""

    mean: Array  # cells
    start: Array  # cells: what the first round of a task lasts more
    first: Array  # cells x bins, deviation of that round, in seconds
    deviation: Array  # cells x bins, of a later one
    spread: Array  # cells x RESOLVED_AGES: s_j

    @property
    def weights(self) -> Array:
        """Probabilities of the bins."""
        return _widths(self.deviation.shape[1])

    def at(self, cells: NDArray[np.int64]) -> "Past":
        """The past of some cells."""
        return Past(*(field[cells] for field in self))

    def scaled(self, scale: Array, cell: NDArray[np.int64]) -> "Past":
        """The past of each ``cell``, ``scale`` times as long."""
        of_bins = scale[:, None]
        return Past(
            self.mean[cell] * scale,
            self.start[cell] * scale,
            self.first[cell] * of_bins,
            self.deviation[cell] * of_bins,
            self.spread[cell],
        )

    def length(self, j: Array) -> Array:
        """T_j, cells x bins x len(j)."""
        s = self.spread[:, np.minimum(j, RESOLVED_AGES).astype(int) - 1]
        straight = self.mean[:, None] * j + self.start[:, None]
        length = (self.first - self.deviation)[:, :, None] / np.minimum(j, RESOLVED_AGES)
        length += self.deviation[:, :, None]
        length *= s[:, None, :]
        length += straight[:, None, :]
        return np.maximum(length, 0.0, out=length)


class Ages(NamedTuple):
    """Ages 1..theta in blocks; each is represented by its middle."""

    middle: Array
    size: Array
    waves: NDArray[np.complex128]  # sum of exp(-i omega j) over the block, blocks x FREQUENCIES

    def alive(self, workers: Workers, r: float) -> "Ages":
        """Without the blocks that nobody reaches in rounds of about ``r`` or longer."""
        reached = max(int(np.sum(law.sf(0.3 * r * (self.middle - self.size / 2)) > EXTINCT)) for law in workers.laws)
        return Ages(self.middle[:reached], self.size[:reached], self.waves[:reached])


@lru_cache(maxsize=256)
def ages_to(theta: float) -> Ages:
    """The ages 1..``theta``, each by itself while they are few, then in ever longer ranges."""
    first, last = [], []
    low, end = 1.0, min(theta, OLDEST_AGE)
    while low <= end:
        high = min(low + max(0.0, math.floor((low - SINGLE_AGES) * BLOCK_GROWTH)), end)
        first.append(low)
        last.append(high)
        low = high + 1
    lows, highs = np.array(first), np.array(last)
    lag = np.arange(1, RESOLVED_AGES + 1)
    inside = ((lag >= lows[:, None]) & (lag <= highs[:, None])).astype(complex)
    return Ages((lows + highs) / 2, highs - lows + 1, inside @ np.exp(-1j * np.outer(lag, FREQUENCIES)))
