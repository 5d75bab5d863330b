"""The steady state by a simulation that goes on until its errors are small."""

from abs_theory.monte_carlo.precise.to_goal import steady_state_to_goal, steady_states_to_goal

__all__ = ["steady_state_to_goal", "steady_states_to_goal"]
