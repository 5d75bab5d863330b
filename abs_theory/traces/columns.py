"""The columns of a trace as they come from a file: names, units, and numbers that may be text."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = [
    "STATUSES",
    "UNITS",
    "counted",
    "durations",
    "listed",
    "named",
    "numbered",
    "numbers",
    "one_dataset",
    "one_line",
    "statuses",
    "unit_factors",
]

NEEDED = "a trace needs the columns round, worker, and seconds or start and end"
UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_UNIT_NAMES = {"sec": "s", "second": "s", "seconds": "s", "\u00b5s": "us", "\u03bcs": "us"}
STATUSES = ("ok", "failed", "cancelled", "censored")
_STATUS_NAMES = {"canceled": "cancelled", "": "ok"}

MISSING = ("", "nan", "+nan", "-nan", "none", "null", "<na>")

Names = tuple[int | str, ...]  # of workers, in the order of their numbers
Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]


def named(frame: pd.DataFrame) -> pd.DataFrame:
    """The same frame with trimmed lower-case column names, after a check that the needed ones are there."""
    if not isinstance(frame, pd.DataFrame):
        raise ValueError(f"a trace must be a pandas DataFrame, got {type(frame).__name__}")
    names = [str(name).strip().lower() for name in frame.columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"column names must differ, got {', '.join(twice)} more than once")
    missing = [name for name in ("round", "worker") if name not in names]
    if "seconds" not in names and not {"start", "end"} <= set(names):
        missing.append("seconds (or start and end)")
    if missing:
        raise ValueError(f"{NEEDED}; {', '.join(missing)} not found among {', '.join(names[:12]) or 'no columns'}")
    if frame.empty:
        raise ValueError(f"{NEEDED}, and rows; there are none below the header")
    return frame.set_axis(names, axis=1)


def one_dataset(frame: pd.DataFrame, dataset: str | None) -> pd.DataFrame:
    """The rows of ``dataset``; all rows if there is only one data set."""
    if "dataset" not in frame:
        if dataset is not None:
            raise ValueError(f"dataset={dataset!r} was asked for, but there is no column named dataset")
        return frame
    names = frame["dataset"].astype(str)
    known = sorted(names.unique())
    if dataset is None:
        if len(known) > 1:
            raise ValueError(f"choose one data set with dataset=..., there are {listed(known, 20)}")
        return frame
    if dataset not in known:
        raise ValueError(f"no data set named {dataset!r}; there are {listed(known, 20)}")
    return frame[names == dataset]


def numbers(column: pd.Series) -> tuple[Floats, Mask]:
    """The values as floats (NaN where there is none), and a mask of text that is not a number."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    values = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    odd = np.flatnonzero(np.isnan(values))
    written = column.iloc[odd].astype(str).str.strip().str.lower()
    text = np.zeros(len(values), bool)
    text[odd] = ~(column.iloc[odd].isna() | written.isin(MISSING)).to_numpy()
    return values, text


def unit_factors(frame: pd.DataFrame, unit: str | None, report: list[str]) -> float | Floats:
    """Seconds per unit, of all rows or of each."""
    if "unit" not in frame:
        return UNITS[_unit(unit)] if unit is not None else 1.0
    column = frame["unit"]
    known = {name: _unit(name) for name in column.dropna().unique()}
    if column.isna().any():
        raise ValueError(f"unit must be given in every row, {counted(int(column.isna().sum()), 'row')} without")
    if unit is not None and set(known.values()) != {_unit(unit)}:
        raise ValueError(f"the column unit says {listed(sorted(known.values()))}, the argument {unit!r}: give only one")
    if len(set(known.values())) > 1:
        counts = column.map(known).value_counts()
        report.append(
            f"rows have different units, each converted: {', '.join(f'{c} in {u}' for u, c in counts.items())}"
        )
    return np.asarray(column.map({name: UNITS[plain] for name, plain in known.items()}), dtype=np.float64)


def _unit(name: object) -> str:
    plain = str(name).strip().lower()
    plain = _UNIT_NAMES.get(plain, plain)
    if plain not in UNITS:
        raise ValueError(f"unit must be one of {', '.join(UNITS)}, got {name!r}")
    return plain


def statuses(frame: pd.DataFrame) -> "pd.Categorical[str] | None":
    """The status of each row, None without the column; an empty status is ok."""
    if "status" not in frame:
        return None
    codes, names = pd.factorize(frame["status"], use_na_sentinel=True)
    plain = [str(name).strip().lower() for name in names]
    plain = [_STATUS_NAMES.get(name, name) for name in plain]
    unknown = sorted({name for name in plain if name not in STATUSES})
    if unknown:
        raise ValueError(f"status must be one of {', '.join(STATUSES)}, got {listed(unknown)}")
    places = np.array([STATUSES.index(name) for name in [*plain, "ok"]], dtype=np.int8)
    return pd.Categorical.from_codes(places[codes], pd.Index(STATUSES))  # pyright: ignore[reportCallIssue, reportArgumentType]


def durations(frame: pd.DataFrame, factor: float | Floats) -> tuple[Floats, Mask, Floats | None]:
    """Seconds of each row, a mask of text, and the start if it is given (seconds after the first one).

    Without a column ``seconds`` they are ``end - start``: numbers in the unit that ``factor`` stands for, or ISO dates.
    """
    if "seconds" in frame:
        if pd.api.types.is_timedelta64_dtype(frame["seconds"]):
            return frame["seconds"].dt.total_seconds().to_numpy(np.float64), np.zeros(len(frame), bool), None
        seconds, text = numbers(frame["seconds"])
        return seconds * factor, text, None
    if {"start_clock", "end_clock"} <= set(frame.columns):
        other = int((frame["start_clock"].astype(str) != frame["end_clock"].astype(str)).sum())
        if other:
            raise ValueError(
                f"start and end must be read from one clock; in {other} of {len(frame)} rows start_clock and end_clock "
                "differ: give seconds, or both times by the same clock"
            )
    start, end = frame["start"], frame["end"]
    if all(pd.api.types.is_integer_dtype(column) and not column.isna().any() for column in (start, end)):
        first, last = start.to_numpy(np.int64), end.to_numpy(np.int64)  # a float cannot hold nanoseconds since 1970
        return (last - first) * factor, np.zeros(len(frame), bool), (first - first.min()) * factor
    (first, first_text), (last, last_text) = _instants(start), _instants(end)
    if isinstance(first, pd.Series) and isinstance(last, pd.Series):
        elapsed, since = (last - first).dt.total_seconds(), (first - first.min()).dt.total_seconds()
        return elapsed.to_numpy(np.float64), first_text | last_text, since.to_numpy(np.float64)
    if isinstance(first, pd.Series) or isinstance(last, pd.Series):
        raise ValueError("start and end must be both numbers or both dates")
    origin = np.nanmin(first, initial=np.inf)
    return (last - first) * factor, first_text | last_text, (first - origin) * factor


def _instants(column: pd.Series) -> tuple[Floats | pd.Series, Mask]:
    """Points in time, as floats or as a series of dates, and a mask of other text."""
    if not pd.api.types.is_datetime64_any_dtype(column):
        values, text = numbers(column)
        if not text.any():
            return values, text
        dates = pd.to_datetime(column, errors="coerce", utc=True, format="ISO8601")
        if dates.isna().mean() > 0.5:
            return values, text
        return dates, (dates.isna() & column.notna()).to_numpy()
    return column, np.zeros(len(column), bool)


def numbered(ascending: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Distinct values of an ascending array, and the place of each entry among them; O(size)."""
    place = np.concatenate([[0], np.cumsum(np.diff(ascending) != 0)])[: len(ascending)]
    first = np.flatnonzero(np.diff(place, prepend=-1))
    return ascending[first], place


def counted(number: int, what: str) -> str:
    """A number with its noun, plural unless it is 1.

    >>> counted(1, "row"), counted(2, "row")
    ('1 row', '2 rows')
    """
    return f"{number} {what}{'' if number == 1 else 's'}"


def listed(names: list[str], most: int = 8) -> str:
    """The first names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def one_line(text: str) -> str:
    """The text with every kind of white space, line breaks too, as a single space."""
    return " ".join(text.split())
