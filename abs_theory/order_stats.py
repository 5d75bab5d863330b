"""Order statistics of the delays of n workers: the time until the k-th fastest is done, in seconds.

Source: David & Nagaraja (2003), ch. 2: the k-th smallest of n uniform numbers follows Beta(k, n - k + 1).
"""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from abs_theory.checks import check_k
from abs_theory.delays import Delay

__all__ = ["cdf", "isf", "mean", "means", "ppf", "sf", "var"]

Array = NDArray[np.float64]

SCIPY_INVERTS = 1e-80  # below about 1e-100 its betaincinv returns NaN; bisection takes over here


def mean(delay: Delay, k: int, n: int) -> float:
    """E[X_(k)], the mean time until ``k`` of ``n`` workers are done; inf if infinite."""
    _check(delay, k, n)
    return delay.mean_order_statistic(int(k), int(n))


def means(delay: Delay, n: int) -> Array:
    """E[X_(1)], ..., E[X_(n)] at once, shape ``n``."""
    _check(delay, n, n)
    return delay.mean_order_statistics(int(n))


def var(delay: Delay, k: int, n: int) -> float:
    """Var[X_(k)]; inf if infinite."""
    _check(delay, k, n)
    return delay.var_order_statistic(int(k), int(n))


def cdf(delay: Delay, k: int, n: int, t: ArrayLike) -> Array:
    """P(X_(k) <= t): at least ``k`` of ``n`` workers are done by ``t``."""
    _check(delay, k, n)
    return _probability(delay, int(k), int(n) - int(k) + 1, t, special.betainc, special.betaincc)


def sf(delay: Delay, k: int, n: int, t: ArrayLike) -> Array:
    """P(X_(k) > t): fewer than ``k`` of ``n`` workers are done by ``t``."""
    _check(delay, k, n)
    return _probability(delay, int(k), int(n) - int(k) + 1, t, special.betaincc, special.betainc)


def ppf(delay: Delay, k: int, n: int, q: ArrayLike) -> Array:
    """Time by which ``k`` of ``n`` workers are done with probability ``q``."""
    _check(delay, k, n, q)
    done, busy = _beta_quantile(int(k), int(n) - int(k) + 1, q)
    return np.where(done < busy, delay.ppf(done), delay.isf(busy))


def isf(delay: Delay, k: int, n: int, q: ArrayLike) -> Array:
    """Time by which fewer than ``k`` of ``n`` workers are done with probability ``q``."""
    _check(delay, k, n, q)
    busy, done = _beta_quantile(int(n) - int(k) + 1, int(k), q)
    return np.where(done < busy, delay.ppf(done), delay.isf(busy))


# 1 - cdf of a late time and 1 - sf of an early one have no digits left: always work from the near end.
def _probability(delay: Delay, k: int, after: int, t: ArrayLike, of_done: np.ufunc, of_busy: np.ufunc) -> Array:
    done, busy = delay.cdf(t), delay.sf(t)
    return np.where(done < busy, of_done(k, after, done), of_busy(after, k, busy))


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


def _check(delay: Any, k: Any, n: Any, q: ArrayLike = 0.5) -> None:
    if not isinstance(delay, Delay):
        raise ValueError(f"delay must be a Delay such as Exponential(mean=1.0), got {delay!r}")
    check_k(k, n)
    if not np.all((np.asarray(q) >= 0) & (np.asarray(q) <= 1)):
        raise ValueError(f"q must be in [0, 1], got {q!r}")
