"""What a command needs beside its numbers: lines that fit, places to write that exist, mistakes told in one line."""

import os
import shutil
import sys
import textwrap
from pathlib import Path
from typing import Any, NoReturn

import typer
from typer.core import TyperCommand

__all__ = ["Command", "check_file", "check_folder", "complaint", "run_app", "wrapped"]

INTERRUPTED = 130  # status after Ctrl-C, as shells have it and typer hands it on
WIDEST = 100  # characters of a line that is easy to read


class Command(TyperCommand):
    """A command whose usage names an argument that is needed plainly, ``TRACE``, not ``{TRACE}``."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]


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


def check_file(option: str, path: Path | None, suffixes: tuple[str, ...] = ()) -> None:
    """Raise ValueError unless ``path`` (None: not asked for) can be written, with one of the ``suffixes`` if any."""
    if path is None:
        return
    if path.is_dir():
        raise ValueError(f"{option} must be a file to write, {path} is a folder")
    if not path.parent.is_dir():
        raise ValueError(f"{option} must be in a folder that exists, there is no folder {path.parent}")
    if suffixes and path.suffix.lower() not in suffixes:
        raise ValueError(f"{option} must end in {' or '.join(suffixes)}, got {path}")


def check_folder(option: str, path: Path) -> None:
    """Raise ValueError unless ``path`` is a folder one may write to, or one can be made there."""
    there = next((each for each in (path, *path.parents) if each.exists()), None)
    if there is not None and not there.is_dir():
        raise ValueError(f"{option} must be a folder, {there} is a file")
    if there is not None and not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"{option} must be a folder that can be written to, {there} cannot")


def complaint(problem: Exception) -> str:
    """What is wrong, in one line: what must hold, and what was given."""
    if isinstance(problem, OSError) and problem.strerror and problem.filename is not None:
        said = f"{problem.filename}: {problem.strerror}"
    elif isinstance(problem, typer.BadParameter) and problem.param and hasattr(problem.__cause__, "errors"):
        # a value that typer could not read: its own words leave out which
        wrong = problem.__cause__.errors()[0]  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]
        must = wrong["msg"].removeprefix("Input should ").split(",")[0]
        said = f"{problem.param.opts[0]} must {must}, got {wrong['input']}"
    else:
        said = problem.format_message() if isinstance(problem, typer.TyperException) else str(problem)
    return " ".join(said.split())


def run_app(app: typer.Typer, name: str, *mistakes: type[Exception], interrupted: str = "interrupted") -> NoReturn:
    """Run a command and leave: after ``mistakes`` of the caller with one line and status 2, after Ctrl-C with 130."""
    try:
        status = app(standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    except (typer.TyperException, *mistakes) as problem:
        print(f"{name}: {complaint(problem)}", file=sys.stderr)
        status = 2
    if status == INTERRUPTED and interrupted:
        print(f"{name}: {interrupted}", file=sys.stderr)
    sys.exit(status)
