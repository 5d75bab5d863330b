"""Estimated constants against problems whose constants are known, and what they say of the digits."""

import math
from dataclasses import replace

import numpy as np
import pytest

from abs_theory.bounds import Constants
from simulations.problems import (
    DigitsClassifier,
    NoisyQuadratic,
    ShiftedQuadratic,
    TimingOnly,
    perceptron_digits,
    random_least_squares,
    softmax_digits,
)
from simulations.problems.constants import estimate

QUADRATIC = NoisyQuadratic((2.0, 0.5, 0.1), sigma2=3.0, start=1.5)


def test_the_constants_of_a_quadratic_are_found():
    found, true = estimate(QUADRATIC, 4, seed=1, samples=4000), QUADRATIC.constants
    assert math.isclose(found.constants.L, true.L, rel_tol=1e-6)
    assert abs(found.constants.L - true.L) <= found.L_error + 1e-8
    assert found.constants.gap == pytest.approx(true.gap, rel=1e-9)
    assert found.largest_gap == pytest.approx(true.gap)
    errors = (found.path["sigma2"] - true.sigma2) / found.path["sigma2_error"]  # in half-widths of 95 % intervals
    assert (errors.abs() < 2.5).all()  # 1e-6 of one normal error
    assert (found.path["sigma2_error"] < 0.1 * true.sigma2).all()


def test_intervals_of_the_noise_cover_the_truth_as_often_as_they_say():
    paths = [estimate(QUADRATIC, 5, seed=seed, num_updates=1, samples=200).path for seed in range(30)]
    misses = sum(int((abs(path["sigma2"] - 3.0) > path["sigma2_error"]).sum()) for path in paths)
    assert 0 < misses < 14  # of 60, expected 3


def test_one_parameter():
    found = estimate(NoisyQuadratic((3.0,), sigma2=1.0), 2, seed=0, num_updates=2)
    assert math.isclose(found.constants.L, 3.0, rel_tol=1e-6)


def test_curvature_is_that_of_the_whole_hessian():
    """The largest eigenvalue by Lanczos against all second derivatives, one column at a time."""
    problem = perceptron_digits(4, hidden=2)
    found = estimate(problem, 4, seed=2, num_updates=1, samples=10).path
    exact = replace(problem, dtype="float64")
    d = len(exact.initial)
    w, h = exact.initial, 1e-5
    hessian = np.array([exact.gradient(w + h * e) - exact.gradient(w - h * e) for e in np.eye(d)]) / (2 * h)
    largest = np.abs(np.linalg.eigvalsh((hessian + hessian.T) / 2)).max()
    assert found["curvature"][0] == pytest.approx(largest, rel=1e-3)


@pytest.mark.parametrize("problem", [QUADRATIC, DigitsClassifier(3, 3, l2=0.1, dtype="float64")], ids=repr)
def test_full_gradients_are_slopes_of_the_loss(problem):
    rng = np.random.default_rng(0)
    params = problem.initial + 0.1 * rng.standard_normal(len(problem.initial))
    h = 1e-5 * rng.standard_normal(len(params))
    assert problem.gradient(params) @ h == pytest.approx(
        (problem.loss(params + h) - problem.loss(params - h)) / 2, rel=1e-6
    )


def test_what_is_typical_of_a_path():
    found = estimate(softmax_digits(4, batch_size=64), 4, seed=3, num_updates=64, samples=50)
    path, at = found.path, 6
    target = found.target_at(path["loss"].iloc[at])
    assert target == pytest.approx(path["mean_gradient_norm2"].iloc[at])
    mean = np.trapezoid(path["gradient_norm2"][: at + 1], path["flow"][: at + 1]) / path["flow"].iloc[at]
    assert target == pytest.approx(mean)
    typical = found.typical(target)
    assert typical.gap == pytest.approx(path["loss"].iloc[0] - path["loss"].iloc[at])
    assert path["sigma2"][: at + 1].min() < typical.sigma2 < found.constants.sigma2
    assert path["curvature"][: at + 1].min() < typical.L < found.constants.L
    with pytest.raises(ValueError, match="longer"):
        found.target_at(1e-9)
    with pytest.raises(ValueError, match="longer"):
        found.typical(1e-9)


def test_the_curvature_of_the_noise_of_a_quadratic():
    """Equal noise in all directions: the mean curvature, and the mean of its square."""
    path = estimate(NoisyQuadratic(tuple(np.linspace(0.5, 2, 40)), sigma2=3.0), 4, seed=1, num_updates=2).path
    assert path["noise_curvature"].mean() == pytest.approx(1.25, rel=0.05)
    assert path["noise_curvature2"].mean() == pytest.approx(np.mean(np.linspace(0.5, 2, 40) ** 2), rel=0.08)


def test_without_noise_nothing_is_said_of_its_curvature():
    found = estimate(NoisyQuadratic((1.0, 0.5), sigma2=0.0), 2, seed=0, num_updates=8, samples=4)
    typical = found.typical(found.target_at(found.path["loss"].iloc[3]))
    assert (typical.sigma2, typical.noise_curvature, typical.noise_curvature2) == (0.0, None, None)


def test_gap_is_bracketed():
    found = estimate(softmax_digits(4, l2=0.01), 4, seed=3, num_updates=8, samples=20)
    assert 0 < found.constants.gap < found.largest_gap < math.log(10) + 1
    assert isinstance(found.constants, Constants)


@pytest.mark.parametrize("split", ["even", "all"])
def test_the_constants_of_least_squares_are_found(split):
    problem = random_least_squares(4, d=3, samples=200, batch_size=2, split=split)
    found, true = estimate(problem, 4, seed=1, num_updates=64, samples=2000), problem.constants
    L, c, gap = found.constants.L, found.constants.c, found.constants.gap
    assert (L, c, gap) == pytest.approx((true.L, true.c, true.gap), rel=1e-5)
    start = found.path.iloc[0]
    exact = np.trace(problem.noise_covariance(problem.initial))
    assert abs(start["sigma2"] - exact) < 2.5 * start["sigma2_error"]  # 95 % intervals: 1e-6 of one normal error
    assert start["sigma2_error"] < 0.15 * exact


def test_different_optima_count_as_noise():
    problem = ShiftedQuadratic((1.0, 3.0), 0.5, start=2.0, optima=(0.0, 1.0, 5.0))
    found, true = estimate(problem, 3, seed=1, num_updates=2, samples=3000), problem.constants
    L, c, gap = found.constants.L, found.constants.c, found.constants.gap
    assert (L, c, gap) == pytest.approx((true.L, true.c, true.gap), rel=1e-6)
    path = found.path
    assert (abs(path["sigma2"] - true.sigma2) < 2.5 * path["sigma2_error"]).all()
    assert path["noise_curvature"].mean() == pytest.approx(true.noise_curvature, rel=0.1)
    assert path["noise_curvature2"].mean() == pytest.approx(true.noise_curvature2, rel=0.1)


@pytest.mark.slow
def test_labels_that_differ_between_workers_make_noise_that_larger_batches_do_not_remove():
    estimated = {
        split: estimate(softmax_digits(5, batch_size=64, split=split), 5, seed=1, num_updates=4, samples=50).constants
        for split in ("even", 0.1)
    }
    assert estimated[0.1].sigma2 > 5 * estimated["even"].sigma2
    assert pytest.approx(estimated["even"].L, rel=1e-3) == estimated[0.1].L
    assert estimated[0.1].gap == pytest.approx(estimated["even"].gap, rel=1e-2)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"problem": TimingOnly()}, "gradient"),
        ({"problem": NoisyQuadratic}, "gradient"),
        ({"n": 0}, "n must"),
        ({"num_updates": 0}, "num_updates"),
        ({"samples": 1}, "samples"),
        ({"loss_floor": math.nan}, "loss_floor"),
        ({"loss_floor": 1.0}, "lower bound"),
        ({"problem": softmax_digits(3)}, "splits its data among 3 workers"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        estimate(**{"problem": QUADRATIC, "n": 2, "seed": 0, **arguments})
