"""Order statistics of unlike workers: closed forms, mpmath, brute force and samples."""

import itertools
import math

import mpmath
import numpy as np
import pytest
from agreement import assert_agrees
from cases import first_fast
from scipy import stats

from abs_theory import order_stats
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
    ShiftedExponential,
    Uniform,
    Weibull,
)
from abs_theory.results import Estimate
from abs_theory.workers import as_workers, together

RATES = (1.0, 2.0, 0.5, 7.0, 1e-2)
EXPONENTIALS = [Exponential(1 / rate) for rate in RATES]
MEASURED = Empirical([0.5, 0.7, 0.7, 1.5, 4.0])
FLEETS = {
    "exponential": EXPONENTIALS,
    "unlike": [Gamma(2.0, 1.0), LogNormal(1.0, 1.0), Weibull(3.0, 0.5), Lomax(1.0, 2.5), ShiftedExponential(0.5, 1.0)],
    "atoms": [Deterministic(1.5), Exponential(1.0), Deterministic(1.5), MEASURED, MEASURED],
    "kinks": [Uniform(1.0, 2.0), Mixture([0.7, 0.3], [Deterministic(1.2), LogNormal(1.0, 1.0)]), Pareto(1.0, 3.0)],
    "far apart": [Exponential(1e-3), Exponential(1e3), Weibull(1.0, 0.3), Gamma(1e6, 1e-6)],
}


@pytest.fixture(params=FLEETS.values(), ids=FLEETS)
def fleet(request):
    return request.param


def test_a_law_repeated_is_equal_workers():
    law, n = LogNormal(1.0, 1.0), 6
    same, t, q = [LogNormal(1.0, 1.0)] * n, np.array([0.3, 1.0, 5.0]), np.array([0.0, 0.2, 0.9])
    assert as_workers(same, n).equal
    np.testing.assert_array_equal(order_stats.means(same, n), order_stats.means(law, n))
    for f in (order_stats.mean, order_stats.var, order_stats.first_k_probabilities):
        np.testing.assert_array_equal(f(same, 4, n), f(law, 4, n))
    for f, at in ((order_stats.cdf, t), (order_stats.sf, t), (order_stats.ppf, q), (order_stats.isf, q)):
        np.testing.assert_array_equal(f(same, 4, n, at), f(law, 4, n, at))
    assert order_stats.cov(same, 2, 4, n) == order_stats.cov(law, 2, 4, n)


class AnotherWeibull(Weibull):
    """The same law by another name, so that workers count as unlike."""


@pytest.mark.parametrize("k, n", [(1, 3), (2, 3), (20, 50), (50, 50)])
def test_unlike_workers_of_the_same_law_agree_with_equal_ones(k, n):
    law, other = Weibull(2.0, 0.6), AnotherWeibull(2.0, 0.6)
    fleet, t = [law] * (n - 1) + [other], law.ppf([1e-9, 0.1, 0.8, 1 - 1e-9])
    assert not as_workers(fleet, n).equal
    assert order_stats.mean(fleet, k, n) == pytest.approx(order_stats.mean(law, k, n), rel=1e-11)
    assert order_stats.var(fleet, k, n) == pytest.approx(order_stats.var(law, k, n), rel=1e-11)
    np.testing.assert_allclose(order_stats.means(fleet, n), order_stats.means(law, n), rtol=1e-11)
    np.testing.assert_allclose(order_stats.cdf(fleet, k, n, t), order_stats.cdf(law, k, n, t), rtol=1e-11)
    np.testing.assert_allclose(order_stats.sf(fleet, k, n, t), order_stats.sf(law, k, n, t), rtol=1e-11)
    np.testing.assert_allclose(order_stats.first_k_probabilities(fleet, k, n), k / n, rtol=1e-11)


def maximum_of_exponentials(rates, power):
    """E[max^power] by inclusion and exclusion, in 40 digits."""
    with mpmath.workdps(40):
        sets = [s for size in range(1, len(rates) + 1) for s in itertools.combinations(map(mpmath.mpf, rates), size)]
        return mpmath.fsum((-1) ** (len(s) + 1) * mpmath.factorial(power) / mpmath.fsum(s) ** power for s in sets)


def test_extremes_of_unequal_exponentials():
    n, total = len(RATES), sum(RATES)
    mean, square = (maximum_of_exponentials(RATES, power) for power in (1, 2))
    assert order_stats.mean(EXPONENTIALS, n, n) == pytest.approx(float(mean), rel=1e-12)
    assert order_stats.var(EXPONENTIALS, n, n) == pytest.approx(float(square - mean**2), rel=1e-11)
    assert order_stats.mean(EXPONENTIALS, 1, n) == pytest.approx(1 / total, rel=1e-12)
    assert order_stats.var(EXPONENTIALS, 1, n) == pytest.approx(1 / total**2, rel=1e-11)


def test_first_k_of_unequal_exponentials_by_the_order_they_finish_in():
    """Memoryless workers finish in the order a, b, ... with probability r_a / R * r_b / (R - r_a) ..."""
    n = len(RATES)
    for k in range(1, n + 1):
        expected = np.zeros(n)
        for order in itertools.permutations(range(n), k):
            left, chance = sum(RATES), 1.0
            for worker in order:
                chance *= RATES[worker] / left
                left -= RATES[worker]
            expected[list(order)] += chance
        np.testing.assert_allclose(order_stats.first_k_probabilities(EXPONENTIALS, k, n), expected, rtol=1e-11)


def referee(laws, k):
    """Mean and variance of the k-th of (cdf, kinks) in mpmath, by enumerating who is done."""
    n = len(laws)

    def late(t):
        p = [cdf(t) for cdf, _ in laws]
        return mpmath.fsum(
            mpmath.fprod(p[i] if i in done else 1 - p[i] for i in range(n))
            for size in range(k)
            for done in map(set, itertools.combinations(range(n), size))
        )

    cuts = sorted({mpmath.mpf(0), mpmath.inf, *(mpmath.mpf(c) for _, kinks in laws for c in kinks)})
    with mpmath.workdps(25):
        mean = mpmath.quad(late, cuts)
        return mean, mpmath.quad(lambda t: 2 * t * late(t), cuts) - mean**2


LOGNORMAL = (lambda t: mpmath.ncdf(mpmath.log(t)) if t else mpmath.mpf(0)), (0.1, 1, 5, 30, 300)
WEIBULL = (lambda t: -mpmath.expm1(-mpmath.sqrt(t / 3))), (0.1, 3, 30, 300, 3000)
SHIFTED = (lambda t: -mpmath.expm1(-max(t - mpmath.mpf("0.5"), 0))), (0.5, 2, 8)
FIXED = (lambda t: mpmath.mpf(t >= 1.5)), (1.5,)
UNIFORM = (lambda t: min(max(t - 1, mpmath.mpf(0)), mpmath.mpf(1))), (1, 2)


@pytest.mark.parametrize("k", first_fast([2, 1, 3], 1))
@pytest.mark.parametrize(
    "laws, exact",
    [
        ([LogNormal(1.0, 1.0), Weibull(3.0, 0.5), ShiftedExponential(0.5, 1.0)], [LOGNORMAL, WEIBULL, SHIFTED]),
        ([Deterministic(1.5), Uniform(1.0, 2.0), Weibull(3.0, 0.5)], [FIXED, UNIFORM, WEIBULL]),
    ],
    ids=["smooth", "atoms"],
)
def test_moments_against_mpmath(laws, exact, k):
    mean, variance = referee(exact, k)
    assert order_stats.mean(laws, k, 3) == pytest.approx(float(mean), rel=1e-9)
    assert order_stats.var(laws, k, 3) == pytest.approx(float(variance), rel=1e-9)


def test_measured_times_exactly_by_enumeration():
    laws = [MEASURED, Empirical([0.7, 2.0]), Deterministic(1.5), Empirical([0.7, 2.0])]
    times = [list(np.atleast_1d(getattr(law, "samples", 1.5))) for law in laws]
    cases = np.array(list(itertools.product(*times)))
    assert not as_workers(laws, 4).equal
    for k in range(1, 5):
        each = np.sort(cases, axis=1)[:, k - 1]
        first = np.argsort(cases, axis=1, kind="stable")[:, :k]
        assert order_stats.mean(laws, k, 4) == pytest.approx(each.mean(), rel=1e-14)
        assert order_stats.var(laws, k, 4) == pytest.approx(each.var(), rel=1e-13)
        expected = np.bincount(first.ravel(), minlength=4) / len(cases)
        np.testing.assert_allclose(order_stats.first_k_probabilities(laws, k, 4), expected, rtol=1e-13)


def test_ties_go_to_the_lower_index():
    assert order_stats.first_k_probabilities(Deterministic(1.0), 2, 4).tolist() == [1, 1, 0, 0]
    both = order_stats.first_k_probabilities(Empirical([1.0, 2.0]), 1, 2)
    np.testing.assert_allclose(both, [3 / 4, 1 / 4], rtol=1e-14)


def test_means_sum_to_all_delays_and_agree_with_mean(fleet):
    n = len(fleet)
    means = order_stats.means(fleet, n)
    assert means.sum() == pytest.approx(sum(law.mean for law in fleet), rel=1e-11)
    assert np.all(np.diff(means) >= 0)
    np.testing.assert_allclose([order_stats.mean(fleet, k, n) for k in range(1, n + 1)], means, rtol=1e-10)


def test_samples_agree(fleet):
    n, rng = len(fleet), np.random.default_rng(5)
    times = np.stack([law.sample(rng, 40_000) for law in fleet], axis=1)
    for k in range(1, n + 1):
        each = np.sort(times, axis=1)[:, k - 1]
        assert_agrees(Estimate.of(each), order_stats.mean(fleet, k, n), resolution=0.3)
        t = np.quantile(each, [0.1, 0.5, 0.9])
        for at, expected in zip(t, order_stats.cdf(fleet, k, n, t), strict=True):
            assert stats.binomtest(int((each <= at).sum()), each.size, float(expected)).pvalue > 1e-6
        first = np.argsort(times, axis=1, kind="stable")[:, :k]
        p = order_stats.first_k_probabilities(fleet, k, n)
        assert p.sum() == pytest.approx(k, rel=1e-11)
        for hits, expected in zip(np.bincount(first.ravel(), minlength=n), np.minimum(p, 1.0), strict=True):
            assert stats.binomtest(int(hits), each.size, float(expected)).pvalue > 1e-6


def test_quantiles_are_the_first_time_with_that_probability(fleet):
    n, q = len(fleet), np.array([1e-200, 1e-9, 0.3, 0.5, 0.999])
    for k in (1, n // 2, n):
        t = order_stats.ppf(fleet, k, n, q)
        late = order_stats.isf(fleet, k, n, q)
        assert np.all(np.diff(t) >= 0)
        assert np.all(np.diff(late) <= 0)
        assert np.all(order_stats.cdf(fleet, k, n, t) >= q * (1 - 1e-12))
        assert np.all(order_stats.cdf(fleet, k, n, np.nextafter(t, 0)) < q * (1 + 1e-12))
        assert np.all(order_stats.sf(fleet, k, n, late) <= q * (1 + 1e-12))


def test_ends_of_the_support():
    fleet = [Uniform(1.0, 2.0), Deterministic(3.0), ShiftedExponential(0.5, 1.0)]
    ends = [order_stats.ppf(fleet, k, 3, [0, 1]).tolist() for k in (1, 2, 3)]
    assert ends == [[0.5, 2.0], [1.0, 3.0], [3.0, math.inf]]
    assert order_stats.isf(fleet, 3, 3, [0, 1]).tolist() == [math.inf, 3.0]


def any_law(rng, scale):
    laws = [
        Exponential(scale), Gamma(0.05, scale), Gamma(50.0, scale), Weibull(scale, 0.2), Weibull(scale, 5.0),
        Lomax(scale, 1.3), Pareto(scale, 2.2), LogNormal(scale, 2.0), Uniform(scale, 3 * scale), Deterministic(scale),
        Empirical(scale * rng.gamma(2.0, size=20)), HyperExponential([0.9, 0.1], [scale, 100 * scale]),
        ShiftedExponential(scale, scale / 1e4), Mixture([0.5, 0.5], [Deterministic(scale), Uniform(scale, 3 * scale)]),
    ]  # fmt: skip
    return laws[rng.integers(len(laws))]


@pytest.mark.parametrize("seed", range(25))
def test_any_fleet_whatever_its_laws_and_scales(seed):
    """Sums over all workers are known: of the means, and of the probabilities to be among the first k."""
    rng = np.random.default_rng(seed)
    n, decades = int(rng.integers(2, 7)), 12 if seed % 5 == 0 else 2
    fleet = [any_law(rng, 10.0 ** rng.uniform(-decades, decades)) for _ in range(n)]
    means, k = order_stats.means(fleet, n), int(rng.integers(1, n + 1))
    assert means.sum() == pytest.approx(sum(law.mean for law in fleet), rel=1e-10)
    assert np.all(np.diff(means) >= -1e-12 * means[1:])
    assert order_stats.mean(fleet, k, n) == pytest.approx(means[k - 1], rel=1e-10)
    p = order_stats.first_k_probabilities(fleet, k, n)
    assert p.sum() == pytest.approx(k, rel=1e-10)
    assert np.all((p > -1e-15) & (p < 1 + 1e-12))


def test_infinite_means_are_decided_by_the_slowest_workers():
    """P(X_(k) > t) falls like the tails of the n-k+1 slowest: indices .4, .5 and .7 add up to 1.6, .9 and .4."""
    fleet = [Pareto(1.0, 0.5), Lomax(3.0, 0.4), Pareto(2.0, 0.7), Exponential(1.0)]
    np.testing.assert_array_equal(np.isinf(order_stats.means(fleet, 4)), [False, False, True, True])
    assert order_stats.mean(fleet, 3, 4) == order_stats.var(fleet, 2, 4) == math.inf
    assert order_stats.mean(fleet, 2, 4) < math.inf
    assert order_stats.var(fleet, 1, 4) < math.inf  # an exponential among them
    halves = [Lomax(1.0, 0.5), Lomax(2.0, 0.5)]
    assert order_stats.mean(halves, 1, 2) == math.inf  # 1 / t exactly


def test_a_mean_that_is_finite_only_just():
    """min of Pareto(1, a) and Pareto(1, b) is Pareto(1, a + b), whose mean is (a + b) / (a + b - 1)."""
    fleet = [Pareto(1.0, 0.5), Pareto(1.0, 0.51)]
    assert order_stats.mean(fleet, 1, 2) == pytest.approx(101, rel=1e-9)
    assert order_stats.var([Pareto(1.0, 1.0), Pareto(1.0, 1.01)], 1, 2) == pytest.approx(
        Pareto(1.0, 2.01).var, rel=1e-9
    )


def test_two_hundred_workers_in_five_groups():
    laws = [Gamma(2.0, 1.0), LogNormal(1.0, 1.0), HyperExponential([0.9, 0.1], [0.5, 5.0]), Lomax(1.0, 2.5)]
    fleet = [law for law in [*laws, Exponential(1e-2)] for _ in range(40)]
    means = order_stats.means(fleet, 200)
    assert means.sum() == pytest.approx(sum(law.mean for law in fleet), rel=1e-12)
    assert order_stats.mean(fleet, 120, 200) == pytest.approx(means[119], rel=1e-11)


@pytest.mark.slow
def test_a_thousand_different_workers():
    rates = np.linspace(1, 3, 1000)
    fleet = [Exponential(1 / rate) for rate in rates.tolist()]
    means = order_stats.means(fleet, 1000)
    assert means[0] == pytest.approx(1 / rates.sum(), rel=1e-12)
    assert means.sum() == pytest.approx((1 / rates).sum(), rel=1e-12)


def test_frozen_scipy_laws_and_numerical_sums():
    fleet = [stats.gamma(2.0), stats.uniform(1.0, 2.0), LocalSteps(LogNormal(1.0, 1.0), 2)]
    own = [Gamma(2.0, 1.0), Uniform(1.0, 3.0), LocalSteps(LogNormal(1.0, 1.0), 2)]
    np.testing.assert_allclose(order_stats.means(fleet, 3), order_stats.means(own, 3), rtol=1e-11)
    assert order_stats.means(own, 3).sum() == pytest.approx(4 + 2 * math.exp(0.5), rel=1e-9)


def test_together_keeps_groups():
    fleet = together(as_workers(EXPONENTIALS[:2], 2), as_workers(Exponential(1.0), 3))
    assert (fleet.n, fleet.counts, fleet.group.tolist()) == (5, (1, 1, 3), [0, 1, 2, 2, 2])


def test_bad_fleets():
    with pytest.raises(ValueError, match="sequence of n=3 laws, got 2"):
        order_stats.mean(EXPONENTIALS[:2], 1, 3)
    with pytest.raises(ValueError, match="delay must be a Delay"):
        order_stats.means([Exponential(1.0), 2.0], 2)
    with pytest.raises(ValueError, match=r"k must be a whole number in 1\.\.n"):
        order_stats.first_k_probabilities(EXPONENTIALS, 6, 5)
    with pytest.raises(ValueError, match="equal workers"):
        order_stats.cov(EXPONENTIALS, 1, 2, 5)


def test_a_probability_too_small_for_its_digits_does_not_look_like_a_heavy_tail():
    """At 1e100 s the second law has P(X > t) = 1e-324, one bit, while the first is heavy."""
    laws = [Lomax(1.0, 1.5), Mixture((0.5, 0.5), (Uniform(1.0, 2.0), Lomax(1.0, 3.235)))]
    assert order_stats.var(laws, 2, 2) == math.inf
    assert math.isfinite(order_stats.var(laws, 1, 2))
