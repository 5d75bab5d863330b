"""k and max_staleness from a trace: the simplest choice that the data cannot tell from the best.

A larger k is simpler, because it is nearer to synchronous SGD; at equal k, a smaller max_staleness is simpler, because
gradients are fresher.  The objective is gradients per second, k / E[T_(k)], for k and the round time for the
threshold; where the constants of the problem are given, it is the seconds to a target.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from abs_theory import choose
from abs_theory.bounds import Constants
from abs_theory.choose import Candidates, Target, candidates
from abs_theory.plan import intervals
from abs_theory.plan.completion import MOST_MOVED
from abs_theory.plan.evidence import COPIES, Evidence
from abs_theory.plan.fleet_model import FleetModel
from abs_theory.plan.losses import MOST_LOST, Losses, PlausibleMeans, further_rounds
from abs_theory.plan.replayed import Played, TraceReplay
from abs_theory.results import percent
from abs_theory.typing import Array

__all__ = [
    "Gain",
    "KChoice",
    "Setting",
    "WhatIf",
    "choose_k",
    "choose_threshold",
    "fastest",
    "gain",
    "gain_to_target",
    "if_not_late",
    "soonest",
    "times_to_target",
    "without_slow",
]


# Chosen, not fitted: the numbers below trade a little speed for simplicity and for short computations.
MOST_LOST_TO_SIMPLICITY = 0.02  # share of the objective that a simpler choice may lose, whatever the standard error
THRESHOLDS = (0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 16.0)  # updates; tried at the chosen k, with no threshold at all
MOST_BLIND_ROUNDS = 0.05  # share of the rounds in which the k-th arrival is a lost call of unknown delay
STANDARD_ERRORS_95 = 1.96  # half-width of a 95 % interval of a normal estimate
MOST_NAMED = 4  # workers named in one sentence
MOST_CONTENDERS = 24  # of the model's candidates, to be replayed
CONTENDER_FACTOR = 1.25  # times the model's best objective, up to which a candidate is replayed
FREE_K_VALUES = 12  # values of k tried where k and the threshold are both free
CEILING_K_VALUES = 3  # values of k tried for the ceiling, which is at k = 1 unless many workers stall


@dataclass(frozen=True)
class Gain:
    """A ratio of times, 0.9 being 10 % saved; low and high are NaN where the interval is not identified."""

    ratio: float  #: of two times
    low: float  #: lower end of its 95 % interval
    high: float  #: upper end

    def __str__(self) -> str:
        kind = "less" if self.ratio <= 1 else "more"
        if math.isnan(self.low):
            return f"{percent(abs(1 - self.ratio), 1)} {kind}, interval not identified"
        sign = 100 if self.ratio <= 1 else -100
        low, high = sorted(round(sign * (1 - end), 1) + 0.0 for end in (self.low, self.high))
        return f"{percent(abs(1 - self.ratio), 1)} {kind} (95 %: {low:.1f} to {high:.1f} %)"


@dataclass(frozen=True)
class WhatIf:
    """The choice of k if the slow workers were as fast as the median one, or left out."""

    repaired: bool  #: as fast as the median worker; else left out
    workers: tuple[int | str, ...]  #: the slow workers
    n: int  #: workers that are left
    k: int  #: workers waited for
    savings: Gain  #: time per gradient over that of waiting for everybody today

    def __str__(self) -> str:
        names = ", ".join(map(str, self.workers[:MOST_NAMED])) + (", ..." if len(self.workers) > MOST_NAMED else "")
        what = f"{names} as fast as the median worker" if self.repaired else f"{names} left out"
        return f"with {what}, k = {self.k} of {self.n}: {self.savings}"


@dataclass(frozen=True, eq=False)
class KChoice:
    """The largest k that the data cannot tell from the best by gradients per second, and whether they carry it."""

    k: int  #: workers waited for
    best: int  #: most gradients per second by the measured means, which need not be the best one in hindsight
    alike: tuple[int, int] | None  #: least and largest k not clearly worse (95 %) than the best; None: losses unknown
    largest: int  #: k that the trace saw
    lost: bool  #: whether lost calls leave open if another k is better
    open_above: bool  #: whether a k that no round saw may be better
    could_gain: float  #: upper bound of what a larger k could add to the gradients per second, as a share
    #: by which share the best k in hindsight has more gradients per second than this one, expected; NaN if unknown
    expected_loss: float
    upper_loss: float  #: what the loss does not exceed with probability 0.95; NaN if unknown
    further_rounds: int  #: about how many rounds more until the upper loss is at most 5 %; 0: these suffice
    against_all: Gain | None  #: time per gradient over that of waiting for everybody; None if nobody waited for all
    curve: pd.DataFrame  #: per k: rate (gradients per second), expected_loss, upper_loss, alike (as ``alike`` above)
    hidden: bool = False  #: whether restarts, not the server, decide which arrivals were seen

    @property
    def identified(self) -> bool:
        """Whether the data carry the choice: neither lost calls, nor a k not seen, nor the noise can refute it."""
        return not (self.lost or self.open_above or self.further_rounds)


def choose_k(evidence: Evidence, means: pd.DataFrame, plausible: PlausibleMeans, rng: np.random.Generator) -> KChoice:
    """Maximise k / E[T_(k)] over the k seen; ``means`` is ``mean_arrivals`` of the rounds of ``evidence``.

    One quantity decides, the loss of each k over the plausible means (``Losses``).  Of the k that are not clearly worse
    than the one with the least expected loss, and whose own is within MOST_LOST_TO_SIMPLICITY of it, takes the largest
    one that is safe: its upper loss is at most MOST_LOST.  If none is, takes the one with the least upper loss.  With
    too few rounds to know any loss, takes the k with the largest rate.  The choice is identified only if it is safe, if
    it does not rest on the law of lost calls, and if the times at which those were given up rule out that another k is
    better.  A k that would wait in more than MOST_BLIND_ROUNDS for calls of unknown delay is not chosen.

    Beyond the largest k seen, the gradients per second are at most n / E[T_(largest)], because later arrivals take
    longer.
    """
    completed, window = evidence.completed, evidence.rounds.window
    arrivals = completed.arrivals
    n = arrivals.shape[1]
    mean = means["mean"].to_numpy()
    ks = np.arange(1, n + 1)
    rate = ks / mean
    on_law = np.asarray(completed.imputed.any(axis=0))
    blind = completed.blind.mean(axis=0)
    advised = np.isfinite(mean) & (blind <= max(MOST_BLIND_ROUNDS, blind[0]))
    best = int(np.nanargmax(np.where(advised, rate, np.nan)))
    losses = plausible.losses(among=advised)
    k, expected, upper = best, math.nan, math.nan
    of_each: Array = np.full((2, n), math.nan)
    alike = np.zeros(n, dtype=bool)
    if losses is not None:
        chosen = losses.safest(MOST_LOST_TO_SIMPLICITY)
        k = int(np.flatnonzero(advised)[chosen])
        of_each[:, advised] = losses.expected, losses.upper
        expected, upper = of_each[:, k].tolist()
        alike[advised] = losses.alike
    largest = int(np.flatnonzero(np.isfinite(mean))[-1])
    ceiling = n / mean[largest] if largest + 1 < n else 0.0
    if completed.means is not None and largest + 1 < n:
        ceiling = float((ks / completed.bounds)[largest + 1 :].max())
    open_rates = (ks / means["at_least"].to_numpy())[on_law & (ks != k + 1)]
    most_by_law = float(open_rates.max(initial=0.0))
    gain = None
    if largest + 1 == n and blind[n - 1] <= MOST_BLIND_ROUNDS:
        # time per gradient of k over that of n; the deviations are those of log T_(n) - log T_(k)
        if completed.ratios is None:
            # linearised sampling error of the difference of the logarithms: means of deviations around 0
            relative = arrivals[:, [n - 1]] / mean[n - 1] - arrivals[:, [k]] / mean[k]
            ratio = intervals.resampled_means(relative, window, rng)
            below, above = ratio.high[0], ratio.low[0]
        else:
            logs = np.log(completed.ratios)
            below, above = np.quantile(logs[:, n - 1] - logs[:, k], [0.975, 0.025])
        log = math.log(rate[n - 1] / rate[k])
        known = k + 1 == n or (means["reason"].iloc[k] == "" and means["reason"].iloc[n - 1] == "")
        low, high = (log - below, log - above) if known else (math.nan, math.nan)
        gain = Gain(math.exp(log), math.exp(low), math.exp(high))
    return KChoice(
        k=k + 1,
        best=best + 1,
        alike=None if losses is None else (int(ks[alike][0]), int(ks[alike][-1])),
        largest=largest + 1,
        lost=bool(on_law[k] or most_by_law > rate[k]),
        open_above=bool(ceiling > rate[k]),
        could_gain=max(0.0, float(max(ceiling, most_by_law) / rate[k]) - 1),
        expected_loss=expected,
        upper_loss=upper,
        further_rounds=plausible.further_rounds(MOST_LOST_TO_SIMPLICITY, advised),
        against_all=gain,
        curve=pd.DataFrame(
            {"rate": rate, "expected_loss": of_each[0], "upper_loss": of_each[1], "alike": alike}, index=means.index
        ),
        hidden=completed.means is not None,
    )


def if_not_late(evidence: Evidence, k: int, rng: np.random.Generator) -> int:
    """The choice if attempts of unknown end were as fast as others, as where only the log misses them.

    It is ``k`` unless that is clearly worse then, and expected to lose more than MOST_LOST_TO_SIMPLICITY.
    """
    if not evidence.completed.others:
        return k
    arrivals = evidence.completed.others[0]
    ks = np.flatnonzero(np.isfinite(arrivals).all(axis=0)) + 1
    drawn = intervals.block_averages(arrivals[:, ks - 1], evidence.rounds.window, rng, COPIES)
    if drawn is None or k not in ks:
        return k
    losses = Losses.of(ks / drawn)
    at = int(np.searchsorted(ks, k))
    as_good = losses.alike[at] or losses.expected[at] <= losses.expected.min() + MOST_LOST_TO_SIMPLICITY
    return k if as_good else int(ks[losses.safest(MOST_LOST_TO_SIMPLICITY)])


def without_slow(evidence: Evidence, slow: Sequence[int | str | float], rng: np.random.Generator) -> tuple[WhatIf, ...]:
    """What if the ``slow`` workers, by name, were repaired or left out; nothing if too few rounds are complete.

    Lost calls are as late as in the first completed copy.
    """
    workers = evidence.trace.workers
    seconds = evidence.completed.copies[0]
    complete = np.isfinite(seconds).all(axis=1)
    if not slow or evidence.n != len(workers) or np.count_nonzero(complete) < intervals.FEWEST:
        return ()
    seconds, window = seconds[complete], evidence.rounds.window[complete]
    today = seconds.max(axis=1)
    is_slow = np.array([name in slow for name in workers])
    factors = np.ones(seconds.shape)  # a worker may have become slow at a change, where a window begins
    for label in np.unique(window):
        rows = window == label
        typical = np.median(seconds[rows] / np.median(seconds[rows], axis=1, keepdims=True), axis=0)
        factors[rows] = np.where(is_slow, np.maximum(typical, 1.0), 1.0)
    answers = []
    for repaired in (True, False):
        arrivals = np.sort(seconds / factors if repaired else seconds[:, ~is_slow], axis=1)
        mean = arrivals.mean(axis=0)
        ks = np.arange(1, mean.size + 1)
        rate = ks / mean
        drawn = intervals.block_averages(arrivals, window, rng, COPIES)
        k = int(rate.argmax()) if drawn is None else Losses.of(ks / drawn).safest(MOST_LOST_TO_SIMPLICITY)
        relative = arrivals[:, [k]] / mean[k] - today[:, None] / today.mean()
        error = intervals.resampled_means(relative, window, rng)
        log = math.log(len(workers) / today.mean() / rate[k])
        saved = Gain(*(math.exp(log + shift) for shift in (0.0, float(error.low[0]), float(error.high[0]))))
        answers.append(WhatIf(repaired, tuple(name for name in workers if name in slow), mean.size, k + 1, saved))
    return tuple(answers)


@dataclass(frozen=True, eq=False)
class Setting:
    """A k and max_staleness (inf: nobody restarts), as replayed, and the other candidates."""

    k: int  #: workers waited for
    max_staleness: float  #: threshold, in updates
    alike: tuple[tuple[int, float], ...]  #: candidates that are no worse than the best at 95 %
    played: Played  #: what the replay gave
    tried: pd.DataFrame  #: k, max_staleness, round_time, mean_staleness, objective, log_ratio and error to the best
    expected_loss: float = math.nan  #: by which share the time to the target is above that of the best one, expected
    upper_loss: float = math.nan  #: what the loss does not exceed with probability 0.95
    further_rounds: int = 0  #: about how many rounds more until the upper loss is at most 5 %
    hidden: int = 0  #: candidates left out because restarts hide how long their rounds last
    could_gain: float = 0.0  #: upper bound of the share of the time to the target that one of these could save

    def row(self, k: int, max_staleness: float) -> "pd.Series[float] | None":
        """The row of ``tried`` of a candidate; None if it was left out."""
        rows = self.tried[(self.tried["k"] == k) & (self.tried["max_staleness"] == max_staleness)]
        return None if rows.empty else rows.iloc[0]


def choose_threshold(replay: TraceReplay, k: int) -> Setting:
    """The smallest ``max_staleness`` whose rounds at ``k`` are within one standard error of the shortest.

    One above 0, which makes gradients stale, must shorten the rounds by more than their noise (95 %).
    """
    thresholds = [t for t in THRESHOLDS if t <= 8 * replay.n / k] if k < replay.n else [0.0]
    cells = [(k, t) for t in [*thresholds, *([math.inf] if k < replay.n else [])]]
    fresh = replay.play(k, 0.0)
    clear = []
    for cell in cells:
        log, error = replay.play(*cell).log_ratio(fresh)
        clear.append(cell[1] == 0 or log < -STANDARD_ERRORS_95 * error)
    return _simplest(replay, cells, [replay.play(*cell).round_time for cell in cells], np.array(clear))


def fastest(replay: TraceReplay) -> Setting:
    """The k and ``max_staleness`` with the most gradients per second, however stale: an upper limit, not advice."""
    n = replay.n
    ks = np.unique(np.geomspace(1, n, CEILING_K_VALUES).round().astype(int)).tolist()
    cells = [(k, t) for k in ks for t in ((1.0, 4.0, math.inf) if k < n else (0.0,))]
    return _simplest(replay, cells, [replay.play(*cell).round_time / cell[0] for cell in cells])


def soonest(
    replay: TraceReplay,
    model: FleetModel,
    constants: Constants,
    target: float,
    plausible: PlausibleMeans,
    beside: int,
    rng: np.random.Generator,
    ended: TraceReplay | None = None,
) -> Setting:
    """The k and ``max_staleness`` that reach ``target`` first: proposed by the model, decided by the replayed trace.

    Candidates are a coarse grid, the best of ``choose.best`` under the fitted laws, and the k ``beside`` them without
    staleness.  The updates to the target are those expected near a quadratic at the replayed staleness; the seconds are
    those of the replayed rounds.  Losses come from bootstrap traces, with the stalls not seen that ``plausible`` adds.
    If restarts hide how long slow tasks take, ``ended`` replays tasks that end as soon as they may; settings whose
    rounds then last less by more than MOST_MOVED are not identified, and ``Setting.could_gain`` bounds what they save.
    Raises ValueError as ``choose.best`` does, or if no setting is identified.
    """
    n = replay.n
    ks = np.unique(np.geomspace(1, n, FREE_K_VALUES).round().astype(int)).tolist()
    cells = {(k, t) for k in ks for t in ((0.0, 1.0, math.inf) if k < n else (0.0,))}
    cells = sorted(cells | {(beside, 0.0)} | set(_proposed(model, n, constants, target, rng)))
    played = [replay.play(*cell) for cell in cells]
    objective = times_to_target(cells, played, constants, target)
    if not np.isfinite(objective).any():
        raise ValueError(f"no k and max_staleness reaches target={target:g} with these constants")
    hidden = np.zeros(len(cells), dtype=bool)
    soonest_hidden = math.inf
    if ended is not None:
        least = [ended.play(*cell) for cell in cells]
        moved = [run.round_time / bound.round_time - 1 for run, bound in zip(played, least, strict=True)]
        hidden = np.array(moved) > MOST_MOVED
        soonest_hidden = times_to_target(cells, least, constants, target)[hidden].min(initial=math.inf)
    identified = np.isfinite(objective) & ~hidden
    if not identified.any():
        raise ValueError(
            f"restarts hide the round times of every setting that reaches target={target:g}: trace rounds without "
            "max_staleness, or plan for gradients per second"
        )
    places = np.flatnonzero(identified)
    cells, played, objective = [cells[i] for i in places], [played[i] for i in places], objective[places]

    def losses(times: float = 1.0) -> Losses:
        seconds = np.stack([(run.resampled / run.round_time) ** (1 / math.sqrt(times)) for run in played], axis=1)
        late = 1 + plausible.later(times)[: len(seconds)] / plausible.mean
        return Losses.of(1 / (objective * seconds * np.nan_to_num(late[:, [k - 1 for k, _ in cells]], nan=1.0)))

    now = losses()
    chosen = _simplest(replay, cells, objective.tolist(), losses=now)
    at = cells.index((chosen.k, chosen.max_staleness))
    return replace(
        chosen,
        expected_loss=float(now.expected[at]),
        upper_loss=float(now.upper[at]),
        further_rounds=further_rounds(lambda times: float(losses(times).upper[at]), replay.rounds),
        hidden=int(np.count_nonzero(hidden)),
        could_gain=max(0.0, 1 - soonest_hidden / float(objective[at])),
    )


def times_to_target(cells: list[tuple[int, float]], played: list[Played], constants: Constants, target: float) -> Array:
    """Seconds until the mean squared gradient norm is ``target`` for each (k, max_staleness), at its best step.

    Updates are those expected near a quadratic at the replayed staleness, rounds last as long as replayed; inf: never.
    """
    k, threshold = (np.array(column) for column in zip(*cells, strict=True))
    seconds = np.array([run.round_time for run in played])
    stale = np.array([run.mean_staleness for run in played])
    messages = 2 * k + np.array([run.restarts for run in played])
    n = played[0].participation.size
    compared = Candidates.measured(k, threshold, seconds, stale, messages)
    table = candidates.outcomes(constants, n, compared, None, Target(target))
    return table["objective"].to_numpy(dtype=float)


def _proposed(
    model: FleetModel, n: int, constants: Constants, target: float, rng: np.random.Generator
) -> list[tuple[int, float]]:
    """The best candidates by the laws alone."""
    laws = model.laws
    atoms = any(law.has_atoms for law in (laws if isinstance(laws, list) else [laws]))
    with np.errstate(all="ignore"):
        # the fast route will do: the replayed trace decides
        method, generator = ("auto", rng) if atoms else ("fast", None)
        curve = choose.best(laws, n, constants, Target(target), method=method, rng=generator).curve
    near = curve[curve["objective"] <= CONTENDER_FACTOR * curve["objective"].min()].nsmallest(
        MOST_CONTENDERS, "objective"
    )
    return [(int(k), float(t)) for k, t in zip(near["k"], near["max_staleness"], strict=True)]


def _simplest(
    replay: TraceReplay,
    cells: list[tuple[int, float]],
    objective: list[float],
    allowed: NDArray[np.bool_] | None = None,
    losses: Losses | None = None,
) -> Setting:
    """Of the ``cells`` within one standard error of the least ``objective``, the simplest that is safe.

    The error is that of the round times over the same bootstrap traces.  Safe is an upper loss of at most MOST_LOST,
    or the least of those cells.
    """
    least = int(np.argmin(objective))
    best = replay.play(*cells[least])
    rows = []
    for cell, value in zip(cells, objective, strict=True):
        played = replay.play(*cell)
        error = played.log_ratio(best)[1] if cell != cells[least] else 0.0
        log = math.log(value / objective[least])
        rows.append((*cell, played.round_time, played.mean_staleness, value, log, error))
    names = ["k", "max_staleness", "round_time", "mean_staleness", "objective", "log_ratio", "error"]
    tried = pd.DataFrame(rows, columns=names)
    allowed = np.ones(len(tried), dtype=bool) if allowed is None else allowed
    above = tried["log_ratio"] - tried["log_ratio"][allowed].min()
    good = tried[allowed & (above <= np.minimum(tried["error"], MOST_LOST_TO_SIMPLICITY))]
    if losses is not None:
        upper = losses.upper[good.index]
        good = good[upper <= max(MOST_LOST, upper.min())]
    row = good.sort_values(["k", "max_staleness"], ascending=[False, True]).iloc[0]
    k, threshold = int(row["k"]), float(row["max_staleness"])
    alike = tried[tried["log_ratio"] <= STANDARD_ERRORS_95 * tried["error"]]
    same = tuple((int(k), float(t)) for k, t in zip(alike["k"], alike["max_staleness"], strict=True))
    return Setting(k, threshold, same, replay.play(k, threshold), tried)


def gain(played: Played, gradients: int, other: Played, others: int) -> Gain:
    """Time per gradient of one setting over that of another, with a 95 % interval over bootstrap traces."""
    log, error = played.log_ratio(other)
    log += math.log(others / gradients)
    half = STANDARD_ERRORS_95 * error
    return Gain(math.exp(log), math.exp(log - half), math.exp(log + half))


def gain_to_target(replay: TraceReplay, setting: Setting) -> Gain | None:
    """Time to the target of ``setting``, one of ``soonest``, over that of waiting for everybody; None: unknown."""
    mine, of_all = setting.row(setting.k, setting.max_staleness), setting.row(replay.n, 0.0)
    if mine is None or of_all is None:
        return None
    per_round = gain(setting.played, 1, replay.play(replay.n, 0.0), 1)
    updates = [row["objective"] / row["round_time"] for row in (mine, of_all)]
    factor = updates[0] / updates[1]
    return Gain(per_round.ratio * factor, per_round.low * factor, per_round.high * factor)
