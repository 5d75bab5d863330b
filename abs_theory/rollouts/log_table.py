"""A log of answers as a table: any kind of file, and the rows that are no answers left out, or named."""

import csv
import io
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd

from abs_theory.files import last_line, open_input
from abs_theory.traces import counted, read_table, shortened
from abs_theory.typing import Array

__all__ = ["log_table", "one_row_each", "positive"]

MOST_ANSWERS = 5_000_000  # of a log, which then take some 100 MB
MOST_BAD = 0.01  # of the lines or rows of a log that may be left out, with a note
HEAD_BYTES = 64  # that show what a file is
UNCOUNTED = (b"#", b"sep=", b'"sep=', b"\xff\xfe", b"\xfe\xff")  # starts of texts whose lines are not counted here


def log_table(path: Path) -> pd.DataFrame:
    """The rows of a file, in a column tokens if there is only one; the index says where each stands in the file."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    kind = suffixes[-2] if suffixes[-1:] == [".gz"] and len(suffixes) > 1 else "".join(suffixes[-1:])
    with open_input(path) as file:
        start = file.read(HEAD_BYTES)
    is_json = kind in (".jsonl", ".ndjson", ".json") or start.lstrip().startswith((b"{", b"["))
    is_text = not is_json and not start.startswith((b"PAR1", b"PK"))
    plain = is_text and _is_number(start.split(maxsplit=1)[:1])
    table = _numbers(path) if plain else read_table(path, "json" if is_json else None, MOST_BAD)
    if len(table) > MOST_ANSWERS:
        raise ValueError(f"{path.name} has more than {MOST_ANSWERS} rows: take every tenth, say")
    notes = table.attrs["notes"]
    table = table.drop(columns="", errors="ignore")  # a stored index has no name
    name, first = "record" if is_json else "row", 1
    if is_text and not start.startswith(UNCOUNTED):
        name, first = "line", 1 if plain else 2
    table = table.set_axis(pd.RangeIndex(first, len(table) + first, name=name))
    table.attrs.update(notes=list(notes), path=path)
    return table


def _is_number(words: list[bytes]) -> bool:
    try:
        return bool(words) and bool(np.isfinite(float(words[0])))
    except ValueError:
        return False


def _numbers(path: Path) -> pd.DataFrame:
    """The lengths of a file without a header, one in each line."""
    with open_input(path) as file:
        try:
            table = pd.read_csv(file, header=None, names=["tokens"], nrows=MOST_ANSWERS + 1)
        except ValueError as problem:
            raise ValueError(f"{path.name} must hold a length in each line, and does not: {problem}") from None
    cut, note = last_line(path, 1, lambda line: [line])
    if note and len(table) > 1:
        table = table.iloc[: len(table) - cut]
    table.attrs["notes"] = [note] if note else []
    return table


def _line_number(path: Path, number: int) -> int:
    """The line that an editor shows for the line with this number, where blank lines do not count."""
    with open_input(path) as file, io.TextIOWrapper(file, encoding="utf-8", errors="replace", newline="") as text:
        lines = csv.reader(text)
        with suppress(csv.Error):
            for fields in lines:
                number -= len(fields) > 1 or bool(fields and fields[0].strip())
                if not number:
                    break
        return lines.line_num


def one_row_each(table: pd.DataFrame, place: dict[str, str], name: str) -> pd.DataFrame:
    """The table with a row for each answer, if a row has the list of all answers to a prompt; ``place`` follows.

    Raises ValueError if some cells are lists and others are not.

    >>> place = {"tokens": "lengths"}
    >>> one_row_each(pd.DataFrame({"lengths": [[5, 7], [9]]}), place, "log.jsonl")["lengths"].tolist()
    [5, 7, 9]
    >>> place
    {'tokens': 'lengths', 'group': 'row of the list'}
    """
    tokens = place["tokens"]
    lists = table[tokens].map(lambda cell: isinstance(cell, list | np.ndarray))
    if not lists.any():
        return table
    if not lists.all():
        raise ValueError(f"the column {tokens} of {name} must have a list of lengths in each row, or in none")
    if "group" not in place:
        place["group"] = "row of the list"
        table = table.assign(**{place["group"]: np.arange(len(table))})
    together = [tokens, *(place[role] for role in ("seconds",) if role in place)]
    try:
        return table.explode(together)
    except ValueError:
        raise ValueError(f"the lists of {' and '.join(together)} in a row of {name} must be equally long") from None


def positive(table: pd.DataFrame, columns: Sequence[str], name: str) -> tuple[pd.DataFrame, Mapping[str, Array]]:
    """The rows in which these columns have finite numbers > 0, and these numbers.

    Other rows are left out and noted if they are at most ``MOST_BAD`` of all.  Raises ValueError if there are more.
    """
    numbers = {column: pd.to_numeric(table[column], errors="coerce").to_numpy(float) for column in columns}
    good = {column: np.isfinite(values) & (values > 0) for column, values in numbers.items()}
    kept = np.logical_and.reduce(list(good.values()))
    left_out = int((~kept).sum())
    if left_out > MOST_BAD * len(table):
        column = next(column for column in columns if not good[column].all())
        raise ValueError(_bad_cells(table, column, np.flatnonzero(~good[column]), name))
    if left_out:
        attrs = table.attrs
        what = " or ".join(column for column in columns if not good[column].all())
        note = f"{counted(left_out, 'row')} without a number > 0 of {what} left out"
        table = table[kept]
        table.attrs = attrs | {"notes": [*attrs.get("notes", ()), note]}
    return table, {column: values[kept] for column, values in numbers.items()}


def _bad_cells(table: pd.DataFrame, column: str, bad: np.ndarray, name: str) -> str:
    """What is wrong with a column whose cells at these places are no numbers > 0."""
    cell = table[column].iloc[bad[0]]
    shown = "an empty cell" if pd.isna(cell) else shortened(repr(cell) if isinstance(cell, str) else str(cell))
    more = f" (there are {bad.size} such cells)" if bad.size > 1 else ""
    number = table.index.to_numpy()[bad[0]]
    if table.index.name == "line":
        number = _line_number(table.attrs["path"], int(number))
    return (
        f"the column {column} of {name} must have finite numbers > 0 only, {table.index.name} {number} has "
        f"{shown}{more}: correct or leave out such rows"
    )
