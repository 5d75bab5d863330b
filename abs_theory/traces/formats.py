"""Files to rows: long and wide CSV, Parquet, timelines.  What a file is, is told by its content, not by its name."""

import csv
import gzip
import re
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from abs_theory.traces.columns import NEEDED, counted, numbers
from abs_theory.traces.timelines import read_timeline

__all__ = ["FORMATS", "Loaded", "load"]

FORMATS = ("long", "wide", "parquet", "kineto", "chrome")
LONG_NAMES = {"worker", "seconds", "start", "end"}
ROUND_NAMES = {"round", "step", "iteration", "index", ""}
CATEGORIES = {"status", "unit", "dataset"}  # few values in many rows
SUFFIXES = (".csv", ".csv.gz", ".json", ".json.gz", ".parquet")
HEAD = 65536  # bytes that show what a file is


class Loaded(NamedTuple):
    """Rows with the columns of ``traces.read``, the unit the format prescribes, and what there is to report."""

    frame: pd.DataFrame
    unit: str | None
    report: tuple[str, ...]


def load(path: Path, format: str | None = None) -> Loaded:
    """The rows in a file, or in all files of a folder.

    Raises ValueError if they are not a trace, with what they seem to be; OSError if they cannot be opened.
    """
    if format is not None and format not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)} or None, got {format!r}")
    if not path.is_dir():
        return _load_file(path, format)
    files = sorted(file for file in path.iterdir() if file.name.lower().endswith(SUFFIXES))
    if not files:
        raise ValueError(f"{path} must hold files named *{', *'.join(SUFFIXES)}, there are none")
    parts = [_load_file(file, format) for file in files]
    if len({part.unit for part in parts}) > 1:
        raise ValueError(f"{path} must hold tables or timelines, not both")
    report = dict.fromkeys(sentence for part in parts for sentence in part.report)
    frame = pd.concat([part.frame for part in parts], ignore_index=True)
    return Loaded(frame, parts[0].unit, (f"{counted(len(files), 'file')} read", *report))


def _load_file(path: Path, format: str | None) -> Loaded:
    with _named(path):
        head, zipped = _head(path)
        kind = format or _kind(head)
        if kind in ("kineto", "chrome", "json"):
            frame, report = read_timeline(path, None if kind == "json" else kind)
            return Loaded(frame, "us", report)
        if kind == "parquet":
            return _table(_read_parquet(path), None, [])
        return _read_csv(path, head, zipped, None if kind == "csv" else kind)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Name the file in what is wrong with it, in one line."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as problem:
        message = f"the file is cut short or damaged: {problem}"
    except UnicodeDecodeError:
        message = "the file must be text in UTF-8, as CSV or JSON, or Parquet"
    except ValueError as problem:
        message = " ".join(str(problem).split())
    else:
        return
    raise ValueError(f"{path}: {message}")


def _head(path: Path) -> tuple[bytes, bool]:
    """The first bytes, and whether the file is compressed by gzip."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    if not head.startswith(b"\x1f\x8b"):
        return head, False
    with gzip.open(path) as file:
        return file.read(HEAD), True


def _kind(head: bytes) -> str:
    """csv, parquet or json.  Raises ValueError for anything else."""
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:100].lower()
    if not start:
        raise ValueError("the file is empty")
    if head.startswith(b"PAR1"):
        return "parquet"
    if start.startswith(b"version https://git-lfs"):
        raise ValueError("the file is only a pointer to a file kept by Git LFS: fetch it with git lfs pull")
    if start.startswith(b"<"):
        raise ValueError("the file is an HTML or XML page, not a trace: was it saved from a browser?")
    if head.startswith(b"PK\x03\x04"):
        raise ValueError("the file is a zip archive or a spreadsheet: unpack it, or save it as CSV")
    if b"\0" in head and not head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError("the file is binary and not Parquet: a trace is a CSV, Parquet or JSON file")
    return "json" if start[:1] in (b"{", b"[") else "csv"


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        import pyarrow as pa
    except ImportError:
        raise ValueError('a Parquet file needs pyarrow: pip install "abs-toolkit[traces]"') from None
    try:
        return pd.read_parquet(path, engine="pyarrow")
    except (pa.ArrowException, OSError) as problem:
        raise ValueError(f"the file is cut short or damaged: {problem}") from None


def _read_csv(path: Path, head: bytes, zipped: bool, layout: str | None) -> Loaded:
    wide_text = head.startswith((b"\xff\xfe", b"\xfe\xff"))
    encoding = "utf-16" if wide_text else "utf-8-sig"
    first = re.split(r"[\r\n]", head.decode(encoding, errors="replace").lstrip(), maxsplit=1)[0]
    separator = max(",;\t", key=first.count)
    names = [name.strip() for name in next(csv.reader([first], delimiter=separator))]
    _check_header(names)
    options = {
        "sep": separator,
        "encoding": encoding,
        "compression": "gzip" if zipped else None,
        "decimal": "," if separator == ";" and b"." not in head else ".",
        "skipinitialspace": True,
        "dtype": {name: "category" for name in names if name.lower() in CATEGORIES},
        "index_col": False,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pd.errors.DtypeWarning)  # text among numbers is dealt with later
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            frame = pd.read_csv(path, **options)
        except (pd.errors.ParserError, pd.errors.ParserWarning) as problem:
            raise ValueError(f"there must be as many fields in every line as in the first: {problem}") from None
    report: list[str] = []
    if not frame.empty and not zipped and not _ends_with_newline(path) and pd.isna(frame.iloc[-1, -1]):
        frame = frame.iloc[:-1]
        report.append("the last line is cut short: left out")
    return _table(frame, layout, report)


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
