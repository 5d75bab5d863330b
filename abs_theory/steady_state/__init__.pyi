from .mean_field import limit_round_time
from .methods import METHODS
from .route import SteadyState, abs_sgd
from .trainer import abs_batch, tail_batching

__all__ = [
    "METHODS",
    "SteadyState",
    "abs_batch",
    "abs_sgd",
    "limit_round_time",
    "tail_batching",
]
