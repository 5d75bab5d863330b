"""Thresholds from theory: pure functions of ``Progress`` that ask the delay law or the constants before a run."""

import math
from functools import lru_cache

from abs_theory import choose
from abs_theory.bounds import Constants
from abs_theory.checks import check_positive, explains_types
from abs_theory.choose import schedules
from abs_theory.typing import Laws
from simulations.policies.adasync import CACHED_RULES, _hashable
from simulations.policies.plain import Rule, _check_workers
from simulations.server import Progress


@lru_cache(maxsize=CACHED_RULES)
def _time_optimal_thresholds(delay: Laws, n: int) -> tuple[float, ...]:
    return tuple(choose.time_optimal_threshold(delay, k, n) for k in range(1, n + 1))


@explains_types
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
