"""What the figures of the theory share: a law of each ageing, averages of simulated rounds, and how both are drawn."""

from typing import Any

import numpy as np
import pandas as pd

from abs_theory.results import Estimate
from simulations import protocols
from simulations.experiment import simulate
from simulations.problems import TimingOnly

# ---------------------------------------------------------------------- simulation


def averages(
    delay: Any, k: int, n: int, max_staleness: float, *, tasks: int, replicates: int, seed: int, local_steps: int = 1
) -> dict[str, Estimate]:
    """Round time (s), mean staleness and restarts per round of ABS, by the event simulator.

    Over the second half of ``tasks`` delivered tasks in each replicate, so that the fresh start is forgotten;
    ``delay`` is one of the ``local_steps`` of a task.
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
    delay: Any, k: int, n: int, max_staleness: float, *, tasks: int, replicates: int, seed: int, local_steps: int = 1
) -> np.ndarray:
    """Share of the applied gradients that have staleness 0, 1, ..., shape (replicates, ...); as ``averages``."""
    updates = max(tasks // k, 4)
    _, jobs = simulate(
        protocols.abs_sgd(k, max_staleness), TimingOnly(), delay, n, step_size=1.0, num_updates=updates,
        replicates=replicates, seed=seed, local_steps=local_steps, n_jobs=1, jobs=True,
    )  # fmt: skip
    applied = jobs[jobs["applied_version"] > updates // 2]
    stale = applied["applied_version"] - 1 - applied["read_version"]
    counts = pd.crosstab(applied["replicate"], stale).reindex(columns=range(int(stale.max()) + 1), fill_value=0)
    return counts.to_numpy() / counts.to_numpy().sum(axis=1, keepdims=True)


# ---------------------------------------------------------------------- drawing
