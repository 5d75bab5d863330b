"""Stated errors cover the truth where it is known: exact chains and closed forms against simulation and mean field."""

import math
from functools import cache

import numpy as np
import pytest
from cases import first_fast
from laws import STALLS
from scipy import stats

from abs_theory import monte_carlo, steady_state
from abs_theory.delays import (
    Coxian,
    Deterministic,
    Erlang,
    Exponential,
    HyperExponential,
    LogNormal,
    ShiftedExponential,
    Uniform,
)

FALSE_FAIL_RATE = 1e-6
NUMBERS = ["round_time", "mean_staleness", "restarts", "downlinks", "idle_fraction", "wasted_fraction"]
BURSTS = HyperExponential(probs=(0.5, 0.5), means=(0.1, 1.9))
COXIAN = Coxian(rates=(3.0, 1.0, 0.5), go_on=(0.7, 0.4))
UNLIKE = [Exponential(0.5), Exponential(0.5), Exponential(1.0), Exponential(4.0)]

CELLS = [
    (Exponential(1.0), 2, 5, 1),
    (Erlang(3, 1 / 3), 2, 5, 2),
    (Erlang(2, 0.5), 3, 6, None),
    (BURSTS, 2, 6, 1),
    (COXIAN, 3, 5, None),
    (UNLIKE, 2, 4, 1),
]


def assert_coverage(hits, trials, nominal):
    """A binomial test of the number of intervals that cover, two-sided."""
    test = stats.binomtest(hits, trials, nominal)
    assert test.pvalue > FALSE_FAIL_RATE, f"{hits} of {trials} intervals cover, not {nominal:.0%}"


@cache
def runs_of(number):
    """The exact values of a cell, and 120 short simulations of it."""
    delay, k, n, theta = CELLS[number]
    truth = steady_state.abs_sgd(delay, k, n, theta, "exact")
    rngs = [np.random.default_rng([seed, 7]) for seed in range(120)]
    return truth, [monte_carlo.abs_sgd(delay, k, n, theta, rng, num_rounds=100, replicates=24) for rng in rngs]


SOME = [i if i in (1, 2) else pytest.param(i, marks=pytest.mark.slow) for i in range(len(CELLS))]


@pytest.mark.parametrize("number", SOME)
def test_95_percent_half_widths_cover_the_exact_value_95_times_in_100(number):
    """Numbers of one run depend on each other: each is tested apart."""
    truth, states = runs_of(number)
    assert truth.method == "exact"
    fluctuating = [name for name in NUMBERS if getattr(states[0].error, name) > 1e-12]
    assert len(fluctuating) >= 3
    for name in fluctuating:
        covered = [abs(getattr(state, name) - getattr(truth, name)) <= getattr(state.error, name) for state in states]
        assert_coverage(sum(covered), len(states), 0.95)


def test_the_test_of_coverage_would_notice():
    truth, states = runs_of(1)
    half = sum(abs(state.round_time - truth.round_time) <= 0.5 * state.error.round_time for state in states)
    shifted = sum(abs(1.03 * state.round_time - truth.round_time) <= state.error.round_time for state in states)
    for hits in (half, shifted):
        with pytest.raises(AssertionError, match="intervals cover"):
            assert_coverage(hits, len(states), 0.95)


GRID = [
    (delay, k, n, theta)
    for delay in (Exponential(1.0), Erlang(2, 0.5), Erlang(4, 0.25), STALLS, BURSTS, COXIAN)
    for n in (3, 5, 8)
    for k in sorted({1, n // 2, n - 1})
    for theta in (1, 2, None)
]


# the chains of the others have more phases, and take long
@pytest.mark.parametrize(
    "delay", first_fast([STALLS, Erlang(2, 0.5), Exponential(1.0), BURSTS, Erlang(4, 0.25), COXIAN], 3), ids=repr
)
def test_the_mean_field_states_an_error_that_covers_the_exact_chain(delay):
    for law, k, n, theta in GRID:
        if law != delay:
            continue
        chain = steady_state.abs_sgd(delay, k, n, theta, "exact")
        theory = steady_state.abs_sgd(delay, k, n, theta, "mean-field")
        assert chain.method == "exact"
        assert theory.method == ("exact" if k == 1 and theta is None else "mean-field")
        for name in [*NUMBERS, "participation"]:
            apart = np.abs(getattr(theory, name) - getattr(chain, name))
            stated = getattr(theory.error, name)
            assert np.all(apart <= stated + 1e-6), f"{name} of {delay} at k={k}, n={n}, {theta}: {apart}, not {stated}"
        size = min(chain.staleness_pmf.size, theory.staleness_pmf.size) - 1
        apart = np.abs(theory.staleness_pmf[:size] - chain.staleness_pmf[:size])
        assert np.all(apart <= theory.error.staleness_pmf[:size]), f"pmf of {delay} at k={k}, n={n}, {theta}"
        assert theory.error.round_time <= 0.25 * theory.round_time


# -- which method is taken ----------------------------------------------------------------------------------------


def test_auto_takes_the_chain_where_it_is_small():
    for method, otherwise in (("auto", "simulation"), ("fast", "mean-field")):
        assert steady_state.abs_sgd(STALLS, 4, 8, 3, method).method == "exact"
        assert steady_state.abs_sgd(STALLS, 5, 20, 3, method).method == otherwise
        assert steady_state.abs_sgd(STALLS, 5, 20, None, method).method == "exact"
        assert steady_state.abs_sgd(ShiftedExponential(0.5, 0.5), 4, 8, 3, method).method == otherwise
    small = steady_state.abs_sgd(STALLS, 4, 8, 3)
    for name in [*NUMBERS, "participation", "staleness_pmf"]:
        assert np.all(np.asarray(getattr(small.error, name)) == 0)


def test_unequal_workers_by_every_method():
    laws = [LogNormal(1.0, 0.5)] * 3 + [Uniform(low=0.5, high=4.0)] * 2
    theory = steady_state.abs_sgd(laws, 2, 5, 2, "fast")
    state = steady_state.abs_sgd(laws, 2, 5, 2, "monte-carlo", np.random.default_rng(2))
    assert (theory.method, state.method) == ("mean-field", "monte-carlo")
    assert abs(theory.round_time - state.round_time) <= theory.error.round_time + 3 * state.error.round_time
    for each in (theory, state, steady_state.abs_sgd(UNLIKE, 2, 4, 1)):
        assert each.participation.sum() == pytest.approx(2)
        assert np.ptp(each.participation) > 0.05
    grid = steady_state.abs_sgd(laws, np.arange(1, 6)[:, None], 5, [0, 2, None])
    assert grid.participation.shape == (5, 3, 5)
    np.testing.assert_allclose(grid.participation.sum(axis=-1), np.arange(1, 6)[:, None] * np.ones(3), rtol=1e-9)
    assert grid.method[0].tolist() == ["exact", "simulation", "exact"]  # k = 1 without a bound is 1 / sum of 1 / E[X]
    rate = sum(1 / law.mean for law in laws)
    assert grid.round_time[0, 2] == pytest.approx(1 / rate, rel=1e-12)
    np.testing.assert_allclose(grid.participation[0, 2], [1 / (rate * law.mean) for law in laws], rtol=1e-9)


def test_exact_unequal_workers_against_simulation():
    for laws, k, theta in [(UNLIKE, 2, 2), ([LogNormal(1.0, 0.5)] * 3 + [Uniform(low=0.5, high=4.0)], 2, 0)]:
        exact = steady_state.abs_sgd(laws, k, 4, theta, "exact")
        state = monte_carlo.abs_sgd(laws, k, 4, theta, np.random.default_rng(3), 2000, 128)
        width = stats.t.isf(FALSE_FAIL_RATE / 2, 127) / stats.t.isf(0.025, 127)
        for name in [*NUMBERS, "participation"]:
            apart = np.abs(np.asarray(getattr(exact, name)) - getattr(state, name))
            assert np.all(apart <= width * np.asarray(getattr(state.error, name)) + 1e-9), name
            assert np.all(2 * width * np.asarray(getattr(state.error, name)) <= 0.1 * max(1.0, np.max(apart)))


def test_one_equal_law_is_a_sequence_of_itself():
    for delay, theta in [
        (Exponential(2.0), 3),
        (Erlang(2, 1.0), 1),
        (LogNormal(1.0, 1.0), 0),
        (LogNormal(1.0, 1.0), 2),
    ]:
        one, many = steady_state.abs_sgd(delay, 2, 5, theta), steady_state.abs_sgd([delay] * 5, 2, 5, theta)
        assert one.round_time == many.round_time
        np.testing.assert_allclose(many.participation, np.full(5, 0.4), rtol=1e-12)


def test_workers_that_tie_are_served_by_index():
    state = steady_state.abs_sgd(Deterministic(1.0), 2, 4, 0)
    assert state.participation.tolist() == [1, 1, 0, 0]
    assert (state.round_time, state.restarts, state.idle_fraction) == (1.0, 2.0, 0.0)


def test_a_hopelessly_slow_worker():
    laws = [Exponential(1e-6)] * 3 + [Exponential(1e6)]
    for theta in (1, math.inf):
        state = steady_state.abs_sgd(laws, 2, 4, theta)
        assert state.participation[:3] == pytest.approx(np.full(3, 2 / 3), rel=1e-6)
        assert 0 < state.participation[3] < 1e-11
        assert np.isfinite([getattr(state, name) for name in NUMBERS]).all()


@pytest.mark.slow
@pytest.mark.parametrize("k", [1, 2])
def test_the_mean_field_covers_its_worst_cell_at_twenty_workers(k):
    """Delays with a least value, few waited for, one update late at most: known to a thirtieth of a percent."""
    delay = ShiftedExponential(0.5, 0.5)
    sharp = monte_carlo.abs_sgd(delay, k, 20, 1, np.random.default_rng(5), num_rounds=2000, replicates=256)
    theory = steady_state.abs_sgd(delay, k, 20, 1, "mean-field")
    assert sharp.error.round_time < 5e-4 * sharp.round_time
    assert abs(theory.round_time - sharp.round_time) + sharp.error.round_time <= theory.error.round_time
