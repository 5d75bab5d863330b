"""Order statistics of the delays of n workers: the seconds until the k-th fastest is done.

``delay`` is one law or a sequence of n laws, one per worker.  For equal workers, the k-th smallest of n uniform numbers
follows Beta(k, n - k + 1), and some laws have closed forms.  For unequal workers, the number done by t is a
Poisson-binomial count (``counts``), integrated over time (``over_time``).
Source: David & Nagaraja (2003), ch. 2 and 5.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from abs_theory.checks import check_k, check_memory, explains_types, real_numbers
from abs_theory.delays.numerics import binomial
from abs_theory.delays.numerics.bisection import first_time
from abs_theory.order_stats import counts, over_time
from abs_theory.order_stats.by_quantile import from_near_end
from abs_theory.order_stats.covariance import covariance
from abs_theory.typing import Array, Laws
from abs_theory.workers import Workers, as_workers

__all__ = ["cdf", "cov", "first_infinite", "first_k_probabilities", "isf", "mean", "means", "ppf", "sf", "var"]


ATOMS_AT_ONCE = 1024
SMALLEST_INVERTED_BY_SCIPY = 1e-80  # betaincinv returns NaN below about 1e-100; bisection is used for smaller q


def mean(delay: Laws, k: int, n: int) -> float:
    """E[X_(k)], the mean seconds until ``k`` of ``n`` workers are done; inf if infinite.

    Unequal workers: good to 1e-11 for any laws, also with atoms; infinite if and only if the mean of the fastest of the
    n-k+1 workers with the heaviest tails is.  Cost: about 2000 times, O(n) to n^2 / 2 multiplications each.
    Raises ArithmeticError if a tail is too heavy for floating point.

    See also ``means`` for all k at once, and ``round_time.k_sync`` for the round in which it is used.

    >>> from abs_theory.delays import Exponential
    >>> round(mean(Exponential(mean=1.0), k=2, n=3), 6)  # 1/3 + 1/2
    0.833333
    >>> round(mean([Exponential(mean=1.0), Exponential(mean=10.0)], k=1, n=2), 4)  # 1 / (1 + 0.1)
    0.9091
    """
    workers = _workers(delay, k, n)
    if workers.equal:
        return workers.laws[0].mean_order_statistic(int(k), int(n))

    def late(t: Array) -> Array:
        return _sf(workers, int(k), t)[None, :]

    return float(
        over_time.time_integral(late, over_time.edges(workers), _index(workers, k), over_time.noise(workers))[0]
    )


def means(delay: Laws, n: int) -> Array:
    """E[X_(1)], ..., E[X_(n)] in seconds, shape ``n``; as accurate as ``mean``, at little more cost than one of them.

    >>> from abs_theory.delays import Uniform
    >>> means(Uniform(low=0.0, high=4.0), n=3).tolist()
    [1.0, 2.0, 3.0]
    """
    workers = _workers(delay, n, n)
    if workers.equal:
        return workers.laws[0].mean_order_statistics(int(n))

    def late(t: Array) -> Array:
        return counts.number_done(workers, t)[:-1].cumsum(axis=0)

    index, noise = over_time.tail_indices(workers), over_time.noise(workers)
    return over_time.time_integral(late, over_time.edges(workers), index, noise)


def first_infinite(delay: Laws, n: int) -> int:
    """The least k for which E[X_(k)] is infinite; n + 1 if all are finite.

    Then rounds that wait for k workers or more have no mean, under any threshold: a worker that has been busy for a
    seconds needs t more with probability P(X > a + t) at least.  Cost: log2(n) means if some delay has no mean.
    Raises ArithmeticError if a tail is too heavy for floating point.

    >>> from abs_theory.delays import Exponential, Lomax
    >>> first_infinite(Exponential(mean=1.0), n=4), first_infinite(Lomax(scale=1.0, index=0.5), n=4)
    (5, 3)
    """
    workers = _workers(delay, n, n)
    endless = sum(count for law, count in zip(workers.laws, workers.counts, strict=True) if math.isinf(law.mean))
    finite, infinite = n - endless, n + 1
    while infinite - finite > 1:
        k = (finite + infinite) // 2
        finite, infinite = (finite, k) if math.isinf(mean(workers, k, n)) else (k, infinite)
    return infinite


def var(delay: Laws, k: int, n: int) -> float:
    """Var[X_(k)], in seconds squared; inf if infinite.

    Unequal workers: with c the median, E[(X - c)^2] is the integral of 2 (t - c) P(X > t) beyond c, plus that of
    2 (c - t) P(X <= t) before c, so nothing cancels.  Accuracy, cost and ArithmeticError are as for ``mean``.

    >>> from abs_theory.delays import Exponential
    >>> round(var(Exponential(mean=1.0), k=2, n=3), 4)  # 1/9 + 1/4
    0.3611
    """
    workers = _workers(delay, k, n)
    if workers.equal:
        return workers.laws[0].var_order_statistic(int(k), int(n))
    index = _index(workers, k, 2)
    if index <= 2:
        return math.inf
    centre = float(_first_time(workers, int(k), np.array(0.5), np.array(0.5)))
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


def cov(delay: Laws, j: int, k: int, n: int) -> float:
    """Cov[X_(j), X_(k)] of ``n`` equal workers, in seconds squared; never negative.

    Good to 1e-10 of sqrt(Var Var).  With j <= k, it is inf unless Var[X_(j)] and E[X_(k)] are finite.
    Cost: 10^4 to 10^6 quantiles, for any ``n``.  Source: derived in ``covariance``.
    Raises ValueError for unequal workers and for laws with atoms (except fixed times); ArithmeticError if the quantile
    function is not smooth, or the tail too heavy for floating point.  Use samples in these cases.

    >>> from abs_theory.delays import Exponential
    >>> round(cov(Exponential(mean=1.0), j=1, k=3, n=3), 4)  # Var X_(1) = 1/9: the later spacings are independent
    0.1111
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
        return law.var_order_statistic(int(k), int(n))
    return covariance(law, min(int(j), int(k)), max(int(j), int(k)), int(n))


@explains_types
def cdf(delay: Laws, k: int, n: int, t: ArrayLike) -> Array:
    """P(X_(k) <= t): at least ``k`` of ``n`` workers are done by ``t`` seconds; shape of ``t``.

    >>> from abs_theory.delays import Uniform
    >>> float(cdf(Uniform(low=0.0, high=1.0), k=2, n=2, t=0.5))
    0.25
    """
    workers = _workers(delay, k, n)
    return np.minimum(_cdf(workers, int(k), _seconds(t)), 1.0)


@explains_types
def sf(delay: Laws, k: int, n: int, t: ArrayLike) -> Array:
    """P(X_(k) > t): fewer than ``k`` of ``n`` workers are done by ``t`` seconds; accurate also where it is tiny.

    >>> from abs_theory.delays import Exponential
    >>> float(sf(Exponential(mean=1.0), k=1, n=2, t=50.0))  # exp(-100)
    3.720075976020836e-44
    """
    workers = _workers(delay, k, n)
    return np.minimum(_sf(workers, int(k), _seconds(t)), 1.0)


@explains_types
def ppf(delay: Laws, k: int, n: int, q: ArrayLike) -> Array:
    """Seconds by which ``k`` of ``n`` workers are done with probability ``q``; shape of ``q``.

    Unequal workers: exact to the last digit, by up to 64 bisections.  Raises ValueError unless 0 <= q <= 1.
    See also ``isf``, which is accurate for probabilities near 1.

    >>> from abs_theory.delays import Uniform
    >>> float(ppf(Uniform(low=0.0, high=1.0), k=2, n=2, q=0.25))
    0.5
    """
    workers, q = _workers(delay, k, n, q), np.asarray(q, float)
    if not workers.equal:
        return _first_time(workers, int(k), q, 1 - q)
    done, busy = _beta_quantile(int(k), int(n) - int(k) + 1, q)
    return from_near_end(workers.laws[0], done, busy)


@explains_types
def isf(delay: Laws, k: int, n: int, q: ArrayLike) -> Array:
    """Seconds after which fewer than ``k`` of ``n`` workers are done with probability ``q``; cost as for ``ppf``.

    >>> from abs_theory.delays import Exponential
    >>> round(float(isf(Exponential(mean=1.0), k=1, n=1, q=1e-30)), 4)
    69.0776
    """
    workers, q = _workers(delay, k, n, q), np.asarray(q, float)
    if not workers.equal:
        return _first_time(workers, int(k), 1 - q, q)
    busy, done = _beta_quantile(int(n) - int(k) + 1, int(k), q)
    return from_near_end(workers.laws[0], done, busy)


def first_k_probabilities(delay: Laws, k: int, n: int) -> Array:
    r"""Probability of each worker to be among the first ``k`` of ``n`` that are done, shape ``n`` and sum ``k``.

    .. math:: p_i = \int P(\text{fewer than } k \text{ of the others are done by } t) \, dF_i(t)

    Workers that finish at the same time (atoms) count in the order of their index, as in the simulator.
    Good to 1e-11 relative (1e-16 absolute below 1e-5).  It is k / n for equal workers without atoms; otherwise the cost
    is 2000 times, n^2 log2(number of different laws) multiplications each.
    Source: the formula is the definition.

    >>> from abs_theory.delays import Exponential
    >>> first_k_probabilities([Exponential(mean=1.0), Exponential(mean=3.0)], k=1, n=2).round(4).tolist()
    [0.75, 0.25]
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
    counted = (workers.n - min(k, workers.n) / 2) * k * min(times.size, ATOMS_AT_ONCE)
    check_memory(f"the order of n={workers.n} workers that finish at the same time, for k={k},", 8.0 * counted)
    p = np.zeros(workers.n)
    for start in range(0, times.size, ATOMS_AT_ONCE):
        t, size = times[start : start + ATOMS_AT_ONCE], sizes[:, start : start + ATOMS_AT_ONCE]
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


def _seconds(t: ArrayLike) -> Array:
    times = real_numbers(t)
    if np.isnan(times).any():
        raise ValueError(f"t must be seconds, numbers which may be inf, got t={t!r}")
    return times


def _index(workers: Workers, k: int, order: int = 1) -> Array:
    return over_time.tail_indices(workers, order)[[k - 1]]


def _cdf(workers: Workers, k: int, t: Array) -> Array:
    if not workers.equal:
        return counts.number_done(workers, t)[k:].sum(axis=0).reshape(np.shape(t))
    law = workers.laws[0]
    return binomial.at_least(k, workers.n, law.cdf(t), law.sf(t))


def _sf(workers: Workers, k: int, t: Array) -> Array:
    if not workers.equal:
        return counts.number_done(workers, t)[:k].sum(axis=0).reshape(np.shape(t))
    law = workers.laws[0]
    return binomial.fewer_than(k, workers.n, law.cdf(t), law.sf(t))


def _first_time(workers: Workers, k: int, done: Array, late: Array) -> Array:
    """First time t with P(X_(k) <= t) >= ``done`` = 1 - ``late``."""
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
    u, above = special.betaincinv(a, b, q), special.betainccinv(b, a, q)
    tiny = (q > 0) & (q < SMALLEST_INVERTED_BY_SCIPY)
    if not tiny.any():
        return u, above
    log_choose = special.gammaln(a + b) - special.gammaln(a + 1) - special.gammaln(b)
    low = (np.log(np.where(tiny, q, 1.0)) - log_choose) / a  # P(U <= u) <= C(a + b - 1, a) u^a
    high = np.full_like(low, math.log(special.betaincinv(a, b, SMALLEST_INVERTED_BY_SCIPY)))
    for _ in range(64):
        middle = (low + high) / 2
        below = special.betainc(a, b, np.exp(middle)) < q
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.where(tiny, np.exp(high), u), np.where(tiny, -np.expm1(high), above)


def _workers(delay: Laws, k: int, n: int, q: ArrayLike = 0.5) -> Workers:
    check_k(k, n)
    share = real_numbers(q)
    if not np.all((share >= 0) & (share <= 1)):
        raise ValueError(f"q must be in [0, 1], got {q!r}")
    return as_workers(delay, n)
