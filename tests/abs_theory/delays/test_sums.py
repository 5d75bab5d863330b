"""Sums of delays: closed forms, mixtures of sums, lattices and numerical convolution."""

import itertools
import math

import mpmath
import numpy as np
import pytest
from agreement import assert_agrees
from laws import SCIPY, Opaque
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
    Mixture,
    Pareto,
    ShiftedExponential,
    Sum,
    Uniform,
    Weibull,
)
from abs_theory.delays.atoms import as_atoms
from abs_theory.delays.bounded import IrwinHall
from abs_theory.delays.numerics import convolution
from abs_theory.delays.sums import NumericalSum
from abs_theory.results import Estimate

Q = np.array([1e-12, 1e-5, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 1 - 1e-5])


def test_what_has_a_closed_form_takes_it():
    for law, fixed, random in (
        (LocalSteps(Exponential(2.0), 3), 0.0, Erlang(3, 2.0)),
        (LocalSteps(Gamma(0.3, 2.0), 5), 0.0, Gamma(1.5, 2.0)),
        (Sum([Exponential(2.0), Deterministic(1.0), ShiftedExponential(0.5, 2.0)]), 1.5, Erlang(2, 2.0)),
        (Sum([Sum([Gamma(0.5, 1.0), Deterministic(1.0)]), LocalSteps(Gamma(0.25, 1.0), 2)]), 1.0, Exponential(1.0)),
        (Sum([Deterministic(1.0), Deterministic(2.0)]), 0.0, Deterministic(3.0)),
        (LocalSteps(Uniform(1.0, 3.0), 4), 4.0, IrwinHall(4, 2.0)),
        (Sum([Uniform(1.0, 2.0), Uniform(5.0, 6.0), Uniform(0.0, 1.0)]), 6.0, IrwinHall(3, 1.0)),
        (Sum([Pareto(2.0, 2.5)]), 2.0, Lomax(2.0, 2.5)),
    ):
        assert (law.fixed_part, law.random_part) == (fixed, random)


def test_nested_sums_are_one_sum():
    part = Sum([Weibull(1.0, 0.5), Exponential(1.0)])
    flat = Sum([Weibull(1.0, 0.5), Weibull(1.0, 0.5), Exponential(1.0), Exponential(1.0)])
    for law in (LocalSteps(part, 2), Sum([part, part]), Sum([part, Exponential(1.0), Weibull(1.0, 0.5)])):
        np.testing.assert_allclose(law.ppf(Q), flat.ppf(Q), rtol=1e-14)
        assert law.mean == pytest.approx(flat.mean)


@pytest.mark.parametrize(
    "shape, steps",
    [
        pytest.param(shape, steps, marks=() if (shape, steps) in ((0.4, 3), (1.0, 2), (5.0, 10)) else pytest.mark.slow)
        for shape in (0.4, 1.0, 5.0)
        for steps in (2, 3, 10, 64)
    ],
)
def test_convolution_against_closed_sums(shape, steps):
    exact = Gamma(shape * steps, 1.0)
    numerical = LocalSteps(Opaque(Gamma(shape, 1.0)), steps)
    q = 10.0 ** -np.array([30, 20, 10, 5, 3, 1, 0.5])
    np.testing.assert_allclose(numerical.isf(q), exact.isf(q), rtol=1e-9)
    np.testing.assert_allclose(numerical.ppf(q), exact.ppf(q), rtol=1e-9)
    np.testing.assert_allclose(numerical.sf(exact.isf(q)), q, rtol=2e-8)
    np.testing.assert_allclose(numerical.cdf(exact.ppf(q)), q, rtol=2e-8)
    assert numerical.mean_order_statistic(9, 10) == pytest.approx(exact.mean_order_statistic(9, 10), rel=1e-9)


@pytest.mark.parametrize("steps", [2, 3, 4, 10, 40])
def test_sums_of_uniforms_against_irwin_hall(steps):
    law = LocalSteps(Uniform(low=1.0, high=2.0), steps)
    t = np.linspace(0.01, steps / 2, 50)
    with mpmath.workdps(60):
        exact = [
            float(
                sum((-1) ** j * mpmath.binomial(steps, j) * (mpmath.mpf(x) - j) ** steps for j in range(int(x) + 1))
                / mpmath.factorial(steps)
            )
            for x in t
        ]
    np.testing.assert_allclose(law.random_part.cdf(t), exact, rtol=1e-12)
    np.testing.assert_allclose(law.random_part.sf(steps - t), exact, rtol=1e-11)  # of the rounding of steps - t
    np.testing.assert_allclose(law.cdf(steps + t), exact, rtol=1e-10)


@pytest.mark.parametrize("steps, rel", [(2, 1e-8), (3, 5e-6), (6, 1e-6), (100, 2e-6)])
def test_convolution_of_bounded_laws_against_irwin_hall(steps, rel):
    law, exact = NumericalSum(((Uniform(0.0, 1.0), steps),)), IrwinHall(steps, 1.0)
    t = exact.ppf([1e-6, 0.001, 0.01, 0.1, 0.3, 0.4, 0.5, 0.6, 0.7, 0.9, 0.99, 0.999])
    np.testing.assert_allclose(law.cdf(t), exact.cdf(t), rtol=rel)
    np.testing.assert_allclose(law.sf(t), exact.sf(t), rtol=rel)
    for k in (1, 5, 10):
        assert law.mean_order_statistic(k, 10) == pytest.approx(exact.mean_order_statistic(k, 10), rel=2e-8)


def test_a_uniform_and_an_exponential_time():
    law = Sum([Uniform(0.0, 1.0), Exponential(0.5)])
    t = np.array([1e-6, 1e-3, 0.1, 0.5, 0.9, 0.99, 1.0, 1.01, 1.1, 2.0, 5.0, 20.0])
    inside = np.minimum(t, 1.0)
    with mpmath.workdps(40):
        missing = [
            (mpmath.exp(-2 * (x - m)) - mpmath.exp(-2 * x)) / 2 for x, m in zip(map(mpmath.mpf, t), inside, strict=True)
        ]
        cdf = [float(m - d) for m, d in zip(map(mpmath.mpf, inside), missing, strict=True)]
        sf = [float(1 - m + d) for m, d in zip(map(mpmath.mpf, inside), missing, strict=True)]
    np.testing.assert_allclose(law.cdf(t), cdf, rtol=1e-7)
    np.testing.assert_allclose(law.sf(t), sf, rtol=1e-7)
    assert law.mean_order_statistic(1, 1) == pytest.approx(1.0, rel=1e-9)
    assert law.var_order_statistic(1, 1) == pytest.approx(1 / 12 + 1 / 4, rel=1e-9)


@pytest.mark.parametrize("scale", [1e-6, 0.3, 5.0, 1e6])
def test_two_exponentials_of_unlike_scale(scale):
    law, a, b = Sum([Exponential(1.0), Exponential(scale)]), 1.0, 1 / scale
    t = law.ppf([1e-6, 0.01, 0.5, 0.99]), law.isf(1e-9)
    for x in np.append(*t):
        with mpmath.workdps(40):
            x = mpmath.mpf(float(x))
            sf = (b * mpmath.exp(-a * x) - a * mpmath.exp(-b * x)) / (b - a)
        assert law.sf(float(x)) == pytest.approx(float(sf), rel=1e-8)
        assert law.cdf(float(x)) == pytest.approx(float(1 - sf), rel=1e-8)
    maximum = law.mean_order_statistic(2, 2)
    minimum = 2 * law.mean - maximum
    exact = (b * b / (2 * a) + a * a / (2 * b) - 2 * a * b / (a + b)) / (b - a) ** 2  # integral of sf^2
    assert minimum == pytest.approx(exact, rel=1e-9)


def test_a_sum_of_mixtures_is_a_mixture_of_sums():
    law = LocalSteps(Mixture([0.25, 0.75], [Deterministic(1.0), Exponential(2.0)]), 3)
    t = np.array([0.5, 1.0, 1.7, 2.0, 2.5, 3.0, 4.0, 20.0])
    expected = sum(
        math.comb(3, j) * 0.25**j * 0.75 ** (3 - j) * (Erlang(3 - j, 2.0).sf(t - j) if j < 3 else (t < 3))
        for j in range(4)
    )
    np.testing.assert_allclose(law.sf(t), expected, rtol=1e-13)
    assert law.mean == 3 * (0.25 + 1.5)
    assert law.has_atoms
    assert law.mean_order_statistic(1, 1) == pytest.approx(law.mean, rel=1e-12)


@pytest.mark.parametrize("steps", [4, pytest.param(24, marks=pytest.mark.slow)])  # by component; discrete against not
def test_many_steps_of_a_mixture_with_atoms(steps):
    law = LocalSteps(Mixture([0.5, 0.25, 0.25], [Deterministic(1.0), Deterministic(2.0), Exponential(1.0)]), steps)
    assert law.mean_order_statistic(1, 1) == pytest.approx(law.mean, rel=1e-7)
    assert law.var_order_statistic(1, 1) == pytest.approx(law.var, rel=1e-5)


def test_smooth_mixtures_two_ways():
    law = Mixture([0.4, 0.6], [Gamma(2.0, 1.0), LogNormal(3.0, 0.3)])
    by_cases, at_once = LocalSteps(law, 2), NumericalSum(((law, 2),))
    np.testing.assert_allclose(by_cases.ppf(Q), at_once.ppf(Q), rtol=1e-9)


# Sums of measured times


def test_few_measured_times_add_up_exactly():
    law = Sum([Empirical([1.0, 2.0]), Empirical([0.1, 0.2, 0.2])])
    atoms = as_atoms(law)
    np.testing.assert_allclose(atoms.times, [1.1, 1.2, 2.1, 2.2])
    np.testing.assert_allclose(atoms.weights, [1 / 6, 1 / 3, 1 / 6, 1 / 3])


def test_equal_sums_are_one_atom_however_they_round():
    atoms = as_atoms(LocalSteps(Empirical([0.1, 0.2, 0.3]), 10))
    np.testing.assert_allclose(atoms.times, np.arange(10, 31) / 10)
    np.testing.assert_allclose(atoms.weights[:3], np.array([1, 10, 55]) / 3**10, rtol=1e-13)


def test_integer_times_add_up_exactly():
    law, exact = LocalSteps(stats.poisson(3, loc=1), 10), stats.poisson(30, loc=10)
    t = np.arange(10, 80)
    np.testing.assert_allclose(law.cdf(t), exact.cdf(t), rtol=1e-12)
    np.testing.assert_allclose(law.sf(t[:50]), exact.sf(t[:50]), rtol=1e-9)


def test_many_measured_times_go_on_a_lattice():
    rng = np.random.default_rng(5)
    samples = rng.lognormal(size=3000)
    law = LocalSteps(Empirical(samples), 8)
    step = 8 * np.ptp(samples) / 2**18
    assert law.random_part.mean == pytest.approx(law.mean, rel=1e-11)  # before the closed form
    assert law.var <= law.random_part.var <= law.var + 8 * step**2 / 4
    sums = law.sample(rng, 200_000)
    t = np.quantile(sums, [0.01, 0.3, 0.5, 0.9, 0.999])
    slack = math.sqrt(math.log(2e6) / 2 / sums.size)
    for x in t:
        below = np.mean(sums <= x)
        assert law.cdf(x - 8 * step) - slack <= below <= law.cdf(x + 8 * step) + slack


def test_measured_and_continuous_times():
    few, many = Empirical([1.0, 2.0, 4.0]), Empirical(np.random.default_rng(6).exponential(size=5000) + 1)
    t = np.array([1.5, 2.0, 3.0, 4.2, 9.0])
    law = Sum([few, Exponential(0.5)])
    np.testing.assert_allclose(law.sf(t), np.mean([Exponential(0.5).sf(t - x) for x in few.times], axis=0), rtol=1e-13)
    law = Sum([many, Exponential(0.5)])
    np.testing.assert_allclose(law.sf(t), np.mean([Exponential(0.5).sf(t - x) for x in many.times], axis=0), rtol=2e-3)
    assert law.mean_order_statistic(1, 1) == pytest.approx(law.mean, rel=1e-4)
    assert law.var_order_statistic(1, 1) == pytest.approx(law.var, rel=1e-3)


@pytest.mark.parametrize("t", [0.1, 3.0, 1e3, 1e9])
@pytest.mark.parametrize("index", [0.8, 2.5])
def test_convolution_of_a_heavy_tail_against_mpmath(index, t):
    with mpmath.workdps(25):
        a = mpmath.mpf(index)
        nodes = [0, min(t, 1) / 2, *[t / 4, t / 2] * (t > 2), t]

        def integral(tail):
            return mpmath.quad(lambda x: a * (1 + x) ** (-a - 1) * tail(t - x), nodes)

        sf = float((1 + mpmath.mpf(t)) ** -a + integral(lambda x: (1 + x) ** -a))
        cdf = float(integral(lambda x: 1 - (1 + x) ** -a))
    law = LocalSteps(Lomax(1.0, index), steps=2)
    assert law.sf(t) == pytest.approx(sf, rel=1e-9)
    assert law.cdf(t) == pytest.approx(cdf, rel=1e-9)


def test_a_sum_of_heavy_tails_is_its_largest_term_far_out():
    law = Pareto(minimum=1.0, index=1.5)
    t = 10.0 ** np.array([8, 20, 60, 150])
    assert LocalSteps(law, 7).sf(t) == pytest.approx(7 * law.sf(t - 6 * law.mean), rel=1e-4)


# gaps and nearly flat parts

TWO_PEAKS = Mixture(weights=(0.8, 0.2), components=(LogNormal(1.0, 0.2), LogNormal(8.0, 0.2)))
STALLS = HyperExponential(probs=(0.99, 0.01), means=(0.1, 50.0))


def exact_sum(weights, shapes, scale, steps):
    """Sum of draws from a mixture of gammas of one scale: a mixture of gammas, by the numbers of draws from each."""
    log_weights, laws = [], []
    for first in itertools.product(range(steps + 1), repeat=len(shapes) - 1):
        draws = (*first, steps - sum(first))
        if draws[-1] >= 0:
            log_weight = math.lgamma(steps + 1) - sum(map(math.lgamma, np.add(draws, 1)))
            log_weights.append(log_weight + np.dot(draws, np.log(weights)))
            laws.append(stats.gamma(np.dot(draws, shapes), scale=scale))
    weights = np.exp(log_weights)
    return lambda t: sum(weight * law.sf(t) for weight, law in zip(weights / weights.sum(), laws, strict=True))


def test_which_laws_have_gaps_or_flat_parts():
    smooth = [*SCIPY, HyperExponential((0.9, 0.1), (0.5, 5.0)), LogNormal(1.0, 3.0), Lomax(1.0, 0.5)]
    for law in smooth:
        if math.isinf(float(law.isf(0.0))):
            assert convolution.is_smooth(law), law
    for law in (TWO_PEAKS, STALLS, HyperExponential((0.999, 0.001), (1.0, 1e4))):
        assert not convolution.is_smooth(law), law


@pytest.mark.parametrize("steps", [2, 17, 64])
@pytest.mark.parametrize("weights, shapes", [((0.8, 0.2), (400, 3200)), ((0.9, 0.07, 0.03), (100, 1000, 9000))])
def test_sums_of_separated_peaks_are_mixtures_of_sums(weights, shapes, steps):
    law = Mixture(weights, [Gamma(shape, 1 / 400) for shape in shapes])
    total, sf = LocalSteps(law, steps), exact_sum(weights, shapes, 1 / 400, steps)
    t = np.linspace(0.2, 2.5, 40) * total.mean
    np.testing.assert_allclose(total.sf(t), sf(t), rtol=1e-9, atol=1e-19)


def check_largest_of_five(law, steps, samples, resolution):
    found = order_stats.mean(LocalSteps(law, steps), 5, 5)
    rng = np.random.default_rng(steps)
    draws = np.concatenate([law.sample(rng, (1000, 5, steps)).sum(axis=2).max(axis=1) for _ in range(samples // 1000)])
    assert_agrees(Estimate.of(draws), found, resolution)


def test_sums_of_rare_long_stalls():
    check_largest_of_five(STALLS, 4, 100_000, 0.1)


@pytest.mark.slow
@pytest.mark.parametrize("steps", [2, 3, 7, 16, 32, 64])
@pytest.mark.parametrize(
    "law, resolution",
    [
        (TWO_PEAKS, 0.01),
        (STALLS, 0.1),
        (Mixture((0.7, 0.3), (LogNormal(1.0, 0.3), Lomax(50.0, 2.5))), 0.05),
        (Mixture((0.6, 0.3, 0.1), (Gamma(50.0, 0.02), LogNormal(5.0, 0.1), ShiftedExponential(40.0, 1.0))), 0.015),
    ],
    ids=lambda value: type(value).__name__,
)
def test_sums_of_separated_peaks_against_samples(law, resolution, steps):
    check_largest_of_five(law, steps, 200_000, resolution)


@pytest.mark.slow
def test_a_synchronous_round_of_two_peaked_steps():
    assert order_stats.mean(LocalSteps(TWO_PEAKS, 16), 5, 5) == pytest.approx(53.574, abs=0.002)


def test_a_law_of_ones_own_with_a_gap_is_refused():
    with pytest.raises(ArithmeticError, match="gaps or flat parts"):
        LocalSteps(Opaque(TWO_PEAKS), 4).sf(3.0)
