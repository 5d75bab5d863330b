"""Time, rounds and communication to two target accuracies under three delay laws, and the ratio to ABS.

Claim: the README states the result from this table's numbers, also where ABS loses.
"""

import math

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from paper_figs import study, style
from simulations.record import median, to_target

DEFAULT, QUICK, compute = study.DEFAULT, study.QUICK, study.compute

_BOOTSTRAPS = 2000
_SPENT = {"time": "time (s)", "update": "rounds", "communication": "messages"}


def summarise(runs: pd.DataFrame) -> pd.DataFrame:
    """Per law, target, method: Kaplan-Meier medians with 95 % intervals, the ratio of times to ABS's, the knobs."""
    rng = np.random.default_rng(0)
    rows = []
    for target in ("easy", "hard"):
        level = float(runs[target].iloc[0])
        for law, of_law in runs.groupby("law", sort=False):
            of_method = {method: of_law[of_law["method"] == method] for method in of_law["method"].unique()}
            reached = {
                method: to_target(group, study.ACCURACY, level, time_budget=group["budget"].iloc[0])
                for method, group in of_method.items()
            }
            for method, result in reached.items():
                row = {"law": law, "target": target, "accuracy": level, "method": method}
                for spent in _SPENT:
                    estimate = median(result[spent], result["reached"])
                    row |= {spent: estimate.median, f"{spent}_low": estimate.low, f"{spent}_high": estimate.high}
                row |= {"reached": int(result["reached"].sum()), "replicates": len(result)}
                row |= ratio_to(reached["ABS"], result, rng)
                knobs = of_method[method].filter(like="tuned_").iloc[0].dropna()
                rows.append(row | {str(name).removeprefix("tuned_"): value for name, value in knobs.items()})
    return pd.DataFrame(rows)


def ratio_to(reference: pd.DataFrame, result: pd.DataFrame, rng: np.random.Generator) -> dict[str, float]:
    """Ratio of median times with a 95 % interval, by a bootstrap over replicates (paired: same delays in both).

    Each run of a method has the same budget, so the Kaplan-Meier median is the median with "never" as infinity;
    the ratio is infinite where the method does not reach the target, NaN never: 0 / "not reached" counts as 0.
    """
    draws = rng.integers(len(result), size=(_BOOTSTRAPS, len(result)))

    def medians(table: pd.DataFrame) -> np.ndarray:
        times = np.where(table["reached"], table["time"], math.inf)
        resampled = np.vstack([times, times[draws]])
        return np.sort(resampled, axis=1)[:, math.ceil(len(times) / 2) - 1]

    with np.errstate(invalid="ignore"):
        ratios = medians(result) / medians(reference)
    ratios = np.where(np.isnan(ratios), math.inf, ratios)
    low, high = np.quantile(ratios[1:], [0.025, 0.975], method="inverted_cdf")
    return {"ratio": ratios[0], "ratio_low": low, "ratio_high": high}


def draw(table: pd.DataFrame) -> Figure:
    """The table, typeset: one block per law, fastest method first for the hard target."""
    blocks = [block for _, block in table.groupby("law", sort=False)]
    lines = 2 + sum(len(block) // 2 + 1.5 for block in blocks) + 1.5
    fig = Figure(figsize=(style.PAGE, 0.165 * lines))
    ax = fig.add_axes((0.01, 0.01, 0.98, 0.98))
    ax.set(xlim=(0, 1), ylim=(lines, 0))
    ax.axis("off")
    columns = [("time", 0.235), ("ratio", 0.355), ("update", 0.445), ("communication", 0.515)]
    columns = [(0.0, "easy", *column) for column in columns] + [(0.42, "hard", *column) for column in columns]
    titles = {"time": "time (s)", "ratio": "time / ABS's", "update": "rounds", "communication": "messages"}
    for target, x in (("easy", 0.375), ("hard", 0.795)):
        level = table.loc[table["target"] == target, "accuracy"].iloc[0]
        ax.text(x, 0.5, f"to {level:.0%} test accuracy", ha="center", va="center", weight="bold")
    for shift, _, name, x in columns:
        ax.text(x + shift, 1.5, titles[name], ha="center", va="center", fontsize=7)
    y = 2
    for block in blocks:
        ax.axhline(y + 0.1, color="black", linewidth=0.6)
        ax.text(0.0, y + 0.6, block["law"].iloc[0], va="center", weight="bold")
        y += 1
        hard = block[block["target"] == "hard"].sort_values("time")
        for method in hard["method"]:
            ax.text(0.01, y + 0.5, method, va="center", color=style.look(method)["color"])
            for shift, target, name, x in columns:
                row = block[(block["method"] == method) & (block["target"] == target)].iloc[0]
                ax.text(x + shift, y + 0.5, _cell(row, name), ha="center", va="center", fontsize=6.5)
            y += 1
        y += 0.5
    note = "Medians of all runs with 95 % intervals, sorted by the time to the harder target; mean delay 1 s."
    ax.text(0.0, y + 0.6, note, va="center", fontsize=6.5)
    return fig


def _cell(row: pd.Series, name: str) -> str:
    if not math.isfinite(row[name]):
        return "not reached" if name == "time" else "-"
    if name in ("update", "communication"):
        return f"{row[name]:.0f}" if math.isfinite(row["time"]) else "-"
    return f"{_short(row[name])} [{_short(row[f'{name}_low'])}, {_short(row[f'{name}_high'])}]"


def _short(value: float) -> str:
    """Three digits, or two below 10; a dash for no upper limit."""
    if not math.isfinite(value):
        return "-"
    return f"{value:.0f}" if value >= 99.5 else f"{value:.1f}" if value >= 9.95 else f"{value:.2f}"
