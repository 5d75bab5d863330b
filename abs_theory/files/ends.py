"""Whether the last line of a text table was cut, as by a killed program: what its end can tell."""

import io
import re
from collections.abc import Callable
from pathlib import Path

from abs_theory.checks import explains_types

__all__ = ["last_line"]

PACKED = (b"\x1f\x8b", b"\xff\xfe", b"\xfe\xff")  # gzip, which knows its end, and UTF-16
TAIL_BYTES = 8192  # at the end of a file, in which its last lines are
FEWEST_COMPARED = 20  # numbers that are all longer than the last one
NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")


@explains_types
def last_line(
    path: Path, fields: int, split: Callable[[str], list[str]], encoding: str = "utf-8", few_words: bool = False
) -> tuple[bool, str]:
    r"""Whether the last line of a table with so many ``fields`` is cut short and must be left out, and a note or "".

    A line with an end is whole.  Without an end it is cut if it lacks fields, if its last field is empty and those of
    the lines before are not, or if it is the beginning of one of ``few_words``.  A number that is shorter than all of
    many others may be cut, which only the note says.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "log.csv")
    ...     _ = path.write_text("id,tokens\n0,5\n1")
    ...     last_line(path, 2, lambda line: line.split(","))
    (True, 'the last line is cut short: left out')
    """
    with path.open("rb") as file:
        if file.read(2).startswith(PACKED):
            return False, ""
        start = max(file.seek(0, io.SEEK_END) - TAIL_BYTES, 0)
        file.seek(start)
        tail = file.read()
    lines = [line for line in tail.decode(encoding, errors="replace").splitlines() if line.strip()]
    if tail.endswith((b"\r", b"\n")) or not lines:
        return False, ""
    before = [split(line) for line in lines[:-1]]
    others = [line[-1].strip() for line in before if len(line) == fields]
    line = split(lines[-1])
    last = line[-1].strip() if line else ""
    if (
        len(line) < fields
        or (not last and all(others))
        or (few_words and last not in others and any(word.startswith(last) for word in others))
    ):
        return True, "the last line is cut short: left out"
    numbers = [text for text in others if NUMBER.fullmatch(text)]
    if len(numbers) >= FEWEST_COMPARED and NUMBER.fullmatch(last) and len(last) < min(map(len, numbers)):
        return False, "the last line has no line end and a shorter number than others: it is kept, but may be cut short"
    return False, ""
