"""Rounds by numbers of tasks: as those of single tasks, in distribution, and what is expected of the next round."""

import math

import numpy as np
import pytest
from cases import first_fast
from scipy import stats

from abs_theory import order_stats, steady_state
from abs_theory.delays import Exponential, Gamma, HyperExponential, LogNormal, Weibull
from abs_theory.monte_carlo.ages import AgeState
from abs_theory.monte_carlo.by_age import AgePool
from abs_theory.monte_carlo.conditional import MeanRound, age_state
from abs_theory.monte_carlo.fast import TaskPool
from abs_theory.monte_carlo.summary import regressed
from abs_theory.workers import as_workers

STEEP = Gamma(shape=0.3, scale=1.0)
STALLS = HyperExponential(probs=(0.9, 0.1), means=(1 / 3, 7.0))
FALSE_ALARM = 5.0  # standard errors
CELLS = [
    (STEEP, 1, 6, 2),
    ([STEEP] * 4 + [STALLS] * 4, 2, 8, 1),
    (LogNormal(1.0, 1.0), 3, 7, 2),
    (Weibull(1.0, 0.5), 4, 5, 1),
]


def pools(delay, k, n, bound, seed=0, replicates=128, about=0.05):
    """A pool after some rounds, and one that goes on from there by numbers of tasks."""
    pool = TaskPool(as_workers(delay, n), k, bound, np.random.default_rng(seed), replicates, 10_000)
    pool.run(30 * n)
    mean = MeanRound(pool, about)
    return pool, AgePool(pool, mean, np.random.default_rng(seed + 1))


@pytest.mark.parametrize("cell", first_fast(CELLS, 2), ids=repr)
def test_it_does_what_single_tasks_do(cell):
    pool, by_age = pools(*cell)
    bound, rounds = cell[3], 400
    tasks, numbers = pool.watch(rounds, bound, 128), by_age.watch(rounds, 4, 128)
    counted = ("delivered",) if isinstance(cell[0], list) else ()  # equal workers deliver alike
    for name in ("seconds", "idle", "wasted", "restarts", "staleness", "aged", "histogram", *counted):
        one, other = (np.asarray(getattr(tally, name), float) for tally in (tasks, numbers.tally))
        other = other / by_age.copies if name == "histogram" else other
        noise = np.hypot(one.std(axis=0), other.std(axis=0)) / math.sqrt(len(one))
        assert np.all(np.abs(one.mean(axis=0) - other.mean(axis=0)) <= FALSE_ALARM * noise + 1e-9), name
    looks = rounds // 4
    seconds, idle, useful = numbers.expected / looks
    wasted = cell[2] * seconds - idle - useful
    for expected, name in ((seconds, "seconds"), (idle, "idle"), (wasted, "wasted")):
        drawn = getattr(numbers.tally, name) / rounds
        noise = math.hypot(drawn.std(), expected.std()) / math.sqrt(drawn.size)
        assert abs(drawn.mean() - expected.mean()) <= FALSE_ALARM * noise + 2e-3 * drawn.mean(), name


@pytest.mark.parametrize("cell", first_fast(CELLS, 1), ids=repr)
def test_no_task_is_lost(cell):
    _, k, n, bound = cell
    _, by_age = pools(*cell)
    tally = by_age.watch(50, 50, 128).tally
    np.testing.assert_allclose(by_age.numbers.sum(axis=(0, 1)), n)
    np.testing.assert_allclose(tally.delivered.sum(axis=1), 50 * k)
    np.testing.assert_allclose(tally.histogram.sum(axis=1), 50 * k * by_age.copies)
    # each task that is delivered or restarted was as many rounds old as it missed
    np.testing.assert_allclose(tally.staleness + (bound + 1) * tally.restarts + tally.aged, 50.0 * (n - k))
    assert by_age.in_first_phase().sum(axis=1).max() <= n


@pytest.mark.parametrize("cell", CELLS, ids=repr)
def test_the_summed_hazard_is_a_sum_of_exponential_numbers(cell):
    """Its control variates have mean 0, and the first part of a round is as random as it should be."""
    k, rounds = cell[1], 100
    _, by_age = pools(*cell, seed=3)
    controls = by_age.watch(rounds, 10, 128).controls / rounds
    assert np.all(np.abs(controls.mean(axis=0)) <= FALSE_ALARM * controls.std(axis=0) / math.sqrt(128))
    sums = np.zeros((6, by_age.numbers.shape[-1]))
    by_age._round(sums)
    for values, law in ((sums[4], stats.loggamma(k)), (sums[5], stats.gamma(k))):
        half = values[: values.size // 2]  # the other half is antithetic
        assert stats.kstest(half, law.cdf).pvalue > 1e-6


def test_control_variates_of_the_hazard_explain_what_the_next_rounds_differ_by():
    laws = [Gamma(0.2, 5.0)] * 100 + [Gamma(0.2, 15.0)] * 100
    _, by_age = pools(laws, 1, 200, 10, about=3.5e-7)
    played = by_age.watch(200, 4, 128)
    seconds = played.expected[:1].T
    raw, explained = (regressed(seconds, controls)[1].std() for controls in (played.controls[:, :0], played.controls))
    assert explained < 0.6 * raw


def test_memoryless_workers():
    for k, n in ((1, 4), (3, 40)):
        _, by_age = pools(Exponential(2.0), k, n, 2)
        seconds = by_age.watch(100, 10, 128).expected[0] / 10
        assert seconds.std() < 0.005 * seconds.mean()  # of the offsets of the nodes
        assert seconds.mean() == pytest.approx(order_stats.mean(Exponential(2.0), k, n), rel=1e-3)


@pytest.mark.parametrize("cell", first_fast(CELLS, 2), ids=repr)
def test_the_means_of_the_next_round(cell):
    """Of one state, from which many next rounds are drawn."""
    delay, k, n, bound = cell
    pool, by_age = pools(delay, k, n, bound, replicates=128)
    state = age_state(pool)
    same = AgeState(*(np.repeat(part[..., :1], 128, axis=-1) for part in state))
    expected = by_age.mean(same, by_age.rng).mean(axis=1)
    drawn = []
    for _ in range(60):
        by_age.numbers = np.tile(same.numbers, by_age.copies)
        by_age.worked = np.tile(same.worked, by_age.copies)
        tally = by_age.watch(1, 2, 128).tally
        begun, left = ((s.numbers.sum(axis=0) * s.worked).sum(axis=0) for s in (same, by_age))
        left = left.reshape(by_age.copies, -1).mean(axis=0)
        useful = n * tally.seconds - tally.idle - tally.wasted + begun - left
        drawn.append([tally.seconds, tally.idle, useful])
    drawn = np.concatenate(drawn, axis=1)
    noise = drawn.std(axis=1) / math.sqrt(drawn.shape[1])
    assert np.all(np.abs(drawn.mean(axis=1) - expected) <= FALSE_ALARM * noise + 2e-3 * expected)


@pytest.mark.slow
@pytest.mark.parametrize("n", [20, 60, 200])
def test_rounds_that_differ_by_orders_of_magnitude_have_small_errors(n):
    """Where the density is infinite at 0: draws of single rounds would leave 4 to 30 %."""
    for k, bound in [(1, 2), (1, 3), (2, 2), (2, 3)]:
        state = steady_state.abs_sgd(Gamma(shape=0.2, scale=5.0), k, n, bound)
        assert state.error.round_time <= 0.03 * state.round_time
        assert state.error.wasted_fraction <= 0.01
        assert order_stats.mean(Gamma(shape=0.2, scale=5.0), k, n) < state.round_time
