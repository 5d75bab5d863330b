"""A plan: the chosen k and threshold with their evidence, as a value."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from abs_theory.checks import is_integer
from abs_theory.plan.changes import Change
from abs_theory.plan.decide import Gain, KChoice, Setting, WhatIf
from abs_theory.plan.diagnosis import Diagnosis
from abs_theory.plan.effects import RoundTable
from abs_theory.plan.fleet_model import FleetModel
from abs_theory.plan.trend import Trend

__all__ = ["Plan"]


@dataclass(frozen=True, eq=False)
class Plan:
    """What to run, how well it is known, and what is not known; times in seconds."""

    n: int  #: workers that the plan is for
    k: int  #: gradients to wait for
    max_staleness: float | None  #: inf: nobody restarts; None: not identified by this trace
    identified: bool  #: whether no larger k, which no round has seen, can be better
    objective: str  #: what was optimised
    savings: Gain | None  #: time per gradient (with a target: time to it) over that of waiting for everybody
    restart_savings: Gain | None  #: round time over that of restarting all late workers
    predicted: float  #: round time of the choice by the fitted laws; NaN without laws
    replayed: float  #: round time of the choice by replaying the trace; NaN if too few rounds are complete
    full_wait_every: int  #: rounds from one full wait to the next, to learn what is not identified; 0: no need
    curve: pd.DataFrame  #: per k: mean, stderr, low, high, rounds, reason, rate, losses (as in ``choice.curve``), model
    diagnosis: Diagnosis  #: what the variance of the delays comes from
    model: FleetModel | None  #: fitted laws of the workers; None if there are none
    choice: KChoice  #: how k was chosen by gradients per second
    setting: Setting | None  #: k and threshold as replayed; None if the trace has too few complete rounds
    #: k and threshold with the most gradients per second, however stale: a limit, not advice; None with a target
    ceiling: Setting | None
    source: str  #: what was read, in one sentence
    report: tuple[str, ...]  #: what reading the trace did and noticed
    staleness: str  #: mean staleness of the trace, and whether its versions add up, in words
    trace_workers: int  #: workers of the trace
    workers: tuple[int | str, ...]  #: their names
    slow_workers: list[dict[str, float | int | str]]  #: worker, factor to the median one, share of rounds it is last in
    asked: int  #: workers that take part in a round of the trace: all, or as many as were asked
    rounds: int  #: of the trace
    table: RoundTable  #: the trace as arrays
    text: str = ""  #: the plan in plain words, one page
    #: by which share the best choice has more gradients per second (with a target: this one takes more time), expected
    expected_loss: float = math.nan
    upper_loss: float = math.nan  #: upper end of the 95 % interval of this loss
    rounds_needed: int = 0  #: further rounds until the data carry a choice; 0: they do
    #: what may change the whole answer: another unit, workers that stopped, few rounds with k arrivals
    doubts: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()  #: when the level of the fleet or of a worker changed
    trend: Trend | None = None  #: a steady drift of all delays
    worker_trends: tuple[Trend, ...] = ()  #: steady drifts of single workers against the others, the largest first
    #: k chosen from the rounds since the last change, or without one from the last ones of a drift; None: neither
    k_since_change: int | None = None
    without_slow: tuple[WhatIf, ...] = ()  #: what if the slow workers were repaired, or left out
    to_html: "Callable[[Plan], str] | None" = None  #: how a notebook shows the plan; None: as text

    @property
    def k_alike(self) -> tuple[int, int] | None:
        """Least and largest k that are statistically as good as the best (95 %); None: too few rounds."""
        if self.setting is None or self.objective.startswith("gradients"):
            return self.choice.alike
        ks = [k for k, _ in self.setting.alike]
        return min(ks), max(ks)

    @property
    def seconds_to_target(self) -> float | None:
        """Seconds to the target by the replay and the given constants; None without a target."""
        if self.setting is None or self.objective.startswith("gradients"):
            return None
        row = self.setting.row(self.setting.k, self.setting.max_staleness)
        return None if row is None else float(row["objective"])

    @property
    def thresholds_alike(self) -> tuple[float, ...]:
        """At the chosen k, each max_staleness that is statistically as good as the best (95 %)."""
        return () if self.setting is None else tuple(sorted(t for k, t in self.setting.alike if k == self.k))

    def __str__(self) -> str:
        return self.text

    def _repr_html_(self) -> str | None:
        return None if self.to_html is None else self.to_html(self)

    def to_dict(self) -> dict[str, object]:
        """Everything except the data, for JSON: infinite numbers become the text "none", unknown ones null."""
        model = self.model
        return {
            "n": self.n,
            "k": self.k,
            "max_staleness": _number(self.max_staleness),
            "k_alike": self.k_alike,
            "max_staleness_alike": [_number(t) for t in self.thresholds_alike],
            "identified": self.identified,
            "objective": self.objective,
            "seconds_to_target": _number(self.seconds_to_target),
            "savings": _gain(self.savings),
            "restart_savings": _gain(self.restart_savings),
            "round_time": {"predicted": _number(self.predicted), "replayed": _number(self.replayed)},
            "largest_k_seen": self.choice.largest,
            "larger_k_could_gain": self.choice.could_gain,
            "full_wait_every": self.full_wait_every,
            "regime": self.diagnosis.regime,
            "diagnosis": list(self.diagnosis.sentences),
            "workers": list(self.workers),
            "expected_loss": _number(self.expected_loss),
            "upper_loss": _number(self.upper_loss),
            "further_rounds_needed": self.rounds_needed,
            "slow_workers": self.slow_workers,
            "changes": [vars(change) for change in self.changes],
            "trend": None if self.trend is None else vars(self.trend),
            "worker_trends": [vars(drift) for drift in self.worker_trends],
            "k_since_change": self.k_since_change,
            "without_slow_workers": [{**vars(case), "savings": _gain(case.savings)} for case in self.without_slow],
            "laws": []
            if model is None
            else [
                [{"name": fit.name, "law": repr(fit.law), "aic": _number(fit.aic), "ks": fit.ks} for fit in fits]
                for fits in model.fits
            ],
            "delay": [] if model is None else model.delay_texts,
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
            "source": self.source,
            "input": list(self.report),
            "doubts": list(self.doubts),
            "staleness_check": self.staleness,
        }


def _gain(gain: Gain | None) -> dict[str, object] | None:
    return None if gain is None else {name: _number(value) for name, value in vars(gain).items()}


def _number(value: float | str | None) -> float | str | None:
    """A value for JSON, which has no NaN and no infinity."""
    if value is None or isinstance(value, str):
        return value
    if is_integer(value):
        return int(value)
    number = float(value)
    return None if math.isnan(number) else "none" if math.isinf(number) else number
