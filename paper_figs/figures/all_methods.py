"""Training loss of all methods, tuned, against seconds and against messages, under three delay laws."""

from itertools import product
from textwrap import fill

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from paper_figs import curves, study, style
from simulations.record import with_totals

CLAIM = (
    "Where the hazard increases, all methods but synchronous and local SGD end with a loss within a factor of 1.6 of "
    "the lowest. Where it decreases, their final losses differ more than fourfold, and ABS with chosen k and "
    "threshold has the lowest."
)
QUICK, DEFAULT, FULL, compute = study.QUICK, study.DEFAULT, study.FULL, study.compute
FAMILIES = {
    "theory and measurement": ["ABS, self-tuning", "ABS, chosen", "ABS, timetable"],
    "k moves": ["ABS", "ABS, time-optimal", "AdaSync", "SA-AdaSync"],
    "wait, then restart": ["synchronous", "local SGD", "K-sync", "MindFlayer", "Rennala"],
    "collect k": ["K-async", "K-batch-async", "FedBuff"],
    "one by one": ["asynchronous", "delay-adaptive", "SSP", "Ringmaster"],
}
_X = {"time": "time (s; mean delay 1 s)", "communication": "messages (uplinks + downlinks)"}


def summarise(runs: pd.DataFrame) -> pd.DataFrame:
    runs = with_totals(runs, ["method", "law", "replicate"])
    return curves.on_grids(runs[runs["time"] <= runs["horizon"]], _X, ["loss"])


def numbers(table: pd.DataFrame) -> pd.DataFrame:
    """The loss at the end of each curve."""
    return table.groupby(["law", "method", "x"], sort=False)[["spent", "loss_median"]].last().reset_index()


def draw(table: pd.DataFrame) -> Figure:
    """A row of panels per quantity and family, with at most five methods in each."""
    laws = list(table["law"].unique())
    fig = Figure(figsize=(style.PAGE, 11.5), layout="constrained")
    axes = fig.subplots(len(_X) * len(FAMILIES), len(laws), sharey=True, squeeze=False)
    drawn = {}
    for row, (x, family) in zip(axes, product(_X, FAMILIES), strict=True):
        for ax, law in zip(row, laws, strict=True):
            panel = table[(table["x"] == x) & (table["law"] == law)]
            for method in FAMILIES[family]:
                curves.draw_band(ax, panel[panel["method"] == method], "spent", "loss", method)
            ax.set(yscale="log", ylim=(table["loss_low"].min(), 2.6), xscale="linear" if x == "time" else "log")
            style.plain_log(ax.yaxis)
            ax.yaxis.set_minor_locator(NullLocator())
            drawn |= dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
        row[0].set(ylabel=f"loss\n({fill(family, 12)})")
    for ax, law in zip(axes[0], laws, strict=True):
        ax.set(title=law)
    for i, label in enumerate(_X.values()):
        for ax in axes[(i + 1) * len(FAMILIES) - 1]:
            ax.set(xlabel=label)
    fig.legend(list(drawn.values()), list(drawn), loc="outside upper center", ncols=5)
    return fig
