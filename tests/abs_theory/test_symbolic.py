"""The closed forms in exact arithmetic, against quadrature, and as referee of the floating point."""

from fractions import Fraction

import mpmath as mp
import numpy as np
import pytest
import sympy as sp

from abs_theory import order_stats, steady_state, symbolic
from abs_theory.delays import Erlang, Exponential, Lomax, Pareto, Uniform, Weibull

HALF = sp.Rational(1, 2)
LAWS = {
    "exponential": (Exponential(1.5), lambda k, n: symbolic.exponential(k, n, sp.Rational(3, 2))),
    "uniform": (Uniform(low=1.0, high=3.0), lambda k, n: symbolic.uniform(k, n, 1, 3)),
    "pareto": (Pareto(minimum=0.5, index=2.0), lambda k, n: symbolic.pareto(k, n, HALF, 2)),
    "lomax": (Lomax(scale=2.0, index=3.0), lambda k, n: symbolic.lomax(k, n, 2, 3)),
    "weibull": (Weibull(scale=1.0, shape=0.5), lambda k, n: symbolic.weibull(k, n, 1, HALF)),
    "erlang": (Erlang(steps=3, scale=0.5), lambda k, n: symbolic.erlang(k, n, 3, HALF)),
}


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("k, n", [(1, 1), (1, 12), (7, 12), (19, 20)])
def test_floating_point_agrees_with_fractions(name, k, n):
    law, exact = LAWS[name]
    expected = exact(k, n)
    assert order_stats.mean(law, k, n) == pytest.approx(float(sp.N(expected, 30)), rel=1e-12)
    assert isinstance(expected, sp.Rational) or name == "pareto"


@pytest.mark.parametrize("name", LAWS)
def test_means_sum_to_n_means_exactly(name):
    law, exact = LAWS[name]
    total = sp.simplify(sum(exact(k, 6) for k in range(1, 7)))
    assert total == 6 * sp.Rational(Fraction(law.mean).limit_denominator(1000))


SURVIVAL = {
    "exponential": lambda t: mp.exp(-2 * t / 3),
    "uniform": lambda t: 1 if t < 1 else max((3 - t) / 2, mp.mpf(0)),
    "pareto": lambda t: 1 if 2 * t < 1 else (2 * t) ** -2,
    "lomax": lambda t: (1 + t / 2) ** -3,
    "weibull": lambda t: mp.exp(-mp.sqrt(t)),
    "erlang": lambda t: mp.exp(-2 * t) * (1 + 2 * t + 2 * t**2),
}


@pytest.mark.parametrize("name", SURVIVAL)
@pytest.mark.parametrize("k, n", [(1, 2), (3, 4)])
def test_against_quadrature_with_30_digits(name, k, n):
    """The integral of P(fewer than k of n done by t), from the survival function alone."""
    S = SURVIVAL[name]

    def unfinished(t):
        return mp.fsum(mp.binomial(n, j) * (1 - S(t)) ** j * S(t) ** (n - j) for j in range(k))

    with mp.workdps(30):
        found = mp.quad(unfinished, [0, mp.mpf("0.5"), 1, 3, 10, 100, mp.inf] if name != "uniform" else [0, 1, 3])
        assert abs(found / mp.mpf(sp.N(LAWS[name][1](k, n), 30)) - 1) < 1e-12


def test_variance_of_exponentials():
    for k, n in [(1, 5), (3, 5), (5, 5)]:
        expected = symbolic.exponential_var(k, n, 2)
        assert isinstance(expected, sp.Rational)
        assert order_stats.var(Exponential(2.0), k, n) == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize("theta", [0, 1, 3, None])
@pytest.mark.parametrize("k, n", [(1, 4), (5, 20), (19, 20)])
def test_steady_state_in_fractions(k, n, theta):
    exact = symbolic.abs_sgd(k, n, sp.oo if theta is None else theta, 2)
    state = steady_state.abs_sgd(Exponential(2.0), k, n, theta)
    for name in set(symbolic.SteadyState._fields) - {"staleness"}:
        value = sp.sympify(getattr(exact, name))
        assert isinstance(value, sp.Rational), name
        assert getattr(state, name) == pytest.approx(float(value), rel=1e-11, abs=1e-14), name
    last = state.staleness_pmf.size - 1 if theta is None else theta + 1
    law = [float(exact.staleness(j)) for j in range(min(last, 30))]
    np.testing.assert_allclose(state.staleness_pmf[: len(law)], law, rtol=1e-9)


def test_conservation_of_staleness_for_symbols():
    k, n, theta = sp.symbols("k n theta", positive=True)
    state = symbolic.abs_sgd(k, n, theta)
    assert sp.simplify(k * state.mean_staleness + state.restarts * (theta + 1) - (n - k)) == 0
    assert sp.simplify(state.wasted_fraction - state.restarts * (theta + 1) / n) == 0
    free = symbolic.abs_sgd(k, n, sp.oo)
    assert sp.simplify(free.mean_staleness - (n - k) / k) == 0
    assert free.restarts == 0
    # the sum over the truncated geometric law, for a bound of 4
    four = symbolic.abs_sgd(k, n, 4)
    assert sp.simplify(sum(four.staleness(j) for j in range(5)) - 1) == 0
    assert sp.simplify(sum(j * four.staleness(j) for j in range(5)) - four.mean_staleness) == 0


def test_formulas_are_formulas():
    k, n = sp.symbols("k n", integer=True, positive=True)
    staleness = symbolic.abs_sgd(k, n, sp.Symbol("theta", positive=True)).mean_staleness
    assert r"\theta" in sp.latex(staleness)
    for formula in (symbolic.exponential(k, n), symbolic.uniform(k, n), symbolic.pareto(k, n, 1, 2), staleness):
        assert {k, n} <= formula.free_symbols
        assert formula.subs({k: 2, n: 5}).doit().is_number or formula is staleness
