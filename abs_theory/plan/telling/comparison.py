"""Two traces compared, before and after a change: round times, delays, their spread, and each worker."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from abs_theory.checks import check_k, explains_types
from abs_theory.plan.arrivals import mean_arrivals
from abs_theory.plan.decide import choose_k
from abs_theory.plan.evidence import Evidence, gather
from abs_theory.plan.intervals import ALPHA, FEWEST, ROUNDING, Means, resampled_means
from abs_theory.plan.losses import PlausibleMeans
from abs_theory.traces import Trace, counted, from_frame
from abs_theory.typing import Array

__all__ = ["Comparison", "Difference", "compare"]

Interval = tuple[float, float, float]  # a mean and the ends of its 95 % interval

RELATIVE = "times the median worker"  # unit of a worker's delay
OTHER_UNIT = (
    "The delays of the two traces are about 1000 times apart: is one in another unit? Nothing was rescaled; a column "
    "unit (s, ms, us or ns) in each file says which it is."
)
FEWEST_FOR_A_MEDIAN = 3  # workers; the median of two moves with each of them
MOST_NAMED = 8  # workers named in one sentence
MOST_PERCENT = 1000  # with a digit after the point
FEWEST_IN_ROUND = 2  # deliveries of a round that has a spread


@dataclass(frozen=True)
class Difference:
    """A mean before and after, and their ratio; ends of 95 % intervals are NaN where they are not identified."""

    name: str  #: what is compared
    unit: str  #: "s", "times the median worker", or "" for a share
    before: Interval  #: mean and its interval
    after: Interval  #: mean and its interval
    ratio: Interval  #: after over before, and its interval
    clear: bool  #: whether the ratio differs from 1 by more than chance (5 %, over all workers together)

    def __str__(self) -> str:
        change, low, high = (_percent(value) for value in self.ratio)
        if math.isnan(self.ratio[0]):
            means = [
                "not identified" if math.isnan(mean) else f"{mean:.4g}" for mean in (self.before[0], self.after[0])
            ]
            return " -> ".join(means)
        interval = "interval not identified" if math.isnan(self.ratio[1]) else f"95 %: {low} to {high} %"
        unit = f" {self.unit}".rstrip()
        return f"{self.before[0]:.4g} -> {self.after[0]:.4g}{unit}, {change} % ({interval})"


@dataclass(frozen=True, eq=False)
class Comparison:
    """A trace after a change, compared with one before it."""

    k: int | None  #: workers waited for, chosen from the first trace; None: the second one has fewer workers
    whole: tuple[Difference, ...]  #: round times, delays, spread
    workers: tuple[Difference, ...]  #: delays of each worker that both traces have
    gone: tuple[str, ...]  #: workers of the first trace only
    new: tuple[str, ...]  #: workers of the second trace only
    curves: pd.DataFrame  #: before_mean, before_low, before_high, after_mean, ...: of the k-th arrival, per k; seconds
    sources: tuple[str, str]  #: what was read
    may_differ_in_unit: bool = False  #: whether one trace may be in another unit
    reports: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())  #: what reading each trace did and noticed
    doubts: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())  #: sentences of the reports that may change every answer

    @property
    def lines(self) -> list[str]:
        """The comparison in words; the differences come first."""
        lines = [f"{difference.name}: {difference}." for difference in self.whole]
        lines += [OTHER_UNIT] if self.may_differ_in_unit else []
        when = ("before", "after")
        lines += [
            f"Doubt ({time}): {doubt}." for time, doubts in zip(when, self.doubts, strict=True) for doubt in doubts
        ]
        clear = [difference for difference in self.workers if difference.clear]
        clear.sort(key=lambda difference: -abs(math.log(difference.ratio[0])))
        lines += [f"Worker {difference.name}: {difference}." for difference in clear[:MOST_NAMED]]
        if len(clear) > MOST_NAMED:
            lines.append(f"{len(clear) - MOST_NAMED} more workers changed.")
        rest = len(self.workers) - len(clear)
        if rest and self.workers:
            lines.append(f"{counted(rest, 'worker')}: no change beyond chance.")
        for names, where in ((self.gone, "first"), (self.new, "second")):
            if names:
                more = ", ..." if len(names) > MOST_NAMED else ""
                lines.append(f"Only in the {where} trace: {', '.join(names[:MOST_NAMED])}{more}.")
        for time, source, report, doubts in zip(when, self.sources, self.reports, self.doubts, strict=True):
            lines.append(f"{time.capitalize()}. {source}")
            lines += [f"Reading ({time}): {line}." for line in report if line not in doubts]
        return lines

    def table(self) -> pd.DataFrame:
        """One row for each difference: before, after, ratio and their interval ends."""
        rows = [
            (row.name, row.unit, *row.before, *row.after, *row.ratio, row.clear) for row in (*self.whole, *self.workers)
        ]
        ends = [f"{name}{end}" for name in ("before", "after", "ratio") for end in ("", "_low", "_high")]
        return pd.DataFrame(rows, columns=["name", "unit", *ends, "clear"])

    def to_dict(self) -> dict[str, object]:
        """For JSON; unknown numbers are null."""
        table = self.table().astype(object)
        return {
            "k": self.k,
            "differences": table.where(table.notna(), None).to_dict("records"),
            "only_before": list(self.gone),
            "only_after": list(self.new),
            "sources": list(self.sources),
            "reports": [list(report) for report in self.reports],
            "doubts": [list(doubts) for doubts in self.doubts],
            "may_differ_in_unit": self.may_differ_in_unit,
        }


@explains_types
def compare(
    before: Trace | pd.DataFrame, after: Trace | pd.DataFrame, k: int | None = None, *, seed: int = 0
) -> Comparison:
    """Compare two traces: round time waiting for everybody and for ``k``, mean delay, spread, and each worker.

    A DataFrame is taken as ``traces.from_frame`` takes it.  ``k`` is chosen from the first trace if it is None.
    The spread is the standard deviation of the delays of a round over their mean, averaged over rounds.  Means have
    the intervals of a plan; the ratio of two means has one that is combined from both (MOVER: Zou & Donner 2008, on
    the logarithms).  The traces are taken as independent.
    Workers are compared by the geometric means of their delays over that of the median worker, which a change of the
    whole fleet does not move.  One counts as changed at a level of 5 % for all workers together (Bonferroni).
    Raises ValueError unless both traces have two deliveries, and ``k`` is in 1..n of both.

    See also ``plan``, for one trace.

    >>> import pandas as pd
    >>> from abs_theory import plan, traces
    >>> def trace(slowest):
    ...     rows = [(t, w, slowest if w == 2 else 1.0 + 0.01 * (t % 3)) for t in range(30) for w in range(3)]
    ...     return traces.from_frame(pd.DataFrame(rows, columns=["round", "worker", "seconds"]))
    >>> print(plan.compare(trace(9.0), trace(3.0)).lines[0])
    Round time, waiting for everybody: 9 -> 3 s, -66.7 % (95 %: -66.7 to -66.7 %).
    """
    rng = np.random.default_rng(seed)
    before, after = (
        (from_frame(trace) if isinstance(trace, pd.DataFrame) else trace).finished for trace in (before, after)
    )
    evidence = [gather(trace, None, rng) for trace in (before, after)]
    curves = [mean_arrivals(data.rounds, data.round_effects, rng, data.completed) for data in evidence]
    n = [data.n for data in evidence]
    if k is None:
        k = _chosen_k(evidence[0], curves[0], rng)
        k = k if k <= n[1] else None
    else:
        check_k(k, min(n))
    last = [_arrival(curve, len(curve)) for curve in curves]
    whole = [_difference("Round time, waiting for everybody", "s", last[0], last[1])]
    if k is not None and k < max(n):
        kth = [_arrival(curve, k) for curve in curves]
        whole.append(_difference(f"Round time, waiting for k = {k}", "s", kth[0], kth[1]))
    (level, spread), (new_level, new_spread) = (_level_and_spread(data, rng) for data in evidence)
    whole.append(_difference("Mean delay", "s", level, new_level))
    if spread is not None and new_spread is not None:
        whole.append(_difference("Spread within a round (standard deviation / mean)", "", spread, new_spread))
    names = [tuple(map(str, trace.workers)) for trace in (before, after)]
    both = [name for name in names[0] if name in set(names[1])]
    of_workers = [_of_workers(data, both, rng) for data in evidence] if both else []
    unit = RELATIVE if len(both) >= FEWEST_FOR_A_MEDIAN else "s"
    mean_and_ends = [curve[["mean", "low", "high"]] for curve in curves]
    joined = pd.concat([mean_and_ends[0].add_prefix("before_"), mean_and_ends[1].add_prefix("after_")], axis=1)
    return Comparison(
        k=k,
        whole=tuple(whole),
        workers=tuple(
            _difference(name, unit, of_workers[0][name], of_workers[1][name], tests=len(both)) for name in both
        ),
        gone=tuple(name for name in names[0] if name not in set(names[1])),
        new=tuple(name for name in names[1] if name not in set(names[0])),
        curves=joined,
        sources=(before.summary, after.summary),
        may_differ_in_unit=before.may_differ_in_unit(after),
        reports=(before.report, after.report),
        doubts=(before.doubts + _drift(evidence[0]), after.doubts + _drift(evidence[1])),
    )


def _drift(evidence: Evidence) -> tuple[str, ...]:
    """That the delays of one trace drift, so that its means are of no level."""
    return tuple(drift.words for drift in evidence.drifts)


def _chosen_k(evidence: Evidence, means: pd.DataFrame, rng: np.random.Generator) -> int:
    return choose_k(evidence, means, PlausibleMeans(evidence, rng), rng).k


def _arrival(curve: pd.DataFrame, k: int) -> Interval:
    return _interval(curve.loc[[k], ["mean", "low", "high"]].to_numpy(dtype=float)[0])


def _means(estimates: Means) -> list[Interval]:
    return [_interval(ends) for ends in zip(estimates.mean, estimates.low, estimates.high, strict=True)]


def _level_and_spread(data: Evidence, rng: np.random.Generator) -> tuple[Interval, Interval | None]:
    """Mean delay of a round, and its relative standard deviation over workers (None without two deliveries)."""
    if data.completed.open_tail:
        return (math.nan, math.nan, math.nan), None
    x = _delays(data)
    some = np.isfinite(x).any(axis=1)
    level = _means(resampled_means(np.nanmean(x[some], axis=1, keepdims=True), data.measured.window[some], rng))[0]
    several = np.isfinite(x).sum(axis=1) >= FEWEST_IN_ROUND
    if not several.any():
        return level, None
    x, window = x[several], data.measured.window[several]
    relative: Array = np.nanstd(x, axis=1, ddof=1, keepdims=True) / np.nanmean(x, axis=1, keepdims=True)
    return level, _means(resampled_means(relative, window, rng))[0]


def _delays(data: Evidence) -> Array:
    """Delays, with those of restarted tasks as they are drawn."""
    return data.measured.delivered if data.completed.means is None else data.rounds.delivered


def _of_workers(data: Evidence, names: list[str], rng: np.random.Generator) -> dict[str, Interval]:
    """Geometric mean of the delays of each worker in ``names`` over that of the median one; in seconds if they are few.

    The geometric mean of its round is taken out of each delay, so that slow rounds do not blur the difference.
    """
    column = {str(name): i for i, name in enumerate(data.trace.workers)}
    x = np.log(_delays(data)[:, [column[name] for name in names]])
    some = np.isfinite(x).any(axis=1)
    x, window = x[some], data.measured.window[some]
    relative = len(names) >= FEWEST_FOR_A_MEDIAN
    logs = _means(resampled_means(x - np.nanmean(x, axis=1, keepdims=True) if relative else x, window, rng))
    middle = float(np.median([log[0] for log in logs])) if relative else 0.0
    return {name: _interval(np.exp(np.array(log) - middle)) for name, log in zip(names, logs, strict=True)}


def _difference(name: str, unit: str, before: Interval, after: Interval, tests: int = 1) -> Difference:
    """The ratio of two means with its interval; ``clear`` is at 5 % over ``tests`` comparisons."""
    (mean, low, high), (new, new_low, new_high) = before, after
    log = _log(new, mean)
    below, above = math.hypot(_log(new, new_low), _log(high, mean)), math.hypot(_log(new_high, new), _log(mean, low))
    # a wider interval where several are looked at; Student's law, because errors are estimated from few blocks
    wider = float(stats.t.isf(ALPHA / 2 / tests, FEWEST) / stats.t.isf(ALPHA / 2, FEWEST))
    clear = abs(log) > max(wider * (below if log > 0 else above), ROUNDING) and not math.isnan(below + above)
    ratio = (math.exp(log), math.exp(log - below), math.exp(log + above))
    return Difference(name, unit, before, after, ratio, clear)


def _percent(ratio: float) -> str:
    """By how much a ratio differs from 1."""
    change = 100 * (ratio - 1)
    return f"{change:+.1f}" if abs(change) < MOST_PERCENT else f"{change:+.3g}"


def _interval(ends: Iterable[float]) -> Interval:
    mean, low, high = map(float, ends)
    return mean, low, high


def _log(high: float, low: float) -> float:
    """log(high / low); NaN where an end is not known."""
    return math.log(high / low) if low > 0 and high > 0 else math.nan
