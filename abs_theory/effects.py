"""What measured delays are made of: a factor of the worker, one of the round, the rest, and stalls apart."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from abs_theory.traces import Trace

__all__ = ["Effects", "Table", "effects", "table"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

SWEEPS = 4  # of the median polish, which moves little after two
FACTOR, SPREADS = 2.0, 4.0  # a stall: longer than usual by this factor, and by so many standard deviations of the rest


@dataclass(frozen=True, eq=False)
class Table:
    """A trace as arrays, shape ``rounds x workers``."""

    seconds: Array  # until the delivery, or until it was given up; NaN if there was no attempt
    observed: Mask  # whether it was delivered
    window: NDArray[np.int64]  # of each round

    @property
    def delivered(self) -> Array:
        """``seconds``, NaN where nothing was delivered."""
        return np.where(self.observed, self.seconds, np.nan)

    @property
    def complete(self) -> Array:
        """Rows in which every worker delivered."""
        return self.seconds[self.observed.all(axis=1)]

    @property
    def arrivals(self) -> Array:
        """Seconds of the k-th arrival in column k - 1; NaN in rounds with fewer arrivals."""
        return np.sort(self.delivered, axis=1)


def table(trace: Trace) -> Table:
    """The attempts of ``trace`` by round and worker; what arrives after failures counts from the start of the first."""
    attempts = trace.attempts
    rounds = np.unique(attempts["round"])
    window = np.zeros(rounds.size, dtype=np.int64)
    window[np.searchsorted(rounds, attempts["round"])] = attempts["window"]
    seconds, observed = np.full((rounds.size, trace.n), np.nan), np.zeros((rounds.size, trace.n), dtype=bool)
    given_up = attempts[~attempts["observed"]].sort_values("seconds", kind="stable")  # the longest is kept
    seconds[np.searchsorted(rounds, given_up["round"]), given_up["worker"].to_numpy()] = given_up["seconds"]
    cell = np.searchsorted(rounds, trace.deliveries["round"]), trace.deliveries["worker"].to_numpy()
    seconds[cell], observed[cell] = trace.deliveries["seconds"], True
    return Table(seconds, observed, window)


@dataclass(frozen=True, eq=False)
class Effects:
    """seconds = worker x round x rest, by medians, so that stalls do not move the factors."""

    worker: Array  # typical seconds of each worker in a round of factor 1; NaN if it never delivered
    round: Array  # factor of each round, median 1
    rest: Array  # shape rounds x workers, NaN where nothing was delivered
    stalled: Mask  # rest above FACTOR and beyond SPREADS standard deviations of its bulk


def effects(seconds: Array) -> Effects:
    """Factors of ``seconds``, shape ``rounds x workers``, NaN where unknown, by median polish of the logarithms.

    Source: Tukey (1977), Exploratory Data Analysis, ch. 11.
    """
    rounds, n = seconds.shape
    rest = np.log(seconds)
    worker, of_round = np.zeros(n), np.zeros(rounds)
    seen = np.isfinite(rest)
    columns, rows = np.flatnonzero(seen.any(axis=0)), np.flatnonzero(seen.any(axis=1))
    for _ in range(SWEEPS):
        if rounds > 1 or n == 1:
            step = _median(rest, 0, columns)
            worker += step
            rest -= step
        if n > 1:
            step = _median(rest, 1, rows)
            of_round += step
            rest -= step[:, None]
    level = np.median(of_round[rows])
    worker[~seen.any(axis=0)] = np.nan
    bulk = rest[seen]
    spread = 1.4826 * float(np.median(np.abs(bulk - np.median(bulk))))
    with np.errstate(invalid="ignore"):
        stalled = rest > max(np.log(FACTOR), SPREADS * spread)
    return Effects(np.exp(worker + level), np.exp(of_round - level), np.exp(rest), stalled)


def _median(values: Array, axis: int, some: NDArray[np.intp]) -> Array:
    """Medians along ``axis``; 0 but for ``some``, which have a value."""
    medians = np.zeros(values.shape[1 - axis])
    medians[some] = np.nanmedian(np.take(values, some, axis=1 - axis), axis=axis)
    return medians
