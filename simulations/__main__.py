"""Run what a TOML file describes: ``python -m simulations run.toml --out DIR``."""

from abs_theory import loading

if __name__ == "__main__":
    loading("simulations")

import importlib
import math
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from abs_theory.command_line import (
    Command,
    Interrupted,
    check_folder,
    check_outputs,
    new_app,
    option,
    printable,
    run_app,
    table_text,
    warn,
    wrapped,
)
from simulations.sweeps import BACKENDS, FORMATS

if TYPE_CHECKING:  # loading it takes long
    from simulations.sweeps import Sweep

app = new_app()
COMMANDS = {  # beside the one that takes a file
    "examples": "simulations.examples:run_command",
    "explore": "simulations.explore.serving:run_command",
    "live": "simulations.live.command:run_command",
}


@app.command(
    cls=Command,
    help="Train what FILE describes, one experiment or a sweep of many, and write the tables. After any interruption "
    "the same command continues where it stopped. python -m simulations live FILE trains with real worker processes, "
    "python -m simulations explore opens a page with sliders, and python -m simulations examples copies example files.",
)
def main(  # noqa: PLR0913
    file: Annotated[Path, typer.Argument(metavar="FILE", help="TOML; see examples/", exists=True, dir_okay=False)],
    out: Annotated[Path, typer.Option(help="folder to write to; it keeps finished replicates")],
    backend: Annotated[str, typer.Option(help=f"what computes the replicates: {', '.join(BACKENDS)}")] = "joblib",
    address: Annotated[str | None, typer.Option(help="of the Ray cluster [a new one on this computer]")] = None,
    jobs: Annotated[int, typer.Option(help="processes of joblib; -1: all cores")] = -1,
    format: Annotated[str, typer.Option(help=f"of the tables: {', '.join(FORMATS)}")] = "csv",
    allow: Annotated[list[str] | None, option("MODULE", "module that FILE may name, and that may run code")] = None,
    target: Annotated[
        str | None, option("COLUMN=VALUE", 'to measure times to, such as "loss=0.3"; it does not end the runs')
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="print how much of each cell is finished, and stop")] = False,
) -> int:
    if address is not None and backend != "ray":
        raise typer.BadParameter("--address is that of a Ray cluster: give --backend ray")
    if jobs == 0:
        raise typer.BadParameter("--jobs must be a number of processes, or -1 for all cores")
    if format not in FORMATS:
        raise typer.BadParameter(f"--format must be one of {', '.join(FORMATS)}, got {format!r}")
    if format == "parquet" and find_spec("pyarrow") is None:
        raise typer.BadParameter('--format parquet needs pyarrow: install the extra "traces" of this package')
    from simulations import summary
    from simulations.experiment import files_named, made_from
    from simulations.sweeps import (  # heavy: only once there is something to run
        Store,
        Sweep,
        execution,
        folder,
        report,
        run_sweep,
    )

    execution.check_backend(backend)
    asked = None if target is None else _read_target(target)
    sweep, of_a_run, named = made_from(
        file, lambda table: (Sweep.of(table, allow or ()), "versions" in table, files_named(table))
    )
    if list_:
        for line in report.finished_lines(sweep, out):
            print(printable(line))
        return 0
    check_folder("--out", out)
    inputs = named if of_a_run else [file, *named]  # what a run has written may be run in its folder again
    check_outputs([("--out", path) for path in folder.outputs_in(out)], [("FILE", path) for path in inputs])
    try:
        refused = sweep.check()
    except ValueError as problem:
        raise ValueError(f"{file}: {problem}") from None
    if asked is not None:
        _check_column(sweep, asked[0])
    with Store(out) as store:  # one lock: results of one sweep are never under the configuration of another
        note = folder.claim(store, sweep)
        if refused:
            warn("simulations", f"{file}: {refused}; the other cells run")
        try:
            outcome = run_sweep(sweep, store, backend=backend, address=address, n_jobs=jobs)
            if len(outcome.cells) == 1 and outcome.table.empty and outcome.cells["error"].any():
                raise ValueError(f"{file}: {outcome.cells['error'][0]}")
            for path in [*folder.write_tables(store, outcome, format), note]:
                print(path)
            if not outcome.table.empty:
                aim, words = summary.target_of(sweep, outcome) if asked is None else (asked, "as asked")
                table = summary.results(sweep, outcome, aim)
                # a target that is made from the results is missed by some, which is no news
                notices = summary.notices(sweep, outcome, aim if target or words == summary.CONFIGURED else None)
                # the same page in whatever folder: it names the file that stands beside it
                again = ["config.toml", "--out", "again", *(f"--allow={module}" for module in allow or ())]
                again += [f"--target={target}"] if target is not None else []
                print(summary.write(store, sweep, outcome, table, aim, words, notices, again))
                print(f"\n{wrapped(printable(summary.about_results(table, aim, words)))}")
                print(printable(table_text(summary.shown_results(table, aim), "{:.4g}")))
                for line in notices:
                    print(wrapped(printable(f"Note: {line}")))
        except KeyboardInterrupt:
            raise Interrupted(f"interrupted; {report.kept_line(sweep, out)}") from None
        except OSError as problem:
            raise OSError(f"{problem}; {report.kept_line(sweep, out)}") from None
        except RuntimeError as problem:  # a process of joblib or of the cluster was killed
            raise RuntimeError(f"{problem}; {report.kept_line(sweep, out)}") from None
    for line in report.problem_lines(sweep, outcome):
        warn("simulations", line)
    return int(outcome.cells["error"].any())


def _check_column(sweep: "Sweep", column: str) -> None:
    """Raise ValueError unless a cell evaluates this column."""
    evaluated: dict[str, None] = {}
    for _, experiment in sweep.experiments:
        try:
            columns = experiment.as_run.evaluated
        except (Exception, SystemExit):  # of a cell that is refused
            continue
        if column in columns:
            return
        evaluated |= dict.fromkeys(columns)
    raise ValueError(f"--target must name an evaluated column, got {column!r}: {', '.join(evaluated)}")


def _read_target(text: str) -> tuple[str, float]:
    """``COLUMN=VALUE`` as a column and a number."""
    column, _, value = text.partition("=")
    try:
        level = float(value)
    except ValueError:
        level = math.nan
    if not column or not math.isfinite(level):
        raise ValueError(f"--target must be COLUMN=VALUE, such as loss=0.3, got {text!r}")
    return column, level


def run() -> None:
    """The command: one line on stderr and status 2 for what the caller can mend, 1 if a cell failed."""
    subcommand = COMMANDS.get(sys.argv[1]) if len(sys.argv) > 1 else None
    if subcommand is not None:
        del sys.argv[1]
        module, _, function = subcommand.partition(":")
        getattr(importlib.import_module(module), function)()
    run_app(app, "simulations", OSError, ValueError, RuntimeError)


if __name__ == "__main__":
    run()
