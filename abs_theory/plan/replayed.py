"""A measured trace played again under another policy: timing only, no law assumed.

Each worker's attempts last as long as they did, one after another: attempt j of worker i is row j of its column, under
every policy.  With ``max_staleness`` 0 all start together and a round lasts exactly as long as its k-th arrival did.
After the last row comes the first.
"""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from abs_theory.checks import check_k, check_max_staleness, check_rng, checked_array
from abs_theory.monte_carlo import Fleet
from abs_theory.plan.intervals import resampled_rounds
from abs_theory.typing import Array

__all__ = ["Played", "Replay"]


STARTS = 8  # rows to begin with, evenly spaced
MOST_ROUNDS = 1000  # to be played
SETTLED = 4  # times n / k rounds, after which the common start is forgotten


@dataclass(frozen=True, eq=False)
class Played:
    """What one policy would have done, per round; ``resampled`` round times are those of bootstrap traces."""

    round_time: float
    resampled: Array
    mean_staleness: float
    restarts: float
    participation: Array  # gradients of each worker per round

    def log_ratio(self, other: "Played") -> tuple[float, float]:
        """log(round time / other's) and its standard error, by the bootstrap traces that both played."""
        ratios = np.log(self.resampled / other.resampled)
        return math.log(self.round_time / other.round_time), float(ratios.std(ddof=1))


class Replay:
    """Plays complete rounds, shape ``rounds x workers``, under any k and max_staleness; remembers what it has played.

    ``copies`` bootstrap traces, of blocks of rounds within the ``window`` each round belongs to, tell the error.
    Cost: min(rounds n / k, MOST_ROUNDS) rounds of O(n (STARTS + copies)) for each policy.
    """

    def __init__(self, seconds: Array, window: NDArray[np.int64], rng: np.random.Generator, copies: int = 32) -> None:
        check_rng(rng)
        self.seconds = checked_array("seconds", seconds, positive=True)
        rounds = self.seconds.shape[0]
        starts = np.linspace(0, rounds, STARTS, endpoint=False).astype(np.int64)
        turned = (np.arange(rounds) + starts[:, None]) % rounds
        self.rows = np.concatenate([turned, resampled_rounds(self.seconds.mean(axis=1), window, rng, copies)])
        self.play = cache(self._play)

    @property
    def n(self) -> int:
        return self.seconds.shape[1]

    def _play(self, k: int, max_staleness: float | None) -> Played:
        """Waits for ``k``; workers staler than ``max_staleness`` restart (None or inf: nobody)."""
        check_k(k, self.n)
        check_max_staleness(max_staleness)
        bound = math.inf if max_staleness is None else float(max_staleness)
        together = bound == 0 or k == self.n
        rounds = self.seconds.shape[0]
        if not together:
            rounds = min(math.ceil(rounds * self.n / k), MOST_ROUNDS)
        warmup = 0 if together else math.ceil(SETTLED * self.n / k)
        fleet = _Retold(self.seconds, self.rows)
        time, stale, restarts = np.zeros((3, len(self.rows)))
        delivered = np.zeros(self.n)
        for update in range(warmup + rounds):
            done = fleet.round(k, bound)
            if update >= warmup:
                time += done.duration
                stale += done.staleness.sum(axis=1)
                restarts += done.restarted.sum(axis=1)
                delivered += done.delivered[:STARTS].sum(axis=0)
        plain = slice(0, STARTS)
        return Played(
            round_time=float(time[plain].mean()) / rounds,
            resampled=time[STARTS:] / rounds,
            mean_staleness=float(stale[plain].mean()) / (k * rounds),
            restarts=float(restarts[plain].mean()) / rounds,
            participation=delivered / (STARTS * rounds),
        )


class _Retold(Fleet):
    """A fleet whose attempts are those of a trace, in the order of the rows of each replicate."""

    def __init__(self, seconds: Array, rows: NDArray[np.int64]) -> None:
        replicates, n = len(rows), seconds.shape[1]
        self.seconds, self.rows = seconds, rows
        self.begun = np.zeros(replicates * n, dtype=np.int64)
        self.updates = 0
        self.time = np.zeros(replicates)
        self.start = np.zeros((replicates, n))
        self.finish = self._draw(np.arange(replicates * n)).reshape(replicates, n)
        self.version = np.zeros((replicates, n), dtype=np.int64)

    def _draw(self, jobs: NDArray[np.intp]) -> Array:
        replicate, worker = np.divmod(jobs, self.seconds.shape[1])
        attempt = self.begun[jobs] % self.rows.shape[1]
        self.begun[jobs] += 1
        return self.seconds[self.rows[replicate, attempt], worker]
