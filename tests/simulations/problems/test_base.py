"""Objectives: gradients against differences of the loss, mini-batches against their worker's share, exact constants."""

import importlib
import sys
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from agreement import assert_agrees
from scipy.optimize import minimize
from scipy.stats import norm

from abs_theory.monte_carlo import Estimate
from simulations.problems import (
    Classifier,
    DigitsClassifier,
    LeastSquares,
    NoisyQuadratic,
    Problem,
    ShiftedQuadratic,
    TimingOnly,
    batches,
    perceptron,
    perceptron_digits,
    random_least_squares,
    softmax,
    softmax_digits,
)
from simulations.problems.data import Data, digits

FALSE_FAIL_RATE = 1e-6
SKEWED = LeastSquares(digits(), 3, batch_size=4, l2=0.01, split=0.1)  # the digit as a number, singular without l2
PROBLEMS = {
    "quadratic": NoisyQuadratic((0.5, 2.0, 1.0), sigma2=0.3, start=2.0),
    "shifted quadratic": ShiftedQuadratic((0.5, 2.0), 15.0, optima=(1.0, -2.0, 4.0)),
    "least squares": random_least_squares(3, d=5, samples=90, noise=0.5, batch_size=2),
    "least squares, all data": random_least_squares(3, d=5, samples=90, noise=0.5, batch_size=2, split="all"),
    "least squares on labels": SKEWED,
    "softmax": DigitsClassifier(3, dtype="float64"),
    "softmax, l2": DigitsClassifier(3, l2=0.1, dtype="float64"),
    "softmax, all data": DigitsClassifier(3, dtype="float64", split="all"),
    "perceptron": DigitsClassifier(3, 5, dtype="float64"),
    "perceptron by label": DigitsClassifier(3, 5, l2=0.1, dtype="float64", split=0.1),
}
each_problem = pytest.mark.parametrize("name", PROBLEMS)


def fresh_rngs(count, seed=0):
    return [np.random.default_rng([seed, worker]) for worker in range(count)]


def somewhere(problem, seed=1):
    return problem.initial + 0.1 * np.random.default_rng(seed).standard_normal(len(problem.initial))


def own_problem(problem, worker):
    """The problem that one worker sees, as a problem of its own."""
    if isinstance(problem, ShiftedQuadratic):
        return replace(problem, optima=problem.optima[worker : worker + 1])
    if isinstance(problem, NoisyQuadratic):
        return problem
    rows, data = problem.shares[worker], problem.data
    return replace(problem, data=replace(data, x=data.x[rows], y=data.y[rows]), n=1, split="all")


@each_problem
def test_gradients_are_the_slopes_of_the_loss(name):
    problem = PROBLEMS[name]
    assert isinstance(problem, Problem)
    params, rng = somewhere(problem), np.random.default_rng(2)
    for _ in range(5):
        h = 1e-5 * rng.standard_normal(len(params))
        difference = (problem.loss(params + h) - problem.loss(params - h)) / 2
        assert problem.gradient(params) @ h == pytest.approx(difference, rel=1e-6, abs=1e-14)


@each_problem
def test_mini_batches_are_unbiased_for_their_workers_share(name):
    problem, draws = PROBLEMS[name], 4000
    params, worker, rng = somewhere(problem), 1, np.random.default_rng(3)
    losses, gradients = problem.gradients(np.repeat(params[None], draws, axis=0), [worker] * draws, [rng] * draws)
    own = own_problem(problem, worker)
    exact = own.gradient(params)
    stderr = gradients.std(axis=0) / draws**0.5
    errors = np.abs(gradients.mean(axis=0) - exact)
    assert (errors <= norm.isf(FALSE_FAIL_RATE / len(exact)) * stderr + 1e-12).all()
    assert stderr.max() < 0.05 * np.abs(exact).max()
    if np.ptp(losses) < 1e-12:
        assert losses[0] == pytest.approx(own.loss(params), rel=1e-12)
    else:
        assert_agrees(Estimate.of(losses), own.loss(params), resolution=0.2)


@each_problem
def test_the_average_worker_has_the_gradient_of_the_loss(name):
    """Three workers, equal shares."""
    problem = PROBLEMS[name]
    params = somewhere(problem)
    owns = [own_problem(problem, worker) for worker in range(3)]
    np.testing.assert_allclose(
        np.mean([own.gradient(params) for own in owns], axis=0), problem.gradient(params), rtol=1e-9, atol=1e-12
    )
    assert np.mean([own.loss(params) for own in owns]) == pytest.approx(problem.loss(params), rel=1e-12)


@each_problem
def test_one_batched_call_is_the_calls_one_by_one(name, monkeypatch):
    problem = PROBLEMS[name]
    monkeypatch.setattr(batches, "CACHE_BYTES", 50_000)  # several chunks
    params = np.random.default_rng(3).standard_normal((7, len(problem.initial)))
    workers = [0, 1, 2, 1, 0, 2, 1]
    losses, gradients = problem.gradients(params, workers, fresh_rngs(7))
    for job, (worker, own) in enumerate(zip(workers, fresh_rngs(7), strict=True)):
        loss, gradient = problem.gradients(params[job : job + 1], [worker], [own])
        assert loss[0] == pytest.approx(losses[job], rel=1e-12)
        np.testing.assert_allclose(gradient[0], gradients[job], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("hidden", [0, 5])
def test_a_pass_in_pieces_is_a_pass(hidden, monkeypatch):
    problem = DigitsClassifier(2, hidden, l2=0.1, dtype="float64")
    params = somewhere(problem)
    whole = problem.loss(params), problem.metrics(params), problem.gradient(params)
    monkeypatch.setattr(batches, "PASS_BYTES", 50_000)
    assert problem.loss(params) == pytest.approx(whole[0], rel=1e-12)
    assert problem.metrics(params) == whole[1]
    np.testing.assert_allclose(problem.gradient(params), whole[2], rtol=1e-9, atol=1e-13)


def test_test_accuracy_is_that_of_the_test_samples():
    data = Data(np.eye(3), np.arange(3), np.eye(3)[[0, 1, 2, 2]], np.array([0, 1, 1, 2]), classes=3)
    problem = Classifier(data, 1, dtype="float64")
    assert problem.metrics(np.append(np.eye(3).ravel(), np.zeros(3))) == {"test_accuracy": 0.75}
    untested = replace(data, x_test=data.x_test[:0], y_test=data.y_test[:0])
    assert Classifier(untested, 1).metrics(problem.initial) == {}


# ---------------------------------------------------------------- what is known


def noise_of(problem, params, draws=30_000, seed=5):
    """g - grad F of workers drawn at random."""
    rng = np.random.default_rng(seed)
    workers = rng.integers(problem.n, size=draws).tolist()
    gradients = problem.gradients(np.repeat(params[None], draws, axis=0), workers, [rng] * draws)[1]
    return gradients - problem.gradient(params)


def test_the_constants_of_the_noisy_quadratic_are_exact():
    problem = NoisyQuadratic((0.5, 2.0), sigma2=0.3, start=2.0)
    constants = problem.constants
    assert (constants.L, constants.c, constants.sigma2, constants.gap) == (2.0, 0.5, 0.3, 0.25 * 4 + 1.0 * 4)
    params = np.tile([3.0, -1.0], (20_000, 1))
    losses, gradients = problem.gradients(params, range(20_000), [np.random.default_rng(6)] * 20_000)
    assert (losses == problem.loss(params[0])).all()
    assert_agrees(Estimate.of(np.square(gradients - [1.5, -2.0]).sum(axis=1)), 0.3, resolution=0.1)
    assert problem.metrics(params[0]) == {"gradient_norm2": 1.5**2 + 2.0**2}


KNOWN = {
    "shifted quadratic": (PROBLEMS["shifted quadratic"], np.array([1.0, 1.0])),
    **{
        name: (problem, problem.optimum)
        for name, problem in PROBLEMS.items()
        if isinstance(problem, LeastSquares) and problem.data is not digits()
    },
    "unequal shares": (shares := random_least_squares(7, d=3, samples=30, noise=1.0), shares.optimum),
}


@pytest.mark.parametrize("name", KNOWN)
def test_known_constants_are_exact(name):
    problem, optimum = KNOWN[name]
    constants, identity = problem.constants, np.eye(len(optimum))
    slope = problem.gradient(optimum)
    np.testing.assert_allclose(slope, 0, atol=1e-12)
    hessian = np.array([problem.gradient(optimum + column) - slope for column in identity])
    values = np.linalg.eigvalsh(hessian)
    assert (constants.c, constants.L) == pytest.approx((values[0], values[-1]))
    assert constants.gap == pytest.approx(problem.loss(problem.initial) - problem.loss(optimum))
    assert problem.strong_convexity == constants.c
    noise = noise_of(problem, optimum)
    sigma2 = constants.sigma2
    assert_agrees(Estimate.of(np.square(noise).sum(axis=1)), sigma2, resolution=0.25)
    curved = noise @ hessian
    assert_agrees(Estimate.of((noise * curved).sum(axis=1)), constants.noise_curvature * sigma2, resolution=0.25)
    assert_agrees(Estimate.of(np.square(curved).sum(axis=1)), constants.noise_curvature2 * sigma2, resolution=0.3)


@pytest.mark.parametrize("name", ["least squares", "least squares, all data", "least squares on labels"])
def test_noise_of_least_squares_anywhere(name):
    problem = PROBLEMS[name]
    params = somewhere(problem) + 1
    noise, exact = noise_of(problem, params, draws=10_000), problem.noise_covariance(params)
    assert_agrees(Estimate.of(np.square(noise).sum(axis=1)), np.trace(exact), resolution=0.25)
    direction = np.random.default_rng(8).standard_normal(len(params))
    assert_agrees(Estimate.of(np.square(noise @ direction)), direction @ exact @ direction, resolution=0.35)


def test_least_squares_whose_data_do_not_span_all_directions():
    """Digits have pixels that are always empty: c = 0, and the shortest optimum leaves their weights at 0."""
    problem = replace(SKEWED, l2=0.0)
    constants = problem.constants
    empty = ~digits().x.any(axis=0)
    assert empty.any()
    assert constants.c == 0
    np.testing.assert_allclose(problem.optimum[empty], 0, atol=1e-9)  # rounding, over eigenvalues down to 1e-6
    best = np.linalg.lstsq(digits().x / 16, digits().y, rcond=None)[0]
    assert problem.loss(problem.optimum) == pytest.approx(problem.loss(best), rel=1e-12)


def test_generated_features_have_the_condition_asked_for():
    problem = random_least_squares(4, d=4, samples=40_000, condition=100.0)
    np.testing.assert_allclose(np.diag(problem.hessian), 100.0 ** -np.linspace(0, 1, 4), rtol=0.05)
    assert problem.constants.L / problem.constants.c == pytest.approx(100, rel=0.1)


@pytest.mark.parametrize("name", ["quadratic", "least squares", "least squares on labels", "softmax, l2"])
def test_strong_convexity(name):
    """2c (F - F*) <= |grad F|^2."""
    problem = PROBLEMS[name]
    found = minimize(problem.loss, problem.initial, jac=problem.gradient, method="L-BFGS-B", options={"maxiter": 5000})
    assert problem.strong_convexity > 0
    for scale in (0.01, 1.0, 10.0):
        params = found.x + scale * np.random.default_rng(9).standard_normal(len(found.x))
        slope = problem.gradient(params)
        assert 2 * problem.strong_convexity * (problem.loss(params) - found.fun) <= slope @ slope


def test_nothing_is_known_of_the_convexity_of_a_perceptron():
    assert perceptron_digits(2, l2=0.1).strong_convexity == 0


def test_unequal_participation_moves_where_a_shifted_quadratic_settles():
    problem = ShiftedQuadratic((1.0, 3.0), sigma2=0.0, start=0.0, optima=(0.0, 4.0))
    params = problem.initial
    for update in range(3000):
        worker = int(update % 4 == 0)  # worker 1 once in four updates
        params = params - 0.01 * problem.gradients(params[None], [worker], [None])[1][0]
    np.testing.assert_allclose(params, 1.0, atol=0.05)
    assert problem.optimum == 2.0


# ---------------------------------------------------------------- many workers, large data


def test_ten_thousand_workers_share_all_digits():
    problem, n = softmax_digits(10_000, split="all"), 10_000
    assert all(rows is problem.shares[0] for rows in problem.shares)
    params, rngs = np.repeat(problem.initial[None], n, axis=0), [np.random.default_rng(0)] * n
    tracemalloc.start()
    _, gradients = problem.gradients(params, range(n), rngs)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * gradients.nbytes


@pytest.mark.parametrize("split", ["even", 0.5])
def test_workers_share_one_copy_of_the_images(split):
    rng = np.random.default_rng(0)
    x, y = rng.integers(256, size=(4000, 784), dtype=np.uint8), rng.integers(10, size=4000)
    data = Data(x, y, x[:9], y[:9], scale=1 / 255, classes=10)
    tracemalloc.start()
    problem = softmax(data, 1000, split=split)
    for worker in range(3):
        problem.gradients(problem.initial[None], [worker], [rng])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < x.nbytes / 4


def test_timing_only_trains_nothing():
    problem = TimingOnly()
    losses, gradients = problem.gradients(np.zeros((3, 0)), [0, 1, 2], fresh_rngs(3))
    assert losses.tolist() == [0, 0, 0]
    assert gradients.shape == (3, 0)
    assert problem.loss(problem.initial) == 0


def test_names_without_addresses():
    for problem in PROBLEMS.values():
        assert "0x" not in repr(problem)
    assert repr(softmax_digits(3)) == repr(softmax(digits(), 3))
    assert softmax_digits(3) == DigitsClassifier(3)
    assert hash(softmax_digits(3)) == hash(DigitsClassifier(3))


REGRESSION = random_least_squares(2).data


@pytest.mark.parametrize(
    "build",
    [
        lambda: NoisyQuadratic((), 1.0),
        lambda: NoisyQuadratic((0.0,), 1.0),
        lambda: NoisyQuadratic((float("nan"),), 1.0),
        lambda: NoisyQuadratic((1.0,), -1.0),
        lambda: NoisyQuadratic((1.0,), float("nan")),
        lambda: NoisyQuadratic((1.0,), 1.0, start=float("inf")),
        lambda: ShiftedQuadratic((1.0,), 1.0, optima=()),
        lambda: ShiftedQuadratic((1.0,), 1.0, optima=(1.0, float("nan"))),
        lambda: ShiftedQuadratic((1.0,), -1.0, optima=(1.0,)),
        lambda: softmax_digits(0),
        lambda: softmax_digits(2000),
        lambda: softmax_digits(4, batch_size=0),
        lambda: softmax_digits(4, l2=-1),
        lambda: softmax_digits(4, split="odd"),
        lambda: softmax_digits(4, split=0.0),
        lambda: softmax_digits(4, split=float("nan")),
        lambda: softmax_digits(4, split=True),
        lambda: softmax_digits(4, split=None),  # pyright: ignore[reportArgumentType]
        lambda: softmax_digits(2000, split=1.0),
        lambda: softmax(REGRESSION, 4),
        lambda: softmax("digits", 4),  # pyright: ignore[reportArgumentType]
        lambda: Classifier(digits(), 4, split_seed=-1),
        lambda: DigitsClassifier(4, dtype="float16"),
        lambda: perceptron_digits(4, hidden=0),
        lambda: perceptron_digits(4, hidden=2.5),  # pyright: ignore[reportArgumentType]
        lambda: perceptron(digits(), 4, hidden=-1),
        lambda: LeastSquares("digits", 4),  # pyright: ignore[reportArgumentType]
        lambda: LeastSquares(REGRESSION, 4, split=0.5),
        lambda: LeastSquares(REGRESSION, 4, l2=float("inf")),
        lambda: random_least_squares(4, d=0),
        lambda: random_least_squares(4, samples=3),
        lambda: random_least_squares(4, condition=0.5),
        lambda: random_least_squares(4, noise=-1.0),
    ],
)
def test_bad_problems_are_refused(build):
    with pytest.raises(ValueError, match=r"must|needs"):
        build()


def test_without_pytorch_its_adapter_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "simulations.problems.torch_module", raising=False)
    with pytest.raises(ModuleNotFoundError, match=r"abs-toolkit\[torch\]"):
        importlib.import_module("simulations.problems.torch_module")
