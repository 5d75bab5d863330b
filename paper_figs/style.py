"""How all figures look: sizes, and one colour, marker and dash pattern per method."""

from collections.abc import Hashable
from contextlib import AbstractContextManager
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter
from matplotlib.typing import ColorType, LineStyleType, MarkerType
from numpy.typing import ArrayLike

# properties of a line by name, as matplotlib takes and types them
LineProperty = Any
Look = dict[str, LineProperty]

COLUMN, PAGE = 3.5, 7.16  # widths in inches of one and two columns of a paper


# a colour of Okabe and Ito's palette (safe for colour-blind readers) per family; in grey the marker identifies a method
LOOKS: dict[str, tuple[ColorType, LineStyleType, MarkerType]] = {
    "ABS": ("#D55E00", "-", "o"),
    "ABS, time-optimal": ("#D55E00", (0, (4, 1.5)), "D"),
    "ABS, chosen": ("#D55E00", (0, (6, 1, 1, 1)), "*"),
    "ABS, self-tuning": ("#D55E00", "-", (5, 1, 0)),
    "ABS, timetable": ("#D55E00", (0, (1, 1)), (8, 2, 0)),
    "ABS, loss ratio": ("#D55E00", (0, (3, 1, 1, 1)), (3, 0, 0)),
    "SSP": ("#000000", (0, (4, 1.5)), (6, 1, 0)),
    "synchronous": ("#000000", "-", "s"),
    "local SGD": ("#7F7F7F", (0, (6, 1, 1, 1)), "h"),
    "K-sync": ("#0072B2", (0, (4, 1.5)), "v"),
    "MindFlayer": ("#0072B2", "-", ">"),
    "Rennala": ("#0072B2", (0, (1, 1)), "<"),
    "asynchronous": ("#56B4E9", "-", "^"),
    "delay-adaptive": ("#56B4E9", (0, (4, 1.5)), "8"),
    "STSyn": ("#56B4E9", (0, (6, 1, 1, 1)), (3, 0, 180)),
    "Ringmaster": ("#E69F00", (0, (1, 1)), "p"),
    "Ringleader": ("#E69F00", (0, (4, 1.5)), (3, 1, 0)),
    "K-async": ("#009E73", (0, (4, 1.5)), "P"),
    "K-batch-async": ("#009E73", "-", "H"),
    "FedBuff": ("#009E73", (0, (1, 1)), (4, 1, 45)),
    "AdaSync": ("#CC79A7", (0, (4, 1, 1, 1, 1, 1)), "X"),
    "SA-AdaSync": ("#CC79A7", (0, (1, 1)), "d"),
}

# two colours for anything but methods, the first of seaborn's palette "colorblind"
BLUE, ORANGE = "#0173B2", "#DE8F05"

_SETTINGS: dict[Any, Any] = {
    # what seaborn's style "ticks" changes; loading seaborn takes longer than drawing
    "axes.axisbelow": True,
    "axes.edgecolor": ".15",
    "axes.labelcolor": ".15",
    "font.sans-serif": ["Arial", "DejaVu Sans", "Liberation Sans", "Bitstream Vera Sans", "sans-serif"],
    "grid.color": ".8",
    "lines.solid_capstyle": "round",
    "patch.edgecolor": "w",
    "patch.force_edgecolor": True,
    "text.color": ".15",
    "xtick.color": ".15",
    "ytick.color": ".15",
    # ours
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
    """A context with the settings of all figures."""
    return mpl.rc_context(_SETTINGS)


def look(method: Hashable) -> Look:
    """Line properties of a method."""
    color, dash, marker = LOOKS[str(method)]
    on_top = 3 if str(method).startswith("ABS") else 2
    size = 7 if marker == "*" else mpl.rcParams["lines.markersize"]  # a star has a small area
    return {"color": color, "linestyle": dash, "marker": marker, "markersize": size, "zorder": on_top}


def points(ax: Axes, x: ArrayLike, mean: ArrayLike, half_width: ArrayLike, **look: LineProperty) -> ErrorbarContainer:
    """Simulated means with their 95 % intervals.  On a logarithmic axis an interval that reaches 0 ends at the axis."""
    defaults: Look = {"linestyle": "none", "markersize": 3.5, "elinewidth": 0.8, "zorder": 4, "markeredgewidth": 0}
    return ax.errorbar(x, mean, half_width, **defaults | look)


def plain_log(axis: Axis) -> None:
    """A logarithmic axis with plain numbers at 1, 2, 5, 10, ..."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def key(label: str, **look: LineProperty) -> Line2D:
    """An entry of a legend, drawn like a line."""
    look.setdefault("markersize", 3.5)
    return Line2D([], [], label=label, **look)


def band(ax: Axes, x: ArrayLike, middle: ArrayLike, error: ArrayLike, color: ColorType, lowest: float = 0.0) -> None:
    """The stated error of a theory as a shaded band, which ends at ``lowest``."""
    middle, error = np.asarray(middle, dtype=float), np.asarray(error, dtype=float)
    ax.fill_between(
        np.asarray(x, dtype=float), np.maximum(middle - error, lowest), middle + error, color=color, alpha=0.15,
        linewidth=0,
    )  # fmt: skip


def described(figure: Figure) -> str:
    """What the panels of a figure show, in words for those who cannot see it: their titles and axes."""
    panels = []
    for ax in figure.axes:
        title, x, y = (
            " ".join(text.replace("$", "").split()) for text in (ax.get_title(), ax.get_xlabel(), ax.get_ylabel())
        )
        axes = f"{y} against {x}" if x and y else x or y
        if text := ": ".join(filter(None, (title, axes))):
            panels.append(text)
    return f"{len(figure.axes)} panel{'s' if len(figure.axes) > 1 else ''}. {'; '.join(panels)}."
