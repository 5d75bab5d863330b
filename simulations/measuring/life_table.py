r"""The law of the task times from tasks that ended and tasks that did not: a life table that forgets.

Durations are counted in bins of equal ratio.  In a bin the hazard is the number of deliveries over the seconds that
tasks have spent in it, whether these were delivered, restarted or are still running; so restarted and running tasks
are censored, not lost (Kaplan and Meier 1958, with a hazard that is constant in each bin).  Beyond the longest
duration the hazard stays what it is over the longer half of the deliveries.  An observation counts in
proportion to the time of the run at which it was made, raised to ``FORGETTING``: when the speeds change at time s, the
old ones have three quarters of the weight at 1.07 s, a quarter at 1.41 s and a sixteenth at 2 s, whatever the unit of
time is.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from abs_theory.checks import explains_types
from abs_theory.typing import Array

BINS_PER_OCTAVE = 8  # a width of 9 %
SHORTEST, LONGEST = -30, 30  # of the bins, as powers of 2, in seconds; other durations are put into the end bins
FORGETTING = 3.0  # the power of time; 0 forgets nothing
EDGES = 2.0 ** (np.arange(SHORTEST * BINS_PER_OCTAVE, LONGEST * BINS_PER_OCTAVE + 1) / BINS_PER_OCTAVE)  # seconds
EDGES[0] = 0.0
WIDTHS = np.diff(EDGES)
PRIOR_DELIVERIES = 0.25 / BINS_PER_OCTAVE  # per bin, at the hazard that late deliveries show
SHORTEST_STAY = 0.25  # of a task in the bin in which it ends, as a share of its width; several may end at an edge

Columns = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # number of the row, seconds, weight, 1 if delivered


class Survival(NamedTuple):
    """A measured law: P(X > t) = exp(-H(t)), where the cumulative hazard H is linear between ``edges`` and beyond.

    >>> law = Survival(np.array([0.0, 1.0, 2.0]), np.array([0.0, 0.5]), variance=np.zeros(2), deliveries=9.0)
    >>> law.sf([0.5, 1.0, 3.0]).round(3).tolist(), round(law.mean, 6)
    ([1.0, 1.0, 0.368], 3.0)
    """

    edges: Array  #: seconds, from 0 on
    hazard: Array  #: per second, between the edges; the last holds beyond them
    variance: Array  #: of the cumulative hazard at the upper edges (Greenwood's formula)
    deliveries: float  #: how many equally weighted deliveries would tell as much

    @property
    def cumulative(self) -> Array:
        """H at the edges."""
        return np.concatenate([[0.0], np.cumsum(self.hazard * np.diff(self.edges))])

    def cumulative_at(self, t: Array) -> Array:
        """H at ``t`` seconds."""
        beyond = np.maximum(t - self.edges[-1], 0.0)
        return np.interp(t, self.edges, self.cumulative) + self.hazard[-1] * beyond

    def sf(self, t: Array | Sequence[float] | float) -> Array:
        """P(X > t)."""
        return np.exp(-self.cumulative_at(np.asarray(t, dtype=float)))

    def stderr(self, t: Array | Sequence[float] | float) -> Array:
        """Standard error of P(X > t); at a task time that nobody has reached it is a guess."""
        t = np.asarray(t, dtype=float)
        return self.sf(t) * np.sqrt(np.interp(t, self.edges, np.concatenate([[0.0], self.variance])))

    def tail(self) -> Array:
        """The integral of P(X > t) from each edge on, in seconds."""
        alive = np.exp(-self.cumulative)
        width, hazard = np.diff(self.edges), self.hazard
        small = hazard * width < 1e-9  # then the survival does not change within the bin
        inside = np.where(small, alive[:-1] * width, (alive[:-1] - alive[1:]) / np.where(small, 1.0, hazard))
        last = alive[-1] / hazard[-1] if hazard[-1] > 0 else math.inf
        return np.concatenate([np.cumsum(np.append(inside, last)[::-1])[::-1]])

    @property
    def mean(self) -> float:
        """Seconds of a task, in the mean."""
        return float(self.tail()[0])


@explains_types
class LifeTables:
    """The life tables of several rows (replicates), which are the same to the last bit as if each were alone.

    >>> tables, time = LifeTables(1), np.full(3, 5.0)
    >>> tables.add(np.zeros(3, int), np.array([1.0, 1.1, 1.2]), time, delivered=True)
    >>> law = tables.of(0, running=np.array([2.0]), time=5.0)
    >>> bool(law.sf(0.5) > 0.9), round(float(law.deliveries), 6)
    (True, 3.0)
    """

    def __init__(self, rows: int):
        self.delivered = np.zeros((rows, len(WIDTHS)))  # weight of the tasks delivered, by bin
        self.ended = np.zeros_like(self.delivered)  # and of all that ended in it
        self.beyond = np.zeros_like(self.delivered)  # seconds beyond the lower edge, times the weight
        self.squares = np.zeros_like(self.delivered)  # of the weights of the tasks delivered
        self._waiting: list[Columns] = []

    def add(self, row: np.ndarray, seconds: np.ndarray, time: np.ndarray, delivered: bool) -> None:
        """Note tasks that ended after ``seconds``, at these times of the run: delivered, or restarted."""
        self._waiting.append((row, seconds, time, np.full(len(row), float(delivered))))

    def of(self, row: int, running: np.ndarray, time: float) -> Survival:
        """The law of one row; its ``running`` tasks have these ages in seconds."""
        self.count()
        delivered, ended, beyond = self.delivered[row], self.ended[row].copy(), self.beyond[row].copy()
        weight = time**FORGETTING
        place = _bins(running)
        np.add.at(ended, place, weight)
        np.add.at(beyond, place, weight * (running - EDGES[place]))
        used = np.flatnonzero(ended)
        total = delivered.sum()
        if not (used.size and total > 0):
            return Survival(np.array([0.0, 1.0]), np.zeros(1), np.full(1, math.inf), 0.0)
        first, last = max(int(used[0]) - BINS_PER_OCTAVE, 1), int(used[-1]) + 1
        ends = np.concatenate([[0], np.arange(first, last)])  # lower edges; all below the first are one bin
        later = ended[first - 1 : last][::-1].cumsum()[::-1]
        later = np.append(later[1:], 0.0)  # weight of the tasks that ended beyond each bin
        edges = np.append(EDGES[ends], EDGES[last])
        width = np.diff(edges)
        died = np.concatenate([[delivered[:first].sum()], delivered[first:last]])
        exposed = np.concatenate([[beyond[:first].sum()], beyond[first:last]]) + later * width
        exposed = np.maximum(exposed, SHORTEST_STAY * width * died)
        typical = self.squares[row].sum() / total  # weight of one delivery
        late = np.searchsorted(died.cumsum(), total / 2, side="right")  # bins with the longer half of the deliveries
        tail = died[late:].sum() / exposed[late:].sum()
        prior = PRIOR_DELIVERIES * typical
        hazard = (died + prior) / (exposed + prior / tail)
        squares = np.concatenate([[self.squares[row, :first].sum()], self.squares[row, first:last]])
        variance = np.cumsum(squares / np.maximum(exposed / width, typical) ** 2)
        edges, hazard = np.append(edges, 2 * edges[-1]), np.append(hazard, tail)
        return Survival(edges, hazard, np.append(variance, math.inf), total / typical)

    def keep(self, rows: np.ndarray) -> None:
        """Forget all but these rows, which are numbered anew."""
        self.count()
        for name in ("delivered", "ended", "beyond", "squares"):
            setattr(self, name, getattr(self, name)[rows])

    def count(self) -> None:
        """Count what has been noted; one after the other, so that it does not matter when."""
        if not self._waiting:
            return
        row, seconds, time, done = (np.concatenate(column) for column in zip(*self._waiting, strict=True))
        self._waiting = []
        weight, place = time**FORGETTING, _bins(seconds)
        np.add.at(self.ended, (row, place), weight)
        np.add.at(self.beyond, (row, place), weight * (seconds - EDGES[place]))
        np.add.at(self.delivered, (row, place), weight * done)
        np.add.at(self.squares, (row, place), weight * weight * done)


def _bins(seconds: np.ndarray) -> np.ndarray:
    """The bin of each duration."""
    return np.clip(np.searchsorted(EDGES, seconds, side="right") - 1, 0, len(WIDTHS) - 1)
