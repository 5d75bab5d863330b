"""The steady state of delays that are whole seconds, and tie, against all states listed (``lattice_chain``)."""

import numpy as np
import pytest
from cases import every_case
from lattice_chain import SCALARS, chain, steady_state
from scipy import stats

from abs_theory import monte_carlo
from abs_theory import steady_state as theory
from abs_theory.delays import Deterministic, Empirical, Mixture

COIN, THREE, FEW_LONG = {1: 0.5, 2: 0.5}, {1: 0.5, 2: 0.25, 5: 0.25}, {7: 0.95, 8: 0.05}
RARE, ALWAYS, STEADY = {1: 0.95, 20: 0.05}, {2: 1.0}, {10: 0.5, 11: 0.5}
CELLS = [
    ([THREE] * 3, 2, 1),
    ([COIN] * 4, 2, None),
    ([FEW_LONG, ALWAYS], 1, 8),
    ([RARE, COIN, COIN], 2, None),
    ([ALWAYS, ALWAYS, STEADY], 2, 2),  # one is always restarted
    ([ALWAYS] * 3, 1, 1),
]
MORE_CELLS = [
    ([COIN] * 4, 1, 4),
    ([THREE, THREE, COIN], 1, 3),
    ([FEW_LONG] * 2, 1, 1),  # constant delays, but for rare ones
    ([FEW_LONG] * 3, 1, 5),
    ([RARE] * 3, 2, 2),
    ([ALWAYS, STEADY, STEADY], 1, 5),  # who begins with whom is kept for ever
]
EVEN = 2520  # rounds, a multiple of the length of each cycle


def as_law(times):
    constant = [Deterministic(float(seconds)) for seconds in times]
    return Mixture(tuple(times.values()), tuple(constant)) if len(times) > 1 else constant[0]


def check(laws, k, bound):
    exact = steady_state(chain(laws, k, bound), EVEN, EVEN)
    delays = [as_law(times) for times in laws]
    state = theory.abs_sgd(delays, k, len(laws), bound)
    size = state.staleness_pmf.size
    exact["staleness_pmf"] = np.pad(exact["staleness_pmf"], (0, size))[:size]
    for name in (*SCALARS, "participation", "staleness_pmf"):
        apart = np.abs(getattr(state, name) - exact[name])
        assert np.all(apart <= getattr(state.error, name) + 1e-9), (name, getattr(state, name), exact[name])
    in_step = bound is not None and all(law.var < (0.2 * law.mean) ** 2 for law in delays)  # they may stay so for long
    assert state.error.round_time <= (0.1 if in_step else 0.03) * state.round_time


@every_case("cell", CELLS)
def test_every_field_of_whole_seconds(cell):
    check(*cell)


@pytest.mark.slow
@every_case("cell", MORE_CELLS)
def test_every_field_of_more_whole_seconds(cell):
    check(*cell)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(200))
def test_every_field_of_random_whole_seconds(seed):
    rng = np.random.default_rng([23, seed])
    kinds = [COIN, THREE, FEW_LONG, RARE, STEADY, {2: 0.5, 3: 0.5}, {5: 0.5, 6: 0.5}, {10: 0.9, 13: 0.1}]
    n, bound = int(rng.integers(2, 4)), (None, 1, 2, 3, 5, 8)[rng.integers(6)]
    k = int(rng.integers(1, n))
    few = [kinds[i] for i in rng.integers(len(kinds), size=2 if rng.random() < 0.4 else 1)]
    check([few[i] for i in np.sort(rng.integers(len(few), size=n))], k, 4 if k == 1 and bound is None else bound)


def test_many_workers_that_began_together_tie_for_ever():
    """With k = 1 nobody waits, so whole seconds stay whole: workers at random phases would never tie."""
    law = Empirical([1.0, 1.0, 2.0, 2.0, 2.0, 5.0])
    state = theory.abs_sgd(law, 1, 20, 20)
    fresh = monte_carlo.abs_sgd(law, 1, 20, 20, np.random.default_rng(0), 1000, 128, warmup=500)
    for name in SCALARS:
        apart = abs(getattr(state, name) - getattr(fresh, name))
        assert apart <= getattr(state.error, name) + 3 * getattr(fresh.error, name), name


def test_delays_that_are_nearly_all_zero_are_refused():
    with pytest.raises(ValueError, match=r"all but 4e-07 of the rounds take 0 s, .* take a larger k"):
        theory.abs_sgd(stats.bernoulli(0.1), 3, 10, 2)
