"""Tables from files: CSV of any usual dress, Parquet, spreadsheets and JSON."""

import codecs
import csv
import json
import re
import warnings
import zipfile
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from abs_theory.files import check_unpacked, last_line
from abs_theory.traces.columns import counted, one_line
from abs_theory.traces.files import UTF16, Loaded, Source
from abs_theory.traces.header_line import MOST_LINES, NUMBER, check_header

__all__ = ["NEITHER", "json_document", "json_table", "read_csv", "read_json", "read_parquet", "read_spreadsheet"]

# pandas before 3.1 reads a number of a text file with an error in its last bit, unless it is told not to
_PANDAS = tuple(int(part) for part in pd.__version__.split(".")[:2])
EXACT_NUMBERS: dict[str, str] = {} if _PANDAS >= (3, 1) else {"float_precision": "round_trip"}

NEITHER = (
    "JSON must be a timeline, as those of PyTorch and Ray, that is a list of events or traceEvents; or records with "
    "round, worker and seconds, in a list or one in each line; or spans of OpenTelemetry"
)
WESTERN = "cp1252"  # of text files that are not in Unicode
CONTROLS = bytes(set(range(32)) - set(b"\t\n\v\f\r"))  # no text has them
CATEGORIES = {"status", "unit", "dataset"}  # few values in many rows
SPACES = r"\s+"  # between columns that are aligned by spaces
EXACT = 2.0**53  # beyond, a float does not hold every whole number
FIELDS_IN_LINE = re.compile(r"Error tokenizing data\. C error: Expected (\d+) fields in line (\d+), saw (\d+)")
MORE_BELOW = (
    "Length of header or names does not match length of data. This leads to a loss of data with index_col=False.",
    "the line below it has more",
)
UNCLOSED = re.compile(r"Error tokenizing data\. C error: EOF inside string starting at row (\d+)")


def read_parquet(source: Source) -> Loaded:
    """The table in a Parquet file; an index that was stored with it is a column."""
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise ValueError('a Parquet file needs pyarrow: pip install "abs-toolkit[traces]"') from None
    try:
        with source.path.open("rb") as file:
            stored = parquet.ParquetFile(file)
            groups = [stored.metadata.row_group(i) for i in range(stored.metadata.num_row_groups)]
            check_unpacked(sum(group.total_byte_size for group in groups))
            table = stored.read()
        names = [str(name) for name in table.column_names]
        exact = {"start", "end"} & {name.strip().lower() for name in names}
        # a column of whole numbers with gaps would lose its nanoseconds as floats
        types = {pa.int64(): pd.Int64Dtype(), pa.uint64(): pd.UInt64Dtype()}.get if exact else None
        numbered = table.rename_columns([str(place) for place in range(len(names))])  # names may repeat
        frame = numbered.to_pandas(ignore_metadata=True, types_mapper=types).set_axis(names, axis=1)
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError, OverflowError, MemoryError) as problem:
        raise ValueError(f"the file is cut short or damaged: {problem}") from None
    hidden = [name for name in names if re.fullmatch(r"__index_level_\d+__", name)]
    return Loaded(frame.rename(columns=dict.fromkeys(hidden[:1], "")).drop(columns=hidden[1:]), None, ())


def read_spreadsheet(source: Source) -> Loaded:
    """The table in an .xlsx file; of several sheets with tables each is a data set."""
    try:
        import openpyxl  # noqa: F401
    except ImportError:
        raise ValueError('a spreadsheet needs openpyxl: pip install "abs-toolkit[traces]"') from None
    try:
        with zipfile.ZipFile(source.path) as archive:
            check_unpacked(sum(entry.file_size for entry in archive.infolist()))
            if "xl/workbook.xml" not in archive.namelist():
                raise ValueError("the file is a zip archive: unpack it")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # styles and extensions that pandas does not need
            sheets = pd.read_excel(source.path, sheet_name=None, engine="openpyxl", header=None)
    except zipfile.BadZipFile as problem:
        raise ValueError(
            f"the file is a zip archive or a spreadsheet: unpack it, or save it as CSV ({problem})"
        ) from None
    except (KeyError, TypeError, IndexError, AttributeError, SyntaxError) as problem:
        raise ValueError(f"the spreadsheet is damaged: {problem!r}") from None
    filled = {name: _below_header(sheet.dropna(axis=0, how="all")) for name, sheet in sheets.items()}
    filled = {name: sheet.dropna(axis=1, how="all") for name, sheet in filled.items()}
    filled = {name: sheet for name, sheet in filled.items() if not sheet.empty}
    if not filled:
        raise ValueError("the spreadsheet has no table: its first row must name the columns")
    if len(filled) == 1:
        return Loaded(next(iter(filled.values())), None, ())
    parts = [sheet.assign(dataset=one_line(str(name))) for name, sheet in filled.items()]
    return Loaded(pd.concat(parts, ignore_index=True), None, ("each sheet is a data set",))


def _below_header(sheet: pd.DataFrame) -> pd.DataFrame:
    """The table below the first row with more than a title: with at least half as many cells as the fullest row."""
    if sheet.empty:
        return sheet
    cells = sheet.notna().sum(axis=1).to_numpy()
    header = int(np.argmax(cells >= max(cells.max() / 2, 1)))
    first, *below = [[_shown(cell) for cell in row] for row in sheet.iloc[header : header + MOST_LINES].to_numpy()]
    names = [name or f"Unnamed: {place}" for place, name in enumerate(first)]
    check_header(names, below)
    return sheet.iloc[header + 1 :].set_axis(names, axis=1).reset_index(drop=True).infer_objects()


def _shown(cell: object) -> str:
    """A cell as the spreadsheet shows it: a whole number has no point, though its column may be of floats."""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return "" if pd.isna(cell) else str(cell)  # pyright: ignore[reportGeneralTypeIssues, reportArgumentType, reportCallIssue]


class _Dress(NamedTuple):
    """How a text file writes its table."""

    encoding: str
    separator: str
    skipped: int  # lines before the header
    names: list[str]
    trailing: bool  # whether lines end with a separator that the header does not have
    decimal: str  # mark of decimals that its first lines show
    below: list[list[str]]  # cells of the first lines below the header


def read_csv(source: Source) -> Loaded:
    """The table in a text file; encoding, separator, comments and the mark of decimals are seen in its first lines."""
    dress = _dress(source.head)
    names = [*dress.names, "trailing separators"] if dress.trailing else dress.names
    check_header(names, dress.below)
    options: dict[str, Any] = {
        "sep": dress.separator,
        "encoding": dress.encoding,
        "header": None,
        "names": names,
        "skiprows": dress.skipped + 1,
        "decimal": dress.decimal,
        "skipinitialspace": True,
        "dtype": {name: "category" for name in names if name.lower() in CATEGORIES},
        "index_col": False,
        **EXACT_NUMBERS,
        "skip_blank_lines": True,
    }
    report: list[str] = []
    try:
        frame = _parsed(source, options)
    except UnicodeDecodeError:  # beyond its first bytes
        if dress.encoding != "utf-8-sig":
            raise
        options["encoding"] = WESTERN
        frame = _parsed(source, options)
    if note := frame.attrs.pop("left out", ""):
        report.append(note)
    if options["encoding"] == WESTERN:
        report.append("the text is not UTF-8: read as Windows-1252, as spreadsheets save it")
    if mixed := [name for name in names if _is_mixed(frame[name], name)]:
        texts = _parsed(source, {**options, "usecols": mixed, "dtype": str, "decimal": "."})
        frame = frame.assign(**{name: texts[name] for name in mixed})
    if dress.trailing:
        frame = frame.drop(columns=names[-1:])
    few_words = names[-1].lower() in CATEGORIES
    cut, note = last_line(
        source.path, len(names), lambda line: _fields(line, dress.separator), options["encoding"], few_words
    )
    if not frame.empty and note:
        frame = frame.iloc[: len(frame) - cut]
        report.append(note)
    decimal = "." if dress.separator == "," else None
    return Loaded(frame, None, tuple(report), decimal)


def _parsed(source: Source, options: dict[str, object]) -> pd.DataFrame:
    with warnings.catch_warnings(), source.open() as file:
        warnings.simplefilter("ignore", pd.errors.DtypeWarning)  # text among numbers is dealt with later
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            return pd.read_csv(file, **options)  # pyright: ignore[reportCallIssue, reportArgumentType]
        except (pd.errors.ParserError, pd.errors.ParserWarning) as problem:
            if source.most_bad and FIELDS_IN_LINE.search(str(problem)):
                return _without_long_lines(source, options, problem)
            words = FIELDS_IN_LINE.sub(r"line \2 has \3, not \1", str(problem))
            words = words.replace(*MORE_BELOW)
            words = UNCLOSED.sub(lambda match: f"a quote in line {int(match[1]) + 1} is not closed", words)
            raise ValueError(f"there must be as many fields in every line as in the first: {words}") from None
        except OverflowError as problem:
            raise ValueError(f"a number is too large: {problem}") from None


def _without_long_lines(source: Source, options: dict[str, Any], problem: Exception) -> pd.DataFrame:
    """The table without the lines of too many fields, if they are few; else raises ValueError about the first one."""
    with warnings.catch_warnings(record=True) as said, source.open() as file:
        warnings.simplefilter("always")
        frame = pd.read_csv(file, on_bad_lines="warn", **options)
    left_out = sum(str(warning.message).count("Skipping line") for warning in said)
    if left_out > source.most_bad * (len(frame) + left_out):
        words = FIELDS_IN_LINE.sub(r"line \2 has \3, not \1", str(problem))
        raise ValueError(f"there must be as many fields in every line as in the first: {words}")
    frame.attrs["left out"] = f"{counted(left_out, 'line')} of too many fields left out"
    return frame


def _is_mixed(column: pd.Series, name: str) -> bool:
    """Whether the column must be read again as text: numbers among text, or whole numbers that floats do not hold."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return False
    if pd.api.types.is_float_dtype(column):
        values = column.to_numpy()
        return bool(np.isnan(values).any() and np.nanmax(np.abs(values), initial=0) > EXACT) and "seconds" not in name
    if not pd.api.types.is_object_dtype(column):
        return False
    kinds = {type(cell) for cell in column.dropna().to_numpy()[:: max(1, len(column) // 100_000)]}
    return len(kinds) > 1


def _dress(head: bytes) -> _Dress:
    """Encoding, separator, header and mark of decimals, from the first bytes."""
    encoding = "utf-16" if head.startswith(UTF16) else "utf-8-sig" if _is_utf8(head) else WESTERN
    text = head.decode(encoding, errors="replace")
    lines = re.split(r"\r\n|\r|\n", text)
    skipped = 0
    stated = None
    header = None
    while skipped < len(lines) - 1:
        line = lines[skipped].strip()
        if match := re.fullmatch(r"\"?sep=(.)\"?", line, re.IGNORECASE):
            stated = match[1]
        elif line.startswith("#") and not re.match(r"#\s*[,;\t|]", line):
            header = skipped  # it names the columns if numbers follow
        elif line:
            break
        skipped += 1
    if not lines[skipped].strip():
        return _Dress(encoding, ",", skipped, [""], False, ".", [])
    separator = stated or max(",;\t|", key=lines[skipped].count)
    if separator not in lines[skipped] and _in_columns([line for line in lines[skipped:-1] if line.strip()][:20]):
        separator = SPACES
    if header is not None and header == skipped - 1 and _are_numbers(lines[skipped], separator):
        commented = lines[header].lstrip("# \t")
        if len(_fields(commented, separator)) == len(_fields(lines[skipped], separator)):
            return _after(encoding, separator, header, commented, lines[skipped:])
    names, following = lines[skipped].lstrip(), lines[skipped + 1 :]
    while names.count('"') % 2 and following:  # a quoted name with a line break in it
        names, following = f"{names}\n{following[0]}", following[1:]
    return _after(encoding, separator, skipped, names, following)


def _is_utf8(head: bytes) -> bool:
    """Whether the bytes are UTF-8, perhaps cut within a character, or no text at all."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return any(byte in head for byte in CONTROLS)
    return True


def _after(encoding: str, separator: str, skipped: int, header: str, following: list[str]) -> _Dress:
    names = [name.strip() for name in _fields(header, separator)]
    filled = [line for line in following[:-1] or following if line.strip()]
    below = [[cell.strip() for cell in _fields(line, separator)] for line in filled[:MOST_LINES]]
    trailing = bool(below) and all(len(cells) == len(names) + 1 and not cells[-1] for cells in below)
    if len(names) > 1 and not names[-1] and "" not in names[:-1] and not any((cells or [""])[-1] for cells in below):
        names[-1] = "Unnamed: trailing"
    return _Dress(encoding, separator, skipped, names, trailing, _decimal(filled, separator), below)


def _decimal(lines: list[str], separator: str) -> str:
    """The comma if whole fields such as 0,7237 or 12,5 can be nothing else, and no field is a number with a point."""
    if separator == ",":
        return "."
    fields = [field.strip() for line in lines[:200] for field in _fields(line, separator)]
    comma = any(re.fullmatch(r"[+-]?(0|\d+),(\d{1,2}|\d{4,})([eE][+-]?\d+)?|[+-]?0,\d+", field) for field in fields)
    point = any(re.fullmatch(r"[+-]?\d*\.\d+", field) for field in fields)
    grouped = any(re.fullmatch(r"[+-]?\d{1,3}(\.\d{3})+,\d*", field) for field in fields)
    return "," if comma and not point and not grouped else "."


def _in_columns(lines: list[str]) -> bool:
    """Whether the lines are words with spaces between them, equally many in each, and numbers below the first."""
    counts = {len(line.split()) for line in lines}
    return len(lines) > 1 and len(counts) == 1 and counts.pop() > 1 and _are_numbers(lines[1], SPACES)


def _fields(line: str, separator: str) -> list[str]:
    if separator == SPACES:
        return line.split()
    try:
        return next(csv.reader(line.splitlines(keepends=True), delimiter=separator), [""])
    except csv.Error:
        return line.split(separator)


def _are_numbers(line: str, separator: str) -> bool:
    fields = _fields(line, separator)
    return sum(NUMBER.fullmatch(field) is not None for field in fields) >= max(1, len(fields) - 1)


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
