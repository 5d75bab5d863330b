"""The simulation of "auto" where the answer is known: its errors have the size that it states, and its values no bias.

Exact answers have no noise, so this sees more than brute force: errors stated by half, or a field wrong by 2 %.
"""

import math
from typing import NamedTuple

import numpy as np
import pytest
from agreement import FALSE_FAIL_RATE
from scipy import stats

from abs_theory import monte_carlo, steady_state
from abs_theory.delays import Erlang, Exponential, HyperExponential
from abs_theory.monte_carlo.precise.outcome import OUTSIDE
from abs_theory.steady_state import markov_chain
from abs_theory.workers import as_workers

FIELDS = ("round_time", "mean_staleness", "restarts", "idle_fraction", "wasted_fraction", "fresh", "participation")
MOST_STATES = 800
UNIT = stats.norm.isf(OUTSIDE / 2)  # standard errors in a stated error
NO_NOISE = 1e-9  # relative; smaller errors are rounding


class Compared(NamedTuple):
    """Exact value, simulated value and stated error of the fields of many cells, cells x fields."""

    exact: np.ndarray
    simulated: np.ndarray
    error: np.ndarray


def exact_cell(rng):
    """Up to three kinds of memoryless workers, or a few workers of phase-type delays; every k and threshold."""
    bound = (1, int(rng.integers(1, 21)), None)[rng.integers(3)]
    if rng.random() < 0.5:
        n = round(math.exp(rng.uniform(math.log(2), math.log(200))))
        means = np.exp(rng.normal(0, 0.7, int(rng.integers(1, 4))))
        delay = [Exponential(float(means[g])) for g in np.sort(rng.integers(means.size, size=n))]
        return delay, int(rng.integers(1, n)), n, bound
    while True:
        n, p = int(rng.integers(2, 7)), float(rng.uniform(0.02, 0.5))
        laws = (Erlang(int(rng.integers(2, 5)), 0.3), HyperExponential((1 - p, p), (1.0, float(rng.uniform(2, 20)))))
        delay, k = laws[rng.integers(2)], int(rng.integers(1, n))
        if markov_chain.number_of_states(as_workers(delay, n), k, math.inf if bound is None else bound) <= MOST_STATES:
            return delay, k, n, bound


def values_of(state, worker):
    numbers = [getattr(state, name) for name in FIELDS[:5]]
    return [*numbers, state.staleness_pmf[0], state.participation[worker]]


def compared(seeds):
    rows = []
    for seed in seeds:
        rng = np.random.default_rng([23, seed])
        delay, k, n, bound = exact_cell(rng)
        exact = steady_state.abs_sgd(delay, k, n, bound, "exact")
        workers, theta = as_workers(delay, n), math.inf if bound is None else bound
        state = monte_carlo.steady_state_to_goal(workers, k, theta, rng)
        worker = int(rng.integers(n))
        rows.append([values_of(one, worker) for one in (exact, state, state.error)])
    return Compared(*np.moveaxis(np.array(rows, float), 1, 0))


def faults(table):
    """What is wrong, in words, with a probability of a false alarm of 1e-6 or so for each of the checks."""
    known = (table.error > NO_NOISE * np.abs(table.exact)) & (table.exact > NO_NOISE)
    apart = np.abs(table.simulated - table.exact)
    wrong = []
    if np.any(apart > table.error + NO_NOISE):
        wrong.append(f"{np.sum(apart > table.error + NO_NOISE)} values outside their errors")
    # fields of a cell depend on each other: the largest share of one field counts
    beyond = np.sum(known & (apart > table.error / 2), axis=0)
    chance = 2 * stats.norm.sf(UNIT / 2)
    for name, count, number in zip(FIELDS, beyond, known.sum(axis=0), strict=True):
        if count > stats.binom.isf(FALSE_FAIL_RATE, number, chance):
            wrong.append(f"{count} of {number} errors of {name} above half of what is stated")
    for column, name in enumerate(FIELDS):
        x, y, error = (part[known[:, column], column] for part in table)
        weight = x**2 @ (UNIT / error) ** 2
        ratio, resolution = (
            x * y @ (UNIT / error) ** 2 / weight,
            stats.norm.isf(FALSE_FAIL_RATE / 2) / math.sqrt(weight),
        )
        assert resolution < 0.012, f"{name}: {resolution:.1%} cannot show a fault of 2 %"
        if abs(ratio - 1) > resolution:
            wrong.append(f"{name} is {ratio:.4f} of what is right")
    return wrong


@pytest.fixture(scope="module")
def some_cells():
    return compared(range(60))


def test_values_and_errors_are_right(some_cells):
    assert faults(some_cells) == []


@pytest.mark.slow
@pytest.mark.parametrize("part", range(10))
def test_values_and_errors_are_right_in_a_thousand_cells(part):
    assert faults(compared(range(1000 + 100 * part, 1100 + 100 * part))) == []


def test_errors_stated_by_half_would_be_noticed(some_cells):
    assert any("above half" in fault for fault in faults(some_cells._replace(error=some_cells.error / 2)))


@pytest.mark.parametrize("column", range(len(FIELDS)), ids=FIELDS)
def test_a_field_that_is_wrong_by_2_percent_would_be_noticed(some_cells, column):
    simulated = some_cells.simulated.copy()
    simulated[:, column] *= 1.02
    assert any(FIELDS[column] in fault for fault in faults(some_cells._replace(simulated=simulated)))
