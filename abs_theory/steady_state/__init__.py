"""Round time, staleness, restarts, messages and shares of time of the ABS family in the long run."""

from abs_theory.results import SteadyState
from abs_theory.steady_state.mean_field import limit_round_time
from abs_theory.steady_state.route import METHODS, abs_sgd

__all__ = [
    "METHODS",
    "SteadyState",
    "abs_sgd",
    "limit_round_time",
]
