"""Rule for k x rule for the threshold: which of the two explains the comparison?  Every cell is tuned."""

import math
from functools import cache

import joblib
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from abs_theory.choose import time_optimal_threshold
from abs_theory.results import percent
from paper_figs import study, style
from paper_figs.parallel import in_parallel
from simulations.record import median, to_target

CLAIM = (
    "Where the hazard decreases, the rule for the threshold decides. Where it increases, that rule changes the time "
    "by at most a third, unless k follows the loss ratio: then the target is reached in time only if all late workers"
    " restart."
)
DEFAULT = {
    "n": 20, "laws": ["increasing hazard", "decreasing hazard", "lognormal"], "hard": 0.94, "longest": 60.0,
    "replicates": 10, "tuning": {"budget": 8, "replicates": 2, "finals": 4},
}  # fmt: skip
FULL = DEFAULT | {"replicates": 30, "tuning": {"budget": 16, "replicates": 4, "finals": 10}}
QUICK = {
    "n": 8, "laws": ["decreasing hazard"], "hard": 0.85, "longest": 30.0, "replicates": 4,
    "tuning": {"budget": 3, "replicates": 1, "finals": 1},
}  # fmt: skip


def compute(n: int, laws: list[str], hard: float, longest: float, replicates: int, tuning: dict) -> pd.DataFrame:
    """Per law, rule for k and rule for the threshold: the median time to the target with its 95 % interval (s)."""
    cells = [(k_rule, threshold, law) for k_rule in study.K_RULES for threshold in study.THRESHOLDS for law in laws]
    common = (n, hard, longest, replicates, tuning)
    runs = {(k_rule, same_as(threshold, law, n), law) for k_rule, threshold, law in cells}
    ordered = [cell for cell in cells if cell in runs]
    rows = in_parallel("ablation", [joblib.delayed(_row)(*cell, *common) for cell in ordered])
    row_of = dict(zip(ordered, rows, strict=True))
    return pd.DataFrame([
        {"law": law, "k_rule": k_rule, "threshold": threshold, **row_of[k_rule, same_as(threshold, law, n), law]}
        for k_rule, threshold, law in cells
    ])  # fmt: skip


@cache
def same_as(threshold: str, law: str, n: int) -> str:
    """The rule for the threshold that makes the same runs: the time-optimal one may be 0, or none, for every k."""
    if threshold == "time-optimal":
        delay = study.LAWS[law].delay
        # with k = n nobody is late, so no threshold matters
        bounds = {time_optimal_threshold(delay, k, n) for k in range(1, n)}
        if len(bounds) == 1:
            return {0.0: "restart all", math.inf: "none"}.get(bounds.pop(), threshold)
    return threshold


def _row(
    k_rule: str, threshold: str, law: str, n: int, hard: float, longest: float, replicates: int, tuning: dict[str, int]
) -> dict[str, float]:
    """Tune a cell, and run it until it reaches the target."""
    method = study.ABLATION[f"{k_rule} / {threshold}"]
    knobs = study.tune(method, law, n, hard, longest, **tuning)
    own = {name: value for name, value in knobs.items() if name in study.GRIDS}
    runs = study.train(
        method, law, n, [own], seed=study.SHOWN_SEED, replicates=range(replicates), target=(study.ACCURACY, hard),
        time_budget=longest,
    )[0]  # fmt: skip
    reached = to_target(runs, study.ACCURACY, hard, replicates=replicates, time_budget=longest)
    times = median(reached["time"], reached["reached"])._asdict()
    return {"accuracy": hard, **times, "step_size": own["step_size"], "k0": own["k0"]}


def draw(table: pd.DataFrame) -> Figure:
    laws = list(table["law"].unique())
    fig = Figure(figsize=(style.PAGE, 2.6), layout="constrained")
    axes = fig.subplots(1, len(laws), sharey=True, squeeze=False)[0]
    for ax, (law, rows) in zip(axes, table.groupby("law", sort=False), strict=True):
        grid = rows.pivot(index="k_rule", columns="threshold", values="median")
        grid = grid.reindex(index=list(study.K_RULES), columns=list(study.THRESHOLDS))
        texts = {(row.k_rule, row.threshold): _text(row) for row in rows.itertuples()}
        labels = np.array([[texts[k_rule, bound] for bound in grid.columns] for k_rule in grid.index])
        slowest = rows["median"].replace(np.inf, np.nan).max()
        sns.heatmap(
            np.log(grid.replace(np.inf, 1.5 * slowest)), ax=ax, annot=labels, fmt="", cmap="crest", cbar=False,
            linewidths=1, annot_kws={"fontsize": 6},
        )  # fmt: skip
        ax.set(title=law, xlabel="who restarts (rule for the threshold)", ylabel="")
        ax.tick_params(axis="x", rotation=20, length=0)
        ax.tick_params(axis="y", rotation=0, length=0)
    axes[0].set(ylabel="rule for $k$")
    target = f"{percent(table['accuracy'].iloc[0])} test accuracy"
    fig.supxlabel(
        f"median time to {target} (s; mean delay 1 s), 95 % interval below; darker is slower within a panel\n"
        "the time-optimal threshold is none where the hazard increases and 0 (restart all) where it decreases",
        fontsize=7,
    )
    return fig


def _text(row) -> str:
    if not np.isfinite(row.median):
        return "not\nreached"
    high = f"{row.high:.2g}" if np.isfinite(row.high) else "-"
    return f"{row.median:.3g}\n[{row.low:.2g}, {high}]"
