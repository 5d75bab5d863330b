"""Time to a target against k: predicted from delay law and constants, and in training, with the choice marked."""

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
    "The predicted time to a target uses only the delay law and the constants of the objective, and ranks k much as "
    "training does. It is up to a third too long for small k and up to 40 % too short for large k. Where the hazard "
    "increases it promises a gain from thresholds that training does not show. The chosen k is within 15 % of the "
    "best."
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
EVERY_UPDATE = 1e-7  # seconds between evaluations: much less than between two updates
PATIENCE = (1.25, 2.0, 4.0)  # run lengths in predicted updates, tried until all replicates reach the target
QUICK = {"n": 10, "ks": [1, 4, 10], "sigma2": 1.0, "target": 0.08, "replicates": 4, "seed": 23}
DEFAULT = {"n": 20, "ks": [1, 2, 4, 8, 14, 20], "sigma2": 1.0, "target": 0.05, "replicates": 10, "seed": 23}
FULL = DEFAULT | {"ks": [1, 2, 3, 4, 6, 8, 10, 12, 14, 16, 18, 20], "replicates": 40}


def compute(n: int, ks: list[int], sigma2: float, target: float, replicates: int, seed: int) -> pd.DataFrame:
    """Per law, method and k: seconds predicted at the best threshold and step, and in training, with half-widths.

    The time to the target is that until the mean of |grad F|^2 over the updates so far has fallen to it.
    """
    problem = NoisyQuadratic(CURVATURES, sigma2)
    predictions = in_parallel("choice: theory", [joblib.delayed(predicted)(problem, law, n, target) for law in LAWS])
    table = pd.concat(predictions, ignore_index=True).rename(columns={"seconds": "predicted"})
    trained = table[(table["k"].isin(ks) | table["pick"]) & np.isfinite(table["predicted"])]
    calls = [
        joblib.delayed(seconds)(
            problem, row["law"], n, row["k"], row["max_staleness"], row["step_size"], target,
            row["updates"], replicates, seed,
        )
        for row in trained.to_dict("records")
    ]  # fmt: skip
    estimates = [Estimate.of(times) for times in in_parallel("choice", calls)]
    table.loc[trained.index, "trained"] = [estimate.mean for estimate in estimates]
    table.loc[trained.index, "half_width"] = [estimate.half_width() for estimate in estimates]
    return table


def predicted(problem: NoisyQuadratic, law: str, n: int, target: float) -> pd.DataFrame:
    """Per method and k under one law: what is predicted, whether it is the choice, and whether it is nearly as good."""
    searches = {method: Search(max_staleness=threshold) for method, threshold in THRESHOLDS.items()}
    choices = {
        method: choose.best(laws.LAWS[law], n, problem.constants, Target(target), search)
        for method, search in searches.items()
    }
    picked, tables = choices["ABS"], []
    for method, choice in choices.items():
        table = choice.over_k().reset_index()[["k", "max_staleness", "step_size", "updates", "seconds"]]
        pick = (table["k"] == picked.k) & (method == "ABS")
        flat = table["k"].isin(picked.flat) & (method == "ABS")
        tables.append(table.assign(law=law, method=method, pick=pick, flat=flat))
    return pd.concat(tables, ignore_index=True)


def seconds(
    problem: NoisyQuadratic, law: str, n: int, k: int, max_staleness: float, step: float, target: float, updates: float,
    replicates: int, seed: int,
) -> np.ndarray:  # fmt: skip
    """Seconds to the target per replicate; inf if it takes more than 4 times the predicted ``updates``."""
    result, start = np.full(replicates, math.inf), problem.metrics(problem.initial)["gradient_norm2"]
    for patience in PATIENCE:
        missing = np.flatnonzero(np.isinf(result))
        if missing.size:
            num_updates = math.ceil(patience * updates)
            rounds = simulate(
                protocols.abs_sgd(k, max_staleness), problem, laws.LAWS[law], n, step_size=step,
                num_updates=num_updates, eval_every=EVERY_UPDATE, replicates=missing.tolist(), seed=seed, n_jobs=1,
            )  # fmt: skip
            slope2, time = (rounds[name].to_numpy().reshape(-1, num_updates) for name in ("gradient_norm2", "time"))
            before = np.hstack([np.full((missing.size, 1), start), slope2[:, :-1]])  # at the models that were updated
            reached = before.cumsum(axis=1) <= target * np.arange(1, num_updates + 1)
            done = reached.any(axis=1)
            result[missing[done]] = time[done, reached.argmax(axis=1)[done]]
    return result


def draw(table: pd.DataFrame) -> Figure:
    fig = Figure(figsize=(style.PAGE, 2.9), layout="constrained")
    axes = fig.subplots(1, len(LAWS))
    for ax, (law, rows) in zip(axes, table.groupby("law", sort=False), strict=True):
        for method, curve in rows.groupby("method", sort=False):
            look = style.look(method)
            wide = {"linewidth": 3, "alpha": 0.45} if method == "ABS" else {"zorder": 3}  # it covers one of the others
            ax.plot(curve["k"], curve["predicted"], color=look["color"], linestyle=DASHES[str(method)], **wide)
            dots = curve[np.isfinite(curve["trained"])]
            style.points(ax, dots["k"], dots["trained"], dots["half_width"], color=look["color"], marker=look["marker"])
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
        handles=[*handles, style.key("choice of the optimizer", **ring), area], loc="outside upper center", ncols=3,
        title="lines: predicted; points: training with 95 % intervals",
    )  # fmt: skip
    return fig
