"""Expected seconds per round, one function per protocol, named as in ``simulations.protocols``.

``delay`` is one law, or a sequence of n laws, one per worker; where a function takes ``local_steps``, it is one local
step, else the whole task.  A round ends with an update of the model.  Infinite means are inf.
"""

import math
from typing import Any

from abs_theory import order_stats, steady_state
from abs_theory.checks import check_count
from abs_theory.round_time import renewal
from abs_theory.round_time.stale_synchronous import ssp
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


def synchronous(delay: Any, n: int) -> float:
    """E[X_(n)]: the server waits for everybody.

    Source: Dutta et al. (2018), Lemma 3 with K = n.
    """
    return order_stats.mean(delay, n, n)


def k_sync(delay: Any, k: int, n: int) -> float:
    """E[X_(k)]: the server waits for ``k`` workers, then all restart.

    Source: Dutta et al. (2018), Lemma 3.
    """
    return order_stats.mean(delay, k, n)


def k_batch_sync(delay: Any, k: int, n: int) -> float:
    """The server waits for ``k`` mini-batches from anybody, then all restart; ``k`` may exceed n.

    k / sum of 1 / E[X_i] for exponential delays, equal or not; else the mean time of the k-th event of n renewal
    processes, exact but for the error of numerical sums (``renewal.mean_event_time``, with its cost and refusals).
    Source: Dutta et al. (2018), Lemma 3 of the K-batch-sync kind, for equal exponentials; Rennala SGD (Tyurin &
    Richtarik 2023), if it stops unfinished work at an update, is the same protocol.
    """
    return renewal.mean_event_time(delay, k, n)


def k_async(delay: Any, k: int, n: int) -> float:
    """The server waits for ``k`` workers, the others go on; exact where known, else approximate.

    At least k / sum of 1 / E[X_i], what ``k_batch_async`` takes, and equal to it at k = 1; E[X_(k)] for exponential
    delays, equal or not.  ``steady_state.abs_sgd`` says which method it takes, and its error.
    Source: Dutta et al. (2018), Lemma 5, for exponential delays.
    """
    return abs_sgd(delay, k, n, None)


def k_batch_async(delay: Any, k: int, n: int) -> float:
    """k / sum of 1 / E[X_i], any laws: nobody ever waits, and every ``k``-th delivery ends a round.

    Source: renewal theorem; Dutta et al. (2018), Lemma 4, for equal workers.
    """
    check_count("k", k)
    workers = as_workers(delay, n)
    rate = sum(count / law.mean for law, count in zip(workers.laws, workers.counts, strict=True))
    return float(k / rate) if rate else math.inf


def asynchronous(delay: Any, n: int) -> float:
    """1 / sum of 1 / E[X_i], the time between two of the n workers' deliveries; any laws.

    Source: renewal theorem; Dutta et al. (2018), Lemma 4 with K = 1.
    """
    return k_batch_async(delay, 1, n)


def abs_sgd(delay: Any, k: int, n: int, max_staleness: float | None) -> float:
    """K-async in which workers staler than ``max_staleness`` restart: exact where known, else approximate.

    ``steady_state.abs_sgd`` says which method it takes, and its error.
    """
    return float(steady_state.abs_sgd(delay, k, n, max_staleness).round_time)


def local_sgd(delay: Any, n: int, local_steps: int) -> float:
    """Synchronous rounds of ``local_steps`` steps of ``delay`` each: E of the largest of n sums."""
    return order_stats.mean(local_steps_of(delay, n, local_steps), n, n)


def stsyn(delay: Any, k: int, n: int, local_steps: int) -> float:
    """E of the k-th smallest of n sums: the round ends when ``k`` workers have done ``local_steps`` steps.

    All workers go on to the end and upload if they have done a step at all: see ``stsyn.uploads``.
    Source: Zhu et al. (2024), eqs (6)-(8), for equal exponential steps.
    """
    return order_stats.mean(local_steps_of(delay, n, local_steps), k, n)
