"""The time to a target against k, predicted from the delay law and the constants, and in training; the pick marked."""

import math

import joblib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from abs_theory import choose
from abs_theory.choose import Search, Target
from abs_theory.results import Estimate
from paper_figs import laws, style
from paper_figs.parallel import in_parallel
from simulations import protocols
from simulations.experiment import simulate
from simulations.problems import NoisyQuadratic

CLAIM = (
    "The time to a target, predicted from the delay law and the constants of the objective alone, ranks k much as "
    "training does, but is up to a third too long where k is small and 40 % too short where k is large, and promises a "
    "gain from thresholds where the hazard increases that training does not show; the pick is within 15 % of the best."
)
LAWS = ("increasing hazard", "decreasing hazard", "neither")
THRESHOLDS = {"K-sync": 0.0, "ABS": choose.SEARCH, "K-async": None}
LABELS = {
    "K-sync": "K-sync (all late workers restart)",
    "ABS": "ABS (best threshold)",
    "K-async": "K-async (none restarts)",
}
DASHES = {"K-sync": "--", "ABS": "-", "K-async": ":"}
CURVATURES = tuple(np.geomspace(1.0, 0.1, 10).tolist())
EVERY_UPDATE = 1e-7  # seconds between evaluations: far less than between updates
PATIENCE = (1.25, 2.0, 4.0)  # times the predicted updates, until all replicates are there
QUICK = {"n": 10, "ks": [1, 4, 10], "sigma2": 1.0, "target": 0.08, "replicates": 4, "seed": 23}
DEFAULT = {"n": 20, "ks": [1, 2, 4, 8, 14, 20], "sigma2": 1.0, "target": 0.05, "replicates": 10, "seed": 23}
FULL = DEFAULT | {"ks": [1, 2, 3, 4, 6, 8, 10, 12, 14, 16, 18, 20], "replicates": 40}


def compute(n: int, ks: list[int], sigma2: float, target: float, replicates: int, seed: int) -> pd.DataFrame:
    """Per law, method and k: seconds predicted at the best threshold and step, and in training, with half-widths.

    The time to the target is that until the mean of |grad F|^2 over the updates so far has fallen to it.
    """
    problem = NoisyQuadratic(CURVATURES, sigma2)
    tables = []
    for law in LAWS:
        delay = laws.LAWS[law]
        picked = choose.best(delay, n, problem.constants, Target(target))
        for method, threshold in THRESHOLDS.items():
            search = Search(max_staleness=threshold)
            choice = choose.best(delay, n, problem.constants, Target(target), search)
            table = choice.over_k().reset_index()[["k", "max_staleness", "step_size", "updates", "seconds"]]
            pick = (table["k"] == picked.k) & (method == "ABS")
            flat = table["k"].isin(picked.flat) & (method == "ABS")
            tables.append(table.assign(law=law, method=method, pick=pick, flat=flat))
    table = pd.concat(tables, ignore_index=True).rename(columns={"seconds": "predicted"})
    trained = table[(table["k"].isin(ks) | table["pick"]) & np.isfinite(table["predicted"])]
    calls = [
        joblib.delayed(seconds)(
            problem, row["law"], n, row["k"], row["max_staleness"], row["step_size"], target,
            row["updates"], replicates, seed,
        )
        for row in trained.to_dict("records")
    ]  # fmt: skip
    found = [Estimate.of(times) for times in in_parallel("choice", calls)]
    table.loc[trained.index, "trained"] = [each.mean for each in found]
    table.loc[trained.index, "half_width"] = [each.half_width() for each in found]
    return table


def seconds(
    problem: NoisyQuadratic, law: str, n: int, k: int, max_staleness: float, step: float, target: float, updates: float,
    replicates: int, seed: int,
) -> np.ndarray:  # fmt: skip
    """Time to the target of each replicate; inf if it is not there after 4 times as many ``updates`` as predicted."""
    result, start = np.full(replicates, math.inf), problem.metrics(problem.initial)["gradient_norm2"]
    for patience in PATIENCE:
        going = np.flatnonzero(np.isinf(result))
        if going.size:
            most = math.ceil(patience * updates)
            rounds = simulate(
                protocols.abs_sgd(k, max_staleness), problem, laws.LAWS[law], n, step_size=step, num_updates=most,
                eval_every=EVERY_UPDATE, replicates=going.tolist(), seed=seed, n_jobs=1,
            )  # fmt: skip
            slope2, time = (rounds[name].to_numpy().reshape(-1, most) for name in ("gradient_norm2", "time"))
            before = np.hstack([np.full((going.size, 1), start), slope2[:, :-1]])  # at the models that were updated
            there = before.cumsum(axis=1) <= target * np.arange(1, most + 1)
            done = there.any(axis=1)
            result[going[done]] = time[done, there.argmax(axis=1)[done]]
    return result


def draw(table: pd.DataFrame) -> Figure:
    fig = Figure(figsize=(style.PAGE, 2.9), layout="constrained")
    axes = fig.subplots(1, len(LAWS))
    for ax, (law, rows) in zip(axes, table.groupby("law", sort=False), strict=True):
        for method, curve in rows.groupby("method", sort=False):
            look = style.look(method)
            wide = {"linewidth": 3, "alpha": 0.45} if method == "ABS" else {"zorder": 3}  # lies on one of the others
            ax.plot(curve["k"], curve["predicted"], color=look["color"], linestyle=DASHES[str(method)], **wide)
            seen = curve[np.isfinite(curve["trained"])]
            style.points(ax, seen["k"], seen["trained"], seen["half_width"], color=look["color"], marker=look["marker"])
        pick = rows[rows["pick"]]
        ax.plot(
            pick["k"], pick["predicted"], marker="o", markersize=11, markerfacecolor="none", markeredgecolor="black",
            linestyle="none", zorder=5,
        )  # fmt: skip
        ax.margins(y=0.1)
        flat = rows.loc[rows["flat"], "k"]
        ax.axvspan(flat.min() - 0.5, flat.max() + 0.5, color="0.92", linewidth=0, zorder=0)
        ax.set(
            title=laws.title(law, "\n"),
            yscale="log",
            xlabel="workers waited for, $k$",
            xlim=(0, table["k"].max() + 1),
        )
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        style.plain_log(ax.yaxis)
    axes[0].set(ylabel="time to the target (s)")
    handles = [style.key(LABELS[name], **style.look(name) | {"linestyle": DASHES[name]}) for name in LABELS]
    ring = {"marker": "o", "markersize": 9, "markerfacecolor": "none", "markeredgecolor": "black", "linestyle": "none"}
    area = style.key("predicted within 5 % of it", color="0.88", linewidth=6)
    fig.legend(
        handles=[*handles, style.key("pick of the optimizer", **ring), area], loc="outside upper center", ncols=3,
        title="lines: predicted; points: training with 95 % intervals",
    )  # fmt: skip
    return fig
