r"""Control variates of simulations with a threshold: what tasks of each age did, less what was to be expected of them.

At the start of a round, a task that has run for a seconds may go on for m = theta + 1 - age rounds.  With r the usual
length of a round these end when it has run for L = a + m r seconds, before which it does not end with probability
S(L)/S(a).  After the round, of T seconds, this probability is min(S(L), S(a+T)) / S(a+T) if the task is still at work;
if it ended it is 0 or, if it ended after L, 1.  By optional stopping the change of this probability has mean 0 in every
round, whatever made the round as long as it is.  Its sum over all tasks of an age, and over all rounds, is a control
variate.  It costs as much for a thousand workers as for ten, because tasks of one age and law are alike.

In the long run the sums over the tasks at work of the seconds that they have run, of these probabilities and of these
probabilities times L do not grow.  So their growth is a control variate too.
Source: Glynn & Szechtman (2002), Some new perspectives on the method of control variates, for martingales.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from abs_theory.delays import Delay
from abs_theory.delays.survival import usual_survival
from abs_theory.typing import Array, Ints

__all__ = ["AgeControls", "AgeState", "well_spread"]

Counts = Array | Ints
MOST_LAWS_APART, MOST_CONTROLS = 3, 14  # laws whose tasks have control variates of their own; these in all
TINY = 1e-300  # probability
MOST_OF_ONE = 0.15  # share of one replicate in the variance of a control variate
ADDED_AT_ONCE = 1 << 13  # numbers of tasks, which fit the cache


class AgeState(NamedTuple):
    """Tasks at the start of a round, of many replicates."""

    numbers: Array  # laws x ages x replicates
    worked: Array  # seconds that tasks of each age have run, ages x replicates


class AgeControls:
    """The control variates of all rounds that are added, one after another, from a state on."""

    def __init__(self, laws: Sequence[Delay], state: AgeState, usual_round: float) -> None:
        """``usual_round``: seconds of a round, roughly."""
        self.laws, self.state, self.usual_round = laws, state, usual_round
        ages, replicates = state.worked.shape
        self.seconds_left = usual_round * np.arange(ages, 0, -1)[:, None]
        self.changes: Array = np.zeros(state.numbers.shape)  # of the probabilities, laws x ages x replicates
        self.levels: Array | None = None  # before the first round, of what does not grow in the long run
        self.growth = np.zeros((0, replicates))
        self.waiting: list[tuple[Counts, Array]] = []  # rounds that are not yet added
        self.waiting_size = 0  # numbers of tasks in them

    def add(self, delivered: Counts, late: Counts, seconds: Array) -> None:
        """Add rounds of these ``seconds``, rounds x replicates.

        ``delivered`` tasks ended in them, rounds x laws x ages x replicates; of these, summed over the rounds, those
        that are ``late`` ran longer than L.
        """
        self.changes += late
        self.waiting.append((delivered, seconds))
        self.waiting_size += delivered.size
        if self.waiting_size >= ADDED_AT_ONCE:
            self._add()

    def _add(self) -> None:
        """Add the rounds that wait for it."""
        if len(self.waiting) == 1:
            ((delivered, seconds),) = self.waiting
        else:
            delivered, seconds = (np.concatenate(parts) for parts in zip(*self.waiting, strict=True))
        self.waiting, self.waiting_size = [], 0
        delivered = delivered.astype(float)
        numbers, worked = self._states(delivered, seconds)
        due = worked[:, :-1] + self.seconds_left
        first, last = np.zeros((2, 3, worked.shape[-1]))
        for g, law in enumerate(self.laws):
            lives, lasts = (np.maximum(usual_survival(law, times), TINY) for times in (worked, due))
            expected = lasts / lives[:, :-1]
            lives = lives[1:, 1:]
            remain = np.minimum(lasts[:-1], lives)
            remain /= lives
            remain *= numbers[:-1, g] - delivered[:, g]
            remain -= numbers[:-1, g] * expected[:-1]
            self.changes[g] += remain.sum(axis=0)
            for levels, at in ((first, 0), (last, -1)):
                at_work = numbers[at, g]
                lasting = at_work * expected[at]
                levels[0] += np.einsum("ar,ar->r", at_work, worked[at, :-1])
                levels[1] += lasting.sum(axis=0)
                levels[2] += np.einsum("ar,ar->r", lasting, due[at])
        self.levels = first if self.levels is None else self.levels
        self.growth = last - self.levels
        self.state = AgeState(numbers[-1], worked[-1, :-1])

    def sums(self) -> Array:
        """The control variates, replicates x any."""
        if self.waiting:
            self._add()
        groups, ages, replicates = self.changes.shape
        by_law = self.changes if groups <= MOST_LAWS_APART else self.changes.sum(axis=0, keepdims=True)
        first = _first_ages(ages, MOST_CONTROLS // len(by_law))
        by_age = by_law if len(first) == ages else np.add.reduceat(by_law, first, axis=1)
        return np.vstack([by_age.reshape(-1, replicates), self.growth]).T

    def _states(self, delivered: Array, seconds: Array) -> tuple[Array, Array]:
        """Numbers of tasks, and the seconds that they have run, before each round and after the last.

        The last row of the seconds are those of tasks that were restarted just now.
        """
        rounds, (groups, ages, replicates) = len(seconds), self.state.numbers.shape
        numbers, worked = np.empty((rounds + 1, groups, ages, replicates)), np.zeros((rounds + 1, ages + 1, replicates))
        numbers[0], worked[0, :-1], worked[0, -1] = *self.state, self.state.worked[-1]
        begin = delivered[:, :, :-1].sum(axis=2)
        for now, then, done, begun in zip(numbers[:-1], numbers[1:], delivered, begin, strict=True):
            np.subtract(now[:, :-1], done[:, :-1], out=then[:, 1:])
            np.add(now[:, -1], begun, out=then[:, 0])  # restarted or delivered at the last age, or delivered before
        for now, then, length in zip(worked[:-1], worked[1:], seconds, strict=True):
            np.add(now[:-1], length, out=then[1:])
        return numbers, worked


def well_spread(controls: Array) -> Array:
    """Those of the control variates, replicates x any, that are not made by one or two replicates."""
    squares = (controls - controls.mean(axis=0)) ** 2
    return controls[:, squares.max(axis=0) <= MOST_OF_ONE * squares.sum(axis=0)]


def _first_ages(ages: int, most: int) -> list[int]:
    """First ages of those that have a control variate together, at most ``most``; the youngest and the oldest alone."""
    if ages <= most:
        return list(range(ages))
    alone = most // 2
    between = np.linspace(alone, ages - 2, most - alone - 1).round()
    return [*range(alone), *between.astype(int).tolist(), ages - 1]
