"""The threshold with the shortest rounds: what the hazard says, and what simulated servers do."""

import math
from itertools import pairwise

import numpy as np
import pytest
from agreement import assert_resolves, noise
from laws import LOGNORMAL
from scipy import stats
from scipy.optimize import brentq

from abs_theory import choose, monte_carlo
from abs_theory.delays import (
    Deterministic,
    Exponential,
    Gamma,
    HyperExponential,
    LogNormal,
    Lomax,
    Mixture,
    Pareto,
    ShiftedExponential,
    Uniform,
    Weibull,
)
from abs_theory.steady_state import limit_round_time

STALLS = Mixture(weights=(0.9, 0.1), components=(LogNormal(median=1.0, sigma=0.3), Gamma(shape=100.0, scale=0.1)))
# the best thresholds at k/n = .1, .25, .5
INTERIOR = {LOGNORMAL: (10, 3, 1), Pareto(minimum=0.5, index=2.0): (18, 6, 2)}


@pytest.mark.parametrize("delay", INTERIOR, ids=repr)
def test_the_best_threshold_keeps_whoever_beats_the_average(delay):
    """h_theta >= k/n > h_(theta+1) at the round time of theta."""
    for k, expected in zip((10, 25, 50), INTERIOR[delay], strict=True):
        theta = choose.time_optimal_threshold(delay, k, 100)
        assert theta == expected
        r = float(limit_round_time(delay, k / 100, theta))
        survive = delay.sf(np.array([theta, theta + 1, theta + 2]) * r)
        here, beyond = 1 - survive[1:] / survive[:-1]
        assert here >= k / 100 > beyond


def round_times(delay, k, n, thetas, rng, num_rounds=100, replicates=96):
    """Simulated round times, their errors over independent replicates."""
    found, per_error = {}, stats.t.isf(0.025, replicates - 1)
    for theta in thetas:
        state = monte_carlo.abs_sgd(delay, k, n, theta, rng, num_rounds=num_rounds, replicates=replicates)
        found[theta] = monte_carlo.Estimate(state.round_time, state.error.round_time / per_error, replicates)
    return found


@pytest.mark.parametrize("delay, k", [(LOGNORMAL, 25), (Pareto(minimum=0.5, index=2.0), 25), (LOGNORMAL, 50)], ids=repr)
def test_simulated_rounds_are_shortest_at_an_interior_threshold(delay, k):
    """n = 100: clearly shorter than at both ends, and not longer than at any other threshold, up to 1 %."""
    best = int(choose.time_optimal_threshold(delay, k, 100))
    others = {0, best - 1, best + 1, 2 * best + 1, 4 * best + 2, None} - {best}
    found = round_times(delay, k, 100, [best, *others], np.random.default_rng(1))
    for theta in others:
        difference = found[best].mean - found[theta].mean
        chance = noise(found[best]) + noise(found[theta])
        assert_resolves(found[theta], 0.05 * found[best].mean)
        assert difference <= 0.01 * found[best].mean + chance
        if theta in (0, None):
            assert difference < -chance


def test_a_hazard_that_rises_again_has_several_candidates_and_the_best_is_found():
    """One task in ten stalls for about 10 s: to wait for the end of the stalls costs half as much again."""
    n, k = 100, 25
    assert STALLS.ageing == "neither"
    best = choose.time_optimal_threshold(STALLS, k, n)
    assert best == 4
    r = float(limit_round_time(STALLS, k / n, math.inf))
    survive = STALLS.sf(np.arange(30) * r)
    beats = 1 - survive[1:] / survive[:-1] > k / n
    falls, rises = (np.flatnonzero(np.diff(beats.astype(int)) == step) for step in (-1, 1))
    assert falls.size > 0
    assert rises.max() > falls.min()  # worth keeping, not worth it, and worth it again
    found = round_times(STALLS, k, n, [4, None], np.random.default_rng(2))
    assert abs(found[4].mean - 0.363) < 0.02
    assert abs(found[None].mean - 0.555) < 0.02
    assert found[4].mean + noise(found[4]) < 0.7 * (found[None].mean - noise(found[None]))


@pytest.mark.parametrize(
    "delay, expected",
    [
        (ShiftedExponential(shift=0.5, scale=0.5), math.inf),
        (Gamma(shape=4.0, scale=0.25), math.inf),
        (Uniform(low=2.0, high=3.0), math.inf),
        (Weibull(scale=1.0, shape=40.0), math.inf),
        (Exponential(1.0), math.inf),
        (Lomax(scale=2.0, index=3.0), 0.0),
        (Lomax(scale=1.0, index=0.1), 0.0),
        (HyperExponential(probs=(0.9, 0.1), means=(1 / 3, 7.0)), 0.0),
        (Gamma(shape=1e-3, scale=1.0), 0.0),  # its median is 1e-301
        (Weibull(scale=1e12, shape=0.02), 0.0),
        (LogNormal(median=1.0, sigma=100.0), 0.0),
        (LogNormal(median=1e-12, sigma=0.01), math.inf),
        (Pareto(minimum=1.0, index=50.0), math.inf),
    ],
    ids=repr,
)
def test_the_hazard_decides_also_for_extreme_laws(delay, expected):
    for k, n in ((1, 20), (10, 20), (99, 100), (3, 10**6)):
        assert choose.time_optimal_threshold(delay, k, n) == expected
    assert choose.time_optimal_threshold(delay, 7, 7) == math.inf


def test_long_searches_end_at_a_minimum():
    """Few gradients of many workers: rounds are short, thresholds long."""
    delay = Pareto(minimum=1.0, index=2.0)
    for k, n in ((1, 1000), (1, 10**5)):
        best = choose.time_optimal_threshold(delay, k, n)
        assert n / 10 < best < 100 * n
        around = limit_round_time(delay, k / n, np.round(best * np.array([0.7, 0.9, 1.0, 1.1, 1.4, 10.0, math.inf])))
        assert around.argmin() == 2
    assert 0 < choose.time_optimal_threshold(Pareto(minimum=1.0, index=0.9), 10, 100) < math.inf  # E[X] = inf


def test_scale_does_not_matter():
    for k in (2, 5, 12):
        found = {choose.time_optimal_threshold(LogNormal(median=m, sigma=1.0), k, 20) for m in (1e-12, 1.0, 1e12)}
        assert len(found) == 1


def test_unequal_workers():
    """The root of sum_i F_i((theta+1) r) / sum_j S_i(j r) = k, by hand, for every threshold."""
    fast, slow = LogNormal(median=1.0, sigma=1.0), Pareto(minimum=2.0, index=2.5)
    delays, n = [fast] * 6 + [slow] * 4, 10

    def balance(r, theta, k):
        return sum(d.cdf((theta + 1) * r) / d.sf(np.arange(theta + 1) * r).sum() for d in delays) - k

    for k in (1, 2, 4):
        times = [brentq(balance, 1e-6, 1e3, args=(theta, k), rtol=1e-12) for theta in range(60)]
        best = choose.time_optimal_threshold(delays, k, n)
        assert best == int(np.argmin(times))
        assert 0 < best < 40
    # one law given ten times is one law; only the hazards count where they agree
    for k in (2, 5):
        assert choose.time_optimal_threshold([fast] * n, k, n) == choose.time_optimal_threshold(fast, k, n)
    assert choose.time_optimal_threshold([Exponential(1.0)] * 5 + [Exponential(3.0)] * 5, 3, n) == math.inf
    assert choose.time_optimal_threshold([Exponential(1.0)] * 5 + [Uniform(low=0.0, high=1.0)] * 5, 3, n) == math.inf
    assert choose.time_optimal_threshold([Exponential(1.0)] * 5 + [Lomax(scale=1.0, index=3.0)] * 5, 3, n) == 0


def test_more_gradients_per_round_ask_for_a_stricter_threshold():
    best = [choose.time_optimal_threshold(LOGNORMAL, k, 100) for k in (5, 10, 20, 40, 80)]
    assert all(less >= more for less, more in pairwise(best))


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="without atoms"):
        choose.time_optimal_threshold(Deterministic(1.0), 1, 4)
    with pytest.raises(ValueError, match=r"k must be a whole number in 1\.\.n"):
        choose.time_optimal_threshold(LOGNORMAL, 5, 4)
    with pytest.raises(ValueError, match="sequence of n=4 laws"):
        choose.time_optimal_threshold([LOGNORMAL] * 3, 2, 4)
    with pytest.raises(ValueError, match="delay must be"):
        choose.time_optimal_threshold("lognormal", 2, 4)
