"""The contract of every protocol: work and messages are conserved, staleness is bounded, runs are addressable."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
from all_protocols import CASES, N, moving_k
from cases import by_turns, every_case
from hypothesis import given, settings
from hypothesis import strategies as st

from abs_theory.delays import Deterministic, Exponential, HyperExponential
from simulations import contract, protocols
from simulations.experiment import simulate
from simulations.problems import TimingOnly, perceptron_digits
from simulations.server import Protocol

QUADRATIC, LAWS, LEAVING = contract.PROBLEM, contract.LAWS, contract.leaving(N)

every_protocol = pytest.mark.parametrize("name", CASES)
every_law = every_case("law", LAWS)


def train(name, law, **options):
    case = CASES[name]
    run = contract.train_with_tasks if options.pop("jobs", False) else contract.train
    return run(case.protocol, law, N, local_steps=case.local_steps, **options)


@cache
def logged(name, law):
    """The rounds and the tasks of one run; not to be changed."""
    return train(name, law, jobs=True)


def test_every_protocol_is_in_the_table():
    assert {name.split(",")[0] for name in CASES} == set(protocols.__all__) - {"weights"}


@every_law
@every_protocol
def test_every_second_of_every_worker_is_accounted_for(name, law):
    rounds, tasks = logged(name, law)
    contract.work_is_conserved(rounds, tasks, N)
    contract.workers_do_one_thing_at_a_time(tasks)
    assert (rounds["away_seconds"] == 0).all()


@every_protocol
def test_every_second_is_accounted_for_when_workers_leave_and_come_back(name):
    if name == "stsyn":
        with pytest.raises(ValueError, match="needs a fleet without upload times and absences"):
            train(name, LEAVING)
        return
    rounds, tasks = train(name, LEAVING, jobs=True)
    contract.work_is_conserved(rounds, tasks, N)
    contract.workers_do_one_thing_at_a_time(tasks)
    assert rounds["away_seconds"].sum() > 0


@every_law
@every_protocol
def test_messages_and_gradients_are_counted(name, law):
    rounds, tasks = logged(name, law)
    contract.messages_are_counted(rounds, tasks, CASES[name].local_steps == 1 and name != "adacomm")
    contract.no_gradient_is_forgotten(rounds, tasks, N)
    assert len(rounds) == 40


@every_law
@every_protocol
def test_staleness_is_conserved_and_bounded(name, law):
    """The ages at which tasks ended sum to the number of tasks in flight, summed over updates."""
    rounds, tasks = logged(name, law)
    contract.staleness_is_bounded(rounds)
    ages = (tasks["end_version"] - tasks["read_version"]).sum()
    if CASES[name].busy == "n - k":
        assert ages == (N - rounds["k"]).sum()
    elif CASES[name].busy == "n - 1":
        assert ages == (N - 1) * len(rounds)
    elif name == "mindflayer":
        assert ages == 0


STAYING = [(name, LAWS[1]) for name in CASES if name == "stsyn"]  # it refuses workers that leave, see above


@pytest.mark.parametrize(
    "name, law", [*by_turns([name for name in CASES if name != "stsyn"], [LAWS[1], LEAVING]), *STAYING], ids=str
)
def test_any_replicate_reruns_alone_to_the_last_bit(name, law):
    contract.reruns_alone(CASES[name].protocol, law, N, local_steps=CASES[name].local_steps)


@every_protocol
def test_replicates_differ(name):
    times = train(name, LAWS[1], replicates=2).groupby("replicate")["time"].last()
    assert times[0] != times[1]


@every_protocol
def test_every_protocol_descends(name):
    contract.descends(CASES[name].protocol, N, local_steps=CASES[name].local_steps)


# ---------------------------------------------------------------------- what the contract finds out
def test_the_contract_as_one_call():
    contract.check(protocols.abs_sgd(2, 1), N)
    contract.check(protocols.stsyn(3), N, local_steps=3)
    contract.check(protocols.ssp(2), N)


def ever_smaller_steps():
    arrivals = []

    def on_arrival(server, job):
        arrivals.append(job)
        server.accept(job, 100 / (100 + len(arrivals)))
        server.assign(server.update())

    return Protocol(on_arrival)


def forgetful(server, job):
    if server.staleness(job) <= 2:
        server.accept(job)
        server.update()
    server.assign([job.worker])


def uphill(server, job):
    server.accept(job, -0.1)
    server.assign(server.update())


def impatient(server, job):
    server.accept(job)
    server.update()
    server.assign([])


BROKEN = {
    "remembers other runs": (ever_smaller_steps(), "replicate 1 alone differs"),
    "forgets gradients": (Protocol(forgetful), "neither accepted nor discarded"),
    "breaks its own bound": (
        Protocol(protocols.k_async(1).on_arrival, max_staleness=0),
        "max_staleness is 0",
    ),
    "climbs": (Protocol(uphill), "not below a fifth"),
    "stops tasks": (Protocol(protocols.k_sync(2).on_arrival, 2, uses_all=True), "uses_all must be False"),
}


@pytest.mark.parametrize("protocol, words", BROKEN.values(), ids=BROKEN.keys())
def test_a_protocol_that_breaks_the_contract_is_told_how(protocol, words):
    with pytest.raises(AssertionError, match=words):
        contract.check(protocol, N)


def test_a_protocol_that_hands_out_no_work_is_told_so():
    with pytest.raises(RuntimeError, match="no worker will ever deliver again"):
        contract.check(Protocol(impatient), N)


def test_books_that_do_not_add_up_are_found_out():
    rounds, tasks = logged("k_sync", LAWS[0])
    with pytest.raises(AssertionError, match=r"6 workers had .* s, but .* s are accounted for"):
        contract.work_is_conserved(rounds.assign(idle_seconds=0.0), tasks, N)
    with pytest.raises(AssertionError, match="models sent are booked"):
        contract.messages_are_counted(rounds.assign(downlinks=rounds["downlinks"] + 1), tasks)
    with pytest.raises(AssertionError, match="worker 0 has two tasks at the same time"):
        contract.workers_do_one_thing_at_a_time(tasks.assign(end=tasks["end"] + 1))


# ---------------------------------------------------------------------- one is a case of the other, to the last bit
EQUAL = {
    "ringmaster with stops is ABS with k = 1": (protocols.ringmaster(3), protocols.abs_sgd(1, 2)),
    "rennala of one gradient is ringmaster of threshold 1": (
        protocols.rennala(1),
        protocols.ringmaster(1, stops=False),
    ),
    "one gradient per batch is asynchronous": (protocols.k_batch_async(1), protocols.asynchronous()),
    "unlimited slack is asynchronous": (protocols.ssp(np.inf), protocols.asynchronous()),
    "a buffer of one, unweighted, is asynchronous": (
        protocols.fedbuff(1, weight=lambda staleness: 1.0),
        protocols.asynchronous(),
    ),
    "one gradient of the current model is 1-sync": (protocols.k_batch_sync(1), protocols.k_sync(1)),
    "no spare workers is synchronous": (protocols.backup_workers(0), protocols.synchronous()),
    "two spare workers is K-sync": (protocols.backup_workers(2), protocols.k_sync(N - 2)),
    "a bound of 0 is K-sync": (protocols.abs_sgd(3, 0), protocols.k_sync(3)),
    "no bound is K-async": (protocols.abs_sgd(3, np.inf), protocols.k_async(3)),
    "k = n is synchronous": (protocols.abs_sgd(N, 2), protocols.synchronous()),
    "k = 1 without a bound is asynchronous": (protocols.abs_sgd(1, np.inf), protocols.asynchronous()),
    "a moving k with a bound of 0 is K-sync": (protocols.abs_sgd(moving_k, 0), protocols.k_sync(moving_k)),
    "one trial that is never cut off is synchronous": (
        protocols.mindflayer(Deterministic(1.0), N, trials=1, cut_off=1e9),
        protocols.synchronous(),
    ),
    "AdaSync from k = n on is synchronous": (protocols.adasync(Exponential(1.0), N, N), protocols.k_async(N)),
}


@pytest.mark.parametrize("name, law", by_turns(EQUAL, LAWS, rounds=2), ids=str)
def test_published_special_cases_are_equal_bit_by_bit(name, law):
    tables = [
        simulate(one, QUADRATIC, law, N, step_size=0.1, num_updates=60, seed=3, replicates=2, eval_every=0.5, n_jobs=1)
        for one in EQUAL[name]
    ]
    one, other = (table.drop(columns=["k", "max_staleness"]) for table in tables)
    pd.testing.assert_frame_equal(one, other, check_exact=True)
    assert one["loss"].notna().sum() > 10


def test_limits_hold_bit_by_bit_on_the_perceptron_too():
    one, other = (
        simulate(
            protocol, perceptron_digits(N, hidden=8, batch_size=4), LAWS[2], N, step_size=0.1, num_updates=60, seed=3,
            eval_every=1.0,
        )
        for protocol in (protocols.abs_sgd(2, 0), protocols.k_sync(2))
    )  # fmt: skip
    pd.testing.assert_frame_equal(one, other, check_exact=True)


def test_local_sgd_of_one_step_is_synchronous_sgd():
    """Averaged models, not gradients: equal to rounding."""
    one, other = (
        simulate(protocol, QUADRATIC, LAWS[2], N, step_size=0.1, num_updates=60, seed=3, eval_every=1.0)
        for protocol in (protocols.adacomm(1), protocols.synchronous())
    )
    pd.testing.assert_frame_equal(one, other, check_exact=False, rtol=1e-9)


# ---------------------------------------------------------------------- whatever the numbers
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), bound=st.integers(0, 5), k=st.integers(1, N))
def test_abs_never_uses_a_gradient_staler_than_its_bound(seed, bound, k):
    law = HyperExponential(probs=(0.8, 0.2), means=(0.2, 4.2))
    rounds = simulate(protocols.abs_sgd(k, bound), TimingOnly(), law, N, step_size=1.0, num_updates=50, seed=seed)
    assert rounds["largest_staleness"].max() <= bound


@every_law
def test_work_is_conserved_when_the_budget_ends_within_a_round(law):
    """Gradients delivered for an update that never came count as unfinished work."""
    rounds, tasks = train("k_sync", law, num_updates=None, time_budget=20.3, jobs=True)
    seconds = (tasks["end"] - tasks["start"]).sum() + rounds["idle_seconds"].sum()
    assert seconds == pytest.approx(N * tasks["end"].max(), rel=1e-12)  # the clock stops at the last arrival


def test_common_random_numbers_the_jth_task_takes_the_same_time_under_every_protocol():
    def durations(name):
        _, tasks = logged(name, LAWS[2])
        done = tasks[tasks["outcome"] == "applied"].sort_values("start")
        return [(done["end"] - done["start"])[done["worker"] == w].round(9).tolist() for w in range(N)]

    for one, other in zip(durations("asynchronous"), durations("synchronous"), strict=True):
        shared = min(len(one), len(other))
        assert shared > 0
        assert one[:shared] == pytest.approx(other[:shared], abs=1e-8)


def test_the_same_numbers_on_any_number_of_processes():
    tables = [train("abs_sgd, both moving", LAWS[1], replicates=4, eval_every=1.0, n_jobs=jobs) for jobs in (1, 2)]
    pd.testing.assert_frame_equal(*tables, check_exact=True)


def test_the_function_that_makes_a_protocol_is_none():
    with pytest.raises(ValueError, match="must be a Protocol such as"):
        contract.check(protocols.k_async)  # pyright: ignore[reportArgumentType]


def test_a_protocol_that_never_updates_is_found_out(monkeypatch):
    def forever(server, job):
        server.discard(job)
        server.assign([job.worker])

    monkeypatch.setattr("simulations.server.server.MOST_ARRIVALS", 1000)
    with pytest.raises(
        RuntimeError, match=r"no update up to t=.* though 1601 gradients came: does the protocol ever call"
    ):
        simulate(Protocol(forever), QUADRATIC, LAWS[0], N, step_size=0.1, num_updates=1, seed=0)
