"""Laws that a user writes: mistakes are named when the law is made, or where a lost tail is needed."""

import pickle
from dataclasses import dataclass

import numpy as np
import pytest

from abs_theory import order_stats
from abs_theory.delays import Delay, Deterministic, Empirical, Lomax, Mixture
from abs_theory.delays.base import at_the_ends


@dataclass(frozen=True)
class Rayleigh(Delay):
    """P(X > t) = exp(-t^2), as a user may write it; the classes below change one function."""

    @at_the_ends
    def cdf(self, t):
        return -np.expm1(-(np.maximum(t, 0.0) ** 2))

    @at_the_ends
    def sf(self, t):
        return np.exp(-(np.maximum(t, 0.0) ** 2))

    @at_the_ends
    def ppf(self, q):
        return np.sqrt(-np.log1p(-np.asarray(q)))

    @at_the_ends
    def isf(self, q):
        return np.sqrt(-np.log(q))


def test_a_law_is_taken_and_can_be_sent_to_other_processes():
    assert order_stats.mean(Rayleigh(), 1, 4) == pytest.approx(np.sqrt(np.pi) / 4)  # that of one, over sqrt(4)
    assert pickle.loads(pickle.dumps(Rayleigh())) == Rayleigh()


@pytest.mark.parametrize(
    "law", [Lomax(1.0, 0.3), Empirical([1.0, 2.0]), Mixture((0.3, 0.7), (Deterministic(2.0), Lomax(1.0, 1.0)))]
)
def test_jumps_gaps_and_heavy_tails_are_no_mistakes(law):
    @dataclass(frozen=True)
    class Mine(Delay):
        cdf, sf, ppf, isf = law.cdf, law.sf, law.ppf, law.isf

    assert Mine().ppf(0.5) == law.ppf(0.5)


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"ppf": lambda self, q: -np.asarray(q)}, r"ppf of Mine must give times >= 0 that rise with q, got ppf"),
        ({"isf": lambda self, q: np.asarray(q)}, r"isf of Mine must give times >= 0 that fall with q|isf\(0.99\) ="),
        ({"ppf": lambda self, q: np.asarray(q) * np.nan}, "must give times >= 0 that rise with q"),
        ({"ppf": lambda self, q: 0.5}, r"ppf of Mine must take an array and give as many times"),
        ({"cdf": lambda self, t: np.asarray(t) * 0.1}, r"those of one law, got ppf\(0.01\) = 0.100251 and cdf"),
        ({"sf": lambda self, t: np.exp(-np.asarray(t))}, "sf and ppf of Mine must be those of one law"),
        ({"isf": lambda self, q: np.asarray(-np.log(q))}, "cdf and isf of Mine must be those of one law"),
    ],
)  # fmt: skip
def test_functions_that_make_no_law_are_refused(changed, message):
    Mine = type("Mine", (Rayleigh,), changed)
    with pytest.raises(ValueError, match=message):
        Mine()


def test_a_lost_tail_is_told_from_a_heavy_one():
    class Mine(Rayleigh):
        def sf(self, t):
            return 1 - self.cdf(t)

    with pytest.raises(ArithmeticError, match=r"sf\(isf\(1e-20\)\) = 0: compute it, and isf, without 1 - cdf"):
        _ = Mine().mean
