"""Simulated averages that the figures of the theory compare with."""

import math

import pandas as pd
from scipy import stats

from abs_theory.results import Estimate
from abs_theory.typing import Array, DelayLike
from simulations import protocols
from simulations.experiment import simulate
from simulations.problems import TimingOnly


def averages(
    delay: DelayLike,
    k: int,
    n: int,
    max_staleness: float,
    *,
    tasks: int,
    replicates: int,
    seed: int,
    local_steps: int = 1,
) -> dict[str, Estimate]:
    """Round time (s), mean staleness and restarts per round of ABS, by the event simulator.

    Averages over the second half of the ``tasks`` delivered in each replicate, when the start is forgotten.
    ``delay`` is the law of one local step; a task has ``local_steps`` of them.
    """
    updates = max(tasks // k, 4)
    rounds = simulate(
        protocols.abs_sgd(k, max_staleness), TimingOnly(), delay, n, step_size=1.0, num_updates=updates,
        replicates=replicates, seed=seed, local_steps=local_steps, n_jobs=1,
    )  # fmt: skip
    rounds["round_time"] = rounds.groupby("replicate")["time"].diff()
    late = rounds[rounds["update"] > updates // 2].groupby("replicate")
    means = late[["round_time", "mean_staleness", "restarts"]].mean()
    return {str(name): Estimate.of(values) for name, values in means.items()}


def staleness(
    delay: DelayLike,
    k: int,
    n: int,
    max_staleness: float,
    *,
    tasks: int,
    replicates: int,
    seed: int,
    local_steps: int = 1,
) -> Array:
    """Share of the applied gradients with staleness 0, 1, ..., shape (replicates, ...); arguments as ``averages``."""
    updates = max(tasks // k, 4)
    _, jobs = simulate(
        protocols.abs_sgd(k, max_staleness), TimingOnly(), delay, n, step_size=1.0, num_updates=updates,
        replicates=replicates, seed=seed, local_steps=local_steps, n_jobs=1, jobs=True,
    )  # fmt: skip
    applied = jobs[jobs["applied_version"] > updates // 2]
    stale = applied["applied_version"] - 1 - applied["read_version"]
    counts = pd.crosstab(applied["replicate"], stale).reindex(columns=range(int(stale.max()) + 1), fill_value=0)
    return counts.to_numpy() / counts.to_numpy().sum(axis=1, keepdims=True)


def half_widths(samples: Array) -> Array:
    """95 % half-widths of the means over the first axis, by Student's t."""
    replicates = len(samples)
    return float(stats.t.isf(0.025, replicates - 1)) / math.sqrt(replicates) * samples.std(axis=0, ddof=1)
