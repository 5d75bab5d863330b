"""One row per cell of a sweep: time and messages to a target, final loss, staleness, restarts, unused work."""

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from abs_theory.checks import explains_types
from abs_theory.results import percent
from simulations.experiment import Experiment
from simulations.record import diverged, median, to_target, with_totals
from simulations.sweeps import Sweep, execution, label

__all__ = [
    "CONFIGURED",
    "CellRuns",
    "about_results",
    "cells_of",
    "results",
    "results_text",
    "shown_results",
    "target_of",
]

MOST_LETTERS = 20  # of one value in a picture
CONFIGURED = "the target of the configuration"
FEWEST_RUNS = 6  # of a 95 % interval; the range of r runs holds the median with probability 1 - 2**(1 - r)
Target = tuple[str, float]  # a column and the value to reach
NAMES = {  # what the printed table calls its columns
    "reached": "reached", "time": "seconds", "update": "rounds",
    "communication": "messages", "loss": "final loss", "staleness": "staleness", "restarts": "restarts",
    "unused": "unused",
}  # fmt: skip


class CellRuns(NamedTuple):
    """The finished runs of one cell."""

    number: int  #: its number in the sweep
    name: str  #: the values in which it differs from the others
    short: str  #: its number, and the names of what these values name, for pictures
    experiment: Experiment  #: what was run
    rounds: pd.DataFrame  #: one row per update; empty if no run is finished, or none made an update
    tasks: pd.DataFrame | None  #: one row per task, if the experiment asked for it
    finished: tuple[int, ...]  #: the replicates that are finished; those that made no update have no rows


def cells_of(sweep: Sweep, outcome: execution.Outcome) -> Iterator[CellRuns]:
    """The runs of each cell, in the order of the sweep."""
    for number, (changed, experiment) in enumerate(sweep.experiments):
        values = {key.removeprefix("protocol."): label(value) for key, value in changed.items() if value is not None}
        name = ", ".join(f"{key}={value}" for key, value in values.items())
        short = ", ".join(dict.fromkeys(_short(key, value) for key, value in values.items()))
        rounds, tasks = (
            table if table is None or "cell" not in table else table[table["cell"] == number]
            for table in (outcome.table, outcome.tasks)
        )
        assert rounds is not None
        count = int(outcome.cells["finished"][number])
        missing = len(experiment.which) - count  # which of them failed is not kept: those with rows did not
        with_rows = set(rounds["replicate"].unique()) if len(rounds) else set()
        others = [replicate for replicate in experiment.which if replicate not in with_rows]
        finished = sorted({*with_rows, *others[: max(len(others) - missing, 0)]})
        if not name:
            name = short = (
                experiment.protocol if isinstance(experiment.protocol, str) else str(experiment.protocol["name"])
            )
        else:
            short = f"{number}: {short}"
        yield CellRuns(number, name, short, experiment, rounds, tasks, tuple(finished))


@explains_types
def target_of(sweep: Sweep, outcome: execution.Outcome) -> tuple[Target | None, str]:
    """The target that times are measured to, and where it comes from, in words.

    It is the target of the configuration, if all cells have the same.  Otherwise it is the loss that half of the runs
    of every cell have reached at their end (cells of which half diverged are left out).  None for a single experiment
    without a target, and if nothing was trained.

    >>> base = {"n": 2, "delay": "exponential:mean=1", "problem": "TimingOnly", "protocol": {"name": "k_sync", "k": 1},
    ...         "step_size": 1.0, "num_updates": 3, "seed": 0}
    >>> from simulations.sweeps import run_sweep
    >>> target_of(Sweep(base), run_sweep(Sweep(base), n_jobs=1))
    (None, '')
    """
    given = {cell.experiment.target for cell in sweep.experiments}
    if len(given) == 1 and (target := given.pop()) is not None:
        return target, CONFIGURED
    if len(sweep.experiments) == 1:
        return None, ""
    finals = [_final_losses(cell.rounds) for cell in cells_of(sweep, outcome) if len(cell.rounds)]
    medians = [float(np.quantile(losses, 0.5, method="inverted_cdf")) for losses in finals if len(losses)]
    finite = [loss for loss in medians if math.isfinite(loss)]
    if not finite or max(finite) == min(map(float, map(min, finals))) == 0.0:
        return None, ""
    return ("loss", _rounded_up(max(finite))), "which half of the runs of every cell have reached at their end"


@explains_types
def results(sweep: Sweep, outcome: execution.Outcome, target: Target | None = None) -> pd.DataFrame:
    """One row per cell of a sweep.

    - ``cell`` is its number, ``name`` says in which values it differs from the others;
    - ``reached`` of ``finished`` runs reached the ``target``, a column and a value (None: these columns are left out);
      ``time`` (s), ``update`` and ``communication`` (messages) are Kaplan-Meier medians over all of them, with
      ``time_low`` and ``time_high`` the 95 % interval, of fewer than 6 runs their range; inf: not reached, NaN:
      no run is finished.  A run that missed the target counts as longer than it was watched, and a run that made no
      update is a miss, too;
    - ``loss``: median over runs of the loss at their end, inf if half of them diverged (``diverged`` counts them);
    - ``staleness``: mean over the gradients applied, in updates; ``restarts``: workers per update;
    - ``unused``: share of the seconds that workers computed whose result was not used.

    >>> base = {"n": 2, "delay": "exponential:mean=1", "problem": "TimingOnly", "protocol": {"name": "k_sync", "k": 1},
    ...         "step_size": 1.0, "num_updates": 300, "seed": 0}
    >>> from simulations.sweeps import run_sweep
    >>> sweep = Sweep(base, {"protocol.k": [1, 2]})
    >>> results(sweep, run_sweep(sweep, n_jobs=1))[["cell", "name", "finished", "staleness", "restarts"]]
       cell name  finished  staleness  restarts
    0     0  k=1         1        0.0       1.0
    1     1  k=2         1        0.0       0.0
    """
    rows = []
    for cell in cells_of(sweep, outcome):
        rounds = cell.rounds
        row: dict[str, object] = {"cell": cell.number, "name": cell.name, "finished": len(cell.finished), "diverged": 0}
        if target is not None:
            row |= _to_target(cell, target)
        if rounds.empty:
            rows.append(row)
            continue
        losses = _final_losses(rounds)
        row["diverged"] = int(diverged(rounds).sum())
        row["loss"] = float(np.quantile(losses, 0.5, method="inverted_cdf")) if len(losses) else math.nan
        used = rounds["used"].sum()
        row["staleness"] = float((rounds["mean_staleness"] * rounds["used"]).sum() / used) if used else math.nan
        row["restarts"] = float(rounds["restarts"].sum() / len(rounds))
        row["unused"] = unused_share(rounds, cell.experiment.n)
        rows.append(row)
    return pd.DataFrame(rows)


def unused_share(rounds: pd.DataFrame, n: int) -> float:
    """The share of the seconds that ``n`` workers computed whose result was not used."""
    seconds = n * float(rounds.groupby("replicate")["time"].last().sum())
    busy = seconds - float(rounds["idle_seconds"].sum() + rounds["away_seconds"].sum())
    return min(float(rounds["wasted_seconds"].sum()) / busy, 1.0) if busy > 0 else math.nan


@explains_types
def results_text(table: pd.DataFrame, target: Target | None, words: str) -> str:
    """The table of ``results`` as text, with lines about what it shows; ``words`` say where the target comes from.

    >>> columns = ["cell", "name", "finished", "loss", "staleness", "restarts", "unused"]
    >>> table = pd.DataFrame([[0, "k_sync", 2, 0.5, 0.0, 1.0, 0.25]], columns=columns)
    >>> print(results_text(table, None, ""))
    staleness: mean, in updates; restarts: workers per update; unused: share of the computing that was not used
    final loss staleness restarts unused
           0.5         0        1   25 %
    """
    return f"{about_results(table, target, words)}\n{shown_results(table, target).to_string(index=False)}"


@explains_types
def about_results(table: pd.DataFrame, target: Target | None, words: str) -> str:
    """The lines above the table of ``results``: the cells, and what the columns are.

    >>> table = pd.DataFrame({"cell": [0, 1], "name": ["k = 1", "k = 2"]})
    >>> print(about_results(table, None, "").splitlines()[1])
    cell 1: k = 2
    """
    lines = [f"cell {cell}: {name}" for cell, name in table[["cell", "name"]].to_numpy()] if len(table) > 1 else []
    if target is not None:
        lines.append(f"seconds, rounds and messages to {in_words(target)}, {words}: medians")
    lines.append(
        "staleness: mean, in updates; restarts: workers per update; unused: share of the computing that was not used"
    )
    return "\n".join(lines)


@explains_types
def shown_results(table: pd.DataFrame, target: Target | None) -> pd.DataFrame:
    """The table of ``results`` as it is shown: every cell is text.

    >>> table = pd.DataFrame({"cell": [0], "finished": [2], "loss": [0.5], "unused": [0.25]})
    >>> shown_results(table, None)
      final loss unused
    0        0.5   25 %
    """
    shown = pd.DataFrame({"cell": table["cell"]}) if len(table) > 1 else pd.DataFrame(index=table.index)
    if target is not None:
        shown["reached"] = [f"{reached} of {count}" for reached, count in table[["reached", "finished"]].to_numpy()]
        for column in ("time", "update", "communication"):
            shown[column] = [
                "" if math.isnan(value) else _number(value) if math.isfinite(value) else "not"
                for value in table[column]
            ]
            if column == "time":
                ends = table[["time_low", "time_high"]].to_numpy()
                words = ["" if math.isnan(low) else f"{_number(low)} to {_number(high)}" for low, high in ends]
                shown[interval_name(table)] = words
    for column in ("loss", "staleness", "restarts"):
        if column in table:
            shown[column] = [_number(value) if math.isfinite(value) else _missing(value) for value in table[column]]
    if "unused" in table:
        shown["unused"] = [percent(share) if share == share else "" for share in table["unused"]]
    return shown.rename(columns=NAMES)


def interval_name(table: pd.DataFrame) -> str:
    """What ``time_low`` to ``time_high`` is, for the runs of all cells of this table."""
    counts = set(table["finished"]) - {0} or {0}
    if min(counts) >= FEWEST_RUNS:
        return "95 % interval"
    if len(counts) == 1:
        (runs,) = counts
        return f"range of {runs} run{'s' * (runs != 1)}"
    few = f"range of fewer than {FEWEST_RUNS} runs"
    return few if max(counts) < FEWEST_RUNS else f"95 % interval, or {few}"


def in_words(target: Target) -> str:
    """The target as text: ``loss <= 0.1``."""
    from simulations.record import rises

    return f"{target[0]} {'>=' if rises(target[0]) else '<='} {target[1]:g}"


def _short(key: str, value: object) -> str:
    """A value for a picture: of a law or a call only its name, of a number the key, too."""
    if isinstance(value, str):
        call = re.fullmatch(r"(?:[\w.]+:)?(\w+)(\(.*\))?", value, re.DOTALL)  # also of a module of the user
        if call is None:
            return value.partition(":")[0]
        name, arguments = call[1], call[2] or ""
        return name + (arguments if len(name + arguments) <= MOST_LETTERS else "(...)")
    return f"{key}={value}"


def _to_target(cell: CellRuns, target: Target) -> dict[str, object]:
    columns = ("time", "update", "communication", "time_low", "time_high")
    if not cell.finished:
        return {"reached": 0, **dict.fromkeys(columns, math.nan)}
    if cell.rounds.empty or target[0] not in cell.rounds:
        return {"reached": 0, **dict.fromkeys(columns, math.inf), "time_low": cell.experiment.time_budget or 0.0}
    budget = cell.experiment.time_budget
    reached = to_target(with_totals(cell.rounds), *target, time_budget=budget, replicates=cell.finished)
    row: dict[str, object] = {"reached": int(reached["reached"].sum())}
    for spent in ("time", "update", "communication"):
        estimate = median(reached[spent], reached["reached"])
        row[spent] = estimate.median
        if spent == "time":
            row |= {"time_low": estimate.low, "time_high": estimate.high}
    return row


def _final_losses(rounds: pd.DataFrame) -> np.ndarray:
    """The last evaluated loss of each run."""
    if rounds.empty:
        return np.zeros(0)
    return rounds.groupby("replicate")["loss"].last().dropna().to_numpy()


def _rounded_up(value: float) -> float:
    """``value`` with three digits, not smaller."""
    if value == 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - 2)
    return float(f"{math.ceil(value / unit) * unit:.3g}")


def _number(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else "never"


def _missing(value: float) -> str:
    return "diverged" if value == math.inf else ""
