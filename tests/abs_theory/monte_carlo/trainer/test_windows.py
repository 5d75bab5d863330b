"""Training in order, or in a window: rounds that are played whole agree with events that are played one by one."""

import math

import numpy as np
import pytest

from abs_theory.delays import LogNormal, Mixture
from abs_theory.monte_carlo import Rules, played, update_law
from abs_theory.results import Estimate
from abs_theory.workers import as_workers

LOGNORMAL = LogNormal(median=math.exp(-0.5), sigma=1.0)
SAME = Mixture(weights=(0.5, 0.5), components=(LOGNORMAL, LOGNORMAL))  # the same law; slots that differ go one by one
REPLICATES = 32


@pytest.mark.parametrize(
    "k, n, window, seconds", [(4, 12, 1, 0.2), (8, 24, 8, 0.2), (8, 20, 5, 0.0), (4, 32, 12, 0.05)]
)
def test_whole_rounds_agree_with_single_events(k, n, window, seconds):
    rules = Rules(k, n, window=window)
    whole, single = (
        played(as_workers(laws, n), rules, update_law(seconds), np.random.default_rng(3), 40, REPLICATES)
        for laws in (LOGNORMAL, [LOGNORMAL] * (n - 1) + [SAME])
    )
    unit = Estimate(0.0, 1.0, REPLICATES).half_width()
    for name in ("round_time", "mean_staleness", "queued_staleness", "idle_fraction", "trainer_busy", "trained_length"):
        error = math.hypot(getattr(whole.error, name), getattr(single.error, name)) / unit
        assert abs(getattr(whole, name) - getattr(single, name)) <= 4.5 * error + 1e-3
    assert np.asarray(whole.staleness_pmf).size <= (n + window - 2) // k + 1
    np.testing.assert_allclose(
        whole.staleness_pmf, np.resize(single.staleness_pmf, whole.staleness_pmf.size), atol=0.06
    )


def test_in_order_a_batch_is_over_when_its_own_tasks_and_the_batch_before_are():
    """The end of update j is T after the later of the end of update j - 1 and of the longest task of batch j."""
    k, n, seconds, rows = 2, 6, 0.3, 3
    rules, update = Rules(k, n, window=1), update_law(seconds)
    state = played(as_workers(LOGNORMAL, n), rules, update, np.random.default_rng(0), 50, rows, 0)
    lengths = np.random.default_rng(0)
    longest = list(LOGNORMAL.sample(lengths, (rows, n)).reshape(rows, 3, k).max(axis=2).T)
    ends = [np.zeros(rows)]
    for batch in range(50):
        started = ends[max(batch - 2, 0)]
        ends.append(np.maximum(ends[-1], started + longest[batch]) + seconds)
        longest.append(LOGNORMAL.sample(lengths, (rows, k)).max(axis=1))
    assert state.round_time == pytest.approx(ends[-1].mean() / 50)
