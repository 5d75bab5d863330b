"""The comparison that the training figures share: every method is tuned and then run, under three delay laws.

The knobs of each method are tuned by the same pattern search with the same budget, on other replicates than those
shown.  The grids are wide: a best value never lies at an end, unless the domain ends there (k = n).
"""

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple, TypedDict, Unpack

import joblib
import pandas as pd

from abs_theory import choose
from abs_theory.choose import Choice, Timetable
from abs_theory.delays import Delay
from paper_figs import laws
from paper_figs.parallel import in_parallel
from simulations import policies, protocols
from simulations.fleets import Fleet, as_fleet
from simulations.plot import with_start
from simulations.problems import Problem, perceptron_digits
from simulations.problems.constants import estimate
from simulations.record import thinned
from simulations.server import Policy, Protocol, Run, RunBudget, run_together
from simulations.tuning import pattern_search

ACCURACY = "test_accuracy"


class Setting(NamedTuple):
    """A delay law of mean 1 s, with the seconds between evaluations and the seconds shown (fewer if fast)."""

    delay: Delay
    eval_every: float
    horizon: float


LAWS = {
    "increasing hazard": Setting(laws.LAWS["increasing hazard"], 1.0, 40.0),
    "decreasing hazard": Setting(laws.LAWS["decreasing hazard"], 0.2, 12.0),
    "lognormal": Setting(laws.LAWS["neither"], 0.5, 30.0),
}
TUNING_SEED, SHOWN_SEED = 1, 2
problem_of = cache(perceptron_digits)  # for n workers

_WORKERS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 18, 20)  # up to n
GRIDS: dict[str, tuple[float, ...]] = {
    "step_size": tuple(float(f"{2 ** (j / 2):.3g}") for j in range(-16, 13)),  # 0.004 to 64
    "k": _WORKERS,
    "k0": _WORKERS,
    "c": (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0),
    "threshold": (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256),
    "batch": (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48),
    "slack": (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48),
    "trials": (1, 2, 3, 4, 6, 8, 12),
    "cut_off": (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95),  # as a quantile of the delay
    "local_steps": (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48),  # 1: synchronous SGD
}


@dataclass(frozen=True)
class Method:
    """A protocol with its knobs: how to build it, and the values at which the search starts."""

    build: Callable[..., Protocol]  # (delay, n, **knobs)
    step_size: float
    knobs: dict[str, float]
    local: bool = False  # whether the knob "local_steps" belongs to the run


THRESHOLDS: dict[str, Callable[..., Policy]] = {  # the rules for max_staleness that are compared
    "restart all": lambda delay, n, c: 0,
    "relative": lambda delay, n, c: policies.relative_to_mean(c),
    "time-optimal": lambda delay, n, c: policies.time_optimal(delay, n),
    "none": lambda delay, n, c: math.inf,
}
K_RULES: dict[str, Callable[..., Policy]] = {  # the rules for k that are compared
    "constant": lambda delay, n, k0, bound: k0,
    "loss ratio": lambda delay, n, k0, bound: policies.loss_ratio(k0),
    "greedy bound": policies.abs_rule,
}


def _abs(k_rule: str, threshold: str) -> Callable[..., Protocol]:
    def build(delay: Delay, n: int, k0: int, c: float = 1.0) -> Protocol:
        bound = THRESHOLDS[threshold](delay, n, c)
        return protocols.abs_sgd(K_RULES[k_rule](delay, n, k0, bound), bound)

    return build


CHOSEN, TIMETABLE = (
    "ABS, chosen",
    "ABS, timetable",
)  # made when what is chosen from theory is known, see ``from_theory``

TUNED = {
    "ABS, self-tuning": Method(lambda delay, n: protocols.self_tuning_abs(), 0.707, {}),
    "ABS": Method(_abs("greedy bound", "relative"), 0.354, {"k0": 2, "c": 1.0}),
    "ABS, time-optimal": Method(_abs("greedy bound", "time-optimal"), 0.354, {"k0": 2}),
    "synchronous": Method(lambda delay, n: protocols.synchronous(), 1.41, {}),
    "asynchronous": Method(lambda delay, n: protocols.asynchronous(), 0.125, {}),
    "K-sync": Method(lambda delay, n, k: protocols.k_sync(k), 0.707, {"k": 4}),
    "K-async": Method(lambda delay, n, k: protocols.k_async(k), 0.354, {"k": 4}),
    "K-batch-async": Method(lambda delay, n, k: protocols.k_batch_async(k), 0.354, {"k": 4}),
    "AdaSync": Method(lambda delay, n, k0: protocols.adasync(delay, n, k0), 0.354, {"k0": 2}),
    "SA-AdaSync": Method(lambda delay, n, k0: protocols.staleness_aware_adasync(delay, n, k0), 0.707, {"k0": 2}),
    "local SGD": Method(lambda delay, n, local_steps: protocols.local_sgd(), 0.707, {"local_steps": 2}, local=True),
    "SSP": Method(lambda delay, n, slack: protocols.ssp(slack), 0.125, {"slack": 12}),
    "FedBuff": Method(lambda delay, n, batch: protocols.fedbuff(batch), 0.707, {"batch": 4}),
    "Rennala": Method(lambda delay, n, batch: protocols.rennala(batch), 0.707, {"batch": 4}),
    "delay-adaptive": Method(lambda delay, n: protocols.delay_adaptive(), 0.125, {}),
    "Ringmaster": Method(lambda delay, n, threshold: protocols.ringmaster(threshold), 0.177, {"threshold": 8}),
    "MindFlayer": Method(
        lambda delay, n, trials, cut_off: protocols.mindflayer(delay, n, trials, float(delay.ppf(cut_off))),
        1.41, {"trials": 1, "cut_off": 0.5},
    ),
}  # fmt: skip
METHODS = [CHOSEN, TIMETABLE, *TUNED]
ABLATION = {
    f"{k_rule} / {threshold}": Method(_abs(k_rule, threshold), 0.354, {"k0": 2})
    for k_rule, threshold in itertools.product(K_RULES, THRESHOLDS)
}


def from_theory(laws: list[str], n: int, accuracy: float, path: int) -> dict[str, Method]:
    """ABS as ``choose.best`` and ``choose.timetable`` propose it for each law, from estimated constants alone.

    Only the step size is tuned.
    The constants of the perceptron are estimated along one training path of ``path`` updates.  The target is the
    squared gradient norm at the loss which a synchronous run has when it reaches ``accuracy``.
    """
    method, first = TUNED["synchronous"], laws[0]
    runs = train(
        method, first, n, [{"step_size": method.step_size}], seed=TUNING_SEED, target=(ACCURACY, accuracy),
        replicates=[0], time_budget=2 * LONGEST_RUN,
    )[0]  # fmt: skip
    constants_of_path = estimate(problem_of(n), n, seed=TUNING_SEED, num_updates=path, samples=200)
    target = constants_of_path.target_at(float(runs["loss"].dropna().iloc[-1]))
    constants = constants_of_path.typical(target)
    goal, delays = choose.Target(target), [LAWS[law].delay for law in laws]
    choices = {delay: choose.best(delay, n, constants, goal) for delay in delays}
    tables = {delay: choose.timetable(delay, n, constants, goal, descent=constants_of_path.path) for delay in delays}
    return {CHOSEN: _as_chosen(choices), TIMETABLE: _by_the_clock(tables)}


def _as_chosen(choices: dict[Delay, Choice]) -> Method:
    settings = {delay: (choice.k, choice.max_staleness) for delay, choice in choices.items()}
    return Method(lambda delay, n: protocols.abs_sgd(*settings[delay]), 0.177, {})


def _by_the_clock(tables: dict[Delay, Timetable]) -> Method:
    def build(delay: Delay, n: int) -> Protocol:
        table = tables[delay]
        return protocols.abs_sgd(lambda now: table.k_at(now.time), lambda now: table.max_staleness_at(now.time))

    return Method(build, 0.354, {})


class Limits(TypedDict, total=False):
    """When a run ends, and what is evaluated on the way: the fields of ``RunBudget`` but one."""

    num_updates: int
    time_budget: float
    target: tuple[str, float]
    final_loss_only: bool
    goes_on_until: float


def train(
    method: Method, law: str, n: int, points: Sequence[dict[str, float]], *, seed: int, replicates: Sequence[int],
    **limits: Unpack[Limits],
) -> list[pd.DataFrame]:  # fmt: skip
    """Simulate a method on the digits perceptron, with the knobs of each point: tables such as ``simulate`` returns.

    The points advance in step where the method allows it.
    """
    delay, eval_every, _ = LAWS[law]
    budget = RunBudget(eval_every=eval_every, **limits)
    return train_on(problem_of(n), as_fleet(delay, n), delay, method, points, budget, seed, replicates)


def train_on(
    problem: Problem, fleet: Fleet, delay: Delay, method: Method, points: Sequence[dict[str, float]],
    budget: RunBudget, seed: int, replicates: Sequence[int],
) -> list[pd.DataFrame]:  # fmt: skip
    """``train`` on any problem and fleet; ``delay`` is the law that a method is told."""
    runs = [
        Run(
            protocol=method.build(
                delay, fleet.n, **{name: value for name, value in point.items() if name != "step_size"}
            ),
            problem=problem, fleet=fleet, seed=seed, step_size=point["step_size"], budget=budget,
            local_steps=int(point["local_steps"]) if method.local else 1,
        )
        for point in points
    ]  # fmt: skip
    results = run_together(runs, replicates)
    return [pd.concat([rounds for rounds, _ in result], ignore_index=True) for result in results]


def grids_of(knobs: Iterable[str], n: int) -> dict[str, list[float]]:
    """The values that the search may try for each knob, with ``n`` workers."""
    return {name: [x for x in GRIDS[name] if name not in ("k", "k0") or x <= n] for name in knobs}


def tune(
    method: Method, law: str, n: int, target: float, longest: float, *, budget: int, replicates: int, finals: int
) -> dict[str, float]:
    """The knobs with the shortest median time to ``target`` accuracy (``tuning.pattern_search``)."""
    start = {"step_size": method.step_size, **method.knobs}

    def run(points: list[dict[str, float]], which: range, seconds: float) -> list[pd.DataFrame]:
        return train(
            method, law, n, points, seed=TUNING_SEED, replicates=which, target=(ACCURACY, target), time_budget=seconds,
            final_loss_only=True,
        )  # fmt: skip

    found = pattern_search(
        run, start, grids_of(start, n), (ACCURACY, target), time_budget=longest, tries=budget,
        replicates=replicates, finals=finals,
    )  # fmt: skip
    return found.best | {"median": found.time, "evaluated": int((~found.tried["final"]).sum())}


# ---------------------------------------------------------------------- the shared table
DEFAULT = {
    "n": 20, "laws": ["increasing hazard", "decreasing hazard", "lognormal"], "easy": 0.9, "hard": 0.94,
    "replicates": 20, "path": 256, "tuning": {"budget": 18, "replicates": 2, "finals": 8},
}  # fmt: skip
FULL = DEFAULT | {"replicates": 40, "tuning": {"budget": 30, "replicates": 4, "finals": 20}}
QUICK = {
    "n": 8, "laws": ["increasing hazard", "decreasing hazard"], "easy": 0.8, "hard": 0.85, "replicates": 3, "path": 64,
    "tuning": {"budget": 4, "replicates": 1, "finals": 1},
}  # fmt: skip
LONGEST_RUN = 200.0  # seconds a slow method has to reach the hard target


def compute(
    n: int, laws: list[str], easy: float, hard: float, replicates: int, path: int, tuning: dict
) -> pd.DataFrame:
    """Tune and run every method of ``METHODS``; one row per evaluation, with counts since the last and the knobs."""
    common = (n, hard, replicates, tuning)
    calls = [joblib.delayed(runs_from_theory)(laws, path, *common)]  # first: it takes longest
    calls += [joblib.delayed(tuned_runs)(name, TUNED[name], law, *common) for name in TUNED for law in laws]
    return pd.concat(in_parallel("tuning and running", calls), ignore_index=True).assign(easy=easy, hard=hard)


def runs_from_theory(
    laws: list[str], path: int, n: int, accuracy: float, replicates: int, tuning: dict[str, int]
) -> pd.DataFrame:
    """The runs of the methods that ``from_theory`` makes."""
    methods = from_theory(laws, n, accuracy, path)
    common = (n, accuracy, replicates, tuning)
    return pd.concat([tuned_runs(name, method, law, *common) for name, method in methods.items() for law in laws])


def tuned_runs(
    name: str, method: Method, law: str, n: int, accuracy: float, replicates: int, tuning: dict[str, int]
) -> pd.DataFrame:
    """Tune a method and run it up to the horizon, or longer if it needs longer to reach ``accuracy``.

    What comes after both is not shown, so a run ends there.
    """
    knobs = tune(method, law, n, accuracy, LONGEST_RUN, **tuning)
    own = {key: value for key, value in knobs.items() if key in GRIDS}
    horizon = LAWS[law].horizon
    budget = min(LONGEST_RUN, max(horizon, 2 * knobs["median"]))
    rounds = train(
        method, law, n, [own], seed=SHOWN_SEED, replicates=range(replicates), time_budget=budget,
        target=(ACCURACY, accuracy), goes_on_until=horizon,
    )[0]  # fmt: skip
    shown = {f"tuned_{key}": value for key, value in own.items()}
    runs = with_start(thinned(rounds), problem_of(n))
    return runs.assign(method=name, law=law, horizon=horizon, budget=budget, **shown)
