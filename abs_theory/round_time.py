"""Expected seconds per round, one function per protocol, named as in ``simulations.protocols``.  Equal workers.

``steady_state.abs_sgd`` gives the same numbers with their error and everything else about a round.
"""

from abs_theory import order_stats, steady_state
from abs_theory.checks import check_count
from abs_theory.delays import Delay, LocalSteps

__all__ = ["abs_sgd", "asynchronous", "k_async", "k_sync", "local_sgd", "synchronous"]


def synchronous(delay: Delay, n: int) -> float:
    """E[X_(n)]: the server waits for everybody.

    Source: Dutta et al. (2018), Lemma 3 with K = n.
    """
    return order_stats.mean(delay, n, n)


def k_sync(delay: Delay, k: int, n: int) -> float:
    """E[X_(k)]: the server waits for ``k`` workers, then all restart.

    Source: Dutta et al. (2018), Lemma 3.
    """
    return order_stats.mean(delay, k, n)


def k_async(delay: Delay, k: int, n: int) -> float:
    """The server waits for ``k`` workers, the others go on: E[X_(k)] for exponential delays, else by mean field.

    At least k E[X] / n, and equal to it at k = 1.
    Source: Dutta et al. (2018), Lemma 5, for exponential delays; see ``mean_field`` for the others.
    """
    return abs_sgd(delay, k, n, None)


def asynchronous(delay: Delay, n: int) -> float:
    """E[X] / n, the time between two of the n workers' deliveries; any law.

    Source: renewal theorem; Dutta et al. (2018), Lemma 4 with K = 1.
    """
    order_stats.mean(delay, 1, n)  # checks the arguments
    return delay.mean / n


def abs_sgd(delay: Delay, k: int, n: int, max_staleness: float | None) -> float:
    """K-async in which workers staler than ``max_staleness`` restart: exact where known, else by mean field."""
    return steady_state.abs_sgd(delay, k, n, max_staleness).round_time


def local_sgd(delay: Delay, n: int, local_steps: int) -> float:
    """Synchronous rounds of ``local_steps`` steps of ``delay`` each: E of the largest of n sums."""
    check_count("local_steps", local_steps)
    return order_stats.mean(LocalSteps(delay, local_steps), n, n)
