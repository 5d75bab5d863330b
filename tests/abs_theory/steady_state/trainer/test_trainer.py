"""Updates that take time: theory against simulation, what is conserved, what is exact, and the limits of both."""

import itertools
import math

import numpy as np
import pytest
from agreement import assert_within

from abs_theory import round_time, steady_state
from abs_theory.delays import Empirical, Exponential, Gamma, LogNormal, Mixture, Slowest
from abs_theory.monte_carlo import Rules, played, update_law
from abs_theory.results import Estimate
from abs_theory.steady_state.trainer import waiting_slots
from abs_theory.steady_state.trainer.spread import spread
from abs_theory.workers import as_workers
from paper_figs.figures import rollouts

LOGNORMAL = LogNormal(median=math.exp(-0.5), sigma=1.0)
LAWS = {
    "lognormal": LOGNORMAL,
    "light": Gamma(shape=4.0, scale=0.25),
    "two peaks": Mixture(weights=(0.8, 0.2), components=(Gamma(16.0, 0.5 / 16), Gamma(16.0, 3.0 / 16))),
    "exponential": Exponential(1.0),
}


def compare(theory, simulated, replicates=32, cap=0.13):
    """Round time within its stated error, which is small; staleness within one update; lost within .01."""
    unit = Estimate(0.0, 1.0, replicates).half_width()
    found = Estimate(simulated.round_time, simulated.error.round_time / unit, replicates)
    stated = theory.error.round_time + 1e-12 * found.mean  # a round that lasts as long as an update, but for rounding
    assert_within(found, theory.round_time, stated, cap=cap * found.mean, resolution=0.1 * found.mean)
    for q in (0.5, 0.9, 0.99):
        assert abs(theory.staleness_quantile(q) - simulated.staleness_quantile(q)) <= 1
    assert theory.lost_share == pytest.approx(simulated.lost_share, abs=0.01)
    assert theory.mean_staleness == pytest.approx(
        simulated.mean_staleness, abs=theory.error.mean_staleness + 3 * simulated.error.mean_staleness + 0.01
    )


# law, k, n, threshold, seconds of an update, whether slots wait for the update, whether work is stopped in flight
CELLS = [
    ("lognormal", 16, 48, None, 0.4, True, True),
    ("two peaks", 24, 32, 2, 0.5, True, True),
    ("light", 8, 40, 1, 0.0, False, True),
    ("two peaks", 16, 64, 2, 0.1, False, True),
    ("lognormal", 16, 40, 2, 0.0, False, False),
]


def theory_and_simulation(law, k, n, bound, T, waits, in_flight, rounds):
    if waits:
        theory = steady_state.abs_sgd(LAWS[law], k, n, bound, "mean-field", update_seconds=T)
    else:
        theory = steady_state.abs_batch(LAWS[law], k, n, bound, T, in_flight, "mean-field")
    rules = Rules(k, n if waits else math.inf, math.inf if bound is None else bound, in_flight)
    rng = np.random.default_rng(5)
    return theory, played(as_workers(LAWS[law], n), rules, update_law(T), rng, rounds, 32)


@pytest.mark.parametrize(
    "cell", [*CELLS[:2], *(pytest.param(cell, marks=pytest.mark.slow) for cell in CELLS[2:])], ids=str
)
def test_theory_against_simulation(cell):
    compare(*theory_and_simulation(*cell, rounds=60))


# ---------------------------------------------------------------------- what is exact
def test_without_a_threshold_and_for_exponential_tasks_a_round_is_that_of_k_batch_async():
    for law, bound, seconds in ((LOGNORMAL, None, 0.0), (LOGNORMAL, None, 0.2), (Exponential(1.0), 2, 0.0)):
        state = steady_state.abs_batch(law, 16, 64, bound, seconds)
        assert (state.round_time, state.error.round_time) == (pytest.approx(0.25), 0.0)
        assert state.method == "mean-field"  # the staleness of each task, or how many are lost
    assert steady_state.abs_batch(LOGNORMAL, 16, 64).mean_staleness == 63 / 16


@pytest.mark.parametrize("bound", [1, 2, 4, 16])
def test_what_is_conserved_if_updates_take_no_time(bound):
    state = steady_state.abs_batch(LOGNORMAL, 16, 64, bound)
    assert 16 * state.mean_staleness + (bound + 1) * state.restarts == pytest.approx(63)
    waits = steady_state.abs_sgd(LOGNORMAL, 16, 64, bound, "mean-field", update_seconds=0.3)
    assert 16 * waits.mean_staleness + (bound + 1) * waits.restarts == pytest.approx(48)
    if bound != 2:
        return
    law, n, k = as_workers(LOGNORMAL, 64), 64, 16
    waiting = played(law, Rules(k, n, bound), update_law(0.3), np.random.default_rng(1), 100, 8)
    assert k * waiting.mean_staleness + (bound + 1) * waiting.restarts == pytest.approx(n - k, abs=0.5)
    assert (waiting.uplinks, waiting.dropped) == (k, 0)
    played_state = played(as_workers(LOGNORMAL, 64), Rules(16, math.inf, bound), None, np.random.default_rng(1), 100, 8)
    assert 16 * played_state.mean_staleness + (bound + 1) * played_state.restarts == pytest.approx(63, abs=0.7)


def test_threshold_0_restarts_all():
    gamma = Gamma(shape=4.0, scale=0.25)
    state = steady_state.abs_batch(gamma, 16, 64, 0)
    assert (state.mean_staleness, state.restarts, state.method) == (0.0, 63.0, "exact")
    assert state.round_time == pytest.approx(round_time.k_batch_sync(gamma, 16, 64))
    trained = steady_state.abs_batch(gamma, 16, 64, 0, 0.2)
    assert trained.round_time == pytest.approx(state.round_time + 0.2)
    seen = played(as_workers(gamma, 64), Rules(16, math.inf, 0), update_law(0.2), np.random.default_rng(4), 40, 32)
    assert trained.round_time == pytest.approx(seen.round_time, abs=1.5 * seen.error.round_time)
    law = Exponential(1.0)
    waits = steady_state.abs_sgd(law, 4, 16, 0, update_seconds=0.5)
    assert waits.round_time == pytest.approx(0.5 + round_time.k_sync(law, 4, 16))


def test_everybody_waits_for_the_trainer_too():
    state = steady_state.abs_sgd(LOGNORMAL, 8, 8, update_seconds=0.5)
    assert state.round_time == pytest.approx(0.5 + round_time.synchronous(LOGNORMAL, 8))
    assert round_time.synchronous(LOGNORMAL, 8, 0.5) == pytest.approx(state.round_time)
    assert (state.method, state.mean_staleness) == ("exact", 0.0)


def test_the_trainer_as_the_bottleneck():
    state = steady_state.abs_sgd(LOGNORMAL, 16, 64, update_seconds=2.0)
    assert (state.round_time, state.mean_staleness, state.trainer_busy) == (pytest.approx(2.0), 3.0, pytest.approx(1.0))
    bounded = steady_state.abs_batch(LOGNORMAL, 16, 64, 3, update_seconds=2.0)
    assert bounded.round_time == 2.0
    assert bounded.staleness_quantile(1.0) == 3


@pytest.mark.parametrize("seconds", [0.25, 0.5, Exponential(0.3)])
def test_a_queue_without_end_is_said(seconds):
    with pytest.raises(ValueError, match="the queue grows without end: an update takes"):
        steady_state.abs_batch(LOGNORMAL, 16, 64, None, seconds)


@pytest.mark.slow
def test_unequal_slots():
    laws = [LOGNORMAL] * 32 + [Exponential(2.0)] * 32
    theory = steady_state.abs_batch(laws, 16, 64, 2, 0.1, method="mean-field")
    simulated = played(as_workers(laws, 64), Rules(16, math.inf, 2), update_law(0.1), np.random.default_rng(2), 60, 32)
    compare(theory, simulated)
    assert theory.participation.sum() == pytest.approx(16)
    np.testing.assert_allclose(
        theory.participation[[0, -1]], simulated.participation.reshape(2, 32).mean(axis=1), rtol=0.04
    )


def test_unequal_slots_that_wait_for_their_own_tasks():
    """A slot whose task waits for the trainer starts no other, however fast it is."""
    laws = [LOGNORMAL] * 16 + [Exponential(2.0)] * 16
    theory = steady_state.abs_sgd(laws, 8, 32, None, "mean-field", update_seconds=0.42)
    simulated = played(as_workers(laws, 32), Rules(8, 32), update_law(0.42), np.random.default_rng(2), 60, 32)
    compare(theory, simulated)
    np.testing.assert_allclose(
        theory.participation[[0, -1]], simulated.participation.reshape(2, 16).mean(axis=1), rtol=0.03
    )


@pytest.mark.parametrize("kind", ["stopped", *(pytest.param(x, marks=pytest.mark.slow) for x in ("waits", "dropped"))])
def test_auto_simulates_where_the_mean_field_states_a_large_error(kind):
    """The same question has the same answer."""

    def state(method):
        if kind == "waits":
            return steady_state.abs_sgd(LOGNORMAL, 2, 5, 1, method, update_seconds=0.3)
        return steady_state.abs_batch(LOGNORMAL, 2, 5, 1, 0.3, kind == "stopped", method)

    rough, fine = state("mean-field"), state("auto")
    assert rough.method == "mean-field"
    assert rough.error.round_time > 0.02 * rough.round_time
    assert fine.method == "monte-carlo"
    assert fine.error.round_time < 0.01 * fine.round_time
    assert fine.round_time == pytest.approx(rough.round_time, abs=rough.error.round_time + 2 * fine.error.round_time)
    if kind != "stopped":
        assert fine.round_time == state("auto").round_time


def test_exact_is_not_what_has_no_formula():
    with pytest.raises(ValueError, match=r"no exact steady state is known for k=3 .* if updates take time"):
        steady_state.abs_sgd(LOGNORMAL, 3, 6, 2, "exact", update_seconds=0.3)
    assert steady_state.abs_sgd(LOGNORMAL, 3, 6, 0, "exact", update_seconds=0.3).method == "exact"
    assert steady_state.abs_sgd(Exponential(1.0), 3, 6, None, "exact", update_seconds=0.3).mean_staleness == 1


@pytest.mark.parametrize(
    "law", [Exponential(1.0), LOGNORMAL, Gamma(shape=25.0, scale=0.04), Gamma(1e4, 1e-4)], ids=repr
)
@pytest.mark.parametrize("k, n, theta", [(1, 2, 1), (2, 4, 2), (6, 8, 1), (8, 16, 4), (24, 48, 1)])
def test_the_mean_field_states_how_wrong_it_is_for_few_slots_and_steady_tasks(law, k, n, theta):
    for in_flight, seconds in ((True, 0.0), (False, 0.1)):
        rough = steady_state.abs_batch(law, k, n, theta, seconds, in_flight, "mean-field")
        rules, rng = Rules(k, max_staleness=theta, in_flight=in_flight), np.random.default_rng(3)
        seen = played(as_workers(law, n), rules, update_law(seconds), rng, max(30, 600 // k), 24)
        for name in ("round_time", "mean_staleness", "restarts", "dropped"):
            noise = 2 * getattr(seen.error, name) + 1e-9
            assert getattr(rough, name) == pytest.approx(getattr(seen, name), abs=getattr(rough.error, name) + noise)


def test_an_update_time_that_is_random():
    law = Exponential(0.2)
    theory = steady_state.abs_sgd(Exponential(1.0), 8, 24, update_seconds=law)
    simulated = steady_state.abs_sgd(
        Exponential(1.0), 8, 24, None, "monte-carlo", np.random.default_rng(3), update_seconds=law
    )
    assert theory.error.round_time == theory.error.mean_staleness == 0
    assert theory.round_time == pytest.approx(simulated.round_time, abs=2 * simulated.error.round_time)


def waits(k, bound):
    return steady_state.abs_sgd(LOGNORMAL, k, 8, bound, "fast", update_seconds=0.3)


def goes_on(k, bound):
    return steady_state.abs_batch(LOGNORMAL, k, 8, bound, 0.1, method="mean-field")


@pytest.mark.parametrize("solve", [waits, goes_on])
def test_a_grid_has_the_numbers_of_its_cells(solve):
    ks, bounds, lengths = [2, 4], [[1], [3], [math.inf]], [0.1, 1.0, 9.0]
    grid = solve(ks, bounds)
    assert grid.round_time.shape == grid.method.shape == (3, 2)
    for (i, (bound,)), (j, k) in itertools.product(enumerate(bounds), enumerate(ks)):
        cell = solve(k, bound)
        for got, one in ((grid, cell), (grid.error, cell.error)):
            for name in ("round_time", "mean_staleness", "restarts", "dropped", "trainer_busy", "queued_staleness"):
                assert getattr(got, name)[i, j] == getattr(one, name)
            size = one.staleness_pmf.size
            np.testing.assert_array_equal(got.staleness_pmf[i, j, :size], one.staleness_pmf)
            assert not got.staleness_pmf[i, j, size:].any()
        assert (grid.method[i, j], grid.lost_share[i, j]) == (cell.method, cell.lost_share)
        assert grid.staleness_quantile(0.9)[i, j] == cell.staleness_quantile(0.9)
        np.testing.assert_array_equal(grid.trained_share(lengths)[i, j], cell.trained_share(lengths))
        assert grid.long_share(LOGNORMAL, 0.1)[i, j] == cell.long_share(LOGNORMAL, 0.1)
        np.testing.assert_array_equal(grid.participation[i, j], cell.participation)
    assert len(grid.to_frame()) == 6


def test_a_grid_that_is_none_is_refused():
    with pytest.raises(ValueError, match="k and max_staleness must broadcast to one grid, got shapes"):
        steady_state.abs_batch(LOGNORMAL, [1, 2], 8, [0, 1, 2])
    with pytest.raises(ValueError, match="k and max_staleness must not be empty"):
        steady_state.abs_batch(LOGNORMAL, [], 8)


# ---------------------------------------------------------------------- many cells
MANY = LAWS | {
    "deepseek_r1": rollouts.lengths(),
    "groups": Slowest(LOGNORMAL, 8),
    "groups of deepseek_r1": Slowest(rollouts.lengths(), 4),
}
REPLICATES = 48


def random_cell(seed):
    """A law, k, n, threshold, seconds of an update, and what happens to stale work; over the whole range that holds."""
    rng = np.random.default_rng([seed, 2])
    law, kind = MANY[rng.choice(list(MANY))], rng.choice(["waits", "stopped", "dropped"])
    n, ratio = round(2 ** rng.uniform(4, 9)), math.exp(rng.uniform(math.log(1.25), math.log(8)))
    k = max(2, min(n - 1, round(n / ratio)))
    bound = float(rng.choice([0, 1, 2, 3, 4, 6, 8, 12, 16, math.inf]))
    if math.isinf(bound) and kind != "waits":
        kind, bound = "stopped", math.inf
    load = rng.choice([0.0, rng.uniform(0, 2), math.exp(rng.uniform(math.log(0.02), math.log(2)))])  # mean tasks
    if math.isinf(bound) and kind == "stopped":
        load = min(load, 0.9 * k / n)
    return law, k, n, bound, load, kind


# law, k, n, threshold, update in mean tasks, kind: recorded lengths with gaps, peaked lengths, a batch that is small
HARD = [
    ("groups of deepseek_r1", 102, 196, 3, 1e-9, "waits"),
    ("groups of deepseek_r1", 64, 486, 0, 0.0, "stopped"),
    ("two peaks", 6, 19, 4, 0.021, "waits"),
    ("two peaks", 31, 46, 1, 0.75, "stopped"),
    ("light", 5, 18, 2, 0.584, "stopped"),
    ("deepseek_r1", 6, 18, None, 0.027, "waits"),
]


@pytest.mark.slow
@pytest.mark.parametrize("cell", HARD, ids=str)
def test_cells_that_are_hard_for_a_mean_field(cell):
    name, k, n, bound, load, kind = cell
    law, theta, seconds = MANY[name], math.inf if bound is None else bound, load * MANY[name].mean

    def theory(method):
        if kind == "waits":
            return steady_state.abs_sgd(law, k, n, bound, method, update_seconds=seconds)
        return steady_state.abs_batch(law, k, n, bound, seconds, method=method)

    rules, rng = Rules(k, n if kind == "waits" else math.inf, theta), np.random.default_rng(11)
    simulated = played(as_workers(law, n), rules, update_law(seconds), rng, max(60, 6_000 // k), REPLICATES, 100)
    rough, accurate = theory("mean-field"), theory("auto")
    noise = 1.5 * simulated.error.round_time
    assert rough.round_time == pytest.approx(simulated.round_time, abs=rough.error.round_time + noise)
    assert accurate.round_time == pytest.approx(simulated.round_time, abs=0.02 * simulated.round_time + noise)
    assert accurate.lost_share == pytest.approx(simulated.lost_share, abs=0.01)
    for q in (0.5, 0.9, 0.99):
        assert abs(accurate.staleness_quantile(q) - simulated.staleness_quantile(q)) <= 1


def test_lengths_that_are_close_have_no_steps_between_them():
    lengths = [1.0, 1.05, 1.1, 1.15, 4.0]
    (law,) = spread(as_workers(Empirical(lengths, [1, 2, 3, 2, 2]), 4)).laws
    t = np.linspace(0, 5, 200_001)
    for start in (0.0, 0.9, 1.07, 2.0, 4.5):
        tail = np.trapezoid(law.sf(t[t >= start]), t[t >= start])
        assert float(law.integrated_tail(start)) == pytest.approx(tail, abs=1e-4)
    assert law.mean == pytest.approx(np.average(lengths, weights=[1, 2, 3, 2, 2]), rel=2e-3)
    np.testing.assert_allclose(law.sf(law.isf([0.3, 0.5, 0.9])), [0.3, 0.5, 0.9])
    assert law.sf([1.125, 2.0, 4.0]).tolist() == pytest.approx([0.4, 0.2, 0.0])
    far = as_workers(Empirical([1.0, 2.0, 4.0]), 4)
    assert spread(far).laws == far.laws


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40))
def test_theory_against_simulation_in_random_cells(seed):
    law, k, n, bound, load, kind = random_cell(seed)
    seconds = load * law.mean

    def theory(method):
        if kind == "waits":
            return steady_state.abs_sgd(law, k, n, bound, method, update_seconds=max(seconds, 1e-9 * law.mean))
        return steady_state.abs_batch(law, k, n, bound, seconds, kind == "stopped", method)

    rules = Rules(k, n if kind == "waits" else math.inf, bound, kind != "dropped")
    finite = 0 if math.isinf(bound) else int(bound)
    overload = load * n / k if kind != "waits" else 0.0  # batches that are finished in an update
    warmup = 12 + math.ceil(8 * n / k) + (6 * finite if overload < 1.3 else math.ceil(finite / (1 - 1 / overload)))
    warmup += 40 * (0.7 < overload < 1.3)  # the queue is slow to settle
    rounds = min(200, max(20, 120_000 // (REPLICATES * k)))
    rng = np.random.default_rng(seed)
    simulated = played(as_workers(law, n), rules, update_law(seconds), rng, rounds, REPLICATES, warmup)
    compare(theory("mean-field"), simulated, REPLICATES, cap=0.13 if n >= 32 else 0.25)
    if n >= 32:  # "auto" simulates where the mean field states more
        assert abs(theory("auto").round_time / simulated.round_time - 1) <= 0.02 + 1.5 * (
            simulated.error.round_time / simulated.round_time
        )


def test_many_slots_of_exponential_tasks_take_no_chain_of_all_their_states(monkeypatch):
    """A chain of 15,000 states would take hours and 2 GB; the mean field is as good there as where both are known."""
    law, updates = Exponential(50.0), update_law(5.0)
    small = as_workers(law, 700)
    exact = waiting_slots.steady_state(small, 100, math.inf, updates)
    assert exact.error.round_time == 0
    monkeypatch.setattr(waiting_slots, "MOST_STATES", 500)
    field = waiting_slots.steady_state(small, 100, math.inf, updates)
    assert abs(field.round_time - exact.round_time) <= field.error.round_time > 0
    many = waiting_slots.steady_state(as_workers(law, 20_000), 5000, math.inf, updates)
    assert (many.method, many.round_time) == ("mean-field", pytest.approx(17.0, rel=0.1))
