"""Who works: n workers with one delay law, or with a law each, gathered into groups of equal workers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from abs_theory.checks import check_count
from abs_theory.delays import Delay, LocalSteps, as_delay

__all__ = ["Workers", "as_workers", "local_steps_of", "together"]


@dataclass(frozen=True, eq=False)
class Workers:
    """n workers in groups of equal delay law."""

    laws: tuple[Delay, ...]  # one per group, all different
    counts: tuple[int, ...]  # workers in each group
    group: NDArray[np.intp]  # shape n: the group of each worker

    @property
    def n(self) -> int:
        return self.group.size

    @property
    def equal(self) -> bool:
        """Whether one law serves all."""
        return len(self.laws) == 1

    @property
    def has_atoms(self) -> bool:
        return any(law.has_atoms for law in self.laws)


def as_workers(delay: Any, n: Any) -> Workers:
    """``n`` workers of one ``delay`` law, or of a sequence of ``n`` laws, one per worker.

    A law is a Delay or a frozen scipy distribution.  Raises ValueError for anything else, or another number of laws.
    """
    check_count("n", n)
    if isinstance(delay, Workers) and delay.n == n:
        return delay
    if not isinstance(delay, Sequence):
        return Workers((as_delay(delay),), (int(n),), np.zeros(n, dtype=np.intp))
    if len(delay) != n:
        raise ValueError(f"delay must be one law or a sequence of n={n} laws, got {len(delay)} of them")
    place: dict[Delay, int] = {}
    group = np.array([place.setdefault(as_delay(law), len(place)) for law in delay], dtype=np.intp)
    return Workers(tuple(place), tuple(np.bincount(group).tolist()), group)


def local_steps_of(delay: Any, n: Any, local_steps: Any) -> list[Delay]:
    """The laws of the n workers' tasks of ``local_steps`` steps of ``delay`` each; checked as in ``as_workers``."""
    workers = as_workers(delay, n)
    check_count("local_steps", local_steps)
    tasks = [LocalSteps(law, int(local_steps)) for law in workers.laws]
    return [tasks[g] for g in workers.group]


def together(*fleets: Workers) -> Workers:
    """All workers of several fleets, the groups of each left as they are."""
    laws, counts, groups = (), (), []
    for fleet in fleets:
        groups.append(fleet.group + len(laws))
        laws, counts = laws + fleet.laws, counts + fleet.counts
    return Workers(laws, counts, np.concatenate(groups))
