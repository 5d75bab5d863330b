"""Damaged files of every format are read, or refused in one line that names the file; never a traceback."""

import gzip
import json
import os
import stat

import numpy as np
import pandas as pd
import pytest
import synthetic_traces as synthetic

from abs_theory.plan import plan
from abs_theory.traces import files, read

LONG = synthetic.almost_iid(np.random.default_rng(6), num=12, n=3)
ODD_VALUES = [
    None, True, -1, 0, 1e308, 5e-324, 10**400, float("nan"), float("inf"), "", "x", "1,5", [], [1], {}, {"a": 1}, 2**63,
    "\x85", "\u2028", -(10**400), "ProfilerStep#1", "driver", 1.5, [[]],
]  # fmt: skip


def ok(path, **options):
    """Read ``path``; True if it was a trace, False if it was refused as it should be."""
    message = None
    try:
        trace = read(path, **options)
    except ValueError as problem:
        message = str(problem)
    if message is not None:
        assert message.startswith(str(path)), message
        assert len(message.splitlines()) == 1
        return False
    seconds = trace.attempts["seconds"].to_numpy()
    assert np.isfinite(seconds).all()
    assert (seconds > 0).all()
    assert all(len(sentence.splitlines()) == 1 for sentence in (*trace.report, trace.summary))
    return True


def timeline(kind):
    events = []
    for worker in range(2):
        for step in range(4):
            common = {"ph": "X", "ts": 3e6 * step, "dur": 1e6, "pid": worker, "tid": f"worker:{worker}"}
            if kind == "ray":
                events.append({**common, "name": "task::f", "cat": "task::f", "args": {"func_or_class_name": "f"}})
            else:
                events.append({**common, "name": f"ProfilerStep#{step}", "cat": "user_annotation", "args": {}})
                events.append({**common, "name": "ncclAllReduce", "cat": "kernel", "dur": 4e5, "args": {"step": step}})
    events.append({"ph": "M", "name": "thread_name", "pid": 0, "tid": "worker:0", "args": {"name": "worker:0"}})
    return {"traceEvents": events, "distributedInfo": {"rank": 0}}


def mutate(document, rng):
    """Replace, drop or add one value somewhere in a JSON document."""
    here = document
    while True:
        keys = list(here) if isinstance(here, dict) else list(range(len(here)))
        if not keys:
            return
        key = keys[rng.integers(len(keys))]
        if isinstance(here[key], dict | list) and rng.random() < 0.8:
            here = here[key]
            continue
        if rng.random() < 0.2:
            del here[key]
        else:
            here[key] = ODD_VALUES[rng.integers(len(ODD_VALUES))]
        return


def check_json(count, seed, tmp_path):
    rng = np.random.default_rng(seed)
    path = tmp_path / "trace.json"
    for _ in range(count):
        document = timeline("ray" if rng.random() < 0.5 else "kineto")
        for _ in range(rng.integers(1, 5)):
            mutate(document, rng)
        text = json.dumps(document)
        if rng.random() < 0.2:
            place = rng.integers(len(text))
            text = text[:place] + text[place + rng.integers(20) :]
        path.write_text(text)
        ok(path)


def bytes_mutated(content, rng):
    content = bytearray(content)
    for _ in range(rng.integers(1, 8)):
        place = int(rng.integers(len(content)))
        content[place : place + int(rng.integers(0, 12))] = rng.integers(
            0, 256, rng.integers(0, 8), dtype=np.uint8
        ).tobytes()
    return bytes(content)


def check_parquet(count, seed, tmp_path):
    rng = np.random.default_rng(seed)
    path = tmp_path / "trace.parquet"
    LONG.assign(status="ok").set_index("round").to_parquet(path)
    whole = path.read_bytes()
    for _ in range(count):
        if rng.random() < 0.5:
            path.write_bytes(bytes_mutated(whole, rng))
        else:
            frame = LONG.assign(status="ok").astype({"seconds": object, "worker": object})
            column = ["round", "worker", "seconds", "status"][rng.integers(4)]
            odd = [
                [1.0],
                [],
                {"a": 1.0},
                b"x",
                True,
                2**62,
                pd.Timestamp(0),
                pd.Timedelta(5),
                1e308,
                5e-324,
                "\u2028",
                -1,
            ]
            value = odd[rng.integers(len(odd))]
            frame[column] = pd.Series([value] * len(frame), dtype=object)
            frame.to_parquet(path)
        ok(path)


def check_csv(count, seed, tmp_path):
    rng = np.random.default_rng(seed)
    path = tmp_path / "trace.csv"
    sources = [LONG.to_csv(index=False), LONG.pivot(index="round", columns="worker", values="seconds").to_csv(sep=";")]
    sources.append(LONG.assign(start=LONG["round"], end=LONG["round"] + 1).drop(columns="seconds").to_csv(index=False))
    odd = [
        "",
        "1e308",
        "5e-324",
        "9" * 400,
        "nan",
        "inf",
        "1,5",
        "1.299,5",
        '"',
        "\x85",
        "\u2028",
        "timeout",
        "-",
        "[1]",
    ]
    for _ in range(count):
        content = sources[rng.integers(len(sources))].encode()
        if rng.random() < 0.5:
            content = bytes_mutated(content, rng)
        else:
            lines = content.decode().splitlines()
            for _ in range(rng.integers(1, 5)):
                line = int(rng.integers(len(lines)))
                cells = lines[line].split(",")
                cells[rng.integers(len(cells))] = odd[rng.integers(len(odd))]
                lines[line] = ",".join(cells)
            content = "\n".join(lines).encode()
        path.write_bytes(content)
        ok(path)


CHECKS = {"json": check_json, "parquet": check_parquet, "csv": check_csv}


@pytest.mark.parametrize("kind", CHECKS)
def test_mutants_end_in_no_traceback(kind, tmp_path):
    CHECKS[kind](60, 0, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", CHECKS)
def test_2000_mutants_end_in_no_traceback(kind, tmp_path):
    CHECKS[kind](2000, 1, tmp_path)


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
    monkeypatch.setattr(files, "MOST_UNPACKED_BYTES", 2**20)
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
