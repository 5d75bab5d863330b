"""Steady drifts of single workers: told as theirs, not as a drift of all, and seldom found where nothing drifts."""

import json

import numpy as np
import pytest
import synthetic_traces

from abs_theory import traces
from abs_theory.plan import compare, plan, write
from abs_theory.plan.changes import changes
from abs_theory.plan.effects import RoundTable, effects
from abs_theory.plan.trend import doubt, trends
from benchmarks import regimes

STATIONARY = {
    "almost iid": lambda rng, num: regimes.almost_iid(rng, num, sigma=0.5),
    "slow rounds": lambda rng, num: regimes.common_slowdowns(rng, num, persistence=0.9),
    "clustered stalls": regimes.clustered_stalls,
    "spells of stalls": regimes.spells_of_stalls,
}


def delays(seed=0, num=200, n=8, sigma=0.3):
    return np.exp(sigma * np.random.default_rng(seed).standard_normal((num, n)))


def trends_of(seconds):
    table = RoundTable(seconds, np.isfinite(seconds), np.zeros(len(seconds), dtype=np.int64))
    parts, names, numbers = effects(seconds), tuple(range(seconds.shape[1])), np.arange(len(seconds))
    return trends(table, parts, changes(table, parts, names, numbers), names, numbers)


def drifting(factors, seed=0, num=200, n=6, sigma=0.15):
    x = delays(seed, num, n, sigma)
    for worker, factor in factors.items():
        x[:, worker] *= np.linspace(1, factor, num)
    return x


@pytest.mark.parametrize("factors", [{2: 2.0}, {2: 0.4}, {0: 2.0, 4: 3.0}, {0: 2.0, 4: 0.5}, {1: 8.0}])
@pytest.mark.parametrize("n", [5, 12])
def test_a_drift_of_a_worker_is_its_own(factors, n):
    fleet, alone = trends_of(drifting(factors, n=n))
    assert fleet is None
    assert {drift.worker: drift.factor for drift in alone} == pytest.approx(factors, rel=0.25)
    assert [drift.row for drift in alone] == [150] * len(factors)


def test_a_drift_of_all_is_of_no_worker_and_one_beside_it_is_told_too():
    ramp = np.linspace(1, 2, 200)[:, None]
    fleet, alone = trends_of(delays(n=6) * ramp)
    assert fleet is not None
    assert (fleet.factor, alone) == (pytest.approx(2, rel=0.15), ())
    fleet, alone = trends_of(drifting({2: 3.0}) * ramp)
    assert fleet is not None
    assert fleet.factor == pytest.approx(2, rel=0.2)
    assert [(drift.worker, drift.factor) for drift in alone] == [(2, pytest.approx(3, rel=0.25))]


@pytest.mark.parametrize(("factors", "whole", "single"), [({0: 2.0, 1: 2.0}, True, []), ({1: 2.0}, False, [1])])
def test_of_two_workers_one_drifts_or_both(factors, whole, single):
    fleet, alone = trends_of(drifting(factors, n=2))
    assert (fleet is not None, [drift.worker for drift in alone]) == (whole, single)


@pytest.mark.parametrize("factor", [1.5, 2.0, 3.0])
def test_a_jump_of_one_worker_is_no_drift_of_all(factor):
    """With six workers it moves the median of the rounds, which said that all delays grow steadily."""
    x = np.exp(0.5 * np.random.default_rng(2).standard_normal((400, 6))) + 0.3
    x[200:, 2] *= factor
    answer = plan(traces.from_frame(synthetic_traces.frame(x), warmup=0))
    assert [(change.worker, abs(change.row - 200) <= 5) for change in answer.changes] == [(2, True)]
    assert (answer.trend, answer.worker_trends, answer.doubts) == (None, (), ())


def test_a_plan_says_beside_the_decision_which_worker_drifts(tmp_path):
    frame = synthetic_traces.frame(drifting({2: 2.0}))
    answer = plan(traces.from_frame(frame, warmup=0))
    (drift,) = answer.worker_trends
    told = f"delays of worker 2 grow steadily, by about {100 * (drift.factor - 1):.0f} % over the trace"
    since = f"{told}, and more rounds do not help; plan from the last rounds only: --since 150"
    assert answer.doubts == (f"{since} (they ask for k = {answer.k_since_change})",)
    assert f"Doubt: {since}"[:60] in str(answer)
    assert (answer.trend, answer.changes) == (None, ())
    data = json.loads(write(answer, tmp_path)[1].read_text())
    assert data["worker_trends"] == [{"factor": drift.factor, "row": 150, "round": 150, "worker": 2}]
    both = compare(traces.from_frame(synthetic_traces.frame(delays(n=6))), traces.from_frame(frame))
    assert both.doubts == ((), (told,))


def test_many_drifts_are_counted():
    _, alone = trends_of(drifting(dict.fromkeys(range(5), 3.0), n=16))
    assert len(alone) == 5
    assert "and those of 1 more workers drift, and more rounds" in doubt(alone)


def false_alarms(draw, num, repetitions):
    rng = np.random.default_rng(num)
    return np.mean([bool(trends_of(draw(rng, num))[1]) for _ in range(repetitions)])


@pytest.mark.parametrize("kind", STATIONARY)
def test_where_no_worker_drifts_none_is_found(kind):
    assert false_alarms(STATIONARY[kind], 100, 40) <= 0.06


@pytest.mark.slow
@pytest.mark.parametrize("num", [30, 100, 300, 1000])
@pytest.mark.parametrize("kind", STATIONARY)
def test_false_alarms_of_workers_have_about_their_rate(kind, num):
    share = false_alarms(STATIONARY[kind], num, 200)
    print(kind, num, share)
    assert share <= 0.04
