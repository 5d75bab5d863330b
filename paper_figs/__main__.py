"""Regenerate the figures: ``python -m paper_figs [NAME ...] [--quick] [--out DIR]``."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from paper_figs import style
from paper_figs.cache import entry, load_or_compute
from paper_figs.figures import FIGURES

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(help=f"Regenerate figures (all if none is named): {', '.join(FIGURES)}.")
def main(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="few workers and replicates, for a look")] = False,
    out: Annotated[Path, typer.Option(help="folder to write to")] = Path("figures"),
    list_: Annotated[bool, typer.Option("--list", help="say what is cached, and stop")] = False,
) -> None:
    unknown = [name for name in names or [] if name not in FIGURES]
    if unknown:
        raise typer.BadParameter(f"no figure named {', '.join(unknown)}; there are {', '.join(FIGURES)}")
    if out.exists() and not out.is_dir():
        raise typer.BadParameter(f"--out must be a folder, {out} is a file")
    for name in dict.fromkeys(names or FIGURES):
        figure = FIGURES[name]
        config = figure.QUICK if quick else figure.DEFAULT
        if list_:
            state = "cached" if entry(out / ".cache", study_of(figure), config).exists() else "to be computed"
            print(f"{name}: {state} ({'quick' if quick else 'default'} size)")
        else:
            draw(name, config, out)


def study_of(figure) -> str:
    """What the cached result is called: figures drawn from one computation share it."""
    return figure.compute.__module__.split(".")[-1]


def draw(name: str, config: dict, out: Path) -> None:
    """Write NAME.csv, NAME.pdf and NAME.png; the same bytes for the same table."""
    figure = FIGURES[name]
    table, cached = load_or_compute(out / ".cache", study_of(figure), config, figure.compute)
    table = getattr(figure, "summarise", lambda whole: whole)(table)
    note = "  (from the cache)" if cached else ""
    out.mkdir(parents=True, exist_ok=True)
    table.to_csv(out / f"{name}.csv", index=False)
    print(f"{out / name}.csv{note}", flush=True)
    with style.applied():
        drawing = figure.draw(table)
        drawing.draw_without_rendering()
        drawing.set_layout_engine("none")  # laid out once, for both files
        for suffix, metadata in (("pdf", {"CreationDate": None}), ("png", {"Software": None})):
            drawing.savefig(out / f"{name}.{suffix}", metadata=metadata)
            print(f"{out / name}.{suffix}", flush=True)


def run() -> None:
    """The command: one line on stderr and status 2 for what the caller can mend."""
    try:
        status = app(standalone_mode=False)
    except KeyboardInterrupt:
        sys.exit("interrupted; finished figures are cached")
    except (typer.TyperException, OSError) as problem:
        message = problem.format_message() if isinstance(problem, typer.TyperException) else str(problem)
        print(f"paper_figs: {' '.join(message.split())}", file=sys.stderr)
        sys.exit(2)
    sys.exit(status)


if __name__ == "__main__":
    run()
