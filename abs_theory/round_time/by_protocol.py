"""Expected seconds per round, one function per protocol, named as in ``simulations.protocols``.

``delay`` is one law, or a sequence of n laws, one per worker.  It is the law of one local step where a function takes
``local_steps``, and of the whole task elsewhere.  A round ends with an update of the model.  Infinite means are inf.

Where a function takes ``update_seconds`` (a number or a law), an update lasts, and deliveries queue meanwhile.
"""

import math

from abs_theory import order_stats, steady_state
from abs_theory.checks import check_count, explains_types
from abs_theory.monte_carlo import update_law
from abs_theory.order_stats import renewal
from abs_theory.round_time.stale_synchronous import ssp
from abs_theory.typing import DelayLike, Laws
from abs_theory.workers import as_workers, local_steps_of

__all__ = [
    "abs_sgd",
    "asynchronous",
    "k_async",
    "k_batch_async",
    "k_batch_sync",
    "k_sync",
    "local_sgd",
    "ssp",
    "stsyn",
    "synchronous",
]


def synchronous(delay: Laws, n: int, update_seconds: float | DelayLike = 0.0) -> float:
    """E[X_(n)], and the mean update time: the server waits for all ``n`` workers.

    Source: Dutta et al. (2018), Lemma 3 with K = n.

    >>> from abs_theory.delays import Exponential
    >>> round(synchronous(Exponential(mean=1.0), n=3), 4)  # 1 + 1/2 + 1/3
    1.8333
    """
    return k_sync(delay, n, n, update_seconds)


def k_sync(delay: Laws, k: int, n: int, update_seconds: float | DelayLike = 0.0) -> float:
    """E[X_(k)], and the mean update time: the server waits for ``k`` of ``n`` workers, then all restart.

    Source: Dutta et al. (2018), Lemma 3.
    See also ``k_batch_sync``, in which a fast worker may deliver several of the ``k`` gradients.

    >>> from abs_theory.delays import Exponential
    >>> round(k_sync(Exponential(mean=1.0), k=2, n=3), 4)  # 1/3 + 1/2
    0.8333
    """
    return order_stats.mean(delay, k, n) + _mean_update(update_seconds)


def k_batch_sync(delay: Laws, k: int, n: int, update_seconds: float | DelayLike = 0.0) -> float:
    """The server waits for ``k`` mini-batches from any of the workers, then all restart; ``k`` may exceed ``n``.

    The mean update time is added, as all restart when an update is over.

    It is k / sum of 1 / E[X_i] for exponential delays, equal or not.  For other laws it is the mean time of the k-th
    event of n renewal processes (``renewal.mean_event_time``), exact except for the error of numerical sums.
    Source: Dutta et al. (2018), Lemma 3 of the K-batch-sync kind, for equal exponentials.  Rennala SGD (Tyurin &
    Richtarik 2023) is the same protocol if it stops unfinished work at an update.
    Raises ValueError if sums of a law with atoms take too many different times.

    >>> from abs_theory.delays import Exponential
    >>> k_batch_sync(Exponential(mean=1.0), k=6, n=3)
    2.0
    """
    return renewal.mean_event_time(delay, k, n) + _mean_update(update_seconds)


def k_async(delay: Laws, k: int, n: int, update_seconds: float | DelayLike = 0.0) -> float:
    """The server waits for ``k`` of ``n`` workers, the others go on; exact where known, else approximate.

    It is at least the round of ``k_batch_async``, k / sum of 1 / E[X_i], and equal to it at k = 1.  For exponential
    delays, equal or not, it is E[X_(k)].  ``steady_state.abs_sgd`` gives the method that is used, and its error.
    Source: Dutta et al. (2018), Lemma 5, for exponential delays.

    >>> from abs_theory.delays import Exponential
    >>> round(k_async(Exponential(mean=1.0), k=2, n=3), 4)
    0.8333
    """
    return abs_sgd(delay, k, n, None, update_seconds)


def k_batch_async(delay: Laws, k: int, n: int) -> float:
    """k / sum of 1 / E[X_i], for any laws: no worker ever waits, and every ``k``-th delivery ends a round.

    Source: renewal theorem; Dutta et al. (2018), Lemma 4, for equal workers.
    See also ``steady_state.abs_batch``, for updates that take time.

    >>> from abs_theory.delays import Deterministic, Exponential
    >>> k_batch_async([Deterministic(1.0), Exponential(mean=1.0)], k=4, n=2)
    2.0
    """
    check_count("k", k)
    workers = as_workers(delay, n)
    rate = sum(count / law.mean for law, count in zip(workers.laws, workers.counts, strict=True))
    return float(k / rate) if rate else math.inf


def asynchronous(delay: Laws, n: int, update_seconds: float | DelayLike = 0.0) -> float:
    """1 / sum of 1 / E[X_i], the mean time between two deliveries of the ``n`` workers, for any laws.

    With ``update_seconds`` it is ``k_async`` with k = 1, in which a worker that has delivered waits for the update.

    Source: renewal theorem; Dutta et al. (2018), Lemma 4 with K = 1.

    >>> from abs_theory.delays import Exponential
    >>> round(asynchronous([Exponential(mean=1.0), Exponential(mean=10.0)], n=2), 4)
    0.9091
    """
    return k_batch_async(delay, 1, n) if update_law(update_seconds) is None else k_async(delay, 1, n, update_seconds)


@explains_types
def abs_sgd(delay: Laws, k: int, n: int, max_staleness: float | None, update_seconds: float | DelayLike = 0.0) -> float:
    """K-async in which workers staler than ``max_staleness`` restart; exact where known, else approximate.

    ``steady_state.abs_sgd`` gives the method that is used, its error, and all other long-run averages.

    >>> from abs_theory.delays import HyperExponential
    >>> stalls = HyperExponential(probs=(0.9, 0.1), means=(0.5, 5.5))
    >>> round(abs_sgd(stalls, k=2, n=4, max_staleness=0), 4), round(abs_sgd(stalls, k=2, n=4, max_staleness=None), 4)
    (0.3458, 0.5985)
    """
    return float(steady_state.abs_sgd(delay, k, n, max_staleness, update_seconds=update_seconds).round_time)


def local_sgd(delay: Laws, n: int, local_steps: int, update_seconds: float | DelayLike = 0.0) -> float:
    """The mean largest of ``n`` sums of ``local_steps`` draws, and the mean update time: synchronous rounds.

    Source: Stich (2019) for the protocol.

    >>> from abs_theory.delays import Exponential
    >>> round(local_sgd(Exponential(mean=1.0), n=2, local_steps=2), 9)
    2.75
    """
    return order_stats.mean(local_steps_of(delay, n, local_steps), n, n) + _mean_update(update_seconds)


def stsyn(delay: Laws, k: int, n: int, local_steps: int, update_seconds: float | DelayLike = 0.0) -> float:
    """The mean k-th smallest of ``n`` sums, and the mean update time.

    The round ends when ``k`` workers have done ``local_steps`` steps.

    All workers compute until the end of the round, and all that have done at least one step upload
    (``partial_uploads``).  Source: Zhu et al. (2024), eqs (6)-(8), for equal exponential steps.

    >>> from abs_theory.delays import Exponential
    >>> stsyn(Exponential(mean=1.0), k=1, n=2, local_steps=2)
    1.25
    """
    return order_stats.mean(local_steps_of(delay, n, local_steps), k, n) + _mean_update(update_seconds)


def _mean_update(update_seconds: float | DelayLike) -> float:
    update = update_law(update_seconds)
    return 0.0 if update is None else float(update.mean)
