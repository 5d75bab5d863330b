"""One replicate: drive its server to the end of the budget, and evaluate the model on a common grid of seconds."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from simulations.server.evaluations import Evaluations
from simulations.server.job import Round
from simulations.server.server import Run, Server
from simulations.threads import one_thread

TASK_COLUMNS = ["worker", "start", "end", "read_version", "end_version", "applied_version", "outcome"]


def drive(server: Server) -> pd.DataFrame:
    """Drive a server to the end of its budget; one row per update, as described in ``simulate``.

    See also ``run_replicate``, which makes the server and numbers the rows.

    >>> from abs_theory.delays import Deterministic
    >>> from simulations.fleets import as_fleet
    >>> from simulations.problems import TimingOnly
    >>> from simulations.protocols import synchronous
    >>> from simulations.server import Budget
    >>> run = Run(
    ...     protocol=synchronous(), problem=TimingOnly(), fleet=as_fleet(Deterministic(2.0), 3), step_size=0.5, seed=0,
    ...     budget=Budget(num_updates=2),
    ... )
    >>> drive(Server(run))["time"].tolist()
    [2.0, 4.0]
    """
    on_arrival, update_limit = server.protocol.on_arrival, server.run.budget.update_limit
    evaluations, updates = Evaluations(server.run), 0
    with np.errstate(over="ignore", invalid="ignore"):
        while True:
            job = server.next_arrival(evaluations.pause)
            if job is not None:
                on_arrival(server, job)
                if server.updates > updates:
                    updates = server.updates
                    if updates >= update_limit or not math.isfinite(server.loss):
                        break
            elif not evaluations.go_on(server.next_time, server.updates, server.params):
                break
        evaluations.end(server.updates, server.params, server.loss)
    columns = zip(*server.finish(), strict=True)
    return as_table(dict(zip(Round._fields, columns, strict=False)), evaluations.values, server.run)


def run_replicate(run: Run, replicate: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Run one replicate: rows per update, and per task if the run keeps them; both with the number of the replicate.

    In one thread, so that the result is the same to the last bit whatever runs beside it.

    >>> from abs_theory.delays import Deterministic
    >>> from simulations.fleets import as_fleet
    >>> from simulations.problems import TimingOnly
    >>> from simulations.protocols import synchronous
    >>> from simulations.server import Budget
    >>> run = Run(
    ...     protocol=synchronous(), problem=TimingOnly(), fleet=as_fleet(Deterministic(2.0), 3), step_size=0.5, seed=0,
    ...     budget=Budget(num_updates=2), keep_tasks=True,
    ... )
    >>> rounds, tasks = run_replicate(run, 7)
    >>> rounds[["replicate", "time"]].values.tolist(), len(tasks)
    ([[7.0, 2.0], [7.0, 4.0]], 9)
    """
    with one_thread():
        server = Server(run, replicate)
        rounds = drive(server)
    tasks = pd.DataFrame(server.books.tasks or [], columns=TASK_COLUMNS)
    rounds.insert(0, "replicate", replicate)
    tasks.insert(0, "replicate", replicate)
    return rounds, tasks


def as_table(
    columns: Mapping[str, Sequence[float] | np.ndarray], evaluations: dict[int, dict[str, float]], run: Run
) -> pd.DataFrame:
    """One row per round from the fields of ``Round``, with the evaluation of the model that its update made, if any."""
    kinds = Round.__annotations__
    table = pd.DataFrame({name: np.array(columns.get(name, ()), kind) for name, kind in kinds.items()})
    evaluated = pd.DataFrame.from_dict(evaluations, orient="index", columns=run.evaluated, dtype=float)
    return table.join(evaluated, on="update")
