"""The optimizer: against brute force, against closed forms, and against what must be monotone."""

import math
from dataclasses import replace

import numpy as np
import pytest
from laws import SHIFTED, STALLS
from scipy.optimize import minimize_scalar

from abs_theory import bounds, choose, order_stats, round_time, steady_state
from abs_theory.bounds import Constants
from abs_theory.choose import Budget, Search, Target
from abs_theory.delays import Exponential, LogNormal, Pareto, Uniform, Weibull

CONSTANTS = Constants(L=2.0, sigma2=3.0, gap=5.0)
LOGNORMAL = LogNormal(median=1.0, sigma=1.0)
LAWS = [Exponential(1.0), SHIFTED, LOGNORMAL]


def guaranteed(delay, n, constants, goal, method="auto", rng=None, **search):
    """The best choice by the bounds, among the candidates of ``search``."""
    return choose.best(delay, n, constants, replace(goal, model="bound"), Search(**search), method, rng)


def guaranteed_k(delay, n, constants, goal, *, max_staleness=None, **search):
    return guaranteed(delay, n, constants, goal, max_staleness=max_staleness, **search)


def lian(constants, eta, k, tau, updates):
    """The bound of ABS as printed: 2 gap / (eta J) + L eta s2 / k + 2 L^2 eta^2 tau s2 / k."""
    L, s2 = constants.L, constants.sigma2
    return 2 * constants.gap / (eta * updates) + L * eta * s2 / k + 2 * L**2 * eta**2 * tau * s2 / k


def updates_needed(constants, eta, k, tau, target):
    room = target - lian(constants, eta, k, tau, math.inf)
    return 2 * constants.gap / (eta * room) if room > 0 else math.inf


def lowest(function, limit):
    """Minimum over steps in (0, limit], by search on a log scale."""
    steps = limit * np.geomspace(1e-4, 1, 400)
    start = int(np.argmin([function(step) for step in steps]))
    low, high = steps[max(start - 1, 0)], steps[min(start + 1, steps.size - 1)]
    return min(
        minimize_scalar(function, bounds=(low, high), method="bounded", options={"xatol": 1e-12}).fun, function(limit)
    )


@pytest.mark.parametrize(
    "delay", [Exponential(1.0), LOGNORMAL, pytest.param(SHIFTED, marks=pytest.mark.slow)], ids=repr
)
def test_best_finds_the_minimum_over_the_whole_grid(delay):
    n, target, budget, thetas = 4, 0.4, 90.0, [0, 1, 3, 8]
    state = steady_state.abs_sgd(delay, np.arange(1, n + 1)[:, None], n, np.array(thetas))
    # all else is exact for exponential delays; the start of a run is corrected to 1 %
    near = 1e-6 if isinstance(delay, Exponential) else 0.015
    found = {"seconds": [], "messages": [], "gradient_norm2": []}
    for i, k in enumerate(range(1, n + 1)):
        for j, theta in enumerate(thetas):
            seconds, tau = state.round_time[i, j], state.mean_staleness[i, j]
            messages = state.uplinks[i, j] + state.downlinks[i, j]
            limit = float(bounds.abs_sgd_max_step_size(CONSTANTS, k, n, theta))
            needed = lowest(lambda eta: updates_needed(CONSTANTS, eta, k, tau, target), limit)  # noqa: B023
            made = budget / seconds
            if near > 1e-6:
                made = float(round_time.expected_updates(delay, k, n, theta, seconds=budget).value)
            least = lowest(lambda eta: lian(CONSTANTS, eta, k, tau, made), limit)  # noqa: B023
            reached = float(round_time.time_of_update(delay, k, n, theta, updates=max(needed, 1.0)).value)
            found["seconds"].append((reached, k, theta))
            found["messages"].append((needed * messages, k, theta))
            found["gradient_norm2"].append((least, k, theta))
    goals = {
        "seconds": Target(target),
        "messages": Target(target, objective="communication"),
        "gradient_norm2": Budget(budget),
    }
    for column, goal in goals.items():
        choice = guaranteed(delay, n, CONSTANTS, goal, max_staleness=thetas)
        least = min(found[column])[0]
        assert math.isclose(getattr(choice, column), least, rel_tol=near)
        value = next(value for value, k, theta in found[column] if (k, theta) == (choice.k, choice.max_staleness))
        assert math.isclose(value, least, rel_tol=near)
        best_at = {k: min(value for value, k_, _ in found[column] if k_ == k) for k in range(1, n + 1)}
        flat = [{k for k, value in best_at.items() if value <= (1.05 + slack) * least} for slack in (-near, near)]
        assert flat[0] <= set(choice.flat) <= flat[1]
        assert len(choice.curve) == n * len(thetas)
        assert np.allclose(choice.over_k()["objective"], list(best_at.values()), rtol=3 * near)


@pytest.mark.parametrize("sigma2", [0.01, 1.0, 30.0])
def test_exponential_k_sync_in_closed_form(sigma2):
    """tau = 0: eta = min(eps k / (2 L s2), 1 / L) and rounds of H_n - H_(n-k)."""
    n, target, constants = 12, 0.5, Constants(L=2.0, sigma2=sigma2, gap=5.0)
    k = np.arange(1, n + 1)
    eta = np.minimum(target * k / (2 * constants.L * sigma2), 1 / constants.L)
    updates = 2 * constants.gap / (eta * (target - constants.L * eta * sigma2 / k))
    seconds = updates * np.cumsum(1 / np.arange(n, 0, -1.0))
    choice = guaranteed_k(Exponential(1.0), n, constants, Target(target), max_staleness=0)
    assert np.allclose(choice.curve["seconds"], seconds)
    assert np.allclose(choice.curve["step_size"], eta)
    assert np.allclose(choice.curve["messages"], updates * (k + n))
    assert choice.k == seconds.argmin() + 1
    # without memory a threshold can only cost: restarting all is as fast and fresh
    assert guaranteed(Exponential(1.0), n, constants, Target(target)).seconds == choice.seconds


def test_with_decreasing_hazard_every_late_worker_restarts():
    for target in (0.05, 2.0):
        choice = guaranteed(STALLS, 6, CONSTANTS, Target(target))
        assert choice.max_staleness == 0
        assert "decreasing hazard" in choice.reason


@pytest.mark.parametrize("delay", LAWS, ids=repr)
def test_without_noise_nobody_is_worth_waiting_for(delay):
    """sigma2 = 0: one gradient is as good as many, so k = 1 in the shortest rounds that allow the full step."""
    quiet = Constants(L=1.0, sigma2=0.0, gap=1.0)
    choice = guaranteed(delay, 8, quiet, Target(0.1), max_staleness=0)
    assert choice.k == 1
    assert math.isclose(choice.step_size, 1.0)
    assert math.isclose(choice.updates, 20.0)


@pytest.mark.parametrize("delay", [SHIFTED, LOGNORMAL, Uniform(low=0.2, high=1.8)], ids=repr)
def test_more_noise_asks_for_more_gradients(delay):
    """As long as there are workers enough; in the end J is proportional to 1 / k and only T(k) / k counts."""
    ks, seconds = [], []
    for sigma2 in (0.0, 0.1, 0.3, 1.0, 3.0, 10.0):
        choice = guaranteed(delay, 40, Constants(L=1.0, sigma2=sigma2, gap=1.0), Target(1.0), max_staleness=0)
        ks.append(choice.k)
        seconds.append(choice.seconds)
    assert ks == sorted(ks)
    assert ks[-1] > ks[0]
    assert seconds == sorted(seconds)


@pytest.mark.parametrize("delay", LAWS, ids=repr)
def test_what_must_be_monotone_is(delay):
    n, few = 8, {"max_staleness": [0, 2, None]}
    targets = [guaranteed(delay, n, CONSTANTS, Target(target), **few).seconds for target in (1.0, 0.5, 0.2)]
    budgets = [guaranteed(delay, n, CONSTANTS, Budget(budget), **few).gradient_norm2 for budget in (10.0, 40.0, 160.0)]
    assert targets == sorted(targets)
    assert budgets == sorted(budgets, reverse=True)
    # the dearer a message, the fewer; exactly, as always when a weighted sum is minimised
    charged = [
        guaranteed(delay, n, CONSTANTS, Target(0.5), message_seconds=price, **few) for price in (0, 0.01, 0.1, 10.0)
    ]
    sent = [choice.messages for choice in charged]
    assert sent == sorted(sent, reverse=True)
    assert charged[0].seconds < charged[1].seconds < charged[2].seconds
    fewest = guaranteed(delay, n, CONSTANTS, Target(0.5, "communication"), **few)
    assert math.isclose(sent[-1], fewest.messages, rel_tol=1e-3)
    # more candidates are never worse, and the search has more
    every = guaranteed(delay, n, CONSTANTS, Target(0.5))
    assert every.seconds <= charged[0].seconds
    assert every.seconds <= guaranteed(delay, n, CONSTANTS, Target(0.5), step_size=[0.01, 0.05, 0.2], **few).seconds


def test_units_do_not_matter():
    thetas = [0, 2, None]
    choice = guaranteed(LOGNORMAL, 8, CONSTANTS, Target(0.4), max_staleness=thetas)
    slow = guaranteed(LogNormal(median=1000.0, sigma=1.0), 8, CONSTANTS, Target(0.4), max_staleness=thetas)
    assert (slow.k, slow.max_staleness) == (choice.k, choice.max_staleness)
    assert math.isclose(slow.seconds, 1000 * choice.seconds, rel_tol=1e-9)
    # w -> w / 2: L, sigma2 and |grad|^2 grow fourfold, the step falls to a quarter
    wide = guaranteed(LOGNORMAL, 8, Constants(L=8.0, sigma2=12.0, gap=5.0), Target(1.6), max_staleness=thetas)
    assert (wide.k, wide.max_staleness) == (choice.k, choice.max_staleness)
    assert math.isclose(wide.seconds, choice.seconds, rel_tol=1e-9)
    assert math.isclose(wide.step_size, choice.step_size / 4, rel_tol=1e-9)


def test_what_is_remembered_of_the_delays_does_not_mix_up():
    """The same k and thresholds for other delays, n, methods or round times: each with its own rounds."""
    goal, options = Target(0.5), {"max_staleness": [0], "k": [1, 2]}
    for delay, n in ((LOGNORMAL, 8), (SHIFTED, 8), (LOGNORMAL, 9), (SHIFTED, 8)):
        curve = guaranteed(delay, n, CONSTANTS, goal, **options).curve
        assert np.allclose(curve["round_time"], order_stats.means(delay, n)[:2])
    doubled = guaranteed(LOGNORMAL, 8, CONSTANTS, goal, round_time=2 * order_stats.means(LOGNORMAL, 8), **options).curve
    assert np.allclose(doubled["round_time"], 2 * order_stats.means(LOGNORMAL, 8)[:2])
    rng = np.random.default_rng(0)
    simulated = guaranteed(LOGNORMAL, 8, CONSTANTS, goal, method="monte-carlo", rng=rng, **options).curve
    assert (simulated["round_time_error"] > 0).all()


@pytest.mark.parametrize("goal", [Target(0.5), Budget(200.0)], ids=str)
def test_without_a_threshold_the_bound_reckons_with_the_stalest_gradient_of_the_run(goal):
    """Exponential K-async: P(tau > T) = q^(T+1), and T is the least with k J q^(T+1) <= delta at its own J."""
    n, delta = 10, 0.03
    curve = guaranteed_k(Exponential(1.0), n, CONSTANTS, replace(goal, model="bound", delta=delta)).curve
    for row in curve[curve["k"] < n].itertuples():
        q, stalest = 1 - row.k / n, row.largest_staleness
        assert row.k * row.updates * q ** (stalest + 1) <= delta * (1 + 1e-6)
        assert math.isclose(row.mean_staleness, (n - row.k) / row.k)
        fewer = stalest - 1  # the run that would follow from one less is too long for it
        limit = bounds.abs_sgd_max_step_size(CONSTANTS, row.k, n, fewer)
        updates = row.updates
        if isinstance(goal, Target):
            best_step = bounds.best_step_size(CONSTANTS, row.k, n, row.mean_staleness, fewer, target=0.5)
            updates = float(bounds.updates_to(CONSTANTS, 0.5, best_step, row.k, n, row.mean_staleness, fewer))
        assert limit > 0
        assert row.k * updates * q**stalest > delta * (1 - 1e-6)
    assert curve.loc[curve["k"] == n, "largest_staleness"].isin([0, math.inf]).all()


def test_heavy_delays_can_be_as_stale_as_the_run_is_long():
    curve = guaranteed_k(Pareto(minimum=1.0, index=1.05), 8, CONSTANTS, Target(0.02), k=1).curve
    assert curve["largest_staleness"].item() == math.ceil(curve["updates"].item()) - 1
    assert guaranteed(Pareto(minimum=1.0, index=1.05), 8, CONSTANTS, Target(0.02)).max_staleness < 64
    # E[X] = inf: no steady state without a threshold, no end to a synchronous round
    choice = guaranteed(Pareto(minimum=1.0, index=0.9), 8, CONSTANTS, Target(0.2))
    assert math.isfinite(choice.seconds)
    assert np.isfinite(choice.curve["max_staleness"]).all()
    assert choice.curve.loc[choice.curve["k"] == 8, "seconds"].tolist() == [math.inf]
    assert "Waiting for everybody never gets there" in choice.reason


def test_gamma_takes_the_place_of_staleness():
    """Dutta et al. (2018), Theorem 5: 2 gap / (J eta g') + L eta s2 / (k g') with g' = 1 - gamma, eta <= 1 / (2 L)."""
    n, gamma, target, budget = 8, 0.4, 0.5, 60.0
    times = 0.3 * np.arange(1, n + 1)  # K-batch-async
    assumed = {"model": "bound", "gamma": gamma}
    chosen = guaranteed_k(LOGNORMAL, n, CONSTANTS, Target(target, **assumed), round_time=times)
    in_time = guaranteed_k(
        LOGNORMAL, n, CONSTANTS, Budget(budget, model="bound", gamma=gamma), round_time=lambda k: 0.3 * k
    )
    for k in range(1, n + 1):

        def after(eta, updates, k=k):
            return float(bounds.k_async_gradient_norm(CONSTANTS, eta, k, updates, gamma=gamma))

        def in_budget(eta, k=k):
            return float(bounds.k_async_gradient_norm(CONSTANTS, eta, k, budget / (0.3 * k), gamma=gamma))

        def needed(eta, k=k):
            room = target - CONSTANTS.L * eta * CONSTANTS.sigma2 / (k * (1 - gamma))
            return 2 * CONSTANTS.gap / (eta * (1 - gamma) * room) if room > 0 else math.inf

        row, rows = (choice.curve[choice.curve["k"] == k].iloc[0] for choice in (chosen, in_time))
        assert math.isclose(row["updates"], lowest(needed, 1 / (2 * CONSTANTS.L)), rel_tol=1e-6)
        assert math.isclose(row["seconds"], row["updates"] * times[k - 1])
        assert math.isclose(row["messages"], 2 * k * row["updates"])
        assert math.isclose(after(row["step_size"], row["updates"]), target)
        assert math.isclose(rows["gradient_norm2"], lowest(in_budget, 1 / (2 * CONSTANTS.L)), rel_tol=1e-6)


def test_round_times_can_be_given():
    times = order_stats.means(LOGNORMAL, 8) + 0.1
    given = guaranteed_k(LOGNORMAL, 8, CONSTANTS, Target(0.5), max_staleness=0, round_time=times)
    same = guaranteed_k(LOGNORMAL, 8, CONSTANTS, Target(0.5), max_staleness=0, round_time=lambda k: times[k - 1])
    assert given.curve.equals(same.curve)
    assert np.allclose(given.curve["seconds"], given.curve["updates"] * times)


def test_steps_can_be_given_as_far_as_they_are_covered():
    choice = guaranteed(LOGNORMAL, 8, CONSTANTS, Target(0.5), step_size=[0.02, 0.1, 0.45])
    assert choice.step_size in (0.02, 0.1, 0.45)
    curve = choice.curve
    covered = curve["step_size"].notna()
    assert len(curve) == 3 * len(curve.drop_duplicates(["k", "max_staleness"]))
    assert 0 < covered.sum() < len(curve)
    assert np.isinf(curve.loc[~covered, "objective"]).all()
    for row in curve[covered & np.isfinite(curve["objective"])].itertuples():
        after = lian(CONSTANTS, row.step_size, row.k, row.mean_staleness, row.updates)
        assert math.isclose(after, 0.5)


def test_many_workers_are_searched_coarsely_then_finely():
    """K-sync at n = 500: the minimum over every k, found from a fifth of them."""
    n, constants = 500, Constants(L=1.0, sigma2=50.0, gap=1.0)
    choice = guaranteed_k(SHIFTED, n, constants, Target(1.0), max_staleness=0)
    every = guaranteed_k(SHIFTED, n, constants, Target(1.0), max_staleness=0, k=range(1, n + 1))
    assert choice.curve["k"].nunique() < n / 4
    assert choice.k == every.k
    assert choice.seconds == every.seconds
    assert set(choice.flat) == set(every.flat) & set(choice.curve["k"])


def test_unequal_workers():
    """Equal laws given one by one change nothing; slow workers cost time."""
    quick, slow = LogNormal(median=1.0, sigma=0.5), LogNormal(median=4.0, sigma=0.5)
    one = guaranteed_k(quick, 6, CONSTANTS, Target(0.5), max_staleness=0)
    same = guaranteed_k([quick] * 6, 6, CONSTANTS, Target(0.5), max_staleness=0)
    assert (one.k, one.seconds) == (same.k, same.seconds)
    mixed = guaranteed(
        [quick] * 4 + [slow] * 2, 6, CONSTANTS, Target(0.5), max_staleness=[0, 1, 3, None], rng=np.random.default_rng(0)
    )
    assert one.seconds < mixed.seconds < guaranteed_k(slow, 6, CONSTANTS, Target(0.5), max_staleness=0).seconds
    assert mixed.k <= 4


@pytest.mark.parametrize("delay", [*LAWS, Weibull(scale=1.0, shape=0.5)], ids=repr)
def test_one_worker_has_no_choice(delay):
    choice = guaranteed(delay, 1, CONSTANTS, Target(0.5))
    assert (choice.k, choice.flat) == (1, (1,))
    assert math.isclose(choice.seconds, choice.updates * delay.mean)
    assert "k = 1" in str(choice)


def test_it_reads_well():
    choice = guaranteed(SHIFTED, 8, CONSTANTS, Target(0.2))
    text = str(choice)
    assert text.startswith(f"k = {choice.k}, max_staleness = ")
    assert "increasing hazard" in text
    assert f"{math.ceil(choice.updates)} updates" in text
    table = choice.alternatives()
    assert table.loc["this choice", "ratio"] == 1.0
    assert table["ratio"].min() > 0.99  # a difference within the error of a simulation decides nothing
    assert table.loc["synchronous", "k"] == 8
    assert (
        table.loc["K-sync: all restart", "objective"]
        == guaranteed_k(SHIFTED, 8, CONSTANTS, Target(0.2), max_staleness=0, k=range(1, 8)).seconds
    )
    columns = "k max_staleness step_size round_time mean_staleness messages updates seconds gradient_norm2 objective"
    assert set(choice.curve) >= set(columns.split())


@pytest.mark.parametrize(
    "goal, options, message",
    [
        (lambda: Target(0.0), {}, "error must be a finite number > 0"),
        (lambda: Budget(-1.0), {}, "seconds must be"),
        (lambda: Target(1.0, "speed"), {}, "objective must be one of time, communication"),
        (lambda: Target(1.0, model="guess"), {}, "model must be one of expected, bound"),
        (lambda: Target(1.0), {"k": 9}, r"k must be a whole number in 1\.\.n"),
        (lambda: Target(1.0), {"k": 0}, "k must be an integer >= 1"),
        (lambda: Target(1.0), {"k": []}, "k must not be empty"),
        (lambda: Target(1.0), {"max_staleness": 1.5}, "max_staleness must be a whole number"),
        (lambda: Target(1.0), {"max_staleness": "all"}, "max_staleness must be"),
        (lambda: Target(1.0), {"step_size": 0.0}, "step_size must be"),
        (lambda: Target(1.0), {"step_size": 2.0}, "step_size must be at most 0.5 for the model"),
        (
            lambda: Target(0.01),
            {"step_size": 0.5},
            "a target of 0.01 is below the noise floor .* the step must be below 0.01333",
        ),
        (lambda: Target(1.0), {"round_time": [1.0, 2.0]}, "round_time must be a function of k, or n=8"),
        (lambda: Target(1.0), {"round_time": lambda k: -1.0}, "round_time must be"),
        (lambda: Target(1.0), {"message_seconds": -1.0}, "message_seconds must be"),
        (lambda: Target(1.0, delta=1.0), {}, r"delta must be in \(0, 1\)"),
        (lambda: Target(1.0, gamma=0.5), {}, "gamma is an assumption of a bound"),
        (lambda: Target(1.0, model="bound", gamma=0.5), {}, "give max_staleness=None with it"),
        (lambda: Target(1.0, model="bound", gamma=1.5), {"max_staleness": None}, "gamma"),
        (lambda: Target(1.0), {"method": "guess"}, "method must be one of"),
        (lambda: Budget(1e-3), {}, "a budget must leave time for one update, 0.286"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_arguments_are_refused(goal, options, message):
    with pytest.raises(ValueError, match=message):
        guaranteed(LOGNORMAL, 8, CONSTANTS, goal(), **options)


def test_a_goal_is_an_object():
    with pytest.raises(ValueError, match=r"goal must be choose.Target\(error\) or choose.Budget\(seconds\), got 0.5"):
        choose.best(LOGNORMAL, 8, CONSTANTS, 0.5)  # pyright: ignore
    with pytest.raises(ValueError, match=r"search must be choose.Search"):
        choose.best(LOGNORMAL, 8, CONSTANTS, Target(0.5), {"k": 1})  # pyright: ignore


def test_best_k_is_best_with_one_threshold():
    for threshold in (None, 1):
        one = choose.best_k(LOGNORMAL, 6, CONSTANTS, Target(0.5), threshold)
        assert one.curve.equals(
            choose.best(LOGNORMAL, 6, CONSTANTS, Target(0.5), Search(max_staleness=threshold)).curve
        )


def test_what_is_remembered_cannot_be_changed():
    search = Search(k=[1, 2], max_staleness=[1])
    before = choose.best(LOGNORMAL, 8, CONSTANTS, Target(0.5), search).curve
    before["round_time"] = 0.0  # a copy
    after = choose.best(LOGNORMAL, 8, CONSTANTS, Target(0.5), search).curve
    assert (after["round_time"] > 0).all()
    state = choose.candidates._remembered_state(LOGNORMAL, (1, 2), 8, (1.0, 1.0), "auto")
    with pytest.raises(ValueError, match="read-only"):
        state.round_time[0] = 0.0


def test_other_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="constants must be Constants"):
        guaranteed(LOGNORMAL, 8, 3.0, Target(1.0))  # pyright: ignore
    with pytest.raises(ValueError, match="gap must be > 0"):
        guaranteed(LOGNORMAL, 8, Constants(L=1.0, sigma2=1.0, gap=0.0), Target(1.0))
    with pytest.raises(ValueError, match="infinitely long"):
        guaranteed(Pareto(minimum=1.0, index=0.9), 1, CONSTANTS, Target(1.0))
    with pytest.raises(ValueError, match="delay must be"):
        guaranteed("exponential", 8, CONSTANTS, Target(1.0))
