"""Policies that use the delay law or the constants of the problem: pure functions of ``Progress``."""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from abs_theory import choose, order_stats, round_time, steady_state
from abs_theory.bounds import Constants
from abs_theory.checks import check_nonnegative, check_positive
from abs_theory.choose import schedules
from abs_theory.typing import Laws
from simulations.policies.plain import Rule, _check_loss, _check_workers, _too_early
from simulations.server import Policy, Progress

CACHED_RULES = 32  # laws and n whose round times are remembered: a sweep makes the same rule many times
ADASYNC = ("k_sync", "k_async", "k_batch_sync", "k_batch_async")


def greedy_bound(round_times: ArrayLike, k0: int, interval: float = 0.0) -> Rule:
    """At each decision the k that minimises the error bound per time (``schedules.greedy_k``), never decreasing.

    ``round_times[k - 1]`` is the mean round time in seconds, for any law and protocol; k0 is the k at the start.
    With ``interval`` > 0 it decides only at the first update after each multiple of ``interval`` seconds.
    Source: Dutta, Wang & Joshi (2021, AdaSync).
    Raises ValueError unless 1 <= k0 <= n, the round times are finite and interval >= 0; in a run unless F(w_0) > 0.
    See also ``adasync_rule`` and ``abs_rule``, which compute the round times.

    >>> from simulations.server import Progress
    >>> later = Progress(10, 50, 30.0, 29.0, k=2, max_staleness=3, mean_staleness=1.0, loss=0.25, initial_loss=1.0)
    >>> greedy_bound(round_times=range(1, 11), k0=2)(later)  # round times proportional to k: k0 sqrt(F(w_0) / F(w_t))
    4
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
    """AdaSync's k: ``greedy_bound`` with the round times of ``protocol``.

    ``protocol`` is "k_sync", "k_async", "k_batch_sync" or "k_batch_async"; ``delay`` is the law of a task.
    Source: Dutta, Wang & Joshi (2021, AdaSync).
    Raises ValueError for another protocol, and as ``greedy_bound``.
    See also ``protocols.adasync``, the protocol with this rule.

    >>> from abs_theory.delays import Exponential
    >>> from simulations.server import Progress
    >>> later = Progress(10, 50, 30.0, 29.0, k=2, max_staleness=3, mean_staleness=1.0, loss=0.25, initial_loss=1.0)
    >>> adasync_rule(Exponential(1.0), n=10, k0=2, protocol="k_sync")(later)
    4
    """
    if protocol not in ADASYNC:
        raise ValueError(f"protocol must be one of {', '.join(ADASYNC)}, got {protocol!r}")
    return greedy_bound(_round_times(_hashable(delay), n, protocol), k0, interval)


def abs_rule(delay: Laws, n: int, k0: int, max_staleness: Policy, interval: float = 0.0) -> Rule:
    """ABS's default k: ``greedy_bound`` with the round times of ABS at the threshold that it has for each k.

    ``delay`` is the law of a task; ``max_staleness`` is the threshold of the run, a number or a policy.
    Raises ValueError as ``greedy_bound``.

    >>> from abs_theory.delays import Exponential
    >>> from simulations.policies import relative_to_mean
    >>> from simulations.server import Progress
    >>> later = Progress(10, 50, 30.0, 29.0, k=2, max_staleness=3, mean_staleness=1.0, loss=0.25, initial_loss=1.0)
    >>> abs_rule(Exponential(1.0), n=10, k0=2, max_staleness=relative_to_mean())(later)
    4
    """
    thresholds = tuple(float(_threshold_at(max_staleness, k, n)) for k in range(1, n + 1))
    return greedy_bound(_abs_round_times(_hashable(delay), n, thresholds), k0, interval)


def switching_times(constants: Constants, step_size: float, delay: Laws, n: int) -> Rule:
    """Fastest-k: k grows at fixed times so that the error bound of K-sync falls fastest.

    The times are those of ``schedules.switching_times``.  Needs a strongly convex objective (c > 0).  A k that would
    never be left is the last one.
    Source: Kas Hanna et al. (2020, ICASSP; arXiv 2208.03134), Theorem 2, for exponential round times; here for any law.
    See also ``protocols.fastest_k``, the protocol with this rule.

    >>> from abs_theory.bounds import Constants
    >>> from abs_theory.delays import Exponential
    >>> from simulations.server import Progress
    >>> rule = switching_times(Constants(L=2.0, sigma2=0.5, gap=1.65, c=0.3), 0.1, Exponential(1.0), n=10)
    >>> start = Progress(10, 0, 0.0, 0.0, 1, 3, 0.0, 1.0, 1.0)
    >>> [rule(start._replace(time=time)) for time in (0.0, 10.0, 20.0, 40.0)]
    [1, 2, 3, 5]
    """
    starts = schedules.switching_times(constants, step_size, order_stats.means(delay, n))

    def rule(progress: Progress) -> int:
        _check_workers(progress, n)
        return int(np.searchsorted(starts, progress.time, side="right"))

    return rule


@lru_cache(maxsize=CACHED_RULES)
def _round_times(delay: Laws, n: int, protocol: str) -> tuple[float, ...]:
    if protocol == "k_sync":
        return tuple(order_stats.means(delay, n).tolist())
    if protocol == "k_async":
        return _abs_round_times(delay, n, (math.inf,) * n)
    return tuple(float(getattr(round_time, protocol)(delay, k, n)) for k in range(1, n + 1))


@lru_cache(maxsize=CACHED_RULES)
def _abs_round_times(delay: Laws, n: int, thresholds: tuple[float, ...]) -> tuple[float, ...]:
    steady = steady_state.abs_sgd(delay, np.arange(1, n + 1), n, np.array(thresholds), "fast")
    return tuple(np.asarray(steady.round_time).tolist())


@lru_cache(maxsize=CACHED_RULES)
def _time_optimal_thresholds(delay: Laws, n: int) -> tuple[float, ...]:
    return tuple(choose.time_optimal_threshold(delay, k, n) for k in range(1, n + 1))


def _hashable(delay: Laws) -> Laws:
    return tuple(delay) if isinstance(delay, Sequence) else delay


def time_optimal(delay: Laws, n: int) -> Rule:
    """The threshold at which rounds are shortest, for the k in force (``choose.time_optimal_threshold``).

    ``delay`` is the law of a task.
    See also ``relative_to_mean``, which needs no law; ``balanced_threshold``, which asks for few updates.

    >>> from abs_theory.delays import HyperExponential
    >>> from simulations.server import Progress
    >>> rare_stalls = HyperExponential(probs=(0.9, 0.1), means=(1 / 3, 7.0))
    >>> start = Progress(10, 0, 0.0, 0.0, 3, 3, 0.0, 1.0, 1.0)
    >>> time_optimal(rare_stalls, n=10)(start)
    0.0
    """
    thresholds = _time_optimal_thresholds(_hashable(delay), n)

    def rule(progress: Progress) -> float:
        _check_workers(progress, n)
        return thresholds[progress.k - 1]

    return rule


def balanced_threshold(constants: Constants, target: float) -> Rule:
    """max_staleness with k (max_staleness + 1) = sigma2 / eps at the k in force (``schedules.balanced_threshold``).

    A server sees losses, not gradients, so eps = max(``target``, 2 L (loss - F*)) with F* = initial loss - gap.  The
    second is an upper bound on |grad F|^2 of any smooth objective.  So the threshold is low at first, and rises to
    that of the target as the loss falls.
    Source: L-smoothness (Nesterov 2004, Theorem 2.1.5) for the bound; for the rest see ``schedules``.
    Raises ValueError unless target > 0.

    >>> from abs_theory.bounds import Constants
    >>> from simulations.server import Progress
    >>> rule = balanced_threshold(Constants(L=1.0, sigma2=10.0, gap=1.0, c=0.1), target=0.5)
    >>> start = Progress(10, 0, 0.0, 0.0, 2, 3, 0.0, loss=1.0, initial_loss=1.0)
    >>> [rule(start._replace(loss=loss)) for loss in (1.0, 0.5, 0.1)]
    [2.0, 4.0, 9.0]
    """
    check_positive("target", target)

    def rule(progress: Progress) -> float:
        excess = progress.loss - (progress.initial_loss - constants.gap)
        if not math.isfinite(excess):  # diverged
            return progress.max_staleness
        return schedules.balanced_threshold(constants.sigma2, max(target, 2 * constants.L * excess), progress.k)

    return rule


def _threshold_at(max_staleness: Policy, k: int, n: int) -> float:
    if callable(max_staleness):
        max_staleness = max_staleness(Progress(n, 0, 0.0, 0.0, int(k), math.inf, 0.0, 1.0, 1.0))
    return math.inf if max_staleness is None else max_staleness
