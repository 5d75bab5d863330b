"""Where seconds come from: equal and unequal workers, and all that can happen to them and their links."""

from itertools import islice

import numpy as np
import pytest
from scipy import stats

from abs_theory.delays import Empirical, Exponential, Gamma, HyperExponential, LogNormal
from simulations.fleets import Fleet, Independent, as_fleet
from simulations.streams import streams, task_times

LAWS = (Exponential(1.0), Gamma(shape=2.0, scale=0.5), HyperExponential(probs=(0.9, 0.1), means=(0.5, 5.0)))


def steps(times, count, time=0.0, version=0):
    """The seconds of the next ``count`` steps of one worker, all begun at the same time with the same model."""
    return [times.step(time, version) for _ in range(count)]


# ---------------------------------------------------------------------- independent workers
def test_independent_workers_draw_each_step_from_their_law_and_their_stream():
    for replicate in (0, 5):
        drawn = [steps(times, 3000) for times in as_fleet(LAWS, 3).times(7, replicate)]
        alone = map(task_times, LAWS, streams(7, replicate, "delay", 3))
        assert drawn == [list(islice(seconds, 3000)) for seconds in alone]
        for law, rng, mine in zip(LAWS, streams(7, replicate, "delay", 3), drawn, strict=True):
            sizes = [16, 32, 64, 128, 256, 512, 1024, 1024]
            assert mine == np.concatenate([law.sample(rng, size) for size in sizes])[:3000].tolist()


def test_what_is_a_fleet():
    law = LogNormal(median=1.0, sigma=0.5)
    assert as_fleet(law, 3) == as_fleet([law] * 3, 3) == Independent((law,) * 3)
    assert as_fleet(stats.lognorm(0.5), 3) == as_fleet((stats.lognorm(0.5),) * 3, 3) == as_fleet(law, 3)
    fleet = as_fleet(LAWS, 3)
    assert as_fleet(fleet, 3) is fleet
    assert isinstance(fleet, Fleet)
    assert [(t.download, t.upload, t.absences) for t in fleet.times(0, 0)] == [(None, None, None)] * 3


def test_the_repr_of_independent_workers_evaluates_back_and_stays_short():
    fleet = Independent((Exponential(1.0),) * 5000 + (Empirical((1.0, 2.0)),))
    assert eval(repr(fleet)) == fleet
    assert len(repr(fleet)) < 120


@pytest.mark.parametrize(
    "delay", [1.0, None, "Exponential", [Exponential(1.0)] * 2, [Exponential(1.0), 2.0, 3.0], Fleet]
)
def test_other_things_are_no_fleet(delay):
    with pytest.raises(ValueError, match="delay must be one Delay or a sequence of n=3 of them, got"):
        as_fleet(delay, 3)


def test_a_fleet_of_another_size_is_refused():
    with pytest.raises(ValueError, match="the fleet has 3 workers, got n=4"):
        as_fleet(as_fleet(LAWS, 3), 4)
    with pytest.raises(ValueError, match="no negative times"):
        as_fleet(stats.norm(), 2)
    with pytest.raises(ValueError, match="laws must be a sequence"):
        Independent(())
