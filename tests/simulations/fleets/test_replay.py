"""A measured trace drives the run: what is replayed when, and what is refused."""

import gzip

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abs_theory import traces
from simulations.fleets import Scaled
from simulations.fleets.replay import Replay, from_trace

SECONDS = ((1.0, 2.0, 3.0), (4.0, 5.0, 6.0))  # rounds 10 and 13 of workers 2, 5 and 7
TABLE = pd.DataFrame(
    {
        "seconds": [6, 3, 1, 5, 4, 2],
        "round": [13, 10, 10, 13, 13, 10],
        "worker": [7, 7, 2, 5, 2, 5],
        "host": list("abcabc"),
    }
)


def changed(row, column, value):
    return TABLE.astype({column: object}).assign(**{column: lambda t: [*t[column][:row], value, *t[column][row + 1 :]]})


def test_the_jth_task_of_a_worker_takes_its_jth_row():
    first, second, third = Replay(SECONDS).times(0, 0)
    assert [first.step(time, 0) for time in (0.0, 0.5, 9.0, 9.0, 9.0)] == [1, 4, 1, 4, 1]  # begins again at the end
    assert [third.step(0.0, version) for version in (7, 7, 3)] == [3, 6, 3]
    assert second[1:] == (None, None, None)


def test_by_round_a_row_is_addressed_by_the_version():
    first, second, _ = Replay(SECONDS, by="round").times(0, 0)
    assert [first.step(0.0, version) for version in (0, 1, 1, 2, 5, 0)] == [1, 4, 4, 1, 4, 1]
    assert [second.step(0.0, version) for version in (1, 0)] == [5, 2]


def test_every_replicate_and_seed_sees_the_same_trace():
    fleet = Replay(SECONDS)
    for seed, replicate in (0, 0), (0, 1), (5, 0):
        assert [times.step(0.0, 0) for times in fleet.times(seed, replicate)] == [1, 2, 3]


def test_reading_a_table(tmp_path):
    fleet = Replay(SECONDS)
    assert from_trace(TABLE) == from_trace(TABLE, 3) == fleet == from_trace(TABLE.astype(str))
    assert from_trace(TABLE, 2) == Replay(((1.0, 2.0), (4.0, 5.0)))
    assert from_trace(TABLE, by="round") == Replay(SECONDS, by="round") != fleet
    TABLE.to_csv(tmp_path / "trace.csv", index=False)
    TABLE.to_csv(tmp_path / "trace.csv.gz", index=False)
    assert from_trace(tmp_path / "trace.csv") == from_trace(str(tmp_path / "trace.csv.gz")) == fleet


def test_a_mended_trace_is_replayed_too():
    clean = traces.from_frame(TABLE, warmup=0)
    assert from_trace(clean) == Replay(SECONDS)
    lost = traces.from_frame(changed(1, "seconds", np.nan), warmup=0)
    with pytest.raises(ValueError, match=r"only 1 of 2 rounds are complete; Replay\(trace\.complete\)"):
        from_trace(lost)
    assert Replay(lost.complete) == Replay(SECONDS[1:])


def test_a_replay_is_a_value_with_a_short_name():
    fleet = Replay(np.array(SECONDS))
    assert fleet == Replay(SECONDS)
    assert hash(fleet) == hash(Replay(SECONDS))
    assert repr(fleet) == repr(Replay([list(row) for row in SECONDS]))
    assert repr(fleet).startswith("Replay(<2 rounds of 3 workers, ")
    assert repr(fleet) != repr(Replay(((1.0, 2.0, 3.0), (4.0, 5.0, 6.5))))
    assert repr(Scaled(fleet, (1.0, 2.0, 3.0))).startswith("Scaled(fleet=Replay(<2 rounds")


@given(st.data())
def test_any_order_of_rows_is_the_same_trace(data):
    order = data.draw(st.permutations(range(len(TABLE))))
    assert from_trace(TABLE.iloc[order]) == Replay(SECONDS)


@pytest.mark.parametrize(("table", "message"), [
    (TABLE.drop(index=0), r"round 13 has 0 of worker 7: keep whole rounds only"),
    (pd.DataFrame({"round": range(10**5), "worker": range(10**5), "seconds": 1.0}), "round 0 has 0 of worker 1:"),
    (TABLE.drop(index=3), r"round 13 has 0 of worker 5: keep whole rounds only.*len\(rows\) == 3"),
    (pd.concat([TABLE, TABLE[:1]]), "round 13 has 2 of worker 7: choose one data set"),
    (TABLE.drop(columns="worker"), "must have .* round, worker, seconds, got columns seconds, round, host"),
    (TABLE.set_axis(["seconds", "round", "round", "worker"], axis=1), "must have rows with columns"),
    (TABLE[:0], "and 0 rows"),
    (changed(2, "seconds", np.nan), r"seconds must be finite numbers > 0, got nan in row 3 of the table"),
    (changed(2, "seconds", None), "seconds must be finite numbers > 0"),
    (changed(0, "seconds", 0.0), r"got 0\.0 in row 1"),
    (changed(5, "seconds", -1.0), r"got -1\.0 in row 6"),
    (changed(5, "seconds", np.inf), "got inf in row 6"),
    (changed(5, "seconds", "fast"), "got fast in row 6"),
    (changed(1, "round", 1.5), r"round must be whole numbers .*got 1\.5 in row 2"),
    (changed(1, "worker", "gpu-7"), "worker must be whole numbers .pandas.factorize.*got gpu-7"),
    (changed(1, "worker", np.nan), "worker must be whole numbers"),
])  # fmt: skip
def test_what_is_refused(table, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        from_trace(table)
    table.to_csv(tmp_path / "trace.csv", index=False)
    with pytest.raises(ValueError, match=r"trace\.csv|must have rows"):
        from_trace(tmp_path / "trace.csv")


def test_workers_must_have_been_measured():
    with pytest.raises(ValueError, match="has 3 workers, got n=4; run at most as many"):
        from_trace(TABLE, 4)
    with pytest.raises(ValueError, match="n must be an integer >= 1"):
        from_trace(TABLE, 0)


@pytest.mark.parametrize("seconds", [(), ((),), (1.0, 2.0), ((1.0, 2.0), (3.0,)), "fast", None, (("a", "b"),)])
def test_rows_must_have_equal_length(seconds):
    with pytest.raises(ValueError, match="seconds must be rows of equal length, one number per worker"):
        Replay(seconds)


def test_bad_arguments_of_a_replay():
    with pytest.raises(ValueError, match="got nan for worker 1 in row 0"):
        Replay(((1.0, np.nan),))
    with pytest.raises(ValueError, match="by must be one of task, round, got 'version'"):
        Replay(SECONDS, by="version")


@pytest.mark.parametrize("content", [
    b"", b"\n\n", b"round,worker,seconds\n", b"\x80\x81\xff\x00", b"round,worker,seconds\n1,0,1\n1,1,2,3,4\n", b"{}",
    b"round;worker;seconds\n0;0;1\n", b"round,worker,seconds\n0,0,1.0\n0,1,\n", b"round,worker,seconds\n0,0,1,7\n",
])  # fmt: skip
def test_a_foreign_file_is_refused_in_one_line(content, tmp_path):
    path = tmp_path / "trace.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"trace\.csv") as caught:
        from_trace(path)
    assert "\n" not in str(caught.value)


def test_half_an_archive_is_refused(tmp_path):
    path = tmp_path / "trace.csv.gz"
    path.write_bytes(gzip.compress(TABLE.to_csv(index=False).encode())[:40])
    with pytest.raises(ValueError, match="is no table of round, worker, seconds"):
        from_trace(path)
    with pytest.raises(FileNotFoundError):
        from_trace(tmp_path / "nothing.csv")
