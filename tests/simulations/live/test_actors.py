"""Actors of a Ray cluster on this machine, beside simulations of the same seed."""

import time

import numpy as np
import pytest
from all_protocols import CASES, WHOLE, N, same_iterates

from abs_theory.delays import Deterministic
from simulations import contract, protocols
from simulations.fleets import as_fleet
from simulations.live.actors import Actors, ActorWork, node_of_this_process
from simulations.live.messages import DONE, GRADIENT, TaskMessage, packed_stream
from simulations.live.training import LiveSettings, train
from simulations.server import Run, RunBudget, run_replicate

pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
FAST = LiveSettings(time_scale=0.002, grace=60.0)


@pytest.fixture(scope="module")
def actors(faulty_problem):
    with Actors(faulty_problem, N, "local") as crew:
        yield crew


def a_run(protocol, local_steps=1, **options):
    settings = {"fleet": as_fleet(contract.LAWS[1], N), "budget": RunBudget(num_updates=10, eval_every=1.0)}
    return Run(
        protocol=protocol, problem=contract.PROBLEM, step_size=0.05, seed=3, local_steps=local_steps, keep_tasks=True,
        **settings | options,
    )  # fmt: skip


@pytest.mark.parametrize("name", WHOLE)
def test_a_live_run_is_the_simulated_one_to_the_last_bit(name, actors):
    run = a_run(CASES[name].protocol, CASES[name].local_steps)
    rounds, tasks = run_replicate(run, 0)
    live = train(run, [0], FAST, actors)
    assert live.tasks.equals(tasks)
    columns = list(rounds.columns)
    columns = columns if same_iterates(run, tasks) else columns[: columns.index("loss")]
    assert live.rounds[columns].equals(rounds[columns])


def test_answers_that_are_ready_together_come_in_the_order_of_their_ends(actors):
    """Ray alone would return them in the order in which they were asked for."""
    run = a_run(protocols.asynchronous(), budget=RunBudget(num_updates=60))
    live = train(run, [0], LiveSettings(time_scale=0.01, grace=0.0), actors)
    assert live.rounds["time"].is_monotonic_increasing
    contract.work_is_conserved(live.rounds, live.tasks, N)


def test_a_dropped_task_does_not_occupy_its_actor(actors):
    """Worker 5 would wait for 1000 s; it is dropped after each update, and waits again."""
    fleet = as_fleet([Deterministic(1.0)] * (N - 1) + [Deterministic(1000.0)], N)
    begin = time.monotonic()
    live = train(a_run(protocols.k_sync(5), fleet=fleet), [0], LiveSettings(time_scale=0.01, grace=60.0), actors)
    assert live.rounds["restarts"].tolist() == [1] * 10
    train(a_run(protocols.synchronous()), [0], FAST, actors)  # which needs it
    assert time.monotonic() - begin < 100


def test_a_large_model_is_stored_once_per_version(actors, monkeypatch):
    stored, put = [], actors.ray.put
    monkeypatch.setattr("simulations.live.actors.MOST_IN_A_MESSAGE", 0)
    monkeypatch.setattr(actors.ray, "put", lambda value: stored.append(1) or put(value))
    train(a_run(protocols.k_sync(3)), [0], FAST, actors)
    assert len(stored) == 11  # the first model, and that of each update


def test_a_cluster_that_runs_already_is_used_and_goes_on(actors):
    with Actors(contract.PROBLEM, N) as others:
        train(a_run(protocols.k_sync(3)), [0], FAST, others)
    train(a_run(protocols.k_sync(3)), [0], FAST, actors)


def test_the_clock_of_another_machine_is_not_compared(actors):
    rng = np.random.default_rng(0)
    task = TaskMessage(GRADIENT, 1, 0.0, 0, 1, 0.1, packed_stream(rng))
    work = ActorWork(0, contract.PROBLEM)
    for server, comparable in (node_of_this_process(), True), ("another machine", False):
        message, _, _ = work.do(task.packed(), 0.0, contract.PROBLEM.initial, server)
        assert message.kind == DONE
        assert (message.began > 0, message.computed > 0, message.ended > 0) == (comparable,) * 3


def test_an_actor_that_dies_is_replaced_and_its_task_lost(actors, mark):
    mark.write_text("killed")
    run = a_run(protocols.abs_sgd(4, 1), budget=RunBudget(num_updates=40))
    live = train(run, [0], LiveSettings(time_scale=0.02, grace=60.0), actors)
    assert live.measured[0].deaths == 1
    assert len(live.rounds) == 40
    contract.work_is_conserved(live.rounds, live.tasks, N)
    contract.messages_are_counted(live.rounds, live.tasks, comes_back=True)
