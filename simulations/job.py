"""What a worker is doing, and what an update leaves behind: the small values a server is made of."""

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np


@dataclass(eq=False)
class Job:
    """What a worker is doing: one task, from the model it was sent to the gradient it will deliver.

    Times in seconds.  Not slotted, so that what is rarely needed costs nothing to create.
    """

    worker: int
    version: int  # updates made when its model was sent
    start: float
    params: np.ndarray
    local_steps: int
    step_size: float
    finish: float = math.inf
    marks: list[float] | None = field(default=None, init=False)  # when each local step is over, if somebody may ask
    lost_at: float = field(default=math.inf, init=False)  # when its worker goes away
    cut: bool = field(default=False, init=False)  # it was given up, there is no gradient
    weight: float = field(default=1.0, init=False)
    applied: bool = field(default=False, init=False)
    line: list | None = field(default=None, init=False)  # in the table of tasks, if there is one
    loss: float = field(default=math.nan, init=False)  # remembered with its gradient if that is used again
    gradient: Any = field(default=None, init=False)

    def __lt__(self, other: "Job") -> bool:
        return False  # among a worker's jobs that end together, any order will do: all but one were dropped


class Round(NamedTuple):
    """One update and what led to it; counts since the previous update, assignments after this one included."""

    update: int
    time: float
    k: int
    max_staleness: float
    mean_staleness: float
    largest_staleness: int
    uplinks: int
    downlinks: int
    restarts: int
    computed: int
    used: int
    discarded: int
    idle_seconds: float
    wasted_seconds: float
    away_seconds: float
