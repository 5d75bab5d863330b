"""Objectives: gradients against differences of the loss, batches against one at a time, constants that are exact."""

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from simulations import batches
from simulations.data import digits, split_evenly
from simulations.problems import (
    DigitsClassifier,
    NoisyQuadratic,
    TimingOnly,
    perceptron_digits,
    softmax_digits,
)

CLASSIFIERS = [DigitsClassifier(4, hidden, l2=l2, dtype="float64") for hidden in (0, 5) for l2 in (0.0, 0.1)]


def fresh_rngs(count, seed=0):
    return [np.random.default_rng([seed, worker]) for worker in range(count)]


class EveryRow:
    """A stand-in for a generator whose "random" batch is the whole share, once."""

    def integers(self, high, size):
        return np.arange(high)[:size]


@pytest.mark.parametrize("problem", CLASSIFIERS, ids=repr)
def test_gradients_are_the_slopes_of_the_loss(problem):
    """With the whole data set as one worker's batch, the gradient is that of the full loss."""
    whole = DigitsClassifier(1, problem.hidden, batch_size=len(digits().y), l2=problem.l2, dtype="float64")
    params = whole.initial + 0.1 * np.random.default_rng(1).standard_normal(whole.initial.shape)
    losses, gradients = whole.gradients(params[None], [0], [EveryRow()])
    assert losses[0] == pytest.approx(whole.loss(params), rel=1e-12)
    rng = np.random.default_rng(2)
    for direction in rng.standard_normal((5, len(params))):
        slope = approx_fprime(np.zeros(1), lambda s, v=direction: whole.loss(params + s[0] * v), 1e-6)
        assert gradients[0] @ direction == pytest.approx(slope[0], abs=1e-4, rel=1e-4)


@pytest.mark.parametrize("problem", CLASSIFIERS, ids=repr)
def test_one_batched_call_is_the_calls_one_by_one(problem, monkeypatch):
    monkeypatch.setattr(batches, "CACHE_BYTES", 50_000)  # several chunks
    rng = np.random.default_rng(3)
    params = rng.standard_normal((7, len(problem.initial)))
    workers = [0, 1, 2, 3, 0, 2, 1]
    losses, gradients = problem.gradients(params, workers, fresh_rngs(7))
    for job, (worker, own) in enumerate(zip(workers, fresh_rngs(7), strict=True)):
        loss, gradient = problem.gradients(params[job : job + 1], [worker], [own])
        assert loss[0] == pytest.approx(losses[job], rel=1e-12)
        np.testing.assert_allclose(gradient[0], gradients[job], rtol=1e-9, atol=1e-12)


def test_mini_batch_gradients_are_unbiased_for_their_workers_share():
    problem = DigitsClassifier(4, batch_size=8, dtype="float64")
    params = np.repeat(problem.initial[None], 16_000, axis=0)
    _, gradients = problem.gradients(params, [1] * 16_000, fresh_rngs(16_000))
    share = problem.shares[1]
    own = DigitsClassifier(1, 0, batch_size=len(share), dtype="float64")
    own.__dict__["shares"] = [share]
    _, exact = own.gradients(problem.initial[None], [0], [EveryRow()])
    stderr = gradients.std(axis=0) / 16_000**0.5
    errors = (gradients.mean(axis=0) - exact[0])[stderr > 0] / stderr[stderr > 0]
    assert np.abs(errors).max() < 6.5  # 650 coordinates, false-fail rate below 1e-6
    assert stderr.max() < 0.01 * np.abs(exact).max()


def test_workers_hold_disjoint_equal_shares_of_all_training_data():
    shares = split_evenly(len(digits().y), 20)
    assert sorted(np.concatenate(shares)) == list(range(len(digits().y)))
    assert {len(share) for share in shares} <= {71, 72}


def test_digits_are_split_into_training_and_test_images_with_features_in_0_1():
    data = digits()
    assert (len(data.y), len(data.y_test)) == (1437, 360)
    features = data.features(data.x, "float64")
    assert features.min() == 0
    assert features.max() == 1
    assert set(data.y) == set(data.y_test) == set(range(10))


def test_the_constants_of_the_noisy_quadratic_are_exact():
    problem = NoisyQuadratic((0.5, 2.0), sigma2=0.3, start=2.0)
    constants = problem.constants
    assert (constants.L, constants.c, constants.sigma2, constants.gap) == (2.0, 0.5, 0.3, 0.25 * 4 + 1.0 * 4)
    params = np.tile([3.0, -1.0], (20_000, 1))
    losses, gradients = problem.gradients(params, range(20_000), fresh_rngs(20_000))
    assert (losses == problem.loss(params[0])).all()
    noise = gradients - [1.5, -2.0]
    # a sum of two squared normals of variance .15 has variance 2 * 2 * .15**2
    assert np.abs((noise**2).sum(axis=1).mean() - 0.3) < 5 * (4 * 0.15**2 / 20_000) ** 0.5
    assert np.abs(noise.mean(axis=0)).max() < 5 * (0.15 / 20_000) ** 0.5
    assert problem.metrics(params[0]) == {"gradient_norm2": 1.5**2 + 2.0**2}


def test_timing_only_trains_nothing():
    problem = TimingOnly()
    losses, gradients = problem.gradients(np.zeros((3, 0)), [0, 1, 2], fresh_rngs(3))
    assert losses.tolist() == [0, 0, 0]
    assert gradients.shape == (3, 0)
    assert problem.loss(problem.initial) == 0


@pytest.mark.parametrize(
    "build",
    [
        lambda: NoisyQuadratic((), 1.0),
        lambda: NoisyQuadratic((0.0,), 1.0),
        lambda: NoisyQuadratic((float("nan"),), 1.0),
        lambda: NoisyQuadratic((1.0,), -1.0),
        lambda: NoisyQuadratic((1.0,), float("nan")),
        lambda: NoisyQuadratic((1.0,), 1.0, start=float("inf")),
        lambda: softmax_digits(0),
        lambda: softmax_digits(2000),
        lambda: softmax_digits(4, batch_size=0),
        lambda: softmax_digits(4, l2=-1),
        lambda: DigitsClassifier(4, dtype="float16"),
        lambda: perceptron_digits(4, hidden=0),
        lambda: perceptron_digits(4, hidden=2.5),  # pyright: ignore[reportArgumentType]
    ],
)
def test_bad_problems_are_refused(build):
    with pytest.raises(ValueError, match=r"must|needs"):
        build()
