"""Mutants of small traces of every format: the content of a file, from a generator.

Each has one to four faults: values of other kinds or sizes, keys and columns twice or not at all, flipped, added or
missing bytes, a cut, another encoding, and damaged metadata.
"""

import copy
import io
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import synthetic_traces as synthetic
from pyarrow import parquet

LONG = synthetic.almost_iid(np.random.default_rng(6), num=12, n=3)
TIMES = LONG.assign(start=2 * LONG["round"], end=2 * LONG["round"] + LONG["seconds"]).drop(columns="seconds")
WIDE = LONG.pivot(index="round", columns="worker", values="seconds").rename(columns=str)
NESTED = "deeply nested lists"  # in their place
VALUES = [
    None, True, -1, 0, 1e308, 5e-324, 10**400, -(10**400), 2**63, 2**64, float("nan"), float("inf"), "", "x", "1,5",
    "nan", [], [1], [[]], [[1.0], [2.0]], {}, {"a": 1}, ["name", 3], 1.5, "\x85", "\u2028", "\ud800", "\0", "a\nb",
    "9" * 400, "ProfilerStep#1", "ProfilerStep#" + "9" * 30, "driver", "1e999", "timeout", "2024-03-31", "23:59:61",
    "-", NESTED,
]  # fmt: skip
TEXTS = [value for value in VALUES if isinstance(value, str)] + [
    "1e308", "5e-324", "-1", "inf", "1.299,5", '"', "'", "[1]", "{}", "1 000", "12:30", "1:02:03",
    "03/31/2024 10:00:00", "2024-03-31T10:00:00Z", "9999-12-31", "ms", "not asked", "18446744073709551616", "True",
    "=1+1", "\xa0", "\ufeff",
]  # fmt: skip
CELLS = [
    [1.0], [], [[1.0], []], {"a": 1.0}, b"x", b"\xff", True, None, 2**62, 2**63, -1, 0, 1e308, 5e-324, float("nan"),
    "", "\u2028", "a\nb", "timeout", "1,5", "9" * 400, pd.Timestamp(0), pd.Timestamp("2100-01-01", tz="UTC"),
    pd.Timedelta(5), pd.Timestamp(0).date(), pd.Timestamp(0).time(),
]  # fmt: skip
ARROW_TYPES = [
    pa.float16(), pa.float32(), pa.decimal128(38, 10), pa.dictionary(pa.int32(), pa.string()), pa.null(),
    pa.duration("ns"), pa.time64("ns"), pa.date64(), pa.large_string(), pa.uint64(), pa.list_(pa.int64()),
]  # fmt: skip
ENCODINGS = ["utf-16", "utf-16-be", "utf-32", "latin-1", "cp1252", "cp037", "utf-7"]


def choose(rng, values):
    return values[rng.integers(len(values))]


def timeline(rng):
    """Two workers and four rounds, as PyTorch or Ray writes them."""
    events, by_pytorch = [], rng.random() < 0.5
    for worker in range(2):
        for step in range(4):
            dur = 1e6 + 1e5 * rng.random()
            common = {"ph": "X", "ts": 3e6 * step, "dur": dur, "pid": worker, "tid": f"worker:{worker}"}
            if by_pytorch:
                events.append({**common, "name": f"ProfilerStep#{step}", "cat": "user_annotation", "args": {}})
                events.append({**common, "name": "ncclAllReduce", "cat": "kernel", "dur": 4e5, "args": {"step": step}})
            else:
                arguments = {"func_or_class_name": "f", "round": step}
                events.append({**common, "name": "task::f", "cat": "task::f", "args": arguments})
    events.append({"ph": "M", "name": "thread_name", "pid": 0, "tid": "worker:0", "args": {"name": "worker:0"}})
    return {"traceEvents": events, "distributedInfo": {"rank": 0}} if rng.random() < 0.7 else events


def with_other_value(document, rng):
    """Replace or drop one value somewhere in a JSON document, or put it in twice."""
    here = document
    while here:
        key = choose(rng, list(here) if isinstance(here, dict) else range(len(here)))
        if isinstance(here[key], dict | list) and rng.random() < 0.8:
            here = here[key]
            continue
        kind = rng.random()
        if kind < 0.2:
            del here[key]
        elif kind < 0.3 and isinstance(here, list):
            here.append(copy.deepcopy(here[key]))
        elif kind < 0.4 and isinstance(here, dict):
            events = document.get("traceEvents", []) if isinstance(document, dict) else document
            for other in events if isinstance(events, list) else []:
                if isinstance(other, dict) and key in other:  # the same odd kind in every event
                    other[key] = copy.deepcopy(choose(rng, VALUES))
        else:
            here[key] = copy.deepcopy(choose(rng, VALUES))
        return


def spans():
    """The rows as spans of OpenTelemetry."""
    told = []
    for row in LONG.to_dict("records"):
        numbers = [{"key": name, "value": {"intValue": str(row[name])}} for name in ("round", "worker")]
        times = {"startTimeUnixNano": str(10**18), "endTimeUnixNano": str(10**18 + round(1e9 * row["seconds"]))}
        told.append({"name": "step", **times, "attributes": numbers, "status": {"code": 1}})
    return {"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [{"spans": told}]}]}


def json_mutant(rng):
    kind = rng.random()
    if kind < 0.3:
        document = choose(rng, [LONG.to_dict("records"), spans(), LONG.to_dict("list"), LONG.to_dict("split")])
    else:
        document = timeline(rng)
    for _ in range(rng.integers(1, 5)):
        if kind >= 0.3 and isinstance(document, dict) and not isinstance(document.get("traceEvents"), list):
            break
        with_other_value(document, rng)
    text = json.dumps(document, ensure_ascii=rng.random() < 0.9)
    if isinstance(document, list) and rng.random() < 0.3:  # one object in each line
        text = "\n".join(json.dumps(row) for row in document)
    depth = choose(rng, [50, 600, 970, 5000])
    text = text.replace(json.dumps(NESTED), "[" * depth + "]" * depth)
    if rng.random() < 0.15:  # a key twice in one object
        place = text.find('"', int(rng.integers(len(text))))
        key, value = choose(rng, ["ts", "name", "ph"]), choose(rng, ["1", "null", "[]"])
        text = f'{text[:place]}"{key}": {value}, {text[place:]}'
    return damaged(text.encode(errors="surrogatepass"), rng, 0.15)


def parquet_mutant(rng):
    frame = choose(rng, [LONG, TIMES, WIDE.reset_index()]).assign(status="ok")
    kind = rng.random()
    if kind < 0.5:
        column = choose(rng, list(frame))
        value = choose(rng, CELLS)
        cells = pd.Series([value] * len(frame), dtype=object)
        if rng.random() < 0.5:
            cells[rng.random(len(frame)) < 0.5] = None
        frame[column] = cells
    if kind > 0.4 and rng.random() < 0.3:
        frame = frame.set_index(choose(rng, list(frame)))
    try:
        table = pa.Table.from_pandas(frame)
    except (pa.ArrowException, OverflowError):
        table = pa.Table.from_pandas(LONG)
    names = list(table.column_names)
    shape = rng.random()
    if shape < 0.1:
        table = table.append_column(choose(rng, names), table.column(0))  # a name twice
    elif shape < 0.2:
        table = table.drop_columns([choose(rng, names)])
    elif shape < 0.3:
        place = int(rng.integers(len(names)))
        table = table.rename_columns([*names[:place], choose(rng, [*names, "", "\n", "0"]), *names[place + 1 :]])
    elif shape < 0.5:
        metadata = dict(table.schema.metadata or {})
        metadata[b"pandas"] = choose(
            rng, [b"", b"{", b"null", b"[]", b"\xff", b'{"index_columns": [[]], "columns": 1}']
        )
        if rng.random() < 0.3 and b"pandas" in (table.schema.metadata or {}):
            metadata[b"pandas"] = with_bytes_changed((table.schema.metadata or {})[b"pandas"], rng)
        table = table.replace_schema_metadata(metadata)
    elif shape < 0.6:
        place = int(rng.integers(len(names)))
        wanted = choose(rng, ARROW_TYPES)
        try:
            cells = table.column(place).cast(wanted, safe=False)
        except pa.ArrowException:
            cells = pa.nulls(len(table), wanted)
        table = table.set_column(place, names[place], cells)
    elif shape < 0.65:
        table = table.slice(0, int(rng.integers(2)))
    file = io.BytesIO()
    parquet.write_table(table, file, compression=choose(rng, ["none", "snappy", "zstd"]))
    return damaged(file.getvalue(), rng, 0.2)


def csv_mutant(rng):
    frame = choose(rng, [LONG, TIMES, WIDE.reset_index()])
    separator = choose(rng, [",", ";", "\t"])
    rows = [line.split(",") for line in frame.to_csv(index=False).splitlines()]
    for _ in range(rng.integers(1, 4)):
        kind, line = rng.random(), int(rng.integers(rng.random() > 0.2, len(rows)))
        place = int(rng.integers(len(rows[0])))
        if kind < 0.5:
            rows[line][min(place, len(rows[line]) - 1)] = choose(rng, TEXTS)
        elif kind < 0.6:  # a whole column
            value = choose(rng, TEXTS)
            rows[1:] = [[*row[:place], value, *row[place + 1 :]] for row in rows[1:]]
        elif kind < 0.7:
            rows = [[*row, row[min(place, len(row) - 1)]] for row in rows]
        elif kind < 0.8 and len(rows[0]) > 1:
            rows = [[*row[:place], *row[place + 1 :]] or [""] for row in rows]
        elif kind < 0.85:
            rows[line] = [""]
        else:
            rows.insert(line, list(rows[int(rng.integers(len(rows)))]))
    text = choose(rng, ["\n", "\r\n", "\r", "\n\n"]).join(separator.join(row) for row in rows)
    if rng.random() < 0.1:
        return text.encode(choose(rng, ENCODINGS), errors="replace")
    return damaged(text.encode(errors="surrogatepass"), rng, 0.2)


def damaged(content, rng, share):
    """``content`` with changed bytes in a ``share`` of all, cut in a tenth."""
    if rng.random() < share:
        content = with_bytes_changed(content, rng)
    return content[: rng.integers(len(content))] if content and rng.random() < 0.1 else content


def with_bytes_changed(content, rng):
    content = bytearray(content)
    for _ in range(rng.integers(1, 8)):
        place = int(rng.integers(len(content) + 1))
        if rng.random() < 0.5 and place < len(content):
            content[place] ^= 1 << int(rng.integers(7 if rng.random() < 0.8 else 8))
        else:
            content[place : place + int(rng.integers(12))] = bytes(byte & 127 for byte in rng.bytes(rng.integers(8)))
    return bytes(content)


MUTANTS = {"json": json_mutant, "parquet": parquet_mutant, "csv": csv_mutant}
