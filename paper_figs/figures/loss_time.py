"""Training loss and test accuracy against wall-clock time, every method tuned, under three delay laws."""

from itertools import product

import pandas as pd
from matplotlib.figure import Figure

from paper_figs import curves, study, style

CLAIM = (
    "Which method trains fastest depends on the delay law. Where stalls make the hazard decrease, methods that "
    "restart late workers lead. Synchronous and local SGD are the slowest under every law."
)
QUICK, DEFAULT, FULL, compute = study.QUICK, study.DEFAULT, study.FULL, study.compute
FAMILIES = {  # the other methods: figure all-methods
    "fresh gradients": ["ABS, chosen", "synchronous", "local SGD", "K-sync", "MindFlayer"],
    "stale gradients": ["ABS, chosen", "asynchronous", "K-async", "AdaSync", "Ringmaster"],
}
_Y = {"loss": "training loss", study.ACCURACY: "test accuracy"}


def summarise(runs: pd.DataFrame) -> pd.DataFrame:
    return curves.on_grid(runs, "time", list(_Y))


def numbers(table: pd.DataFrame) -> pd.DataFrame:
    return curves.numbers(table, "time", list(_Y))


def draw(table: pd.DataFrame) -> Figure:
    """A row of panels per measure and family of methods, each family beside ABS."""
    laws = list(table["law"].unique())
    fig = Figure(figsize=(style.PAGE, 7.2), layout="constrained")
    axes = fig.subplots(2 * len(FAMILIES), len(laws), sharex="col", squeeze=False)
    drawn = {}
    for row, (y, family) in zip(axes, product(_Y, FAMILIES), strict=True):
        for ax, law in zip(row, laws, strict=True):
            for method in FAMILIES[family]:
                rows = table[(table["law"] == law) & (table["method"] == method)]
                curves.draw_band(ax, rows, "time", y, method)
            if y == "loss":
                ax.set(yscale="log")
                style.plain_log(ax.yaxis)
            else:
                ax.set(ylim=(0.5, 1))
            drawn |= dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
        row[0].set(ylabel=f"{_Y[y]}\n(rivals: {family})")
    for ax, law in zip(axes[0], laws, strict=True):
        ax.set(title=law)
    for ax in axes[-1]:
        ax.set(xlabel="time (s; mean delay 1 s)")
    fig.legend(list(drawn.values()), list(drawn), loc="outside upper center", ncols=5)
    return fig
