"""Steady state of ABS: exact formulas, the mean field within its stated error, and what both must obey."""

import itertools
import math

import numpy as np
import pytest
from agreement import assert_agrees, assert_resolves, assert_within, noise
from cases import by_turns
from laws import LOGNORMAL, SHIFTED, STALLS
from scipy import stats
from steady_states import LAWS, half_widths_as_estimates

from abs_theory import monte_carlo, order_stats, round_time, steady_state
from abs_theory.delays import (
    Deterministic,
    Exponential,
    Gamma,
    HyperExponential,
    LocalSteps,
    Lomax,
    Pareto,
    ShiftedExponential,
    Uniform,
    Weibull,
)
from abs_theory.steady_state import markov_chain, mean_field
from abs_theory.steady_state.phases import phases

GAMMA = Gamma(shape=4.0, scale=0.25)
PARETO = Pareto(minimum=0.5, index=2.0)
GRID_LAWS = [
    *LAWS,
    Weibull(scale=1.0, shape=0.7),
    Weibull(scale=1.0, shape=3.0),
    ShiftedExponential(0.9, 0.1),
]
NUMBERS = ["round_time", "mean_staleness", "restarts", "idle_fraction", "wasted_fraction"]


# -- exponential delays: exact ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "theta, mean, restarts", [(1, 0.4286, 6.43), (3, 1.149, 2.31), (6, 1.922, 0.770), (None, 3.0, 0.0)]
)
def test_exponential_examples(theta, mean, restarts):
    state = steady_state.abs_sgd(Exponential(1.0), 5, 20, theta)
    assert state.method == "exact"
    assert state.mean_staleness == pytest.approx(mean, abs=5e-4)
    assert state.restarts == pytest.approx(restarts, abs=5e-3)
    assert state.round_time == pytest.approx(sum(1 / i for i in range(16, 21)))
    assert (state.uplinks, state.downlinks) == (5, 5 + state.restarts)
    assert all(np.all(getattr(state.error, name) == 0) for name in [*NUMBERS, "staleness_pmf"])


@pytest.mark.parametrize("method", ["auto", "mean-field"])
@pytest.mark.parametrize("delay", [SHIFTED, LOGNORMAL, [Exponential(1.0)] * 12 + [Exponential(3.0)] * 8], ids=repr)
def test_where_all_restart_every_gradient_is_fresh(delay, method):
    """Exactly, not up to the rounding of the conservation law that gives the staleness elsewhere."""
    state = steady_state.abs_sgd(delay, np.arange(1, 21), 20, [[0], [1]], method)
    assert np.array_equal(state.mean_staleness[0], np.zeros(20))
    assert (state.mean_staleness[1, :-1] > 0).all()


@pytest.mark.parametrize("k, n, theta", [(1, 4, 2), (5, 20, 1), (5, 20, 6), (7, 10, 0), (2, 6, None), (6, 6, 3)])
def test_exponential_against_simulation(k, n, theta):
    theory = steady_state.abs_sgd(Exponential(2.0), k, n, theta)
    state = monte_carlo.abs_sgd(Exponential(2.0), k, n, theta, np.random.default_rng(1), 1000, 128)
    found = half_widths_as_estimates(state, 128)
    assert_agrees(found["round_time"], theory.round_time, resolution=0.05)
    for name in NUMBERS[1:]:
        expected = getattr(theory, name)
        if abs(expected) < 1e-12:
            assert found[name].mean == 0
        else:
            # the number of restarts does not fluctuate if all restart, nor does the mean of nothing
            assert_within(found[name], expected, 1e-12, 1e-12, resolution=0.08 * max(expected, 0.05))
    both = min(theory.staleness_pmf.size, state.staleness_pmf.size) - 1
    difference = np.abs(theory.staleness_pmf[:both] - state.staleness_pmf[:both])
    assert np.all(difference <= 4 * state.error.staleness_pmf[:both] + 1e-4)


# -- limits -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delay", LAWS, ids=repr)
def test_limits_are_exact(delay):
    n = 10
    k_sync = steady_state.abs_sgd(delay, 4, n, 0)
    assert k_sync.round_time == pytest.approx(order_stats.mean(delay, 4, n), rel=1e-9)
    assert (k_sync.restarts, k_sync.wasted_fraction) == pytest.approx((6, 0.6), rel=1e-12)
    assert k_sync.staleness_pmf.tolist() == [1.0]
    idle = sum(k_sync.round_time - order_stats.mean(delay, j, n) for j in range(1, 5)) / (n * k_sync.round_time)
    assert k_sync.idle_fraction == pytest.approx(idle, rel=1e-6)
    synchronous = steady_state.abs_sgd(delay, n, n, 3)
    assert synchronous.round_time == pytest.approx(order_stats.mean(delay, n, n), rel=1e-9)
    assert (synchronous.mean_staleness, synchronous.restarts, synchronous.method) == (0, 0, "exact")
    asynchronous = steady_state.abs_sgd(delay, 1, n)
    assert asynchronous.round_time == pytest.approx(delay.mean / n, rel=1e-9)
    assert (asynchronous.mean_staleness, asynchronous.idle_fraction, asynchronous.method) == (
        n - 1,
        0,
        "exact",
    )
    assert asynchronous.error.round_time == 0
    # the pmf is the mean field's, but for a Markov chain
    assert (asynchronous.error.staleness_pmf[0] > 0) == (phases(delay) is None)


@pytest.mark.parametrize("k, theta", [(1, None), (1, 3), (5, 0), (5, 2), (10, None), (19, 1), (19, None)])
def test_mean_field_times_are_exact_for_exponential_delays(k, theta):
    exact = steady_state.abs_sgd(Exponential(3.0), k, 20, theta)
    approximate = steady_state.abs_sgd(Exponential(3.0), k, 20, theta, "mean-field")
    assert approximate.round_time == pytest.approx(exact.round_time, rel=1e-3)
    assert approximate.idle_fraction == pytest.approx(exact.idle_fraction, rel=2e-3, abs=1e-12)
    for name in NUMBERS:
        difference = abs(getattr(approximate, name) - getattr(exact, name))
        assert difference <= getattr(approximate.error, name) + 1e-9


@pytest.mark.parametrize("delay", LAWS, ids=repr)
def test_many_workers_reach_the_limit(delay):
    limit = float(mean_field.limit_round_time(delay, 0.3, 2))
    state = steady_state.abs_sgd(delay, 3000, 10_000, 2)
    assert state.round_time == pytest.approx(limit, rel=0.002)


@pytest.mark.parametrize("delay", LAWS, ids=repr)
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_the_limit_solves_its_equation(delay, share):
    for theta in (0, 1, 5, 200):
        r = float(mean_field.limit_round_time(delay, share, theta))
        ages = np.sum(delay.sf(np.arange(theta + 1) * r))
        assert delay.cdf((theta + 1) * r) / ages == pytest.approx(share, rel=1e-6)
    r = float(mean_field.limit_round_time(delay, share, math.inf))
    ages = np.sum(delay.sf(np.arange(200_000) * r)) + delay.integrated_tail(199_999.5 * r) / r
    assert 1 / ages == pytest.approx(share, rel=1e-6)


# -- the mean field within its stated error -------------------------------------------------------------------------


def wrong_of_mean_field(delay, k, n, theta, num_rounds, replicates, resolution):
    """What lies outside its stated error; fails if a simulation is too weak to tell."""
    theory = steady_state.abs_sgd(delay, k, n, theta, "mean-field")
    state = monte_carlo.abs_sgd(delay, k, n, theta, np.random.default_rng([k, n, theta or 99]), num_rounds, replicates)
    found = half_widths_as_estimates(state, replicates)
    wrong = []
    for name in NUMBERS:
        value = getattr(theory, name)
        assert_resolves(found[name], resolution * (value if name == "round_time" else max(1.0, 2 * value)))
        if abs(found[name].mean - value) > getattr(theory.error, name) + 1e-12 + noise(found[name]):
            wrong.append(name)
    both = min(theory.staleness_pmf.size, state.staleness_pmf.size) - 1
    unit = 6 / monte_carlo.Estimate(0, 1, replicates).half_width()
    errors = theory.error.staleness_pmf[:both] + unit * state.error.staleness_pmf[:both]
    if np.any(np.abs(theory.staleness_pmf[:both] - state.staleness_pmf[:both]) > errors):
        wrong.append("staleness_pmf")
    return wrong


FEW_LAWS = [SHIFTED, STALLS, LOGNORMAL, PARETO, Uniform(low=0.0, high=2.0)]


@pytest.mark.parametrize(
    "delay, sizes, theta", by_turns(FEW_LAWS, [(1, 4), (2, 8), (5, 20), (15, 20)], [1, 3, None], rounds=3), ids=repr
)
def test_the_mean_field_keeps_its_stated_error(delay, sizes, theta):
    k, n = sizes
    assert not wrong_of_mean_field(delay, k, n, theta, num_rounds=300, replicates=128, resolution=0.4)
    theory = steady_state.abs_sgd(delay, k, n, theta, "mean-field")
    in_step = 0.65 * math.exp(-25 * delay.var / delay.mean**2)  # nearly constant delays: a wide statement
    assert 0 <= theory.error.round_time <= (0.4 + in_step) * theory.round_time
    assert theory.error.mean_staleness <= (0.1 + in_step) * (theory.mean_staleness + 1.5)
    assert theory.error.restarts <= 0.1 + (0.02 + in_step) * n
    assert theory.error.idle_fraction <= 0.035 + in_step
    assert theory.error.wasted_fraction <= 0.12 + in_step


@pytest.mark.slow
@pytest.mark.parametrize("delay", GRID_LAWS, ids=repr)
def test_the_mean_field_keeps_95_percent_of_its_stated_errors(delay):
    wrong, compared = [], 0
    for n, theta in itertools.product((4, 8, 20, 50, 100), (0, 1, 3, 6, None)):
        for k in sorted({1, 2, n // 10, n // 4, n // 2, 3 * n // 4, n - 1} - {0}):
            if not (k == 1 and theta is None):
                names = wrong_of_mean_field(delay, k, n, theta, 20_000 // n, replicates=128, resolution=0.25)
                wrong += [(k, n, theta, name) for name in names]
                compared += len(NUMBERS) + 1
    assert len(wrong) <= stats.binom.isf(1e-4, compared, 0.05), wrong


def test_a_wrong_mean_field_would_be_caught():
    state = monte_carlo.abs_sgd(STALLS, 5, 20, 3, np.random.default_rng(2), 1000, 128)
    wrong = steady_state.abs_sgd(STALLS, 5, 20, 1)  # as if the threshold were off by two
    found = half_widths_as_estimates(state, 128)["mean_staleness"]
    with pytest.raises(AssertionError, match="stated error"):
        assert_within(found, wrong.mean_staleness, wrong.error.mean_staleness, 1.0, 1.0)


# Mean round time at n = 20, K = 5, E[X] = 1, standard error about .1 %: theta = none, 6, 3, 1, 0; then K = 10 and 15
TABLE = {
    SHIFTED: (0.278, 0.284, 0.314, 0.413, 0.640, 0.647, 1.072),
    GAMMA: (0.278, 0.285, 0.325, 0.431, 0.615, 0.644, 1.124),
    Uniform(low=0.0, high=2.0): (0.279, 0.285, 0.349, 0.424, 0.476, 0.656, 1.253),
    Lomax(scale=2.0, index=3.0): (0.281, 0.236, 0.220, 0.206, 0.197, 0.681, 1.408),
    HyperExponential(probs=(0.5, 0.5), means=(0.1, 1.9)): (0.287, 0.214, 0.140, 0.080, 0.065, 0.735, 1.613),
    STALLS: (0.284, 0.120, 0.111, 0.107, 0.105, 0.721, 1.722),
    PARETO: (0.277, 0.260, 0.271, 0.351, 0.576, 0.638, 1.082),
    LOGNORMAL: (0.277, 0.253, 0.249, 0.261, 0.302, 0.657, 1.309),
}
COLUMNS = [(5, None), (5, 6), (5, 3), (5, 1), (5, 0), (10, None), (15, None)]


@pytest.mark.parametrize("delay, column", by_turns(TABLE, range(len(COLUMNS)), rounds=2), ids=repr)
def test_the_table_of_round_times(delay, column):
    (k, theta), tabulated = COLUMNS[column], TABLE[delay][column]
    state = monte_carlo.abs_sgd(delay, k, 20, theta, np.random.default_rng(3), 400, 128)
    found = half_widths_as_estimates(state, 128)["round_time"]
    both = monte_carlo.Estimate(found.mean, math.hypot(found.stderr, 1e-3 * tabulated), found.num_samples)
    assert abs(found.mean - tabulated) <= 5e-4 + noise(both)
    theory = steady_state.abs_sgd(delay, k, 20, theta)
    # what the tool says must be right to 4 %, far inside the stated error, on these well-behaved cells
    assert theory.round_time == pytest.approx(tabulated, rel=0.04, abs=5e-4)


# -- what every steady state obeys ----------------------------------------------------------------------------------


@pytest.mark.parametrize("delay", [Exponential(1.0), *LAWS], ids=repr)
def test_conservation_positivity_and_scale(delay):
    n, k, theta = 8, np.array([1, 3, 7, 8])[:, None], np.array([0, 1, 4, 30, np.inf])
    state = steady_state.abs_sgd(delay, k, n, theta)
    bound = np.where(np.isinf(theta), 0, theta + 1)
    np.testing.assert_allclose(
        k * state.mean_staleness + state.restarts * bound, np.broadcast_to(n - k, (k.size, 5)), atol=1e-9
    )
    np.testing.assert_allclose(state.staleness_pmf.sum(axis=-1), 1, rtol=1e-12)
    assert np.all(state.staleness_pmf >= 0)
    ages = np.arange(state.staleness_pmf.shape[-1])
    heavy = delay == PARETO
    np.testing.assert_allclose(
        state.staleness_pmf @ ages, state.mean_staleness, rtol=0.01 if heavy else 1e-4, atol=1e-9
    )
    for share in (state.idle_fraction, state.wasted_fraction, state.idle_fraction + state.wasted_fraction):
        assert np.all((share >= 0) & (share < 1))
    assert np.all(state.round_time[:, -1] >= k[:, 0] * delay.mean / n * (1 - 1e-12))
    assert np.all(np.diff(state.round_time, axis=0) > 0)
    assert np.all(state.downlinks <= n + 0.1)


def test_a_slower_clock_scales_times_and_nothing_else():
    for method in ("exact", "mean-field"):
        theta = 0 if method == "exact" else 2
        one, ten = (steady_state.abs_sgd(Gamma(4.0, scale), 3, 9, theta, method) for scale in (1.0, 10.0))
        assert ten.round_time == pytest.approx(10 * one.round_time, rel=1e-6)
        assert ten.restarts == pytest.approx(one.restarts, rel=1e-6)
        assert ten.idle_fraction == pytest.approx(one.idle_fraction, rel=1e-6)


@pytest.mark.parametrize("delay", [SHIFTED, Exponential(1.0), STALLS], ids=repr)
def test_a_grid_is_the_scalar_calls(delay):
    k, theta = np.array([[1], [3], [8]]), [0, 2, None]
    grid = steady_state.abs_sgd(delay, k, 8, theta)
    assert grid.round_time.shape == grid.method.shape == (3, 3)
    assert grid.staleness_pmf.shape[:2] == (3, 3)
    for row in range(3):
        for column in range(3):
            cell = steady_state.abs_sgd(delay, int(k[row, 0]), 8, theta[column])
            assert grid.method[row, column] == cell.method
            for name in [*NUMBERS, "uplinks", "downlinks"]:
                assert isinstance(getattr(cell, name), float)
                assert getattr(grid, name)[row, column] == pytest.approx(getattr(cell, name), rel=1e-9, abs=1e-12)
                assert getattr(grid.error, name)[row, column] == pytest.approx(getattr(cell.error, name), rel=1e-6)
            padded = np.pad(cell.staleness_pmf, (0, 5000))[: grid.staleness_pmf.shape[-1]]
            np.testing.assert_allclose(grid.staleness_pmf[row, column], padded, atol=1e-8)


def test_simulation_only_where_nothing_is_exact():
    steady = ShiftedExponential(0.9, 0.1)
    state = steady_state.abs_sgd(steady, [2, 4, 2], 4, [1, 1, 0])
    assert state.method.tolist() == ["simulation", "exact", "exact"]
    assert (state.error.round_time > 0).tolist() == [True, False, False]
    assert steady_state.abs_sgd(steady, 2, 4, 1, "fast").method == "mean-field"
    constant = steady_state.abs_sgd(Deterministic(1.0), 2, 4, 1)
    assert constant.round_time == pytest.approx(0.5, abs=constant.error.round_time + 1e-12)
    assert constant.method == steady_state.abs_sgd(Deterministic(1.0), 2, 4, 1, "fast").method == "simulation"


@pytest.mark.parametrize("method", ["auto", "fast"])
def test_where_a_chain_is_too_stiff_another_route_is_taken(method, monkeypatch):
    right = steady_state.abs_sgd(STALLS, 2, 4, 1)

    def stiff(*_):
        raise markov_chain.StiffChainError("too stiff")

    monkeypatch.setattr(markov_chain, "steady_state", stiff)
    state = steady_state.abs_sgd(STALLS, [2, 4], 4, 1, method)
    assert state.method.tolist() == [{"auto": "simulation", "fast": "mean-field"}[method], "exact"]
    assert state.round_time[0] == pytest.approx(right.round_time, abs=state.error.round_time[0])
    with pytest.raises(ArithmeticError, match="too stiff"):
        steady_state.abs_sgd(STALLS, 2, 4, 1, "exact")


@pytest.mark.slow
def test_a_chain_that_is_too_stiff():
    delay, n = HyperExponential((0.968, 0.032), (0.765, 0.082)), 108
    with pytest.raises(ArithmeticError, match="too stiff"):
        steady_state.abs_sgd(delay, 1, n, None, "exact")
    assert steady_state.abs_sgd(delay, 1, n).round_time == pytest.approx(delay.mean / n, rel=1e-12)


def test_the_same_question_has_the_same_answer():
    one, two = (steady_state.abs_sgd(SHIFTED, 3, 8, 2) for _ in range(2))
    other = steady_state.abs_sgd(SHIFTED, 3, 8, 2, rng=np.random.default_rng(1))
    assert one.round_time == two.round_time != other.round_time
    assert abs(one.round_time - other.round_time) <= one.error.round_time + other.error.round_time
    assert one.staleness_pmf.tolist() == two.staleness_pmf.tolist()


def test_infinite_means():
    heavy = Pareto(minimum=1.0, index=0.9)  # E[X] = inf
    assert steady_state.abs_sgd(heavy, 5, 5, None).round_time == math.inf
    assert steady_state.abs_sgd(heavy, 5, 5, None).idle_fraction == 0.8  # four wait for one, for ever
    bounded = steady_state.abs_sgd(heavy, 4, 10, 2)
    state = monte_carlo.abs_sgd(heavy, 4, 10, 2, np.random.default_rng(5), 500, 64)
    found = half_widths_as_estimates(state, 64)["round_time"]
    assert_within(found, bounded.round_time, bounded.error.round_time, 0.2 * bounded.round_time, 0.1)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"k": 0}, "k must be a whole number in 1..n, got k=0 with n=8 workers"),
        ({"k": [1, 9]}, "k must be a whole number in 1..n, got k=9 with n=8 workers"),
        ({"k": []}, "k and max_staleness must not be empty"),
        (
            {"k": [1, 2], "max_staleness": [1, 2, 3]},
            r"must broadcast to one grid, got shapes \(2,\) and \(3,\)",
        ),
        ({"max_staleness": -1}, "max_staleness must be a whole number >= 0, or None"),
        ({"max_staleness": [1.0, math.nan]}, "max_staleness must be a whole number >= 0, or None"),
        ({"k": 5.0}, r"k must be a whole number in 1..n, got k=5\.0 with n=8 workers: write 5"),
        ({"k": 5.5}, r"k must be a whole number in 1..n, got k=5\.5"),
        ({"delay": 3.0}, "delay must be a Delay such as"),
        ({"delay": "lognormal:median=1,sigma=1"}, "got 'lognormal:median=1,sigma=1'; .*delay_law reads a text"),
        *[({"update_seconds": wrong}, "update_seconds must be a number, a Delay") for wrong in ("x", None, [0.1, 0.3])],
        ({"method": "exakt"}, "method must be one of auto, fast, exact, mean-field, monte-carlo, got 'exakt'"),
        ({"method": "monte-carlo"}, "needs rng"),
        (
            {"method": "exact"},
            "no exact steady state is known for .* with k=2 of n=8 and max_staleness=3: the delays are not of",
        ),
        ({"delay": Deterministic(1.0), "method": "mean-field"}, "the law has atoms; use"),
        ({"delay": Pareto(1.0, 1.0), "max_staleness": None}, r"E\[X\] is infinite.* give a max_staleness"),
        ({"delay": Pareto(1.0, 1.0), "max_staleness": None, "method": "fast"}, r"E\[X\] is infinite.* give a"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        steady_state.abs_sgd(**({"delay": SHIFTED, "k": 2, "n": 8, "max_staleness": 3} | arguments))


# -- round times ----------------------------------------------------------------------------------------------------


def test_round_times_agree_with_each_other():
    n = 6
    assert round_time.synchronous(SHIFTED, n) == round_time.k_sync(SHIFTED, n, n) == order_stats.mean(SHIFTED, n, n)
    assert round_time.abs_sgd(SHIFTED, 2, n, 0) == pytest.approx(round_time.k_sync(SHIFTED, 2, n))
    assert round_time.k_async(SHIFTED, 1, n) == pytest.approx(round_time.asynchronous(SHIFTED, n))
    assert round_time.k_async(SHIFTED, n, n) == pytest.approx(round_time.synchronous(SHIFTED, n))
    assert round_time.asynchronous(Pareto(1.0, 1.0), n) == math.inf


def test_local_sgd_waits_for_the_largest_sum():
    largest = np.random.default_rng(6).exponential(size=(200_000, 4, 3)).sum(axis=2).max(axis=1)
    assert_agrees(monte_carlo.Estimate.of(largest), round_time.local_sgd(Exponential(1.0), 4, 3), 0.02)
    assert round_time.local_sgd(SHIFTED, 5, 1) == pytest.approx(round_time.synchronous(SHIFTED, 5))
    assert round_time.local_sgd(SHIFTED, 1, 7) == pytest.approx(LocalSteps(SHIFTED, 7).mean)
    with pytest.raises(ValueError, match="local_steps must be an integer >= 1"):
        round_time.local_sgd(SHIFTED, 5, 0)


def test_asynchronous_checks_its_arguments():
    with pytest.raises(ValueError, match="n must be an integer"):
        round_time.asynchronous(SHIFTED, 0)


@pytest.mark.parametrize(
    "delay, share, theta",
    [
        (SHIFTED, 0.0, 1),
        (SHIFTED, 1.0, 1),
        (SHIFTED, math.nan, 1),
        (SHIFTED, 0.5, -1),
        (Deterministic(1.0), 0.5, 1),
        (Pareto(1.0, 1.0), 0.5, math.inf),
    ],
)
def test_the_limit_checks_its_arguments(delay, share, theta):
    with pytest.raises(ValueError, match=r"must be in|no mean field"):
        mean_field.limit_round_time(delay, share, theta)


def test_very_many_workers_are_never_simulated(monkeypatch):
    """Not even for the staleness of asynchronous SGD: the delays of all replicates would not fit into memory."""
    monkeypatch.setattr(monte_carlo, "steady_states_to_goal", lambda *_: pytest.fail("simulated"))
    state = steady_state.abs_sgd(LOGNORMAL, 1, 10_000, None)
    assert state.method == "exact"
    assert state.round_time == pytest.approx(LOGNORMAL.mean / 10_000, rel=1e-12)
    assert float(state.mean_staleness) == pytest.approx(9_999, rel=1e-9)


@pytest.mark.parametrize("n", [10**6 + 1, 10**9])
def test_more_workers_than_the_commands_take_are_refused(n):
    for function in (steady_state.abs_sgd, round_time.abs_sgd):
        with pytest.raises(ValueError, match=f"n must be at most 1000000, got n={n}: choose a smaller one"):
            function(LOGNORMAL, 3, n, 2)
    assert 0 < round_time.k_sync(LOGNORMAL, 3, n) < 0.02  # a formula, whose results do not grow with n


def test_what_can_only_be_simulated_is_refused_before_it_takes_all_memory():
    with pytest.raises(
        ValueError, match=r"a simulation of n=1000000 workers would take 15\.3 GiB of memory, more than"
    ):
        steady_state.abs_sgd(Deterministic(1.0), 10, 10**6, 3)
    with pytest.raises(
        ValueError, match="the order of n=1000000 workers that finish at the same time, for k=1000, would"
    ):
        order_stats.first_k_probabilities(Deterministic(1.0), 1000, 10**6)
