"""Text to numbers: separators of thousands and decimals in every usual form, durations, and words for failure.

One mark of decimals holds for a whole file.  Where the text allows both readings, ``decimal_mark`` refuses to guess.
"""

import re
import reprlib
from collections.abc import Iterable

import numpy as np
import pandas as pd

__all__ = [
    "FAILED",
    "MISSING",
    "check_cells",
    "decimal_mark",
    "seconds_of_durations",
    "with_plain_cells",
    "with_plain_numbers",
]

# Words that stand where a number is missing, and where an attempt did not deliver, in lower case.
MISSING = frozenset(
    ("", "nan", "+nan", "-nan", "none", "null", "nil", "<na>", "na", "n/a", "#n/a", "#value!", "#div/0!", "-", "--")
)
FAILED = frozenset([
    "timeout", "timed out", "timed_out", "time out", "time-out", "fail", "failed", "failure", "error", "err", "killed",
    "oom", "lost", "dead", "crash", "crashed", "abort", "aborted", "cancelled", "canceled", "dropped", "expired", "dnf",
    "no response", "unreachable", "missing", "out_of_memory", "oomkilled", "node_fail", "boot_fail", "preempted",
    "evicted", "unavailable", "deadline exceeded", "deadline_exceeded",
])  # fmt: skip

COMPOSITE = (list, dict, set, tuple, np.ndarray, bytes)  # kinds of cells that are no value of a trace

GROUP = "[ '\u00a0\u2009\u202f\u2019]"  # spaces of every width and apostrophes between groups of three digits
_SPACED = re.compile(rf"(?<=\d){GROUP}(?=\d{{3}}(?:{GROUP}|[.,]|$))")
_EXPONENT = r"(?:[eE][+-]?\d+)?"
_LAKHS = r"[1-9]\d?(?:,\d{2})*,\d{3}(?:\.\d*)?"  # 12,34,567, as in India
_POINT = re.compile(rf"[+-]?(?:[1-9]\d{{0,2}}(?:,\d{{3}})+(?:\.\d*)?|{_LAKHS}|\d+(?:\.\d*)?|\.\d+){_EXPONENT}")
_COMMA = re.compile(rf"[+-]?(?:[1-9]\d{{0,2}}(?:\.\d{{3}})+(?:,\d*)?|\d+(?:,\d*)?|,\d+){_EXPONENT}")
_DURATION = re.compile(r"(?:\d+ days?,? )?\d+:\d{1,2}:\d{1,2}(?:[.,]\d+)?")
_UNITS = {"h": 3600.0, "m": 60.0, "min": 60.0, "s": 1.0, "sec": 1.0, "ms": 1e-3, "us": 1e-6, "\u00b5s": 1e-6,
          "\u03bcs": 1e-6, "ns": 1e-9}  # fmt: skip
_WITH_UNIT = re.compile(r"(\d+(?:[.,]\d+)?) ?(h|min|ms|us|\u00b5s|\u03bcs|ns|sec|s|m)(?![a-z])", re.IGNORECASE)
_UNITS_ONLY = re.compile(rf"(?:{_WITH_UNIT.pattern} ?)+", re.IGNORECASE)
_SHORT_DURATION = re.compile(r"\d+:\d{2}(?:[.,]\d+)?")


def decimal_mark(columns: Iterable[pd.Series], given: str | None) -> str | None:
    """The mark of decimals in the text of ``columns``, "." or ","; None if no number is written with separators.

    ``given`` is what the caller or the format says.  Raises ValueError if the text allows both readings.
    """
    if given is not None:
        if given not in (".", ","):
            raise ValueError(f"decimal must be '.' or ',', got {given!r}")
        return given
    written = {_ungrouped(text) for column in columns for text in _texts(column).unique()}
    marked = {text for text in written if "," in text or text.count(".") > 1}
    as_point = {text for text in marked if _POINT.fullmatch(text)}
    as_comma = {text for text in marked if _COMMA.fullmatch(text)}
    only_point, only_comma = as_point - as_comma, as_comma - as_point
    if only_point and only_comma:
        raise ValueError(
            f"numbers must be written in one way, got {min(only_point)} and {min(only_comma)}: say with decimal=',' "
            "or decimal='.' which mark is that of decimals"
        )
    if only_comma or only_point:
        return "," if only_comma else "."
    if as_point:
        example = min(as_point)
        point, comma = example.replace(",", ""), example.replace(",", ".")
        raise ValueError(f"{example} may be {point} (say decimal='.') or {comma} (say decimal=',')")
    return "." if any(re.search(GROUP, text) for column in columns for text in _texts(column).unique()) else None


def with_plain_numbers(column: pd.Series, mark: str | None) -> pd.Series:
    """``column`` with the numbers that are written with separators as floats; other text stays as it is."""
    if mark is None or not _holds_text(column):
        return column
    pattern = _COMMA if mark == "," else _POINT
    texts = _texts(column)
    values: dict[str, float] = {}
    for text in texts.unique():
        plain = _ungrouped(text)
        if not text.isdecimal() and pattern.fullmatch(plain):
            thousands = "." if mark == "," else ","
            values[text] = float(plain.replace(thousands, "").replace(mark, "."))
    if not values:
        return column
    number = texts.map(values).dropna()
    cells = column.to_numpy(object, copy=True)
    cells[number.index] = number
    return pd.Series(cells, column.index)


def seconds_of_durations(column: pd.Series) -> pd.Series | None:
    """Seconds, if ``column`` is written as hours:minutes:seconds or with units, as 850 ms or 1m2.5s; None if not.

    Raises ValueError for two parts such as 1:30, which may be minutes and seconds or hours and minutes.
    """
    texts = _texts(column)
    if texts.empty:
        return None
    full = texts.str.fullmatch(_DURATION.pattern)
    short = texts.str.fullmatch(_SHORT_DURATION.pattern)
    if short.any() and not full.any():
        example = texts[short].iloc[0]
        raise ValueError(
            f"{example} may be minutes:seconds or hours:minutes: write durations as hours:minutes:seconds or in seconds"
        )
    with_units = texts.str.fullmatch(_UNITS_ONLY)
    if with_units.mean() >= 0.5 and not any(isinstance(cell, int | float) and cell == cell for cell in column):
        cells = column.to_numpy(object, copy=True)
        cells[texts.index[with_units]] = [
            sum(float(number.replace(",", ".")) * _UNITS[unit.lower()] for number, unit in _WITH_UNIT.findall(text))
            for text in texts[with_units]
        ]
        return pd.Series(cells, column.index)
    if full.mean() < 0.5:
        return None
    seconds = pd.to_timedelta(texts[full].str.replace(",", ".").str.replace(r"(day)s?\.? ", r"\1 ", regex=True))
    cells = column.to_numpy(object, copy=True)
    cells[seconds.index] = seconds.dt.total_seconds()
    return pd.Series(cells, column.index)


def _holds_text(column: pd.Series) -> bool:
    return pd.api.types.is_object_dtype(column) or isinstance(column.dtype, pd.StringDtype)


def _texts(column: pd.Series) -> pd.Series:
    """The cells that are text, stripped, by place; words for nothing and for failure are left out."""
    if not _holds_text(column):
        return pd.Series([], dtype=str)
    cells = pd.Series(column.to_numpy(object))
    texts = cells[cells.map(lambda cell: isinstance(cell, str)).to_numpy(bool)].str.strip()
    return texts[~texts.str.lower().isin(MISSING | FAILED)]


def _ungrouped(text: str) -> str:
    return _SPACED.sub("", text)


class _Composite(str):
    """What stands for a cell that is neither a number nor text nor a time, so that columns can be compared."""

    kind: str


def with_plain_cells(frame: pd.DataFrame) -> pd.DataFrame:
    """``frame`` with text for lists and the like, which cannot be compared; ``check_cells`` still refuses them."""
    plain = frame.copy(deep=False)
    for place, dtype in enumerate(frame.dtypes):
        column = frame.iloc[:, place]
        if pd.api.types.is_object_dtype(dtype) and any(issubclass(kind, COMPOSITE) for kind in set(map(type, column))):
            cells = pd.Series([_plain_cell(cell) for cell in column], frame.index, dtype=object)
            plain.isetitem(place, cells)  # pyright: ignore[reportArgumentType]
    return plain


def _plain_cell(cell: object) -> object:
    if not isinstance(cell, COMPOSITE):
        return cell
    text = _Composite(reprlib.repr(cell))
    text.kind = type(cell).__name__
    return text


def check_cells(name: str, column: pd.Series) -> None:
    """Raise ValueError if a cell of ``column``, as ``with_plain_cells`` left it, was a list or the like."""
    if pd.api.types.is_object_dtype(column) and _Composite in set(map(type, column)):
        kind = next(cell.kind for cell in column if isinstance(cell, _Composite))
        raise ValueError(f"{name} must hold one number or text in each row, got a {kind}")
