"""Training loss and test accuracy against communication (uplinks + downlinks) and against rounds."""

import pandas as pd
from matplotlib.figure import Figure

from paper_figs import curves, study, style
from simulations.record import with_totals

CLAIM = (
    "A method that waits for more workers needs fewer rounds: synchronous and local SGD need the fewest where they "
    "reach the target, then K-sync, and asynchronous SGD the most. Where stalls make the hazard decrease, the methods"
    " that are fastest in seconds send the most messages, because restarts cost messages."
)
QUICK, DEFAULT, FULL, compute = study.QUICK, study.DEFAULT, study.FULL, study.compute
METHODS = ["ABS, chosen", "ABS", "synchronous", "local SGD", "K-sync", "asynchronous", "AdaSync"]
SHOWN = ["ABS, chosen", "synchronous", "local SGD", "K-sync", "asynchronous"]  # the others: figure all-methods

_X = {"communication": "messages (uplinks + downlinks)", "update": "rounds (updates)"}
_Y = {"loss": "training loss", study.ACCURACY: "test accuracy"}


def summarise(runs: pd.DataFrame) -> pd.DataFrame:
    runs = with_totals(runs[runs["method"].isin(METHODS)], ["method", "law", "replicate"])
    runs = runs[runs["time"] <= runs["horizon"]]
    return curves.on_grids(runs, _X, list(_Y))


def numbers(table: pd.DataFrame) -> pd.DataFrame:
    parts = table.groupby("x", sort=False)
    return pd.concat([curves.numbers(part, "spent", list(_Y)).assign(x=x) for x, part in parts], ignore_index=True)


def draw(table: pd.DataFrame) -> Figure:
    laws = list(table["law"].unique())
    fig = Figure(figsize=(style.PAGE, 7.6), layout="constrained")
    axes = fig.subplots(4, len(laws), sharey="row", squeeze=False)
    for row, (x, y) in enumerate((x, y) for x in _X for y in _Y):
        for ax, law in zip(axes[row], laws, strict=True):
            panel = table[(table["x"] == x) & (table["law"] == law) & table["method"].isin(SHOWN)]
            for method, rows in panel.groupby("method", sort=False):
                curves.draw_band(ax, rows, "spent", y, method)
            ax.set(xlabel=_X[x], xscale="log")
            if y == "loss":
                ax.set(yscale="log")
                style.plain_log(ax.yaxis)
            else:
                ax.set(ylim=(0.5, 1))
        axes[row, 0].set(ylabel=_Y[y])
    for ax, law in zip(axes[0], laws, strict=True):
        ax.set(title=law)
    fig.supxlabel("each curve ends where the shortest of its runs does", fontsize=7)
    curves.legend(fig, axes[0, 0])
    return fig
