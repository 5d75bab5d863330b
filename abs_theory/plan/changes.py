"""Change points: rounds from which on the fleet or a worker takes longer, or less long, for good or for a while.

Normal scores of the ranks of log delays are split at least squares (Killick, Fearnhead & Eckley 2012, PELT, of the
package ruptures); then the split that explains least is taken back until each is beyond what correlated rounds do by
chance.  The round effect is removed before workers are searched, and the worker effect before rounds are.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from abs_theory.plan.effects import Effects, RoundTable, medians
from abs_theory.plan.intervals import correlation_time
from abs_theory.typing import Array

__all__ = ["Change", "changes", "windows_between"]


# Between two changes, and between a change and an end of the trace: a third of it within these limits.  Shorter levels
# are spells of stalls or of slow rounds.
FEWEST_ROUNDS, ENOUGH_ROUNDS = 8, 20
MOST_BINS = 400  # of consecutive rounds, whose medians are searched; the round is then found within two bins
PENALTY = (
    2.0  # for each change, times the logarithm of the number of bins: many candidates, most of which are taken back
)
FALSE_ALARMS = 0.01  # of a stationary trace, by a Bonferroni bound over bins and workers
MOST_SEARCHES = 6  # of all workers, each after the largest changes are taken out
LEAST_FACTOR = 1.1  # by which a level must change to be told (a convention)


@dataclass(frozen=True)
class Change:
    """A lasting change of the typical delay, of all workers or of one."""

    worker: int | str | None  #: name of the worker; None: the whole fleet
    round: int  #: number in the trace of the first round of the new level
    row: int  #: place of this round in the table of the trace
    before: float  #: typical seconds before it
    after: float  #: typical seconds from it on


def changes(
    data: RoundTable, parts: Effects, names: tuple[int | str, ...], numbers: NDArray[np.int64]
) -> tuple[Change, ...]:
    """Changes of the level of the fleet and of single workers, by row; ``numbers`` are those of the rounds.

    With two workers, the factor of a round cannot be told from that of a worker: both are searched by themselves, and
    the fleet changes where both do.  FALSE_ALARMS bounds the share of stationary traces in which anything is found.
    """
    seconds = data.delivered
    n = seconds.shape[1]
    if n <= 2:
        own = [_rows(np.log(column), n) for column in seconds.T]
        fleet = [row for row in own[0] if any(abs(row - other) < FEWEST_ROUNDS for other in own[-1])]
        own = [[row for row in rows if all(abs(row - both) >= FEWEST_ROUNDS for both in fleet)] for rows in own]
        of_rounds, of_workers = medians(seconds, 1, math.nan), seconds
    else:
        own, of_rounds = _of_workers(seconds, parts)
        of_workers = seconds / of_rounds[:, None]
        fleet = _rows(np.log(of_rounds), n + 1)
        of_rounds = of_rounds * np.nanmedian(parts.worker)
    series = [(None, of_rounds, fleet), *zip(names, of_workers.T, own, strict=True)]
    told = [change for name, values, rows in series for change in _told(name, values, rows, numbers)]
    return tuple(sorted(told, key=lambda change: change.row))


def _of_workers(seconds: Array, parts: Effects) -> tuple[list[list[int]], Array]:
    """Rows at which each of three or more workers changes, and the factors of the rounds without these changes.

    With few workers, a change of one moves the factors of the rounds, and with them all others.  The largest changes
    are taken out first, and the others searched again.
    """
    n = seconds.shape[1]
    level = np.broadcast_to(parts.worker, seconds.shape).copy()
    accepted: list[list[int]] = [[] for _ in range(n)]
    of_rounds = parts.round
    for _ in range(MOST_SEARCHES):
        of_rounds = np.exp(medians(np.log(seconds / level), 1, math.nan))
        own = seconds / of_rounds[:, None]
        found = [accepted[i] or _rows(np.log(column), n + 1) for i, column in enumerate(own.T)]
        factors = np.array([0.0 if accepted[i] else _largest(own[:, i], found[i]) for i in range(n)])
        if factors.max() <= math.log(LEAST_FACTOR):
            break
        for i in np.flatnonzero(factors >= factors.max() / 2):
            accepted[i] = found[i]
            for part, values in zip(
                np.split(np.arange(len(own)), found[i]), np.split(own[:, i], found[i]), strict=True
            ):
                level[part, i] = np.nanmedian(values)
    return accepted, of_rounds


def _largest(values: Array, rows: list[int]) -> float:
    """The largest change of the logarithm of the typical value at ``rows``."""
    if not rows:
        return 0.0
    levels = np.log([np.nanmedian(part) for part in np.split(values, rows)])
    return float(np.abs(np.diff(levels)).max(initial=0.0))


def windows_between(window: NDArray[np.int64], changes: tuple[Change, ...]) -> NDArray[np.int64]:
    """The windows of the rounds, also cut at the changes: within each, nothing is known to change."""
    begins = np.diff(window, prepend=window[:1]) != 0
    begins[[change.row for change in changes]] = True
    return np.cumsum(begins)


def _told(name: int | str | None, values: Array, rows: list[int], numbers: NDArray[np.int64]) -> list[Change]:
    """The changes of one series at ``rows``, with typical values; small ones are left out."""
    if not rows:  # and perhaps nothing was delivered
        return []
    levels = [float(np.nanmedian(part)) for part in np.split(values, rows)]
    return [
        Change(name, int(numbers[row]), row, before, after)
        for row, before, after in zip(rows, levels, levels[1:], strict=False)
        if max(before / after, after / before) >= LEAST_FACTOR
    ]


def _rows(values: Array, searched: int) -> list[int]:
    """Rows at which a new level of ``values`` (logarithms, NaN where unknown) begins; ``searched`` series in all."""
    at = np.flatnonzero(np.isfinite(values))
    known = values[at]
    size = max(1, math.ceil(known.size / MOST_BINS))
    bins = known[: known.size // size * size].reshape(-1, size)
    fewest = math.ceil(min(max(known.size // 3, FEWEST_ROUNDS), ENOUGH_ROUNDS) / size)
    if len(bins) < 2 * fewest or np.ptp(known) == 0:
        return []
    scores = _normal_scores(np.median(bins, axis=1))
    splits = _significant(scores, _candidates(scores, max(fewest, FEWEST_ROUNDS)), searched)
    return [int(at[_exact(known, split * size, size)]) for split in splits]


def _normal_scores(values: Array) -> Array:
    return np.asarray(stats.norm.ppf((stats.rankdata(values) - 0.5) / values.size))


def _candidates(scores: Array, fewest: int) -> list[int]:
    """Splits at least squares with a penalty for each: PELT, compiled."""
    import ruptures  # slow to import, and seldom needed

    search = ruptures.KernelCPD(kernel="linear", min_size=fewest)
    search.fit(scores[:, None])
    ends = search.predict(pen=PENALTY * math.log(scores.size)) or []
    return [int(end) for end in ends[:-1]]


def _significant(scores: Array, splits: list[int], searched: int) -> list[int]:
    """The splits with lasting levels that differ by more than correlated rounds do by chance."""
    chance = FALSE_ALARMS / 2 / (scores.size * searched)
    while splits:
        segment = np.zeros(scores.size, dtype=np.int64)
        segment[splits] = 1
        segment = np.cumsum(segment)
        sizes = np.bincount(segment)
        means = np.bincount(segment, scores) / sizes
        residual = scores - means[segment]
        tau = correlation_time(scores, segment)
        variance = tau * float(residual @ residual) / (scores.size - sizes.size)
        least = float(stats.t.isf(chance, max(scores.size / tau - sizes.size, 1)))
        errors = np.sqrt(variance * (1 / sizes[1:] + 1 / sizes[:-1]))
        strength = np.where(_lasting(scores, splits), np.abs(np.diff(means)) / np.maximum(errors, 1e-12), 0.0)
        weakest = int(np.argmin(strength))
        if strength[weakest] >= least:
            break
        splits = [split for i, split in enumerate(splits) if i != weakest]
    return splits


def _lasting(scores: Array, splits: list[int]) -> NDArray[np.bool_]:
    """Whether all quarters of both levels are on their side of the middle: a spell within a level is not a level."""
    levels = np.split(scores, splits)
    medians = np.array([np.median(level) for level in levels])
    middle = (medians[1:] + medians[:-1]) / 2
    up = np.sign(np.diff(medians))
    quarters = np.array([[np.median(part) for part in np.array_split(level, 4)] for level in levels])
    after, before = ((part - middle[:, None]) * up[:, None] for part in (quarters[1:], quarters[:-1]))
    return np.asarray((after > 0).all(axis=1) & (before < 0).all(axis=1))


def _exact(values: Array, split: int, size: int) -> int:
    """The place within two bins of ``split`` with most values on their side of the mean of both levels."""
    if size == 1:
        return split
    low, high = max(split - 2 * size, 0), min(split + 2 * size, values.size)
    before, after = np.median(values[max(low - 4 * size, 0) : low]), np.median(values[high : high + 4 * size])
    is_new = np.where(values[low:high] > (before + after) / 2, 1.0, -1.0) * np.sign(after - before)
    return low + int(np.argmax(np.cumsum(np.append(0.0, -is_new))))
