"""Where the busy workers of an ABS server with phase-type delays may be: the states of its Markov chain, counted."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from abs_theory.steady_state.phases import Phases, phases
from abs_theory.typing import Array, Ints, places_within
from abs_theory.workers import Workers

__all__ = ["Group", "Occupancy", "first_phases", "groups_of", "number_of_states", "splits"]


MOST_UNEQUAL, MOST_EQUAL = 40, 200  # workers for whom states are counted
MOST_BINS, LARGEST_RANK = 100, 2.0**62


class Group(NamedTuple):
    """Workers that are alike."""

    size: int
    law: Phases


def number_of_states(workers: Workers, k: int, max_staleness: float) -> float:
    """States of the chain within a round; inf if a law has no phases, or workers, phases or ages are far too many."""
    if workers.n > (MOST_EQUAL if workers.equal else MOST_UNEQUAL):
        return math.inf
    if any(phases(law) is None for law in workers.laws):
        return math.inf
    groups, bounded = groups_of(workers), math.isfinite(max_staleness)
    if not bounded:
        groups = next(splits(groups))[1]
    bins = sum(law.start.size for _, law in groups) * (max_staleness + 1 if bounded else 1)
    if bins > MOST_BINS or special.binom(workers.n + bins, bins) > LARGEST_RANK:
        return math.inf
    late = workers.n - k
    ways = np.ones((1, 1))  # by the number of old tasks and of all tasks
    for count, law in groups:
        m = law.start.size
        old, fresh = np.arange(min(late, count) + 1 if bounded else 1)[:, None], np.arange(count + 1)
        table = _compositions(old, m * max_staleness if bounded else 0) * _compositions(fresh, m)
        by_total = np.zeros((old.size, count + 1))
        for i, row in enumerate(table):
            by_total[i, i:] = row[: count + 1 - i]
        ways = _product(ways, by_total)[: late + 1]
    return float(ways[:, late + 1 :].sum())


def _product(a: Array, b: Array) -> Array:
    """Of two polynomials in two variables, given by their coefficients."""
    if a.size > b.size:
        a, b = b, a
    product = np.zeros((len(a) + len(b) - 1, a.shape[1] + b.shape[1] - 1))
    for i, j in np.argwhere(a):
        product[i : i + len(b), j : j + b.shape[1]] += a[i, j] * b
    return product


def _compositions(total: Any, parts: float) -> Array:
    """Number of ways to put ``total`` tasks into ``parts`` bins."""
    return special.binom(total + parts - 1, total) if parts else np.asarray(total == 0, float)


def groups_of(workers: Workers) -> list[Group]:
    """The groups of workers with one phase-type law each; those of other laws are left out."""
    return [
        Group(count, law) for count, each in zip(workers.counts, workers.laws, strict=True) if (law := phases(each))
    ]


def splits(groups: list[Group]) -> Iterator[tuple[int, list[Group]]]:
    """For each group, its place in a list where one of its workers stands apart, and that list."""
    for g, (count, law) in enumerate(groups):
        apart = [Group(1, law)] + ([Group(count - 1, law)] if count > 1 else [])
        yield g, [*groups[:g], *apart, *groups[g + 1 :]]


@dataclass(frozen=True)
class Occupancy:
    """How many workers of ``groups`` are busy in each bin, under a server that waits for ``k``; ``bound`` None is none.

    A bin is a phase of a task at an age, the number of updates since its worker read the model.  Those in no bin have
    delivered and wait.
    """

    groups: list[Group]
    k: int
    bound: int | None

    @cached_property
    def n(self) -> int:
        return sum(count for count, _ in self.groups)

    @cached_property
    def bins(self) -> list[tuple[int, int, int]]:
        """(group, age, phase), phases in order and fresh tasks last; without a bound all have age 0."""
        ages = range(self.bound or 0, -1, -1)
        return [(g, age, p) for g, (_, law) in enumerate(self.groups) for age in ages for p in range(law.start.size)]

    @cached_property
    def older(self) -> dict[int, int]:
        """Where the tasks of a bin are after an update; those that are dropped are missing."""
        if self.bound is None:
            return {b: b for b in range(len(self.bins))}
        place = {bin: b for b, bin in enumerate(self.bins)}
        return {b: place[g, age + 1, p] for b, (g, age, p) in enumerate(self.bins) if age < self.bound}

    @cached_property
    def ends(self) -> Array:
        """Rate at which a task in each bin is done."""
        return np.array([self.groups[g].law.ends[p] for g, _, p in self.bins])

    @cached_property
    def states(self) -> Ints:
        """All counts of busy tasks with fewer than ``k`` workers done, and no more than n - k tasks old; by rank."""
        late = self.n - self.k
        rows, old, placed = np.zeros((1, 0), np.int64), np.zeros(1, np.int64), np.zeros(1, np.int64)
        room, after = placed, self.n
        for b, (g, age, _) in enumerate(self.bins):
            if b == 0 or self.bins[b - 1][0] != g:
                room = np.full(len(rows), self.groups[g].size)
                after -= self.groups[g].size
            most = np.minimum(room, late - old) if age else room
            last = b + 1 == len(self.bins) or self.bins[b + 1][0] != g
            least = np.maximum(late + 1 - placed - after, 0) if last else np.zeros_like(most)
            several = np.maximum(most - least + 1, 0)
            parent = np.repeat(np.arange(len(rows)), several)
            count = places_within(several) + least[parent]
            rows = np.column_stack([rows[parent], count])
            room, placed, old = room[parent] - count, placed[parent] + count, old[parent] + (count if age else 0)
        return rows[np.argsort(self.rank(rows))]

    @cached_property
    def _binomials(self) -> NDArray[np.int64]:
        """C(s + b, b + 1) for bins b and sums s: columns of Pascal's triangle."""
        table = [np.arange(self.n + 1)]
        for _ in self.bins[1:]:
            table.append(np.cumsum(table[-1]))
        return np.array(table)

    def rank(self, rows: Ints) -> NDArray[np.int64]:
        """Number of each row among all counts of at most n tasks; every move to a later phase or end lowers it.

        The sums of the first b + 1 counts, plus b, increase: a subset in the combinatorial number system.
        """
        return self._binomials[np.arange(len(self.bins)), np.cumsum(rows, axis=1)].sum(axis=1)

    def find(self, rows: Ints) -> NDArray[np.intp]:
        return np.searchsorted(self._ranks, self.rank(rows))

    @cached_property
    def _ranks(self) -> NDArray[np.int64]:
        return self.rank(self.states)


def first_phases(count: int, start: Array) -> tuple[Ints, Array]:
    """All ways in which ``count`` workers choose their first phases, and their probabilities."""
    rows, left = np.zeros((1, 0), np.int64), np.array([count])
    for p in start:
        several = left + 1 if p else np.ones_like(left)
        parent = np.repeat(np.arange(len(rows)), several)
        chosen = places_within(several)
        rows, left = np.column_stack([rows[parent], chosen]), left[parent] - chosen
    rows = rows[left == 0]
    log_p = special.gammaln(count + 1) - special.gammaln(rows + 1).sum(axis=1) + special.xlogy(rows, start).sum(axis=1)
    return rows, np.exp(log_p) / np.exp(log_p).sum()
