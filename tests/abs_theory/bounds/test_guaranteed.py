"""The error bounds: never exceeded on the noisy quadratic, never vacuous, refused where they do not hold."""

import math

import numpy as np
import pytest
from agreement import assert_resolves, noise
from hypothesis import given, settings
from hypothesis import strategies as st
from laws import SHIFTED, STALLS
from scipy.optimize import minimize_scalar
from training import train

from abs_theory import bounds, steady_state
from abs_theory.bounds import Constants, fixed_times, quadratic, recorded
from abs_theory.delays import Exponential
from abs_theory.monte_carlo import Estimate
from simulations import protocols
from simulations.problems import NoisyQuadratic

N = 8
PROBLEM = NoisyQuadratic((1.0, 0.6, 0.3), sigma2=0.5)
KNOWN = PROBLEM.constants
LAWS = [Exponential(1.0), SHIFTED, STALLS]


def exact_average(step, table, constants=KNOWN, problem=PROBLEM):
    """Mean of E|grad F(w_t)|^2 over the updates t = 0..J-1 of each run, given its timing."""
    found = quadratic.moments(problem.curvatures, constants.sigma2, problem.start, step, table)
    return found.gradient_norm2[..., :-1].mean(axis=-1)


# ---------------------------------------------------------------- the bounds hold, and say something


@pytest.mark.parametrize("law", LAWS, ids=repr)
@pytest.mark.parametrize("k, bound", [(3, 0), (1, 2), (3, 4), (3, math.inf)])
def test_abs_bound_against_training(k, bound, law):
    """Average squared gradient norm of simulated training; without threshold the staleness quantile stands in."""
    updates, replicates = 80, 16
    mean, most = (N - k) / k, bound
    if bound == math.inf:
        pmf = steady_state.abs_sgd(law, k, N, None, "monte-carlo", np.random.default_rng(0)).staleness_pmf
        most = float(bounds.staleness_quantile(pmf, k, updates, delta=0.05))
    step = float(bounds.abs_sgd_max_step_size(KNOWN, k, N, most)) / 2
    found, staleness = [], []
    for replicate in range(replicates):
        _, norm2, table = train(
            protocols.abs_sgd(k, bound), PROBLEM, [law] * N, step_size=step, num_updates=updates, seed=1,
            replicate=replicate,
        )  # fmt: skip
        if table.max() <= most:
            found.append(norm2[:-1].mean())
            staleness.append(table.mean())
            assert table.mean() <= mean
    assert len(found) >= 0.75 * replicates
    stated = float(bounds.abs_sgd(KNOWN, step, k, N, updates, np.mean(staleness), most))
    estimate = Estimate.of(found)
    assert_resolves(estimate, stated)
    assert estimate.mean + noise(estimate) < stated < 5 * estimate.mean


@pytest.mark.parametrize("share", [0.1, 1.0])  # of the largest step covered
@pytest.mark.parametrize("law", LAWS, ids=repr)
@pytest.mark.parametrize("k, bound", [(4, 0), (1, 1), (1, 5), (2, 3), (5, 2), (4, math.inf)])
def test_abs_bound_against_the_exact_error(k, bound, law, share):
    """Run by run, free of Monte Carlo error: bound / truth between 1 and 5; a recorded timing allows a larger step."""
    updates = 200
    table = recorded.sample(law, k, N, bound, np.random.default_rng(3), updates, 8)
    most = np.minimum(bound, table.max())
    step = share * bounds.abs_sgd_max_step_size(KNOWN, k, N, most)
    stated = bounds.abs_sgd(KNOWN, step, k, N, updates, table.mean(axis=(1, 2)), most)
    ratio = stated / exact_average(step, table)
    assert np.all(ratio >= 1)
    assert np.all(ratio < 5)
    np.testing.assert_allclose(recorded.gradient_norm(KNOWN, step, table), stated, rtol=1e-12)
    larger = recorded.max_step_size(KNOWN, table).min()
    assert larger >= bounds.abs_sgd_max_step_size(KNOWN, k, N, most) * (1 - 1e-12)
    assert np.all(recorded.gradient_norm(KNOWN, larger, table) >= exact_average(larger, table))


@st.composite
def deliveries(draw):
    """The staleness table of an adversary: any k of n workers deliver next; whoever is too stale starts afresh."""
    n = draw(st.integers(1, 7))
    k, bound = draw(st.integers(1, n)), draw(st.integers(0, 6))
    order = st.permutations(range(n))
    version, table = np.zeros(n, dtype=int), []
    for t in range(draw(st.integers(1, 25))):
        senders = np.array(draw(order)[:k])
        table.append(t - version[senders])
        version[senders] = t + 1
        version[version < t + 1 - bound] = t + 1
    return n, k, bound, np.array(table)


@settings(max_examples=40, deadline=None)
@given(deliveries())
def test_the_step_condition_and_the_bound_hold_for_any_order_of_deliveries(case):
    n, k, bound, table = case
    largest = float(bounds.abs_sgd_max_step_size(KNOWN, k, n, bound))
    assert recorded.max_step_size(KNOWN, table) >= largest * (1 - 1e-12)
    stated = float(recorded.gradient_norm(KNOWN, largest, table))
    assert exact_average(largest, table) <= stated * (1 + 1e-12)
    assert stated <= bounds.abs_sgd(KNOWN, largest, k, n, len(table), table.mean(), bound) * (1 + 1e-12)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_recorded_bound_holds_when_k_and_the_step_move(seed):
    rng = np.random.default_rng(seed)
    updates, width = rng.integers(1, 40), rng.integers(1, 5)
    table = rng.integers(-1, np.minimum(np.arange(updates), rng.integers(0, 6))[:, None] + 1, (updates, width))
    table[:, 0] = np.maximum(table[:, 0], 0)
    steps = rng.uniform(0.2, 1.0, updates) * recorded.max_step_size(KNOWN, table)
    steps *= min(1.0, 1 / stretch(steps, table))
    found = quadratic.moments(PROBLEM.curvatures, PROBLEM.sigma2, 1.0, steps, table).gradient_norm2[:-1]
    assert np.average(found, weights=steps) <= recorded.gradient_norm(KNOWN, steps, table)


def stretch(steps, table):
    """The largest left side of the step condition, by its definition."""
    k, sums = (table >= 0).sum(axis=1), np.zeros(len(table))
    for t, row in enumerate(table):
        for tau in row[row > 0]:
            sums[t - tau : t] += steps[t] * tau / k[t]
    return np.max(KNOWN.L * steps + 2 * KNOWN.L**2 * steps * sums)


def test_the_recorded_condition_is_its_definition():
    rng = np.random.default_rng(0)
    table = np.minimum(rng.integers(-1, 5, (30, 3)), np.arange(30)[:, None])
    table[:, 0] = np.maximum(table[:, 0], 0)
    largest = float(recorded.max_step_size(KNOWN, table))
    assert stretch(np.full(30, largest), table) == pytest.approx(1, rel=1e-12)
    steps = rng.uniform(0.2, 1.0, 30)
    steps *= 1 / stretch(steps, table)  # at the edge, no: the condition is quadratic in the steps
    while stretch(steps, table) > 1:
        steps *= 0.99
    recorded.gradient_norm(KNOWN, steps, table)
    while stretch(steps, table) <= 1:
        steps *= 1.01
    with pytest.raises(ValueError, match="at most 1 at every update"):
        recorded.gradient_norm(KNOWN, steps, table)


@pytest.mark.parametrize("k, turns", [(1, 4), (2, 3), (3, 2)])
def test_workers_in_turn_use_the_whole_step_condition(k, turns):
    """k of n = k turns workers in turn: every staleness is turns - 1, and so is (n-k)/k, both in the step condition."""
    updates = 50
    table = np.minimum(np.full((updates, k), turns - 1), np.arange(updates)[:, None])
    largest = bounds.abs_sgd_max_step_size(KNOWN, k, k * turns, turns - 1)
    assert recorded.max_step_size(KNOWN, table) == pytest.approx(float(largest), rel=1e-12)


def test_a_recorded_bound_by_hand():
    # k = 1, 2, 1; the second update applies a gradient of staleness 1, the third one of staleness 2; L = 2, s2 = 3
    constants, steps = Constants(2.0, 3.0, 0.7), np.array([0.1, 0.05, 0.08])
    noise_sums = np.array([0.01, 0.0025 / 2, 0.0064])
    stale = 0.05 / 2 * noise_sums[0] + 0.08 * (noise_sums[0] + noise_sums[1])
    expected = (2 * 0.7 + 2 * 3 * noise_sums.sum() + 2 * 4 * 3 * stale) / steps.sum()
    found = recorded.gradient_norm(constants, steps, [[0, -1], [0, 1], [2, -1]])
    assert float(found) == pytest.approx(expected, rel=1e-12)


# ---------------------------------------------------------------- K-sync and K-async (Dutta et al. 2018)


@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("share", [0.2, 1.0])
def test_k_sync_bounds(k, share):
    updates = np.arange(1, 201)
    step = share * float(bounds.k_sync_max_step_size(KNOWN, k))
    exact = quadratic.moments(PROBLEM.curvatures, PROBLEM.sigma2, 1.0, step, np.zeros((200, k), int))
    ratio = bounds.k_sync_error(KNOWN, step, k, updates) / exact.loss[1:]
    assert np.all(ratio >= 1)
    assert ratio[-1] < 8  # c is a third of L: near the floor the bound has L / c too much, and a factor 2
    average = np.cumsum(exact.gradient_norm2[:-1]) / updates
    ratio = bounds.k_sync_gradient_norm(KNOWN, step, k, updates) / average
    assert np.all(ratio >= 1)
    assert np.all(ratio[10:] < 5)


@pytest.mark.parametrize("law", LAWS[1:], ids=repr)
@pytest.mark.parametrize("k", [1, 4])
def test_k_async_bounds_where_gamma_can_be_measured(k, law):
    """Without noise, gamma is the largest ratio |grad F(w_t) - grad F(w_(t-tau))|^2 / |grad F(w_t)|^2 of the run."""
    updates, constants = 25, Constants(KNOWN.L, 0.0, KNOWN.gap, KNOWN.c)
    table = recorded.sample(law, k, N, math.inf, np.random.default_rng(0), updates, 1)[0]
    step = 0.02
    exact = quadratic.moments(PROBLEM.curvatures, 0.0, 1.0, step, table)
    slope = exact.mean * exact.curvatures
    errors = [
        np.mean([((slope[t] - slope[t - tau]) ** 2).sum() for tau in row]) / (slope[t] ** 2).sum()
        for t, row in enumerate(table)
    ]
    gamma = max(errors)
    assert 0 < gamma < 0.5
    count = np.arange(1, updates + 1)
    ratio = bounds.k_async_error(constants, step, k, count, gamma=gamma) / exact.loss[1:]
    assert np.all((ratio >= 1) & (ratio < 2.5))
    average = np.cumsum(exact.gradient_norm2[:-1]) / count
    assert np.all(bounds.k_async_gradient_norm(constants, step, k, count, gamma=gamma) >= average)


def test_the_error_contracts_by_one_inequality_per_update():
    # E[F(w_(J+1)) - F*] <= (1 - eta c) E[F(w_J) - F*] + L eta^2 s2 / (2 k), from the gap on
    step, k = 0.4, 3
    errors = [KNOWN.gap]
    for _ in range(30):
        errors.append((1 - step * KNOWN.c) * errors[-1] + KNOWN.L * step**2 * KNOWN.sigma2 / (2 * k))
    np.testing.assert_allclose(bounds.k_sync_error(KNOWN, step, k, np.arange(1, 31)), errors[1:], rtol=1e-12)


def test_p0_raises_gamma_prime_by_half():
    assert bounds.k_async_gradient_norm(KNOWN, 0.1, 2, 50, gamma=0.5, p0=0.5) == pytest.approx(
        bounds.k_sync_gradient_norm(KNOWN, 0.1, 2, 50) / 0.75
    )
    faster = Constants(KNOWN.L, KNOWN.sigma2, KNOWN.gap, 0.75 * KNOWN.c)
    assert bounds.k_async_error(KNOWN, 0.1, 2, 50, gamma=0.5, p0=0.5) == pytest.approx(
        bounds.k_sync_error(faster, 0.1, 2, 50)
    )


def test_growing_noise_shrinks_the_step():
    """The 1 stands alone: at K = 4, M_G = 2 the limit of K-async is 1 / (2 L (2/4 + 1)), not 1 / (2 L (2/4 + 1/4))."""
    assert bounds.k_async_max_step_size(KNOWN, 4, M_G=2.0) == pytest.approx(1 / (2 * KNOWN.L * 1.5))
    assert bounds.k_sync_max_step_size(KNOWN, 4, M_G=2.0) == pytest.approx(1 / (KNOWN.L * 1.5))


@pytest.mark.parametrize("local_steps", [1, 4])
def test_local_sgd_bound(local_steps):
    """On a quadratic the average of n models does exactly what SGD with n fresh gradients does."""
    n, rounds = 4, 60
    step = float(bounds.local_sgd_max_step_size(KNOWN, local_steps))
    assert step + step**2 * local_steps * (local_steps - 1) == pytest.approx(1)  # L = 1
    table = np.zeros((rounds * local_steps, n), int)
    for share in (0.1, 1.0):
        ratio = bounds.local_sgd(KNOWN, share * step, n, rounds, local_steps) / exact_average(share * step, table)
        assert 1 <= ratio < 12  # the models drift apart by noise alone: quadratics do not feel the last term
    if local_steps == 1:
        assert bounds.local_sgd(KNOWN, step, n, rounds, 1) == bounds.k_sync_gradient_norm(KNOWN, step, n, rounds)
    with pytest.raises(ValueError, match="must be at most"):
        bounds.local_sgd(KNOWN, step * (1 + 1e-9), n, rounds, local_steps)


# ---------------------------------------------------------------- special cases


def test_abs_without_staleness_is_k_sync():
    k, step, updates = np.arange(1, N + 1), np.array([[0.1], [1.0]]), 70
    fresh = bounds.k_sync_gradient_norm(KNOWN, step, k, updates)
    np.testing.assert_allclose(bounds.abs_sgd(KNOWN, step, k, N, updates, 0, 0), fresh, rtol=1e-14)
    np.testing.assert_allclose(bounds.k_async_gradient_norm(KNOWN, 0.1, k, updates, gamma=0.0), fresh[0], rtol=1e-14)
    np.testing.assert_allclose(
        bounds.k_async_error(KNOWN, 0.1, k, updates, gamma=0.0), bounds.k_sync_error(KNOWN, 0.1, k, updates), rtol=1e-14
    )
    assert np.all(bounds.abs_sgd_max_step_size(KNOWN, k, N, 0) == bounds.k_sync_max_step_size(KNOWN, k))


def test_when_everybody_is_waited_for_no_threshold_is_needed():
    assert np.all(bounds.abs_sgd_max_step_size(KNOWN, N, N, [0, 5, math.inf]) == 1 / KNOWN.L)
    assert bounds.abs_sgd_max_step_size(KNOWN, N, N, None) == 1 / KNOWN.L


def test_the_step_condition_knows_how_many_gradients_are_in_flight():
    # theta <= (n-k)/k: Lian's theta^2; beyond, theta (n-k)/k
    for k, theta, load in ((1, 3, 9.0), (2, 3, 9.0), (4, 3, 3.0), (6, 3, 1.0), (1, 70, 490.0)):
        step = float(bounds.abs_sgd_max_step_size(KNOWN, k, N, theta))
        assert KNOWN.L * step + 2 * KNOWN.L**2 * step**2 * load == pytest.approx(1, rel=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(-3, 3), st.floats(-3, 1))
def test_ringmaster_is_abs_with_one_gradient_per_update(L, sigma2, gap, eps):
    """Its Theorem 1 follows from the ABS bound: same step, no more updates; the best needs about half."""
    constants, target = Constants(10**L, 10**sigma2, 10**gap), 10**eps
    R = float(fixed_times.ringmaster_delay_threshold(constants, target))
    step = fixed_times.ringmaster_step_size(constants, target, R)
    n = 10**9  # any number of workers
    ours = bounds.updates_to(constants, target, step, 1, n, R - 1, R - 1)
    best = bounds.best_step_size(constants, 1, n, R - 1, R - 1, target=target)
    stated = fixed_times.ringmaster_updates(constants, target, R)
    assert ours <= stated * (1 + 1e-12)
    assert bounds.updates_to(constants, target, best, 1, n, R - 1, R - 1) <= min(ours, 0.55 * stated) * (1 + 1e-12)


# ---------------------------------------------------------------- step sizes and updates


@pytest.mark.parametrize("sigma2", [0.0, 0.5, 30.0])
@pytest.mark.parametrize("tau", [0.0, 0.8])
def test_the_best_step_is_best(tau, sigma2):
    constants, k, n, theta = Constants(2.0, sigma2, 3.0), np.array([1, 4, 7]), 16, 2
    limit = bounds.abs_sgd_max_step_size(constants, k, n, theta)

    def check(steps, objective):
        for i in range(3):
            found = minimize_scalar(
                lambda x, i=i: float(np.log(objective(math.exp(x), k[i]))),
                bounds=(math.log(limit[i]) - 15, math.log(limit[i])),
                method="bounded",
                options={"xatol": 1e-9},
            )
            at_best = objective(float(steps[i]), k[i])
            assert at_best <= min(math.exp(found.fun), objective(float(limit[i]), k[i])) * (1 + 1e-9)

    for target in (1e-3, 0.1, 10.0):
        step = bounds.best_step_size(constants, k, n, tau, theta, target=target)
        check(step, lambda x, k, e=target: min(bounds.updates_to(constants, e, x, k, n, tau, theta), 1e300))
        updates = bounds.updates_to(constants, target, step, k, n, tau, theta)
        np.testing.assert_allclose(bounds.abs_sgd(constants, step, k, n, updates, tau, theta), target, rtol=1e-12)
    for updates in (1, 50, 1e7):
        step = bounds.best_step_size(constants, k, n, tau, theta, num_updates=updates)
        check(step, lambda x, k, j=updates: bounds.abs_sgd(constants, x, k, n, j, tau, theta))


def test_a_floor_above_the_target_is_never_passed():
    assert bounds.updates_to(KNOWN, 0.01, 0.5, 2, N, 0.0, 0) == math.inf  # L eta s2 / k = .125
    assert np.all(bounds.updates_to(Constants(1, 0, 0), [0.1, 1.0], 1.0, 2, N, 0.0, 0) == 0)


def test_without_a_threshold_no_step_is_covered():
    step = bounds.best_step_size(KNOWN, [1, 3], N, 1.0, math.inf, target=0.1)
    assert np.all(step == 0)
    assert np.all(bounds.updates_to(KNOWN, 0.1, step, [1, 3], N, 1.0, None) == math.inf)
    assert np.all(bounds.abs_sgd(KNOWN, step, [1, 3], N, 50, 1.0, None) == math.inf)
    with pytest.raises(ValueError, match="staleness_quantile"):
        bounds.abs_sgd(KNOWN, 0.01, 1, N, 50, 1.0, None)


def test_arrays_of_everything_broadcast():
    k, theta, eps = np.arange(1, 9)[:, None, None], np.array([0, 1, 3, math.inf])[:, None], np.array([0.1, 0.01])
    tau = np.minimum(np.minimum(0.5, (N - k) / k), theta)
    step = bounds.best_step_size(KNOWN, k, N, tau, theta, target=eps)
    updates = bounds.updates_to(KNOWN, eps, step, k, N, tau, theta)
    assert step.shape == updates.shape == (8, 4, 2)
    assert np.all(np.isfinite(updates) == (step > 0))
    for i, j, m in np.ndindex(8, 4, 2):
        alone = bounds.best_step_size(KNOWN, i + 1, N, tau[i, j, 0], theta[j, 0], target=eps[m])
        assert step[i, j, m] == alone


LIMITS = {
    "k_sync": (
        lambda: bounds.k_sync_max_step_size(KNOWN, 3, M_G=1.5),
        [
            lambda eta: bounds.k_sync_error(KNOWN, eta, 3, 10, M_G=1.5),
            lambda eta: bounds.k_sync_gradient_norm(KNOWN, eta, 3, 10, M_G=1.5),
        ],
    ),
    "k_async": (
        lambda: bounds.k_async_max_step_size(KNOWN, 3, M_G=1.5),
        [
            lambda eta: bounds.k_async_error(KNOWN, eta, 3, 10, gamma=0.3, M_G=1.5),
            lambda eta: bounds.k_async_gradient_norm(KNOWN, eta, 3, 10, gamma=0.3, M_G=1.5),
        ],
    ),
    "abs_sgd": (
        lambda: bounds.abs_sgd_max_step_size(KNOWN, 3, N, 2),
        [
            lambda eta: bounds.abs_sgd(KNOWN, eta, 3, N, 10, 1.0, 2),
            lambda eta: bounds.updates_to(KNOWN, 1.0, eta, 3, N, 1.0, 2),
        ],
    ),
    "recorded": (
        lambda: recorded.max_step_size(KNOWN, [[0], [1], [1]]),
        [lambda eta: recorded.gradient_norm(KNOWN, eta, [[0], [1], [1]])],
    ),
}


@pytest.mark.parametrize("name", LIMITS)
def test_a_step_is_accepted_to_its_limit_and_refused_beyond(name):
    limit, functions = LIMITS[name]
    step = float(limit())
    for function in functions:
        assert function(step) > 0
        with pytest.raises(ValueError, match="must be at most"):
            function(step * (1 + 1e-9))
        for bad in (-step, math.nan, math.inf):
            with pytest.raises(ValueError, match="step_size must be finite"):
                function(bad)


# ---------------------------------------------------------------- a limit on the staleness that holds often enough


def test_staleness_quantile_of_a_geometric_law():
    p, k, updates = 0.25, 5, 1000  # exponential delays, n = 20: P(tau > T) = (1-p)^(T+1)
    pmf = p * (1 - p) ** np.arange(80)
    pmf[-1] = (1 - p) ** 79
    quantile = bounds.staleness_quantile(pmf, k, [1, updates], delta=0.01)
    assert quantile.tolist() == [0, math.ceil(math.log(0.01 / (k * updates)) / math.log(1 - p)) - 1]
    # a pmf of one entry tells nothing, but no run of J updates has a staleness of J
    assert bounds.staleness_quantile([1.0], 5, [10, 1000]).tolist() == [9, 999]
    assert bounds.staleness_quantile(pmf, 5, 1000, max_staleness=7) == 7
    assert bounds.staleness_quantile([1.0, 0.0], 8, 100) == 0
    assert bounds.staleness_quantile(np.array([pmf, pmf]), [5, 10], [10, 10]).shape == (2,)


@pytest.mark.parametrize("law", LAWS[1:], ids=repr)
def test_staleness_stays_below_its_quantile_as_often_as_stated(law):
    k, updates, delta, runs = 2, 300, 0.2, 500
    pmf = steady_state.abs_sgd(law, k, N, None, "monte-carlo", np.random.default_rng(0)).staleness_pmf
    limit = float(bounds.staleness_quantile(pmf, k, updates, delta))
    table = recorded.sample(law, k, N, None, np.random.default_rng(1), updates, runs)
    exceeded = Estimate.of(table.max(axis=(1, 2)) > limit)
    assert exceeded.mean <= delta + noise(exceeded)
    assert limit < table.max()


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    "values, message",
    [
        ((0.0, 1.0, 1.0), "L must be"),
        ((math.inf, 1.0, 1.0), "L must be"),
        ((1.0, -1.0, 1.0), "sigma2 must be"),
        ((1.0, 1.0, math.nan), "gap must be"),
        ((1.0, 1.0, 1.0, -0.1), "c must be"),
        ((1.0, 1.0, 1.0, 1.1), "cannot exceed smoothness"),
    ],
)
def test_impossible_constants_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        Constants(*values)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: bounds.abs_sgd(KNOWN, 0.1, 9, 8, 10, 0.0, 0), "k must be a whole number in 1..n"),
        (lambda: bounds.abs_sgd(KNOWN, 0.1, 1.5, 8, 10, 0.0, 0), "k must be whole"),
        (lambda: bounds.abs_sgd(KNOWN, 0.1, 1, 8, 0, 0.0, 0), "num_updates must be"),
        (lambda: bounds.abs_sgd(KNOWN, 0.1, 1, 8, 10, -1.0, 0), "mean_staleness must be"),
        (lambda: bounds.abs_sgd(KNOWN, 0.1, 1, 8, 10, 0.0, -1), "max_staleness must be"),
        (lambda: bounds.abs_sgd(KNOWN, 0.1, 1, 8, 10, 0.0, math.nan), "max_staleness must be"),
        (lambda: bounds.abs_sgd(KNOWN, 0.1, 1, 8.5, 10, 0.0, 0), "n must be an integer"),
        (lambda: bounds.abs_sgd(KNOWN, "fast", 1, 8, 10, 0.0, 0), "step_size must be finite"),
        (lambda: bounds.updates_to(KNOWN, 0.0, 0.1, 1, 8, 0.0, 0), "target must be"),
        (lambda: bounds.best_step_size(KNOWN, 1, 8, 0.0, 0), "give one of"),
        (lambda: bounds.best_step_size(KNOWN, 1, 8, 0.0, 0, target=1.0, num_updates=1), "give one of"),
        (lambda: bounds.best_step_size(Constants(1, 1, 0), 1, 8, 0.0, 0, num_updates=1), "gap must be > 0"),
        (lambda: bounds.k_sync_error(Constants(1, 1, 1), 0.1, 1, 10), "c must be > 0"),
        (lambda: bounds.k_async_error(KNOWN, 0.1, 1, 10, gamma=1.1), "gamma and p0"),
        (lambda: bounds.k_async_error(KNOWN, 0.1, 1, 10, gamma=1.0), "gamma and p0"),
        (lambda: bounds.k_async_gradient_norm(KNOWN, 0.1, 1, 10, gamma=0.1, p0=math.nan), "gamma and p0"),
        (lambda: bounds.k_sync_max_step_size(KNOWN, 1, M_G=-1.0), "M_G must be"),
        (lambda: bounds.staleness_quantile([0.5, 0.4], 1, 10), "sum 1"),
        (lambda: bounds.staleness_quantile([1.0], 1, 10, delta=0.0), "delta must be"),
        (lambda: recorded.sample(SHIFTED, 9, 8, 1, np.random.default_rng(0), 5, 2), "k must be a whole number in 1..n"),
        (lambda: recorded.sample(SHIFTED, 2, 8, -1, np.random.default_rng(0), 5, 2), "max_staleness must be"),
        (lambda: recorded.sample(SHIFTED, 2, 8, 1, 0, 5, 2), "rng must be"),
        (lambda: recorded.gradient_norm(KNOWN, [0.1, 0.1], [[0]]), "one for each of 1 updates"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
