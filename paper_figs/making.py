"""From names of figures to their files: what is cached is not computed, and what is up to date is not drawn again."""

import gc
import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from abs_theory.command_line import warn
from abs_theory.files import locked, replacing
from paper_figs import cache
from paper_figs.catalogue import FIGURES, ROOT, Config
from paper_figs.definitions import Toolkit
from paper_figs.page import PAGE, Card, digest_of, numbers_of

if TYPE_CHECKING:  # loaded when something is computed or drawn
    import pandas as pd

__all__ = ["make", "outputs_of", "state_in_words", "toolkit_for"]

FEW_FIGURES = 3  # to compute, for which no process is started ahead
PARTS_OF_DRAWING = ("draw", "summarise", "numbers")


def make(
    names: list[str], size: str, out: Path, width: str = "page", svg: bool = False, data: Path | None = None
) -> list[Path]:
    """Compute what is not cached, draw what is out of date, and write the page; return the pictures and the page.

    ``data`` is a folder with data files, for the figures that train on them.
    Raises OSError if another run is writing to ``out``.
    """
    with locked(out, ".cache"):
        return _make(names, size, out, width, svg, data)


def config_of(name: str, size: str, data: Path | None) -> Config:
    """What is computed: the configuration of this size, on other ``data`` if the figure can use them."""
    config = FIGURES[name].config(size)
    return config | {"data": str(data)} if data is not None and "data" in config else config


def _make(names: list[str], size: str, out: Path, width: str, svg: bool, data: Path | None) -> list[Path]:
    from paper_figs import page

    toolkit = toolkit_for(out)
    if sum(not is_stored(name, size, out) for name in names) > FEW_FIGURES:
        _start(toolkit)
    with ExitStack() as stack:
        drawings = []  # begun while the next figures are computed
        latest = None  # not begun: a single drawing needs no other process
        computations = [FIGURES[name].compute for name in names]  # figures that share one come one after another
        for name in sorted(names, key=lambda name: computations.index(FIGURES[name].compute)):
            result = tabulate(toolkit, name, size, config_of(name, size, data), out, width, svg)
            if result is not None:
                if latest is not None:
                    drawings.append(_begun(latest, stack))
                latest = partial(draw, name, *result, out, width, svg)
        if drawings and latest is not None:
            drawings.append(_begun(latest, stack))
        elif latest is not None:
            latest()
        for drawing in drawings:
            list(drawing)
    return [*(path for name in names for path in pictures_of(out, name, svg)), page.write(out)]


def _start(toolkit: Toolkit) -> None:
    """Start the processes that will compute, and read the source meanwhile."""
    from paper_figs.parallel import started_processes

    with started_processes() as processes:
        _ = toolkit.modules
        list(processes)


def _begun(call: Callable[[], None], stack: ExitStack) -> Iterator[None]:
    """Begin to draw in another process; done when the result is exhausted, given up if ``stack`` ends before."""
    import joblib

    from paper_figs.parallel import begun

    return stack.enter_context(begun([joblib.delayed(call)()]))


def pictures_of(out: Path, name: str, svg: bool) -> list[Path]:
    """The files a figure is drawn to."""
    return [out / f"{name}.{kind}" for kind in (("pdf", "png", "svg") if svg else ("pdf", "png"))]


def outputs_of(names: list[str], out: Path) -> list[Path]:
    """All files that ``make`` may write or remove, those of its cache aside."""
    kinds = (".csv", "-numbers.csv", ".json", ".pdf", ".png", ".svg")
    return [*(out / f"{name}{kind}" for name in names for kind in kinds), out / PAGE]


def toolkit_for(out: Path) -> Toolkit:
    """The definitions of the toolkit, as far as known from the last run into this folder."""
    return Toolkit(ROOT, out / ".cache" / "definitions.json")


def stored_as(name: str, size: str) -> str:
    """What the cached result is called: figures drawn from one computation share it."""
    return f"{FIGURES[name].compute.partition(':')[0].rpartition('.')[2]}-{size}"


def is_stored(name: str, size: str, out: Path) -> bool:
    """Whether there is a result of a figure in this size, valid or not."""
    return cache.entry(out / ".cache", stored_as(name, size)).exists()


def sources_of(toolkit: Toolkit, name: str) -> dict[str, str]:
    """A digest of each definition that computes a figure, and the versions beneath them."""
    from simulations.sweeps import versions

    beneath = {library: version for library, version in versions().items() if library != "toolkit"}
    return toolkit.used_by(FIGURES[name].compute) | beneath


def drawing_of(toolkit: Toolkit, name: str, config: Config, width: str, svg: bool) -> str:
    """A digest of all that a picture depends on: its numbers, and what draws them."""
    figure = FIGURES[name]
    drawing = toolkit.used_by(*(f"{figure.module}:{part}" for part in PARTS_OF_DRAWING if figure.defines(part)))
    drawing |= toolkit.used_by("paper_figs.making:draw")
    beneath = {library: metadata.version(library) for library in ("matplotlib", "pandas")}
    parts = [sources_of(toolkit, name), config, drawing, beneath, width, svg]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def state_in_words(toolkit: Toolkit, name: str, size: str, out: Path, data: Path | None = None) -> str:
    """Whether a figure's table is cached, and if not, why it has to be computed."""
    figure, config = FIGURES[name], config_of(name, size, data)
    stored = cache.state(out / ".cache", stored_as(name, size), config, lambda: sources_of(toolkit, name))
    sharing = [other for other in FIGURES if FIGURES[other].compute == figure.compute and other != name]
    shared = f"; one computation with {', '.join(sharing)}" if sharing else ""
    if stored.valid:
        return f"cached (took {stored.seconds:.1f} s{shared})"
    took = "" if stored.seconds is None else f"; took {stored.seconds:.1f} s last time"
    return f"to be computed ({stored.why}{took}{shared})"


def tabulate(
    toolkit: Toolkit, name: str, size: str, config: Config, out: Path, width: str, svg: bool
) -> "tuple[pd.DataFrame, Card] | None":
    """The table to be drawn, and how it was made; None if it and its pictures are up to date."""
    figure, sources = FIGURES[name], partial(sources_of, toolkit, name)
    drawn_from, card = drawing_of(toolkit, name, config, width, svg), Card.read(out, name)
    files = [out / f"{name}.csv", numbers_of(out, name), *pictures_of(out, name, svg)]
    stored = cache.state(out / ".cache", stored_as(name, size), config, sources)
    damaged = card.damaged(files) if stored.valid and card and card.drawn_from == drawn_from else None
    if damaged == []:
        print(f"{out / name}.csv  (from the cache, drawn before)", flush=True)
        return None
    for path in damaged or []:
        if path.exists():
            warn("paper_figs", f"{path} was damaged; it has been made again")
    if not stored.valid and sys.stderr.isatty():
        took = "" if stored.seconds is None else f", which took {stored.seconds:.1f} s last time"
        print(f"{name}: computing{took} (Ctrl-C ends it)", file=sys.stderr, flush=True)
    module = figure.load()
    result = cache.load_or_compute(out / ".cache", stored_as(name, size), config, sources, module.compute)
    table = getattr(module, "summarise", lambda table: table)(result.table)
    Card.remove(out, name)  # the picture there is, if any, is not of this table
    note = "from the cache" if result.cached else f"computed in {result.seconds:.1f} s"
    print(f"{out / name}.csv  ({note})", flush=True)
    return table, Card(size, dict(config), result.seconds, result.made, drawn_from)


@contextmanager
def _no_search_for_garbage() -> Iterator[None]:
    """A drawing has very many objects, and none is garbage before its end: searching takes a sixth of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def draw(name: str, table: "pd.DataFrame", card: Card, out: Path, width: str = "page", svg: bool = False) -> None:
    """Write NAME.csv, NAME.pdf, NAME.png and perhaps NAME.svg, the same for the same table, then NAME.json, the card.

    No file of other numbers ever stands beside a new one: all are prepared, the old ones go, the new ones come.
    """
    from paper_figs import style, widths

    metadata_of: Mapping[str, dict[str, None]] = {
        "pdf": {"CreationDate": None}, "png": {"Software": None}, "svg": {"Date": None},
    }  # fmt: skip
    module, csv, short = FIGURES[name].load(), out / f"{name}.csv", out / f"{name}-numbers.csv"
    with style.applied(), _no_search_for_garbage(), ExitStack() as prepared:
        drawing = module.draw(table)
        widths.fit(drawing, width, FIGURES[name].title)
        if layout := drawing.get_layout_engine():
            layout.execute(drawing)
        drawing.set_layout_engine(None)  # laid out once, for all files
        for path in pictures_of(out, name, svg):
            kind = path.suffix[1:]
            file = prepared.enter_context(replacing(path))
            drawing.savefig(file, format=kind, metadata=metadata_of[kind])
        table.to_csv(prepared.enter_context(replacing(csv)), index=False)
        if hasattr(module, "numbers"):
            numbers = getattr(module, "numbers")(table)  # noqa: B009
            numbers.to_csv(prepared.enter_context(replacing(short)), index=False)
        panels = style.described(drawing)
        for path in (csv, short, *pictures_of(out, name, svg=True)):
            path.unlink(missing_ok=True)
    files = [csv, numbers_of(out, name), *pictures_of(out, name, svg)]
    replace(card, panels=panels, digests={path.name: digest_of(path) for path in files}).write(out, name)
