"""Tables from JSON: records, the forms of pandas, and the spans of OpenTelemetry."""

import json
from contextlib import suppress
from typing import Any

import pandas as pd

from abs_theory.traces.columns import counted
from abs_theory.traces.files import Loaded, Source

__all__ = ["NEITHER", "json_document", "json_table", "read_json"]

NEITHER = (
    "JSON must be a timeline, as those of PyTorch and Ray, that is a list of events or traceEvents; or records with "
    "round, worker and seconds, in a list or one in each line; or spans of OpenTelemetry"
)


def read_json(source: Source) -> Loaded:
    """The table in a JSON file (``json_table``).  Raises ValueError if it holds none."""
    document, report = json_document(source)
    table = json_table(document, perhaps_timeline=False)
    if table is None:
        raise ValueError("JSON must be records, in a list or one in each line, or spans of OpenTelemetry")
    return table._replace(report=report + table.report)


def json_document(source: Source) -> tuple[object, tuple[str, ...]]:
    """What a JSON file holds, a list if it has a value in each line; and notes for the report.

    A list without its closing bracket and a last line that is cut short are what a killed program leaves: the rest is
    read, and without damaged lines if they are few enough.  Raises ValueError for other text.
    """
    with source.open() as file:
        text = file.read()
    try:
        return json.loads(text), ()
    except (json.JSONDecodeError, RecursionError) as problem:
        message = f"the file is cut short or not JSON: {problem}"
    if text.lstrip().startswith(b"["):
        with suppress(json.JSONDecodeError, RecursionError):
            return json.loads(text.rstrip().rstrip(b",") + b"]"), ()
    lines = text.splitlines(keepends=True)
    values: list[object] = []
    notes: list[str] = []
    damaged = 0
    for number, line in enumerate(lines, 1):
        try:
            if line.strip():
                value = json.loads(line)
                if values and isinstance(values[0], dict) and not isinstance(value, dict):
                    raise ValueError(f"line {number} holds no record {{...}}, as line 1 does: mend it or remove it")
                values.append(value)
        except (json.JSONDecodeError, RecursionError):
            if values and number == len(lines) and not line.endswith((b"\n", b"\r")):
                notes.append("the last line is cut short: left out")
                break
            if values:
                message = f"line {number} is cut short or not JSON"
            damaged += 1
            if not values or damaged > source.most_bad * len(lines):
                raise ValueError(message) from None
    if damaged:
        notes.append(f"{counted(damaged, 'line')} cut short or not JSON: left out")
    return values, tuple(notes)


def json_table(document: object, perhaps_timeline: bool = True) -> Loaded | None:
    """The table in a JSON document, None if there is none, or if records look like events of a timeline.

    Records in a list, with nested names joined by a slash; the forms "columns", "split" and "table" of pandas; or the
    spans of OpenTelemetry (OTLP), one document or several.
    """
    documents: list[Any] = document if isinstance(document, list) else [document]
    if not documents or not all(isinstance(row, dict) for row in documents):
        return None
    if all("resourceSpans" in row for row in documents):
        return Loaded(pd.DataFrame(_spans(documents)), None, ("spans of OpenTelemetry, of each name a data set",))
    if isinstance(document, list):
        is_timeline = perhaps_timeline and any("ph" in row or {"ts", "dur"} <= set(row) for row in documents)
        return None if is_timeline else Loaded(pd.json_normalize(documents, sep="/"), None, ())
    body = documents[0]
    cells = body.get("data")
    if isinstance(cells, list) and isinstance(body.get("columns"), list):
        names = [str(name) for name in body["columns"]]
        if any(not isinstance(row, list) or len(row) != len(names) for row in cells):
            raise ValueError(f"each row of data must have {len(names)} cells, as many as there are columns")
        return Loaded(pd.DataFrame(cells, columns=names), None, ())
    if isinstance(cells, list) and cells and all(isinstance(row, dict) for row in cells) and "schema" in body:
        return Loaded(pd.DataFrame(cells), None, ())
    columns = list(body.values())
    if columns and not perhaps_timeline and not any(isinstance(cell, list | dict) for cell in columns):  # one record
        return Loaded(pd.DataFrame([body]), None, ())
    if all(isinstance(column, list) for column in columns) and len({len(column) for column in columns}) == 1:
        return None if "traceEvents" in body else Loaded(pd.DataFrame(body), None, ())
    if all(isinstance(column, dict) for column in columns) and len({tuple(column) for column in columns}) == 1:
        return Loaded(pd.DataFrame({name: list(column.values()) for name, column in body.items()}), None, ())
    return None


def _spans(documents: list[dict[str, Any]]) -> list[dict[str, object]]:
    """A row for each span, with its attributes and those of its resource.  Raises ValueError if one is malformed."""
    rows: list[dict[str, object]] = []
    try:
        for resource in (part for document in documents for part in document["resourceSpans"]):
            shared = _attributes(resource.get("resource", {}).get("attributes", []))
            for span in (span for scope in resource["scopeSpans"] for span in scope["spans"]):
                failed = span.get("status", {}).get("code") in (2, "STATUS_CODE_ERROR")
                rows.append({
                    **shared,
                    **_attributes(span.get("attributes", [])),
                    "dataset": str(span["name"]),
                    "start": int(span["startTimeUnixNano"]),
                    "end": int(span["endTimeUnixNano"]),
                    "unit": "ns",
                    "status": "failed" if failed else "ok",
                })  # fmt: skip
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as problem:
        raise ValueError(f"the spans of OpenTelemetry are damaged: {problem!r}") from None
    return rows


def _attributes(pairs: list[dict[str, Any]]) -> dict[str, object]:
    """Attributes by their keys; whole numbers are text in OTLP."""
    plain = {}
    for pair in pairs:
        (kind, value), *_ = pair["value"].items()
        plain[str(pair["key"])] = int(str(value)) if kind == "intValue" else value
    return plain
