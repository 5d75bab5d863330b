"""The adaptive methods over time: workers waited for, staleness threshold and mean staleness."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from paper_figs import curves, study, style

CLAIM = (
    "k never decreases, the relative threshold never increases, and no applied gradient is staler than the threshold."
    " Where the time-optimal threshold is none, ABS is AdaSync and their lines coincide."
)
QUICK, DEFAULT, FULL, compute = study.QUICK, study.DEFAULT, study.FULL, study.compute

METHODS = ["ABS", "ABS, time-optimal", "AdaSync", "SA-AdaSync"]
_ROWS = {
    "k": "workers waited\nfor, $k$",
    "max_staleness": "threshold (updates;\nnone: not drawn)",
    "mean_staleness": "mean staleness\n(updates)",
}


def summarise(runs: pd.DataFrame) -> pd.DataFrame:
    return curves.on_grid(runs[runs["method"].isin(METHODS)], "time", list(_ROWS))


def numbers(table: pd.DataFrame) -> pd.DataFrame:
    return curves.numbers(table, "time", list(_ROWS))


def draw(table: pd.DataFrame) -> Figure:
    laws = list(table["law"].unique())
    fig = Figure(figsize=(style.PAGE, 5), layout="constrained")
    axes = fig.subplots(len(_ROWS), len(laws), sharex="col", sharey="row", squeeze=False)
    for (law, method), rows in table.groupby(["law", "method"], sort=False):
        for ax, column in zip(axes[:, laws.index(law)], _ROWS, strict=True):
            if np.isfinite(rows[f"{column}_median"]).any():
                curves.draw_band(ax, rows, "time", column, method, steps=column != "mean_staleness")
    for ax, law in zip(axes[0], laws, strict=True):
        ax.set(title=law)
    for ax, label in zip(axes[:, 0], _ROWS.values(), strict=True):
        ax.set(ylabel=label)
    for ax in axes.flat:
        ax.set_ylim(bottom=0)
        ax.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    for ax in axes[-1]:
        ax.set(xlabel="time (s; mean delay 1 s)")
    curves.legend(fig, axes[0, 0])
    return fig
