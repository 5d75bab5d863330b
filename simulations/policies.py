"""How k, the threshold and the step move: pure functions of ``Progress``.

A number is a constant policy, so constants need no factory; ``math.inf`` as a threshold means none.
"""

import math
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from numpy.typing import ArrayLike

from abs_theory import choose, order_stats, round_time, schedules, steady_state
from abs_theory.bounds import Constants
from abs_theory.checks import check_count, check_nonnegative, check_positive
from abs_theory.delays import Delay
from simulations.server import Policy, Progress

Rule = Callable[[Progress], float]
Delays = Delay | Sequence[Delay]  # one law for all workers, or one for each
ADASYNC = ("k_sync", "k_async", "k_batch_sync", "k_batch_async")


# ---------------------------------------------------------------------- k
def every_worker(progress: Progress) -> int:
    """k = n: wait for everybody."""
    return progress.n


def all_but(spare: int) -> Rule:
    """k = n - ``spare``.  Raises ValueError in the run unless at least one worker is left."""
    check_count("spare", spare, minimum=0)
    return lambda progress: progress.n - spare


def loss_ratio(k0: int) -> Rule:
    """Running maximum of floor(k0 F(w_0) / F(w_t)), capped at n.

    Source: the rule of the public code of Zhu, Zhang & Wang (2024, STSyn); part of our reconstruction of ABS.
    """
    check_positive("k0", k0)

    def rule(progress: Progress) -> int:
        _check_loss(progress)
        if math.isnan(progress.loss):  # diverged
            return progress.k
        if progress.loss * progress.n <= k0 * progress.initial_loss:
            return progress.n
        return max(progress.k, math.floor(k0 * progress.initial_loss / progress.loss))

    return rule


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


def adasync_rule(delay: Delays, n: int, k0: int, protocol: str = "k_async", interval: float = 0.0) -> Rule:
    """AdaSync's k: ``greedy_bound`` on the round time of a ``protocol`` (Dutta, Wang & Joshi 2021).

    One of "k_sync", "k_async", "k_batch_sync", "k_batch_async".
    """
    if protocol not in ADASYNC:
        raise ValueError(f"protocol must be one of {', '.join(ADASYNC)}, got {protocol!r}")
    return greedy_bound(_round_times(_hashable(delay), n, protocol), k0, interval)


def abs_rule(delay: Delays, n: int, k0: int, max_staleness: Policy, interval: float = 0.0) -> Rule:
    """ABS's default k: ``greedy_bound`` on the round time of ABS with its own threshold at each k."""
    thresholds = tuple(float(_threshold_at(max_staleness, k, n)) for k in range(1, n + 1))
    return greedy_bound(_abs_round_times(_hashable(delay), n, thresholds), k0, interval)


def switching_times(constants: Constants, step_size: float, delay: Delays, n: int) -> Rule:
    """Fastest-k: k grows at fixed times so that the bound of K-sync falls fastest (``schedules.switching_times``).

    Source: Kas Hanna et al. (2020, ICASSP; arXiv 2208.03134), Theorem 2, whose round times are exponential; here of any
    law, one or n.  Needs a strongly convex objective (c > 0); values of k that never come to an end are left out.
    """
    starts = schedules.switching_times(constants, step_size, order_stats.means(delay, n))

    def rule(progress: Progress) -> int:
        _check_workers(progress, n)
        return int(np.searchsorted(starts, progress.time, side="right"))

    return rule


def pflug_rule(k0: int, raise_by: int, threshold: int, burn_in: int) -> Rule:
    """Raise k from ``k0`` by ``raise_by`` once steps oppose each other: then they are mostly noise.

    That is when, since k last changed, at least ``threshold`` more steps opposed the one before than followed it, and
    not before ``burn_in`` updates.
    Source: Kas Hanna et al. (2020, arXiv 2208.03134), after Pflug (1990).
    """
    for name, value in (("k0", k0), ("raise_by", raise_by), ("threshold", threshold), ("burn_in", burn_in)):
        check_count(name, value)

    def rule(progress: Progress) -> int:
        if progress.updates == 0:
            return k0
        if progress.k_updates >= burn_in and progress.k_reversals >= threshold:
            return min(progress.k + raise_by, progress.n)
        return progress.k

    return rule


@cache
def _round_times(delay: Delays, n: int, protocol: str) -> np.ndarray:
    if protocol == "k_sync":
        return order_stats.means(delay, n)
    if protocol == "k_async":
        return _abs_round_times(delay, n, (math.inf,) * n)
    return np.array([getattr(round_time, protocol)(delay, k, n) for k in range(1, n + 1)])


@cache
def _abs_round_times(delay: Delays, n: int, thresholds: tuple[float, ...]) -> np.ndarray:
    return np.asarray(steady_state.abs_sgd(delay, np.arange(1, n + 1), n, np.array(thresholds)).round_time)


# ---------------------------------------------------------------------- local steps
def adacomm_rule(steps0: int, interval: float = 0.0) -> Rule:
    """Local steps ceil(``steps0`` sqrt(F(w_t) / F(w_0))), never increasing: often alone at first, together at last.

    With ``interval`` > 0 it decides only at the first update after each multiple of ``interval`` seconds.
    Source: Wang & Joshi (2019, MLSys; AdaComm).
    """
    check_count("steps0", steps0)
    check_nonnegative("interval", interval)

    def rule(progress: Progress) -> int:
        _check_loss(progress)
        if progress.updates == 0:
            return steps0
        if _too_early(progress, interval) or math.isnan(progress.loss):
            return progress.local_steps
        steps = math.ceil(steps0 * math.sqrt(max(progress.loss / progress.initial_loss, 0.0)))
        return min(progress.local_steps, max(steps, 1))

    return rule


# ---------------------------------------------------------------------- the threshold
def relative_to_mean(c: float = 1.0) -> Rule:
    """max_staleness = ceil(c (n - k) / k): c times the exact mean staleness of K-async at this k.

    Part of our reconstruction of ABS: tolerant while k is small, strict when k is large.
    """
    check_positive("c", c)
    return lambda progress: math.ceil(c * (progress.n - progress.k) / progress.k)


def time_optimal(delay: Delays, n: int) -> Rule:
    """The threshold that makes rounds shortest at the k in force (``choose.time_optimal_threshold``)."""
    thresholds = _time_optimal_thresholds(_hashable(delay), n)

    def rule(progress: Progress) -> float:
        _check_workers(progress, n)
        return thresholds[progress.k - 1]

    return rule


@cache
def _time_optimal_thresholds(delay: Delays, n: int) -> tuple[float, ...]:
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


# ---------------------------------------------------------------------- inside
def _hashable(delay: Delays) -> Delays:
    return tuple(delay) if isinstance(delay, Sequence) else delay


def _too_early(progress: Progress, interval: float) -> bool:
    return interval > 0 and progress.time // interval == progress.decided // interval


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
