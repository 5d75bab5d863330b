"""Round times and learning curves by theory, in simulation, and with worker processes that compute and wait."""

import joblib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from abs_theory import steady_state
from abs_theory.bounds import quadratic, recorded
from abs_theory.delays import ShiftedExponential
from abs_theory.results import Estimate
from abs_theory.typing import Array
from paper_figs import style
from paper_figs.parallel import in_parallel
from simulations import live, protocols
from simulations.experiment import simulate
from simulations.problems import NoisyQuadratic

CLAIM = (
    "Worker processes that compute gradients and wait until delays of the same seeds are over make the rounds of the "
    "simulation, and the same models to the last bit. Both agree with theory. Here a task that ends late by the clock "
    "counts as in time, so the figure is the same on every machine; benchmarks measure how late tasks are."
)
LOOKS: dict[int, style.Look] = {
    1: {"color": "#56B4E9", "marker": "^"},
    2: {"color": "#009E73", "marker": "P"},
    4: {"color": "#D55E00", "marker": "o"},
    8: {"color": "#000000", "marker": "s"},
}
DELAY = ShiftedExponential(shift=0.5, scale=0.5)
PROBLEM = NoisyQuadratic((1.0, 0.3), sigma2=1.0)
STEP_SIZE = 0.05
GRACE_SECONDS = 60.0  # more than any machine is late
POINTS = 13  # of time at which the models are compared
QUICK = {
    "n": 4, "ks": [1, 4], "max_staleness": 1, "seconds": 12.0, "replicates": 2, "tables": 100, "time_scale": 0.0015,
}  # fmt: skip
DEFAULT = {
    "n": 8, "ks": [1, 2, 4, 8], "max_staleness": 2, "seconds": 36.0, "replicates": 6, "tables": 1000,
    "time_scale": 0.0015,
}  # fmt: skip
FULL = DEFAULT | {"replicates": 30, "tables": 10_000, "time_scale": 0.01}
SEED = 23


def compute(
    n: int, ks: list[int], max_staleness: int, seconds: float, replicates: int, tables: int, time_scale: float
) -> pd.DataFrame:
    """Per k: "round_time" (s), and "gradient_norm2" at some times, by theory, simulated and live, with half-widths."""
    calls = [joblib.delayed(compared)(k, n, max_staleness, seconds, replicates, tables, time_scale) for k in ks]
    return pd.concat(in_parallel("live", calls), ignore_index=True)


def compared(
    k: int, n: int, max_staleness: int, seconds: float, replicates: int, tables: int, time_scale: float
) -> pd.DataFrame:
    """The rows of one ``k``."""
    grid = np.linspace(0.0, seconds, POINTS)
    options = {
        "step_size": STEP_SIZE, "time_budget": seconds, "eval_every": seconds / (POINTS - 1) / 8, "seed": SEED,
        "replicates": replicates,
    }  # fmt: skip
    protocol = protocols.abs_sgd(k, max_staleness)
    runs = {
        "simulation": simulate(protocol, PROBLEM, DELAY, n, n_jobs=1, **options),
        "live": live.run(protocol, PROBLEM, DELAY, n, time_scale=time_scale, grace=GRACE_SECONDS, **options),
    }
    state = steady_state.abs_sgd(DELAY, k, n, max_staleness)
    row = {"quantity": "round_time", "k": k, "x": float(k), "theory": float(state.round_time)}
    rows = [row | _measured({name: _round_times(run) for name, run in runs.items()})]
    curve = np.interp(grid, *_predicted(k, n, max_staleness, float(state.round_time), seconds, tables))
    norms = {name: _on_grid(run, grid) for name, run in runs.items()}
    for number, time in enumerate(grid):
        row = {"quantity": "gradient_norm2", "k": k, "x": time, "theory": curve[number]}
        rows.append(row | _measured({name: values[:, number] for name, values in norms.items()}))
    return pd.DataFrame(rows)


def _measured(samples: dict[str, Array]) -> dict[str, float]:
    estimates = {name: Estimate.of(values) for name, values in samples.items()}
    row = {name: estimate.mean for name, estimate in estimates.items()}
    return row | {f"{name}_half_width": estimate.half_width() for name, estimate in estimates.items()}


def _round_times(run: pd.DataFrame) -> Array:
    """The mean round time of each replicate in the second half of its rounds, when the start is forgotten."""
    times = [own["time"].to_numpy() for _, own in run.groupby("replicate")]
    return np.array([np.diff(own[len(own) // 2 :]).mean() for own in times])


def _on_grid(run: pd.DataFrame, grid: Array) -> Array:
    """The squared gradient norm of each replicate at the times of ``grid``: that of the last evaluated model."""
    start = float(np.sum((np.array(PROBLEM.curvatures) * PROBLEM.initial) ** 2))
    curves = []
    for _, own in run.dropna(subset="gradient_norm2").groupby("replicate"):
        values = np.concatenate([[start], own["gradient_norm2"]])
        curves.append(values[np.searchsorted(own["time"], grid, side="right")])
    return np.array(curves)


def _predicted(
    k: int, n: int, max_staleness: int, round_time: float, seconds: float, tables: int
) -> tuple[Array, Array]:
    """Mean times of models, and E|grad F|^2 of each, which is exact for each of ``tables`` tables of staleness.

    A model stays for a round, so at a random moment half of that is over.
    """
    updates = int(np.ceil(seconds / round_time)) + 1
    rng = np.random.default_rng(SEED)
    staleness = recorded.sample(DELAY, k, n, max_staleness, rng, num_updates=updates, replicates=tables)
    moments = quadratic.moments(PROBLEM.curvatures, PROBLEM.sigma2, PROBLEM.initial, STEP_SIZE, staleness)
    first = float(DELAY.mean_order_statistic(k, n))
    times = np.concatenate([[0.0], first + round_time * (np.arange(updates) + 0.5)])
    return times, moments.gradient_norm2.mean(axis=0)


def numbers(table: pd.DataFrame) -> pd.DataFrame:
    """The round times, and the squared gradient norms at the end."""
    last = table["x"] == table.loc[table["quantity"] == "gradient_norm2", "x"].max()
    shown = table[(table["quantity"] == "round_time") | last]
    return shown[["quantity", "k", "theory", "simulation", "live", "live_half_width"]]


def draw(table: pd.DataFrame) -> Figure:
    fig = Figure(figsize=(style.PAGE, 2.9), layout="constrained")
    left, right = fig.subplots(1, 2)
    times = table[table["quantity"] == "round_time"]
    left.plot(times["k"], times["theory"], color="0.5", zorder=1)
    for k in times["k"]:
        look, rows = LOOKS[k], table[table["k"] == k]
        curve = rows[rows["quantity"] == "gradient_norm2"]
        right.plot(curve["x"], curve["theory"], color=look["color"])
        for ax, part in ((left, rows[rows["quantity"] == "round_time"]), (right, curve[curve["x"] > 0])):
            ax.plot(
                part["x"], part["simulation"], linestyle="", marker="s", markersize=8, fillstyle="none",
                color=look["color"], markeredgewidth=0.8,
            )  # fmt: skip
            style.points(ax, part["x"], part["live"], part["live_half_width"], **look)
    left.set(xlabel="k (gradients waited for)", ylabel="mean round time (s)", ylim=(0, None), title="round time")
    right.set(xlabel="time (s)", ylabel="squared gradient norm", yscale="log", title="learning curves")
    handles = [style.key(f"k = {k}", linestyle="-", **LOOKS[k]) for k in times["k"]]
    fig.legend(
        handles=handles, loc="outside upper center", ncols=4,
        title="lines: theory; squares: simulation; points: worker processes with 95 % intervals",
    )  # fmt: skip
    return fig
