"""Shares of fast and slow workers in the updates, and what they mean for accuracy if workers see different labels."""

import dataclasses
import itertools

import joblib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MultipleLocator

from abs_theory.results import Estimate
from paper_figs import laws, style
from paper_figs.parallel import in_parallel
from simulations import protocols
from simulations.fleets import Scaled, as_fleet
from simulations.policies import relative_to_mean
from simulations.problems import Classifier, digits
from simulations.protocols import weights
from simulations.server import Run, RunBudget, run_replicate, run_together

CLAIM = (
    "K-sync restarts all late workers and Ringmaster the latest, so both apply few gradients of the slow half. If all"
    " workers have similar data, this costs no accuracy. If each worker has its own labels, both are less accurate "
    "than synchronous SGD, while K-async and asynchronous SGD are more accurate than it. Weights by inverse "
    "participation do not mend this: they remove the bias to fast workers, but add noise."
)
METHODS = {
    "synchronous": lambda k: protocols.synchronous(),
    "K-sync": protocols.k_sync,
    "Ringmaster": lambda k: protocols.ringmaster(2 * k),
    "ABS": lambda k: protocols.abs_sgd(k, relative_to_mean()),
    "K-async": protocols.k_async,
    "asynchronous": lambda k: protocols.asynchronous(),
    "Ringleader": lambda k: protocols.ringleader(),
}
SPLITS = {"even": "even", "by label": 0.1}  # 0.1 is a Dirichlet parameter: one to three labels per worker
WEIGHED = "by label, weighed"  # by inverse participation, for these methods:
OF_UNEQUAL_SHARES = ["Ringmaster", "ABS", "K-async", "asynchronous"]
TUNING_SEED, SHOWN_SEED = 1, 2
QUICK = {"n": 6, "k": 2, "slower": 4.0, "seconds": 40.0, "replicates": 3, "steps": [0.125, 0.25, 0.5, 1.0], "tuning": 1}
DEFAULT = {
    "n": 10, "k": 4, "slower": 4.0, "seconds": 75.0, "replicates": 10, "tuning": 3,
    "steps": [2.0**power for power in range(-6, 2)],
}  # fmt: skip
FULL = DEFAULT | {"replicates": 40, "tuning": 8}


def compute(
    n: int, k: int, slower: float, seconds: float, replicates: int, steps: list[float], tuning: int
) -> pd.DataFrame:
    """Per method, split and worker: its share of the gradients applied, and the test accuracy after ``seconds``.

    The workers of the second half take ``slower`` times as long as the others, whose mean is 1 s.  Each replicate has
    its own split.  With ``WEIGHED`` each gradient is weighed by the inverse of its worker's share.  The best of
    ``steps`` is found on ``tuning`` other replicates, for each method and split.
    """
    cells = [*itertools.product(METHODS, SPLITS), *itertools.product(OF_UNEQUAL_SHARES, [WEIGHED])]
    setting = (n, k, slower, seconds)
    scouts = [joblib.delayed(_accuracies)(*c, steps, r, *setting) for c, r in _product(cells, tuning)]
    accuracies = np.reshape(in_parallel("heterogeneity: tuning", scouts), (len(cells), tuning, len(steps)))
    best = {cell: steps[of_cell.mean(axis=0).argmax()] for cell, of_cell in zip(cells, accuracies, strict=True)}
    runs = [joblib.delayed(_trained)(*c, best[c], SHOWN_SEED, r, *setting) for c, r in _product(cells, replicates)]
    shown = pd.concat(in_parallel("heterogeneity", runs))
    groups = shown.groupby(["method", "split", "worker"], sort=False)
    table = groups[["slow", "step_size"]].first()
    for column in ("share", "accuracy"):
        estimates = groups[column].apply(lambda values: Estimate.of(values.to_numpy()))
        table[column] = estimates.map(lambda estimate: estimate.mean)
        table[f"{column}_stderr"] = estimates.map(lambda estimate: estimate.stderr)
    return table.reset_index()


def _product(cells: list, *others) -> itertools.product:
    return itertools.product(cells, *(range(other) if isinstance(other, int) else other for other in others))


def _run(
    method: str, split: str, step_size: float, seed: int, replicate: int, n: int, k: int, slower: float, seconds: float
) -> Run:
    """What is trained in one replicate."""
    fleet = Scaled(as_fleet(laws.LAWS["increasing hazard"], n), tuple(np.where(_slow(n), slower, 1.0)))
    problem = Classifier(
        digits(),
        n,
        hidden=32,
        split=SPLITS["by label" if split == WEIGHED else split],
        split_seed=seed * 1000 + replicate,
    )
    budget = RunBudget(time_budget=seconds)
    protocol = METHODS[method](k)
    if split == WEIGHED:
        protocol = weights.inverse_participation(protocol)
    return Run(protocol=protocol, problem=problem, fleet=fleet, step_size=step_size, seed=seed, budget=budget)


def _slow(n: int) -> np.ndarray:
    return np.arange(n) >= n - n // 2


def _accuracies(method: str, split: str, steps: list[float], replicate: int, *setting) -> list[float]:
    """The accuracy at the end of a run of the tuning, for each step size."""
    run = _run(method, split, steps[0], TUNING_SEED, replicate, *setting)
    results = run_together([dataclasses.replace(run, step_size=step) for step in steps], [replicate])
    return [float(rounds["test_accuracy"].iloc[-1]) for ((rounds, _),) in results]


def _trained(
    method: str, split: str, step_size: float, seed: int, replicate: int, n: int, k: int, slower: float, seconds: float
) -> pd.DataFrame:
    """One run: each worker's share of the gradients applied, and the accuracy at the end."""
    run = _run(method, split, step_size, seed, replicate, n, k, slower, seconds)
    rounds, tasks = run_replicate(dataclasses.replace(run, keep_tasks=True), replicate)
    applied = tasks.loc[tasks["outcome"] == "applied", "worker"].value_counts().reindex(range(n), fill_value=0)
    return pd.DataFrame(
        {
            "method": method, "split": split, "worker": range(n), "slow": _slow(n), "step_size": step_size,
            "share": applied.to_numpy() / applied.sum(), "accuracy": rounds["test_accuracy"].iloc[-1],
        }
    )  # fmt: skip


def numbers(table: pd.DataFrame) -> pd.DataFrame:
    """Per method and split: the share of the slow half in the gradients applied, and the accuracy."""
    groups = table.assign(slow_share=table["share"].where(table["slow"])).groupby(["method", "split"], sort=False)
    return groups.agg(
        slow_share=("slow_share", "sum"), accuracy=("accuracy", "first"), accuracy_stderr=("accuracy_stderr", "first"),
        step_size=("step_size", "first"),
    ).reset_index()  # fmt: skip


def draw(table: pd.DataFrame) -> Figure:
    n, skewed = table["worker"].max() + 1, table[table["split"] == "by label"]
    fig = Figure(figsize=(style.PAGE, 3.0), layout="constrained")
    left, right = fig.subplots(1, 2, width_ratios=(1.25, 1))
    for (method, _), rows in skewed.groupby(["method", "slow"], sort=False):
        look = style.look(method)
        label = method if not rows["slow"].any() else None  # each method has two lines
        left.errorbar(
            rows["worker"], 100 * rows["share"], 200 * rows["share_stderr"], elinewidth=1, label=label, **look
        )
    left.axhline(100 / n, color="0.6", linewidth=0.6, zorder=0)
    first_slow = skewed.loc[skewed["slow"], "worker"].min()
    left.axvspan(first_slow - 0.5, n - 0.5, color="0.95", zorder=0)
    top = 100 * (skewed["share"] + 2 * skewed["share_stderr"]).max()
    for x, name in (((first_slow - 1) / 2, "fast"), ((first_slow + n - 1) / 2, "slow")):
        left.text(x, 1.1 * top, name, ha="center", va="top")
    left.set(xlabel="worker", ylabel="share of the gradients applied (%), 2 s.e.")
    left.set(xlim=(-0.5, n - 0.5), ylim=(-0.02 * top, 1.12 * top))
    left.xaxis.set_major_locator(MultipleLocator(1))
    left.legend(loc="upper right", bbox_to_anchor=(1, 0.93), fontsize=6)  # above the small shares of the slow
    methods = list(dict.fromkeys(table["method"]))
    few = numbers(table)
    for method, rows in few.groupby("method", sort=False):
        y, look = methods.index(method), style.look(method) | {"linestyle": ""}
        right.plot(100 * rows["accuracy"], [y] * len(rows), color=look["color"], linewidth=0.8, alpha=0.5)
        for row in rows.to_dict("records"):
            look["markerfacecolor"] = "white" if row["split"] == "even" else look["color"]
            right.errorbar(
                100 * row["accuracy"], y, xerr=200 * row["accuracy_stderr"], elinewidth=1,
                **look | ({"marker": "|", "markersize": 9} if row["split"] == WEIGHED else {}),
            )  # fmt: skip
    right.set(yticks=range(len(methods)), yticklabels=methods, ylim=(len(methods) - 0.5, -0.5))
    right.set(xlabel="test accuracy at the end (%), 2 s.e.")
    right.grid(axis="y", color="0.92", linewidth=0.6)
    handles = [
        Line2D([], [], color="black", linestyle="", marker=marker, markerfacecolor=face, label=label)
        for marker, face, label in (
            ("o", "white", "every worker sees all labels"),
            ("o", "black", "each worker sees its own labels"),
            ("|", "black", "the same, weighed by inverse participation"),
        )
    ]
    fig.legend(handles=handles, loc="outside upper right", ncols=3)
    return fig
