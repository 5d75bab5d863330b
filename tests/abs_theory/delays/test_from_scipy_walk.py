"""Every distribution of scipy on [0, inf): moments and the largest of 20 against integrals of its density."""

import math
import warnings
from itertools import pairwise

import numpy as np
import pytest
from scipy import special, stats
from scipy.stats._distr_params import distcont, distdiscrete

from abs_theory import order_stats
from abs_theory.delays import as_delay
from abs_theory.delays.from_scipy import ScipyContinuous

N = 20
NODES = 80_000
MANY_NODES = {"rel_breitwigner": 320_000}  # narrow peaks
# where the reference is only good to about this: a rounded end, a density with few digits
COARSE = {
    "geninvgauss": 1e-7,
    "studentized_range": 1e-6,
    "gausshyper": 1e-7,
}
# where the density has a kink, from the shapes: there two integrals meet
CORNERS = {
    "loglaplace": lambda shape: [1.0],
    "triang": lambda mode: [mode],
    "trapezoid": lambda first, last: [first, last],
    "irwinhall": lambda number: range(1, number),
}
# distance of their kinks, between which sf is integrated: the trapezoid rule over all of them has only 7 digits
KINKS = {"ksone": 1e-3, "kstwo": 0.05}
PRICY = ("studentized_range", "geninvgauss", "gausshyper", "irwinhall", "ksone")  # seconds each
HEAVY = [  # with tails of index just above, at and below 1 and 2
    ("fisk", (1.3,)),
    ("fisk", (2.0,)),
    ("fisk", (0.9,)),
    ("burr", (1.5, 2.0)),
    ("mielke", (4.0, 2.5)),
    ("betaprime", (5.0, 2.5)),
    ("invgamma", (1.5,)),
    ("rel_breitwigner", (2.0,)),
    ("genpareto", (0.45,)),
    ("f", (5.0, 3.0)),
]
SMOOTH_QUANTILES = ("arcsine",)  # over which is integrated, because the density is infinite at both ends
FAST = ["alpha", "beta", "burr", "fisk", "foldcauchy", "halfnorm", "invgauss", "loglaplace", "mielke"]


def continuous():
    cases = [(name, shapes) for name, shapes in distcont if isinstance(name, str)]
    for name, shapes in [*cases, *HEAVY]:
        if getattr(stats, name)(*shapes).support()[0] >= 0:
            fast = (name in FAST or (name, shapes) in HEAVY) and name not in PRICY
            yield pytest.param(name, shapes, marks=() if fast else pytest.mark.slow, id=f"{name}-{shapes}")


def discrete():
    for name, shapes in distdiscrete:
        if isinstance(name, str) and getattr(stats, name)(*shapes).support()[0] >= 0:
            yield pytest.param(name, shapes, id=f"{name}-{shapes}")


def nodes_of(low, high, middle, number):
    """Times and seconds of the trapezoid rule from ``low`` to ``high``: in log t, or in a logit if both are finite."""
    if math.isinf(high):
        z = np.linspace(math.log(middle - low) - 50.0, 340.0, number)
        return low + np.exp(z), np.exp(z) * (z[1] - z[0])
    z = np.linspace(-80.0, 80.0, number)
    return low + (high - low) * special.expit(z), (high - low) * special.expit(z) * special.expit(-z) * (z[1] - z[0])


def integrals(law, nodes, corners=()):
    """Mean, variance and mean of the largest of 20, from the density between its ``corners``.

    Infinite where the density falls as slowly as that.
    """
    low, high = law.support()
    edges = [low, *corners, high]
    middle = max(law.median(), 2 * edges[-2] - low)
    parts = [nodes_of(a, b, middle, nodes) for a, b in pairwise(edges)]
    t, seconds = (np.concatenate(part) for part in zip(*parts, strict=True))
    pdf = np.nan_to_num(law.pdf(t), nan=0.0, posinf=0.0)
    density = pdf * seconds
    density[(t <= low) | (t >= high)] = 0.0
    last = np.flatnonzero((density > 1e-280) & (pdf > 1e-290))[-1]  # beyond, digits are lost to underflow
    fall = density[last - 50] / density[last] if math.isinf(high) else 0.0
    index = math.log(fall) / math.log((t[last] - edges[-2]) / (t[last - 50] - edges[-2])) if fall > 0 else math.inf
    t, density, cdf = t[: last + 1], density[: last + 1], np.nan_to_num(law.cdf(t[: last + 1]), nan=1.0)
    mean = float(density @ t) if index > 1 + 1e-6 else math.inf
    var = float(density @ (t - mean) ** 2) if index > 2 + 1e-6 else math.inf
    return mean, var, float(N * cdf ** (N - 1) * density @ t) if index > 1 + 1e-6 else math.inf


def integrals_between_kinks(law, step):
    """As ``integrals``, from P(X > t) by Gauss-Legendre between kinks at multiples of ``step``."""
    nodes, weights = np.polynomial.legendre.leggauss(12)
    edges = np.arange(0.0, min(law.support()[1], law.isf(1e-16) + step) + step / 2, step)
    t = ((edges[:-1, None] + edges[1:, None] + step * nodes) / 2).ravel()
    alive = np.clip(law.sf(t), 0.0, 1 - 1e-16)
    weights = np.tile(weights * step / 2, edges.size - 1)
    mean = float(alive @ weights)
    return mean, float(2 * (t * alive) @ weights) - mean**2, float(-np.expm1(N * np.log1p(-alive)) @ weights)


def integrals_of_quantiles(law):
    nodes, weights = np.polynomial.legendre.leggauss(100)
    u, weights = (1 + nodes) / 2, weights / 2
    t = law.ppf(u)
    mean = float(weights @ t)
    return mean, float(weights @ (t - mean) ** 2), float(N * weights @ (u ** (N - 1) * t))


@pytest.mark.parametrize("name, shapes", list(continuous()))
def test_a_continuous_distribution(name, shapes):
    law = getattr(stats, name)(*shapes)
    delay = as_delay(law)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        if name in KINKS:
            mean, var, largest = integrals_between_kinks(law, KINKS[name])
        elif name in SMOOTH_QUANTILES:
            mean, var, largest = integrals_of_quantiles(law)
        else:
            number = 4000 if name in PRICY else MANY_NODES.get(name, NODES)
            mean, var, largest = integrals(law, number, CORNERS.get(name, lambda *_: ())(*shapes))
    tolerance = COARSE.get(name, 1e-8)
    assert delay.mean == pytest.approx(mean, rel=tolerance)
    assert delay.var == pytest.approx(var, rel=10 * tolerance)
    assert order_stats.mean(law, N, N) == pytest.approx(largest, rel=tolerance)
    assert order_stats.mean(law, 1, 1) == pytest.approx(delay.mean, rel=1e-8)


@pytest.mark.parametrize("name, shapes", list(discrete()))
def test_a_discrete_distribution(name, shapes):
    law = getattr(stats, name)(*shapes)
    low, high = law.support()
    times = np.arange(low, min(high, low + 300_000) + 1)
    probability = law.pmf(times)
    early = np.append(0.0, np.cumsum(probability))
    late = np.append(np.cumsum(probability[::-1])[::-1], 0.0)
    # P(max > t) = 1 - F^20 from the near end
    above = np.where(late < 0.5, -np.expm1(N * np.log1p(-np.minimum(late, 0.5))), 1 - np.minimum(early, 1.0) ** N)
    delay = as_delay(law)
    mean = float(times @ probability)
    assert delay.mean == pytest.approx(mean, rel=1e-9)
    assert delay.var == pytest.approx(float((times - mean) ** 2 @ probability), rel=1e-8)
    assert order_stats.mean(law, N, N) == pytest.approx(low + above[1:].sum(), rel=1e-9)
    assert order_stats.mean(law, 1, 1) == pytest.approx(delay.mean, rel=1e-12)


@pytest.mark.parametrize(
    ("law", "error"),
    [
        (stats.kstwo(10), 2e-4), (stats.gausshyper(13.8, 3.12, 2.51, 5.18), 2e-4), (stats.invgamma(1.5), 1e-6),
        (stats.truncnorm(0.1, 2.0), 1e-6),
    ],
    ids=lambda law: law.dist.name if hasattr(law, "dist") else "",
)  # fmt: skip
def test_many_draws_of_a_law_with_slow_quantiles(law, error):
    """They come from a table: their quantiles are those of the law, and a hundred thousand do not take a minute."""
    delay = as_delay(law)
    assert isinstance(delay, ScipyContinuous)
    draws = delay.sample(np.random.default_rng(0), (100, 1000))
    assert draws.shape == (100, 1000)
    levels = np.array([0.001, 0.1, 0.5, 0.9, 0.999])
    below = np.array([(draws <= t).mean() for t in delay.ppf(levels)])
    assert np.all(np.abs(below - levels) <= 5 * np.sqrt(levels * (1 - levels) / draws.size))
    u = np.array([1e-8, 0.03, 0.4, 0.97])
    np.testing.assert_allclose(delay._quantiles(special.logit(u)), delay.ppf(u), rtol=error)


SLOW_QUANTILES = [
    stats.argus(1.0),
    stats.foldnorm(1.95),
    stats.irwinhall(3),
    stats.kstwo(3),
    pytest.param(stats.kstwo(20), marks=pytest.mark.slow),
    pytest.param(stats.ksone(1000), marks=pytest.mark.slow),
    pytest.param(stats.gausshyper(13.8, 3.1, 2.5, 5.2), marks=pytest.mark.slow),
    pytest.param(stats.geninvgauss(2.3, 1.5), marks=pytest.mark.slow),
    pytest.param(stats.geninvgauss(-2.0, 0.1), marks=pytest.mark.slow),
    pytest.param(stats.recipinvgauss(0.63), marks=pytest.mark.slow),
    pytest.param(stats.rel_breitwigner(36.5, 2.0), marks=pytest.mark.slow),
    pytest.param(stats.foldcauchy(4.7), marks=pytest.mark.slow),
    pytest.param(stats.dpareto_lognorm(3, 1.2, 1.5, 2), marks=pytest.mark.slow),
    pytest.param(stats.vonmises_line(1.0, loc=4.0), marks=pytest.mark.slow),
    pytest.param(stats.studentized_range(3, 10), marks=pytest.mark.slow),
    pytest.param(stats.studentized_range(5, 40, loc=1.0, scale=0.2), marks=pytest.mark.slow),
]


@pytest.mark.parametrize("law", SLOW_QUANTILES, ids=lambda law: f"{law.dist.name}-{law.args}")
def test_a_law_with_slow_quantiles_is_the_one_of_scipy(law):
    """It is tabulated; scipy needs up to 70 ms for a quantile."""
    delay, far = as_delay(law), 10.0 if law.dist.name == "studentized_range" else 17.0
    assert isinstance(delay, ScipyContinuous)
    assert delay.quick is not None
    x = np.array([-far, -5.0, -1.7, 0.3, 2.9, 7.7, far])
    near, beyond = special.expit(x), special.expit(-x)
    times = np.where(x < 0, law.ppf(near), law.isf(beyond))
    np.testing.assert_allclose(np.where(x < 0, delay.ppf(near), delay.isf(beyond)), times, rtol=1e-7)
    np.testing.assert_allclose(delay.cdf(times), near, rtol=2e-7)
    np.testing.assert_allclose(delay.sf(times), beyond, rtol=2e-7)
    assert as_delay(law) is delay  # which knows its table


@pytest.mark.slow
def test_the_studentized_range():
    """The range of three normal numbers, by a spread estimated with 5 degrees of freedom, in seconds of computing."""
    law = stats.studentized_range(3, 5)
    rng = np.random.default_rng(0)
    spread = np.sqrt(rng.chisquare(5, size=400_000) / 5)
    draws = np.ptp(rng.normal(size=(400_000, 3)), axis=1) / spread
    assert order_stats.mean(law, 1, 1) == pytest.approx(draws.mean(), rel=5 * draws.std() / draws.mean() / 400_000**0.5)
    largest = draws.reshape(-1, 4).max(axis=1)
    error = 5 * largest.std() / largest.size**0.5
    assert order_stats.mean(law, 4, 4) == pytest.approx(largest.mean(), abs=error)
    with pytest.raises(ArithmeticError, match=r"heavy tail \(index 2\), and scipy knows"):
        order_stats.mean(stats.studentized_range(3, 2), 1, 1)


def test_draws_of_a_law_on_a_line_are_not_wrapped():
    law = as_delay(stats.vonmises_line(1.0, loc=4.0))
    draws = law.sample(np.random.default_rng(0), 10_000)
    assert np.all((draws >= 4 - math.pi) & (draws <= 4 + math.pi))
    assert draws.mean() == pytest.approx(4.0, abs=5 * draws.std() / 100)
