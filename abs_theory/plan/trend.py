"""A steady drift: all delays grow, or shrink, little by little from the first round to the last.

Kendall's tau of the medians of blocks of rounds against their order (Mann 1945), so neither a law nor outliers matter.
Blocks last several correlation times, because rounds that follow one another are alike without any trend (Hamed & Rao
1998), and at least the square root of the number of rounds, because correlations that are weak but long are missed by
those times.  The size is that of a line through pairs of medians (Theil 1950, Sen 1968).
"""

import math
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from abs_theory.plan.effects import Effects, RoundTable, medians
from abs_theory.plan.intervals import ROUNDING, correlation_time
from abs_theory.results import percent
from abs_theory.typing import Array

__all__ = ["Trend", "stretches", "trend"]


# Of a trace without a trend; nearly so if rounds are correlated (tests/abs_theory/plan/test_trend.py).
FALSE_ALARMS = 0.01
FEWEST_BLOCKS = 6  # that a test needs
MOST_POINTS = 400  # medians of consecutive rounds that are compared in pairs
BLOCK_TIMES = 3.0  # correlation times that a block lasts
LEAST_FACTOR = 1.1  # by which the level must move over the trace to be told (a convention)
LAST_SHARE = 0.25  # of the rounds: those that a plan should rather start from
FEWEST_ROUNDS = 20  # of a stretch within which the drift is left aside


@dataclass(frozen=True)
class Trend:
    """A steady drift of all delays over a trace."""

    factor: float  #: level at the end over that at the start
    row: int  #: place in the table of the trace of the first of the last rounds, from which a plan should rather start
    round: int | None  #: number of that round; None: workers did not start rounds together

    @property
    def words(self) -> str:
        """The drift in words."""
        grow = "grow" if self.factor > 1 else "shrink"
        return f"delays {grow} steadily, by about {percent(abs(self.factor - 1))} over the trace"

    @property
    def doubt(self) -> str:
        """What it means for a plan, and what to do."""
        last = "the last rounds" if self.round is None else f"the last rounds only: --since {self.round}"
        return f"{self.words}, and more rounds do not help; plan from {last}"


def trend(data: RoundTable, parts: Effects, steps: list[int], numbers: NDArray[np.int64]) -> Trend | None:
    """The drift of the level of the rounds; None: none is clear.

    ``steps`` are the rows at which a lasting change of all workers was found: levels that steps explain better than a
    line do not drift.  ``numbers`` are those of the rounds.  FALSE_ALARMS is the share of traces without a trend in
    which one is found.
    """
    levels = medians(np.log(data.delivered / parts.worker), 1, math.nan)
    at = np.flatnonzero(np.isfinite(levels))
    size = max(1, math.ceil(at.size / MOST_POINTS))
    if at.size // size < FEWEST_BLOCKS or np.ptp(levels[at]) <= ROUNDING:
        return None
    place, log = (_medians(values, size) for values in (at.astype(float), levels[at]))
    line = _line(place, log)
    if steps and np.abs(log - line).mean() >= _left_by_steps(place, log, steps):
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
    if not chance < FALSE_ALARMS:
        return None
    factor = math.exp(float(line[-1] - line[0]) * (at[-1] - at[0]) / (place[-1] - place[0]))
    if max(factor, 1 / factor) < LEAST_FACTOR:
        return None
    row = len(levels) - max(math.ceil(LAST_SHARE * len(levels)), min(FEWEST_ROUNDS, len(levels)))
    return Trend(factor, row, None if data.lined_up else int(numbers[row]))


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


def _left_by_steps(place: Array, log: Array, steps: list[int]) -> float:
    """Mean absolute deviation from the medians of the parts between ``steps``."""
    parts = np.split(log, np.searchsorted(place, steps))
    return float(np.concatenate([np.abs(part - np.median(part)) for part in parts if part.size]).mean())
