"""Time, rounds and communication to two target accuracies under three delay laws, every method tuned."""

import math
from typing import cast

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from abs_theory.results import percent
from paper_figs import study, style
from simulations.plot import Look, interval
from simulations.record import median, to_target

CLAIM = (
    "Where stalls make the hazard decrease, ABS with k and threshold chosen from the delay law and estimated "
    "constants is several times as fast as AdaSync and K-async. Where the hazard increases, a tuned K-sync is at "
    "least as fast as ABS. ABS that tunes itself ties with it there, with Ringmaster under lognormal delays, and with "
    "the time-optimal threshold where the hazard decreases."
)
QUICK, DEFAULT, FULL, compute = study.QUICK, study.DEFAULT, study.FULL, study.compute

_LABELS = {"ABS": "ABS, relative"}  # its threshold is relative to the mean staleness
_BOOTSTRAPS = 2000
_SPENT = ("time", "update", "communication")


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
                budget = of_method[method]["budget"].iloc[0]
                row = {"law": law, "target": target, "accuracy": level, "method": method, "budget": budget}
                for spent in _SPENT:
                    estimate = median(result[spent], result["reached"])
                    row |= {spent: estimate.median, f"{spent}_low": estimate.low, f"{spent}_high": estimate.high}
                row |= {"reached": int(result["reached"].sum()), "replicates": len(result)}
                row |= ratio_to(reached["ABS"], result, rng)
                knobs = of_method[method].filter(like="tuned_").iloc[0].dropna()
                if method == study.CHOSEN:
                    row |= of_method[method][["k", "max_staleness"]].iloc[-1].to_dict()
                rows.append(row | {str(name).removeprefix("tuned_"): value for name, value in knobs.items()})
    return pd.DataFrame(rows)


def ratio_to(reference: pd.DataFrame, result: pd.DataFrame, rng: np.random.Generator) -> dict[str, float]:
    """Ratio of median times with a 95 % interval, by a bootstrap over replicates (paired: same delays in both).

    Each run of a method has the same budget, so the Kaplan-Meier median is the median with "never" as infinity;
    the ratio is infinite where the method does not reach the target, and never NaN.
    """
    draws = rng.integers(len(result), size=(_BOOTSTRAPS, len(result)))

    def medians(table: pd.DataFrame) -> np.ndarray:
        times = np.where(table["reached"], table["time"], math.inf)
        resampled = np.vstack([times, times[draws]])
        middle = math.ceil(len(times) / 2) - 1
        return np.partition(resampled, middle, axis=1)[:, middle]

    with np.errstate(invalid="ignore"):
        ratios = medians(result) / medians(reference)
    ratios = np.where(np.isnan(ratios), math.inf, ratios)
    low, high = np.quantile(ratios[1:], [0.025, 0.975], method="inverted_cdf")
    return {"ratio": ratios[0], "ratio_low": low, "ratio_high": high}


def numbers(table: pd.DataFrame) -> pd.DataFrame:
    few = table[["law", "target", "accuracy", "method", "time", "time_low", "time_high", "ratio", "update"]]
    return few.assign(messages=table["communication"], reached=table["reached"], replicates=table["replicates"])


def draw(table: pd.DataFrame) -> Figure:
    """A panel per law, a row per method: median and 95 % interval, filled for the hard target, open for the easy."""
    laws, methods = list(table["law"].unique()), _by_speed(table)
    fig = Figure(figsize=(style.PAGE, 0.9 + 0.2 * len(methods)), layout="constrained")
    axes = fig.subplots(1, len(laws), sharey=True, squeeze=False)[0]
    for ax, (law, rows) in zip(axes, table.groupby("law", sort=False), strict=True):
        times = rows[["time", "time_low"]].to_numpy()
        end = 1.6 * times[np.isfinite(times)].max()
        for row in rows.to_dict("records"):
            y = methods.index(row["method"]) + (0.17 if row["target"] == "hard" else -0.17)
            estimate = (row["time"], row["time_low"], row["time_high"])
            interval(ax, y, estimate, end, cast(Look, style.look(row["method"])), filled=row["target"] == "hard")
            if not math.isfinite(row["time"]):
                ax.annotate(
                    f"not reached in {row['budget']:g} s", (end, y), (0, -2), textcoords="offset points", ha="right",
                    va="center", fontsize=5, color="0.3",
                )  # fmt: skip
        ax.set(title=law, xscale="log", xlabel="time to target (s; mean delay 1 s)")
        ax.set_xlim(right=1.1 * end)
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.grid(axis="y", color="0.92", linewidth=0.6)
    labels = [_LABELS.get(method, method) for method in methods]
    axes[0].set(yticks=range(len(methods)), yticklabels=labels, ylim=(len(methods) - 0.5, -0.5))
    levels = table.groupby("target")["accuracy"].first()
    handles = [
        Line2D([], [], color="black", marker="o", markerfacecolor=face, label=f"to {percent(level)} test accuracy")
        for level, face in ((levels["hard"], "black"), (levels["easy"], "white"))
    ]
    fig.legend(handles=handles, title="median and 95 % interval", loc="outside upper center", ncols=2)
    return fig


def _by_speed(table: pd.DataFrame) -> list[str]:
    """Methods by their mean rank at the hard target, the fastest first."""
    hard = table[table["target"] == "hard"]
    return hard.groupby("law")["time"].rank().groupby(hard["method"]).mean().sort_values(kind="stable").index.tolist()
