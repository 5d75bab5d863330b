"""One replicate: drive its server to the end of the budget, and evaluate the model on a common grid of seconds."""

import math
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import pandas as pd

from abs_theory.checks import explains_types
from simulations.fleets import Independent
from simulations.server.evaluations import Evaluations
from simulations.server.in_step import ChangingPrecision, InStep, kind
from simulations.server.next_steps import is_plain, next_steps
from simulations.server.server import Run, RunEnds, Server
from simulations.server.tables import TASK_COLUMNS, rounds_table
from simulations.server.tasks import Round
from simulations.threads import one_thread

Keep = Callable[[Server, Evaluations], None]
Tables = tuple[pd.DataFrame, pd.DataFrame]  # rows per update, and per task


@explains_types
def drive(server: Server, evaluations: Evaluations | None = None, keep: Keep | None = None) -> pd.DataFrame:
    """Drive a server to the end of its budget; one row per update, as described in ``simulate``.

    It goes on from the ``evaluations`` that there are.  After each update it calls ``keep``.
    See also ``run_replicate``, which makes the server and numbers the rows.

    >>> from abs_theory.delays import Deterministic
    >>> from simulations.fleets import as_fleet
    >>> from simulations.problems import TimingOnly
    >>> from simulations.protocols import synchronous
    >>> from simulations.server import RunBudget
    >>> run = Run(
    ...     protocol=synchronous(), problem=TimingOnly(), fleet=as_fleet(Deterministic(2.0), 3), step_size=0.5, seed=0,
    ...     budget=RunBudget(num_updates=2),
    ... )
    >>> drive(Server(run))["time"].tolist()
    [2.0, 4.0]
    """
    on_arrival, update_limit = server.protocol.on_arrival, server.run.budget.update_limit
    evaluations, updates = evaluations or Evaluations(server.run), server.updates
    server.goes_on = evaluations.go_through
    with np.errstate(over="ignore", invalid="ignore"):
        while True:
            job = server.next_arrival(evaluations.pause)
            if job is not None:
                try:
                    on_arrival(server, job)
                except RunEnds:
                    break
                if server.updates > updates:
                    updates = server.updates
                    if updates >= update_limit or not math.isfinite(server.loss):
                        break
                    if keep is not None:
                        keep(server, evaluations)
            elif not evaluations.go_on(server.next_time, server.updates, server.params):
                break
        evaluations.end(server.updates, server.params, server.loss)
    columns = zip(*server.finish(), strict=True)
    return rounds_table(dict(zip(Round._fields, columns, strict=False)), evaluations.values, server.run)


@explains_types
def run_replicate(run: Run, replicate: int) -> Tables:
    """Run one replicate: rows per update, and per task if the run keeps them; both with the number of the replicate.

    In one thread, so that the result is the same to the last bit whatever runs beside it.

    >>> from abs_theory.delays import Deterministic
    >>> from simulations.fleets import as_fleet
    >>> from simulations.problems import TimingOnly
    >>> from simulations.protocols import synchronous
    >>> from simulations.server import RunBudget
    >>> run = Run(
    ...     protocol=synchronous(), problem=TimingOnly(), fleet=as_fleet(Deterministic(2.0), 3), step_size=0.5, seed=0,
    ...     budget=RunBudget(num_updates=2), keep_tasks=True,
    ... )
    >>> rounds, tasks = run_replicate(run, 7)
    >>> rounds[["replicate", "time"]].values.tolist(), len(tasks)
    ([[7.0, 2.0], [7.0, 4.0]], 9)
    """
    with one_thread():
        server = Server(run, replicate)
        rounds = drive(server)
    return numbered(rounds, server.books.tasks or [], replicate)


FEWEST_IN_STEP = 2  # replicates; fewer are faster on the event server, by the table of benchmarks/simulator.py
MOST_WORKERS = 4000  # per gradient of an update; looking at all of them costs more than the heap of the event server
DRAWN_BYTES = 16 * 1024  # of a worker, at most: a block of delays, and one of the draws of gradients
MOST_BYTES = 1 << 28  # of the models and draws that replicates in step keep


@explains_types
def run_replicates(run: Run, replicates: Sequence[int]) -> list[Tables]:
    """``run_replicate`` of several replicates, with the same result: in step where that is possible and faster.

    >>> from abs_theory.delays import Exponential
    >>> from simulations.fleets import as_fleet
    >>> from simulations.problems import TimingOnly
    >>> from simulations.protocols import k_sync
    >>> from simulations.server import RunBudget
    >>> run = Run(
    ...     protocol=k_sync(2), problem=TimingOnly(), fleet=as_fleet(Exponential(1.0), 3), step_size=0.5, seed=0,
    ...     budget=RunBudget(num_updates=5),
    ... )
    >>> tables = run_replicates(run, [0, 1, 2])
    >>> tables[2][0].equals(run_replicate(run, 2)[0])
    True
    """
    return run_together([run], replicates)[0]


@explains_types
def run_together(runs: Sequence[Run], replicates: Sequence[int]) -> list[list[Tables]]:
    """``run_replicates`` of several runs, with the same results.

    Runs of the same problem object, fleet, seed and kind of protocol, which differ in policies, step size and budget,
    advance in step with each other.  Several settings of a method are tried faster this way.

    >>> from abs_theory.delays import Exponential
    >>> from simulations.fleets import as_fleet
    >>> from simulations.problems import TimingOnly
    >>> from simulations.protocols import k_sync
    >>> from simulations.server import RunBudget
    >>> fleet, problem, budget = as_fleet(Exponential(1.0), 3), TimingOnly(), RunBudget(num_updates=5)
    >>> runs = [
    ...     Run(protocol=k_sync(k), problem=problem, fleet=fleet, step_size=0.5, seed=0, budget=budget) for k in (1, 2)
    ... ]
    >>> tables = run_together(runs, [0, 1, 2])
    >>> tables[1][2][0].equals(run_replicate(runs[1], 2)[0])
    True
    """
    if len({kind(run) for run in runs}) > 1:
        return [run_replicates(run, replicates) for run in runs]
    pairs = [(run, replicate) for run in runs for replicate in replicates]
    size = min(map(most_in_step, runs))
    if min(size, len(pairs)) < FEWEST_IN_STEP:
        results = [run_replicate(*pair) for pair in pairs]
    else:
        results = [result for begin in range(0, len(pairs), size) for result in _in_step(pairs[begin : begin + size])]
    return [results[begin : begin + len(replicates)] for begin in range(0, len(pairs), len(replicates))]


@explains_types
def most_in_step(run: Run) -> int:
    """How many replicates of a run may advance in step: 0 if it is not of the ABS family or needs the event server.

    The event server is needed for messages that take time, workers that leave, tables of tasks, and very many workers.

    >>> from abs_theory.delays import Exponential
    >>> from simulations.fleets import as_fleet
    >>> from simulations.problems import TimingOnly
    >>> from simulations.protocols import k_sync
    >>> from simulations.server import RunBudget
    >>> run = Run(
    ...     protocol=k_sync(2), problem=TimingOnly(), fleet=as_fleet(Exponential(1.0), 3), step_size=0.5, seed=0,
    ...     budget=RunBudget(num_updates=5),
    ... )
    >>> most_in_step(run) > 100
    True
    """
    protocol, fleet, n = run.protocol, run.fleet, run.fleet.n
    k = protocol.k if isinstance(protocol.k, int) else 1
    if (
        run.update_law is not None
        or protocol.family is None
        or protocol.cut_off is not None
        or protocol.keeps_going
        or run.keep_tasks
    ):
        return 0
    if n > MOST_WORKERS * k or (protocol.batch and not isinstance(protocol.k, int)):
        return 0
    if not (isinstance(fleet, Independent) or is_plain(fleet.times(run.seed, 0))):
        return 0
    initial = run.problem.initial
    return MOST_BYTES // (n * (initial.nbytes + DRAWN_BYTES)) if initial.ndim == 1 else 0


def _in_step(pairs: Sequence[tuple[Run, int]]) -> list[Tables]:
    run, replicates = pairs[0][0], [replicate for _, replicate in pairs]
    steps = next_steps(run.fleet, run.seed, replicates)
    if steps is None or len(pairs) < FEWEST_IN_STEP:
        return [run_replicate(*pair) for pair in pairs]
    try:
        with one_thread(), np.errstate(over="ignore", invalid="ignore"):
            tables = InStep(pairs, steps).tables()
    except ChangingPrecision:
        return [run_replicate(*pair) for pair in pairs]
    return [numbered(table, [], replicate) for replicate, table in zip(replicates, tables, strict=True)]


@explains_types
def numbered(rounds: pd.DataFrame, lines: Sequence[list], replicate: int) -> Tables:
    """The rows per update and the lines of tasks as two tables, with the number of the replicate.

    >>> rounds, tasks = numbered(pd.DataFrame({"update": [1]}), [[0, 0.0, 1.0, 0, 0, 1, "applied"]], 7)
    >>> rounds["replicate"].item(), tasks["replicate"].item()
    (7, 7)
    """
    rounds.insert(0, "replicate", replicate)
    if not lines:
        return rounds, _no_tasks().copy()
    tasks = pd.DataFrame(lines, columns=TASK_COLUMNS)
    tasks.insert(0, "replicate", replicate)
    return rounds, tasks


@cache
def _no_tasks() -> pd.DataFrame:
    """A table without tasks; to make it anew for each replicate takes a tenth of a short run."""
    tasks = pd.DataFrame([], columns=TASK_COLUMNS)
    tasks.insert(0, "replicate", 0)
    return tasks
