"""When the fleet or a worker changed: found with its round, seldom found where nothing changes."""

import json

import numpy as np
import pandas as pd
import pytest
import synthetic_traces

from abs_theory import traces
from abs_theory.plan import plan, write
from abs_theory.plan.changes import changes, windows_between
from abs_theory.plan.effects import RoundTable, effects


def changes_of(seconds, first_round=0):
    table = RoundTable(seconds, np.isfinite(seconds), np.zeros(len(seconds), dtype=np.int64))
    numbers = np.arange(len(seconds)) + first_round
    return changes(table, effects(seconds), tuple(range(seconds.shape[1])), numbers)


def delays(seed, num=300, n=8, sigma=0.1):
    return np.exp(sigma * np.random.default_rng(seed).standard_normal((num, n)))


def test_a_worker_that_never_delivers_does_not_change():
    x = delays(0, num=60)
    x[:, 3] = np.nan
    assert changes_of(x) == ()


@pytest.mark.parametrize(("n", "sigma", "within"), [(3, 0.1, 0), (8, 0.1, 0), (8, 0.5, 4), (8, 1.0, 15)])
def test_a_worker_that_degrades_is_found_and_named_with_the_round(n, sigma, within):
    x = delays(0, n=n, sigma=sigma)
    x[150:, 1] *= 3
    (change,) = changes_of(x, first_round=1000)
    assert change.worker == 1
    assert abs(change.row - 150) <= within
    assert change.round == change.row + 1000
    assert change.after / change.before == pytest.approx(3, rel=0.1 + sigma / 4)


@pytest.mark.parametrize("n", [1, 2, 8])
def test_a_fleet_that_slows_down_is_found(n):
    x = delays(1, n=n, sigma=0.2)
    x[150:] *= 2
    (change,) = changes_of(x)
    assert change.worker is None
    assert abs(change.row - 150) <= 1
    assert (change.before, change.after) == pytest.approx((1, 2), rel=0.1)


def test_a_worker_that_recovers_has_two_changes():
    x = delays(2)
    x[100:180, 4] *= 2
    found = changes_of(x)
    assert [change.worker for change in found] == [4, 4]
    assert [change.row for change in found] == pytest.approx([100, 180], abs=1)


def test_of_two_workers_one_can_change():
    x = delays(3, n=2)
    x[60:, 1] *= 2
    assert [(change.worker, change.row) for change in changes_of(x)] == [(1, 60)]


def test_in_long_traces_the_round_is_found_to_the_round():
    x = delays(4, num=20_000, n=4)
    x[5003:] *= 2
    x[9010:, 2] *= 1.5
    assert [(change.worker, change.row) for change in changes_of(x)] == [(None, 5003), (2, 9010)]


def test_gaps_and_lost_calls_do_not_shift_the_round():
    x = delays(5)
    x[150:, 1] *= 3
    x[np.random.default_rng(0).random(x.shape) < 0.1] = np.nan
    x[:20, 1] = np.nan
    (change,) = changes_of(x)
    assert change.worker == 1
    assert abs(change.row - 150) <= 2


def test_small_changes_and_short_spells_are_not_told():
    x = delays(6, sigma=0.01)
    x[150:] *= 1.05
    x[200:210, 3] *= 5
    assert changes_of(x) == ()


def false_alarms(regime, num, repetitions):
    rng = np.random.default_rng(num)
    make = synthetic_traces.REGIMES[regime]
    return np.mean(
        [bool(changes_of(make(rng, num=num)["seconds"].to_numpy().reshape(num, 8))) for _ in range(repetitions)]
    )


@pytest.mark.parametrize("regime", ["almost iid", "unequal workers", "common slowdowns"])
def test_where_nothing_changes_nothing_is_found(regime):
    assert false_alarms(regime, 200, 10) <= 0.1


@pytest.mark.slow
@pytest.mark.parametrize("num", [40, 100, 300, 1000])
@pytest.mark.parametrize("regime", synthetic_traces.REGIMES)
def test_false_alarms_are_rare(regime, num):
    """One in a hundred if rounds are independent; one in eight if a worker stalls for ten rounds and more."""
    share = false_alarms(regime, num, 200)
    print(regime, num, share)
    assert share <= {"clustered stalls": 0.16, "common slowdowns": 0.06}.get(regime, 0.03)


def test_windows_end_at_changes():
    x = delays(7, num=60)
    x[30:] *= 2
    found = changes_of(x)
    window = np.repeat([0, 1], [20, 40])
    assert windows_between(window, found).tolist() == [0] * 20 + [1] * 10 + [2] * 30


def trace_with_names(seconds):
    frame = synthetic_traces.frame(seconds)
    return traces.from_frame(frame.assign(worker=frame["worker"].map(lambda worker: f"gpu-{worker}")), warmup=0)


def test_the_plan_tells_when_who_and_what_would_help():
    x = delays(8, n=4)
    x[150:, 2] *= 3
    answer = plan(trace_with_names(x))
    assert [(change.worker, change.round) for change in answer.changes] == [("gpu-2", 150)]
    assert "from round 150 on gpu-2 takes " in str(answer)
    assert answer.k_since_change == 3
    assert answer.identified, "intervals are for the levels before and after the change"
    repaired, left_out = answer.without_slow
    assert (repaired.repaired, repaired.n, repaired.k, repaired.workers) == (True, 4, 4, ("gpu-2",))
    assert (left_out.repaired, left_out.n, left_out.k) == (False, 3, 3)
    today = x.max(axis=1).mean() / 4
    x[150:, 2] /= 3
    assert repaired.savings.ratio == pytest.approx(x.max(axis=1).mean() / 4 / today, rel=0.03)
    assert left_out.savings.ratio == pytest.approx(np.delete(x, 2, axis=1).max(axis=1).mean() / 3 / today, rel=1e-6)
    assert repaired.savings.low <= repaired.savings.ratio <= repaired.savings.high
    assert "with gpu-2 left out, k = 3 of 3" in str(answer)
    assert "from round 150 on ask for the same k." in str(answer)
    assert "If the change lasts, plan from these rounds only: --since 150." in str(answer)


def test_a_plan_from_a_round_on_is_that_of_the_rounds_after_it():
    x = delays(8, n=4)
    x[150:, 2] *= 3
    frame = synthetic_traces.frame(x)
    trace = traces.from_frame(frame, warmup=0)
    since = trace.since(150)
    pd.testing.assert_frame_equal(since.attempts, traces.from_frame(frame[frame["round"] >= 150]).attempts)
    assert since.report == ("150 rounds before round 150 left out",)
    answer = plan(since)
    assert (answer.k, answer.k_since_change, answer.changes) == (3, None, ())
    with pytest.raises(ValueError, match="since must be at most the last round of the trace, 299, got since=300"):
        trace.since(300)
    with pytest.raises(ValueError, match="since must be the number of a round, got '150'"):
        trace.since("150")


def test_a_worker_that_left_before_is_not_in_the_trace_since_then():
    frame = synthetic_traces.frame(delays(8, num=60, n=4))
    frame = frame[(frame["worker"] != 1) | (frame["round"] < 20)]
    since = traces.from_frame(frame, warmup=0).since(20)
    assert since.workers == (0, 2, 3)
    assert plan(since).n == 3


def test_times_behind_a_barrier_are_suspected():
    rng = np.random.default_rng(9)
    common = np.exp(0.2 * rng.standard_normal((60, 1)))
    assert "behind a barrier" in str(plan(trace_with_names(common * delays(9, num=60, n=4, sigma=0.0003))))
    assert "behind a barrier" not in str(plan(trace_with_names(common * delays(9, num=60, n=4, sigma=0.05))))
    assert "behind a barrier" not in str(plan(trace_with_names(delays(9, num=60, n=4, sigma=0.0003))))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("n", [1, 2, 8])
def test_rounds_and_workers_without_deliveries_are_no_change(n):
    x = delays(10, num=60, n=n)
    x[20:30] = np.nan
    x[:50, 0] = np.nan
    assert changes_of(x) == ()


def test_the_plan_as_data_has_what_the_text_tells(tmp_path):
    x = delays(11, num=120, n=3)
    x[60:, 2] *= 3
    answer = plan(trace_with_names(x))
    data = json.loads(write(answer, tmp_path)[1].read_text())
    assert data["changes"][0]["worker"] == "gpu-2"
    assert data["changes"][0]["round"] == 60
    assert data["k_since_change"] == 2
    assert [case["repaired"] for case in data["without_slow_workers"]] == [True, False]
    assert data["upper_loss"] == pytest.approx(answer.upper_loss)
    assert data["further_rounds_needed"] == 0
