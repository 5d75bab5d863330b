"""Live runs beside simulations of the same seed: the same order of arrivals, rounds, restarts and iterates."""

from dataclasses import replace

import numpy as np
import pytest
from all_protocols import CASES, WHOLE, N, same_iterates
from cases import every_case
from scripted import Scripted

from abs_theory.delays import Deterministic, Exponential, HyperExponential, LogNormal
from simulations import contract, protocols
from simulations.fleets import Absences, Links, as_fleet
from simulations.live.processes import Processes
from simulations.live.training import LiveSettings, train
from simulations.problems import perceptron_digits
from simulations.server import Run, RunBudget, run_replicate

GRACE = 60.0  # seconds; however busy the machine is, a task counts as having ended when it was planned
FAST = LiveSettings(time_scale=0.0005, grace=GRACE, patience=120.0)


def a_run(protocol, fleet, local_steps=1, **options):
    budget = RunBudget(num_updates=10, eval_every=1.0)
    settings = {"step_size": 0.05, "seed": 3, "budget": budget, "keep_tasks": True, "problem": contract.PROBLEM}
    return Run(protocol=protocol, fleet=fleet, local_steps=local_steps, **settings | options)


def assert_same(run, crew, iterates=True):
    rounds, tasks = run_replicate(run, 0)
    live = train(run, [0], FAST, crew)
    assert live.tasks.equals(tasks)
    iterates = iterates and same_iterates(run, tasks)
    columns = list(rounds.columns) if iterates else list(rounds.columns)[: rounds.columns.get_loc("loss")]
    assert live.rounds[columns].equals(rounds[columns])


@every_case("name", WHOLE)
def test_a_live_run_is_the_simulated_one_to_the_last_bit(name, crew):
    case = CASES[name]
    run = a_run(case.protocol, as_fleet(contract.LAWS[1], N), case.local_steps)
    assert_same(run, crew)


@pytest.mark.parametrize("seconds", [1e10, 1e25])
def test_a_task_that_ends_in_a_thousand_years_is_waited_for_and_nobody_fails(crew, seconds):
    """No clock of the system counts so far: such a worker failed four times with a traceback, and the run ended."""
    laws = [*[Exponential(1.0)] * (N - 1), Deterministic(seconds / FAST.time_scale)]
    assert_same(a_run(protocols.k_async(2), as_fleet(laws, N)), crew)


def test_equal_finish_times_are_ordered_by_worker(crew):
    assert_same(a_run(protocols.k_async(2), as_fleet(contract.LAWS[3], N)), crew)


def test_links_absences_and_updates_that_take_time_are_emulated(crew):
    law = as_fleet(contract.LAWS[0], N)
    links = Links(law, download=Exponential(0.2), upload=Exponential(0.1))
    away = Absences(law, up=Exponential(3.0), down=LogNormal(1.0, 0.5))
    for fleet in links, away:
        assert_same(a_run(protocols.abs_sgd(2, 1), fleet), crew)
    for protocol in protocols.k_sync(2), protocols.admission(3, 1):
        assert_same(a_run(protocol, law, update_seconds=LogNormal(0.5, 0.5)), crew)
    # abs_batch discards gradients whose workers have begun the next task: their mini-batches are used up
    assert_same(a_run(protocols.abs_batch(3, 1), law, update_seconds=LogNormal(0.5, 0.5)), crew, iterates=False)


def test_a_run_ends_at_its_budget_and_at_its_target(crew):
    fleet = as_fleet(HyperExponential((0.9, 0.1), (1 / 3, 7.0)), N)
    for budget in RunBudget(time_budget=3.0), RunBudget(time_budget=9.0, eval_every=0.5, target=("loss", 1.0)):
        assert_same(a_run(protocols.k_async(2), fleet, budget=budget), crew)


def test_a_run_that_diverges_ends_like_the_simulated_one(crew):
    run = a_run(protocols.k_sync(2), as_fleet(contract.LAWS[0], N), step_size=1e200)
    assert_same(run, crew)
    assert run_replicate(run, 0)[0]["loss"].iloc[-1] == np.inf


@pytest.mark.slow
def test_a_classifier_in_single_precision_and_local_steps_are_the_same_to_the_last_bit():
    run = a_run(protocols.local_sgd(), as_fleet(contract.LAWS[0], 2), 2, problem=perceptron_digits(2, hidden=4))
    with Processes(run.problem, 2) as crew:
        assert_same(run, crew)
        assert_same(replace(run, protocol=protocols.asynchronous(), local_steps=1), crew)


def test_replicates_on_the_same_workers_are_independent(crew):
    run = a_run(protocols.abs_sgd(2, 1), as_fleet(contract.LAWS[0], N))
    both = train(run, [0, 4], FAST, crew)
    rounds, tasks = run_replicate(run, 4)
    assert both.rounds[both.rounds["replicate"] == 4].reset_index(drop=True).equals(rounds)
    assert both.tasks[both.tasks["replicate"] == 4].reset_index(drop=True).equals(tasks)


def test_a_task_that_is_late_beyond_the_grace_ends_when_it_ends(crew):
    """Tasks that are planned to take no time, so all that they take is measured."""
    fleet = Scripted(*[[0.0] * 5] * N)
    run = a_run(protocols.synchronous(), fleet, budget=RunBudget(num_updates=4))
    live = train(run, [0], LiveSettings(time_scale=1.0, grace=0.0), crew)
    times = live.rounds["time"].to_numpy()
    assert (np.diff([0.0, *times]) > 0).all()
    ends = live.tasks[live.tasks["outcome"] == "applied"]["end"].to_numpy()
    assert (np.diff(ends) >= 0).all()
    contract.work_is_conserved(live.rounds, live.tasks, N)
