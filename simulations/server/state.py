"""What is kept of a server between two updates, so that a run can go on in another process."""

from dataclasses import dataclass

import numpy as np

from simulations.server.job import Round


@dataclass(frozen=True)
class ServerState:
    """The model and the books after an update, and what each worker was doing.

    Gradients that were delivered and not applied, what the protocol remembers, and what was measured for a policy are
    not part of it.
    """

    params: np.ndarray  #: the model
    time: float  #: seconds
    updates: int  #: made so far
    loss: float  #: that the server sees
    decisions: tuple[float, ...]  #: in force, in the order of ``Decisions.in_force``
    rounds: list[Round]  #: closed so far
    tasks: list[list] | None  #: lines of the table of tasks, if they are kept
    in_progress: list[tuple[int, float, int, float]]  #: worker, start (s), version, lost at (s) of each task
    idle_since: list[float]  #: seconds, for each worker
