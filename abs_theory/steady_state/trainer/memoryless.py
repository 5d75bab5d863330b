"""Exact round time of K-async with exponential tasks and updates that take time: a chain of the queue.

The state is the number of finished tasks that wait when an update ends.  If fewer than k wait, the missing ones arrive
one after another; then the trainer works, and each running task ends meanwhile with the same probability.
"""

import math

import numpy as np
from scipy import stats

from abs_theory.delays import Delay, Exponential
from abs_theory.steady_state.trainer import nodes

__all__ = ["round_time"]


def round_time(law: Exponential, k: int, n: int, update_seconds: Delay) -> float:
    """E[r] for ``n`` slots and k < n: exact if updates take a fixed time, else to the accuracy of the quadrature.

    >>> from abs_theory.delays import Deterministic
    >>> round(round_time(Exponential(mean=1.0), 2, 3, Deterministic(1e-9)), 4)  # the second of three
    0.8333
    """
    states = n - k + 1  # 0, ..., n - k tasks wait
    waiting = np.arange(states)
    missing = np.maximum(k - waiting, 0)
    busy = n - np.maximum(waiting, k)  # while the trainer works
    inverse = np.append(0.0, np.cumsum(1 / np.arange(1.0, n + 1)))
    seconds = law.mean * (inverse[n - waiting] - inverse[n - waiting - missing])
    ends = np.zeros((states, states))
    for T, weight in zip(*nodes.of_law(update_seconds), strict=True):
        done = -math.expm1(-T / law.mean)
        for state in range(states):
            left = max(state - k, 0)
            arrivals = stats.binom.pmf(np.arange(busy[state] + 1), busy[state], done)
            ends[state, left : left + arrivals.size] += weight * arrivals
    balance = np.vstack([ends.T - np.eye(states), np.ones(states)])
    occupied = np.linalg.lstsq(balance, np.append(np.zeros(states), 1.0), rcond=None)[0]
    return float(occupied @ seconds + update_seconds.mean)
