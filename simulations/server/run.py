"""One run: drive a server to the end of its budget, and look at the model on a common grid of seconds."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from simulations.fleets import Fleet
from simulations.problems import Problem
from simulations.record import rises
from simulations.server.server import Policy, Protocol, Round, Server
from simulations.streams import streams
from simulations.threads import one_thread

TASK_COLUMNS = ["worker", "start", "end", "read_version", "end_version", "applied_version", "outcome"]


def run(
    server: Server,
    *,
    num_updates: float = math.inf,
    time_budget: float = math.inf,
    eval_every: float = math.inf,
    target: tuple[str, float] | None = None,
) -> pd.DataFrame:
    """Drive one server to its budget; one row per update, as described in ``simulate``."""
    problem, on_arrival = server.problem, server.protocol.on_arrival
    evaluations: dict[int, dict[str, float]] = {}  # by version of the model
    next_eval = eval_every
    pause, seen = min(next_eval, time_budget), 0
    with np.errstate(over="ignore", invalid="ignore"):
        while True:
            job = server.next_arrival(pause)
            if job is not None:
                on_arrival(server, job)
                if server.updates > seen:
                    seen = server.updates
                    if seen >= num_updates or not math.isfinite(server.loss):
                        break
                continue
            now = server.next_time
            if next_eval < time_budget:  # the model in force at next_eval is still the current one
                evaluations[server.updates] = values = _evaluate(problem, server.params)
                if values["loss"] == math.inf or (target and _reached(values, *target)):
                    break
                next_eval = eval_every * math.ceil(min(now, time_budget) / eval_every)
            if now > time_budget:
                break
            pause = min(next_eval, time_budget)
        evaluations[server.updates] = _evaluate(problem, server.params)
    if not math.isfinite(server.loss):
        evaluations[server.updates]["loss"] = math.inf
    kinds = Round.__annotations__
    columns = list(zip(*server.finish(), strict=True)) or [()] * len(kinds)
    table = pd.DataFrame({name: np.array(c, kinds[name]) for name, c in zip(kinds, columns, strict=True)})
    names = ["loss", *problem.metrics(problem.initial)]
    evaluated = pd.DataFrame.from_dict(evaluations, orient="index", columns=names, dtype=float)
    return table.join(evaluated, on="update")


def run_replicate(server_of: Callable[[], Server], replicate: int, **budget: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One replicate, begun by ``server_of`` and numbered: rows per update, and per task if its server keeps them.

    ``budget`` as in ``run``.  One thread: the same bits however many replicates run beside it.
    """
    with one_thread():
        server = server_of()
        rounds = run(server, **budget)
    tasks = pd.DataFrame(server.books.tasks or [], columns=TASK_COLUMNS)
    rounds.insert(0, "replicate", replicate)
    tasks.insert(0, "replicate", replicate)
    return rounds, tasks


def begin(
    protocol: Protocol,
    problem: Problem,
    fleet: Fleet,
    *,
    seed: int,
    replicate: int,
    step_size: Policy,
    local_steps: int,
    jobs: bool = False,
) -> Server:
    """The server of one replicate at time 0, from its address (seed, replicate); with ``jobs`` it keeps every task."""
    return Server(
        problem, fleet.times(seed, replicate), streams(seed, replicate, "batch", fleet.n), protocol,
        step_size=step_size, local_steps=local_steps, keep_jobs=jobs,
    )  # fmt: skip


def _evaluate(problem: Problem, params: np.ndarray) -> dict[str, float]:
    loss = problem.loss(params)
    return {"loss": loss if math.isfinite(loss) else math.inf, **problem.metrics(params)}


def _reached(values: dict[str, float], column: str, level: float) -> bool:
    return values[column] >= level if rises(column) else values[column] <= level
