"""One replicate: drive its server to the end of the budget, and evaluate the model on a common grid of seconds."""

import math

import numpy as np
import pandas as pd

from simulations.problems import Problem
from simulations.record import rises
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
    problem, on_arrival, budget = server.problem, server.protocol.on_arrival, server.run.budget
    update_limit, time_limit, eval_every, target = (
        budget.update_limit, budget.time_limit, budget.eval_every, budget.target,
    )  # fmt: skip
    evaluations: dict[int, dict[str, float]] = {}  # by version of the model
    next_eval = eval_every
    pause, seen = min(next_eval, time_limit), 0
    with np.errstate(over="ignore", invalid="ignore"):
        while True:
            job = server.next_arrival(pause)
            if job is not None:
                on_arrival(server, job)
                if server.updates > seen:
                    seen = server.updates
                    if seen >= update_limit or not math.isfinite(server.loss):
                        break
                continue
            now = server.next_time
            if next_eval < time_limit:  # the model in force at next_eval is still the current one
                evaluations[server.updates] = values = evaluate(problem, server.params)
                if values["loss"] == math.inf or (target and is_reached(values, *target)):
                    break
                next_eval = eval_every * math.ceil(min(now, time_limit) / eval_every)
            if now > time_limit:
                break
            pause = min(next_eval, time_limit)
        evaluations[server.updates] = evaluate(problem, server.params)
    if not math.isfinite(server.loss):
        evaluations[server.updates]["loss"] = math.inf
    return as_table(server.finish(), evaluations, server.run)


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


def evaluate(problem: Problem, params: np.ndarray) -> dict[str, float]:
    """The loss at ``params``, inf if it is not finite, and the metrics of the problem."""
    loss = problem.loss(params)
    return {"loss": loss if math.isfinite(loss) else math.inf, **problem.metrics(params)}


def is_reached(values: dict[str, float], column: str, level: float) -> bool:
    """Whether an evaluation has reached the ``level`` of a target."""
    return values[column] >= level if rises(column) else values[column] <= level


def as_table(rounds: list[Round], evaluations: dict[int, dict[str, float]], run: Run) -> pd.DataFrame:
    """One row per round, with the evaluation of the model that its update made, if there was one."""
    kinds = Round.__annotations__
    columns = list(zip(*rounds, strict=True)) or [()] * len(kinds)
    table = pd.DataFrame({name: np.array(c, kinds[name]) for name, c in zip(kinds, columns, strict=True)})
    evaluated = pd.DataFrame.from_dict(evaluations, orient="index", columns=run.evaluated, dtype=float)
    return table.join(evaluated, on="update")
