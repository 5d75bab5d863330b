"""Training on a noisy quadratic, stripped to what the theory speaks of: the models and the staleness table."""

import numpy as np

from abs_theory.bounds import recorded
from simulations.fleets import Independent
from simulations.server import Run, RunBudget, Server
from simulations.streams import streams


def train(protocol, problem, delays, *, step_size, num_updates, seed, replicate=0, noise_replicate=None):
    """Loss and squared gradient norm of w_0, ..., w_J, and the staleness table of the J updates, of one run.

    The same numbers as ``simulate``; with ``noise_replicate`` the timing of one replicate meets the samples of another.
    """
    run = Run(
        protocol=protocol, problem=problem, fleet=Independent(tuple(delays)), step_size=step_size, seed=seed,
        budget=RunBudget(num_updates=num_updates), keep_tasks=True,
    )  # fmt: skip
    server = Server(run, replicate)
    if noise_replicate is not None:
        server.rngs = streams(seed, noise_replicate, "batch", len(delays))
    models = [server.params]
    while server.updates < num_updates:
        protocol.on_arrival(server, server.next_arrival())
        if server.updates == len(models):
            models.append(server.params)
    path, curvature = np.array(models), np.array(problem.curvatures)
    columns = [(at - 1, at - 1 - read) for _, _, _, read, _, at, _ in server.books.tasks if at > 0]
    table = recorded.staleness_table(*np.array(columns).T)
    return path**2 @ curvature / 2, path**2 @ curvature**2, table
