"""Sums of arrays of different length, and shares of the tasks by their length."""

import numpy as np
from scipy import special, stats

from abs_theory.delays import Delay
from abs_theory.typing import Array

__all__ = ["added", "shares_by_length", "shares_of_first"]

LOGITS = np.linspace(-20.0, 20.0, 81)  # of the probability that the k-th task has ended, where shares are computed
COMMON = 1e-9  # probability of a single length from which on ties matter
BEFORE = 1 - 1e-9  # of such a length


def added(a: Array, b: Array) -> Array:
    """``a`` + ``b``, the shorter one continued by zeros.

    >>> added(np.array([1.0]), np.array([1.0, 2.0])).tolist()
    [2.0, 2.0]
    """
    size = max(a.size, b.size)
    return np.pad(a, (0, size - a.size)) + np.pad(b, (0, size - b.size))


def shares_by_length(deadlines: list[Array], weights: list[Array]) -> tuple[Array, Array]:
    """Lengths, and the probability that a task has a deadline beyond; no deadline is none.

    >>> [values.round(6).tolist() for values in shares_by_length([np.array([2.0, 1.0])], [np.array([3.0, 1.0])])]
    [[0.0, 1.0, 2.0, 2.0], [1.0, 0.875, 0.375, 0.0]]
    """
    if not deadlines:
        return np.zeros(1), np.ones(1)
    at, weight = np.concatenate(deadlines), np.concatenate(weights)
    order = np.argsort(at)
    at, weight = at[order], weight[order] / weight.sum()
    beyond = 1 - np.cumsum(weight) + weight / 2 if at.size > 1 else np.ones(1)
    return np.concatenate([[0.0], at, [at[-1] * (1 + 1e-9)]]), np.concatenate([[1.0], beyond, [0.0]])


def shares_of_first(law: Delay, k: int, n: int) -> tuple[Array, Array]:
    """Lengths, and the probability that a task is among the first ``k`` of ``n`` that start together; exact.

    Ties are broken at random: of tasks with a common length, between the ranks F(x-) and F(x), the mean share counts.

    >>> from abs_theory.delays import Empirical
    >>> lengths, shares = shares_of_first(Empirical([1.0, 2.0]), k=1, n=2)
    >>> np.interp([1.0, 2.0], lengths, shares).round(6).tolist()  # the first of two is 1 with probability 3/4
    [0.75, 0.25]
    """
    at = law.ppf(stats.beta.ppf(special.expit(LOGITS), k, n - k + 1))
    if law.has_atoms:
        breaks = np.asarray(law.breaks, float)
        breaks = breaks[np.isfinite(breaks) & (breaks > 0)]
        at = np.concatenate([at, breaks, breaks * BEFORE])
    at = np.unique(at)
    high, low = law.cdf(at), law.cdf(at * BEFORE)

    def used(share: Array) -> Array:
        """Mean number of trained tasks with a rank up to this one, over ``n``."""
        return share * stats.binom.cdf(k - 2, n - 1, share) + k / n * stats.binom.sf(k - 1, n, share)

    width = high - low
    common = law.has_atoms & (width > COMMON)
    mean = (used(high) - used(low)) / np.where(common, width, 1.0)
    return at, np.where(common, mean, stats.binom.cdf(k - 1, n - 1, high))
