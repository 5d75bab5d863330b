"""Hours and money of a training run: as it waits now, and under the plan."""

import math
import re
from dataclasses import dataclass

from abs_theory.checks import check_count, explains_types, is_finite
from abs_theory.plan.decide import STANDARD_ERRORS_95
from abs_theory.plan.result import Plan
from abs_theory.results import percent
from abs_theory.traces import counted

__all__ = ["Cost", "Price", "Run", "cost", "price"]

SECONDS_PER_HOUR = 3600.0
LEAST_IN_CENTS = 0.1  # of the currency; smaller amounts are printed with two digits
HOURS_IN = {"s": 1 / SECONDS_PER_HOUR, "min": 1 / 60, "h": 1.0, "hour": 1.0, "d": 24.0, "day": 24.0, "month": 730.5}
PRICE = re.compile(r"\s*([^\d\s.,/+-]*)\s*(\d+\.?\d*|\.\d+)\s*([^\d\s.,/]*)\s*/\s*([a-z]+)\s*")
LONGEST_PRICE = 100  # characters; the pattern takes long to match much longer text


@dataclass(frozen=True)
class Price:
    """The price of one worker."""

    per_hour: float  #: for an hour
    currency: str  #: as it was typed, "" if nothing was


@dataclass(frozen=True)
class Run:
    """A training run under one setting; low and high are NaN where the trace identifies no interval."""

    k: int  #: workers waited for
    max_staleness: float | None  #: threshold in updates, inf: nobody restarts; None: not identified
    rounds: float  #: updates
    hours: float  #: from the first round to the last
    low: float  #: lower end of the 95 % interval of the hours
    high: float  #: upper end


@dataclass(frozen=True)
class Cost:
    """What a training run takes now, and what it would take under the plan."""

    workers: int  #: that are paid
    price: Price | None  #: of one worker; None: only hours are known
    now: Run  #: waiting for as many as the trace did
    planned: Run | None  #: for the same progress; None: the data carry no plan, or it waits for as many
    same_rounds: Run | None  #: the plan for as many rounds as now, with fewer gradients; None as ``planned``
    progress: str  #: what the same progress means

    @property
    def lines(self) -> list[str]:
        """The cost in words, the first line being a title."""
        return _lines(self)

    def to_dict(self) -> dict[str, object]:
        """For JSON; unknown numbers are null."""
        runs = {"now": self.now, "planned": self.planned, "same_rounds": self.same_rounds}
        return {
            "workers": self.workers,
            "price_per_worker_hour": None if self.price is None else self.price.per_hour,
            "currency": None if self.price is None else self.price.currency,
            "progress": self.progress,
            **{name: None if run is None else self._run_dict(run) for name, run in runs.items()},
        }

    def _run_dict(self, run: Run) -> dict[str, object]:
        values: dict[str, object] = {"k": run.k, "rounds": run.rounds}
        for name, hours in (("", run.hours), ("_low", run.low), ("_high", run.high)):
            known = math.isfinite(hours)
            values[f"hours{name}"] = hours if known else None
            if self.price is not None:
                values[f"money{name}"] = hours * self.workers * self.price.per_hour if known else None
        return values


@explains_types
def price(text: str) -> Price:
    """A price such as ``2.5/h``, ``$2.5/h``, ``2.5 EUR/h`` or ``60/day``, of one worker.

    Raises ValueError unless it is a positive number per s, min, h, day or month.

    >>> price("2.5 EUR/h")
    Price(per_hour=2.5, currency='EUR')
    """
    match = PRICE.fullmatch(text) if isinstance(text, str) and len(text) <= LONGEST_PRICE else None
    if not match or match[4] not in HOURS_IN or (match[1] and match[3]):
        raise ValueError(f"price must be of one worker, as 2.5/h, $2.5/h or 60/day, got {text!r}")
    per_hour = float(match[2]) / HOURS_IN[match[4]]
    if not (is_finite(per_hour) and per_hour > 0):
        raise ValueError(f"price must be a finite number > 0, got {text!r}")
    return Price(per_hour, match[1] or match[3])


@explains_types
def cost(plan: Plan, rounds: int, price: Price | None = None) -> Cost:
    """Hours of ``rounds`` rounds as the trace waited for, and under the plan; with a ``price``, also money.

    All n workers are paid from the first round to the last, busy or not.  Under the plan the run has as many gradients
    as now, or with a target reaches it, so it has more rounds.  Intervals (95 %) are of the total of future rounds: the
    mean round time is uncertain by its standard error over the R rounds of the trace, and the mean of N future rounds
    varies around it, which widens the interval by the factor sqrt(1 + R / N).
    Raises ValueError unless ``rounds`` is a positive whole number.

    >>> import pandas as pd
    >>> from abs_theory import plan, traces
    >>> rows = [(t, w, 9.0 if w == 2 else 1.0) for t in range(30) for w in range(3)]
    >>> trace = traces.from_frame(pd.DataFrame(rows, columns=["round", "worker", "seconds"]))
    >>> run = plan.cost(plan.plan(trace), 2000, plan.price("2/h"))
    >>> run.now.hours, run.planned.rounds, round(run.planned.hours, 2)
    (5.0, 3000.0, 0.83)
    """
    check_count("rounds", rounds)
    current = plan.choice.largest
    now = _run(plan, current, 0.0, rounds)
    if plan.rounds_needed or not math.isfinite(now.hours) or plan.k == current:
        return Cost(plan.n, price, now, None, None, "")
    gradients = plan.objective.startswith("gradients")
    same_rounds = _run(plan, plan.k, plan.max_staleness, rounds)
    more = current / plan.k
    if not gradients:
        if plan.savings is None:
            return Cost(plan.n, price, now, None, None, "")
        more = plan.savings.ratio * now.hours / same_rounds.hours
    planned = _run(plan, plan.k, plan.max_staleness, rounds * more)
    progress = "as many gradients" if gradients else "as far towards the target"
    return Cost(plan.n, price, now, planned, same_rounds if gradients else None, progress)


def _run(plan: Plan, k: int, max_staleness: float | None, rounds: float) -> Run:
    """Hours of ``rounds`` rounds, from the replay where late workers do not all restart."""
    mean, low, high, measured = plan.curve.loc[[k], ["mean", "low", "high", "rounds"]].to_numpy(dtype=float)[0].tolist()
    if k < plan.n and max_staleness and plan.setting is not None:
        played = plan.setting.played
        half = STANDARD_ERRORS_95 * float(played.resampled.std(ddof=1)) / played.round_time
        mean = played.round_time
        low, high = mean * math.exp(-half), mean * math.exp(half)
        measured = float(plan.diagnosis.complete)
    wider = math.sqrt(1 + measured / rounds)
    hours = rounds / SECONDS_PER_HOUR
    return Run(
        k, max_staleness, rounds, mean * hours,
        max(mean - (mean - low) * wider, 0.0) * hours if math.isfinite(low) else math.nan,
        (mean + (high - mean) * wider) * hours,
    )  # fmt: skip


def _lines(cost: Cost) -> list[str]:
    everybody = "everybody" if cost.now.k == cost.workers else f"k = {cost.now.k}"
    lines = [f"Cost of {cost.now.rounds:,.0f} rounds (95 % intervals)"]
    lines.append(f"  now, waiting for {everybody}: {_amount(cost, cost.now)}")
    if cost.planned is not None:
        lines.append(f"  k = {cost.planned.k}, {cost.progress}: {_amount(cost, cost.planned)}, "
                     f"in {cost.planned.rounds:,.0f} rounds")  # fmt: skip
    if cost.same_rounds is not None:
        fewer = 1 - cost.same_rounds.k / cost.now.k
        lines.append(
            f"  k = {cost.same_rounds.k}, as many rounds: {_amount(cost, cost.same_rounds)}, "
            f"with {percent(fewer)} fewer gradients"
        )
    paid = f"{counted(cost.workers, 'worker')} from the first round to the last, busy or idle"
    if cost.price is not None:
        paid += f", at {cost.price.per_hour:.4g} {cost.price.currency}".rstrip() + " per worker-hour"
    lines.append(
        f"  Counted: {paid}. Not counted: the server, its updates, the start of the run, and the time that a restart "
        "itself takes."
    )
    if cost.planned is None:
        lines.append("  The plan gives no other cost: it waits for as many as now, or the data are not enough.")
    return lines


def _amount(cost: Cost, run: Run) -> str:
    """Hours and money of a run with their intervals."""
    interval = f" ({run.low:,.4g} to {run.high:,.4g})" if math.isfinite(run.low) else " (interval not identified)"
    text = f"{run.hours:,.4g} h{interval}"
    if cost.price is not None:
        money = [cost.workers * cost.price.per_hour * hours for hours in (run.hours, run.low, run.high)]
        interval = f" ({_money(money[1])} to {_money(money[2])})" if math.isfinite(run.low) else ""
        text += f", {_money(money[0])}{f' {cost.price.currency}' if cost.price.currency else ''}{interval}"
    return text


def _money(amount: float) -> str:
    return f"{amount:,.2f}" if amount >= LEAST_IN_CENTS or amount == 0 else f"{amount:.2g}"
