"""Timelines drawn by hand: exact times, exact iterates, every second accounted for.

The model is F(w) = w^2 / 2 from w = 1 with step 1/2 and no noise, so a gradient taken at w moves the
parameters by -w / 2, and all numbers are exact in binary.
"""

from itertools import repeat

import numpy as np
import pytest

from abs_theory.delays import Exponential
from simulations import protocols
from simulations.fleets import Times
from simulations.problems import NoisyQuadratic
from simulations.run import run
from simulations.server import Server

QUADRATIC = NoisyQuadratic((1.0,), sigma2=0.0)


def scripted(seconds):
    """Steps that take these seconds one after the other."""
    following = iter(seconds)
    return lambda time, version: next(following)


def play(protocol, *times, num_updates, **options):
    """Run with the given task times of each worker, then 100 s each; return (rows, final w, task log)."""
    endless = [Times(scripted([*row, *repeat(100.0, 50)])) for row in times]
    rngs = [np.random.default_rng(0) for _ in times]
    server = Server(QUADRATIC, endless, rngs, protocol, step_size=0.5, keep_jobs=True, **options)
    table = run(server, num_updates=num_updates)
    return table, server.params[0], list(map(tuple, server.books.tasks))


def check(table, **columns):
    for name, expected in columns.items():
        assert table[name].tolist() == expected, name


def test_synchronous():
    table, w, _ = play(protocols.synchronous(), [1, 2], [3, 1], num_updates=2)
    # both read w = 1; both done at 3: w = 1/2. Again from 3, done at 5 and 4: w = 1/4
    check(table, time=[3, 5], k=[2, 2], largest_staleness=[0, 0], restarts=[0, 0], idle_seconds=[2, 1])
    check(table, uplinks=[2, 2], downlinks=[2 + 2, 2], wasted_seconds=[0, 0])
    assert w == 0.25


def test_k_sync_restarts_everybody():
    table, w, log = play(protocols.k_sync(1), [1, 5], [1.5, 0.75], num_updates=2)
    # worker 0 at 1: w = 1/2, worker 1 dropped after 1 s. Worker 1 again, at 1.75: w = 1/4, worker 0 dropped
    check(table, time=[1, 1.75], restarts=[1, 1], wasted_seconds=[1, 0.75], downlinks=[2 + 2, 2])
    check(table, largest_staleness=[0, 0], uplinks=[1, 1], idle_seconds=[0, 0])
    assert w == 0.25
    assert log[0] == (0, 0.0, 1.0, 0, 0, 1, "applied")
    assert log[1] == (1, 0.0, 1.0, 0, 1, -1, "restarted")


@pytest.mark.parametrize("protocol", [protocols.k_async(1), protocols.asynchronous()])
def test_k_async_steps_along_the_gradient_at_the_old_parameters(protocol):
    table, w, _ = play(protocol, [1, 1], [1.5], num_updates=3)
    # w: 1 -> 1/2 at 1; worker 1 read w = 1: -> 0 at 1.5; worker 0 read w = 1/2: -> -1/4 at 2
    check(table, time=[1, 1.5, 2], largest_staleness=[0, 1, 1], restarts=[0, 0, 0], downlinks=[2 + 1, 1, 1])
    assert w == -0.25


def test_k_async_waits_for_k_and_averages():
    table, w, _ = play(protocols.k_async(2), [1, 2], [2, 2], [3], num_updates=2)
    # workers 0 and 1 by 2: w = 1/2 (worker 0 idles 1 s). Worker 2 (read w = 1) at 3, workers 0 and 1 both
    # finish at 4, the lower index first: w = 1/2 - (1 + 1/2) / 4; worker 1 has delivered but waits for round 3
    check(table, time=[2, 4], mean_staleness=[0, 0.5], largest_staleness=[0, 1], idle_seconds=[1, 1])
    check(table, uplinks=[2, 2], downlinks=[3 + 2, 2])
    assert w == 0.125


def test_abs_restarts_whoever_is_staler_than_the_bound():
    table, w, log = play(protocols.abs_sgd(1, 1), [1, 1, 1], [2.5, 1], [10, 0.25], num_updates=4)
    # worker 0 at 1 and 2: w = 1/2, 1/4. Then workers 1 and 2 have staleness 2 > 1 and start again at 2:
    # worker 2 at 2.25: w = 1/8. Workers 0 and 1 would finish at 3, 0 first: it read w = 1/4: 1/8 - 1/8 = 0,
    # and worker 1, now of staleness 2, is told to start again at the very moment it would have delivered
    check(table, time=[1, 2, 2.25, 3], restarts=[0, 2, 0, 1], wasted_seconds=[0, 4, 0, 1])
    check(table, largest_staleness=[0, 0, 0, 1], downlinks=[3 + 1, 1 + 2, 1, 1 + 1], max_staleness=[1] * 4)
    assert w == 0
    assert [entry for entry in log if entry[-1] == "restarted"][:2] == [
        (1, 0.0, 2.0, 0, 2, -1, "restarted"),
        (2, 0.0, 2.0, 0, 2, -1, "restarted"),
    ]


def test_the_threshold_is_evaluated_after_the_new_k_and_before_restarts():
    seen = []

    def k(progress):
        return 1 if progress.updates == 0 else 2

    def max_staleness(progress):
        seen.append((progress.updates, progress.k))
        return 5 if progress.k == 1 else 0

    table, _, _ = play(protocols.abs_sgd(k, max_staleness), [1, 1], [9, 1], num_updates=2)
    assert seen == [(0, 1), (1, 2), (2, 2)]
    check(table, time=[1, 2], k=[1, 2], max_staleness=[5, 0], restarts=[1, 0])


def test_adasync_keeps_k0_until_its_interval_ends():
    protocol = protocols.adasync(Exponential(1.0), 3, 1, interval=2.0)
    table, _, _ = play(protocol, [0.5] * 99, [0.75] * 99, [1] * 99, num_updates=150)
    assert table["k"][table["time"] <= 2].eq(1).all()
    assert table["k"].iloc[-1] > 1
    assert table["k"].is_monotonic_increasing


def test_adasync_on_k_sync_uses_fresh_gradients_only():
    protocol = protocols.adasync(Exponential(1.0), 3, 1, variant="k_sync")
    table, _, _ = play(protocol, [1] * 9, [2] * 9, [3] * 9, num_updates=4)
    assert table["largest_staleness"].eq(0).all()
    assert table["restarts"].iloc[0] == 2


def test_staleness_aware_adasync_halves_the_step_of_a_gradient_one_update_old():
    protocol = protocols.staleness_aware_adasync(Exponential(1.0), 2, 1, interval=100.0)
    _, w, _ = play(protocol, [1, 9], [1.5], num_updates=2)
    assert w == 0.5 - 0.5 * 0.5  # worker 1 read w = 1, its gradient counts half


def test_local_sgd_averages_models():
    table, w, _ = play(protocols.local_sgd(), [1, 2, 1, 1], [0.5, 0.5, 1, 1], num_updates=2, local_steps=2)
    # two steps from 1 lead to 1/4 at every worker; tasks last 3 and 1, then 2 and 2
    check(table, time=[3, 5], computed=[4, 4], used=[4, 4], uplinks=[2, 2], idle_seconds=[2, 0])
    assert w == 0.25**2


def test_equal_finish_times_go_to_the_lower_worker_first():
    table, _, log = play(protocols.k_async(1), [1, 1, 1], [1, 1, 1], num_updates=4)
    check(table, time=[1, 1, 2, 2], largest_staleness=[0, 1, 1, 1])
    assert [entry[0] for entry in log[:4]] == [0, 1, 0, 1]
