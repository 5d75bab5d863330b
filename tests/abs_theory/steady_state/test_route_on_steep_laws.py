"""The errors of "auto" where the density is infinite at 0 and single rounds differ by orders of magnitude."""

import pytest

from abs_theory import steady_state
from abs_theory.delays import Gamma, Weibull

BOUNDS = (1, 2, 3, 5, 10, 20, None)
LAWS = (Gamma(0.2, 5.0), Gamma(0.3, 3.0), Weibull(1.0, 0.42), Weibull(1.0, 0.3))
CELLS = [(law, n, k) for n in (200, 50, 10) for law in LAWS for k in sorted({1, 2, n // 2, n - 1})]


def two_kinds(law, n):
    """Half of the workers three times as slow."""
    slow = Gamma(law.shape, 3 * law.scale) if isinstance(law, Gamma) else Weibull(3 * law.scale, law.shape)
    return [law] * (n // 2) + [slow] * (n - n // 2)


def largest_errors(delay, k, n, bounds):
    """Of the round time, relative; and of shares of time, probabilities and participation."""
    relative, shares, probabilities = [], [], []
    for bound in bounds:
        state = steady_state.abs_sgd(delay, k, n, bound)
        error = state.error
        relative.append(float(error.round_time / state.round_time))
        shares.append(max(error.idle_fraction, error.wasted_fraction, error.participation.max()))
        probabilities.append(error.staleness_pmf.max())
        assert error.mean_staleness <= max(0.03 * state.mean_staleness, 0.02)
        assert error.restarts <= max(0.03 * state.restarts, 0.02)
    return max(relative), max(shares), max(probabilities)


@pytest.mark.slow
@pytest.mark.parametrize("law, n, k", CELLS, ids=repr)
def test_errors_are_small(law, n, k):
    relative, shares, probabilities = largest_errors(law, k, n, BOUNDS)
    assert relative <= 0.03
    assert shares <= 0.01
    assert probabilities <= 0.02


TWO_KINDS = [(law, n, k) for law, n, k in CELLS if n >= 50 and law is not LAWS[3]]


@pytest.mark.slow
@pytest.mark.parametrize("law, n, k", TWO_KINDS, ids=repr)
def test_errors_of_two_kinds_of_workers_are_small(law, n, k):
    relative, shares, probabilities = largest_errors(two_kinds(law, n), k, n, BOUNDS)
    assert relative <= 0.03
    assert shares <= 0.01
    assert probabilities <= 0.02


@pytest.mark.parametrize("law, n, k, bound", [(LAWS[0], 200, 1, 20), (LAWS[3], 50, 2, 3)], ids=repr)
def test_errors_are_small_where_rounds_vary_most(law, n, k, bound):
    relative, shares, probabilities = largest_errors(law, k, n, [bound])
    assert relative <= 0.03
    assert shares <= 0.01
    assert probabilities <= 0.02
