"""Every kind of bad input: a report of what was done, or a ValueError that says what to do."""

import gzip
import io

import numpy as np
import pandas as pd
import pytest
import synthetic_traces as synthetic
from hypothesis import given, settings
from hypothesis import strategies as st

from abs_theory.traces import from_frame, read

NEEDED = "a trace needs the columns round, worker, and seconds or start and end"


def good(num=20, n=4):
    return synthetic.almost_iid(np.random.default_rng(1), num=num, n=n)


def told(trace):
    return " | ".join(trace.report)


def with_seconds(rows):
    """The good trace, with these values of seconds in some rows."""
    frame = good().astype({"seconds": object})
    for row, value in rows.items():
        frame.loc[row, "seconds"] = value
    return frame


# --- values ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value, reason",
    [(0.0, "zero 1"), (-1.0, "negative 1"), ("-3", "negative 1"), ("fast", "text 1"), ("1.2 s", "text 1")],
)
def test_an_impossible_time_is_left_out(value, reason):
    trace = from_frame(with_seconds({5: value}))
    assert f"1 row left out, seconds must be a number > 0: {reason}" in told(trace)
    assert len(trace.attempts) == 79
    assert trace.attempts["observed"].all()
    assert 1 not in trace.complete.index


@pytest.mark.parametrize("value", [np.nan, np.inf, "", "nan", "inf", None])
def test_a_lost_call_is_censored_at_the_last_arrival_of_its_round(value):
    frame = with_seconds({5: value})
    trace = from_frame(frame)
    assert "1 call without a time (lost): censored at the last arrival of the round" in told(trace)
    lost = trace.attempts.iloc[5]
    assert not lost["observed"]
    assert lost["seconds"] == max(frame["seconds"][[4, 6, 7]])
    assert trace.k_waited_max == 3


def test_a_delivery_of_unknown_time_is_left_out():
    trace = from_frame(with_seconds({5: np.nan}).assign(status="ok"))
    assert "seconds must be a number > 0: none though the status is ok 1" in told(trace)
    assert len(trace.attempts) == 79


def test_nothing_usable_is_refused():
    with pytest.raises(
        ValueError, match=r"seconds must be numbers > 0, but 80 of 80 rows hold a number <= 0, such as 0\.0"
    ):
        from_frame(good().assign(seconds=0.0))
    with pytest.raises(ValueError, match=r"no attempt was delivered.*80 attempts not delivered \(80 failed\)"):
        from_frame(good().assign(status="failed"))


def test_missing_rounds_and_workers_are_counted():
    frame = good().astype({"round": object, "worker": object})
    frame.loc[3, "round"], frame.loc[9, "worker"] = None, None
    assert "2 rows without a round or a worker left out" in told(from_frame(frame))
    with pytest.raises(ValueError, match="no row names both a round and a worker"):
        from_frame(frame.assign(worker=None))


@pytest.mark.parametrize("value, shown", [("step-3", "'step-3' in 1 row"), (1.5, "1.5 in"), (2.0**60, "1.15")])
def test_a_round_is_a_whole_number(value, shown):
    frame = good().astype({"round": object})
    frame.loc[3, "round"] = value
    with pytest.raises(ValueError, match=rf"round must be a whole number below 2\*\*53, got {shown}"):
        from_frame(frame)


# --- attempts that did not arrive -----------------------------------------------------------------------------------


def test_failures_that_look_fastest_are_not_taken_for_fast():
    frame = good(40).assign(status="ok")
    failed = np.arange(0, 160, 7)
    frame.loc[failed, ["seconds", "status"]] = [0.01, "failed"]
    trace = from_frame(frame)
    assert "23 attempts not delivered (23 failed): censored at the time given up" in told(trace)
    assert "failures come early (median 0.01 s against" in told(trace)
    assert (trace.attempts.loc[failed, "seconds"] == 0.01).all()
    assert not trace.attempts.loc[failed, "observed"].any()
    assert trace.arrivals[1].min() > 0.5


def test_a_retry_delivers_after_the_time_of_the_failure():
    frame = good().assign(status="ok")
    again = frame.iloc[[5]].assign(seconds=0.25, status="failed")
    trace = from_frame(pd.concat([again, frame]))
    assert trace.complete.loc[1, 1] == pytest.approx(0.25 + frame["seconds"][5])
    assert trace.complete.shape == (20, 4)


def test_a_lost_call_with_an_answered_retry_tells_nothing():
    frame = good()
    trace = from_frame(pd.concat([frame, frame.iloc[[5]].assign(seconds=np.nan)]))
    assert "1 lost call left out as the worker delivered all the same" in told(trace)
    assert np.array_equal(trace.complete, from_frame(frame).complete)


def test_missing_rows_are_censored_not_dropped():
    trace = from_frame(good().drop(index=[5, 6, 30]))
    assert "3 attempts of 80 without a row: censored at the last arrival of the round" in told(trace)
    assert len(trace.attempts) == 80
    assert (~trace.attempts["observed"]).sum() == 3
    assert trace.k_waited_max == 2


def test_arrivals_only_are_censored_if_k_waited_says_so_and_not_asked_otherwise():
    frame = good(40, 8)
    first = frame[frame.groupby("round")["seconds"].rank() <= 3]
    told_k = from_frame(first.assign(k_waited=3))
    assert "200 attempts of 320 without a row: censored" in told(told_k)
    assert told_k.k_waited_max == 3
    assert len(told_k.attempts) == 320
    assert (told_k.attempts["k_waited"] == 3).all()
    untold = from_frame(first)
    assert "every round has 3 of 8 workers: the others are taken as not asked; if the server did not" in told(untold)
    uneven = from_frame(first.drop(index=first.index[0]))
    assert "201 of 320 rounds: taken as not asked; if the server did not wait for them, say so" in told(uneven)
    assert len(untold.attempts) == 120


def test_rounds_in_which_nothing_arrived_are_left_out():
    frame = good().assign(status="ok")
    frame.loc[frame["round"] == 7, "status"] = "cancelled"
    trace = from_frame(frame)
    assert "1 round in which nothing arrived left out" in told(trace)
    assert trace.rounds == 19


def test_fewer_arrivals_than_waited_for_are_noticed():
    frame = good().assign(k_waited=4).drop(index=[5, 9])
    assert "fewer arrived than k_waited says in 2 rounds" in told(from_frame(frame))


def test_workers_that_join_or_leave_are_named_and_not_filled_up():
    frame = good()
    frame = frame[~((frame["worker"] == 1) & (frame["round"] < 5)) & ~((frame["worker"] == 2) & (frame["round"] > 9))]
    trace = from_frame(frame)
    assert "1 worker joining after the first round: 1" in told(trace)
    assert "1 worker leaving before the last round: 2" in told(trace)
    assert len(trace.attempts) == 80 - 5 - 10
    assert list(trace.complete.index) == list(range(5, 10))


# --- rounds and repeats ---------------------------------------------------------------------------------------------


def test_gaps_and_sampled_windows():
    frame = good(60)
    sampled = frame[(frame["round"] % 2 == 0) & ~frame["round"].between(10, 49)]
    trace = from_frame(sampled)
    assert "round numbers have gaps: 10 of 59 rounds are there, in 2 windows" in told(trace)
    assert trace.attempts.groupby("window")["round"].agg(["min", "max"]).to_numpy().tolist() == [[0, 8], [50, 58]]
    with pytest.raises(ValueError, match="rounds must be rounds of the trace, which has 10; none of them was given"):
        trace.subset([1])


def test_row_order_is_not_time():
    frame = good()
    trace = from_frame(frame.sample(frac=1, random_state=3))
    assert "rows do not come in the order of rounds: sorted (row order is not time)" in told(trace)
    pd.testing.assert_frame_equal(trace.attempts, from_frame(frame).attempts)


def test_duplicates():
    frame = good(40)
    trace = from_frame(pd.concat([frame, frame.iloc[:3]]))
    assert "3 duplicate rows dropped" in told(trace)
    assert len(trace.attempts) == 160
    other = frame.iloc[[8]].assign(seconds=9.0)
    trace = from_frame(pd.concat([frame, other]))
    assert "1 row left out for contradicting an earlier one of the same round and worker" in told(trace)
    assert trace.complete.loc[2, 0] == frame["seconds"][8]
    with pytest.raises(ValueError, match=r"80 of 160 rows repeat a pair with other seconds: number rounds through"):
        from_frame(frame.assign(round=frame["round"] % 20))


def test_warm_up_rounds():
    frame = good(40)
    frame.loc[frame["round"] < 2, "seconds"] *= 5
    trace = from_frame(frame)
    assert "2 warm-up rounds left out that are slow for every worker (warmup=0 keeps them): up to round 1" in told(
        trace
    )
    assert trace.attempts["round"].min() == 2
    assert from_frame(frame, warmup=0).rounds == 40
    assert "10 warm-up rounds left out: up to round 9" in told(from_frame(frame, warmup=10))
    stalled = good(40)
    stalled.loc[:2, "seconds"] *= 50  # three workers of the first round, not all
    assert from_frame(stalled).rounds == 40
    with pytest.raises(ValueError, match="warmup must leave at least one of 40 rounds, got warmup=40"):
        from_frame(frame, warmup=40)
    with pytest.raises(ValueError, match='warmup must be "auto" or a number of rounds >= 0, got -1'):
        from_frame(frame, warmup=-1)


# --- little to learn from -------------------------------------------------------------------------------------------


def test_one_round_one_worker_and_equal_values_are_traces_all_the_same():
    assert "there is one round: nothing tells workers and rounds apart" in told(from_frame(good(1)))
    assert "there is one worker: no number to wait for can be chosen" in told(from_frame(good(9, 1)))
    equal = from_frame(good().assign(seconds=2.5))
    assert "all delays are equal (2.5 s): a coarse clock, or averages" in told(equal)
    single = from_frame(good(1, 1))
    assert (single.rounds, single.n, single.k_waited_max, single.complete.shape) == (1, 1, 1, (1, 1))


# --- units and clocks -----------------------------------------------------------------------------------------------


def test_units_convert_when_they_are_said():
    frame = good()
    expected = frame["seconds"].to_numpy()
    for unit, size in {"s": 1, "ms": 1e3, "us": 1e6, "\u00b5s": 1e6, "ns": 1e9}.items():
        scaled = frame.assign(seconds=frame["seconds"] * size)
        assert from_frame(scaled, unit=unit).attempts["seconds"].to_numpy() == pytest.approx(expected)
        assert from_frame(scaled.assign(unit=unit)).attempts["seconds"].to_numpy() == pytest.approx(expected)
    mixed = frame.assign(unit="s")
    mixed.loc[mixed["worker"] == 1, "unit"] = "ms"
    mixed.loc[mixed["worker"] == 1, "seconds"] *= 1e3
    trace = from_frame(mixed)
    assert trace.attempts["seconds"].to_numpy() == pytest.approx(expected)
    assert "rows have different units, each converted: 60 in s, 20 in ms" in told(trace)
    with pytest.raises(ValueError, match="unit must be one of s, ms, us, ns, got 'hours'"):
        from_frame(frame, unit="hours")
    with pytest.raises(ValueError, match=r"the column unit says ms, s, the argument 'ms': give only one"):
        from_frame(mixed, unit="ms")
    with pytest.raises(ValueError, match="unit must be given in every row, 1 row without"):
        from_frame(mixed.assign(unit=[None, *mixed["unit"][1:]]))


def test_jumps_of_a_thousand_are_told_and_never_rescaled():
    frame = good(40)
    worker = frame.assign(seconds=np.where(frame["worker"] == 2, 1000, 1) * frame["seconds"])
    assert "worker 2 takes 988 s where the median worker takes" in told(from_frame(worker))
    later = frame.assign(seconds=np.where(frame["round"] >= 30, 1000, 1) * frame["seconds"])
    assert "s at round 30: another unit? Nothing was rescaled, give a column unit" in told(from_frame(later))
    single = frame.assign(seconds=np.where(frame.index == 50, 1000, 1) * frame["seconds"])
    where = "worker 2 takes 1.03e+03 s in round 12 and 0.988 s usually"
    assert f"1 delay far off the worker's median: {where}; stalls, or another unit" in told(from_frame(single))
    all_of_them = frame.assign(seconds=frame["seconds"] * 1e6)
    assert "the median delay is 9.96e+05 s: if that is not seconds, give unit=" in told(from_frame(all_of_them))
    for each in (worker, later, single, all_of_them):
        assert np.array_equal(from_frame(each, warmup=0).attempts["seconds"], each["seconds"])
    assert not from_frame(synthetic.clustered_stalls(np.random.default_rng(0))).report


def timed(offsets=(0, 0, 0, 0), end_offset=0.0):
    """Rounds of two seconds; each worker's clock runs ``offsets`` ahead, the clock of the ends ``end_offset`` more."""
    frame = good(30)
    start = 2.0 * frame["round"] + np.asarray(offsets)[frame["worker"]]
    return frame.assign(start=start, end=start + frame["seconds"] + end_offset).drop(columns="seconds")


def test_start_and_end_of_one_clock_are_subtracted_whatever_its_origin():
    expected = good(30)["seconds"].to_numpy()
    assert from_frame(timed()).attempts["seconds"].to_numpy() == pytest.approx(expected)
    trace = from_frame(timed(offsets=(0, 3600, 7200, -50)))
    assert trace.attempts["seconds"].to_numpy() == pytest.approx(expected)
    assert "clocks of different origin; only end - start of the same row is used" in told(trace)
    assert not from_frame(timed()).report


def test_nanoseconds_since_1970_keep_their_digits():
    frame = good().astype({"seconds": object})
    start = 1_700_000_000_000_000_000 + 2_000_000_000 * frame["round"]
    frame = frame.assign(start=start, end=start + 1_000_000_000 + frame["worker"]).drop(columns="seconds")
    seconds = from_frame(frame, unit="ns").attempts["seconds"].to_numpy()
    assert seconds[:4] == pytest.approx(1 + 1e-9 * np.arange(4), abs=1e-12)


def test_dates_are_instants_too():
    frame = timed()
    origin = pd.Timestamp("2024-03-01T10:00:00Z")
    for name in ("start", "end"):
        frame[name] = [(origin + pd.Timedelta(seconds=value)).isoformat() for value in frame[name]]
    assert from_frame(frame).attempts["seconds"].to_numpy() == pytest.approx(good(30)["seconds"].to_numpy(), abs=1e-8)
    with pytest.raises(ValueError, match="start and end must be both numbers or both dates"):
        from_frame(frame.assign(start=1.0))


def test_differences_across_clocks_are_refused():
    one_clock = "start and end must be read from one clock"
    with pytest.raises(
        ValueError, match=rf"{one_clock}, but 100 % of the attempts of worker 0 and of 3 more workers end be"
    ):
        from_frame(timed(end_offset=-10))
    with pytest.raises(
        ValueError, match=rf"{one_clock}, but 100 % .* end after the worker's next one has started: give"
    ):
        from_frame(timed(end_offset=10))
    clocks = timed().assign(start_clock="server", end_clock=["worker"] * 5 + ["server"] * 115)
    with pytest.raises(ValueError, match=rf"{one_clock}; in 5 of 120 rows start_clock and end_clock differ"):
        from_frame(clocks)
    frame = timed()
    frame.loc[5, "end"] = frame.loc[5, "start"] - 1
    assert "1 row left out, seconds must be a number > 0: negative 1" in told(from_frame(frame))


# --- columns --------------------------------------------------------------------------------------------------------


def test_columns_that_are_missing_twice_or_unknown():
    with pytest.raises(
        ValueError, match=rf"{NEEDED}; seconds \(or start and end\) not found among round, worker, loss"
    ):
        from_frame(good().rename(columns={"seconds": "loss"}))
    with pytest.raises(ValueError, match="worker not found among round, colour, seconds"):
        from_frame(good().rename(columns={"worker": "colour"}))
    with pytest.raises(ValueError, match="column names must differ, got seconds more than once"):
        from_frame(good().assign(Seconds=1.0))
    with pytest.raises(ValueError, match=f"{NEEDED}, and rows; there are none below the header"):
        from_frame(good().iloc[:0])
    with pytest.raises(ValueError, match="a trace must be a pandas DataFrame, got list"):
        from_frame([1, 2])  # pyright: ignore
    with pytest.raises(
        ValueError, match="status must be one of ok, failed, cancelled, censored, not asked, got exploded"
    ):
        from_frame(good().assign(status="exploded"))
    trace = from_frame(good().rename(columns={"seconds": " Seconds"}).assign(note="x"))
    assert list(trace.attempts.columns) == ["round", "worker", "seconds", "observed", "window"]


def test_optional_columns_that_make_no_sense_are_not_used():
    frame = good().assign(k_waited=0, comm_s=-1.0, compute_s="many", version_read=3, version_applied=2)
    trace = from_frame(frame)
    for name in ("k_waited", "comm_s", "compute_s"):
        assert f"{name} is not used in 80 rows where its value is impossible" in told(trace)
        assert trace.attempts[name].isna().all()
    assert "80 rows applied before the version read: both versions left out" in told(trace)


def test_one_data_set_has_to_be_chosen():
    both = pd.concat([good().assign(dataset="a"), good(30).assign(dataset="b")])
    with pytest.raises(ValueError, match=r"choose one data set with dataset=\.\.\., there are a, b"):
        from_frame(both)
    with pytest.raises(ValueError, match="no data set named 'c'; there are a, b"):
        from_frame(both, dataset="c")
    with pytest.raises(ValueError, match="dataset='c' was asked for, but there is no column named dataset"):
        from_frame(good(), dataset="c")
    assert from_frame(both, dataset="b").rounds == 30
    assert from_frame(both[both["dataset"] == "a"]).rounds == 20


# --- files ----------------------------------------------------------------------------------------------------------

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
LONG = good().to_csv(index=False).encode()


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "the file is empty"),
        (b" \n\n", "is empty"),
        (b"round,worker,seconds\n", "there are none below the header"),
        (PNG, "is binary and not Parquet: a trace is a CSV, Parquet or JSON file"),
        (b"<!DOCTYPE html><html><body>404", "is an HTML or XML page, not a trace: was it saved from a browser"),
        (
            b"PK\x03\x04rest of a spreadsheet",
            "the file is a zip archive or a spreadsheet: unpack it, or save it as CSV",
        ),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "is only a pointer to a file kept by Git LFS"),
        (b"# a run\nn = 8\n\n[protocol]\n", "the file is TOML, which describes a run"),
        (b"PAR1 but no more", "is cut short or damaged"),
        (gzip.compress(LONG)[:-40], "is cut short or damaged"),
        (b"\x1f\x8b", "is cut short or damaged"),
        (b'{"traceEvents": [{"ph": "X"', "is cut short or not JSON"),
        (b'{"answer": 42}', "JSON must be a timeline"),
        (b'{"traceEvents": []}', "there are no complete events"),
        (b"[" * 100_000, "is cut short or not JSON"),
        (b"[1, 2, 3]", "there are no complete events"),
        (b'{"round": 0, "worker": 0, "seconds": 1}\n{"round"\n{"round": 1}\n', "line 2 is cut short or not JSON"),
        (b'{"round": 0, "worker": 0, "seconds": 1}\n[1, 2, 3]\n{"round": 1}\n', "line 2 holds no record {...}"),
        (b"Dear colleague,\nhere are the times.\n", "and no number in Dear colleague"),
        (b"name,city\nAnn,Rome\nBob,Oslo\n", "and no number in name"),
        (b"0.9,1.1,1.3\n1,1,1\n", "the first line must name the columns, but is '0.9, 1.1, 1.3'; a trace needs"),
        (b"round,worker,worker\n1,2,3\n", "the first line must name each column once, got 'worker' more than once"),
        (b"round,worker,seconds\n0,0,1\n0,1,1,7\n", "there must be as many fields in every line as in the first"),
        (b"round,worker,seconds\n0,0,1,7\n0,1,1\n", "as in the first: the line below it has more"),
        (b"round,worker\n0,0,1\n0,1,1\n", "the header is too short: the first line, 'round, worker', must name 3 col"),
        (b"round,worker,seconds\n0,M\x81ller,1\n", "the file must be text in UTF-8"),
        (b"round,worker,loss\n0,0,1\n", r"seconds \(or start and end\) not found among round, worker, loss"),
    ],
    ids=range(27),
)
def test_foreign_empty_and_damaged_files(content, message, tmp_path):
    path = tmp_path / "trace.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("line_break", ["\n", "\r", "\x0b", "\x0c", "\x1c", "\x1d", "\x85", "\u2028"])
def test_a_line_break_in_a_name_makes_no_message_of_two_lines(line_break):
    name = f"gpu{line_break}0"
    with pytest.raises(ValueError, match="not found among") as caught:
        from_frame(good().rename(columns={"seconds": name}))
    assert len(str(caught.value).splitlines()) == 1
    leaving = good().assign(worker=good()["worker"].map({0: name, 1: "b", 2: "c", 3: "d"}))
    report = from_frame(leaving[(leaving["worker"] != name) | (leaving["round"] < 10)]).report
    assert any("leaving before the last round: gpu 0" in sentence for sentence in report)
    assert all(len(sentence.splitlines()) == 1 for sentence in report)


def test_a_last_line_that_is_cut_short_is_left_out(tmp_path):
    lines = pd.read_csv(io.BytesIO(LONG)).to_json(orient="records", lines=True).encode()
    for name, content in (("trace.csv", LONG[: LONG.rstrip().rindex(b",") + 1]), ("trace.jsonl", lines[:-5])):
        path = tmp_path / name
        path.write_bytes(content)
        trace = read(path)
        assert "the last line is cut short: left out" in told(trace)
        assert trace.attempts["observed"].sum() == 79


def test_lines_with_too_many_fields_are_named_as_an_editor_shows_them(tmp_path):
    path = tmp_path / "trace.csv"
    path.write_text("round,worker,seconds\n0,0,1.0\n\n\n0,1,1.0,5\n1,0,1\n1,1,1\n")
    with pytest.raises(ValueError, match="as many fields in every line as in the first: line 5 has 4, not 3"):
        read(path)
    path.write_text('round,worker,seconds\n0,0,1.0\n\n0,1,1.0\n1,0,1\n1,1,"1\n')
    with pytest.raises(ValueError, match="a quote in line 6 is not closed"):
        read(path)


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "nowhere.csv")
    with pytest.raises(ValueError, match=r"must hold files named \*\.csv, .*, there are none"):
        read(tmp_path)
    with pytest.raises(
        ValueError,
        match="no format 'xml'; format must be one of long, wide, parquet, xlsx, kineto, chrome, json or None",
    ):
        read(tmp_path, format="xml")


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused_in_one_line(data, tmp_path_factory):
    content = bytearray(LONG[:400])
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 30))] = data.draw(st.binary(max_size=6))
    path = tmp_path_factory.mktemp("damaged") / "trace.csv"
    path.write_bytes(bytes(content))
    refused, trace = None, None
    try:
        trace = read(path)
    except ValueError as problem:
        refused = str(problem)
    if trace is None:
        assert refused is not None
        assert refused.startswith(f"{path}: ")
        assert len(refused.splitlines()) == 1
    else:
        assert np.isfinite(trace.attempts["seconds"]).all()
        assert (trace.attempts["seconds"] > 0).all()
        assert trace.attempts["observed"].any()


def test_numbers_that_stand_for_failure_are_left_out_of_a_few_rows_only():
    frame = good()
    few, many = frame["seconds"].copy(), frame["seconds"].copy()
    few.iloc[[3, 30]] = -1
    many.iloc[::9] = -1
    assert "2 rows left out, seconds must be a number > 0: negative 2" in from_frame(frame.assign(seconds=few)).report
    with pytest.raises(
        ValueError, match=r"of 80 rows hold a number <= 0, such as -1\.0: mend it, or leave the cell empty"
    ):
        from_frame(frame.assign(seconds=many))


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_counts_since_1970_without_a_unit_are_a_question(unit):
    frame = good()
    scale = {"ms": 1e3, "us": 1e6, "ns": 1e9}[unit]
    start = 1_741_082_400 + 10 * frame["round"]
    times = frame.drop(columns="seconds").assign(
        start=(scale * start).astype("int64"),
        end=(scale * start).astype("int64") + (scale * frame["seconds"]).astype(int),
    )
    with pytest.raises(ValueError, match=f"may count {unit} since 1970 .say unit={unit}., or seconds of another clock"):
        from_frame(times)
    right = from_frame(frame).complete.to_numpy()
    assert from_frame(times, unit=unit).complete.to_numpy() == pytest.approx(right, abs=2 / scale)
