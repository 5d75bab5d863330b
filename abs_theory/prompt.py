"""What a command needs beside its numbers: lines that fit the terminal."""

import shutil
import textwrap

__all__ = ["wrapped"]

WIDEST = 100  # characters of a line that is easy to read


def wrapped(text: str) -> str:
    """``text`` with its lines broken at the width of the terminal, at most 100; where there is none, 100."""
    width = min(shutil.get_terminal_size((WIDEST, 24)).columns, WIDEST)
    # paths and options stay whole
    wrapper = textwrap.TextWrapper(width, break_long_words=False, break_on_hyphens=False)
    lines = []
    for line in text.splitlines():
        wrapper.subsequent_indent = line[: len(line) - len(line.lstrip())]
        lines.append(wrapper.fill(line))
    return "\n".join(lines)
