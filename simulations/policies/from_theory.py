"""Policies that ask the delay law or the constants of the problem before a run: pure functions of ``Progress``."""

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import ArrayLike

from abs_theory import choose, order_stats, round_time, steady_state
from abs_theory.bounds import Constants
from abs_theory.checks import check_nonnegative, check_positive
from abs_theory.choose import schedules
from abs_theory.typing import Laws
from simulations.policies.plain import Rule, _check_loss, _check_workers, _too_early
from simulations.server import Policy, Progress

ADASYNC = ("k_sync", "k_async", "k_batch_sync", "k_batch_async")


def greedy_bound(round_times: ArrayLike, k0: int, interval: float = 0.0) -> Rule:
    """At each decision the k that minimises the error bound per time (``schedules.greedy_k``), never decreasing.

    ``round_times[k - 1]`` is the mean round time in seconds, of any law and protocol; k0 is the choice at the start.
    With ``interval`` > 0 it decides only at the first update after each multiple of ``interval`` seconds.
    Source: Dutta, Wang & Joshi (2021, AdaSync).
    Raises ValueError unless 1 <= k0 <= n and the round times are finite.
    """
    times = np.asarray(round_times, dtype=float)
    schedules.greedy_k(times, k0, 1.0)  # checks the arguments
    check_nonnegative("interval", interval)

    def rule(progress: Progress) -> int:
        if progress.updates == 0:
            _check_workers(progress, times.size)
            _check_loss(progress)
            return k0
        if _too_early(progress, interval) or math.isnan(progress.loss):
            return progress.k
        # a noisy loss may go below zero
        ratio = max(progress.loss / progress.initial_loss, 0.0)
        return max(progress.k, int(schedules.greedy_k(times, k0, ratio)))

    return rule


def adasync_rule(delay: Laws, n: int, k0: int, protocol: str = "k_async", interval: float = 0.0) -> Rule:
    """AdaSync's k: ``greedy_bound`` on the round time of a ``protocol`` (Dutta, Wang & Joshi 2021).

    One of "k_sync", "k_async", "k_batch_sync", "k_batch_async".
    """
    if protocol not in ADASYNC:
        raise ValueError(f"protocol must be one of {', '.join(ADASYNC)}, got {protocol!r}")
    return greedy_bound(_round_times(_hashable(delay), n, protocol), k0, interval)


def abs_rule(delay: Laws, n: int, k0: int, max_staleness: Policy, interval: float = 0.0) -> Rule:
    """ABS's default k: ``greedy_bound`` on the round time of ABS with its own threshold at each k."""
    thresholds = tuple(float(_threshold_at(max_staleness, k, n)) for k in range(1, n + 1))
    return greedy_bound(_abs_round_times(_hashable(delay), n, thresholds), k0, interval)


def switching_times(constants: Constants, step_size: float, delay: Laws, n: int) -> Rule:
    """Fastest-k: k grows at fixed times so that the bound of K-sync falls fastest (``schedules.switching_times``).

    Source: Kas Hanna et al. (2020, ICASSP; arXiv 2208.03134), Theorem 2, whose round times are exponential; here of any
    law, one or n.  Needs a strongly convex objective (c > 0); values of k that never come to an end are left out.
    """
    starts = schedules.switching_times(constants, step_size, order_stats.means(delay, n))

    def rule(progress: Progress) -> int:
        _check_workers(progress, n)
        return int(np.searchsorted(starts, progress.time, side="right"))

    return rule


@cache
def _round_times(delay: Laws, n: int, protocol: str) -> np.ndarray:
    if protocol == "k_sync":
        return order_stats.means(delay, n)
    if protocol == "k_async":
        return _abs_round_times(delay, n, (math.inf,) * n)
    return np.array([getattr(round_time, protocol)(delay, k, n) for k in range(1, n + 1)])


@cache
def _abs_round_times(delay: Laws, n: int, thresholds: tuple[float, ...]) -> np.ndarray:
    return np.asarray(steady_state.abs_sgd(delay, np.arange(1, n + 1), n, np.array(thresholds)).round_time)


def time_optimal(delay: Laws, n: int) -> Rule:
    """The threshold that makes rounds shortest at the k in force (``choose.time_optimal_threshold``)."""
    thresholds = _time_optimal_thresholds(_hashable(delay), n)

    def rule(progress: Progress) -> float:
        _check_workers(progress, n)
        return thresholds[progress.k - 1]

    return rule


@cache
def _time_optimal_thresholds(delay: Laws, n: int) -> tuple[float, ...]:
    return tuple(choose.time_optimal_threshold(delay, k, n) for k in range(1, n + 1))


def balanced_threshold(constants: Constants, target: float) -> Rule:
    """max_staleness with k (max_staleness + 1) = sigma2 / eps at the k in force (``schedules.balanced_threshold``).

    A server sees losses, not gradients: eps = max(``target``, 2 L (loss - F*)), the second an upper bound on |grad F|^2
    of any smooth objective, with F* = initial loss - gap.  So the threshold is on the strict side early, and as the
    loss falls it rises to that of the target.
    Source: L-smoothness (Nesterov 2004, Theorem 2.1.5) for the bound; see the schedule for the rest.
    """
    check_positive("target", target)

    def rule(progress: Progress) -> float:
        excess = progress.loss - (progress.initial_loss - constants.gap)
        if not math.isfinite(excess):  # diverged
            return progress.max_staleness
        return schedules.balanced_threshold(constants.sigma2, max(target, 2 * constants.L * excess), progress.k)

    return rule


def _hashable(delay: Laws) -> Laws:
    return tuple(delay) if isinstance(delay, Sequence) else delay


def _threshold_at(max_staleness: Policy, k: int, n: int) -> float:
    if callable(max_staleness):
        max_staleness = max_staleness(Progress(n, 0, 0.0, 0.0, int(k), math.inf, 0.0, 1.0, 1.0))
    return math.inf if max_staleness is None else max_staleness
