"""Rollout protocols and updates that take time: hand timelines, the contract, equal special cases, theory."""

import math

import numpy as np
import pandas as pd
import pytest
from agreement import assert_agrees, assert_within
from all_protocols import CASES, N
from scripted import check, play

from abs_theory import round_time, steady_state
from abs_theory.delays import Deterministic, Exponential, Gamma, LogNormal, ShiftedExponential
from abs_theory.monte_carlo import Estimate
from simulations import contract, protocols
from simulations.experiment import simulate
from simulations.problems import NoisyQuadratic, TimingOnly

QUADRATIC = NoisyQuadratic((1.0, 0.3), sigma2=0.5)
LOGNORMAL = LogNormal(median=math.exp(-0.5), sigma=1.0)


# ---------------------------------------------------------------------- by hand
def test_what_arrives_while_the_server_updates_queues():
    table, w, log = play(protocols.k_async(1), [1, 1], [1.5, 9], num_updates=3, update_seconds=2)
    # worker 0 at 1: w = 1/2 at 3, when it restarts. Worker 1 has waited since 1.5: w = 0 at 5 from w = 1.
    # Worker 0 has waited since 4: read w = 1/2, w = -1/4 at 7
    check(table, time=[3, 5, 7], largest_staleness=[0, 1, 1], idle_seconds=[2, 3.5, 3 + 0], downlinks=[2 + 1, 1, 1])
    assert w == -0.25
    assert log[1] == (1, 0.0, 1.5, 0, 1, 2, "applied")


def test_queued_work_that_is_too_stale_restarts():
    table, _, log = play(protocols.abs_sgd(1, 0), [1, 1], [1.5, 9], num_updates=2, update_seconds=2)
    # worker 1 was done at 1.5, but its model is too old when the update is over at 3
    check(table, time=[3, 6], restarts=[1, 1], wasted_seconds=[1.5, 3], idle_seconds=[2 + 1.5, 2])
    assert log[1] == (1, 0.0, 1.5, 0, 1, -1, "restarted")


def test_no_slot_waits_in_abs_batch():
    table, _, _ = play(protocols.abs_batch(1, 1), [1, 1, 4], [1.5, 1, 9], num_updates=3, update_seconds=1)
    # worker 0 at 1, update until 2. Worker 1 was done at 1.5: update until 3, when worker 0's third task (from w_0)
    # restarts. Done at 2 and 2.5 from w_0: too stale. Worker 1 goes on at 2.5 with w_1, done at 11.5
    check(table, time=[2, 3, 12.5], largest_staleness=[0, 1, 1], restarts=[0, 1, 0], discarded=[2, 0, 0])
    check(table, idle_seconds=[0, 0, 0], wasted_seconds=[0, 1, 1 + 1])


def test_admission_in_order_waits_for_the_oldest():
    table, _, _ = play(protocols.admission(1, 1, window=1), [3, 1], [1, 1], num_updates=3)
    # worker 1 is done at 1 but waits for worker 0, which started first: both are used at 3
    check(table, time=[3, 3, 4], largest_staleness=[0, 1, 1])


def test_tail_batching_puts_late_tasks_off_and_they_keep_their_times():
    table, _, log = play(protocols.tail_batching(2), [1, 9, 2], [2, 2, 9], [5, 4, 7], num_updates=4)
    # Worker 2 is late by a task of 5 s, then worker 0 by one of 9 s. At 6 both have been put off: workers 0 (busy) and
    # 1 (idle) do them again until 11 and 15. Then all take their own next times
    check(table, time=[2, 6, 15, 22], restarts=[1, 1, 0, 1], largest_staleness=[0, 0, 0, 0])
    again = [(worker, end - start) for worker, start, end, *_ in log if start == 6.0]
    assert again == [(0, 5.0), (1, 9.0)]
    with pytest.raises(ValueError, match="at most 2 k workers, got k=1 and n=3"):
        play(protocols.tail_batching(1), [1], [1], [1], num_updates=1)


@pytest.mark.parametrize("k, n", [(4, 6), (6, 8)])
def test_tail_batching_takes_as_long_as_theory_says(k, n):
    law = Gamma(shape=2.0, scale=0.5)
    found, means = averages(protocols.tail_batching(k), law, n, 0.3, 400, 16)
    state = steady_state.tail_batching(law, k, n, 0.3)
    assert_agrees(found, float(state.round_time), resolution=0.1)
    assert means["restarts"].mean() == pytest.approx(state.restarts, rel=0.01)
    for column, share in (("idle_seconds", state.idle_fraction), ("wasted_seconds", state.wasted_fraction)):
        assert_agrees(Estimate.of(means[column] / (n * found.mean)), float(share), resolution=0.1)


# ---------------------------------------------------------------------- equal special cases
def test_admission_with_slots_to_spare_is_k_async_to_the_bit():
    options = {"step_size": 0.1, "num_updates": 80, "seed": 3, "n_jobs": 1}
    one = simulate(protocols.admission(2, 2), QUADRATIC, LOGNORMAL, 9, **options)
    other = simulate(protocols.k_async(2), QUADRATIC, LOGNORMAL, 6, **options)
    differs = ["idle_seconds"]  # of the workers that never start
    pd.testing.assert_frame_equal(one.drop(columns=differs), other.drop(columns=differs), check_exact=True)


def test_admission_with_few_slots_is_k_batch_async_to_the_bit():
    options = {"step_size": 0.1, "num_updates": 80, "seed": 3, "n_jobs": 1}
    one = simulate(protocols.admission(3, 2), QUADRATIC, LOGNORMAL, 7, **options)
    other = simulate(protocols.k_batch_async(3), QUADRATIC, LOGNORMAL, 7, **options)
    pd.testing.assert_frame_equal(one, other, check_exact=True)


@pytest.mark.parametrize("name", CASES)
def test_an_update_that_takes_no_time_changes_no_bit(name):
    case = CASES[name]
    options = {"step_size": 0.05, "num_updates": 25, "seed": 4, "n_jobs": 1, "local_steps": case.local_steps}
    if name.startswith(("abs_batch", "admission")):
        pytest.skip("if updates last, however short, a worker goes on before the update, with the old model")
    one, other = (
        simulate(case.protocol, QUADRATIC, LOGNORMAL, N, update_seconds=seconds, eval_every=1.0, **options)
        for seconds in (0.0, 1e-300)
    )
    pd.testing.assert_frame_equal(one, other, check_exact=True)


# ---------------------------------------------------------------------- what is conserved
@pytest.mark.parametrize(
    "law",
    [
        pytest.param(ShiftedExponential(0.5, 0.5), id="random"),
        pytest.param(Deterministic(1.0), id="ties", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("name", CASES)
def test_the_contract_holds_with_updates_that_take_time(name, law):
    case = CASES[name]
    if name == "stsyn":
        pytest.skip("its workers go on until they are collected")
    options = {"local_steps": case.local_steps, "update_seconds": Exponential(0.4)}
    rounds, tasks = contract.train_with_tasks(case.protocol, law, N, **options)
    contract.work_is_conserved(rounds, tasks, N)
    contract.workers_do_one_thing_at_a_time(tasks)
    contract.messages_are_counted(rounds, tasks, case.local_steps == 1 and name != "adacomm")
    contract.staleness_is_bounded(rounds)
    contract.reruns_alone(case.protocol, law, N, **options)
    ages = (tasks["end_version"] - tasks["read_version"]).sum()
    if case.busy == "n - k":
        assert ages == (N - rounds["k"]).sum()


@pytest.mark.parametrize("seconds", [0.0, Exponential(0.3), 2.0], ids=str)
@pytest.mark.parametrize("law", [LOGNORMAL, Gamma(shape=0.5, scale=2.0)], ids=str)
def test_each_update_ages_all_slots_and_the_queue_by_one(law, seconds):
    """k tau + (threshold + 1) x (stopped and dropped tasks) = n + mean queue; n - 1 if updates take no time."""
    k, bound = 3, 2
    rounds, tasks = contract.train_with_tasks(protocols.abs_batch(k, bound), law, N, update_seconds=seconds)
    if not seconds:
        assert (tasks["end_version"] - tasks["read_version"]).sum() == (N - 1) * len(rounds)
        return
    applied, dropped, unfinished = (tasks["outcome"] == name for name in ("applied", "discarded", "unfinished"))
    gone = tasks["end_version"].astype(int)  # updates when a task has left slot and queue
    gone[applied] = tasks["applied_version"][applied] - 1
    gone[dropped] = tasks["read_version"][dropped] + bound + 1
    gone[unfinished] = len(rounds)
    arrived = applied | dropped | (unfinished & (tasks["end"] < rounds["time"].iloc[-1]))
    queue = [
        (arrived & (tasks["end"] < time)).sum() - k * update - (dropped & (gone < update)).sum()
        for update, time in zip(rounds["update"], rounds["time"], strict=True)
    ]
    assert min(queue) >= 0
    assert (gone - tasks["read_version"]).sum() == N * len(rounds) + sum(queue)


def test_a_run_ends_before_an_update_that_is_over_too_late():
    rounds = simulate(
        protocols.synchronous(), QUADRATIC, Deterministic(1.0), 2, step_size=0.1, time_budget=5.0, seed=0,
        update_seconds=1.0, eval_every=1.5,
    )  # fmt: skip
    assert rounds["time"].tolist() == [2.0, 4.0]
    assert rounds["loss"].notna().all()


# ---------------------------------------------------------------------- theory
def averages(protocol, law, n, seconds, updates, replicates, **options):
    rounds = simulate(
        protocol, TimingOnly(), law, n, step_size=1.0, num_updates=updates, replicates=replicates, seed=11, n_jobs=1,
        update_seconds=seconds, **options,
    )  # fmt: skip
    late = rounds[rounds["update"] > updates // 4]
    times = rounds.groupby("replicate")["time"].agg(
        lambda x: (x.iloc[-1] - x.iloc[updates // 4]) / (updates - 1 - updates // 4)
    )
    return Estimate.of(times), late.groupby("replicate").mean()


@pytest.mark.parametrize(
    "protocol, expected, local_steps",
    [
        (protocols.k_batch_sync(6), lambda law, T: round_time.k_batch_sync(law, 6, 4, T), 1),
        (protocols.local_sgd(), lambda law, T: round_time.local_sgd(law, 4, 3, T), 3),
        (protocols.stsyn(2), lambda law, T: round_time.stsyn(law, 2, 4, 3, T), 3),
    ],
)
def test_rounds_in_which_all_wait_for_the_update(protocol, expected, local_steps):
    law, T = Gamma(shape=4.0, scale=0.25), Gamma(shape=4.0, scale=0.1)
    found, _ = averages(protocol, law, 4, T, 200, 12, local_steps=local_steps)
    assert_agrees(found, expected(law, T), resolution=0.12)


TABLE = [  # k, threshold, seconds of an update, whether slots wait, whether work is stopped in flight
    (8, None, 0.5, True, True),
    (8, 1, 0.3, True, True),
    (24, None, 0.2, True, True),
    (8, 2, 0.1, False, True),
    (8, 1, 0.0, False, True),
    (8, 1, 0.1, False, False),
]


@pytest.mark.parametrize("effort", [(40, 12), pytest.param((300, 32), marks=pytest.mark.slow)], ids=["fast", "slow"])
@pytest.mark.parametrize("row", TABLE, ids=str)
def test_theory_against_simulation(row, effort):
    k, bound, seconds, waits, in_flight = row
    n = 32
    if waits:
        theory = steady_state.abs_sgd(LOGNORMAL, k, n, bound, "mean-field", update_seconds=seconds)
        protocol = protocols.k_async(k) if bound is None else protocols.abs_sgd(k, bound)
    else:
        theory = steady_state.abs_batch(LOGNORMAL, k, n, bound, seconds, in_flight, "mean-field")
        protocol = protocols.abs_batch(k, bound, in_flight)
    found, means = averages(protocol, LOGNORMAL, n, seconds, *effort)
    stated = theory.error.round_time
    assert_within(found, theory.round_time, stated, cap=0.1 * found.mean, resolution=0.3 * found.mean)
    assert means["mean_staleness"].mean() == pytest.approx(float(theory.mean_staleness), abs=0.15)


def test_exponential_tasks_and_a_trainer_are_an_exact_chain():
    theory = steady_state.abs_sgd(Exponential(1.0), 4, 12, update_seconds=0.3)
    found, _ = averages(protocols.k_async(4), Exponential(1.0), 12, 0.3, 300, 24)
    assert theory.error.round_time == 0
    assert_agrees(found, theory.round_time, resolution=0.1)


@pytest.mark.parametrize("window", [None, 1, 3])
def test_the_worker_that_completes_a_batch_goes_on_while_the_server_updates(window):
    """Two workers finish a task each second, whatever the server does: the sixth of them at 3 s, the ninth at 5 s."""
    run = simulate(
        protocols.admission(3, 1.0, window=window), TimingOnly(), Deterministic(1.0), 2, step_size=1.0, num_updates=6,
        seed=0, update_seconds=0.3,
    )  # fmt: skip
    assert run["time"].tolist() == pytest.approx([2.3, 3.3, 5.3, 6.3, 8.3, 9.3])


def test_staleness_is_n_over_k_minus_1_however_long_updates_take():
    for seconds in (0.0, 0.5, 3.0):
        rounds, tasks = contract.train_with_tasks(
            protocols.k_async(2), LOGNORMAL, 8, update_seconds=seconds, num_updates=400
        )
        assert (tasks["end_version"] - tasks["read_version"]).sum() == 6 * len(rounds)
        assert rounds["mean_staleness"].iloc[50:].mean() == pytest.approx(3, abs=0.1)
    assert np.isfinite(rounds["loss"].iloc[-1])
