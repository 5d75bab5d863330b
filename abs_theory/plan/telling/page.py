"""A plan as one self-contained page of HTML, with its pictures inside, as a part of a notebook, and as JSON."""

import json
import shlex
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from abs_theory import __version__
from abs_theory.checks import explains_types
from abs_theory.files import locked, replacing
from abs_theory.pages import inline_svg, render
from abs_theory.plan.result import Plan
from abs_theory.plan.telling.advice import advice, decision
from abs_theory.plan.telling.comparison import Comparison
from abs_theory.plan.telling.costs import Cost
from abs_theory.plan.telling.curve import columns, row_of
from abs_theory.plan.telling.recipes import RECIPES, recipe
from abs_theory.plan.telling.words import limits, properties, round_times

if TYPE_CHECKING:  # loaded when a page is made
    from markupsafe import Markup
    from matplotlib.figure import Figure

__all__ = ["Origin", "fragment", "page", "write", "write_comparison"]


def _now() -> str:
    return datetime.now(UTC).isoformat(sep=" ", timespec="seconds")


@dataclass(frozen=True)
class Origin:
    """Where a plan comes from, so that it can be made again."""

    file: str = ""  #: that was read, or several; "" if the data were in memory
    command: str = ""  #: as it was typed; "" without one
    date: str = field(default_factory=_now)  #: of the plan, in UTC
    version: str = __version__  #: of this package

    @classmethod
    def of_command(cls, *files: Path) -> "Origin":
        """The origin of what this command makes of ``files``."""
        return cls(", ".join(map(str, files)), shlex.join(["python", "-m", "abs_theory", *sys.argv[1:]]))

    def __str__(self) -> str:
        parts = [f"file {self.file}"] if self.file else []
        parts += [f"made on {self.date}", f"abs-toolkit {self.version}"]
        return ", ".join(parts) + (f", by: {self.command}" if self.command else "")


def page(plan: Plan, cost: Cost | None = None, origin: Origin | None = None) -> str:
    """The whole page; pictures are inline SVG."""
    return render(
        Path(__file__).with_name("plan.html"), title=decision(plan), plan=plan, advice=advice(plan),
        rows=[_row(plan, k) for k in columns(plan)], round_times=[line.strip() for line in round_times(plan)[1:]],
        input=[*(plan.report or ("Nothing was changed.",)), plan.staleness], limits=limits(plan),
        properties=properties(plan), pictures=_pictures(plan), cost=cost and [line.strip() for line in cost.lines],
        recipes=[recipe(plan, name) for name in RECIPES], origin=str(origin or Origin()),
    )  # fmt: skip


def fragment(plan: Plan) -> str:
    """The answer with two pictures and the text, for a notebook: HTML without head and style sheet."""
    return render(
        Path(__file__).with_name("fragment.html"), advice=advice(plan), pictures=_pictures(plan)[:2], text=plan.text
    )


def _pictures(plan: Plan) -> "list[dict[str, str | Markup]]":
    from abs_theory.plan.telling import pictures  # matplotlib takes a while to load

    model = "" if plan.model is None else f", and by the model ({plan.model.words})"
    changes = " Orange lines: changes of the level." if plan.changes else ""
    told: list[tuple[Callable[[Plan], Figure], str]] = [
        (
            pictures.curve,
            f"Mean time of the k-th arrival, with its 95 % interval where one is identified{model}.",
        ),
        (pictures.rates, "Gradients per second for each k, with the choice."),
        (pictures.heat_map, f"Delay of each worker over time. White: nothing was delivered.{changes}"),
        (pictures.over_time, f"Round time over time. Dashed: long gaps between rounds.{changes}"),
        (
            pictures.per_worker,
            "Delays of each worker, the slowest first: 90 % of them, half of them (thick) and the median. Orange: slow "
            "workers.",
        ),
        (
            pictures.tail,
            "Share of delays that are longer than t, by Kaplan and Meier (1958) if some are censored.",
        ),
    ]
    return [{"svg": inline_svg(draw(plan)), "caption": caption} for draw, caption in told]


def _row(plan: Plan, k: int) -> dict[str, object]:
    """The row of a k in the table, as texts."""
    row = row_of(plan, k)
    interval = "" if row["reason"] else f"{row['low']:.4g} to {row['high']:.4g}"
    values = (row["mean"], row["model"], row["rate"], 100 * row["expected_loss"])
    mean, model, rate, loss = (f"{value:.4g}" if np.isfinite(value) else "" for value in values)
    return {"k": k, "cells": [mean, interval, model, rate, loss, row["reason"]]}


@explains_types
def write(plan: Plan, folder: Path, cost: Cost | None = None, origin: Origin | None = None) -> list[Path]:
    """Write plan.html and plan.json into ``folder``, which is created if it does not exist; returns both paths.

    Both contain the ``cost``, if there is one, and the ``origin``: by default the date and the version alone.

    >>> import tempfile
    >>> import pandas as pd
    >>> from abs_theory import plan, traces
    >>> rows = [(t, w, 9.0 if w == 2 else 1.0) for t in range(30) for w in range(3)]
    >>> trace = traces.from_frame(pd.DataFrame(rows, columns=["round", "worker", "seconds"]))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     [path.name for path in plan.write(plan.plan(trace), Path(folder))]
    ['plan.html', 'plan.json']
    """
    origin = origin or Origin()
    data = {"decision": decision(plan)} | plan.to_dict() | {"cost": cost and cost.to_dict(), "origin": vars(origin)}
    return _written(folder, "plan", page(plan, cost, origin), data)


@explains_types
def write_comparison(comparison: Comparison, folder: Path, origin: Origin | None = None) -> list[Path]:
    """Write comparison.html and comparison.json into ``folder``, as ``write`` does; returns both paths.

    >>> import tempfile
    >>> import pandas as pd
    >>> from abs_theory import plan, traces
    >>> rows = [(t, w, 9.0 if w == 2 else 1.0) for t in range(30) for w in range(3)]
    >>> trace = traces.from_frame(pd.DataFrame(rows, columns=["round", "worker", "seconds"]))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     [path.name for path in plan.write_comparison(plan.compare(trace, trace), Path(folder))]
    ['comparison.html', 'comparison.json']
    """
    from abs_theory.plan.telling import pictures

    origin = origin or Origin()
    text = render(
        Path(__file__).with_name("comparison.html"), title="Two traces compared", comparison=comparison,
        curves=inline_svg(pictures.compared(comparison)), origin=str(origin),
    )  # fmt: skip
    return _written(folder, "comparison", text, comparison.to_dict() | {"origin": vars(origin)})


def _written(folder: Path, name: str, page: str, data: dict[str, object]) -> list[Path]:
    """The page and the data in files of this name."""
    contents = {f"{name}.html": page, f"{name}.json": json.dumps(data, indent=1, allow_nan=False) + "\n"}
    with locked(folder, ".", wait_seconds=60.0), ExitStack() as both:  # both are replaced once both are written
        for file, text in contents.items():
            both.enter_context(replacing(folder / file)).write(text.encode())
    return [folder / file for file in contents]
