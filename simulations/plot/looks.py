"""How the lines of a picture look: colours that colour-blind readers can tell apart, with a dash and a marker each."""

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypedDict, TypeVar

from abs_theory.checks import explains_types

if TYPE_CHECKING:  # matplotlib is loaded when something is drawn
    from matplotlib.axes import Axes
    from matplotlib.typing import ColorType, LineStyleType, MarkerType

__all__ = ["Look", "in_small_print", "look", "new_axes"]

Arguments = ParamSpec("Arguments")
Drawn = TypeVar("Drawn")


class Look(TypedDict, total=False):
    """Properties of a line, as matplotlib names them."""

    color: "ColorType"  #: of line, marker and band
    linestyle: "LineStyleType"  #: the dash
    marker: "MarkerType"  #: the marker
    markersize: float  #: in points
    zorder: float  #: what is drawn on top of what


# the palette of Okabe and Ito (2008) without yellow, which is too pale for lines
_COLORS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#000000", "#56B4E9", "#E69F00")
_DASHES = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (6, 1, 1, 1)))
_MARKERS = ("o", "s", "v", "P", "D", "^", "X", "<", ">", "p", "h")


def look(place: int) -> Look:
    """The look of the line at this place, from 0 on: 308 of them differ."""
    dash = _DASHES[place // len(_COLORS) % len(_DASHES)] if place >= len(_COLORS) else "-"
    return {
        "color": _COLORS[place % len(_COLORS)], "linestyle": dash, "marker": _MARKERS[place % len(_MARKERS)],
        "markersize": 4.0, "zorder": 2.0,
    }  # fmt: skip


@explains_types
def in_small_print(draw: Callable[Arguments, Drawn]) -> Callable[Arguments, Drawn]:
    """``draw`` with the letters of a page of print, so that several panels fit on it.

    >>> import matplotlib as mpl
    >>> in_small_print(lambda: mpl.rcParams["font.size"])()
    8.0
    """

    @wraps(draw)
    def smaller(*arguments: Arguments.args, **options: Arguments.kwargs) -> Drawn:
        import matplotlib as mpl

        with mpl.rc_context({
            "font.size": 8, "axes.labelsize": 8, "axes.titlesize": 8, "xtick.labelsize": 7, "ytick.labelsize": 7,
            "legend.fontsize": 7, "legend.frameon": False, "legend.handlelength": 3.2, "lines.linewidth": 1.2,
            "axes.spines.top": False, "axes.spines.right": False,
        }):  # fmt: skip
            return draw(*arguments, **options)

    return smaller


@explains_types
def new_axes(rows: int, columns: int, inches: tuple[float, float], share_x: bool = False) -> "list[Axes]":
    """A new figure of pyplot, which Jupyter shows, with a grid of panels, row by row.

    >>> len(new_axes(2, 3, (6.0, 4.0)))
    6
    """
    from matplotlib import pyplot

    figure = pyplot.figure(figsize=inches, layout="constrained")
    return list(figure.subplots(rows, columns, squeeze=False, sharex=share_x).flat)
