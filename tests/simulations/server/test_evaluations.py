"""What a problem says of a model, its loss and its metrics, is checked; so is the direction of a target."""

import math

import numpy as np
import pytest

from abs_theory.delays import Exponential
from simulations import record
from simulations.experiment import simulate
from simulations.plot import compare
from simulations.problems import NoisyQuadratic
from simulations.protocols import abs_sgd, asynchronous

OPTIONS = {"n": 3, "step_size": 0.2, "num_updates": 30, "eval_every": 1.0, "seed": 0, "n_jobs": 1}


class Told(NoisyQuadratic):
    """A noisy quadratic of one parameter; ``told`` are its metrics, ``as_loss`` changes its loss."""

    def __init__(self, told=None, as_loss=lambda loss: loss):
        super().__init__((1.0,), sigma2=0.1)
        object.__setattr__(self, "told", told)
        object.__setattr__(self, "as_loss", as_loss)

    def loss(self, params):
        return self.as_loss(super().loss(params))

    def metrics(self, params):
        return self.told(params) if callable(self.told) else self.told


def run(problem, protocol=None, **changed):
    return simulate(protocol or asynchronous(), problem, Exponential(1.0), **{**OPTIONS, **changed})


@pytest.mark.parametrize(
    "told, message",
    [
        (None, r"metrics of Told must return numbers by name, such as .*, got None"),
        ([0.5], "must return numbers by name"),
        ({1: 0.5}, "must return numbers by name"),
        ({"a": "x"}, "a in metrics of Told must be a number, got 'x'"),
        ({"a": None}, "a in metrics of Told must be a number, got None"),
        ({"a": np.ones(2)}, r"a in metrics of Told must be a number, got an array of shape \(2,\)"),
        ({"time": 1.0}, "names that no other column of the tables has, got 'time'"),
        ({"loss": 1.0}, "names that no other column of the tables has, got 'loss'"),
        ({"replicate": 1.0}, "names that no other column of the tables has, got 'replicate'"),
        (lambda params: {f"at_{params[0] == 1}": 1.0}, "must have the same names at all times, at_True, got at_False"),
    ],
)
def test_metrics_that_are_none_are_refused(told, message):
    with pytest.raises(ValueError, match=message):
        run(Told(told))


@pytest.mark.parametrize("protocol", [asynchronous(), abs_sgd(2, 1)])
@pytest.mark.parametrize(
    "loss, message",
    [
        ("low", "loss of Told must be a number, got 'low'"),
        (None, "loss of Told must be a number, got None"),
        (np.ones(1), r"loss of Told must be a number, got an array of shape \(1,\)"),
        (math.nan, "loss of Told must be finite for its initial parameters, got nan"),
        (math.inf, "loss of Told must be finite for its initial parameters, got inf"),
    ],
)
def test_losses_that_are_none_are_refused(loss, message, protocol):
    with pytest.raises(ValueError, match=message):
        run(Told({}, lambda _: loss), protocol, replicates=2)


def test_numbers_of_all_kinds_are_taken():
    rows = run(Told({"a": np.float32(0.5), "b": 1, "c": np.array(2.0)}, np.float32))
    assert rows[["a", "b", "c"]].iloc[-1].tolist() == [0.5, 1.0, 2.0]


def test_a_loss_that_becomes_nan_at_a_harmless_model_is_warned_of():
    with pytest.warns(UserWarning, match="losses of Told are NaN .* the cause is the problem, not the step size"):
        run(Told({}, lambda loss: loss if loss > 0.4 else math.nan))


def test_a_target_whose_name_does_not_tell_its_direction_is_refused():
    """At 0.8 a run would have ended at once: an unknown name counted as something that falls."""
    problem = Told(lambda params: {"auc": 1 - abs(params[0]), "quality": 1 - abs(params[0])})
    reached = run(problem, target=("auc", 0.8))["auc"].dropna()
    assert reached.iloc[-1] >= 0.8 > reached.iloc[:-1].max()
    with pytest.raises(ValueError, match="got 'quality': call the metric quality_score or quality_error"):
        run(problem, target=("quality", 0.8))
    rows = run(problem)
    with pytest.raises(ValueError, match="got 'quality'"):
        record.to_target(rows, "quality", 0.8)
    with pytest.raises(ValueError, match=r"level must be a finite number to reach, got '0\.8'"):
        record.to_target(rows, "auc", "0.8")
    assert compare(rows, "quality", "time")  # what is only drawn needs no direction


@pytest.mark.parametrize(
    "column, rising",
    [("test_accuracy", True), ("f1_score", True), ("AUC", True), ("loss", False), ("error_rate", False),
     ("gradient_norm2", False), ("RMSE", False), ("accuracy_gap", False), ("quality", None), ("k", None)],
)  # fmt: skip
def test_directions(column, rising):
    assert record.direction(column) is rising
