"""What a plan advises, in words: the decision, what it rests on, what it saves, and what is not known."""

import math

import numpy as np

from abs_theory.plan.losses import MOST_LOST
from abs_theory.plan.result import Plan
from abs_theory.plan.telling.curve import row_of
from abs_theory.results import percent
from abs_theory.traces import counted

__all__ = ["MOST_NAMED", "advice", "decision", "threshold_words"]

RARE_SHARE = 0.05  # of an equal share of gradients, below which a worker hardly takes part
MOST_NAMED = 8  # workers named in one sentence
MOST_DIGITS = 6  # after the point of a share in percent
NEGLIGIBLE_LOSS = 1e-3  # of the objective, below which no more digits are shown


def threshold_words(max_staleness: float | None) -> str:
    """``max_staleness`` in words."""
    if max_staleness is None:
        return "not identified"
    return "none" if math.isinf(max_staleness) else f"{max_staleness:.0f}"


def advice(plan: Plan) -> list[str]:
    """What to do and what it saves."""
    choice, n, k = plan.choice, plan.n, plan.k
    lines = [decision(plan), *(f"Doubt: {doubt}." for doubt in plan.doubts), plan.source, *_losses(plan)]
    if plan.k_alike is None:
        alike = "Whether other k are as good is not identified: too few rounds"
    else:
        low, high = plan.k_alike
        alike = f"k = {low} to {high} are statistically as good as the best k"
        if low == high:
            up_to = "" if choice.largest == n else f" up to {choice.largest}"
            alike = f"No other k{up_to} is statistically as good as k = {low}"
    lines += [alike + ".", *_another_k(plan)]
    if len(plan.thresholds_alike) > 1:
        thresholds = ", ".join(map(threshold_words, plan.thresholds_alike))
        lines.append(f"At k = {k}, these max_staleness are statistically as good as the best one: {thresholds}.")
    if k < n:
        lines.append(_restart(plan))
    if plan.seconds_to_target is not None:
        updates = plan.seconds_to_target / plan.replayed
        lines.append(
            f"With these constants it reaches the target in about {plan.seconds_to_target:.4g} s, after {updates:.3g} "
            "updates."
        )
    quantity = "Time per gradient" if plan.objective.startswith("gradients") else "Time to the target"
    if k < n and plan.savings is None and (reason := row_of(plan, n)["reason"]):
        lines.append(
            f"{quantity}, compared with waiting for everybody: not identified{_at_least(plan)} (k = {n}: {reason})."
        )
    if plan.savings is not None and k < n:
        lines.append(f"{quantity}, compared with waiting for everybody: {plan.savings}{_at_least(plan)}.")
        if plan.savings.ratio > 1 and plan.rounds_needed:
            lines.append(
                f"It is the safest choice nevertheless: {counted(plan.rounds, 'round')} cannot exclude rare stalls, "
                "which would delay everybody."
            )
    elif k == n and not choice.lost:
        lines.append("If all workers start together, waiting for fewer brings no statistically significant gain.")
    if plan.restart_savings is not None and plan.max_staleness != 0:
        lines.append(f"Round time, compared with restarting every late worker: {plan.restart_savings}.")
    lines += _faster(plan) + _unlike_gradients_per_second(plan) + _hidden_settings(plan)
    return lines + _larger_k(plan) + _since_change(plan) + _participation(plan)


def decision(plan: Plan) -> str:
    """The first line: what to do, and what it rests on; or that the data do not carry a decision."""
    choice = plan.choice
    if plan.rounds_needed:
        needed = plan.rounds + plan.rounds_needed
        aim = f"to be within {percent(MOST_LOST)} of the best"
        return f"Not enough data: {counted(plan.rounds, 'round')}, about {needed} needed {aim}."
    setting = f"Wait for k = {plan.k} of n = {plan.n} workers, max_staleness = {threshold_words(plan.max_staleness)}"
    if choice.lost:
        return f"{setting}, if the lost calls were late."
    if choice.open_above:
        why = "restarts hide later arrivals" if choice.hidden else "no round waited for more"
        return f"{setting}, unless a k above {choice.largest} is better: {why}."
    if plan.setting is not None and plan.setting.could_gain:
        return f"{setting}, unless a setting whose rounds the restarts hide is better."
    return f"{setting}."


def _larger_k(plan: Plan) -> list[str]:
    """What the trace says of a k above the largest that it saw."""
    choice, to_target = plan.choice, plan.seconds_to_target is not None
    if choice.lost:
        return _lost(plan)
    if not plan.full_wait_every:
        return []
    most = "beyond which restarts hide the arrivals" if choice.hidden else "the most arrivals seen in a round"
    above = f"a k above {choice.largest}, {most},"
    if choice.open_above or (plan.setting is not None and plan.setting.could_gain):
        better = "reach the target sooner" if to_target else f"be better (by at most {percent(choice.could_gain)})"
        return [
            f"Not identified by this trace: whether {above} would {better}. To find out, wait for everybody once every "
            f"{plan.full_wait_every} rounds."
        ]
    return [
        f"{'' if to_target else f'No{above[1:]} can be better. '}The time of a full wait is not identified by this "
        f"trace; one full wait every {plan.full_wait_every} rounds would measure it."
    ]


def _losses(plan: Plan) -> list[str]:
    """What the choice may lose, and which one it is where the data do not carry it."""
    best = "the best choice in hindsight" + (f" up to k = {plan.choice.largest}" if plan.choice.open_above else "")
    if math.isnan(plan.upper_loss):
        losses = "what it may lose is unknown: too few independent rounds"
    elif plan.upper_loss < NEGLIGIBLE_LOSS:
        losses = f"it loses less than {percent(NEGLIGIBLE_LOSS, 1)} against {best} (95 %)"
    else:
        expected, upper = percent(plan.expected_loss, 1), percent(plan.upper_loss, 1)
        losses = f"it takes {expected} more time to the target than {best} on average, and at most {upper} more (95 %)"
        if plan.objective.startswith("gradients"):
            losses = (
                f"{best} would deliver {expected} more gradients per second on average, at most {upper} more (95 %)"
            )
    if not plan.rounds_needed:
        return [f"{losses[0].upper()}{losses[1:]}."]
    setting = f"k = {plan.k} of n = {plan.n} workers with max_staleness = {threshold_words(plan.max_staleness)}"
    return [f"The safest choice so far is {setting}; {losses}."]


def _another_k(plan: Plan) -> list[str]:
    """Why the choice is not the k with the most gradients per second by the measured means."""
    k, most = plan.choice.k, plan.choice.best
    if k == most or not plan.objective.startswith("gradients") or math.isnan(plan.upper_loss):
        return []
    mine, other = row_of(plan, k), row_of(plan, most)
    had = (
        f"k = {most} had the most gradients per second in the trace ({other['rate']:.4g}, against {mine['rate']:.4g} "
        f"at k = {k})"
    )
    if k > most:
        return [
            f"{had}, but k = {k} is not clearly worse than the best choice (95 %), which would deliver only "
            f"{percent(mine['expected_loss'], 1)} more on average: a larger k averages more gradients in each update."
        ]
    allowing = "but allowing for noise and for rarer stalls than those seen"
    for column, words in (("expected_loss", "on average"), ("upper_loss", "at most (95 %)")):
        if other[column] > mine[column]:
            lost, less = _apart(other[column], mine[column])
            return [f"{had}, {allowing} the best choice would deliver {lost} more than it {words}, {less} at k = {k}."]
    return [f"{had}, {allowing} it is clearly worse than k = {plan.curve['expected_loss'].idxmin()} (95 %)."]


def _apart(one: float, other: float) -> tuple[str, str]:
    """Two unequal shares in percent, with as many digits as tell them apart."""
    digits = next((digits for digits in range(1, MOST_DIGITS) if percent(one, digits) != percent(other, digits)), 1)
    return percent(one, digits), percent(other, digits)


def _unlike_gradients_per_second(plan: Plan) -> list[str]:
    """Why the time to a target asks for another k than the gradients per second."""
    if plan.setting is None or plan.objective.startswith("gradients") or plan.setting.k == plan.choice.k:
        return []
    other = plan.setting.row(plan.choice.k, 0.0)
    mine = plan.setting.row(plan.setting.k, plan.setting.max_staleness)
    if other is None or mine is None:
        return []
    updates = [row["objective"] / row["round_time"] for row in (mine, other)]
    return [
        f"k = {plan.choice.k} without staleness is the choice by gradients per second with all workers starting "
        f"together, but needs {percent(other['objective'] / mine['objective'] - 1)} more time to the target: it takes "
        f"{updates[1]:.3g} updates of {other['round_time']:.3g} s instead of {updates[0]:.3g} of "
        f"{mine['round_time']:.3g} s."
    ]


def _hidden_settings(plan: Plan) -> list[str]:
    """What settings could save that were left out, because restarts hide how long their rounds last."""
    setting = plan.setting
    if setting is None or not setting.hidden:
        return []
    could = f"one could reach the target in up to {percent(setting.could_gain)} less time"
    if not setting.could_gain:
        could = "none can reach the target sooner"
    return [
        f"{setting.hidden} of {setting.hidden + len(setting.tried)} settings were left out, because restarts hide how "
        f"long their rounds last; {could}."
    ]


def _lost(plan: Plan) -> list[str]:
    """What lost calls leave open."""
    gain = plan.choice.could_gain
    more = f"; another k may then be better, by at most {percent(gain)}" if gain else ""
    return [
        "Not identified by this trace: the choice depends on when the lost calls would have come. They are taken as "
        f"late, with delays drawn from a law{more}. To learn them, let a few rounds wait without a deadline."
    ]


def _restart(plan: Plan) -> str:
    bound = plan.max_staleness
    if bound is None:
        why = "restarts hide how long slow tasks take" if plan.choice.hidden else "too few rounds are complete"
        return (
            f"When a late worker should restart is not identified by this trace: {why}. "
            "With max_staleness = 0 all workers start together, and a round lasts until the k-th arrival."
        )
    if math.isinf(bound):
        return "A late worker continues its task: restarts do not pay."
    if bound == 0:
        return "Every late worker restarts with the next round: all gradients are fresh."
    return f"A worker restarts when its gradient would be more than {counted(int(bound), 'update')} late."


def _at_least(plan: Plan) -> str:
    """The savings that the times given up prove, where the saving rests on lost calls."""
    all_, here = row_of(plan, plan.n), row_of(plan, plan.k)
    lost_later = all_["reason"].endswith(" s") and "lost a call" in all_["reason"]
    if not lost_later or "lost a call" in here["reason"] or not plan.objective.startswith("gradients"):
        return ""
    least = 1 - here["mean"] / plan.k / (all_["at_least"] / plan.n)
    return f", at least {percent(least, 1)} less by the times at which lost calls were given up" if least > 0 else ""


def _faster(plan: Plan) -> list[str]:
    """What the setting with the most gradients per second would deliver, if it is not the choice."""
    top, mine = plan.ceiling, plan.setting
    if top is None or mine is None or top.k / top.played.round_time <= mine.k / mine.played.round_time:
        return []
    rates = [setting.k / setting.played.round_time for setting in (top, mine)]
    stale = [setting.played.mean_staleness for setting in (top, mine)]
    restarts = threshold_words(top.max_staleness) + (" (nobody restarts)" if math.isinf(top.max_staleness) else "")
    return [
        f"k = {top.k} with max_staleness = {restarts} would deliver {percent(rates[0] / rates[1] - 1)} more gradients "
        f"per second ({rates[0]:.4g} instead of {rates[1]:.4g}), but they would be {stale[0]:.3g} updates old on "
        f"average instead of {stale[1]:.3g}. Timing data alone cannot say whether that pays: describe your problem "
        "(--L, --sigma2, --gap, --target), and the time to the target decides."
    ]


def _participation(plan: Plan) -> list[str]:
    if plan.setting is None or plan.n != plan.trace_workers:
        return []
    share = plan.setting.played.participation
    rare = np.flatnonzero(share < RARE_SHARE * plan.k / plan.n)
    if not rare.size:
        return []
    names = ", ".join(str(plan.workers[worker]) for worker in rare[:MOST_NAMED]) + (
        ", ..." if rare.size > MOST_NAMED else ""
    )
    return [
        f"Note: worker {names} would hardly ever deliver ({share[rare].mean():.2g} gradients per round). If each "
        "worker has its own data, these data would be ignored."
    ]


def _since_change(plan: Plan) -> list[str]:
    """What the rounds since the last change ask for, and how to plan from them alone."""
    if plan.k_since_change is None or not plan.changes:
        return []
    what = "the same k" if plan.k_since_change == plan.k else f"k = {plan.k_since_change}"
    by = "" if plan.objective.startswith("gradients") else " by gradients per second"
    first = plan.changes[-1].round
    return [
        f"The trace changes at round {first}. This plan is for all rounds together; those from round {first} on ask "
        f"for {what}{by}. If the change lasts, plan from these rounds only: --since {first}."
    ]
