"""The one place where delay law, problem, protocol and policy meet."""

import math
from collections.abc import Sequence
from typing import Any

import joblib
import pandas as pd
from tqdm import tqdm

from abs_theory.checks import check_count, check_positive, is_finite
from abs_theory.delays import Delay
from simulations.fleets import Fleet, as_fleet
from simulations.problems import Problem
from simulations.run import run_replicate
from simulations.server import Policy, Protocol


def simulate(
    protocol: Protocol,
    problem: Problem,
    delay: Delay | Sequence[Delay] | Fleet,
    n: int,
    *,
    step_size: Policy,
    num_updates: int | None = None,
    time_budget: float | None = None,
    local_steps: int = 1,
    seed: int,
    replicates: int | Sequence[int] = 1,
    eval_every: float = math.inf,
    target: tuple[str, float] | None = None,
    jobs: bool = False,
    n_jobs: int = -1,
) -> Any:
    """Train ``replicates`` times (a number, or which ones) and return a table with one row per update.

    Columns: replicate, update, time (s), k and max_staleness in force (inf if none), mean_staleness and
    largest_staleness of the gradients applied; and since the previous update, what is assigned right after
    this one included: uplinks, downlinks (the first row counts the n of the start), restarts, computed (gradients
    delivered), used, discarded (computed - used), idle_seconds (between a delivery and the next model),
    wasted_seconds (thrown away: restarted, cut off, discarded, lost), away_seconds (of workers that left); then loss
    and the problem's metrics for the model in force at each multiple of ``eval_every`` seconds, on the row of the update that made it, and for the last model, else NaN.

    ``delay`` is the law of one local step; a task sums ``local_steps`` draws.  A sequence gives each worker its
    own.  A run ends after ``num_updates``, before the first update past ``time_budget`` seconds, at an evaluation that
    reaches ``target`` (column, value: a loss or gradient norm to fall to, an accuracy to rise to), or when its
    loss is no longer finite: its last row then has loss = inf, the mark of a diverged run.  Replicates run in
    parallel on ``n_jobs`` processes (-1: all cores) with the same numbers on any.  With ``jobs=True`` returns also a
    table with one row per task: replicate, worker, start, end (s), read_version, end_version (updates made when it
    ended), applied_version (the update it first went into, -1: none), outcome (applied, discarded, restarted, cut off,
    lost or unfinished).
    A replicate that makes no update in its budget has no row.  Raises ValueError for bad arguments; policies are
    checked as they decide.
    """
    if not isinstance(protocol, Protocol):
        raise ValueError(f"protocol must be a Protocol such as k_sync(5), got {protocol!r}")
    if isinstance(problem, type) or not isinstance(problem, Problem):
        raise ValueError(f"problem must be a Problem such as perceptron_digits(n), got {problem!r}")
    fleet = as_fleet(delay, n)
    if getattr(problem, "n", n) != n:
        raise ValueError(f"the problem splits its data among {getattr(problem, 'n', None)} workers, got n={n}")
    if num_updates is None and time_budget is None:
        raise ValueError("give num_updates or time_budget (seconds), or both: a run needs an end")
    if num_updates is not None:
        check_count("num_updates", num_updates)
    if time_budget is not None:
        check_positive("time_budget", time_budget)
    if eval_every != math.inf:
        check_positive("eval_every", eval_every)
    check_count("local_steps", local_steps)
    check_count("seed", seed, minimum=0)
    chosen = range(replicates) if isinstance(replicates, int) else list(replicates)
    if not chosen:
        raise ValueError(f"replicates must be a number >= 1 or which ones to run, got {replicates}")
    for replicate in chosen:
        check_count("replicate", replicate, minimum=0)
    if target is not None:
        names = ["loss", *problem.metrics(problem.initial)]
        if not (isinstance(target, tuple) and len(target) == 2 and target[0] in names and is_finite(target[1])):
            raise ValueError(f"target must be (one of {', '.join(names)}; a finite number), got {target!r}")
        if eval_every == math.inf:
            raise ValueError("a target is looked for at evaluations: give eval_every (seconds)")

    def one(replicate: int) -> tuple[pd.DataFrame, pd.DataFrame]:
        return run_replicate(
            protocol, problem, fleet, seed=seed, replicate=replicate, step_size=step_size, local_steps=local_steps,
            jobs=jobs, num_updates=num_updates or math.inf, time_budget=time_budget or math.inf,
            eval_every=eval_every, target=target,
        )  # fmt: skip

    parallel = joblib.Parallel(n_jobs=1 if len(chosen) == 1 else n_jobs, return_as="generator")
    results = parallel(joblib.delayed(one)(replicate) for replicate in chosen)
    bar = tqdm(results, total=len(chosen), unit="run", disable=True if len(chosen) == 1 else None, leave=False)
    rounds, tasks = zip(*bar, strict=True)
    table = pd.concat(rounds, ignore_index=True)
    return (table, pd.concat(tasks, ignore_index=True)) if jobs else table
