"""Kinds of delays in which rounds or workers differ, drawn as arrays rounds x workers, and the exact E[T_(k)] of each.

Each function takes a generator, the number of rounds and of workers, and returns seconds.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from abs_theory import order_stats
from abs_theory.delays import LogNormal, Mixture
from abs_theory.typing import Array

__all__ = ["REGIMES", "Regime", "almost_iid", "clustered_stalls", "common_slowdowns", "unequal_workers"]

N = 8


def almost_iid(rng: np.random.Generator, num: int, n: int = N, median: float = 1.0, sigma: float = 0.1) -> Array:
    """Independent lognormal delays, equal workers: mean median exp(sigma^2 / 2)."""
    return median * np.exp(sigma * rng.standard_normal((num, n)))


def unequal_workers(rng: np.random.Generator, num: int, n: int = N, slowest: float = 2.0, sigma: float = 0.02) -> Array:
    """Worker i has median 1 + (slowest - 1) [i = n - 1]: one permanently slow worker, little noise."""
    return np.append(np.ones(n - 1), slowest) * np.exp(sigma * rng.standard_normal((num, n)))


def common_slowdowns(
    rng: np.random.Generator, num: int, n: int = N, common: float = 0.3, own: float = 0.03, persistence: float = 0.5
) -> Array:
    """exp(common Z_t + own W_ti), Z an AR(1) of variance 1: whole rounds are slow, and follow one another."""
    z = np.empty(num)
    z[0] = rng.standard_normal()
    for t in range(1, num):
        z[t] = persistence * z[t - 1] + np.sqrt(1 - persistence**2) * rng.standard_normal()
    return np.exp(common * z[:, None] + own * rng.standard_normal((num, n)))


def clustered_stalls(
    rng: np.random.Generator,
    num: int,
    n: int = N,
    share: float = 0.02,
    stay: float = 0.7,
    stall: float = 10.0,
    sigma: float = 0.05,
) -> Array:
    """Lognormal, times ``stall`` in a share of all attempts, in runs per worker of mean length 1 / (1 - stay)."""
    begin = share * (1 - stay) / (1 - share)
    stalled = np.empty((num, n), bool)
    stalled[0] = rng.random(n) < share
    for t in range(1, num):
        stalled[t] = rng.random(n) < np.where(stalled[t - 1], stay, begin)
    return np.where(stalled, stall, 1.0) * np.exp(sigma * rng.standard_normal((num, n)))


def spells_of_stalls(
    rng: np.random.Generator,
    num: int,
    n: int = N,
    slow: float = 0.2,
    length: float = 8,
    hit: float = 0.3,
    stall: float = 4.0,
    sigma: float = 0.1,
) -> Array:
    """Spells of slow rounds, in which each worker stalls with probability ``hit``."""
    state = np.empty(num, dtype=bool)
    state[0] = rng.random() < slow
    for t in range(1, num):
        state[t] = rng.random() < (1 - 1 / length if state[t - 1] else slow / (1 - slow) / length)
    stalled = state[:, None] & (rng.random((num, n)) < hit)
    return np.where(stalled, stall, 1.0) * np.exp(sigma * rng.standard_normal((num, n)))


def shifted_windows(rng: np.random.Generator, num: int, n: int = N) -> Array:
    """Four windows, the second 20 % slower."""
    return np.repeat([1.0, 1.2, 1.0, 1.0], num // 4)[:, None] * np.exp(0.2 * rng.standard_normal((num, n)))


@dataclass(frozen=True, eq=False)
class Regime:
    """How rounds are drawn, the exact mean arrivals, and from how many rounds on intervals are stated to hold."""

    draw: Callable[[np.random.Generator, int], Array]
    truth: Array  # E[T_(k)] for k = 1..N, seconds
    rounds: int
    windows: int = 1  # of equal length, separated by gaps


_EVEN = order_stats.means(LogNormal(1.0, 0.1), N)
_STALLS = Mixture((0.98, 0.02), (LogNormal(1.0, 0.05), LogNormal(10.0, 0.05)))
_HIT = Mixture((0.7, 0.3), (LogNormal(1.0, 0.1), LogNormal(4.0, 0.1)))
_UNEQUAL = [LogNormal(1.0, 0.02)] * (N - 1) + [LogNormal(2.0, 0.02)]
REGIMES = {
    "almost iid": Regime(almost_iid, _EVEN, 30),
    "unequal workers": Regime(unequal_workers, order_stats.means(_UNEQUAL, N), 30),
    "common slowdowns": Regime(
        common_slowdowns, math.exp(0.3**2 / 2) * order_stats.means(LogNormal(1.0, 0.03), N), 100
    ),
    "clustered stalls": Regime(clustered_stalls, order_stats.means(_STALLS, N), 400),
    "spells of stalls": Regime(spells_of_stalls, 0.8 * _EVEN + 0.2 * order_stats.means(_HIT, N), 800),
    "shifted windows": Regime(shifted_windows, 1.05 * order_stats.means(LogNormal(1.0, 0.2), N), 80, windows=4),
    "heavy tails": Regime(partial(almost_iid, sigma=1.0), order_stats.means(LogNormal(1.0, 1.0), N), 60),
}
