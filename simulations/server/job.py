"""What a worker is doing, what a protocol is, and what an update leaves behind: the small values of a server."""

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    pass


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
