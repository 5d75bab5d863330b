"""Simulation to a goal: exact answers are met within its errors, at every kind of cell that is hard, and at once."""

import math
from dataclasses import replace

import numpy as np
import pytest
from cases import first_fast
from scipy import stats
from steady_states import SHIFTED, STALLS

from abs_theory import monte_carlo, order_stats, steady_state
from abs_theory.delays import (
    Deterministic,
    Empirical,
    Erlang,
    Exponential,
    Gamma,
    HyperExponential,
    LogNormal,
    Lomax,
    Mixture,
    Pareto,
    ShiftedExponential,
    Uniform,
    as_delay,
)
from abs_theory.monte_carlo import by_age, summary
from abs_theory.monte_carlo.conditional import MeanRound, age_state
from abs_theory.monte_carlo.controls import Controls, capped_means
from abs_theory.monte_carlo.draws import SharedDelays, SharedDraws
from abs_theory.monte_carlo.fast import TaskPool
from abs_theory.monte_carlo.long_run import long_run
from abs_theory.monte_carlo.precise import memory
from abs_theory.monte_carlo.precise.rare import RareRounds
from abs_theory.workers import as_workers

NUMBERS = ["round_time", "mean_staleness", "restarts", "idle_fraction", "wasted_fraction"]
RARE = HyperExponential(probs=(0.99, 0.01), means=(0.1, 50.0))
EXACT = [
    (Exponential(1.0), 5, 20, 3),
    (Exponential(1.0), 1, 50, 1),
    (Erlang(2, 0.5), 3, 6, None),
    (Erlang(3, 1 / 3), 2, 5, 2),
    (RARE, 3, 5, None),
    (RARE, 4, 5, 1),
    (STALLS, 7, 8, 3),
    ([Exponential(0.5)] * 2 + [Exponential(1.0), Exponential(4.0)], 2, 4, 1),
    ([Erlang(2, 0.5)] * 2 + [STALLS] * 2, 3, 4, None),
    (LogNormal(1.0, 1.0), 4, 10, 0),
]


def to_goal(delay, k, n, bound, seed=0, quick=False):
    workers = as_workers(delay, n)
    theta = math.inf if bound is None else bound
    return monte_carlo.steady_state_to_goal(workers, k, theta, np.random.default_rng(seed), quick)


@pytest.mark.parametrize("cell", EXACT, ids=str)
def test_exact_answers_are_within_the_errors(cell):
    exact, state = steady_state.abs_sgd(*cell, "exact"), to_goal(*cell)
    for name in NUMBERS:
        assert abs(getattr(state, name) - getattr(exact, name)) <= getattr(state.error, name) + 1e-9, name
    assert np.all(np.abs(state.participation - exact.participation) <= state.error.participation + 1e-9)
    size = min(state.staleness_pmf.size, exact.staleness_pmf.size) - 1
    apart = np.abs(state.staleness_pmf[:size] - exact.staleness_pmf[:size])
    assert np.all(apart <= state.error.staleness_pmf[:size] + 1e-9)
    assert state.error.round_time <= 0.05 * state.round_time


def test_what_is_conserved_is_exact():
    for delay, k, n, bound in [(LogNormal(1.0, 2.5), 3, 8, None), (SHIFTED, 3, 8, 2), (Pareto(1.0, 1.6), 3, 8, None)]:
        state = to_goal(delay, k, n, bound)
        missed = 0 if bound is None else bound + 1
        assert k * state.mean_staleness + missed * state.restarts == pytest.approx(n - k, rel=1e-12)
        assert state.staleness_pmf.sum() == pytest.approx(1, rel=1e-9)
        if bound is None:  # all that is begun is delivered
            busy = n * state.round_time * (1 - state.idle_fraction)
            assert busy == pytest.approx(k * delay.mean, rel=2e-3)


def test_rare_long_stalls_are_there_from_the_start():
    """Half of the work is in stalls that come once in ten thousand tasks and last longer than all that is watched."""
    delay = Mixture((1 - 1e-4, 1e-4), (LogNormal(1.0, 0.5), LogNormal(1e4, 0.1)))
    state = to_goal(delay, 1, 4, None)
    assert state.round_time == pytest.approx(delay.mean / 4, rel=1e-6)
    fresh = monte_carlo.abs_sgd(delay, 1, 4, None, np.random.default_rng(0), 200, 64, warmup=20)
    assert fresh.round_time < 0.7 * delay.mean / 4


@pytest.mark.parametrize(
    "delay", first_fast([Empirical(samples=(1.0, 2.0, 2.0, 5.0)), Deterministic(1.0), as_delay(stats.geom(0.2))], 1)
)
def test_delays_that_tie(delay):
    state = to_goal(delay, 2, 5, 1)
    referee = monte_carlo.abs_sgd(delay, 2, 5, 1, np.random.default_rng(3), 2000, 64)
    for name in NUMBERS:
        apart = abs(getattr(state, name) - getattr(referee, name))
        assert apart <= getattr(state.error, name) + 3 * getattr(referee.error, name) + 2e-3, name
    assert state.participation.sum() == pytest.approx(2)


def test_quick_is_coarser_and_cheaper():
    fine, quick = to_goal(STALLS, 8, 40, 1), to_goal(STALLS, 8, 40, 1, quick=True)
    assert fine.error.round_time <= quick.error.round_time <= 0.03 * quick.round_time
    assert abs(fine.round_time - quick.round_time) <= fine.error.round_time + quick.error.round_time


# -- its parts -------------------------------------------------------------------------------------------------------


def test_a_cell_is_the_same_alone_and_with_others():
    for delay in (STALLS, Gamma(4.0, 0.25), [SHIFTED] * 3 + [STALLS] * 3, Empirical([1.0, 2.0, 4.0])):
        workers, cells = as_workers(delay, 6), [(1, 3.0), (2, 1.0), (4, math.inf)]
        together = monte_carlo.steady_states_to_goal(workers, cells, np.random.default_rng(3))
        for (k, bound), state in zip(cells, together, strict=True):
            alone = monte_carlo.steady_state_to_goal(workers, k, bound, np.random.default_rng(3))
            assert (alone.round_time, alone.error.round_time) == (state.round_time, state.error.round_time)
            np.testing.assert_array_equal(alone.staleness_pmf, state.staleness_pmf)


@pytest.mark.parametrize("shared", [False, True])
def test_the_controls_have_mean_zero(shared):
    unequal = [] if shared else [as_workers([SHIFTED] * 3 + [Pareto(1.0, 0.9)] * 3, 6)]
    for workers in (as_workers(STALLS, 6), *unequal):
        caps, means = capped_means(workers)
        draws = SharedDraws(SharedDelays(workers.laws[0], caps, means[0], 0, 2400)) if shared else None
        controls = Controls(workers, 400, (2, 1.0), draws)
        pool = TaskPool(workers, 2, 1, np.random.default_rng(0), 400, 300, None, controls)
        pool.watch(300)
        assert np.all(np.abs(controls.sums.mean(axis=0)) <= 5 * controls.sums.std(axis=0) / 20)
        assert np.all(controls.sums.std(axis=0) > 0)


@pytest.mark.parametrize("delay", [STALLS, [SHIFTED] * 3 + [Pareto(1.0, 0.9)] * 3], ids=["equal", "unequal"])
def test_tasks_at_the_start_are_in_the_control_of_restarts(delay):
    """Within the first rounds all that are due began before; their surplus has mean 0, and is nearly the restarts."""
    workers = as_workers(delay, 6)
    run = long_run(workers, 2, 3)
    controls = Controls(workers, 3000, (4, 4 * run.round_time))
    pool = TaskPool(workers, 2, 3, np.random.default_rng(0), 3000, 300, run, controls)
    restarts = pool.watch(4).restarts
    surplus = controls.sums[:, -1]
    assert abs(surplus.mean()) <= 5 * surplus.std() / math.sqrt(3000)
    assert np.corrcoef(surplus, restarts)[0, 1] > 0.4


def test_shared_delays_have_the_sums_of_the_controls():
    caps, means = capped_means(as_workers(STALLS, 6))
    shared = SharedDelays(STALLS, caps, means[0], 7, 100)
    draws = [SharedDraws(shared), SharedDraws(shared)]
    rounds = shared.size // 90 + 2  # into the next block
    total = np.zeros((3, caps.size))
    for _ in range(rounds):
        delays, same = (reading.equal(90) for reading in draws)
        np.testing.assert_array_equal(delays, same)
        surplus = np.minimum(delays[:, None], caps) - means[0]
        parts = np.stack([surplus[:40].sum(axis=0), surplus[40:70].sum(axis=0), surplus[70:].sum(axis=0)])
        total += parts
        draws[0].note(np.array([0, 40, 70, 90]))
        draws[1].note(np.array([0, 30, 60, 90]))
    of_parts, of_thirds = (np.asarray(reading.noted()) for reading in draws)
    np.testing.assert_allclose(of_parts, total, atol=1e-6)
    np.testing.assert_allclose(of_thirds.sum(axis=0), total.sum(axis=0), atol=1e-6)
    assert np.all(draws[0].noted() == 0)


def test_regression_on_few_unusual_replicates_states_a_larger_error():
    """A column that depends on the square of a skewed control: plain regression would be too sure of its bias."""
    rng, outside = np.random.default_rng(0), 0
    for _ in range(200):
        control = rng.exponential(size=(128, 1)) - 1
        column = control**2 + 0.1 * rng.standard_normal((128, 1))
        mean, left, freedom = summary.regressed(column, control)
        outside += abs(mean[0] - 1.0) > 1.96 * math.sqrt(np.mean(left**2) / freedom)
    assert outside <= 30


def test_regression_ignores_controls_that_differ_by_the_error_of_a_table():
    """Their difference has a mean that is not 0, and large in its own standard errors."""
    rng = np.random.default_rng(0)
    control = rng.standard_normal((256, 1))
    twins = np.hstack([control, control + 1e-5 * (1 + 0.3 * rng.standard_normal((256, 1)))])
    column = control + rng.standard_normal((256, 1))
    one, _, _ = summary.regressed(column, control)
    both, _, _ = summary.regressed(column, twins)
    assert abs(both[0] - one[0]) < 0.01


@pytest.mark.parametrize("delay, k, bound", [(Exponential(2.0), 3, 2), (LogNormal(1.0, 1.0), 2, 4), (STALLS, 5, 1)])
def test_the_long_run_starts_near_the_long_run(delay, k, bound):
    """Ages conserve staleness: k tasks are fresh on average, and no task is staler than the bound."""
    run = long_run(as_workers(delay, 10), k, bound)
    age, left = run.draw(np.random.default_rng(0), 4000)
    assert age.max() == bound
    assert np.all(left >= 0)
    fresh = np.mean(np.sum(age == 0, axis=1))
    cut = run.tables[0].sf(np.array((bound + 1) * run.round_time))
    assert fresh * (1 - cut) == pytest.approx(k, rel=0.05)
    assert run.round_time == pytest.approx(float(steady_state.limit_round_time(delay, k / 10, bound)), rel=0.02)


def test_the_mean_of_a_round_given_the_state():
    """All fresh: an order statistic. Else it is right on average, and varies less than rounds do."""
    for delay in (LogNormal(1.0, 1.0), LogNormal(1.0, 0.05), Gamma(0.3, 1.0), STALLS, Exponential(1.0)):
        for k in (1, 2, 4):
            pool = TaskPool(as_workers(delay, 8), k, 1, np.random.default_rng(0), 1024, 200)
            expected = order_stats.mean(delay, k, 8)
            mean = MeanRound(pool, expected)
            seconds = mean(age_state(pool), np.random.default_rng(2))[0].mean()
            assert abs(seconds / expected - 1) <= mean.resolution <= 5e-3
    pool = TaskPool(as_workers([Gamma(0.3, 1.0)] * 6 + [STALLS] * 6, 12), 1, 2, np.random.default_rng(1), 512, 400)
    pool.run(50)
    mean, means, seconds = MeanRound(pool, 1e-3), [], []
    for _ in range(40):
        means.append(mean(age_state(pool), np.random.default_rng(3))[0])
        seconds.append(pool.watch(1).seconds)
    drawn, given = np.array(seconds), np.array(means)
    assert abs(drawn.mean() - given.mean()) <= 5 * drawn.std() / math.sqrt(drawn.size)
    assert given.std() < 0.5 * drawn.std()


def test_two_workers_forget_their_phases():
    """Steady workers that are hardly ever restarted: a round is half a task, whatever their phases were."""
    delay = Erlang(59, 1.0)
    states = [to_goal(delay, 1, 2, 8, seed) for seed in range(10)]
    times = np.array([state.round_time for state in states])
    noise = times.std() / math.sqrt(len(times) - 1)
    assert abs(times.mean() - delay.mean / 2) <= 5 * noise
    assert noise <= states[0].error.round_time / 10


def test_long_rounds_that_may_not_be_seen_are_counted_for_workers_of_all_ages():
    """Both workers stall in one round of 4500, for a stall lasts several rounds; of fresh workers in one of 86 000."""
    delay = Mixture((0.9966, 0.0034), (Gamma(2.915, 0.0752), Exponential(41.33)))
    workers = as_workers(delay, 2)
    late, _, steps = RareRounds.of(long_run(workers, 1, 3), workers, 1)
    pool = TaskPool(workers, 1, 3, np.random.default_rng(0), 1024, 400)
    pool.run(30)
    seconds = np.array([pool.watch(1).seconds for _ in range(100)])
    long = np.mean(seconds > 5)
    t = 0.112 + np.cumsum(steps)
    assert 0.5 * long <= np.interp(5.0, t, late) <= 3 * long


@pytest.mark.parametrize("k, n", [(3, 4), (87, 88), (1, 2), (2, 4)])
def test_heavy_tails_have_small_errors(k, n):
    """A round is long only if a fresh task is, for there are too few old ones."""
    state = to_goal(Pareto(1.19, 1.52), k, n, None)
    assert state.error.round_time < 0.03 * state.round_time


def test_the_bound_on_rare_rounds_is_one_where_rounds_are_long():
    delay = Lomax(1.3, 1.52)
    workers = as_workers(delay, 4)
    run = long_run(workers, 3, math.inf)
    late, _, steps = RareRounds.of(run, workers, 3)
    t = run.round_time * (1 + np.cumsum(steps / run.round_time)) - steps[0]
    pool = TaskPool(workers, 3, math.inf, np.random.default_rng(0), 1024, 2000, run)
    pool.run(100)
    seconds = np.array([pool.watch(1).seconds for _ in range(1000)])
    for length in (10.0, 30.0, 100.0):
        assert 1 <= np.interp(length, t, late) / np.mean(seconds > length) <= 4


def test_errors_of_rare_events_have_few_degrees_of_freedom():
    """A number that most replicates did not see is exceeded about as often as its error says."""
    rng, outside, plain = np.random.default_rng(0), 0, 0
    for _ in range(4000):
        seen = rng.poisson(0.05, size=(128, 1)) * 1.0
        left = seen - seen.mean()
        apart = abs(seen.mean() - 0.05)
        outside += apart > summary.half_widths(left, 127, 0.001, skewed=True)[0]
        plain += apart > summary.half_widths(left, 127, 0.001, skewed=False)[0]
    assert outside <= 12 < 30 < plain


SHIFTED_BY_FIVE = ShiftedExponential(4.6126, 0.9902)
IN_PHASE = [LogNormal(0.84, 0.11)] * 19 + [LogNormal(1.73, 0.11)] * 16 + [LogNormal(0.44, 0.11)] * 15


def test_where_workers_stay_in_phase_the_state_is_that_of_workers_that_begin_together():
    """A round lasts .9 s, so the slow workers end or restart in the second: all their tasks begin in odd rounds.

    Fresh workers make long and short rounds in turn for thousands of updates, those of random phases do not.
    """
    state = steady_state.abs_sgd(IN_PHASE, 35, 50, 1)
    rng = np.random.default_rng(4)  # from the 250th delivery of each on, and to the 1000th
    at_random, fresh = (monte_carlo.abs_sgd(IN_PHASE, 35, 50, 1, rng, 1070, 64, warmup) for warmup in (None, 358))
    assert fresh.round_time - at_random.round_time > 3 * (fresh.error.round_time + at_random.error.round_time)
    for name in NUMBERS:
        apart = abs(getattr(state, name) - getattr(fresh, name))
        assert apart <= getattr(state.error, name) + 2 * getattr(fresh.error, name), name
    assert state.error.round_time < 0.02 * state.round_time
    assert 35 * state.mean_staleness + 2 * state.restarts == pytest.approx(15, rel=1e-12)
    assert state.staleness_pmf.sum() == pytest.approx(1)


STEADY = [  # they drift for hundreds of deliveries, or for ever
    ([Uniform(0.38667, 0.46698)] * 145, 72, 1),
    ([LogNormal(0.56631, 0.01652)] * 54 + [Uniform(1.7817, 1.8438)] * 52, 53, 11),
    ([Uniform(2.51, 2.59)] * 76 + [Pareto(0.9, 5.0)] * 80, 94, 1),
    ([Mixture((0.5, 0.5), (Exponential(0.78), Pareto(0.6515, 2.255)))] * 11 + [SHIFTED_BY_FIVE] * 22, 16, 1),
]


@pytest.mark.parametrize("cell", first_fast(STEADY, 1), ids=["one law", "two laws", "heavy", "two peaks"])
def test_errors_of_steady_workers_hold_from_the_500th_to_the_1000th_delivery(cell):
    """However much they drift."""
    fleet, k, bound = cell
    n = len(fleet)
    state, turn = to_goal(fleet, k, n, bound), n / k
    rounds = 2 * round(250 * turn)
    fresh = monte_carlo.abs_sgd(fleet, k, n, bound, np.random.default_rng(1), rounds, 32, rounds)
    for name in NUMBERS:
        apart = abs(getattr(state, name) - getattr(fresh, name))
        assert apart <= getattr(state.error, name) + 3 * getattr(fresh.error, name) + 1e-9, name
    assert state.error.round_time < 0.03 * state.round_time


def test_few_deliveries_of_many_steady_workers_begin_at_random_phases():
    """A simulation of workers that begin together would take 5000 rounds until their phases are mixed."""
    state = to_goal(Uniform(5.144, 5.648), 1, 134, 16)
    assert state.error.mean_staleness < 0.01 * state.mean_staleness
    assert np.all(state.error.staleness_pmf < 0.05)


@pytest.mark.parametrize("seed", range(3))
def test_random_phases_also_cover_workers_that_begin_together(seed):
    """Shares of the fast workers after 100 000 rounds are .4914 if all begin together and .4893 at random phases."""
    fleet = [LogNormal(median, 0.14495) for median in [1.75251] * 7 + [2.29398] * 5 + [0.79462] * 2]
    state = to_goal(fleet, 1, 14, 1, seed)
    for share in (0.4914, 0.4893):
        assert abs(state.participation[-1] - share) <= state.error.participation[-1] + 2e-4 < 0.01


def test_a_difference_that_is_no_change_is_covered():
    one, other = (monte_carlo.abs_sgd(SHIFTED, 2, 5, 1, np.random.default_rng(seed), 200, 64) for seed in (0, 1))
    moved = replace(other, round_time=1.1 * one.round_time)
    assert memory.or_near(one, moved, moved).error.round_time >= 0.1 * one.round_time
    changing = memory.with_change(moved, [one, moved], 3.0)
    assert changing.error.round_time >= 0.29 * one.round_time
    assert memory.or_near(one, moved, changing).error.round_time == one.error.round_time
    still = memory.with_change(moved, [one, moved, moved], 3.0)
    assert still.error.round_time == changing.error.round_time
    assert still.error.wasted_fraction < 4 * one.error.wasted_fraction


def test_many_workers_that_are_restarted_are_played_until_they_forget_their_phases():
    """The numbers of tasks of each age walk slowly, which is no beginning that lasts."""
    state = to_goal(Lomax(1.38, 4.5), 1, 173, 1)
    assert state.error.mean_staleness < 0.01
    assert state.error.round_time < 0.005 * state.round_time


def test_two_peaks_are_not_simulated_by_tables_of_their_hazard():
    """Between the peaks no task ends, so the age of a task is not known from its hazard."""
    delay = Mixture((0.5, 0.5), (LogNormal(1.01590, 0.05238), Gamma(28.678, 0.85933)))
    workers = as_workers(delay, 6)
    pool = TaskPool(workers, 1, 3, np.random.default_rng(0), 128, 400)
    assert not by_age.applies(MeanRound(pool, 1.4))
    assert by_age.applies(MeanRound(TaskPool(as_workers(STALLS, 6), 1, 3, np.random.default_rng(0), 128, 400), 0.1))
    state = to_goal(delay, 1, 6, 3)
    fresh = monte_carlo.abs_sgd(delay, 1, 6, 3, np.random.default_rng(1), 1500, 512, 300)
    for name in NUMBERS:
        apart = abs(getattr(state, name) - getattr(fresh, name))
        assert apart <= getattr(state.error, name) + 3 * getattr(fresh.error, name), name


def test_what_was_never_seen_has_an_error():
    """Of 130 workers one is restarted in 6e7 rounds."""
    exact = steady_state.abs_sgd(Exponential(1.0), 125, 130, 6, "exact")
    seen = monte_carlo.abs_sgd(Exponential(1.0), 125, 130, 6, np.random.default_rng(0), 100, 32)
    assert 0 < exact.restarts < 1e-7
    assert seen.restarts == 0
    assert exact.restarts < seen.error.restarts < 1e-2


@pytest.mark.parametrize("together, share", [(True, 3 / 4), (False, 2 / 3)])
def test_delays_with_a_density_may_keep_their_phases_for_ever(together, share):
    """A fast worker and two slow ones: there are 3 fast tasks in 4 rounds, or 2 in 3 if the slow ones begin in turn."""
    fast, slow = Uniform(1.0, 1.01), Uniform(1.6, 1.616)
    fleet = monte_carlo.PlayedFleet([fast, slow, slow], 3, np.random.default_rng(0), 64)
    if not together:
        fleet.updates, fleet.version[:, :2], fleet.start[:, 2] = 1, 1, -0.4
        fleet.finish[:, 2] -= 0.4
    delivered = sum(fleet.round(1, 1).delivered for _ in range(12_000))
    np.testing.assert_array_equal(delivered[:, 0], 12_000 * share)
    np.testing.assert_allclose(fleet.time, 12_000 * share * fast.mean, rtol=1e-3)
    if together:
        state = to_goal([fast, slow, slow], 1, 3, 1)
        assert abs(state.round_time - share * fast.mean) < state.error.round_time < 0.05 * state.round_time


def test_steady_workers_are_not_simulated_by_tables_of_their_hazard():
    """Of three that take 1.035 s each one delivers every .345 s: nobody is restarted."""
    state = to_goal(Gamma(56536.0, 1.8309e-5), 1, 3, 3)
    assert state.round_time == pytest.approx(0.34504, rel=0.01)
    assert state.error.round_time < 0.01 * state.round_time


def test_memory_is_a_correlation_of_some_group():
    rng = np.random.default_rng(0)
    mixed, kept = rng.integers(0, 9, (2, 256, 3))
    assert not memory.remembers(mixed, kept)
    kept[:, 1] = mixed[:, 1] + rng.integers(0, 2, 256)
    assert memory.remembers(mixed, kept)
    assert not memory.remembers(mixed * 0, kept)


def test_shares_of_time_are_ratios_of_sums():
    """Of rare long rounds the mean of ratios is biased: exact idle .44463 and wasted .11480 would be missed."""
    exact = steady_state.abs_sgd(RARE, 4, 5, 1, "exact")
    states = [monte_carlo.abs_sgd(RARE, 4, 5, 1, np.random.default_rng([9, seed])) for seed in range(20)]
    for name in ("idle_fraction", "wasted_fraction"):
        hits = sum(abs(getattr(state, name) - getattr(exact, name)) <= getattr(state.error, name) for state in states)
        assert hits >= 15, name


def test_workers_that_begin_together_may_wait_for_each_other_for_ever():
    """Random phases are soon forgotten, and so is nothing that they remember; but fresh workers go on otherwise."""
    fleet, k, bound = [Uniform(2.51, 2.59)] * 5 + [Pareto(0.9, 5.0)] * 5, 6, 1
    state = to_goal(fleet, k, 10, bound)
    for warmup, rounds in ((417, 300), (834, 834)):  # from the 250th delivery of each on
        fresh = monte_carlo.abs_sgd(fleet, k, 10, bound, np.random.default_rng(1), rounds, 64, warmup)
        for name in NUMBERS:
            apart = abs(getattr(state, name) - getattr(fresh, name))
            assert apart <= getattr(state.error, name) + 3 * getattr(fresh.error, name), (warmup, name)
