"""A figure drawn for the width of a page, fitted to a column or to a slide: panels stacked, legends and notes wrapped.

Every ``draw`` makes the page version.  Nothing of what it drew is changed, only where it stands and how large it is.
"""

import textwrap
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, FuncFormatter

from paper_figs import style

Outside = Literal["outside upper center", "outside lower center", "outside right center"]

__all__ = ["WIDTHS", "fit"]

WIDTHS = {"column": 3.5, "page": style.PAGE, "talk": 10.0}  # in inches; a slide has 10 x 5.6
TALK_FONTS = 1.5  # times the size of fonts and lines on a page; the slide itself is 1.4 times as wide
TALL_COLUMN = 9.2  # inches: the height of a printed page
SINGLE = 4  # panels up to which a column has one below the other; more stand in two columns
PANEL_HEIGHT = 2.0  # inches, in a column
MIN_PANEL_HEIGHT = 1.2  # inches, even if the column then is taller than a page
LETTERS_PER_INCH = 19  # of 6 pt
HALF_COLUMN_LETTERS = 20  # of an axis label
HANDLE_LETTERS = 14  # letters as wide as the line before a text of a legend


def fit(figure: Figure, width: str, title: str) -> None:
    """Fit a figure to a width of ``WIDTHS``; on a slide it gets its title.  Layout is left to the layout engine."""
    if width == "column":
        _stack(figure)
        _wrap_legends(figure, WIDTHS[width])
        note = figure.get_supxlabel()
        if note:
            figure.supxlabel(textwrap.fill(note, int(LETTERS_PER_INCH * WIDTHS[width])), fontsize=6)
    elif width == "talk":
        inches = figure.get_figwidth()
        figure.set_size_inches(WIDTHS[width], figure.get_figheight() * WIDTHS[width] / inches + 0.4)
        _move_legends_below(figure)
        for text in figure.findobj(Text):
            text.set_fontsize(TALK_FONTS * float(text.get_fontsize()))
        for ax in figure.axes:
            for line in ax.lines:
                line.set_linewidth(TALK_FONTS * line.get_linewidth())
                line.set_markersize(TALK_FONTS * line.get_markersize())
        figure.suptitle(textwrap.fill(title, 80), fontsize=14, fontweight="bold")


def _stack(figure: Figure) -> None:
    """Put the panels of a grid below each other, each with the labels that they had in common."""
    grid = {_place(ax): ax for ax in figure.axes}
    rows = 1 + max(row for row, _ in grid)
    for (row, column), ax in grid.items():
        _complete(ax, grid.get((0, column)), grid.get((rows - 1, column)), grid.get((row, 0)))
    across = 1 if len(grid) <= SINGLE else 2
    # panels of one column of the page stay together; in two columns an odd number leaves a place free
    length = rows + rows % across if across > 1 else rows
    slots = {place: place[1] * length + place[0] for place in grid}
    down = 1 + max(slots.values()) // across
    wanted = max(figure.get_figheight() / rows, PANEL_HEIGHT) * down + 0.6
    height = max(min(TALL_COLUMN, wanted), MIN_PANEL_HEIGHT * down)
    figure.set_size_inches(WIDTHS["column"], height)
    specs = figure.add_gridspec(down, across)
    for place, ax in grid.items():
        ax.set_subplotspec(specs[slots[place] // across, slots[place] % across])
        if across > 1:
            ax.set_xlabel(textwrap.fill(ax.get_xlabel(), HALF_COLUMN_LETTERS))


def _place(ax: Axes) -> tuple[int, int]:
    """Row and column of a panel."""
    spec = ax.get_subplotspec()
    assert spec is not None, "figures are made with subplots"
    return spec.rowspan.start, spec.colspan.start


def _complete(ax: Axes, top: Axes | None, bottom: Axes | None, left: Axes | None) -> None:
    """Give a panel the title and the labels that stood on others for it."""
    if top is not None and not ax.get_title():
        ax.set_title(top.get_title())
    if bottom is not None and not ax.get_xlabel():
        ax.set_xlabel(bottom.get_xlabel())
    named = isinstance(ax.yaxis.get_major_formatter(), (FixedFormatter, FuncFormatter))  # ticks that say what they are
    if left is not None and not ax.get_ylabel() and (not named or ax.get_shared_y_axes().joined(ax, left)):
        ax.set_ylabel(left.get_ylabel())
    ax.tick_params(labelbottom=True, labelleft=True)


def _wrap_legends(figure: Figure, inches: float) -> None:
    """Break legends into as few columns, and their titles into as many lines, as the width needs."""
    letters = int(inches * LETTERS_PER_INCH)
    places: tuple[Outside, ...] = ("outside upper center", "outside lower center")
    for legend, loc in zip(list(figure.legends), places, strict=False):
        longest = max((len(text.get_text()) for text in legend.get_texts()), default=1)
        columns = max(1, letters // (longest + HANDLE_LETTERS))
        _replace(figure, legend, loc, min(columns, len(legend.get_texts())), int(0.8 * letters), fontsize=6)


def _move_legends_below(figure: Figure) -> None:
    """The upper legend below the panels, the lower one beside them: a title needs the place above."""
    places: tuple[Outside, ...] = ("outside lower center", "outside right center")
    for legend, loc, columns in zip(list(figure.legends), places, (4, 1), strict=False):
        _replace(figure, legend, loc, columns, 100, fontsize=7)


def _replace(figure: Figure, legend: Legend, loc: Outside, columns: int, letters: int, fontsize: float) -> None:
    """Put a legend elsewhere."""
    handles = [handle for handle in legend.legend_handles if handle is not None]
    texts = [text.get_text() for text in legend.get_texts()]
    title = textwrap.fill(legend.get_title().get_text(), letters) or None
    legend.remove()
    figure.legend(handles, texts, loc=loc, ncols=columns, title=title, fontsize=fontsize, title_fontsize=fontsize)
