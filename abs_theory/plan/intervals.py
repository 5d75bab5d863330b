"""Confidence intervals for the means of correlated, skewed, windowed rounds: a studentised block bootstrap.

Rounds of a trace are not independent: slow spells last several rounds, and whole windows differ in level.  Blocks of
consecutive rounds within a window are resampled, not rounds, and the mean is studentised, which corrects for skewness
(Hall 1992, The Bootstrap and Edgeworth Expansion, ch. 3; Politis & Romano 1994 on blocks).  Where too few rounds
determine the mean, there is no interval: NaN, with the number of rounds that an interval would need.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from abs_theory.checks import check_rng
from abs_theory.typing import Array, Ints

__all__ = [
    "FEWEST",
    "FEWEST_BLOCKS",
    "Means",
    "block_averages",
    "correlation_time",
    "drawn_blocks",
    "level_shift",
    "resampled_means",
    "resampled_rounds",
    "row_blocks",
]


# Chosen so that the intervals hold their level in the regimes of ``arrivals``.
FEWEST = 10  # independent rounds that an interval needs, if the rounds are not skewed
FEWEST_SPELLS = 20  # correlation times that an interval needs, if rounds are correlated
ROUNDS_PER_SQUARED_SKEWNESS = 8.0  # needed for each unit of squared skewness: about this many rare events seen
FEWEST_BLOCKS = 4
RESAMPLES = 1999
MOST_BLOCKS = 200
ALPHA = 0.05
ROUNDING = 1e-12  # relative spread below which values are taken as equal
SIGNIFICANT_ERRORS = 1.5  # standard errors above which an autocorrelation counts


@dataclass(frozen=True, eq=False)
class Means:
    """Column means with 95 % intervals, shape ``columns`` each; low and high are NaN where not identified."""

    mean: Array
    stderr: Array
    low: Array
    high: Array
    needed: Array  # rounds that an interval would need, by the skewness and correlation seen
    rounds: Array  # rounds the mean is over

    @property
    def identified(self) -> NDArray[np.bool_]:
        return np.isfinite(self.low)


def resampled_means(values: Array, window: Ints, rng: np.random.Generator) -> Means:
    """Means of the columns of ``values``, shape ``rounds x columns``; NaN is a round that does not count.

    ``window`` is the stretch that each round belongs to.  Not identified: fewer than FEWEST rounds after division by
    the correlation time, or fewer than ROUNDS_PER_SQUARED_SKEWNESS times the squared skewness (few stalls).
    Cost: O(RESAMPLES x blocks) per column.
    """
    check_rng(rng)
    known = np.isfinite(values)
    patterns = [bits.tobytes() for bits in np.packbits(known.T, axis=1)]  # columns known in the same rounds
    result = Means(*np.full((5, values.shape[1]), math.nan), rounds=known.sum(axis=0).astype(float))
    result.needed[:] = FEWEST
    for bits in sorted(set(patterns)):
        columns = np.array([j for j, own in enumerate(patterns) if own == bits])
        pattern = known[:, columns[0]]
        if np.count_nonzero(pattern) >= 2:
            x = values if known.all() else values[np.ix_(pattern, columns)]
            _fill(result, columns, x, window[pattern], rng)
        elif pattern.any():
            result.mean[columns] = values[pattern][0, columns]
    return result


def _fill(result: Means, columns: NDArray[np.intp], x: Array, window: Ints, rng: np.random.Generator) -> None:
    """Fill in means and intervals of ``columns``, which are known in the same rounds ``x``."""
    rounds = x.shape[0]
    level = x.mean(axis=0)
    deviation, skewness, tau = np.zeros((3, level.size))
    for j in range(level.size):
        column = np.ascontiguousarray(x[:, j])
        spread = column - level[j]
        deviation[j] = spread.std()
        if deviation[j] <= ROUNDING * abs(level[j]):
            deviation[j] = 0.0
        else:
            skewness[j] = (spread * spread * spread).mean() / deviation[j] ** 3
        tau[j] = correlation_time(column, window)
    needed = np.ceil(
        tau * np.maximum(np.where(tau > 1, FEWEST_SPELLS, FEWEST), ROUNDS_PER_SQUARED_SKEWNESS * skewness**2)
    )
    result.mean[columns], result.needed[columns] = level, needed
    lengths = np.array([_block_length(rounds, time) for time in tau])
    for length in np.unique(lengths):
        same = lengths == length
        chosen = x if same.all() else x[:, same]
        stderr, low, high = _blocks(chosen, window, int(length), tau[same], deviation[same] == 0, rng)
        fine = rounds >= needed[same]
        result.stderr[columns[same]] = stderr
        result.low[columns[same]] = np.where(fine, low, math.nan)
        result.high[columns[same]] = np.where(fine, high, math.nan)


def _blocks(
    x: Array, window: Ints, length: int, tau: Array, flat: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[Array, Array, Array]:
    """Standard error, low and high end by the studentised bootstrap of blocks; NaN if there are too few."""
    level = x.mean(axis=0)
    block = row_blocks(window, length)
    size = np.bincount(block).astype(float)
    m, lost = size.size, 1  # blocks; degrees of freedom used by their means
    sums = np.stack([np.bincount(block, x[:, j] - level[j]) for j in range(level.size)], axis=1) / size.mean()
    if m >= 2 * np.unique(window).size and level_shift(x.mean(axis=1), window):
        # windows are fixed, not a sample of windows: their levels are subtracted
        of_block = np.zeros(m, dtype=np.int64)
        of_block[block] = np.unique(window, return_inverse=True)[1]
        totals = np.stack([np.bincount(of_block, column) for column in sums.T], axis=1)
        sums = sums - size[:, None] * (totals / np.bincount(of_block, size)[:, None])[of_block]
        lost = totals.shape[0]
    if m < FEWEST_BLOCKS or m <= lost:
        nothing = np.full(level.shape, math.nan)
        return nothing, nothing, nothing
    phi = (tau - 1) / (tau + 1)  # of an autoregression with this correlation time, whose blocks are correlated too
    missed = np.minimum(2 * phi / (1 - phi**2) * m / x.shape[0], 0.5)
    stderr = np.sqrt((sums**2).sum(axis=0) / (m - lost) / m / (1 - missed))
    stderr[flat] = 0.0
    draws = rng.multinomial(m, np.full(m, 1 / m), size=RESAMPLES).astype(float)
    mean = draws @ sums / m
    variance = np.maximum(draws @ sums**2 / m - mean**2, 0) / (m - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(flat | (mean == 0), 0.0, mean / np.sqrt(variance))
    low, high = np.quantile(t, [ALPHA / 2, 1 - ALPHA / 2], axis=0, method="nearest")
    low, high = level - np.where(flat, 0.0, high) * stderr, level - np.where(flat, 0.0, low) * stderr
    return stderr, np.where(np.isfinite(low), low, math.nan), np.where(np.isfinite(high), high, math.nan)


def correlation_time(values: Array, window: Ints) -> float:
    """1 + 2 sum of the autocorrelations within windows, up to the first that is not significant; in rounds.

    The mean of R rounds is as uncertain as that of R / correlation_time independent ones.  Levels of windows are
    subtracted first, because a jump between windows is not a correlation of rounds.
    """
    x = values - _levels(values, window)
    one_window = bool(np.all(window == window[0]))
    variance, total = float(x @ x) / x.size, 1.0
    if variance <= (ROUNDING * abs(float(values.mean()))) ** 2:
        return total
    for lag in range(1, x.size // 3 + 1):
        products = x[lag:] * x[:-lag]
        if not one_window:
            products = products[window[lag:] == window[:-lag]]
        pairs = products.size
        if pairs < FEWEST:
            break
        correlation = float(products.mean()) / variance
        correlation += (1 + 3 * correlation) / x.size  # bias of the estimate (Kendall 1954)
        if correlation < SIGNIFICANT_ERRORS / math.sqrt(pairs):
            break
        total += 2 * correlation
    return total


def level_shift(values: Array, window: Ints, significance: float = 1e-3) -> bool:
    """Whether the windows differ in level by more than correlated rounds explain (one-way analysis of variance)."""
    labels = np.unique(window)
    if labels.size < 2 or values.size <= 2 * labels.size:
        return False
    residual = values - _levels(values, window)
    within = float(residual @ residual) / (values.size - labels.size)
    between = float(((_levels(values, window) - values.mean()) ** 2).sum()) / (labels.size - 1)
    if within <= (ROUNDING * abs(float(values.mean()))) ** 2:
        return between > within
    tau = correlation_time(values, window)
    free = (values.size - labels.size) / tau
    return free >= 1 and bool(stats.f.sf(between / (within * tau), labels.size - 1, free) < significance)


def row_blocks(window: Ints, length: int) -> Ints:
    """The block of each round: about ``length`` consecutive rounds of one window."""
    block, blocks = np.empty(window.size, dtype=np.int64), 0
    for label in np.unique(window):
        rows = np.flatnonzero(window == label)
        count = max(1, round(rows.size / length))
        block[rows] = blocks + np.arange(rows.size) * count // rows.size
        blocks += count
    return block


def resampled_rounds(values: Array, window: Ints, rng: np.random.Generator, copies: int) -> Ints:
    """Rows of ``copies`` bootstrap traces, shape ``copies x rounds``: blocks drawn within windows, in their order.

    The length of blocks follows from the correlation of ``values``, one per round.
    """
    block = row_blocks(window, _block_length(values.size, correlation_time(values, window)))
    rows = np.empty((copies, values.size), dtype=np.int64)
    of_block = [np.flatnonzero(block == b) for b in range(block.max() + 1)]
    groups = [np.unique(block[window == label]) for label in np.unique(window)]
    if not level_shift(values, window):
        groups = [np.arange(len(of_block))]
    for copy in rows:
        drawn = np.concatenate([rng.choice(group, group.size) for group in groups])
        picked = np.concatenate([of_block[b] for b in drawn])
        copy[:] = np.resize(picked, values.size)
    return rows


def block_averages(values: Array, window: Ints, rng: np.random.Generator, copies: int) -> Array | None:
    """Column means of ``copies`` bootstrap traces of blocks, shape ``copies x columns``; NaN where no round counts.

    Their spread is that of the mean, also with few blocks; None with fewer than FEWEST_BLOCKS.
    """
    known = np.isfinite(values)
    filled = np.where(known, values, 0.0)
    mean = filled.sum(axis=0) / np.where(known.any(axis=0), known.sum(axis=0), np.nan)
    of_rounds = np.where(known, filled / mean, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    drawn = drawn_blocks(of_rounds, window, rng, copies)
    if drawn is None:
        return None
    block, draws, few_blocks = drawn
    sums, sizes = (
        np.stack([np.bincount(block, x, draws.shape[1]) for x in part.T], axis=1) for part in (filled, 1.0 * known)
    )
    seen = draws @ sizes
    ratio = np.where(seen > 0, draws @ sums / np.where(seen > 0, seen, 1.0), mean) / mean
    return mean * ratio**few_blocks


def drawn_blocks(
    levels: Array, window: Ints, rng: np.random.Generator, copies: int
) -> tuple[Ints, Array, float] | None:
    """The block of each round, and how often each block is in each of ``copies`` bootstrap traces.

    The length of blocks follows from the correlation of ``levels``, one per round.  Third, the power that widens ratios
    of their means as much as few blocks ask for.  None with fewer than FEWEST_BLOCKS.
    """
    block = row_blocks(window, _block_length(len(levels), correlation_time(levels, window)))
    count = int(block.max()) + 1
    groups = [np.arange(count)]
    if level_shift(levels, window):
        groups = [np.unique(block[window == label]) for label in np.unique(window)]
    if count < FEWEST_BLOCKS or count <= len(groups):
        return None
    draws = np.zeros((copies, count))
    for group in groups:
        draws[:, group] = rng.multinomial(group.size, np.full(group.size, 1 / group.size), size=copies)
    return block, draws, math.sqrt(count / (count - len(groups)))


def _block_length(rounds: int, tau: float) -> int:
    """Three correlation times, but at least R^(1/3) rounds, and at most MOST_BLOCKS blocks."""
    correlated = math.ceil(3 * tau) if tau > 1 else 1
    return max(round(rounds ** (1 / 3)), correlated, math.ceil(rounds / MOST_BLOCKS))


def _levels(values: Array, window: Ints) -> Array:
    if np.all(window == window[0]):
        return np.full(values.shape, values.mean())
    steps = np.diff(window, prepend=window[:1])
    group = np.cumsum(steps != 0) if steps.min(initial=0) >= 0 else np.unique(window, return_inverse=True)[1]
    return (np.bincount(group, values) / np.bincount(group))[group]
