"""What could be guessed is refused instead, in words that say what to give."""

import math

import numpy as np
import pandas as pd
import pytest

from abs_theory import bounds, choose, round_time, steady_state
from abs_theory.bounds import Constants
from abs_theory.checks import checked_array, instead, real_numbers
from abs_theory.choose import Target
from abs_theory.delays import Empirical, Exponential, Gamma
from abs_theory.delays.text import delay_law
from simulations import record
from simulations.experiment import Experiment, simulate
from simulations.problems import NoisyQuadratic
from simulations.protocols import abs_sgd, backup_workers

LAW, KNOWN = Exponential(1.0), Constants(L=1.0, sigma2=1.0, gap=1.0, noise_curvature=0.5)
NO_NUMBERS = ["12", ["1", "2"], True, [True, 2.0], np.array([True]), 1 + 2j, [1j], np.array([1, "2"], object), None]


@pytest.mark.parametrize("value", NO_NUMBERS, ids=repr)
def test_texts_booleans_and_complex_numbers_are_no_numbers(value):
    assert math.isnan(real_numbers(value))
    with pytest.raises(ValueError, match=r"x must be finite numbers >= 0, got x="):
        checked_array("x", value)
    with pytest.raises(ValueError, match=r"samples must be finite numbers > 0"):
        Empirical(value)
    for ask in (
        lambda: round_time.expected_updates(LAW, 1, 2, seconds=value),
        lambda: round_time.time_of_update(LAW, 1, 2, updates=value),
    ):
        with pytest.raises(ValueError, match=r"^(seconds|updates) must be finite numbers"):
            ask()


def test_numbers_of_all_kinds_are_numbers():
    for value in (2, 2.0, np.float32(2), np.int64(2), [2], pd.Series([2], dtype=object), pd.array([2], dtype="Int64")):
        assert real_numbers(value).ravel().tolist() == [2.0]


@pytest.mark.parametrize(
    "ask",
    [
        lambda rng: steady_state.abs_sgd(LAW, 1, 2, rng=rng),
        lambda rng: steady_state.abs_sgd(Gamma(2.0, 1.0), [1, 2], 3, 1, rng=rng),
        lambda rng: steady_state.abs_batch(LAW, 1, 2, rng=rng, update_seconds=0.1),
        lambda rng: choose.best(LAW, 2, KNOWN, Target(0.5), rng=rng),
        lambda rng: choose.timetable(LAW, 2, KNOWN, Target(0.5), rng=rng),
    ],
)
@pytest.mark.parametrize("rng", [0, 1, "0"])
def test_a_seed_is_no_generator(ask, rng):
    with pytest.raises(ValueError, match=r"^rng must be a numpy Generator such as np.random.default_rng\(0\), got"):
        ask(rng)


def test_a_mean_staleness_above_the_largest_is_refused():
    def bound(mean_staleness, max_staleness, k=2):
        return bounds.abs_sgd(KNOWN, 0.01, k, 4, 100, mean_staleness, max_staleness)

    with pytest.raises(ValueError, match=r"^mean_staleness must be at most max_staleness = 1, got 2$"):
        bound([0.5, 2], 1, k=1)
    assert bound(1.0, 1) > bound(0.5, 1)
    assert bound(5.0, 9) > bound(1.0, 9)  # in place of the mean a bound that holds for all n may be given
    assert bounds.updates_to(KNOWN, 0.5, 0.01, 1, 4, 3.0, 9) > 0
    with pytest.raises(ValueError, match=r"^mean_staleness must be at most "):
        bounds.updates_to(KNOWN, 0.5, 0.01, 1, 4, 10.0, 9)
    with pytest.raises(ValueError, match=r"^mean_staleness must be at most max_staleness = 1, got 2$"):
        bounds.abs_sgd_tradeoff(KNOWN, 2, 4, 2.0, [3, 1])


def test_the_time_of_an_update_says_its_rule_and_gives_numbers():
    with pytest.raises(ValueError, match=r"^updates must be finite numbers >= 1, got updates=0$"):
        round_time.time_of_update(LAW, 1, 2, updates=0)
    for k, bound in ((1, 0), (1, None), (2, 1)):
        for answer in (
            round_time.time_of_update(Gamma(2.0, 1.0), k, 3, bound, updates=3),
            round_time.expected_updates(Gamma(2.0, 1.0), k, 3, bound, seconds=2.0),
        ):
            assert isinstance(answer.value, float)
            assert isinstance(answer.error, float)


def test_of_equal_times_the_lower_worker_number_comes_first_as_the_docs_say():
    state = steady_state.abs_sgd(Empirical([1, 1, 1, 2, 2, 5]), 3, 8, 1)
    assert np.allclose(state.participation[[0, -1]], [0.51, 0.26], atol=0.005)
    assert np.all(np.diff(state.participation) < 0)


# ---------------------------------------------------------------- records
RUN = {"step_size": 0.1, "time_budget": 5.0, "eval_every": 1.0, "seed": 0, "n_jobs": 1}


def test_a_time_budget_is_that_of_the_runs():
    table = simulate(abs_sgd(1, 1), NoisyQuadratic((1.0,), sigma2=0.1), LAW, 2, **RUN)
    for wrong, words in (
        (-5, "finite number > 0"),
        (0, "finite number > 0"),
        ("x", "finite number > 0"),
        (2.0, "of the"),
    ):
        with pytest.raises(ValueError, match=rf"^time_budget must be .*{words}"):
            record.to_target(table, "loss", 1e-9, time_budget=wrong)
    assert record.to_target(table, "loss", 1e-9, time_budget=5.0)["time"].tolist() == [5.0]


def test_medians_take_lists_and_arrays_and_refuse_what_makes_none():
    expected = record.median(pd.Series([1.0, 2.0, 3.0]), pd.Series([True, True, False]))
    assert record.median([1, 2, 3], [True, True, False]) == expected
    assert record.median(np.array([1, 2, 3]), np.array([True, True, False])) == expected
    assert record.median([1, 2], [False, False]) == (math.inf, 1.0, math.inf, 0, 2)
    for values, reached in (([], []), ([1, 2], [True]), ([1, 2], [1, 0]), ([[1]], [[True]])):
        with pytest.raises(ValueError, match=r"^values and reached must be as many numbers as True"):
            record.median(values, reached)
    with pytest.raises(ValueError, match=r"got NaN among them"):
        record.median([1, math.nan], [True, True])


# ---------------------------------------------------------------- messages
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"step_size": lambda: 0.1}, "step_size must be a number or a policy, a function of one argument"),
        ({"target": "loss"}, "target must be a column and a finite number to reach"),
        ({"target": ("loss", math.nan)}, "target must be a column and a finite number to reach"),
        ({"target": ("los", 0.1), "eval_every": 1.0}, "the columns of this problem are loss, gradient_norm2"),
        ({"target": ("loss", 0.1)}, r"give eval_every \(seconds\)"),
        ({"protocol": backup_workers(4)}, "spare must be less than the number of workers, got spare=4 with n=4"),
        ({"replicates": "2"}, "replicates must be a number >= 1 or which ones to run, got '2'"),
        ({"delay": (LAW for _ in range(4))}, "give a list$"),
    ],
)
def test_a_run_says_what_is_wrong_with_what_was_given(change, words):
    given = {"protocol": abs_sgd(1, 1), "problem": NoisyQuadratic((1.0,), sigma2=0.1), "delay": LAW, "n": 4}
    with pytest.raises(ValueError, match=words):
        simulate(**given | {"step_size": 0.1, "num_updates": 3, "seed": 0, "n_jobs": 1} | change)


@pytest.mark.parametrize(("k", "bound", "name"), [(lambda: 2, 1, "k"), (1, lambda a, b: 2, "max_staleness")])
def test_a_policy_is_a_function_of_one_argument(k, bound, name):
    with pytest.raises(ValueError, match=f"^{name} must be a number or a policy, a function of one argument"):
        abs_sgd(k, bound)


def test_laws_from_a_generator_ask_for_a_list():
    with pytest.raises(ValueError, match=r"got <generator .*: give a list$"):
        steady_state.abs_sgd((law for law in (LAW, LAW)), 1, 2)


def test_the_beginning_of_a_name_is_recognised():
    assert instead("expo", ["gamma", "exponential"], "x") == "; did you mean 'exponential'? x"
    with pytest.raises(ValueError, match=r"no delay law named 'expo'; did you mean 'exponential'"):
        delay_law("expo:mean=1")


@pytest.mark.parametrize("key", ["sweep", "cell"])
def test_one_run_says_that_a_sweep_is_several(key):
    with pytest.raises(ValueError, match=f"^'{key}' makes a sweep of many runs, and this takes one"):
        Experiment.of({"n": 3, key: {}})
