"""Training loss and test accuracy against wall-clock time, every method tuned, under three delay laws.

Claim: which method is fastest depends on the delay law; synchronous and local SGD are the slowest under each.
"""

import pandas as pd
from matplotlib.figure import Figure

from paper_figs import curves, study, style

DEFAULT, QUICK, compute = study.DEFAULT, study.QUICK, study.compute


def summarise(runs: pd.DataFrame) -> pd.DataFrame:
    return curves.on_grid(runs, "time", ["loss", study.ACCURACY])


def draw(table: pd.DataFrame) -> Figure:
    laws = list(table["law"].unique())
    fig = Figure(figsize=(style.PAGE, 4.6), layout="constrained")
    axes = fig.subplots(2, len(laws), sharex="col", sharey="row", squeeze=False)
    for (law, method), rows in table.groupby(["law", "method"], sort=False):
        column = laws.index(law)
        curves.draw_band(axes[0, column], rows, "time", "loss", method)
        curves.draw_band(axes[1, column], rows, "time", study.ACCURACY, method)
    for ax, law in zip(axes[0], laws, strict=True):
        ax.set(title=law, yscale="log")
    for ax in axes[1]:
        ax.set(xlabel="time (s; mean delay 1 s)", ylim=(0.5, 1))
    axes[0, 0].set(ylabel="training loss")
    axes[1, 0].set(ylabel="test accuracy")
    curves.legend(fig, axes[0, 0])
    return fig
