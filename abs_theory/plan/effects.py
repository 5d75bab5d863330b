"""What measured delays are made of: a factor of the worker, a factor of the round, a residual, and stalls."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from abs_theory.traces import Trace
from abs_theory.typing import Array

__all__ = ["Effects", "Mask", "RoundTable", "asked_per_round", "effects", "medians", "of_those_asked", "table"]

Mask = NDArray[np.bool_]

POLISH_SWEEPS = 4  # of the median polish, which moves little after two
# A stall is longer than usual by this factor, and by this many standard deviations of the residual (a convention).
STALL_FACTOR, STALL_SPREADS = 2.0, 4.0
LATER = 1e-9  # relative time after the last arrival, from which an attempt was given up later


@dataclass(frozen=True, eq=False)
class RoundTable:
    """A trace as arrays, shape ``rounds x workers``."""

    seconds: Array  # until the delivery, or until it was given up; NaN if there was no attempt
    observed: Mask  # whether it was delivered
    window: NDArray[np.int64]  # of each round
    lined_up: bool = False  # rows are the workers' attempts in order, not rounds that began together
    failed: Mask | None = None  # attempts that the server waited for in vain; None: none
    unknown: Mask | None = None  # failed attempts whose end nobody saw; None: none
    empty: int = 0  # further rounds, in which nothing arrived

    @property
    def lost(self) -> Mask:
        """Attempts that the server waited for in vain."""
        return np.zeros(self.observed.shape, dtype=bool) if self.failed is None else self.failed

    @property
    def end_unknown(self) -> Mask:
        """Lost attempts whose ``seconds`` are the last arrival of their round, for want of a better bound."""
        return np.zeros(self.observed.shape, dtype=bool) if self.unknown is None else self.unknown

    @property
    def tried(self) -> NDArray[np.int64]:
        """How many workers took part in each round."""
        return np.isfinite(self.seconds).sum(axis=1)

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


def table(trace: Trace) -> RoundTable:
    """The attempts of ``trace`` by round and worker; a retry counts from the start of the first attempt.

    If some gradients were stale, workers did not start rounds together.  Row j then has the j-th attempt of each
    worker, up to the smallest number of attempts that a worker made.
    """
    return replace(_arranged(trace), empty=len(trace.empty_rounds))


def _arranged(trace: Trace) -> RoundTable:
    attempts = trace.attempts
    if {"version_read", "version_applied"} <= set(attempts) and _any_stale(attempts[attempts["observed"]]):
        counts = np.bincount(attempts["worker"], minlength=trace.n)
        if counts.min() > 0:
            row = attempts.groupby("worker").cumcount().to_numpy()
            early = row < counts.min()
            return _by_row(row[early], attempts[early], counts.min(), trace.n, lined_up=True)
    if trace.once_each:
        row = np.cumsum(np.diff(attempts["round"], prepend=attempts["round"].iloc[0]) != 0)
        data = _by_row(row, attempts, trace.rounds, trace.n)
        data.window[row] = attempts["window"]
        return _with_lost(data, attempts, row)
    rounds, row = np.unique(attempts["round"].to_numpy(np.int64), return_inverse=True)
    given_up = ~attempts["observed"].to_numpy()
    order = np.argsort(attempts["seconds"].to_numpy()[given_up], kind="stable")  # the longest is kept
    data = _by_row(row[given_up][order], attempts[given_up].iloc[order], rounds.size, trace.n)
    data.window[row] = attempts["window"]
    cell = np.searchsorted(rounds, trace.deliveries["round"]), trace.deliveries["worker"].to_numpy()
    data.seconds[cell], data.observed[cell] = trace.deliveries["seconds"], True
    return _with_lost(data, attempts, row)


def _with_lost(data: RoundTable, attempts: pd.DataFrame, row: NDArray[np.integer]) -> RoundTable:
    """Mark the attempts that the server waited for in vain: failed, of unknown end, or given up after all arrivals."""
    given_up = ~data.observed & np.isfinite(data.seconds)
    if not given_up.any():
        return data
    last = np.where(data.observed, data.seconds, -np.inf).max(axis=1, keepdims=True)
    marks = {}
    for name in ("failed", "lost"):
        column = attempts["lost"] if name == "lost" and "lost" in attempts else None
        if name == "failed" and "status" in attempts:
            column = attempts["status"] == "failed"
        marks[name] = np.zeros(data.observed.shape, dtype=bool)
        if column is not None:
            chosen = column.to_numpy(bool)
            marks[name][row[chosen], attempts["worker"].to_numpy()[chosen]] = True
        marks[name] &= given_up
    late = given_up & (data.seconds > last * (1 + LATER))
    lost = marks["failed"] | marks["lost"] | late
    return replace(data, failed=lost, unknown=marks["lost"]) if lost.any() else data


def asked_per_round(data: RoundTable) -> int:
    """How many workers take part in a round: the largest number that at least half of the rounds have.

    If that is one, rounds are single deliveries, and all workers take part.
    """
    tried = np.sort(data.tried)
    typical = int(tried[tried.size // 2]) if tried.size else 0
    return typical if typical > 1 else data.seconds.shape[1]


def of_those_asked(data: RoundTable, asked: int) -> RoundTable:
    """The rounds in which ``asked`` workers or more took part, with a column for each of these, in their order.

    A round with fewer workers waits longer for its k-th arrival, so it is left out.  Of more workers, those count that
    took part in most rounds, if that is half of them or more; the others are drawn.  Single deliveries are kept.
    """
    tried = np.isfinite(data.seconds)
    rows = data.tried >= asked
    if tried.all() or 2 * np.count_nonzero(rows) < len(rows):
        return data
    taken = tried.sum(axis=0)
    order = np.where(2 * taken >= len(tried), taken, 0) + np.random.default_rng(0).random(tried.shape)
    rank = np.argsort(np.argsort(-np.where(tried, order, -1.0), axis=1), axis=1)
    cells = (tried & (rank < asked))[rows]
    shape = len(cells), asked
    parts = [None if mask is None else mask[rows][cells].reshape(shape) for mask in (data.failed, data.unknown)]
    seconds, observed = data.seconds[rows][cells].reshape(shape), data.observed[rows][cells].reshape(shape)
    return RoundTable(seconds, observed, data.window[rows], data.lined_up, *parts, empty=data.empty)


def _any_stale(deliveries: pd.DataFrame) -> bool:
    return bool((deliveries["version_applied"] > deliveries["version_read"]).any())


def _by_row(row: NDArray[np.integer], attempts: pd.DataFrame, rows: int, n: int, lined_up: bool = False) -> RoundTable:
    seconds, observed = np.full((rows, n), np.nan), np.zeros((rows, n), dtype=bool)
    cell = row, attempts["worker"].to_numpy()
    seconds[cell], observed[cell] = attempts["seconds"], attempts["observed"]
    return RoundTable(seconds, observed, np.zeros(rows, dtype=np.int64), lined_up)


@dataclass(frozen=True, eq=False)
class Effects:
    """seconds = worker x round x residual, by medians, so that stalls do not move the factors.

    A round in which half of the workers stall is a slow round.
    """

    worker: Array  # typical seconds of each worker in a round of factor 1; NaN if it never delivered
    round: Array  # factor of each round, median 1
    residual: Array  # shape rounds x workers, NaN where nothing was delivered
    stalled: Mask  # residual above that of a stall
    stall: float = STALL_FACTOR  # residual of a stall: STALL_FACTOR, or STALL_SPREADS standard deviations of the bulk


def effects(seconds: Array) -> Effects:
    """Factors of ``seconds``, shape ``rounds x workers``, NaN where unknown, by median polish of the logarithms.

    Source: Tukey (1977), Exploratory Data Analysis, ch. 11.
    """
    rounds, n = seconds.shape
    residual = np.log(seconds)
    worker, of_round = np.zeros(n), np.zeros(rounds)
    seen = np.isfinite(residual)
    for _ in range(POLISH_SWEEPS):
        if rounds > 1 or n == 1:
            step = medians(residual, 0, unknown=0.0)
            worker += step
            residual -= step
        if n > 1:
            step = medians(residual, 1, unknown=0.0)
            of_round += step
            residual -= step[:, None]
    level = np.median(of_round[seen.any(axis=1)])
    worker[~seen.any(axis=0)] = np.nan
    bulk = residual[seen]
    spread = 1.4826 * float(np.median(np.abs(bulk - np.median(bulk))))
    stall = max(np.log(STALL_FACTOR), STALL_SPREADS * spread)
    with np.errstate(invalid="ignore"):
        stalled = residual > stall
    return Effects(np.exp(worker + level), np.exp(of_round - level), np.exp(residual), stalled, float(np.exp(stall)))


def medians(values: Array, axis: int, unknown: float) -> Array:
    """Medians along ``axis`` of a table with NaN for what is not known; ``unknown`` where nothing is."""
    if np.isfinite(values.min()):  # faster than a median that looks for NaN
        return np.median(values, axis=axis)
    known = np.flatnonzero(np.isfinite(values).any(axis=axis))
    result = np.full(values.shape[1 - axis], unknown)
    result[known] = np.nanmedian(np.take(values, known, axis=1 - axis), axis=axis)
    return result
