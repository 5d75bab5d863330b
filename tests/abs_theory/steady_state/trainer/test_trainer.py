"""Updates that take time: theory against simulation, what is conserved, what is exact, and the limits of both."""

import math

import numpy as np
import pytest
from agreement import assert_within

from abs_theory import steady_state
from abs_theory.delays import Exponential, Gamma, LogNormal, Mixture
from abs_theory.monte_carlo import Rules, played, update_law
from abs_theory.results import Estimate
from abs_theory.workers import as_workers

LOGNORMAL = LogNormal(median=math.exp(-0.5), sigma=1.0)
LAWS = {
    "lognormal": LOGNORMAL,
    "light": Gamma(shape=4.0, scale=0.25),
    "two peaks": Mixture(weights=(0.8, 0.2), components=(Gamma(16.0, 0.5 / 16), Gamma(16.0, 3.0 / 16))),
    "exponential": Exponential(1.0),
}


def compare(theory, simulated, replicates=32):
    """Round time within its stated error, which is small; staleness within one update; lost within .01."""
    unit = Estimate(0.0, 1.0, replicates).half_width()
    found = Estimate(simulated.round_time, simulated.error.round_time / unit, replicates)
    assert_within(found, theory.round_time, theory.error.round_time, cap=0.13 * found.mean, resolution=0.1 * found.mean)
    for q in (0.5, 0.9, 0.99):
        assert abs(theory.staleness_quantile(q) - simulated.staleness_quantile(q)) <= 1
    assert theory.lost_share == pytest.approx(simulated.lost_share, abs=0.01)
    assert theory.mean_staleness == pytest.approx(
        simulated.mean_staleness, abs=theory.error.mean_staleness + 3 * simulated.error.mean_staleness + 0.01
    )


# law, k, n, threshold, seconds of an update, whether slots wait for the update, whether work is stopped in flight
CELLS = [
    ("lognormal", 16, 48, None, 0.4, True, True),
    ("two peaks", 24, 32, 2, 0.5, True, True),
    ("light", 8, 40, 1, 0.0, False, True),
    ("two peaks", 16, 64, 2, 0.1, False, True),
    ("lognormal", 16, 40, 2, 0.0, False, False),
]


def theory_and_simulation(law, k, n, bound, T, waits, in_flight, rounds):
    if waits:
        theory = steady_state.abs_sgd(LAWS[law], k, n, bound, update_seconds=T)
    else:
        theory = steady_state.abs_batch(LAWS[law], k, n, bound, T, in_flight)
    rules = Rules(k, n if waits else math.inf, math.inf if bound is None else bound, in_flight)
    rng = np.random.default_rng(5)
    return theory, played(as_workers(LAWS[law], n), rules, update_law(T), rng, rounds, 32)


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_theory_against_simulation(cell):
    compare(*theory_and_simulation(*cell, rounds=60))
