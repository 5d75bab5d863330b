"""Runs: budgets, evaluation on a common grid of seconds, divergence, targets with censoring, bad input."""

import math

import numpy as np
import pandas as pd
import pytest

from abs_theory.delays import Deterministic, Exponential, LogNormal, ShiftedExponential
from simulations import protocols
from simulations.experiment import simulate
from simulations.problems import NoisyQuadratic, TimingOnly, perceptron_digits, softmax_digits
from simulations.record import diverged, median, thinned, to_target, with_totals

QUADRATIC = NoisyQuadratic((1.0,), sigma2=0.0)
COLUMNS = [
    "replicate", "update", "time", "k", "max_staleness", "mean_staleness", "largest_staleness", "uplinks",
    "downlinks", "restarts", "computed", "used", "discarded", "idle_seconds", "wasted_seconds",
    "away_seconds", "loss",
]  # fmt: skip


def sync(problem=QUADRATIC, delay=Deterministic(1.0), n=2, **options):  # noqa: B008 (a frozen value)
    return simulate(protocols.synchronous(), problem, delay, n, **({"step_size": 0.5, "seed": 0} | options))


def test_one_row_per_update_with_the_documented_columns():
    table = sync(num_updates=7, replicates=3)
    assert list(table.columns) == [*COLUMNS, "gradient_norm2"]
    assert table["update"].tolist() == [1, 2, 3, 4, 5, 6, 7] * 3
    assert table["replicate"].tolist() == [0] * 7 + [1] * 7 + [2] * 7


def test_a_time_budget_keeps_the_update_at_its_very_end_and_none_after():
    assert sync(time_budget=3.0)["time"].tolist() == [1, 2, 3]
    assert sync(time_budget=2.99)["time"].tolist() == [1, 2]
    assert sync(time_budget=3.0, num_updates=2)["time"].tolist() == [1, 2]


def test_a_budget_too_short_for_one_update_gives_an_empty_table_with_all_columns():
    table = sync(time_budget=0.5, replicates=2)
    assert list(table.columns) == [*COLUMNS, "gradient_norm2"]
    assert len(table) == 0


def test_evaluations_are_of_the_model_in_force_at_each_grid_point():
    # updates at 1, 2, 3, ..; w = 1/2, 1/4, ..; grid 1.5, 3, 4.5, 6: in force are updates 1, 3 (made at 3), 4, 6
    table = sync(num_updates=7, eval_every=1.5)
    evaluated = table.dropna(subset="loss")
    assert evaluated["update"].tolist() == [1, 3, 4, 6, 7]  # and the last
    assert evaluated["loss"].tolist() == [0.5 * 0.25**update for update in evaluated["update"]]


def test_updates_that_miss_the_grid_by_a_rounding_error_do_not_stop_the_run():
    table = sync(delay=Deterministic(0.01), num_updates=12, eval_every=0.01)  # 6 x 0.01 < 0.01 + ... + 0.01
    assert len(table) == 12
    assert table["loss"].isna().sum() == 1


def test_evaluating_more_often_changes_nothing_else():
    problem = perceptron_digits(4, hidden=4, batch_size=2)
    options = {"problem": problem, "delay": LogNormal(median=1.0, sigma=1.0), "n": 4, "num_updates": 30}
    coarse, fine = sync(**options), sync(eval_every=0.1, **options)
    columns = COLUMNS[:-1]
    pd.testing.assert_frame_equal(coarse[columns], fine[columns], check_exact=True)
    assert coarse["loss"].iloc[-1] == fine["loss"].iloc[-1]


def test_a_run_stops_at_the_evaluation_that_reaches_its_target():
    table = sync(num_updates=50, eval_every=1.0, target=("loss", 0.5 * 0.25**4))
    assert len(table) == 4
    accurate = sync(
        problem=softmax_digits(2), num_updates=400, eval_every=1.0, step_size=1.0, target=("test_accuracy", 0.8)
    )
    assert accurate["test_accuracy"].iloc[-1] >= 0.8
    assert accurate["test_accuracy"].iloc[:-1].max() < 0.8


def test_workers_may_have_different_laws():
    table, tasks = sync(delay=[Deterministic(1.0), Deterministic(3.0)], num_updates=4, jobs=True)
    assert table["time"].tolist() == [3, 6, 9, 12]
    assert table["idle_seconds"].sum() == 8
    assert set((tasks["end"] - tasks["start"])[tasks["worker"] == 1].iloc[:4]) == {3.0}


def test_local_steps_sum_draws_of_the_one_step_law():
    table, tasks = simulate(
        protocols.local_sgd(), TimingOnly(), ShiftedExponential(shift=1.0, scale=0.1), 3, step_size=1.0,
        local_steps=5, num_updates=20, seed=1, jobs=True,
    )  # fmt: skip
    assert (tasks["end"] - tasks["start"])[tasks["outcome"] == "applied"].min() > 5
    assert (table["computed"] == 15).all()
    assert (table["uplinks"] == 3).all()


# ---------------------------------------------------------------------- divergence and censoring
@pytest.mark.parametrize("problem", [QUADRATIC, softmax_digits(2)], ids=repr)
def test_a_diverging_run_is_recorded_as_such_and_does_not_stop_the_others(problem):
    step = 1e4 if problem is QUADRATIC else 1e308
    table = sync(problem=problem, step_size=step, num_updates=500, replicates=2)
    assert diverged(table).tolist() == [True, True]
    assert table.groupby("replicate")["loss"].last().tolist() == [math.inf, math.inf]
    assert len(table) < 1000
    reached = to_target(table, "loss", 1e-3)
    assert not reached["reached"].any()
    assert np.isinf(reached["time"]).all()


def test_to_target_reads_time_rounds_and_communication():
    table = sync(num_updates=10, eval_every=1.0, replicates=2)
    reached = to_target(table, "loss", 0.5 * 0.25**3)
    assert reached["time"].tolist() == [3, 3]
    assert reached["update"].tolist() == [3, 3]
    assert reached["communication"].tolist() == [2 + 3 * 4] * 2  # the first models, then 2 up and 2 down each round
    never = to_target(table, "loss", 0.0)
    assert not never["reached"].any()
    assert never["time"].tolist() == [10, 10]  # a lower bound
    assert never["update"].tolist() == [math.inf, math.inf]


def test_a_run_is_watched_to_the_end_of_its_budget_even_without_any_update():
    slow = [Deterministic(3.0), Deterministic(20.0)]  # round 1 ends at 20
    options = {"time_budget": 19.0, "replicates": 2}
    table = sync(delay=slow, **options)
    reached = to_target(table, "loss", 0.0, **options)
    assert reached["replicate"].tolist() == [0, 1]
    assert reached["time"].tolist() == [19, 19]
    assert not reached["reached"].any()
    longer = to_target(sync(delay=slow, time_budget=39.0), "loss", 0.0, time_budget=39.0)
    assert longer["time"].tolist() == [39]  # not 20, its last update


def test_thinning_keeps_totals_and_what_is_evaluated():
    table = sync(
        delay=Exponential(1.0), problem=NoisyQuadratic((1.0,), 0.1), n=3, num_updates=40, eval_every=5.0, replicates=2
    )
    thin = thinned(table)
    assert thin["loss"].notna().all()
    assert len(thin) == table["loss"].notna().sum() < 80
    for column in ("uplinks", "downlinks", "idle_seconds"):
        assert thin[column].sum() == pytest.approx(table[column].sum())
    kept = with_totals(table)[table["loss"].notna()]
    assert with_totals(thin)["communication"].tolist() == kept["communication"].tolist()


def test_a_median_counts_runs_that_never_arrive_as_longer_than_all():
    times = pd.Series([1.0, 2.0, 3.0, 10.0, 10.0])
    assert median(times, times < 10)[0] == 3
    assert median(times, times < 3)[0] == math.inf  # 2 of 5: not reached, though the successful median is 1.5
    nobody = median(times, times < 0)
    assert (nobody.median, nobody.high, nobody.reached, nobody.replicates) == (math.inf, math.inf, 0, 5)
    with_failure = median(pd.Series([1.0, 2.0, 3.0, math.inf, math.inf]), pd.Series([True, True, True, False, False]))
    assert with_failure.median == 3
    assert with_failure.low <= 3 <= with_failure.high


def test_the_interval_of_a_median_covers_it():
    rng, covered, truth = np.random.default_rng(4), 0, math.log(2)
    for _ in range(400):
        times = rng.exponential(size=20)
        censoring = rng.uniform(0.5, 4.0, size=20)
        estimate = median(pd.Series(np.minimum(times, censoring)), pd.Series(times <= censoring))
        covered += estimate.low <= truth <= estimate.high
    assert 0.91 <= covered / 400 <= 0.995  # nominal .95; the interval is conservative at n = 20


# ---------------------------------------------------------------------- bad input
class Half:
    initial = np.zeros(2)

    def loss(self, params):
        return 0.0


class Starts:
    """A problem that begins with any ``initial``."""

    def __init__(self, initial):
        self.initial = initial

    loss = gradients = metrics = lambda self, *args: None


class OneArray(NoisyQuadratic):
    def gradients(self, params, workers, rngs):
        return super().gradients(params, workers, rngs)[1]


@pytest.mark.parametrize(
    "options, message",
    [
        ({}, "num_updates or time_budget"),
        ({"num_updates": 0}, "num_updates must"),
        ({"num_updates": 1.5}, "num_updates must"),
        ({"time_budget": -1.0}, "time_budget must"),
        ({"time_budget": math.nan}, "time_budget must"),
        ({"num_updates": 1, "eval_every": 0.0}, "eval_every must"),
        ({"num_updates": 1, "local_steps": 0}, "local_steps must"),
        ({"num_updates": 1, "replicates": 0}, "replicates must"),
        ({"num_updates": 1, "replicates": [1, 1]}, r"each once, got \[1, 1\]"),
        ({"num_updates": 1, "replicates": 1.5}, r"replicates must .* got 1\.5"),
        ({"num_updates": 1, "replicates": [-1]}, "replicate must"),
        ({"num_updates": 1, "seed": -1}, "seed must"),
        ({"num_updates": 1, "n": 0}, "n must"),
        ({"num_updates": 1, "delay": [Exponential(1.0)]}, "delay must be one Delay or a sequence of n=2"),
        ({"num_updates": 1, "delay": 3.0}, r"delay must .*, got 3\.0; give one such as Exponential\(mean=1\.0\)"),
        (
            {"num_updates": 1, "delay": "exponential:mean=1"},
            "got 'expo.*'; abs_theory.delays.text.delay_law reads a text",
        ),
        ({"num_updates": 1, "step_size": 0.0}, "step_size must"),
        ({"num_updates": 1, "step_size": math.nan}, "step_size must"),
        ({"num_updates": 1, "problem": softmax_digits(3)}, "splits its data among 3 workers, got n=2"),
        ({"num_updates": 1, "eval_every": 1.0, "target": ("accuracy", 0.9)}, "target must be"),
        ({"num_updates": 1, "eval_every": 1.0, "target": "loss"}, "target must be"),
        ({"num_updates": 1, "eval_every": 1.0, "target": ("loss", math.nan)}, "target must be"),
        ({"num_updates": 1, "target": ("loss", 0.9)}, "give eval_every"),
        ({"num_updates": 1, "problem": softmax_digits}, "problem must be a Problem"),
        ({"num_updates": 1, "problem": None}, "problem must be a Problem"),
        ({"num_updates": 1, "problem": Half()}, r"problem must be a Problem .*, Half lacks gradients and metrics"),
        ({"num_updates": 1, "problem": Starts([0.0, 1.0])}, r"initial of Starts must be .* \(d,\), got a list"),
        (
            {"num_updates": 1, "problem": Starts(np.zeros((2, 1)))},
            r"initial of .*, got shape \(2, 1\) of float64",
        ),
        ({"num_updates": 1, "problem": Starts(np.array(["a"]))}, r"initial of Starts .*, got shape \(1,\) of <U1"),
        (
            {"num_updates": 1, "problem": Starts(np.array([0, np.nan]))},
            "initial of .*, got 1 that are not finite",
        ),
        ({"num_updates": 1, "problem": OneArray((1.0,) * 5, 1.0)}, "OneArray must return two arrays, losses and grad"),
        ({"num_updates": 1, "step_size": "a"}, "step_size must"),
        ({"num_updates": 1, "update_seconds": [0.1]}, "update_seconds must be a number, a Delay"),
    ],
)
def test_bad_runs_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        sync(**options)


class Wrong(NoisyQuadratic):
    """A quadratic of five parameters whose gradients are ``spoiled``."""

    def gradients(self, params, workers, rngs):
        losses, rows = super().gradients(params, workers, rngs)
        return losses, self.spoiled(rows)


@pytest.mark.parametrize(
    "spoiled, given",
    [
        (lambda rows: rows[:, :3], r"shape \(\d, 3\) of float64"),
        (lambda rows: rows[:, :1], r"shape \(\d, 1\) of float64"),  # numpy would repeat the number
        (lambda rows: rows.astype(int), r"shape \(\d, 5\) of int64"),  # a step of .1 would be rounded to 0
        (lambda rows: rows.tolist(), "a list"),
    ],
)
@pytest.mark.parametrize("replicates", [1, 2])  # two advance in step
@pytest.mark.parametrize("local_steps", [1, 2])
def test_gradients_of_a_wrong_shape_or_type_are_refused(spoiled, given, replicates, local_steps):
    problem = Wrong((1.0,) * 5, sigma2=0.1)
    object.__setattr__(problem, "spoiled", spoiled)
    message = rf"gradients of Wrong must return .* gradients of shape \(\d, 5\), .*, got .* and {given}"
    with pytest.raises(ValueError, match=message):
        sync(problem, num_updates=2, replicates=replicates, local_steps=local_steps, n_jobs=1)


class NanFrom(NoisyQuadratic):
    """A quadratic whose ``part`` is NaN from w = ``least`` on, downwards."""

    def gradients(self, params, workers, rngs):
        losses, rows = super().gradients(params, workers, rngs)
        wrong = params[:, 0] <= self.least
        if self.part == "losses":
            losses = np.where(wrong, np.nan, losses)
        return losses, np.where(wrong[:, None], np.nan, rows)


@pytest.mark.parametrize("part, least, update", [("losses", 1, 1), ("gradients", 1, 1), ("losses", 0.3, 3)])
@pytest.mark.parametrize("replicates", [1, 2])  # two advance in step
def test_losses_and_gradients_that_are_nan_are_told_once(part, least, update, replicates):
    problem = NanFrom((1.0,) * 5, sigma2=0.0)
    object.__setattr__(problem, "part", part)
    object.__setattr__(problem, "least", least)
    message = rf"{part} of NanFrom are NaN from update {update} on, though .* only {least if least == 1 else 0.25}: "
    with pytest.warns(UserWarning, match=message) as told:
        table = sync(problem, num_updates=9, replicates=replicates, n_jobs=1)
    assert len(told) == 1
    assert table["loss"].iloc[-1] == math.inf


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("step_size", [1e3, 1e300])
@pytest.mark.parametrize("local_steps", [1, 200])
@pytest.mark.parametrize("replicates", [1, 2])
@pytest.mark.parametrize("make", [lambda: QUADRATIC, lambda: softmax_digits(2), lambda: perceptron_digits(2)])
def test_a_step_that_is_too_large_is_not_taken_for_gradients_that_are_nan(make, replicates, local_steps, step_size):
    table = sync(make(), num_updates=99, replicates=replicates, n_jobs=1, step_size=step_size, local_steps=local_steps)
    assert len(table) > 1


def test_a_protocol_that_waits_for_more_than_it_can_get_is_told():
    from simulations.server import Protocol

    hoarder = Protocol(lambda server, job: server.accept(job), k=1)
    with pytest.raises(RuntimeError, match=r"no worker will ever deliver again at t=.* waits for more gradients"):
        simulate(hoarder, TimingOnly(), Exponential(1.0), 2, step_size=1.0, num_updates=1, seed=0)


def test_a_target_in_a_column_that_the_table_lacks_is_refused():
    with pytest.raises(ValueError, match=r"column must be one of the table, replicate, update, .*, got 'accuracy'"):
        to_target(sync(num_updates=3), "accuracy", 0.9)
