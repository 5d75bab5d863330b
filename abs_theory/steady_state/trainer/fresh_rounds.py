r"""Rounds in which all slots begin together, because every late task is stopped when an update is over: exact.

A task runs until it is done, or until the update is over.  With N_i(t) the number of the other tasks that are done by
t, the late tasks run for

.. math:: \sum_i \int_0^\infty P(N_i(t) \ge k)\, \big(S_i(t) - E\,S_i(t + T)\big)\,dt

seconds in all while the server updates for T seconds: task i is late by u if k others are done before it ends at t + u.
Source: the definition, integrated by parts.
"""

import math

import numpy as np

from abs_theory import order_stats
from abs_theory.delays import Delay
from abs_theory.delays.numerics import binomial
from abs_theory.order_stats import counts, over_time
from abs_theory.results import TrainerState
from abs_theory.steady_state.trainer import nodes
from abs_theory.steady_state.trainer.arrays import shares_by_length, shares_of_first
from abs_theory.steady_state.trainer.errors import with_error
from abs_theory.typing import Array
from abs_theory.workers import Workers

__all__ = ["fresh_rounds", "late_seconds"]


def fresh_rounds(workers: Workers, k: int, update: Delay) -> TrainerState:
    """Steady state of threshold 0 if updates take time, for ``k`` < n; all but ``shares`` of unequal slots is exact.

    >>> from abs_theory.delays import Deterministic, Exponential
    >>> from abs_theory.workers import as_workers
    >>> state = fresh_rounds(as_workers(Exponential(1.0), 2), 1, Deterministic(0.5))
    >>> state.round_time, round(state.idle_fraction, 6)  # (1/2 + 1/2 - (1 - exp(-1/2))) / 2
    (1.0, 0.303265)
    """
    n, T, means = workers.n, float(update.mean), order_stats.means(workers, workers.n)
    first, useful = float(means[k - 1]), float(means[:k].sum())
    if math.isinf(first):  # in the long run, all time belongs to endless rounds
        idle, wasted = (k - 1) / n, (n - k) / n
    else:
        wasted = (n - k) * first + late_seconds(workers, k, update)
        idle, wasted = 1 - (useful + wasted) / (n * (first + T)), wasted / (n * (first + T))
    if workers.equal:
        shares = shares_of_first(workers.laws[0], k, n)
    else:
        quantiles, weights = nodes.of_quantiles()
        shares = shares_by_length([order_stats.ppf(workers, k, n, quantiles)], [weights])
    state = TrainerState(
        round_time=first + T, mean_staleness=0.0, staleness_pmf=np.ones(1), restarts=float(n - k), uplinks=float(k),
        downlinks=float(n), idle_fraction=max(idle, 0.0), wasted_fraction=wasted,
        participation=order_stats.first_k_probabilities(workers, k, n), trainer_busy=T / (first + T),
        trained_length=useful / k, shares=shares, method="exact",
    )  # fmt: skip
    return with_error(state)


def late_seconds(workers: Workers, k: int, update: Delay) -> float:
    """Mean seconds for which all the late tasks of a round run while the server updates.

    >>> from abs_theory.delays import Deterministic, Exponential
    >>> from abs_theory.workers import as_workers
    >>> round(late_seconds(as_workers(Exponential(1.0), 4), 2, Deterministic(0.5)), 9)  # 2 (1 - exp(-1/2))
    0.786938681
    """
    seconds, weights = nodes.of_law(update)
    breaks = np.concatenate([np.asarray(law.breaks, float) for law in workers.laws])
    earlier = np.subtract.outer(breaks[np.isfinite(breaks)], seconds).ravel()
    cuts = np.unique(np.concatenate([over_time.edges(workers), earlier[earlier > 0]]))
    sizes = np.array(workers.counts, float)

    def enough(t: Array) -> Array:
        """P(k of the others are done), for a task of each group."""
        if workers.equal:
            law = workers.laws[0]
            return binomial.at_least(k, workers.n - 1, law.cdf(t), law.sf(t))[None]
        return 1 - counts.first_of_others(workers, k, t)

    def rule(low: Array, high: Array) -> Array:
        times, dt = over_time.nodes(low, high)
        t = times.ravel()
        ends = np.array([law.sf(t) - weights @ law.sf(np.add.outer(seconds, t)) for law in workers.laws])
        return ((sizes @ (enough(t) * ends)).reshape(times.shape) * dt).sum(axis=1)[None]

    return float(over_time.refine(rule, cuts[:-1], cuts[1:], over_time.noise(workers))[0])
