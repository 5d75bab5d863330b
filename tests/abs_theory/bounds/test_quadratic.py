"""The exact moments on a noisy quadratic: by hand, against an independent unrolling, and against training itself."""

import math

import numpy as np
import pytest
from agreement import assert_agrees, assert_resolves, assert_within, noise
from hypothesis import given, settings
from hypothesis import strategies as st
from laws import SHIFTED
from training import train

from abs_theory.bounds import quadratic, recorded
from abs_theory.delays import Exponential, HyperExponential
from abs_theory.monte_carlo import Estimate
from simulations import protocols
from simulations.experiment import simulate
from simulations.problems import NoisyQuadratic
from simulations.protocols.weights import by_staleness

CURVATURES = (1.0, 0.4, 0.1)
SIGMA2 = 0.3
PROBLEM = NoisyQuadratic(CURVATURES, SIGMA2)
N = 6
HYPER = HyperExponential(probs=(0.7, 0.3), means=(0.25, 2.75))
EVERY_UPDATE = 1e-7  # seconds between evaluations: far less than between updates


@st.composite
def tables(draw):
    """Any staleness table of one run, with places left empty, and weights."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    updates, width = draw(st.integers(1, 12)), draw(st.integers(1, 4))
    table = rng.integers(-1, np.arange(updates)[:, None] + 1, (updates, width))
    table[:, 0] = np.maximum(table[:, 0], 0)
    return table, rng.uniform(-0.5, 1.5, table.shape)


def unrolled(curvature, noise, step, table, weights):
    """E w_t w_s for all t, s of one coordinate from w_0 = 1: every model written out over w_0 and all noise draws."""
    places = np.arange(table.size).reshape(table.shape)
    models = [np.eye(1, 1 + table.size)[0]]
    for t, row in enumerate(table):
        pull = np.zeros(1 + table.size)
        applied = row >= 0
        for i in np.flatnonzero(applied):
            pull += weights[t, i] * curvature * models[t - row[i]]
            pull[1 + places[t, i]] += weights[t, i] * noise**0.5
        models.append(models[-1] - step[t] / applied.sum() * pull)
    return np.array(models) @ np.array(models).T


def test_a_timeline_by_hand():
    # w0 = 1; w1 = .5 - .5 x0; w2 = w1 - .5 (w0 + x1); w3 = w2 - .5 (w1 + x2), all noise of variance 1
    found = quadratic.moments([1.0], 1.0, 1.0, 0.5, [[0], [1], [1]])
    assert found.mean[:, 0].tolist() == [1.0, 0.5, 0.0, -0.25]
    assert found.variance[:, 0].tolist() == [0.0, 0.25, 0.5, 0.0625 + 0.5]
    assert found.loss.tolist() == [0.5, 0.25, 0.25, 0.3125]


def test_a_timeline_by_hand_where_k_and_the_step_move_and_gradients_have_weights():
    # d = 2, lambda = 2, 1, noise 1/2 each; first k = 1, step 1/4, then k = 2, step 1, weights 1 (fresh), 1/2 (stale)
    found = quadratic.moments([2.0, 1.0], 1.0, 1.0, [0.25, 1.0], [[0, -1], [0, 1]], weights=[[1, 9], [1, 0.5]])
    # w1 = 1/2 - x/4 or 3/4 - x/4, then w2 = w1 - (l w1 + x' + (l w0 + x'') / 2) / 2
    assert found.mean.tolist() == [[1, 1], [0.5, 0.75], [0.5 - 0.5 - 0.5, 0.75 - 0.375 - 0.25]]
    var1, added = 0.5 / 16, 0.5 * (1 + 0.25) / 4
    assert found.variance[2].tolist() == [added, var1 / 4 + added]
    assert found.gradient_norm2[2] == 4 * (0.25 + added) + 0.125**2 + var1 / 4 + added


@settings(max_examples=30, deadline=None)
@given(tables(), st.floats(0.05, 3.0), st.floats(0.0, 2.0))
def test_moments_are_those_of_the_unrolled_sum_over_all_noise(drawn, curvature, sigma2):
    table, weights = drawn
    step = np.linspace(0.1, 0.6, len(table))
    found = quadratic.moments([curvature, 1.0], sigma2, 1.0, step, table, weights)
    for i, value in enumerate([curvature, 1.0]):
        np.testing.assert_allclose(
            found.square[:, i], np.diag(unrolled(value, sigma2 / 2, step, table, weights)), rtol=1e-9, atol=1e-12
        )


def test_runs_are_independent_of_each_other():
    table = recorded.sample(HYPER, 2, N, math.inf, np.random.default_rng(0), 30, 5)
    together = quadratic.moments(CURVATURES, SIGMA2, 1.0, 0.3, table)
    for r in range(5):
        alone = quadratic.moments(CURVATURES, SIGMA2, 1.0, 0.3, table[r])
        np.testing.assert_allclose(together.square[r], alone.square, rtol=1e-12)
        np.testing.assert_allclose(together.mean[r], alone.mean, rtol=1e-9, atol=1e-14)


def test_one_timing_many_noise_seeds():
    """Given one timing, the exact loss and gradient norm of every update against training with fresh samples."""
    protocol, updates = protocols.abs_sgd(2, 3), 25
    losses, norms, tables = zip(
        *(
            train(protocol, PROBLEM, [HYPER] * N, step_size=0.4, num_updates=updates, seed=5, noise_replicate=r)
            for r in range(400)
        ),
        strict=True,
    )
    assert all(np.array_equal(table, tables[0]) for table in tables)
    assert tables[0].max() == 3
    exact = quadratic.moments(CURVATURES, SIGMA2, 1.0, 0.4, tables[0])
    for found, expected in ((np.array(losses), exact.loss), (np.array(norms), exact.gradient_norm2)):
        for update in (1, 3, 8, updates):
            assert_agrees(Estimate.of(found[:, update]), expected[update], resolution=0.8)
        assert_agrees(Estimate.of(found[:, 1:].mean(axis=1)), expected[1:].mean(), resolution=0.3)


CASES = {
    "K-sync": (protocols.k_sync(2), [SHIFTED] * N),
    "ABS, shifted exponential": (protocols.abs_sgd(2, 1), [SHIFTED] * N),
    "ABS, hyper-exponential": (protocols.abs_sgd(1, 3), [HYPER] * N),
    "K-async": (protocols.k_async(2), [HYPER] * N),
    "weights by staleness": (protocols.k_async(2, by_staleness), [SHIFTED] * N),
    "k and threshold move": (protocols.abs_sgd(lambda p: 1 + p.updates % 3, lambda p: p.updates % 4), [HYPER] * N),
    "unequal workers": (protocols.abs_sgd(2, 2), [Exponential(1.0 + i) for i in range(N)]),
}


@pytest.mark.parametrize("replicates, resolution", [(64, 0.35), pytest.param(3000, 0.05, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", CASES)
def test_averaged_over_timings_it_predicts_training(name, replicates, resolution):
    protocol, delays = CASES[name]
    updates, step = 50, 0.25
    losses, norms, tables = zip(
        *(
            train(protocol, PROBLEM, delays, step_size=step, num_updates=updates, seed=3, replicate=r)
            for r in range(replicates)
        ),
        strict=True,
    )
    width = max(table.shape[1] for table in tables)
    table = np.array([np.pad(t, ((0, 0), (0, width - t.shape[1])), constant_values=-1) for t in tables])
    weights = 1 / (1 + np.maximum(table, 0)) if name == "weights by staleness" else None
    exact = quadratic.moments(CURVATURES, SIGMA2, 1.0, step, table, weights)
    for found, expected in ((losses, exact.loss), (norms, exact.gradient_norm2)):
        error = Estimate.of((found - expected).mean(axis=1))
        assert_resolves(error, resolution * expected.mean())
        assert abs(error.mean) <= noise(error)


@pytest.mark.parametrize("k, bound, delay", [(2, 1, SHIFTED), (2, math.inf, HYPER), (4, 2, HYPER)])
def test_timings_by_monte_carlo_are_those_of_the_simulator(k, bound, delay):
    """The same average error, from timings of the vectorised sampler and from whole runs of the experiment."""
    updates, step = 40, 0.25
    rounds = simulate(
        protocols.abs_sgd(k, bound), PROBLEM, delay, N, step_size=step, num_updates=updates, seed=4, replicates=40,
        eval_every=EVERY_UPDATE, n_jobs=1,
    )  # fmt: skip
    table = recorded.sample(delay, k, N, bound, np.random.default_rng(0), updates, 1000)
    assert table.shape == (1000, updates, k)
    exact = quadratic.moments(CURVATURES, SIGMA2, 1.0, step, table)
    theory = Estimate.of(exact.gradient_norm2[:, 1:].mean(axis=1))
    found = Estimate.of(rounds.groupby("replicate")["gradient_norm2"].mean())
    assert_within(found, theory.mean, noise(theory), cap=0.02 * theory.mean, resolution=0.6 * theory.mean)


# ---------------------------------------------------------------- the long run


def test_stationary_error_of_k_sync_is_exact():
    # E w^2 = (1 - eta l)^2 E w^2 + eta^2 s2 / (d k)
    curvature, eta, k = np.array([1.0, 1.0, 0.4]), 0.3, 2
    square = eta**2 * SIGMA2 / (3 * k) / (1 - (1 - eta * curvature) ** 2)
    loss, norm2 = quadratic.stationary(curvature, SIGMA2, eta, k, [1.0])
    assert loss == pytest.approx(curvature @ square / 2, rel=1e-12)
    assert norm2 == pytest.approx(curvature**2 @ square, rel=1e-12)


@pytest.mark.parametrize("k, pmf", [(1, [0.3, 0.5, 0.2]), (3, [0.1, 0.0, 0.6, 0.3])])
def test_stationary_error_for_independent_stalenesses(k, pmf):
    """Tables drawn independently from the pmf: then the linear equations are exact."""
    rng = np.random.default_rng(1)
    table = np.minimum(rng.choice(len(pmf), (300, 100, k), p=pmf), np.arange(100)[:, None])
    exact = quadratic.moments([1.0, 0.5], SIGMA2, 0.0, 0.3, table)
    loss, norm2 = quadratic.stationary([1.0, 0.5], SIGMA2, 0.3, k, pmf)
    assert_agrees(Estimate.of(exact.loss[:, 50:].mean(axis=1)), loss, resolution=0.02)
    assert_agrees(Estimate.of(exact.gradient_norm2[:, 50:].mean(axis=1)), norm2, resolution=0.02)


@pytest.mark.parametrize("k, bound, delay", [(1, 3, SHIFTED), (2, 2, HYPER), (2, math.inf, SHIFTED)])
def test_real_stalenesses_are_dependent_which_costs_the_approximation_some_percent(k, bound, delay):
    table = recorded.sample(delay, k, N, bound, np.random.default_rng(2), 300, 100)
    pmf = np.bincount(table[:, 100:].ravel()) / table[:, 100:].size
    exact = Estimate.of(quadratic.moments(CURVATURES, SIGMA2, 0.0, 0.3, table).loss[:, 150:].mean(axis=1))
    loss, _ = quadratic.stationary(CURVATURES, SIGMA2, 0.3, k, pmf)
    assert_within(exact, loss, stated=0.08 * loss, cap=0.08 * loss, resolution=0.03 * loss)


def test_no_stationary_error_beyond_stability():
    for step, stable in ((1.9, True), (2.1, False)):  # fresh gradients: eta lambda < 2
        assert math.isfinite(quadratic.stationary([1.0], 1.0, step, 1, [1.0])[0]) is stable
    # fixed staleness 1: eta lambda < 1
    for step, stable in ((0.99, True), (1.01, False)):
        assert math.isfinite(quadratic.stationary([1.0], 1.0, step, 1, [0.0, 1.0])[0]) is stable
    # staleness 0 or 1 at random, k = 1: the mean converges beyond the step at which the variance explodes
    pmf, updates, runs = [0.5, 0.5], 2000, 4
    rng = np.random.default_rng(3)
    table = np.minimum(rng.choice(2, (runs, updates, 1)), np.arange(updates)[:, None])
    for step, stable in ((1.0, True), (1.6, False)):
        assert math.isfinite(quadratic.stationary([1.0], 1.0, step, 1, pmf)[0]) is stable
        assert bool(np.all(quadratic.moments([1.0], 1.0, 1.0, step, table).loss[:, -1] < 1e6)) is stable


# ---------------------------------------------------------------- bad input


def test_a_diverging_run_ends_at_infinity():
    found = quadratic.moments([1.0, 0.001], 1.0, 1.0, 4.0, np.zeros((2, 600, 1), int))
    assert found.loss.shape == (2, 601)
    assert np.all(found.loss[:, -1] == np.inf)
    assert not np.any(np.isnan(found.square) | np.isnan(found.mean))
    assert np.all(np.isfinite(found.square[..., 1]))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"curvatures": [1.0, 0.0]}, "curvatures must be finite numbers > 0"),
        ({"curvatures": 1.0}, "row of at least one number"),
        ({"sigma2": -1.0}, "sigma2 must be"),
        ({"start": math.nan}, "start must be finite"),
        ({"step_size": -0.1}, "step_size must be"),
        ({"staleness": [[0.0]]}, "table of integers"),
        ({"staleness": [0, 0]}, "table of integers"),
        ({"staleness": [[1]]}, "in 0..t"),
        ({"staleness": [[0], [-1]]}, "at least one gradient"),
        ({"weights": [[math.nan]]}, "weights must be finite"),
        ({"weights": [[1.0, 1.0]]}, "shape of the staleness table"),
    ],
)
def test_bad_input_is_refused(change, message):
    good = {"curvatures": [1.0], "sigma2": 1.0, "start": 1.0, "step_size": 0.1, "staleness": [[0]]}
    with pytest.raises(ValueError, match=message):
        quadratic.moments(**(good | change))


def test_bad_columns_are_refused():
    with pytest.raises(ValueError, match="columns of equal length"):
        recorded.staleness_table([0, 1], [0])
    with pytest.raises(ValueError, match="at least one gradient"):
        recorded.staleness_table([0, 2], [0, 0])
    with pytest.raises(ValueError, match="whole numbers"):
        recorded.staleness_table([0.0, 1.0], [0, 0])
    with pytest.raises(ValueError, match="sum 1"):
        quadratic.stationary([1.0], 1.0, 0.1, 1, [0.5, 0.4])
