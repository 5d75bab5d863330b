"""Train many times and write one row per update: where delay law, problem, protocol and policy meet."""

import math
from collections.abc import Iterable, Sequence
from typing import Literal, Required, TypedDict, Unpack, overload

import joblib
import pandas as pd
from tqdm import tqdm

from abs_theory.checks import check_count, is_integer
from abs_theory.typing import Laws
from simulations.fleets import Fleet, as_fleet
from simulations.problems import Problem
from simulations.server import Budget, Policy, Protocol, Run, check_protocol, run_replicate

__all__ = ["checked_replicates", "simulate"]


class Options(TypedDict, total=False):
    """The keywords of ``simulate``, apart from ``jobs``."""

    step_size: Required[Policy]
    num_updates: int | None
    time_budget: float | None
    local_steps: int
    seed: Required[int]
    replicates: int | Sequence[int]
    eval_every: float
    target: tuple[str, float] | None
    n_jobs: int


@overload
def simulate(
    protocol: Protocol, problem: Problem, delay: Laws | Fleet, n: int, *, jobs: Literal[False] = ...,
    **options: Unpack[Options],
) -> pd.DataFrame: ...  # fmt: skip
@overload
def simulate(
    protocol: Protocol, problem: Problem, delay: Laws | Fleet, n: int, *, jobs: Literal[True],
    **options: Unpack[Options],
) -> tuple[pd.DataFrame, pd.DataFrame]: ...  # fmt: skip
def simulate(  # noqa: PLR0913
    protocol: Protocol,
    problem: Problem,
    delay: Laws | Fleet,
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
) -> pd.DataFrame | tuple[pd.DataFrame, pd.DataFrame]:
    """Train ``replicates`` times (a number, or which ones) and return a table with one row per update.

    Columns: replicate, update, time (s), k and max_staleness in force (inf if none), mean_staleness and
    largest_staleness of the gradients applied; and since the previous update, what is assigned right after
    this one included: uplinks, downlinks (the first row counts the n of the start), restarts, computed (gradients
    delivered), used, discarded (computed - used), idle_seconds (between a delivery and the next model),
    wasted_seconds (thrown away: restarted, cut off, discarded, lost), away_seconds (of workers that left); then loss
    and the problem's metrics for the model in force at each multiple of ``eval_every`` seconds, on the row of the
    update that made it, and for the last model, else NaN.

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
    check_protocol(protocol)
    run = Run(
        protocol=protocol, problem=problem, fleet=as_fleet(delay, n), step_size=step_size, local_steps=local_steps,
        seed=seed, keep_tasks=jobs,
        budget=Budget(num_updates=num_updates, time_budget=time_budget, eval_every=eval_every, target=target),
    )  # fmt: skip
    chosen = checked_replicates(replicates)
    parallel = joblib.Parallel(n_jobs=1 if len(chosen) == 1 else n_jobs, return_as="generator")
    results = parallel(joblib.delayed(run_replicate)(run, replicate) for replicate in chosen)
    several = len(chosen) > 1  # a single run is often one of many, in a process that has no use for a bar
    bar = tqdm(results, total=len(chosen), unit="run", disable=None, leave=False) if several else results
    rounds, tasks = zip(*bar, strict=True)
    table = pd.concat(rounds, ignore_index=True)
    return (table, pd.concat(tasks, ignore_index=True)) if jobs else table


def checked_replicates(replicates: int | Iterable[int]) -> tuple[int, ...]:
    """Which replicates to run.  Raises ValueError unless they are at least one, none of them twice."""
    if isinstance(replicates, Iterable):
        chosen = tuple(replicates)
    elif is_integer(replicates):
        chosen = tuple(range(replicates))
    else:
        raise ValueError(f"replicates must be a number >= 1 or which ones to run, got {replicates!r}")
    for replicate in chosen:
        check_count("replicate", replicate, minimum=0)
    if not chosen or len(set(chosen)) < len(chosen):
        raise ValueError(f"replicates must be a number >= 1 or which ones to run, each once, got {replicates!r}")
    return chosen
