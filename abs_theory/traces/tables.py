"""Tables from files: CSV of any usual dress, Parquet and spreadsheets."""

import codecs
import csv
import re
import warnings
import zipfile
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from abs_theory.files import check_unpacked, last_line
from abs_theory.traces.columns import counted, one_line
from abs_theory.traces.files import UTF16, Loaded, Source
from abs_theory.traces.header_line import MOST_LINES, NUMBER, check_header

__all__ = ["read_csv", "read_parquet", "read_spreadsheet"]

# pandas before 3.1 reads a number of a text file with an error in its last bit, unless it is told not to
_PANDAS = tuple(int(part) for part in pd.__version__.split(".")[:2])
EXACT_NUMBERS: dict[str, str] = {} if _PANDAS >= (3, 1) else {"float_precision": "round_trip"}

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
