"""Order statistics of the delays of n workers: the time until the k-th fastest is done, in seconds.

Source: David & Nagaraja (2003), Order Statistics, ch. 2: the k-th smallest of n uniform numbers is Beta(k, n-k+1).
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from abs_theory.checks import check_k
from abs_theory.delays import Delay

__all__ = ["cdf", "isf", "mean", "means", "ppf", "sf", "var"]

Array = NDArray[np.float64]


def mean(delay: Delay, k: int, n: int) -> float:
    """E[X_(k)], the mean time until ``k`` of ``n`` workers are done; inf if infinite."""
    _check(delay, k, n)
    return delay.mean_order_statistic(k, n)


def means(delay: Delay, n: int) -> Array:
    """E[X_(1)], ..., E[X_(n)] at once, shape ``n``."""
    _check(delay, n, n)
    return delay.mean_order_statistics(n)


def var(delay: Delay, k: int, n: int) -> float:
    """Var[X_(k)]; inf if infinite."""
    _check(delay, k, n)
    return delay.var_order_statistic(k, n)


def cdf(delay: Delay, k: int, n: int, t: ArrayLike) -> Array:
    """P(X_(k) <= t): at least ``k`` of ``n`` workers are done by ``t``."""
    _check(delay, k, n)
    done, busy = delay.cdf(t), delay.sf(t)
    return np.where(done < busy, special.betainc(k, n - k + 1, done), special.betaincc(n - k + 1, k, busy))


def sf(delay: Delay, k: int, n: int, t: ArrayLike) -> Array:
    """P(X_(k) > t): fewer than ``k`` of ``n`` workers are done by ``t``."""
    _check(delay, k, n)
    done, busy = delay.cdf(t), delay.sf(t)
    return np.where(done < busy, special.betaincc(k, n - k + 1, done), special.betainc(n - k + 1, k, busy))


def ppf(delay: Delay, k: int, n: int, q: ArrayLike) -> Array:
    """Time by which ``k`` of ``n`` workers are done with probability ``q``."""
    _check(delay, k, n, q)
    done, busy = special.betaincinv(k, n - k + 1, q), special.betainccinv(n - k + 1, k, q)
    return np.where(done < busy, delay.ppf(done), delay.isf(busy))


def isf(delay: Delay, k: int, n: int, q: ArrayLike) -> Array:
    """Time by which fewer than ``k`` of ``n`` workers are done with probability ``q``."""
    _check(delay, k, n, q)
    done, busy = special.betainccinv(k, n - k + 1, q), special.betaincinv(n - k + 1, k, q)
    return np.where(done < busy, delay.ppf(done), delay.isf(busy))


def _check(delay: Any, k: Any, n: Any, q: ArrayLike = 0.5) -> None:
    if not isinstance(delay, Delay):
        raise ValueError(f"delay must be a Delay such as Exponential(mean=1.0), got {delay!r}")
    check_k(k, n)
    if not np.all((np.asarray(q) >= 0) & (np.asarray(q) <= 1)):
        raise ValueError(f"q must be in [0, 1], got {q!r}")
