"""Round times of every protocol: closed forms, mpmath, and simulations written apart from the theory."""

import math

import mpmath
import numpy as np
import pytest
from agreement import assert_agrees
from cases import first_fast

from abs_theory import order_stats, round_time
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
)
from abs_theory.order_stats import renewal
from abs_theory.results import Estimate
from abs_theory.round_time import partial_uploads

UNEQUAL = [Gamma(4.0, 0.25), Exponential(2.0), ShiftedExponential(0.5, 0.5)]
FLEETS = {
    "gamma": [Gamma(4.0, 0.25)] * 3,
    "hyper-exponential": [HyperExponential([0.7, 0.3], [0.25, 2.75])] * 3,  # numerical sums
    "unequal": UNEQUAL,
    "atoms": [Deterministic(1.0), Uniform(0.5, 2.0), Deterministic(1.0)],
}


@pytest.fixture(params=FLEETS.values(), ids=FLEETS)
def fleet(request):
    return request.param


def step_ends(fleet, num_samples, steps, seed=4):
    """When each worker finishes its 1st, 2nd, ... step if never stopped: samples x workers x steps."""
    rng = np.random.default_rng(seed)
    return np.stack([law.sample(rng, (num_samples, steps)) for law in fleet], axis=1).cumsum(axis=2)


def test_waiting_for_workers_is_an_order_statistic():
    for delay in (LogNormal(1.0, 1.0), UNEQUAL):
        assert round_time.synchronous(delay, 3) == order_stats.mean(delay, 3, 3)
        assert round_time.k_sync(delay, 2, 3) == order_stats.mean(delay, 2, 3)
        assert round_time.stsyn(delay, 2, 3, 1) == pytest.approx(order_stats.mean(delay, 2, 3), rel=1e-9)
        assert round_time.local_sgd(delay, 3, 4) == round_time.stsyn(delay, 3, 3, 4)


def test_local_sgd_of_unequal_workers():
    ends = step_ends(UNEQUAL, 40_000, 4)[:, :, -1]
    assert_agrees(Estimate.of(ends.max(axis=1)), round_time.local_sgd(UNEQUAL, 3, 4), resolution=0.03)


# K-batch-sync


def test_k_batch_sync_of_exponentials_is_erlang():
    assert round_time.k_batch_sync(Exponential(2.0), 7, 4) == pytest.approx(7 * 2.0 / 4, rel=1e-15)
    fleet = [Exponential(1.0), Exponential(0.25)]
    assert round_time.k_batch_sync(fleet, 7, 2) == pytest.approx(7 / 5, rel=1e-15)


@pytest.mark.parametrize("k", [1, 2, 5, 12])
def test_k_batch_sync_by_quadrature_agrees_with_the_closed_form(k):
    """A gamma of shape 1 is exponential by another name."""
    fleet = [Erlang(1, 1.0), Gamma(1.0, 1.0), Gamma(1.0, 0.25)]
    assert renewal.mean_event_time(fleet, k, 3) == pytest.approx(k / 6, rel=1e-9)


def test_k_batch_sync_against_mpmath():
    """Two workers of Erlang(2) steps: each is a Poisson count of phases, done[j] of them needing 2j phases."""
    k, rates = 5, (mpmath.mpf(1), mpmath.mpf(3))

    def tasks(rate, t, j):
        return mpmath.exp(-rate * t) * sum((rate * t) ** i / mpmath.factorial(i) for i in (2 * j, 2 * j + 1))

    def too_few(t):
        return mpmath.fsum(tasks(rates[0], t, i) * tasks(rates[1], t, j) for i in range(k) for j in range(k - i))

    with mpmath.workdps(25):
        exact = float(mpmath.quad(too_few, [0, 1, 2, 4, 8, 16, mpmath.inf]))
    assert round_time.k_batch_sync([Erlang(2, 1.0), Erlang(2, 1 / 3)], k, 2) == pytest.approx(exact, rel=1e-11)


def test_k_batch_sync_of_uniform_delays():
    """Two workers, two tasks, by hand: on (0, 1), P(N = 0) = 1 - t and P(N = 1) = t - t^2 / 2."""
    # the integral of P(N1 + N2 < 2) = (1 - t)^2 + 2 (1 - t) (t - t^2 / 2)
    exact = 1 / 3 + 2 * (1 / 2 - 1 / 6 - 1 / 3 + 1 / 8)
    assert round_time.k_batch_sync(Uniform(0.0, 1.0), 2, 2) == pytest.approx(exact, rel=1e-9)


def test_k_batch_sync_of_constant_delays():
    assert [round_time.k_batch_sync(Deterministic(2.0), k, 3) for k in (1, 3, 4, 7)] == pytest.approx([2, 2, 4, 6])
    fleet = [Deterministic(2.0), Deterministic(3.0)]  # events at 2, 3, 4, 6, 6
    assert [round_time.k_batch_sync(fleet, k, 2) for k in (1, 2, 3, 4, 5)] == pytest.approx([2, 3, 4, 6, 6])


def test_one_worker_makes_k_batches_in_turn():
    assert round_time.k_batch_sync(LogNormal(1.0, 1.0), 3, 1) == pytest.approx(3 * math.exp(0.5), rel=1e-14)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_k_batch_sync_agrees_with_samples(fleet, k):
    ends = np.sort(step_ends(fleet, 40_000, k).reshape(40_000, -1), axis=1)[:, k - 1]
    expected = round_time.k_batch_sync(fleet, k, 3)
    assert_agrees(Estimate.of(ends), expected, resolution=0.1)


def test_k_batch_sync_of_mixtures_and_measured_times():
    rng = np.random.default_rng(3)
    stalls = Mixture([0.7, 0.3], [Deterministic(1.0), LogNormal(1.0, 1.0)])
    for fleet in ([Empirical([1.0, 2.0, 2.5])] * 2, [stalls, stalls]):
        simulated = renewal.simulated_event_time(fleet, 3, 2, rng, 20_000)
        assert_agrees(simulated, round_time.k_batch_sync(fleet, 3, 2), resolution=0.06)
    assert round_time.k_batch_sync(Empirical([1.0, 3.0]), 2, 1) == pytest.approx(4.0)


def test_k_batch_sync_when_tails_are_heavy():
    """All n workers must be stuck at once: the index that counts is that of the fastest of n."""
    assert round_time.k_batch_sync(Lomax(1.0, 0.5), 3, 2) == math.inf
    assert round_time.k_batch_sync([Pareto(1.0, 0.6), Exponential(1.0)], 2, 2) < 2.0
    assert round_time.k_batch_sync([Pareto(1.0, 0.3), Pareto(1.0, 0.4)], 2, 2) == math.inf


def test_too_many_measured_times_point_to_simulation():
    measured = Empirical(np.random.default_rng(0).lognormal(size=2000))
    with pytest.raises(ValueError, match="simulated_event_time"):
        round_time.k_batch_sync(measured, 20, 4)


# without idling


def test_nobody_ever_waits_in_k_batch_async():
    assert round_time.k_batch_async(LogNormal(1.0, 1.0), 3, 6) == pytest.approx(0.5 * math.exp(0.5), rel=1e-14)
    assert round_time.asynchronous(UNEQUAL, 3) == pytest.approx(1 / (1 / 1 + 1 / 2 + 1 / 1), rel=1e-14)
    assert round_time.k_batch_async(UNEQUAL, 9, 3) == pytest.approx(9 * round_time.asynchronous(UNEQUAL, 3), rel=1e-14)
    heavy = Pareto(1.0, 0.5)
    assert round_time.asynchronous([heavy, Exponential(1.0)], 2) == pytest.approx(1.0)
    assert round_time.asynchronous(heavy, 2) == math.inf


def test_renewal_rates_agree_with_samples():
    t, ends = 200.0, step_ends(UNEQUAL, 300, 400)
    early, late = ((ends <= at).sum(axis=(1, 2)) for at in (t / 2, t))
    assert_agrees(Estimate.of((late - early) / (t / 2)), 1 / round_time.asynchronous(UNEQUAL, 3), resolution=0.04)


# STSyn


def test_stsyn_example_of_the_paper():
    """M = 40, K = 30, U = 2, mean 1: U-bar 2.6352 (paper and here); E[S] exact 37.221, the paper's formula 37.132."""
    delay = Exponential(1.0)
    assert round_time.stsyn(delay, 30, 40, 2) == pytest.approx(2.6352, abs=5e-5)
    assert partial_uploads.mean_local_steps(delay, 30, 40, 2) == pytest.approx(2.6352, abs=5e-5)
    assert partial_uploads.mean_uploads(delay, 30, 40, 2) == pytest.approx(37.221, abs=1e-3)


def test_stsyn_uploads_against_mpmath():
    """Exponential steps: E[S] = M (1 - E[exp(-T)]), T the K-th of M - 1 Erlang(U)."""
    k, n, steps = 3, 5, 2

    def density(t):
        done = mpmath.gammainc(steps, 0, t, regularized=True)
        ways = mpmath.factorial(n - 1) / mpmath.factorial(k - 1) / mpmath.factorial(n - 1 - k)
        return ways * done ** (k - 1) * (1 - done) ** (n - 1 - k) * t * mpmath.exp(-t)

    with mpmath.workdps(25):
        silent = mpmath.quad(lambda t: density(t) * mpmath.exp(-t), [0, 1, 3, 10, 40])
    assert partial_uploads.mean_uploads(Exponential(2.0), k, n, steps) == pytest.approx(
        float(n * (1 - silent)), rel=1e-10
    )


@pytest.mark.parametrize("setting", first_fast([(2, 3), (1, 2), (2, 1), (3, 2)], 2))
def test_stsyn_agrees_with_samples(fleet, setting):
    k, local_steps = setting
    ends = step_ends(fleet, 30_000, 60)
    over = np.sort(ends[:, :, local_steps - 1], axis=1)[:, k - 1]
    done = (ends <= over[:, None, None] * (1 + 1e-12)).sum(axis=2)
    uploads = Estimate.of((done > 0).sum(axis=1))
    assert_agrees(Estimate.of(over), round_time.stsyn(fleet, k, 3, local_steps), resolution=0.1)
    if not isinstance(fleet[0], HyperExponential):  # slow: some 30 numerical sums
        assert_agrees(
            Estimate.of(done.mean(axis=1)), partial_uploads.mean_local_steps(fleet, k, 3, local_steps), resolution=0.1
        )
    expected = partial_uploads.mean_uploads(fleet, k, 3, local_steps)
    if uploads.stderr:
        assert_agrees(uploads, expected, resolution=0.1)
    else:
        assert uploads.mean == pytest.approx(expected, rel=1e-9)


def test_k_workers_upload_after_one_step_and_all_if_all_are_waited_for():
    assert partial_uploads.mean_uploads(LogNormal(1.0, 1.0), 3, 7, 1) == pytest.approx(3, rel=1e-10)
    assert partial_uploads.mean_uploads(UNEQUAL, 3, 3, 5) == 3


def test_stsyn_local_steps_of_unequal_exponentials_both_ways():
    """Optional stopping against the sum of probabilities that serves all other laws (Gamma(1) is exponential)."""
    exponentials, gammas = [Exponential(1.0), Exponential(0.5)], [Gamma(1.0, 1.0), Gamma(1.0, 0.5)]
    closed = (
        partial_uploads.mean_local_steps(exponentials, 1, 2, 3),
        partial_uploads.mean_local_steps(exponentials, 2, 2, 3),
    )
    assert partial_uploads.mean_local_steps(gammas, 1, 2, 3) == pytest.approx(closed[0], rel=1e-9)
    assert partial_uploads.mean_local_steps(gammas, 2, 2, 3) == pytest.approx(closed[1], rel=1e-9)


# SSP


def test_ssp_without_slack_is_synchronous(fleet):
    found = round_time.ssp(fleet, 3, 0, np.random.default_rng(1), num_ticks=400)
    assert_agrees(found, round_time.synchronous(fleet, 3), resolution=0.06)


def test_ssp_without_bound_is_asynchronous():
    rng = np.random.default_rng(1)
    endless = Pareto(1.0, 0.9)
    for bound in (None, math.inf):
        for laws in (UNEQUAL, [Exponential(0.5)] * 3, [endless, Exponential(1.0), Exponential(2.0)], [endless] * 3):
            seconds = round_time.ssp(laws, 3, bound, rng).mean / 3
            assert seconds == pytest.approx(round_time.asynchronous(laws, 3), rel=1e-14)
    assert round_time.ssp([Exponential(1.0), Exponential(10.0)], 2, None, rng).mean / 2 == pytest.approx(1 / 1.1)
    assert round_time.ssp([endless, Exponential(1.0)], 2, 3, rng).mean == math.inf


def test_ssp_with_a_bound_runs_at_the_pace_of_the_slowest():
    fleet = [Exponential(1.0), Exponential(10.0)]
    found = round_time.ssp(fleet, 2, 30, np.random.default_rng(1), num_ticks=2000)
    assert_agrees(found, 10.0, resolution=0.05)


def test_ssp_agrees_with_one_step_after_another():
    """The rule in words, event by event: a worker with c steps begins another when all have at least c - s."""
    n, bound, ticks, rng = 3, 2, 300, np.random.default_rng(6)
    law = ShiftedExponential(0.2, 0.8)

    def seconds_per_tick():
        steps, busy_until, now = [0] * n, [0.0] * n, 0.0
        working, tick_times = [False] * n, []
        while min(steps) < ticks:
            for i in range(n):
                if not working[i] and min(steps) >= steps[i] - bound:
                    working[i], busy_until[i] = True, now + float(law.sample(rng))
            i = min((i for i in range(n) if working[i]), key=lambda i: busy_until[i])
            now, working[i] = busy_until[i], False
            before = min(steps)
            steps[i] += 1
            if min(steps) > before:
                tick_times.append(now)
        return (tick_times[-1] - tick_times[ticks // 3 - 1]) / (ticks - ticks // 3)

    found = round_time.ssp(law, n, bound, rng, num_ticks=2000)
    assert_agrees(Estimate.of([seconds_per_tick() for _ in range(60)]), found.mean, resolution=0.08)


def test_slack_never_costs_time():
    rng = np.random.default_rng(2)
    times = [round_time.ssp(Gamma(2.0, 0.5), 4, bound, rng).mean for bound in (0, 1, 3, 8)]
    assert np.all(np.diff(times) < 0)
    assert times[-1] > 1.0


def test_bad_input():
    rng, law = np.random.default_rng(0), Exponential(1.0)
    for call, message in (
        (lambda: round_time.k_batch_sync(law, 0, 3), "k must be an integer >= 1"),
        (lambda: round_time.k_batch_async(law, 1, 0), "n must be an integer >= 1"),
        (lambda: round_time.stsyn(law, 4, 3, 1), r"k must be a whole number in 1\.\.n"),
        (lambda: partial_uploads.mean_uploads(law, 4, 3, 1), r"k must be a whole number in 1\.\.n"),
        (lambda: round_time.local_sgd(law, 3, 0), "local_steps must be an integer >= 1"),
        (lambda: round_time.synchronous([law], 3), "sequence of n=3 laws"),
        (lambda: round_time.asynchronous(1.0, 3), "delay must be a Delay"),
        (lambda: round_time.ssp(law, 3, -1, rng), "bound must be an integer >= 0"),
        (lambda: round_time.ssp(law, 3, math.nan, rng), "bound must be an integer >= 0"),
        (lambda: round_time.ssp(law, 3, 1, 0), "rng must be a numpy Generator"),
        (lambda: renewal.simulated_event_time(law, 1, 3, rng, 1), "num_samples must be an integer >= 2"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_ssp_refuses_a_bound_that_it_would_take_hours_to_reach():
    with pytest.raises(ValueError, match=r"bound must be at most 498.*give a warmup"):
        round_time.ssp(Exponential(1.0), 2, 10**6, np.random.default_rng(0))
    assert round_time.ssp(Exponential(1.0), 2, 10**4, np.random.default_rng(0), 10, 8, warmup=5).mean > 0
