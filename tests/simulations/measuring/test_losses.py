import math

import numpy as np
import pytest

from simulations.measuring import Meter
from simulations.measuring.losses import LossMeter


def noted(times, losses, counts, forgetting=1.0):
    meter = LossMeter(1, forgetting)
    for time, loss, count in zip(times, losses, counts, strict=True):
        meter.add(np.array([loss]), np.array([count]), np.array([time]))
    return meter.of(0)


def test_the_mean_is_over_the_last_part_of_the_run_whatever_the_unit_of_time_and_the_pace_of_updates():
    rng = np.random.default_rng(0)
    times = np.sort(rng.uniform(0, 1, 4000))
    expected = 2 / 3  # of the time itself: the mean of s under weights s
    for unit in (1e-6, 1.0, 1e200):
        assert noted(unit * times, times, np.ones(4000)).value == pytest.approx(expected, abs=0.003)
    assert noted(times, times, np.ones(4000), 5.0).value == pytest.approx(6 / 7, abs=0.003)
    half = times[:2000].tolist() + times[2000::10].tolist()  # ten times fewer updates, of ten gradients each
    counts = [1] * 2000 + [10] * 200
    assert noted(half, half, counts).value == pytest.approx(expected, abs=0.01)


def test_it_follows_a_loss_that_falls_fast():
    times = np.arange(1, 201) / 10
    assert noted(times, np.exp(-times), np.ones(200)).value == pytest.approx(2 / 20**2, rel=0.1)


def test_the_stated_error_is_that_of_independent_losses():
    rng, misses = np.random.default_rng(1), 0
    for _ in range(400):
        measured = noted(np.arange(1, 301), rng.normal(2.0, 0.5, 300), np.ones(300))
        misses += abs(measured.value - 2.0) > 1.96 * measured.stderr
    assert 8 <= misses <= 36  # 5 % of 400, within 3.5 standard errors


def test_one_value_has_no_error_yet_and_nothing_is_nan():
    assert noted([2.0], [0.7], [3]) == (pytest.approx(0.7), math.inf)
    assert noted([0.0, 0.0], [0.7, 0.5], [1, 1]).value == pytest.approx(0.6)  # deliveries at the start
    loss = Meter(1, 1, np.dtype(float)).of(0, 0.0, list).loss
    assert math.isnan(loss.value)
    assert loss.stderr == math.inf


def test_a_row_is_the_same_alone_and_among_others():
    rng = np.random.default_rng(2)
    losses, times, counts = rng.random((50, 7)), rng.random((50, 7)).cumsum(axis=0), rng.integers(1, 5, (50, 7))
    together = LossMeter(7)
    for row in zip(losses, counts, times, strict=True):
        together.add(*row)
    together.keep(np.array([5, 2]))
    for place, row in enumerate((5, 2)):
        alone = noted(times[:, row], losses[:, row], counts[:, row])
        assert together.of(place) == alone
