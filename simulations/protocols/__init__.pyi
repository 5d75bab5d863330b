from . import weights
from .local import adacomm, local_sgd, stsyn
from .moving_k import adasync, fastest_k, fastest_k_pflug, self_tuning_abs, staleness_aware_adasync
from .optimal import mindflayer, rennala, ringleader, ringmaster
from .rollouts import abs_batch, admission, tail_batching
from .stale import delay_adaptive, delay_dropping, fedbuff, ssp, staleness_aware
from .waiting import abs_sgd, asynchronous, backup_workers, k_async, k_batch_async, k_batch_sync, k_sync, synchronous

__all__ = [
    "abs_batch",
    "abs_sgd",
    "adacomm",
    "adasync",
    "admission",
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
    "self_tuning_abs",
    "ssp",
    "staleness_aware",
    "staleness_aware_adasync",
    "stsyn",
    "synchronous",
    "tail_batching",
    "weights",
]
