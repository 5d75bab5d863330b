"""Which regime measured delays are in, in words: unequal workers, common slowdowns, rare stalls or almost i.i.d."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from abs_theory.plan.effects import Effects, RoundTable, effects
from abs_theory.plan.intervals import FEWEST_BLOCKS, correlation_time, level_shift
from abs_theory.plan.trend import Trend
from abs_theory.results import percent
from abs_theory.typing import Array

Names = tuple[int | str, ...]

__all__ = ["REGIMES", "Diagnosis", "diagnose", "exchangeable", "few_enough", "slow_workers", "stall_shares"]


REGIMES = ("unequal workers", "common slowdowns", "rare stalls", "almost i.i.d.")
NOTABLE_SHARE = 0.1  # of the variance, from which a model must contain an effect (a convention)
TAIL_SHARE = 0.05  # of the delays, from which the tail index is estimated, but at least FEWEST_IN_TAIL
FEWEST_IN_TAIL = 10
BARRIER_RANGE, BARRIER_RATIO = 0.005, 5.0  # range within rounds, and between rounds over it, that suggest a barrier
SLOW_FACTOR = 1.2  # times the median worker, from which a worker is named as slow (a convention)
EXCHANGEABLE = 0.01  # significance at which workers, rounds or successive delays are taken as unlike
MOST_POOLED_DELAYS, MOST_POOLED_WORKERS = 20_000, 64  # beyond which blocks of rounds tell enough
FEWEST_STALLS = 10  # for a test of how they are spread


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """Shares of the variance, which sum to 1, and the other properties that a model must reproduce."""

    worker_share: float
    round_share: float
    stall_share: float
    residual_share: float
    levels: dict[int, float]  # of each window, mean seconds over those of the trace
    shifted: bool  # whether the windows differ by more than chance
    correlation_time: float  # of the rounds within windows, in rounds: 1 is independent
    stalls: float  # share of the delays
    stall_factor: float  # mean length of a stall, in usual ones; NaN if there are none
    known_stalls: float  # share of the attempts: delivered as late as a stall, or given up later
    perhaps_stalls: float  # share of the attempts: given up before they lasted as long as a stall
    clustering: float  # variance of the number of stalls in a round, over that of independent ones; NaN if too few
    persistence: float  # P(stalled | the same worker's last was) / P(stalled); NaN if too few
    skewness: float  # of the delays over the factors of worker and round
    tail_index: float  # P(X > t) ~ t^-index, of the same (Hill 1975): below 2 there is no variance; NaN if too few
    regime: str  # of REGIMES
    complete: int  # rounds in which everybody delivered
    within_round: float  # typical range of the delays of a complete round, over their median
    between_rounds: float  # range of the middle 80 % of the round levels, over their median
    trend: Trend | None = None  # a steady drift of all delays

    @property
    def has_worker_effect(self) -> bool:
        return self.worker_share >= NOTABLE_SHARE or self.regime == REGIMES[0]

    @property
    def has_round_effect(self) -> bool:
        return self.round_share >= NOTABLE_SHARE or self.regime == REGIMES[1]

    @property
    def model(self) -> str:
        """The model that the regime asks for, in words."""
        law = (
            "a law for each group of workers of similar speed" if self.has_worker_effect else "one law for all workers"
        )
        law = f"a factor of the round, common to all workers, times {law}" if self.has_round_effect else law
        return f"{law}, with the stalls in its tail" if self.regime == REGIMES[2] else law

    @property
    def sentences(self) -> tuple[str, ...]:
        """The diagnosis in words."""
        shares = (
            f"Of the variance of the delays {percent(self.worker_share, 1)} is between workers, "
            f"{percent(self.round_share, 1)} between rounds, {percent(self.stall_share, 1)} due to stalls and "
            f"{percent(self.residual_share, 1)} left over."
        )
        also = [
            name
            for name, has in (("unequal workers", self.has_worker_effect), ("common slowdowns", self.has_round_effect))
            if has and name != self.regime
        ]
        regime = f"Regime: {self.regime}{', and ' + ' and '.join(also) if also else ''}; model: {self.model}."
        return (*self._barrier(), regime, shares, self._windows(), self._stalls(), self._shape())

    def _barrier(self) -> tuple[str, ...]:
        if not (self.within_round < BARRIER_RANGE and self.between_rounds > BARRIER_RATIO * self.within_round):
            return ()
        return (
            f"Warning: within a round all delays are equal up to {percent(self.within_round, 2)}, while rounds differ. "
            "Times that are taken behind a barrier look like this: they include the wait for the slowest worker. Then "
            "the trace does not say how long each worker takes; measure the time before the exchange of gradients.",
        )

    def _windows(self) -> str:
        if self.trend is not None:
            levels = f"All {self.trend.words}"
        elif len(self.levels) < 2:
            levels = "The rounds have no long gaps"
        elif self.shifted:
            first, last = (min(self.levels, key=lambda w: sign * self.levels[w]) for sign in (1, -1))
            ratio = self.levels[last] / self.levels[first] - 1
            levels = (
                f"The level shifts between windows: window {last} is {percent(ratio, 1)} slower than window {first}"
            )
        else:
            levels = f"The {len(self.levels)} windows have the same mean level"
        if self.correlation_time > 1:
            return (
                f"{levels}. Slow rounds come in clusters: {self.correlation_time:.1f} rounds carry as much "
                "information as one independent round."
            )
        return f"{levels}, and rounds are otherwise independent of each other."

    def _stalls(self) -> str:
        return f"{self._stalls_seen()}{self._stalls_not_seen()}."

    def _stalls_not_seen(self) -> str:
        if not self.perhaps_stalls:
            return ""
        most = self.known_stalls + self.perhaps_stalls
        return (
            f"; {percent(self.perhaps_stalls, 1)} of the attempts were given up before a stall would show, so between "
            f"{100 * self.known_stalls:.1f} and {percent(most, 1)} of the attempts are stalls"
        )

    def _stalls_seen(self) -> str:
        if not self.stalls:
            return "No stalls were seen"
        words = f"Stalls: {percent(self.stalls, 2)} of the delays, "
        words += f"{self.stall_factor:.1f} times the usual length on average"
        if self.clustering > 2:
            words += f"; they hit several workers at once ({self.clustering:.1f} times the independent variance)"
        elif self.clustering == self.clustering:
            words += "; they hit one worker at a time"
        if self.persistence > 2:
            words += f"; they last: after a stall, another one is {self.persistence:.1f} times as likely"
        return words

    def _shape(self) -> str:
        skew = f"After removing worker and round effects, the skewness of the delays is {self.skewness:.2g}"
        if self.tail_index != self.tail_index:
            return skew + "; there are too few delays to estimate the tail."
        if self.tail_index > 10:
            return skew + " and the tail is light."
        variance = "infinite" if self.tail_index < 2 else "finite"
        return skew + f" and the tail is a power law of index {self.tail_index:.1f} ({variance} variance)."


def diagnose(data: RoundTable, parts: Effects | None = None) -> Diagnosis:
    """The regime of ``data``, by the largest of four shares of the variance.

    Variance components of the two-way layout without replication (unbiased, negative ones 0), first without the
    stalls, whose share is what they add.  Only attempts that arrived are used.
    """
    parts = effects(data.delivered) if parts is None else parts
    n = data.seconds.shape[1]
    x, usual = data.delivered, parts.worker * parts.round[:, None]
    with_stalls, bulk = _components(x), _components(np.where(parts.stalled, usual, x))
    total = max(with_stalls.sum(), bulk.sum())
    worker, of_round, left_over = bulk / total if total > 0 else (0.0, 0.0, 1.0)
    shares = (worker, of_round, max(0.0, 1 - worker - of_round - left_over), left_over)
    of_rounds = np.nanmean(np.where(parts.stalled, usual, x) / parts.worker, axis=1) if x.shape[0] else x[:, 0]
    of_rounds, window = of_rounds[np.isfinite(of_rounds)], data.window[np.isfinite(of_rounds)]
    residual = parts.residual[np.isfinite(parts.residual)]
    stalls, at_once, again = _stall_counts(parts)
    known_stalls, perhaps_stalls = stall_shares(data, parts)
    return Diagnosis(
        *map(float, shares[:2]),
        stall_share=float(shares[2]),
        residual_share=float(shares[3]),
        levels={int(w): float(of_rounds[window == w].mean() / of_rounds.mean()) for w in np.unique(window)},
        shifted=level_shift(of_rounds, window),
        correlation_time=correlation_time(of_rounds, window),
        stalls=stalls,
        stall_factor=float(parts.residual[parts.stalled].mean()) if stalls else float("nan"),
        known_stalls=known_stalls,
        perhaps_stalls=perhaps_stalls,
        clustering=at_once,
        persistence=again,
        skewness=float(stats.skew(residual)) if np.ptp(residual) > 1e-9 else 0.0,
        tail_index=_hill(residual),
        regime=REGIMES[int(np.argmax(shares))] if total > 0 else REGIMES[3],
        complete=int(data.observed.all(axis=1).sum()),
        within_round=_median(np.ptp(data.complete, axis=1) / np.median(data.complete, axis=1)) if n > 1 else math.nan,
        between_rounds=float(np.ptp(np.quantile(of_rounds, [0.1, 0.9])) / np.median(of_rounds)),
    )


def _median(values: Array) -> float:
    return float(np.median(values)) if values.size else math.nan


def _components(x: Array) -> Array:
    """Variances between workers, between rounds, and left over; NaN are gaps."""
    x = x[np.isfinite(x).any(axis=1)][:, np.isfinite(x).any(axis=0)]
    known = np.isfinite(x)
    rounds, n = x.shape
    grand = np.mean(x[known])
    column = np.nanmean(x, axis=0) - grand
    row = np.nanmean(x - column, axis=1) - grand
    residual = np.where(known, x - column - row[:, None] - grand, 0.0)
    per_worker, per_round = known.sum() / n, known.sum() / rounds
    left = (residual**2).sum() / max(known.sum() - rounds - n + 1, 1)
    between = [
        (size * (effect**2).sum() / (effect.size - 1) - left) / size if effect.size > 1 else 0.0
        for effect, size in ((column, per_worker), (row, per_round))
    ]
    return np.maximum([*between, left], 0.0)


def _stall_counts(parts: Effects) -> tuple[float, float, float]:
    """Share of stalls; dispersion of their number per round; odds that the same worker stalls again."""
    seen, stalled = np.isfinite(parts.residual), parts.stalled
    share = float(stalled.sum() / seen.sum())
    if stalled.sum() < FEWEST_IN_TAIL:
        return share, float("nan"), float("nan")
    expected = seen.sum(axis=1) * share
    dispersion = float(((stalled.sum(axis=1) - expected) ** 2).sum() / (expected * (1 - share)).sum())
    both = seen[1:] & seen[:-1]
    before = float((stalled[:-1] & both).sum())
    again = float((stalled[1:] & stalled[:-1]).sum() / before / share) if before else float("nan")
    return share, dispersion, again


def stall_shares(data: RoundTable, parts: Effects) -> tuple[float, float]:
    """Shares of the attempts that were stalls, and that were given up too early to tell; ``parts`` are their factors.

    What is known of an attempt that was given up is that it would have taken longer.
    """
    tried = np.isfinite(data.seconds)
    limit = parts.stall * parts.worker * parts.round[:, None]  # NaN for a worker that never delivered
    with np.errstate(invalid="ignore"):
        late = tried & (data.seconds > limit)
    early = tried & ~data.observed & ~late
    return float(late.sum() / tried.sum()), float(early.sum() / tried.sum())


def _hill(values: Array) -> float:
    """Tail index from the largest values (Hill 1975)."""
    count = max(FEWEST_IN_TAIL, int(TAIL_SHARE * values.size))
    if values.size < 4 * FEWEST_IN_TAIL:
        return float("nan")
    largest = np.sort(np.partition(values, -count - 1)[-count - 1 :])
    mean = float(np.log(largest[1:] / largest[0]).mean())
    return 1 / mean if mean > 1e-6 else float("inf")


def slow_workers(data: RoundTable, parts: Effects, names: Names) -> list[dict[str, float | int | str]]:
    """Workers that are usually slower than the median worker by SLOW_FACTOR or more, the slowest first.

    Each has its name (worker), how many times as long as the median worker it takes (factor), and in which share of the
    rounds it is the last to arrive (slowest_share).
    """
    known = np.isfinite(parts.worker)
    if np.count_nonzero(known) < 2:
        return []
    factor = parts.worker / np.median(parts.worker[known])
    whole = data.delivered[data.observed.all(axis=1)]
    last = np.bincount(whole.argmax(axis=1), minlength=factor.size) / max(len(whole), 1)
    order = np.argsort(-np.where(known, factor, 0.0), kind="stable")
    return [
        {"worker": names[i], "factor": float(factor[i]), "slowest_share": float(last[i])}
        for i in order
        if known[i] and factor[i] >= SLOW_FACTOR
    ]


def few_enough(delays: int, workers: int) -> bool:
    """Whether so many delays are few enough to be resampled one by one; of more, blocks of rounds tell enough."""
    return delays <= MOST_POOLED_DELAYS and workers <= MOST_POOLED_WORKERS


def exchangeable(seconds: Array) -> bool:
    """Whether nothing tells workers, rounds or successive delays apart in complete rounds, shape rounds x workers.

    Tests of the logarithms (two-way analysis of variance, correlation of successive residuals), and of how stalls are
    spread over workers and over rounds.
    """
    rounds, n = seconds.shape
    if rounds < FEWEST_BLOCKS or n < 2:
        return False
    x = np.log(seconds)
    x = x - x.mean()
    worker, of_round = x.mean(axis=0), x.mean(axis=1)
    residual = x - worker - of_round[:, None]
    free = (rounds - 1) * (n - 1)
    left = float((residual**2).sum()) / free
    if left <= 1e-24:
        return False
    between = rounds * float(worker @ worker) / (n - 1), n * float(of_round @ of_round) / (rounds - 1)
    unlike = [stats.f.sf(between[0] / left, n - 1, free), stats.f.sf(between[1] / left, rounds - 1, free)]
    again = float((residual[1:] * residual[:-1]).sum()) / (left * free) + 1 / rounds  # its bias under independence
    unlike.append(2 * stats.norm.sf(abs(again) * math.sqrt(free)))
    stalled = effects(seconds).stalled
    if stalled.sum() >= FEWEST_STALLS:
        for axis in (0, 1):
            count = stalled.sum(axis=axis)
            dispersion = float(((count - count.mean()) ** 2).sum()) / (count.mean() * (1 - stalled.mean()))
            unlike.append(stats.chi2.sf(dispersion, count.size - 1))
    return float(min(unlike)) >= EXCHANGEABLE
