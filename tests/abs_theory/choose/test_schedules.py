"""Schedules over time: against published equations, brute force, and runs that follow them."""

import math

import numpy as np
import pytest
from scipy.optimize import brentq

from abs_theory import order_stats
from abs_theory.bounds import Constants, k_sync_error
from abs_theory.choose import schedules
from abs_theory.delays import Exponential, Gamma, HyperExponential, LogNormal, Pareto, ShiftedExponential, Uniform
from simulations import policies, protocols
from simulations.experiment import simulate
from simulations.problems import NoisyQuadratic
from simulations.server import Progress

CONVEX = Constants(L=2.0, sigma2=10.0, gap=50.0, c=0.5)
LOGNORMAL = LogNormal(median=1.0, sigma=1.0)


def progress(n=20, updates=3, time=10.0, k=1, loss=1.0, initial_loss=1.0, max_staleness=math.inf):
    return Progress(n, updates, time, time, k, max_staleness, 0.0, loss, initial_loss)


# ---------------------------------------------------------------- AdaSync


def test_greedy_k_is_the_square_root_rule_of_the_batch_variants():
    """K = K_0 sqrt(F_0 / F_t) where rounds are proportional to k (AdaSync, 2021)."""
    for k0 in (1, 3, 10):
        ratios = np.geomspace(1e-3, 1, 40)
        root = k0 / np.sqrt(ratios)
        chosen = schedules.greedy_k(0.7 * np.arange(1, 201), k0, ratios)
        # the best whole number is one of the two around the best real one
        assert np.all(np.abs(chosen - np.minimum(root, 200)) < 1)


def test_greedy_k_solves_the_published_equation_of_exponential_k_sync():
    """K^2 / (n - K) = K_0^2 / (n - K_0) F_0 / F_t, exact for the logarithmic T(K) it is derived from."""
    n, k0 = 1000, 7
    times = -np.log1p(-np.arange(1, n + 1) / (n + 1e-9))
    for ratio in (0.9, 0.3, 0.01, 1e-4):
        r = k0**2 / (n - k0) / ratio
        root = (-r + math.sqrt(r * r + 4 * r * n)) / 2
        # T' at k0 is a central difference: off by 1 / (3 (n - k0)^2)
        assert abs(schedules.greedy_k(times, k0, ratio) - root) < 1 + 1e-5 * root


@pytest.mark.parametrize("delay", [LOGNORMAL, Gamma(4.0, 0.25), Uniform(low=0.0, high=2.0)], ids=repr)
def test_greedy_k_minimises_over_all_k_and_starts_at_k0(delay):
    n = 15
    times = order_stats.means(delay, n)
    for k0 in (2, 5, 14):
        slope = (times[k0] - times[k0 - 2]) / 2
        for ratio in (1.0, 0.5, 0.1, 0.001, 0.0):
            costs = [ratio * times[k - 1] + k0**2 * slope / k for k in range(1, n + 1)]
            assert schedules.greedy_k(times, k0, ratio) == int(np.argmin(costs)) + 1
        if delay != LOGNORMAL:  # a minimum at k0 needs T convex enough there
            assert abs(schedules.greedy_k(times, k0, 1.0) - k0) <= 1
        assert np.all(np.diff(schedules.greedy_k(times, k0, np.geomspace(1, 1e-4, 30))) >= 0)


@pytest.mark.parametrize("variant", ["k_batch_async", "k_batch_sync"])
def test_adasync_knows_the_batch_variants(variant):
    """Exponential delays: both have rounds of k / (n mu), hence the square-root rule."""
    rule = policies.adasync_rule(Exponential(2.0), 30, 4, variant)
    for ratio in (1.0, 2.25, 9.0, 30.0):
        assert rule(progress(n=30, loss=1 / ratio)) == round(4 * math.sqrt(ratio))


# ---------------------------------------------------------------- switching times


@pytest.mark.parametrize("delay", [Exponential(1.0), LOGNORMAL, Uniform(low=0.5, high=1.5)], ids=repr)
def test_switching_times_are_where_both_bounds_fall_equally_fast(delay):
    """Kas Hanna et al. (2020), Theorem 2, term by term; and its crossing, found numerically from the bounds."""
    n, eta = 6, 0.1
    L, s2, c = CONVEX.L, CONVEX.sigma2, CONVEX.c
    times = order_stats.means(delay, n)
    starts = schedules.switching_times(CONVEX, eta, times)
    now, error = 0.0, CONVEX.gap
    for k in range(1, n):
        mu, following = times[k - 1], times[k]
        printed = mu / -math.log(1 - eta * c) * (
            math.log(following - mu) - math.log(eta * L * s2 * mu)
            + math.log(2 * c * k * (k + 1) * error - eta * L * (k + 1) * s2)
        )  # fmt: skip
        here = Constants(L=L, sigma2=s2, gap=error, c=c)

        def bound(t, workers, here=here):
            return float(k_sync_error(here, eta, workers, t / times[workers - 1]))

        def difference(t, k=k, bound=bound):  # of the speeds at which two bounds fall from the error at t
            level = bound(t, k)
            floors = [eta * L * s2 / (2 * c * workers) for workers in (k, k + 1)]
            return (level - floors[0]) / times[k - 1] - (level - floors[1]) / times[k]

        assert math.isclose(printed, brentq(difference, 1e-9, 1e4, xtol=1e-12), rel_tol=1e-9)
        now, error = now + printed, bound(printed, k)
        assert math.isclose(starts[k], now, rel_tol=1e-9)
    assert np.all(np.diff(starts) > 0)


@pytest.mark.parametrize("seed", range(4))
def test_switching_follows_the_steepest_bound_whatever_the_round_times(seed):
    """Step by step with whichever bound falls fastest: the same switches, also past values of k never best."""
    rng = np.random.default_rng(seed)
    times, eta, dt = 0.2 + rng.random(6).cumsum(), 0.1, 0.02
    if seed == 3:
        times = rng.permutation(times)  # a larger k may even be faster
    floors = eta * CONVEX.L * CONVEX.sigma2 / (2 * CONVEX.c * np.arange(1, 7))
    stepped, k, error = np.full(6, math.inf), -1, CONVEX.gap
    for step in range(15_000):
        fastest = max(k, int(np.argmax((error - floors) / times)))
        stepped[k + 1 : fastest + 1] = step * dt
        k = fastest
        error = floors[k] + (1 - eta * CONVEX.c) ** (dt / times[k]) * (error - floors[k])
    starts = schedules.switching_times(CONVEX, eta, times)
    assert np.array_equal(np.isinf(starts), np.isinf(stepped))
    assert np.allclose(starts, stepped, atol=3 * dt)


def test_switching_at_once_never_and_around_what_takes_for_ever():
    times = np.array([1.0, 1.5, 3.0])
    low = Constants(L=2.0, sigma2=10.0, gap=0.1, c=0.5)  # already below every floor
    assert schedules.switching_times(low, 0.1, times).tolist() == [0.0, 0.0, 0.0]
    quiet = Constants(L=2.0, sigma2=0.0, gap=5.0, c=0.5)  # one gradient is as good as three
    assert schedules.switching_times(quiet, 0.1, times).tolist() == [0.0, math.inf, math.inf]
    assert schedules.switching_times(quiet, 0.1, [1.0, 1.0, 3.0]).tolist() == [0.0, 0.0, math.inf]
    starts = schedules.switching_times(CONVEX, 0.1, [1.0, math.inf, 3.0, math.inf])  # k = 2 and 4 never end
    assert starts[0] == 0 < starts[1] == starts[2] < starts[3] == math.inf
    assert schedules.switching_times(CONVEX, 0.1, [math.inf, 2.0, 3.0])[:2].tolist() == [0.0, 0.0]
    one_step = Constants(L=1.0, sigma2=1.0, gap=5.0, c=1.0)  # eta c = 1: each bound falls to its floor at once
    assert schedules.switching_times(one_step, 1.0, times).tolist() == [0.0, 0.0, 0.0]
    assert schedules.switching_times(CONVEX, 0.1, [2.0]).tolist() == [0.0]


# ---------------------------------------------------------------- balance


def test_the_balanced_threshold_shares_a_budget_between_batching_and_staleness():
    for sigma2, eps in ((10.0, 0.5), (3.0, 0.7), (0.1, 5.0)):
        ringmaster = max(1, math.ceil(sigma2 / eps))
        assert schedules.balanced_threshold(sigma2, eps, 1) == ringmaster - 1
        for k in range(1, 30):
            theta = schedules.balanced_threshold(sigma2, eps, k)
            assert k * (theta + 1) >= sigma2 / eps
            assert theta == 0 or k * theta < sigma2 / eps
    assert schedules.balanced_threshold(0.0, 1.0, 1) == schedules.balanced_threshold(0.0, 0.0, 1) == 0
    assert schedules.balanced_threshold(1.0, 0.0, 1) == math.inf


def test_the_balanced_policy_reads_the_squared_gradient_off_the_loss():
    constants = Constants(L=2.0, sigma2=12.0, gap=3.0)  # F* = 1.0
    rule = policies.balanced_threshold(constants, target=0.5)
    # |grad F|^2 <= 2 L (F - F*)
    assert rule(progress(k=1, loss=4.0, initial_loss=4.0)) == 12.0 / 12.0 - 1
    assert rule(progress(k=1, loss=1.5, initial_loss=4.0)) == 12.0 / 2.0 - 1
    assert rule(progress(k=3, loss=1.5, initial_loss=4.0)) == 12.0 / 2.0 / 3 - 1
    for loss in (1.01, 1.0, 0.2):  # near or below F*: the target
        assert rule(progress(k=2, loss=loss, initial_loss=4.0)) == 12.0 / 0.5 / 2 - 1
    assert rule(progress(loss=math.nan, initial_loss=4.0, max_staleness=7.0)) == 7.0
    # an upper bound indeed, on a quadratic: |grad|^2 = sum a^2 w^2 <= 2 max(a) sum a w^2 / 2
    problem = NoisyQuadratic((0.5, 2.0), sigma2=1.0)
    rng = np.random.default_rng(0)
    for w in rng.standard_normal((20, 2)):
        assert np.sum((np.array([0.5, 2.0]) * w) ** 2) <= 2 * 2.0 * (problem.loss(w) - 0.0) * (1 + 1e-12)


# ---------------------------------------------------------------- runs that follow them


def test_runs_follow_the_schedules():
    delay, n, problem = LogNormal(median=1.0, sigma=0.5), 6, NoisyQuadratic((1.0, 0.5), sigma2=4.0)
    loss = problem.loss(problem.initial)
    constants = Constants(L=1.0, sigma2=4.0, gap=loss, c=0.5)
    switching = policies.switching_times(constants, 0.02, delay, n)
    starts = schedules.switching_times(constants, 0.02, order_stats.means(delay, n))
    protocol = protocols.k_sync(switching)
    rounds = simulate(protocol, problem, delay, n, step_size=0.02, time_budget=1.1 * starts[-1], seed=3)
    decided = np.append(0.0, rounds["time"].to_numpy()[:-1])  # k is decided when the round begins
    assert np.array_equal(rounds["k"], [(starts <= time).sum() for time in decided])
    assert set(rounds["k"]) == set(range(1, n + 1))

    balanced = policies.balanced_threshold(constants, target=0.05)
    protocol = protocols.abs_sgd(policies.loss_ratio(1), balanced)
    rounds = simulate(protocol, problem, delay, n, step_size=0.1, num_updates=200, seed=3)
    assert rounds["max_staleness"].nunique() > 2
    assert (rounds["k"] * (rounds["max_staleness"] + 1) >= 4.0 / (2 * 1.0 * max(loss, 0.05))).all()
    assert (rounds["max_staleness"] <= 4.0 / 0.05 / rounds["k"]).all()
    assert (rounds["largest_staleness"] <= rounds["max_staleness"]).all()


def test_a_run_that_diverges_is_recorded_under_every_rule():
    """The rules meet a loss that is infinite or nan, and leave it to the record to say so."""
    problem = NoisyQuadratic((1.0, 2.0), sigma2=0.1)
    constants = Constants(L=2.0, sigma2=0.1, gap=problem.loss(problem.initial), c=1.0)
    for k, threshold in (
        (policies.loss_ratio(1), policies.balanced_threshold(constants, 0.1)),
        (policies.adasync_rule(Exponential(1.0), 4, 1), policies.relative_to_mean()),
    ):
        rounds = simulate(
            protocols.abs_sgd(k, threshold), problem, Exponential(1.0), 4, step_size=50.0, num_updates=400, seed=0
        )
        assert rounds["loss"].iloc[-1] == math.inf


def test_rules_take_unequal_workers():
    delays = [Exponential(1.0)] * 3 + [HyperExponential(probs=(0.5, 0.5), means=(1.0, 9.0))] * 2
    times = order_stats.means(delays, 5)
    for loss in (1.0, 0.3, 0.02):
        expected = policies.greedy_bound(times, 2)(progress(n=5, loss=loss))
        assert policies.adasync_rule(delays, 5, 2, "k_sync")(progress(n=5, loss=loss)) == expected
        assert policies.abs_rule(delays, 5, 2, 0)(progress(n=5, loss=loss)) == expected
    assert policies.time_optimal(delays, 5)(progress(n=5, k=2)) == 0
    starts = schedules.switching_times(CONVEX, 0.1, times)
    rule = policies.switching_times(CONVEX, 0.1, delays, 5)
    for time in (0.0, 3.0, 30.0, 300.0):
        assert rule(progress(n=5, time=time)) == (starts <= time).sum()


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: schedules.greedy_k([1.0, 2.0], 3, 1.0), r"k must be a whole number in 1\.\.n"),
        (lambda: schedules.greedy_k([1.0, math.inf], 1, 1.0), "finite mean round times"),
        (lambda: schedules.greedy_k([1.0, 2.0], 1, -0.1), "loss_ratio must be >= 0"),
        (lambda: schedules.greedy_k([1.0, 2.0], 1, math.nan), "loss_ratio must be >= 0"),
        (lambda: schedules.switching_times(Constants(L=1.0, sigma2=1.0, gap=1.0), 0.1, [1.0, 2.0]), "c must be > 0"),
        (lambda: schedules.switching_times(CONVEX, 0.6, [1.0, 2.0]), "step_size must be at most 0.5"),
        (lambda: schedules.switching_times(CONVEX, 0.0, [1.0, 2.0]), "step_size must be"),
        (lambda: schedules.switching_times(CONVEX, 0.1, [1.0, 0.0]), "round_times must be"),
        (lambda: schedules.switching_times(CONVEX, 0.1, []), "round_times must be"),
        (lambda: schedules.switching_times(CONVEX, 0.1, [math.inf]), "some of them finite"),
        (lambda: schedules.balanced_threshold(-1.0, 1.0, 1), "sigma2 must be"),
        (lambda: schedules.balanced_threshold(1.0, math.nan, 1), "squared_gradient must be"),
        (lambda: schedules.balanced_threshold(1.0, 1.0, 0), "k must be an integer >= 1"),
        (lambda: policies.balanced_threshold(CONVEX, 0.0), "target must be"),
        (lambda: policies.switching_times(CONVEX, 0.1, Pareto(minimum=1.0, index=2.0), 0), "n must be"),
        (lambda: policies.switching_times(CONVEX, 0.1, LOGNORMAL, 4)(progress(n=5)), "made for n=4 workers"),
        (lambda: policies.adasync_rule(ShiftedExponential(1.0, 1.0), 4, 1, "ssp"), "protocol must be one of k_sync"),
        (lambda: protocols.adasync(LOGNORMAL, 4, 1, variant="ssp"), "variant must be one of"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
