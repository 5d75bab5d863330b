"""The trade-off in the step size eta, progress against noise: start / (eta J) + noise eta + drift eta^2."""

from typing import NamedTuple

import numpy as np

from abs_theory.typing import Array

__all__ = ["Tradeoff"]


class Tradeoff(NamedTuple):
    """Mean squared gradient norm over J updates at step eta, and the largest step for which the formula holds.

    All fields are arrays >= 0 that broadcast.

    >>> terms = Tradeoff(*map(np.asarray, (10.0, 2.0, 1.0, 0.5)))
    >>> float(terms.value(0.1, 1000)), float(terms.best_step_to(0.3).round(3))
    (0.31000000000000005, 0.071)
    """

    start: Array  #: what is left of the error at the start, times eta J
    noise: Array  #: of fresh gradients, over eta
    drift: Array  #: added by staleness, over eta^2
    limit: Array  #: of the step

    def value(self, step_size: Array | float, num_updates: Array | float) -> Array:
        """The mean over ``num_updates``; inf at step 0, because nothing is learnt."""
        eta = np.asarray(step_size, dtype=float)
        start = self.start / (np.where(eta > 0, eta, 1.0) * num_updates)
        return np.where(eta > 0, start, np.inf) + self.noise * eta + self.drift * eta**2

    def updates_to(self, target: Array | float, step_size: Array | float) -> Array:
        """Updates, not rounded, until ``value`` is at ``target``; inf if this step never gets there."""
        eta = np.asarray(step_size, dtype=float)
        margin = eta * (target - self.noise * eta - self.drift * eta**2)
        return np.where(margin > 0, self.start / np.where(margin > 0, margin, 1.0), np.inf)

    def best_step_to(self, target: Array | float) -> Array:
        """The step with the fewest ``updates_to`` a ``target`` > 0: 2 noise eta + 3 drift eta^2 = target, cut."""
        return self._cut((self.noise + np.sqrt(self.noise**2 + 3 * self.drift * target)) / target)

    def best_step_in(self, num_updates: Array | float) -> Array:
        """The step with the least ``value`` after ``num_updates``: noise eta^2 + 2 drift eta^3 = start / J, cut.

        Cardano: y = 1 / eta > 0 solves y^3 = 3 m y + 2 h with m, h >= 0.
        """
        m, h = self.noise * num_updates / (3 * self.start), self.drift * num_updates / self.start
        u = (h + np.sqrt(h**2 - m**3 + 0j)) ** (1 / 3)
        return self._cut((u + m / np.where(u == 0, 1.0, u)).real)

    def _cut(self, inverse: Array) -> Array:
        # without noise the largest step is best
        return np.minimum(self.limit, np.where(inverse > 0, 1 / np.where(inverse > 0, inverse, 1.0), np.inf))
