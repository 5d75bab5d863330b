"""Figures fitted to a column and to a slide: right width, all texts on the page, large enough to read."""

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from paper_figs import style, widths
from paper_figs.catalogue import FIGURES
from paper_figs.figures import budget, timeline

MIN_POINTS = 5  # of any text in a column; the small print of maps and notes


def fitted(draw, table, width, name):
    with style.applied():
        figure = draw(table)
        widths.fit(figure, width, FIGURES[name].title)
        figure.draw_without_rendering()
    return figure


@pytest.fixture(scope="module")
def tables():
    return {"timeline": timeline.compute(**timeline.QUICK), "budget": budget.compute(**budget.QUICK)}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["timeline", "budget"])
@pytest.mark.parametrize("width", widths.WIDTHS)
def test_a_figure_fits_its_width(name, width, tables):
    figure = fitted(FIGURES[name].load().draw, tables[name], width, name)
    assert figure.get_figwidth() == pytest.approx(widths.WIDTHS[width])
    page = figure.bbox.padded(2)
    for part in (*figure.axes, *figure.legends):
        box = part.get_tightbbox()
        assert page.contains(*box.min)
        assert page.contains(*box.max)
    assert min(text.get_fontsize() for text in figure.findobj(Text) if text.get_text()) >= MIN_POINTS
    assert (figure.get_suptitle() == "") == (width != "talk")


def grid(rows, columns):
    """Panels that say their place, with the labels of a page: titles on top, labels at the edges."""
    figure = Figure(figsize=(style.PAGE, 4), layout="constrained")
    axes = figure.subplots(rows, columns, sharex="col", sharey="row", squeeze=False)
    for (row, column), ax in zip(((i, j) for i in range(rows) for j in range(columns)), axes.flat, strict=True):
        ax.plot([0, 1], [row, column])
        if row == 0:
            ax.set_title(f"title {column}")
        if row == rows - 1:
            ax.set_xlabel(f"x {column}")
        if column == 0:
            ax.set_ylabel(f"y {row}")
    return figure


@pytest.mark.parametrize("rows, columns", [(1, 3), (2, 2), (3, 3), (4, 3)])
def test_a_column_has_every_panel_once_with_title_and_labels(rows, columns):
    figure = grid(rows, columns)
    widths.fit(figure, "column", "")
    figure.draw_without_rendering()
    places = set()
    for i, ax in enumerate(figure.axes):
        assert (ax.get_title(), ax.get_xlabel()) == (f"title {i % columns}", f"x {i % columns}")
        assert ax.get_ylabel() == f"y {i // columns}"
        assert any(label.get_visible() and label.get_text() for label in ax.get_yticklabels())
        places.add((ax.get_subplotspec().rowspan.start, ax.get_subplotspec().colspan.start))
    assert len(places) == rows * columns
    assert {column for _, column in places} == ({0} if rows * columns <= 4 else {0, 1})


def test_ticks_that_have_names_get_no_label_of_a_neighbour():
    figure = Figure(figsize=(style.PAGE, 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.set_ylabel("share")
    right.set(yticks=[0, 1], yticklabels=["one", "two"])
    widths.fit(figure, "column", "")
    assert right.get_ylabel() == ""
