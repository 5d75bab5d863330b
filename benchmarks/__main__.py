"""Speed and accuracy beside the alternatives: ``python -m benchmarks [PART]``; without a part, ``theory``."""

from typing import Annotated

import typer

from abs_theory.command_line import run_app

# each part is imported when it runs, so that help is fast
app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
Quick = Annotated[bool, typer.Option("--quick", help="a small size, to see that it runs: its ratios mean little")]
HANDED_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


@app.callback(invoke_without_command=True)
def benchmarks(context: typer.Context) -> None:
    """Compare speed and accuracy with the alternatives. Each part prints a table; without a part, theory runs."""
    if context.invoked_subcommand is None:
        theory()


@app.command()
def theory(quick: Quick = False) -> None:
    """Speed of the theory, against scipy, heapq and SimPy."""
    from benchmarks import theory

    theory.main(quick)


@app.command()
def simulator(quick: Quick = False) -> None:
    """Speed of the event simulator, against heapq and SimPy."""
    from benchmarks import simulator

    simulator.main(quick)


@app.command()
def live(quick: Quick = False) -> None:
    """Overhead of real workers, per task."""
    from benchmarks import live

    live.main(quick)


@app.command("start-up")
def start_up(quick: Quick = False) -> None:
    """Start of the commands, against importing numpy."""
    from benchmarks import start_up

    start_up.main(quick)


@app.command(context_settings=HANDED_ON)
def choice(context: typer.Context) -> None:
    """Choices of the optimizer, against a tuned grid (one hour)."""
    from benchmarks import choice

    choice.main(context.args)


@app.command(context_settings=HANDED_ON)
def traces(context: typer.Context) -> None:
    """Plans from measured traces, against simple rules."""
    from benchmarks import traces

    traces.main(context.args)


@app.command(context_settings=HANDED_ON)
def losses(context: typer.Context) -> None:
    """Choices of k from short traces with heavy tails: identified, and lost (half an hour)."""
    from benchmarks import losses

    losses.main(context.args)


@app.command(context_settings=HANDED_ON)
def coverage(context: typer.Context) -> None:
    """How often stated intervals contain the truth, also if calls are lost (an hour)."""
    from benchmarks import coverage

    coverage.main(context.args)


@app.command("self-tuning", context_settings=HANDED_ON)
def self_tuning(context: typer.Context) -> None:
    """ABS that tunes itself, against every other method tuned for each fleet and problem (half an hour)."""
    from benchmarks import self_tuning

    self_tuning.main(context.args)


@app.command()
def reading(quick: Quick = False) -> None:
    """Time and memory to read a trace of ten million rows, and to plan from it."""
    from benchmarks import reading

    reading.main(quick)


if __name__ == "__main__":
    run_app(app, "benchmarks", OSError, ValueError)
