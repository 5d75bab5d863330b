"""Delays that may be in another unit: of a worker, from a round on, or single ones.

A factor of about 1000 is not enough, because delays with a wide law differ by as much by chance.  It is told only where
it is also far beyond what the logarithms of the other delays let expect.
"""

import math
from typing import cast

import numpy as np
import pandas as pd
from scipy import optimize, stats

from abs_theory.traces.columns import Floats, Mask, Names, counted
from abs_theory.typing import Ints

__all__ = ["may_differ_in_unit", "units"]

UNIT_FACTOR = 10**2.5  # from which a jump may be another unit: the geometric mean of 100 and 1000
LONGEST_USUAL_S, SHORTEST_USUAL_S = 3600.0, 1e-6  # median delay; outside, the unit may be wrong
STRAY = float(stats.norm.sf(5.0))  # probability of a difference by chance; each worker and each round is looked at
OF_A_MEDIAN = math.sqrt(math.pi / 2)  # its standard error over that of a mean, of normal values
OF_NORMAL_VALUES = float(stats.norm.ppf(0.75))  # median distance from their median, in standard deviations
NEIGHBOURS, FEWEST_NEIGHBOURS = 5, 2  # rounds before and after a jump that are compared
MOST_TOLD = 3  # workers or rounds
TAIL = 0.25  # share of the delays on each side from which their tail is extrapolated
MARGIN = 3.0  # times as many as the tail lets expect are still taken as chance
TAIL_TOO_SHORT = 0.025  # probability that the tail is longer than it is taken to be
LEAST_PROBABILITY = 0.01  # of as many far delays by chance, below which they are told
LEAST_GAP = math.log(2.0)  # between usual delays, stalls among them, and those in another unit (a convention)


def units(arrived: pd.DataFrame, workers: Names) -> list[str]:
    """Sentences on factors of about 1000 between workers, between rounds and within a worker.

    ``arrived`` has the columns round, worker and seconds of the deliveries, sorted by round.

    >>> seconds = [0.9, 1000.0, 1.2, 900.0, 1.1, 1100.0]
    >>> arrived = pd.DataFrame({"round": [0, 0, 1, 1, 2, 2], "worker": [0, 1] * 3, "seconds": seconds})
    >>> print(units(arrived, ("a", "b"))[0])
    worker b takes 1e+03 s where the median worker takes 1.1 s: another unit? Nothing was rescaled, give a column unit
    """
    codes, worker = np.unique(arrived["worker"].to_numpy(), return_inverse=True)
    seconds = arrived["seconds"].to_numpy()
    logs = np.log(seconds)
    level = pd.Series(logs).groupby(worker).median().to_numpy()
    apart = _apart(logs, worker, level)
    usual = math.exp(_middle(level))
    sentences = [
        f"worker {workers[codes[place]]} takes {math.exp(level[place]):.3g} s where the median worker takes "
        f"{usual:.3g} s: another unit? Nothing was rescaled, give a column unit"
        for place in np.flatnonzero(apart)[:MOST_TOLD]
    ]
    alike = ~apart[worker]
    jumps = _jumps(logs[alike], arrived["round"].to_numpy()[alike])
    sentences += [
        f"the median of a round jumps from {before:.3g} s to {after:.3g} s at round {number}: another unit? Nothing "
        "was rescaled, give a column unit"
        for number, before, after in jumps[:MOST_TOLD]
    ]
    if not sentences:
        sentences += _single(arrived, level[worker], workers)
    median = float(np.median(seconds))
    if not SHORTEST_USUAL_S <= median <= LONGEST_USUAL_S:
        sentences.append(
            f"the median delay is {median:.3g} s: if that is not seconds, give unit=... (nothing was rescaled)"
        )
    return sentences


def may_differ_in_unit(before: Floats, after: Floats) -> bool:
    """Whether the geometric means of two samples are about 1000 times apart, and farther than their spread explains.

    >>> may_differ_in_unit(np.linspace(0.9, 1.1, 5), np.linspace(900.0, 1100.0, 5))
    True
    """
    logs = np.log(before), np.log(after)
    error = math.hypot(*(np.std(sample, ddof=1) / math.sqrt(sample.size) for sample in logs))
    return bool(abs(np.mean(logs[1]) - np.mean(logs[0])) > _least_distance(error, before.size + after.size - 2))


def _middle(values: Floats) -> float:
    """The lower median: one of two values, not a number between them, which may be far from both."""
    return float(np.sort(values)[(values.size - 1) // 2])


def _least_distance(error: float | Floats, freedom: int) -> float | Floats:
    """From which difference of log delays on another unit is told, by its standard error and degrees of freedom."""
    return np.maximum(math.log(UNIT_FACTOR), stats.t.isf(STRAY, max(freedom, 1)) * error)


def _spread(deviations: Floats) -> float:
    """Standard deviation of normal values with these deviations; outliers do not move it."""
    return float(np.median(np.abs(deviations))) / OF_NORMAL_VALUES


def _apart(logs: Floats, worker: Ints, level: Floats) -> Mask:
    """The workers whose ``level``, the median of their ``logs``, is far from that of the median worker."""
    number = np.bincount(worker)
    distance = np.abs(level - _middle(level))
    several = number[worker] > 1
    spread = _spread((logs - level[worker])[several]) if several.any() else _spread(level - np.median(level))
    error = OF_A_MEDIAN * spread / np.sqrt(number)
    return distance > _least_distance(error, logs.size - level.size)


def _jumps(logs: Floats, numbers: Ints) -> list[tuple[int, float, float]]:
    """Rounds at which the medians of rounds jump, with the medians of some rounds before and after, in seconds."""
    level = pd.Series(logs).groupby(numbers).median()
    before, after = (_of_neighbours(level).shift(1), _of_neighbours(level[::-1])[::-1])
    steps = level.diff().abs()
    spread = float(steps.median()) / (OF_NORMAL_VALUES * math.sqrt(2))
    error = OF_A_MEDIAN * spread * np.hypot(before["error"], after["error"])
    far = (after["median"] - before["median"]).abs() > _least_distance(error, len(steps) - 2)
    places = steps[far].groupby((~far).cumsum()[far]).idxmax()  # of each run of such rounds
    return [(int(at), math.exp(before["median"][at]), math.exp(after["median"][at])) for at in places]


def _of_neighbours(level: pd.Series) -> pd.DataFrame:
    """Median of each round and those just before it, and its standard error in those of a normal value."""
    rolling = level.rolling(NEIGHBOURS, min_periods=FEWEST_NEIGHBOURS)
    return pd.DataFrame({"median": rolling.median(), "error": rolling.count() ** -0.5})


def _single(arrived: pd.DataFrame, level: Floats, workers: Names) -> list[str]:
    """A sentence on the delays whose logs are farther from ``level`` than the tail of the others lets expect."""
    seconds = arrived["seconds"].to_numpy()
    deviations = np.log(seconds) - level
    far = _beyond(deviations) | _beyond(-deviations)
    if not far.any():
        return []
    place = int(far.argmax())
    first = ", first" if far.sum() > 1 else ""
    number, who = int(arrived["round"].iloc[place]), workers[int(arrived["worker"].iloc[place])]
    return [
        f"{counted(int(far.sum()), 'delay')} far off the worker's median{first}: worker {who} takes "
        f"{seconds[place]:.3g} s in round {number} and {math.exp(level[place]):.3g} s usually; stalls, or another unit"
    ]


def _beyond(side: Floats) -> Mask:
    """Which values are beyond log(UNIT_FACTOR), if they are too many or too far for an exponential tail; else none.

    The tail is that of the largest quarter.  Its mean is estimated from the values up to log(UNIT_FACTOR).  Rare stalls
    are no part of such a tail, but the longest of them are not far from the others, as values in another unit are.
    """
    limit = math.log(UNIT_FACTOR)
    is_far, none = side > limit, np.zeros(side.size, dtype=bool)
    far = np.sort(side[is_far])[::-1]
    if not far.size:
        return none
    largest = np.sort(side)[-max(1, round(TAIL * side.size)) :]
    start = float(largest[0])
    near = largest[largest <= limit] - start
    if start >= limit or near.size < 2:
        return none
    at_most = float(near.mean() + stats.t.isf(TAIL_TOO_SHORT, near.size - 1) * near.std(ddof=1) / math.sqrt(near.size))
    mean = _untruncated(at_most, limit - start)
    expected = largest.size * np.exp(-(far - start) / mean)
    chance = stats.poisson.sf(np.arange(far.size), MARGIN * expected)
    return is_far if chance.min() < LEAST_PROBABILITY and _separate(np.sort(side[side >= start]), limit) else none


def _separate(tail: Floats, limit: float) -> bool:
    """Whether the sorted ``tail`` has a gap, and the median of the values above that gap is above ``limit``."""
    above = np.flatnonzero(np.diff(tail) >= LEAST_GAP) + 1
    return any(float(np.median(tail[first:])) > limit for first in above)


def _untruncated(mean: float, end: float) -> float:
    """Mean of the exponential law whose part below ``end`` has this ``mean``; inf if none has one as large."""
    if mean >= end / 2:
        return math.inf
    least = end / 500  # smaller ones are not told apart from their truncation
    if mean <= least:
        return least
    return cast("float", optimize.brentq(lambda x: x - end / math.expm1(min(end / x, 700.0)) - mean, mean, 1e6 * end))
