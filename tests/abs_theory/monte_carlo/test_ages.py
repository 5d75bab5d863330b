"""Control variates by age: their means are 0, they explain what varies, and counting by age changes no count."""

import math

import numpy as np
import pytest
from cases import first_fast

from abs_theory.delays import Exponential, Gamma, HyperExponential, LogNormal, ShiftedExponential, Uniform
from abs_theory.monte_carlo.ages import AgeControls, _first_ages, well_spread
from abs_theory.monte_carlo.conditional import age_state
from abs_theory.monte_carlo.fast import TaskPool
from abs_theory.workers import as_workers

STALLS = HyperExponential(probs=(0.9, 0.1), means=(1 / 3, 7.0))
FALSE_ALARM = 5.0  # standard errors
CELLS = [
    (STALLS, 3, 12, 2, 0.4),
    (LogNormal(1.0, 1.0), 8, 12, 1, 1.5),
    (Uniform(1.0, 2.0), 2, 6, 3, 0.7),
    ([Gamma(0.5, 1.0)] * 4 + [ShiftedExponential(0.5, 0.5)] * 4, 2, 8, 2, 0.3),
    ([Exponential(float(mean)) for mean in (1, 2, 3, 4)] * 2, 1, 8, 4, 0.2),
]


def watched(cell, by_age, rounds=20, replicates=400, entries=None):
    """A pool after some rounds and what it counted in the next ones."""
    delay, k, n, bound, usual_round = cell
    pool = TaskPool(as_workers(delay, n), k, bound, np.random.default_rng(3), replicates, 10_000)
    pool.run(8 * n)
    if by_age:
        pool.ages = AgeControls(pool.workers.laws, age_state(pool), usual_round)
    return pool, pool.watch(rounds, entries, replicates // 4)


@pytest.mark.parametrize("cell", first_fast(CELLS, 1), ids=repr)
def test_all_means_are_zero(cell):
    """Also if the usual length of a round is a bad guess: then most tasks are late, or none is."""
    for guess in (0.3, 1.0, 3.0):
        pool, _ = watched((*cell[:4], cell[4] * guess), by_age=True, rounds=8)
        sums = pool.ages.sums()
        assert np.all(np.abs(sums.mean(axis=0)) <= FALSE_ALARM * sums.std(axis=0) / math.sqrt(len(sums)) + 1e-12)
        assert np.any(sums.std(axis=0) > 0, axis=0)


@pytest.mark.parametrize("cell", first_fast(CELLS[::-1], 2), ids=repr)
def test_counts_are_the_same_by_age(cell):
    (_, plain), (pool, by_age) = (watched(cell, by_age, replicates=80) for by_age in (False, True))
    for name in ("seconds", "idle", "wasted", "restarts", "staleness", "aged", "histogram"):
        np.testing.assert_allclose(getattr(by_age, name), getattr(plain, name), rtol=1e-9, atol=1e-9)
    if isinstance(cell[0], list):
        np.testing.assert_array_equal(by_age.delivered, plain.delivered)
    pool.ages.sums()
    state = age_state(pool)
    np.testing.assert_array_equal(pool.ages.state.numbers, state.numbers)
    np.testing.assert_allclose(pool.ages.state.worked, state.worked, atol=1e-9)
    _, short = watched(cell, by_age=True, replicates=80, entries=1)
    np.testing.assert_array_equal(short.histogram[:, 0], plain.histogram[:, 0])
    np.testing.assert_array_equal(short.histogram[:, 1], plain.histogram[:, 1:].sum(axis=1))


@pytest.mark.parametrize("cell", first_fast(CELLS[:2], 1), ids=repr)
def test_they_explain_most_of_the_restarts_and_of_the_seconds(cell):
    pool, tally = watched(cell, by_age=True)
    controls = np.column_stack([pool.ages.sums(), tally.aged, np.ones(len(tally.aged))])
    for counted in (tally.restarts, tally.seconds):
        left = counted - controls @ np.linalg.lstsq(controls, counted, rcond=None)[0]
        assert left.var() < 0.25 * counted.var()


def test_a_control_of_few_replicates_is_not_used():
    rng = np.random.default_rng(0)
    usual, rare = rng.normal(size=(128, 2)), np.zeros((128, 1))
    rare[5] = 1.0
    np.testing.assert_array_equal(well_spread(np.hstack([usual, rare])), usual)


def test_the_youngest_and_the_oldest_have_controls_of_their_own():
    assert _first_ages(3, 4) == [0, 1, 2]
    assert _first_ages(21, 4) == [0, 1, 2, 20]
    for ages in range(1, 40):
        for most in (4, 7, 14):
            first = _first_ages(ages, most)
            assert len(first) <= most
            assert first == sorted(set(first))
            assert {0, ages - 1} <= set(first)
