"""How k, the threshold and the step move: pure functions of ``Progress``.

A number is a constant policy, so constants need no factory; ``math.inf`` as a threshold means none.
"""

import math
from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import ArrayLike

from abs_theory import choose, steady_state
from abs_theory.checks import check_k, check_nonnegative, check_positive
from abs_theory.delays import Delay
from simulations.server import Policy, Progress

Rule = Callable[[Progress], float]


# ---------------------------------------------------------------------- k
def every_worker(progress: Progress) -> int:
    """k = n: wait for everybody."""
    return progress.n


def loss_ratio(k0: int) -> Rule:
    """Running maximum of floor(k0 F(w_0) / F(w_t)), capped at n.

    Source: the rule of the public code of Zhu, Zhang & Wang (2024, STSyn); part of our reconstruction of ABS.
    """
    check_positive("k0", k0)

    def rule(progress: Progress) -> int:
        _check_loss(progress)
        if progress.loss * progress.n <= k0 * progress.initial_loss:
            return progress.n
        return max(progress.k, math.floor(k0 * progress.initial_loss / progress.loss))

    return rule


def greedy_bound(round_times: ArrayLike, k0: int, interval: float = 0.0) -> Rule:
    r"""At each decision the k that minimises the error bound per time, never decreasing, k0 at first.

    .. math:: k_t = \arg\min_k F(w_t) T(k) + A / k, \qquad A = k_0^2 F(w_0) T'(k_0)

    with ``round_times[k - 1]`` = T(k) the mean round time in seconds and T' a central difference (one-sided at 1 and
    n, so that a constant added to all round times drops out); A makes k0 the minimiser at the start.  With
    ``interval`` > 0 it decides only at the first update after each multiple of ``interval`` seconds.  A minimum of
    the bound needs T to grow at k0, so where T' <= 0 (a threshold that falls with k may shorten rounds) the average
    slope T(k0) / k0 takes its place.
    Source: Dutta, Wang & Joshi (2021, AdaSync) for exponential K-sync; the constant derived here so that any T will do.
    Raises ValueError unless 1 <= k0 <= n and the round times are finite.
    """
    times = np.asarray(round_times, dtype=float)
    n = len(times)
    check_k(k0, n)
    check_nonnegative("interval", interval)
    if not np.isfinite(times).all():
        raise ValueError("greedy_bound needs finite mean round times; this delay law has no mean, bound the staleness")
    low, high = max(k0 - 1, 1), min(k0 + 1, n)
    slope = (times[high - 1] - times[low - 1]) / max(high - low, 1)
    if slope <= 0:
        slope = times[k0 - 1] / k0
    per_gradient = k0**2 * slope / np.arange(1, n + 1)

    def rule(progress: Progress) -> int:
        if progress.updates == 0:
            _check_workers(progress, n)
            _check_loss(progress)
            return k0
        if interval and progress.time // interval == progress.decided // interval:
            return progress.k
        cost = progress.loss / progress.initial_loss * times + per_gradient
        return max(progress.k, int(np.argmin(cost)) + 1)

    return rule


def adasync_rule(delay: Delay, n: int, k0: int, protocol: str = "k_async", interval: float = 0.0) -> Rule:
    """AdaSync's k: ``greedy_bound`` on the round time of "k_async" or "k_sync" (Dutta, Wang & Joshi 2021)."""
    threshold = {"k_async": math.inf, "k_sync": 0.0}  # both are ABS at an end of its scale
    if protocol not in threshold:
        raise ValueError(f"protocol must be one of {', '.join(threshold)}, got {protocol!r}")
    return abs_rule(delay, n, k0, threshold[protocol], interval)


def abs_rule(delay: Delay, n: int, k0: int, max_staleness: Policy, interval: float = 0.0) -> Rule:
    """ABS's default k: ``greedy_bound`` on the round time of ABS with its own threshold at each k."""
    thresholds = tuple(float(_threshold_at(max_staleness, k, n)) for k in range(1, n + 1))
    return greedy_bound(_abs_round_times(delay, n, thresholds), k0, interval)


@cache
def _abs_round_times(delay: Delay, n: int, thresholds: tuple[float, ...]) -> np.ndarray:
    return np.asarray(steady_state.abs_sgd(delay, np.arange(1, n + 1), n, np.array(thresholds)).round_time)


# ---------------------------------------------------------------------- the threshold
def relative_to_mean(c: float = 1.0) -> Rule:
    """max_staleness = ceil(c (n - k) / k): c times the exact mean staleness of K-async at this k.

    Part of our reconstruction of ABS: tolerant while k is small, strict when k is large.
    """
    check_positive("c", c)
    return lambda progress: math.ceil(c * (progress.n - progress.k) / progress.k)


def time_optimal(delay: Delay, n: int) -> Rule:
    """The threshold that makes rounds shortest at the k in force (``choose.time_optimal_threshold``)."""
    thresholds = _time_optimal_thresholds(delay, n)

    def rule(progress: Progress) -> float:
        _check_workers(progress, n)
        return thresholds[progress.k - 1]

    return rule


@cache
def _time_optimal_thresholds(delay: Delay, n: int) -> tuple[float, ...]:
    return tuple(choose.time_optimal_threshold(delay, k, n) for k in range(1, n + 1))


def _check_workers(progress: Progress, n: int) -> None:
    if progress.n != n:
        raise ValueError(f"this policy was made for n={n} workers, the run has n={progress.n}")


def _check_loss(progress: Progress) -> None:
    if not progress.initial_loss > 0:
        raise ValueError(
            f"a rule that follows the loss needs F(w_0) > 0, got {progress.initial_loss}; use a constant k"
        )


def _threshold_at(max_staleness: Policy, k: int, n: int) -> float:
    if callable(max_staleness):
        max_staleness = max_staleness(Progress(n, 0, 0.0, 0.0, int(k), math.inf, 0.0, 1.0, 1.0))
    return math.inf if max_staleness is None else max_staleness
