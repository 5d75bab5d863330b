"""Tail batching: against a plain simulation, and where its time is known."""

import math

import numpy as np
import pytest

from abs_theory import order_stats, steady_state
from abs_theory.delays import Empirical, Exponential, Gamma, LogNormal, Pareto


def simulated(law, k, n, rounds, rng):
    """Seconds of each round: short ones of n new tasks, and a long one whenever k tasks have been put off."""
    put_off, seconds = [], []
    for lengths in np.sort(law.sample(rng, (rounds, n)), axis=1):
        seconds.append(lengths[k - 1])
        put_off += rng.permutation(lengths[k:]).tolist()
        while len(put_off) >= k:
            seconds.append(max(put_off[:k]))
            del put_off[:k]
    return np.array(seconds)


@pytest.mark.parametrize(
    "law, k, n",
    [
        (LogNormal(median=1.0, sigma=1.0), 5, 7),  # long rounds of 2 + 2 + 1 and 1 + 2 + 2 tasks
        (Gamma(shape=4.0, scale=0.25), 3, 8),  # more late tasks than a batch
        (Pareto(minimum=1.0, index=3.5), 4, 6),
        (Empirical([1.0, 2.0, 2.0, 5.0]), 3, 5),
    ],
    ids=str,
)
def test_the_mean_round_is_that_of_a_simulation(law, k, n):
    seconds = simulated(law, k, n, 20_000, np.random.default_rng(1))
    batches = seconds[: seconds.size // 50 * 50].reshape(50, -1).mean(axis=1)  # the rounds of one are dependent
    stderr = batches.std(ddof=1) / math.sqrt(50)
    assert stderr < 0.01 * seconds.mean()
    assert steady_state.tail_batching(law, k, n).round_time == pytest.approx(seconds.mean(), abs=4 * stderr)


@pytest.mark.parametrize("k, n, short_rounds", [(6, 8, 3), (2, 3, 2), (4, 8, 1)])
def test_a_long_round_that_takes_all_late_tasks_of_some_rounds_waits_for_the_longest_of_all(k, n, short_rounds):
    law = Gamma(shape=2.0, scale=0.5)
    longest = order_stats.mean(law, short_rounds * n, short_rounds * n)
    state = steady_state.tail_batching(law, k, n, 0.3)
    expected = (short_rounds * order_stats.mean(law, k, n) + longest) / (short_rounds + 1)
    assert state.round_time == pytest.approx(expected + 0.3, rel=1e-8)
    assert state.method == "exact"


def test_all_tasks_are_trained_and_slots_wait_or_work():
    law = Exponential(2.0)
    state = steady_state.tail_batching(law, 6, 8, update_seconds=0.1)
    random = steady_state.tail_batching(law, 6, 8, update_seconds=Exponential(0.1))
    assert random.round_time == pytest.approx(state.round_time)
    assert random.wasted_fraction < state.wasted_fraction  # late tasks more often end before the update does
    assert (state.mean_staleness, state.trained_length, state.long_share(law, 0.1)) == (0.0, 2.0, 1.0)
    assert state.restarts == pytest.approx(0.75 * 2)  # three of four rounds are short, and put 2 tasks off
    trained = 6 * 2.0 / (8 * state.round_time)  # share of the slots' time that gave trained tasks
    assert 1 - state.idle_fraction - state.wasted_fraction == pytest.approx(trained)


def test_without_spare_slots_it_is_synchronous():
    law = LogNormal(median=1.0, sigma=1.0)
    assert steady_state.tail_batching(law, 5, 5).round_time == pytest.approx(order_stats.mean(law, 5, 5))


def test_a_mean_that_is_infinite_is_refused():
    with pytest.raises(ValueError, match="must be finite"):
        steady_state.tail_batching(Pareto(minimum=1.0, index=1.0), 2, 3)


def test_late_tasks_may_have_the_same_length_as_the_last_of_a_batch():
    """A third of the tasks takes 2 s, the longest time; late ones run while the server updates, or end at once."""
    law, rng = Empirical([0.5, 1.0, 2.0]), np.random.default_rng(1)
    state = steady_state.tail_batching(law, 6, 8, update_seconds=0.5)
    lengths = np.sort(law.sample(rng, (20_000, 8)), axis=1)
    late = np.minimum(lengths[:, 6:], lengths[:, 5:6] + 0.5).sum(axis=1).mean()  # three of four rounds are short
    worked = 0.75 * (lengths[:, :6].sum(axis=1).mean() + late) + 0.25 * 3 * lengths[:, 6:].sum(axis=1).mean()
    assert state.idle_fraction == pytest.approx(1 - worked / (8 * state.round_time), abs=0.003)
    assert state.wasted_fraction == pytest.approx(0.75 * late / (8 * state.round_time), abs=0.003)
