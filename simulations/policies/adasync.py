"""AdaSync's rule for k and its kin, in which k grows: they ask the delay law or the constants before a run."""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from abs_theory import order_stats, round_time, steady_state
from abs_theory.bounds import Constants
from abs_theory.checks import check_nonnegative, explains_types
from abs_theory.choose import schedules
from abs_theory.typing import Laws
from simulations.policies.plain import Rule, _check_loss, _check_workers, _too_early
from simulations.server import Policy, Progress

CACHED_RULES = 32  # laws and n whose round times are remembered: a sweep makes the same rule many times
ADASYNC = ("k_sync", "k_async", "k_batch_sync", "k_batch_async")


@explains_types
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
    noise = schedules.noise_cost(times, k0)

    def rule(progress: Progress) -> int:
        if progress.updates == 0:
            _check_workers(progress, times.size)
            _check_loss(progress)
            return k0
        if _too_early(progress, interval) or math.isnan(progress.loss):
            return progress.k
        # a noisy loss may go below zero
        ratio = max(progress.loss / progress.initial_loss, 0.0)
        return max(progress.k, int((ratio * times + noise).argmin()) + 1)  # the same as ``schedules.greedy_k``

    return rule


@explains_types
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


@explains_types
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


@explains_types
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


def _hashable(delay: Laws) -> Laws:
    return tuple(delay) if isinstance(delay, Sequence) else delay


def _threshold_at(max_staleness: Policy, k: int, n: int) -> float:
    if callable(max_staleness):
        max_staleness = max_staleness(Progress(n, 0, 0.0, 0.0, int(k), math.inf, 0.0, 1.0, 1.0))
    return math.inf if max_staleness is None else max_staleness
