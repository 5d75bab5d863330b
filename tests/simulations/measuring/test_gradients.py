"""Measured noise, signal and curvature against a problem whose constants are known exactly."""

import math

import numpy as np
import pytest

from abs_theory.delays import LogNormal
from simulations.experiment import simulate
from simulations.problems import NoisyQuadratic
from simulations.protocols import abs_sgd, asynchronous, k_batch_async, k_sync

CURVATURES = (1.0,) * 10 + (0.2,) * 10  # of the noise: 0.6
LAW = LogNormal(median=1.0, sigma=1.0)


class Spy:
    """A constant policy that keeps what has been measured at each update."""

    measures = True

    def __init__(self, k):
        self.k, self.seen = k, []

    def __call__(self, progress):
        if progress.measured is not None and progress.updates:
            measured = progress.measured
            quantities = measured.gradient_variance, measured.gradient_norm2, measured.curvature
            self.seen.append((*quantities, measured.gradient_square))
        return self.k


def last_measured(protocol_of, k, sigma2, start, num_updates, step_size=0.1, **options):
    spy, problem = Spy(k), NoisyQuadratic(CURVATURES, sigma2, start)
    simulate(
        protocol_of(spy), problem, LAW, 8, step_size=step_size, num_updates=num_updates, seed=3, replicates=4,
        n_jobs=1, **options,
    )  # fmt: skip
    return np.array(spy.seen[-4:])  # replicates x quantities x (value, standard error)


WAYS = {
    "one fresh": (k_sync, 1),
    "four fresh": (k_sync, 4),
    "one stale": (lambda k: abs_sgd(k, math.inf), 1),
    "three, bounded": (lambda k: abs_sgd(k, 2), 3),
    "nobody waits": (k_batch_async, 2),
}


@pytest.mark.parametrize("way", [way for way in WAYS if way not in ("one fresh", "nobody waits")])
def test_noise_and_its_curvature_are_found_where_noise_dominates(way):
    measured = last_measured(*WAYS[way], sigma2=2.0, start=0.3, num_updates=800, step_size=0.2)
    variance, curvature = measured[:, 0, 0].mean(), measured[:, 2, 0].mean()
    assert variance == pytest.approx(2.0, rel=0.2 if way == "one stale" else 0.05)
    stderr = math.sqrt(np.mean(measured[:, 2, 1] ** 2) / len(measured))
    assert abs(curvature - 0.6) < 4 * stderr < 0.4
    assert measured[:, 3, 0] == pytest.approx(measured[:, 0, 0] + measured[:, 1, 0])
    assert np.all(np.abs(measured[:, 2, 0] - 0.6) < 5 * measured[:, 2, 1])


def test_single_fresh_gradients_show_the_curvature_up_to_a_factor_of_two():
    measured = last_measured(k_sync, 1, sigma2=2.0, start=0.3, num_updates=800, step_size=0.3)
    assert measured[:, 0, 0].mean() == pytest.approx(2.0, rel=0.15)
    assert 0.3 < measured[:, 2, 0].mean() < 1.2


@pytest.mark.parametrize("way", WAYS)
def test_the_signal_is_found_where_it_dominates(way):
    measured = last_measured(*WAYS[way], sigma2=0.05, start=1.0, num_updates=40, step_size=1e-3)
    norm2 = measured[:, 1, 0].mean()
    assert norm2 == pytest.approx(10 * (1 + 0.2**2), rel=0.1)  # sum of lambda_i^2, at the start


def test_local_steps_are_measured_as_mean_gradients():
    measured = last_measured(k_sync, 4, sigma2=2.0, start=0.3, num_updates=400, step_size=0.02, local_steps=4)
    assert measured[:, 0, 0].mean() == pytest.approx(2.0 / 4, rel=0.1)


def test_nothing_is_measured_for_policies_that_do_not_ask():
    seen = []

    def k(progress):
        seen.append(progress.measured)
        return 2

    simulate(k_sync(k), NoisyQuadratic((1.0,), 1.0), LAW, 4, step_size=0.1, num_updates=5, seed=0)
    assert seen == [None] * 6


def test_a_single_gradient_has_no_variance_yet():
    spy = Spy(1)
    simulate(asynchronous(), NoisyQuadratic((1.0,), 1.0), LAW, 4, step_size=spy, num_updates=1, seed=0)
    variance, norm2, curvature, square = spy.seen[-1]
    assert all(math.isnan(quantity.value) for quantity in (variance, norm2, curvature))
    assert square.value > 0
