"""Files and folders to rows: the content of a file, not its name, decides which reader of ``formats`` reads it."""

import gzip
import pkgutil
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from abs_theory.traces.columns import counted, one_line
from abs_theory.traces.formats import FORMATS, recognised

__all__ = ["Loaded", "Source", "load"]

HEAD_BYTES = 65536  # that show what a file is
GZIP, UTF16, UTF8_MARK = b"\x1f\x8b", (b"\xff\xfe", b"\xfe\xff"), b"\xef\xbb\xbf"


class Source(NamedTuple):
    """A file as a reader gets it."""

    path: Path  #: of the file
    head: bytes  #: first bytes, unpacked
    zipped: bool  #: whether the file is compressed by gzip
    format: str | None  #: the format that the caller named; None: recognised by its content


class Loaded(NamedTuple):
    """Rows with the columns of ``traces.read``, the unit that the format prescribes, and notes for the report."""

    frame: pd.DataFrame  #: one row per attempt
    unit: str | None  #: of its times; None: the format does not say
    report: tuple[str, ...]  #: what reading did and noticed


def load(path: Path, format: str | None = None) -> Loaded:
    """The rows in a file, or in all files of a folder.

    Raises ValueError if they are not a trace, saying what they seem to be; OSError if they cannot be opened.
    """
    if format is not None and format not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)} or None, got {format!r}")
    if not path.is_dir():
        return _load_file(path, format)
    suffixes = tuple(dict.fromkeys(suffix for kind in FORMATS.values() for suffix in kind.suffixes))
    files = sorted(file for file in path.iterdir() if file.name.lower().endswith(suffixes))
    if not files:
        raise ValueError(f"{path} must hold files named *{', *'.join(suffixes)}, there are none")
    parts = [_load_file(file, format) for file in files]
    if len({part.unit for part in parts}) > 1:
        raise ValueError(f"{path} must hold tables or timelines, not both")
    report = dict.fromkeys(sentence for part in parts for sentence in part.report)
    frame = pd.concat([part.frame for part in parts], ignore_index=True)
    return Loaded(frame, parts[0].unit, (f"{counted(len(files), 'file')} read", *report))


def _load_file(path: Path, format: str | None) -> Loaded:
    with _named(path):
        head, zipped = _head(path)
        name = format or _format_of(head)
        read: Callable[[Source], Loaded] = pkgutil.resolve_name(FORMATS[name].reader)
        return read(Source(path, head, zipped, format))


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Put the name of the file before a message about it, in one line."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as problem:
        message = f"the file is cut short or damaged: {problem}"
    except UnicodeDecodeError:
        message = "the file must be text in UTF-8, as CSV or JSON, or Parquet"
    except ValueError as problem:
        message = one_line(str(problem))
    else:
        return
    raise ValueError(f"{path}: {message}")


def _head(path: Path) -> tuple[bytes, bool]:
    """The first bytes, unpacked, and whether the file is compressed by gzip."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head.startswith(GZIP):
        return head, False
    with gzip.open(path) as file:
        return file.read(HEAD_BYTES), True


def _format_of(head: bytes) -> str:
    """The name of the format; any text that is no other format is a table.  Raises ValueError for anything else."""
    start = head.removeprefix(UTF8_MARK).lstrip()[:100]
    if not start:
        raise ValueError("the file is empty")
    if (name := recognised(head) or recognised(start)) is not None:
        return name
    if start.lower().startswith(b"version https://git-lfs"):
        raise ValueError("the file is only a pointer to a file kept by Git LFS: fetch it with git lfs pull")
    if start.startswith(b"<"):
        raise ValueError("the file is an HTML or XML page, not a trace: was it saved from a browser?")
    if head.startswith(b"PK\x03\x04"):
        raise ValueError("the file is a zip archive or a spreadsheet: unpack it, or save it as CSV")
    if b"\0" in head and not head.startswith(UTF16):
        raise ValueError("the file is binary and not Parquet: a trace is a CSV, Parquet or JSON file")
    return next(name for name, kind in FORMATS.items() if not kind.begins)
