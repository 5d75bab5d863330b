"""What a simulated trainer may do, and what it has done."""

import math
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np

from abs_theory.checks import explains_types
from abs_theory.delays import Delay
from abs_theory.typing import Array, Ints

__all__ = ["LONGEST_STALENESS", "Record", "Rules", "length_edges"]

LONGEST_STALENESS = 1024  # updates; the last entry of the histogram is that or more
# trained tasks are counted between these quantiles of the length
LENGTH_QUANTILES = np.array([*np.arange(0.05, 0.9, 0.05), 0.9, 0.95, 0.98, 0.99, 0.995])
COMMON = 0.01  # probability of a length from which on it is counted by itself
ROUNDING = 1e-9  # of a length, which is the difference of two times


@explains_types
@dataclass(frozen=True)
class Rules:
    """Who may start, what the trainer takes, and what happens to stale work."""

    k: int  #: tasks in a batch
    most_open: float = math.inf  #: tasks started and not yet trained, at most; inf: nobody waits for the trainer
    max_staleness: float = math.inf  #: of trained tasks
    in_flight: bool = True  #: whether running tasks that are too stale restart; else they are dropped when they end
    window: float = math.inf  #: of the tasks in the order of their starts, from the oldest on, that may be taken


@dataclass(frozen=True, eq=False)
class Record:
    """Sums over the same number of rounds in every replicate, which is the first axis."""

    seconds: Array
    idle: Array  #: slot-seconds
    training: Array  #: seconds in which the trainer was busy
    lost: Array  #: slot-seconds of tasks that were not trained
    aborted: Array  #: tasks stopped in flight
    dropped: Array  #: finished tasks that were not trained
    staleness: Array  #: summed over the trained tasks
    queued: Array  #: the part of it that passed in the queue
    trained_seconds: Array  #: summed lengths of the trained tasks
    histogram: Ints  #: trained tasks by staleness
    offered: Ints  #: tasks that ended in any way, by length
    trained: Ints  #: trained tasks, by length
    participation: Array  #: trained tasks by slot

    @classmethod
    def of(cls, replicates: int, n: int, bins: int) -> Self:
        """Nothing counted yet; tasks will be counted in so many ``bins`` of their length."""
        columns = {"histogram": LONGEST_STALENESS + 1, "offered": bins, "trained": bins}
        counts = {name: np.zeros((replicates, size), np.int64) for name, size in columns.items()}
        sums = {field.name: np.zeros(replicates) for field in fields(cls) if field.name not in counts}
        values: dict[str, Any] = sums | counts | {"participation": np.zeros((replicates, n))}
        return cls(**values)


def length_edges(law: Delay) -> Array:
    """Lengths between which tasks are counted: some quantiles, and both sides of each common length.

    >>> from abs_theory.delays import Empirical
    >>> length_edges(Empirical([1.0, 4.0], [1.0, 999.0])).round(6).tolist()
    [4.0, 4.0]
    """
    edges = law.ppf(LENGTH_QUANTILES)
    if not law.has_atoms:
        return edges
    at = np.asarray(law.breaks, float)
    at = at[np.isfinite(at) & (at > 0)]
    below, above = at * (1 - ROUNDING), at * (1 + ROUNDING)
    common = law.cdf(above) - law.cdf(below) >= COMMON
    beside = np.abs(edges[:, None] - at[common]) <= ROUNDING * at[common]
    return np.sort(np.concatenate([np.unique(edges[~beside.any(axis=1)]), below[common], above[common]]))
