"""A steady drift: delays grow, or shrink, little by little from the first round to the last, all or those of a worker.

Kendall's tau of the medians of blocks of rounds against their order (Mann 1945), so neither a law nor outliers matter.
Blocks last several correlation times, because rounds that follow one another are alike without any trend (Hamed & Rao
1998), and at least the square root of the number of rounds, because correlations that are weak but long are missed by
those times.  The size is that of a line through pairs of medians (Theil 1950, Sen 1968).

A worker is compared with the others.  The largest drifts and the changes of single workers are taken out first, because
with few workers those of one move the level of the rounds, and with it all others.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from abs_theory.plan.changes import Change
from abs_theory.plan.effects import Effects, RoundTable, medians
from abs_theory.plan.intervals import ROUNDING, correlation_time
from abs_theory.results import percent
from abs_theory.typing import Array

__all__ = ["Trend", "doubt", "stretches", "trend", "trends"]


# Of a trace without a trend; nearly so if rounds are correlated (tests/abs_theory/plan/test_trend.py).
FALSE_ALARMS = 0.01
FEWEST_BLOCKS = 6  # that a test needs
MOST_POINTS = 400  # medians of consecutive rounds that are compared in pairs
BLOCK_TIMES = 3.0  # correlation times that a block lasts
LEAST_FACTOR = 1.1  # by which the level must move over the trace to be told (a convention)
LAST_SHARE = 0.25  # of the rounds: those that a plan should rather start from
FEWEST_ROUNDS = 20  # of a stretch within which the drift is left aside
MOST_NAMED = 4  # drifts in one sentence
MOST_SEARCHES = 6  # of all workers, each after the largest drifts are taken out


@dataclass(frozen=True)
class Trend:
    """A steady drift of all delays over a trace, or of those of one worker against the others."""

    factor: float  #: level at the end over that at the start
    row: int  #: place in the table of the trace of the first of the last rounds, from which a plan should rather start
    round: int | None  #: number of that round; None: workers did not start rounds together
    worker: int | str | None = None  #: name of the worker; None: the whole fleet

    @property
    def words(self) -> str:
        """The drift in words."""
        grow = "grow" if self.factor > 1 else "shrink"
        whose = "" if self.worker is None else f" of worker {self.worker}"
        return f"delays{whose} {grow} steadily, by about {percent(abs(self.factor - 1))} over the trace"


def doubt(drifts: Sequence[Trend]) -> str:
    """What ``drifts`` of one trace mean for a plan, and what to do.

    >>> doubt([Trend(2.0, 150, 150, "gpu-c")])[:62]
    'delays of worker gpu-c grow steadily, by about 100 % over the '
    """
    told = ", ".join(drift.words for drift in drifts[:MOST_NAMED])
    more = f", and those of {len(drifts) - MOST_NAMED} more workers drift" if len(drifts) > MOST_NAMED else ""
    since = drifts[0].round
    last = "the last rounds" if since is None else f"the last rounds only: --since {since}"
    return f"{told}{more}, and more rounds do not help; plan from {last}"


def trends(
    data: RoundTable,
    parts: Effects,
    found: tuple[Change, ...],
    names: tuple[int | str, ...],
    numbers: NDArray[np.int64],
) -> tuple[Trend | None, tuple[Trend, ...]]:
    """The drift of the whole fleet, or None, and those of single workers, the largest first.

    ``found`` are the changes of the fleet and of workers; ``names`` are those of the workers and ``numbers`` those of
    the rounds.  Of two workers, each is judged by itself where their ratio drifts.  FALSE_ALARMS is the share of traces
    without a trend in which one is found for the fleet, and the share in which one is found for a worker.
    """
    logs = np.log(data.delivered / parts.worker)
    n = logs.shape[1]
    steps = [[change.row for change in found if change.worker == name] for name in names]
    apart = n > 2 or (n == 2 and _drift(logs[:, 0] - logs[:, 1], []) is not None)
    own = _of_workers(logs, steps, found, names) if apart else {}
    level = _taken_out(logs.shape, found if apart else (), names)
    for i, (_, line) in own.items():
        level[:, i] = line
    fleet = trend(data, logs - level, [change.row for change in found if change.worker is None], numbers)
    alone = tuple(
        _described(data, numbers, factor, names[i])
        for i, (factor, _) in sorted(own.items(), key=lambda item: -abs(math.log(item[1][0])))
    )
    return fleet, alone


def trend(data: RoundTable, logs: Array, steps: list[int], numbers: NDArray[np.int64]) -> Trend | None:
    """The drift of the level of the rounds; None: none is clear.

    ``logs`` are logarithms of the delays over the factors of their workers, NaN where nothing was delivered.
    ``steps`` are the rows at which a lasting change of all workers was found: levels that steps explain better than a
    line do not drift.  ``numbers`` are those of the rounds.  FALSE_ALARMS is the share of traces without a trend in
    which one is found.
    """
    found = _drift(medians(logs, 1, math.nan), steps)
    return None if found is None else _described(data, numbers, found[0])


def _described(data: RoundTable, numbers: NDArray[np.int64], factor: float, worker: int | str | None = None) -> Trend:
    rounds = len(data.seconds)
    row = rounds - max(math.ceil(LAST_SHARE * rounds), min(FEWEST_ROUNDS, rounds))
    return Trend(factor, row, None if data.lined_up else int(numbers[row]), worker)


def _taken_out(shape: tuple[int, ...], found: tuple[Change, ...], names: tuple[int | str, ...]) -> Array:
    """Logarithms of the levels of workers after their changes, over those at the start."""
    level = np.zeros(shape)
    for change in found:
        if change.worker is not None:
            level[change.row :, names.index(change.worker)] += math.log(change.after / change.before)
    return level


def _of_workers(
    logs: Array, steps: list[list[int]], found: tuple[Change, ...], names: tuple[int | str, ...]
) -> dict[int, tuple[float, Array]]:
    """Factor and line of each worker that drifts against the others; of two workers, of each that drifts by itself."""
    n = logs.shape[1]
    level = _taken_out(logs.shape, found, names)
    accepted: dict[int, tuple[float, Array]] = {}
    for _ in range(MOST_SEARCHES):
        drifts = {}
        for i in set(range(n)) - set(accepted):
            others = np.delete(logs - level, i, axis=1)
            own = logs[:, i] - (medians(others, 1, math.nan) if n > 2 else 0.0)
            drift = _drift(own, steps[i], FALSE_ALARMS / n)
            if drift is not None:
                drifts[i] = drift
        if not drifts:
            break
        largest = max(abs(math.log(factor)) for factor, _ in drifts.values())
        for i, (factor, line) in drifts.items():
            if abs(math.log(factor)) >= largest / 2:
                accepted[i] = factor, line
                level[:, i] = line
    return accepted


def _drift(levels: Array, steps: list[int], false_alarms: float = FALSE_ALARMS) -> tuple[float, Array] | None:
    """Factor from the first to the last of ``levels`` (logarithms, NaN where unknown), and the line; None: no drift."""
    at = np.flatnonzero(np.isfinite(levels))
    size = max(1, math.ceil(at.size / MOST_POINTS))
    if at.size // size < FEWEST_BLOCKS or np.ptp(levels[at]) <= ROUNDING:
        return None
    place, log = (_medians(values, size) for values in (at.astype(float), levels[at]))
    line = _line(place, log)
    if steps and _steps_are_better(place, log, line, steps):
        return None
    # a parabola, because a line would leave its bend over as a correlation
    bend = np.polynomial.Polynomial.fit(place, log, 2)
    tau = correlation_time(log - bend(place), np.zeros(log.size, dtype=np.int64))
    length = max(
        math.ceil(BLOCK_TIMES * tau) if tau > 1 else 1, min(round(math.sqrt(log.size)), log.size // FEWEST_BLOCKS)
    )
    blocks = _medians(log, length)
    if blocks.size < FEWEST_BLOCKS:
        return None
    _, chance = cast("tuple[float, float]", stats.kendalltau(np.arange(blocks.size), blocks))
    if not chance < false_alarms:
        return None
    factor = math.exp(float(line[-1] - line[0]) * (at[-1] - at[0]) / (place[-1] - place[0]))
    if max(factor, 1 / factor) < LEAST_FACTOR:
        return None
    return factor, np.interp(np.arange(levels.size), place, line - line[0])


def stretches(window: NDArray[np.int64], found: Trend) -> NDArray[np.int64]:
    """The window of each round, after all have been cut into equal parts in which the level moves by LEAST_FACTOR."""
    parts = math.ceil(abs(math.log(found.factor)) / math.log(LEAST_FACTOR))
    parts = max(1, min(parts, window.size // FEWEST_ROUNDS))
    cut = np.arange(window.size) * parts // window.size
    return np.cumsum((np.diff(window, prepend=window[:1]) != 0) | (np.diff(cut, prepend=0) != 0))


def _medians(values: Array, size: int) -> Array:
    """Medians of ``size`` consecutive values; the first ones are left out if they are no whole part."""
    whole = values[values.size % size :] if values.size >= size else values[:0]
    return np.median(whole.reshape(-1, size), axis=1)


def _line(place: Array, log: Array) -> Array:
    """Logarithms of levels on a line, or with a line of logarithms: the one that is nearer."""
    fits = [_theil_sen(place, log)]
    straight = _theil_sen(place, np.exp(log))
    if straight.min() > 0:
        fits.append(np.log(straight))
    return min(fits, key=lambda fit: float(np.abs(log - fit).mean()))


def _theil_sen(place: Array, values: Array) -> Array:
    slope, intercept, *_ = cast("tuple[float, ...]", stats.theilslopes(values, place, method="joint"))
    return np.asarray(intercept + slope * place)


def _steps_are_better(place: Array, log: Array, line: Array, steps: list[int]) -> bool:
    """Whether medians of the parts between ``steps`` explain ``log`` better than ``line`` does.

    By the Bayesian criterion of Schwarz (1978) with Laplace errors: each step has a place and a level.
    """
    parts = np.split(log, np.searchsorted(place, steps))
    left = float(np.concatenate([np.abs(part - np.median(part)) for part in parts if part.size]).mean())
    more_parameters = 2 * len(steps) - 1
    return float(np.abs(log - line).mean()) >= left * math.exp(more_parameters * math.log(log.size) / (2 * log.size))
