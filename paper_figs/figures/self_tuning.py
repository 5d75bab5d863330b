"""What ABS that tunes itself does: k, the threshold, and the noise and signal that it measures, over time."""

import math

import joblib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from paper_figs import study, style
from paper_figs.parallel import in_parallel
from simulations import policies, protocols
from simulations.experiment import simulate
from simulations.server import Progress

CLAIM = (
    "With one setting and one step, self-tuning waits for more gradients the later it is. At this step it restarts "
    "every late worker, but for the first 2 s, or 25 s where the hazard increases."
)
QUICK = {"n": 8, "laws": ["decreasing hazard"], "step_size": 0.707, "replicates": 2, "points": 20}
DEFAULT = {
    "n": 20, "laws": ["increasing hazard", "decreasing hazard", "lognormal"], "step_size": 0.707, "replicates": 12,
    "points": 60,
}  # fmt: skip
FULL = DEFAULT | {"replicates": 60}

COLUMNS = ["k", "max_staleness", "variance", "norm2"]
NO_THRESHOLD = 40.0  # where the largest thresholds and none are drawn, in updates


class Watching:
    """A constant step size that notes what is in force and what has been measured at each update."""

    measures = True

    def __init__(self, step_size: float):
        self.step_size = step_size
        self.rows: list[tuple[float, ...]] = []

    def __call__(self, progress: Progress) -> float:
        """The step, which is always the same."""
        measured = progress.measured
        if measured is not None:
            quantities = measured.gradient_variance.value, measured.gradient_norm2.value
            self.rows.append((progress.time, progress.k, progress.max_staleness, *quantities))
        return self.step_size


def compute(n: int, laws: list[str], step_size: float, replicates: int, points: int) -> pd.DataFrame:
    """One row per law, replicate and point of a grid of times: what is in force, and what has been measured."""
    calls = [
        joblib.delayed(watched)(law, n, step_size, replicate, points) for law in laws for replicate in range(replicates)
    ]
    return pd.concat(in_parallel("watching", calls), ignore_index=True)


def watched(law: str, n: int, step_size: float, replicate: int, points: int) -> pd.DataFrame:
    """One run, on a grid of times."""
    delay, _, horizon = study.LAWS[law]
    tuning, step = policies.self_tuning(), Watching(step_size)
    protocol = protocols.abs_sgd(tuning.k, tuning.max_staleness)
    simulate(
        protocol, study.problem_of(n), delay, n, step_size=step, time_budget=horizon, seed=study.SHOWN_SEED,
        replicates=[replicate],
    )  # fmt: skip
    rows = np.array(step.rows)
    grid = np.linspace(0, horizon, points + 1)[1:]
    values = rows[np.searchsorted(rows[:, 0], grid, side="right") - 1, 1:]
    return pd.DataFrame(values, columns=COLUMNS).assign(law=law, replicate=replicate, time=grid)


def summarise(runs: pd.DataFrame) -> pd.DataFrame:
    """Quartiles over replicates at each time."""
    grouped = runs.replace({"max_staleness": math.inf}, 1e9).groupby(["law", "time"], sort=False)[COLUMNS]
    tables = {"low": 0.25, "median": 0.5, "high": 0.75}
    parts = [grouped.quantile(q, interpolation="nearest").add_suffix(f"_{name}") for name, q in tables.items()]
    return pd.concat(parts, axis=1).reset_index()


def numbers(table: pd.DataFrame) -> pd.DataFrame:
    """Medians after a fifth, half and all of the time."""
    at = table.groupby("law", sort=False).cumcount()
    last = at.groupby(table["law"]).transform("max")
    few = table[at.isin([0]) | (at == last // 5) | (at == last // 2) | (at == last)]
    return few[["law", "time", *(f"{column}_median" for column in COLUMNS)]]


def draw(table: pd.DataFrame) -> Figure:
    laws = list(table["law"].unique())
    fig = Figure(figsize=(style.PAGE, 4.8), layout="constrained")
    axes = fig.subplots(3, len(laws), sharex="col", sharey="row", squeeze=False)
    for column, (law, rows) in zip(axes.T, table.groupby("law", sort=False), strict=True):
        _band(column[0], rows, "k", style.ORANGE, steps=True)
        _band(column[1], rows, "max_staleness", style.ORANGE, steps=True)
        _band(column[2], rows, "variance", style.BLUE, label="variance of one gradient")
        _band(column[2], rows, "norm2", style.ORANGE, label="squared norm of the mean gradient")
        column[0].set(title=law, ylim=(0, None))
        column[0].yaxis.set_major_locator(MaxNLocator(5, integer=True))
        column[1].set(yscale="symlog", ylim=(-0.15, NO_THRESHOLD))  # 0 is above the axis
        column[1].set_yticks([0, 1, 3, 10, NO_THRESHOLD], ["0", "1", "3", "10", "40 or none"])
        column[2].set(yscale="log", xlabel="time (s; mean delay 1 s)")
    for ax, label in zip(axes[:, 0], ("workers waited\nfor, $k$", "threshold\n(updates)", "measured"), strict=True):
        ax.set(ylabel=label)
    fig.legend(*axes[2, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return fig


def _band(ax: Axes, rows: pd.DataFrame, column: str, color: str, steps: bool = False, label: str | None = None) -> None:
    """Median and quartiles over replicates; what cannot be drawn on a logarithmic axis is left out."""
    low, middle, high = (rows[f"{column}_{name}"].clip(upper=NO_THRESHOLD) for name in ("low", "median", "high"))
    if not steps:
        low, middle = low.where(low > 0, np.nan), middle.where(middle > 0, np.nan)
    ax.plot(rows["time"], middle, color=color, label=label, drawstyle="steps-post" if steps else "default")
    shape = "post" if steps else None
    ax.fill_between(rows["time"], low, high, color=color, alpha=0.15, linewidth=0, step=shape)
