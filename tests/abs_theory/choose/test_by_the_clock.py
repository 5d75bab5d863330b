"""k and the threshold by the clock: against closed forms, brute force and training."""

import math

import numpy as np
import pandas as pd
import pytest
from agreement import noise
from cases import by_turns, first_fast
from laws import SHIFTED, STALLS

from abs_theory import choose, order_stats, round_time, steady_state
from abs_theory.bounds import Constants, expected
from abs_theory.choose import Budget, Search, Target
from abs_theory.delays import Deterministic, Exponential, Gamma, LogNormal, Pareto, ShiftedExponential
from abs_theory.monte_carlo import Estimate
from simulations import protocols
from simulations.experiment import simulate
from simulations.problems import NoisyQuadratic

N = 8
LAWS = [SHIFTED, STALLS, LogNormal(median=0.6, sigma=1.0), [Gamma(4.0, 0.25)] * 5 + [Exponential(3.0)] * 3]
CURVATURES = (1.0, 0.6, 0.3)
PROBLEM = NoisyQuadratic(CURVATURES, sigma2=1.0)
KNOWN = PROBLEM.constants


def floors(constants, k, tau, eta):
    about = expected.tradeoff(constants, k, tau)
    return float(about.noise * eta + about.drift * eta**2)


@pytest.mark.parametrize("delay", LAWS, ids=["shifted", "stalls", "lognormal", "unequal"])
def test_one_candidate_relaxes_exponentially(delay):
    """With constant k, threshold and step, g falls like an exponential to its floor, and its mean has a closed form.

    Updates are steps in time: on average over time g is that of half a round before.
    """
    k, theta, eta, seconds = 3, 0, 0.2, 40.0
    table = choose.timetable(delay, N, KNOWN, Budget(seconds), Search(k, theta, eta))
    state = steady_state.abs_sgd(delay, k, N, theta)
    h1, floor = KNOWN.noise_curvature, floors(KNOWN, k, state.mean_staleness, eta)
    rate = 2 * h1 * eta / state.round_time
    begin = state.round_time / 2
    fallen = begin - math.expm1(-rate * (seconds - begin)) / rate
    mean = floor + (2 * h1 * KNOWN.gap - floor) * fallen / seconds
    assert table.gradient_norm2 == pytest.approx(mean, rel=2e-3)
    assert table.updates == pytest.approx((seconds - begin) / state.round_time, rel=1e-9)
    assert table.messages == pytest.approx(table.updates * (state.uplinks + state.downlinks), rel=1e-9)
    back = choose.timetable(delay, N, KNOWN, Target(mean), Search(k, theta, eta))
    assert back.seconds == pytest.approx(seconds, rel=5e-3)
    assert len(table.stairs) == 1


@pytest.mark.parametrize("delay, seconds", by_turns(LAWS, [4.0, 40.0]), ids=repr)
def test_the_start_counts(delay, seconds):
    """As above, with the updates at whose expected times, as simulated, workers that start afresh have made them."""
    k, theta, eta = 3, 1, 0.2
    table = choose.timetable(delay, N, KNOWN, Budget(seconds), Search(k, theta, eta))
    state = steady_state.abs_sgd(delay, k, N, theta)
    h1, floor = KNOWN.noise_curvature, floors(KNOWN, k, state.mean_staleness, eta)
    t = np.linspace(0, seconds, 4001)
    numbers = np.arange(1, 3 + int(1.2 * seconds / state.round_time))
    times = round_time.time_of_update(delay, k, N, theta, updates=numbers).value
    updates = np.searchsorted(times, t, side="right")
    norm2 = floor + (2 * h1 * KNOWN.gap - floor) * np.exp(-2 * h1 * eta * updates)
    assert table.gradient_norm2 == pytest.approx(np.trapezoid(norm2, t) / seconds, rel=0.02)
    expected = np.interp(seconds, times, numbers) - 0.5  # made at the time, on average over a round
    assert table.updates == pytest.approx(expected, abs=0.1 + 0.01 * expected)


def test_no_other_order_of_two_candidates_is_better():
    """All ways to run k = 1 for a while and then k = 8, and the reverse, in closed form."""
    eta, seconds = 0.4, 12.0
    h1 = KNOWN.noise_curvature
    cells = {k: (order_stats.mean(SHIFTED, k, N), floors(KNOWN, k, 0.0, eta)) for k in (1, N)}
    start = 2 * h1 * KNOWN.gap

    def area(g, k, duration):
        T, floor = cells[k]
        rate = 2 * h1 * eta / T
        return floor * duration - (g - floor) * math.expm1(-rate * duration) / rate, floor + (g - floor) * math.exp(
            -rate * duration
        )

    def mean(first, then, switch):
        begin = cells[first][0] / 2  # of half a round nothing is seen yet
        if switch <= begin:
            return (start * begin + area(start, then, seconds - begin)[0]) / seconds
        early, g = area(start, first, switch - begin)
        return (start * begin + early + area(g, then, seconds - switch)[0]) / seconds

    table = choose.timetable(SHIFTED, N, KNOWN, Budget(seconds), Search([1, N], 0, eta))
    assert table.stairs["k"].tolist() == [1, N]
    found = {order: min(mean(*order, s) for s in np.linspace(0, seconds, 601)) for order in [(1, N), (N, 1)]}
    assert table.gradient_norm2 == pytest.approx(min(found.values()), rel=2e-3)
    assert table.gradient_norm2 < 0.9 * min(mean(1, N, seconds), mean(N, 1, seconds))
    assert mean(1, N, table.stairs["seconds"][1]) == pytest.approx(min(found.values()), rel=2e-3)


@pytest.mark.parametrize("delay", first_fast([STALLS, LAWS[-1]], 1), ids=["stalls", "unequal"])
def test_it_is_no_worse_than_the_best_constant_choice_and_waits_ever_longer(delay):
    target = 0.08
    table, choice = choose.timetable(delay, N, KNOWN, Target(target)), choose.best(delay, N, KNOWN, Target(target))
    assert table.seconds < choice.seconds
    assert np.all(np.diff(table.stairs["round_time"]) > 0)
    assert np.all(np.diff(table.stairs["seconds"]) > 0)
    assert table.stairs["seconds"][0] == 0
    assert np.all(np.diff(table.stairs["gradient_norm2"]) <= 0)
    assert table.gradient_norm2 == target
    within = choose.timetable(delay, N, KNOWN, Budget(table.seconds))
    assert within.gradient_norm2 == pytest.approx(target, rel=1e-6)
    assert within.step_size == pytest.approx(table.step_size)


def test_what_is_in_force_at_a_time():
    table = choose.timetable(SHIFTED, N, KNOWN, Target(0.08))
    starts, ks = table.stairs["seconds"].to_numpy(), table.stairs["k"].tolist()
    assert [table.k_at(t) for t in starts] == ks
    assert [table.k_at(t) for t in (starts[1:] + starts[:-1]) / 2] == ks[:-1]
    assert table.k_at(1e9) == ks[-1]
    assert [table.max_staleness_at(t) for t in starts] == table.stairs["max_staleness"].tolist()
    for wrong in (-1.0, math.nan, "1", [0.0, 1.0]):
        with pytest.raises(ValueError, match="seconds must be a finite number >= 0"):
            table.k_at(wrong)


def test_units_do_not_matter():
    """With exact rounds; those that are simulated have other luck in another unit."""
    search = Search(max_staleness=0)
    one = choose.timetable(SHIFTED, N, KNOWN, Target(0.08), search)
    slow = ShiftedExponential(shift=500.0, scale=500.0)
    other = choose.timetable(slow, N, KNOWN, Target(0.08), search)
    assert (other.seconds, other.step_size) == pytest.approx((1000 * one.seconds, one.step_size), rel=1e-6)
    # w in other units: L, h1 and 1 / eta by a, sigma2 and g by a^2, gap by a
    scaled = Constants(7.0, 49 * 1.0, 7 * KNOWN.gap, noise_curvature=7 * KNOWN.noise_curvature,
                       noise_curvature2=49 * KNOWN.noise_curvature2)  # fmt: skip
    steep = choose.timetable(SHIFTED, N, scaled, Target(49 * 0.08), search)
    assert (steep.seconds, 7 * steep.step_size) == pytest.approx((one.seconds, one.step_size), rel=1e-6)


def test_a_slower_descent_keeps_rounds_short_for_longer():
    flow = np.linspace(0, 40, 800)
    h1, gap = KNOWN.noise_curvature, KNOWN.gap
    own = pd.DataFrame({"flow": flow, "gradient_norm2": 2 * h1 * gap * np.exp(-2 * h1 * flow)})
    slow = own.assign(flow=4 * flow)
    tables = [choose.timetable(SHIFTED, N, KNOWN, Target(0.08), descent=given) for given in (None, own, slow)]
    assert tables[1].seconds == pytest.approx(tables[0].seconds, rel=0.02)  # the table is interpolated
    assert tables[2].seconds > 2 * tables[0].seconds
    k4 = [table.stairs["seconds"][table.stairs["k"] >= 4].min() for table in tables]
    assert k4[2] > 2 * k4[0]


def test_noise_that_changes_on_the_way():
    """Constant columns are the constants; more noise at the start makes for longer rounds there."""
    flow = np.geomspace(1, 41, 300) - 1
    h1, h2, gap = KNOWN.noise_curvature, KNOWN.noise_curvature2, KNOWN.gap
    path = pd.DataFrame({"flow": flow, "gradient_norm2": 2 * h1 * gap * np.exp(-2 * h1 * flow)})
    same = path.assign(sigma2=1.0, noise_curvature=h1, noise_curvature2=h2)
    noisy = same.assign(sigma2=np.where(flow < 1, 8.0, 1.0))
    alone, with_noise, more = (
        choose.timetable(SHIFTED, N, KNOWN, Target(0.08), Search(step_size=0.3), given) for given in (path, same, noisy)
    )
    assert with_noise.seconds == alone.seconds
    assert with_noise.stairs.equals(alone.stairs)
    assert more.seconds > 1.1 * alone.seconds
    assert more.k_at(0.0) > alone.k_at(0.0)


@pytest.mark.parametrize("delay", [SHIFTED, STALLS], ids=["shifted", "stalls"])
def test_training_by_the_clock_beats_the_best_constant_choice(delay):
    """The mean of |grad F|^2 over the time that the best constant k and threshold are predicted to need."""
    choice = choose.best(delay, N, KNOWN, Target(0.08))
    table = choose.timetable(delay, N, KNOWN, Target(0.08))
    policies = {
        "constant": (choice.k, choice.max_staleness, choice.step_size),
        "clock": (lambda p: table.k_at(p.time), lambda p: table.max_staleness_at(p.time), table.step_size),
    }
    runs, look = {}, choice.seconds / 40
    for name, (k, theta, step) in policies.items():
        record = simulate(
            protocols.abs_sgd(k, theta), PROBLEM, delay, N, step_size=step, time_budget=choice.seconds, seed=1,
            replicates=40, eval_every=look, n_jobs=1,
        )  # fmt: skip
        runs[name] = []
        for _, run in record.groupby("replicate"):
            made = np.searchsorted(run["time"], look * np.arange(1, 40), side="right")
            runs[name].append(np.append(math.nan, run["gradient_norm2"])[made].mean())
    clock, constant = np.array(runs["clock"]), np.array(runs["constant"])
    gained = Estimate.of(constant - clock)  # the same tasks take the same time in both
    assert gained.mean > noise(gained) > 0


@pytest.mark.parametrize("delay", [Pareto(1.0, 0.9), Deterministic(1.0), Exponential(1e-12)], ids=repr)
def test_extreme_laws(delay):
    table = choose.timetable(
        delay, 4, KNOWN, Target(0.2), Search([1, 2, 4], max_staleness=[0, 1]), rng=np.random.default_rng(0)
    )
    assert 0 < table.seconds < math.inf
    assert np.isfinite(table.stairs[["seconds", "round_time", "gradient_norm2"]].to_numpy()).all()


def test_edges():
    easy = choose.timetable(SHIFTED, N, KNOWN, Target(1e6))  # at least one update
    assert easy.updates == pytest.approx(1)
    quiet = Constants(1.0, 0.0, 1.0, noise_curvature=0.5, noise_curvature2=0.3)
    assert set(choose.timetable(SHIFTED, N, quiet, Target(0.01)).stairs["k"]) == {
        1
    }  # without noise nobody is waited for
    one = choose.timetable(SHIFTED, 1, KNOWN, Target(0.08))
    assert one.stairs["k"].tolist() == [1]


COLUMNS = ["flow", "gradient_norm2", "sigma2", "noise_curvature", "noise_curvature2"]
BAD = [
    (lambda: Target(-1.0), {}, "error must be"),
    (lambda: Target(0.1), {"step_size": 50.0}, "no step and order"),
    (lambda: Target(1e-9), {"step_size": 0.5}, "no step and order"),
    (lambda: Budget(0.01), {}, "time for one update"),
    (lambda: Target(0.1), {"k": 9}, r"k must be a whole number in 1\.\.n"),
    (lambda: Target(0.1), {"message_seconds": -1}, "message_seconds must be"),
    (lambda: Target(0.1), {"round_time": np.ones(N)}, "is for .* the round times of the delay law"),
    (lambda: Target(0.1, model="bound"), {}, 'is for the model "expected"'),
    (lambda: Target(0.1, "communication"), {}, 'the objective "time"'),
    (lambda: 0.1, {}, r"goal must be choose.Target\(error\) or choose.Budget"),
    (lambda: Target(0.1), {"descent": [1, 2]}, "descent must be a table"),
    (lambda: Target(0.1), {"descent": pd.DataFrame([[0.0, 1.0, -1.0, 1.0, 1.0]], columns=COLUMNS)}, "sigma2 >= 0"),
    (
        lambda: Target(0.1),
        {"descent": pd.DataFrame({"flow": [0.0, 0.0], "gradient_norm2": [1, 1]})},
        "increases from 0",
    ),
]


@pytest.mark.parametrize("goal, options, message", BAD, ids=[message for *_, message in BAD])
def test_bad_arguments_are_refused(goal, options, message):
    descent = {"descent": options["descent"]} if "descent" in options else {}
    with pytest.raises(ValueError, match=message):
        choose.timetable(SHIFTED, N, KNOWN, goal(), Search(**({} if descent else options)), **descent)


@pytest.mark.parametrize("curvature, gap", [(None, 1.0), (0.0, 1.0), (0.5, 0.0)])
def test_constants_that_do_not_say_enough_are_refused(curvature, gap):
    with pytest.raises(ValueError, match="noise_curvature > 0" if gap else "gap must be > 0"):
        choose.timetable(SHIFTED, N, Constants(1.0, 1.0, gap, noise_curvature=curvature), Target(0.1))
