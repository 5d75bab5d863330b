"""Whether self-tuning holds up: ABS that tunes itself beside the fastest tuned rival, on other problems and fleets."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import joblib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from abs_theory.delays import Delay
from paper_figs import study, style
from paper_figs.figures.time_to_target import ratio_to
from paper_figs.parallel import in_parallel
from simulations import policies, protocols
from simulations.fleets import Fleet, Times, as_fleet, one_slow
from simulations.problems import LeastSquares, Problem, perceptron_digits, random_least_squares, softmax_digits
from simulations.record import median, to_target
from simulations.server import RunBudget
from simulations.tuning import Found, Knobs, pattern_search

CLAIM = (
    "With a tuned step, ABS that tunes itself is on softmax regression about as fast as the fastest of five rivals, all"
    " tuned for the same fleet. With one step for everything it is slower under increasing hazard, where few "
    "updates are made before the target."
)


@dataclass(frozen=True)
class Changing:
    """Workers whose task times are those of one fleet first, and of another one after some seconds."""

    first: Fleet  #: whose times the tasks take that begin before
    later: Fleet  #: whose times the other tasks take
    seconds: float  #: when the times change

    @property
    def n(self) -> int:
        """The number of workers."""
        return self.first.n

    def times(self, seed: int, replicate: int) -> list[Times]:
        """The times of each worker in this replicate."""

        def joined(first: Times, later: Times) -> Times:
            return Times(lambda time, version: (first if time < self.seconds else later).step(time, version))

        pairs = zip(self.first.times(seed, replicate), self.later.times(seed, replicate), strict=True)
        return [joined(first, later) for first, later in pairs]


class Workers(NamedTuple):
    """A fleet of n workers, the law that methods are told, and the seconds between evaluations."""

    fleet: Callable[[int], Fleet]
    told: Delay
    eval_every: float


def _of(law: str) -> Workers:
    setting = study.LAWS[law]
    return Workers(lambda n: as_fleet(setting.delay, n), setting.delay, setting.eval_every)


_STEADY, _STALLING, _LOGNORMAL = (
    study.LAWS[law].delay for law in ("increasing hazard", "decreasing hazard", "lognormal")
)
FLEETS = {
    **{law: _of(law) for law in study.LAWS},
    "one slow worker": Workers(lambda n: one_slow(_LOGNORMAL, n, 5.0), _LOGNORMAL, 0.5),
    "stalls from 10 s on": Workers(
        lambda n: Changing(as_fleet(_STEADY, n), as_fleet(_STALLING, n), 10.0), _STEADY, 0.5
    ),
}
PROBLEMS: dict[str, Callable[[int], Problem]] = {
    "perceptron": perceptron_digits,
    "softmax regression": softmax_digits,
    "least squares": lambda n: random_least_squares(n, d=30, samples=2000, condition=30.0, noise=0.3, batch_size=16),
}
EXCESS_LOSS = 1e-3  # the target of least squares, as a share of the first excess over the least loss

SELF_TUNING = "ABS, self-tuning"
METHODS = {
    **{name: study.TUNED[name] for name in (SELF_TUNING, "ABS, time-optimal", "K-sync", "Ringmaster", "MindFlayer")},
    "ABS, constant": study.Method(
        lambda delay, n, k, slack: protocols.abs_sgd(k, slack), 0.5, {"k": 2, "slack": 1}
    ),
}  # fmt: skip
ONE_STEP = 0.75
LONGEST_RUN, SHOWN_TIMES, SHOWN_SEED = 100.0, 4.0, 17  # s; budget of a shown run over the tuned median; seed of these

QUICK = {
    "n": 8, "problems": ["softmax regression"], "fleets": ["one slow worker"], "replicates": 4,
    "tuning": {"tries": 2, "replicates": 1, "finals": 1}, "accuracies": {"softmax regression": 0.85},
}  # fmt: skip
DEFAULT = {
    "n": 20, "problems": ["softmax regression"],
    "fleets": ["increasing hazard", "one slow worker"], "replicates": 24,
    "tuning": {"tries": 12, "replicates": 2, "finals": 8},
    "accuracies": {"perceptron": 0.94, "softmax regression": 0.93},
}  # fmt: skip
FULL = DEFAULT | {
    "problems": ["perceptron", "softmax regression", "least squares"],
    "fleets": ["increasing hazard", "decreasing hazard", "lognormal", "one slow worker", "stalls from 10 s on"],
    "replicates": 100, "tuning": {"tries": 24, "replicates": 4, "finals": 16},
}  # fmt: skip


def compute(
    n: int, problems: list[str], fleets: list[str], replicates: int, tuning: dict[str, int],
    accuracies: dict[str, float],
) -> pd.DataFrame:  # fmt: skip
    """Time, updates and messages to the target of each replicate, per problem, fleet, method and step.

    Step and knobs of each method are tuned for each problem and fleet on other replicates.  Self-tuning is run with
    the step ``ONE_STEP`` as well.
    """
    cells = itertools.product(problems, fleets, METHODS)
    calls = [joblib.delayed(reached_by)(*cell, n, replicates, tuning, accuracies) for cell in cells]
    return pd.concat(in_parallel("robustness", calls), ignore_index=True)


def target_of(problem: Problem, name: str, accuracies: dict[str, float]) -> tuple[str, float]:
    """What a run is to reach."""
    if isinstance(problem, LeastSquares):
        least = problem.loss(problem.optimum)
        return "loss", least + EXCESS_LOSS * (problem.loss(problem.initial) - least)
    return study.ACCURACY, accuracies[name]


class Cell:
    """A problem, a fleet and a target, on which methods are tuned and then run."""

    def __init__(self, problem_name: str, fleet_name: str, n: int, accuracies: dict[str, float]):
        self.names = {"problem": problem_name, "fleet": fleet_name}
        self.n, self.problem, self.workers = n, PROBLEMS[problem_name](n), FLEETS[fleet_name]
        self.target = target_of(self.problem, problem_name, accuracies)

    def train(
        self, method: study.Method, points: Sequence[Knobs], which: range, seconds: float, seed: int,
        every: float | None = None,
    ):  # fmt: skip
        """The runs of each point, as ``simulate`` returns them, evaluated every so many seconds."""
        workers, target, every = self.workers, self.target, every or self.workers.eval_every
        budget = RunBudget(time_budget=seconds, eval_every=every, target=target, final_loss_only=target[0] != "loss")
        return study.train_on(self.problem, workers.fleet(self.n), workers.told, method, points, budget, seed, which)

    def tune(self, method: study.Method, tuning: dict[str, int], longest: float = LONGEST_RUN) -> Found:
        """The step and the knobs that reach the target soonest; no run is longer than ``longest`` seconds."""

        def run(points: list[Knobs], which: range, seconds: float) -> list[pd.DataFrame]:
            return self.train(method, points, which, seconds, study.TUNING_SEED)

        start = {"step_size": method.step_size, **method.knobs}
        return pattern_search(run, start, study.grids_of(start, self.n), self.target, time_budget=longest, **tuning)

    def show(
        self, name: str, method: study.Method, found: Found, which: range, finer: int = 1, by_rule: bool = False,
    ) -> pd.DataFrame:  # fmt: skip
        """Run a tuned method on other replicates: one row for each, and for self-tuning another with ``ONE_STEP``.

        The models are evaluated ``finer`` times as often as in the search.  With ``by_rule`` self-tuning has another
        row with the step that it chooses itself; its ``step_size`` is nan.
        """
        points: dict[str, Knobs] = {"tuned": found.best}
        if name == SELF_TUNING:
            points["one"] = {"step_size": ONE_STEP}
            if by_rule:
                points["rule"] = {"step_size": cast("float", policies.self_tuning().step_size)}  # a step as well
        every = self.workers.eval_every / finer
        seconds = every * math.ceil(min(LONGEST_RUN, SHOWN_TIMES * found.time) / every)
        runs = self.train(method, list(points.values()), which, seconds, SHOWN_SEED, every)
        tables = []
        for step, table in zip(points, runs, strict=True):
            knobs = {name: value for name, value in points[step].items() if not callable(value)}
            reached = to_target(table, *self.target, replicates=which, time_budget=seconds)
            tables.append(reached.assign(step=step, **{"step_size": math.nan} | knobs))
        return pd.concat(tables, ignore_index=True).assign(**self.names, method=name, budget=seconds)


def reached_by(
    problem_name: str, fleet_name: str, name: str, n: int, replicates: int, tuning: dict[str, int],
    accuracies: dict[str, float],
) -> pd.DataFrame:  # fmt: skip
    """Tune a method on a problem and a fleet and run it: one row per replicate."""
    cell, method = Cell(problem_name, fleet_name, n, accuracies), METHODS[name]
    return cell.show(name, method, cell.tune(method, tuning), range(replicates))


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """Per problem, fleet and step of self-tuning: its median time, and its ratio to that of the fastest rival."""
    rng, rows = np.random.default_rng(0), []
    for (problem, fleet), cell in table.groupby(["problem", "fleet"], sort=False):
        results = {key: rows.reset_index(drop=True) for key, rows in cell.groupby(["method", "step"], sort=False)}
        medians = {key: median(result["time"], result["reached"]).median for key, result in results.items()}
        rival = min((key for key in results if key[0] != SELF_TUNING), key=lambda key: medians[key])
        for step in (step for method, step in results if method == SELF_TUNING):
            own = results[SELF_TUNING, step]
            row = {"problem": problem, "fleet": fleet, "step": step, "step_size": own["step_size"].iloc[0]}
            row |= {"time": medians[SELF_TUNING, step], "rival": rival[0], "rival_time": medians[rival]}
            row |= ratio_to(results[rival], own, rng)
            row |= {"messages": own["communication"].median(), "reached": int(own["reached"].sum())}
            rows.append(row | {"rival_messages": results[rival]["communication"].median(), "replicates": len(own)})
    return pd.DataFrame(rows)


def numbers(table: pd.DataFrame) -> pd.DataFrame:
    return table


def draw(table: pd.DataFrame) -> Figure:
    """A row per problem and fleet: time of self-tuning over that of the fastest rival, filled if its step is tuned."""
    cells = list(dict.fromkeys(zip(table["problem"], table["fleet"], strict=True)))
    fig = Figure(figsize=(style.PAGE, 1.2 + 0.28 * len(cells)), layout="constrained")
    ax = fig.subplots()
    look: style.Look = style.look(SELF_TUNING) | {"linestyle": ""}
    for row in table.to_dict("records"):
        tuned = row["step"] == "tuned"
        y = cells.index((row["problem"], row["fleet"])) + (-0.15 if tuned else 0.15)
        if math.isfinite(row["ratio"]):
            ends = [[row["ratio"] - row["ratio_low"]], [row["ratio_high"] - row["ratio"]]]
            mark: style.Look = look | {"markerfacecolor": look["color"] if tuned else "white"}
            ax.errorbar(row["ratio"], y, xerr=ends, elinewidth=1, **mark)
    ax.axvline(1, color="0.6", linewidth=0.6, zorder=0)
    rivals = table.groupby(["problem", "fleet"])["rival"].first()
    labels = [f"{problem}, {fleet}" for problem, fleet in cells]
    ax.set(yticks=range(len(cells)), yticklabels=labels, ylim=(len(cells) - 0.5, -0.5))
    ax.set(xlabel="time to the target over that of the fastest tuned rival (95 % intervals)")
    ax.grid(axis="y", color="0.92", linewidth=0.6)
    names = ax.secondary_yaxis("right")
    names.set_yticks(range(len(cells)), [rivals[cell] for cell in cells])
    names.spines["right"].set_visible(False)
    handles = [
        style.key(label, **look | {"markerfacecolor": face})
        for face, label in ((look["color"], "step tuned"), ("white", f"step {ONE_STEP:g} everywhere"))
    ]
    fig.legend(handles=handles, loc="outside upper center", ncols=2, title="ABS, self-tuning; right: the fastest rival")
    return fig
