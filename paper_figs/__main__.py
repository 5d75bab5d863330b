"""Regenerate the figures: ``python -m paper_figs [NAME ...] [--quick | --full] [--out DIR]``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from abs_theory.command_line import check_folder, run_app
from paper_figs import cache
from paper_figs.catalogue import FIGURES, ROOT
from paper_figs.definitions import Toolkit

if TYPE_CHECKING:  # loaded when something is drawn, so that listing is fast
    import pandas as pd

    from paper_figs.page import Card

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(help=f"Regenerate figures (all if none is named) and their page. There are {', '.join(FIGURES)}.")
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
        toolkit = toolkit_for(out)
        for name in chosen:
            print(f"{name:<{max(map(len, FIGURES))}}  {size}  {state_in_words(toolkit, name, size, out)}")
        return
    check_folder("--out", out)
    out.mkdir(parents=True, exist_ok=True)
    print(*make(chosen, size, out), sep="\n")


def make(names: list[str], size: str, out: Path) -> list[Path]:
    """Compute what is not cached, draw these figures and write the page of all; return the pictures and the page."""
    import joblib  # these take longer to load than a list of figures should take

    from paper_figs import page
    from paper_figs.parallel import in_parallel

    toolkit = toolkit_for(out)
    results = [tabulate(toolkit, name, size, out) for name in names]
    calls = [joblib.delayed(draw)(name, *result, out) for name, result in zip(names, results, strict=True)]
    drawn = in_parallel("drawing", calls) if len(names) > 1 else [draw(names[0], *results[0], out)]
    return [*(path for paths in drawn for path in paths), page.write(out)]


def toolkit_for(out: Path) -> Toolkit:
    """The definitions of the toolkit, as far as known from the last run into this folder."""
    return Toolkit(ROOT, out / ".cache" / "definitions.json")


def stored_as(name: str, size: str) -> str:
    """What the cached result is called: figures drawn from one computation share it."""
    return f"{FIGURES[name].compute.partition(':')[0].rpartition('.')[2]}-{size}"


def sources_of(toolkit: Toolkit, name: str) -> dict[str, str]:
    """A digest of each definition that computes a figure, and the versions beneath them."""
    from simulations.sweeps import versions

    beneath = {library: version for library, version in versions().items() if library != "toolkit"}
    return toolkit.used_by(FIGURES[name].compute) | beneath


def state_in_words(toolkit: Toolkit, name: str, size: str, out: Path) -> str:
    """Whether a figure's table is cached, and if not, why it has to be computed."""
    figure = FIGURES[name]
    stored = cache.state(out / ".cache", stored_as(name, size), figure.config(size), lambda: sources_of(toolkit, name))
    sharing = [other for other in FIGURES if FIGURES[other].compute == figure.compute and other != name]
    shared = f"; one computation with {', '.join(sharing)}" if sharing else ""
    if stored.valid:
        return f"cached (took {stored.seconds:.1f} s{shared})"
    took = "" if stored.seconds is None else f"; took {stored.seconds:.1f} s last time"
    return f"to be computed ({stored.why}{took}{shared})"


def tabulate(toolkit: Toolkit, name: str, size: str, out: Path) -> "tuple[pd.DataFrame, Card]":
    """Write NAME.csv, from the cache if it can be; return the table and how it was made."""
    from paper_figs.page import Card

    figure, config = FIGURES[name].load(), FIGURES[name].config(size)
    result = cache.load_or_compute(
        out / ".cache", stored_as(name, size), config, lambda: sources_of(toolkit, name), figure.compute
    )
    table = getattr(figure, "summarise", lambda table: table)(result.table)
    Card.remove(out, name)  # the picture there is, if any, is not of this table
    note = "from the cache" if result.cached else f"computed in {result.seconds:.1f} s"
    table.to_csv(out / f"{name}.csv", index=False)
    print(f"{out / name}.csv  ({note})", flush=True)
    return table, Card(size, config, result.seconds)


def draw(name: str, table: "pd.DataFrame", card: "Card", out: Path) -> list[Path]:
    """Write NAME.pdf and NAME.png, the same picture for the same table, and then NAME.json, how it was made."""
    from paper_figs import style

    paths = [out / f"{name}.{suffix}" for suffix in ("pdf", "png")]
    with style.applied():
        drawing = FIGURES[name].load().draw(table)
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
