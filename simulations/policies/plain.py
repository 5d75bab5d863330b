"""How k, the threshold and the local steps move, from ``Progress`` alone: pure functions.

A number is a constant policy, so constants need no factory; ``math.inf`` as a threshold means none.
"""

import math
from collections.abc import Callable

from abs_theory.checks import check_count, check_nonnegative, check_positive
from simulations.server import Progress

Rule = Callable[[Progress], float]


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


def relative_to_mean(c: float = 1.0) -> Rule:
    """max_staleness = ceil(c (n - k) / k): c times the exact mean staleness of K-async at this k.

    Part of our reconstruction of ABS: tolerant while k is small, strict when k is large.
    """
    check_positive("c", c)
    return lambda progress: math.ceil(c * (progress.n - progress.k) / progress.k)


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
