"""Delay laws against scipy, against each other's routes, and against mpmath."""

import math
import pickle

import mpmath
import numpy as np
import pytest
from cases import every_case
from hypothesis import given
from hypothesis import strategies as st
from laws import ATOMIC, CONTINUOUS, LAWS, MIXTURES, SCIPY, SMOOTH, SUMS, UNIFORM_SUMS
from scipy import stats

from abs_theory import delays
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

FALSE_FAIL_RATE = 1e-6
FAR = 10.0 ** -np.array([300, 100, 30, 15, 8, 3, 1, 0.5])
ROUGH = [*SUMS, MIXTURES[0]]  # tables, or scipy's gammaincinv


def test_the_documented_laws_are_exported():
    ours = {type(law).__name__ for law in LAWS if not repr(law).startswith("as_delay")}
    assert ours | {"Delay", "as_delay", "check_mean"} == set(delays.__all__)


@every_case("law", LAWS)
def test_a_law_is_a_value_and_its_repr_says_all(law):
    if "<" not in repr(law):  # all but many samples
        again = eval(repr(law), {**vars(delays), "stats": stats})
        assert again == law
        assert hash(again) == hash(law)
    assert len(repr(law)) < 200
    assert pickle.loads(pickle.dumps(law)) == law
    assert repr(pickle.loads(pickle.dumps(law))) == repr(law)
    with pytest.raises(AttributeError):
        law.value = 1.0


def test_numpy_scalars_and_lists_leave_no_trace_in_the_repr():
    assert repr(Exponential(np.float64(2))) == "Exponential(mean=2.0)"
    assert repr(Erlang(np.int64(2), 1)) == "Erlang(steps=2, scale=1.0)"
    assert repr(HyperExponential(np.array([0.5, 0.5]), [1, 2])) == (
        "HyperExponential(probs=(0.5, 0.5), means=(1.0, 2.0))"
    )


@every_case("law", SCIPY)
def test_agrees_with_scipy(law):
    reference = SCIPY[law]
    q = np.array([1e-5, 0.01, 0.3, 0.5, 0.7, 0.99, 1 - 1e-5])
    t = reference.ppf(q)
    np.testing.assert_allclose(law.ppf(q), t, rtol=1e-11)
    np.testing.assert_allclose(law.isf(q[:-1]), reference.isf(q[:-1]), rtol=1e-11)  # scipy's Lomax cancels at 1
    np.testing.assert_allclose(law.cdf(t), q, rtol=1e-9)
    np.testing.assert_allclose(law.sf(t), reference.sf(t), rtol=1e-10)
    assert law.mean == pytest.approx(reference.mean(), rel=1e-12)
    assert law.var == pytest.approx(reference.var(), rel=1e-12)


@every_case("law", SMOOTH)
def test_upper_tail_round_trip(law):
    q = FAR if math.isinf(law.isf(0.0)) else FAR[FAR > 1e-7]
    np.testing.assert_allclose(law.sf(law.isf(q)), q, rtol=1e-7 if law in SUMS else 1e-12)


@every_case("law", SMOOTH)
def test_lower_tail_round_trip(law):
    q = FAR if law.ppf(0.0) == 0 else FAR[FAR > 1e-4]  # beside a shift, t itself has no more digits
    q = q[law.ppf(q) > 1e-290]
    np.testing.assert_allclose(law.cdf(law.ppf(q)), q, rtol=1e-7 if law in SUMS else 1e-12)


@every_case("law", LAWS)
def test_ends_and_outside(law):
    low, high = law.ppf(0.0), law.isf(0.0)
    assert 0 <= low < math.inf
    assert low == law.isf(1.0)
    assert high == law.ppf(1.0)
    np.testing.assert_array_equal(law.cdf([-1.0, 0.0, math.inf]), [0, 0, 1])
    np.testing.assert_array_equal(law.sf([-1.0, 0.0, math.inf]), [1, 1, 0])
    assert law.cdf(np.ones((2, 3))).shape == law.ppf(np.full((2, 3), 0.3)).shape == (2, 3)


@every_case("law", SMOOTH)
def test_cdf_and_sf_are_complements_and_monotone(law):
    t = law.ppf(np.linspace(0.001, 0.999, 400))
    np.testing.assert_allclose(law.cdf(t) + law.sf(t), 1, rtol=1e-14)
    assert np.all(np.diff(law.cdf(t)) > 0)
    assert np.all(np.diff(t) > 0)


@every_case("law", LAWS)
def test_samples_follow_the_law(law):
    sample = law.sample(np.random.default_rng(1), 20_000)
    assert sample.shape == (20_000,)
    if law.has_atoms:  # Dvoretzky, Kiefer & Wolfowitz (1956), Massart (1990), at and just before each atom
        t = np.unique(sample)
        t = np.append(t, np.nextafter(t, 0.0))
        below = np.searchsorted(np.sort(sample), t, side="right") / sample.size
        assert np.max(abs(below - law.cdf(t))) < math.sqrt(math.log(2 / FALSE_FAIL_RATE) / 2 / sample.size)
    else:
        assert stats.kstest(sample, law.cdf).pvalue > FALSE_FAIL_RATE


def test_the_sample_test_can_fail():
    sample = Exponential(1.0).sample(np.random.default_rng(1), 20_000)
    assert stats.kstest(sample, Exponential(1.1).cdf).pvalue < FALSE_FAIL_RATE


@every_case("law", LAWS)
def test_samples_depend_on_the_stream_and_the_sizes_alone(law):
    def draw():
        rng = np.random.default_rng(5)
        return [law.sample(rng), law.sample(rng, 3), law.sample(rng, (2, 2))]

    first, second = draw(), draw()
    assert np.shape(first[0]) == ()
    assert first[2].shape == (2, 2)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def test_local_steps_sum_the_draws_of_the_stream_in_order():
    draws = Weibull(1.0, 0.5).sample(np.random.default_rng(3), 12)
    tasks = LocalSteps(Weibull(1.0, 0.5), steps=3).sample(np.random.default_rng(3), 4)
    np.testing.assert_array_equal(tasks, draws.reshape(4, 3).sum(axis=1))
    rng = np.random.default_rng(3)
    one_by_one = [LocalSteps(Weibull(1.0, 0.5), steps=3).sample(rng) for _ in range(4)]
    np.testing.assert_array_equal(tasks, one_by_one)


SCALABLE = {
    Exponential: lambda c: Exponential(2.0 * c),
    ShiftedExponential: lambda c: ShiftedExponential(0.5 * c, 1.5 * c),
    Gamma: lambda c: Gamma(0.7, c),
    Erlang: lambda c: Erlang(3, c),
    Weibull: lambda c: Weibull(c, 0.7),
    Pareto: lambda c: Pareto(c, 2.2),
    Lomax: lambda c: Lomax(c, 2.2),
    LogNormal: lambda c: LogNormal(c, 0.8),
    Uniform: lambda c: Uniform(c, 2.5 * c),
    Deterministic: lambda c: Deterministic(c),
    HyperExponential: lambda c: HyperExponential([0.3, 0.7], [c, 9 * c]),
    Mixture: lambda c: Mixture([0.3, 0.7], [Exponential(c), Uniform(c, 3 * c)]),
    Empirical: lambda c: Empirical([c, 3 * c, 4 * c]),
}


@pytest.mark.parametrize("family", SCALABLE)
@given(scale=st.floats(1e-9, 1e9))
def test_scaling_a_law_scales_its_times(family, scale):
    unit, scaled = SCALABLE[family](1.0), SCALABLE[family](scale)
    q = np.array([1e-12, 0.3, 0.5, 0.8])
    np.testing.assert_allclose(scaled.ppf(q), scale * unit.ppf(q), rtol=1e-12)
    np.testing.assert_allclose(scaled.isf(q), scale * unit.isf(q), rtol=1e-12)
    np.testing.assert_allclose(scaled.integrated_tail(scale), scale * unit.integrated_tail(1.0), rtol=1e-12)
    assert scaled.mean == pytest.approx(scale * unit.mean, rel=1e-12)
    assert scaled.var == pytest.approx(scale**2 * unit.var, rel=1e-12)


@pytest.mark.parametrize(
    "law",
    [
        Exponential(1e-200),
        Exponential(1e200),
        Gamma(1e-3, 1.0),
        Gamma(0.05, 1e12),
        Weibull(1e-12, 0.05),
        Mixture([0.5, 0.5], [Exponential(1e-12), Pareto(1e12, 1.01)]),
        Empirical([1e-12, 1.0, 1e12]),
        LocalSteps(Uniform(0.0, 1e-12), 3),
        Gamma(1e6, 1e-6),
        Weibull(1.0, 0.05),
        Weibull(1.0, 1e6),
        Pareto(1e-9, 0.1),
        Lomax(1.0, 1e9),
        LogNormal(1.0, 1e-6),
        LogNormal(1.0, 100.0),
        Uniform(0.0, 1e-300),
        HyperExponential([1e-9, 1 - 1e-9], [1e12, 1e-12]),
        HyperExponential([0.5, 0.5], [1e-12, 1e12]),
    ],
    ids=repr,
)
def test_extreme_parameters_give_no_nan(law):
    q = np.concatenate([[0.0], FAR, [0.5, 0.9, 1.0]])
    for t in (law.ppf(q), law.isf(q)):
        assert not np.isnan(t).any()
        for value in (law.cdf(t), law.sf(t), law.integrated_tail(t), law.mean, law.var):
            assert not np.isnan(value).any()
    assert np.all(np.diff(law.ppf(np.sort(q))) >= 0)
    assert not np.isnan(law.sample(np.random.default_rng(0), 1000)).any()


def test_extreme_hyper_exponential_quantiles():
    law = HyperExponential([0.5, 0.5], [1e-12, 1e12])
    q = np.array([1e-300, 1e-9, 0.2, 0.49999])
    np.testing.assert_allclose(law.cdf(law.ppf(q)), q, rtol=1e-10)
    np.testing.assert_allclose(law.sf(law.isf(q)), q, rtol=1e-12)
    np.testing.assert_allclose(law.isf(q), -1e12 * np.log(2 * q), rtol=1e-10)


@pytest.mark.parametrize("shape", [0.2, 5.0, 50.0, 1e3, 1e6])
def test_weibull_variance_keeps_its_digits(shape):
    with mpmath.workdps(40):
        e = 1 / mpmath.mpf(shape)
        exact = float(mpmath.gamma(1 + 2 * e) - mpmath.gamma(1 + e) ** 2)
    assert Weibull(1.0, shape).var == pytest.approx(exact, rel=1e-12)


def test_infinite_moments_are_inf():
    for law in (Pareto(1.0, 1.0), Lomax(1.0, 0.7)):
        assert law.mean == law.var == law.integrated_tail(3.0) == math.inf
        assert LocalSteps(law, 3).mean == LocalSteps(law, 3).integrated_tail(3.0) == math.inf
    assert Pareto(1.0, 2.0).mean == 2.0
    assert Pareto(1.0, 2.0).var == math.inf
    assert LogNormal(1.0, 100.0).mean == math.inf  # finite, but beyond floating point


def test_which_laws_have_atoms():
    assert [law for law in LAWS if law.has_atoms] == ATOMIC
    for law in CONTINUOUS:
        t = law.ppf([0.1, 0.5, 0.9])
        np.testing.assert_allclose(law.cdf(t * (1 - 1e-12)), [0.1, 0.5, 0.9], rtol=1e-6)


@every_case("law", LAWS)
@every_case("q", [-1e-9, 1.0 + 1e-9, math.nan, [0.5, 2.0]])
def test_probabilities_outside_0_to_1_are_refused(law, q):
    for quantile in (law.ppf, law.isf):
        with pytest.raises(ValueError, match=r"q must be in \[0, 1\], got"):
            quantile(q)


@every_case("law", LAWS)
def test_quantiles_are_the_first_times_that_reach_a_probability(law):
    q = np.linspace(0.003, 0.997, 143)
    rel = 1e-9 if law in [*SUMS, *UNIFORM_SUMS] else 1e-12
    for t in (law.ppf(q), law.isf(1 - q)):
        assert np.all(law.cdf(t * (1 + rel)) >= q * (1 - 1e-5))
        assert np.all(law.cdf(t * (1 - 1e-4)) <= q)


# Bad input

BAD = [math.nan, math.inf, -1.0, 0.0, "1", None, True]


@every_case("bad", BAD)
def test_bad_parameters_are_refused(bad):
    for make in (
        lambda: Exponential(bad),
        lambda: ShiftedExponential(1.0, bad),
        lambda: Gamma(bad, 1.0),
        lambda: Gamma(1.0, bad),
        lambda: Erlang(2, bad),
        lambda: Weibull(bad, 1.0),
        lambda: Weibull(1.0, bad),
        lambda: Pareto(bad, 1.0),
        lambda: Pareto(1.0, bad),
        lambda: Lomax(bad, 1.0),
        lambda: Lomax(1.0, bad),
        lambda: LogNormal(bad, 1.0),
        lambda: LogNormal(1.0, bad),
        lambda: Uniform(0.0, bad),
        lambda: Deterministic(bad),
        lambda: HyperExponential([0.5, 0.5], [1.0, bad] if bad is not True else [True]),
    ):
        with pytest.raises(ValueError, match=r"must|got"):
            make()


@pytest.mark.parametrize("bad", [0, -1, 1.0, 1.5, math.nan, True, "2"], ids=repr)
def test_steps_must_be_a_positive_integer(bad):
    for make in (lambda: Erlang(bad, 1.0), lambda: LocalSteps(Exponential(1.0), bad)):
        with pytest.raises(ValueError, match=r"steps must be an integer >= 1, got steps="):
            make()


def test_the_rest_of_bad_input():
    for make, message in (
        (lambda: Exponential(-1.0), r"mean must be a finite number > 0, got mean=-1\.0"),
        (lambda: ShiftedExponential(-0.1, 1.0), r"shift must be a finite number >= 0, got shift=-0\.1"),
        (lambda: Uniform(2.0, 1.0), r"low must be < high .* got Uniform\(low=2\.0, high=1\.0\)"),
        (lambda: Uniform(1.0, 1.0), r"use Deterministic"),
        (lambda: HyperExponential([0.5, 0.4], [1.0, 2.0]), r"probs must sum to 1"),
        (lambda: HyperExponential([0.5, 0.5], [1.0]), r"same length as means"),
        (lambda: HyperExponential([1.5, -0.5], [1.0, 2.0]), r"probs\[1\] must be a finite number > 0"),
        (lambda: LocalSteps(1.0, 2), r"delay must be a Delay such as Exponential"),
        (lambda: Mixture([0.5, 0.4], [Exponential(1.0), Exponential(2.0)]), r"weights must sum to 1"),
        (lambda: Mixture([1.0], []), r"same length as components"),
        (lambda: Mixture([1.0], Exponential(1.0)), r"components must be a sequence of delay laws"),
        (lambda: Mixture([1.5, -0.5], [Exponential(1.0)] * 2), r"weights\[1\] must be a finite number > 0"),
        (lambda: Mixture([1.0], [2.0]), r"delay must be a Delay such as Exponential"),
        (lambda: Sum([]), r"terms must be a sequence of at least one delay law"),
        (lambda: Sum(Exponential(1.0)), r"terms must be a sequence of at least one delay law"),
        (lambda: Sum([Exponential(1.0), None]), r"delay must be a Delay such as Exponential"),
        (lambda: Empirical([]), r"samples must be finite numbers > 0, at least one"),
        (lambda: Empirical([1.0, 0.0]), r"samples must be finite numbers > 0"),
        (lambda: Empirical([1.0, math.nan]), r"samples must be finite numbers > 0"),
        (lambda: Empirical(["a"]), r"samples must be finite numbers > 0"),
        (lambda: Empirical([0.0, *range(20)]), r"at least one, got 2 of 21 that are not$"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
