"""The page of a sweep: notices, table, curves, the first seconds of each cell, the configuration, and how to run it."""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from abs_theory.checks import explains_types
from abs_theory.files import replacing
from abs_theory.pages import inline_svg, render
from simulations import plot
from simulations.plot import Runs
from simulations.summary.cell_results import CellRuns, Target, cells_of, in_words, interval_name
from simulations.summary.noticed import first_tasks
from simulations.sweeps import Store, Sweep, execution, folder, versions

__all__ = ["page", "write"]

MOST_CURVES = 7  # cells, as many as there are colours
MOST_TIMELINES = 4  # cells
TIMELINE_TASKS = 5  # per worker, in the seconds that are shown
MOST_WORKERS = 40  # in a timeline


@explains_types
def page(
    sweep: Sweep, outcome: execution.Outcome, table: pd.DataFrame, target: Target | None, words: str,
    notices: Sequence[str] = (), command: str = "",
) -> str:  # fmt: skip
    """The page as HTML that needs nothing beside itself.

    ``table``, ``target`` and ``words`` are those of ``results`` and ``target_of``; ``command`` runs it again.

    >>> base = {"n": 2, "delay": "exponential:mean=1", "problem": "TimingOnly", "protocol": {"name": "k_sync", "k": 1},
    ...         "step_size": 1.0, "num_updates": 30, "seed": 0}
    >>> from simulations.summary import results
    >>> from simulations.sweeps import run_sweep
    >>> sweep = Sweep(base)
    >>> outcome = run_sweep(sweep, n_jobs=1)
    >>> text = page(sweep, outcome, results(sweep, outcome), None, "", command="python -m simulations run.toml")
    >>> "Report: k_sync" in text and "python -m simulations run.toml" in text and "<svg" in text
    True
    """
    cells = list(cells_of(sweep, outcome))
    return render(
        Path(__file__).with_name("report.html"),
        title=f"Report: {len(cells)} cells" if len(cells) > 1 else f"Report: {cells[0].name}",
        runs=int(table["finished"].sum()), cells=len(cells), notices=list(notices), rows=_rows(table, target),
        target=None if target is None else in_words(target), words=words, curves=_curves(cells, target),
        timeline=_timeline(cells), timelines=min(len(cells), MOST_TIMELINES), most_curves=MOST_CURVES,
        configuration=sweep.to_toml(), versions=versions(), command=command,
    )  # fmt: skip


@explains_types
def write(
    out: str | os.PathLike | Store, sweep: Sweep, outcome: execution.Outcome, table: pd.DataFrame,
    target: Target | None, words: str, notices: Sequence[str] = (), arguments: Sequence[str] = (),
) -> Path:  # fmt: skip
    """Write ``page`` to ``report.html`` in the folder ``out``, completely or not at all, and return its path.

    ``arguments`` are those of ``python -m simulations`` that run it again, in the folder of the page.

    >>> import tempfile
    >>> from simulations.summary import results
    >>> from simulations.sweeps import run_sweep
    >>> sweep = Sweep({"n": 2, "delay": "exponential:mean=1", "problem": "TimingOnly", "protocol": "synchronous",
    ...                "step_size": 1.0, "num_updates": 30, "seed": 0})
    >>> outcome = run_sweep(sweep, n_jobs=1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write(Path(folder), sweep, outcome, results(sweep, outcome), None, "").name
    'report.html'
    """
    command = f"python -m simulations {shlex.join(arguments)}" if arguments else ""
    text = page(sweep, outcome, table, target, words, notices, command)
    with Store.of(out) as store:
        path = store.folder.parent / folder.REPORT
        with replacing(path) as file:
            file.write(text.encode())
    return path


def _rows(table: pd.DataFrame, target: Target | None) -> list[dict[str, str]]:
    """The rows of the table as texts."""
    rows = []
    for row in table.to_dict("records"):
        shown = {"cell": row["cell"], "settings": row["name"], "runs": str(row["finished"])}
        if target is not None:
            shown["reached"] = f"{row['reached']} of {row['finished']}"
            shown["seconds"] = _number(row["time"], "not reached")
            shown[interval_name(table)] = f"{_number(row['time_low'])} to {_number(row['time_high'], 'never')}"
            shown["rounds"], shown["messages"] = _number(row["update"]), _number(row["communication"])
        shown["final loss"] = _number(row.get("loss"), "diverged")
        for key in ("staleness", "restarts"):
            shown[key] = _number(row.get(key))
        unused = row.get("unused")
        shown["unused"] = "" if unused is None or unused != unused else f"{100 * unused:.0f} %"
        rows.append({str(key): str(value) for key, value in shown.items()})
    return rows


def _number(value: float | None, infinite: str = "") -> str:
    if value is None or value != value:
        return ""
    return infinite if value == float("inf") else f"{value:.4g}"


@plot.in_small_print
def _curves(cells: Sequence[CellRuns], target: Target | None) -> str:
    """Loss and metrics of the first cells as SVG; "" if no run was evaluated twice."""
    from matplotlib.figure import Figure

    runs = {cell.short: Runs(_without_cell(cell.rounds), None) for cell in cells[:MOST_CURVES] if len(cell.rounds)}
    metrics = [set(_evaluated(found.rounds)) for found in runs.values()]
    first = _evaluated(next(iter(runs.values())).rounds) if runs else []
    common = [name for name in first if all(name in own for own in metrics)]
    if not common:
        return ""
    budget = cells[0].experiment.time_budget
    target = target if target is not None and target[0] in common else None
    rows = len(common) + (target is not None)
    height = 2.3 * len(common) + (0 if target is None else 0.8 + 0.3 * len(runs)) + 0.2 * len(runs)
    figure = Figure(figsize=(9.0, height), layout="constrained")
    axes = list(figure.subplots(rows, 3, squeeze=False).flat)
    same_problem = len({repr(cell.experiment.problem) for cell in cells}) == 1
    problem = cells[0].experiment.as_run.problem if same_problem else None
    plot.compare(dict(runs), common, target=target, time_budget=budget, problem=problem, axes=axes)
    return inline_svg(figure)


def _without_cell(rounds: pd.DataFrame) -> pd.DataFrame:
    """The table of one cell without the columns that name it."""
    return rounds.iloc[:, list(rounds.columns).index("replicate") :]


def _evaluated(rounds: pd.DataFrame) -> list[str]:
    """The columns that were evaluated at least twice in some run."""
    columns = list(rounds.columns)
    after = columns[columns.index("loss") :]
    counts = rounds[after].notna().groupby(rounds["replicate"]).sum().max()
    return [name for name in after if counts[name] > 1 and rounds[name].nunique() > 1]


@plot.in_small_print
def _timeline(cells: Sequence[CellRuns]) -> str:
    """The first seconds of the first cells as SVG; "" if there are too many workers to see them."""
    from matplotlib.figure import Figure

    tables, seconds = {}, float("inf")
    for cell in cells[:MOST_TIMELINES]:
        if cell.experiment.n > MOST_WORKERS:
            continue
        pair = first_tasks(cell)
        if pair is not None:
            tables[cell.short] = pair
            shown = pair[1]["end"].sort_values().iloc[: TIMELINE_TASKS * cell.experiment.n]
            seconds = min(seconds, float(shown.iloc[-1]))
    if not tables:
        return ""
    height = sum(0.6 + 0.2 * (1 + int(tasks["worker"].max())) for _, tasks in tables.values())
    figure = Figure(figsize=(9.0, height + 0.5), layout="constrained")
    axes = list(figure.subplots(len(tables), 1, squeeze=False, sharex=True).flat)
    # each has one replicate, perhaps not the same
    renumbered = {
        name: Runs(_without_cell(rounds).assign(replicate=0), tasks.assign(replicate=0))
        for name, (rounds, tasks) in tables.items()
    }
    plot.timeline(renumbered, seconds=seconds, axes=axes)
    return inline_svg(figure)
