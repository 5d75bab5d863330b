"""Measured delays, and distributions of scipy wherever a delay is expected."""

import functools
import itertools
import math

import numpy as np
import pytest
from scipy import special, stats

from abs_theory import order_stats
from abs_theory.delays import (
    Empirical,
    Exponential,
    Gamma,
    LocalSteps,
    LogNormal,
    Lomax,
    Mixture,
    Pareto,
    Sum,
    Weibull,
    as_delay,
)


def test_common_distributions_become_our_own():
    for law, ours in (
        (stats.expon(scale=2), Exponential(2.0)),
        (stats.gamma(2.5, scale=3), Gamma(2.5, 3.0)),
        (stats.weibull_min(0.5, scale=2), Weibull(2.0, 0.5)),
        (stats.pareto(2.5, scale=2), Pareto(2.0, 2.5)),
        (stats.lomax(c=2.5), Lomax(1.0, 2.5)),
        (stats.lognorm(s=1.2, scale=3), LogNormal(3.0, 1.2)),
    ):
        assert as_delay(law) == ours
    assert as_delay(ours) is ours


@pytest.mark.parametrize(
    "frozen",
    [
        stats.invgauss(0.5, scale=2),
        stats.gamma(2.0, loc=1.5),
        stats.burr12(4.0, 1.0),
        stats.beta(1.5, 2),
        stats.nakagami(3.0),
    ],
    ids=lambda frozen: frozen.dist.name,
)
def test_any_other_is_wrapped(frozen):
    law = as_delay(frozen)
    q = np.array([1e-9, 0.1, 0.5, 0.9])
    np.testing.assert_array_equal(law.ppf(q), frozen.ppf(q))
    np.testing.assert_array_equal(law.sf(law.isf(q)), frozen.sf(frozen.isf(q)))
    assert law.mean == frozen.mean()
    assert law.var == frozen.var()
    assert not law.has_atoms
    assert law == as_delay(frozen)
    assert hash(law) == hash(as_delay(frozen))
    assert eval(repr(law), {"as_delay": as_delay, "stats": stats}) == law
    assert law.mean_order_statistic(3, 3) + law.mean_order_statistic(1, 3) + law.mean_order_statistic(2, 3) == (
        pytest.approx(3 * law.mean, rel=1e-9)
    )


def test_ways_to_write_one_distribution_are_one_law():
    assert as_delay(stats.invgauss(0.5, 0, 2)) == as_delay(stats.invgauss(mu=0.5, scale=2.0))
    assert as_delay(stats.invgauss(0.5)) != as_delay(stats.invgauss(0.6))
    assert repr(as_delay(stats.invgauss(0.5, scale=2))) == "as_delay(stats.invgauss(0.5, scale=2))"


def test_distributions_of_ones_own():
    class Triangle(stats.rv_continuous):
        def _cdf(self, x):
            return x * x

        def _ppf(self, q):
            return np.sqrt(q)

    law = as_delay(Triangle(a=0, b=1, name="triangle")())
    assert law.mean_order_statistic(1, 1) == pytest.approx(2 / 3, rel=1e-12)
    histogram = as_delay(stats.rv_histogram(np.histogram([1.0, 2.0, 2.5, 4.0], bins=3))())
    assert histogram.mean_order_statistic(1, 1) == pytest.approx(histogram.mean, rel=1e-9)


def test_scipy_is_welcome_wherever_a_law_is():
    assert LocalSteps(stats.expon(), 3) == LocalSteps(Exponential(1.0), 3)
    assert Sum([stats.expon(), Gamma(1.0, 2.0)]).mean == 3.0
    assert Mixture([0.5, 0.5], [stats.invgauss(0.5), stats.poisson(2)]).mean == pytest.approx(1.25)


def test_laws_without_a_name_are_shown_by_their_times():
    coin = stats.rv_discrete(values=([1, 2], [0.5, 0.5]))
    assert repr(as_delay(coin)) == "as_delay(stats.rv_discrete(values=<2 times from 1 to 2>))"
    assert repr(as_delay(coin(loc=2))) == "as_delay(stats.rv_discrete(values=<2 times from 1 to 2>)(loc=2))"
    bars = stats.rv_histogram(([1.0, 3.0], [0.0, 1.0, 2.5]), density=False)
    assert repr(as_delay(bars)) == "as_delay(stats.rv_histogram(<2 bins from 0 to 2.5>))"


def test_any_times_with_probabilities():
    """Not only whole numbers; frozen, shifted or just made."""
    made = stats.rv_discrete(values=((0.5, 1.25, 3.0), (0.5, 0.3, 0.2)))
    for law in (made, made(), stats.rv_discrete(name="mine", values=((3.0, 0.5, 1.25), (0.2, 0.5, 0.3)))()):
        delay = as_delay(law)
        assert delay.mean == pytest.approx(1.225, rel=1e-14)
        assert order_stats.mean(law, 4, 4) == pytest.approx(3 - 1.75 * 0.8**4 - 0.75 * 0.5**4, rel=1e-13)
        assert delay.cdf([0.4, 0.5, 1.25, 2.9, 3.0]) == pytest.approx([0.0, 0.5, 0.8, 0.8, 1.0])
        assert set(delay.sample(np.random.default_rng(0), 100)) == {0.5, 1.25, 3.0}
    assert as_delay(made(loc=0.25)).mean == pytest.approx(1.475, rel=1e-14)
    assert as_delay(stats.rv_histogram(np.histogram([1.0, 2.0, 4.0], bins=3))).mean == pytest.approx(7 / 3, rel=0.1)


@pytest.mark.parametrize("index", [0.9, 1.0, 1.01, 1.05, 1.5, 2.0, 2.05, 4.0])
def test_log_logistic_moments(index):
    """E X = (pi/c) / sin(pi/c), E X^2 = (2 pi/c) / sin(2 pi/c), c the index; scipy's sf is 1 - cdf."""
    law, a = as_delay(stats.fisk(index)), math.pi / index
    mean = a / math.sin(a) if index > 1 else math.inf
    var = 2 * a / math.sin(2 * a) - mean**2 if index > 2 else math.inf
    assert law.mean == pytest.approx(mean, rel=1e-9)
    assert law.var == pytest.approx(var, rel=1e-9)
    assert order_stats.mean(law, 1, 1) == pytest.approx(mean, rel=1e-9)
    # the largest of n: F^n is Dagum's law, E = n B(n + 1/c, 1 - 1/c)
    largest = 20 * special.beta(20 + 1 / index, 1 - 1 / index) if index > 1 else math.inf
    assert order_stats.mean(law, 20, 20) == pytest.approx(largest, rel=1e-9)
    assert law.mean_order_statistics(20)[-1] == pytest.approx(largest, rel=1e-9)
    assert order_stats.mean([law] * 19 + [Exponential(1e-9)], 20, 20) < largest or math.isinf(largest)
    q = np.array([1e-3, 1e-9, 1e-30, 1e-100])
    np.testing.assert_allclose(law.isf(q), ((1 - q) / q) ** (1 / index), rtol=1e-9)
    np.testing.assert_allclose(law.sf(law.isf(q)), q, rtol=1e-9)


def test_a_tail_of_ones_own_goes_on_as_the_power_law_that_it_has_become():
    class Power(stats.rv_continuous):
        def _cdf(self, x, c):
            return 1 - (1 + x * x) ** (-c / 2)

    class LogPower(stats.rv_continuous):
        def _cdf(self, x):
            return 1 - 1 / ((1 + x) * (1 + np.log1p(x)) ** 2)

    power = as_delay(Power(a=0, name="power")(1.5))
    # P(X > t) = (1 + t^2)^-3/4 has the mean B(1/2, 1/4) / 2
    assert power.mean_order_statistic(1, 1) == pytest.approx(special.beta(0.5, 0.25) / 2, rel=1e-5)
    assert math.isinf(as_delay(Power(a=0, name="power")(0.8)).mean_order_statistic(1, 1))
    with pytest.raises(ArithmeticError, match=r"the upper tail is heavy .* define _sf"):
        as_delay(LogPower(a=0, name="logpower")()).mean_order_statistic(1, 1)


def test_a_distribution_of_ones_own_keeps_its_meaning_whatever_its_name():
    class Other(stats.rv_continuous):
        def _cdf(self, x):
            return x * x

    assert as_delay(Other(a=0, b=1, name="expon")()).mean_order_statistic(1, 1) == pytest.approx(2 / 3)


def test_discrete_distributions():
    law = as_delay(stats.geom(0.25))
    assert law.has_atoms
    t = np.array([0.5, 1.0, 1.5, 7.0, 100.0, 500.0])
    np.testing.assert_allclose(law.sf(t), 0.75 ** np.floor(t), rtol=1e-12)
    assert order_stats.mean(law, 1, 3) == pytest.approx(1 / (1 - 0.75**3), rel=1e-13)  # again geometric
    assert order_stats.var(law, 1, 3) == pytest.approx(0.75**3 / (1 - 0.75**3) ** 2, rel=1e-12)
    assert law.mean == pytest.approx(4.0, rel=1e-13)


@pytest.mark.parametrize(
    "law, message",
    [
        (stats.norm(10, 1), "must have no negative times, but its support begins at -inf; truncate it"),
        (stats.uniform(-1, 3), "must have no negative times"),
        (stats.randint(-1, 3), "must have no negative times"),
        (stats.gamma(-1.0), "must have parameters that make a law"),
        (stats.gamma([1.0, 2.0]), "must be one law, got arrays"),
        (stats.expon, r"frozen scipy distribution, e\.g\. stats\.gamma\(4\), got stats.expon without its parameters"),
        (stats.multivariate_normal(), "or a frozen scipy distribution"),
        (1.0, "delay must be a Delay such as Exponential"),
        ("exponential", "delay must be a Delay such as Exponential.*; abs_theory.delays.text.delay_law reads a text"),
    ],
)
def test_what_is_no_delay_is_refused(law, message):
    with pytest.raises(ValueError, match=message):
        as_delay(law)


def test_a_discrete_law_with_too_long_a_tail_is_refused():
    with pytest.raises(ArithmeticError, match="too long a tail"):
        as_delay(stats.zipf(2.0)).mean_order_statistic(1, 2)


# Empirical


@pytest.mark.parametrize("samples", [(1.0, 2.0, 4.0), (0.5, 3.0, 3.0, 7.0)])
@pytest.mark.parametrize("n", [1, 2, 5])
def test_order_statistics_of_samples_by_enumeration(samples, n):
    law = Empirical(samples)
    outcomes = np.sort(list(itertools.product(samples, repeat=n)), axis=1)
    np.testing.assert_allclose(law.mean_order_statistics(n), outcomes.mean(axis=0), rtol=1e-13)
    for k in range(1, n + 1):
        assert law.mean_order_statistic(k, n) == pytest.approx(outcomes[:, k - 1].mean(), rel=1e-13)
        assert law.var_order_statistic(k, n) == pytest.approx(outcomes[:, k - 1].var(), rel=1e-12)


def test_many_samples_are_close_to_their_law():
    m = 100_000
    law = Empirical(Exponential(1.0).ppf((np.arange(m) + 0.5) / m))
    means = law.mean_order_statistics(1000)
    for k in (1, 2, 500, 900, 999, 1000):
        assert means[k - 1] == pytest.approx(law.mean_order_statistic(k, 1000), rel=1e-10)
    np.testing.assert_allclose(means[100:900], Exponential(1.0).mean_order_statistics(1000)[100:900], rtol=1e-5)
    assert means.sum() == pytest.approx(1000 * law.mean, rel=1e-11)
    assert law.var_order_statistic(500, 1000) == pytest.approx(
        Exponential(1.0).var_order_statistic(500, 1000), rel=1e-3
    )


def test_an_almost_certain_rank_keeps_the_digits_of_its_variance():
    law = Empirical([1.0] * 99 + [2.0])
    late = 0.01**50  # all 50 are slow
    assert law.var_order_statistic(1, 50) == pytest.approx(late, rel=1e-12)
    assert law.mean_order_statistic(50, 50) == pytest.approx(2 - 0.99**50, rel=1e-14)


def test_equal_samples_are_equal_laws():
    a, b = Empirical([3, 1, 2]), Empirical(np.array([1.0, 2.0, 3.0]))
    assert a == b
    assert hash(a) == hash(b)
    assert a != Empirical([1.0, 2.0, 3.5])
    assert repr(a) == "Empirical(samples=(1.0, 2.0, 3.0))"
    many = Empirical(np.arange(1, 1001))
    assert repr(many).startswith("Empirical(<1000 samples from 1 to 1000, ")
    assert repr(many) != repr(Empirical(np.append(np.arange(1, 1000), 1000.5)))

    @functools.cache
    def mean(law):
        return law.mean

    assert mean(a) == mean(b) == 2.0
    assert mean.cache_info().hits == 1
    with pytest.raises(ValueError, match="read-only"):
        a.samples[0] = 5.0


def test_steps_of_an_empirical_law():
    law = Empirical([1.0, 2.0, 2.0, 5.0])
    np.testing.assert_array_equal(law.cdf([0.9, 1.0, 2.0, 4.9, 5.0]), [0, 0.25, 0.75, 0.75, 1])
    np.testing.assert_array_equal(law.ppf([0.0, 0.25, 0.26, 0.75, 0.76, 1.0]), [1, 1, 2, 2, 5, 5])
    np.testing.assert_array_equal(law.isf([0.0, 0.24, 0.25, 0.74, 0.75, 1.0]), [5, 5, 2, 2, 1, 1])
    assert law.integrated_tail(3.0) == 0.5
    assert law.mean == 2.5
    assert math.isclose(law.var, 2.25)
