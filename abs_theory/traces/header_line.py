"""The first line of a table names its columns: a check that it is there, and that it names all of them."""

import re

from abs_theory.traces.columns import one_line, shortened

__all__ = ["NUMBER", "HeaderError", "check_header"]

NUMBER = re.compile(r"\s*[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?\s*")
FRACTION = re.compile(r"\s*[+-]?\d*[.,]\d+([eE][+-]?\d+)?\s*")
DATE = re.compile(r"\s*\d{4}-\d\d-\d\d.*")
MOST_LINES = 20  # below the header that are looked at


class HeaderError(ValueError):
    """The first line does not name the columns: a reader of some kind of table can add which ones it needs."""


def check_header(names: list[str], below: list[list[str]]) -> None:
    """Raise HeaderError unless ``names`` may be those of the columns, by the cells of the lines ``below``.

    >>> check_header(["0", "0", "0.696"], [["0", "1", "1.021"]])
    Traceback (most recent call last):
    ...
    abs_theory.traces.header_line.HeaderError: the header is missing: the first line must name the columns, but is \
'0, 0, 0.696'
    """
    below = [cells for cells in below[:MOST_LINES] if any(cells)]
    shown = shortened(one_line(", ".join(names)))
    twice = sorted({name for name in names if names.count(name) > 1})
    if _are_data(names, below, twice):
        raise HeaderError(f"the header is missing: the first line must name the columns, but is {shown!r}")
    if twice:
        raise HeaderError(f"the first line must name each column once, got {twice[0]!r} more than once")
    counts = {len(cells) for cells in below}
    if len(counts) == 1 and max(counts) > len(names):
        raise HeaderError(
            f"the header is too short: the first line, {shown!r}, must name {max(counts)} columns, as many as the "
            f"lines below it have, not {len(names)}"
        )


def _are_data(names: list[str], below: list[list[str]], twice: list[str]) -> bool:
    """Whether the first line is one of data: its cells are of the kinds of those below, and not what a name would be.

    Whole numbers may be names of workers; fractions, dates and a number that is there twice are not.
    """
    kinds = [_kind(name) for name in names]
    if any([_kind(cell) for cell in cells] != kinds for cells in below[:1]) and not all(kinds):
        return False
    return any(FRACTION.fullmatch(name) or DATE.fullmatch(name) for name in names) or any(map(_kind, twice))


def _kind(cell: str) -> str:
    return "number" if NUMBER.fullmatch(cell) else "date" if DATE.fullmatch(cell) else ""
