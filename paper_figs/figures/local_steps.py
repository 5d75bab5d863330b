"""Why an analysis with exponential tasks of one step hides what restarts cost: tasks of U exponential steps."""

import itertools
import math
from typing import Any

import joblib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from abs_theory import steady_state
from abs_theory.delays import Delay, Erlang, Exponential
from paper_figs import simulated, style
from paper_figs.parallel import in_parallel

CLAIM = (
    "With one exponential step per task a late worker is as far from done as a fresh one and a restart costs no time; "
    "with several steps, of the same mean in all, it is the nearer to done the later it is, and the stricter the "
    "threshold the longer the round."
)
LOOKS: dict[Any, dict[str, Any]] = {
    1: {"color": "#000000", "linestyle": ":", "marker": "s"},
    2: {"color": "#0072B2", "linestyle": "--", "marker": "v"},
    4: {"color": "#009E73", "linestyle": (0, (5, 1.5, 1, 1.5)), "marker": "P"},
    10: {"color": "#D55E00", "linestyle": "-", "marker": "o"},
}
OLDEST = 8  # rounds missed by the oldest worker of the first panel
QUICK = {"n": 20, "k": 5, "steps": [1, 2, 10], "bounds": [0, 1, 3], "tasks": 1000, "replicates": 4, "seed": 13}
DEFAULT = {
    "n": 20, "k": 5, "steps": [1, 2, 4, 10], "bounds": [0, 1, 2, 3, 4, 5, 6, 8], "tasks": 3000, "replicates": 6,
    "seed": 13,
}  # fmt: skip
FULL = {
    "n": 20, "k": 5, "steps": [1, 2, 4, 10], "bounds": [*range(9)], "tasks": 6000, "replicates": 30, "seed": 13,
}  # fmt: skip


def compute(
    n: int, k: int, steps: list[int], bounds: list[int], tasks: int, replicates: int, seed: int
) -> pd.DataFrame:
    """Two quantities by theory and simulation, with half-widths, per number of steps and x.

    "round_time" (s) against x = max_staleness (inf is none), and "delivers", the chance of a worker that has missed x
    rounds of K-async to deliver in the next one.
    """
    effort = {"tasks": tasks, "replicates": replicates, "seed": seed}
    unit = float(stats.t.isf(0.025, replicates - 1)) / math.sqrt(replicates)
    rows = []
    cells = list(itertools.product(steps, [*map(float, bounds), math.inf]))
    step_law = {each: Exponential(mean=1 / each) for each in steps}
    times = [
        joblib.delayed(simulated.averages)(step_law[each], k, n, bound, local_steps=each, **effort)
        for each, bound in cells
    ]
    ages = [
        joblib.delayed(simulated.staleness)(step_law[each], k, n, math.inf, local_steps=each, **effort)
        for each in steps
    ]
    results = in_parallel("local-steps", times + ages)
    for (each, bound), found in zip(cells, results[: len(cells)], strict=True):
        state = steady_state.abs_sgd(_task(each), k, n, bound)
        time = found["round_time"]
        row = {"theory": state.round_time, "theory_error": state.error.round_time, "solved": state.method}
        row |= {"simulation": time.mean, "half_width": time.half_width()}
        rows.append({"quantity": "round_time", "steps": each, "x": bound} | row)
    for each, shares in zip(steps, results[len(cells) :], strict=True):
        state = steady_state.abs_sgd(_task(each), k, n, math.inf)
        by_theory = _delivers(state.staleness_pmf[None])
        by_simulation = _delivers(shares)
        for age in range(OLDEST + 1):
            row = {"theory": by_theory[0, age], "solved": state.method, "simulation": by_simulation[:, age].mean()}
            row |= {"half_width": unit * by_simulation[:, age].std(ddof=1)}
            rows.append({"quantity": "delivers", "steps": each, "x": float(age)} | row)
    return pd.DataFrame(rows)


def _task(steps: int) -> Delay:
    """The law of a whole task; one step is told apart because more is known exactly of it."""
    return Exponential(mean=1.0) if steps == 1 else Erlang(steps=steps, scale=1 / steps)


def _delivers(pmf: np.ndarray) -> np.ndarray:
    """P(tau = j | tau >= j) for j = 0, ..., OLDEST: all tasks are delivered in the end; NaN where none got so old."""
    pmf = np.pad(pmf, ((0, 0), (0, OLDEST + 1)))
    at_least = pmf[:, ::-1].cumsum(axis=1)[:, ::-1]
    return np.divide(pmf, at_least, out=np.full_like(pmf, np.nan), where=at_least > 1e-3)[:, : OLDEST + 1]


def draw(table: pd.DataFrame) -> Figure:
    fig = Figure(figsize=(style.PAGE, 2.9), layout="constrained")
    left, right = fig.subplots(1, 2)
    last = table.loc[(table["quantity"] == "round_time") & np.isfinite(table["x"]), "x"].max()
    none = last + 1.5
    for (quantity, steps), rows in table.groupby(["quantity", "steps"], sort=False):
        look = LOOKS[steps]
        ax = right if quantity == "round_time" else left
        x = rows["x"].replace(math.inf, none)
        bounded = np.isfinite(rows["x"])
        ax.plot(x[bounded], rows.loc[bounded, "theory"], color=look["color"], linestyle=look["linestyle"])
        if not bounded.all():
            ends = none + np.array([-0.35, 0.35])
            ax.plot(ends, rows.loc[~bounded, "theory"].repeat(2), color=look["color"], linestyle=look["linestyle"])
        style.points(ax, x, rows["simulation"], rows["half_width"], color=look["color"], marker=look["marker"])
    left.set(xlabel="rounds missed so far", ylabel="chance to deliver in the next round", ylim=(0, 1))
    right.set(xlabel="max_staleness (updates)", ylabel="mean round time (s)", ylim=(0, None))
    ticks = np.arange(0, last + 1, max(1, last // 4))
    right.set_xticks([*ticks, none], labels=[*(f"{tick:.0f}" for tick in ticks), "none"])
    left.set_title("K-async: why to keep a late worker")
    right.set_title("ABS: what it costs to restart it")
    handles = [
        style.key("1 step" if steps == 1 else f"{steps} steps", **LOOKS[steps]) for steps in table["steps"].unique()
    ]
    fig.legend(
        handles=handles, loc="outside upper center", ncols=4,
        title="exponential steps per task, 1 s in all; lines: theory; points: simulation with 95 % intervals",
    )  # fmt: skip
    return fig
