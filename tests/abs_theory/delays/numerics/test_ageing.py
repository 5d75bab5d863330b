"""How hazard rates change with age: what is proved against what the hazard itself shows."""

import numpy as np
import pytest
from scipy import stats

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
    as_delay,
)
from abs_theory.delays.numerics.ageing import numerical_ageing

AGEING = {
    "constant": [
        Exponential(2.0),
        ShiftedExponential(0.0, 1.0),
        Gamma(1.0, 2.0),
        Erlang(1, 2.0),
        Weibull(1.0, 1.0),
        HyperExponential([0.3, 0.7], [2.0, 2.0]),
        Mixture([0.5, 0.5], [Exponential(1.0), Exponential(1.0)]),
        LocalSteps(Exponential(1.0), 1),
        Sum([Exponential(1.0)]),
        as_delay(stats.expon(scale=3)),
    ],
    "increasing": [
        ShiftedExponential(0.5, 1.0),
        Gamma(2.0, 1.0),
        Erlang(3, 1.0),
        Weibull(1.0, 1.5),
        Uniform(0.0, 1.0),
        Uniform(1.0, 3.0),
        LocalSteps(Exponential(1.0), 3),
        LocalSteps(Uniform(0.0, 1.0), 3),
        Sum([Exponential(1.0), Exponential(5.0), Deterministic(1.0)]),
        Sum([Exponential(1.0), Deterministic(1.0)]),
        as_delay(stats.truncnorm(-2, 3, loc=3)),
        as_delay(stats.rayleigh()),
        as_delay(stats.uniform(1, 2)),
    ],
    "decreasing": [
        Gamma(0.5, 1.0),
        Weibull(1.0, 0.5),
        Lomax(1.0, 2.5),
        HyperExponential([0.9, 0.1], [0.5, 5.0]),
        Mixture([0.5, 0.5], [Exponential(1.0), Exponential(9.0)]),
        Mixture([0.5, 0.5], [Lomax(1.0, 2.0), Gamma(0.5, 1.0)]),
        as_delay(stats.genpareto(0.3)),
    ],
    "neither": [
        Pareto(1.0, 2.5),
        LogNormal(1.0, 1.0),
        Mixture([0.9, 0.1], [Erlang(4, 0.25), Exponential(5.0)]),
        Mixture([0.5, 0.5], [Uniform(1.0, 2.0), Uniform(3.0, 4.0)]),
        Sum([HyperExponential([0.9, 0.1], [0.5, 5.0]), Deterministic(1.0)]),
        LocalSteps(HyperExponential([0.9, 0.1], [0.5, 5.0]), 3),
        as_delay(stats.invgauss(0.5)),
    ],
}
CASES = [pytest.param(law, ageing, id=f"{law}-{ageing}") for ageing, laws in AGEING.items() for law in laws]


@pytest.mark.parametrize("law, ageing", CASES)
def test_ageing(law, ageing):
    assert law.ageing == ageing


@pytest.mark.parametrize("law, ageing", CASES)
def test_the_hazard_itself_says_the_same(law, ageing):
    assert numerical_ageing(law) == ageing


@pytest.mark.parametrize("law, ageing", CASES)
def test_residual_times_agree(law, ageing):
    """P(X > a + s | X > a) falls with a if the hazard increases, and rises if it decreases (Barlow & Proschan 1975)."""
    a, s = law.ppf(np.linspace(0.0, 0.95, 60)), law.ppf(0.3) + 0.1 * law.ppf(0.5)
    survive = law.sf(a + s) / law.sf(a)
    rises, falls = np.any(np.diff(survive) > 1e-9), np.any(np.diff(survive) < -1e-9)
    if ageing in ("increasing", "constant"):
        assert not rises
    if ageing in ("decreasing", "constant"):
        assert not falls


def test_laws_without_a_hazard_rate():
    for law in (Deterministic(2.0), LocalSteps(Deterministic(2.0), 3), Empirical([3.0]), Empirical([3.0, 3.0])):
        assert law.ageing == "increasing"
    for law in (
        Empirical([1.0, 2.0]),
        as_delay(stats.geom(0.5)),
        Mixture([0.5, 0.5], [Deterministic(1.0), Exponential(1.0)]),
        LocalSteps(Empirical([1.0, 2.0]), 2),
    ):
        assert law.ageing == "neither"
