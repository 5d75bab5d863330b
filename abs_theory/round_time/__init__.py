"""Mean seconds of one round, by protocol."""

from abs_theory.round_time.by_protocol import (
    abs_sgd,
    asynchronous,
    k_async,
    k_batch_async,
    k_batch_sync,
    k_sync,
    local_sgd,
    ssp,
    stsyn,
    synchronous,
)

__all__ = [
    "abs_sgd",
    "asynchronous",
    "k_async",
    "k_batch_async",
    "k_batch_sync",
    "k_sync",
    "local_sgd",
    "ssp",
    "stsyn",
    "synchronous",
]
