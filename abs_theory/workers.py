"""The workers: n with one delay law, or each with its own, gathered into groups of equal workers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast, overload

import numpy as np
from numpy.typing import NDArray

from abs_theory.checks import check_count
from abs_theory.delays import Delay, LocalSteps, as_delay, check_mean
from abs_theory.typing import DelayLike, Laws

__all__ = ["Workers", "as_workers", "local_steps_of", "together"]


@dataclass(frozen=True, eq=False)
class Workers(Sequence[Delay]):
    """n workers in groups of equal delay law; as a sequence, the law of each worker.

    Public functions make it once with ``as_workers`` and hand it down: it is accepted wherever laws are.
    """

    laws: tuple[Delay, ...]  #: one per group, all different
    counts: tuple[int, ...]  #: number of workers in each group
    group: NDArray[np.intp]  #: the group of each worker, shape n

    @property
    def n(self) -> int:
        """Number of workers."""
        return self.group.size

    @property
    def equal(self) -> bool:
        """Whether all workers have the same law."""
        return len(self.laws) == 1

    @property
    def has_atoms(self) -> bool:
        """Whether the law of some worker has atoms."""
        return any(law.has_atoms for law in self.laws)

    def __len__(self) -> int:
        return self.n

    @overload
    def __getitem__(self, index: int) -> Delay: ...

    @overload
    def __getitem__(self, index: slice) -> list[Delay]: ...

    def __getitem__(self, index: int | slice) -> Delay | list[Delay]:
        if isinstance(index, slice):
            return [self.laws[g] for g in self.group[index]]
        return self.laws[self.group[index]]


def as_workers(delay: Laws, n: int) -> Workers:
    """``n`` workers of one ``delay`` law, or of a sequence of ``n`` laws, one per worker.

    A law is a Delay or a frozen scipy distribution.  Workers are returned as they are.
    Raises ValueError for anything else, for another number of laws than ``n``, and for a mean below 1e-100 or above
    1e100, because the powers of such times overflow or vanish.

    >>> from abs_theory.delays import Exponential
    >>> as_workers([Exponential(1.0), Exponential(5.0), Exponential(1.0)], 3).counts
    (2, 1)
    """
    check_count("n", n)
    if isinstance(delay, Workers) and delay.n == n:
        return delay
    if isinstance(delay, Iterator):
        raise ValueError(f"delay must be one law or a sequence of n={n} laws, got {delay!r}: give a list")
    if not isinstance(delay, Sequence) or isinstance(delay, str):  # a text is refused
        law = as_delay(cast("DelayLike", delay))
        check_mean(law)
        return Workers((law,), (int(n),), np.zeros(n, dtype=np.intp))
    if len(delay) != n:
        raise ValueError(f"delay must be one law or a sequence of n={n} laws, got {len(delay)} laws")
    group_of: dict[Delay, int] = {}
    group = np.array([group_of.setdefault(as_delay(law), len(group_of)) for law in delay], dtype=np.intp)
    for law in group_of:
        check_mean(law)
    return Workers(tuple(group_of), tuple(np.bincount(group).tolist()), group)


def local_steps_of(delay: Laws, n: int, local_steps: int) -> Workers:
    """The ``n`` workers whose tasks are ``local_steps`` steps of ``delay`` each; ValueError as in ``as_workers``.

    >>> from abs_theory.delays import Exponential
    >>> local_steps_of(Exponential(mean=2.0), 3, local_steps=4)[0].mean
    8.0
    """
    workers = as_workers(delay, n)
    check_count("local_steps", local_steps)
    tasks = tuple(LocalSteps(law, int(local_steps)) for law in workers.laws)
    return Workers(tasks, workers.counts, workers.group)


def together(*fleets: Workers) -> Workers:
    """All workers of several fleets; their groups are not merged."""
    laws, counts, groups = (), (), []
    for fleet in fleets:
        groups.append(fleet.group + len(laws))
        laws, counts = laws + fleet.laws, counts + fleet.counts
    return Workers(laws, counts, np.concatenate(groups))
