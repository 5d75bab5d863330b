"""What a worker is doing, and what is recorded of an update."""

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np


@dataclass(eq=False)
class Job:
    """What a worker is doing: one task, from the model it received to the gradient it will deliver.

    Times are in seconds.  The class has no slots, so that fields that are rarely needed cost nothing to create.
    """

    worker: int  #: its number
    version: int  #: updates made before its model was sent
    start: float  #: when it was assigned
    params: np.ndarray  #: the model it was sent
    local_steps: int  #: of this task
    step_size: float  #: of its local steps
    finish: float = math.inf  #: when its gradient arrives; or it is given up; or, if it is lost, its worker is back
    marks: list[float] | None = field(default=None, init=False)  #: when each local step ends, if the server may ask
    lost_at: float = field(default=math.inf, init=False)  #: when its worker goes away, which loses the task; inf: never
    cut: bool = field(default=False, init=False)  #: it was given up: there is no gradient
    discarded: bool = field(default=False, init=False)  #: no update will use it
    applied: int = field(default=0, init=False)  #: the last update it went into; 0: none yet
    line: list | None = field(default=None, init=False)  #: its row in the table of tasks, if there is one
    #: its gradient and loss, if they are used again
    contribution: tuple[np.ndarray, float] | None = field(default=None, init=False)

    def __lt__(self, other: "Job") -> bool:
        return False  # of the jobs of one worker that end together, all but one were dropped: any order will do


class Round(NamedTuple):
    """One update; counts since the previous one, the assignments right after this one included."""

    update: int  #: its number, from 1 on
    time: float  #: seconds since the start
    k: int  #: in force
    max_staleness: float  #: in force; inf: none
    mean_staleness: float  #: of the gradients applied
    largest_staleness: int  #: of the gradients applied
    uplinks: int  #: messages to the server
    downlinks: int  #: models sent to workers
    restarts: int  #: busy workers that received a new model
    computed: int  #: gradients delivered
    used: int  #: gradients applied
    discarded: int  #: computed - used
    idle_seconds: float  #: of all workers, between a delivery and the next model
    wasted_seconds: float  #: of all workers, of work that is not used: restarted, cut off, discarded or lost
    away_seconds: float  #: of all workers that had left
