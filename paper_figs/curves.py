"""Median and quartiles over replicates, on a common grid: runs are recorded at different times."""

from collections.abc import Hashable, Iterable
from typing import cast

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figs import style
from simulations.plot import Look, band, quartiles

FALLING = {"max_staleness"}  # it falls as k rises; ranked from above, its median belongs to the median k


def on_grid(runs: pd.DataFrame, x: str, columns: list[str], points: int = 80) -> pd.DataFrame:
    """Quartiles over replicates of each column, per law, method and grid point of ``x``.

    Between two records a run keeps its last value; each run starts at 0 (``plot.with_start``).  A grid over time ends
    at the horizon.  Any other grid ends where the first run ends that has not diverged, so that every point has all
    replicates.  A diverged run has an infinite loss, the worst value of the quartiles.
    """
    tables = []
    for (law, method), rows in runs.groupby(["law", "method"], sort=False):
        groups = [group for _, group in rows.groupby("replicate")]
        if x == "time":
            grid = np.linspace(0, rows["horizon"].iloc[0], points)
        else:
            ends = [group[x].iloc[-1] for group in groups if np.isfinite(group["loss"].iloc[-1])]
            begin = max(1, rows.loc[rows[x] > 0, x].min() / 2)
            grid = np.geomspace(begin, max(min(ends, default=begin), 2 * begin), points)
        table = {"law": law, "method": method, x: grid, **quartiles(groups, x, grid, columns, FALLING)}
        tables.append(pd.DataFrame(table))
    return pd.concat(tables, ignore_index=True)


def on_grids(runs: pd.DataFrame, xs: Iterable[str], columns: list[str]) -> pd.DataFrame:
    """``on_grid`` for several ``xs`` in one table: column "x" names the quantity, "spent" has its grid."""
    tables = [on_grid(runs, x, columns).rename(columns={x: "spent"}).assign(x=x) for x in xs]
    return pd.concat(tables, ignore_index=True)


def numbers(table: pd.DataFrame, x: str, columns: list[str], rows: int = 4) -> pd.DataFrame:
    """A curve in a few rows: the medians at ``rows`` evenly spaced points of its grid, with the last point."""
    at = table.groupby(["law", "method"]).cumcount()
    last = at.groupby([table["law"], table["method"]]).transform("max")
    thinned = table[((at + 1) * rows // (last + 1)) > (at * rows // (last + 1))]
    medians = {f"{column}_median": column for column in columns}
    return thinned[["law", "method", x, *medians]].rename(columns=medians)


def draw_band(ax: Axes, rows: pd.DataFrame, x: str, column: str, method: Hashable, steps: bool = False) -> None:
    """The median of one method as a line (or steps) with a few markers, and its quartiles as a band."""
    band(ax, rows, x, column, str(method), cast(Look, style.look(method)), steps=steps)


def legend(fig: Figure, ax: Axes, ncols: int = 5) -> None:
    """One legend above all panels, from the lines of one of them."""
    fig.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=ncols)
