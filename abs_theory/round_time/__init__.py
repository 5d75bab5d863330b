"""Mean seconds of one round (from one update of the model to the next), one function per protocol.

All are in ``by_protocol``, save ``ssp`` (in ``stale_synchronous``).  ``partial_uploads`` has who uploads in STSyn, and
how many steps they have done.
``transient`` has the start of a run: updates by a time, and the time of an update, of workers that all begin afresh.
"""

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
from abs_theory.round_time.transient import WithError, expected_updates, time_of_update

__all__ = [
    "WithError",
    "abs_sgd",
    "asynchronous",
    "expected_updates",
    "k_async",
    "k_batch_async",
    "k_batch_sync",
    "k_sync",
    "local_sgd",
    "ssp",
    "stsyn",
    "synchronous",
    "time_of_update",
]
