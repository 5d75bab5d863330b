"""Run what a TOML file describes: ``python -m simulations run.toml --out DIR``."""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from abs_theory.command_line import INTERRUPTED, run_app
from simulations.sweeps import Store, Sweep, execution, folder, label

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(
    help="Train what FILE describes, one experiment or a sweep of many, and write the tables. After any interruption "
    "the same command goes on where it was."
)
def main(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="TOML; see examples/", exists=True, dir_okay=False)],
    out: Annotated[Path, typer.Option(help="folder to write to; finished replicates are kept in it")],
    backend: Annotated[str, typer.Option(help=f"{', '.join(execution.BACKENDS)}")] = "joblib",
    address: Annotated[str | None, typer.Option(help="of the Ray cluster [a new one on this computer]")] = None,
    jobs: Annotated[int, typer.Option(help="processes of joblib; -1: all cores")] = -1,
    format: Annotated[str, typer.Option(help=f"of the tables: {', '.join(folder.FORMATS)}")] = "csv",
    list_: Annotated[bool, typer.Option("--list", help="say what is finished and what is not, and stop")] = False,
) -> int:
    if address is not None and backend != "ray":
        raise typer.BadParameter("--address is of a Ray cluster: give --backend ray")
    if jobs == 0:
        raise typer.BadParameter("--jobs must be a number of processes, or -1 for all cores")
    if format not in folder.FORMATS:
        raise typer.BadParameter(f"--format must be one of {', '.join(folder.FORMATS)}, got {format!r}")
    if format == "parquet" and find_spec("pyarrow") is None:
        raise typer.BadParameter('--format parquet needs pyarrow; the extra "traces" of this package brings it')
    sweep = Sweep.from_toml(file)
    if list_:
        return _list(sweep, out)
    try:
        refused = sweep.check()
    except ValueError as problem:
        raise ValueError(f"{file}: {problem}") from None
    note = folder.claim(out, sweep)
    if refused:
        print(f"simulations: {file}: {refused}; the other cells run", file=sys.stderr)
    try:
        outcome = execution.run_sweep(sweep, out, backend=backend, address=address, n_jobs=jobs)
        if len(outcome.cells) == 1 and outcome.table.empty and outcome.cells["error"].any():
            raise ValueError(f"{file}: {outcome.cells['error'][0]}")
        for path in [*folder.write_tables(out, outcome, format), note]:
            print(path)
    except KeyboardInterrupt:
        print(f"simulations: interrupted; {_kept(sweep, out)}", file=sys.stderr)
        return INTERRUPTED
    except OSError as problem:
        raise OSError(f"{problem}; {_kept(sweep, out)}") from None
    except RuntimeError as problem:  # a process of joblib or of the cluster that was killed
        raise RuntimeError(f"{problem}; {_kept(sweep, out)}") from None
    return _report(sweep, outcome)


def _list(sweep: Sweep, out: Path) -> int:
    """One line per cell: how many of its replicates are finished."""
    store, found = Store(out), execution.units(sweep)
    for number, (changed, experiment) in enumerate(sweep.experiments):
        done = sum(store.path(unit.key).exists() for unit in found if unit.cell == number)
        print(f"{_cell(number, changed)}: {done} of {len(experiment.which)} runs finished")
    return 0


def _report(sweep: Sweep, outcome: execution.Outcome) -> int:
    """Say on stderr what did not go well; the exit status."""
    for path in outcome.damaged:
        print(f"simulations: {path} was damaged, and was computed anew", file=sys.stderr)
    for number, row in enumerate(outcome.cells.to_dict("records")):
        cell = _cell(number, sweep.experiments[number].changed)
        if row["diverged"]:
            many = f"{row['diverged']} of {row['finished']} runs diverged (loss = inf)"
            print(f"simulations: {cell}: {many}", file=sys.stderr)
        if row["no_update"]:
            many = f"{row['no_update']} of {row['finished']} runs ended without an update"
            mend = "give a longer time_budget, or see that the protocol calls server.update()"
            print(f"simulations: {cell}: {many}: {mend}", file=sys.stderr)
        if row["error"]:
            failed = row["replicates"] - row["finished"]
            print(f"simulations: {cell}: {failed} of {row['replicates']} runs failed: {row['error']}", file=sys.stderr)
    return int(outcome.cells["error"].any())


def _cell(number: int, changed: dict[str, Any]) -> str:
    words = ", ".join(f"{key}={label(value)}" for key, value in changed.items() if value is not None)
    return f"cell {number} ({words})" if words else f"cell {number}"


def _kept(sweep: Sweep, out: Path) -> str:
    store, keys = Store(out), {unit.key for unit in execution.units(sweep)}
    done = sum(store.path(key).exists() for key in keys)
    return f"{done} of {len(keys)} runs are finished and kept in {out}; the same command goes on with the rest"


def run() -> None:
    """The command: one line on stderr and status 2 for what the caller can mend, 1 if a cell failed."""
    run_app(app, "simulations", OSError, ValueError, RuntimeError, interrupted="")  # it has said what is kept


if __name__ == "__main__":
    run()
