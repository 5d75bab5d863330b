"""The start of a run: against the plain simulation, known renewal functions, and the steady state it tends to."""

import math

import numpy as np
import pytest
from laws import SHIFTED, STALLS

from abs_theory import order_stats, round_time
from abs_theory.delays import Deterministic, Exponential, Gamma, HyperExponential, LogNormal, Pareto, Uniform
from abs_theory.monte_carlo import PlayedFleet

UNEQUAL = [Gamma(shape=4.0, scale=0.25)] * 5 + [Exponential(3.0)] * 3
CASES = [
    (SHIFTED, 1, 10, None),
    (SHIFTED, 4, 10, None),
    (LogNormal(median=1.0, sigma=1.0), 1, 5, None),
    (Gamma(shape=4.0, scale=0.25), 3, 8, 1),
    (Gamma(shape=0.3, scale=1 / 0.3), 1, 8, 1),
    (UNEQUAL, 1, 8, None),
    (UNEQUAL, 3, 8, 2),
    (HyperExponential(probs=(0.9, 0.1), means=(1 / 3, 7.0)), 2, 6, None),
    (Uniform(low=0.0, high=2.0), 2, 2, None),
    (Pareto(minimum=1.0, index=0.9), 2, 4, 1),
]
NAMES = ["-".join(map(str, (getattr(law, "__class__", law).__name__, *rest))) for law, *rest in CASES]
ERRORS_ALLOWED = 4.9  # standard errors: exceeded with probability 1e-6


def simulated(delay, k, n, max_staleness, rounds, replicates=4000):
    """Times of the first updates, shape rounds x replicates."""
    fleet = PlayedFleet(delay, n, np.random.default_rng(99), replicates)
    times = []
    for _ in range(rounds):
        fleet.round(k, math.inf if max_staleness is None else max_staleness)
        times.append(fleet.time.copy())
    return np.array(times)


def test_no_update_before_the_fastest_worker_can_be_done():
    """Ten workers that need at least .5 s: the steady rate claims 3, 6, 10 and 50 updates at these times."""
    found = round_time.expected_updates(SHIFTED, 1, 10, seconds=[0.3, 0.6, 1.0, 5.0])
    assert np.all(found.error < 0.01)
    times = simulated(SHIFTED, 1, 10, None, 120)
    counts = np.array([(times <= t).sum(axis=0) for t in (0.3, 0.6, 1.0, 5.0)])
    noise = ERRORS_ALLOWED * counts.std(axis=1) / math.sqrt(counts.shape[1])
    assert np.all(np.abs(found.value - counts.mean(axis=1)) <= noise + found.error)
    # the first two: n F(t); the last: t / r + n (cv^2 - 1) / 2
    np.testing.assert_allclose(found.value[:2], [0.0, -10 * math.expm1(-0.2)], atol=1e-3)
    assert found.value[3] == pytest.approx(50 - 10 * 0.75 / 2, abs=0.02)


@pytest.mark.parametrize("delay, k, n, max_staleness", CASES, ids=NAMES)
def test_it_agrees_with_the_simulation(delay, k, n, max_staleness):
    turn = n // k  # updates in which every worker could deliver once
    updates = np.array([1, 2, turn, 3 * turn])
    times = simulated(delay, k, n, max_staleness, 8 * turn)
    found = round_time.time_of_update(delay, k, n, max_staleness, updates=updates)
    sample = times[updates - 1]
    if math.isfinite(sample.var()) and not isinstance(delay, Pareto):  # whose times have no variance
        noise = ERRORS_ALLOWED * sample.std(axis=1) / math.sqrt(sample.shape[1])
        np.testing.assert_array_less(
            np.abs(found.value - sample.mean(axis=1)), noise + ERRORS_ALLOWED / 2 * found.error
        )
    seconds = np.quantile(times[turn - 1], [0.02, 0.5]) * [1.0, 2.0]
    counts = np.array([(times <= t).sum(axis=0) for t in seconds])
    by_time = round_time.expected_updates(delay, k, n, max_staleness, seconds=seconds)
    noise = ERRORS_ALLOWED * counts.std(axis=1) / math.sqrt(counts.shape[1])
    np.testing.assert_array_less(
        np.abs(by_time.value - counts.mean(axis=1)), noise + ERRORS_ALLOWED / 2 * by_time.error + 1e-9
    )
    assert np.all(by_time.error <= 0.05 * by_time.value + 0.05)


def test_independent_rounds_take_j_times_one():
    for delay, k, n, threshold in [(SHIFTED, 3, 8, 0), (STALLS, 8, 8, None), (Exponential(2.0), 3, 8, None)]:
        found = round_time.time_of_update(delay, k, n, threshold, updates=[1, 2.5, 1e6])
        np.testing.assert_allclose(found.value, order_stats.mean(delay, k, n) * np.array([1, 2.5, 1e6]), rtol=1e-12)
        assert not found.error.any()


def test_known_renewal_functions():
    """Exponential: t / mean.  Gamma of shape 2: t / 2 - (1 - exp(-2t)) / 4.  Uniform on (0, 1): exp(t) - 1, t < 1."""
    t = np.array([0.1, 0.5, 0.9, 3.0])
    for delay, expected in [
        (Exponential(2.0), t / 2),
        (Gamma(shape=2.0, scale=1.0), t / 2 + np.expm1(-2 * t) / 4),
        (Uniform(low=0.0, high=1.0), np.where(t < 1, np.expm1(t), math.nan)),
    ]:
        found = round_time.expected_updates(delay, 1, 1, seconds=t)
        known = np.isfinite(expected)
        np.testing.assert_allclose(found.value[known], expected[known], atol=2e-4)
        assert np.all(np.abs(found.value - expected)[known] <= found.error[known] + 1e-6)


@pytest.mark.parametrize("delay", [SHIFTED, STALLS, UNEQUAL], ids=["shifted", "stalls", "unequal"])
def test_far_from_the_start_only_an_offset_is_left(delay):
    """E N(t) = t / r + sum (cv_i^2 - 1) / 2, and E S_J = r (J - that + (v r - 1) / 2) with v = sum cv_i^2 / mean_i."""
    n = 8
    laws = delay if isinstance(delay, list) else [delay] * n
    spread = np.array([law.var / law.mean**2 for law in laws])
    rates = np.array([1 / law.mean for law in laws])
    offset, steady = (spread - 1).sum() / 2, 1 / rates.sum()
    t = 400.0
    found = round_time.expected_updates(delay, 1, n, seconds=t)
    assert float(found.value) == pytest.approx(t / steady + offset, abs=0.02 + float(found.error))
    J = 2000
    time = round_time.time_of_update(delay, 1, n, updates=J)
    expected = steady * (J - offset + ((spread * rates).sum() * steady - 1) / 2)
    assert float(time.value) == pytest.approx(expected, abs=2.5 * float(time.error))
    assert float(time.error) < 0.03 * expected


def test_ties():
    found = round_time.expected_updates(Deterministic(1.0), 1, 4, seconds=[0.5, 1.0, 2.5])
    assert found.value.tolist() == [0.0, 4.0, 8.0]
    assert round_time.time_of_update(Deterministic(1.0), 1, 4, updates=[1, 4, 5]).value.tolist() == [1.0, 1.0, 2.0]


def test_the_same_question_has_the_same_answer_in_any_unit():
    one, same = (round_time.time_of_update(LogNormal(1.0, 1.0), 2, 6, 1, updates=[2, 500]) for _ in range(2))
    assert one.value.tolist() == same.value.tolist()
    for unit, rtol in ((1024.0, 1e-9), (1000.0, 1e-6)):  # rounding grows where control variates are nearly dependent
        slow = round_time.time_of_update(LogNormal(unit, 1.0), 2, 6, 1, updates=[2, 500])
        np.testing.assert_allclose(slow.value, unit * one.value, rtol=rtol)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: round_time.time_of_update(SHIFTED, 9, 8), r"k must be a whole number in 1\.\.n"),
        (lambda: round_time.time_of_update(SHIFTED, 2, 8, -1), "max_staleness must be"),
        (lambda: round_time.time_of_update(SHIFTED, 2, 8, updates=0.5), "updates must be finite numbers >= 1"),
        (lambda: round_time.expected_updates(SHIFTED, 2, 8, seconds=-1.0), "seconds must be"),
        (lambda: round_time.expected_updates("fast", 2, 8, seconds=1.0), "delay must be"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_no_question_has_no_answer():
    for answer in (
        round_time.time_of_update(SHIFTED, 1, 4, updates=[]),
        round_time.expected_updates(SHIFTED, 1, 4, seconds=[]),
    ):
        assert answer.value.shape == answer.error.shape == (0,)
