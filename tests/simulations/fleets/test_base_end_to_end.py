"""Fleets in a run: slow workers, absences, links and traces meet protocols, and the theory where there is one."""

import math
from dataclasses import dataclass
from itertools import chain, repeat

import numpy as np
import pandas as pd
import pytest
from agreement import assert_agrees

from abs_theory import order_stats, round_time
from abs_theory.delays import Deterministic, Exponential, Gamma, HyperExponential, LogNormal, Mixture, Sum, Uniform
from abs_theory.monte_carlo import Estimate
from simulations import protocols
from simulations.experiment import simulate
from simulations.fleets import Independent, Scaled, Times, Where, as_fleet, one_slow
from simulations.fleets.links import Absences, Links
from simulations.fleets.replay import Replay
from simulations.fleets.stragglers import CommonFactor, Spells, Stalls
from simulations.problems import NoisyQuadratic, TimingOnly
from simulations.record import with_bytes

N = 6
STEP = LogNormal(median=1.0, sigma=0.5)
BASE = Independent((STEP, Uniform(0.5, 1.5), Exponential(1.0), Gamma(4.0, 0.25), Deterministic(1.0), STEP))
FLEETS = {
    "one slow": one_slow(STEP, N, 20.0),
    "spells": Spells(BASE, fast=10.0, slow=Uniform(1.0, 3.0), factor=5.0),
    "common factor": CommonFactor(BASE, Gamma(2.0, 0.5)),
    "stalls": Stalls(BASE, 0.05, Exponential(20.0)),
    "absences": Absences(BASE, up=6.0, down=Uniform(0.5, 3.0)),
    "links": Links(BASE, download=0.1, upload=HyperExponential((0.9, 0.1), (0.1, 2.0))),
    "links and absences": Absences(Links(BASE, download=Exponential(0.2), upload=0.3), up=4.0, down=1.0),
    "all": Where((0, 3), Absences(Links(Stalls(Spells(BASE, 5.0, 1.0, 3.0), 0.1, STEP), 0.1, STEP), 5.0, 2.0), BASE),
    "replay": Replay(np.random.default_rng(0).lognormal(size=(7, N)), by="round"),
}
PROTOCOLS = {
    "synchronous": protocols.synchronous(),
    "asynchronous": protocols.asynchronous(),
    "k_sync": protocols.k_sync(3),
    "k_async": protocols.k_async(2),
    "abs_sgd": protocols.abs_sgd(2, 1),
    "local_sgd": protocols.local_sgd(),
}


# what a test costs, in updates (or seconds) of each replicate, and the relative differences it must be able to see
FAST = {"length": 150, "replicates": 24, "resolution": 0.25}
SLOW = {"length": 2000, "replicates": 64, "resolution": 0.05}
EFFORTS = [pytest.param(FAST, id="fast"), pytest.param(SLOW, id="slow", marks=pytest.mark.slow)]


@dataclass(frozen=True)
class Scripted:
    """Workers with hand-written steps, then 100 s each, and absences."""

    steps: tuple[tuple[float, ...], ...]
    absences: tuple[tuple[tuple[float, float], ...], ...]

    @property
    def n(self):
        return len(self.steps)

    def times(self, seed, replicate):
        def following(seconds):
            seconds = chain(seconds, repeat(100.0))
            return lambda time, version: next(seconds)

        return [Times(following(row), absences=iter(away)) for row, away in zip(self.steps, self.absences, strict=True)]


def train(protocol, fleet, problem=None, **options):
    options = {"step_size": 0.5, "num_updates": 60, "seed": 3, "n_jobs": 1} | options
    return simulate(protocol, problem or TimingOnly(), fleet, fleet.n, **options)


def check_round_time(protocol, fleet, expected, effort):
    """Mean seconds of an update, after a warm-up of a fifth of the run."""
    updates = effort["length"]
    table = train(protocol, fleet, replicates=effort["replicates"], num_updates=updates)
    time = table["time"].to_numpy().reshape(-1, updates)
    estimate = Estimate.of((time[:, -1] - time[:, updates // 5 - 1]) / (updates - updates // 5))
    assert_agrees(estimate, expected, effort["resolution"])


def check_rate(protocol, fleet, expected, effort):
    """Updates per second, after a warm-up of a fifth of the run."""
    seconds = effort["length"]
    table = train(protocol, fleet, replicates=effort["replicates"], num_updates=None, time_budget=float(seconds))
    late = table["time"] > seconds / 5
    estimate = Estimate.of(late.groupby(table["replicate"]).sum().to_numpy() / (0.8 * seconds))
    assert_agrees(estimate, expected, effort["resolution"])


# ---------------------------------------------------------------------- every fleet under every protocol
@pytest.mark.parametrize("fleet", FLEETS)
@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_second_of_every_worker_is_accounted_for(name, fleet):
    """n times the duration = tasks applied and unfinished, links included + idle + wasted + away."""
    rounds, tasks = train(PROTOCOLS[name], FLEETS[fleet], jobs=True, local_steps=1 + (name == "local_sgd"))
    seconds = (tasks["end"] - tasks["start"]).groupby(tasks["outcome"]).sum()
    lost = sum(rounds[f"{kind}_seconds"].sum() for kind in ("idle", "wasted", "away"))
    total = seconds.get("applied", 0.0) + seconds.get("unfinished", 0.0) + lost
    assert total == pytest.approx(N * rounds["time"].iloc[-1], rel=1e-12)
    thrown_away = seconds.get("restarted", 0.0) + seconds.get("lost", 0.0)
    assert rounds["wasted_seconds"].sum() == pytest.approx(thrown_away, rel=1e-12)
    away = "absences" in fleet or fleet == "all"
    assert (rounds["away_seconds"].sum() > 0) == away == ("lost" in seconds)


@pytest.mark.parametrize("fleet", FLEETS)
def test_any_replicate_reruns_alone(fleet):
    problem = NoisyQuadratic((1.0, 0.3), sigma2=0.5)
    table = train(PROTOCOLS["abs_sgd"], FLEETS[fleet], problem, replicates=3, eval_every=2.0)
    alone = train(PROTOCOLS["abs_sgd"], FLEETS[fleet], problem, replicates=[2], eval_every=2.0)
    last = table[table["replicate"] == 2].reset_index(drop=True)
    pd.testing.assert_frame_equal(last, alone, check_exact=True)
    if fleet != "replay":
        assert table.groupby("replicate")["time"].last().nunique() == 3


# ---------------------------------------------------------------------- a permanently slow worker
@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("k", [3, N - 1, N])
def test_k_sync_waits_for_a_slow_worker_only_if_all_are_waited_for(k, effort):
    """Against the theory of unequal workers."""
    laws = [LogNormal(median=30.0, sigma=0.5), *[STEP] * (N - 1)]
    check_round_time(protocols.k_sync(k), one_slow(STEP, N, 30.0), round_time.k_sync(laws, k, N), effort)


def test_a_slow_worker_is_dropped_by_k_sync_and_delivers_stale_gradients_to_k_async():
    fleet = one_slow(Deterministic(1.0), 3, 10.0)
    _, tasks = train(protocols.k_sync(2), fleet, jobs=True)
    assert (tasks.loc[tasks["worker"] == 0, "outcome"].iloc[:-1] == "restarted").all()
    _, tasks = train(protocols.k_async(1), fleet, jobs=True)
    mine = tasks[(tasks["worker"] == 0) & (tasks["outcome"] == "applied")]
    # at 10 s it is the first of three to deliver: two updates each at 1, ..., 9 s; later also those of 10, 20, ... s
    assert (mine["end"].to_numpy() == 10.0 * np.arange(1, len(mine) + 1)).all()
    assert (mine["applied_version"] - 1 - mine["read_version"]).tolist() == [18, 20, 20][: len(mine)]


@pytest.mark.parametrize("effort", EFFORTS)
def test_to_asynchronous_a_slow_worker_delivers_as_often_as_it_can(effort):
    laws = [LogNormal(median=2.0, sigma=0.5), *[STEP] * (N - 1)]
    check_round_time(protocols.asynchronous(), one_slow(STEP, N, 2.0), round_time.asynchronous(laws, N), effort)


# ---------------------------------------------------------------------- stalls, factors and spells against theory
@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("k", [2, N])
def test_stalls_are_a_mixture_to_the_theory(k, effort):
    prob, stall = 0.1, Uniform(5.0, 15.0)
    law = Mixture((1 - prob, prob), (STEP, Sum((STEP, stall))))
    fleet = Stalls(as_fleet(STEP, N), prob, stall)
    check_round_time(protocols.k_sync(k), fleet, round_time.k_sync(law, k, N), effort)


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("k", [2, N])
def test_a_common_factor_scales_whole_rounds(k, effort):
    """E[round] = E[F] E[X_(k)]."""
    factor = Gamma(shape=2.0, scale=0.75)
    fleet = CommonFactor(as_fleet(STEP, N), factor)
    check_round_time(protocols.k_sync(k), fleet, factor.mean * order_stats.mean(STEP, k, N), effort)


@pytest.mark.parametrize("effort", EFFORTS)
def test_workers_in_spells_deliver_at_their_mean_speed(effort):
    """Never idle, they do n (p_fast + p_slow / factor) seconds of work in a second, whatever the laws of the spells."""
    fleet = Spells(as_fleet(STEP, N), fast=Uniform(0.0, 4.0), slow=Gamma(4.0, 0.25), factor=4.0)
    check_rate(protocols.asynchronous(), fleet, N * (2 / 3 + 1 / 3 / 4) / STEP.mean, effort)


# ---------------------------------------------------------------------- absences
def test_a_timeline_with_absences_drawn_by_hand():
    fleet = Scripted(((1, 2, 2, 1), (2, 1, 9)), (((2.5, 4.0),), ((3.5, 3.75), (10.0, 11.0))))
    rounds, tasks = train(protocols.asynchronous(), fleet, jobs=True, num_updates=4)
    # worker 0: 0-1, 1-3 but leaves at 2.5, back at 4 with the current model: 4-6, 6-7
    # worker 1: 0-2, 2-3, 3-12 but leaves at 3.5: back at 3.75 and has no more steps
    assert rounds["time"].tolist() == [1, 2, 3, 6]
    lost = tasks[tasks["outcome"] == "lost"]
    assert lost[["worker", "start", "end"]].to_numpy().tolist() == [[1, 3, 3.5], [0, 1, 2.5]]
    assert rounds["away_seconds"].sum() == 1.5 + 0.25
    assert rounds["wasted_seconds"].sum() == 1.5 + 0.5


@pytest.mark.parametrize("effort", EFFORTS)
def test_deliveries_of_workers_that_leave_and_lose_their_work(effort):
    """Steps of w seconds, up for Exponential(u): floor(U / w) deliveries a time, 1 / (e^(w/u) - 1) on average."""
    up, down, seconds = 4.0, Uniform(1.0, 3.0), 2.0
    fleet = Absences(as_fleet(Deterministic(seconds), 10), up, down)
    rate = 10 / math.expm1(seconds / up) / (up + down.mean)
    check_rate(protocols.asynchronous(), fleet, rate, effort)


def test_synchronous_waits_for_whoever_left():
    """A worker that is away when the model is sent starts on it when it is back."""
    fleet = Scripted(((1, 1, 1), (1, 1, 1)), (((1.0, 5.0),), ()))
    rounds = train(protocols.synchronous(), fleet, num_updates=2)
    assert rounds["time"].tolist() == [1, 6]


def test_a_crash_stops_only_who_waits_for_it():
    fleet = Where((2,), Absences(BASE, up=5.0, down=math.inf), BASE)
    rounds, tasks = train(protocols.k_sync(N - 1), fleet, jobs=True)
    assert len(rounds) == 60
    assert tasks.loc[tasks["worker"] == 2, "outcome"].iloc[-1] == "lost"
    with pytest.raises(RuntimeError, match="no worker will ever deliver again"):
        train(protocols.synchronous(), fleet)


def test_workers_that_never_stay_long_enough_are_noticed(monkeypatch):
    monkeypatch.setattr("simulations.server.server.MOST_ARRIVALS", 1000)
    fleet = Absences(as_fleet(Deterministic(2.0), 3), up=Deterministic(1.0), down=1.0)
    with pytest.raises(RuntimeError, match=r"came back 1301 times: they never stay long enough"):
        train(protocols.synchronous(), fleet)


# ---------------------------------------------------------------------- links
@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("k", [1, 4])
def test_links_lengthen_each_round_of_k_sync_by_their_laws(k, effort):
    """Per round the k-th smallest of download + step + upload."""
    down, up = Uniform(0.1, 0.5), Gamma(2.0, 0.25)
    fleet = Links(as_fleet(STEP, N), download=down, upload=up)
    check_round_time(protocols.k_sync(k), fleet, order_stats.mean(Sum((down, STEP, up)), k, N), effort)


def test_constant_links_move_the_timeline_of_a_synchronous_run():
    plain = train(protocols.synchronous(), BASE)
    linked = train(protocols.synchronous(), Links(BASE, download=0.25, upload=0.5))
    assert linked["time"].to_numpy() == pytest.approx(plain["time"] + 0.75 * plain["update"], rel=1e-12)


def test_local_steps_pay_for_their_links_once():
    plain = train(protocols.local_sgd(), BASE, local_steps=3)
    linked = train(protocols.local_sgd(), Links(BASE, download=0.25, upload=0.5), local_steps=3)
    assert linked["time"].to_numpy() == pytest.approx(plain["time"] + 0.75 * plain["update"], rel=1e-12)


def test_bytes_of_a_run():
    """Half precision up, single precision down; the counts of messages are those of the table."""
    rounds = train(protocols.k_sync(2), as_fleet(Deterministic(1.0), 3), num_updates=2, replicates=2)
    sent = with_bytes(rounds, 1000, up=2, down=4)
    # per update 2 of the 3 deliver (a tie: the third is restarted in the moment it would); 3 models at the start
    assert sent["bytes_up"].tolist() == [2000 * 2, 2000 * 4] * 2
    assert sent["bytes_down"].tolist() == [4000 * 6, 4000 * 9] * 2
    assert with_bytes(rounds, 10)["bytes_up"].tolist() == [160, 320] * 2
    with pytest.raises(ValueError, match="size must be an integer >= 1"):
        with_bytes(rounds, 0)
    with pytest.raises(ValueError, match="down must be a finite number > 0"):
        with_bytes(rounds, 10, down=0)


# ---------------------------------------------------------------------- replay
def test_a_trace_by_task_gives_the_timeline_drawn_by_hand():
    trace = Replay(((1, 2.5, 10), (1, 1, 0.25), (1, 100, 100)))
    rounds = train(protocols.abs_sgd(1, 1), trace, NoisyQuadratic((1.0,), sigma2=0.0), num_updates=4, eval_every=0.01)
    # worker 0 at 1 and 2: w = 1/2, 1/4. Then workers 1 and 2 have staleness 2 > 1 and start again at 2 on their second
    # rows: worker 2 at 2.25: w = 1/8. Worker 0 at 3 (read w = 1/4): w = 0
    assert rounds["time"].tolist() == [1, 2, 2.25, 3]
    assert rounds["restarts"].tolist() == [0, 2, 0, 1]
    assert (2 * rounds["loss"]).tolist() == [0.5**2, 0.25**2, 0.125**2, 0.0]


def test_a_trace_by_round_gives_the_rounds_that_were_measured():
    """K-sync on it waits for the k-th fastest of each measured round, whatever happened before."""
    seconds = np.random.default_rng(1).lognormal(size=(5, 4))
    rounds = train(protocols.k_sync(3), Replay(seconds, by="round"), num_updates=12)
    expected = np.sort(seconds, axis=1)[:, 2][np.arange(12) % 5]
    assert np.diff(rounds["time"], prepend=0.0) == pytest.approx(expected, rel=1e-12)
    by_task = train(protocols.k_sync(3), Replay(seconds), num_updates=12)
    assert by_task["time"].tolist() == rounds["time"].tolist()  # all start each round, so the rows stay together
    waited = train(protocols.k_async(3), Replay(seconds), num_updates=12)
    shared = train(protocols.k_async(3), Replay(seconds, by="round"), num_updates=12)
    assert waited["time"].tolist() != shared["time"].tolist()


def test_a_slower_copy_of_a_trace():
    trace = FLEETS["replay"]
    plain, doubled = (train(PROTOCOLS["k_async"], fleet) for fleet in (trace, Scaled(trace, (2.0,) * N)))
    assert (doubled["time"] == 2 * plain["time"]).all()
