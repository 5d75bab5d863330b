"""What the commands share: options, output that fits the terminal, and errors told in a sentence.

A command should start fast.  So this file imports no numerics, and a command imports what it needs when it runs.
"""

import os
import re
import shutil
import signal
import sys
import textwrap
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import fields
from errno import ENOSPC
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TextIO, cast

import typer
from typer.core import TyperCommand
from typer.models import OptionInfo

from abs_theory import __version__

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = [
    "INTERRUPTED", "Command", "Interrupted", "all_or_none", "check_file", "check_folder", "check_outputs",
    "column_roles", "complaint", "new_app", "one_line", "option", "option_of", "printable", "run_app", "table_text",
    "warn", "working_on", "wrapped",
]  # fmt: skip

CLOSED_PIPE = 141  # exit status when nobody reads the output any more: 128 + SIGPIPE
INTERRUPTED = 130  # exit status after Ctrl-C: 128 + SIGINT, as shells set it
QUIET_SECONDS = 2.0  # a command that takes longer says that it is working
NARROW = 80  # characters of a line where there is no terminal
MAX_LINE_LENGTH = 100  # characters; longer lines are hard to read
MAX_MESSAGE_LENGTH = 2000  # characters of one message: about a screen
LONG_WORD, LONGEST_START = re.compile(r"\S{500,}"), 60  # longer than most paths; what is shown of such a word
MISSING = re.compile(r"Missing (command|option|argument)")  # as typer says it
_work = ["working"]  # what the command that runs in this process is doing
TOO_MUCH: dict[type[Exception], str] = {
    MemoryError: "this needs more memory than there is: ask for less, such as fewer workers or replicates",
    RecursionError: "something that was given is nested too deeply",
    OverflowError: "a number that was given is too large",
}


# ---------------------------------------------------------------- building a command


class Interrupted(BaseException):
    """Ctrl-C in a command that has something to say about it."""


class Command(TyperCommand):
    """A command whose usage line shows a required argument as ``TRACE``, not as ``{TRACE}``."""

    def collect_usage_pieces(self, ctx: typer.Context) -> list[str]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]


def new_app(help: str | None = None) -> typer.Typer:
    """Return an empty typer application with plain text help; its script, such as abs-theory, completes in shells."""
    return typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, help=help)


def option(metavar: str, help: str, *names: str, min: float | None = None, max: float | None = None) -> OptionInfo:
    """Return an option, for ``Annotated``; its help calls the value ``metavar``."""
    return typer.Option(*names, metavar=metavar, help=help, min=min, max=max)


def option_of(kind: type, field: str, *names: str, default: str | None = None, min: float | None = None) -> OptionInfo:
    """Return an option for one field of a dataclass, described by the field's metadata "metavar" and "help".

    ``default`` is what the help says about leaving the option out, if there is something to say.
    """
    metadata = next(item.metadata for item in fields(kind) if item.name == field)
    help_text = metadata["help"] if default is None else f"{metadata['help']} [{default}]"
    return option(metadata["metavar"], help_text, *names, min=min)


def run_app(
    app: typer.Typer, name: str, *mistakes: type[Exception], interrupted: str = "interrupted", timed: bool = False
) -> NoReturn:
    """Run a command, then exit.

    If it is ``timed``, it says how long it has been working, once this is more than 2 seconds, on a terminal.

    An exception of the types ``mistakes`` is the caller's mistake: it is printed in one line, and the status is 2.  The
    same holds for what needs too much memory, is nested too deeply, or leads to numbers that are too large.
    After Ctrl-C the status is 130, and the line is that of an ``Interrupted``, or ``interrupted``.  A request to end
    (SIGTERM) does the same, with status 143.  A second Ctrl-C ends it at once, with a line that says so.  ``--version``
    alone prints the version.  Words of ``name`` after the first are the subcommand, which the line of usage shows.
    """
    if sys.argv[1:] == ["--version"]:
        print(f"{name} {__version__}")
        sys.exit(0)
    with _interruptible(name) as asked_to_end, _working() if timed else nullcontext():
        status = _status(app, name, mistakes, interrupted)
    sys.exit(128 + asked_to_end[0] if asked_to_end else status)


def _status(app: typer.Typer, name: str, mistakes: tuple[type[Exception], ...], interrupted: str) -> int:
    """Run a command, say what went wrong, and return the exit status."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of numpy, about numbers that an error then explains
            status = app(standalone_mode=False, prog_name=_program(name))
            sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort, Interrupted) as problem:
        warn(name, str(problem) if isinstance(problem, Interrupted) else interrupted)
        return INTERRUPTED
    except (BrokenPipeError, SystemExit) as problem:  # typer makes the second of the first
        if not isinstance(problem, BrokenPipeError) and not isinstance(problem.__context__, BrokenPipeError):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is still to be flushed
        return CLOSED_PIPE  # whoever reads the output, such as head, has read enough
    except (typer.TyperException, *mistakes) as problem:
        warn(name, complaint(problem))
        return 2
    except tuple(TOO_MUCH) as problem:
        kind = next(kind for kind in TOO_MUCH if isinstance(problem, kind))
        warn(name, f"{TOO_MUCH[kind]} ({problem})" if str(problem) else TOO_MUCH[kind])
        return 2
    if status == INTERRUPTED:  # what typer makes of KeyboardInterrupt
        warn(name, interrupted)
    return status or 0


def _program(name: str) -> str | None:
    """How the subcommand that ``name`` ends with was called; None if there is none: typer knows the program."""
    package, *subcommand = name.split()
    if not subcommand:
        return None
    by_name = getattr(sys.modules["__main__"], "__spec__", None) is None  # such as abs-simulations
    return " ".join([Path(sys.argv[0]).name if by_name else f"python -m {package}", *subcommand])


class _Output:
    """Standard output that calls ``before`` when something is written."""

    def __init__(self, stream: TextIO, before: Callable[[], None]) -> None:
        self._stream, self._before = stream, before

    def write(self, text: str) -> int:
        self._before()
        return self._stream.write(text)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


def working_on(what: str) -> None:
    """Tell a user who waits at a terminal what the command is doing now, as "reading trace.csv"."""
    _work[0] = printable(what)


@contextmanager
def _working() -> Iterator[None]:
    """Show on a terminal for how long a slow command has been working, until it prints something."""
    if not (sys.stderr.isatty() and sys.stdout.isatty()):
        yield
        return
    ended, begin, output = threading.Event(), time.monotonic(), sys.stdout

    def show() -> None:
        line = ""
        while not ended.wait(1.0 if line else QUIET_SECONDS):
            now = f"{_work[0]}, {time.monotonic() - begin:.0f} s (Ctrl-C ends it)"
            line = f"\r{now[: shutil.get_terminal_size().columns - 1]}".ljust(len(line))
            print(line, end="", file=sys.stderr, flush=True)
        print(f"\r{' ' * len(line)}\r" if line else "", end="", file=sys.stderr, flush=True)

    def stop() -> None:
        if not ended.is_set():
            ended.set()
            clock.join()

    clock = threading.Thread(target=show, daemon=True)
    clock.start()
    sys.stdout = cast(TextIO, _Output(output, stop))
    try:
        yield
    finally:
        stop()
        sys.stdout = output


@contextmanager
def _interruptible(name: str) -> Iterator[list[int]]:
    """Ctrl-C and a request to end (SIGTERM) raise KeyboardInterrupt; the list then has the number of the request."""
    asked_to_end: list[int] = []

    def end_at_once(number: int, frame: object) -> None:
        os.write(2, f"{name}: interrupted twice: ended at once\n".encode())  # print may be in the middle of a line
        os._exit(INTERRUPTED)

    def interrupt(number: int, frame: object) -> None:
        signal.signal(signal.SIGINT, end_at_once)
        if number == signal.SIGTERM:
            asked_to_end.append(number)
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    before = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, interrupt)
    try:
        yield asked_to_end
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# ---------------------------------------------------------------- options that belong together


def column_roles(options: Iterable[str], several: str = "") -> dict[str, str | list[str]]:
    """The values of --columns, ROLE=NAME with commas between: the column of each role, all of the role ``several``.

    >>> column_roles(["round=step,worker=a", "worker=b"], several="worker")
    {'round': 'step', 'worker': ['a', 'b']}
    """
    pairs = [pair.partition("=") for text in options for pair in text.split(",")]
    if wrong := [role for role, equals, name in pairs if not (role and equals and name)]:
        raise ValueError(f"--columns must be pairs ROLE=NAME with commas between them, got {wrong[0]!r}")
    roles: dict[str, str | list[str]] = {}
    for role, _, name in pairs:
        earlier = roles.get(role.strip(), [])
        names = [*([earlier] if isinstance(earlier, str) else earlier), name.strip()]
        roles[role.strip()] = names if len(names) > 1 else names[0]
    if twice := [role for role, names in roles.items() if isinstance(names, list) and role != several]:
        but = f" but {several}" if several else ""
        raise ValueError(f"--columns must name one column for each role{but}, got {twice[0]} twice")
    return roles


def all_or_none(aim: str, options: Mapping[str, object]) -> bool:
    """Whether the ``options`` that serve one ``aim`` are given; raises ValueError if only some are.

    >>> all_or_none("to minimise the time to a target", {"--L": 1.0, "--gap": 2.0})
    True
    """
    missing = [name for name, value in options.items() if value is None]
    if missing and len(missing) < len(options):
        *first, last = options
        raise ValueError(f"{aim}, give {', '.join(first)} and {last}: {missing[0]} is missing")
    return not missing


# ---------------------------------------------------------------- text for the terminal


def one_line(text: str) -> str:
    r"""``text`` with each run of white space replaced by one blank.

    It then has no line break of any kind: ``str.splitlines`` knows \n, \r, \x0b, \x0c, \x1c to \x1e, \x85, U+2028 and
    U+2029, and all of them are white space.
    """
    return " ".join(text.split())


def printable(text: str) -> str:
    """``text`` with its control characters written as Python writes them, so that no name can change the terminal.

    Line breaks stay.
    """
    return "".join(letter if letter.isprintable() or letter == "\n" else repr(letter)[1:-1] for letter in text)


def warn(name: str, message: str) -> None:
    """Print ``message`` on stderr after the ``name`` of the command: in one line, or wrapped if a terminal shows it.

    Control characters are written as Python writes them, so that no name can change the terminal.  Of a very long word
    only the start is shown, and the middle of a very long message is left out.
    """
    line = LONG_WORD.sub(lambda word: f"{word[0][:LONGEST_START]}... ({len(word[0])} characters)", one_line(message))
    line = printable(line)
    if len(line) > MAX_MESSAGE_LENGTH:
        line = f"{line[: MAX_MESSAGE_LENGTH // 2]} ... {line[-MAX_MESSAGE_LENGTH // 2 :]}"
    line = f"{name}: {line}"
    print(wrapped(line, sys.stderr) if sys.stderr.isatty() else line, file=sys.stderr)


def wrapped(text: str, stream: TextIO | None = None) -> str:
    """``text`` with its lines broken at the width of the terminal, at 100 characters at most.

    Indented lines stay indented; paths and options stay whole.  The terminal is that of standard output, or else that
    of ``stream``.
    """
    size = (MAX_LINE_LENGTH, 24)
    if stream is not None:
        with suppress(OSError):
            size = os.get_terminal_size(stream.fileno())
    width = min(shutil.get_terminal_size(size).columns, MAX_LINE_LENGTH)
    wrapper = textwrap.TextWrapper(width, break_long_words=False, break_on_hyphens=False)
    lines = []
    for line in text.splitlines():
        wrapper.subsequent_indent = line[: len(line) - len(line.lstrip())]
        lines.append(wrapper.fill(line))
    return "\n".join(lines)


def table_text(
    table: "DataFrame",
    float_format: str,
    index: bool = False,
    missing: str = "-",
    formats: "Mapping[str, Callable[[float], str]] | None" = None,
) -> str:
    """``table`` as text.  If it is wider than the terminal: several tables, each with the first column.

    With ``index``, each has the index instead.  Numbers are written by ``float_format``, as "{:.4g}", or by that of
    their column in ``formats``; ``missing`` stands for NaN.
    """
    width = shutil.get_terminal_size((NARROW, 24)).columns
    first = [] if index else [0]
    left = list(range(len(first), table.shape[1]))

    def text(count: int) -> str:
        part = table.iloc[:, first + left[:count]]
        return part.to_string(index=index, float_format=float_format.format, na_rep=missing, formatters=formats)

    texts = []
    while left or not texts:
        count = len(left)
        part = text(count)
        while count > 1 and max(map(len, part.splitlines())) > width:
            count -= 1
            part = text(count)
        texts.append(part)
        left = left[count:]
    return "\n\n".join(texts)


def complaint(problem: Exception) -> str:
    """Return what is wrong, in one line: what must hold, and what was given."""
    if isinstance(problem, OSError) and problem.strerror and problem.filename is not None:
        return one_line(f"{problem.filename}: {problem.strerror}")
    if isinstance(problem, typer.BadParameter) and problem.param and hasattr(problem.__cause__, "errors"):
        # the value has the wrong type; typer's own message does not name the option
        error = problem.__cause__.errors()[0]  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]
        must = error["msg"].removeprefix("Input should ").split(",")[0]
        return one_line(f"{problem.param.opts[0]} must {must}, got {error['input']}")
    if isinstance(problem, OSError) and problem.strerror and str(problem).startswith("[Errno"):
        return one_line(f"writing the output: {problem.strerror}" if problem.errno == ENOSPC else problem.strerror)
    message = one_line(problem.format_message() if isinstance(problem, typer.TyperException) else str(problem))
    return f"{message.rstrip('.')}: see --help" if MISSING.match(message) else message


# ---------------------------------------------------------------- places to write to


def check_file(option: str, path: Path | None, suffixes: Iterable[str] = ()) -> None:
    """Raise ValueError unless the file ``path`` can be written and ends in one of the ``suffixes``, if there are any.

    ``path`` is None if the caller did not ask for a file.
    """
    if path is None:
        return
    if path.is_dir():
        raise ValueError(f"{option} must be a file to write, {path} is a folder")
    if not path.parent.is_dir():
        raise ValueError(f"{option} must be in a folder that exists, there is no folder {path.parent}")
    if suffixes and path.suffix.lower() not in suffixes:
        raise ValueError(f"{option} must end in {' or '.join(suffixes)}, got {path}")


def check_folder(option: str, path: Path) -> None:
    """Raise ValueError unless ``path`` is a folder that can be written to, or such a folder can be created there."""
    existing = next((folder for folder in (path, *path.parents) if folder.exists()), None)
    if existing is not None and not existing.is_dir():
        raise ValueError(f"{option} must be a folder, {existing} is a file")
    if existing is not None and not os.access(existing, os.W_OK | os.X_OK):
        raise ValueError(f"{option} must be a folder that can be written to, {existing} cannot")


def check_outputs(outputs: Iterable[tuple[str, Path | None]], inputs: Iterable[tuple[str, Path]] = ()) -> None:
    """Raise ValueError if a file that is written is one that is read, or if two outputs are one file.

    Each comes with the option that names it; an output that was not asked for is None.  A folder that is read stands
    for the files in it.  Links and relative paths are followed.  To a device, such as /dev/null, anything may go.

    >>> check_outputs([("--csv", Path("a.csv")), ("--json", Path("./a.csv"))])
    Traceback (most recent call last):
    ValueError: --csv and --json must be two files, both are a.csv
    """
    read = [(option, file) for option, path in inputs for file in (path.iterdir() if path.is_dir() else [path])]
    written: list[tuple[str, Path]] = []
    for option, path in outputs:
        if path is None or (path.exists() and not path.is_file()):
            continue
        if (source := next((name for name, file in read if _same_file(path, file)), None)) is not None:
            raise ValueError(f"{option} would overwrite {path}, which is read by {source}: write to another place")
        if (other := next((name for name, file in written if _same_file(path, file)), None)) is not None:
            raise ValueError(f"{other} and {option} must be two files, both are {path}")
        written.append((option, path))


def _same_file(one: Path, other: Path) -> bool:
    with suppress(ValueError):  # of a text that no file can have as its name
        try:
            return os.path.samefile(one, other)
        except OSError:  # one of them does not exist
            return os.path.realpath(one) == os.path.realpath(other)
    return False
