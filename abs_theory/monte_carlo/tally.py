"""What a simulation has counted: sums over the rounds it watched, for each replicate."""

import operator
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import reduce
from typing import Self

import numpy as np
from numpy.typing import NDArray

from abs_theory.typing import Array, Ints

__all__ = ["Tally", "counts"]


MANY_PER_ENTRY = 0.1  # gradients per entry of the staleness law, from which on all entries are counted anew
MOST_ENTRIES = 4096  # entries of a staleness law; the last is that staleness or more


@dataclass(frozen=True, eq=False)
class Tally:
    """Sums over the same number of rounds in every replicate, which is the first axis."""

    seconds: Array
    idle: Array  # worker-seconds
    wasted: Array  # worker-seconds
    restarts: Array
    staleness: Array  # summed over the applied gradients
    aged: Array  # growth of the sum of the ages in flight
    histogram: Ints  # of that staleness, shape replicates x entries, or equal parts of the replicates x entries
    delivered: Ints | Array  # gradients, one column for each worker or group of workers; or means of several runs

    @classmethod
    def of(cls, replicates: int, longest_staleness: float, columns: int, parts: int | None = None) -> Self:
        """Nothing counted yet; the last entry of the histogram is ``longest_staleness`` or more.

        It has a row for each of ``parts`` equal parts of the replicates, if given, else for each replicate.
        """
        entries = int(min(longest_staleness + 1, MOST_ENTRIES))
        seconds, idle, wasted, restarts, staleness, aged = np.zeros((6, replicates))
        histogram = np.zeros((parts or replicates, entries), dtype=np.int64)
        delivered = np.zeros((replicates, columns), dtype=np.int64)
        return cls(seconds, idle, wasted, restarts, staleness, aged, histogram, delivered)

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """One tally of the replicates of all ``parts``."""
        return cls(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)))

    @classmethod
    def sum(cls, parts: Sequence[Self]) -> Self:
        """What the same replicates did in all ``parts``, one after another."""
        return cls(*(reduce(operator.add, [getattr(part, f.name) for part in parts]) for f in fields(cls)))

    def add_staleness(self, staleness: Ints, rows: slice | NDArray[np.intp] = slice(None)) -> None:
        """Count applied gradients of this ``staleness``, shape ``replicates x any``, or of the ``rows`` alone."""
        self.staleness[rows] += staleness.sum(axis=1)
        if len(self.histogram) < len(self.staleness):
            staleness = staleness.reshape(len(self.histogram), -1)
        bins = self.histogram.shape[1]
        if staleness.shape[1] < MANY_PER_ENTRY * bins:  # most entries stay as they are
            place = np.arange(len(self.histogram))[rows, None], np.minimum(staleness, bins - 1)
            np.add.at(self.histogram, place, 1)
        else:
            self.histogram[rows] += counts(staleness, bins)

    def add_by_age(self, delivered: Ints) -> None:
        """Count applied gradients, rounds x groups x ages x replicates; the age is the staleness."""
        replicates = delivered.shape[-1]
        by_law = delivered.sum(axis=0)
        by_age = by_law[0] if len(by_law) == 1 else by_law.sum(axis=0)
        self.staleness[:] += np.arange(float(len(by_age))) @ by_age
        self.delivered[:] += by_law.sum(axis=1).T
        parts, entries = self.histogram.shape
        by_part = by_age.T.reshape(parts, replicates // parts, -1).sum(axis=1)
        self.histogram[:, : by_part.shape[1]] += by_part[:, :entries]
        self.histogram[:, -1] += by_part[:, entries:].sum(axis=1)


def counts(values: Ints, bins: int) -> Ints:
    """How often each of 0, ..., bins - 1 occurs in each row, shape ``rows x bins``; the last bin takes all beyond."""
    rows = values.shape[0]
    cells = np.minimum(values, bins - 1) if values.max() >= bins else values
    cells = cells + np.arange(0, rows * bins, bins)[:, None]
    return np.bincount(cells.ravel(), minlength=rows * bins).reshape(rows, bins)
