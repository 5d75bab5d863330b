"""The law of tasks, some of them restarted, by Kaplan & Meier (1958), with an exponential tail where that ends."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from abs_theory.plan.effects import Mask
from abs_theory.typing import Array

__all__ = ["Law", "mean_arrivals_of_weights"]

FEWEST_AT_RISK = 10  # tasks still running, down to which the law of Kaplan and Meier is used
MOST_TIMES = 1000  # at which a law is evaluated; more deliveries are thinned out by rank
TAIL_POINTS = 200  # at which the tail is evaluated
STEPS = 1000  # of a table of the binomial law


@dataclass(frozen=True, eq=False)
class Law:
    """P(X > t): the steps of Kaplan and Meier up to ``horizon``, then the tail of Brown, Hollander & Korwar (1974)."""

    times: Array  # of deliveries, ascending
    survival: Array  # P(X > t) there
    horizon: float  # beyond which too few tasks were seen
    beyond: float  # P(X > horizon)

    @classmethod
    def of(cls, seconds: Array, observed: Mask, horizon: float | None = None) -> "Law":
        """The law of tasks that took ``seconds``, or longer where they were not ``observed``."""
        order = np.argsort(seconds, kind="stable")
        x, seen = seconds[order], observed[order]
        survival = _survival(seen, np.ones(x.size))
        end = _last_known(seen) if horizon is None else int(np.searchsorted(x, horizon, side="right"))
        horizon = (float(x[end - 1]) if end else float(x[-1])) if horizon is None else horizon
        # without a delivery, as if half a task had been delivered
        most = 1 - 0.5 / x.size
        used = np.flatnonzero(seen[:end])
        return cls(x[used], survival[used], horizon, min(float(survival[end - 1]), most) if end else most)

    @property
    def tail_mean(self) -> float:
        """Mean of the exponential law that is the tail: it has P(X > horizon) at the horizon."""
        return self.horizon / -math.log(max(self.beyond, 1e-300))

    def later(self, after: Array, rng: np.random.Generator) -> Array:
        """Draws above ``after``."""
        place = np.searchsorted(self.times, after, side="right")
        above = np.append(1.0, self.survival)[place]
        above = np.where(after > self.horizon, np.exp(-after / self.tail_mean), above)
        u = above * (1 - rng.random(after.shape))
        place = np.minimum(np.searchsorted(-self.survival, -u), max(self.times.size - 1, 0))
        inside = self.times[place] if self.times.size else np.full(after.shape, self.horizon)
        with np.errstate(divide="ignore"):
            drawn = np.where(u < self.beyond, -np.log(u) * self.tail_mean, inside)
        return np.maximum(drawn, after)


def mean_arrivals_of_weights(seconds: Array, observed: Mask, weights: Array, n: int) -> tuple[Array, Array]:
    """E[T_(k)] of ``n`` workers with the law of the tasks, each counted ``weights`` times, shape ``copies x n``.

    Also E[min(T_(k), horizon)], with the horizon of the tasks counted once.
    """
    order = np.argsort(seconds, kind="stable")
    x, seen, weights = seconds[order], observed[order], weights[:, order]
    law = Law.of(x, seen)
    end = int(np.searchsorted(x, law.horizon, side="right"))
    times = np.unique(law.times)
    thinned = times.size > MOST_TIMES
    if thinned:
        times = times[np.linspace(0, times.size - 1, MOST_TIMES).round().astype(int)]
    place = np.searchsorted(x[:end], times, side="right") - 1
    gaps = np.diff(np.append(times, law.horizon), prepend=0.0)
    beta = np.asarray(stats.binom.sf(np.arange(n), n, np.linspace(0, 1, STEPS + 1)[:, None]))
    share = (np.arange(TAIL_POINTS) + 0.5) / TAIL_POINTS
    means, least = np.empty((2, len(weights), n))
    for i, weight in enumerate(weights):
        steps = np.append(1.0, _survival(seen, weight)[place])
        beyond = min(float(steps[-1]), 1 - 0.5 / x.size)
        if thinned:  # between the times kept, it falls evenly
            steps[1:-1] = (steps[1:-1] + steps[2:]) / 2
        least[i] = gaps @ _not_yet(steps, beta)
        tail_mean = law.horizon / -math.log(max(beyond, 1e-300))
        means[i] = least[i] + tail_mean * (_not_yet(beyond * share, beta) / share[:, None]).mean(axis=0)
    return means, least


def _not_yet(survival: Array, beta: Array) -> Array:
    """P(T_(k) > t) for each k, where one worker has P(X > t) = ``survival``."""
    position = (1 - survival) * STEPS
    low = np.minimum(position.astype(int), STEPS - 1)
    return 1 - beta[low] - (position - low)[:, None] * (beta[low + 1] - beta[low])


def _last_known(seen: Mask) -> int:
    """One past the last delivery at which FEWEST_AT_RISK tasks still ran; 0 without a delivery."""
    well_known = seen & (np.arange(seen.size, 0, -1) >= FEWEST_AT_RISK)
    return int(np.flatnonzero(well_known if well_known.any() else seen)[-1]) + 1 if seen.any() else 0


def _survival(observed: Mask, weight: Array) -> Array:
    """P(X > t) by Kaplan and Meier at the times of tasks in ascending order, each counted ``weight`` times."""
    left = np.cumsum(weight[::-1])[::-1]
    hazard = np.where(left > 0, weight * observed / np.where(left > 0, left, 1.0), 0.0)
    survival: Array = np.cumprod(1 - np.minimum(hazard, 1.0), dtype=np.float64)
    return survival
