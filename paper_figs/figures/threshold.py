"""What a staleness threshold does to rounds, staleness and traffic, for a delay law of each ageing."""

import itertools
import math

import joblib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from abs_theory import steady_state
from abs_theory.choose import time_optimal_threshold
from paper_figs import laws, simulated, style
from paper_figs.parallel import in_parallel

CLAIM = (
    "Every threshold makes gradients fresher, at the price of restarts. What it does to the round time depends on the"
    " ageing of the delays alone. The time-optimal threshold is none where the hazard increases, 0 where it "
    "decreases, and in between for this lognormal law and k."
)
QUANTITIES = {
    "round_time": "mean round time (s)",
    "mean_staleness": "mean staleness (updates)",
    "restarts": "restarts per round",
}
NONE_SPACING = 0.6  # between the marks of the laws at "none", in updates
QUICK = {"n": 20, "k": 5, "bounds": [0, 1, 3, 8], "tasks": 1000, "replicates": 4, "seed": 11}
DEFAULT = {"n": 20, "k": 5, "bounds": [0, 1, 2, 3, 4, 5, 6, 8, 10, 12], "tasks": 4000, "replicates": 8, "seed": 11}
FULL = {"n": 20, "k": 5, "bounds": [*range(13)], "tasks": 10000, "replicates": 30, "seed": 11}


def compute(n: int, k: int, bounds: list[int], tasks: int, replicates: int, seed: int) -> pd.DataFrame:
    """Per law and threshold (inf is none): theory and simulation with half-widths; the time-optimal ones marked."""
    tables = []
    for law, delay in laws.LAWS.items():
        best = time_optimal_threshold(delay, k, n)
        thresholds = np.array(sorted({*range(max(bounds) + 1), best, math.inf}))
        state = steady_state.abs_sgd(delay, k, n, thresholds, "fast")
        columns = {name: getattr(state, name) for name in QUANTITIES}
        errors = {f"{name}_error": getattr(state.error, name) for name in QUANTITIES}
        table = pd.DataFrame({"law": law, "max_staleness": thresholds, **columns, **errors})
        tables.append(table.assign(time_optimal=thresholds == best, solved=state.method))
    cells = list(itertools.product(laws.LAWS, [*map(float, bounds), math.inf]))
    effort = {"tasks": tasks, "replicates": replicates, "seed": seed}
    calls = [joblib.delayed(simulated.averages)(laws.LAWS[law], k, n, bound, **effort) for law, bound in cells]
    rows = []
    for (law, bound), estimates in zip(cells, in_parallel("threshold", calls), strict=True):
        means = {f"{name}_simulated": estimate.mean for name, estimate in estimates.items()}
        half_widths = {f"{name}_half_width": estimate.half_width() for name, estimate in estimates.items()}
        rows.append({"law": law, "max_staleness": bound, **means, **half_widths})
    return pd.concat(tables).merge(pd.DataFrame(rows), on=["law", "max_staleness"], how="left")


def draw(table: pd.DataFrame) -> Figure:
    fig = Figure(figsize=(style.PAGE, 3.1), layout="constrained")
    axes = fig.subplots(1, 3, sharex=True)
    last = table.loc[np.isfinite(table["max_staleness"]), "max_staleness"].max()
    none = last + 2.2
    count = table["law"].nunique()
    for i, (law, rows) in enumerate(table.groupby("law", sort=False)):
        place = none + NONE_SPACING * (i - (count - 1) / 2)  # beside each other: some have the same value
        look = laws.look(law)
        color, dashes, marker = look["color"], look["linestyle"], look["marker"]
        x = rows["max_staleness"].replace(math.inf, place)
        bounded = np.isfinite(rows["max_staleness"])
        for ax, name in zip(axes, QUANTITIES, strict=True):
            ax.plot(x[bounded], rows.loc[bounded, name], color=color, linestyle=dashes)
            ax.plot(
                place + NONE_SPACING * np.array([-0.4, 0.4]),
                rows.loc[~bounded, name].repeat(2),
                color=color,
                linestyle=dashes,
            )
            is_simulated = rows[f"{name}_simulated"].notna()
            mean, half_width = rows.loc[is_simulated, f"{name}_simulated"], rows.loc[is_simulated, f"{name}_half_width"]
            style.points(ax, x[is_simulated], mean, half_width, color=color, marker=marker)
        best = rows["time_optimal"] & (law != "constant hazard")
        axes[0].plot(
            x[best], rows.loc[best, "round_time"], marker="o", markersize=10, markerfacecolor="none",
            markeredgecolor=color, linestyle="none", zorder=5,
        )  # fmt: skip
    spacing = max(1, math.ceil(last / 5))
    ticks = [*np.arange(0, last - spacing / 2, spacing), last]
    for ax, label in zip(axes, QUANTITIES.values(), strict=True):
        ax.set(xlabel="max_staleness (updates)", ylabel=label, ylim=(0, None), xlim=(-0.6, none + 1.3))
        ax.set_xticks([*ticks, none], labels=[*(f"{tick:.0f}" for tick in ticks), "none"])
    handles = [style.key(laws.title(law), **laws.look(law)) for law in table["law"].unique()]
    ring = {"marker": "o", "markersize": 8, "markerfacecolor": "none", "markeredgecolor": "0.2", "linestyle": "none"}
    fig.legend(
        handles=[*handles, style.key("time-optimal threshold", **ring)], loc="outside upper center", ncols=3,
        title="lines: theory (exact or mean field); points: simulation with 95 % intervals",
    )  # fmt: skip
    return fig
