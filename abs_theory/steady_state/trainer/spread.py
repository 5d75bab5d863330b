"""Recorded lengths without steps between them, for formulas in which every round takes the same time.

Rounds of finitely many slots fluctuate by a few percent.  So lengths that are that close to each other act as if
everything between them occurred, but a formula with one round time would see a step, and jump with it.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from abs_theory.delays import Delay
from abs_theory.typing import Array
from abs_theory.workers import Workers

__all__ = ["spread"]

CLOSE = 0.1  # of the smaller one: neighbours up to this distance are joined
ABRUPT = 1e-9  # of a time, in which the probability of a lone one passes
FLAT = 1e-12  # change of the probability between two atoms, below which there is nothing between them


@dataclass(frozen=True, eq=False)
class _Joined(Delay):
    """``law``, each of whose atoms is spread to the middle of the ways to its close neighbours."""

    law: Delay  #: of close atoms
    knots: Array  #: times
    alive: Array  #: P(X > time) there; it is linear between them

    def cdf(self, t: ArrayLike) -> Array:
        return 1 - self.sf(t)

    def sf(self, t: ArrayLike) -> Array:
        return np.interp(np.asarray(t, float), self.knots, self.alive, left=1.0, right=0.0)

    def ppf(self, q: ArrayLike, /) -> Array:
        return self.isf(1 - np.asarray(q, float))

    def isf(self, q: ArrayLike, /) -> Array:
        return np.interp(np.asarray(q, float), self.alive[::-1], self.knots[::-1])

    @cached_property
    def mean(self) -> float:
        return float(self.knots[0] + self._areas[0])

    @cached_property
    def var(self) -> float:
        return self.law.var

    @cached_property
    def _areas(self) -> Array:
        """Integral of ``sf`` from each knot on."""
        parts = np.diff(self.knots) * (self.alive[1:] + self.alive[:-1]) / 2
        return np.append(np.cumsum(parts[::-1])[::-1], 0.0)

    def integrated_tail(self, t: ArrayLike) -> Array:
        t = np.asarray(t, float)
        inside = np.clip(t, self.knots[0], self.knots[-1])
        following = np.minimum(np.searchsorted(self.knots, inside, side="right"), self.knots.size - 1)
        width = self.knots[following] - inside
        area = width * (self.sf(inside) + self.alive[following]) / 2 + self._areas[following]
        return area + np.maximum(self.knots[0] - t, 0.0)


def spread(workers: Workers) -> Workers:
    """``workers`` whose laws of close atoms have no steps; other laws stay.

    >>> from abs_theory.delays import Empirical
    >>> from abs_theory.workers import as_workers
    >>> law = spread(as_workers(Empirical([1.0, 1.02, 1.04, 2.0]), 4)).laws[0]
    >>> law.sf([1.01, 1.02, 1.03, 1.5, 2.0]).round(4).tolist()
    [0.75, 0.625, 0.5, 0.25, 0.0]
    """
    return replace(workers, laws=tuple(_joined(law) for law in workers.laws))


def _joined(law: Delay) -> Delay:
    at = np.asarray(law.breaks)
    if not law.has_atoms or at.size < 2:
        return law
    middle, alive = (at[1:] + at[:-1]) / 2, law.sf(at)
    if np.any(np.abs(law.sf(middle) - alive[:-1]) > FLAT):  # not all is in the atoms
        return law
    half = np.where(np.diff(at) <= CLOSE * at[:-1], np.diff(at) / 2, 0.0)
    if not half.any():
        return law
    first = at - np.maximum(np.append(0.0, half), ABRUPT * at)
    last = at + np.append(half, 0.0)
    knots = np.column_stack([first, last]).ravel()
    return _Joined(law, knots, np.column_stack([np.append(1.0, alive[:-1]), alive]).ravel())
