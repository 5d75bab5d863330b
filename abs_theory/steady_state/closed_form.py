r"""Exact steady state of ABS where a round starts as if all tasks were fresh, so that rounds are independent.

This holds for memoryless delays, for k = n (nobody is late) and for max_staleness = 0 (all restart).  Worker i is among
the first K of a round with probability p_i, independently of all other rounds; with q_i = 1 - p_i its staleness is a
geometric number given that it is at most theta:

.. math:: P(\tau_i = j) = \frac{p_i q_i^j}{1 - q_i^{\theta+1}}, \qquad
          R = \sum_i p_i \frac{q_i^{\theta+1}}{1 - q_i^{\theta+1}}

A restart throws away theta + 1 rounds in which the worker was not among the first, of mean length
E[T; i late] / q_i.  The share of idle time is sum_{j <= K} (E[X_(K)] - E[X_(j)]) / (n E[X_(K)]).
Source: derived in notebooks/proofs/staleness.ipynb (equal) and exact_chain.ipynb (unequal workers); round time:
Dutta et al. (2018), Lemmas 3 and 5.
"""

import math

import numpy as np
from numpy.typing import NDArray

from abs_theory import order_stats
from abs_theory.delays import Exponential
from abs_theory.order_stats import counts, over_time
from abs_theory.results import SteadyState
from abs_theory.typing import Array
from abs_theory.workers import Workers

__all__ = ["applies", "steady_state"]


NEGLIGIBLE_MASS, MOST_ENTRIES = 1e-9, 4096  # a staleness law ends where less mass remains, or after so many entries
LEAST_PROBABILITY = 1e-300  # smallest probability to be among the first


def applies(workers: Workers, k: int, max_staleness: float) -> bool:
    """Whether the formulas are exact."""
    return k == workers.n or max_staleness == 0 or all(isinstance(law, Exponential) for law in workers.laws)


def steady_state(workers: Workers, k: NDArray[np.int64], max_staleness: Array) -> SteadyState:
    """Steady state for an array of cells (``k``, ``max_staleness``; inf is no bound) in which the formulas apply.

    Cost: the mean order statistics; for unequal workers also two integrals like theirs for each different ``k``.
    An infinite mean of the k-th delay makes an infinite round time.
    """
    n, size = workers.n, np.array(workers.counts)
    means = order_stats.means(workers, n)
    participation = np.empty((k.size, n))
    first, late_share = np.empty((2, k.size, len(size)))
    for number in np.unique(k):
        p, of_workers, late = _among_the_first(workers, int(number), float(means[number - 1]))
        first[k == number], participation[k == number], late_share[k == number] = p, of_workers, late

    attempts = max_staleness[:, None] + 1
    log_q = np.log1p(-np.clip(first, LEAST_PROBABILITY, 1 - 1e-16))
    log_q[k == n] = -1 / LEAST_PROBABILITY
    with np.errstate(over="ignore"):  # so many attempts that none is cut
        cut = np.exp(attempts * log_q)
        delivered = -np.expm1(attempts * log_q)
    restarts = size * first * cut / delivered  # of each group
    dropped = np.where(np.isinf(attempts), 0.0, attempts) * restarts  # rounds

    enough = np.max(math.log(NEGLIGIBLE_MASS) / np.minimum(log_q, -LEAST_PROBABILITY))
    entries = int(min(attempts.max(), MOST_ENTRIES, math.ceil(enough) + 1))
    survive = np.exp(np.minimum(np.arange(entries + 1), attempts[..., None]) * log_q[..., None])
    survive[..., 0], survive[..., -1] = 1.0, cut
    pmf = (survive[..., :-1] - survive[..., 1:]) / delivered[..., None]
    pmf = np.einsum("cg,cgj->cj", size * first / k[:, None], pmf)

    last = means[k - 1]
    # finishing before a time of infinite mean is to idle all the round
    early = np.where(np.isinf(last), 1.0, np.cumsum(np.where(np.isinf(means), 0.0, means))[k - 1] / last)
    numbers = {
        "round_time": last,
        # fresh, not the rounding of a difference, where all restart
        "mean_staleness": np.where(max_staleness == 0, 0.0, (n - k - dropped.sum(axis=1)) / k),
        "staleness_pmf": pmf,
        "restarts": restarts.sum(axis=1),
        "uplinks": k.astype(float),
        "downlinks": k + restarts.sum(axis=1),
        "idle_fraction": (k - early) / n,
        "wasted_fraction": (dropped * late_share).sum(axis=1) / n,
        "participation": participation,
    }
    return SteadyState(**numbers, error=SteadyState(**{name: np.zeros_like(x) for name, x in numbers.items()}))


def _among_the_first(workers: Workers, k: int, round_time: float) -> tuple[Array, Array, Array]:
    """P(among the first ``k``) of each group and of each worker, and E[T | a worker of the group is late] / E[T].

    An exponential worker works E[min(X, T)] = p E[X] a round, of which E[X; among the first] in time to be applied.
    Where all tasks are fresh in every round, the group and the length of its late rounds make no difference to sums.
    """
    n = workers.n
    of_workers = order_stats.first_k_probabilities(workers, k, n)
    if workers.equal or k == n or not all(isinstance(law, Exponential) for law in workers.laws):
        return np.full(len(workers.laws), k / n), of_workers, np.ones(len(workers.laws))
    p = np.bincount(workers.group, of_workers) / workers.counts
    scale = np.array([law.mean for law in workers.laws])

    def in_time(t: Array) -> Array:
        return t * counts.first_of_others(workers, k, t)

    applied = over_time.law_integral(workers, in_time, over_time.edges(workers, latest=1e300))
    late = np.maximum(p * scale - applied, 0.0)
    return p, of_workers, np.where(p < 1, late / (np.maximum(1 - p, LEAST_PROBABILITY) * round_time), 1.0)
