"""Who computes, waits and restarts in the first seconds of synchronous SGD, K-async SGD and ABS."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from abs_theory.delays import HyperExponential
from paper_figs import style
from simulations import protocols
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
    looks = {
        "applied": {"facecolor": style.BLUE, "edgecolor": "white"},
        "unfinished": {"facecolor": style.BLUE, "edgecolor": "white"},
        "restarted": {"facecolor": (style.ORANGE, 0.35), "edgecolor": "white", "hatch": "////"},
        "idle": {"facecolor": "0.88", "edgecolor": "white"},
    }
    fig = Figure(figsize=(style.PAGE, 3.6), layout="constrained")
    axes = fig.subplots(len(panels), 1, sharex=True)
    for ax, panel in zip(axes, panels, strict=True):
        rows = table[table["panel"] == panel]
        for outcome, row_look in looks.items():
            spans = rows[rows["outcome"] == outcome]
            ax.barh(spans["worker"] + 1, spans["end"] - spans["start"], left=spans["start"], height=0.8, **row_look)
        for time in rows.loc[rows["outcome"] == "update", "start"]:
            ax.axvline(time, color="black", linewidth=0.7)
        workers = range(1, int(rows["worker"].max()) + 2)
        ax.set(title=panel, ylabel="worker", yticks=list(workers), ylim=(len(workers) + 0.6, 0.4))
    axes[-1].set(xlabel="time (s)", xlim=(0, table["seconds"].iloc[0]))
    handles = [
        Patch(**looks["applied"], label="computes"),
        Patch(**looks["restarted"], label="computes, then told to restart"),
        Patch(**looks["idle"], label="has delivered, waits"),
        axes[0].plot([], [], color="black", linewidth=0.7, label="update")[0],
    ]
    fig.legend(handles=handles, loc="outside upper center", ncols=4)
    return fig
