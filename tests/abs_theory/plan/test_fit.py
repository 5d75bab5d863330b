"""Laws from data: known laws come back, also from censored samples."""

import math

import numpy as np
import pytest
from scipy import stats

from abs_theory.delays import Deterministic, Gamma, LogNormal, Mixture, ShiftedExponential, Sum
from abs_theory.plan import fit

STALLED = Mixture((0.95, 0.05), (LogNormal(1.0, 0.1), LogNormal(8.0, 0.2)))


def sample(law, size, seed=0):
    return law.sample(np.random.default_rng(seed), size)


def named(fits, name):
    return next(each for each in fits if each.name == name)


@pytest.mark.parametrize(
    "law",
    [LogNormal(2.0, 0.4), Sum((Deterministic(5.0), LogNormal(1.0, 0.6))), STALLED, Gamma(4.0, 0.25)],
    ids=["lognormal", "shifted lognormal", "stalls", "gamma"],
)
def test_the_best_law_is_near_the_true_one(law):
    x = sample(law, 2000)
    best = fit.best_fit(fit.laws(x))
    at = np.linspace(0, x.max(), 500)
    assert np.max(np.abs(best.law.cdf(at) - law.cdf(at))) < 1.95 / math.sqrt(x.size)  # Kolmogorov, 0.1 %
    assert best.law.mean == pytest.approx(x.mean(), rel=0.01)


def test_a_shifted_exponential_is_the_baseline_and_never_the_best():
    fits = fit.laws(sample(ShiftedExponential(0.5, 1.0), 1000))
    baseline = named(fits, fit.BASELINE)
    assert fits[0] is baseline, "it has the best AIC on its own data"
    assert fit.best_fit(fits) is not baseline
    assert baseline.law.shift == pytest.approx(0.5, abs=0.01)
    assert baseline.law.scale == pytest.approx(1.0, rel=0.1)


def test_type_ii_censoring_keeps_the_parameters():
    n, k = 8, 4
    x = sample(LogNormal(2.0, 0.3), (400, n), seed=1)
    last = np.sort(x, axis=1)[:, k - 1 : k]
    seen, seconds = x <= last, np.minimum(x, last)
    law = named(fit.laws(seconds, seen), "lognormal").law
    error = 0.3 / math.sqrt(seen.sum())
    assert abs(math.log(law.median / 2.0)) < 4 * error
    assert abs(law.sigma - 0.3) < 4 * error
    blind = named(fit.laws(seconds[seen]), "lognormal").law
    assert blind.median < 1.9, "the same delays as if nothing was censored"


def test_kaplan_meier_is_the_empirical_law_without_censoring_and_right_with_it():
    x = sample(Gamma(2.0, 1.0), 3000, seed=2)
    times, cdf = fit.kaplan_meier(x)
    assert np.allclose(cdf, np.arange(1, x.size + 1) / x.size)
    limit = sample(Gamma(2.0, 1.0), 3000, seed=3)
    times, cdf = fit.kaplan_meier(np.minimum(x, limit), x <= limit)
    early = times < np.quantile(times, 0.8)
    assert np.max(np.abs(cdf - stats.gamma(2).cdf(times))[early]) < 0.05


def test_aic_and_likelihood_are_those_of_the_density():
    x = sample(LogNormal(2.0, 0.3), 200)
    found = named(fit.laws(x), "lognormal")
    by_hand = stats.lognorm(found.law.sigma, scale=found.law.median).logpdf(x).sum()
    assert found.aic == pytest.approx(4 - 2 * by_hand)
    assert found.ks == pytest.approx(stats.kstest(x, found.law.cdf).statistic)


@pytest.mark.parametrize(("sigma", "samples"), [(1.0, 5), (2.0, 60), (3.0, 5)])
def test_heavy_tails_with_a_tiny_least_delay_are_fitted(sigma, samples):
    """The grid of shifts stays above 0, also where the least delay is far below the resolution of the sample."""
    for seed in range(samples):
        fits = fit.laws(sample(LogNormal(1.0, sigma), 200, seed))
        assert fit.best_fit(fits).ks < 1.95 / math.sqrt(200)


def test_equal_delays_are_a_constant():
    assert fit.laws([2.0] * 9)[0].law == Deterministic(2.0)


@pytest.mark.parametrize(
    ("seconds", "observed", "message"),
    [
        ([1.0], None, "two deliveries at least, got 1 in 1"),
        ([1.0, 2.0, 3.0], [True, False, False], "two deliveries at least, got 1 in 3"),
        ([1.0, math.nan], None, "seconds must be finite numbers > 0"),
        ([1.0, 0.0], None, "seconds must be finite numbers > 0"),
    ],
)
def test_what_cannot_be_fitted(seconds, observed, message):
    with pytest.raises(ValueError, match=message):
        fit.laws(seconds, observed)
