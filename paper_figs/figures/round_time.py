"""Mean round time against k for four laws of different ageing: exact theory, mean field and simulation."""

import itertools
import math

import joblib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from abs_theory import steady_state
from paper_figs import laws, simulated, style
from paper_figs.parallel import in_parallel

CLAIM = (
    "A staleness threshold makes rounds longer where the hazard of the delays increases, and shorter where it "
    "decreases. For exponential delays it changes nothing. The mean field agrees with the simulation within its "
    "stated error and the noise of these runs."
)
THRESHOLDS = {"K-sync": 0.0, "ABS": 2.0, "K-async": math.inf}
LABELS = {"K-sync": "K-sync (max. staleness 0)", "ABS": "ABS (max. staleness 2)", "K-async": "K-async (no limit)"}
DASHES = {"K-sync": "--", "ABS": "-", "K-async": ":"}
QUICK = {"n": 20, "ks": [1, 5, 15], "tasks": 800, "replicates": 4, "seed": 7}
DEFAULT = {"n": 20, "ks": [1, 2, 5, 8, 11, 14, 17, 20], "tasks": 1500, "replicates": 6, "seed": 7}
FULL = {"n": 20, "ks": list(range(1, 21)), "tasks": 3000, "replicates": 30, "seed": 7}


def compute(n: int, ks: list[int], tasks: int, replicates: int, seed: int) -> pd.DataFrame:
    """Per law, method and k, in seconds: exact round time (NaN where unknown), mean field, simulation; half-widths."""
    curves = [joblib.delayed(predicted)(law, method, n) for law, method in itertools.product(laws.LAWS, THRESHOLDS)]
    cells = list(itertools.product(laws.LAWS, THRESHOLDS, ks))
    effort = {"tasks": tasks, "replicates": replicates, "seed": seed}
    calls = [
        joblib.delayed(simulated.averages)(laws.LAWS[law], k, n, THRESHOLDS[method], **effort)
        for law, method, k in cells
    ]
    tables = in_parallel("theory", curves)
    estimates = [result["round_time"] for result in in_parallel("simulation", calls)]
    points = pd.DataFrame(cells, columns=["law", "method", "k"]).assign(
        simulation=[estimate.mean for estimate in estimates],
        half_width=[estimate.half_width() for estimate in estimates],
    )
    return pd.concat(tables).merge(points, on=["law", "method", "k"], how="left")


def predicted(law: str, method: str, n: int) -> pd.DataFrame:
    """Exact round times where they are known, and those of the mean field, for every k."""
    delay, ks, bound = laws.LAWS[law], np.arange(1, n + 1), THRESHOLDS[method]
    best, mean_field = (steady_state.abs_sgd(delay, ks, n, bound, how) for how in ("fast", "mean-field"))
    return pd.DataFrame({
        "law": law, "method": method, "k": ks,
        "exact": np.where(best.method == "exact", best.round_time, np.nan),
        "mean_field": mean_field.round_time,
        "mean_field_error": mean_field.error.round_time,
    })  # fmt: skip


def draw(table: pd.DataFrame) -> Figure:
    fig = Figure(figsize=(style.PAGE, 4.6), layout="constrained")
    axes = fig.subplots(2, 2, sharex=True)
    for ax, (law, rows) in zip(axes.flat, table.groupby("law", sort=False), strict=True):
        for method, curve in rows.groupby("method", sort=False):
            color, marker, dashes = *(style.look(method)[name] for name in ("color", "marker")), DASHES[str(method)]
            ax.plot(curve["k"], curve["exact"], color=color, linewidth=4, alpha=0.3, solid_capstyle="round")
            ax.plot(curve["k"], curve["mean_field"], color=color, linewidth=1.2, linestyle=dashes)
            style.band(ax, curve["k"], curve["mean_field"], curve["mean_field_error"], color)
            dots = curve.dropna(subset="simulation")
            style.points(ax, dots["k"], dots["simulation"], dots["half_width"], color=color, marker=marker)
        ax.set(title=laws.title(law), yscale="log")
        style.plain_log(ax.yaxis)
    for ax in axes[-1]:
        ax.set(xlabel="workers waited for, $k$", xlim=(0, table["k"].max() + 1))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    for ax in axes[:, 0]:
        ax.set(ylabel="mean round time (s)")
    handles = [style.key(text, **style.look(name) | {"linestyle": DASHES[name]}) for name, text in LABELS.items()]
    exact = style.key("exact, where known", color="0.2", linewidth=4, alpha=0.3)
    widest = float((table["mean_field_error"] / table["mean_field"]).max())
    fig.legend(
        handles=[*handles, exact], loc="outside upper center", ncols=4,
        title=f"lines: mean field, its error (at most {widest:.0%}) shaded; points: simulation, 95 % intervals",
    )  # fmt: skip
    return fig
