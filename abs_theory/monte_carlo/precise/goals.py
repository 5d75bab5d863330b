"""How small the errors of a steady state should be, after how much effort."""

import math

from abs_theory.results import SteadyState

__all__ = ["GOALS", "excess"]

# effort in seconds of the estimated cost, up to which the goal is this relative error of the round time
GOALS = ((0.04, 0.01), (0.1, 0.02), (0.45, 0.03))
SHARE_GOAL, PMF_GOAL = 0.0095, 0.019  # of idle, wasted and participation; of the probability of a staleness
STALENESS_GOALS = 0.028, 0.019  # relative, absolute


def excess(state: SteadyState, spent: float, quick: bool) -> float:
    """The largest error, relative to what it may be after so much effort."""
    goal = next((goal for most, goal in GOALS if spent < most), math.inf)
    if math.isinf(goal):
        return 0.0
    goal = max(goal, GOALS[-1][1]) if quick else goal
    error, (relative, absolute) = state.error, STALENESS_GOALS
    assert error.participation is not None
    return float(
        max(
            error.round_time / (goal * state.round_time),
            error.mean_staleness / max(relative * state.mean_staleness, absolute),
            error.restarts / max(relative * state.restarts, absolute),
            max(error.idle_fraction, error.wasted_fraction, error.participation.max()) / SHARE_GOAL,
            error.staleness_pmf.max() / PMF_GOAL,
        )
    )
