"""One small factory per published method; each answer to an arrival reads like the published algorithm.

They live in files of a few each: ``waiting`` (for k gradients), ``adaptive`` (k moves), ``stale`` (asynchronous, with
staleness bounded, weighed or dropped), ``optimal`` (of optimal time complexity), ``local`` (several local steps).
"""

from simulations.adaptive import adasync, fastest_k, fastest_k_pflug, staleness_aware_adasync
from simulations.local import adacomm, local_sgd, stsyn
from simulations.optimal import mindflayer, rennala, ringleader, ringmaster
from simulations.server import Protocol
from simulations.stale import delay_adaptive, delay_dropping, fedbuff, ssp, staleness_aware
from simulations.waiting import (
    abs_sgd,
    asynchronous,
    backup_workers,
    k_async,
    k_batch_async,
    k_batch_sync,
    k_sync,
    synchronous,
)

__all__ = [
    "Protocol",
    "abs_sgd",
    "adacomm",
    "adasync",
    "asynchronous",
    "backup_workers",
    "delay_adaptive",
    "delay_dropping",
    "fastest_k",
    "fastest_k_pflug",
    "fedbuff",
    "k_async",
    "k_batch_async",
    "k_batch_sync",
    "k_sync",
    "local_sgd",
    "mindflayer",
    "rennala",
    "ringleader",
    "ringmaster",
    "ssp",
    "staleness_aware",
    "staleness_aware_adasync",
    "stsyn",
    "synchronous",
]
