"""Train many times and return one row per update: here protocol, problem, delay law and policies meet."""

import math
from collections.abc import Generator, Iterable, Sequence
from contextlib import ExitStack, closing, nullcontext
from typing import Literal, Required, TypedDict, Unpack, cast, overload

import joblib
import pandas as pd
from tqdm import tqdm

from abs_theory.checks import check_count, check_flag, check_n_jobs, explains_types, is_integer
from abs_theory.typing import DelayLike, Laws
from simulations.fleets import Fleet, as_fleet
from simulations.problems import Problem
from simulations.processes import explains_sending, parallel
from simulations.server import Policy, Protocol, Run, RunBudget, check_protocol, most_in_step, run_replicates

__all__ = ["checked_replicates", "simulate"]


class Options(TypedDict, total=False):
    """The keywords of ``simulate``, apart from ``jobs``."""

    step_size: Required[Policy]
    num_updates: int | None
    time_budget: float | None
    local_steps: int
    update_seconds: float | DelayLike
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
@explains_types
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
    update_seconds: float | DelayLike = 0.0,
    seed: int,
    replicates: int | Sequence[int] = 1,
    eval_every: float = math.inf,
    target: tuple[str, float] | None = None,
    jobs: bool = False,
    n_jobs: int = -1,
) -> pd.DataFrame | tuple[pd.DataFrame, pd.DataFrame]:
    """Train ``replicates`` times (a number, or which ones) and return a table with one row per update.

    Columns:

    - replicate, update, time (s);
    - k and max_staleness in force (inf if none), mean_staleness and largest_staleness of the gradients applied;
    - counts since the previous update, the assignments right after this one included: uplinks, downlinks (the first
      row counts the n models of the start), restarts, computed (gradients delivered), used, discarded
      (computed - used);
    - seconds of all workers since then: idle_seconds (between a delivery and the next model), wasted_seconds (of work
      that is not used: restarted, cut off, discarded, lost), away_seconds (of workers that had left);
    - loss and the metrics of the problem: for the model in force at each multiple of ``eval_every`` seconds, on the
      row of the update that made it, and for the last model; elsewhere NaN.

    ``delay`` is the law of one local step; a task sums ``local_steps`` draws.  A sequence has one law for each worker.

    An update takes ``update_seconds``, a number or a law.  Meanwhile the server answers nobody: gradients that arrive
    queue, and workers wait.  The new model is there when the update is over; this is the ``time`` of its row.

    A run ends after ``num_updates``, or before the first update past ``time_budget`` seconds.  It also ends at an
    evaluation that reaches ``target``, a column and a value: a loss or gradient norm to fall to, an accuracy to rise
    to.  A run whose loss is no longer finite has diverged: it ends, and its last row has loss = inf.

    Replicates run in parallel on ``n_jobs`` processes (-1: all cores); the numbers do not depend on ``n_jobs``.  With
    ``jobs=True`` the result is that table and another one with one row per task: replicate, worker, start, end (s),
    read_version, end_version (updates made when it ended), applied_version (the update it first went into, -1: none),
    outcome (applied, discarded, restarted, cut off, lost or unfinished).
    A replicate that makes no update in its budget has no row.

    Raises ValueError for invalid arguments; policies are checked when they decide.
    See also ``Experiment``, the same from a TOML file.

    >>> from abs_theory.delays import Exponential
    >>> from simulations.problems import NoisyQuadratic
    >>> from simulations.protocols import abs_sgd
    >>> problem = NoisyQuadratic((1.0, 0.3), sigma2=0.1)
    >>> run = simulate(
    ...     abs_sgd(k=2, max_staleness=3), problem, Exponential(1.0), n=6, step_size=0.2, num_updates=50, seed=0
    ... )
    >>> len(run), int(run["largest_staleness"].max()), bool(run["loss"].iloc[-1] < problem.loss(problem.initial))
    (50, 3, True)
    """
    check_protocol(protocol)
    check_flag("jobs", jobs)
    check_n_jobs(n_jobs)
    run = Run(
        protocol=protocol, problem=problem, fleet=as_fleet(delay, n), step_size=step_size, local_steps=local_steps,
        update_seconds=update_seconds, seed=seed, keep_tasks=jobs,
        budget=RunBudget(num_updates=num_updates, time_budget=time_budget, eval_every=eval_every, target=target),
    )  # fmt: skip
    chosen = checked_replicates(replicates)
    processes = 1 if len(chosen) == 1 else joblib.effective_n_jobs(n_jobs)
    size = max(1, min(-(-len(chosen) // processes), most_in_step(run)))  # of a group that runs in one process
    groups = [chosen[begin : begin + size] for begin in range(0, len(chosen), size)]
    rounds, tasks = [], []
    # a single group is often one of many, in a process that has no use for a bar and its lock
    progress = tqdm(total=len(chosen), unit="run", disable=None, leave=False) if len(groups) > 1 else nullcontext()
    sent = {
        "protocol": protocol, "problem": problem, "delay": delay, "step_size": step_size,
        "update_seconds": update_seconds,
    }  # fmt: skip
    calls = (joblib.delayed(run_replicates)(run, group) for group in groups)
    with explains_sending(sent, "give n_jobs=1"), progress as bar, ExitStack() as stack:
        results = cast(Generator, parallel(min(processes, len(groups)), "generator")(calls))
        stack.enter_context(closing(results))  # after Ctrl-C the processes end
        for group in filter(None, results):  # none is empty
            for rows, lines in group:
                rounds.append(rows)
                tasks.append(lines)
            if bar is not None:
                bar.update(len(group))
    table = pd.concat(rounds, ignore_index=True)
    return (table, pd.concat(tasks, ignore_index=True)) if jobs else table


MAX_REPLICATES = 1_000_000  # of one call: their numbers alone take 60 MB


def checked_replicates(replicates: int | Iterable[int]) -> tuple[int, ...]:
    """The numbers of the replicates to run.  Raises ValueError unless there is at least one, and none twice.

    >>> checked_replicates(3), checked_replicates([7])
    ((0, 1, 2), (7,))
    """
    if isinstance(replicates, Iterable) and not isinstance(replicates, str):
        chosen = tuple(replicates)
    elif is_integer(replicates):
        if replicates > MAX_REPLICATES:
            raise ValueError(f"replicates must be at most {MAX_REPLICATES}, got {replicates}: choose fewer")
        chosen = tuple(range(replicates))
    else:
        raise ValueError(f"replicates must be a number >= 1 or which ones to run, got {replicates!r}")
    for replicate in chosen:
        check_count("replicate", replicate, minimum=0)
    if not chosen or len(set(chosen)) < len(chosen):
        raise ValueError(f"replicates must be a number >= 1 or which ones to run, each once, got {replicates!r}")
    return chosen
