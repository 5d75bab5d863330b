"""How every figure looks: sizes, and one colour, marker and dash per method everywhere."""

from collections.abc import Hashable
from contextlib import AbstractContextManager
from typing import Any

import matplotlib as mpl
import seaborn as sns

COLUMN, PAGE = 3.5, 7.16  # widths in inches of one and two columns of a paper

# Okabe & Ito's palette, safe for colour-blind readers; dashes and markers carry the same information in grey
_LOOKS = {
    "ABS": ("#D55E00", "-", "o"),
    "ABS, time-optimal": ("#D55E00", (0, (4, 1.5)), "D"),
    "synchronous": ("#000000", "-", "s"),
    "asynchronous": ("#56B4E9", "-", "^"),
    "K-sync": ("#0072B2", "-", "v"),
    "K-async": ("#009E73", "-", "P"),
    "AdaSync": ("#CC79A7", "-", "X"),
    "SA-AdaSync": ("#CC79A7", (0, (1, 1)), "d"),
    "local SGD": ("#8C8C8C", (0, (6, 1, 1, 1)), "*"),
}

_SETTINGS = {
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 3.2,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "pdf.fonttype": 42,  # embed fonts as TrueType
    "savefig.dpi": 200,
    "svg.hashsalt": "abs",
}


def applied() -> AbstractContextManager:
    """The settings all figures are drawn under."""
    settings: Any = sns.axes_style("ticks") | _SETTINGS
    return mpl.rc_context(settings)


def look(method: Hashable) -> dict:
    """Line properties of a method."""
    color, dash, marker = _LOOKS[str(method)]
    on_top = 3 if str(method).startswith("ABS") else 2
    return {"color": color, "linestyle": dash, "marker": marker, "zorder": on_top}


def palette(size: int) -> list:
    """Colours for things that are not methods."""
    return sns.color_palette("colorblind", size)
