"""Tasks that were restarted are longer than others: the plan of an ABS run finds the best k all the same."""

import numpy as np
import pytest

from abs_theory import order_stats, traces
from abs_theory.bounds import Constants
from abs_theory.choose import Target, candidates
from abs_theory.delays import LogNormal, ShiftedExponential, Weibull
from abs_theory.plan import compare, completion, plan
from abs_theory.plan.effects import table
from simulations import live, protocols
from simulations.experiment import simulate
from simulations.problems import TimingOnly

LAWS = {
    "shifted exponential": ShiftedExponential(shift=0.5, scale=0.5),
    "lognormal .5": LogNormal(1.0, 0.5),
    "lognormal 1": LogNormal(1.0, 1.0),
    "Weibull .7": Weibull(scale=1.0, shape=0.7),
}
MOST_LOST = 0.03  # gradients per second
ENOUGH_UPDATES = 300  # of a run, so that no plan loses more
STATED = 0.95  # share of runs whose loss is at most the stated one
STANDARD_ERRORS = 2.0  # below which the share of runs may be by chance


def abs_trace(law, n, k, threshold, updates=300, seed=1):
    protocol = protocols.abs_sgd(k, threshold)
    run = simulate(protocol, TimingOnly(), law, n, step_size=1.0, num_updates=updates, seed=seed, jobs=True)
    return traces.from_frame(live.as_trace(*run))


def losses(answer, law):
    """Gradients per second lost to the best k, and to the best k of those that the trace identifies."""
    rate = np.array([k / order_stats.mean(law, k, answer.n) for k in range(1, answer.n + 1)])
    seen = answer.choice.largest if answer.choice.open_above else answer.n
    return [rate[:last].max() / rate[answer.k - 1] - 1 for last in (answer.n, seen)]


def stated_and_true(law, n, k, threshold, updates, seed):
    """The stated and the true loss of the plan of one run."""
    answer = plan(abs_trace(law, n, k, threshold, updates, seed))
    of_all, of_seen = losses(answer, law)
    if updates >= ENOUGH_UPDATES:
        assert of_seen <= MOST_LOST
        assert of_all <= MOST_LOST or answer.choice.open_above
    return answer.upper_loss, of_seen


def check_stated(stated, true):
    """The share of runs whose loss is at most the stated one is STATED, up to chance."""
    chance = STANDARD_ERRORS * (STATED * (1 - STATED) / len(true)) ** 0.5
    held = np.mean(true <= np.maximum(stated, 1e-3))
    print(f"{held:.3f} of {len(true)} hold; medians {np.median(stated):.4f} stated, {np.median(true):.4f} true")
    assert held >= STATED - chance


@pytest.mark.parametrize(("n", "k"), [(8, 3), (20, 5)])
def test_k_of_a_run_with_restarts_is_that_of_the_law(n, k):
    stated, true = stated_and_true(LAWS["shifted exponential"], n, k, 2, 300, 1)
    assert true <= max(stated, 1e-3)


RUNS = [(n, k, threshold) for n, k in ((4, 2), (8, 3), (8, 5), (20, 5), (20, 12)) for threshold in (1, 2, 3)]


@pytest.mark.slow
@pytest.mark.parametrize("law", LAWS)
def test_stated_losses_hold_after_runs_with_restarts(law):
    """Runs of their own seeds, so that they are independent."""
    cases = [(*run, updates) for run in RUNS for updates in (100, 300, 300, 1000)]
    seeds = 1000 * (list(LAWS).index(law) + 1) + np.arange(len(cases))
    results = [stated_and_true(LAWS[law], *case, int(seed)) for case, seed in zip(cases, seeds, strict=True)]
    stated, true = np.array(results).T
    check_stated(stated, true)
    assert np.median(stated) <= MOST_LOST, "the statement is useful"


CONSTANTS, TARGET = Constants(L=1.0, sigma2=1.0, gap=1.0), 0.05


def times_to_target(law, n, tried):
    """Seconds to the target by theory, for the settings that a plan tried."""
    cells = tried["k"].to_numpy(int), tried["max_staleness"].to_numpy(float)
    compared = candidates.rounds(law, n, cells, (None, 0.0), "fast", None)
    return candidates.outcomes(CONSTANTS, n, compared, None, Target(TARGET))["objective"].to_numpy(float)


def check_time_to_target(law, n, k, threshold, seed):
    """Predicted over true seconds of the choice; stated and true loss to the best setting that is identified."""
    answer = plan(abs_trace(law, n, k, threshold, 300, seed), constants=CONSTANTS, target=TARGET)
    tried = answer.setting.tried
    true = times_to_target(law, n, tried)
    chosen = (tried["k"] == answer.k) & (tried["max_staleness"] == answer.max_staleness)
    own = float(true[chosen][0])
    return float(tried["objective"][chosen].iloc[0]) / own, answer.upper_loss, own / np.nanmin(true) - 1, answer


def test_time_to_a_target_is_given_after_restarts():
    ratio, stated, true, answer = check_time_to_target(LAWS["lognormal .5"], 4, 2, 1, 1)
    assert ratio == pytest.approx(1, abs=0.1)
    assert true <= max(stated, 1e-3)
    assert answer.setting.hidden > 0
    assert answer.savings is None, "how long waiting for everybody takes is hidden"
    assert answer.setting.could_gain > 0
    assert not answer.identified
    assert "settings were left out, because restarts hide how long their rounds last" in str(answer)


def test_a_short_run_with_restarts_says_how_long_it_must_be():
    with pytest.raises(ValueError, match="needs 10 tasks of each worker, some have 3: trace a longer run"):
        plan(abs_trace(LAWS["lognormal .5"], 4, 2, 1, 6), constants=CONSTANTS, target=TARGET)


@pytest.mark.slow
@pytest.mark.parametrize("law", LAWS)
def test_times_to_a_target_hold_after_restarts(law):
    cases = [(4, 2, 1), (4, 2, 3), (8, 3, 1), (8, 3, 2), (8, 5, 3), (20, 5, 2)]
    seeds = 2000 + 100 * list(LAWS).index(law) + np.arange(len(cases))
    results = [check_time_to_target(LAWS[law], *case, int(seed)) for case, seed in zip(cases, seeds, strict=True)]
    ratio, stated, true = np.array([row[:3] for row in results]).T
    print(f"predicted over true time: {ratio.round(3)}")
    check_stated(stated, true)
    assert np.median(np.abs(ratio - 1)) <= 0.1


def test_what_restarts_hide_is_not_identified():
    answer = plan(abs_trace(LAWS["shifted exponential"], 8, 3, 1))
    assert answer.max_staleness is None
    assert answer.choice.largest < 8
    assert answer.curve["mean"].isna().tolist() == [k > answer.choice.largest for k in range(1, 9)]
    assert "restarts hide how late it is" in str(answer)
    assert "nothing arrived" not in str(answer), "tasks of a round in which nothing arrived ran in later ones"
    assert "The baseline is for comparison only" in str(answer)
    assert [line.split()[0] for line in str(answer).splitlines()[-8:]] == list("12345678"), "every k has its row"


def test_intervals_hold_the_truth_and_unequal_workers_have_their_own_laws():
    slow = [*[ShiftedExponential(shift=0.5, scale=0.5)] * 5, ShiftedExponential(shift=1.0, scale=1.0)]
    answer = plan(abs_trace(slow, 6, 2, 3, updates=600))
    truth = order_stats.means(slow, 6)
    known = answer.curve["mean"].notna().to_numpy()
    assert known[:4].all()
    np.testing.assert_allclose(answer.curve["mean"][known], truth[known], rtol=0.06)
    assert [row["worker"] for row in answer.slow_workers] == [5]


def test_restarted_tasks_are_drawn_above_their_restart():
    data = table(abs_trace(LAWS["lognormal .5"], 8, 3, 2))
    restarted = completion.complete_restarted(data, np.random.default_rng(0))
    late, least = restarted.late, restarted.least
    assert (late >= data.seconds - 1e-12).all()
    assert (late >= least).all()
    assert (late[:, data.observed] == data.seconds[data.observed]).all()
    assert np.quantile(late, 0.5) == pytest.approx(1.0, abs=0.04), "the median of the law"


def test_comparisons_say_what_restarts_hide():
    before, after = (abs_trace(LAWS["shifted exponential"], 8, 3, threshold) for threshold in (1, None))
    lines = compare(before, after).lines
    assert lines[0].startswith("Round time, waiting for everybody: not identified -> ")
    assert any(line.startswith("Mean delay: not identified -> ") for line in lines)
    assert "8 workers: no change beyond chance." in lines
