"""Random laws of every kind, n from 1 to 200, equal and unequal workers: order statistics against sorted samples."""

import math

import numpy as np
import pytest
from agreement import FALSE_FAIL_RATE, noise
from cases import first_fast
from scipy import stats

from abs_theory import order_stats, round_time
from abs_theory.delays import (
    Coxian,
    Deterministic,
    Empirical,
    Erlang,
    Exponential,
    Gamma,
    HyperExponential,
    LogNormal,
    Lomax,
    Mixture,
    Pareto,
    ShiftedExponential,
    Sum,
    Uniform,
    Weibull,
    as_delay,
)
from abs_theory.results import Estimate

FAMILIES = [
    lambda u: Exponential(10 ** u(-2, 2)),
    lambda u: ShiftedExponential(u(0, 3), u(0.1, 3)),
    lambda u: Gamma(10 ** u(-0.7, 2), 10 ** u(-1, 1)),
    lambda u: Erlang(int(u(1, 60)), u(0.01, 2)),
    lambda u: Weibull(u(0.1, 3), 10 ** u(-0.6, 1)),
    lambda u: Lomax(u(0.1, 3), 10 ** u(-0.3, 1)),
    lambda u: Pareto(u(0.1, 3), 10 ** u(-0.3, 1)),
    lambda u: LogNormal(u(0.1, 3), 10 ** u(-1, 0.4)),
    lambda u: Uniform(u(0, 2), u(2.1, 9)),
    lambda u: Deterministic(u(0.1, 3)),
    lambda u: HyperExponential(probs=((p := 10 ** u(-3, -0.3)), 1 - p), means=(10 ** u(0, 3), u(0.1, 1))),
    lambda u: Coxian(rates=(u(0.5, 3), u(0.1, 3)), go_on=(u(0.05, 1),)),
    lambda u: Empirical([u(0.1, 3) for _ in range(int(u(1, 40)))]),
    lambda u: as_delay(stats.fisk(u(0.8, 6), scale=u(0.1, 3))),
    lambda u: as_delay(stats.burr12(u(0.7, 3), u(1, 3))),
    lambda u: as_delay(stats.betaprime(u(0.5, 4), u(0.8, 6))),
    lambda u: as_delay(stats.invgauss(u(0.1, 4))),
    lambda u: as_delay(stats.nbinom(int(u(1, 9)), u(0.2, 0.9), loc=1)),
    lambda u: as_delay(stats.rv_discrete(values=([u(0.1, 1), u(1.1, 2), u(2.1, 9)], [0.5, 0.3, 0.2]))),
]


def random_law(rng, simple=False):
    def u(low, high):
        return float(rng.uniform(low, high))

    kind = rng.random()
    if simple or kind < 0.75:
        return FAMILIES[rng.integers(len(FAMILIES))](u)
    parts = [random_law(rng, simple=True) for _ in range(2)]
    if kind < 0.92:
        p = 10 ** u(-2, -0.3)
        return Mixture((p, 1 - p), parts)
    gammas = [Gamma(u(0.5, 3), 1.0), ShiftedExponential(u(0, 2), 1.0)]
    return Sum(gammas if any(law.has_atoms for law in parts) else [parts[0], Deterministic(u(0.1, 1))])


def random_cell(seed):
    """The law of each worker, or one for all, k and n."""
    rng = np.random.default_rng([20, seed])
    n = round(10 ** rng.uniform(0, math.log10(200)))
    k = int(rng.integers(1, n + 1))
    if seed % 2:
        return random_law(rng), k, n
    laws = [random_law(rng) for _ in range(int(rng.integers(2, 5)))]
    return [laws[i] for i in rng.integers(len(laws), size=n)], k, n


def check(seed, samples):
    laws, k, n = random_cell(seed)
    each = laws if isinstance(laws, list) else [laws] * n
    rng = np.random.default_rng([21, seed])
    draws = np.stack([law.sample(rng, samples) for law in each], axis=1)
    times = np.partition(draws, k - 1, axis=1)[:, k - 1]
    for q in (0.1, 0.5, 0.9):
        # strictly between two times, so that rounding of an atom does not matter
        t = float(order_stats.ppf(laws, k, n, q)) * (1 + 1e-9)
        p = float(order_stats.cdf(laws, k, n, t))
        assert p >= q * (1 - 1e-6)
        assert p + float(order_stats.sf(laws, k, n, t)) == pytest.approx(1, abs=1e-9)
        tail = min(stats.binom.cdf(np.sum(times <= t), samples, p), stats.binom.sf(np.sum(times <= t) - 1, samples, p))
        assert tail > FALSE_FAIL_RATE / 10, (laws, k, n, q)
    mean, var = order_stats.mean(laws, k, n), order_stats.var(laws, k, n)
    assert mean == round_time.k_sync(laws, k, n)
    assert mean == pytest.approx(order_stats.means(laws, n)[k - 1], rel=1e-7)
    assert math.isfinite(mean) or math.isinf(var)
    if 0 < var < 4 * mean**2 and 0.5 < times.var() / var < 2:  # else samples are too few to know their own error
        found = Estimate.of(times)
        far = 1e-10 * mean + noise(found)
        assert abs(found.mean - mean) <= far, (laws, k, n, found.mean, mean)


@pytest.mark.parametrize("block", first_fast(range(10), 2))
def test_random_laws(block):
    for seed in range(10 * block, 10 * block + 10):
        check(seed, 1000)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(100))
def test_thousands_of_random_laws(block):
    for seed in range(1000 + 20 * block, 1020 + 20 * block):
        check(seed, 20_000)


MOSTLY_FIXED = Mixture((0.04, 0.96), (ShiftedExponential(2.75, 0.53), Deterministic(1.37)))
COUNTS_OR_HEAVY = Mixture((0.14, 0.86), (as_delay(stats.nbinom(5, 0.21, loc=1)), as_delay(stats.burr12(2.25, 1.73))))
TWO_TAILS = Mixture((0.04, 0.96), (as_delay(stats.betaprime(3.74, 1.21)), Pareto(0.9, 1.18)))


def test_the_first_possible_time_may_be_nearly_certain():
    assert order_stats.mean(MOSTLY_FIXED, 2, 40) == pytest.approx(1.37, rel=1e-12)
    assert order_stats.var(MOSTLY_FIXED, 2, 40) == pytest.approx(0, abs=1e-12)


def test_jumps_are_lost_in_the_rounding_of_a_heavy_tail():
    """Of 3000 times of the discrete component only some dozen can be seen in the sum."""
    assert len(COUNTS_OR_HEAVY.breaks) < 1000
    steps = np.arange(1.0, 400.0)
    exact = 0.14 * stats.nbinom(5, 0.21, loc=1).mean() + 0.86 * stats.burr12(2.25, 1.73).mean()
    assert order_stats.mean(COUNTS_OR_HEAVY, 1, 1) == pytest.approx(exact, rel=1e-9)
    assert np.all(np.isin(steps[:50], COUNTS_OR_HEAVY.breaks))


def test_the_heavier_of_two_power_laws_wins_beyond_the_latest_time():
    assert order_stats.var(TWO_TAILS, 3, 3) == math.inf
    assert math.isfinite(order_stats.var(TWO_TAILS, 1, 3))


def test_a_probability_is_at_most_1():
    fleet = [Mixture((0.03, 0.97), (Gamma(1.0, 0.13), Coxian((2.9, 2.85), (0.7,)))), Deterministic(0.364)] * 9
    t = np.linspace(0.3640001, 40.0, 200)
    assert np.all(order_stats.cdf(fleet, 5, 18, t) <= 1)
    assert np.all(order_stats.sf(fleet, 5, 18, t) <= 1)
