"""Where seconds come from: equal and unequal workers, and all that can happen to them and their links.

Fleets are asked here as a server asks them, one step after the other; ``test_fleets_end_to_end`` trains with them.
"""

import pickle
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import pytest
from agreement import assert_agrees
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from abs_theory.delays import (
    Deterministic,
    Empirical,
    Exponential,
    Gamma,
    HyperExponential,
    LogNormal,
    Lomax,
    Mixture,
    Pareto,
    Sum,
    Uniform,
)
from abs_theory.monte_carlo import Estimate
from simulations.fleets import Fleet, Independent, Scaled, Times, Where, as_fleet, one_slow
from simulations.fleets.links import Absences, Links
from simulations.fleets.replay import Replay
from simulations.fleets.stragglers import CommonFactor, Spells, Stalls, _through
from simulations.streams import streams, task_times

LAWS = (Exponential(1.0), Gamma(shape=2.0, scale=0.5), HyperExponential(probs=(0.9, 0.1), means=(0.5, 5.0)))
BASE = Independent(LAWS)
RARE = LogNormal(median=20.0, sigma=0.5)
WRAPPED = {
    "scaled": Scaled(BASE, (1.0, 2.0, 0.5)),
    "common factor": CommonFactor(BASE, LogNormal(median=1.0, sigma=1.0)),
    "common factor in time": CommonFactor(BASE, LogNormal(median=1.0, sigma=1.0), every=3.0),
    "stalls": Stalls(BASE, 0.1, RARE),
    "spells": Spells(BASE, fast=5.0, slow=Gamma(2.0, 1.0), factor=4.0),
    "absences": Absences(BASE, up=Uniform(1.0, 5.0), down=2.0),
    "links": Links(BASE, download=0.5, upload=Lomax(scale=1.0, index=3.0)),
    "some stalls": Where((1,), Stalls(BASE, 0.1, RARE), BASE),
    "replay": Replay(((1.0, 2.0, 3.0), (0.5, 0.25, 4.0)), by="round"),
    "all": Links(Stalls(Spells(Absences(BASE, 9.0, 1.0), 5.0, 1.0, 2.0), 0.01, RARE), upload=1.0),
}


@dataclass(frozen=True)
class Clockwork:
    """A hand-made fleet: every step takes the same seconds."""

    steps: tuple[float, ...]

    @property
    def n(self):
        return len(self.steps)

    def times(self, seed, replicate):
        return [Times(lambda time, version, seconds=seconds: seconds) for seconds in self.steps]


def steps(times, count, time=0.0, version=0):
    """The seconds of the next ``count`` steps of one worker, all begun at the same time with the same model."""
    return [times.step(time, version) for _ in range(count)]


def played(fleet, seed=1, replicate=0, count=40):
    """What a server sees of a fleet: each worker's steps one after the other, its messages and its absences."""
    seen = []
    for times in fleet.times(seed, replicate):
        time, row = 0.0, []
        for version in range(count):
            row.append(times.step(time, version // 2))
            time += row[-1]
        rest = [list(islice(each, count)) for each in times[1:] if each is not None]
        seen.append((row, rest))
    return seen


# ---------------------------------------------------------------------- every fleet
@pytest.mark.parametrize("name", WRAPPED)
def test_same_address_same_numbers_and_each_replicate_its_own(name):
    fleet = WRAPPED[name]
    assert isinstance(fleet, Fleet)
    assert as_fleet(fleet, 3) is fleet
    first = played(fleet)
    fleet.times(1, 1)[0].step(0.0, 0)  # another replicate leaves no trace
    assert played(fleet) == first == played(pickle.loads(pickle.dumps(fleet)))
    if not isinstance(fleet, Replay):
        assert first != played(fleet, replicate=1)
        assert first != played(fleet, seed=2)


@pytest.mark.parametrize("name", WRAPPED)
def test_the_repr_tells_how_a_run_was_made(name):
    fleet = WRAPPED[name]
    if not isinstance(fleet, Replay):
        assert eval(repr(fleet)) == fleet
    assert hash(fleet) == hash(pickle.loads(pickle.dumps(fleet)))


@pytest.mark.parametrize("wrap", [
    lambda fleet: Scaled(fleet, (1.0,) * 3),
    lambda fleet: CommonFactor(fleet, Deterministic(1.0)),
    lambda fleet: Stalls(fleet, 0.0, RARE),
    lambda fleet: Spells(fleet, 1e9, 1e-9, factor=3.0),
    lambda fleet: Absences(fleet, 1.0, 1.0),
    lambda fleet: Links(fleet, download=LAWS[0], upload=1.0),
], ids=["scaled", "common factor", "stalls", "spells", "absences", "links"])  # fmt: skip
def test_a_wrapper_leaves_the_draws_of_its_fleet_as_they_were(wrap):
    plain, wrapped = played(BASE), played(wrap(wrap(BASE)))
    assert [row for row, _ in plain] == [row for row, _ in wrapped]


@pytest.mark.parametrize("name", ["common factor", "stalls", "spells", "absences", "links"])
def test_two_wrappers_of_a_kind_never_share_a_stream(name):
    def again(fleet):
        return replace(WRAPPED[name], fleet=fleet)

    once = again(BASE)
    between = Where((0,), BASE, Scaled(once, (1.0,) * 3))
    roles = ["common", "stall", "speed", "absence", "download", "upload"]
    for role in roles:
        drawn = [fleet.streams(1, 0, role)[0].random() for fleet in (once, again(once), again(again(once)))]
        assert len(set(drawn)) == 3
        assert again(between).streams(1, 0, role)[0].random() == drawn[1]
        assert WRAPPED["all"].streams(1, 0, role)[0].random() == drawn[0]  # its wrappers are of different kinds


# ---------------------------------------------------------------------- independent workers
def test_independent_workers_draw_each_step_from_their_law_and_their_stream():
    for replicate in (0, 5):
        drawn = [steps(times, 3000) for times in BASE.times(7, replicate)]
        alone = map(task_times, LAWS, streams(7, replicate, "delay", 3))
        assert drawn == [list(islice(seconds, 3000)) for seconds in alone]
        for law, rng, mine in zip(LAWS, streams(7, replicate, "delay", 3), drawn, strict=True):
            sizes = [16, 32, 64, 128, 256, 512, 1024, 1024]
            assert mine == np.concatenate([law.sample(rng, size) for size in sizes])[:3000].tolist()


def test_what_is_a_fleet():
    law = LogNormal(median=1.0, sigma=0.5)
    assert as_fleet(law, 3) == as_fleet([law] * 3, 3) == Independent((law,) * 3)
    assert as_fleet(stats.lognorm(0.5), 3) == as_fleet((stats.lognorm(0.5),) * 3, 3) == as_fleet(law, 3)
    assert [times[1:] for times in BASE.times(0, 0)] == [(None, None, None)] * 3


def test_the_repr_of_many_workers_stays_short():
    fleet = Independent((Exponential(1.0),) * 5000 + (Empirical((1.0, 2.0)),))
    assert eval(repr(fleet)) == fleet
    assert len(repr(fleet)) < 120


@pytest.mark.parametrize(
    "delay", [1.0, None, "Exponential", [Exponential(1.0)] * 2, [Exponential(1.0), 2.0, 3.0], Fleet, Independent]
)
def test_other_things_are_no_fleet(delay):
    with pytest.raises(ValueError, match="delay must be one Delay or a sequence of n=3 of them, got"):
        as_fleet(delay, 3)


# ---------------------------------------------------------------------- slow workers
def test_slow_workers_take_a_factor_longer_for_the_same_draws():
    plain, slowed = played(BASE), played(Scaled(BASE, [1, 100, 0.5]))
    for factor, (row, _), (mine, _) in zip((1.0, 100.0, 0.5), plain, slowed, strict=True):
        assert mine == [factor * seconds for seconds in row]
    assert one_slow(LAWS, 3, 100, worker=1) == Scaled(BASE, (1.0, 100.0, 1.0))
    assert one_slow(LAWS[1], 2, 3) == Scaled(Independent(LAWS[1:2] * 2), (3.0, 1.0))


def test_where_something_happens_to_some_workers_only():
    fleet, stalled = WRAPPED["some stalls"], played(WRAPPED["stalls"])
    assert played(fleet) == [played(BASE)[0], stalled[1], played(BASE)[2]]
    assert fleet == Where({1}, Stalls(BASE, 0.1, RARE), BASE)


# ---------------------------------------------------------------------- stalls and common factors
def test_a_stalled_step_has_the_law_of_a_mixture():
    """10,000 steps against the law with stalls (Kolmogorov-Smirnov); without them, or with more, it fails."""
    base = LogNormal(median=1.0, sigma=0.5)

    def law(prob):
        return Mixture((1 - prob, prob), (base, Sum((base, RARE))))

    drawn = steps(Stalls(as_fleet(base, 1), 0.2, RARE).times(5, 0)[0], 10_000)
    assert stats.kstest(drawn, law(0.2).cdf).pvalue > 1e-6
    for other in base, law(0.25):
        assert stats.kstest(drawn, other.cdf).pvalue < 1e-6


def test_stalls_are_added_to_the_draws_of_the_fleet():
    extra = np.array(steps(WRAPPED["stalls"].times(1, 0)[1], 1000)) - steps(BASE.times(1, 0)[1], 1000)
    assert set(np.flatnonzero(extra > 1e-9)) == set(np.flatnonzero(extra > 1.0))  # none, or 20 s or so
    assert 60 < np.count_nonzero(extra > 1.0) < 140
    certain = steps(Stalls(Clockwork((1.0,)), 1, Deterministic(2.5)).times(1, 0)[0], 20)
    assert certain == [3.5] * 20


def test_a_common_factor_is_shared_by_all_who_start_on_one_version():
    law = Uniform(low=1.0, high=3.0)
    first, second = CommonFactor(Clockwork((1.0, 2.0)), law).times(4, 0)
    versions = [5, 0, 5, 3, 1200, 1, 5]
    factors = [first.step(time, version) for time, version in enumerate(versions)]
    assert [second.step(0.0, version) for version in versions[::-1]] == [2 * factor for factor in factors[::-1]]
    assert len(set(factors)) == 5
    assert factors[0] == factors[2] == factors[6]
    drawn = list(islice(task_times(law, streams(4, 0, "common", 1)[0]), 1201))
    assert factors == [drawn[version] for version in versions]


def test_a_common_factor_of_a_period_is_shared_by_all_steps_begun_in_it():
    first, second = CommonFactor(Clockwork((1.0, 2.0)), Uniform(1.0, 3.0), every=10.0).times(4, 0)
    assert first.step(0.0, 0) == first.step(9.99, 7) == second.step(5.0, 3) / 2
    assert first.step(10.0, 0) == second.step(19.9, 0) / 2 != first.step(0.0, 0)


def test_the_covariance_that_a_common_factor_makes():
    """Cov(F X, F Y) = Var F E[X] E[Y]; without a factor, or with one for each worker, it is 0."""
    factor, fleet = (
        Uniform(low=1.0, high=3.0),
        Independent((Gamma(4.0, 0.25), LogNormal(np.exp(-0.125), 0.5))),
    )
    products = []
    for replicate in range(64):
        workers = CommonFactor(fleet, factor).times(9, replicate)
        seconds = np.array([[times.step(0.0, version) for version in range(1000)] for times in workers])
        products.append((seconds - factor.mean).prod(axis=0).mean())
    assert_agrees(Estimate.of(np.array(products)), 1 / 3, resolution=0.25)


# ---------------------------------------------------------------------- spells
def scripted_spells(work, first_fast, *lengths, factor=4.0):
    """Steps of ``work`` seconds through spells of these lengths, the first one fast or slow."""
    paces = (1.0, factor) if first_fast else (factor, 1.0)
    return _through(iter([*lengths, *[1000.0] * 10]), paces, lambda time, version: work)


def test_a_step_through_several_spells_takes_the_integral_of_the_speed():
    step = scripted_spells(2.0, True, 1.0, 2.0, 0.5, 8.0)
    # fast to 1, slow (pace 4) to 3, fast to 3.5, slow to 11.5, fast
    assert step(0.0, 0) == 1 + 2 + 0.5  # 1 s of work, then 2 / 4, then .5 s: done when the fast spell ends
    assert step(0.25, 0) == 0.75 + 2 + 0.5 + 4 * 0.25
    assert step(3.5, 0) == 8  # 2 s of work at pace 4, done as the spell ends
    assert step(3.0, 0) == 0.5 + 4 * 1.5
    assert step(11.0, 0) == 0.5 + (2 - 0.5 / 4)
    assert step(20.0, 0) == 2
    assert step(1.0, 0) == 2 + 0.5 + 4 * 1.0  # back in time: a step that was looked ahead to, then given up
    slow_first = scripted_spells(0.5, False, 1.0, 2.0)
    assert slow_first(0.0, 0) == 1 + 0.25
    assert slow_first(0.5, 0) == 0.5 + 0.375
    assert slow_first(1.0, 0) == 0.5
    assert scripted_spells(1e3, True, 1.0, 1.0, factor=0.5)(0.0, 0) == 2 + 997  # a factor below 1 is faster


@given(
    cuts=st.lists(st.floats(0.01, 5.0), min_size=1, max_size=20),
    lengths=st.lists(st.floats(0.01, 5.0), min_size=1, max_size=20),
    fast=st.booleans(),
)
def test_a_step_takes_as_long_as_its_pieces(cuts, lengths, fast):
    step = scripted_spells(sum(cuts), fast, *lengths)
    pieces = [scripted_spells(cut, fast, *lengths) for cut in cuts]
    time = 0.5
    for piece in pieces:
        time += piece(time, 0)
    assert 0.5 + step(0.5, 0) == pytest.approx(time, rel=1e-12)


SPELL_LAWS = [
    (Exponential(3.0), Exponential(6.0)),
    (Deterministic(3.0), Uniform(low=5.0, high=7.0)),
    (HyperExponential(probs=(0.9, 0.1), means=(1.0, 21.0)), Gamma(shape=0.5, scale=12.0)),
    (LogNormal(median=3.0 / np.exp(0.5), sigma=1.0), Empirical((3.0, 3.0, 12.0))),
]


@pytest.mark.parametrize("laws", SPELL_LAWS, ids=repr)
def test_spells_are_stationary_from_the_start(laws):
    """Slow with probability 6 / 9 at any time."""
    workers = Spells(Clockwork((1e-9,) * 2000), *laws, factor=5.0).times(6, 0)
    for time in (0.0, 1.5, 4.0):
        slow = np.array([times.step(time, 0) > 3e-9 for times in workers], dtype=float)
        assert_agrees(Estimate.of(slow), 2 / 3, resolution=0.2)


def test_exponential_spells_are_a_markov_chain():
    """P(slow at 0 and at t) = q^2 + q (1 - q) exp(-(1/a + 1/b) t) for means a (fast) and b (slow), q = b / (a + b)."""
    workers = Spells(Clockwork((1e-9,) * 4000), fast=3.0, slow=6.0, factor=5.0).times(6, 1)
    q, t = 2 / 3, 2.0
    both = np.array([times.step(0.0, 0) > 3e-9 and times.step(t, 0) > 3e-9 for times in workers], dtype=float)
    assert_agrees(Estimate.of(both), q**2 + q * (1 - q) * np.exp(-(1 / 3 + 1 / 6) * t), resolution=0.2)


def test_spells_of_any_law_and_unequal_work_meet_the_mean_speed():
    """Work per second is p_fast + p_slow / factor in the long run."""
    laws, work = SPELL_LAWS[3], LogNormal(median=1.0, sigma=1.0)
    rates = []
    for times, plain in zip(
        Spells(as_fleet(work, 64), *laws, factor=5.0).times(8, 0), as_fleet(work, 64).times(8, 0), strict=True
    ):
        time = done = 0.0
        while time < 4000:
            time += times.step(time, 0)
            done += plain.step(0.0, 0)
        rates.append(done / time)
    assert_agrees(Estimate.of(np.array(rates)), 1 / 3 + 2 / 3 / 5, resolution=0.1)


# ---------------------------------------------------------------------- links and absences
def test_links_give_each_message_its_seconds():
    fleet = Links(BASE, download=0.5, upload=LAWS[2])
    for times, rng in zip(fleet.times(1, 0), streams(1, 0, "upload", 3), strict=True):
        assert list(islice(times.download, 3)) == [0.5] * 3
        assert list(islice(times.upload, 40)) == list(islice(task_times(LAWS[2], rng), 40))
    assert [times[1:3] for times in Links(BASE).times(1, 0)] == [(None, None)] * 3
    two_hops = Links(Links(BASE, download=1.0), download=2.0, upload=0.25).times(1, 0)[0]
    assert next(two_hops.download) == 3.0
    assert next(two_hops.upload) == 0.25


def test_absences_alternate_with_presence():
    absences = Absences(BASE, up=Deterministic(3.0), down=Deterministic(1.0)).times(1, 0)[0].absences
    assert list(islice(absences, 3)) == [(3.0, 4.0), (7.0, 8.0), (11.0, 12.0)]


def test_two_reasons_to_be_away_are_united():
    fleet = Absences(Absences(BASE, Deterministic(3.0), Deterministic(1.0)), Deterministic(6.5), Deterministic(2.5))
    # away 3-4, 7-8, 11-12, 15-16, 19-20, 23-24, ... and 6.5-9, 15.5-18, 24.5-27, ...
    united = list(islice(fleet.times(1, 0)[0].absences, 7))
    assert united == [(3, 4), (6.5, 9), (11, 12), (15, 18), (19, 20), (23, 24), (24.5, 28)]


def test_a_crash_is_an_absence_without_an_end():
    fleet = Absences(BASE, Deterministic(3.0), down=np.inf)
    assert list(fleet.times(1, 0)[0].absences) == [(3.0, np.inf)]
    both = Absences(Absences(BASE, Deterministic(2.0), Deterministic(0.5)), Deterministic(4.75), down=np.inf)
    assert list(both.times(1, 0)[0].absences) == [(2.0, 2.5), (4.5, np.inf)]


def test_absences_are_increasing_and_disjoint_and_take_their_share_of_the_time():
    fleet = Absences(Absences(as_fleet(LAWS[0], 400), up=Pareto(minimum=2.0, index=3.0), down=1.0), up=10.0, down=5.0)
    away = []
    for times in fleet.times(3, 0):
        spells = np.array(list(islice(times.absences, 150))).ravel()
        assert (np.diff(spells) > 0).all()
        spells = np.clip(spells, 100.0, 200.0)
        away.append((spells[1::2] - spells[::2]).sum() / 100)
    assert_agrees(Estimate.of(np.array(away)), 1 - 3 / 4 * 10 / 15, resolution=0.1)


# ---------------------------------------------------------------------- bad input
@pytest.mark.parametrize(("make", "message"), [
    (lambda: as_fleet(BASE, 4), "the fleet has 3 workers, got n=4"),
    (lambda: as_fleet(stats.norm(), 2), "no negative times"),
    (lambda: as_fleet(LAWS[0], 0), "n must be an integer >= 1"),
    (lambda: Independent(()), "laws must be a sequence of delay laws"),
    (lambda: Scaled(LAWS[0], (1.0,)), r"fleet must be a Fleet such as as_fleet\(.*got Exponential"),
    (lambda: Scaled(BASE, (1.0, 2.0)), "factors must be n=3 numbers, one per worker"),
    (lambda: Scaled(BASE, (1.0, 0.0, 2.0)), "factors must be finite numbers > 0"),
    (lambda: Scaled(BASE, 2.0), "factors must be n=3 numbers"),
    (lambda: one_slow(LAWS[0], 3, 0.0), "factor must be a finite number > 0"),
    (lambda: one_slow(LAWS[0], 3, 2.0, worker=3), r"worker must be in 0\.\.n-1, got worker=3 with n=3"),
    (lambda: Where((3,), BASE, BASE), r"workers must be indices in 0\.\.2"),
    (lambda: Where((0,), BASE, as_fleet(LAWS[0], 2)), "both fleets must have the same size, got 3 and 2"),
    (lambda: CommonFactor(BASE, 2.0), "factor: delay must be a Delay"),
    (lambda: CommonFactor(BASE, LAWS[0], every=0.0), "every must be a finite number > 0"),
    (lambda: Stalls(BASE, 1.5, LAWS[0]), "prob must be a probability, got prob=1.5"),
    (lambda: Stalls(BASE, float("nan"), LAWS[0]), "prob must be a probability"),
    (lambda: Spells(BASE, 1.0, Pareto(minimum=1.0, index=1.0), 2.0), "slow must have a finite mean"),
    (lambda: Spells(BASE, 0.0, 1.0, 2.0), "fast must be a finite number > 0"),
    (lambda: Spells(BASE, 1.0, 1.0, -2.0), "factor must be a finite number > 0"),
    (lambda: Absences(BASE, None, 1.0), "up: delay must be a Delay"),
    (lambda: Absences(BASE, float("inf"), 1.0), "up must be a finite number > 0"),
    (lambda: Absences(BASE, 1.0, -1.0), "down must be a finite number > 0"),
    (lambda: Links(BASE, download=-1.0), "download must be a finite number >= 0"),
    (lambda: Stalls(BASE, 0.1, stats.norm()), "stall: .* no negative times"),
    (lambda: Links(BASE, upload="fast"), "upload: delay must be a Delay"),
])  # fmt: skip
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()
