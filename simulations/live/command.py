"""The command ``python -m simulations live``: run what a TOML file describes on real workers, and compare."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from abs_theory.command_line import (
    Command,
    Interrupted,
    check_folder,
    check_outputs,
    complaint,
    new_app,
    option,
    printable,
    run_app,
)
from abs_theory.files import locked, replacing

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from simulations.experiment import Experiment
    from simulations.live.training import LiveTables
    from simulations.server import Run

app = new_app()
TABLES, REPORTS = ("table.csv", "tasks.csv", "trace.csv", "messages.csv"), ("report.txt", "report.html")  # are written


@app.command(
    cls=Command,
    help="Train what FILE describes with real worker processes, under the same protocol as in a simulation. Delays are "
    "those of the file, multiplied by --time-scale, or with --real as long as the gradients take. Writes the table of "
    "a simulation, the tasks, a trace for plan, the time of messages, and a report beside theory and simulation.",
)
def main(  # noqa: PLR0913
    file: Annotated[Path, typer.Argument(metavar="FILE", help="TOML; see examples/", exists=True, dir_okay=False)],
    out: Annotated[Path, typer.Option(help="folder to write to")],
    engine: Annotated[str, typer.Option(help="what runs the workers: processes, ray")] = "processes",
    address: Annotated[str | None, typer.Option(help="of the Ray cluster; local: a new one on this computer")] = None,
    time_scale: Annotated[float, option("SECONDS", "of the clock for a second of the run")] = 1.0,
    real: Annotated[bool, typer.Option("--real", help="delays are real, not those of the file")] = False,
    grace: Annotated[float, option("SECONDS", "by which a task may end late and count as in time")] = 0.1,
    patience: Annotated[float, option("SECONDS", "after which a worker that does not answer is replaced")] = 60.0,
    every: Annotated[float, option("SECONDS", "between checkpoints, from which the same command goes on")] = 10.0,
    allow: Annotated[list[str] | None, option("MODULE", "module that FILE may name, and that may run code")] = None,
) -> None:
    check_folder("--out", out)
    from dataclasses import asdict, replace

    from abs_theory.checks import check_positive
    from simulations.experiment import Experiment, files_named, made_from
    from simulations.live.checkpoint import Checkpoints
    from simulations.live.training import LiveSettings, Real, check_run, train

    settings = LiveSettings(engine=engine, address=address, time_scale=time_scale, grace=grace, patience=patience)
    experiment, named = made_from(file, lambda table: (Experiment.of(table, allow or ()), files_named(table)))
    check_outputs([("--out", out / name) for name in TABLES + REPORTS], [("FILE", path) for path in [file, *named]])
    try:
        experiment.check()
    except ValueError as problem:
        raise ValueError(f"{file}: {problem}") from None
    run = replace(experiment.as_run, keep_tasks=True)
    real_run = replace(run, fleet=Real(run.fleet.n)) if real else run
    check_run(real_run)
    check_positive("--every", every)
    key = f"{experiment.to_toml()}\n{settings!r}\n{'real' if real else 'emulated'} delays"
    with locked(out, "kept"):
        try:
            checkpoints = Checkpoints(out / "kept", key, every)
            live = train(real_run, experiment.which, settings, None, checkpoints)
        except KeyboardInterrupt:
            raise Interrupted(f"interrupted; {_goes_on(out)}") from None
        except OSError as problem:
            raise OSError(f"{complaint(problem)}; {_goes_on(out)}") from None
        how = f"{run.fleet.n} workers ({engine}), {'real delays' if real else f'delays emulated, times {time_scale:g}'}"
        again = [str(file), "--out", str(out), *["--real"] * real, *(f"--allow={module}" for module in allow or ())]
        defaults = asdict(LiveSettings())
        chosen = {name: value for name, value in asdict(settings).items() if value != defaults[name]}
        again += [f"--{name.replace('_', '-')}={value}" for name, value in chosen.items()]
        write_results(out, file, experiment, run, live, how, again)


def _goes_on(out: Path) -> str:
    """What the same command will do after an interruption."""
    if any((out / "kept").glob("*.kept")):
        return f"the same command goes on from the last checkpoint in {out}"
    return "there was no checkpoint yet: the same command starts anew"


def write_results(
    out: Path, file: Path, experiment: "Experiment", run: "Run", live: "LiveTables", how: str, again: list[str]
) -> None:
    """Write the tables, the report and its page, and print them; ``again`` are the arguments of the command."""
    from dataclasses import replace

    from simulations.live import report
    from simulations.live.page import page
    from simulations.live.trace import as_trace
    from simulations.plot import Runs

    simulated = Runs(*cast("tuple[pd.DataFrame, pd.DataFrame]", replace(experiment, jobs=True).run(n_jobs=1)))
    if live.rounds.empty or simulated.rounds.empty:
        raise ValueError(f"{file}: the budget ends before the first update: there is nothing to write")
    messages = report.messages_table(experiment.which, live.measured)
    first = live.rounds["replicate"].iloc[0]  # that has made an update
    trace = as_trace(*(table[table["replicate"] == first] for table in (live.rounds, live.tasks)))
    tables = (live.rounds, live.tasks, trace, messages)
    write(out, {name: table.to_csv(index=False) for name, table in zip(TABLES, tables, strict=True)})
    theory = report.predicted(run, simulated.rounds)
    comparison = report.comparison(run, live.rounds, simulated.rounds, theory)
    overheads, events = report.overheads(messages), report.events(experiment.which, live.measured)
    words = report.text(comparison, overheads, events, len(experiment.which))
    runs = {"simulated": simulated, "live": Runs(live.rounds, live.tasks)}
    command = f"python -m simulations live {shlex.join(again)}"
    html = page(
        file.name, how, runs, theory, run.fleet.n, comparison, overheads, events, command, experiment.to_toml(),
        run.problem,
    )  # fmt: skip
    write(out, dict(zip(REPORTS, (f"{words}\n", html), strict=True)))
    print(printable(f"\n{words}"))


def write(out: Path, texts: "Mapping[str, str]") -> None:
    """Write each text to the file of its name in the folder ``out``, and print its path."""
    for name, text in texts.items():
        with replacing(out / name) as file:
            file.write(text.encode())
        print(out / name)


def run_command() -> None:
    """The command; one line on stderr and status 2 for what the caller can mend."""
    run_app(app, "simulations live", OSError, ValueError, RuntimeError)
