"""The columns of a trace as they come from a file: names, units, and numbers that may be text."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from abs_theory.checks import explains_types, instead
from abs_theory.traces.numerals import FAILED, MISSING, seconds_of_durations

__all__ = [
    "FEWEST_FOR_CONTENT",
    "STATUSES",
    "UNITS",
    "check_since_1970",
    "counted",
    "delivers_not",
    "durations",
    "is_status",
    "listed",
    "numbered",
    "numbers",
    "one_dataset",
    "one_line",
    "shortened",
    "statuses",
    "unit_factors",
    "unit_name",
    "unknown_statuses",
]

NOT_ASKED = "not asked"  # status of a worker that had nothing to do in a round, as in sampling of clients
NEEDED = "a trace needs the columns round, worker, and seconds or start and end"
UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_UNIT_NAMES = {
    **dict.fromkeys(("sec", "secs", "second", "seconds", "sekunden"), "s"),
    **dict.fromkeys(("msec", "msecs", "millis", "millisecond", "milliseconds", "millisekunden"), "ms"),
    **dict.fromkeys(("\u00b5s", "\u03bcs", "usec", "micros", "microsecond", "microseconds"), "us"),
    **dict.fromkeys(("nsec", "nanos", "nanosecond", "nanoseconds"), "ns"),
}
STATUSES = ("ok", "failed", "cancelled", "censored", NOT_ASKED)
_STATUS_NAMES = {
    **dict.fromkeys(("", "success", "succeeded", "successful", "complete", "completed", "done", "finished"), "ok"),
    **dict.fromkeys(FAILED - {"cancelled", "canceled", "aborted", "abort", "dropped"}, "failed"),
    **dict.fromkeys(("canceled", "aborted", "abort", "dropped"), "cancelled"),
    **dict.fromkeys(("running", "unfinished"), "censored"),
    **dict.fromkeys(
        ("not_asked", "not-asked", "not selected", "not_selected", "unselected", "skipped", "idle"), NOT_ASKED
    ),
}


# Day or month, the mark between them, month or day, year; the time, perhaps with AM or PM.
DATE = r"^(\d{1,2})([/.\-])(\d{1,2})[/.\-]\d{4}[ T,]+\d{1,2}:\d{2}(?::\d{2})?(?:\.\d+)?(?: ?[AaPp][Mm])?$"
# Counts since 1970 of 2001 to 2099 in units smaller than seconds; a clock that starts elsewhere may show them too.
SINCE_1970 = {"ms": (1e12, 4.1e12), "us": (1e15, 4.1e15), "ns": (1e18, 4.1e18)}
FEWEST_FOR_CONTENT = 5  # rows from which the content of a column may decide what it is
LARGEST_WHOLE = 2**1000  # that a float holds, with room to spare
Names = tuple[int | str, ...]  # of workers, in the order of their numbers
Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]


def one_dataset(frame: pd.DataFrame, dataset: str | None) -> pd.DataFrame:
    """The rows of ``dataset``; all rows if there is only one data set."""
    if "dataset" not in frame:
        if dataset is not None:
            raise ValueError(f"dataset={dataset!r} was asked for, but there is no column named dataset")
        return frame
    codes, labels = pd.factorize(frame["dataset"])
    names = pd.Index([str(label) for label in labels])
    known = sorted(set(names))
    if dataset is None:
        if len(known) > 1:
            raise ValueError(f"choose one data set with dataset=..., there are {listed(known, 20)}")
        return frame
    if dataset not in known:
        raise ValueError(f"no data set named {dataset!r}{instead(dataset, known, f'there are {listed(known, 20)}')}")
    return frame[np.append(names == dataset, False)[codes]]


def numbers(column: pd.Series) -> tuple[Floats, Mask]:
    """The values as floats (NaN where there is none), and a mask of text that is not a number."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    try:
        values = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    except OverflowError:  # whole numbers of hundreds of digits
        column = column.map(lambda cell: np.inf if isinstance(cell, int) and abs(cell) > LARGEST_WHOLE else cell)
        values = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    odd = np.flatnonzero(np.isnan(values))
    written = column.iloc[odd].astype(str).str.strip().str.lower()
    text = np.zeros(len(values), bool)
    text[odd] = ~(column.iloc[odd].isna() | written.isin(MISSING | FAILED)).to_numpy()
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


def check_since_1970(frame: pd.DataFrame, unit: str | None) -> None:
    """Raise the question for the unit of ``start`` if nobody says it and its values look like smaller ones."""
    if unit is not None or "unit" in frame or "start" not in frame or "seconds" in frame:
        return
    start = _exact(frame["start"])
    if not pd.api.types.is_numeric_dtype(start):
        return  # dates
    values, _ = numbers(start)
    known = values[np.isfinite(values)]
    for name, (least, most) in SINCE_1970.items() if known.size else ():
        if least <= known.min() and known.max() <= most:
            raise ValueError(
                f"start {known.min():.0f} may count {name} since 1970 (say unit={name}), or seconds of another clock "
                "(say unit=s)"
            )


def _unit(name: object) -> str:
    plain = unit_name(str(name))
    if plain is None:
        raise ValueError(f"unit must be one of {', '.join(UNITS)}, got {name!r}")
    return plain


def unit_name(text: str) -> str | None:
    """The unit that ``text`` names, as in UNITS; None if it names none."""
    plain = text.strip().lower()
    plain = _UNIT_NAMES.get(plain, plain)
    return plain if plain in UNITS else None


def statuses(frame: pd.DataFrame) -> "pd.Categorical[str] | None":
    """The status of each row, None without the column; an empty status is ok."""
    if "status" not in frame:
        return None
    codes, names = pd.factorize(frame["status"], use_na_sentinel=True)
    plain = [_status(name) for name in names]
    unknown = sorted({name for name in plain if name not in STATUSES})
    if unknown:
        raise ValueError(f"status must be one of {', '.join(STATUSES)}, got {listed(unknown)}")
    places = np.array([STATUSES.index(name) for name in [*plain, "ok"]], dtype=np.int8)
    return pd.Categorical.from_codes(places[codes], pd.Index(STATUSES))  # pyright: ignore[reportCallIssue, reportArgumentType]


def _status(name: object) -> str:
    text = str(name).strip().lower()
    text = "cancelled" if text.startswith("cancelled by ") else text  # as Slurm writes it
    return _STATUS_NAMES.get(text, text)


def is_status(column: pd.Series) -> bool:
    """Whether all words in the column name a status."""
    return all(_status(name) in STATUSES for name in column.dropna().unique()[:50])


def unknown_statuses(column: pd.Series) -> list[str]:
    """The words in the column that name no status, without repeats."""
    return [str(name) for name in column.dropna().unique()[:50] if _status(name) not in STATUSES]


def delivers_not(column: pd.Series) -> Mask:
    """Where a word for failure stands, such as timeout."""
    if not pd.api.types.is_object_dtype(column) and not isinstance(column.dtype, pd.StringDtype):
        return np.zeros(len(column), bool)
    return column.astype(str).str.strip().str.lower().isin(FAILED).to_numpy(bool)


def durations(frame: pd.DataFrame, factor: float | Floats) -> tuple[Floats, Mask, Floats | None]:
    """Seconds of each row, a mask of text, and the start if it is given (seconds after the first one).

    Without a column ``seconds`` they are ``end - start``: numbers in the unit that ``factor`` stands for, or ISO dates.
    """
    if "seconds" in frame:
        if pd.api.types.is_timedelta64_dtype(frame["seconds"]):
            return frame["seconds"].dt.total_seconds().to_numpy(np.float64), np.zeros(len(frame), bool), None
        in_hours = seconds_of_durations(frame["seconds"])
        seconds, text = numbers(frame["seconds"] if in_hours is None else in_hours)
        return seconds * (factor if in_hours is None else 1.0), text, None
    if {"start_clock", "end_clock"} <= set(frame.columns):
        other = int((frame["start_clock"].astype(str) != frame["end_clock"].astype(str)).sum())
        if other:
            raise ValueError(
                f"start and end must be read from one clock; in {other} of {len(frame)} rows start_clock and end_clock "
                "differ: give seconds, or both times by the same clock"
            )
    start, end = _exact(frame["start"]), _exact(frame["end"])
    if all(pd.api.types.is_integer_dtype(column) for column in (start, end)):
        known = (start.notna() & end.notna()).to_numpy(bool)
        first, last = start.fillna(0).to_numpy(np.int64), end.fillna(0).to_numpy(np.int64)  # floats lose nanoseconds
        begun = start.notna().to_numpy(bool)
        origin = first[begun].min() if begun.any() else 0
        seconds = np.where(known, (last - first) * np.asarray(factor), np.nan)
        return seconds, np.zeros(len(frame), bool), np.where(begun, (first - origin) * np.asarray(factor), np.nan)
    (first, first_text), (last, last_text) = _instants("start", start), _instants("end", end)
    if isinstance(first, pd.Series) and isinstance(last, pd.Series):
        zones = [column.dt.tz is not None for column in (first, last)]
        if zones[0] != zones[1]:
            zoned, plain = ("start", "end") if zones[0] else ("end", "start")
            raise ValueError(
                f"start and end must both have a time zone or neither, but {zoned} has one and {plain} has none: which "
                f"zone {plain} is in cannot be known"
            )
        elapsed, since = (last - first).dt.total_seconds(), (first - first.min()).dt.total_seconds()
        return elapsed.to_numpy(np.float64), first_text | last_text, since.to_numpy(np.float64)
    if isinstance(first, pd.Series) or isinstance(last, pd.Series):
        raise ValueError("start and end must be both numbers or both dates")
    origin = np.nanmin(first, initial=np.inf)
    return (last - first) * factor, first_text | last_text, (first - origin) * factor


def _exact(column: pd.Series) -> pd.Series:
    """Whole numbers with gaps as integers that may be missing, so that nanoseconds since 1970 are not rounded."""
    if not pd.api.types.is_object_dtype(column) and not isinstance(column.dtype, pd.StringDtype):
        return column
    cells = column.map(lambda cell: cell.strip() if isinstance(cell, str) else cell)
    missing = (column.isna() | cells.astype(str).str.lower().isin(MISSING | FAILED)).to_numpy(bool)
    digits = cells.astype(str).str.fullmatch(r"[+-]?\d{1,18}|1[0-9]{18}").to_numpy(bool)
    if not digits[~missing].all() or missing.all():
        return column
    whole = np.zeros(len(column), np.int64)
    whole[~missing] = [int(cell) for cell in cells[~missing]]
    return pd.Series(pd.arrays.IntegerArray(whole, missing), column.index)


def _instants(name: str, column: pd.Series) -> tuple[Floats | pd.Series, Mask]:
    """Points in time, as floats or as a series of dates, and a mask of other text."""
    if pd.api.types.is_datetime64_any_dtype(column):
        return column, np.zeros(len(column), bool)
    values, text = numbers(column)
    if not text.any():
        return values, text
    written = column.astype(str).str.strip()
    missing = column.isna() | written.str.lower().isin(MISSING | FAILED)
    zoned = written[~missing].str.contains(r"(?:[zZ]|[+-]\d{2}:?\d{2})$")
    if zoned.any() and not zoned.all():
        raise ValueError(f"{name} must have a time zone in all rows or in none, {int((~zoned).sum())} rows have none")
    for form in ("ISO8601", *_date_forms(name, written[~missing])):
        dates = pd.to_datetime(written.where(~missing), errors="coerce", utc=bool(zoned.any()), format=form)
        if dates.isna().mean() <= 0.5:
            return dates, (dates.isna() & ~missing).to_numpy()
    return values, text


def _date_forms(name: str, texts: pd.Series) -> list[str]:
    """Formats of dates such as 03/31/2024.  Raises ValueError if the day and the month cannot be told apart."""
    parts = texts.str.extract(DATE).dropna(subset=[0])
    if parts.empty or len(parts) < 0.5 * len(texts):
        return []
    first, second = parts[0].astype(int), parts[2].astype(int)
    if first.max() <= 12 and second.max() <= 12 and not (parts[1] == ".").all():
        example = texts.loc[parts.index[0]]
        raise ValueError(f"{name} {example} may begin with the month or the day: write dates as 2024-03-31 12:00:00")
    mark = parts[1].iloc[0]
    order = "%m{0}%d{0}%Y" if second.max() > 12 else "%d{0}%m{0}%Y"
    clocks = ("%H:%M:%S.%f", "%H:%M:%S", "%H:%M", "%I:%M:%S.%f %p", "%I:%M:%S %p", "%I:%M %p")
    return [f"{order.format(mark)} {clock}" for clock in clocks]


def numbered(ascending: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Distinct values of an ascending array, and the place of each entry among them; O(size)."""
    place = np.concatenate([[0], np.cumsum(np.diff(ascending) != 0)])[: len(ascending)]
    first = np.flatnonzero(np.diff(place, prepend=-1))
    return ascending[first], place


@explains_types
def counted(number: int, what: str) -> str:
    """A number with its noun, plural unless it is 1.

    >>> counted(1, "row"), counted(2, "row")
    ('1 row', '2 rows')
    """
    return f"{number} {what}{'' if number == 1 else 's'}"


@explains_types
def listed(names: list[str], most: int = 8) -> str:
    """The first names, and how many more there are.

    >>> listed(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def one_line(text: str) -> str:
    """The text with every run of white space, line breaks too, as a single space."""
    return " ".join(text.split())


@explains_types
def shortened(text: str, most: int = 100) -> str:
    """The text, cut after ``most`` characters.

    >>> shortened("tokens per second", most=6)
    'tokens ...'
    """
    return text if len(text) <= most else text[:most] + " ..."
