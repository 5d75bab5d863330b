"""What can be drawn: the tables of ``simulate`` and of sweeps, brought into one form, under names."""

from collections.abc import Mapping
from typing import NamedTuple

import pandas as pd

from abs_theory.checks import explains_types
from simulations.problems import Problem, loss_at, metrics_at
from simulations.record import COUNTS
from simulations.sweeps import execution

__all__ = ["NamedRuns", "Results", "Runs", "metrics_of", "named_runs", "with_start"]


class Runs(NamedTuple):
    """The runs of one method: all replicates of one call of ``simulate``, or of one cell of a sweep."""

    rounds: pd.DataFrame  #: one row per update
    tasks: pd.DataFrame | None  #: one row per task, if it was asked for (``jobs=True``)


Results = pd.DataFrame | tuple[pd.DataFrame, pd.DataFrame] | Runs | execution.Outcome
NamedRuns = Mapping[str, Results]


@explains_types
def named_runs(results: Results | NamedRuns) -> dict[str, Runs]:
    """The runs by name.  A sweep has a name for each cell, made of the values in which cells differ.

    ``results`` is what ``simulate`` or ``run_sweep`` returns, the table of a sweep (with its column ``cell``), or a
    mapping of names to these.  Raises ValueError for anything else, and for tables without rows.

    >>> from simulations.sweeps import Sweep, run_sweep
    >>> base = {"n": 2, "delay": "exponential:mean=1", "problem": "TimingOnly", "protocol": {"name": "k_sync", "k": 1},
    ...         "step_size": 1.0, "num_updates": 3, "seed": 0}
    >>> outcome = run_sweep(Sweep(base, {"protocol.k": [1, 2]}), n_jobs=1)
    >>> list(named_runs(outcome)), list(named_runs({"mine": outcome.table}))
    (['k=1', 'k=2'], ['mine: k=1', 'mine: k=2'])
    """
    if not isinstance(results, Mapping):
        return _by_cell("", results)
    if not results:
        raise ValueError("give at least one run, such as {'ABS': simulate(...)}")
    runs: dict[str, Runs] = {}
    for name, result in results.items():
        runs |= _by_cell(str(name), result)
    return runs


def _by_cell(name: str, result: Results) -> dict[str, Runs]:
    rounds, tasks = _tables(name, result)
    if "cell" not in rounds:
        return {name: Runs(rounds, tasks)}
    runs = {}
    for cell, rows in rounds.groupby("cell", sort=True):
        end = list(rows.columns).index("replicate")
        values = {str(key): column.iloc[0] for key, column in rows.iloc[:1, 1:end].items()}  # each of its own type
        words = ", ".join(f"{key.rpartition('.')[2]}={value}" for key, value in values.items() if pd.notna(value))
        label = words or f"cell {cell}"
        label = f"{name}: {label}" if name else label
        of_cell = None if tasks is None else tasks[tasks["cell"] == cell]
        runs[label if label not in runs else f"{label} (cell {cell})"] = Runs(rows, of_cell)
    return runs


def _tables(name: str, result: Results) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    if isinstance(result, execution.Outcome):
        rounds, tasks = result.table, result.tasks
    elif isinstance(result, tuple) and len(result) == 2:
        rounds, tasks = result
    else:
        rounds, tasks = result, None
    of = f" of {name!r}" if name else ""
    if not isinstance(rounds, pd.DataFrame) or not {"replicate", "update", "time"} <= set(rounds.columns):
        raise ValueError(
            f"the runs{of} must be a table with a row per update, as simulate and run_sweep return it, got "
            f"{type(rounds).__name__}"
            + (f" with columns {', '.join(map(str, rounds.columns[:6]))}" if isinstance(rounds, pd.DataFrame) else "")
        )
    if rounds.empty:
        raise ValueError(f"the runs{of} made no update: give a longer time_budget")
    return rounds, tasks


def metrics_of(rounds: pd.DataFrame) -> list[str]:
    """The columns with evaluations of the model: the loss and the metrics of the problem."""
    columns = list(rounds.columns)
    after = columns[columns.index("loss") :] if "loss" in columns else []
    return [column for column in after if rounds[column].notna().any()]


@explains_types
def with_start(rounds: pd.DataFrame, problem: Problem) -> pd.DataFrame:
    """The runs of one method, each with a first row for the initial model of ``problem``: update 0 at time 0.

    >>> from abs_theory.delays import Exponential
    >>> from simulations.experiment import simulate
    >>> from simulations.problems import NoisyQuadratic
    >>> from simulations.protocols import k_sync
    >>> problem = NoisyQuadratic((1.0,), sigma2=0.0)
    >>> run = simulate(k_sync(1), problem, Exponential(1.0), 2, step_size=0.5, num_updates=2, seed=0)
    >>> with_start(run, problem)[["update", "time", "loss"]].iloc[0].tolist()
    [0.0, 0.0, 0.5]
    """
    first = rounds.groupby("replicate").head(1)
    values = {"loss": loss_at(problem, problem.initial), **metrics_at(problem, problem.initial)}
    zeros = dict.fromkeys(["update", "time", *COUNTS, "mean_staleness"], 0)
    return pd.concat([first.assign(**zeros, **values), rounds]).sort_values(["replicate", "update"], ignore_index=True)
