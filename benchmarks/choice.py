"""Does the optimizer choose well?  What it proposes, against the best of a tuned grid found by simulation.

    python -m benchmarks choice [--quick] [--law LAW] [--problem PROBLEM] [--csv FILE]

The time to a target is the time until the mean over time of |grad F(w)|^2 has fallen to it.  All that ``choose`` sees
is the delay law and what is known of the problem: exact constants of the quadratic; of the digits, constants and the
fall of the gradient along a training path, both estimated.  Against it stand constant k and max_staleness (K-sync,
K-async, asynchronous and synchronous SGD among them), AdaSync, and ABS with its own rule for k and three thresholds,
each with its step size tuned.  The best of all, and the best constant one, are picked on one half of the replicates and
scored on the other; so is what ``choose`` proposes: a constant k and max_staleness (``best``, by both models) with the
step tuned like the rivals' ("tuned step") and as proposed ("own step"), and a ``timetable`` as proposed.  A ratio of 1
is as good as the best found; a miss is an interval wholly above 1.10.  The results are discussed in docs/choice.md.
"""

import argparse
import math
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any

import joblib
import numpy as np
import pandas as pd
from scipy import stats
from scipy.integrate import cumulative_trapezoid

from abs_theory import choose
from abs_theory.bounds import Constants
from abs_theory.choose import Choice, Target, Timetable
from abs_theory.delays import Delay, Gamma, HyperExponential, LogNormal, ShiftedExponential
from simulations import policies, protocols
from simulations.experiment import simulate
from simulations.problems import NoisyQuadratic, softmax_digits
from simulations.problems.constants import estimate
from simulations.server import Protocol

N = 20
LAWS: dict[str, Delay] = {
    "shifted exponential": ShiftedExponential(shift=0.5, scale=0.5),
    "gamma 4": Gamma(shape=4.0, scale=0.25),
    "hyper-exponential": HyperExponential(probs=(0.9, 0.1), means=(1 / 3, 7.0)),
    "lognormal": LogNormal(median=math.exp(-0.5), sigma=1.0),
}
PROBLEMS = ("quadratic", "digits")
MODELS = choose.MODELS
KS, THRESHOLDS = (1, 2, 4, 8, 13), (0.0, 2.0, 8.0, math.inf)
FACTOR = 2**0.5  # between neighbouring step sizes
FINALISTS = 6
SCOUTS = 4  # replicates on which every member's step size is tuned
LOOKS = 120  # at the gradient norm within the time that is predicted for the choice
PATIENCE = (1.3, 3.5)  # times the predicted time: first try, and when a member has failed


RELATIVE = -1.0  # stands for a max_staleness of the mean staleness of K-async, at the k in force


@dataclass(frozen=True)
class Member:
    """Of the ABS family: constant k and threshold, or k raised from there by ABS's rule (AdaSync's if no threshold)."""

    k: int
    max_staleness: float
    adaptive: bool = False

    def __str__(self) -> str:
        threshold = {math.inf: "none", RELATIVE: "relative"}.get(self.max_staleness, f"{self.max_staleness:.0f}")
        if self.adaptive:
            return f"AdaSync k0={self.k}" if threshold == "none" else f"ABS k0={self.k}, {threshold}"
        return f"k={self.k}, {threshold}"

    def protocol(self, delay: Delay) -> Protocol:
        bound = policies.relative_to_mean() if self.max_staleness == RELATIVE else self.max_staleness
        return protocols.abs_sgd(policies.abs_rule(delay, N, self.k, bound) if self.adaptive else self.k, bound)


MEMBERS = [
    *(Member(k, theta) for k, theta in product(KS, THRESHOLDS)),
    Member(N, 0.0),
    *(Member(k0, theta, adaptive=True) for k0, theta in product((1, 3), (0.0, RELATIVE, math.inf))),
]


class Watched:
    """A problem whose metric is its squared gradient norm over all data; of the loss it only knows F(w_0)."""

    def __init__(self, problem: Any) -> None:
        self.initial, self.gradients, self.problem = problem.initial, problem.gradients, problem
        self.initial_loss = problem.loss(problem.initial)

    def loss(self, params: np.ndarray) -> float:
        return self.initial_loss

    def metrics(self, params: np.ndarray) -> dict[str, float]:
        slope = self.problem.gradient(params)
        return {"gradient_norm2": float(slope @ slope)}


@dataclass(frozen=True)
class Task:
    """A problem, what is known of it, and the mean squared gradient norm to be reached."""

    problem: Watched
    constants: Constants
    target: float
    descent: pd.DataFrame | None = None

    @classmethod
    def named(cls, name: str) -> "Task":
        if name == "quadratic":
            problem = NoisyQuadratic(tuple(np.geomspace(1.0, 0.1, 10).tolist()), sigma2=1.0)
            return cls(Watched(problem), problem.constants, 0.05)
        problem = softmax_digits(N)
        known = estimate(problem, N, seed=0)
        target = known.target_at(loss=0.35)
        return cls(Watched(problem), known.typical(target), target, known.path)


def seconds(
    task: Task, law: str, member: Member | Timetable, step: float, replicates: range, about: float
) -> np.ndarray:
    """Time to the target of each replicate; inf if it diverges, or is not there after PATIENCE times ``about``."""
    problem, look = task.problem, about / LOOKS
    if isinstance(member, Timetable):
        protocol = protocols.abs_sgd(lambda p: member.k_at(p.time), lambda p: member.max_staleness_at(p.time))
    else:
        protocol = member.protocol(LAWS[law])
    start = problem.metrics(problem.initial)["gradient_norm2"]
    result, going = np.full(len(replicates), math.inf), list(range(len(replicates)))
    for patience in PATIENCE:
        table = simulate(
            protocol, problem, LAWS[law], N, step_size=step, time_budget=patience * about, seed=3,
            replicates=[replicates[i] for i in going], eval_every=look, n_jobs=1,
        )  # fmt: skip
        unfinished = []
        for i, (_, run) in zip(going, table.groupby("replicate"), strict=True):
            at = np.arange(0.0, patience * about, look)
            in_force = np.searchsorted(run["time"], at, side="right")  # updates made by then
            seen = np.append(start, run["gradient_norm2"])[in_force]
            owed = cumulative_trapezoid(seen, at) - task.target * at[1:]  # comes down to 0 at the target
            if (hit := owed <= 0).any():
                j = int(hit.argmax())
                share = owed[j - 1] / (owed[j - 1] - owed[j]) if j else 1.0
                result[i] = at[j] + share * look
            elif np.isfinite(seen[-1]):
                unfinished.append(i)
        going = unfinished
        if not going:
            break
    return result


def tuned(task: Task, law: str, member: Member, step: float, about: float) -> tuple[float, float]:
    """The best step size on the scouts and its mean time, by walking downhill from ``step`` on a geometric grid."""

    @cache
    def mean(j: int) -> float:
        return float(seconds(task, law, member, step * FACTOR**j, range(SCOUTS), about).mean())

    j = 0
    while math.isinf(mean(j)) and j > -8:
        j -= 2
    while min(mean(j - 1), mean(j + 1)) < mean(j):
        j += 1 if mean(j + 1) < mean(j - 1) else -1
    return step * FACTOR**j, mean(j)


def nearest(choice: Choice, member: Member) -> float:
    """Step size that is predicted for the candidate most like ``member``."""
    near = choice.curve[choice.curve["k"] == member.k]
    bound = N / member.k - 1 if member.max_staleness == RELATIVE else member.max_staleness
    apart = (near["max_staleness"].clip(upper=99) - min(bound, 99)).abs()
    row = near.loc[apart[np.isfinite(near["updates"])].idxmin()]
    return float(row["step_size"])


def trial(name: str, law: str, replicates: int, parallel: joblib.Parallel) -> pd.DataFrame:
    """What ``choose`` proposes for one problem and law, scored."""
    task, delay = Task.named(name), LAWS[law]
    choices = {m: choose.best(delay, N, task.constants, Target(task.target, model=m)) for m in MODELS}
    timetable = choose.timetable(delay, N, task.constants, Target(task.target), descent=task.descent)
    expected = choices["expected"]
    members = list(dict.fromkeys([*MEMBERS, *(Member(c.k, c.max_staleness) for c in choices.values())]))

    def each(runs: list[tuple[Member | Timetable, float]], which: range) -> list[np.ndarray]:
        jobs = (joblib.delayed(seconds)(task, law, m, step, which, expected.seconds) for m, step in runs)
        return list(parallel(jobs))  # pyright: ignore

    jobs = (joblib.delayed(tuned)(task, law, m, nearest(expected, m), expected.seconds) for m in members)
    best: dict[Member, tuple[float, float]] = dict(zip(members, parallel(jobs), strict=True))  # pyright: ignore
    finalists = sorted(members, key=lambda m: best[m][1])[:FINALISTS]
    picked = each([(m, best[m][0]) for m in finalists], range(replicates // 2))
    ranked = [finalists[i] for i in np.argsort([times.mean() for times in picked])]
    rivals = {"best member": ranked[0], "best constant": next(m for m in ranked if not m.adaptive)}
    runs: dict[str, tuple[Member | Timetable, float]] = {label: (m, best[m][0]) for label, m in rivals.items()}
    proposed = {"timetable, own step": timetable.seconds}
    runs["timetable, own step"] = (timetable, timetable.step_size)
    for model, choice in choices.items():
        cell = Member(choice.k, choice.max_staleness)
        runs |= {f"{model}, tuned step": (cell, best[cell][0]), f"{model}, own step": (cell, choice.step_size)}
        proposed |= {f"{model}, tuned step": choice.seconds, f"{model}, own step": choice.seconds}
    scored = dict(zip(runs, each(list(runs.values()), range(replicates // 2, replicates)), strict=True))
    rows = []
    for label, predicted in proposed.items():
        member, step = runs[label]
        row = {"problem": name, "law": law, "choice": label}
        row |= {"chosen": str(member) if isinstance(member, Member) else "k by the clock", "step": step}
        row |= {"predicted": predicted, "seconds": scored[label].mean()}
        for rival, best_of in rivals.items():
            ratio, low, high = ratio_of_means(scored[label], scored[rival])
            verdict = "miss" if low > 1.10 else "within 10 %" if high <= 1.10 else "open"
            row |= {rival: str(best_of), f"{rival}, seconds": scored[rival].mean()}
            row |= {f"{rival}, {what}": value for what, value in
                    zip(("ratio", "low", "high", "verdict"), (ratio, low, high, verdict), strict=True)}  # fmt: skip
        rows.append(row)
    return pd.DataFrame(rows)


def brief(table: pd.DataFrame) -> str:
    """The ``table`` of ``trial`` for the eye."""
    lines = []
    for row in table.to_dict("records"):
        for rival in ("best member", "best constant"):
            ratio, low, high, verdict = (row[f"{rival}, {what}"] for what in ("ratio", "low", "high", "verdict"))
            lines.append(
                f"{row['problem']:<10}{row['law']:<20}{row['choice']:<22}{row['chosen']:<15}{row['step']:<8.3g}"
                f"{row['seconds']:>7.1f} s of {row['predicted']:>6.1f}  {rival:<14}{row[rival]:<14}"
                f"{row[f'{rival}, seconds']:>7.1f} s {ratio:>6.2f} [{low:.2f}, {high:.2f}]  {verdict}"
            )
    return "\n".join(lines)


def ratio_of_means(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
    """mean(x) / mean(y) of paired samples with a 95 % bootstrap interval; inf if x does not always get there."""
    if not np.isfinite(x).all():
        return math.inf, math.inf, math.inf
    if np.array_equal(x, y):
        return 1.0, 1.0, 1.0
    interval = stats.bootstrap(
        (x, y), lambda a, b, axis: a.mean(axis) / b.mean(axis), paired=True, vectorized=True,
        rng=np.random.default_rng(0), n_resamples=2000, method="percentile",
    ).confidence_interval  # fmt: skip
    return float(x.mean() / y.mean()), float(interval.low), float(interval.high)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="benchmarks choice", description="The choices of the optimizer against the best of a simulated grid."
    )
    parser.add_argument("--quick", action="store_true", help="one law per problem and few replicates")
    parser.add_argument("--law", action="append", choices=LAWS, help="only this one; repeat for several")
    parser.add_argument("--problem", action="append", choices=PROBLEMS, help="only this one")
    parser.add_argument("--csv", help="write the table to this file")
    parser.add_argument("--jobs", type=int, default=-1, help="processes; -1 is one per core")
    options = parser.parse_args(arguments)
    tables = []
    with joblib.Parallel(n_jobs=options.jobs) as parallel:
        for name, law in product(
            options.problem or PROBLEMS, options.law or (["lognormal"] if options.quick else LAWS)
        ):
            tables.append(trial(name, law, 16 if options.quick else 40, parallel))
            print(brief(tables[-1]), flush=True)
            if options.csv:
                pd.concat(tables).to_csv(options.csv, index=False)
