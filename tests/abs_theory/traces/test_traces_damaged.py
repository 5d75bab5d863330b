"""Damaged files of every format are read, or refused in one line that names the file; never a traceback."""

import gzip
import json
import os
import stat
import time

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from damaged_traces import LONG, MUTANTS, WIDE
from pyarrow import parquet

from abs_theory.files import reading
from abs_theory.plan import plan
from abs_theory.traces import read

LONGEST_S = 10.0  # for one small file


def refusal(function, *arguments):
    """What ``function`` returns, or None and the message with which it refuses."""
    try:
        return function(*arguments), ""
    except UnicodeError:  # a ValueError, but its message says nothing about the file
        raise
    except (ValueError, OSError) as problem:
        return None, str(problem)


def check(kind, count, seed, path, plan_every):
    """Read ``count`` mutants and plan by some of those that are traces; warnings are errors."""
    rng = np.random.default_rng(seed)
    accepted = 0
    for number in range(count):
        path.write_bytes(MUTANTS[kind](rng))
        begin = time.perf_counter()
        try:
            trace, message = refusal(read, path)
            if trace is None:
                assert message.startswith(f"{path}: ")
                texts = [message]
            else:
                seconds = trace.attempts["seconds"].to_numpy()
                assert np.isfinite(seconds).all()
                assert (seconds > 0).all()
                texts = [*trace.report, trace.summary]
                if accepted % plan_every == 0:
                    answer, message = refusal(plan, trace)
                    texts += [message] if answer is None else answer.text.splitlines()
                accepted += 1
            assert all(len(text.splitlines()) == 1 and text.encode() for text in texts if text)
            assert time.perf_counter() - begin < LONGEST_S
        except Exception as problem:
            problem.add_note(f"mutant {number} of {kind}, seed {seed}")
            raise
    assert accepted > 0.1 * count  # or the mutants are too far from traces to reach what comes after the headers


@pytest.mark.parametrize("kind", MUTANTS)
def test_mutants_end_in_no_traceback(kind, tmp_path):
    check(kind, 40, 0, tmp_path / "trace", plan_every=20)


@pytest.mark.slow
@pytest.mark.parametrize("kind", MUTANTS)
def test_2000_mutants_end_in_no_traceback(kind, tmp_path):
    check(kind, 2000, 1, tmp_path / "trace", plan_every=20)


def test_lists_in_a_column_are_refused_if_it_is_used_and_left_alone_if_not(tmp_path):
    path = tmp_path / "trace.parquet"
    lists = [[1.0]] * 12
    WIDE.assign(**{"1": lists}).reset_index().to_parquet(path)
    with pytest.raises(ValueError, match=r"1 must hold one number or text in each row, got a ndarray$"):
        read(path)
    WIDE.assign(loss=lists).reset_index().to_parquet(path)
    assert read(path).n == 3
    WIDE.assign(dataset=lists).reset_index().to_parquet(path)
    with pytest.raises(ValueError, match=r"dataset must hold one number or text in each row, got a ndarray$"):
        read(path)


def test_a_name_twice_in_a_parquet_file_is_refused_whatever_the_columns_hold(tmp_path):
    path = tmp_path / "trace.parquet"
    clock = pa.array([1] * 36, pa.int64()).cast(pa.time64("us"))
    table = pa.table([clock, [0] * 36, [1.0] * 36], ["start", "start", "end"])
    parquet.write_table(table, path)
    with pytest.raises(ValueError, match="column names must differ, got start more than once"):
        read(path)


def test_infinite_cells_in_a_table_of_rounds_and_workers_warn_of_nothing(tmp_path):
    table = WIDE.reset_index()
    table.iloc[3:5, 1] = np.inf
    table.to_csv(tmp_path / "trace.csv", index=False)
    assert "36 delays" not in read(tmp_path / "trace.csv").summary


def test_halves_of_a_character_in_a_timeline_become_question_marks(tmp_path):
    path = tmp_path / "trace.json"
    tasks = [
        {"ph": "X", "ts": 9 * t, "dur": 5, "cat": "task", "name": "\ud800f", "pid": "\udcff", "tid": 1} for t in (1, 2)
    ]
    path.write_text(json.dumps(tasks))
    trace = read(path)
    assert trace.workers == ("? 1",)
    assert "tasks of a timeline: ?f" in trace.report


@pytest.mark.parametrize("value", [5e-324, 1e308])
def test_times_at_the_ends_of_the_range_of_floats_have_a_plan_or_are_refused(value, tmp_path):
    frame = LONG.copy()
    frame.loc[4, "seconds"] = value
    frame.to_csv(tmp_path / "trace.csv", index=False)
    trace = read(tmp_path / "trace.csv")
    assert "1 row left out, seconds must be a number > 0: impossible 1" in trace.report
    assert 1 <= plan(trace).k <= 3


def test_pipes_and_devices_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    for path in (tmp_path / "pipe.csv", tmp_path):
        with pytest.raises(ValueError, match="must be a regular file or a folder of such files, not a pipe, device"):
            read(path)
    assert stat.S_ISFIFO((tmp_path / "pipe.csv").stat().st_mode)
    with pytest.raises(ValueError, match="must be a regular file"):
        read("/dev/zero")


def test_a_file_that_unpacks_to_too_much_is_refused_by_its_size(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MOST_UNPACKED_BYTES", 2**20)
    packed = gzip.compress(b"round,worker,seconds\n" + b"0,0,1.000000000\n" * 200_000)
    assert len(packed) < 2**16
    (tmp_path / "trace.csv.gz").write_bytes(packed)
    (tmp_path / "trace.json.gz").write_bytes(gzip.compress(b"[" + b" " * 2**21 + b"]"))
    pd.DataFrame({"round": np.repeat(np.arange(10_000), 20), "worker": 0, "seconds": 1.0}).to_parquet(
        tmp_path / "trace.parquet", compression="zstd", use_dictionary=False
    )
    for name in ("trace.csv.gz", "trace.json.gz", "trace.parquet"):
        with pytest.raises(ValueError, match=r"the file must hold at most 0\.000977 GiB when it is unpacked"):
            read(tmp_path / name)
