"""How every figure looks: sizes, and one colour, marker and dash per method everywhere."""

from collections.abc import Hashable
from contextlib import AbstractContextManager
from typing import Any

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter
from numpy.typing import ArrayLike

COLUMN, PAGE = 3.5, 7.16  # widths in inches of one and two columns of a paper

# Okabe & Ito's palette, safe for colour-blind readers, a colour per family; the marker alone tells a method in grey
LOOKS: dict[str, tuple[str, Any, Any]] = {
    "ABS": ("#D55E00", "-", "o"),
    "ABS, time-optimal": ("#D55E00", (0, (4, 1.5)), "D"),
    "ABS, chosen": ("#D55E00", (0, (6, 1, 1, 1)), "*"),
    "SSP": ("#000000", (0, (4, 1.5)), (6, 1, 0)),
    "synchronous": ("#000000", "-", "s"),
    "local SGD": ("#7F7F7F", (0, (6, 1, 1, 1)), "h"),
    "K-sync": ("#0072B2", (0, (4, 1.5)), "v"),
    "MindFlayer": ("#0072B2", "-", ">"),
    "Rennala": ("#0072B2", (0, (1, 1)), "<"),
    "asynchronous": ("#56B4E9", "-", "^"),
    "delay-adaptive": ("#56B4E9", (0, (4, 1.5)), "8"),
    "Ringmaster": ("#E69F00", (0, (1, 1)), "p"),
    "Ringleader": ("#E69F00", (0, (4, 1.5)), (3, 1, 0)),
    "K-async": ("#009E73", (0, (4, 1.5)), "P"),
    "K-batch-async": ("#009E73", "-", "H"),
    "FedBuff": ("#009E73", (0, (1, 1)), (4, 1, 45)),
    "AdaSync": ("#CC79A7", (0, (4, 1, 1, 1, 1, 1)), "X"),
    "SA-AdaSync": ("#CC79A7", (0, (1, 1)), "d"),
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
    color, dash, marker = LOOKS[str(method)]
    on_top = 3 if str(method).startswith("ABS") else 2
    size = 7 if marker == "*" else mpl.rcParams["lines.markersize"]  # a star has little area
    return {"color": color, "linestyle": dash, "marker": marker, "markersize": size, "zorder": on_top}


def palette(size: int) -> list:
    """Colours for things that are not methods."""
    return sns.color_palette("colorblind", size)


def points(ax: Axes, x: ArrayLike, mean: ArrayLike, half_width: ArrayLike, **kind: Any) -> Any:
    """Simulated means with their 95 % intervals; on a logarithmic axis an interval down to 0 ends at the axis."""
    kind = {"linestyle": "none", "markersize": 3.5, "elinewidth": 0.8, "zorder": 4, "markeredgewidth": 0} | kind
    return ax.errorbar(x, mean, half_width, **kind)


def plain_log(axis: Axis) -> None:
    """A logarithmic axis with plain numbers at 1, 2, 5, 10, ..."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def key(label: str, **look: Any) -> Line2D:
    """A line of a legend."""
    look.setdefault("markersize", 3.5)
    return Line2D([], [], label=label, **look)


def band(ax: Axes, x: ArrayLike, middle: ArrayLike, error: ArrayLike, color: Any, least: float = 0.0) -> None:
    """The stated error of a theory, shaded; no deeper than ``least``."""
    middle, error = np.asarray(middle, dtype=float), np.asarray(error, dtype=float)
    ax.fill_between(
        np.asarray(x, dtype=float), np.maximum(middle - error, least), middle + error, color=color, alpha=0.15,
        linewidth=0,
    )  # fmt: skip
