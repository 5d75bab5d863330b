"""Rounds whose missing delays were drawn, as a value."""

from dataclasses import dataclass

import numpy as np

from abs_theory.plan.effects import Mask
from abs_theory.typing import Array

__all__ = ["MOST_MOVED", "Completed", "number_of_copies"]

COPIES = 8  # of the completed trace; divides ``replayed.STARTS``
MOST_MOVED = 0.01  # of a mean, by what restarts hide: with more, it is not identified
MOST_CELLS = 50_000_000  # of all copies together: 0.4 GB


@dataclass(frozen=True, eq=False)
class Completed:
    """Rounds with the missing delays drawn, and what is known of their arrivals without a law; seconds."""

    copies: Array  # shape copies x rounds x workers; NaN where nothing was tried or the server did not wait
    arrivals: Array  # k-th arrival of each round, the mean over copies; lost calls are late
    others: tuple[Array, ...]  # the same if calls that the times given up say nothing of are as fast as others
    least: Array  # lower bounds of the arrivals
    imputed: Mask  # arrivals that rest on the law
    blind: Mask  # those of them for which the times given up say nothing
    means: Array | None = None  # E[T_(k)] if restarted tasks were completed; NaN where restarts hide it
    ratios: Array | None = None  # those of bootstrap traces over them, shape copies x n; None: too few rounds
    open_tail: bool = False  # whether restarts hide how long slow tasks take
    ended: Array | None = None  # like ``copies``, but tasks beyond the horizon of their law end there
    resampled: Array | None = None  # bootstrap traces, completed by their own laws, shape traces x rounds x workers

    @property
    def bounds(self) -> Array:
        """For each k, a lower bound of the mean k-th arrival over the rounds that have one; NaN without any."""
        known = np.isfinite(self.least)
        sums, counts = np.where(known, self.least, 0.0).sum(axis=0), known.sum(axis=0)
        return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def number_of_copies(cells: int) -> int:
    """How many copies of a trace with so many ``cells`` are drawn: 8, 4, 2 or 1."""
    most = max(1, min(COPIES, MOST_CELLS // cells))
    return next(number for number in (8, 4, 2, 1) if number <= most)
