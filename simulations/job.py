"""What a worker is doing, what a protocol is, and what an update leaves behind: the small values of a server."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from simulations.decisions import Policy

if TYPE_CHECKING:
    from simulations.server import Server


@dataclass(eq=False)
class Job:
    """What a worker is doing: one task, from the model it was sent to the gradient it will deliver.

    Times in seconds.  Not slotted, so that what is rarely needed costs nothing to create.
    """

    worker: int  #: its number
    version: int  #: updates made when its model was sent
    start: float  #: when it was assigned
    params: np.ndarray  #: the model it was sent
    local_steps: int  #: of this task
    step_size: float  #: of its local steps
    finish: float = math.inf  #: when its gradient arrives, it is given up, or its worker is back, if lost
    marks: list[float] | None = field(default=None, init=False)  #: when each local step is over, if somebody may ask
    lost_at: float = field(default=math.inf, init=False)  #: when its worker goes away and the task is lost; inf: never
    cut: bool = field(default=False, init=False)  #: it was given up, there is no gradient
    applied: int = field(default=0, init=False)  #: in which update, last; 0: in none yet
    line: list | None = field(default=None, init=False)  #: its row in the table of tasks, if there is one
    contribution: Any = field(default=None, init=False)  #: to the update, and its loss, if they are used again

    def __lt__(self, other: "Job") -> bool:
        return False  # among a worker's jobs that end together, any order will do: all but one were dropped


@dataclass(frozen=True)
class Protocol:
    """What a server does when a gradient arrives, and the policies it consults once per update."""

    on_arrival: Callable[["Server", Job], None]  #: called with the server and the job that a gradient has arrived of
    k: Policy = 1  #: how many gradients an update waits for
    #: largest staleness allowed, for ``server.staler_than`` and the tables; inf: no bound
    max_staleness: Policy = math.inf
    local_steps: Policy = None  #: per task; None: those of the run
    batch: bool = False  #: a worker may deliver more than once to an update, so k may exceed n
    keeps_going: bool = False  #: a worker that has done its local steps goes on until it is collected
    cut_off: Sequence[float] | None = None  #: seconds after which each worker gives a task up; None: never
    notes: Callable[[], Any] = SimpleNamespace  #: makes what it remembers during one run, as it is at the start


def check_protocol(protocol: Any) -> None:
    """Raise ValueError unless this is a protocol, not the function that makes it."""
    if not isinstance(protocol, Protocol):
        raise ValueError(f"protocol must be a Protocol such as k_sync(5), got {protocol!r}")


class Round(NamedTuple):
    """One update and what led to it; counts since the previous update, assignments after this one included."""

    update: int  #: its number, from 1 on
    time: float  #: seconds since the start
    k: int  #: in force
    max_staleness: float  #: in force; inf: none
    mean_staleness: float  #: of the gradients applied
    largest_staleness: int  #: of the gradients applied
    uplinks: int  #: messages to the server
    downlinks: int  #: models sent to workers
    restarts: int  #: busy workers that were given a new model
    computed: int  #: gradients delivered
    used: int  #: gradients applied
    discarded: int  #: computed - used
    idle_seconds: float  #: of all workers, between a delivery and the next model
    wasted_seconds: float  #: of all workers, thrown away: restarted, cut off, discarded or lost
    away_seconds: float  #: of all workers that had left
