"""Calls that never came back are late, not absent: rounds with lost calls, completed by a model of their delays.

A call counts as lost if the server waited for it in vain: it failed, or was given up after the last arrival, or nobody
knows when it was given up.  A call that the server cancelled at its k-th arrival is not lost, as it was not waited for.
A lost call is taken to arrive after all that arrived in its round, and after the time at which it was given up.  That
time bounds the k-th arrival from below, whatever the law; how much later it comes is drawn from a lognormal law of the
residuals, fitted with the lost calls as right-censored.

Tasks that were restarted when they were too stale are another case: they were stopped because of other workers, which
says nothing about themselves, but a round that lost none of them was a fast one.  ``complete_restarted`` draws how long
they would have lasted from the law of Kaplan & Meier (1958), as far as that reaches.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from abs_theory.plan import fit, intervals
from abs_theory.plan.effects import Effects, Mask, RoundTable
from abs_theory.typing import Array

__all__ = ["Completed", "complete", "complete_restarted", "of_arrivals", "resampled_ratios"]

COPIES = 8  # of the completed trace; divides ``replayed.STARTS``
MOST_CELLS = 50_000_000  # of all copies together: 0.4 GB
NOISE_OF_SPREADS = 3.0  # over the root of the number of rounds: relative noise of a squared spread, with a margin
FEWEST_AT_RISK = 10  # tasks still running, down to which the law of Kaplan and Meier is used
MOST_MOVED = 0.01  # of a mean arrival, by what lies beyond that: with more, the arrival is not identified
TAIL_ERROR = 4.0  # factor by which that may be wrong, either way (a convention)
ALIKE = 0.01  # significance at which workers are taken to have different laws
TIMES = 200  # at which resampled laws are compared
STEPS = 1000  # of a table of the binomial law
LATEST_QUANTILE = 1e-4  # survival beyond which the law is not drawn from, so that one draw does not decide a mean


@dataclass(frozen=True, eq=False)
class Completed:
    """Rounds with the lost calls drawn, and what is known of their arrivals without a law; seconds."""

    copies: Array  # shape copies x rounds x workers; NaN where nothing was tried or the server did not wait
    arrivals: Array  # k-th arrival of each round, the mean over copies; lost calls are late
    others: tuple[Array, ...]  # the same if calls that the times given up say nothing of are as fast as others
    least: Array  # lower bounds of the arrivals
    imputed: Mask  # arrivals that rest on the law
    blind: Mask  # those of them for which the times given up say nothing
    ratios: Array | None = None  # bootstrap mean arrivals over the mean, if restarted tasks were completed
    open_tail: bool = False  # whether restarts hide how long slow tasks take

    @property
    def bounds(self) -> Array:
        """For each k, a lower bound of the mean k-th arrival over the rounds that have one; NaN without any."""
        known = np.isfinite(self.least)
        sums, counts = np.where(known, self.least, 0.0).sum(axis=0), known.sum(axis=0)
        return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def complete(data: RoundTable, parts: Effects, rng: np.random.Generator) -> Completed:
    """Complete the rounds of ``data`` that lost calls; without any, nothing is drawn from ``rng``."""
    arrived = np.sort(data.delivered, axis=1)
    if not data.lost.any():
        nothing = np.zeros(arrived.shape, dtype=bool)
        return Completed(data.delivered[None], arrived, (), arrived, nothing, nothing)
    last = np.where(data.observed, data.seconds, -np.inf).max(axis=1, keepdims=True)
    given_up = np.where(data.lost, np.maximum(data.seconds, last), np.nan)
    factor = parts.worker * parts.round[:, None]
    factor = np.where(np.isfinite(factor), factor, np.nanmedian(parts.worker))
    known = data.observed | data.lost
    residual = np.where(data.observed, data.seconds, given_up) / factor
    law = fit.lognormal(residual[known], data.observed[known]).law
    count = max(1, min(COPIES, MOST_CELLS // data.seconds.size))
    count = next(number for number in (8, 4, 2, 1) if number <= count)
    copies = np.repeat(data.delivered[None], count, axis=0)
    rows, workers = _in_order(data.lost, given_up, factor)
    scale = factor[rows, workers]
    for copy in copies:
        copy[rows, workers] = _later(law, given_up[rows, workers] / scale, rng) * scale
    least = np.sort(np.where(data.observed, data.seconds, given_up), axis=1)
    arrivals = np.sort(copies, axis=2).mean(axis=0)
    rank = np.arange(data.seconds.shape[1])
    imputed = (rank >= data.observed.sum(axis=1, keepdims=True)) & np.isfinite(arrivals)
    blind = imputed & _blind(data, last).any(axis=1, keepdims=True)
    return Completed(copies, arrivals, _as_fast_as_others(data, parts, last, rng), least, imputed, blind)


def _in_order(calls: Mask, given_up: Array, factor: Array) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and workers of ``calls``, in an order that does not depend on that of the workers."""
    rows, workers = np.nonzero(calls)
    order = np.lexsort((factor[rows, workers], given_up[rows, workers], rows))
    return rows[order], workers[order]


def _later(law: "fit.Delay", above: Array, rng: np.random.Generator) -> Array:
    """Draws of ``law`` given that they are ``above`` a time; a little above where the law ends before."""
    beyond = np.asarray(law.sf(above))
    drawn = np.asarray(law.isf(np.maximum(beyond * rng.random(above.shape), LATEST_QUANTILE * beyond)))
    return np.where((beyond > 0) & np.isfinite(drawn), np.maximum(drawn, above), above)


def _as_fast_as_others(data: RoundTable, parts: Effects, last: Array, rng: np.random.Generator) -> tuple[Array, ...]:
    """Arrivals if the calls whose end nobody saw, or that failed early, were as fast as others.

    Calls that failed early are taken as fast as others that last so long, as if failures struck at any moment, and as
    fast as any, as if failures struck any call.
    """
    blind = _blind(data, last)
    if not blind.any():
        return ()
    of_round = parts.round ** _real_share(parts, data.observed)
    factor = parts.worker * of_round[:, None]
    factor = np.where(np.isfinite(factor), factor, np.nanmedian(parts.worker))
    residuals = np.sort((data.seconds / factor)[data.observed])
    rows, workers = _in_order(blind, data.seconds, factor)
    scale = factor[rows, workers]
    early = ~data.end_unknown[rows, workers]
    after = np.where(early, data.seconds[rows, workers], 0.0) / scale
    last_so_long = np.minimum(np.searchsorted(residuals, after, side="right"), residuals.size - 1)
    arrivals = []
    for first in (last_so_long, np.zeros_like(last_so_long)) if early.any() else (last_so_long,):
        seconds = np.where(data.lost, np.inf, data.delivered)
        # one draw: the mean of several would vary less from round to round than delays do
        seconds[rows, workers] = residuals[rng.integers(first, residuals.size)] * scale
        arrivals.append(np.sort(seconds, axis=1))
    return tuple(arrivals)


def _real_share(parts: Effects, observed: Mask) -> float:
    """Share of the spread of the round factors that is not the noise of a median over workers, from 0 to 1.

    Factors that are noise would make calls of a round alike that are not, and so the first arrivals too late.
    """
    known = observed.sum(axis=1) > 1
    if not known.any():
        return 0.0
    spreads = [
        np.median(np.abs(logs - np.median(logs)))
        for logs in (np.log(parts.round[known]), np.log(parts.residual[observed]))
    ]
    if spreads[0] == 0:
        return 1.0
    free = float(observed[known].sum(axis=1).mean()) - 1  # of the workers of a round: the median takes one
    noise = math.pi / 2 * spreads[1] ** 2 / free  # of a median of normal values
    most_by_chance = noise * (1 + NOISE_OF_SPREADS / math.sqrt(np.count_nonzero(known)))
    return float(np.clip(1 - most_by_chance / spreads[0] ** 2, 0.0, 1.0))


def _blind(data: RoundTable, last: Array) -> Mask:
    """Lost calls known only to be later than the last arrival of their round."""
    return data.lost & (data.end_unknown | (data.seconds < last))


@dataclass(frozen=True, eq=False)
class _Law:
    """The law of tasks, some of them restarted, by Kaplan & Meier (1958)."""

    times: Array  # of deliveries, ascending
    survival: Array  # P(X > t) there
    horizon: float  # beyond which too few tasks were seen
    beyond: float  # P(X > horizon)

    @classmethod
    def of(cls, seconds: Array, observed: Mask) -> "_Law":
        order = np.argsort(seconds, kind="stable")
        x, seen = seconds[order], observed[order]
        survival = _survival(seen[None].astype(float), np.ones((1, x.size)))[0]
        well_known = seen & (np.arange(x.size, 0, -1) >= FEWEST_AT_RISK)
        end = int(np.flatnonzero(well_known if well_known.any() else seen)[-1]) + 1 if seen.any() else 0
        horizon = float(x[end - 1]) if end else float(x[-1])
        # without a delivery, as if half a task had been delivered
        beyond = float(survival[end - 1]) if end else 1 - 0.5 / x.size
        used = np.flatnonzero(seen[:end])
        return cls(x[used], survival[used], horizon, min(beyond, 1 - 0.5 / x.size))

    def later(self, after: Array, rng: np.random.Generator) -> Array:
        """Draws above ``after``; beyond the horizon by the exponential tail of Brown, Hollander & Korwar (1974)."""
        place = np.searchsorted(self.times, after, side="right")
        above = np.append(1.0, self.survival)[place]
        far = after > self.horizon
        rate = -math.log(max(self.beyond, 1e-300)) / self.horizon
        above = np.where(far, np.exp(-rate * after), above)
        u = above * (1 - rng.random(after.shape))
        place = np.minimum(np.searchsorted(-self.survival, -u), max(self.times.size - 1, 0))
        inside = self.times[place] if self.times.size else np.full(after.shape, self.horizon)
        with np.errstate(divide="ignore"):
            drawn = np.where(u < self.beyond, -np.log(u) / rate, inside)
        return np.maximum(drawn, after)


def _survival(delivered: Array, at_risk: Array) -> Array:
    """P(X > t) by Kaplan and Meier at the times of the columns, for weights in ascending order of time."""
    left = np.cumsum(at_risk[:, ::-1], axis=1)[:, ::-1]
    hazard = np.where(left > 0, delivered / np.where(left > 0, left, 1.0), 0.0)
    survival: Array = np.cumprod(1 - np.minimum(hazard, 1.0), axis=1, dtype=np.float64)
    return survival


def _groups(data: RoundTable) -> list[NDArray[np.intp]]:
    """Workers of one law: all, or each alone if the deliveries of some are not those expected (log-rank test)."""
    workers = np.arange(data.seconds.shape[1])
    order = np.argsort(data.seconds, axis=None, kind="stable")
    seen = data.observed.ravel()[order]
    hazard = np.empty(seen.size)
    hazard[order] = np.cumsum(seen / np.arange(seen.size, 0, -1))
    expected = hazard.reshape(data.seconds.shape).sum(axis=0)
    chi2 = float(((data.observed.sum(axis=0) - expected) ** 2 / np.maximum(expected, 1e-9)).sum())
    alike = stats.chi2.sf(chi2, max(workers.size - 1, 1)) >= ALIKE
    return [workers] if alike else list(workers[:, None])


def complete_restarted(data: RoundTable, rng: np.random.Generator) -> tuple[Array, Array]:
    """Tasks of ``data`` with those that were restarted drawn from their law, shape ``COPIES x rows x workers``.

    Workers that look alike share one law.  Second result: the same tasks, ended at the horizon of the law if they last
    longer; what differs is not identified.
    """
    count = next(number for number in (8, 4, 2, 1) if number == 1 or number * data.seconds.size <= MOST_CELLS)
    late = np.repeat(data.seconds[None], count, axis=0)
    least = late.copy()
    for group in _groups(data):
        seconds, observed = data.seconds[:, group], data.observed[:, group]
        law = _Law.of(seconds.ravel(), observed.ravel())
        row, place = np.nonzero(~observed)
        after = seconds[row, place]
        for copy, bound in zip(late, least, strict=True):
            copy[row, group[place]] = law.later(after, rng)
            bound[row, group[place]] = np.minimum(copy[row, group[place]], np.maximum(law.horizon, after))
    return late, least


def of_arrivals(late: Array, least: Array, ratios: Array, rng: np.random.Generator) -> Completed:
    """What is known of the arrivals in rounds ``late``, if tasks beyond the horizon took at least ``least``.

    The bootstrap ``ratios`` get the error of the tail: it may move a mean by up to TAIL_ERROR times what it does.
    """
    arrivals, bounds = (np.sort(copies, axis=2).mean(axis=0) for copies in (late, least))
    moved = arrivals.mean(axis=0) / bounds.mean(axis=0) - 1
    known = np.maximum.accumulate(moved) <= MOST_MOVED
    known[0] = True
    tail = TAIL_ERROR ** rng.uniform(-1, 1, (len(ratios), 1))
    ratios = ratios * (1 + (tail - 1) * moved / (1 + moved))
    nothing = np.zeros(arrivals.shape, dtype=bool)
    open_tail = bool(late.mean() > (1 + MOST_MOVED) * least.mean())
    return Completed(late, np.where(known, arrivals, np.nan), (), bounds, nothing, nothing, ratios, open_tail)


def resampled_ratios(data: RoundTable, n: int, copies: int, rng: np.random.Generator) -> Array:
    """E[T_(k)] of ``n`` workers by laws of Kaplan and Meier in bootstrap traces, over those of the trace.

    Shape ``copies x n``.  Blocks of rows are drawn.  The law of a worker drawn at random stands for all of them, which
    is exact if they are alike; only ratios are used.
    """
    rows, workers = data.seconds.shape
    block = intervals.row_blocks(data.window, max(1, round(rows ** (1 / 3)), math.ceil(rows / intervals.MOST_BLOCKS)))
    count = int(block.max()) + 1
    times = np.unique(np.quantile(data.seconds[data.observed], np.linspace(0, 1, TIMES)))
    beta = np.asarray(stats.binom.sf(np.arange(n), n, np.linspace(0, 1, STEPS + 1)[:, None]))
    draws = np.concatenate([np.ones((1, count)), rng.multinomial(count, np.full(count, 1 / count), size=copies)])
    survival = np.zeros((copies + 1, times.size))
    for group in _groups(data):
        seconds, observed = data.seconds[:, group].ravel(), data.observed[:, group].ravel()
        order = np.argsort(seconds, kind="stable")
        of_block = np.repeat(block, group.size)[order]
        place = np.searchsorted(seconds[order], times, side="right")
        for copy, draw in zip(survival, draws, strict=True):
            weight = draw[of_block][None]
            law = np.append(1.0, _survival(weight * observed[order], weight)[0])
            copy += law[place] * group.size / workers
    means = np.empty((copies + 1, n))
    gaps = np.diff(times)
    for mean, law in zip(means, survival, strict=True):
        position = (1 - law[:-1]) * STEPS
        low = np.minimum(position.astype(int), STEPS - 1)
        done = beta[low] + (position - low)[:, None] * (beta[low + 1] - beta[low])
        mean[:] = times[0] + gaps @ (1 - done)
    return means[1:] / means[0]
