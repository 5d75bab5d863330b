"""Regenerate the figures: ``python -m paper_figs [NAME ...] [--quick | --full] [--out DIR]``."""

from pathlib import Path
from typing import Annotated

import joblib
import pandas as pd
import typer

from abs_theory.command_line import check_folder, run_app
from paper_figs import cache, page, style
from paper_figs.figures import FIGURES
from paper_figs.parallel import in_parallel

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(help=f"Regenerate figures (all if none is named), and the page of all: {', '.join(FIGURES)}.")
def main(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", hidden=True)] = None,
    quick: Annotated[bool, typer.Option("--quick", help="few workers and replicates, for a look")] = False,
    full: Annotated[bool, typer.Option("--full", help="30 replicates and more, for print")] = False,
    out: Annotated[Path, typer.Option(metavar="DIR", help="folder to write to")] = Path("figures"),
    list_: Annotated[bool, typer.Option("--list", help="say what is cached and what is not, and stop")] = False,
) -> None:
    unknown = [name for name in names or [] if name not in FIGURES]
    if unknown:
        raise typer.BadParameter(f"no figure named {', '.join(unknown)}; there are {', '.join(FIGURES)}")
    if quick and full:
        raise typer.BadParameter("--quick and --full are two sizes, give one of them or neither")
    size = "quick" if quick else "full" if full else "default"
    chosen = list(dict.fromkeys(names or FIGURES))
    if list_:
        for name in chosen:
            print(f"{name:<{max(map(len, FIGURES))}}  {size}  {told(out, name, size)}")
        return
    check_folder("--out", out)
    out.mkdir(parents=True, exist_ok=True)
    print(*make(chosen, size, out), sep="\n")


def make(names: list[str], size: str, out: Path) -> list[Path]:
    """Compute what is not cached, draw these figures and write the page of all; return the pictures and the page."""
    results = [tabulate(name, size, out) for name in names]
    calls = [joblib.delayed(draw)(name, *result, out) for name, result in zip(names, results, strict=True)]
    drawn = in_parallel("drawing", calls) if len(names) > 1 else [draw(names[0], *results[0], out)]
    return [*(path for paths in drawn for path in paths), page.write(out)]


def config_of(name: str, size: str) -> dict:
    """What ``compute`` is given for a figure of this size."""
    return getattr(FIGURES[name], size.upper())


def kept_as(name: str, size: str) -> str:
    """What the cached result is called: figures drawn from one computation share it."""
    return f"{FIGURES[name].compute.__module__.split('.')[-1]}-{size}"


def told(out: Path, name: str, size: str) -> str:
    """The state of the cache in words."""
    compute = FIGURES[name].compute
    found = cache.state(out / ".cache", kept_as(name, size), config_of(name, size), compute)
    sharing = [other for other in FIGURES if FIGURES[other].compute is compute and other != name]
    shared = f"; one computation with {', '.join(sharing)}" if sharing else ""
    if found.valid:
        return f"cached (took {found.seconds:.1f} s{shared})"
    took = "" if found.seconds is None else f"; took {found.seconds:.1f} s last time"
    return f"to be computed ({found.why}{took}{shared})"


def tabulate(name: str, size: str, out: Path) -> tuple[pd.DataFrame, page.Card]:
    """Write NAME.csv, from the cache if it can be; return the table and how it was made."""
    figure, config = FIGURES[name], config_of(name, size)
    whole = cache.load_or_compute(out / ".cache", kept_as(name, size), config, figure.compute)
    table = getattr(figure, "summarise", lambda table: table)(whole.table)
    page.Card.remove(out, name)  # the picture there is, if any, is not of this table
    note = "from the cache" if whole.cached else f"computed in {whole.seconds:.1f} s"
    table.to_csv(out / f"{name}.csv", index=False)
    print(f"{out / name}.csv  ({note})", flush=True)
    return table, page.Card(size, config, whole.seconds)


def draw(name: str, table: pd.DataFrame, card: page.Card, out: Path) -> list[Path]:
    """Write NAME.pdf and NAME.png, the same picture for the same table, and then NAME.json, how it was made."""
    paths = [out / f"{name}.{suffix}" for suffix in ("pdf", "png")]
    with style.applied():
        drawing = FIGURES[name].draw(table)
        if layout := drawing.get_layout_engine():
            layout.execute(drawing)
        drawing.set_layout_engine(None)  # laid out once, for both files
        for path, metadata in zip(paths, ({"CreationDate": None}, {"Software": None}), strict=True):
            drawing.savefig(path, metadata=metadata)
    card.write(out, name)
    return paths


def run() -> None:
    """The command: one line on stderr and status 2 for what the caller can mend."""
    run_app(app, "paper_figs", OSError, ValueError, interrupted="interrupted; what was computed is cached")


if __name__ == "__main__":
    run()
