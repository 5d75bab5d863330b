"""Tasks that were restarted are longer than others: the plan of an ABS run finds the best k all the same."""

import numpy as np
import pytest

from abs_theory import order_stats, traces
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
    assert of_all == of_seen or answer.choice.open_above
    return answer.upper_loss, of_seen


@pytest.mark.parametrize(("n", "k"), [(8, 3), (20, 5)])
def test_k_of_a_run_with_restarts_is_that_of_the_law(n, k):
    stated, true = stated_and_true(LAWS["shifted exponential"], n, k, 2, 300, 1)
    assert true <= max(stated, 1e-3)
    assert true <= MOST_LOST


RUNS = [(n, k, threshold) for n, k in ((4, 2), (8, 3), (8, 5), (20, 5), (20, 12)) for threshold in (1, 2, 3)]


@pytest.mark.slow
@pytest.mark.parametrize("law", LAWS)
def test_stated_losses_hold_after_runs_with_restarts(law):
    """Runs of their own seeds, so that they are independent."""
    cases = [(*run, updates) for run in RUNS for updates in (100, 300, 300, 1000)]
    seeds = 1000 * (list(LAWS).index(law) + 1) + np.arange(len(cases))
    results = [stated_and_true(LAWS[law], *case, int(seed)) for case, seed in zip(cases, seeds, strict=True)]
    stated, true = np.array(results).T
    print(
        f"{law}: {np.mean(true <= np.maximum(stated, 1e-3)):.3f} hold, median {np.median(stated):.4f} stated",
        true.max(),
    )
    assert (
        np.mean(true <= np.maximum(stated, 1e-3))
        >= STATED - STANDARD_ERRORS * (STATED * (1 - STATED) / len(cases)) ** 0.5
    )
    assert np.median(stated) <= MOST_LOST, "the statement is useful"


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
