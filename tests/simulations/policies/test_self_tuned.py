"""ABS that tunes itself: what it decides, and that a run with it is as reproducible as any other."""

import math
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import linalg

from abs_theory.delays import Exponential, HyperExponential, ShiftedExponential
from simulations import policies, protocols
from simulations.experiment import simulate
from simulations.policies.self_tuned import stale_noise
from simulations.problems import Classifier, NoisyQuadratic, digits, softmax_digits
from simulations.server import Progress

STALLS = HyperExponential(probs=(0.9, 0.1), means=(1 / 3, 7.0))


def tuned(objective="time"):
    tuning = policies.self_tuning(objective)
    return protocols.abs_sgd(tuning.k, tuning.max_staleness)


def test_it_starts_with_a_tenth_of_the_workers_and_no_threshold():
    start = Progress(20, 0, 0.0, 0.0, 1, 3, 0.0, 1.0, 1.0)
    tuning = policies.self_tuning()
    assert (tuning.k(start), tuning.max_staleness(start)) == (2, math.inf)
    assert [tuning.k(start._replace(local_steps=local_steps)) for local_steps in (2, 4, 6, 100)] == [2, 3, 5, 5]


def test_k_grows_when_noise_takes_over_and_stalled_tasks_are_restarted():
    problem = NoisyQuadratic((1.0,) * 20, sigma2=4.0)
    run = simulate(tuned(), problem, STALLS, 10, step_size=0.3, num_updates=600, seed=1)
    assert run["k"].iloc[-1] >= 4
    assert run["max_staleness"].iloc[300:].max() <= 4


def test_messages_are_saved_when_they_are_the_objective():
    problem = NoisyQuadratic((1.0,) * 20, sigma2=0.5)
    runs = {
        objective: simulate(
            tuned(objective), problem, STALLS, 10, step_size=0.1, time_budget=20.0, seed=1, eval_every=0.1,
            target=("loss", 0.3), replicates=8, n_jobs=1,
        )
        for objective in ("time", "messages")
    }  # fmt: skip
    messages = {objective: run[["uplinks", "downlinks"]].to_numpy().sum() for objective, run in runs.items()}
    assert messages["messages"] < messages["time"]


@pytest.mark.parametrize(
    "law, step",
    [(STALLS, 0.5), (ShiftedExponential(0.5, 0.5), 0.5), (STALLS, policies.self_tuning().step_size)],
    ids=["stalls", "shifted", "step by rule"],
)
def test_a_replicate_alone_is_the_same_as_among_others(law, step):
    problem, options = softmax_digits(12), {"step_size": step, "num_updates": 120, "seed": 5, "n_jobs": 1}
    together = simulate(tuned(), problem, law, 12, replicates=5, **options)
    assert together["max_staleness"].nunique() > 1
    for replicate in (0, 3):
        alone = simulate(tuned(), problem, law, 12, replicates=[replicate], **options)
        among = together[together["replicate"] == replicate].reset_index(drop=True)
        pd.testing.assert_frame_equal(alone, among, check_exact=True)


@pytest.mark.parametrize("staleness", [0, 1, 2, 5])
@pytest.mark.parametrize("bend", [0.01, 0.1, 0.25])
def test_stale_noise_is_that_of_the_equilibrium_with_a_fixed_delay(bend, staleness):
    """The state (x_t, ..., x_(t-tau)) moves by the matrix A, and its covariance solves P = A P A' + noise."""

    def variance(tau):
        a = np.eye(tau + 1, k=-1)
        a[0, 0] = 1.0
        a[0, tau] -= bend
        noise = np.zeros_like(a)
        noise[0, 0] = 1.0
        return linalg.solve_discrete_lyapunov(a, noise)[0, 0]

    assert float(stale_noise(bend, np.array([staleness]))[0]) == pytest.approx(variance(staleness) / variance(0))


@pytest.mark.parametrize("staleness", [1, 2, 5])
def test_stale_noise_is_infinite_where_stale_steps_diverge(staleness):
    """There the characteristic polynomial z^(tau + 1) - z^tau + b has a root outside of the unit circle."""
    for bend in np.linspace(0.01, 1.2, 60):
        polynomial = np.zeros(staleness + 2)
        polynomial[[0, 1, -1]] = 1.0, -1.0, bend
        stable = np.abs(np.roots(polynomial)).max() < 1
        assert np.isfinite(stale_noise(bend, np.array([staleness]))[0]) == stable


def test_no_curvature_is_too_large_for_fresh_gradients_alone():
    assert stale_noise(7.0, np.array([0.0, 0.5])).tolist() == [1.0, math.inf]


def test_a_curvature_that_is_known_allows_no_staleness_that_diverges():
    """After the second update, before anything is measured: with step x curvature 4 none, with 1/4 some."""
    problem, law, stalest = NoisyQuadratic((1.0,) * 5, sigma2=1.0), ShiftedExponential(0.5, 0.5), {}
    for curvature in (0.5, 8.0):
        tuning = policies.self_tuning(curvature=curvature)
        run = simulate(
            protocols.abs_sgd(tuning.k, tuning.max_staleness), problem, law, 20, step_size=0.5, num_updates=20, seed=1,
        )  # fmt: skip
        stalest[curvature] = run["max_staleness"].iloc[3:].max()
    assert stalest[8.0] == 0
    assert stalest[0.5] > 0


def test_late_workers_are_restarted_while_the_loss_rises():
    """With ten local steps per task the measured curvature is too small, and staleness would make the runs diverge."""
    problem = Classifier(digits(), 20, hidden=32, batch_size=16)
    run = simulate(
        tuned(), problem, Exponential(0.1), 20, step_size=0.4, local_steps=10, time_budget=15.0, eval_every=1.0,
        seed=11, replicates=4, n_jobs=1,
    )  # fmt: skip
    accuracy = run.dropna(subset="test_accuracy").groupby("replicate")["test_accuracy"].last()
    assert accuracy.median() > 0.8
    assert run["max_staleness"].max() > 0


@pytest.mark.parametrize("law", [Exponential(0.1), HyperExponential((0.9, 0.1), (1 / 30, 0.7))], ids=["exp", "stalls"])
def test_tasks_of_many_local_steps_on_different_data_are_averaged(law):
    """A model of one worker alone has a larger loss on the data of all than the first model."""
    problem = Classifier(digits(), 20, hidden=32, batch_size=16, split=0.1)
    options = {"step_size": 0.2, "local_steps": 10, "time_budget": 6.0, "eval_every": 2.0, "replicates": 6, "n_jobs": 1}
    losses = {}
    for name, protocol in (("one", protocols.abs_sgd(1, 2)), ("tuned", tuned())):
        run = simulate(protocol, problem, law, 20, seed=12, **options)
        losses[name] = run.groupby("replicate")["loss"].last().median() / problem.loss(problem.initial)
        assert name == "one" or run["k"].min() >= 5
    assert losses["tuned"] < 0.75
    assert losses["one"] > 1


@pytest.mark.parametrize("curvature", [0.0, -1.0, math.nan, "steep"])
def test_a_curvature_that_is_none_is_refused(curvature):
    with pytest.raises(ValueError, match="curvature must be"):
        policies.self_tuning(curvature=curvature)


def test_all_three_policies_are_no_step_size():
    with pytest.raises(ValueError, match=r"self_tuning\(\) is 3 of them: give one, as self_tuning\(\)\.step_size"):
        simulate(
            tuned(), NoisyQuadratic((1.0,), 1.0), STALLS, 4, step_size=policies.self_tuning(), num_updates=5, seed=0,
        )  # fmt: skip


def test_another_objective_is_refused():
    with pytest.raises(ValueError, match='objective must be "time" or "messages", got \'speed\''):
        policies.self_tuning("speed")


def test_a_least_loss_that_is_known_lets_k_grow_once_the_rest_is_small():
    """The loss comes down to 2: what is left is noise, and only the rule that knows this fights the noise."""

    class Raised(NoisyQuadratic):
        def loss(self, params):
            return super().loss(params) + 2.0

        def gradients(self, params, workers, rngs):
            losses, gradients = super().gradients(params, workers, rngs)
            return losses + 2.0, gradients

    last = {}
    for least_loss in (0.0, 2.0):
        problem, protocol = Raised((1.0,) * 5, sigma2=0.2), protocols.self_tuning_abs(least_loss=least_loss)
        run = simulate(protocol, problem, ShiftedExponential(0.5, 0.5), 10, step_size=0.3, num_updates=300, seed=1)
        last[least_loss] = run["k"].iloc[-1]
    assert last[2.0] >= 2 * last[0.0]


@pytest.mark.parametrize("least_loss", [math.nan, math.inf, "low"])
def test_a_least_loss_that_is_none_is_refused(least_loss):
    with pytest.raises(ValueError, match="least_loss must be a finite number, got"):
        policies.self_tuning(least_loss=least_loss)


def test_a_least_loss_above_the_losses_is_told_at_once():
    problem, options = softmax_digits(10), {"step_size": 0.2, "num_updates": 60, "seed": 0, "n_jobs": 1}
    with pytest.raises(ValueError, match=r"needs losses above least_loss=5, got 2\.489 at the start: give it a least_"):
        simulate(protocols.self_tuning_abs(least_loss=5.0), problem, STALLS, 10, **options)
    with pytest.warns(UserWarning, match=r"the loss has fallen below least_loss=1\.5, so self-tuning takes it as"):
        simulate(protocols.self_tuning_abs(least_loss=1.5), problem, STALLS, 10, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        simulate(protocols.self_tuning_abs(least_loss=0.1), problem, STALLS, 10, **options)
        noisy = NoisyQuadratic((1.0,) * 10, sigma2=4.0)
        simulate(protocols.self_tuning_abs(), noisy, STALLS, 10, **options, replicates=10)


# ---------------------------------------------------------------------- the step by rule
def by_rule(problem, least_loss=0.0, **options):
    tuning = policies.self_tuning(least_loss=least_loss)
    protocol = protocols.abs_sgd(tuning.k, tuning.max_staleness)
    options = {"num_updates": 200, "seed": 3, "eval_every": 0.5, "n_jobs": 1} | options
    return simulate(protocol, problem, ShiftedExponential(0.5, 0.5), 10, step_size=tuning.step_size, **options)


def test_without_a_step_it_descends_as_far_as_with_a_good_one():
    problem = softmax_digits(10)
    loss = by_rule(problem)["loss"].dropna()
    given = simulate(
        tuned(), problem, ShiftedExponential(0.5, 0.5), 10, step_size=1.0, num_updates=200, seed=3, eval_every=0.5,
    )["loss"].dropna()  # fmt: skip
    assert loss.iloc[-1] < 1.3 * given.iloc[-1] < 0.3 * loss.iloc[0]


def test_the_step_by_rule_follows_the_unit_of_the_loss():
    """With all losses and gradients times 64 it makes the same run."""
    unit, other = by_rule(NoisyQuadratic((1.0, 0.25), 0.5)), by_rule(NoisyQuadratic((64.0, 16.0), 64.0**2 * 0.5))
    assert unit["loss"].dropna().iloc[-1] < 0.1 * unit["loss"].dropna().iloc[0]
    pd.testing.assert_frame_equal(unit[["k", "max_staleness", "time"]], other[["k", "max_staleness", "time"]])
    pd.testing.assert_series_equal(64 * unit["loss"], other["loss"], rtol=1e-5)


class Lowered(NoisyQuadratic):
    by = 9.0

    def loss(self, params):
        return super().loss(params) - self.by

    def gradients(self, params, workers, rngs):
        losses, gradients = super().gradients(params, workers, rngs)
        return losses - self.by, gradients


class LaterBelowZero(Lowered):
    by = 1.0


def test_a_loss_below_zero_needs_its_least_value():
    problem = Lowered((1.0,) * 4, sigma2=0.1)
    with pytest.raises(ValueError, match="self-tuning needs losses above least_loss=0, got -7 at the start"):
        by_rule(problem)
    with pytest.raises(ValueError, match="the step by rule needs a loss above 0 or above least_loss=0, got -"):
        by_rule(LaterBelowZero((1.0,) * 4, sigma2=0.1))
    assert by_rule(problem, least_loss=-9.0)["loss"].dropna().iloc[-1] < -8.9
