"""The contract of every protocol: work and messages are conserved, staleness is bounded, runs are addressable.

``check`` holds a new protocol to it.  The single promises are functions of the two tables that ``simulate`` returns
with ``jobs=True``, one row per update and one per task.
"""

import math

import pandas as pd

from abs_theory.delays import Deterministic, Exponential, HyperExponential, LogNormal, ShiftedExponential
from simulations.experiment import simulate
from simulations.fleets import Absences, Independent
from simulations.problems import NoisyQuadratic
from simulations.server import Protocol, check_protocol

__all__ = [
    "LAWS",
    "PROBLEM",
    "check",
    "descends",
    "leaving",
    "messages_are_counted",
    "no_gradient_is_forgotten",
    "reruns_alone",
    "staleness_is_bounded",
    "train",
    "work_is_conserved",
    "workers_do_one_thing_at_a_time",
]

PROBLEM = NoisyQuadratic((1.0, 0.3, 2.0), sigma2=0.5)
LAWS = (  # hazard increasing, decreasing, neither; and all workers always done at the same moment
    ShiftedExponential(shift=0.5, scale=0.5),
    HyperExponential(probs=(0.9, 0.1), means=(1 / 3, 7.0)),
    LogNormal(median=1.0, sigma=1.0),
    Deterministic(1.0),
)
NUM_UPDATES = 40
ROUNDING = 1e-12  # relative, of sums of seconds


def leaving(n: int) -> Absences:
    """A fleet of ``n`` workers that leave, lose their work, and come back."""
    workers = Independent((LAWS[0],) * n)
    return Absences(workers, up=Exponential(6.0), down=LogNormal(1.0, 0.5))


def train(protocol: Protocol, delay, n: int, **options):
    """A short run on a small noisy quadratic: ``simulate`` with arguments that ``options`` change."""
    given = {"step_size": 0.05, "num_updates": NUM_UPDATES, "seed": 3, "n_jobs": 1} | options
    return simulate(protocol, PROBLEM, delay, n, **given)


def check(protocol: Protocol, n: int = 6, local_steps: int = 1, step_size: float = 0.05) -> None:
    """Hold ``protocol`` to the contract, with ``n`` workers of four delay laws and of a fleet that leaves; a second.

    Raises AssertionError with the law, the promise that is broken and the numbers; and what a run itself raises, such
    as RuntimeError if the protocol waits for gradients that nobody will send, or ValueError if it is no protocol.
    """
    check_protocol(protocol)
    options = {"local_steps": local_steps, "step_size": step_size}
    one_step = local_steps == 1 and protocol.local_steps is None and not protocol.keeps_going
    for fleet in LAWS if protocol.keeps_going else (*LAWS, leaving(n)):  # partial work needs workers that stay
        try:
            rounds, tasks = train(protocol, fleet, n, **options, jobs=True)
            _hold(len(rounds) == NUM_UPDATES, f"{NUM_UPDATES} updates were asked for, {len(rounds)} were made")
            work_is_conserved(rounds, tasks, n)
            workers_do_one_thing_at_a_time(tasks)
            no_gradient_is_forgotten(rounds, tasks, n)
            messages_are_counted(rounds, tasks, one_step, comes_back=fleet not in LAWS)
            staleness_is_bounded(rounds)
            reruns_alone(protocol, fleet, n, **options)
        except AssertionError as broken:
            raise AssertionError(f"with workers {fleet!r}: {broken}") from None
    descends(protocol, n, **options)


# ---------------------------------------------------------------------- the promises
def work_is_conserved(rounds: pd.DataFrame, tasks: pd.DataFrame, n: int) -> None:
    """Every second of every worker is used, unfinished, idle, thrown away, or spent elsewhere."""
    seconds = (tasks["end"] - tasks["start"]).groupby(tasks["outcome"]).sum()
    useful = seconds.get("applied", 0.0) + seconds.get("unfinished", 0.0)
    spent = rounds[["idle_seconds", "wasted_seconds", "away_seconds"]].to_numpy().sum()
    clock = max(tasks["end"].max(), rounds["time"].iloc[-1])  # the last event, which may come after the last update
    known, there_are = useful + spent, n * clock
    _hold(
        math.isclose(known, there_are, rel_tol=ROUNDING),
        f"{n} workers had {there_are:.6g} s, but {known:.6g} s are accounted for: {useful:.6g} s of work that is used "
        f"or unfinished, {spent:.6g} s idle, wasted or away",
    )
    thrown_away = seconds.reindex(["restarted", "discarded", "cut off", "lost"]).sum()
    wasted = rounds["wasted_seconds"].sum()
    _hold(thrown_away <= wasted * (1 + ROUNDING), f"{thrown_away:.6g} s were thrown away, {wasted:.6g} s are booked")


def workers_do_one_thing_at_a_time(tasks: pd.DataFrame) -> None:
    """No worker starts a task before its last one has ended."""
    for worker, mine in tasks.groupby("worker"):
        mine = mine.sort_values(["start", "end"])
        apart = mine["start"].to_numpy()[1:] >= mine["end"].to_numpy()[:-1]
        _hold(apart.all(), f"worker {worker} has two tasks at once")


def no_gradient_is_forgotten(rounds: pd.DataFrame, tasks: pd.DataFrame, n: int) -> None:
    """What is delivered is accepted or discarded, at the latest 2n updates later."""
    old = tasks["end_version"] < rounds["update"].iloc[-1] - 2 * n
    forgotten = tasks[old & (tasks["outcome"] == "unfinished")]
    _hold(
        forgotten.empty,
        f"{len(forgotten)} gradients were delivered and neither accepted nor discarded; the first came from worker "
        f"{forgotten['worker'].min()} at t={forgotten['end'].min():.3g}: call server.discard(job)",
    )


def messages_are_counted(
    rounds: pd.DataFrame, tasks: pd.DataFrame, one_step: bool = True, comes_back: bool = False
) -> None:
    """Uplinks, downlinks, restarts and discarded gradients per update agree with what became of each task.

    ``one_step``: every task is one local step, so gradients are uplinks; ``comes_back``: workers may, and are sent the
    model anew.
    """
    total, outcomes = rounds.sum(), tasks["outcome"].value_counts()
    models = len(tasks[["worker", "read_version"]].drop_duplicates())  # who has the current model is not sent it
    _same("models sent", total["downlinks"], models, at_least=comes_back)
    _same("restarts", total["restarts"], outcomes.get("restarted", 0))
    _same("gradients discarded", total["discarded"], total["computed"] - total["used"])
    delivered = outcomes.get("applied", 0) + outcomes.get("discarded", 0)
    waiting = total["uplinks"] - delivered
    _hold(
        0 <= waiting <= outcomes.get("unfinished", 0),
        f"{total['uplinks']:.0f} uplinks are booked for {delivered} gradients that were applied or discarded",
    )
    if one_step:
        _same("gradients used", total["used"], outcomes.get("applied", 0))
        _same("gradients computed", total["computed"], total["uplinks"])
        _same("gradients discarded", total["discarded"], outcomes.get("discarded", 0) + waiting)
    _hold(rounds["time"].is_monotonic_increasing, "time runs backwards")


def staleness_is_bounded(rounds: pd.DataFrame) -> None:
    """No gradient that is applied is staler than the ``max_staleness`` in force."""
    late = rounds[rounds["largest_staleness"] > rounds["max_staleness"]]
    _hold(
        late.empty,
        f"max_staleness is {late['max_staleness'].min():g}, but a gradient of staleness "
        f"{late['largest_staleness'].max():g} was applied",
    )


def reruns_alone(protocol: Protocol, fleet, n: int, **options) -> None:
    """Replicate 1 of three is the same to the last bit when it runs alone; so nothing is carried between runs."""
    together = train(protocol, fleet, n, **options, replicates=3, eval_every=2.0)
    alone = train(protocol, fleet, n, **options, replicates=[1], eval_every=2.0)
    again = together[together["replicate"] == 1].reset_index(drop=True)
    _hold(
        again.equals(alone),
        "replicate 1 run alone differs from replicate 1 of three: what a protocol remembers belongs in server.notes, "
        "chance in the fleet and the problem",
    )


def descends(protocol: Protocol, n: int, **options) -> None:
    """In 300 updates the loss falls to a fifth."""
    end = train(protocol, LAWS[0], n, **options, num_updates=300)["loss"].iloc[-1]
    start = PROBLEM.loss(PROBLEM.initial)
    _hold(end < 0.2 * start, f"in 300 updates the loss only went from {start:.3g} to {end:.3g}: not below a fifth")


def _same(what: str, booked: float, found: float, at_least: bool = False) -> None:
    agrees = booked >= found if at_least else booked == found
    _hold(bool(agrees), f"{booked:.0f} {what} are booked, {found:.0f} happened")


def _hold(true: bool, otherwise: str) -> None:
    if not true:
        raise AssertionError(otherwise)
