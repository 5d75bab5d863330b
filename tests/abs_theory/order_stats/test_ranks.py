"""Order statistics: closed forms, quadrature and scipy against each other and against mpmath."""

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from agreement import assert_agrees
from cases import first_fast
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from abs_theory import order_stats
from abs_theory.delays import (
    Deterministic,
    Empirical,
    Erlang,
    Exponential,
    Gamma,
    HyperExponential,
    LocalSteps,
    LogNormal,
    Lomax,
    Pareto,
    ShiftedExponential,
    Uniform,
    Weibull,
)
from abs_theory.order_stats import by_quantile
from abs_theory.results import Estimate

DIGITS = 30


def _exponentials(probs, means):
    terms = [(mpmath.mpf(p), 1 / mpmath.mpf(m)) for p, m in zip(probs, means, strict=True)]
    return (
        lambda t: sum(p * -mpmath.expm1(-r * t) for p, r in terms),
        lambda t: sum(p * mpmath.exp(-r * t) for p, r in terms),
        lambda t: sum(p * r * mpmath.exp(-r * t) for p, r in terms),
    )


def _gamma(shape):
    a = mpmath.mpf(shape)
    return (
        lambda t: mpmath.gammainc(a, 0, t, regularized=True),
        lambda t: mpmath.gammainc(a, t, regularized=True),
        lambda t: t ** (a - 1) * mpmath.exp(-t) / mpmath.gamma(a),
    )


def _weibull(shape):
    c = mpmath.mpf(shape)
    return (
        lambda t: -mpmath.expm1(-(t**c)),
        lambda t: mpmath.exp(-(t**c)),
        lambda t: c * t ** (c - 1) * mpmath.exp(-(t**c)),
    )


def _lomax(index):
    a = mpmath.mpf(index)
    return (
        lambda t: -mpmath.expm1(-a * mpmath.log1p(t)),
        lambda t: (1 + t) ** -a,
        lambda t: a * (1 + t) ** (-a - 1),
    )


def _lognormal(sigma):
    s = mpmath.mpf(sigma)

    def z(t):
        return mpmath.log(t) / s

    return (
        lambda t: mpmath.erfc(-z(t) / mpmath.sqrt(2)) / 2,
        lambda t: mpmath.erfc(z(t) / mpmath.sqrt(2)) / 2,
        lambda t: mpmath.npdf(z(t)) / (s * t),
    )


# law: its cdf, sf and density in mpmath
REFERENCES = {
    Exponential(mean=1.0): _exponentials([1], [1]),
    Gamma(shape=0.5, scale=1.0): _gamma(0.5),
    Erlang(steps=5, scale=1.0): _gamma(5),
    Weibull(scale=1.0, shape=0.5): _weibull(0.5),
    Weibull(scale=1.0, shape=3.0): _weibull(3),
    Lomax(scale=1.0, index=2.5): _lomax(2.5),
    LogNormal(median=1.0, sigma=1.0): _lognormal(1),
    LogNormal(median=1.0, sigma=3.0): _lognormal(3),
    HyperExponential(probs=(0.9, 0.1), means=(0.5, 5.0)): _exponentials([0.9, 0.1], [0.5, 5]),
    HyperExponential(probs=(0.5, 0.5), means=(1e-3, 1e3)): _exponentials([0.5, 0.5], [1e-3, 1e3]),
}
SLOW = (Gamma, Erlang)  # to evaluate in mpmath
SIZES = [1, 2, 10, 100, 10_000]
CELLS = sorted({(k, n) for n in SIZES for k in (1, max(1, n // 2), max(1, 9 * n // 10), n)})
FEW_CELLS = [(5, 10), (10_000, 10_000)]
SOME_CELLS = [*FEW_CELLS, (1, 10_000)]

LAWS = [
    *REFERENCES,
    ShiftedExponential(shift=1.0, scale=2.0),
    Pareto(minimum=1.0, index=2.5),
    Uniform(low=1.0, high=3.0),
    Deterministic(value=2.0),
    LocalSteps(LogNormal(median=1.0, sigma=1.0), steps=3),
]


def exact_moments(law, k, n):
    """Mean and variance of X_(k) by the trapezoid rule in log t, from its density, with ``DIGITS`` digits."""
    cdf, sf, pdf = REFERENCES[law]
    with mpmath.workdps(DIGITS):
        # P(u < low) <= C(n, k) low^k, and likewise above; far above, times have not stopped to matter
        choose = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
        low = math.exp((math.log(1e-25) - choose) / k)
        high = math.exp((math.log(1e-120) - choose - math.log(k / (n - k + 1))) / (n - k + 1))
        first, last = math.log(law.ppf(low)), math.log(law.isf(high))
        total = first_moment = second_moment = mpmath.mpf(0)
        for y in mpmath.linspace(first, last, max(401, int((last - first) / 0.12))):
            t = mpmath.exp(y)
            done, busy = (f := cdf(t), 1 - f) if t < law.ppf(0.5) else (1 - (s := sf(t)), s)
            weight = mpmath.exp((k - 1) * mpmath.log(done) + (n - k) * mpmath.log(busy) - _log_scale(k, n)) * pdf(t) * t
            total += weight
            first_moment += weight * t
            second_moment += weight * t * t
        mean = first_moment / total
        return float(mean), float(second_moment / total - mean**2)


def _log_scale(k, n):
    """Any number of the order of the largest log weight."""
    u = mpmath.mpf(k) / (n + 1)
    return (k - 1) * mpmath.log(u) + (n - k) * mpmath.log(1 - u)


def cells(few):
    return [
        pytest.param(law, k, n, id=f"{law}-{k}-{n}")
        for law in REFERENCES
        for k, n in CELLS
        if ((k, n) in (FEW_CELLS if isinstance(law, SLOW) else SOME_CELLS)) == few
    ]


def check_moments(law, k, n):
    mean, var = exact_moments(law, k, n)
    assert order_stats.mean(law, k, n) == pytest.approx(mean, rel=1e-9)
    if not isinstance(law, HyperExponential):  # its quantile bends too sharply for the plain rule
        assert by_quantile.mean_order_statistic(law, k, n) == pytest.approx(mean, rel=1e-9)
    if order_stats.var(law, k, n) < math.inf:
        assert order_stats.var(law, k, n) == pytest.approx(var, rel=1e-9)


@pytest.mark.parametrize("law, k, n", cells(few=True))
def test_moments_against_mpmath(law, k, n):
    check_moments(law, k, n)


@pytest.mark.slow
@pytest.mark.parametrize("law, k, n", cells(few=False))
def test_more_moments_against_mpmath(law, k, n):
    check_moments(law, k, n)


@pytest.mark.parametrize("n, k", [(1, 1), (5, 2), (50, 50), (500, 250), (900, 890)])
def test_against_scipy_order_statistic(k, n):
    """An outsider, to be trusted below n of about 1000."""
    weibull = stats.make_distribution(stats.weibull_min)(c=1.5)
    reference = stats.order_statistic(weibull, r=k, n=n)
    law = Weibull(scale=1.0, shape=1.5)
    assert order_stats.mean(law, k, n) == pytest.approx(float(reference.mean()), rel=1e-9)
    assert order_stats.var(law, k, n) == pytest.approx(float(reference.variance()), rel=1e-8)
    t = law.ppf([0.01, 0.3, 0.9, 0.999])
    np.testing.assert_allclose(order_stats.cdf(law, k, n, t), reference.cdf(t), rtol=1e-9, atol=1e-300)
    np.testing.assert_allclose(order_stats.ppf(law, k, n, [0.1, 0.9]), reference.icdf([0.1, 0.9]), rtol=1e-9)


@pytest.mark.parametrize(
    "law",
    [ShiftedExponential(1.0, 2.0), Pareto(1.0, 2.5), Lomax(2.0, 2.5), Exponential(3.0), Uniform(1.0, 3.0)],
)
@pytest.mark.parametrize("k, n", [(1, 1), (3, 10), (90, 100), (5000, 10_000)])
def test_closed_forms_agree_with_quadrature(law, k, n):
    assert law.mean_order_statistic(k, n) == pytest.approx(by_quantile.mean_order_statistic(law, k, n), rel=1e-12)
    assert law.var_order_statistic(k, n) == pytest.approx(by_quantile.var_order_statistic(law, k, n), rel=1e-10)


def test_exponential_is_a_difference_of_harmonic_numbers():
    exact = sum(Fraction(1, i) for i in range(31, 101))
    assert order_stats.mean(Exponential(2.0), 70, 100) == pytest.approx(2 * float(exact), rel=1e-15)


@pytest.mark.parametrize("law", LAWS, ids=repr)
@pytest.mark.parametrize("n", [1, 2, 17, 300])
def test_means_sum_to_n_means_increase_and_agree_with_mean(law, n):
    means = order_stats.means(law, n)
    assert means.shape == (n,)
    assert means.sum() == pytest.approx(n * law.mean, rel=1e-9)
    assert np.all(np.diff(means) > 0) or isinstance(law, Deterministic)
    for k in {1, n // 2 + 1, n}:
        assert means[k - 1] == pytest.approx(order_stats.mean(law, k, n), rel=1e-11)


@pytest.mark.slow
@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_every_one_of_a_thousand_means(law):
    each = [order_stats.mean(law, k, 1000) for k in range(1, 1001)]
    np.testing.assert_allclose(order_stats.means(law, 1000), each, rtol=1e-11)


@given(
    n=st.integers(1, 40),
    data=st.data(),
    law=st.sampled_from([Weibull(1.0, 0.6), Gamma(2.5, 1.0), LogNormal(1.0, 1.5), Lomax(1.0, 3.0), Exponential(1.0)]),
)
def test_recurrence_between_n_and_n_minus_1(n, data, law):
    """k E[X_(k+1:n)] + (n - k) E[X_(k:n)] = n E[X_(k:n-1)] (David & Nagaraja 2003, ch. 3)."""
    n += 1
    k = data.draw(st.integers(1, n - 1))
    left = k * order_stats.mean(law, k + 1, n) + (n - k) * order_stats.mean(law, k, n)
    assert left == pytest.approx(n * order_stats.mean(law, k, n - 1), rel=1e-11)


@given(k=st.integers(1, 50), more=st.integers(0, 50), exponent=st.floats(-140, -0.31))
@pytest.mark.parametrize("law", [Exponential(2.0), Weibull(1.0, 0.5), Lomax(1.0, 2.0), LogNormal(1.0, 1.0)])
def test_quantiles_invert_probabilities_in_both_tails(law, k, more, exponent):
    n, q = k + more, 10.0**exponent
    assert order_stats.cdf(law, k, n, order_stats.ppf(law, k, n, q)) == pytest.approx(q, rel=1e-9, abs=0)
    assert order_stats.sf(law, k, n, order_stats.isf(law, k, n, q)) == pytest.approx(q, rel=1e-9, abs=0)


def test_probabilities_are_binomial_sums():
    law, n, t = Exponential(1.0), 12, 0.7
    done = law.cdf(t)
    for k in range(1, n + 1):
        assert order_stats.cdf(law, k, n, t) == pytest.approx(stats.binom.sf(k - 1, n, done), rel=1e-12)
        assert order_stats.sf(law, k, n, t) == pytest.approx(stats.binom.cdf(k - 1, n, done), rel=1e-12)


def test_far_tails_of_the_order_statistic():
    law = Exponential(1.0)
    assert order_stats.sf(law, 3, 3, 600.0) == pytest.approx(3 * math.exp(-600), rel=1e-12)
    assert order_stats.cdf(law, 1, 3, 1e-200) == pytest.approx(3e-200, rel=1e-12)
    np.testing.assert_array_equal(order_stats.ppf(law, 2, 3, [0, 1]), [0, math.inf])
    assert order_stats.ppf(Deterministic(2.0), 2, 3, 0.4) == 2


@pytest.mark.parametrize("k, n", [(1, 1), (3, 5), (1, 100), (100, 100), (500, 1000), (9000, 10_000)])
def test_quantiles_where_scipy_gives_up(k, n):
    law, q = Exponential(1.0), np.array([1e-290, 1e-150, 1e-101, 1e-79])
    np.testing.assert_allclose(order_stats.cdf(law, k, n, order_stats.ppf(law, k, n, q)), q, rtol=1e-9)
    np.testing.assert_allclose(order_stats.sf(law, k, n, order_stats.isf(law, k, n, q)), q, rtol=1e-9)


def test_simulated_workers_agree():
    rng = np.random.default_rng(11)
    law, k, n = HyperExponential([0.9, 0.1], [0.5, 5.0]), 7, 10
    times = np.partition(law.sample(rng, (40_000, n)), k - 1)[:, k - 1]
    z = stats.norm.isf(0.5e-6)
    assert abs(times.mean() - order_stats.mean(law, k, n)) < z * times.std() / 200
    assert 2 * z * times.std() / 200 < 0.1 * times.mean()
    assert stats.kstest(times, lambda t: order_stats.cdf(law, k, n, t)).pvalue > 1e-6


COVARIANCES = [(1, 2, 2), (2, 5, 10), (1, 100, 100), (50, 51, 100), (900, 1000, 1000), (3000, 9000, 10_000)]


@pytest.mark.parametrize("j, k, n", COVARIANCES)
def test_covariance_of_two_ranks_in_closed_form(j, k, n):
    """Exponential: X_(k) is X_(j) plus something independent.  Uniform: j (n+1-k) / (n+1)^2 / (n+2)."""
    for law, exact in (
        (Exponential(3.0), order_stats.var(Exponential(3.0), j, n)),
        (Uniform(1.0, 3.0), 4 * j * (n + 1 - k) / (n + 1) ** 2 / (n + 2)),
    ):
        scale = math.sqrt(order_stats.var(law, j, n) * order_stats.var(law, k, n))
        assert order_stats.cov(law, j, k, n) == pytest.approx(exact, abs=1e-12 * scale)
        assert order_stats.cov(law, k, j, n) == order_stats.cov(law, j, k, n)


@pytest.mark.parametrize(
    "law",
    first_fast([LogNormal(1.0, 1.0), Pareto(1.0, 2.5), Weibull(1.0, 0.3), LocalSteps(LogNormal(1.0, 1.0), 2)], 2),
    ids=repr,
)
def test_covariances_sum_to_the_variance_of_the_sum(law):
    n = 4
    total = sum(order_stats.cov(law, j, k, n) for j in range(1, n + 1) for k in range(1, n + 1))
    assert total == pytest.approx(n * law.var, rel=1e-9)


def test_covariance_of_a_power_law_in_closed_form():
    """log X_(k) of a Pareto law is a sum of E_i / (index i), i = n-k+1..n: E[X_(j) X_(k)] is a product."""
    index, n = 1.5, 6
    law = Pareto(1.0, index)

    def moment(power, low, high):
        return math.prod(1 / (1 - power / (index * i)) for i in range(low, high))

    for j, k in ((1, 3), (2, 5), (3, 6)):  # in the last, Var[X_(6)] is infinite, the covariance is not
        both = moment(1, n - k + 1, n - j + 1) * moment(2, n - j + 1, n + 1)
        exact = both - moment(1, n - j + 1, n + 1) * moment(1, n - k + 1, n + 1)
        assert order_stats.cov(law, j, k, n) == pytest.approx(exact, rel=1e-9)
    assert order_stats.cov(law, 6, 6, n) == order_stats.cov(Pareto(1.0, 0.9), 1, 6, n) == math.inf


def test_sampled_covariance_agrees():
    rng = np.random.default_rng(2)
    law, j, k, n = Gamma(0.5, 1.0), 2, 4, 5
    times = np.sort(law.sample(rng, (200_000, n)), axis=1)
    early, late = (times[:, r - 1] - order_stats.mean(law, r, n) for r in (j, k))
    assert_agrees(Estimate.of(early * late), order_stats.cov(law, j, k, n), resolution=0.1)


def test_covariance_of_laws_with_atoms():
    assert order_stats.cov(Deterministic(2.0), 1, 3, 3) == 0
    with pytest.raises(ValueError, match="law without atoms"):
        order_stats.cov(Empirical([1.0, 2.0]), 1, 2, 3)


def test_infinite_moments():
    law = Pareto(minimum=1.0, index=0.5)
    np.testing.assert_array_equal(np.isinf(order_stats.means(law, 5)), [False, False, False, True, True])
    assert order_stats.mean(law, 4, 5) == order_stats.var(law, 1, 4) == math.inf
    assert order_stats.var(law, 1, 5) < math.inf
    tasks = LocalSteps(law, 3)
    np.testing.assert_array_equal(np.isinf(order_stats.means(tasks, 5)), [False, False, False, True, True])
    assert order_stats.var(tasks, 2, 5) == math.inf


def test_what_floating_point_cannot_settle_is_an_error_not_a_number():
    with pytest.raises(ArithmeticError, match="too large for floating point"):
        order_stats.mean(LogNormal(1.0, 100.0), 10, 10)
    with pytest.raises(ArithmeticError, match="too heavy"):
        by_quantile.mean_order_statistic(Lomax(1.0, 1.01), 1, 1)
    assert by_quantile.mean_order_statistic(Lomax(1.0, 0.99), 1, 1) == math.inf


@pytest.mark.parametrize("k, n", [(0, 5), (6, 5), (-1, 5), (1.5, 5), (2.0, 5), (math.nan, 5), (True, 5), ("2", 5)])
def test_k_must_be_in_1_to_n(k, n):
    law = Exponential(1.0)
    for call in (
        lambda: order_stats.mean(law, k, n),
        lambda: order_stats.var(law, k, n),
        lambda: order_stats.cdf(law, k, n, 1.0),
        lambda: order_stats.sf(law, k, n, 1.0),
        lambda: order_stats.ppf(law, k, n, 0.5),
        lambda: order_stats.isf(law, k, n, 0.5),
    ):
        with pytest.raises(ValueError, match=r"k must be a whole number in 1\.\.n, got k=.* with n=5 workers"):
            call()


@pytest.mark.parametrize("n", [0, -3, 2.0, math.nan, True, None])
def test_n_must_be_a_positive_integer(n):
    with pytest.raises(ValueError, match=r"n must be an integer >= 1, got n="):
        order_stats.means(Exponential(1.0), n)


def test_numpy_integers_are_integers():
    law = Weibull(1.0, 2.0)
    assert order_stats.mean(law, np.int8(127), np.int8(127)) == order_stats.mean(law, 127, 127)


def test_other_bad_input():
    with pytest.raises(ValueError, match=r"delay must be a Delay such as Exponential\(mean=1\.0\), or .*, got 1\.0"):
        order_stats.mean(1.0, 1, 2)
    for q in (-0.1, 1.1, math.nan, [0.5, 2.0]):
        with pytest.raises(ValueError, match=r"q must be in \[0, 1\]"):
            order_stats.ppf(Exponential(1.0), 1, 2, q)


@pytest.mark.parametrize("wrong", ["0.5", math.nan, True, [0.1, None], 0.5j])
def test_what_is_no_time_or_probability_is_refused(wrong):
    """The text "1" was read as 1 second, and the probability of NaN was NaN."""
    for function, name in (
        (order_stats.cdf, "t"),
        (order_stats.sf, "t"),
        (order_stats.ppf, "q"),
        (order_stats.isf, "q"),
    ):
        with pytest.raises(ValueError, match=rf"^{name} must be|{name} of \w+ must be"):
            function(Exponential(1.0), 1, 2, wrong)
    assert order_stats.cdf(Exponential(1.0), 1, 2, [-1.0, math.inf]).tolist() == [0.0, 1.0]
