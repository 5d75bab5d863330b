"""A plan in words: what to do, what it saves, and what the trace cannot tell."""

import math
from typing import Any

import numpy as np

from abs_theory.plan import fit
from abs_theory.plan.result import Plan
from abs_theory.traces import counted

__all__ = ["advice", "columns", "limits", "round_times", "row_of", "sentences", "threshold_words"]

RARE = 0.05  # gradients per round, of those of an equal share, below which a worker hardly takes part
PERSISTENT = 2  # times as likely to stall again
SHOWN = 12  # rows of the curve


def sentences(plan: Plan) -> list[str]:
    """The page of text, line by line; the last is the table."""
    lines = [*advice(plan), "", *round_times(plan), "", "What the trace is like", *plan.diagnosis.sentences]
    lines += ["", "What was done to the input", *(plan.report or ("nothing",)), plan.staleness]
    lines += ["", "Limits", *limits(plan), "", *_not_identified(plan)]
    return [*lines, f"E[T_(k)], seconds, with 95 % intervals, and gradients per second (n = {plan.n})", _table(plan)]


def threshold_words(max_staleness: float | None) -> str:
    """``max_staleness`` as it is said."""
    if max_staleness is None:
        return "not identified"
    return "none" if math.isinf(max_staleness) else f"{max_staleness:.0f}"


def advice(plan: Plan) -> list[str]:
    """What to do and what it saves."""
    choice, n, k = plan.choice, plan.n, plan.k
    lines = [f"Wait for k = {k} of n = {n} workers, max_staleness = {threshold_words(plan.max_staleness)}."]
    if plan.k_alike is None:
        alike = "Which other k are as good is not identified: too few rounds"
    else:
        low, high = plan.k_alike
        alike = f"As good, as far as 95 % intervals tell: k = {low if low == high else f'{low} to {high}'}"
    if len(plan.thresholds_alike) > 1:
        alike += f"; at this k max_staleness = {', '.join(map(threshold_words, plan.thresholds_alike))}"
    lines.append(alike + ".")
    if k < n:
        lines.append(_restart(plan))
    if plan.savings is not None and k < n:
        what = "Time per gradient" if plan.objective.startswith("gradients") else "Time to the target"
        lines.append(f"{what}, against waiting for everybody: {plan.savings}.")
    elif k == n:
        lines.append("If all start together, waiting for fewer gains nothing that this trace can tell from chance.")
    if plan.restart_savings is not None and plan.max_staleness != 0:
        lines.append(f"Round time, against restarting every late worker: {plan.restart_savings}.")
    lines += _faster(plan)
    if not plan.identified:
        lines.append(
            f"Not identified by this trace: whether a k beyond {choice.largest}, the most arrivals that a round saw, "
            f"would be better (by {choice.could_gain:.0%} at most). Wait for everybody every "
            f"{plan.full_wait_every} rounds to learn it."
        )
    elif plan.full_wait_every:
        lines.append(
            f"No k beyond {choice.largest}, the most arrivals that a round saw, can be better. How long a full wait "
            f"takes is not identified by this trace; one every {plan.full_wait_every} rounds would tell."
        )
    return lines + _participation(plan)


def _restart(plan: Plan) -> str:
    bound = plan.max_staleness
    if bound is None:
        return (
            "When a late worker should restart is not identified by this trace: in too few rounds everybody delivered. "
            "With max_staleness = 0 all start together, and a round lasts as long as the k-th arrival."
        )
    if math.isinf(bound):
        return "A late worker goes on: restarts do not pay."
    if bound == 0:
        return "Every late worker restarts with the next round: all gradients are fresh."
    return f"A worker restarts when its gradient would be more than {counted(int(bound), 'update')} late."


def _faster(plan: Plan) -> list[str]:
    """Why the policy with the most gradients per second is not the choice, if it is another."""
    top, mine = plan.ceiling, plan.policy
    if top is None or mine is None or top.k / top.played.round_time <= mine.k / mine.played.round_time:
        return []
    rates = [f"{each.k / each.played.round_time:.4g}" for each in (top, mine)]
    stale = [f"{each.played.mean_staleness:.3g}" for each in (top, mine)]
    return [
        f"Not the most gradients per second: k = {top.k}, max_staleness = {threshold_words(top.max_staleness)} gives "
        f"{rates[0]} at a mean staleness of {stale[0]}, this choice {rates[1]} at {stale[1]}. It is not chosen because "
        "how much stale gradients and small updates are worth is not in a trace: --L, --sigma2, --gap and --target "
        "tell, and then the time to the target decides."
    ]


def _participation(plan: Plan) -> list[str]:
    if plan.policy is None or plan.n != plan.trace_workers:
        return []
    share = plan.policy.played.participation
    rare = np.flatnonzero(share < RARE * plan.k / plan.n)
    if not rare.size:
        return []
    names = ", ".join(str(worker) for worker in rare[:8]) + (", ..." if rare.size > 8 else "")
    return [
        f"Note: worker {names} would hardly ever deliver ({share[rare].mean():.2g} gradients per round): if data are "
        "not shared among workers, theirs would be ignored."
    ]


def round_times(plan: Plan) -> list[str]:
    """Predicted and replayed, side by side."""
    row = row_of(plan, plan.k)
    interval = "not identified" if row["reason"] else f"{row['low']:.4g} to {row['high']:.4g} s"
    lines = ["Round time of this choice"]
    if not math.isnan(plan.replayed):
        lines.append(f"  replayed from the trace: {plan.replayed:.4g} s")
    if not math.isnan(plan.predicted) and plan.model is not None:
        off = "" if math.isnan(plan.replayed) else f" ({plan.predicted / plan.replayed - 1:+.1%})"
        lines.append(f"  predicted by the model:  {plan.predicted:.4g} s{off}: {plan.model.words}")
    reason = f" ({row['reason']})" if row["reason"] else ""
    lines.append(f"  all starting together:   {row['mean']:.4g} s, 95 % interval {interval}{reason}")
    if plan.model is not None:
        lines.append("Laws by AIC (KS distance): " + _fits(plan) + ".")
    return lines


def _fits(plan: Plan) -> str:
    assert plan.model is not None
    fits = plan.model.fits[0]
    words = ", ".join(f"{each.name} {each.aic:.0f} ({each.ks:.3f})" for each in fits)
    if len(plan.model.fits) > 1:
        worst = max(fit.best(each).ks for each in plan.model.fits)
        words += f"; that is the fastest of {len(plan.model.fits)} groups of workers, the worst KS is {worst:.3f}"
    return words


def limits(plan: Plan) -> list[str]:
    """What the answer rests on."""
    lines = []
    if plan.objective.startswith("gradients"):
        lines.append(
            "Objective: gradients per second, k / E[T_(k)], all workers starting together; then the shortest rounds at "
            "this k. It counts each gradient alike: not that many gradients per update help less and less, nor that "
            "stale ones do. Give --L, --sigma2, --gap and --target to minimise the time to a target."
        )
    else:
        lines.append(
            f"Objective: {plan.objective}, updates as expected near a quadratic at the staleness replayed, seconds "
            "from the replay. It is as good as the constants given."
        )
    if plan.n != plan.trace_workers:
        lines.append(
            f"The trace has {plan.trace_workers} workers: for n = {plan.n} workers like them were resampled. Which "
            "workers come or go is not in the intervals."
        )
    if plan.table.lined_up:
        lines.append(
            "Workers of the trace did not start rounds together: their attempts are lined up one by one. What slows "
            "all at a time is seen as far as they keep step."
        )
    if plan.diagnosis.persistence > PERSISTENT:
        lines.append("Stalls persist: the laws do not know it, the replay does. Trust the replay where they differ.")
    if plan.diagnosis.shifted:
        lines.append(
            "The level differs between windows: intervals are for the windows seen, others may differ as much."
        )
    lines.append(
        "Nothing rarer than one round in "
        f"{max(plan.rounds // 3, 1)} can be excluded: a stall not seen in {plan.rounds} rounds is in no interval."
    )
    return lines


def row_of(plan: Plan, k: int) -> dict[str, Any]:
    """The row of the curve for ``k``."""
    return dict(plan.curve.loc[k])


def columns(plan: Plan) -> list[int]:
    """The k to be shown in a short table."""
    keep = set(np.unique(np.geomspace(1, plan.n, SHOWN).round().astype(int)).tolist())
    return sorted(keep | {plan.k, plan.choice.best, plan.choice.largest, plan.n})


def _table(plan: Plan) -> str:
    table = plan.curve.loc[columns(plan), ["mean", "low", "high", "model", "rate"]]
    table = table.rename(columns={"mean": "E[T_(k)]", "rate": "gradients/s"})
    return table.to_string(float_format="{:.4g}".format, na_rep="-")


def _not_identified(plan: Plan) -> list[str]:
    """Why the table has no interval for some k, each reason once."""
    ks: dict[str, list[str]] = {}
    for k in columns(plan):
        ks.setdefault(row_of(plan, k)["reason"], []).append(str(k))
    return [f"No interval for k = {', '.join(those)}: {reason}." for reason, those in ks.items() if reason]
