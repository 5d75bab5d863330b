"""Bounds on the error of SGD with stale gradients, and on its seconds; each with the steps it holds for."""

from abs_theory.bounds import expected, fixed_times, quadratic, recorded
from abs_theory.bounds.constants import Constants
from abs_theory.bounds.guaranteed import (
    STEP_SLACK,
    abs_sgd,
    abs_sgd_max_step_size,
    abs_sgd_tradeoff,
    best_step_size,
    k_async_error,
    k_async_gradient_norm,
    k_async_max_step_size,
    k_sync_error,
    k_sync_gradient_norm,
    k_sync_max_step_size,
    local_sgd,
    local_sgd_max_step_size,
    staleness_quantile,
    step_for_load,
    updates_to,
)
from abs_theory.bounds.tradeoff import Tradeoff

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
