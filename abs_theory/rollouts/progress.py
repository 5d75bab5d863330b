"""Progress towards a target: how many updates a mode needs, and how long they take."""

from dataclasses import dataclass, replace

import numpy as np

from abs_theory.bounds import Constants
from abs_theory.checks import explains_types
from abs_theory.choose import Candidates, Target, candidates
from abs_theory.results import TrainerState

__all__ = ["Objective", "to_target"]


@explains_types
@dataclass(frozen=True)
class Objective:
    """What is trained, and how well: ``constants``, whose gradients are those of one task, and the ``goal``.

    Raises ValueError unless the goal is a target to be reached soon.

    >>> Objective(Constants(L=1.0, sigma2=5.0, gap=10.0), Target(0.3)).goal.error
    0.3
    """

    constants: Constants  #: of the objective; a gradient is that of one rollout, or group
    goal: Target  #: the error to reach

    def __post_init__(self) -> None:
        if not (isinstance(self.constants, Constants) and isinstance(self.goal, Target)):
            raise ValueError(f"an objective must have Constants(L=..., sigma2=..., gap=...) and a Target, got {self}")
        if self.goal.objective != "time" or self.goal.gamma is not None:
            raise ValueError(f'the goal of rollouts must have the objective "time" and no gamma, got {self.goal!r}')


def to_target(
    objective: Objective, k: int, n: int, state: TrainerState, seconds: float, largest: float
) -> dict[str, float]:
    """Step, updates and seconds until the target is reached, of a mode whose updates take ``seconds``.

    As in ``choose.best``, for tasks as gradients and the staleness of ``state``, which never exceeds ``largest``.  The
    start of the run, when all slots begin afresh, is left out.

    >>> from abs_theory import steady_state
    >>> from abs_theory.delays import Exponential
    >>> state = steady_state.abs_batch(Exponential(mean=1.0), k=8, n=32, max_staleness=1)
    >>> objective = Objective(Constants(L=1.0, sigma2=5.0, gap=10.0), Target(0.3))
    >>> round(to_target(objective, 8, 32, state, float(state.round_time), 1)["seconds_to_target"], 1)
    46.5
    """
    round_time, stale = np.array([seconds]), np.array([float(state.mean_staleness)])
    messages = np.array([float(state.uplinks) + float(state.downlinks)])
    mode = Candidates.measured(np.array([k]), np.array([float(largest)]), round_time, stale, messages)
    mode = replace(mode, staleness_pmf=np.atleast_2d(state.staleness_pmf))
    row = candidates.outcomes(objective.constants, n, mode, None, objective.goal).iloc[0]
    return {
        "step_size": float(row["step_size"]),
        "updates_to_target": float(row["updates"]),
        "seconds_to_target": float(row["seconds"]),
    }
