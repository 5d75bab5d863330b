"""From measured delays to a decision: how many workers to wait for, when one should restart, and what it saves.

``plan`` goes from a trace to a ``Plan``; ``python -m abs_theory plan trace.csv`` prints it and writes it as a page
and as JSON (``plan.telling.page``).
"""

import math
from dataclasses import replace

import numpy as np
import pandas as pd

from abs_theory import order_stats, steady_state
from abs_theory.bounds import Constants
from abs_theory.checks import check_positive, explains_types
from abs_theory.choose import ties
from abs_theory.plan import decide
from abs_theory.plan.arrivals import MOST_BLIND_CALLS, full_wait_every, mean_arrivals
from abs_theory.plan.decide import Gain, KChoice, Setting
from abs_theory.plan.diagnosis import slow_workers
from abs_theory.plan.effects import RoundTable
from abs_theory.plan.evidence import Evidence, gather
from abs_theory.plan.fleet_model import FleetModel, NotIdentifiedError, fleet_model
from abs_theory.plan.intervals import FEWEST, ROUNDING
from abs_theory.plan.losses import PlausibleMeans
from abs_theory.plan.replayed import TraceReplay
from abs_theory.plan.result import Plan
from abs_theory.plan.telling.page import fragment
from abs_theory.plan.telling.words import sentences
from abs_theory.plan.trend import doubt
from abs_theory.traces import Trace, counted, from_frame, staleness_check
from abs_theory.typing import Array

__all__ = ["plan"]

SELDOM = 0.5  # of the rounds: if fewer saw the chosen number of arrivals, the plan says so
LEAST_OF_ANOTHER_FLEET = 8  # last rounds with another number of workers, from which on a plan says so
NEVER = 1e4  # times the longest delay: as good as never in a replay


@explains_types
def plan(
    trace: Trace | pd.DataFrame,
    n: int | None = None,
    *,
    constants: Constants | None = None,
    target: float | None = None,
    seed: int = 0,
) -> Plan:
    """Diagnose ``trace``, choose k and max_staleness for ``n`` workers (those of the trace if None), and replay it.

    Without ``constants``, k has the most gradients per second when all workers start each round together,
    k / E[T_(k)], and ``max_staleness`` has the shortest rounds at that k.  With ``constants`` and ``target`` (a mean
    squared gradient norm) both minimise the time to the target.  ``seed`` is of the bootstrap.  Cost: seconds, for up
    to about 1000 workers.
    Raises ValueError unless target and constants come together, and two attempts were delivered.

    See also ``choose.best``, which chooses from a delay law instead of a trace.

    >>> import pandas as pd
    >>> from abs_theory import traces
    >>> rows = [(t, w, 9.0 if w == 2 else 1.0 + 0.01 * (t % 3)) for t in range(30) for w in range(3)]
    >>> answer = plan(traces.from_frame(pd.DataFrame(rows, columns=["round", "worker", "seconds"])))
    >>> answer.k, answer.max_staleness, round(answer.replayed, 2)
    (2, 0.0, 1.01)
    """
    _check_goal(constants, target)
    if isinstance(trace, pd.DataFrame):
        trace = from_frame(trace)
    trace = trace.finished
    rng = np.random.default_rng(seed)
    evidence = gather(trace, n, rng)
    choice, plausible, means = _choose_k(evidence, seed, rng)
    model = _model(evidence)
    replay, ended = _replays(evidence, rng)
    if constants is not None and target is not None:
        if model is None:
            raise ValueError("the time to a target needs a law for every worker, and one has not delivered twice")
        if replay is None:
            replay, ended = _cut_replays(evidence, rng)
        setting: Setting | None = decide.soonest(replay, model, constants, target, plausible, choice.k, rng, ended)
        objective = f"seconds to a mean squared gradient norm of {target:g}"
        savings: Gain | None = decide.gain_to_target(replay, setting)
    else:
        replay = None if evidence.completed.open_tail else replay
        setting = None if replay is None else decide.choose_threshold(replay, choice.k)
        objective = "gradients per second, k / E[T_(k)]"
        savings = choice.against_all
    judged = choice if setting is None or constants is None else setting
    k = choice.k if setting is None else setting.k
    threshold = setting.max_staleness if setting is not None else (0.0 if k == evidence.n else None)
    slow = slow_workers(evidence.measured, evidence.effects, trace.workers)
    k_lately = _k_since_change(evidence, seed)
    by = "" if constants is None else " by gradients per second"
    answer = Plan(
        n=evidence.n,
        k=k,
        max_staleness=threshold,
        identified=not (choice.lost or choice.open_above or judged.further_rounds or (setting and setting.could_gain)),
        expected_loss=judged.expected_loss,
        upper_loss=judged.upper_loss,
        rounds_needed=judged.further_rounds,
        objective=objective,
        savings=savings,
        restart_savings=_restart_savings(replay, setting) if ended is None or k <= choice.largest else None,
        predicted=_predicted(model, k, evidence.n, threshold),
        replayed=math.nan if setting is None else setting.played.round_time,
        full_wait_every=full_wait_every(choice.largest, evidence.n, len(evidence.measured.seconds)),
        curve=_curve(means, choice, model),
        diagnosis=evidence.diagnosis,
        model=model,
        choice=choice,
        setting=setting,
        ceiling=None if replay is None or constants is not None else decide.fastest(replay),
        source=trace.summary,
        report=(*trace.report, *_left_out(evidence)),
        doubts=(
            *trace.doubts,
            *_another_fleet(evidence, n),
            *_drift(evidence, k_lately, by),
            *_without_a_time(evidence, choice.k, seed, by),
            *_unlike_rounds(means, k),
            *_ties(evidence.measured, k),
        ),
        staleness=staleness_check(trace),
        trace_workers=trace.n,
        workers=trace.workers,
        slow_workers=slow,
        changes=evidence.changes,
        trend=evidence.trend,
        worker_trends=evidence.worker_trends,
        k_since_change=k_lately,
        without_slow=decide.without_slow(evidence, [row["worker"] for row in slow], rng),
        asked=evidence.asked,
        rounds=len(evidence.measured.seconds),
        table=evidence.measured,
    )
    return replace(answer, text="\n".join(sentences(answer)), to_html=fragment)


def _check_goal(constants: Constants | None, target: float | None) -> None:
    if (constants is None) != (target is None):
        given = "only target" if constants is None else "only constants"
        raise ValueError(
            f"to minimise the time to a target, give both constants (L, sigma2 and gap) and target, got {given}; "
            "without both, plan maximises the gradients per second"
        )
    if constants is not None:
        check_positive("target", target)
        check_positive("gap", constants.gap)


def _choose_k(evidence: Evidence, seed: int, rng: np.random.Generator) -> tuple[KChoice, PlausibleMeans, pd.DataFrame]:
    """The choice of k by gradients per second, with the plausible and the measured E[T_(k)] that it rests on."""
    means = mean_arrivals(evidence.rounds, evidence.round_effects, rng, evidence.completed)
    # a generator of its own, so that the intervals do not depend on how losses are drawn
    plausible = PlausibleMeans(evidence, np.random.default_rng((seed, len(evidence.measured.seconds))))
    return decide.choose_k(evidence, means, plausible, rng), plausible, means


def _k_since_change(evidence: Evidence, seed: int) -> int | None:
    """k by the rounds since the last change, or by the last ones of a drift; None if there are none, or too few."""
    last = [*evidence.changes[-1:], *evidence.drifts]
    if not last or evidence.measured.lined_up:
        return None
    numbers = np.unique(evidence.trace.attempts["round"])
    since = numbers[last[0].row :]
    if len(since) < FEWEST:
        return None
    rng = np.random.default_rng(seed)
    return _choose_k(gather(evidence.trace.subset(since), evidence.n, rng), seed, rng)[0].k


def _drift(evidence: Evidence, k: int | None, by: str) -> list[str]:
    """A sentence if delays drift, with the ``k`` of the last rounds unless a change is told."""
    if not evidence.drifts:
        return []
    asked = "" if k is None or evidence.changes else f" (they ask for k = {k}{by})"
    return [doubt(evidence.drifts) + asked]


def _left_out(evidence: Evidence) -> list[str]:
    """Sentences on rounds of the trace in which fewer workers took part, or more, than the plan is for."""
    tried, asked = evidence.measured.tried, evidence.asked
    if evidence.taking_part is evidence.measured:
        return []
    told = []
    if fewer := int(np.count_nonzero(tried < asked)):
        told.append(f"{counted(fewer, 'round')} with fewer than {asked} workers left out of E[T_(k)] and the decision")
    if more := int(np.count_nonzero(tried > asked)):
        told.append(f"{counted(more, 'round')} with more than {asked} workers: {asked} of them count")
    return told


def _another_fleet(evidence: Evidence, n: int | None) -> list[str]:
    """A sentence if the last rounds have another number of workers than the plan is for, and ``n`` was not given."""
    tried = evidence.measured.tried
    others = np.flatnonzero(tried != tried[-1])
    first = int(others[-1]) + 1 if others.size else 0
    if n is not None or tried[-1] == evidence.n or not first or len(tried) - first < LEAST_OF_ANOTHER_FLEET:
        return []
    number = np.unique(evidence.trace.attempts["round"])[first]
    return [
        f"{counted(int(tried[-1]), 'worker')} took part in the last {len(tried) - first} rounds, and the plan is for "
        f"{evidence.n}; if it stays so, plan from these rounds only: --since {number}"
    ]


def _without_a_time(evidence: Evidence, k: int, seed: int, by: str) -> list[str]:
    """A sentence on attempts of unknown end, if the choice rests on taking them as late, or if they are many."""
    data = evidence.measured
    tried, unknown = np.isfinite(data.seconds), data.end_unknown
    comes_back = np.logical_or.accumulate(data.observed[::-1], axis=0)[::-1]
    if np.count_nonzero(unknown & comes_back) <= unknown.sum() / 2:  # none, or workers that stopped, which is told
        return []
    other = decide.if_not_late(evidence, k, np.random.default_rng(seed))
    if other == k and unknown.sum() <= MOST_BLIND_CALLS * tried.sum():
        return []
    then = f"k = {other}" if other != k or by else "the same k"
    return [
        f"{unknown.sum()} of {counted(int(tried.sum()), 'attempt')} have no time and count as stragglers; if only the "
        f"log lacks them, the choice{by} is {then}"
    ]


def _model(evidence: Evidence) -> FleetModel | None:
    """Fitted laws; None if a worker never delivered."""
    try:
        return fleet_model(evidence.measured, evidence.effects, evidence.diagnosis, evidence.n)
    except NotIdentifiedError:
        return None


def _cut_replays(evidence: Evidence, rng: np.random.Generator) -> tuple[TraceReplay, TraceReplay]:
    """Rounds that began together and that nobody waited out, to be played again up to the arrivals that were seen.

    Without staleness, a round lasts until its k-th arrival, whatever came of the later ones.  Tasks that were given up
    never end; second, the same, where they end as soon as they may.
    Raises ValueError unless there are enough rounds, each with an arrival.
    """
    delays, rounds = evidence.completed.copies, evidence.rounds
    arrived = np.isfinite(delays)
    if evidence.completed.means is not None or len(rounds.seconds) < FEWEST or not arrived.any(axis=2).all():
        raise ValueError(_too_few_rounds(evidence))
    longest = float(np.nanmax(rounds.seconds))
    given_up = np.where(np.isfinite(rounds.seconds), rounds.seconds, np.nanmin(rounds.seconds))
    cut, ended = np.where(arrived, delays, NEVER * longest), np.where(arrived, delays, given_up)
    window = rounds.window
    return TraceReplay(cut, window, rng), TraceReplay(ended, window, rng, copies=0)


def _too_few_rounds(evidence: Evidence) -> str:
    """Why no time to a target can be given, and what to do."""
    if evidence.completed.means is not None:
        rows = evidence.fleets.shape[1]
        return f"the time to a target needs {FEWEST} tasks of each worker, some have {rows}: trace a longer run"
    return (
        f"the time to a target needs {FEWEST} rounds in which everybody delivered, got {evidence.diagnosis.complete}: "
        "let some rounds wait for everybody, or give no target and no constants and plan for gradients per second"
    )


def _replays(evidence: Evidence, rng: np.random.Generator) -> tuple[TraceReplay | None, TraceReplay | None]:
    """The complete rounds, to be played again; None if there are too few.

    Second, if restarts hide how long slow tasks take: the same, where those tasks end as soon as they may.
    """
    completed = evidence.completed
    if evidence.fleets.shape[1] < FEWEST:
        return None, None
    replay = TraceReplay(evidence.fleets, evidence.fleet_window, rng, resampled=completed.resampled)
    if not completed.open_tail or completed.ended is None:
        return replay, None
    return replay, TraceReplay(completed.ended, evidence.fleet_window, rng, copies=0)


def _unlike_rounds(means: pd.DataFrame, k: int) -> list[str]:
    """Sentences where few rounds saw ``k`` arrivals, or where E[T_(k)] falls, because each k has rounds of its own."""
    seen, mean = means["rounds"], means["mean"].dropna()
    sentences = []
    if seen[k] < SELDOM * seen.max():
        sentences.append(f"only {seen[k]} of {counted(int(seen.max()), 'round')} saw {counted(k, 'arrival')}")
    steps = mean.diff() / mean
    if steps.min() < -ROUNDING:
        at = int(steps.index.to_numpy()[int(np.nanargmin(steps.to_numpy()))])
        sentences.append(
            f"E[T_(k)] falls from {mean[at - 1]:.4g} s at k = {at - 1} to {mean[at]:.4g} s at k = {at}, because it is "
            f"the mean of {counted(int(seen[at - 1]), 'round')} there and of {seen[at]} here, which differ"
        )
    return sentences


def _ties(measured: RoundTable, k: int) -> list[str]:
    """A sentence if the number of a worker, not its time, often decides who is among the first ``k``."""
    words = ties.often_tied(np.where(measured.observed, measured.seconds, np.inf), k, "recorded time")
    return [words] if words else []


def _restart_savings(replay: TraceReplay | None, setting: Setting | None) -> Gain | None:
    """Round time of the setting over that of restarting every late worker."""
    if replay is None or setting is None or setting.k == replay.n:
        return None
    return decide.gain(setting.played, 1, replay.play(setting.k, 0.0), 1)


def _curve(means: pd.DataFrame, choice: KChoice, model: FleetModel | None) -> pd.DataFrame:
    """Per k: the measured mean arrivals, the rates, and what the model predicts for the k that were seen."""
    n = len(means)
    by_model: Array = np.full(n, math.nan) if model is None else order_stats.means(model.laws, n) * model.factor
    return means.join(choice.curve).assign(model=np.where(means["rounds"] > 0, by_model, math.nan))


def _predicted(model: FleetModel | None, k: int, n: int, threshold: float | None) -> float:
    """Round time by the laws."""
    if model is None or threshold is None:
        return math.nan
    if threshold == 0 or k == n:
        return order_stats.mean(model.laws, k, n) * model.factor
    with np.errstate(all="ignore"):
        return float(steady_state.abs_sgd(model.laws, k, n, threshold).round_time) * model.factor
