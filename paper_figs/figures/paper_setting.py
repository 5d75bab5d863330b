"""The setting of the ABS paper, as far as it is known: accuracy against seconds, rounds and messages.

Known of the paper, from its abstract and a summary: local steps, and the rivals AdaSync, SA-AdaSync and local SGD.
STSyn, of the same group (arXiv 2210.03521), has 20 workers, 10 exponential local steps, K = 5, a constant step size,
and runs that stop at a target accuracy.  In public code of the group, k grows in proportion to the inverse loss.
Ours are the data and their splits, the model, the batch size, the tuning of the step sizes, and the readings of ABS
and SA-AdaSync.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from operator import itemgetter

import joblib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from abs_theory.delays import Delay, Erlang, Exponential
from paper_figs import style
from paper_figs.parallel import in_parallel
from simulations import policies, protocols
from simulations.fleets import as_fleet
from simulations.plot import quartiles, with_start
from simulations.problems import Classifier, image_files
from simulations.record import median, thinned, to_target, with_totals
from simulations.server import Protocol, Run, RunBudget, run_together

CLAIM = (
    "With label-skewed data ABS and AdaSync reach the target first and with the fewest messages, as the abstract of "
    "the ABS paper says of ABS. With i.i.d. data ABS is faster than AdaSync, ties with local SGD, and is slower than "
    "STSyn, FedBuff and SA-AdaSync. STSyn and local SGD need fewer rounds. Self-tuning is as fast as any with i.i.d. "
    "data. With label-skewed data it ties with STSyn and FedBuff and needs fewer messages than STSyn."
)
METHODS: dict[str, Callable[[Delay, int, int], Protocol]] = {  # from the law of a task, n and k0
    "ABS, loss ratio": lambda task, n, k0: protocols.abs_sgd(policies.loss_ratio(k0), policies.relative_to_mean()),
    "ABS, self-tuning": lambda task, n, k0: protocols.self_tuning_abs(),
    "AdaSync": protocols.adasync,
    "SA-AdaSync": protocols.staleness_aware_adasync,
    "STSyn": lambda task, n, k0: protocols.stsyn(k0),
    "FedBuff": lambda task, n, k0: protocols.fedbuff(k0),
    "local SGD": lambda task, n, k0: protocols.local_sgd(),
}
SPLITS = {"i.i.d. data": "even", "label-skewed data": 0.1}  # 0.1: a Dirichlet parameter, one to three labels per worker
TUNING_SEED, SHOWN_SEED = 1, 2
POINTS, EVALUATIONS = 60, 160  # of a curve; of a run, at most
SPENT = {"time": "time (s; 1 s per task on average)", "update": "rounds (updates)", "communication": "messages"}
ACCURACY = "test_accuracy"
QUICK = {
    "n": 8, "k0": 2, "local_steps": 10, "batch": 16, "hidden": 32, "steps": [0.1, 0.4], "seconds": 25.0, "tuning": 1,
    "replicates": 3, "data": "digits", "targets": {"digits": 0.85, "IDX files": 0.85, "CIFAR-10": 0.35},
}  # fmt: skip
DEFAULT = {
    "n": 20, "k0": 5, "local_steps": 10, "batch": 16, "hidden": 32, "steps": [0.2, 0.4, 0.8, 1.6],
    "seconds": 40.0, "tuning": 4, "replicates": 10, "data": "digits",
    "targets": {"digits": 0.92, "IDX files": 0.9, "CIFAR-10": 0.4},
}  # fmt: skip
FULL = DEFAULT | {"seconds": 80.0, "tuning": 12, "replicates": 60}


def compute(
    n: int, k0: int, local_steps: int, batch: int, hidden: int, steps: list[float], seconds: float, tuning: int,
    replicates: int, data: str, targets: dict[str, float],
) -> pd.DataFrame:  # fmt: skip
    """Runs up to the target accuracy: one row per evaluation, per split, method and replicate.

    A task is ``local_steps`` exponential steps, together 1 s on average.  The step size is constant during a run.  The
    best of ``steps`` is found for each method and split, by the mean time to the target of ``tuning`` other replicates.
    The rules for k start with ``k0`` gradients, and STSyn and FedBuff always wait for that many.  ``data`` is "digits"
    or a folder with the files of MNIST or CIFAR-10, and ``targets`` has the target for each kind.
    """
    samples = image_files.load(data)
    target = next(level for kind, level in targets.items() if samples.name.startswith(kind))
    problems = {
        split: Classifier(samples, n, hidden=hidden, batch_size=batch, split=shares) for split, shares in SPLITS.items()
    }
    calls = [
        joblib.delayed(_tuned_and_trained)(
            method, problems[split], k0, local_steps, target, seconds, steps, tuning, replicates
        )
        for split, method in itertools.product(SPLITS, METHODS)
    ]
    tables = in_parallel("paper-setting", calls)
    cells = zip(itertools.product(SPLITS, METHODS), tables, strict=True)
    return pd.concat([runs.assign(split=split, method=method) for (split, method), runs in cells], ignore_index=True)


def _tuned_and_trained(
    method: str, problem: Classifier, k0: int, local_steps: int, target: float, seconds: float,
    steps: Sequence[float], tuning: int, replicates: int,
) -> pd.DataFrame:  # fmt: skip
    """The runs of one method with the best of ``steps``, from the initial model up to the target."""
    task = Erlang(steps=local_steps, scale=1 / local_steps)
    run = Run(
        protocol=METHODS[method](task, problem.n, k0), problem=problem, local_steps=local_steps, seed=TUNING_SEED,
        fleet=as_fleet(Exponential(mean=1 / local_steps), problem.n), step_size=steps[0],
        budget=RunBudget(
            time_budget=seconds, eval_every=seconds / EVALUATIONS, target=(ACCURACY, target), final_loss_only=True
        ),
    )  # fmt: skip

    def train(runs: list[Run], which: range) -> list[pd.DataFrame]:
        return [pd.concat([rounds for rounds, _ in tables], ignore_index=True) for tables in run_together(runs, which)]

    def score(rounds: pd.DataFrame) -> tuple[float, float]:
        """Mean time to the target, and the final loss, which ranks steps that never reach it."""
        reached = to_target(rounds, ACCURACY, target, time_budget=seconds, replicates=tuning)
        return reached["time"].mean(), rounds.groupby("replicate")["loss"].last().mean()

    scouts = train([replace(run, step_size=step) for step in steps], range(tuning))
    best = min(zip(steps, map(score, scouts), strict=True), key=itemgetter(1))[0]
    (shown,) = train([replace(run, step_size=best, seed=SHOWN_SEED)], range(replicates))
    runs = with_start(thinned(shown, ACCURACY), problem)
    return runs.assign(step_size=best, target=target, budget=seconds)


def summarise(runs: pd.DataFrame) -> pd.DataFrame:
    """Per split, method and quantity spent: the median accuracy, and the spending at the target with a 95 % interval.

    A curve ends where the median run reaches the target, or, if fewer than half do, where the first run ends.
    """
    parts = []
    for (split, method), rows in runs.groupby(["split", "method"], sort=False):
        reached = to_target(rows, ACCURACY, rows["target"].iloc[0], time_budget=rows["budget"].iloc[0])
        groups = [group for _, group in with_totals(rows).groupby("replicate")]
        first = rows.iloc[0]
        common = {"split": split, "method": method, "step_size": first["step_size"], "target": first["target"]}
        for spent in SPENT:
            at_target = median(reached[spent], reached["reached"])
            ends = min(group[spent].iloc[-1] for group in groups)
            end = at_target.median if math.isfinite(at_target.median) else ends
            least = min(group.loc[group[spent] > 0, spent].min() for group in groups)
            grid = np.linspace(0, end, POINTS) if spent == "time" else np.geomspace(least, end, POINTS)
            curve = quartiles(groups, spent, grid, [ACCURACY])
            parts.append(pd.DataFrame(curve | {"spent": grid}).assign(x=spent, **at_target._asdict(), **common))
    return pd.concat(parts, ignore_index=True)


def numbers(table: pd.DataFrame) -> pd.DataFrame:
    """Per split and method: medians at the target with 95 % intervals, and the tuned step size."""
    rows = []
    for (split, method), of_method in table.groupby(["split", "method"], sort=False):
        row = {"split": split, "method": method} | of_method.iloc[0][["step_size", "target", "reached"]].to_dict()
        for spent, of_spent in of_method.groupby("x", sort=False):
            name, end = str(spent).replace("communication", "messages"), of_spent.iloc[0]
            row |= {name: end["median"], f"{name}_low": end["low"], f"{name}_high": end["high"]}
        rows.append(row | {"replicates": of_method["replicates"].iloc[0]})
    return pd.DataFrame(rows)


def draw(table: pd.DataFrame) -> Figure:
    """A row per split, a column per quantity spent: median accuracy, with a mark where it reaches the target."""
    fig = Figure(figsize=(style.PAGE, 4.8), layout="constrained")
    splits, target = list(table["split"].unique()), table["target"].iloc[0]
    axes = fig.subplots(len(splits), len(SPENT), sharey=True, squeeze=False)
    for (split, spent), panel in table.groupby(["split", "x"], sort=False):
        split, spent = str(split), str(spent)
        ax = axes[splits.index(split), list(SPENT).index(spent)]
        for method, rows in panel.groupby("method", sort=False):
            look = style.look(method)
            dash, color = look["linestyle"], look["color"]
            ax.plot(rows["spent"], rows[f"{ACCURACY}_median"], color=color, linestyle=dash, drawstyle="steps-post")
            if math.isfinite(rows["median"].iloc[0]):
                ax.plot(rows["median"].iloc[0], target, **look | {"linestyle": "", "clip_on": False})
        ax.axhline(target, color="0.6", linewidth=0.6, zorder=0)
        ax.set(xlabel=SPENT[spent], xlim=(0, None))
        if spent != "time":  # from the first update on
            ax.set(xscale="log", xlim=(panel.loc[panel["spent"] > 0, "spent"].min(), None))
            style.plain_log(ax.xaxis)
        ax.set(title=split if spent == "time" else "")
    for ax in axes[:, 0]:
        ax.set(ylabel="test accuracy", ylim=(0, None))
    handles = [style.key(str(method), **style.look(method)) for method in table["method"].unique()]
    fig.legend(handles=handles, title="medians; a mark: at the target", loc="outside upper center", ncols=4)
    return fig
