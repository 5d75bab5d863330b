"""The contract that every protocol keeps: work and messages are conserved, staleness is bounded, runs are repeatable.

``check`` tests a new protocol.  Each promise is a function of the two tables that ``simulate`` returns with
``jobs=True``: one row per update, and one row per task.
"""

import math
from collections.abc import Mapping
from typing import Any, cast

import pandas as pd

from abs_theory.checks import explains_types
from abs_theory.delays import Deterministic, Exponential, HyperExponential, LogNormal, ShiftedExponential
from abs_theory.typing import Laws
from simulations.experiment import simulate
from simulations.fleets import Absences, Fleet, Independent
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
    "train_with_tasks",
    "work_is_conserved",
    "workers_do_one_thing_at_a_time",
]

PROBLEM = NoisyQuadratic((1.0, 0.3, 2.0), sigma2=0.5)
LAWS = (  # increasing hazard, decreasing hazard, neither; and all workers always finish at the same time
    ShiftedExponential(shift=0.5, scale=0.5),
    HyperExponential(probs=(0.9, 0.1), means=(1 / 3, 7.0)),
    LogNormal(median=1.0, sigma=1.0),
    Deterministic(1.0),
)
NUM_UPDATES = 40  # of a run that is checked: enough for every worker to be restarted, few enough for a second
DESCENT_UPDATES, DESCENT = 300, 0.2  # updates within which the loss must fall to this part of its first value
RELATIVE_ROUNDING = 1e-12  # of sums of seconds: 1e4 additions in double precision


def leaving(n: int) -> Absences:
    """A fleet of ``n`` workers that leave, lose their work, and return."""
    workers = Independent((LAWS[0],) * n)
    return Absences(workers, up=Exponential(6.0), down=LogNormal(1.0, 0.5))


def train(protocol: Protocol, delay: Laws | Fleet, n: int, **options: object) -> pd.DataFrame:
    """The updates of a short run on a small noisy quadratic; ``options`` are other arguments of ``simulate``."""
    return simulate(protocol, PROBLEM, cast(Any, delay), n, **_arguments(options))


def train_with_tasks(
    protocol: Protocol, delay: Laws | Fleet, n: int, **options: object
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The updates and the tasks of the same run."""
    return simulate(protocol, PROBLEM, cast(Any, delay), n, jobs=True, **_arguments(options))


def _arguments(options: Mapping[str, object]) -> Any:
    return {"step_size": 0.05, "num_updates": NUM_UPDATES, "seed": 3, "n_jobs": 1} | dict(options)


@explains_types
def check(protocol: Protocol, n: int = 6, local_steps: int = 1, step_size: float = 0.05) -> None:
    """Test whether ``protocol`` keeps the contract, with ``n`` workers under four delay laws and in a changing fleet.

    It takes about a second.  Raises AssertionError, with the law, the broken promise and the numbers; and whatever a
    run raises, such as RuntimeError if the protocol waits for gradients that no worker will send, or ValueError if
    it is not a protocol.

    >>> from simulations.protocols import k_sync
    >>> check(k_sync(3))
    """
    check_protocol(protocol)
    options = {"local_steps": local_steps, "step_size": step_size}
    one_step = local_steps == 1 and protocol.local_steps is None and not protocol.keeps_going
    for fleet in (
        LAWS if protocol.keeps_going else (*LAWS, leaving(n))
    ):  # unfinished work can only be used if workers stay
        try:
            rounds, tasks = train_with_tasks(protocol, fleet, n, **options)
            _hold(len(rounds) == NUM_UPDATES, f"{NUM_UPDATES} updates were asked for, {len(rounds)} were made")
            work_is_conserved(rounds, tasks, n)
            workers_do_one_thing_at_a_time(tasks)
            no_gradient_is_forgotten(rounds, tasks, n)
            if protocol.uses_all:
                all_is_used(tasks)
            messages_are_counted(rounds, tasks, one_step, comes_back=fleet not in LAWS)
            staleness_is_bounded(rounds)
            reruns_alone(protocol, fleet, n, **options)
        except AssertionError as broken:
            raise AssertionError(f"with workers {fleet!r}: {broken}") from None
    descends(protocol, n, **options)


# ---------------------------------------------------------------------- the promises
def work_is_conserved(rounds: pd.DataFrame, tasks: pd.DataFrame, n: int) -> None:
    """Every second of every worker is useful, unfinished, idle, wasted or spent away."""
    seconds = (tasks["end"] - tasks["start"]).groupby(tasks["outcome"]).sum()
    useful = seconds.get("applied", 0.0) + seconds.get("unfinished", 0.0)
    spent = rounds[["idle_seconds", "wasted_seconds", "away_seconds"]].to_numpy().sum()
    end = max(tasks["end"].max(), rounds["time"].iloc[-1])  # the last event, which may come after the last update
    accounted, available = useful + spent, n * end
    _hold(
        math.isclose(accounted, available, rel_tol=RELATIVE_ROUNDING),
        f"{n} workers had {available:.6g} s, but {accounted:.6g} s are accounted for: {useful:.6g} s of work that is "
        f"used or unfinished, {spent:.6g} s idle, wasted or away",
    )
    thrown_away = seconds.reindex(["restarted", "discarded", "cut off", "lost"]).sum()
    wasted = rounds["wasted_seconds"].sum()
    _hold(
        thrown_away <= wasted * (1 + RELATIVE_ROUNDING),
        f"{thrown_away:.6g} s were thrown away, {wasted:.6g} s are booked",
    )


def workers_do_one_thing_at_a_time(tasks: pd.DataFrame) -> None:
    """No worker starts a task before its last one has ended."""
    for worker, own_tasks in tasks.groupby("worker"):
        own_tasks = own_tasks.sort_values(["start", "end"])
        one_at_a_time = own_tasks["start"].to_numpy()[1:] >= own_tasks["end"].to_numpy()[:-1]
        _hold(one_at_a_time.all(), f"worker {worker} has two tasks at the same time")


def no_gradient_is_forgotten(rounds: pd.DataFrame, tasks: pd.DataFrame, n: int) -> None:
    """Every delivered gradient is accepted or discarded within 2n updates."""
    old = tasks["end_version"] < rounds["update"].iloc[-1] - 2 * n
    forgotten = tasks[old & (tasks["outcome"] == "unfinished")]
    _hold(
        forgotten.empty,
        f"{len(forgotten)} gradients were delivered and neither accepted nor discarded; the first came from worker "
        f"{forgotten['worker'].min()} at t={forgotten['end'].min():.3g}: call server.discard(job)",
    )


def all_is_used(tasks: pd.DataFrame) -> None:
    """No task is stopped and no gradient discarded."""
    lost = tasks["outcome"].isin(["restarted", "discarded"]).sum()
    _hold(not lost, f"uses_all must be False, since {lost} tasks were stopped or their gradients discarded")


def messages_are_counted(
    rounds: pd.DataFrame, tasks: pd.DataFrame, one_step: bool = True, comes_back: bool = False
) -> None:
    """Uplinks, downlinks, restarts and discarded gradients of the updates agree with the outcomes of the tasks.

    ``one_step``: every task is one local step, so that each uplink is one gradient.  ``comes_back``: workers may leave
    and return, and then receive the model again.
    """
    total, outcomes = rounds.sum(), tasks["outcome"].value_counts()
    models = len(tasks[["worker", "read_version"]].drop_duplicates())  # the current model is sent to a worker once
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
    """No applied gradient is staler than the ``max_staleness`` in force."""
    late = rounds[rounds["largest_staleness"] > rounds["max_staleness"]]
    _hold(
        late.empty,
        f"max_staleness is {late['max_staleness'].min():g}, but a gradient of staleness "
        f"{late['largest_staleness'].max():g} was applied",
    )


def reruns_alone(protocol: Protocol, fleet: Laws | Fleet, n: int, **options: object) -> None:
    """Replicate 1 of three has the same bits when it runs alone, so nothing is carried from one run to another."""
    together = train(protocol, fleet, n, **options, replicates=3, eval_every=2.0)
    alone = train(protocol, fleet, n, **options, replicates=[1], eval_every=2.0)
    again = together[together["replicate"] == 1].reset_index(drop=True)
    _hold(
        again.equals(alone),
        "replicate 1 alone differs from replicate 1 of three: a protocol must keep what it remembers in server.notes, "
        "and draw from server.rng; and its family must be None unless it does what Family describes",
    )


def descends(protocol: Protocol, n: int, **options: object) -> None:
    """In 300 updates the loss falls to a fifth."""
    end = train(protocol, LAWS[0], n, **options, num_updates=DESCENT_UPDATES)["loss"].iloc[-1]
    start = PROBLEM.loss(PROBLEM.initial)
    _hold(
        end < DESCENT * start,
        f"in {DESCENT_UPDATES} updates the loss only went from {start:.3g} to {end:.3g}: not below a fifth",
    )


def _same(what: str, booked: float, happened: float, at_least: bool = False) -> None:
    agrees = booked >= happened if at_least else booked == happened
    _hold(bool(agrees), f"{booked:.0f} {what} are booked, {happened:.0f} happened")


def _hold(promise: bool, message: str) -> None:
    if not promise:
        raise AssertionError(message)
