"""Replicates in step against the event server, bit for bit: protocols x laws x fleets x policies."""

import math
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
from all_protocols import CASES, N, moving_bound, moving_k
from cases import by_turns

from abs_theory.delays import Empirical, Exponential, LogNormal, as_delay
from simulations import policies, protocols
from simulations.contract import LAWS, PROBLEM, check, leaving
from simulations.experiment import simulate
from simulations.fleets import CommonFactor, Independent, Links, Replay, Scaled, Spells, Stalls, as_fleet, one_slow
from simulations.problems import (
    NoisyQuadratic,
    ShiftedQuadratic,
    TimingOnly,
    perceptron_digits,
    random_least_squares,
    softmax_digits,
)
from simulations.server import (
    Family,
    Protocol,
    Run,
    RunBudget,
    most_in_step,
    run_replicate,
    run_replicates,
    run_together,
)

LOGNORMALS = Independent((LogNormal(median=1.0, sigma=1.0),) * N)
FLEETS = {repr(law): as_fleet(law, N) for law in LAWS} | {
    "unequal": Independent(tuple(Exponential(1.0 + worker / 3) for worker in range(N))),
    "atoms": as_fleet(Empirical(samples=(1.0, 2.0, 3.0)), N),  # many arrive at the same time
    "one slow": one_slow(LAWS[0], N, 3.0),
    "common factor": CommonFactor(LOGNORMALS, LAWS[0]),
    "spells": Spells(LOGNORMALS, 5.0, 2.0, 3.0),
    "stalls": Stalls(Scaled(LOGNORMALS, (1.0, 2.0) * (N // 2)), 0.1, Exponential(5.0)),
    "replay": Replay(((1.0, 2.0, 1.5, 1.0, 3.0, 1.0), (2.0, 1.0, 1.0, 4.0, 1.0, 1.5)), by="round"),
}
PROBLEMS = {
    "quadratic": PROBLEM,
    "shifted": ShiftedQuadratic((1.0, 0.3), sigma2=0.5, optima=tuple(range(N))),
    "least squares": random_least_squares(N, d=5, samples=60, batch_size=2),
    "softmax": softmax_digits(N, batch_size=3, l2=0.01),
    "perceptron": perceptron_digits(N, hidden=5, batch_size=2),
    "timing": TimingOnly(),
}
BUDGETS = {
    "updates": RunBudget(num_updates=40),
    "seconds": RunBudget(time_budget=8.0, eval_every=1.0),
    "target": RunBudget(num_updates=30, time_budget=15.0, eval_every=1.5, target=("loss", 0.6)),
}
STEPS = {"constant": 0.05, "falling": lambda progress: 0.1 / (1 + progress.time)}  # its own in each replicate
FAMILY = {name: case for name, case in CASES.items() if case.protocol.family is not None}
FOLLOWING_THE_LOSS = ("adasync", "staleness_aware_adasync", "adacomm", "abs_sgd, loss ratio")
MEMBERS = {
    "synchronous", "backup_workers", "k_sync", "asynchronous", "k_async", "abs_sgd", "adasync",
    "staleness_aware_adasync", "fastest_k", "fastest_k_pflug", "self_tuning_abs", "ringmaster", "delay_adaptive",
    "k_batch_sync", "k_batch_async", "staleness_aware", "fedbuff", "local_sgd", "adacomm",
}  # fmt: skip


def run_of(
    protocol, problem=PROBLEM, fleet=FLEETS["unequal"], step_size=0.05, local_steps=1, budget=BUDGETS["updates"]
):
    return Run(
        protocol=protocol, problem=problem, fleet=fleet, step_size=step_size, local_steps=local_steps, seed=3,
        budget=budget,
    )  # fmt: skip


def assert_equal(run, replicates=(0, 1, 5)):
    assert most_in_step(run) >= 3, "the run is not one for replicates in step"
    for replicate, (rounds, tasks) in zip(replicates, run_replicates(run, replicates), strict=True):
        alone, no_tasks = run_replicate(run, replicate)
        pd.testing.assert_frame_equal(rounds, alone, check_exact=True)
        assert tasks.equals(no_tasks)


WAYS = list(product(PROBLEMS, BUDGETS, STEPS, (False, True)))  # the last: several local steps
PAIRS = [(i, j, name, fleet) for (i, name), (j, fleet) in product(enumerate(FAMILY), enumerate(FLEETS))]
FAST = [(name, fleet, *WAYS[(29 * i + 37 * j) % len(WAYS)]) for i, j, name, fleet in PAIRS if (i + j) % 5 == 0]


def cell(name, fleet, problem, budget, step, more):
    case = FAMILY[name]
    problem = "quadratic" if problem == "timing" and name.startswith(FOLLOWING_THE_LOSS) else problem
    budget = "seconds" if problem != "quadratic" and budget == "target" else budget  # the target is one for that loss
    local_steps = 3 if more else case.local_steps
    return run_of(case.protocol, PROBLEMS[problem], FLEETS[fleet], STEPS[step], local_steps, BUDGETS[budget])


@pytest.mark.parametrize("name, fleet, problem, budget, step, more", FAST)
def test_the_tables_are_those_of_the_event_server(name, fleet, problem, budget, step, more):
    run = cell(name, fleet, problem, budget, step, more)
    if most_in_step(run):
        assert_equal(run)


@pytest.mark.slow
@pytest.mark.parametrize("fleet", FLEETS)
@pytest.mark.parametrize("name", FAMILY)
def test_the_tables_are_those_of_the_event_server_in_the_whole_table(name, fleet):
    for way in WAYS:
        run = cell(name, fleet, *way)
        if most_in_step(run):
            assert_equal(run)


def test_in_this_table_only_batches_of_any_size_need_the_event_server():
    for name, case in FAMILY.items():
        in_step = most_in_step(run_of(case.protocol)) > 0
        assert in_step == (not (case.protocol.batch and callable(case.protocol.k))), name


@pytest.mark.parametrize("family", [Family(), Family(continues=True)])
def test_the_contract_finds_a_protocol_that_is_declared_wrongly(family):
    with pytest.raises(AssertionError, match="replicate 1 alone differs"):
        check(replace(protocols.rennala(3), family=family))


def test_every_member_of_the_family_declares_itself():
    assert {name.split(",")[0] for name in FAMILY} == MEMBERS
    assert not any(CASES[name].protocol.family for name in ("rennala", "ssp", "mindflayer", "stsyn", "ringleader"))


@pytest.mark.parametrize("k, bound", by_turns([1, 2, 7, 19, 20], [0, 1, 4, math.inf], rounds=2))
def test_more_workers_and_every_way_to_find_the_first_k(k, bound):
    for law in (LAWS[1], Empirical(samples=(1.0, 2.0, 3.0, 7.0))):
        assert_equal(run_of(protocols.abs_sgd(k, bound, protocols.weights.by_staleness), fleet=as_fleet(law, 20)))


def test_k_and_threshold_move_differently_in_each_replicate():
    protocol = protocols.abs_sgd(policies.loss_ratio(1), policies.relative_to_mean(2.0))
    run = run_of(protocol, fleet=as_fleet(LAWS[1], N), step_size=0.3, budget=RunBudget(num_updates=200, eval_every=3.0))
    assert_equal(run)
    tables = [rounds for rounds, _ in run_replicates(run, range(4))]
    assert len({tuple(table["k"]) for table in tables}) > 1
    assert_equal(run_of(protocols.abs_sgd(moving_k, moving_bound), budget=RunBudget(time_budget=30.0, eval_every=0.7)))


MEASURED = {"waiting": protocols.abs_sgd(moving_k, moving_bound), "going on": protocols.k_batch_async(3)}


@pytest.mark.parametrize(
    "problem, kind, local_steps", by_turns(["quadratic", "softmax", "perceptron"], MEASURED, [1, 3], rounds=2)
)
def test_what_is_measured_is_the_same_and_changes_nothing(problem, kind, local_steps):
    protocol, seen = MEASURED[kind], []

    def step(progress):  # not pure, but it decides nothing
        measured = progress.measured
        values = (measured.gradient_variance, measured.gradient_norm2, measured.curvature, measured.messages)
        seen.append(str((progress.updates, progress.time, *values, measured.delay.hazard.tolist())))
        return 0.05

    step.measures = True
    run = run_of(protocol, PROBLEMS[problem], step_size=step, local_steps=local_steps)
    assert_equal(run, (0, 1, 2))
    numbers = sorted(seen)
    assert len(numbers) == 2 * 3 * 41
    assert numbers[::2] == numbers[1::2]
    plain = run_replicates(replace(run, step_size=0.05), range(3))
    for (rounds, _), (unmeasured, _) in zip(run_replicates(run, range(3)), plain, strict=True):
        pd.testing.assert_frame_equal(rounds, unmeasured, check_exact=True)


@pytest.mark.parametrize("problem", [PROBLEM, softmax_digits(20)], ids=["double", "single"])
@pytest.mark.parametrize("k", [1, 3, 17, lambda progress: 1 + progress.updates % 7])
def test_policies_see_the_same_numbers(k, problem):
    seen = []

    def spy(progress):  # not pure, but it decides nothing
        seen.append(tuple(progress))
        return 2

    run = run_of(protocols.abs_sgd(k, spy), problem, as_fleet(LAWS[1], 20), local_steps=1)
    numbers = []
    for make in (run_replicates, lambda run, replicates: [run_replicate(run, replicate) for replicate in replicates]):
        seen.clear()
        make(run, (0, 1, 2))
        numbers.append(sorted(seen))
    assert numbers[0] == numbers[1]
    assert len(numbers[0]) == 3 * 41


@pytest.mark.parametrize("problem, step", [(PROBLEM, 1e4), (softmax_digits(N), 1e308), (PROBLEM, 1.9)])
def test_replicates_that_diverge_end_and_the_others_go_on(problem, step):
    assert_equal(
        run_of(protocols.abs_sgd(2, 3), problem, step_size=step, budget=RunBudget(num_updates=400, eval_every=9.0))
    )


def test_one_diverges_and_one_makes_no_update():
    def step(progress):  # replicates differ in time, so one of them jumps
        return 1e200 if progress.time > 20 and progress.updates == 20 else 0.05

    assert_equal(
        run_of(protocols.k_async(1), fleet=as_fleet(LAWS[2], N), step_size=step, budget=RunBudget(num_updates=99)),
        range(9),
    )
    assert_equal(
        run_of(protocols.synchronous(), fleet=as_fleet(LAWS[1], N), budget=RunBudget(time_budget=2.0)), range(9)
    )


def test_a_replicate_alone_is_the_same_as_among_others():
    options = {"step_size": 0.05, "num_updates": 50, "seed": 3, "eval_every": 2.0, "n_jobs": 1}
    together = simulate(protocols.abs_sgd(2, 1), PROBLEM, LAWS[0], N, replicates=7, **options)
    few = simulate(protocols.abs_sgd(2, 1), PROBLEM, LAWS[0], N, replicates=[4, 2, 9], **options)
    alone = simulate(protocols.abs_sgd(2, 1), PROBLEM, LAWS[0], N, replicates=[4], **options)
    assert alone.equals(few[few["replicate"] == 4].reset_index(drop=True))
    assert alone.equals(together[together["replicate"] == 4].reset_index(drop=True))


@pytest.mark.slow
def test_replicates_of_two_processes_are_those_of_one():
    options = {"step_size": 0.05, "num_updates": 50, "seed": 3, "eval_every": 2.0, "replicates": 7}
    together, split = (
        simulate(protocols.abs_sgd(2, 1), PROBLEM, LAWS[0], N, **options, n_jobs=jobs) for jobs in (1, 2)
    )
    assert together.equals(split)


class Rounded(NoisyQuadratic):
    """Gradients that depend on how many are computed together: this class does not say that they are exact."""

    def gradients(self, params, workers, rngs):
        losses, slopes = super().gradients(params, workers, rngs)
        return losses, slopes + 1e-9 * len(workers)


class Doubled(NoisyQuadratic):
    """A model in single precision whose gradients are in double precision."""

    exact_rows = True

    @property
    def initial(self):
        return super().initial.astype("float32")

    def gradients(self, params, workers, rngs):
        losses, slopes = super().gradients(params.astype(float), workers, rngs)
        return losses, slopes


MIXED = [protocols.abs_sgd(3, 1), protocols.k_batch_async(8), protocols.k_async(moving_k)]


@pytest.mark.parametrize("protocol, kind, local_steps", by_turns(MIXED, [Rounded, Doubled], [1, 2], rounds=2))
def test_problems_whose_gradients_may_not_be_mixed(kind, protocol, local_steps):
    assert_equal(run_of(protocol, kind((1.0, 0.5), sigma2=1.0), local_steps=local_steps))


@pytest.mark.parametrize(
    "run",
    [
        run_of(protocols.rennala(3)),
        run_of(protocols.stsyn(3)),
        run_of(Protocol(lambda server, job: server.assign((server.accept(job), server.update())[1]))),
        run_of(protocols.k_sync(2), fleet=leaving(N)),
        run_of(protocols.k_sync(2), fleet=Links(LOGNORMALS, upload=0.1)),
        run_of(protocols.asynchronous(), TimingOnly(), as_fleet(LAWS[0], 10_000)),
    ],
    ids=["rennala", "stsyn", "a new one", "leaving", "links", "many workers"],
)
def test_what_needs_the_event_server_gets_it(run):
    assert most_in_step(run) == 0


@pytest.mark.parametrize(
    "protocol, message",
    [
        (protocols.k_async(0), r"k must be a whole number in 1\.\.n, got k=0 with n=6 workers"),
        (protocols.k_async(lambda progress: 1 + progress.updates), "its policy gave k=7"),
        (protocols.abs_sgd(1, lambda progress: "x"), r"max_staleness must .* gave 'x'"),
        (protocols.k_async(1, weight=lambda staleness: math.nan), "weight of a gradient must be finite, got nan at"),
    ],
)
def test_errors_are_those_of_the_event_server(protocol, message):
    for make in (run_replicates, lambda run, replicates: run_replicate(run, 0)):
        with pytest.raises(ValueError, match=message):
            make(run_of(protocol), (0, 1, 2))


class Never(type(LAWS[0])):
    """A law whose draws are infinite at times."""

    def sample(self, rng, size):
        seconds = super().sample(rng, size)
        return np.where(rng.random(size) < 0.3, math.inf, seconds)


def test_workers_that_never_deliver_are_noticed():
    run = run_of(protocols.k_sync(N), fleet=as_fleet(Never(0.5, 0.5), N))
    messages = []
    for make in (run_replicates, lambda run, replicates: run_replicate(run, replicates[0])):
        with pytest.raises(RuntimeError, match="no worker will ever deliver again") as caught:
            make(run, (0, 1, 2))
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert_equal(run_of(protocols.k_sync(N), fleet=as_fleet(Never(0.5, 0.5), N), budget=RunBudget(time_budget=20.0)))


def test_laws_with_whole_seconds_and_of_scipy():
    from scipy import stats

    assert_equal(run_of(protocols.abs_sgd(2, 1), fleet=as_fleet(as_delay(stats.poisson(3, loc=1)), N)))


# ---------------------------------------------------------------------- several settings together
SETTINGS = {
    "k": [protocols.abs_sgd(k, bound) for k, bound in ((1, 3), (2, math.inf), (N, 0))],
    "policies": [protocols.abs_sgd(moving_k, moving_bound), protocols.k_sync(2), protocols.asynchronous()],
    "continues": [protocols.k_batch_async(k) for k in (1, 3, 8)],
}


@pytest.mark.parametrize("problem", ["quadratic", "softmax"])
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_several_settings_together_are_the_same_as_each_alone(settings, problem):
    """With other steps and other ends, too: after a number of updates, and after a number of seconds."""
    budgets = (RunBudget(num_updates=7), BUDGETS["seconds"], RunBudget(num_updates=40, eval_every=2.0))
    runs = [
        run_of(protocol, PROBLEMS[problem], FLEETS["atoms"], step, budget=budget)
        for protocol, step, budget in zip(settings, (0.1, STEPS["falling"], 0.3), budgets, strict=True)
    ]
    for run, tables in zip(runs, run_together(runs, [4, 0]), strict=True):
        for replicate, (rounds, _) in zip([4, 0], tables, strict=True):
            pd.testing.assert_frame_equal(rounds, run_replicate(run, replicate)[0], check_exact=True)


@pytest.mark.parametrize(
    "others",
    [
        run_of(protocols.k_async(2), PROBLEMS["shifted"]),
        run_of(protocols.k_async(2), fleet=FLEETS["atoms"]),
        replace(run_of(protocols.k_async(2)), seed=4),
        run_of(protocols.k_batch_async(2)),
        run_of(protocols.staleness_aware(2)),
        run_of(protocols.k_async(2), local_steps=2),
        run_of(protocols.rennala(2)),
    ],
)
def test_runs_that_differ_in_more_than_their_settings_are_the_same_as_each_alone(others):
    runs = [run_of(protocols.abs_sgd(2, 1)), others]
    for run, tables in zip(runs, run_together(runs, [1, 2]), strict=True):
        for replicate, (rounds, _) in zip([1, 2], tables, strict=True):
            pd.testing.assert_frame_equal(rounds, run_replicate(run, replicate)[0], check_exact=True)


@pytest.mark.parametrize("replicates", [[0], [0, 1, 2]])
def test_without_losses_on_the_way_the_rest_is_the_same(replicates):
    budget = RunBudget(time_budget=8.0, eval_every=1.0, target=("test_accuracy", 0.5))
    run = run_of(protocols.k_async(2), PROBLEMS["softmax"], budget=budget)
    few = replace(run, budget=replace(budget, final_loss_only=True))
    for (rounds, _), (less, _) in zip(run_replicates(run, replicates), run_replicates(few, replicates), strict=True):
        assert rounds["loss"].notna().sum() > less["loss"].notna().sum() == 1
        assert rounds["loss"].iloc[-1] == less["loss"].iloc[-1]
        assert rounds.drop(columns="loss").equals(less.drop(columns="loss"))
    with pytest.raises(ValueError, match="leave out final_loss_only"):
        RunBudget(time_budget=8.0, eval_every=1.0, target=("loss", 0.5), final_loss_only=True)


@pytest.mark.parametrize("replicates", [[0], [0, 1, 2]])
def test_a_run_may_go_on_after_its_target(replicates):
    budget = RunBudget(time_budget=24.0, eval_every=1.0)
    run = run_of(protocols.k_async(2), PROBLEMS["softmax"], budget=budget)
    for (whole, _), replicate in zip(run_replicates(run, replicates), replicates, strict=True):
        level = float(whole["test_accuracy"].dropna().iloc[2])
        for until, earliest, latest in ((0.0, 1.0, 3.0), (12.0, 12.0, 12.0)):
            limits = replace(budget, target=("test_accuracy", level), goes_on_until=until)
            rounds = run_replicates(replace(run, budget=limits), replicates)[replicates.index(replicate)][0]
            pd.testing.assert_frame_equal(rounds, whole[: len(rounds)], check_exact=True)
            assert rounds["time"].iloc[-1] <= latest
            assert whole["time"].iloc[len(rounds)] >= earliest
    with pytest.raises(ValueError, match="goes_on_until must be a finite number >= 0"):
        replace(budget, goes_on_until=-1.0)


class FromNegativeZero(NoisyQuadratic):
    """Its metric tells -0.0 from 0.0."""

    initial = np.array([-0.0, 1.0])

    def metrics(self, params):
        return {"sign": float(np.copysign(1.0, params[0]))}


def test_a_parameter_of_negative_zero_keeps_its_sign():
    budget = RunBudget(num_updates=5, eval_every=0.5)
    assert_equal(run_of(protocols.asynchronous(), FromNegativeZero((1.0, 0.5), sigma2=0.0), budget=budget))
