"""Small measured-looking traces of every regime, as frames with the columns round, worker, seconds.

Each takes a generator, the number of rounds and of workers, and says how it draws, so that a test can know the truth.
"""

import numpy as np
import pandas as pd

from benchmarks import regimes


def frame(seconds, rounds=None):
    """One row per cell of ``seconds``, shape (rounds, workers)."""
    num, n = seconds.shape
    rounds = np.arange(num) if rounds is None else np.asarray(rounds)
    return pd.DataFrame(
        {"round": np.repeat(rounds, n), "worker": np.tile(np.arange(n), num), "seconds": seconds.ravel()}
    )


def framed(draw):
    """``draw`` of ``benchmarks.regimes`` as a frame."""

    def framed_draw(rng, num=60, n=8, **options):
        return frame(draw(rng, num, n, **options))

    return framed_draw


almost_iid = framed(regimes.almost_iid)
unequal_workers = framed(regimes.unequal_workers)
common_slowdowns = framed(regimes.common_slowdowns)
clustered_stalls = framed(regimes.clustered_stalls)
REGIMES = {
    "almost iid": almost_iid,
    "unequal workers": unequal_workers,
    "common slowdowns": common_slowdowns,
    "clustered stalls": clustered_stalls,
}


def k_async(rng, num_updates=200, n=8, k=3, sigma=0.5):
    """Deliveries of K-async with versions: finished workers idle until the k-th delivery, then all k start anew."""
    finish, version, started = np.exp(sigma * rng.standard_normal(n)), np.zeros(n, int), np.zeros(n)
    rows, now = [], 0.0
    for update in range(num_updates):
        senders = np.argsort(finish, kind="stable")[:k]
        now = max(now, finish[senders[-1]])
        for worker in senders:
            seconds = finish[worker] - started[worker]
            rows.append((update, worker, seconds, version[worker], update, k))
        started[senders], version[senders] = now, update + 1
        finish[senders] = now + np.exp(sigma * rng.standard_normal(k))
    names = ["round", "worker", "seconds", "version_read", "version_applied", "k_waited"]
    return pd.DataFrame(rows, columns=names)
