"""Monte Carlo estimates of the same quantities as the theory, for any delay law, in seconds."""

from abs_theory.monte_carlo.estimators import abs_batch, abs_sgd, order_statistic, steady_state
from abs_theory.monte_carlo.plain import PlayedFleet, PlayedRound
from abs_theory.monte_carlo.precise import steady_state_to_goal, steady_states_to_goal
from abs_theory.monte_carlo.trainer import Rules, may_lock, played, update_law
from abs_theory.results import Estimate, SteadyState

__all__ = [
    "Estimate",
    "PlayedFleet",
    "PlayedRound",
    "Rules",
    "SteadyState",
    "abs_batch",
    "abs_sgd",
    "may_lock",
    "order_statistic",
    "played",
    "steady_state",
    "steady_state_to_goal",
    "steady_states_to_goal",
    "update_law",
]
