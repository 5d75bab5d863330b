"""Files and folders to rows: the content of a file, not its name, decides which reader of ``formats`` reads it."""

import gzip
import pkgutil
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import IO, NamedTuple

import pandas as pd

from abs_theory.checks import explains_types, instead
from abs_theory.files import check_not_archive, open_input
from abs_theory.traces.columns import NEEDED, counted, listed, one_line
from abs_theory.traces.formats import FORMATS, recognised
from abs_theory.traces.header_line import HeaderError
from abs_theory.traces.headers import Wishes, attempts_of
from abs_theory.traces.names import METRIC, words_of

__all__ = ["Loaded", "Source", "load", "read_table"]

# What logs that are rotated have after their name: .1, .2.gz, -20250330, .2025-03-30
ROTATED = re.compile(r"(?<=[a-z])[.-](\d{1,4}|\d{8,14}|\d{4}-\d\d-\d\d)(?=(\.gz)?$)", re.IGNORECASE)
MOST_NAMED = 4  # entries of a folder in one note
HEAD_BYTES = 65536  # that show what a file is
GZIP, UTF16, UTF8_MARK = b"\x1f\x8b", (b"\xff\xfe", b"\xfe\xff"), b"\xef\xbb\xbf"
SETTING = re.compile(rb"[\w.-]+\s*=\s*[^\s=].*|\[{1,2}[A-Za-z][\w.-]*\]{1,2}\s*(#.*)?")  # a line of TOML


class Source(NamedTuple):
    """A file as a reader gets it."""

    path: Path  #: of the file
    head: bytes  #: first bytes, unpacked
    zipped: bool  #: whether the file is compressed by gzip
    format: str | None  #: the format that the caller named; None: recognised by its content
    most_bad: float = 0.0  #: share of the lines that may be left out because they are damaged

    def open(self) -> IO[bytes]:
        """The unpacked content, up to the limits of ``open_input``."""
        return open_input(self.path)


class Loaded(NamedTuple):
    """Rows with the columns of ``traces.read``, the unit that the format prescribes, and notes for the report."""

    frame: pd.DataFrame  #: one row per attempt
    unit: str | None  #: of its times; None: the format does not say
    report: tuple[str, ...]  #: what reading did and noticed
    decimal: str | None = None  #: mark of decimals in text, if the format tells it
    columns: tuple[str, ...] = ()  #: names of the columns that were read


def load(path: Path, format: str | None = None, wishes: Wishes | None = None) -> Loaded:
    """The attempts in a file, or in all files of a folder.

    Raises ValueError if they are not a trace, saying what they seem to be; OSError if they cannot be opened.
    """
    wishes = wishes or Wishes()
    if format is not None and format not in FORMATS:
        known = f"format must be one of {', '.join(FORMATS)} or None"
        raise ValueError(f"there is no format {format!r}{instead(format, FORMATS, known)}")
    if not path.is_dir():
        return _load_file(path, format, wishes)
    suffixes = tuple(dict.fromkeys(suffix for kind in FORMATS.values() for suffix in kind.suffixes))
    entries = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
    files = [entry for entry in entries if ROTATED.sub("", entry.name.lower()).endswith(suffixes)]
    if not files:
        raise ValueError(f"{path} must hold files named *{', *'.join(suffixes)}, there are none")
    parts = [_load_file(file, format, wishes) for file in files]
    if len({part.unit for part in parts}) > 1:
        raise ValueError(f"{path} must hold tables or timelines, not both")
    notes = [f"{counted(len(files), 'file')} read"]
    if others := [entry.name for entry in entries if entry not in files]:
        notes.append(f"left out by their names: {listed(others, MOST_NAMED)}")
    if parts[0].unit is not None:
        _check_claims(files, parts)
    elif _of_one_worker_each(parts):
        frames = [part.frame.assign(worker=_stem(file)) for file, part in zip(files, parts, strict=True)]
        parts = [part._replace(frame=frame) for frame, part in zip(frames, parts, strict=True)]
        notes.append("each file is a worker")
    report = dict.fromkeys(sentence for part in parts for sentence in part.report)
    frame = pd.concat([part.frame for part in parts], ignore_index=True)
    columns = tuple(dict.fromkeys(name for part in parts for name in part.columns))
    return Loaded(frame, parts[0].unit, (*notes, *report), columns=columns)


def _of_one_worker_each(parts: list[Loaded]) -> bool:
    """Whether all files name the same single worker, as Value, and two of them the same round."""
    if len({name for part in parts for name in part.frame["worker"].unique()}) != 1:
        return False
    rounds = pd.concat([part.frame["round"].drop_duplicates() for part in parts])
    return bool(rounds.duplicated().any())


def _stem(file: Path) -> str:
    """The name of a file without its endings.  Raises ValueError if it is that of a metric which is no time."""
    stem = ROTATED.sub("", file.name).removesuffix(".gz").rpartition(".")[0]
    if METRIC.search(words_of(stem)):
        raise ValueError(f"{file} seems to hold a metric, not step times: keep only the files of step times together")
    return stem


def _check_claims(files: list[Path], parts: list[Loaded]) -> None:
    """Raise ValueError if two files claim the same round of the same worker."""
    claimed: dict[tuple[object, ...], Path] = {}
    for file, part in zip(files, parts, strict=True):
        keys = [name for name in ("dataset", "worker", "round") if name in part.frame]
        own = set(part.frame[keys].itertuples(index=False, name=None))
        if twice := sorted(own & claimed.keys(), key=str):
            *_, worker, number = twice[0]
            raise ValueError(
                f"{claimed[twice[0]].name} and {file.name} both hold round {number} of worker {worker}: keep one of "
                "them, or name the files so that each names its worker, as rank0.json"
            )
        claimed |= dict.fromkeys(own, file)


@explains_types
def read_table(path: Path, format: str | None = None, most_bad: float = 0.0) -> pd.DataFrame:
    r"""The table in a CSV, JSON, Parquet or spreadsheet file as it stands: no column is renamed, no row is mended.

    ``format`` is one of ``FORMATS``; None: recognised by the content.  Damaged lines of text are left out if they are
    at most a share ``most_bad`` of all.  What reading left out is said in the list ``attrs["notes"]`` of the table.
    Raises ValueError, naming the file, if it holds no table; OSError if it cannot be read.
    See also ``read``, which makes a trace of it.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "lengths.csv").write_text("tokens;group\n5;a\n")
    ...     read_table(Path(folder, "lengths.csv"))
       tokens group
    0       5     a
    """
    with _named(path):
        loaded, _ = _loaded(path, format, most_bad)
        if loaded.unit is not None:
            raise ValueError("the file must hold a table, it is a timeline")
        loaded.frame.attrs["notes"] = list(loaded.report)
        return loaded.frame


def _loaded(path: Path, format: str | None, most_bad: float = 0.0) -> tuple[Loaded, str]:
    """What the reader of its format makes of a file, and the name of the format."""
    if not path.is_file() and path.exists():
        raise ValueError("a trace must be a regular file or a folder of such files, not a pipe, device or socket")
    head, zipped = _head(path)
    name = format or _format_of(head)
    read: Callable[[Source], Loaded] = pkgutil.resolve_name(FORMATS[name].reader)
    return read(Source(path, head, zipped, format, most_bad)), name


def _load_file(path: Path, format: str | None, wishes: Wishes) -> Loaded:
    with _named(path):
        try:
            loaded, name = _loaded(path, format)
        except HeaderError as problem:
            raise ValueError(f"{problem}; {NEEDED}") from None
        if loaded.unit is not None:
            if wishes.columns or wishes.ignore:
                raise ValueError("columns are chosen in tables, this file is a timeline: leave columns and ignore out")
            return loaded
        if loaded.decimal is not None and wishes.decimal is None:
            wishes = replace(wishes, decimal=loaded.decimal)
        layout = name if name in ("long", "wide") and format else None
        frame, report, columns = attempts_of(loaded.frame, layout, wishes)
        return loaded._replace(frame=frame, report=(*loaded.report, *report), columns=columns)


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
    if _is_toml(head.removeprefix(UTF8_MARK)):
        raise ValueError("the file is TOML, which describes a run (python -m simulations), not a trace of one")
    if head.startswith(b"\xd0\xcf\x11\xe0"):
        raise ValueError("the file is a spreadsheet in the old format .xls: save it as .xlsx or CSV")
    check_not_archive(head)
    if b"\0" in head and not head.startswith(UTF16):
        raise ValueError("the file is binary and not Parquet: a trace is a CSV, Parquet or JSON file")
    return next(name for name, kind in FORMATS.items() if not kind.begins)


def _is_toml(head: bytes) -> bool:
    """Whether the first two lines, comments aside, set something."""
    lines = (line.strip() for line in head.splitlines())
    first = list(islice((line for line in lines if line and not line.startswith(b"#")), 2))
    return len(first) > 1 and all(SETTING.fullmatch(line) for line in first)
