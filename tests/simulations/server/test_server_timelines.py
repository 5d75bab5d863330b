"""Timelines drawn by hand: exact times, exact iterates, every second accounted for.

The model is F(w) = w^2 / 2 from w = 1 with step 1/2 and no noise, so a gradient taken at w moves the
parameters by -w / 2, and all numbers are exact in binary.
"""

import gc
import math
import weakref
from itertools import repeat

import pytest
from scripted import check, play, server_of

from abs_theory.delays import Exponential, Uniform
from simulations import contract, policies, protocols
from simulations.experiment import simulate
from simulations.problems import NoisyQuadratic, TimingOnly
from simulations.server import Progress, Protocol, drive


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


# ---------------------------------------------------------------------- a worker goes on at once
def test_k_batch_sync_takes_several_gradients_of_one_worker():
    table, w, _ = play(protocols.k_batch_sync(3), [1, 1], [2.5], num_updates=1)
    # worker 0 at 1 and 2, worker 1 at 2.5, all from w = 1; worker 0 drops half a second
    check(table, time=[2.5], uplinks=[3], downlinks=[2 + 2], restarts=[1], wasted_seconds=[0.5], idle_seconds=[0])
    assert w == 0.5


def test_k_batch_async_goes_on_with_the_current_model():
    table, w, _ = play(protocols.k_batch_async(2), [1, 1, 1], [2.5], num_updates=2)
    # worker 0 at 1 and 2: w = 1/2. Worker 1 (read w = 1) at 2.5, worker 0 (read 1/2) at 3: w = 1/2 - 3/8
    check(table, time=[2, 3], mean_staleness=[0, 0.5], downlinks=[2 + 1, 2], uplinks=[2, 2], restarts=[0, 0])
    assert w == 0.125


def test_rennala_ignores_gradients_of_older_models():
    table, w, log = play(protocols.rennala(2), [1, 1, 1.25], [2.5, 1], num_updates=2)
    # worker 0 at 1 and 2: w = 1/2. What worker 1 delivers at 2.5 is of w = 1; both again at 3.25 and 3.5: w = 1/4
    check(table, time=[2, 3.5], computed=[2, 3], used=[2, 2], discarded=[0, 1], wasted_seconds=[0, 2.5])
    assert (1, 0.0, 2.5, 0, 1, -1, "discarded") in log
    assert w == 0.25


@pytest.mark.parametrize("stops", [True, False])
def test_ringmaster_stops_or_ignores_what_is_too_late(stops):
    table, w, _ = play(protocols.ringmaster(2, stops), [1, 1, 1, 1], [2.5, 0.75], num_updates=4)
    # worker 0 at 1 and 2: w = 1/2, 1/4. With stops worker 1 starts again at 2 and delivers at 2.75: w = 1/8; worker 0
    # (read 1/4) at 3: w = 0. Without, it delivers at 2.5 for nothing, worker 0 at 3: w = 1/8, worker 1 (read 1/4): 0
    check(table, time=[1, 2, 2.75, 3] if stops else [1, 2, 3, 3.25], largest_staleness=[0, 0, 0, 1])
    check(table, restarts=[0, 1, 0, 0] if stops else [0] * 4, discarded=[0] * 4 if stops else [0, 0, 1, 0])
    check(table, wasted_seconds=[0, 2, 0, 0] if stops else [0, 0, 2.5, 0])
    assert w == 0


def test_delay_dropping_and_adaptive_steps_beyond_the_number_of_workers():
    times = [1, 1, 1, 1], [3.5]
    table, w, _ = play(protocols.delay_dropping(), *times, num_updates=4)
    # worker 0 halves w at 1, 2, 3, 4; worker 1 has staleness 3 > 2 at 3.5
    check(table, time=[1, 2, 3, 4], discarded=[0, 0, 0, 1])
    assert w == 0.0625
    table, w, _ = play(protocols.delay_adaptive(), *times, num_updates=4)
    check(table, time=[1, 2, 3, 3.5], largest_staleness=[0, 0, 0, 3])
    assert w == pytest.approx(0.125 - 0.5 * 2 / 3)  # step 2/3 of the full one


def test_staleness_aware_and_fedbuff_weigh_each_gradient():
    _, w, _ = play(protocols.staleness_aware(2), [1, 1, 1], [2.5], num_updates=2)
    assert w == 0.5 - 0.5 * (1 / 2 + 0.5) / 2  # as k_batch_async above, the stale gradient counts half
    _, w, _ = play(protocols.fedbuff(2, server_step=2.0), [1, 1, 1], [2.5], num_updates=2)
    # twice the step: w = 0 after the first update, where worker 0 delivers the gradient 0
    assert w == pytest.approx(0 - (1 / 2**0.5 + 0) / 2)


def test_ssp_lets_nobody_run_ahead():
    table, w, _ = play(protocols.ssp(0), [1, 1], [2, 1], num_updates=4)
    # worker 0 at 1: w = 1/2, and waits. Worker 1 (read 1) at 2: w = 0; both again, at 3
    check(table, time=[1, 2, 3, 3], idle_seconds=[0, 1, 0, 0], largest_staleness=[0, 1, 0, 1])
    assert w == 0
    table, _, _ = play(protocols.ssp(1), [1, 1, 1], [2.5, 1], num_updates=4)
    # worker 0 may be one task ahead: it waits from 2 to 2.5 only
    check(table, time=[1, 2, 2.5, 3.5], idle_seconds=[0, 0, 0.5, 0])


def test_ringleader_averages_over_workers_and_updates_once_for_each():
    table, w, _ = play(protocols.ringleader(), [1, 1, 1, 1, 0.25, 9], [2.5, 1, 1], num_updates=4)
    # Round 1: worker 0 delivers 1 at 1 and 2, worker 1 at 2.5: mean of means 1, w = 1/2; worker 0 again at 3 (read 1):
    # w = 0. Round 2: worker 1 at 3.5 (read 1/2), worker 0 at 4 (read 0): mean 1/4, w = -1/8. What worker 0 delivers at
    # 4.25 is for round 3. Worker 1 at 4.5 (read 0): its mean is 1/4, the mean of means 1/8: w = -3/16
    check(table, time=[2.5, 3, 4, 4.5], largest_staleness=[0, 1, 1, 2], used=[3, 1, 2, 1], uplinks=[3, 1, 2, 2])
    assert w == pytest.approx(-3 / 16)


def test_ringleader_computes_what_it_keeps_only_once():
    class Counting(NoisyQuadratic):
        seen = 0

        def gradients(self, params, workers, rngs):
            Counting.seen += len(workers)
            return super().gradients(params, workers, rngs)

    for local_steps in (1, 2):
        Counting.seen = 0
        server = server_of(
            protocols.ringleader(), repeat(1.0), repeat(2.0), num_updates=2, problem=Counting((1.0,), 1.0),
            step_size=0.1, local_steps=local_steps,
        )  # fmt: skip
        table = drive(server)
        assert Counting.seen == table["used"].sum() > 2 * local_steps  # the table is used twice


def test_mindflayer_cuts_off_by_time_and_divides_by_what_it_expects():
    protocol = protocols.mindflayer(Uniform(0.0, 4.0), 2, trials=2, cut_off=2.0)  # 2 x 2 trials of chance 1/2
    table, w, log = play(protocol, [1, 3], [5, 1.5], num_updates=1)
    # worker 0 delivers at 1 and is cut off at 3, worker 1 is cut off at 2 and delivers at 3.5: w = 1 - (1 + 1) / 2 / 2
    check(table, time=[3.5], uplinks=[2], downlinks=[2 + 2], restarts=[0], wasted_seconds=[4], idle_seconds=[0.5])
    assert [entry[-1] for entry in log] == ["applied", "cut off", "cut off", "applied", "unfinished", "unfinished"]
    assert w == 0.5


def test_mindflayer_goes_on_when_nothing_was_delivered():
    protocol = protocols.mindflayer(Uniform(0.0, 4.0), 2, trials=1, cut_off=2.0)
    table, w, _ = play(protocol, [5, 1], [5, 1], num_updates=2)
    check(table, time=[2, 3], used=[0, 2], mean_staleness=[0, 0])
    assert w == 0  # an update without a gradient, then both, of which one was expected: 1 - (1 + 1) / 2


# ---------------------------------------------------------------------- local steps
def test_stsyn_collects_whatever_local_steps_are_done():
    table, w, log = play(protocols.stsyn(2), [1, 1, 0.75, 9], [1.5, 1.5], [5], num_updates=1, local_steps=2)
    # worker 0 is done at 2 and goes on to a third step, worker 1 is done at 3, when worker 2 has not done one:
    # models 1/8 and 1/4, their average is the new one
    check(table, time=[3], computed=[5], used=[5], uplinks=[2], restarts=[1], wasted_seconds=[0.25 + 3])
    assert w == 3 / 16
    assert log[:2] == [(0, 0.0, 2.75, 0, 0, 1, "applied"), (1, 0.0, 3.0, 0, 0, 1, "applied")]


def test_adacomm_takes_fewer_local_steps_as_the_loss_falls():
    rule = policies.adacomm_rule(8)
    start = Progress(4, 0, 0.0, 0.0, 4, 0, 0.0, 1.0, 1.0)
    assert rule(start) == 8
    later = start._replace(updates=1, local_steps=8)
    assert [rule(later._replace(loss=loss)) for loss in (1.0, 0.5, 0.1, 0.0)] == [8, 6, 3, 1]
    assert rule(later._replace(loss=0.5, local_steps=2)) == 2  # never more
    assert policies.adacomm_rule(8, interval=10.0)(later._replace(time=9.0, loss=0.1)) == 8
    assert policies.adacomm_rule(8, interval=10.0)(later._replace(time=11.0, loss=0.1)) == 3
    table, _, _ = play(protocols.adacomm(4), [1] * 999, [1] * 999, num_updates=200)
    steps = table["computed"] // 2
    assert steps.is_monotonic_decreasing
    assert (steps.iloc[0], steps.iloc[-1]) == (4, 1)


def test_pflug_raises_k_when_steps_oppose_each_other():
    rule = policies.pflug_rule(2, raise_by=3, threshold=5, burn_in=10)
    start = Progress(7, 0, 0.0, 0.0, 1, 0, 0.0, 1.0, 1.0)
    assert rule(start) == 2
    later = start._replace(updates=50, k=2, k_updates=10, k_reversals=5)
    assert rule(later) == 5
    assert rule(later._replace(k=5)) == 7
    assert rule(later._replace(k_updates=9)) == rule(later._replace(k_reversals=4)) == 2
    # without noise and with a step that overshoots, each step opposes the one before: k grows after 2 of them
    protocol = protocols.fastest_k_pflug(1, raise_by=1, threshold=2, burn_in=1)
    table, _, _ = play(protocol, [1] * 99, [1] * 99, [1] * 99, num_updates=9, step_size=1.5)
    assert table["k"].tolist() == [1, 1, 1, 2, 2, 3, 3, 3, 3]


# ---------------------------------------------------------------------- misuse of the verbs
@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda server, job: (server.accept(job), server.accept(job), server.update()), "accepted once for an update"),
        (lambda server, job: (server.accept(job), server.update(0)), "must be finite and > 0, got 0"),
        (lambda server, job: (server.accept(job), server.update(math.nan)), "must be finite and > 0, got nan"),
        (lambda server, job: server.accept(job, math.nan), "weight of a gradient must be finite"),
        (lambda server, job: server.accept(job, "1"), "weight of a gradient must be finite, got '1'"),
        (lambda server, job: (server.accept(job), server.update("2")), "must be finite and > 0, got '2'"),
        (lambda server, job: server.accept(job.worker), "accept takes the job that has arrived, got 0"),
        (lambda server, job: server.discard(job.worker), "discard takes the job that has arrived, got 0"),
        (lambda server, job: (server.accept(job), server.discard(job)), "worker 0 finished at t=1 was accepted before"),
        (lambda server, job: (server.discard(job), server.discard(job)), "accepted or discarded, once.* was discarded"),
        (lambda server, job: (server.discard(job), server.accept(job)), "task of worker 0 was discarded"),
        (lambda server, job: (server.accept(job), server.update(), server.discard(job)), "was accepted before"),
        (lambda server, job: server.assign(["0"]), r"assign takes a list of workers, such as \[0, 2\], got \['0'\]"),
        (lambda server, job: server.assign([0.0, 1.0]), r"assign takes a list of workers, such as \[0, 2\], got \[0.0"),
        (lambda server, job: server.assign([-1]), r"indices in 0\.\.1, got \[-1\]"),
        (lambda server, job: server.assign([0, 2]), r"indices in 0\.\.1, got \[0, 2\]"),
    ],
)
def test_verbs_refuse_what_makes_no_sense(wrong, message):
    with pytest.raises(ValueError, match=message):
        play(Protocol(wrong), [1], [2], num_updates=9)


def test_a_protocol_draws_from_a_stream_of_its_own_for_each_replicate():
    """Tasks and samples stay the same, and a replicate alone has the same luck as among others."""

    def on_arrival(server, job):
        server.accept(job)
        done = server.update()
        server.assign(done + [worker for worker in server.jobs if server.rng.random() < 0.5])

    contract.check(Protocol(on_arrival))
    options = {"step_size": 1.0, "num_updates": 30, "seed": 0, "n_jobs": 1}
    runs = simulate(Protocol(on_arrival), TimingOnly(), Exponential(1.0), 5, replicates=3, **options)
    restarts = [rows["restarts"].tolist() for _, rows in runs.groupby("replicate")]
    assert len(set(map(tuple, restarts))) == 3
    alone = simulate(Protocol(on_arrival), TimingOnly(), Exponential(1.0), 5, replicates=[1], **options)
    assert alone["restarts"].tolist() == restarts[1]


def test_to_be_assigned_twice_is_to_be_assigned_once():
    def on_arrival(server, job):
        server.accept(job)
        server.assign(server.update() * 2)

    table, *_ = play(Protocol(on_arrival), [1, 1, 1], [9], num_updates=3)
    check(table, restarts=[0, 0, 0], downlinks=[2 + 1, 1, 1])


def test_a_finished_run_keeps_no_model_alive():
    def jobs_of_a_run():
        server = server_of(protocols.abs_sgd(1, 1), *(repeat(1.0 + w) for w in range(3)), num_updates=1)
        drive(server)
        return list(map(weakref.ref, server.jobs.values()))

    gc.disable()
    try:
        assert [job() for job in jobs_of_a_run()] == [None] * 3
    finally:
        gc.enable()
