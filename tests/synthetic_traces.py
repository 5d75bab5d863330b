"""Small measured-looking traces of every regime, as frames with the columns round, worker, seconds.

Each takes a generator, the number of rounds and of workers, and says how it draws, so that a test can know the truth.
"""

import numpy as np
import pandas as pd


def frame(seconds, rounds=None):
    """One row per cell of ``seconds``, shape (rounds, workers)."""
    num, n = seconds.shape
    rounds = np.arange(num) if rounds is None else np.asarray(rounds)
    return pd.DataFrame(
        {"round": np.repeat(rounds, n), "worker": np.tile(np.arange(n), num), "seconds": seconds.ravel()}
    )


def almost_iid(rng, num=60, n=8, median=1.0, sigma=0.1):
    """Independent lognormal delays, equal workers: mean median exp(sigma^2 / 2)."""
    return frame(median * np.exp(sigma * rng.standard_normal((num, n))))


def unequal_workers(rng, num=60, n=8, slowest=2.0, sigma=0.02):
    """Worker i has median 1 + (slowest - 1) [i = n - 1]: one permanently slow worker, little noise."""
    medians = np.append(np.ones(n - 1), slowest)
    return frame(medians * np.exp(sigma * rng.standard_normal((num, n))))


def common_slowdowns(rng, num=60, n=8, common=0.3, own=0.03, persistence=0.5):
    """exp(common Z_t + own W_ti), Z an AR(1) of variance 1: whole rounds are slow, and follow one another."""
    z = np.empty(num)
    z[0] = rng.standard_normal()
    for t in range(1, num):
        z[t] = persistence * z[t - 1] + np.sqrt(1 - persistence**2) * rng.standard_normal()
    return frame(np.exp(common * z[:, None] + own * rng.standard_normal((num, n))))


def clustered_stalls(rng, num=200, n=8, share=0.02, stay=0.7, stall=10.0, sigma=0.05):
    """Lognormal, times ``stall`` in a share of all attempts, in runs per worker of mean length 1 / (1 - stay)."""
    begin = share * (1 - stay) / (1 - share)
    stalled = np.empty((num, n), bool)
    stalled[0] = rng.random(n) < share
    for t in range(1, num):
        stalled[t] = rng.random(n) < np.where(stalled[t - 1], stay, begin)
    return frame(np.where(stalled, stall, 1.0) * np.exp(sigma * rng.standard_normal((num, n))))


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
