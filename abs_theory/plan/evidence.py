"""What a trace says about rounds of n workers: gathered once, then handed to every step of a plan."""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from abs_theory.checks import MAX_WORKERS, check_count
from abs_theory.plan.changes import Change, changes, windows_between
from abs_theory.plan.completion import Completed, complete, complete_restarted
from abs_theory.plan.diagnosis import Diagnosis, diagnose, stall_shares
from abs_theory.plan.effects import Effects, RoundTable, asked_per_round, effects, of_those_asked, table
from abs_theory.plan.fleet_model import resized
from abs_theory.plan.trend import Trend, stretches, trends
from abs_theory.traces import Trace
from abs_theory.typing import Array

__all__ = ["COPIES", "Evidence", "gather"]

COPIES = 400  # bootstrap traces


@dataclass(frozen=True, eq=False)
class Evidence:
    """A trace as arrays, and the rounds of ``n`` workers that it stands for; seconds."""

    n: int  #: workers that the plan is for
    trace: Trace  #: as it was read
    measured: RoundTable  #: the trace, shape rounds x workers of the trace
    effects: Effects  #: factors of its workers and rounds
    diagnosis: Diagnosis  #: what the variance of its delays comes from
    changes: tuple[Change, ...]  #: when the level of the fleet or of a worker changed; windows end there
    trend: Trend | None  #: a steady drift, instead of changes of the fleet; windows are stretches with little of it
    worker_trends: tuple[Trend, ...]  #: those of single workers, instead of their changes, the largest first
    #: complete rounds of n workers, shape fleets x rounds x n: one fleet, that of the trace, or several resampled ones
    fleets: Array
    fleet_window: NDArray[np.int64]  #: window of each complete round
    taking_part: RoundTable  #: rounds of the trace with a column for each worker that took part, as many in each
    rounds: RoundTable  #: rounds of n workers: those of the trace, or the mean k-th arrivals over the resampled fleets
    round_effects: Effects  #: factors of those rounds
    completed: Completed  #: those rounds with the calls that were lost

    @property
    def asked(self) -> int:
        """Workers that take part in a round: all, or as many as were asked in each."""
        return asked_per_round(self.measured)

    @property
    def drifts(self) -> tuple[Trend, ...]:
        """The drift of the fleet first, then those of workers."""
        return self.worker_trends if self.trend is None else (self.trend, *self.worker_trends)


def gather(trace: Trace, n: int | None, rng: np.random.Generator) -> Evidence:
    """The evidence of ``trace`` for a plan of ``n`` workers (None: those that took part in a round).

    For another n, ``rng`` draws the fleets once.  Everything later is computed from them, so the chosen and the
    replayed round time are those of the same fleets.
    Raises ValueError unless two attempts were delivered; for another n, unless two rounds are complete.
    """
    if n is not None:
        check_count("n", n, maximum=MAX_WORKERS)
    measured = table(trace)
    asked = asked_per_round(measured)
    n = asked if n is None else n
    if np.count_nonzero(measured.observed) < 2:
        delivered, attempts = np.count_nonzero(measured.observed), len(trace.attempts)
        raise ValueError(
            f"a plan needs at least 2 delivered attempts, the trace has {delivered} of {attempts} attempts"
        )
    if measured.lined_up and not measured.observed.all():
        return _with_restarts(trace, measured, n, rng)
    factors = effects(measured.delivered)
    numbers = np.unique(trace.attempts["round"].to_numpy(np.int64))
    numbers = np.arange(len(measured.seconds)) if measured.lined_up else numbers
    found, drift, alone, window = _over_time(measured, factors, trace.workers, numbers)
    measured = replace(measured, window=window)
    diagnosis = replace(diagnose(measured, factors), trend=drift)
    rounds = of_those_asked(measured, asked)
    of_rounds = factors if rounds is measured else effects(rounds.delivered)
    completed = complete(rounds, of_rounds, rng)
    whole = np.isfinite(completed.copies[0]).all(axis=1)
    fleets, window = completed.copies[:, whole], rounds.window[whole]
    start = n, trace, measured, factors, diagnosis, found, drift, alone
    taking_part = rounds
    if n == asked:
        return Evidence(*start, fleets, window, taking_part, rounds, of_rounds, completed)
    if fleets.shape[1] < 2:
        raise ValueError(
            f"to plan for n={n} workers, not the {asked} of the trace, takes two rounds in which all "
            f"delivered, got {fleets.shape[1]}"
        )
    if len(fleets) == 1:
        fleets = resized(fleets[0], effects(fleets[0]), n, rng)
    else:
        fleets = np.stack([resized(fleet, effects(fleet), n, rng)[0] for fleet in fleets])
    arrivals = np.sort(fleets, axis=2).mean(axis=0)
    rounds = RoundTable(arrivals, np.ones(arrivals.shape, dtype=bool), window, empty=measured.empty)
    like = effects(fleets[0])
    completed = complete(rounds, like, rng)
    return Evidence(*start, fleets, window, taking_part, rounds, like, completed)


def _over_time(
    data: RoundTable, parts: Effects, names: tuple[int | str, ...], numbers: NDArray[np.int64]
) -> tuple[tuple[Change, ...], Trend | None, tuple[Trend, ...], NDArray[np.int64]]:
    """Lasting changes, steady drifts, which take the place of changes of the same, and windows without either."""
    found = changes(data, parts, names, numbers)
    fleet, alone = trends(data, parts, found, names, numbers)
    drifts = alone if fleet is None else (fleet, *alone)
    found = tuple(change for change in found if change.worker not in {drift.worker for drift in drifts})
    window = windows_between(data.window, found)
    if drifts:
        window = stretches(window, max(drifts, key=lambda drift: abs(math.log(drift.factor))))
    return found, fleet, alone, window


def _with_restarts(trace: Trace, measured: RoundTable, n: int, rng: np.random.Generator) -> Evidence:
    """The evidence of workers that did not start together, and some of whose tasks were restarted.

    Rows without a restart are fast ones, so they are no sample.  All rows count, with the time that a restarted task
    would have taken drawn from the law of Kaplan and Meier.
    """
    restarted = complete_restarted(measured, rng)
    late = restarted.late
    drawn = replace(measured, seconds=late[0], observed=np.ones(late[0].shape, dtype=bool))
    factors = effects(late[0])
    found, drift, alone, window = _over_time(drawn, factors, trace.workers, np.arange(len(late[0])))
    measured, drawn = replace(measured, window=window), replace(drawn, window=window)
    known, perhaps = stall_shares(measured, factors)
    whole = int(measured.observed.all(axis=1).sum())
    diagnosis = replace(
        diagnose(drawn, factors), complete=whole, known_stalls=known, perhaps_stalls=perhaps, trend=drift
    )
    completed = replace(restarted, data=measured).completed(n, factors, COPIES, rng)
    of_rounds = factors
    if n != late.shape[2]:
        late = completed.copies
        of_rounds = effects(late[0])
        drawn = RoundTable(late[0], np.ones(late[0].shape, dtype=bool), window, lined_up=True, empty=measured.empty)
    if completed.open_tail:
        diagnosis = replace(diagnosis, tail_index=float("nan"))
    start = n, trace, measured, factors, diagnosis, found, drift, alone
    return Evidence(*start, late, window, measured, drawn, of_rounds, completed)
