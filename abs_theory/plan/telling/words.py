"""A plan in words: what to do, what it saves, and what the trace does not show."""

import math

from abs_theory.checks import explains_types
from abs_theory.plan import fit
from abs_theory.plan.result import Plan
from abs_theory.plan.telling.advice import MOST_NAMED, advice
from abs_theory.plan.telling.curve import not_identified, row_of, table
from abs_theory.results import percent
from abs_theory.traces import counted

__all__ = ["limits", "properties", "round_times", "sentences"]

PERSISTENT_FACTOR = 2  # times as likely to stall again, from which stalls are called persistent


@explains_types
def sentences(plan: Plan) -> list[str]:
    """The plan as lines of text, the last one being the table; ``str(plan)`` joins them.

    >>> import pandas as pd
    >>> from abs_theory import plan, traces
    >>> rows = [(t, w, 9.0 if w == 2 else 1.0) for t in range(30) for w in range(3)]
    >>> trace = traces.from_frame(pd.DataFrame(rows, columns=["round", "worker", "seconds"]))
    >>> plan.sentences(plan.plan(trace))[0]
    'Wait for k = 2 of n = 3 workers, max_staleness = 0.'
    """
    lines = [*advice(plan), "", *round_times(plan), "", "Properties of the trace", *properties(plan)]
    lines += ["", "How the input was read", *(plan.report or ("As it is: nothing was changed.",)), plan.staleness]
    lines += ["", "Limits", *limits(plan), "", *not_identified(plan)]
    lines += [
        f"E[T_(k)], seconds, with 95 % intervals, gradients per second (n = {plan.n}), and the loss that decides: by "
        "how many % the best k in hindsight is expected to have more"
    ]
    return [*lines, table(plan)]


def round_times(plan: Plan) -> list[str]:
    """Round times by replay, by the model, and measured with all workers starting together."""
    row = row_of(plan, plan.k)
    interval = "not identified" if row["reason"] else f"{row['low']:.4g} to {row['high']:.4g} s"
    lines = ["Round time of this choice"]
    if not math.isnan(plan.replayed):
        lines.append(f"  replayed from the trace: {plan.replayed:.4g} s")
    if not math.isnan(plan.predicted) and plan.model is not None:
        off = "" if math.isnan(plan.replayed) else f" ({100 * (plan.predicted / plan.replayed - 1):+.1f} %)"
        lines.append(f"  predicted by the model:  {plan.predicted:.4g} s{off}: {plan.model.words}")
    reason = f" ({row['reason']})" if row["reason"] else ""
    lines.append(f"  all starting together:   {row['mean']:.4g} s, 95 % interval {interval}{reason}")
    if plan.model is not None:
        lines.append("Laws by AIC (KS distance): " + _fits(plan) + ".")
        fits = plan.model.fits[0]
        if fits[0].name == fit.BASELINE and len(fits) > 1:
            lines.append(
                f"The baseline is for comparison only, as its constant hazard settles in advance whether restarts pay; "
                f"the model takes the next law, {fit.best_fit(fits).name}."
            )
    return lines


def _fits(plan: Plan) -> str:
    assert plan.model is not None
    fits = plan.model.fits[0]
    words = ", ".join(f"{law.name} {law.aic:.0f} ({law.ks:.3f})" for law in fits)
    if len(plan.model.fits) > 1:
        worst = max(fit.best_fit(of_group).ks for of_group in plan.model.fits)
        words += f"; the fastest of {len(plan.model.fits)} groups of workers; the largest KS is {worst:.3f}"
    return words


def limits(plan: Plan) -> list[str]:
    """The assumptions and limits of the answer."""
    lines = []
    if plan.objective.startswith("gradients"):
        lines.append(
            "Objective: gradients per second, k / E[T_(k)], with all workers starting together; then the shortest "
            "rounds at this k. Every gradient counts the same, although large batches and stale gradients help less. "
            "Give --L, --sigma2, --gap and --target to minimise the time to a target; "
            "simulations.problems.constants.estimate measures them for a model in Python."
        )
    else:
        lines.append(
            f"Objective: {plan.objective}. The number of updates is that expected near a quadratic at the replayed "
            "staleness; the seconds come from the replay. The result is only as good as the given constants."
        )
    if plan.asked < plan.trace_workers and plan.table.tried.min() == plan.table.tried.max():
        lines.append(
            f"Each round asks {plan.asked} of {plan.trace_workers} workers: the plan is for those that are asked, with "
            "another choice of them in each round."
        )
    if plan.n != plan.asked:
        lines.append(
            f"A round of the trace has {plan.asked} workers; for n = {plan.n}, workers like them were resampled. The "
            "intervals do not cover the choice of workers that are added or removed."
        )
    if plan.table.lined_up:
        lines.append(
            "Workers of the trace did not start rounds together: their attempts are lined up one by one. A common "
            "slowdown is seen only while their attempts stay aligned in time."
        )
    if plan.choice.hidden:
        lines.append(
            "How long restarted tasks would have taken is drawn from the tasks that ran on (Kaplan & Meier 1958), as "
            "far as these reach."
        )
    if plan.diagnosis.persistence > PERSISTENT_FACTOR:
        lines.append(
            "Stalls persist, which only the replay contains. Where it differs from the laws, trust the replay."
        )
    if plan.diagnosis.shifted:
        lines.append(
            "The level differs between windows: intervals are for these windows, and later ones may differ as much."
        )
    lines.append(
        "Losses allow for stalls that are rarer than those seen, and up to 30 times the usual delay. Stalls of another "
        "kind, as a node that fails for an hour, are in no loss."
    )
    if plan.table.lost.any():
        lines.append("A lost call counts as a stall, in the losses and in how many stalls may meet in one round.")
    lines.append(
        f"Events rarer than about 1 round in {max(plan.rounds // 3, 1)} may not have occurred in "
        f"{counted(plan.rounds, 'round')}; the intervals do not cover them."
    )
    return lines


def properties(plan: Plan) -> list[str]:
    """What the trace is like, when it changed, and which workers are slow."""
    return [*_changes(plan), *_slow_workers(plan), *plan.diagnosis.sentences]


def _changes(plan: Plan) -> list[str]:
    """When the fleet or a worker changed."""
    if not plan.changes:
        return []
    told = []
    for change in plan.changes[-MOST_NAMED:]:
        who = "all workers take" if change.worker is None else f"{change.worker} takes"
        told.append(
            f"from round {change.round} on {who} {change.after / change.before:.2g} times as long as before "
            f"({change.after:.4g} s instead of {change.before:.4g} s)"
        )
    more = len(plan.changes) - len(told)
    return [f"Changes: {'; '.join(told)}{f'; and {more} earlier' if more else ''}."]


def _slow_workers(plan: Plan) -> list[str]:
    """Which workers are slow, and what repairing them or leaving them out would bring."""
    if not plan.slow_workers:
        return []
    shown = [
        f"{slow['worker']} takes {slow['factor']:.2g} times as long as the median worker and is the last in "
        f"{percent(float(slow['slowest_share']))} of the complete rounds"
        for slow in plan.slow_workers[:MOST_NAMED]
    ]
    more = len(plan.slow_workers) - len(shown)
    lines = [f"Slow workers: {'; '.join(shown)}{f'; and {more} more' if more else ''}."]
    if plan.without_slow:
        cases = "; ".join(map(str, plan.without_slow))
        lines.append(f"Time per gradient, compared with waiting for everybody today: {cases}.")
    return lines
