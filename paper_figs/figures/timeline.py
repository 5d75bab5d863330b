"""Who computes, waits and restarts in the first seconds of synchronous SGD, K-async SGD and ABS."""

import pandas as pd
from matplotlib.figure import Figure

from abs_theory.delays import HyperExponential
from paper_figs import style
from simulations import plot, protocols
from simulations.experiment import simulate
from simulations.problems import TimingOnly

CLAIM = (
    "With the same task times, the three methods treat a stalled worker differently. Synchronous SGD waits for it, "
    "K-async SGD applies its gradient many updates late, and ABS drops its work and restarts it. The window is too "
    "short to compare their speed."
)
DEFAULT = {"n": 5, "k": 2, "max_staleness": 2, "seconds": 6.0, "seed": 5}
QUICK = FULL = DEFAULT


def compute(n: int, k: int, max_staleness: int, seconds: float, seed: int) -> pd.DataFrame:
    """One row per task: panel, worker, start, end, outcome, applied_version; and the idle spans between tasks."""
    delay = HyperExponential(probs=(0.9, 0.1), means=(0.6, 4.6))  # mean 1 s, rare long stalls
    panels = {
        "synchronous": protocols.synchronous(),
        f"K-async, k = {k}": protocols.k_async(k),
        f"ABS, k = {k}, staleness at most {max_staleness}": protocols.abs_sgd(k, max_staleness),
    }
    tables = []
    for panel, protocol in panels.items():
        rounds, tasks = simulate(
            protocol, TimingOnly(), delay, n, step_size=1.0, time_budget=4 * seconds, seed=seed, jobs=True
        )
        idle = tasks.sort_values("start").assign(
            start=tasks["end"], end=tasks.groupby("worker")["start"].shift(-1), outcome="idle"
        )
        idle = idle[idle["end"] > idle["start"]]
        updates = rounds.rename(columns={"update": "applied_version"}).assign(
            start=rounds["time"], end=rounds["time"], outcome="update", worker=-1
        )
        columns = ["worker", "start", "end", "applied_version", "outcome"]
        table = pd.concat([tasks[columns], idle[columns], updates[columns]])
        tables.append(table[table["start"] < seconds].assign(panel=panel, seconds=seconds))
    return pd.concat(tables, ignore_index=True)


def numbers(table: pd.DataFrame) -> pd.DataFrame:
    """Per protocol: updates and restarts within the seconds shown, and how long workers waited."""
    waited = (table["end"].clip(upper=table["seconds"]) - table["start"]).where(table["outcome"] == "idle", 0.0)
    restarts = (table["outcome"] == "restarted") & (table["end"] <= table["seconds"])
    counted = table.assign(updates=table["outcome"] == "update", restarts=restarts, idle_seconds=waited)
    return counted.groupby("panel", sort=False)[["updates", "restarts", "idle_seconds"]].sum().reset_index()


def draw(table: pd.DataFrame) -> Figure:
    panels = list(table["panel"].unique())
    fig = Figure(figsize=(style.PAGE, 3.6), layout="constrained")
    axes = fig.subplots(len(panels), 1, sharex=True)
    for ax, panel in zip(axes, panels, strict=True):
        rows = table[table["panel"] == panel]
        plot.bars(ax, rows, rows.loc[rows["outcome"] == "update", "start"], table["seconds"].iloc[0])
        ax.set(title=panel)
    axes[-1].set(xlabel="time (s)")
    plot.outcome_legend(fig, list(table["outcome"].unique()))
    return fig
