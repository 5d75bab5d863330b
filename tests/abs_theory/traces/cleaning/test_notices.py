"""Workers that stopped delivering for good are told, and slow ones are not."""

import numpy as np
import pandas as pd
import pytest

from abs_theory.delays import Exponential, LogNormal
from abs_theory.traces import from_frame
from abs_theory.traces.cleaning.notices import silent
from simulations import protocols
from simulations.experiment import simulate
from simulations.live.trace import as_trace
from simulations.problems import TimingOnly


def trace(silences, rounds=40, n=4):
    """All deliver in all rounds, except in ``silences``, which maps a worker to its rounds; the server waits for it."""
    place = np.indices((rounds, n)).reshape(2, -1)
    seconds = np.random.default_rng(0).uniform(1.0, 2.0, rounds * n)
    for worker, silence in silences.items():
        seconds[(place[1] == worker) & np.isin(place[0], silence)] = np.nan
    return from_frame(pd.DataFrame({"round": place[0], "worker": place[1], "seconds": seconds}), warmup=0)


def test_a_worker_that_stops_for_good_is_named_with_its_last_round():
    told = "worker 2 has delivered nothing after round 9, in 30 of its 40 rounds"
    stopped = trace({2: range(10, 40)})
    assert stopped.doubts == (told,)
    assert told in stopped.report


def test_at_most_three_are_named():
    many = trace({worker: range(10 + worker, 40) for worker in range(5)}, n=8)
    assert len(many.doubts) == 4
    assert many.doubts[-1] == "2 more workers stopped delivering"


def test_pauses_that_ended_or_are_short_are_not_told():
    assert trace({2: range(10, 38)}).doubts == ()
    assert trace({2: range(37, 40)}).doubts == ()
    assert trace({2: range(0, 40, 2)}).doubts == ()


@pytest.mark.parametrize("law", [Exponential(1.0), LogNormal(1.0, 2.0)], ids=repr)
@pytest.mark.parametrize("protocol", [protocols.k_sync(1), protocols.abs_sgd(1, 2), protocols.k_async(2)])
def test_workers_that_seldom_come_first_have_not_stopped(law, protocol):
    for seed in range(5):
        tables = simulate(protocol, TimingOnly(), law, 8, step_size=1.0, num_updates=200, seed=seed, jobs=True)
        read = from_frame(as_trace(*tables))
        assert silent(read.attempts, read.workers) == []


@pytest.mark.parametrize("jitter", [0.0, 0.01])
def test_delays_that_pile_up_at_the_longest_one_are_doubted(jitter):
    """Timeouts of 2.5 s that the log calls deliveries: E[T_(6)] would be 9 % too short."""
    rng = np.random.default_rng(0)
    seconds = LogNormal(1.0, 0.5).sample(rng, (400, 6)) + 0.3
    place = np.indices(seconds.shape).reshape(2, -1)
    cut = np.where(seconds > 2.5, 2.5 + jitter * rng.random(seconds.shape), seconds)
    frames = (
        pd.DataFrame({"round": place[0], "worker": place[1], "seconds": times.ravel()}) for times in (seconds, cut)
    )
    whole, doubted = (from_frame(frame, warmup=0) for frame in frames)
    assert whole.doubts == ()
    (told,) = doubted.doubts
    assert told.startswith(f"{np.count_nonzero(cut >= 0.99 * cut.max())} deliveries took 2.5")


DRAWN = {
    "lognormal": lambda rng: rng.lognormal(0, 1, (200, 5)),
    "uniform": lambda rng: rng.random((200, 5)) + 0.01,
    "two peaks": lambda rng: np.where(rng.random((200, 5)) < 0.1, 8 + 0.3 * rng.random((200, 5)), 1.0),
    "two values": lambda rng: np.where(rng.random((200, 5)) < 0.6, 8.0, 1.0),
    "slow steady worker": lambda rng: np.where(np.arange(5) == 3, 9.0, 1 + 0.1 * rng.random((200, 5))),
    "whole seconds": lambda rng: np.ceil(3 * rng.lognormal(0, 0.5, (200, 5))),
    "triangle": lambda rng: rng.triangular(0.1, 1.0, 3.0, (200, 5)),
}


@pytest.mark.parametrize("kind", DRAWN)
@pytest.mark.parametrize("seed", range(5))
def test_laws_with_an_end_pile_up_nowhere(kind, seed):
    seconds = DRAWN[kind](np.random.default_rng(seed))
    place = np.indices(seconds.shape).reshape(2, -1)
    trace = from_frame(pd.DataFrame({"round": place[0], "worker": place[1], "seconds": seconds.ravel()}), warmup=0)
    assert not any("given up then" in doubt for doubt in trace.doubts)
