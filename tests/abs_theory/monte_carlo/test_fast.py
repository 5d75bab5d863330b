"""The fast engine of the Monte Carlo: path by path against a plain twin, then in law, and conserved exactly."""

import heapq
import math

import numpy as np
import pytest
from agreement import assert_resolves, noise
from cases import by_turns
from hypothesis import given, settings
from hypothesis import strategies as st
from laws import SHIFTED, STALLS
from steady_states import half_widths_as_estimates

from abs_theory import monte_carlo
from abs_theory.delays import Deterministic, Exponential, Gamma, LogNormal, Pareto
from abs_theory.monte_carlo import Estimate, estimators, fast
from abs_theory.monte_carlo.draws import Draws
from abs_theory.monte_carlo.fast import TaskPool
from abs_theory.workers import as_workers

# -- path by path ------------------------------------------------------------------------------------------------


def twin(first, later, k, max_staleness, rounds):
    """The definition: worker w needs ``first[w]`` seconds, then ``later(w, version)``; sums as in a Tally."""
    n, now = len(first), 0.0
    begin, end, version = [0.0] * n, list(first), [0] * n
    idle = wasted = restarts = 0
    staleness, delivered = [], [0] * n
    for updates in range(1, rounds + 1):
        done = heapq.nsmallest(k, range(n), key=end.__getitem__)
        now = end[done[-1]]
        idle += sum(now - end[w] for w in done)
        staleness += [updates - 1 - version[w] for w in done]
        late = [w for w in set(range(n)) - set(done) if updates - version[w] > max_staleness]
        wasted += sum(now - begin[w] for w in late)
        restarts += len(late)
        for w in done:
            delivered[w] += 1
        for w in done + late:
            begin[w], end[w], version[w] = now, now + later(w, updates), updates
    return now, idle, wasted, restarts, staleness, delivered


def assert_same_path(tally, twins):
    for row, (seconds, idle, wasted, restarts, staleness, delivered) in enumerate(twins):
        assert tally.seconds[row] == pytest.approx(seconds, rel=1e-7)
        assert tally.idle[row] == pytest.approx(idle, rel=1e-6, abs=1e-9)
        assert tally.wasted[row] == pytest.approx(wasted, rel=1e-6, abs=1e-9)
        assert tally.restarts[row] == restarts
        assert tally.staleness[row] == sum(staleness)
        assert tally.histogram[row].tolist() == np.bincount(staleness, minlength=tally.histogram.shape[1]).tolist()
        if tally.delivered.shape[1] > 1:
            assert tally.delivered[row].tolist() == delivered


SIZES = [(1, 1, 3), (7, 3, 2), (12, 5, 0), (20, 20, 1), (60, 1, math.inf), (60, 1, 25), (300, 2, math.inf)]
SIZES += [(300, 2, 90), (300, 1, 3), (200, 5, 20), (200, 1, 199)]


@pytest.mark.parametrize("n, k, bound", SIZES)
def test_unequal_workers_do_what_the_definition_says(monkeypatch, n, k, bound):
    """Every worker is a group, so its tasks are known by name, and their delays can depend on the name alone."""
    rounds = 2 * n
    table = np.random.default_rng(0).gamma(2.0, 0.5, (2, n, rounds + 1))
    pools = []

    def delays(self, groups):
        if not pools:
            return table[:, :, 0].ravel()
        return next_delays(pools[0], groups)

    def next_delays(pool, groups):
        # both replicates are alike, save for the delays of the first tasks
        return table[0, groups, pool.updates]

    monkeypatch.setattr(Draws, "unequal", delays)
    monkeypatch.setattr(Draws, "equal", lambda self, size: delays(self, np.zeros(size, dtype=int)))
    workers = as_workers([Exponential(1.0 + i) for i in range(n)], n)
    pools.append(TaskPool(workers, k, bound, np.random.default_rng(0), 2, rounds))
    twins = [twin(table[row, :, 0], lambda w, v: table[0, w, v], k, bound, rounds) for row in range(2)]
    assert_same_path(pools[0].watch(rounds), twins)


@pytest.mark.parametrize("n, k, bound", [*SIZES, (1000, 1, math.inf), (1500, 2, math.inf)])
def test_equal_workers_do_what_the_definition_says(monkeypatch, n, k, bound):
    """Equal workers have no names: the delays depend on the update alone."""
    rounds = min(2 * n, 300)
    first = np.random.default_rng(0).gamma(2.0, 0.5, (3, n))
    later = np.random.default_rng(1).gamma(0.3, 0.5, rounds + 1)
    pools = []

    def delays(self, size):
        if not pools:
            return first.ravel().copy()
        together, updates = size // (3 * k), pools[0].updates
        if math.isinf(bound) and together > 1:  # rounds played at once
            return np.tile(np.repeat(later[updates + 1 : updates + 1 + together], k), 3)
        return np.full(size, later[updates])

    monkeypatch.setattr(Draws, "equal", delays)
    pools.append(TaskPool(as_workers(Exponential(1.0), n), k, bound, np.random.default_rng(0), 3, rounds))
    twins = [twin(row, lambda w, v: later[v], k, bound, rounds) for row in first]
    assert_same_path(pools[0].watch(rounds), twins)


# -- conserved exactly -------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 80),
    share=st.floats(0, 1),
    bound=st.sampled_from([0, 1, 2, 5, 40, math.inf]),
    delay=st.sampled_from([SHIFTED, STALLS, Gamma(shape=0.2, scale=5.0)]),
    unequal=st.booleans(),
)
def test_staleness_is_conserved_in_every_replicate(seed, n, share, bound, delay, unequal):
    k, rounds, replicates = max(1, round(share * n)), 100, 5
    laws = [delay if i % 3 else Exponential(2.0) for i in range(n)] if unequal else delay
    pool = TaskPool(as_workers(laws, n), k, bound, np.random.default_rng(seed), replicates, rounds)
    tally = pool.watch(rounds)
    ages = np.sum(pool.updates - (pool.tasks & pool.version), axis=1)
    dropped = tally.restarts * (bound + 1) if bound < rounds else 0
    assert np.all(tally.staleness + dropped + ages == rounds * (n - k))
    assert np.all(tally.histogram.sum(axis=1) == k * rounds)
    assert np.all(tally.histogram @ np.arange(tally.histogram.shape[1]) == tally.staleness)
    assert ages.max() <= min(bound, rounds) * n
    if len(pool.workers.laws) > 1:
        assert np.all(tally.delivered.sum(axis=1) == k * rounds)
    groups = np.sort((pool.tasks & pool.group) >> pool.shift, axis=1)
    assert np.all(groups == np.sort(pool.workers.group))


# -- in law ------------------------------------------------------------------------------------------------------


def assert_alike(one, other, resolution):
    """Fail if two independent estimates contradict each other, or are too noisy to."""
    both = Estimate(
        one.mean - other.mean, math.hypot(one.stderr, other.stderr), min(one.num_samples, other.num_samples)
    )
    assert_resolves(both, resolution * max(abs(other.mean), 0.05))
    rounding = 1e-12 * abs(other.mean)  # where the quantity is the same in every replicate
    assert abs(both.mean) <= noise(both) + rounding, f"{one} and {other}"


UNEQUAL = [SHIFTED] * 3 + [STALLS] * 3 + [Gamma(shape=3.0, scale=0.5)] * 2


@pytest.mark.parametrize(
    "delay, k, bound",
    by_turns([SHIFTED, STALLS, UNEQUAL, LogNormal(median=0.6, sigma=1.0)], [1, 4], [0, 2, None]),
    ids=repr,
)
def test_both_engines_agree_in_law(monkeypatch, delay, k, bound):
    arguments = (delay, k, 8, bound)
    fast = monte_carlo.abs_sgd(*arguments, np.random.default_rng(1), 300, 400)
    monkeypatch.setattr(estimators, "MOST_LABEL_BITS", 0)  # too many labels for the fast one
    slow = monte_carlo.abs_sgd(*arguments, np.random.default_rng(2), 300, 400)
    one, other = (half_widths_as_estimates(state, 400) for state in (fast, slow))
    for name in one:
        assert_alike(one[name], other[name], 0.15)
    unit = Estimate(0.0, 1.0, 400).half_width()
    for mine, its, error in zip(fast.participation, slow.participation, slow.error.participation, strict=True):
        assert_alike(Estimate(mine, 0.0, 400), Estimate(its, error / unit, 400), 0.3)


def test_unequal_workers_share_the_deliveries_as_they_should():
    """Without a bound and waiting for one, worker i delivers at the rate 1 / E[X_i], whatever the law."""
    laws = [SHIFTED, Exponential(2.0), STALLS, Gamma(shape=2.0, scale=2.0)] * 5
    state = monte_carlo.abs_sgd(laws, 1, 20, None, np.random.default_rng(3), 2000, 128)
    rates = np.array([1 / law.mean for law in laws])
    unit = Estimate(0.0, 1.0, 128).half_width()
    for found, error, expected in zip(state.participation, state.error.participation, rates / rates.sum(), strict=True):
        assert abs(found - expected) <= noise(Estimate(found, error / unit, 128)) < 0.1 * expected
    assert state.participation.sum() == pytest.approx(1, rel=1e-12)


def test_delays_drawn_ahead_keep_their_laws_apart():
    laws = [SHIFTED, Gamma(shape=4.0, scale=1.0)]
    draws = Draws(as_workers([laws[0]] * 3 + [laws[1]] * 2, 5), np.random.default_rng(4), 10)
    groups = np.random.default_rng(5).permuted(np.tile([0, 0, 0, 1, 1], (2000, 10)), axis=1)
    delays = np.concatenate([draws.unequal(row) for row in groups])
    for g, law in enumerate(laws):
        found = Estimate.of(delays[groups.ravel() == g])
        assert abs(found.mean - law.mean) <= noise(found) < 0.05 * law.mean


# -- constant delays, and the limits -----------------------------------------------------------------------------


@pytest.mark.parametrize("n, k", [(4, 2), (7, 3), (10, 3), (9, 1)])
def test_constant_delays_have_an_honest_error(n, k):
    """All finish together, n // k rounds at a time; the window of 101 rounds cuts that cycle anywhere."""
    state = monte_carlo.abs_sgd(Deterministic(0.1), k, n, None, np.random.default_rng(6), 101, 400)
    found = half_widths_as_estimates(state, 400)["round_time"]
    expected = 0.1 / (n // k)
    assert abs(found.mean - expected) <= noise(found) < 0.05 * expected


def test_laws_without_a_mean_need_a_bound_and_then_give_no_nan():
    for index in (0.5, 1.0):
        state = monte_carlo.abs_sgd(Pareto(1.0, index), 5, 10, 2, np.random.default_rng(7), 200, 16)
        assert np.isfinite([state.round_time, state.idle_fraction, state.wasted_fraction]).all()
        assert state.idle_fraction + state.wasted_fraction < 1


def test_delays_beyond_the_floats_are_refused():
    with pytest.raises(ValueError, match="too long for floating point"):
        monte_carlo.abs_sgd(Pareto(1.0, 0.001), 5, 10, 2, np.random.default_rng(7), 20, 4)


def test_a_label_names_the_group_and_the_update():
    many = as_workers([Exponential(1.0 + i) for i in range(100)], 100)
    assert fast.label_bits(many, 1000) == 7 + 10
    assert fast.label_bits(as_workers(Exponential(1.0), 100), 1000) == 10
