"""Policies that use ``Progress`` alone: pure functions.

A number is a constant policy, so constants need no factory; ``math.inf`` as a threshold means none.
"""

import math
from collections.abc import Callable

from abs_theory.checks import check_count, check_nonnegative, check_positive, explains_types
from simulations.server import Progress

Rule = Callable[[Progress], float]


@explains_types
def every_worker(progress: Progress) -> int:
    """k = n: wait for all workers.

    >>> from simulations.server import Progress
    >>> start = Progress(20, 0, 0.0, 0.0, 1, 3, 0.0, 1.0, 1.0)
    >>> every_worker(start)
    20
    """
    return progress.n


def all_but(spare: int) -> Rule:
    """k = n - ``spare``: do not wait for the last ``spare`` workers.

    A run raises ValueError unless at least one worker is left.

    >>> from simulations.server import Progress
    >>> start = Progress(20, 0, 0.0, 0.0, 1, 3, 0.0, 1.0, 1.0)
    >>> all_but(3)(start)
    17
    """
    check_count("spare", spare, minimum=0)

    def k(progress: Progress) -> int:
        if progress.n <= spare:
            raise ValueError(f"spare must be less than the number of workers, got spare={spare} with n={progress.n}")
        return progress.n - spare

    return k


def loss_ratio(k0: int) -> Rule:
    """k = running maximum of floor(k0 F(w_0) / F(w_t)), at most n.

    Source: the rule of the public code of Zhu, Zhang & Wang (2024, STSyn); part of our reconstruction of ABS.
    Raises ValueError unless k0 > 0, and in a run unless F(w_0) > 0.
    See also ``greedy_bound``, which takes the round times into account.

    >>> from simulations.server import Progress
    >>> start = Progress(20, 0, 0.0, 0.0, 1, 3, 0.0, 1.0, 1.0)
    >>> [loss_ratio(2)(start._replace(loss=loss)) for loss in (1.0, 0.5, 0.1, 0.01)]
    [2, 4, 20, 20]
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
    """Raise k from ``k0`` by ``raise_by`` whenever successive steps oppose each other: then they are mostly noise.

    A step opposes the previous one if their scalar product is negative.  k rises, up to n, when at least ``burn_in``
    updates have been made since it last changed, and at least ``threshold`` more of these opposed the previous one
    than followed it.
    Source: Kas Hanna et al. (2020, arXiv 2208.03134), after Pflug (1990).
    Raises ValueError unless all four are counts >= 1.

    >>> from simulations.server import Progress
    >>> later = Progress(20, 50, 0.0, 0.0, 4, 0, 0.0, 1.0, 1.0, k_updates=30, k_reversals=12)
    >>> pflug_rule(1, raise_by=2, threshold=10, burn_in=20)(later)
    6
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
    """Local steps = ceil(``steps0`` sqrt(F(w_t) / F(w_0))), never increasing.

    With ``interval`` > 0 it decides only at the first update after each multiple of ``interval`` seconds.
    Source: Wang & Joshi (2019, MLSys; AdaComm).
    Raises ValueError unless steps0 is a count >= 1 and interval >= 0, and in a run unless F(w_0) > 0.

    >>> from simulations.server import Progress
    >>> later = Progress(20, 50, 0.0, 0.0, 20, 0, 0.0, loss=0.25, initial_loss=1.0, local_steps=8)
    >>> adacomm_rule(8)(later)
    4
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
    """max_staleness = ceil(c (n - k) / k): c times the exact mean staleness of K-async at the k in force.

    Part of our reconstruction of ABS.  The threshold is high while k is small and low when k is large.
    Raises ValueError unless c > 0.
    See also ``time_optimal``, which asks the delay law.

    >>> from simulations.server import Progress
    >>> start = Progress(20, 0, 0.0, 0.0, 1, 3, 0.0, 1.0, 1.0)
    >>> [relative_to_mean()(start._replace(k=k)) for k in (1, 5, 20)]
    [19, 3, 0]
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
