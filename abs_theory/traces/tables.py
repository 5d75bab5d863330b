"""Tables to rows: CSV of any usual dress and Parquet, with a row per attempt or a row per round."""

import csv
import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from abs_theory.traces.columns import NEEDED, counted, numbers
from abs_theory.traces.files import UTF16, Loaded, Source

__all__ = ["read_csv", "read_parquet"]

LONG_NAMES = {"worker", "seconds", "start", "end"}
ROUND_NAMES = {"round", "step", "iteration", "index", ""}
CATEGORIES = {"status", "unit", "dataset"}  # few values in many rows


def read_parquet(source: Source) -> Loaded:
    """The table in a Parquet file."""
    try:
        import pyarrow as pa
    except ImportError:
        raise ValueError('a Parquet file needs pyarrow: pip install "abs-toolkit[traces]"') from None
    try:
        frame = pd.read_parquet(source.path, engine="pyarrow")
    except (pa.ArrowException, OSError) as problem:
        raise ValueError(f"the file is cut short or damaged: {problem}") from None
    return _table(frame, None, [])


def read_csv(source: Source) -> Loaded:
    """The table in a text file; separator, decimal point and encoding are taken from its first lines."""
    wide_text = source.head.startswith(UTF16)
    encoding = "utf-16" if wide_text else "utf-8-sig"
    first = re.split(r"[\r\n]", source.head.decode(encoding, errors="replace").lstrip(), maxsplit=1)[0]
    separator = max(",;\t", key=first.count)
    names = [name.strip() for name in next(csv.reader([first], delimiter=separator))]
    _check_header(names)
    options = {
        "sep": separator,
        "encoding": encoding,
        "compression": "gzip" if source.zipped else None,
        "decimal": "," if separator == ";" and b"." not in source.head else ".",
        "skipinitialspace": True,
        "dtype": {name: "category" for name in names if name.lower() in CATEGORIES},
        "index_col": False,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pd.errors.DtypeWarning)  # text among numbers is dealt with later
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            frame = pd.read_csv(source.path, **options)
        except (pd.errors.ParserError, pd.errors.ParserWarning) as problem:
            raise ValueError(f"there must be as many fields in every line as in the first: {problem}") from None
    report: list[str] = []
    if not frame.empty and not source.zipped and not _ends_with_newline(source.path) and pd.isna(frame.iloc[-1, -1]):
        frame = frame.iloc[:-1]
        report.append("the last line is cut short: left out")
    return _table(frame, source.format, report)


def _check_header(names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"the first line must name each column once, got {twice[0]!r} more than once")
    values = pd.to_numeric(pd.Series(names), errors="coerce")
    if values.notna().all() and (values % 1 != 0).any():
        raise ValueError(f"the first line must name the columns, got numbers: {', '.join(names[:4])}")


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) in b"\r\n\0"


def _table(frame: pd.DataFrame, layout: str | None, report: list[str]) -> Loaded:
    names = {str(name).strip().lower() for name in frame.columns}
    if layout == "long" or (layout is None and names & LONG_NAMES):
        return Loaded(frame, None, tuple(report))
    return Loaded(_long(frame, report), None, tuple(report))


def _long(frame: pd.DataFrame, report: list[str]) -> pd.DataFrame:
    """One row per filled cell of a table rounds x workers."""
    plain = [str(name).strip().lower() for name in frame.columns]
    plain = ["" if name.startswith("unnamed:") else name for name in plain]
    kept = {name: frame.columns[place] for place, name in enumerate(plain) if name in ("dataset", "unit")}
    index = next((frame.columns[place] for place, name in enumerate(plain) if name in ROUND_NAMES), None)
    cells = frame.drop(columns=[*kept.values(), *([] if index is None else [index])])
    if cells.shape[1] == 0 or frame.empty:
        raise ValueError(f"{NEEDED}, or one column per worker; found {', '.join(map(str, frame.columns[:12]))}")
    for name in cells:
        values, text = numbers(cells[name])
        if np.isnan(values).all() and text.any():
            raise ValueError(
                f"{NEEDED}, or one column of seconds per worker; found "
                f"{', '.join(map(str, frame.columns[:12]))}, and no number in {name}"
            )
    rounds = np.arange(len(frame)) if index is None else frame[index].to_numpy()
    order = " (rounds are its lines)" if index is None else ""
    report.append(f"read as a table of {counted(len(frame), 'round')} x {counted(cells.shape[1], 'worker')}{order}")
    row, column = np.nonzero(cells.notna().to_numpy())
    return pd.DataFrame(
        {
            "round": rounds[row],
            "worker": cells.columns.to_numpy()[column],
            "seconds": cells.to_numpy()[row, column],
            **{name: frame[original].to_numpy()[row] for name, original in kept.items()},
        }
    )
