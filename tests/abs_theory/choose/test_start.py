"""The corrected steady rate, against the simulated start of runs."""

import math

import numpy as np
import pytest
from cases import by_turns
from laws import SHIFTED, STALLS

from abs_theory import order_stats, round_time, steady_state
from abs_theory.choose import start
from abs_theory.delays import Exponential, Gamma, LogNormal, Pareto
from abs_theory.workers import as_workers

LAWS = [
    SHIFTED,
    STALLS,
    LogNormal(median=0.6, sigma=1.0),
    Gamma(shape=16.0, scale=1 / 16),
    Gamma(shape=0.3, scale=1 / 0.3),
    [Gamma(4.0, 0.25)] * 5 + [Exponential(3.0)] * 5,
]
N = 10


SETTINGS = [(1, math.inf), (1, 3.0), (3, 1.0), (5, math.inf), (5, 2.0), (8, math.inf)]


@pytest.mark.parametrize("delay, setting", by_turns(LAWS, SETTINGS, rounds=2), ids=repr)
def test_the_time_of_every_update_is_near_that_of_the_simulation(delay, setting):
    """Within a third of a mean task, or half of the lag, from the first update to the last simulated one."""
    k, max_staleness = setting
    workers = as_workers(delay, N)
    updates = np.arange(1, 8 * N // k + 1)
    simulated = round_time.time_of_update(delay, k, N, max_staleness, updates=updates)
    steady = steady_state.abs_sgd(delay, k, N, max_staleness)
    steady_time = np.array([float(steady.round_time)])
    found = start.estimated(workers, np.array([k]), np.array([max_staleness]), steady_time)
    times = np.array([start.seconds_to(found, steady_time, steady_time, np.array([float(j)]))[0] for j in updates])
    assert times[0] == pytest.approx(order_stats.mean(delay, k, N))
    assert np.all(np.diff(times) >= 0)
    mean_task = np.mean([law.mean for law in workers])
    allowed = np.maximum(mean_task / 3, abs(found.lag[0]) / 2) + simulated.error
    allowed += updates * float(steady.error.round_time)
    np.testing.assert_array_less(np.abs(times - simulated.value), allowed)


def test_updates_by_a_time_are_the_inverse():
    k, theta = np.array([1, 3, 3, 10]), np.array([math.inf, 1.0, 0.0, 0.0])
    steady = steady_state.abs_sgd(SHIFTED, k, N, theta).round_time
    found = start.estimated(as_workers(SHIFTED, N), k, theta, steady)
    charged = steady + 0.01
    for seconds in (0.7, 3.0, 1000.0):
        updates = start.updates_by(found, steady, charged, seconds)
        made = updates >= 1
        back = start.seconds_to(found, steady, charged, np.maximum(updates, 1.0))
        np.testing.assert_allclose(back[made], seconds, rtol=1e-9)
    assert (start.updates_by(found, steady, charged, 0.01) < 1).all()


def test_independent_rounds_have_no_start():
    k, theta = np.array([1, 3, 10]), np.array([0.0, 0.0, math.inf])
    steady = order_stats.means(SHIFTED, N)[k - 1]
    found = start.estimated(as_workers(SHIFTED, N), k, theta, steady)
    assert found.first.tolist() == steady.tolist()
    assert not found.lag.any()
    memoryless = start.estimated(as_workers(Exponential(1.0), N), k, np.full(3, math.inf), steady)
    assert not memoryless.lag.any()


def test_heavy_tails_give_finite_times():
    k, theta = np.array([1, 5, 10]), np.array([math.inf, 2.0, 0.0])
    steady = np.array([0.3, 1.5, math.inf])
    found = start.estimated(as_workers(Pareto(minimum=1.0, index=1.2), N), k, theta, steady)
    times = start.seconds_to(found, steady, steady, np.array([5.0, 5.0, 5.0]))
    assert np.isfinite(times[:2]).all()
    assert times[2] == math.inf
