"""Rounds without a mean: infinite under any threshold and by any method, which no simulation can see."""

import math
import warnings

import numpy as np
import pytest
from scipy import stats

from abs_theory import order_stats, round_time, steady_state
from abs_theory.bounds import Constants
from abs_theory.choose import Target, best
from abs_theory.delays import Exponential, Lomax
from abs_theory.monte_carlo import PlayedFleet

HALF = Lomax(scale=1.0, index=0.5)
FLEETS = [
    ([HALF] * 4, 3),
    ([Lomax(1.0, 0.4)] * 2, 1),
    ([Lomax(1.0, 0.45)] * 2 + [Exponential(2.0)], 2),
    ([stats.levy()] * 2, 1),
]
NAMES = ["four alike", "two alike", "one with a mean", "from scipy"]


@pytest.mark.parametrize("workers, k", FLEETS, ids=NAMES)
def test_first_infinite_is_where_the_means_begin_to_be_infinite(workers, k):
    n = len(workers)
    means = [order_stats.mean(workers, j, n) for j in range(1, n + 1)]
    assert order_stats.first_infinite(workers, n) == k == 1 + sum(map(math.isfinite, means))


@pytest.mark.parametrize("update_seconds", [0.0, 0.1])
@pytest.mark.parametrize("method", ["auto", "mean-field", "monte-carlo"])
@pytest.mark.parametrize("workers, k", FLEETS[::3], ids=NAMES[::3])
def test_a_round_without_a_mean_is_infinite_under_every_threshold(workers, k, method, update_seconds):
    n, rng = len(workers), np.random.default_rng(0)
    for bound in (0, 1, 3):
        state = steady_state.abs_sgd(workers, k, n, bound, method, rng, update_seconds)
        assert state.round_time == math.inf
        assert state.error.round_time == 0
        assert state.idle_fraction == pytest.approx((k - 1) / n)  # of rounds that last for ever
        assert state.wasted_fraction == pytest.approx((n - k) / n)
        assert 0 <= state.mean_staleness <= bound


def test_only_the_cells_without_a_mean_are_infinite():
    state = steady_state.abs_sgd(HALF, [1, 2, 3, 4], 4, 1)
    assert np.isfinite(state.round_time).tolist() == [True, True, False, False]


def test_every_update_of_such_a_run_is_infinitely_late_on_average():
    late = round_time.time_of_update(HALF, 1, 2, 1, updates=[1, 2, 10])
    assert late.value.tolist() == [math.inf] * 3
    assert late.error.tolist() == [0.0] * 3


@pytest.mark.parametrize("index, k", [(0.5, 1), (0.8, 1), (1.2, 2)])
def test_updates_by_a_late_time_hold_their_error_where_long_rounds_are_rare(index, k):
    seconds = [10.0, 1000.0, 3000.0]
    predicted = round_time.expected_updates(Lomax(1.0, index), k, k + 1, 1, seconds=seconds)
    fleet = PlayedFleet(Lomax(1.0, index), k + 1, np.random.default_rng(5), 2000)
    made = np.zeros((3, 2000))
    while fleet.time.min() < seconds[-1]:
        fleet.round(k, 1)
        made += fleet.time <= np.array(seconds)[:, None]
    stderr = made.std(axis=1) / math.sqrt(2000)
    assert (abs(predicted.value - made.mean(axis=1)) <= 2 * predicted.error + 4.9 * stderr).all()
    assert (predicted.error <= 0.1 * predicted.value).all()


def test_a_choice_among_rounds_without_a_mean_warns_of_nothing():
    known = Constants(L=1.0, sigma2=1.0, gap=1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert best(HALF, 4, known, Target(0.1)).k < order_stats.first_infinite(HALF, 4)
        with pytest.raises(ValueError, match="every round lasts infinitely long"):
            best(HALF, 2, known, Target(0.1))
