"""One run: drive a server to the end of its budget, and look at the model on a common grid of seconds."""

import math

import numpy as np
import pandas as pd

from simulations.problems import Problem
from simulations.protocols import Protocol
from simulations.record import rises
from simulations.server import Round, Server


def run(
    protocol: Protocol,
    server: Server,
    *,
    num_updates: float = math.inf,
    time_budget: float = math.inf,
    eval_every: float = math.inf,
    target: tuple[str, float] | None = None,
) -> pd.DataFrame:
    """Drive one server to its budget; one row per update, as described in ``simulate``."""
    problem = server.problem
    evaluations: dict[int, dict[str, float]] = {}  # by version of the model
    next_eval = eval_every
    with np.errstate(over="ignore", invalid="ignore"):
        while server.updates < num_updates and math.isfinite(server.loss):
            now = server.next_time
            if min(now, time_budget) > next_eval:  # the model in force at next_eval is still the current one
                evaluations[server.updates] = values = _evaluate(problem, server.params)
                if values["loss"] == math.inf or (target and _reached(values, *target)):
                    break
                next_eval = eval_every * math.ceil(min(now, time_budget) / eval_every)
            if now > time_budget:
                break
            protocol.on_arrival(server, server.next_arrival())
        evaluations[server.updates] = _evaluate(problem, server.params)
    if not math.isfinite(server.loss):
        evaluations[server.updates]["loss"] = math.inf
    table = pd.DataFrame(server.finish(), columns=list(Round._fields)).astype(Round.__annotations__)
    evaluated = pd.DataFrame([evaluations.get(update, {}) for update in table["update"]], dtype=float)
    return table.join(evaluated.reindex(columns=["loss", *problem.metrics(problem.initial)]))


def _evaluate(problem: Problem, params: np.ndarray) -> dict[str, float]:
    loss = problem.loss(params)
    return {"loss": loss if math.isfinite(loss) else math.inf, **problem.metrics(params)}


def _reached(values: dict[str, float], column: str, level: float) -> bool:
    return values[column] >= level if rises(column) else values[column] <= level
