"""Bounds on the seconds to a target when workers take fixed times: how far above the lower bound, and kept in runs."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abs_theory.bounds import Constants, fixed_times, quadratic
from abs_theory.delays import Deterministic
from simulations import protocols
from simulations.experiment import simulate
from simulations.problems import NoisyQuadratic, TimingOnly

PROBLEM = NoisyQuadratic((1.0, 0.6, 0.3), sigma2=0.5)
KNOWN = PROBLEM.constants


def exact_average(step, table):
    """Mean of E|grad F(w_t)|^2 over the updates."""
    found = quadratic.moments(PROBLEM.curvatures, KNOWN.sigma2, PROBLEM.start, step, table)
    return found.gradient_norm2[..., :-1].mean(axis=-1)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_upper_bounds_on_time_are_a_constant_or_a_logarithm_above_the_lower_bound(seed):
    rng = np.random.default_rng(seed)
    seconds = rng.lognormal(0, rng.uniform(0, 3), rng.integers(1, 40))
    constants = Constants(*rng.lognormal(0, 2, 3))
    target = min(rng.lognormal(0, 3), constants.L * constants.gap)
    lowest = fixed_times.lower_bound(constants, target, seconds)
    harmonic = (1 / np.arange(1, seconds.size + 1)).sum()
    m, time = fixed_times.m_synchronous(constants, target, seconds)
    assert 1 <= m <= seconds.size
    assert lowest / 8 < time <= 10 * harmonic * lowest  # 8 H_n, and less than 5/4 by rounding up at least 4 updates
    assert lowest < fixed_times.rennala(constants, target, seconds) <= 20 * lowest
    assert lowest < fixed_times.ringmaster(constants, target, seconds) <= 80 * lowest


def test_the_logarithm_is_reached_where_speeds_fall_off_and_noise_rules():
    n, constants = 50, Constants(1.0, 1e6, 1.0)
    seconds = np.arange(1.0, n + 1)
    _, time = fixed_times.m_synchronous(constants, 1.0, seconds)
    harmonic = (1 / seconds).sum()
    assert time / fixed_times.lower_bound(constants, 1.0, seconds) == pytest.approx(8 * harmonic, rel=1e-3)


def test_time_bounds_with_equal_workers():
    constants, n = Constants(2.0, 3.0, 5.0), 6
    descent = 2.0 * 5.0 / 0.1
    assert fixed_times.lower_bound(constants, 0.1, [0.7] * n) == pytest.approx(0.7 * descent * (1 + 3.0 / 0.1 / n))
    # a worker that never delivers changes nothing
    assert fixed_times.rennala(constants, 0.1, [0.7] * n + [math.inf]) == fixed_times.rennala(constants, 0.1, [0.7] * n)
    assert fixed_times.rennala_batch(constants, 0.1) == 30
    assert fixed_times.rennala_updates(constants, 0.1, 30) == pytest.approx(8 * descent)
    assert fixed_times.rennala_step_size(Constants(2.0, 0.0, 5.0), 0.1, 1) == 0.5


@pytest.mark.parametrize("batch", [1, 4, 40])
def test_rennala_reaches_its_target(batch):
    """The exact error of SGD with fresh batches after the stated updates; and not already after a tenth of them."""
    target = 0.02
    step = float(fixed_times.rennala_step_size(KNOWN, target, batch))
    updates = math.ceil(float(fixed_times.rennala_updates(KNOWN, target, batch)))
    table = np.zeros((updates, batch), int)
    assert exact_average(step, table) <= target
    assert exact_average(step, table[: updates // 10]) > target


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 50))
def test_fresh_workers_deliver_a_batch_in_the_stated_time(seed, batch):
    seconds = np.random.default_rng(seed).lognormal(0, 1.5, 12)
    one_update = Constants(1.0, 0.0, 0.2)  # 4 L gap / eps < 1
    limit = float(fixed_times.rennala(one_update, 1.0, seconds, batch))
    assert np.floor(limit * (1 + 1e-12) / seconds).sum() >= batch


@pytest.mark.parametrize("R", [1, 3, 10])
def test_ringmaster_makes_r_updates_in_the_stated_time(R):
    seconds = [1.0, 1.3, 2.0, 4.1, 30.0]
    rounds = simulate(
        protocols.abs_sgd(1, R - 1), TimingOnly(), [Deterministic(s) for s in seconds], 5, step_size=1.0,
        num_updates=200, seed=0, n_jobs=1,
    )  # fmt: skip
    time = np.append(0.0, rounds["time"])
    one_block = Constants(1.0, 0.0, R / 8)  # 8 R L gap / eps = R^2 updates, R blocks
    limit = float(fixed_times.ringmaster(one_block, 1.0, seconds, R)) / R
    assert np.max(time[R:] - time[:-R]) <= limit
    assert limit < 10 * np.max(time[R:] - time[:-R])


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: fixed_times.lower_bound(KNOWN, 0.1, [1.0, 0.0]), "seconds must be"),
        (lambda: fixed_times.lower_bound(KNOWN, 0.1, [math.inf]), "not all infinite"),
        (lambda: fixed_times.ringmaster_updates(KNOWN, 0.1, 1.5), "R must be whole"),
        (lambda: fixed_times.rennala(KNOWN, 0.1, [1.0], 0), "batch must be"),
        (lambda: fixed_times.rennala_batch(KNOWN, -1.0), "target must be"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
