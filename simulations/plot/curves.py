"""Median and quartiles over replicates on a common grid, as a band: runs are recorded at different times."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from abs_theory.checks import explains_types
from simulations.plot.looks import Look

if TYPE_CHECKING:  # matplotlib is loaded when something is drawn
    from matplotlib.axes import Axes

__all__ = ["band", "quartiles"]


@explains_types
def quartiles(
    runs: Sequence[pd.DataFrame], x: str, grid: ArrayLike, columns: Sequence[str], falling: Collection[str] = ()
) -> dict[str, np.ndarray]:
    """Quartiles over ``runs``, one table each, of each column at the points ``grid`` of the column ``x``.

    Between two rows a run keeps its last value; before its first row it has none (NaN), and neither have the quartiles.
    A quartile is the value of one of the runs.  Columns of ``falling`` are ranked from above, so that their median
    belongs to the median run of a quantity that rises meanwhile.  Returns ``column_low``, ``column_median`` and
    ``column_high`` for each column, of the size of ``grid``.

    >>> runs = [pd.DataFrame({"time": [0.0, 2.0], "loss": [4.0, last]}) for last in (1.0, 2.0, 3.0)]
    >>> quartiles(runs, "time", [0.0, 1.0, 2.0], ["loss"])["loss_median"].tolist()
    [4.0, 4.0, 2.0]
    """
    at = [np.searchsorted(run[x], grid, side="right") - 1 for run in runs]
    table = {}
    for column in columns:
        series = [run[column].to_numpy() for run in runs]
        values = np.array([own[rows] for own, rows in zip(series, at, strict=True)])  # of integers if all are
        if any((rows < 0).any() for rows in at):
            values = np.where(np.array(at) < 0, np.nan, values)
        sign = -1 if column in falling else 1
        for name, q in (("low", 0.25), ("median", 0.5), ("high", 0.75)):
            rank = q if sign > 0 else 1 - q
            table[f"{column}_{name}"] = sign * np.quantile(sign * values, rank, axis=0, method="inverted_cdf")
    return table


@explains_types
def band(ax: "Axes", rows: pd.DataFrame, x: str, column: str, name: str, look: Look, *, steps: bool = False) -> None:
    """Draw a median as a line (or steps) with a few markers, and its quartiles as a band.

    ``rows`` has the column ``x`` and those that ``quartiles`` returns for ``column``.  Infinite values, of runs that
    have diverged, are not drawn.

    >>> from matplotlib.figure import Figure
    >>> ax = Figure().subplots()
    >>> rows = pd.DataFrame({"time": [0, 1], "loss_low": [1, 1], "loss_median": [2, 1], "loss_high": [3, 2]})
    >>> band(ax, rows, "time", "loss", "ABS", {"color": "black"})
    >>> ax.lines[0].get_label(), len(ax.collections)
    ('ABS', 1)
    """
    finite = rows[np.isfinite(rows[f"{column}_median"])]
    ax.plot(
        finite[x], finite[f"{column}_median"], label=name, markevery=(0.05, 0.25),
        drawstyle="steps-post" if steps else "default", clip_on=not steps, **look,
    )  # fmt: skip
    high = finite[f"{column}_high"].replace(np.inf, np.nan)
    ax.fill_between(
        finite[x], finite[f"{column}_low"], high, color=look.get("color"), alpha=0.12, linewidth=0,
        step="post" if steps else None,
    )  # fmt: skip
