"""From measured delays to a decision: how many workers to wait for, when one should restart, and what it saves.

``plan`` goes from a trace to a ``Plan``; ``python -m abs_theory plan trace.csv`` prints it, and writes it as a page
(``plan_page``) and as JSON.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from abs_theory import decide, order_stats, steady_state
from abs_theory.arrivals import full_wait_every, mean_arrivals
from abs_theory.bounds import Constants
from abs_theory.checks import check_count, check_positive, is_integer
from abs_theory.decide import Gain, KChoice, Policy
from abs_theory.diagnose import Diagnosis, diagnose
from abs_theory.effects import Effects, Table, effects, table
from abs_theory.intervals import FEWEST
from abs_theory.plan_words import sentences
from abs_theory.replay import Replay
from abs_theory.trace_model import FleetModel, fleet_model, resized
from abs_theory.trace_staleness import staleness_check
from abs_theory.traces import Trace

__all__ = ["Plan", "plan"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Plan:
    """What to run, what is known of it, and what is not; times in seconds."""

    n: int  #: workers that the plan is for
    k: int  #: gradients to wait for
    max_staleness: float | None  #: inf: nobody restarts; None: not identified by this trace
    identified: bool  #: whether it is sure that no larger k, which no round has seen, is better
    objective: str  #: what was optimised
    savings: Gain | None  #: time per gradient (to the target: in all) against waiting for everybody
    restart_savings: Gain | None  #: round time against restarting all late workers
    predicted: float  #: round time of the choice by the fitted laws; NaN if there are none
    replayed: float  #: the same by replaying the trace itself; NaN if it has too few complete rounds
    full_wait_every: int  #: wait for everybody once in so many rounds, to learn what is not identified; 0: no need
    curve: pd.DataFrame  #: per k: mean, stderr, low, high, rounds, reason, rate, error, model
    diagnosis: Diagnosis  #: what the variance of the delays comes from
    model: FleetModel | None  #: fitted laws of the workers; None if there are none
    choice: KChoice  #: how k was chosen by gradients per second
    policy: Policy | None  #: k and threshold as replayed; None if the trace has too few complete rounds
    #: k and threshold with the most gradients per second, however stale: a ceiling, no advice; None with a target
    ceiling: Policy | None
    report: tuple[str, ...]  #: what reading the trace did and noticed
    staleness: str  #: how stale gradients were, and whether that obeys a conservation law, in one sentence
    trace_workers: int  #: workers of the trace
    rounds: int  #: of the trace
    table: Table  #: the trace as arrays

    @property
    def k_alike(self) -> tuple[int, int] | None:
        """From least to largest k, those that the trace does not tell from the best (95 %); None: too few rounds."""
        if self.policy is None or self.objective.startswith("gradients"):
            return self.choice.alike
        ks = [k for k, _ in self.policy.alike]
        return min(ks), max(ks)

    @property
    def thresholds_alike(self) -> tuple[float, ...]:
        """At the chosen k, the max_staleness that the trace does not tell from the best (95 %)."""
        return () if self.policy is None else tuple(sorted(t for k, t in self.policy.alike if k == self.k))

    def __str__(self) -> str:
        return "\n".join(sentences(self))

    def to_dict(self) -> dict[str, Any]:
        """All of it but the data, for JSON: infinite and unknown numbers are the texts "none" and null."""
        model = self.model
        return {
            "n": self.n,
            "k": self.k,
            "max_staleness": _number(self.max_staleness),
            "k_alike": self.k_alike,
            "max_staleness_alike": [_number(t) for t in self.thresholds_alike],
            "identified": self.identified,
            "objective": self.objective,
            "savings": _gain(self.savings),
            "restart_savings": _gain(self.restart_savings),
            "round_time": {"predicted": _number(self.predicted), "replayed": _number(self.replayed)},
            "largest_k_seen": self.choice.largest,
            "larger_k_could_gain": self.choice.could_gain,
            "full_wait_every": self.full_wait_every,
            "regime": self.diagnosis.regime,
            "diagnosis": list(self.diagnosis.sentences),
            "laws": []
            if model is None
            else [
                [{"name": f.name, "law": repr(f.law), "aic": _number(f.aic), "ks": f.ks} for f in fits]
                for fits in model.fits
            ],
            "group_of_worker": None if model is None else model.group.tolist(),
            "never_waiting": None
            if self.ceiling is None
            else {
                "k": self.ceiling.k,
                "max_staleness": _number(self.ceiling.max_staleness),
                "gradients_per_second": self.ceiling.k / self.ceiling.played.round_time,
                "mean_staleness": self.ceiling.played.mean_staleness,
            },
            "curve": [
                {name: _number(value) for name, value in row.items()}
                for row in self.curve.reset_index().to_dict("records")
            ],
            "input": list(self.report),
            "staleness_check": self.staleness,
        }

    def write(self, folder: Path) -> list[Path]:
        """Write plan.html and plan.json into ``folder``."""
        from abs_theory.plan_page import page  # pictures take a second to import

        folder.mkdir(parents=True, exist_ok=True)
        contents = {"plan.html": page(self), "plan.json": json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n"}
        for name, text in contents.items():
            (folder / name).write_text(text, encoding="utf-8")
        return [folder / name for name in contents]


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
    return Plan(
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


def _gain(gain: Gain | None) -> dict[str, Any] | None:
    return None if gain is None else {name: _number(value) for name, value in vars(gain).items()}


def _number(value: Any) -> Any:
    """As JSON has it: no NaN, no infinity."""
    if value is None or isinstance(value, str):
        return value
    if is_integer(value):
        return int(value)
    value = float(value)
    return None if math.isnan(value) else "none" if math.isinf(value) else value
