"""Steady drifts: found with their size, told beside the decision, seldom found where nothing drifts."""

import json
import math

import numpy as np
import pytest
import synthetic_traces
from scipy import stats

from abs_theory import traces
from abs_theory.bounds import Constants
from abs_theory.plan import compare, plan, write
from abs_theory.plan.changes import changes
from abs_theory.plan.effects import RoundTable, effects
from abs_theory.plan.intervals import level_shift
from abs_theory.plan.trend import FALSE_ALARMS, LEAST_FACTOR, Trend, stretches, trend
from benchmarks import regimes


def trend_of(seconds, steps=(), first_round=0):
    table = RoundTable(seconds, np.isfinite(seconds), np.zeros(len(seconds), dtype=np.int64))
    logs = np.log(table.delivered / effects(seconds).worker)
    return trend(table, logs, list(steps), np.arange(len(seconds)) + first_round)


def delays(seed=0, num=200, n=8, sigma=0.3):
    return np.exp(sigma * np.random.default_rng(seed).standard_normal((num, n)))


def drifting(seed=0, num=200, n=8, sigma=0.3, factor=2.0):
    return delays(seed, num, n, sigma) * np.linspace(1, factor, num)[:, None]


@pytest.mark.parametrize("n", [1, 2, 8])
@pytest.mark.parametrize("factor", [2.0, 0.5])
def test_a_drift_is_found_with_its_size_and_the_last_rounds(n, factor):
    found = trend_of(drifting(n=n, factor=factor), first_round=1000)
    assert found.factor == pytest.approx(factor, rel=0.15)
    assert (found.row, found.round) == (150, 1150)
    assert found.words.startswith(f"delays {'grow' if factor > 1 else 'shrink'} steadily, by about ")


@pytest.mark.parametrize("sigma", [0.0, 0.001, 0.3])
def test_a_drift_may_be_bent(sigma):
    """Exponential growth is a line of logarithms; its bend is no correlation of rounds."""
    x = delays(sigma=sigma) * np.exp(np.linspace(0, 2, 200))[:, None]
    assert trend_of(x).factor == pytest.approx(math.exp(2), rel=0.1)
    assert trend_of(delays(sigma=max(sigma, 0.03)) * (1 + np.linspace(0, 1, 200)[:, None] ** 2)) is not None


def test_gaps_outliers_and_slow_workers_are_no_matter():
    x = drifting()
    x[:, 3] *= 5
    x[np.random.default_rng(1).random(x.shape) < 0.1] = np.nan
    x[40:50] = np.nan
    x[0, 0] = 1e9
    assert trend_of(x).factor == pytest.approx(2, rel=0.15)


def test_long_traces_are_judged_by_medians_of_rounds():
    assert trend_of(drifting(num=20_003, n=4)).factor == pytest.approx(2, rel=0.02)


def test_what_is_equal_short_or_small_does_not_drift():
    assert trend_of(np.ones((100, 4))) is None
    assert trend_of(drifting(num=5)) is None
    small = 1 + (LEAST_FACTOR - 1) / 2
    assert trend_of(drifting(sigma=0.001, factor=small)) is None, "a drift of 5 % is not told"


def test_the_test_is_that_of_kendall():
    """Without correlation, blocks last the square root of the rounds: 14 of 200, from the third one on."""
    for seed in range(40):
        x = delays(seed) * np.linspace(1, 1.2, 200)[:, None]
        levels = np.median(np.log(x / effects(x).worker), axis=1)
        blocks = np.median(levels[4:].reshape(14, 14), axis=1)
        clear = stats.kendalltau(np.arange(14), blocks).pvalue < FALSE_ALARMS
        assert clear or trend_of(x) is None


@pytest.mark.parametrize("at", [60, 100, 140])
def test_a_jump_is_a_change_and_no_drift(at):
    x = delays()
    x[at:] *= 1.8
    answer = plan(traces.from_frame(synthetic_traces.frame(x), warmup=0))
    assert [abs(change.row - at) <= 2 for change in answer.changes] == [True]
    assert answer.trend is None
    assert "steadily" not in str(answer)


@pytest.mark.parametrize("sigma", [0.01, 0.1, 0.3])
def test_a_drift_is_no_staircase(sigma):
    """Little noise lets a drift be cut into several levels, which are nearer to it than one, but not than a line."""
    x = drifting(sigma=sigma)
    table = RoundTable(x, np.isfinite(x), np.zeros(len(x), dtype=np.int64))
    found = changes(table, effects(x), tuple(range(8)), np.arange(len(x)))
    assert trend_of(x, [change.row for change in found]) is not None
    answer = plan(traces.from_frame(synthetic_traces.frame(x), warmup=0))
    assert (answer.changes, answer.trend is None) == ((), False)


def false_alarms(draw, num, repetitions):
    rng = np.random.default_rng(num)
    return np.mean([trend_of(draw(rng, num)) is not None for _ in range(repetitions)])


def slowdowns(persistence):
    return lambda rng, num: regimes.common_slowdowns(rng, num, persistence=persistence)


STATIONARY = {
    "almost iid": lambda rng, num: regimes.almost_iid(rng, num, sigma=0.5),
    "slow rounds, 0.5": slowdowns(0.5),
    "slow rounds, 0.9": slowdowns(0.9),
    "clustered stalls": regimes.clustered_stalls,
    "spells of stalls": regimes.spells_of_stalls,
}


@pytest.mark.parametrize("kind", STATIONARY)
def test_where_nothing_drifts_nothing_is_found(kind):
    """At a rate of 1 %, more than 3 of 60 happen once in 300; at 2 %, once in 30."""
    assert false_alarms(STATIONARY[kind], 100, 60) <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize("num", [30, 100, 300, 1000])
@pytest.mark.parametrize("kind", STATIONARY)
def test_false_alarms_have_about_their_rate(kind, num):
    """One in a hundred; up to three if spells of stalls last for many rounds."""
    share = false_alarms(STATIONARY[kind], num, 300)
    print(kind, num, share)
    assert share <= (0.05 if kind == "spells of stalls" else 0.03)


def test_a_plan_says_beside_the_decision_that_delays_drift_and_is_carried_all_the_same(tmp_path):
    x = drifting(num=200, n=8) * np.where(np.random.default_rng(3).random((200, 8)) < 0.02, 8.0, 1.0)
    answer = plan(traces.from_frame(synthetic_traces.frame(x), warmup=0))
    lines = str(answer).splitlines()
    assert lines[0].startswith("Wait for k = ")
    percents = round(100 * (answer.trend.factor - 1))
    told = f"delays grow steadily, by about {percents} % over the trace"
    since = f"{told}, and more rounds do not help; plan from the last rounds only: --since 150"
    assert lines[1].startswith(f"Doubt: {since} (they ask for k = ")
    assert f"All {told}, and rounds are otherwise independent" in str(answer)
    assert "clusters" not in str(answer)
    assert answer.k_since_change == plan(traces.from_frame(synthetic_traces.frame(x), warmup=0).since(150)).k
    data = json.loads(write(answer, tmp_path)[1].read_text())
    assert data["trend"] == {"factor": answer.trend.factor, "row": 150, "round": 150, "worker": None}
    assert data["worker_trends"] == []
    both = compare(traces.from_frame(synthetic_traces.frame(delays())), traces.from_frame(synthetic_traces.frame(x)))
    assert both.doubts == ((), (told,))


def test_stretches_are_equal_parts_with_little_of_the_drift():
    window = np.repeat([0, 1], [100, 100])
    cut = stretches(window, Trend(2.0, 150, 150))
    assert np.bincount(cut).tolist() == [25] * 8  # 1.1 to the power 8 is about 2
    assert np.bincount(stretches(window[:50], Trend(2.0, 30, 30))).tolist() == [25, 25]
    assert level_shift(np.log(drifting()).mean(axis=1), cut)
    assert stretches(window[:10], Trend(2.0, 0, 0)).tolist() == [0] * 10


def test_a_plan_for_a_target_says_by_what_the_last_rounds_ask_for_another_k():
    x = drifting(num=120, n=4)
    x[np.random.default_rng(0).random(x.shape) < 0.2] = np.nan
    frame = synthetic_traces.frame(x).dropna()
    answer = plan(traces.from_frame(frame, warmup=0), constants=Constants(L=1.0, sigma2=0.01, gap=1.0), target=0.05)
    drift, lacking = answer.doubts
    assert drift.endswith(f"(they ask for k = {answer.k_since_change} by gradients per second)")
    assert "if only the log lacks them, the choice by gradients per second is k = " in lacking
