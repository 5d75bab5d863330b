"""The exact chain: against closed forms, order statistics, conservation and simulation; and the phase-type laws."""

import math

import mpmath
import numpy as np
import pytest
from agreement import assert_agrees, assert_within
from cases import by_turns
from hypothesis import given, settings
from hypothesis import strategies as st
from laws import STALLS
from scipy import stats
from scipy.linalg import expm

from abs_theory import monte_carlo, order_stats
from abs_theory.delays import (
    Coxian,
    Deterministic,
    Erlang,
    Exponential,
    Gamma,
    HyperExponential,
    LocalSteps,
    LogNormal,
    Mixture,
    Sum,
)
from abs_theory.results import Estimate
from abs_theory.steady_state import closed_form, markov_chain
from abs_theory.steady_state.phases import phases
from abs_theory.workers import as_workers

COXIAN = Coxian(rates=(3.0, 1.0, 0.5), go_on=(0.7, 0.4))
PHASE_TYPE = [Erlang(2, 0.5), Erlang(4, 0.25), STALLS, COXIAN]
NUMBERS = ["round_time", "mean_staleness", "restarts", "idle_fraction", "wasted_fraction"]
UNLIKE = [Erlang(2, 0.5)] * 2 + [STALLS] * 2 + [Coxian((3.0, 1.0), (0.7,))]


def chain(delay, k, n, theta):
    return markov_chain.steady_state(as_workers(delay, n), k, math.inf if theta is None else theta)


# -- laws ---------------------------------------------------------------------------------------------------------

COXIANS = [
    COXIAN,
    Coxian((4.0,), ()),
    Coxian((2.0, 2.000001, 2.0), (1.0, 0.5)),  # partial fractions would cancel
    Coxian((1e3, 1e-3), (0.5,)),
    Coxian((5.0, 0.01, 5.0, 0.01), (0.9, 0.3, 1.0)),
]


@pytest.mark.parametrize("law", COXIANS, ids=repr)
def test_coxian_probabilities_keep_their_digits(law):
    m = len(law.rates)
    generator = mpmath.matrix(m + 1, m + 1)
    for i, (rate, p) in enumerate(zip(law.rates, (*law.go_on, 0.0), strict=True)):
        rate, p = mpmath.mpf(rate), mpmath.mpf(p)
        generator[i, i], generator[i, m] = -rate, rate * (1 - p)
        if i + 1 < m:
            generator[i, i + 1] = rate * p
    for t in [1e-9 / max(law.rates), 0.3 / max(law.rates), law.mean, 20 * law.mean, 400 / min(law.rates)]:
        squarings = max(0, math.ceil(math.log2(t * max(law.rates))) + 3)
        with mpmath.workdps(60 + squarings):
            chance, term = mpmath.eye(m + 1), mpmath.eye(m + 1)
            for j in range(1, 40):
                term = term * generator * (mpmath.mpf(t) / 2**squarings / j)
                chance = chance + term
            for _ in range(squarings):
                chance = chance * chance
            cdf, sf = chance[0, m], sum(chance[0, j] for j in range(m))
            assert abs(float(law.cdf(t) / cdf - 1)) < 1e-13
            assert abs(float(law.sf(t) / sf - 1)) < 1e-13


@pytest.mark.parametrize("law", COXIANS, ids=repr)
def test_coxian_quantiles_moments_and_samples(law):
    q = 10.0 ** -np.array([300, 100, 15, 3, 0.5])
    np.testing.assert_allclose(law.sf(law.isf(q)), q, rtol=1e-12)
    np.testing.assert_allclose(law.cdf(law.ppf(q)), q, rtol=1e-12)
    assert (law.ppf(0.0), law.isf(1.0), law.ppf(1.0), law.isf(0.0)) == (0, 0, math.inf, math.inf)
    assert order_stats.mean(law, 1, 1) == pytest.approx(law.mean, rel=1e-9)
    assert order_stats.var(law, 1, 1) == pytest.approx(law.var, rel=1e-8)
    assert law.integrated_tail(0.0) == pytest.approx(law.mean, rel=1e-14)
    t = np.array([-1.0, 0.5, 2.0]) * law.mean
    np.testing.assert_allclose(law.integrated_tail(t), [2 * law.mean, *_tails(law, t[1:])], rtol=1e-7)
    draws = law.sample(np.random.default_rng(1), 20_000)
    assert stats.kstest(draws, law.cdf).pvalue > 1e-6
    assert eval(repr(law)) == law


def _tails(law, times):
    """Integral of sf beyond ``times``, by the trapezoid rule in log t."""
    for t in times:
        y = np.linspace(math.log(t), math.log(t + 60 * law.mean + 60 / min(law.rates)), 20_001)
        yield np.trapezoid(law.sf(np.exp(y)) * np.exp(y), y)


def test_coxian_is_erlang_or_hyper_exponential():
    t = np.geomspace(1e-6, 100, 50)
    np.testing.assert_allclose(Coxian((2.0,) * 3, (1.0, 1.0)).sf(t), Erlang(3, 0.5).sf(t), rtol=1e-12)
    # rates 2 then 1: with g = (1 - 1/2) p of the slow half in each phase, a mixture
    np.testing.assert_allclose(
        Coxian((2.0, 1.0), (0.25,)).sf(t), HyperExponential((0.5, 0.5), (0.5, 1.0)).sf(t), rtol=1e-12
    )


@pytest.mark.parametrize(
    "law, expected",
    [
        (Coxian((4.0,), ()), "constant"),
        (Coxian((2.0, 1.0), (0.5,)), "constant"),
        (Coxian((3.0, 1.0), (1.0,)), "increasing"),
        (Coxian((3.0, 1.0), (0.1,)), "decreasing"),
        (COXIAN, "decreasing"),
        (Coxian((5.0, 0.01, 5.0, 0.01), (0.9, 0.3, 1.0)), "neither"),
    ],
    ids=repr,
)
def test_the_ageing_of_coxians(law, expected):
    assert law.ageing == expected
    t = np.linspace(0.001, 4, 400) * law.mean
    hazard = -np.diff(np.log(law.sf(t)))
    if expected != "neither":
        sign = {"constant": 0, "increasing": 1, "decreasing": -1}[expected]
        assert np.all(sign * np.diff(hazard) >= -1e-12) if sign else np.ptp(hazard) < 1e-12


@pytest.mark.parametrize("rates, go_on", [((), ()), ((1.0,), (0.5,)), ((1.0, 2.0), (1.5,)), ((1.0, -2.0), (0.5,))])
def test_coxian_checks_its_parameters(rates, go_on):
    with pytest.raises(ValueError, match=r"go_on must be probabilities|must be a finite number > 0"):
        Coxian(rates, go_on)


@pytest.mark.parametrize(
    "law, size",
    [
        (Exponential(2.0), 1),
        (Gamma(3.0, 0.4), 3),
        (COXIAN, 3),
        (STALLS, 2),
        (LocalSteps(Exponential(0.3), 4), 4),
        (LocalSteps(STALLS, 2), 4),
        (Mixture((0.2, 0.8), (Erlang(2, 1.0), COXIAN)), 5),
        (Sum((STALLS, Erlang(2, 0.3), Exponential(0.1))), 5),
    ],
    ids=repr,
)
def test_phases_are_the_law(law, size):
    found = phases(law)
    assert found is not None
    assert found.start.size == size
    for t in (0.01, 0.7, 3.0):
        assert found.start @ expm(found.generator * t) @ np.ones(size) == pytest.approx(float(law.sf(t)), rel=1e-6)


@pytest.mark.parametrize(
    "law", [LogNormal(1.0, 1.0), Gamma(2.5, 1.0), Erlang(65, 1.0), LocalSteps(LogNormal(1.0, 1.0), 3), Deterministic(1)]
)
def test_other_laws_have_no_phases(law):
    assert phases(law) is None


# -- against what is known otherwise ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "delay", [Exponential(2.0), [Exponential(0.5)] * 2 + [Exponential(1.0)] * 3 + [Exponential(4)]]
)
@pytest.mark.parametrize("theta", [0, 1, 3, math.inf])
@pytest.mark.parametrize("k", [1, 3, 6])
def test_the_closed_form_of_exponential_workers(delay, k, theta):
    workers = as_workers(delay, 6)
    exact = closed_form.steady_state(workers, np.array([k]), np.array([float(theta)]))
    state = markov_chain.steady_state(workers, k, theta)
    for name in [*NUMBERS, "participation"]:
        np.testing.assert_allclose(getattr(state, name), getattr(exact, name)[0], rtol=1e-9, atol=1e-10)
    both = min(state.staleness_pmf.size, exact.staleness_pmf.shape[1]) - 1
    np.testing.assert_allclose(state.staleness_pmf[:both], exact.staleness_pmf[0, :both], atol=1e-11)


@pytest.mark.parametrize("delay", [*PHASE_TYPE, UNLIKE], ids=repr)
def test_the_limits(delay):
    n = 5
    for k in (2, n):
        k_sync = chain(delay, k, n, 0)
        assert k_sync.round_time == pytest.approx(order_stats.mean(delay, k, n), rel=1e-9)
        np.testing.assert_allclose(k_sync.participation, order_stats.first_k_probabilities(delay, k, n), rtol=1e-9)
        assert (k_sync.restarts, k_sync.wasted_fraction) == pytest.approx((n - k, (n - k) / n), abs=1e-12)
    asynchronous = chain(delay, 1, n, None)
    laws = delay if isinstance(delay, list) else [delay] * n
    assert asynchronous.round_time == pytest.approx(1 / sum(1 / law.mean for law in laws), rel=1e-11)
    assert asynchronous.idle_fraction == 0
    np.testing.assert_allclose(asynchronous.participation, [asynchronous.round_time / law.mean for law in laws])


@settings(max_examples=25, deadline=None)
@given(
    delay=st.sampled_from(PHASE_TYPE), n=st.integers(2, 5), k=st.integers(1, 5), theta=st.sampled_from([0, 1, 2, None])
)
def test_conservation(delay, n, k, theta):
    k = min(k, n)
    state = chain(delay, k, n, theta)
    lost = 0 if theta is None else state.restarts * (theta + 1)
    ages = np.arange(state.staleness_pmf.size)
    assert k * (state.staleness_pmf @ ages) + lost == pytest.approx(n - k, rel=1e-9, abs=1e-9)
    assert state.staleness_pmf.sum() == pytest.approx(1, abs=1e-10)
    np.testing.assert_allclose(state.participation, k / n, rtol=1e-10)
    assert state.downlinks == k + state.restarts
    if theta is None:
        busy = n * state.round_time * (1 - state.idle_fraction)
        assert busy == pytest.approx(k * delay.mean, rel=1e-10)
    scaled = chain(Sum((delay,)), k, n, theta)  # the same law by another name
    assert scaled.round_time == pytest.approx(state.round_time, rel=1e-10)


def estimates(state, replicates):
    unit = Estimate(0.0, 1.0, replicates).half_width()
    return {name: Estimate(getattr(state, name), getattr(state.error, name) / unit, replicates) for name in NUMBERS}


CELLS = [(1, 4, 2), (2, 6, 1), (3, 6, 3), (3, 8, None), (5, 6, None), (2, 3, 0)]


@pytest.mark.parametrize("cell, delay", by_turns(CELLS, PHASE_TYPE, rounds=2), ids=str)
def test_simulation_agrees(delay, cell):
    simulation_agrees(delay, *cell, num_rounds=600, resolution=0.12)


@pytest.mark.parametrize("k, theta", [(2, 1), (3, None), (1, 3)])
def test_simulation_agrees_for_unequal_workers(k, theta):
    theory = simulation_agrees(UNLIKE, k, 5, theta, num_rounds=1000, resolution=0.12)
    state = monte_carlo.abs_sgd(UNLIKE, k, 5, theta, np.random.default_rng(3), 1000, 128)
    unit = 6 / Estimate(0, 1, 128).half_width()
    assert np.all(np.abs(state.participation - theory.participation) <= unit * state.error.participation)
    assert np.all(state.error.participation < 0.03 * state.participation)


@pytest.mark.slow
@pytest.mark.parametrize("cell", CELLS, ids=str)
@pytest.mark.parametrize("delay", [*PHASE_TYPE, Erlang(3, 1.0), LocalSteps(STALLS, 2)], ids=repr)
def test_simulation_agrees_closely(delay, cell):
    simulation_agrees(delay, *cell, num_rounds=20_000, resolution=0.03)


def simulation_agrees(delay, k, n, theta, num_rounds, resolution):
    theory = chain(delay, k, n, theta)
    state = monte_carlo.abs_sgd(delay, k, n, theta, np.random.default_rng([k, n, theta or 99]), num_rounds, 128)
    found = estimates(state, 128)
    assert_agrees(found["round_time"], theory.round_time, resolution)
    for name in NUMBERS[1:]:
        expected = getattr(theory, name)
        if found[name].stderr < 1e-12:  # what does not fluctuate
            assert found[name].mean == pytest.approx(expected, abs=1e-9)
        else:
            assert_within(found[name], expected, 1e-12, 1e-12, resolution * max(1.0, 2 * expected))
    both = min(theory.staleness_pmf.size, state.staleness_pmf.size) - 1
    unit = 6 / Estimate(0, 1, 128).half_width()
    differences = np.abs(theory.staleness_pmf[:both] - state.staleness_pmf[:both])
    assert np.all(differences <= unit * state.error.staleness_pmf[:both] + 2e-5)
    return theory


# -- its size -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delay", [Erlang(3, 1.0), STALLS, UNLIKE], ids=repr)
@pytest.mark.parametrize("k, theta", [(1, 1), (3, 2), (5, 1), (2, None), (4, None)])
def test_the_states_are_counted_before_they_are_made(delay, k, theta):
    workers = as_workers(delay, 5)
    bound = math.inf if theta is None else theta
    groups = markov_chain.groups_of(workers)
    if theta is None:
        groups = next(markov_chain.splits(groups))[1]
    states = markov_chain.Occupancy(groups, k, theta).states
    assert len(states) == markov_chain.number_of_states(workers, k, bound)
    assert len(np.unique(states, axis=0)) == len(states)
    assert np.all((states.sum(axis=1) > 5 - k) & (states.sum(axis=1) <= 5))


@pytest.mark.parametrize(
    "delay, k, n, theta",
    [
        (Erlang(3, 1.0), 10, 40, 3.0),
        (Erlang(3, 1.0), 10, 500, math.inf),
        (LogNormal(1.0, 1.0), 2, 4, 1.0),
        (STALLS, 3, 4, 1e6),
    ],
)
def test_what_is_too_large_is_refused(delay, k, n, theta):
    with pytest.raises(ValueError, match=r"no Markov chain of at most 200000 states.*use exponential phases, fewer"):
        markov_chain.steady_state(as_workers(delay, n), k, theta)


def test_rates_of_unlike_scale():
    """Stalls of 10^4 delays, and a clock in other units."""
    stalls = HyperExponential((0.99, 0.01), (1.0, 1e4))
    state = chain(stalls, 2, 5, None)
    assert 5 * state.round_time * (1 - state.idle_fraction) == pytest.approx(2 * stalls.mean, rel=1e-9)
    slow, fast = (chain(Erlang(2, scale), 2, 5, 1) for scale in (1e9, 1e-9))
    assert slow.round_time == pytest.approx(1e18 * fast.round_time, rel=1e-10)
    assert slow.wasted_fraction == pytest.approx(fast.wasted_fraction, rel=1e-10)
