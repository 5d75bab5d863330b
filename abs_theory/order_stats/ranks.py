"""Order statistics of the delays of n workers: the time until the k-th fastest is done, in seconds.

``delay`` is one law or a sequence of n laws, one per worker.  Equal workers: the k-th smallest of n uniform numbers
follows Beta(k, n - k + 1), and closed forms where a law has them.  Unequal workers: the number done by t is a
Poisson-binomial count, see ``counts``, integrated over time, see ``adaptive``.
Source: David & Nagaraja (2003), ch. 2 and 5.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from abs_theory.checks import check_k
from abs_theory.delays.numerics.bisection import first_time
from abs_theory.order_stats import counts, over_time
from abs_theory.order_stats.covariance import covariance
from abs_theory.typing import Array
from abs_theory.workers import Workers, as_workers

__all__ = ["cdf", "cov", "first_k_probabilities", "isf", "mean", "means", "ppf", "sf", "var"]


TIES = 1024  # atoms at once
SCIPY_INVERTS = 1e-80  # below about 1e-100 its betaincinv returns NaN; bisection takes over here


def mean(delay: Any, k: int, n: int) -> float:
    """E[X_(k)], the mean time until ``k`` of ``n`` workers are done; inf if infinite.

    Unequal workers: good to 1e-11 whatever their laws, atoms included; infinite if and only if that of the fastest
    of the n-k+1 slowest is.  Cost: about 2000 times, O(n) to n^2 / 2 multiplications each (``counts``).
    Raises ArithmeticError if a tail is too heavy for floating point.

    >>> from abs_theory.delays import Exponential
    >>> round(mean(Exponential(mean=1.0), k=2, n=3), 6)  # 1/3 + 1/2
    0.833333
    """
    workers = _workers(delay, k, n)
    if workers.equal:
        return workers.laws[0].mean_order_statistic(int(k), int(n))

    def late(t: Array) -> Array:
        return _sf(workers, int(k), t)[None, :]

    return float(
        over_time.time_integral(late, over_time.edges(workers), _index(workers, k), over_time.noise(workers))[0]
    )


def means(delay: Any, n: int) -> Array:
    """E[X_(1)], ..., E[X_(n)] at once, shape ``n``; accuracy as ``mean``, and hardly more cost than one of them."""
    workers = _workers(delay, n, n)
    if workers.equal:
        return workers.laws[0].mean_order_statistics(int(n))

    def late(t: Array) -> Array:
        return counts.number_done(workers, t)[:-1].cumsum(axis=0)

    index, noise = over_time.tail_indices(workers), over_time.noise(workers)
    return over_time.time_integral(late, over_time.edges(workers), index, noise)


def var(delay: Any, k: int, n: int) -> float:
    """Var[X_(k)]; inf if infinite.

    Unequal workers: about the median c, E[(X - c)^2] is the integral of 2 (t - c) P(X > t) beyond c and of
    2 (c - t) P(X <= t) before, so that nothing cancels; accuracy, cost and ArithmeticError as ``mean``.
    """
    workers = _workers(delay, k, n)
    if workers.equal:
        return workers.laws[0].var_order_statistic(int(k), int(n))
    index = _index(workers, k, 2)
    if index <= 2:
        return math.inf
    centre = float(ppf(delay, k, n, 0.5))
    cuts, noise = over_time.edges(workers), over_time.noise(workers)
    twice, orders = np.ones((2, 1)), np.array([1, 2])

    def late(t: Array) -> Array:
        return twice * _sf(workers, k, t)

    def early(t: Array) -> Array:
        return twice * _cdf(workers, k, t)

    def weight(t: Array) -> Array:
        return np.stack([np.ones_like(t), centre - t])

    after = np.append(centre, cuts[cuts > centre])
    beyond = over_time.time_integral(late, after, np.repeat(index, 2), noise, orders)
    below = over_time.integral(early, weight, np.append(cuts[cuts < centre], centre), noise)
    return float(2 * (beyond[1] + below[1]) - (beyond[0] - below[0]) ** 2)


def cov(delay: Any, j: int, k: int, n: int) -> float:
    """Cov[X_(j), X_(k)] of ``n`` equal workers; never negative.

    Good to 1e-10 of sqrt(Var Var).  With j <= k, inf unless Var[X_(j)] and E[X_(k)] are finite.  Cost: 10^4 to 10^6
    quantiles, whatever ``n``.  Source: ``covariance``.
    Raises ValueError for unequal workers and for laws with atoms (other than constants), ArithmeticError if the
    quantile function is not smooth, or the tail too heavy for floating point: take samples there.
    """
    check_k(j, n)
    workers = _workers(delay, k, n)
    law = workers.laws[0]
    if not workers.equal or (law.has_atoms and law.var > 0):
        raise ValueError(
            f"the covariance of two ranks needs equal workers and a law without atoms, got {delay!r}; "
            "sort samples of all n delays and take np.cov"
        )
    if j == k or law.has_atoms:
        return var(delay, k, n)
    return covariance(law, min(int(j), int(k)), max(int(j), int(k)), int(n))


def cdf(delay: Any, k: int, n: int, t: ArrayLike) -> Array:
    """P(X_(k) <= t): at least ``k`` of ``n`` workers are done by ``t``."""
    workers = _workers(delay, k, n)
    return _cdf(workers, int(k), np.asarray(t, float))


def sf(delay: Any, k: int, n: int, t: ArrayLike) -> Array:
    """P(X_(k) > t): fewer than ``k`` of ``n`` workers are done by ``t``."""
    workers = _workers(delay, k, n)
    return _sf(workers, int(k), np.asarray(t, float))


def ppf(delay: Any, k: int, n: int, q: ArrayLike) -> Array:
    """Time by which ``k`` of ``n`` workers are done with probability ``q``.

    Unequal workers: to the last digit, by up to 64 bisections.
    """
    workers, q = _workers(delay, k, n, q), np.asarray(q, float)
    if not workers.equal:
        return _first_time(workers, int(k), q, 1 - q)
    done, busy = _beta_quantile(int(k), int(n) - int(k) + 1, q)
    law = workers.laws[0]
    return np.where(done < busy, law.ppf(done), law.isf(busy))


def isf(delay: Any, k: int, n: int, q: ArrayLike) -> Array:
    """Time by which fewer than ``k`` of ``n`` workers are done with probability ``q``; cost as ``ppf``."""
    workers, q = _workers(delay, k, n, q), np.asarray(q, float)
    if not workers.equal:
        return _first_time(workers, int(k), 1 - q, q)
    busy, done = _beta_quantile(int(n) - int(k) + 1, int(k), q)
    law = workers.laws[0]
    return np.where(done < busy, law.ppf(done), law.isf(busy))


def first_k_probabilities(delay: Any, k: int, n: int) -> Array:
    r"""Each worker's probability to be among the first ``k`` of ``n`` to be done, shape ``n``; they sum to ``k``.

    .. math:: p_i = \int P(\text{fewer than } k \text{ of the others are done by } t) \, dF_i(t)

    Workers that finish together (atoms) come in the order of their index, as in the simulator.
    Good to 1e-11 relative (1e-16 absolute below 1e-5).  Cost: k / n for equal workers without atoms, else 2000 times,
    n^2 log2(number of different laws) multiplications each.
    Source: the formula is the definition; nothing is approximated.
    """
    workers = _workers(delay, k, n)
    if workers.equal and not workers.has_atoms:
        return np.full(n, k / n)

    def late(t: Array) -> Array:
        return counts.first_of_others(workers, k, t)

    cuts = over_time.edges(workers, latest=1e300)
    return over_time.law_integral(workers, late, cuts)[workers.group] + _among_first_k_at_ties(workers, int(k))


def _among_first_k_at_ties(workers: Workers, k: int) -> Array:
    """The part of ``first_k_probabilities`` from finishing at an atom: there, lower indices go first."""
    times, sizes = over_time.jumps(workers)
    p = np.zeros(workers.n)
    for start in range(0, times.size, TIES):
        t, size = times[start : start + TIES], sizes[:, start : start + TIES]
        by, earlier = ([np.stack([law.sf(at), law.cdf(at)]) for law in workers.laws] for at in (t, over_time.before(t)))
        ahead = [np.ones((1, t.size))]  # for each worker, how many of lower index are done by t
        for g in workers.group[:-1]:
            ahead.append(counts.multiply(ahead[-1], by[g])[:k])
        behind = np.ones((1, t.size))  # how many of higher index were done before t
        for i in range(workers.n - 1, -1, -1):
            g = workers.group[i]
            room = np.cumsum(np.pad(behind, ((0, k), (0, 0)))[:k], axis=0)[::-1]  # P(row + those behind < k)
            p[i] += (size[g] * (ahead[i] * room[: len(ahead[i])]).sum(axis=0)).sum()
            behind = counts.multiply(behind, earlier[g])[:k]
    return p


def _index(workers: Workers, k: int, order: int = 1) -> Array:
    return over_time.tail_indices(workers, order)[[k - 1]]


# 1 - cdf of a late time and 1 - sf of an early one have no digits left: always work from the near end.
def _cdf(workers: Workers, k: int, t: Array) -> Array:
    if not workers.equal:
        return counts.number_done(workers, t)[k:].sum(axis=0).reshape(np.shape(t))
    return _probability(workers, k, t, special.betainc, special.betaincc)


def _sf(workers: Workers, k: int, t: Array) -> Array:
    if not workers.equal:
        return counts.number_done(workers, t)[:k].sum(axis=0).reshape(np.shape(t))
    return _probability(workers, k, t, special.betaincc, special.betainc)


def _probability(workers: Workers, k: int, t: Array, of_done: np.ufunc, of_busy: np.ufunc) -> Array:
    law, after = workers.laws[0], workers.n - k + 1
    done, busy = law.cdf(t), law.sf(t)
    return np.where(done < busy, of_done(k, after, done), of_busy(after, k, busy))


def _first_time(workers: Workers, k: int, done: Array, late: Array) -> Array:
    """First time by which X_(k) has come with probability ``done`` = 1 - ``late``."""
    first, last = (
        np.sort(np.repeat([float(end) for end in ends], workers.counts))[k - 1]
        for ends in zip(*[(law.ppf(0.0), law.isf(0.0)) for law in workers.laws], strict=True)
    )

    def reached(t: Array) -> NDArray[np.bool_]:
        law = counts.number_done(workers, t)
        early = law[k:].sum(axis=0).reshape(t.shape), law[:k].sum(axis=0).reshape(t.shape)
        return np.where(done < late, early[0] >= done, early[1] <= late)

    t = first_time(reached, np.full(done.shape, first), np.full(done.shape, last))
    return np.where(done <= 0, first, np.where(late <= 0, last, t))


def _beta_quantile(a: int, b: int, q: ArrayLike) -> tuple[Array, Array]:
    """The ``q``-quantile u of Beta(a, b), and 1 - u."""
    q = np.asarray(q, float)
    u, rest = special.betaincinv(a, b, q), special.betainccinv(b, a, q)
    tiny = (q > 0) & (q < SCIPY_INVERTS)
    if not tiny.any():
        return u, rest
    log_choose = special.gammaln(a + b) - special.gammaln(a + 1) - special.gammaln(b)
    low = (np.log(np.where(tiny, q, 1.0)) - log_choose) / a  # P(U <= u) <= C(a + b - 1, a) u^a
    high = np.full_like(low, math.log(special.betaincinv(a, b, SCIPY_INVERTS)))
    for _ in range(64):
        middle = (low + high) / 2
        below = special.betainc(a, b, np.exp(middle)) < q
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.where(tiny, np.exp(high), u), np.where(tiny, -np.expm1(high), rest)


def _workers(delay: Any, k: Any, n: Any, q: ArrayLike = 0.5) -> Workers:
    check_k(k, n)
    if not np.all((np.asarray(q) >= 0) & (np.asarray(q) <= 1)):
        raise ValueError(f"q must be in [0, 1], got {q!r}")
    return as_workers(delay, n)
