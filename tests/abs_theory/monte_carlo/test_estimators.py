"""Monte Carlo: drawn by hand, conserved exactly, and against closed forms."""

import math
from collections import deque

import numpy as np
import pytest
from agreement import assert_agrees, assert_resolves, noise
from cases import by_turns
from hypothesis import given, settings
from hypothesis import strategies as st
from laws import SHIFTED, STALLS
from steady_states import LAWS, half_widths_as_estimates

from abs_theory import monte_carlo, order_stats
from abs_theory.delays import (
    Delay,
    Deterministic,
    Exponential,
    Pareto,
)
from abs_theory.monte_carlo import Estimate, PlayedFleet


class Scripted(Delay):
    """Delays read from a list; not a law."""

    cdf = sf = ppf = isf = ageing = None
    mean = 1.0

    def __init__(self, *seconds):
        self.seconds = deque(seconds)

    def sample(self, rng, size):
        return np.array([self.seconds.popleft() for _ in range(int(np.prod(size)))]).reshape(size)


# -- drawn by hand -----------------------------------------------------------------------------------------------


def test_rounds_drawn_by_hand():
    # worker  0: 0-1 delivers, waits to 2; 2-5 restarts at 4 (staleness 2); 4-...
    # worker  1: 0-2 delivers;             2-3 delivers, waits to 4
    # worker  2: 0-4, staleness 1 at 2: may go on with max_staleness 1, delivers at 4
    fleet = PlayedFleet(Scripted(1.0, 2.0, 4.0, 9.0, 1.0, 1.0, 1.0), 3, np.random.default_rng(0), 1)
    first = fleet.round(k=2, max_staleness=1)
    assert first.duration == [2.0]
    assert first.idle_seconds == [1.0]
    assert first.useful_seconds == [3.0]
    assert first.delivered.tolist() == [[True, True, False]]
    assert not first.restarted.any()
    second = fleet.round(k=2, max_staleness=1)
    assert second.duration == [2.0]
    assert second.idle_seconds == [1.0]
    assert second.staleness.tolist() == [[0, 1]]
    assert second.useful_seconds == [5.0]
    assert second.wasted_seconds == [0.0]
    assert fleet.staleness.tolist() == [[1, 0, 0]]


@pytest.mark.parametrize(
    "max_staleness, restarted, wasted, versions",
    [(0, [[True, False]], 1.0, [[1, 1]]), (1, [[False, False]], 0.0, [[0, 1]])],
)
def test_a_worker_restarts_when_its_staleness_exceeds_the_bound(max_staleness, restarted, wasted, versions):
    fleet = PlayedFleet(Scripted(3.0, 1.0, 1.0, 1.0), 2, np.random.default_rng(0), 1)
    result = fleet.round(1, max_staleness)
    assert result.restarted.tolist() == restarted
    assert result.wasted_seconds == [wasted]
    assert fleet.version.tolist() == versions


def test_equal_finish_times_go_to_the_lower_index_and_exactly_k_deliver():
    fleet = PlayedFleet(Deterministic(1.0), 4, np.random.default_rng(0), 2)
    order = [np.flatnonzero(fleet.round(2, math.inf).delivered[1]).tolist() for _ in range(4)]
    assert order == [[0, 1], [2, 3], [0, 1], [2, 3]]
    assert fleet.time.tolist() == [2.0, 2.0]


def test_constant_delays_give_the_exact_steady_state():
    state = monte_carlo.abs_sgd(Deterministic(1.0), 2, 4, None, np.random.default_rng(0), 100, 2)
    assert (state.round_time, state.mean_staleness, state.idle_fraction) == (0.5, 1.0, 0.0)
    assert state.staleness_pmf.tolist() == [0.0, 1.0]


# -- conserved exactly -------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 8),
    delay=st.sampled_from([SHIFTED, STALLS, Deterministic(1.0)]),
    choices=st.lists(st.tuples(st.floats(0, 1), st.sampled_from([0, 1, 2, 5, math.inf])), min_size=1, max_size=30),
)
def test_staleness_and_work_are_conserved_while_k_and_the_bound_move(seed, n, delay, choices):
    fleet = PlayedFleet(delay, n, np.random.default_rng(seed), 3)
    applied = dropped = created = 0
    seconds = np.zeros(3)
    for share, bound in choices:
        k = max(1, round(share * n))
        before = fleet.staleness
        done = fleet.round(k, bound)
        applied += done.staleness.sum(axis=1)
        dropped += np.sum(before + 1, axis=1, where=done.restarted)
        created += n - k
        seconds += done.idle_seconds + done.useful_seconds + done.wasted_seconds
        assert fleet.staleness.max() <= bound
        assert np.all(done.delivered.sum(axis=1) == k)
    assert np.all(applied + dropped + fleet.staleness.sum(axis=1) == created)
    unfinished = np.sum(fleet.time[:, None] - fleet.start, axis=1)
    assert np.allclose(seconds + unfinished, n * fleet.time, rtol=1e-12)


def test_the_long_run_obeys_the_conservation_law():
    replicates, n, k, bound = 64, 10, 3, 2
    state = monte_carlo.abs_sgd(SHIFTED, k, n, bound, np.random.default_rng(1), 500, replicates)
    found = half_widths_as_estimates(state, replicates)
    implied = (n - k - k * state.mean_staleness) / (bound + 1)
    tolerance = noise(found["restarts"]) + k / (bound + 1) * noise(found["mean_staleness"])
    assert abs(state.restarts - implied) <= tolerance < 0.05
    assert state.staleness_pmf.sum() == pytest.approx(1, rel=1e-12)
    assert state.staleness_pmf @ np.arange(bound + 1) == pytest.approx(state.mean_staleness, rel=1e-12)
    assert state.downlinks == pytest.approx(k + state.restarts)


# -- against closed forms ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("delay, k", by_turns([*LAWS[:6], Deterministic(2.0)], [1, 10, 19]), ids=repr)
def test_order_statistic(delay, k):
    found = monte_carlo.order_statistic(delay, k, 20, np.random.default_rng(2), 200_000)
    if delay.has_atoms:
        assert found == Estimate(2.0, 0.0, 200_000)
    else:
        assert_agrees(found, order_stats.mean(delay, k, 20), resolution=0.04)


@pytest.mark.parametrize("delay", LAWS, ids=repr)
def test_k_sync_is_the_order_statistic(delay):
    state = monte_carlo.abs_sgd(delay, 4, 10, 0, np.random.default_rng(3), 600, 128)
    assert_agrees(half_widths_as_estimates(state, 128)["round_time"], order_stats.mean(delay, 4, 10), 0.05)
    assert (state.mean_staleness, state.restarts) == (0, 6)


@pytest.mark.parametrize("delay", [d for d in LAWS if math.isfinite(d.var)], ids=repr)
def test_a_short_run_has_forgotten_its_start(delay):
    n, replicates = 10, 2000
    state = monte_carlo.abs_sgd(delay, 1, n, None, np.random.default_rng(4), 20, replicates)
    found = half_widths_as_estimates(state, replicates)
    assert_agrees(found["round_time"], delay.mean / n, resolution=0.15)
    assert_agrees(found["mean_staleness"], n - 1, resolution=0.15)


def test_without_a_warmup_a_short_run_has_not():
    state = monte_carlo.abs_sgd(SHIFTED, 1, 10, None, np.random.default_rng(4), 20, 2000, warmup=0)
    found = half_widths_as_estimates(state, 2000)["round_time"]
    with pytest.raises(AssertionError, match="stderr from"):
        assert_agrees(found, SHIFTED.mean / 10, resolution=0.2)


def test_the_estimate_of_three_numbers():
    estimate = Estimate.of([1.0, 2.0, 3.0])
    assert (estimate.mean, estimate.num_samples) == (2.0, 3)
    assert estimate.stderr == pytest.approx(1 / math.sqrt(3))
    assert estimate.half_width() == pytest.approx(4.302653 / math.sqrt(3))  # Student's t, 2 degrees of freedom


def test_the_assertion_catches_bias_and_weakness():
    values = np.random.default_rng(5).normal(1.0, 0.1, 10_000)
    assert_agrees(Estimate.of(values), 1.0)
    with pytest.raises(AssertionError, match="stderr from"):
        assert_agrees(Estimate.of(values), 1.01)
    with pytest.raises(AssertionError, match="too weak"):
        assert_agrees(Estimate.of(values[:100]), 1.0)
    with pytest.raises(AssertionError, match="too weak"):
        assert_resolves(Estimate.of(values), 1e-3)


def test_the_same_seed_gives_the_same_result():
    one, two = (monte_carlo.abs_sgd(STALLS, 2, 5, 1, np.random.default_rng(6), 20, 4) for _ in range(2))
    assert one.round_time == two.round_time
    assert one.staleness_pmf.tolist() == two.staleness_pmf.tolist()


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"k": 0}, "k must be a whole number in 1..n, got k=0 with n=5 workers"),
        ({"k": 2.0}, "k must be a whole number in 1..n"),
        ({"max_staleness": -1}, "max_staleness must be a whole number >= 0, or None for no bound, got -1"),
        ({"max_staleness": 1.5}, "max_staleness must be a whole number"),
        ({"max_staleness": math.nan}, "max_staleness must be a whole number"),
        ({"rng": 7}, "rng must be a numpy Generator such as np.random.default_rng\\(0\\), got 7"),
        ({"delay": 1.0}, "delay must be a Delay"),
        ({"replicates": 1}, "replicates must be an integer >= 2"),
        ({"num_rounds": 0}, "num_rounds must be an integer >= 1"),
        ({"warmup": -1}, "warmup must be an integer >= 0"),
        ({"delay": Pareto(1.0, 1.0), "max_staleness": None}, "E\\[X\\] must be finite if there is no bound"),
    ],
)
def test_bad_input(arguments, message):
    good = {"delay": Exponential(1.0), "k": 2, "n": 5, "max_staleness": 1, "rng": np.random.default_rng(0)}
    with pytest.raises(ValueError, match=message):
        monte_carlo.abs_sgd(**(good | arguments))


def test_bad_counts():
    with pytest.raises(ValueError, match="num_samples must be an integer >= 2"):
        monte_carlo.order_statistic(SHIFTED, 1, 2, np.random.default_rng(0), 1)
    with pytest.raises(ValueError, match="the number of values must be an integer >= 2"):
        Estimate.of([1.0])
