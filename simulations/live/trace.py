"""The trace of a run: its tasks as ``plan`` reads them; those that were not delivered are censored."""

import numpy as np
import pandas as pd

from abs_theory.checks import explains_types

__all__ = ["as_trace"]

GIVEN_UP = ("restarted", "cut off", "lost")  # outcomes of tasks that were not delivered


@explains_types
def as_trace(rounds: pd.DataFrame, tasks: pd.DataFrame) -> pd.DataFrame:
    """The tasks of one replicate as a trace: one row per attempt, for ``traces.from_frame`` or a CSV file.

    A round is the version of the model that a task began with.  What was delivered has status "ok".  A task that was
    restarted, cut off or lost is "cancelled", and one in progress at the end is "censored": both are right-censored.
    Tasks that began in the last moment of the run are left out.
    ``rounds`` and ``tasks`` are the tables of ``simulate`` or ``live.run``, with ``jobs=True``.  Raises ValueError if
    there is no update.

    >>> from abs_theory.delays import Deterministic
    >>> from abs_theory.traces import from_frame
    >>> from simulations.experiment import simulate
    >>> from simulations.problems import TimingOnly
    >>> from simulations.protocols import k_sync
    >>> laws = [Deterministic(s) for s in (1, 2, 4)]
    >>> tables = simulate(k_sync(2), TimingOnly(), laws, 3, step_size=1.0, num_updates=5, seed=0, jobs=True)
    >>> trace = as_trace(*tables)
    >>> trace["status"].value_counts().to_dict()
    {'ok': 10, 'cancelled': 5}
    """
    if rounds.empty:
        raise ValueError("rounds must have at least one update, got an empty table")
    end = max(tasks["end"].max(), rounds["time"].max())
    delivered = ~tasks["outcome"].isin(GIVEN_UP) & ((tasks["outcome"] != "unfinished") | (tasks["end"] < end))
    status = np.where(delivered, "ok", np.where(tasks["outcome"] == "unfinished", "censored", "cancelled"))
    begun = (tasks["end"] > tasks["start"]).to_numpy()
    applied = tasks["applied_version"] - 1  # the version that a gradient is applied to, not the one it makes
    waited = rounds.set_index("update")["k"]
    return pd.DataFrame(
        {
            "round": tasks["read_version"],
            "worker": tasks["worker"],
            "start": tasks["start"],
            "end": tasks["end"],
            "status": status,
            "k_waited": waited.reindex(tasks["read_version"] + 1).ffill().to_numpy(int),
            "version_read": tasks["read_version"],
            "version_applied": np.where(applied >= 0, applied, tasks["end_version"]),
        }
    )[begun].sort_values(["start", "worker"], ignore_index=True)
