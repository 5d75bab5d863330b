"""From measured delays to a decision: how many workers to wait for, when one should restart, and what it saves.

``plan`` goes from a trace to a ``Plan``; ``python -m abs_theory plan trace.csv`` prints it, and writes it as a page
(``plan_page``) and as JSON.
"""

import math
from dataclasses import replace

import numpy as np
import pandas as pd

from abs_theory import order_stats, steady_state
from abs_theory.bounds import Constants
from abs_theory.checks import check_count, check_positive
from abs_theory.plan import decide
from abs_theory.plan.arrivals import full_wait_every, mean_arrivals
from abs_theory.plan.decide import Gain
from abs_theory.plan.diagnosis import Diagnosis, diagnose
from abs_theory.plan.effects import Effects, Table, effects, table
from abs_theory.plan.fleet_model import FleetModel, fleet_model, resized
from abs_theory.plan.intervals import FEWEST
from abs_theory.plan.replayed import Replay
from abs_theory.plan.result import Plan
from abs_theory.plan.words import sentences
from abs_theory.traces import Trace, staleness_check
from abs_theory.typing import Array

__all__ = ["plan"]


def plan(
    trace: Trace,
    n: int | None = None,
    *,
    constants: Constants | None = None,
    target: float | None = None,
    seed: int = 0,
) -> Plan:
    """Diagnose ``trace``, choose k and max_staleness for ``n`` workers (those of the trace if None), and replay it.

    With ``constants`` and ``target`` (mean squared gradient norm) what counts is the time to the target; without, k has
    the most gradients per second when all workers start each round together, k / E[T_(k)], and max_staleness the
    shortest rounds at that k.  Cost: seconds, for up to 1000 workers or so; ``seed`` is of the bootstrap.
    Raises ValueError unless target and constants come together, and someone delivered twice.
    """
    if (constants is None) != (target is None):
        raise ValueError("the time to a target takes L, sigma2, gap and target, all four; give none for gradients/s")
    if constants is not None:
        check_positive("target", target)
        check_positive("gap", constants.gap)
    n = trace.n if n is None else n
    check_count("n", n)
    rng = np.random.default_rng(seed)
    data = table(trace)
    if np.count_nonzero(data.observed) < 2:
        raise ValueError("a plan takes two deliveries at least: the trace has fewer")
    parts = effects(data.delivered)
    diagnosis = diagnose(data, parts)
    arrivals, means = _arrivals(data, parts, n, rng)
    choice = decide.choose_k(arrivals, data.window[: len(arrivals)], means, rng)
    model = _model_or_none(data, parts, diagnosis, n)
    replay = _replay_or_none(data, parts, n, rng)
    policy, savings, objective = None, choice.against_all, "gradients per second, k / E[T_(k)]"
    restart = None
    k = choice.k
    if replay is not None and constants is not None and target is not None and model is not None:
        policy = decide.soonest(replay, model, constants, target, rng)
        objective = f"seconds to a mean squared gradient norm of {target:g}"
        all_, here = (_row(policy.tried, cell) for cell in ((n, 0.0), (policy.k, policy.max_staleness)))
        savings = decide.gain(policy.played, 1, replay.play(n, 0.0), 1)
        savings = _scaled(savings, here["objective"] / here["round_time"] / (all_["objective"] / all_["round_time"]))
        k = policy.k
    elif constants is not None:
        raise ValueError(
            f"the time to a target takes {FEWEST} rounds in which everybody delivered, got {diagnosis.complete}"
        )
    elif replay is not None:
        policy = decide.choose_threshold(replay, k)
    if policy is not None and replay is not None and k < n:
        restart = decide.gain(policy.played, 1, replay.play(k, 0.0), 1)
    threshold = policy.max_staleness if policy is not None else (0.0 if k == n else None)
    laws = None if model is None else model.laws
    by_model = np.full(n, math.nan) if laws is None else order_stats.means(laws, n) * model.factor  # pyright: ignore
    found = Plan(
        n=n,
        k=k,
        max_staleness=threshold,
        identified=choice.identified,
        objective=objective,
        savings=savings,
        restart_savings=restart,
        predicted=_predicted(model, k, n, threshold, rng),
        replayed=math.nan if policy is None else policy.played.round_time,
        full_wait_every=full_wait_every(choice.largest, n, len(data.seconds)),
        curve=means.join(choice.curve).assign(model=np.where(means["rounds"] > 0, by_model, math.nan)),
        diagnosis=diagnosis,
        model=model,
        choice=choice,
        policy=policy,
        ceiling=None if replay is None or constants is not None else decide.fastest(replay),
        report=trace.report,
        staleness=staleness_check(trace),
        trace_workers=trace.n,
        rounds=len(data.seconds),
        table=data,
    )
    return replace(found, text="\n".join(sentences(found)))


def _arrivals(data: Table, parts: Effects, n: int, rng: np.random.Generator) -> tuple[Array, pd.DataFrame]:
    """Arrivals of each round, and their means; of ``n`` other workers, the mean over fleets of such."""
    if n == data.seconds.shape[1]:
        return data.arrivals, mean_arrivals(data, parts, rng)
    whole = data.observed.all(axis=1)
    if np.count_nonzero(whole) < 2:
        raise ValueError(
            f"to plan for n={n} workers, not the {data.seconds.shape[1]} of the trace, takes two rounds in which all "
            f"delivered, got {np.count_nonzero(whole)}"
        )
    copies = resized(data.complete, effects(data.complete), n, rng)
    arrivals = np.sort(copies, axis=2).mean(axis=0)
    like = Table(arrivals, np.ones(arrivals.shape, dtype=bool), data.window[whole])
    return arrivals, mean_arrivals(like, effects(copies[0]), rng)


def _model_or_none(data: Table, parts: Effects, diagnosis: Diagnosis, n: int) -> FleetModel | None:
    try:
        return fleet_model(data, parts, diagnosis, n)
    except ValueError:  # a worker that never delivered
        return None


def _replay_or_none(data: Table, parts: Effects, n: int, rng: np.random.Generator) -> Replay | None:
    whole = data.observed.all(axis=1)
    seconds = data.complete
    if len(seconds) < FEWEST:
        return None
    if n != seconds.shape[1]:
        seconds = resized(seconds, effects(seconds), n, rng)[0]
    return Replay(seconds, data.window[whole], rng)


def _predicted(model: FleetModel | None, k: int, n: int, threshold: float | None, rng: np.random.Generator) -> float:
    """Round time by the laws; those with atoms are simulated."""
    if model is None or threshold is None:
        return math.nan
    laws = model.laws
    if threshold == 0 or k == n:
        return order_stats.mean(laws, k, n) * model.factor
    try:
        with np.errstate(all="ignore"):
            seconds = steady_state.abs_sgd(laws, k, n, threshold).round_time
    except ValueError:  # atoms, or laws that are all but constant
        seconds = steady_state.abs_sgd(laws, k, n, threshold, "monte-carlo", rng).round_time
    return float(seconds) * model.factor


def _row(tried: pd.DataFrame, cell: tuple[int, float]) -> pd.Series:
    return tried[(tried["k"] == cell[0]) & (tried["max_staleness"] == cell[1])].iloc[0]


def _scaled(gain: Gain, factor: float) -> Gain:
    return Gain(gain.ratio * factor, gain.low * factor, gain.high * factor)
