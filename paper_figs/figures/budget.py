"""The best k and threshold of ABS, for gradients of more or less noise and delays of heavier or lighter tail."""

import joblib
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from abs_theory import choose
from abs_theory.bounds import Constants
from abs_theory.delays import Pareto
from paper_figs import style
from paper_figs.parallel import in_parallel

CLAIM = (
    "A threshold gains more if the tail of the delays is heavier and the gradients are less noisy. With little noise,"
    " late workers restart at once or after one update; with much noise and a light tail, none restarts. k well above"
    " 1 pays only at medium noise: with little noise one gradient is precise enough, with much noise the steps are so"
    " small that stale gradients do little harm."
)
_NOISE = [0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0]
QUICK = {"n": 10, "noise": [0.01, 0.1, 1.0, 10.0], "index": [8.0, 3.0, 1.6, 1.15], "target": 0.05}
DEFAULT = {"n": 20, "noise": _NOISE, "index": [8.0, 4.0, 2.5, 2.0, 1.6, 1.3, 1.15], "target": 0.05}
FULL = DEFAULT | {
    "noise": [0.003, 0.006, *(x for x in _NOISE[1:-1] for x in (x, 2 * x)), 10.0],
    "index": [8.0, 6.0, 4.0, 3.5, 3.0, 2.5, 2.25, 2.0, 1.8, 1.6, 1.45, 1.3, 1.2, 1.15],
}


def compute(n: int, noise: list[float], index: list[float], target: float) -> pd.DataFrame:
    """Per noise and tail index: the choice, the time without a threshold relative to it (gain), and the gain's error.

    ``noise`` is sigma2 / (L gap) and ``target`` that of the mean squared gradient norm over the run, also in units of
    L gap; delays are Pareto of mean 1 s with this tail index.
    """
    calls = [joblib.delayed(_column)(n, noise, tail_index, target) for tail_index in index]
    return pd.concat(in_parallel("budget", calls), ignore_index=True)


def _column(n: int, noise: list[float], index: float, target: float) -> pd.DataFrame:
    delay, rows = Pareto(minimum=(index - 1) / index, index=index), []
    for sigma2 in noise:
        # the noise lies in directions with half the largest curvature
        constants = Constants(L=1.0, sigma2=sigma2, gap=1.0, noise_curvature=0.5, noise_curvature2=0.25)
        choice = choose.best(delay, n, constants, choose.Target(target))
        free = choice.curve.loc[np.isinf(choice.curve["max_staleness"]), "seconds"].min()
        row = {"k": choice.k, "max_staleness": choice.max_staleness, "step_size": choice.step_size}
        row |= {"seconds": choice.seconds, "gain": free / choice.seconds}
        curve = choice.curve
        chosen = curve[(curve["k"] == choice.k) & (curve["max_staleness"] == choice.max_staleness)].iloc[0]
        row["gain_error"] = row["gain"] * chosen["round_time_error"] / chosen["round_time"]
        rows.append({"noise": sigma2, "index": index, **row})
    return pd.DataFrame(rows)


def draw(table: pd.DataFrame) -> Figure:
    fig = Figure(figsize=(style.PAGE, 2.9), layout="constrained")
    left, middle, right = fig.subplots(1, 3, sharey=True)
    rank = table["max_staleness"].rank(method="dense")
    threshold = table["max_staleness"].map(lambda bound: f"{bound:.0f}" if np.isfinite(bound) else "-")
    _heat(left, table, table["k"], table["k"].astype(str), "workers waited for, $k$")
    _heat(middle, table, rank, threshold, "max. staleness (updates; -: none)")
    gain = table["gain"].map(_two_digits).mask(unsure(table), "~1")
    _heat(
        right, table, table["gain"].rank(), gain, "time without / with a threshold\n(~1: gains no more than its error)"
    )
    left.set(ylabel="tail index of the Pareto delays (small: heavy)")
    return fig


def unsure(table: pd.DataFrame) -> pd.Series:
    """Where a threshold is chosen, but its gain is no larger than the error of the mean field."""
    return np.isfinite(table["max_staleness"]) & (table["gain"] - 1 <= table["gain_error"])


def _heat(ax: Axes, table: pd.DataFrame, shade: pd.Series, text: pd.Series, title: str) -> None:
    """A map with a number in each cell; larger numbers are darker."""
    grids = [
        table.assign(value=value).pivot(index="index", columns="noise", values="value").sort_index(ascending=False)
        for value in (shade, text)
    ]
    grids[0] = grids[0].rename(columns="{:g}".format, index="{:g}".format)
    sns.heatmap(
        grids[0], ax=ax, annot=grids[1].to_numpy(), fmt="", cmap="crest", cbar=False, linewidths=0.5,
        annot_kws={"fontsize": 5.5},
    )  # fmt: skip
    ax.set(title=title, xlabel=r"noise, $\sigma^2 / (L\,(F(w_0) - F^*))$", ylabel="")
    ax.tick_params(axis="both", length=0)
    ax.tick_params(axis="x", rotation=45)
    ax.tick_params(axis="y", rotation=0)


def _two_digits(gain: float) -> str:
    return f"{gain:.1f}" if gain < 9.95 else f"{gain:.0f}"
