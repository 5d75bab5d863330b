"""A plan: what a trace says about k and the threshold, as a value."""

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from abs_theory.checks import is_integer
from abs_theory.plan.decide import Gain, KChoice, Policy
from abs_theory.plan.diagnosis import Diagnosis
from abs_theory.plan.effects import Table
from abs_theory.plan.fleet_model import FleetModel

__all__ = ["Plan"]


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
    text: str = ""  #: the plan in plain words, one page

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
        return self.text

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
