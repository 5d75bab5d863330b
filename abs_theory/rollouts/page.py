"""A comparison as one self-contained page of HTML, with its pictures inside."""

import math
from pathlib import Path

from matplotlib.figure import Figure

from abs_theory.files import replacing
from abs_theory.pages import inline_svg, render
from abs_theory.rollouts.comparison import Comparison
from abs_theory.rollouts.names import HEADINGS

__all__ = ["page", "write_page"]

CHOSEN = "#c1440e"
MAY_BREAK = "\u200b"  # a space without width, so that a browser breaks long headings
FAMILIES = {  # first word of the name of a mode: colour and marker
    "synchronous": ("#000000", "s"),
    "over-sampling": ("#7f7f7f", "D"),
    "tail": ("#cc79a7", "X"),
    "ahead": ("#009e73", "P"),
    "abort": ("#d55e00", "o"),
    "drop": ("#e69f00", "v"),
    "window": ("#56b4e9", "^"),
    "in": ("#0072b2", "<"),
}


def page(comparison: Comparison, lengths: str) -> str:
    """The whole page; ``lengths`` says where the lengths come from."""
    table = comparison.readable()
    headings = [HEADINGS[str(name)].replace("/", f"/{MAY_BREAK}") for name in table]
    rows = [
        {"chosen": row["mode"] == comparison.recommended, "cells": [_text(cell) for cell in row.values()]}
        for row in table.to_dict("records")
    ]
    return render(
        Path(__file__).with_name("page.html"), title="Which mode of generation", words=comparison.conditions(lengths),
        notes=comparison.notes, why=comparison.why, what_to_type=comparison.what_to_type, headings=headings, rows=rows,
        pictures=inline_svg(_pictures(comparison)),
    )  # fmt: skip


def _text(value: object) -> str:
    if isinstance(value, float):
        return "none" if math.isinf(value) else "-" if math.isnan(value) else f"{value:.3g}"
    return str(value)


def _pictures(comparison: Comparison) -> Figure:
    """Speed against staleness, and against the share of long rollouts."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for family, (color, marker) in FAMILIES.items():
        rows = comparison.table[comparison.table["mode"].str.split(r"[ ,]", regex=True).str[0] == family]
        label = {"in": "in order", "tail": "tail batching"}.get(family, family)
        for ax, name in zip(axes, ("staleness_p99", "longest_10"), strict=True):
            ax.plot(rows[name], rows["rollouts_per_second"], color=color, marker=marker, linestyle=":", label=label)
    best = comparison.table[comparison.table["mode"] == comparison.recommended]
    for ax, name in zip(axes, ("staleness_p99", "longest_10"), strict=True):
        ax.plot(
            best[name], best["rollouts_per_second"], "o", markersize=13, markerfacecolor="none",
            markeredgecolor=CHOSEN, label="recommended",
        )  # fmt: skip
    axes[0].set_xscale("symlog", linthresh=1)
    axes[0].set(xlabel="99 % quantile of the staleness (updates)", ylabel="rollouts per second", ylim=(0, None))
    axes[0].xaxis.set_major_formatter("{x:g}")
    axes[1].set(xlabel="share of the longest tenth, over its fair share", xlim=(-0.05, 1.1))
    axes[1].legend(frameon=False, fontsize=8, loc="center")
    return figure


def write_page(comparison: Comparison, lengths: str, path: Path) -> Path:
    """Write the page to ``path``, and return it.

    >>> import tempfile
    >>> from abs_theory.delays import Exponential
    >>> from abs_theory.rollouts import Setup, compare
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_page(compare(Setup(Exponential(1.0), 4, 8)), "an example", Path(folder) / "modes.html")
    ...     "Recommended" in path.read_text()
    True
    """
    with replacing(path) as part:
        part.write(page(comparison, lengths).encode())
    return path
