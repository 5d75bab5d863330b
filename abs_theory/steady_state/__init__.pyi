from .mean_field import limit_round_time
from .methods import METHODS
from .route import SteadyState, abs_sgd

__all__ = [
    "METHODS",
    "SteadyState",
    "abs_sgd",
    "limit_round_time",
]
