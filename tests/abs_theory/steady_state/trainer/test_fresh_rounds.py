"""Threshold 0 with updates that take time: all that is called exact agrees with simulation."""

import math

import numpy as np
import pytest

from abs_theory import steady_state
from abs_theory.delays import Deterministic, Exponential, Gamma, LogNormal, Lomax, ShiftedExponential, Uniform
from abs_theory.steady_state.trainer.fresh_rounds import late_seconds
from abs_theory.workers import as_workers

NUMBERS = ("round_time", "idle_fraction", "wasted_fraction", "trained_length", "trainer_busy")


def rounds(laws, k, update, size=200_000):
    """Fresh rounds by the definition: who is done, who is late, and what is idle or lost; shape (rounds, n)."""
    rng = np.random.default_rng(3)
    seconds = np.stack([law.sample(rng, size) for law in laws], axis=1)
    first = np.sort(seconds, axis=1)[:, k - 1 : k]
    end = first + update.sample(rng, size)[:, None]
    used = np.argsort(np.argsort(seconds, axis=1, kind="stable"), axis=1) < k
    worked = np.minimum(seconds, end)
    return seconds, used, worked, end


@pytest.mark.parametrize(
    "laws, k, update",
    [
        ([Exponential(1.0)] * 2 + [Exponential(5.0)] * 2, 2, Deterministic(0.2)),
        ([LogNormal(1.0, 1.0)] * 4, 2, Deterministic(0.05)),
        ([Lomax(1.0, 0.9)] * 4, 2, Deterministic(0.5)),
        ([Gamma(4.0, 0.25), LogNormal(2.0, 0.5), Uniform(0.0, 3.0)], 2, Exponential(0.3)),
        ([Deterministic(1.0), Deterministic(1.0), Deterministic(1.4), Exponential(1.0)], 2, Deterministic(0.3)),
    ],
    ids=repr,
)
def test_what_is_called_exact_is(laws, k, update):
    n = len(laws)
    state = steady_state.abs_sgd(laws, k, n, 0, update_seconds=update)
    assert state.method == "exact"
    assert all(getattr(state.error, name) == 0 for name in NUMBERS)
    seconds, used, worked, end = rounds(laws, k, update)
    share = 1 / (n * end.mean())
    found = {
        "idle_fraction": (end - worked).sum(axis=1) * share,
        "wasted_fraction": (worked * ~used).sum(axis=1) * share,
        "trained_length": (seconds * used).sum(axis=1) / k,
    }
    for name, values in found.items():
        allowed = 5 * values.std() / math.sqrt(len(values)) + 2e-3 * values.mean()  # of the mean round, too
        assert abs(values.mean() - getattr(state, name)) <= allowed, name
    assert state.participation == pytest.approx(used.mean(axis=0), abs=0.006)


def test_late_tasks_of_memoryless_workers():
    """Each of the n - k runs for T (1 - exp(-T)) / T seconds."""
    workers = as_workers([Exponential(1.0), Exponential(1.0), Exponential(1.0 + 1e-12)], 3)
    assert late_seconds(workers, 1, Deterministic(0.5)) == pytest.approx(2 * -math.expm1(-0.5), rel=1e-9)


@pytest.mark.parametrize("k, bound", [(2, 1), (3, 2), (1, 10**6)])
def test_tasks_without_a_mean_leave_no_nan(k, bound):
    state = steady_state.abs_sgd(Lomax(1.0, 0.9), k, 5, bound, "mean-field", update_seconds=0.1)
    assert np.isfinite([getattr(state, name) for name in NUMBERS]).all()


@pytest.mark.parametrize("unequal", [False, True])
def test_the_mean_field_states_errors_for_lengths_and_participation(unequal):
    laws = [Lomax(1.0, 1.5)] * 16 + [Exponential(5.0) if unequal else Lomax(1.0, 1.5)] * 16
    state = steady_state.abs_sgd(laws, 4, 32, 1, "mean-field", update_seconds=0.5)
    known = steady_state.abs_sgd(laws, 4, 32, 1, "monte-carlo", np.random.default_rng(0), 0.5)
    allowed = state.error.trained_length + 2 * known.error.trained_length
    assert 0 < abs(state.trained_length - known.trained_length) <= allowed
    halves = known.participation.reshape(2, -1).mean(axis=1)  # of equal workers
    assert (abs(state.participation[::31] - halves) <= state.error.participation[::31] + 0.01).all()
    assert (state.error.participation > 0).all() == unequal


def test_shares_of_few_slots_are_simulated_though_the_round_is_known():
    """Slots that never wait repeat tasks within a round, which the mean field of 4 slots does not see."""
    state = steady_state.abs_batch(ShiftedExponential(0.8, 0.2), 2, 4, 0)
    assert state.error.round_time == state.error.restarts == 0
    assert state.wasted_fraction == pytest.approx(0.518, abs=0.003)
    assert state.error.wasted_fraction < 0.005
