"""Moments of delays and their order statistics: closed forms, quadrature over time and logits, mpmath, samples."""

import math

import mpmath
import numpy as np
import pytest
from agreement import assert_agrees
from cases import by_turns
from laws import CONTINUOUS, COXIAN, GAP, HYPER, LAWS, MIXTURES, SCIPY, SMOOTH, SUMS, UNIFORM_SUMS, Opaque
from scipy import stats

from abs_theory.delays import (
    Deterministic,
    Empirical,
    Exponential,
    Gamma,
    HyperExponential,
    LocalSteps,
    LogNormal,
    Lomax,
    Mixture,
    Pareto,
    Uniform,
    Weibull,
    as_delay,
)
from abs_theory.delays.numerics import moments
from abs_theory.monte_carlo import Estimate
from abs_theory.order_stats import by_quantile

CELLS = [(1, 1), (1, 7), (4, 7), (7, 7), (1, 300), (270, 300), (300, 300)]


@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_one_draw_is_its_own_order_statistic(law):
    rel = 1e-9 if law in SUMS else 1e-11
    assert law.mean_order_statistic(1, 1) == pytest.approx(law.mean, rel=rel)
    assert law.mean_order_statistics(1) == pytest.approx([law.mean], rel=rel)
    assert law.var_order_statistic(1, 1) == pytest.approx(law.var, rel=10 * rel, abs=1e-300)


@pytest.mark.parametrize("law, n", by_turns(LAWS, [17, 1000]), ids=repr)
def test_all_ranks_at_once(law, n):
    means = law.mean_order_statistics(n)
    assert means.shape == (n,)
    assert means.sum() == pytest.approx(n * law.mean, rel=1e-9)
    assert np.all(np.diff(means) >= 0)
    for k in {1, 2, n // 2 + 1, n - 1, n}:
        assert means[k - 1] == pytest.approx(law.mean_order_statistic(k, n), rel=1e-11)


@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_second_moments_add_up(law):
    """Sum over k of E[X_(k)^2] is n E[X^2]."""
    n = 6
    second = sum(law.var_order_statistic(k, n) + law.mean_order_statistic(k, n) ** 2 for k in range(1, n + 1))
    assert second == pytest.approx(n * (law.var + law.mean**2), rel=1e-9)


BENT = [GAP, HYPER, *MIXTURES, *UNIFORM_SUMS]  # quantiles that are not smooth in the logit, or in one place only


@pytest.mark.parametrize("law", [law for law in CONTINUOUS if law not in [*BENT, COXIAN]], ids=repr)
def test_quadrature_over_time_agrees_with_quadrature_over_logits(law):
    for k, n in CELLS:
        expected = by_quantile.mean_order_statistic(law, k, n)
        assert moments.mean_order_statistic(law, k, n) == pytest.approx(expected, rel=1e-9)
        assert law.mean_order_statistic(k, n) == pytest.approx(expected, rel=1e-9)
        try:
            expected = by_quantile.var_order_statistic(law, k, n)
        except ArithmeticError:  # index 2.5 is too heavy for it
            assert isinstance(law, LocalSteps)
            continue
        assert moments.var_order_statistic(law, k, n) == pytest.approx(expected, rel=1e-8)
        assert law.var_order_statistic(k, n) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("law", SMOOTH, ids=repr)
def test_moments_by_quadrature_agree_with_the_closed_forms(law):
    rel = 1e-9 if law in SUMS else 1e-11
    assert Opaque(law).mean == pytest.approx(law.mean, rel=rel)
    assert Opaque(law).var == pytest.approx(law.var, rel=10 * rel)


@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_integrated_tail(law):
    t = np.concatenate([[-1.0, 0.0], law.ppf([0.01, 0.3, 0.9]), law.isf([1e-3, 1e-9])])
    np.testing.assert_allclose(law.integrated_tail(t[:2]), law.mean - t[:2], rtol=1e-9)
    if not law.has_atoms:
        np.testing.assert_allclose(law.integrated_tail(t), Opaque(law).integrated_tail(t), rtol=1e-8, atol=1e-15)
        if law not in BENT:
            np.testing.assert_allclose(
                law.integrated_tail(t), by_quantile.integrated_tail(law, t), rtol=1e-8, atol=1e-15
            )
    assert law.integrated_tail(math.inf) == 0
    between = np.linspace(t[3], t[4], 20_001)
    drop = law.integrated_tail(t[3]) - law.integrated_tail(t[4])
    rel = 1e-3 if law.has_atoms else 1e-6
    assert drop == pytest.approx(np.trapezoid(law.sf(between), between), rel=rel, abs=1e-15)


@pytest.mark.parametrize("law", [law for law in LAWS if law is not MIXTURES[1]], ids=repr)  # too rare to be seen
def test_simulated_workers_agree(law):
    rng, k, n = np.random.default_rng(11), 4, 7
    times = np.partition(law.sample(rng, (40_000, n)), k - 1)[:, k - 1]
    if law.var_order_statistic(k, n) == 0:
        assert np.all(times == law.mean)
    else:
        assert_agrees(Estimate.of(times), law.mean_order_statistic(k, n), resolution=0.2)
        excess = (times - law.mean_order_statistic(k, n)) ** 2
        assert_agrees(Estimate.of(excess), law.var_order_statistic(k, n), resolution=1.0)


# mpmath: E[X_(1)] and E[X_(n)] are integrals of sf^n and 1 - cdf^n; a middle rank is a binomial sum


def _late(cdf, sf, k, n):
    if k == 1:
        return sf**n
    if k == n:
        return -mpmath.expm1(n * mpmath.log1p(-sf)) if sf < 0.5 else 1 - cdf**n
    return mpmath.fsum(mpmath.binomial(n, j) * cdf**j * sf ** (n - j) for j in range(k))


def exact_moments(cdf, sf, breaks, k, n):
    """Mean and variance by Gauss-Legendre quadrature between ``breaks``, which are to be close enough."""

    def integral(f):
        return mpmath.quad(f, breaks, maxdegree=6)

    mean = breaks[0] + integral(lambda t: _late(cdf(t), sf(t), k, n))
    second = breaks[0] ** 2 + integral(lambda t: 2 * t * _late(cdf(t), sf(t), k, n))
    return float(mean), float(second - mean**2)


def _exponential(mean):
    return lambda t: mpmath.exp(-t / mean) if t > 0 else mpmath.mpf(1)


def _uniform(low, high):
    return lambda t: min(max((high - t) / mpmath.mpf(high - low), mpmath.mpf(0)), mpmath.mpf(1))


def _step(value):
    return lambda t: mpmath.mpf(t < value)


def _lomax(index):
    return lambda t: (1 + t) ** mpmath.mpf(-index)


DECADES = [mpmath.mpf(10) ** i for i in range(-9, 0)]
REFERENCES = {  # law: weights, sfs and breaks
    Mixture((0.75, 0.25), (Exponential(1.0), Exponential(1e6))): (
        [_exponential(1), _exponential(10**6)],
        [0, *DECADES, 1, 4, 10, 25, 60, 200, 10**3, 10**4, 10**5, *(10**6 * j for j in (1, 4, 10, 25, 60, 100))],
    ),
    GAP: ([_uniform(1, 2), _uniform(10, 11)], [0, 1, 1.001, 1.05, 1.5, 2, 10, 10.5, 10.95, 10.999, 11]),
    Mixture((0.5, 0.5), (Exponential(0.5), Deterministic(1.0))): (
        [_exponential(0.5), _step(1)],
        [0, *DECADES, 0.3, 1, 2, 4, 8, 16, 32, 64],
    ),
    Mixture((0.25, 0.75), (Empirical([0.5, 2.0]), Lomax(1.0, 3.5))): (
        [lambda t: (_step(0.5)(t) + _step(2.0)(t)) / 2, _lomax(3.5)],
        [0, *DECADES, 0.5, 1, 2, 4, *(8**j for j in range(1, 18))],
    ),
}


@pytest.mark.parametrize(
    "k, n",
    [
        (1000, 1000),
        *(pytest.param(k, n, marks=pytest.mark.slow) for k, n in ((1, 10), (1, 1), (7, 10), (10, 10), (1, 1000))),
    ],
)
@pytest.mark.parametrize("law", REFERENCES, ids=repr)
def test_moments_of_mixtures_against_mpmath(law, k, n):
    sfs, breaks = REFERENCES[law]

    def sf(t):
        return sum(mpmath.mpf(w) * f(t) for w, f in zip(law.weights, sfs, strict=True))

    with mpmath.workdps(20):
        mean, var = exact_moments(lambda t: 1 - sf(t), sf, breaks, k, n)
    assert law.mean_order_statistic(k, n) == pytest.approx(mean, rel=1e-9)
    assert law.mean_order_statistics(n)[k - 1] == pytest.approx(mean, rel=1e-9)
    assert law.var_order_statistic(k, n) == pytest.approx(var, rel=1e-9)


@pytest.mark.parametrize("law", [Exponential(2.0), Uniform(1.0, 3.0), Lomax(2.0, 2.5), Pareto(1.0, 1.01)], ids=repr)
@pytest.mark.parametrize("k, n", [(1, 10**6), (10, 10**6), (500_000, 10**6), (999_990, 10**6), (10**6, 10**6)])
def test_a_million_workers(law, k, n):
    assert moments.mean_order_statistic(law, k, n) == pytest.approx(law.mean_order_statistic(k, n), rel=1e-9)
    if math.isfinite(var := law.var_order_statistic(k, n)):
        assert moments.var_order_statistic(law, k, n) == pytest.approx(var, rel=1e-9)


@pytest.mark.parametrize("law", [Exponential(2.0), Uniform(1.0, 3.0), Lomax(2.0, 2.5), Pareto(1.0, 1.01)], ids=repr)
def test_ten_thousand_ranks_at_once(law):
    means = moments.mean_order_statistics(law, 10_000)
    np.testing.assert_allclose(means, law.mean_order_statistics(10_000), rtol=1e-11)


def test_means_of_unlike_scales():
    """The number of fast tasks is binomial; they all come before the slow ones."""
    n, k = 40, 15
    law = HyperExponential([0.5, 0.5], [1e-12, 1e12])
    fast = np.arange(n + 1)
    mean = [
        Exponential(1e-12).mean_order_statistic(k, j)
        if k <= j
        else Exponential(1e12).mean_order_statistic(k - j, n - j)
        for j in fast
    ]
    expected = stats.binom.pmf(fast, n, 0.5) @ mean
    assert law.mean_order_statistic(k, n) == pytest.approx(expected, rel=1e-10)
    assert law.mean_order_statistics(n)[k - 1] == pytest.approx(expected, rel=1e-10)
    assert law.mean_order_statistic(1, 1000) == pytest.approx(2e-15, rel=1e-10)


@pytest.mark.parametrize("sigma", [0.05, 1.0, 5.0, 30.0])
def test_log_normal_moments_that_lie_beyond_floating_point(sigma):
    law = LogNormal(median=2.0, sigma=sigma)
    assert law.mean_order_statistic(1, 1) == pytest.approx(law.mean, rel=1e-12)
    for n in (2, 100):
        means = law.mean_order_statistics(n)
        assert means.sum() == pytest.approx(n * law.mean, rel=1e-11)
        for k in {1, n // 2, n}:
            assert means[k - 1] == pytest.approx(law.mean_order_statistic(k, n), rel=1e-11)
    if law.var < math.inf:
        assert law.var_order_statistic(1, 1) == pytest.approx(law.var, rel=1e-11)
    with mpmath.workdps(20):  # E[X_(2)] of 2 is 2 E[X] Phi(sigma / sqrt(2))
        expected = 2 * law.mean * float(mpmath.ncdf(sigma / mpmath.sqrt(2)))
    assert law.mean_order_statistic(2, 2) == pytest.approx(expected, rel=1e-11)


def test_log_normal_moments_beyond_floating_point_are_refused():
    with pytest.raises(ArithmeticError, match="too large for floating point"):
        LogNormal(1.0, 30.0).var_order_statistic(1, 1)
    with pytest.raises(ArithmeticError, match="too large for floating point"):
        LogNormal(1.0, 100.0).mean_order_statistics(10)


def test_a_tail_that_outlives_floating_point_is_a_power_law():
    for index in (1.0001, 1.01, 1.5):
        law = Lomax(scale=1.0, index=index)
        assert Opaque(law).mean == pytest.approx(law.mean, rel=1e-9)
    mixed = Mixture([0.5, 0.5], [Exponential(1.0), Lomax(1.0, 1.01)])
    assert mixed.mean_order_statistic(1, 1) == pytest.approx(0.5 + 50, rel=1e-10)
    with pytest.raises(ArithmeticError, match="too heavy for floating point"):
        Opaque(LogNormal(1.0, 50.0)).mean_order_statistic(5, 5)


def test_infinite_moments_of_mixtures_and_sums():
    law = Mixture([0.5, 0.5], [Exponential(1.0), Pareto(1.0, 0.5)])
    assert law.mean == law.var == law.integrated_tail(1.0) == math.inf
    np.testing.assert_array_equal(np.isinf(law.mean_order_statistics(5)), [False, False, False, True, True])
    assert law.mean_order_statistic(4, 5) == law.var_order_statistic(2, 5) == math.inf
    assert law.var_order_statistic(1, 5) < math.inf
    assert as_delay(stats.halfcauchy()).mean == math.inf
    assert as_delay(stats.halfcauchy()).mean_order_statistic(3, 4) < math.inf
    assert as_delay(stats.halfcauchy()).mean_order_statistic(4, 4) == math.inf


@pytest.mark.parametrize("law", [Gamma(1e-3, 1.0), Gamma(0.05, 1.0), Weibull(1.0, 0.05)], ids=repr)
def test_very_variable_laws(law):
    means = law.mean_order_statistics(50)
    assert means.sum() == pytest.approx(50 * law.mean, rel=1e-11)
    assert law.mean_order_statistic(1, 1) == pytest.approx(law.mean, rel=1e-11)
    assert law.var_order_statistic(1, 1) == pytest.approx(law.var, rel=1e-11)


def test_times_too_small_for_floating_point_are_refused():
    with pytest.raises(ArithmeticError, match="too small for floating point"):
        Gamma(1e-3, 1.0).mean_order_statistic(1, 1000)


def test_the_contract_runs_on_both_kinds_of_laws():
    assert any(law in SCIPY for law in LAWS)
    assert any(law.has_atoms for law in LAWS)
