"""The one table of the kinds of files that hold a trace; help texts, checks and recognition come from it."""

from typing import NamedTuple

__all__ = ["FORMATS", "Format", "format_names", "recognised"]


class Format(NamedTuple):
    """A kind of file: what it holds, how it is recognised by its content, and the function that reads it."""

    contents: str  #: in a few words
    reader: str  #: "module:function" that takes a ``files.Source`` and returns a ``files.Loaded``
    suffixes: tuple[str, ...]  #: of files that are read from a folder
    begins: tuple[bytes, ...] = ()  #: first bytes of such a file; none: any text


# Of several formats that begin alike, the first is asked; its reader knows from ``Source.format`` that nobody named it.
FORMATS = {
    "long": Format("a row per attempt", "abs_theory.traces.tables:read_csv", (".csv", ".csv.gz")),
    "wide": Format("a row per round, a column per worker", "abs_theory.traces.tables:read_csv", (".csv", ".csv.gz")),
    "parquet": Format("either table", "abs_theory.traces.tables:read_parquet", (".parquet",), (b"PAR1",)),
    "xlsx": Format("either table", "abs_theory.traces.tables:read_spreadsheet", (".xlsx",), (b"PK\x03\x04",)),
    "kineto": Format(
        "a file per rank, of PyTorch's profiler",
        "abs_theory.traces.timelines:read_timeline",
        (".json", ".json.gz"),
        (b"{", b"["),
    ),
    "chrome": Format(
        "tasks, as ray timeline writes them",
        "abs_theory.traces.timelines:read_timeline",
        (".json", ".json.gz"),
        (b"{", b"["),
    ),
    "json": Format(
        "either table as records, or spans of OpenTelemetry",
        "abs_theory.traces.json_tables:read_json",
        (".json", ".json.gz", ".jsonl", ".jsonl.gz"),
        (b"{", b"["),
    ),
}


def format_names() -> str:
    """The names of all formats, for a help text.

    >>> format_names()
    'long, wide, parquet, xlsx, kineto, chrome or json'
    """
    *names, last = FORMATS
    return f"{', '.join(names)} or {last}"


def recognised(start: bytes) -> str | None:
    """The format whose first bytes agree best with ``start``; None: text of any kind, or something unknown."""
    agreeing = [
        (len(first), -place, name)
        for place, (name, kind) in enumerate(FORMATS.items())
        for first in kind.begins
        if start.startswith(first)
    ]
    return max(agreeing)[2] if agreeing else None
