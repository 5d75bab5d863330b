"""The chain of numbers and ages under a threshold of one: against closed forms, simulation, and its use by "auto"."""

import math

import numpy as np
import pytest

from abs_theory import monte_carlo, order_stats, steady_state
from abs_theory.delays import Exponential, Gamma, Weibull
from abs_theory.monte_carlo import two_ages
from abs_theory.monte_carlo.conditional import MeanRound
from abs_theory.monte_carlo.fast import TaskPool
from abs_theory.workers import as_workers


def chain(delay, k, n, bound=1):
    pool = TaskPool(as_workers(delay, n), k, bound, np.random.default_rng(0), 128, 100)
    mean = MeanRound(pool, order_stats.mean(delay, k, n))
    return two_ages.mean_round(mean) if two_ages.applies(mean) else None


@pytest.mark.parametrize("k, n", [(1, 10), (1, 200), (3, 20), (4, 100)])
def test_memoryless_workers(k, n):
    seconds, error = chain(Exponential(2.0), k, n)
    exact = order_stats.mean(Exponential(2.0), k, n)
    assert abs(seconds - exact) <= error <= 0.03 * exact


@pytest.mark.parametrize("delay, k, n", [(Gamma(0.5, 1.0), 1, 3), (Gamma(0.5, 1.0), 2, 6), (Weibull(1.0, 0.4), 2, 8)])
def test_simulation_agrees(delay, k, n):
    seconds, error = chain(delay, k, n)
    state = monte_carlo.abs_sgd(delay, k, n, 1, np.random.default_rng(1), 1500, 256)
    assert state.error.round_time < 0.05 * seconds
    assert error < 0.005 * seconds
    assert abs(seconds - state.round_time) <= error + 2 * state.error.round_time


def test_it_knows_two_ages_of_equal_workers():
    assert chain(Gamma(0.3, 1.0), 1, 20, bound=2) is None
    assert chain(Gamma(0.3, 1.0), 5, 40) is None
    assert chain([Gamma(0.3, 1.0)] * 10 + [Gamma(0.3, 2.0)] * 10, 1, 20) is None


STEEP = [Gamma(0.3, 3.0), *(pytest.param(law, marks=pytest.mark.slow) for law in (Gamma(0.2, 5.0), Weibull(1.0, 0.2)))]


@pytest.mark.parametrize("delay", STEEP, ids=repr)
def test_rounds_of_very_unequal_length_have_small_errors(delay):
    """The mean of a round varies like n^(-1/shape); where it is a draw, errors of 4 to 30 % remain."""
    for k, n in [(1, 50), (2, 200)]:
        state = steady_state.abs_sgd(delay, k, n, 1)
        assert state.error.round_time < 0.01 * state.round_time
        assert order_stats.mean(delay, k, n) < state.round_time < 100 * order_stats.mean(delay, k, n)


def test_two_ages_in_the_limits_of_a_row():
    """Probabilities of the next number and age sum to 1 for every age, however many tasks are old."""
    pool = TaskPool(as_workers(Gamma(0.3, 1.0), 12), 3, 1, np.random.default_rng(0), 128, 100)
    rows = two_ages._Chain(MeanRound(pool, 1e-3), 0.8)
    for m in (9, 5, 1, 0):
        seconds, moves = rows._row(m)
        np.testing.assert_allclose(moves.sum(axis=(0, 2)), 1.0, rtol=1e-12)
        assert moves[m + 1 :].sum() == 0.0
        assert np.all(seconds > 0)
    assert seconds == pytest.approx(order_stats.mean(Gamma(0.3, 1.0), 3, 12), rel=5e-3)
    assert math.isclose(rows.ages[0], rows.t[0])
