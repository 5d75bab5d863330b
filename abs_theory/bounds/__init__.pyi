from . import expected, fixed_times, quadratic, recorded
from .arguments import STEP_SLACK, step_for_load
from .assumed import k_async_error, k_async_gradient_norm, k_async_max_step_size
from .constants import Constants
from .fresh import k_sync_error, k_sync_gradient_norm, k_sync_max_step_size, local_sgd, local_sgd_max_step_size
from .guaranteed import (
    abs_sgd,
    abs_sgd_max_step_size,
    abs_sgd_tradeoff,
    best_step_size,
    staleness_quantile,
    updates_to,
)
from .tradeoff import Tradeoff

__all__ = [
    "STEP_SLACK",
    "Constants",
    "Tradeoff",
    "abs_sgd",
    "abs_sgd_max_step_size",
    "abs_sgd_tradeoff",
    "best_step_size",
    "expected",
    "fixed_times",
    "k_async_error",
    "k_async_gradient_norm",
    "k_async_max_step_size",
    "k_sync_error",
    "k_sync_gradient_norm",
    "k_sync_max_step_size",
    "local_sgd",
    "local_sgd_max_step_size",
    "quadratic",
    "recorded",
    "staleness_quantile",
    "step_for_load",
    "updates_to",
]
