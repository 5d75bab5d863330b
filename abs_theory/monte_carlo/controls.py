"""Control variates of the Monte Carlo: sums over the tasks that begin, whose means are known exactly.

When a task begins, nothing that happened before depends on its delay X.  So the sum of min(X, c) - E[min(X, c)] over
all tasks that begin in a simulated run is a martingale, with mean 0 for every cap c, however long the run is.
Source: Glynn & Szechtman (2002), Some new perspectives on the method of control variates.
"""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import integrate

from abs_theory.delays import Delay
from abs_theory.typing import Array
from abs_theory.workers import Workers

__all__ = ["Controls"]

CAPS_AT = (0.5, 0.1, 0.01, 0.001, 0.0001)  # the caps are exceeded with these probabilities by the slowest group


class Controls:
    """Sums of min(X, c) minus its mean over the tasks that begin, for several caps c and for each replicate."""

    def __init__(self, workers: Workers, replicates: int) -> None:
        slowest = max(workers.laws, key=lambda law: float(law.isf(0.01)))
        caps = {float(slowest.isf(q)) for q in CAPS_AT}
        caps |= {float(law.isf(0.1)) for law in workers.laws} if len(workers.laws) <= 3 else set()
        self.caps = np.array(sorted(c for c in caps if 0 < c < 1e300))
        self.means = np.array([[_capped_mean(law, c) for c in self.caps] for law in workers.laws])  # groups x caps
        self.sums = np.zeros((replicates, self.caps.size))

    def add(self, delays: Array, group: NDArray[np.int64] | None, row: NDArray[np.intp] | None) -> None:
        """Add ``delays``, replicates x tasks, or one of each replicate in ``row``; of these groups, None if equal."""
        for i, cap in enumerate(self.caps):
            surplus = np.minimum(delays, cap)
            surplus -= self.means[0, i] if group is None else self.means[group, i]
            if row is None:
                self.sums[:, i] += surplus.sum(axis=1)
            else:
                self.sums[:, i] += np.bincount(row, surplus, minlength=len(self.sums))


@lru_cache(maxsize=2048)
def _capped_mean(law: Delay, cap: float) -> float:
    """E[min(X, cap)], the integral of the survival function up to ``cap``."""
    if math.isfinite(law.mean):
        return law.mean - float(law.integrated_tail(cap))
    least = max(float(law.ppf(0.0)), cap * 1e-9)  # seconds; a shorter part of the integral is its length
    beyond, _ = integrate.quad(
        lambda u: math.exp(u) * float(law.sf(math.exp(u))), math.log(least), math.log(cap), limit=400, epsrel=1e-9
    )
    return least + beyond
