"""PyTorch modules as problems: the same gradients as our own classifiers, and nothing hidden that changes."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

torch = pytest.importorskip("torch")
nn = torch.nn

from abs_theory.delays import ShiftedExponential  # noqa: E402
from simulations.experiment import simulate  # noqa: E402
from simulations.problems import Classifier, Problem, random_least_squares  # noqa: E402
from simulations.problems.constants import estimate  # noqa: E402
from simulations.problems.data import Data, digits  # noqa: E402
from simulations.problems.torch_module import TorchProblem  # noqa: E402
from simulations.protocols import k_async  # noqa: E402


def linear(seed=0):
    torch.manual_seed(seed)
    return nn.Linear(64, 10)


def convolution(extra=nn.Identity):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 2, 3), extra(), nn.Tanh(), nn.Flatten(), nn.Linear(72, 10)
    )


def fresh_rngs(count):
    return [np.random.default_rng([0, worker]) for worker in range(count)]


def own_order(gradients):
    """A linear layer's gradients as our classifier has them: weights (inputs, outputs), then biases."""
    return np.concatenate([gradients[:, :640].reshape(-1, 10, 64).mT.reshape(-1, 640), gradients[:, 640:]], axis=1)


@pytest.mark.parametrize("split", ["even", "all", 0.1])
def test_softmax_regression_is_that_of_our_own_classifier(split):
    theirs = TorchProblem(linear(), digits(), 4, batch_size=8, split=split, dtype="float64")
    ours = Classifier(digits(), 4, batch_size=8, split=split, dtype="float64")
    assert isinstance(theirs, Problem)
    params = np.random.default_rng(1).standard_normal((6, 650))
    mine = own_order(params)
    losses, gradients = theirs.gradients(params, [0, 1, 2, 3, 3, 0], fresh_rngs(6))
    own_losses, own_gradients = ours.gradients(mine, [0, 1, 2, 3, 3, 0], fresh_rngs(6))
    np.testing.assert_allclose(losses, own_losses, rtol=1e-12)
    np.testing.assert_allclose(own_order(gradients), own_gradients, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(own_order(theirs.gradient(params[0])[None])[0], ours.gradient(mine[0]), atol=1e-12)
    assert theirs.loss(params[0]) == pytest.approx(ours.loss(mine[0]), rel=1e-12)
    assert theirs.metrics(params[0]) == ours.metrics(mine[0])


@pytest.mark.parametrize("extra", [nn.Identity, partial(nn.GroupNorm, 1, 2)], ids=["plain", "group norm"])
def test_gradients_are_the_slopes_of_the_loss(extra):
    problem = TorchProblem(convolution(extra), digits(), 4, dtype="float64")
    rng = np.random.default_rng(0)
    params = problem.initial + 0.1 * rng.standard_normal(len(problem.initial))
    h = 1e-5 * rng.standard_normal(len(params))
    difference = (problem.loss(params + h) - problem.loss(params - h)) / 2
    assert problem.gradient(params) @ h == pytest.approx(difference, rel=1e-6)


def test_training_a_module_by_a_protocol_is_reproducible():
    problem = TorchProblem(convolution(partial(nn.Dropout, 0.5)), digits(), 4, batch_size=32)
    before = torch.random.get_rng_state()
    run = partial(
        simulate, k_async(2), problem, ShiftedExponential(0.5, 0.5), 4, step_size=0.3, num_updates=150, seed=1,
        eval_every=20.0,
    )  # fmt: skip
    table = run()
    assert table["test_accuracy"].iloc[-1] > 0.8
    assert table.equals(run())
    assert torch.equal(torch.random.get_rng_state(), before)


def test_dropout_is_drawn_for_each_job_from_its_workers_stream():
    problem = TorchProblem(convolution(partial(nn.Dropout, 0.5)), digits(), 1, batch_size=len(digits().y))
    params = np.repeat(problem.initial[None], 2, axis=0)
    same, other = fresh_rngs(1) + fresh_rngs(1), fresh_rngs(2)
    assert len(set(problem.gradients(params, [0, 0], same)[0])) == 1
    assert len(set(problem.gradients(params, [0, 0], other)[0])) == 2
    assert problem.loss(params[0]) == problem.loss(params[0])


def test_regression_is_our_least_squares():
    ours = random_least_squares(3, d=4, samples=60)
    half = lambda output, y: 0.5 * ((output[:, 0] - y) ** 2).mean()  # noqa: E731
    data = Data(ours.data.x, ours.data.y, ours.data.x[:7], ours.data.y[:7])
    theirs = TorchProblem(nn.Linear(4, 1, bias=False), data, 3, criterion=half, dtype="float64")
    w = np.array([1.0, -2.0, 0.5, 0.1])
    assert theirs.loss(w) == pytest.approx(ours.loss(w))
    np.testing.assert_allclose(theirs.gradient(w), ours.gradient(w))
    assert theirs.metrics(w) == {"test_loss": pytest.approx(0.5 * np.mean((data.x_test @ w - data.y_test) ** 2))}
    found, true = estimate(theirs, 3, seed=0, num_updates=4, samples=50).constants, ours.constants
    assert (found.L, found.gap) == pytest.approx(
        (true.L, true.gap + ours.loss(theirs.initial) - ours.loss(w * 0)), 1e-5
    )


def test_the_module_is_left_alone_and_frozen_parameters_are_not_trained():
    module = convolution()
    for value in module[1].parameters():
        value.requires_grad_(False)
    kept = {name: value.clone() for name, value in module.state_dict().items()}
    problem = TorchProblem(module, digits(), 2)
    assert problem.initial.shape == (730,)
    assert problem.initial.dtype == np.float32
    problem.gradients(np.repeat(problem.initial[None] + 1, 2, axis=0), [0, 1], fresh_rngs(2))
    assert all(torch.equal(value, kept[name]) for name, value in module.state_dict().items())
    assert module.training


def test_tied_and_unused_parameters():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.unused = nn.Linear(64, 64), nn.Linear(64, 64), nn.Parameter(torch.ones(3))
            self.second.weight = self.first.weight

        def forward(self, x):
            return self.second(self.first(x).tanh())[:, :10]

    problem = TorchProblem(Tied(), digits(), 2, dtype="float64")
    assert problem.initial.shape == (64 * 64 + 2 * 64 + 3,)
    rng = np.random.default_rng(0)
    h = 1e-5 * rng.standard_normal(len(problem.initial))
    difference = (problem.loss(problem.initial + h) - problem.loss(problem.initial - h)) / 2
    assert problem.gradient(problem.initial) @ h == pytest.approx(difference, rel=1e-6)


def test_a_name_without_addresses():
    problem = TorchProblem(linear(), digits(), 2)
    assert repr(problem) == repr(replace(problem, module=linear()))
    assert "0x" not in repr(problem)


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: TorchProblem(nn.Linear, digits(), 2), "Module"),
        (lambda: TorchProblem(linear(), "digits", 2), "Data"),
        (lambda: TorchProblem(linear(), digits(), 2000), "all of them"),
        (lambda: TorchProblem(nn.Linear(32, 10), digits(), 2), "compute"),
        (lambda: TorchProblem(nn.Linear(64, 5), digits(), 2), "compute"),
        (lambda: TorchProblem(nn.Identity(), digits(), 2), "nothing to train"),
        (lambda: TorchProblem(convolution(partial(nn.BatchNorm2d, 2)), digits(), 2), "track_running_stats"),
        (lambda: TorchProblem(linear(), digits(), 2, batch_size=0), "batch_size"),
        (lambda: TorchProblem(linear(), digits(), 2, dtype="float16"), "dtype"),
        (
            lambda: TorchProblem(
                linear(), digits(), 2, criterion=partial(nn.functional.cross_entropy, reduction="none")
            ),
            "one number",
        ),
    ],
)
def test_bad_problems_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
