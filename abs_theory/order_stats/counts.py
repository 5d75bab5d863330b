"""How many of n independent workers are done by time t: the Poisson-binomial count.

A group of equal workers gives a binomial, and groups are multiplied as polynomials.  Every term is positive, so even
tiny probabilities keep their digits.  Arrays of probabilities have shape ``counts x times``.
Source: David & Nagaraja (2003), ch. 5; the binomial of each group is exp of its logarithm.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from abs_theory.checks import explains_types
from abs_theory.typing import Array
from abs_theory.workers import Workers

__all__ = ["binomial", "first_of_others", "multiply", "number_done", "product"]


TIMES_AT_ONCE = 64  # so that the polynomials fit in the cache


def binomial(count: int, done: Array, busy: Array) -> Array:
    """P(j of ``count`` equal workers are done), j = 0..count, given P(done) and P(busy) of one."""
    if count == 0:
        return np.ones((1, done.size))
    if count == 1:
        return np.stack([busy, done])
    j = np.arange(count + 1.0)[:, None]
    log_choose = special.gammaln(count + 1) - special.gammaln(j + 1) - special.gammaln(count - j + 1)
    pmf = np.exp(log_choose + special.xlogy(j, done) + special.xlogy(count - j, busy))
    return pmf / pmf.sum(axis=0)  # rounding of the logarithms is a factor common to all terms


def multiply(a: Array, b: Array) -> Array:
    """Distribution of the sum of two independent counts."""
    if len(a) < len(b):
        a, b = b, a
    total = np.zeros((len(a) + len(b) - 1, a.shape[1]))
    for j, weight in enumerate(b):
        total[j : j + len(a)] += weight * a
    return total


def product(laws: Sequence[Array]) -> Array:
    """Distribution of the sum of independent counts; n^2 / 2 multiplications per time for n workers."""
    if len(laws) == 1:
        return laws[0]
    half = len(laws) // 2
    return multiply(product(laws[:half]), product(laws[half:]))


@explains_types
def number_done(workers: Workers, t: ArrayLike) -> Array:
    """P(j of the ``workers`` are done by ``t``) for j = 0..n, shape ``(n + 1) x t.size``.

    Cost: O(n) per time for equal workers, up to n^2 / 2 for unequal ones (2 ms for n = 1000).

    >>> from abs_theory.delays import Exponential
    >>> from abs_theory.workers import as_workers
    >>> number_done(as_workers(Exponential(1.0), 2), np.log(2)).ravel().round(4).tolist()
    [0.25, 0.5, 0.25]
    """
    t = np.ravel(t)
    done, busy = _probabilities(workers, t)
    law = np.empty((workers.n + 1, t.size))
    for start in range(0, t.size, TIMES_AT_ONCE):
        at = np.s_[start : start + TIMES_AT_ONCE]
        law[:, at] = product([binomial(c, p[at], q[at]) for c, p, q in zip(workers.counts, done, busy, strict=True)])
    return law


def first_of_others(workers: Workers, k: int, t: ArrayLike) -> Array:
    """For a worker of each group, P(fewer than ``k`` of the *others* are done by ``t``), shape ``groups x t.size``.

    Cost: about n^2 log2(number of groups) multiplications per time.
    """
    t = np.ravel(t)
    done, busy = _probabilities(workers, t)
    late = np.empty((len(workers.laws), t.size))
    for start in range(0, t.size, TIMES_AT_ONCE):
        at = np.s_[start : start + TIMES_AT_ONCE]
        groups = list(zip(workers.counts, done[:, at], busy[:, at], strict=True))
        others = _all_but_each([binomial(c, p, q) for c, p, q in groups], np.ones((1, t[at].size)))
        for g, (other_groups, (c, p, q)) in enumerate(zip(others, groups, strict=True)):
            late[g, at] = multiply(other_groups, binomial(c - 1, p, q))[:k].sum(axis=0)
    return late


def _all_but_each(laws: Sequence[Array], outside: Array) -> list[Array]:
    """For each of the ``laws``, ``outside`` times the product of all other laws."""
    if len(laws) == 1:
        return [outside]
    left, right = laws[: len(laws) // 2], laws[len(laws) // 2 :]
    return _all_but_each(left, multiply(outside, product(right))) + _all_but_each(
        right, multiply(outside, product(left))
    )


def _probabilities(workers: Workers, t: Array) -> tuple[Array, Array]:
    """P(done by ``t``) and P(still busy) of one worker of each group."""
    return np.array([law.cdf(t) for law in workers.laws]), np.array([law.sf(t) for law in workers.laws])
