"""What restarts cost if a task has U exponential steps, and why an analysis with one step does not show it."""

import itertools
import math
from typing import Any

import joblib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from abs_theory import steady_state
from abs_theory.delays import Delay, Erlang, Exponential
from paper_figs import simulated, style
from paper_figs.parallel import in_parallel

CLAIM = (
    "If a task is one exponential step, a late worker is as far from done as a fresh one, and a restart costs no "
    "time. If a task has several steps with the same total mean, a later worker is nearer to done, and a stricter "
    "threshold makes rounds longer."
)
LOOKS: dict[Any, dict[str, Any]] = {
    1: {"color": "#000000", "linestyle": ":", "marker": "s"},
    2: {"color": "#0072B2", "linestyle": "--", "marker": "v"},
    4: {"color": "#009E73", "linestyle": (0, (5, 1.5, 1, 1.5)), "marker": "P"},
    10: {"color": "#D55E00", "linestyle": "-", "marker": "o"},
}
MAX_MISSED_ROUNDS = 8  # end of the axis of the first panel
NONE_SPACING = 0.5  # between the marks at "none", in updates
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
    rows = []
    cells = list(itertools.product(steps, [*map(float, bounds), math.inf]))
    step_law = {count: Exponential(mean=1 / count) for count in steps}
    times = [
        joblib.delayed(simulated.averages)(step_law[count], k, n, bound, local_steps=count, **effort)
        for count, bound in cells
    ]
    ages = [
        joblib.delayed(simulated.staleness)(step_law[count], k, n, math.inf, local_steps=count, **effort)
        for count in steps
    ]
    results = in_parallel("local-steps", times + ages)
    for (count, bound), estimates in zip(cells, results[: len(cells)], strict=True):
        state = steady_state.abs_sgd(_task(count), k, n, bound, "fast")
        time = estimates["round_time"]
        row = {"theory": state.round_time, "theory_error": state.error.round_time, "solved": state.method}
        row |= {"simulation": time.mean, "half_width": time.half_width()}
        rows.append({"quantity": "round_time", "steps": count, "x": bound} | row)
    for count, shares in zip(steps, results[len(cells) :], strict=True):
        state = steady_state.abs_sgd(_task(count), k, n, math.inf, "fast")
        by_theory = _delivers(state.staleness_pmf[None])
        by_simulation = _delivers(shares)
        for age in range(MAX_MISSED_ROUNDS + 1):
            row = {"theory": by_theory[0, age], "solved": state.method, "simulation": by_simulation[:, age].mean()}
            row |= {"half_width": simulated.half_widths(by_simulation[:, age])}
            rows.append({"quantity": "delivers", "steps": count, "x": float(age)} | row)
    return pd.DataFrame(rows)


def _task(steps: int) -> Delay:
    """The law of a whole task.  One step is an Exponential, for which more is known exactly."""
    return Exponential(mean=1.0) if steps == 1 else Erlang(steps=steps, scale=1 / steps)


def _delivers(pmf: np.ndarray) -> np.ndarray:
    """P(tau = j | tau >= j) for j = 0, ..., MAX_MISSED_ROUNDS if all tasks are delivered; NaN if tau >= j is rare."""
    pmf = np.pad(pmf, ((0, 0), (0, MAX_MISSED_ROUNDS + 1)))
    at_least = pmf[:, ::-1].cumsum(axis=1)[:, ::-1]
    return np.divide(pmf, at_least, out=np.full_like(pmf, np.nan), where=at_least > 1e-3)[:, : MAX_MISSED_ROUNDS + 1]


def draw(table: pd.DataFrame) -> Figure:
    fig = Figure(figsize=(style.PAGE, 2.9), layout="constrained")
    left, right = fig.subplots(1, 2)
    last = table.loc[(table["quantity"] == "round_time") & np.isfinite(table["x"]), "x"].max()
    none, counts = last + 1.8, list(table["steps"].unique())
    for (quantity, steps), rows in table.groupby(["quantity", "steps"], sort=False):
        look = LOOKS[steps]
        place = none + NONE_SPACING * (counts.index(steps) - (len(counts) - 1) / 2)  # beside each other: all are equal
        ax = right if quantity == "round_time" else left
        x = rows["x"].replace(math.inf, place)
        bounded = np.isfinite(rows["x"])
        ax.plot(x[bounded], rows.loc[bounded, "theory"], color=look["color"], linestyle=look["linestyle"])
        if not bounded.all():
            ends = place + NONE_SPACING * np.array([-0.4, 0.4])
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
