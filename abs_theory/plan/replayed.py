"""A measured trace replayed under another setting: timing only, without a delay law.

Each worker's attempts last as long as they did, one after another: attempt j of worker i is row j of its column, under
every setting.  With ``max_staleness`` 0 all start together and a round lasts exactly as long as its k-th arrival did.
After the last row comes the first.
"""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from abs_theory.checks import check_k, check_max_staleness, check_rng, checked_array
from abs_theory.monte_carlo import PlayedFleet
from abs_theory.plan.intervals import resampled_rounds
from abs_theory.typing import Array

__all__ = ["Played", "TraceReplay"]


STARTS = 8  # rows to begin with, evenly spaced: a multiple of the number of resampled fleets
MOST_ROUNDS = 1000  # to be played
MOST_CELLS = 1_000_000  # of rounds x workers, sorted at a time
WARMUP_TURNS = 4  # times n / k rounds, after which the common start is forgotten


@dataclass(frozen=True, eq=False)
class Played:
    """Results of one setting per round, in seconds; ``resampled`` holds the round times of bootstrap traces."""

    round_time: float
    resampled: Array
    mean_staleness: float
    restarts: float
    participation: Array  # gradients of each worker per round

    def log_ratio(self, other: "Played") -> tuple[float, float]:
        """log(round time / other's) and its standard error, over the bootstrap traces that both have played."""
        ratios = np.log(self.resampled / other.resampled)
        return math.log(self.round_time / other.round_time), float(ratios.std(ddof=1))


class TraceReplay:
    """Plays complete rounds under any k and max_staleness, and remembers what it has played.

    ``seconds`` has the shape ``rounds x workers``, or ``fleets x rounds x workers`` for several fleets of like workers,
    which are averaged.  ``window`` is the window of each round.  The error comes from ``copies`` bootstrap traces,
    made of blocks of rounds within windows, or from those ``resampled``, shape ``copies x rounds x workers``.
    Cost for each setting: min(rounds n / k, MOST_ROUNDS) rounds of O(n (STARTS + copies)), or O(rounds (n + copies)) if
    all start together.
    """

    def __init__(
        self,
        seconds: Array,
        window: NDArray[np.int64],
        rng: np.random.Generator,
        copies: int = 32,
        resampled: Array | None = None,
    ) -> None:
        check_rng(rng)
        fleets = checked_array("seconds", seconds, positive=True)
        fleets = fleets[None] if fleets.ndim == 2 else fleets
        count, self.rounds, n = fleets.shape
        if STARTS % count:
            raise ValueError(f"the number of fleets must divide {STARTS}, got {count}")
        starts = np.linspace(0, self.rounds, STARTS, endpoint=False).astype(np.int64)
        turned = (np.arange(self.rounds) + starts[:, None]) % self.rounds
        if resampled is None:
            rows = np.concatenate([turned, resampled_rounds(fleets.mean(axis=(0, 2)), window, rng, copies)])
            fleet = np.arange(len(rows)) % count  # played by each replicate
        else:
            rows = np.concatenate([turned, np.tile(np.arange(self.rounds), (len(resampled), 1))])
            fleet = np.concatenate([np.arange(STARTS) % count, count + np.arange(len(resampled))])
            fleets = np.concatenate([fleets, resampled])
        self.seconds = fleets.reshape(-1, n)  # the fleets one below the other
        self.rows = rows + self.rounds * fleet[:, None]
        self.play = cache(self._play)

    @property
    def n(self) -> int:
        return self.seconds.shape[1]

    def _play(self, k: int, max_staleness: float | None) -> Played:
        """Waits for ``k``; workers staler than ``max_staleness`` restart (None or inf: nobody)."""
        check_k(k, self.n)
        check_max_staleness(max_staleness)
        bound = math.inf if max_staleness is None else float(max_staleness)
        if bound == 0 or k == self.n:
            return self._together(k)
        rounds = min(math.ceil(self.rounds * self.n / k), MOST_ROUNDS)
        warmup = math.ceil(WARMUP_TURNS * self.n / k)
        fleet = _MeasuredFleet(self.seconds, self.rows)
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

    def _together(self, k: int) -> Played:
        """All start each round together: it lasts as long as the k-th arrival of its row."""
        seconds = np.empty(len(self.seconds))
        delivered = np.zeros(self.n)
        size = max(1, MOST_CELLS // self.n)
        for first in range(0, seconds.size, size):
            some = self.seconds[first : first + size]
            last = np.partition(some, k - 1, axis=1)[:, k - 1]
            seconds[first : first + size] = last
            delivered += _first(some, last, k).sum(axis=0)
        time = np.array([seconds[rows].mean() for rows in self.rows])
        return Played(
            round_time=float(time[:STARTS].mean()),
            resampled=time[STARTS:],
            mean_staleness=0.0,
            restarts=float(self.n - k),
            participation=delivered / len(self.seconds),
        )


def _first(seconds: Array, last: Array, k: int) -> NDArray[np.bool_]:
    """The ``k`` that arrive first in each row, up to ``last``; of equal ones those with the lower index."""
    first = seconds <= last[:, None]
    if np.count_nonzero(first) > k * len(first):
        first[:] = False
        np.put_along_axis(first, np.argsort(seconds, axis=1, kind="stable")[:, :k], True, axis=1)
    return first


class _MeasuredFleet(PlayedFleet):
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
