"""The trade-off in the step, and what is expected near a quadratic, against brute force and the exact recursion."""

import math
from dataclasses import replace

import numpy as np
import pytest
from cases import by_turns
from laws import LOGNORMAL, SHIFTED, STALLS
from scipy.optimize import minimize_scalar

from abs_theory import bounds
from abs_theory.bounds import Constants, expected, quadratic, recorded
from abs_theory.bounds.tradeoff import Tradeoff

CURVATURES = np.geomspace(1.0, 0.1, 10)
CONSTANTS = Constants(
    1.0, 1.0, CURVATURES.sum() / 2, noise_curvature=CURVATURES.mean(), noise_curvature2=(CURVATURES**2).mean()
)


@pytest.mark.parametrize("noise, drift, limit", [(2.0, 3.0, 9.0), (2.0, 0.0, 9.0), (0.0, 3.0, 9.0), (2.0, 3.0, 0.01)])
def test_best_steps_are_the_best(noise, drift, limit):
    tradeoff = Tradeoff(*map(np.asarray, (1.5, noise, drift, limit)))

    def least(f):
        found = minimize_scalar(lambda x: f(math.exp(x)), bounds=(math.log(1e-6), math.log(limit)), method="bounded")
        return min(found.fun, f(limit))

    step = tradeoff.best_step_to(0.1)
    assert step <= limit
    assert tradeoff.updates_to(0.1, step) <= least(lambda eta: float(tradeoff.updates_to(0.1, eta))) * (1 + 1e-6)
    step = tradeoff.best_step_in(50.0)
    assert step <= limit
    assert tradeoff.value(step, 50.0) <= least(lambda eta: float(tradeoff.value(eta, 50.0))) * (1 + 1e-6)


def test_updates_to_a_target_are_those_after_which_it_is_met():
    tradeoff = Tradeoff(*map(np.asarray, (1.5, 0.2, 0.3, 1.0)))
    assert tradeoff.value(0.1, tradeoff.updates_to(0.1, 0.1)) == pytest.approx(0.1)
    assert tradeoff.updates_to(0.02, 0.1) == math.inf  # below the noise floor
    assert tradeoff.value(0.0, 10) == math.inf
    assert Tradeoff(*map(np.asarray, (1.5, 0.0, 0.0, 1.0))).best_step_to(0.1) == 1.0


def test_half_of_the_largest_stable_step():
    """w_{t+1} = w_t - eta w_{t-tau} stays bounded up to twice ``max_step_size``, and not beyond."""
    for tau in (0, 1, 3, 8):
        step = float(expected.max_step_size(CONSTANTS, tau))
        for factor, stable in ((1.98, True), (2.02, False)):
            w = [1.0] * (tau + 1)
            for _ in range(4000):
                w.append(w[-1] - factor * step * w[-1 - tau])
            assert (abs(w[-1]) + abs(w[-2]) < 1) == stable


@pytest.mark.parametrize(
    "law, setting", by_turns([SHIFTED, LOGNORMAL, STALLS], [(1, 0), (1, 8), (2, 3), (4, 1), (4, 12), (8, 2)]), ids=repr
)
def test_updates_on_a_quadratic(law, setting):
    """At its best step the model is within a quarter of the exact number of updates, worst where the step is cut."""
    k, theta = setting
    table = recorded.sample(law, k, 20, theta, np.random.default_rng(0), 3000 // k, 24)
    tau, target = float(table[:, 100:].mean()), 0.05
    model = expected.tradeoff(CONSTANTS, k, tau)
    step = float(model.best_step_to(target))
    norm2 = quadratic.moments(CURVATURES, 1.0, 1.0, step, table).gradient_norm2.mean(axis=0)
    mean = np.cumsum(norm2) / np.arange(1, len(norm2) + 1)
    assert mean.min() <= target
    updates = int((mean <= target).argmax())
    assert float(model.updates_to(target, step)) == pytest.approx(updates, rel=0.25)


def test_without_curvatures_it_is_a_quarter_to_a_half_of_the_bound():
    plain = replace(CONSTANTS, noise_curvature=None, noise_curvature2=None)
    for k, tau in ((1, 0.0), (4, 2.0)):
        model, step = expected.tradeoff(plain, k, tau), 0.05
        bound = bounds.abs_sgd(plain, step, k, 20, 300, tau, tau)
        assert 0.25 <= float(model.value(step, 300)) / float(bound) <= 0.5 + 0.05 * plain.L


def test_bad_input():
    with pytest.raises(ValueError, match="mean_staleness"):
        expected.tradeoff(CONSTANTS, 1, -1.0)
    with pytest.raises(ValueError, match="k must be"):
        expected.tradeoff(CONSTANTS, 0, 1.0)
    with pytest.raises(ValueError, match="noise_curvature"):
        Constants(1.0, 1.0, 1.0, noise_curvature=-1.0)
