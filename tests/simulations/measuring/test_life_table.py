"""The measured law of the task times against laws that are known: censored tasks, unequal workers, changing speeds."""

import numpy as np
import pytest

from abs_theory.delays import Deterministic, Exponential, HyperExponential, LogNormal, ShiftedExponential
from simulations.measuring import LifeTables

LAWS = {
    "lognormal": LogNormal(median=1.0, sigma=1.0),
    "shifted": ShiftedExponential(shift=0.5, scale=0.5),
    "hyper": HyperExponential(probs=(0.9, 0.1), means=(1 / 3, 7.0)),
}
TIMES = np.array([0.1, 0.3, 0.6, 1.0, 2.0, 4.0])


def measured(seconds, limits, time=1.0, running=()):
    """The law from tasks of these ``seconds``, which are restarted after the ``limits``."""
    tables, ended = LifeTables(1), np.minimum(seconds, limits)
    for delivered in (True, False):
        part = ended[(seconds <= limits) == delivered]
        tables.add(np.zeros(len(part), int), part, np.full(len(part), time), delivered)
    return tables.of(0, np.array(running, dtype=float), time)


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_restarted_tasks_are_censored_and_not_lost(law):
    rng = np.random.default_rng(1)
    survival = measured(law.sample(rng, 40_000), rng.exponential(2.0, 40_000))
    assert np.abs(survival.sf(TIMES) - law.sf(TIMES)).max() < 0.012
    assert np.all(np.abs(survival.sf(TIMES) - law.sf(TIMES)) < 5 * survival.stderr(TIMES) + 0.004)  # bins of 9 %


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_the_stated_error_is_that_of_few_tasks(law):
    rng = np.random.default_rng(2)
    tables = [measured(law.sample(rng, 30), rng.exponential(3.0, 30)) for _ in range(200)]
    errors = [(survival.sf(0.7) - law.sf(0.7)) / survival.stderr(0.7) for survival in tables]
    assert 0.75 < np.std(errors) < 1.25
    assert abs(np.mean(errors)) < 0.5


def test_running_tasks_count_as_longer_than_their_age():
    seconds = np.array([1.0, 1.0, 1.0])
    alone, beside = measured(seconds, seconds), measured(seconds, seconds, running=[9.0, 9.0, 9.0])
    assert alone.sf(2.0) < 0.2
    assert beside.sf(2.0) == pytest.approx(0.5, abs=0.1)


def test_a_fixed_time_is_found_up_to_the_width_of_a_bin():
    survival = measured(Deterministic(2.0).sample(np.random.default_rng(0), 500), np.full(500, np.inf))
    assert survival.mean == pytest.approx(2.0, rel=0.1)
    assert survival.sf(1.8) > 0.97


def test_tasks_of_unequal_workers_are_pooled_so_that_the_rate_of_deliveries_is_right():
    rng, tables = np.random.default_rng(3), LifeTables(1)
    for mean in (1.0, 5.0):  # as many as each delivers in 5000 seconds
        seconds = Exponential(mean).sample(rng, int(5000 / mean))
        tables.add(np.zeros(len(seconds), int), seconds, np.ones(len(seconds)), delivered=True)
    assert 2 / tables.of(0, np.zeros(0), 1.0).mean == pytest.approx(1 + 1 / 5, rel=0.04)


@pytest.mark.parametrize(("until", "old"), [(1075, 0.75), (1414, 0.25), (2000, 1 / 16), (4000, 1 / 256)])
def test_old_speeds_are_forgotten(until, old):
    rng, tables = np.random.default_rng(4), LifeTables(1)
    times = np.sort(rng.uniform(0, until, 40_000))
    seconds = np.where(times < 1000, 1.0, 3.0) * rng.exponential(1.0, len(times))
    tables.add(np.zeros(len(times), int), seconds, times, delivered=True)
    assert tables.of(0, np.zeros(0), until).mean == pytest.approx(old * 1.0 + (1 - old) * 3.0, rel=0.03)


def test_nothing_is_known_before_the_first_delivery():
    survival = LifeTables(1).of(0, np.array([0.5]), 0.5)
    assert survival.deliveries == 0
    assert survival.mean == np.inf


def test_a_row_is_the_same_alone_and_among_others_whenever_it_is_asked():
    rng, alone, among = np.random.default_rng(5), LifeTables(1), LifeTables(3)
    for time in range(1, 30):
        row = np.sort(rng.integers(0, 3, 8))
        seconds, now = rng.exponential(1.0, 8), np.full(8, float(time))
        among.add(row, seconds, now, delivered=time % 3 > 0)
        alone.add(np.zeros((row == 1).sum(), int), seconds[row == 1], now[row == 1], delivered=time % 3 > 0)
        if time % 4 == 0:
            among.of(0, np.zeros(0), 1.0)
    first, second = alone.of(0, np.ones(2), 30.0), among.of(1, np.ones(2), 30.0)
    assert first.hazard.tolist() == second.hazard.tolist()
