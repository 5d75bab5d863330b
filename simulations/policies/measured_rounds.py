r"""Round time and staleness of ABS under a measured law, for all k and many thresholds at once, in a millisecond.

The mean field: with rounds of r seconds, a share p of the workers delivers in each round, where

.. math:: p\,(r, \theta) = F((\theta + 1) r) \Big/ \sum_{j \le \theta} S(j r)

because a task ends, or is restarted, after at most theta + 1 rounds.  A fleet of n workers is smaller than a mean
field: r is averaged over the law of the k-th of n uniform numbers, in place of p = k / n.  That is exact for threshold
0, where r is the mean of the k-th of n task times, and for exponential tasks.  The mean staleness follows from the same
r; it is (n - k) / k without a threshold, whatever the law.
Source: the mean field, derived in notebooks/02_staleness.ipynb; the average over k is ours.
See also ``steady_state.abs_sgd``, which is more accurate and takes a thousand times as long under such a law.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy import stats

from abs_theory.typing import Array
from simulations.measuring import Survival

THRESHOLDS = np.array([0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, math.inf])
MOST_K = 32  # numbers of gradients that are compared; if n is larger, in geometric progression
LEVELS = 16  # at which the law of the k-th uniform number is taken
ROUNDS_TRIED, SHORTEST_SHARE = 96, 1e-3  # lengths of a round in the tables; the share done in the shortest, times n
NEGLIGIBLE_SURVIVAL = 1e-6


class Rounds(NamedTuple):
    """Seconds, staleness and messages of the rounds; shape (numbers of gradients, thresholds)."""

    k: Array  #: gradients waited for, shape (numbers of gradients, 1)
    max_staleness: Array  #: thresholds, shape (1, thresholds)
    seconds: Array  #: of a round
    mean_staleness: Array  #: of the gradients applied
    messages: Array  #: uplinks and downlinks per round


def measured_rounds(law: Survival, n: int) -> Rounds:
    """The rounds of ABS with ``n`` workers whose task times have this ``law``."""
    levels, weights, numbers = _levels(n)
    r = _round_lengths(law, n)
    finite = THRESHOLDS[:-1].astype(int)
    times = np.arange(finite[-1] + 2) * r[:, None]  # shape (lengths, multiples)
    survival = law.sf(times)
    busy = np.cumsum(survival, axis=1)[:, finite]  # mean rounds that a task lasts
    done = 1 - survival[:, finite + 1]
    fading = survival[:, 1:].cumsum(axis=1)[:, finite]  # sum of S(jr), j = 1 .. theta + 1
    stale = (fading - (finite + 1) * survival[:, finite + 1]) / np.maximum(done, NEGLIGIBLE_SURVIVAL)
    # without a threshold: the sum beyond the last multiple is an integral
    late, tail = times[:, -1] + r / 2, law.tail()
    beyond = np.interp(late, law.edges, tail)
    beyond = np.where(late > law.edges[-1], tail[-1] * np.exp(-law.hazard[-1] * (late - law.edges[-1])), beyond)
    share = np.column_stack([done / busy, 1 / (survival.sum(axis=1) + beyond / r)])
    seconds, staleness = np.empty((len(numbers), len(THRESHOLDS))), np.empty((len(numbers), len(THRESHOLDS)))
    for column in range(len(THRESHOLDS)):
        seconds[:, column] = np.interp(levels, share[:, column], r) @ weights
        if column < len(finite):
            staleness[:, column] = np.interp(seconds[:, column], r, stale[:, column])
    seconds[-1] = seconds[-1, 0]  # k = n: nothing is ever stale
    k = numbers[:, None].astype(float)
    staleness[:, -1] = (n - numbers) / numbers
    staleness = np.minimum(staleness, (n - k) / k)
    restarts = (n - k - k * staleness) / (THRESHOLDS + 1)  # exact, see steady_state
    return Rounds(k, THRESHOLDS[None], seconds, staleness, 2 * k + restarts)


def _round_lengths(law: Survival, n: int) -> Array:
    """Lengths of a round from one in which almost nobody delivers to one in which almost everybody does."""
    cumulative, slope = law.cumulative, law.hazard[-1]
    low, high = SHORTEST_SHARE / n, -math.log(NEGLIGIBLE_SURVIVAL)
    shortest = float(np.interp(low, cumulative, law.edges))
    longest = law.edges[-1] + (high - cumulative[-1]) / slope
    longest = float(np.interp(high, cumulative, law.edges)) if high < cumulative[-1] else longest
    return np.geomspace(max(shortest, longest * 1e-9) / (1 + 2 * n), longest, ROUNDS_TRIED)


@lru_cache(maxsize=32)
def _levels(n: int) -> tuple[Array, Array, np.ndarray]:
    """Nodes and weights of a mean over the law of the k-th of n uniform numbers, and the k that are compared."""
    numbers = np.unique(np.geomspace(1, n, MOST_K).round().astype(int)) if n > MOST_K else np.arange(1, n + 1)
    nodes, weights = np.polynomial.legendre.leggauss(LEVELS)
    levels = stats.beta.ppf((nodes + 1) / 2, numbers[:, None], n - numbers[:, None] + 1)
    levels.flags.writeable = weights.flags.writeable = numbers.flags.writeable = False
    return levels, weights / 2, numbers
