"""Mean round time against k for four laws of different ageing: theory as lines, simulation as points.

Claim: a staleness threshold makes rounds longer where the hazard increases, shorter where it decreases,
and changes nothing for exponential delays.
"""

import itertools
import math
from typing import Any

import joblib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from abs_theory import steady_state
from abs_theory.delays import Exponential, HyperExponential, LogNormal, ShiftedExponential
from abs_theory.monte_carlo import Estimate
from paper_figs import style
from paper_figs.parallel import in_parallel
from simulations import protocols
from simulations.experiment import simulate
from simulations.problems import TimingOnly

LAWS = {
    "shifted exponential (increasing hazard)": ShiftedExponential(shift=0.5, scale=0.5),
    "exponential (constant hazard)": Exponential(mean=1.0),
    "hyper-exponential (decreasing hazard)": HyperExponential(probs=(0.9, 0.1), means=(1 / 3, 7.0)),
    "lognormal (neither)": LogNormal(median=math.exp(-0.5), sigma=1.0),
}
THRESHOLDS = {"K-sync (0)": 0.0, "ABS (2)": 2.0, "K-async (none)": math.inf}
QUICK = {"n": 20, "ks": [1, 5, 10, 15, 19, 20], "tasks": 1500, "replicates": 4, "seed": 7}
DEFAULT = {"n": 20, "ks": [1, 2, 4, 6, 8, 10, 12, 14, 16, 18, 19, 20], "tasks": 2000, "replicates": 6, "seed": 7}


def compute(n: int, ks: list[int], tasks: int, replicates: int, seed: int) -> pd.DataFrame:
    """Per law, threshold and k: theory with its stated half-width, and the simulated mean with its stderr (s)."""
    tables = []
    for (law, delay), (name, bound) in itertools.product(LAWS.items(), THRESHOLDS.items()):
        theory = steady_state.abs_sgd(delay, np.arange(1, n + 1), n, np.full(n, bound))
        times = {"theory": theory.round_time, "theory_error": theory.error.round_time}
        tables.append(pd.DataFrame({"law": law, "threshold": name, "k": np.arange(1, n + 1), **times}))
    cells = list(itertools.product(LAWS, THRESHOLDS, ks))
    calls = [
        joblib.delayed(simulated)(LAWS[law], k, n, THRESHOLDS[name], tasks, replicates, seed) for law, name, k in cells
    ]
    points = [
        {"law": law, "threshold": name, "k": k, "simulation": estimate.mean, "stderr": estimate.stderr}
        for (law, name, k), estimate in zip(cells, in_parallel("round-time", calls), strict=True)
    ]
    return pd.concat(tables).merge(pd.DataFrame(points), on=["law", "threshold", "k"], how="left")


def simulated(delay, k: int, n: int, max_staleness: float, tasks: int, replicates: int, seed: int) -> Estimate:
    """Mean round time over the last four fifths of ``tasks`` tasks, by the event simulator."""
    num_updates = tasks // k
    runs = simulate(
        protocols.abs_sgd(k, max_staleness), TimingOnly(), delay, n, step_size=1.0, num_updates=num_updates,
        replicates=replicates, seed=seed, n_jobs=1,
    )  # fmt: skip
    skip = num_updates // 5
    at = runs[runs["update"].isin([skip, num_updates])].groupby("replicate")["time"]
    return Estimate.of((at.last() - at.first()) / (num_updates - skip))


def draw(table: pd.DataFrame) -> Figure:
    fig = Figure(figsize=(style.PAGE, 4.4), layout="constrained")
    axes = fig.subplots(2, 2, sharex=True)
    colors: dict[Any, Any] = dict(zip(THRESHOLDS, style.palette(len(THRESHOLDS)), strict=True))
    markers: dict[Any, str] = dict(zip(THRESHOLDS, "vos", strict=True))
    dashes: dict[Any, str] = dict(zip(THRESHOLDS, ["--", "-", ":"], strict=True))
    for ax, (law, rows) in zip(axes.flat, table.groupby("law", sort=False), strict=True):
        for name, curve in rows.groupby("threshold", sort=False):
            ax.plot(curve["k"], curve["theory"], dashes[name], color=colors[name])
            low, high = curve["theory"] - curve["theory_error"], curve["theory"] + curve["theory_error"]
            ax.fill_between(curve["k"], low, high, color=colors[name], alpha=0.15, linewidth=0)
            points = curve.dropna(subset="simulation")
            ax.errorbar(
                points["k"], points["simulation"], 2 * points["stderr"], fmt=markers[name], color=colors[name],
                markersize=3, elinewidth=0.8,
            )  # fmt: skip
        ax.set(title=law, yscale="log")
    for ax in axes[-1]:
        ax.set(
            xlabel="workers waited for, $k$", xlim=(0, table["k"].max() + 1), xticks=range(0, table["k"].max() + 1, 5)
        )
    for ax in axes[:, 0]:
        ax.set(ylabel="mean round time (s)")
    handles = [
        axes[0, 0].plot([], [], dashes[name], marker=markers[name], color=colors[name], label=name)[0]
        for name in THRESHOLDS
    ]
    fig.legend(
        handles=handles, title="staleness threshold: theory (lines, stated error shaded), simulation (points, 2 s.e.)",
        loc="outside upper center", ncols=3,
    )  # fmt: skip
    return fig
