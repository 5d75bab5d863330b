"""Checks of arguments: each raises ValueError, with what must hold and what was given."""

import difflib
import math
import re
import stat
from collections.abc import Callable, Iterable
from numbers import Integral, Real
from pathlib import Path
from typing import TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray

MAX_WORKERS = 1_000_000  # an array per worker and quantity then takes 8 MB, and a law per worker 8 MB
MAX_BYTES = 1 << 30  # of one thing that a user asks for, so that a computer of 4 GB still answers


def is_integer(value: object) -> TypeGuard[int]:
    """True for Python and numpy integers; False for booleans and for all floats, also 2.0."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_finite(value: object) -> TypeGuard[float]:
    """True for a finite real number that is not a boolean."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def plain_name(name: str) -> str:
    """``name`` in lower case, without hyphens, underscores and spaces, to compare names that users write.

    >>> plain_name("Hyper-Exponential")
    'hyperexponential'
    """
    return re.sub(r"[-_ ]", "", name).lower()


def instead(given: str, known: Iterable[str], otherwise: str, shown: Callable[[str], str] = str) -> str:
    """End of a message about the unknown name ``given``: "; did you mean ...?" if a known one is close, ``otherwise``.

    ``shown`` turns the known name into what the user would write.

    >>> instead("gama", ["gamma", "pareto"], "there are gamma, pareto")
    "; did you mean 'gamma'? there are gamma, pareto"
    """
    close = difflib.get_close_matches(given, list(known), n=1)
    return f"; did you mean {shown(close[0])!r}? {otherwise}" if close else f"; {otherwise}"


def check_count(name: str, value: object, minimum: int = 1, maximum: int | None = None) -> None:
    """Raise ValueError unless ``value`` is an integer from ``minimum`` to ``maximum``, if there is one."""
    if not (is_integer(value) and value >= minimum):
        raise ValueError(f"{name} must be an integer >= {minimum}, got {name}={value!r}")
    if maximum is not None and value > maximum:
        raise ValueError(f"{name} must be at most {maximum}, got {name}={value!r}: choose a smaller one")


def check_memory(what: str, number_of_bytes: float) -> None:
    """Raise ValueError if ``what``, which is about to be made, takes more than 1 GiB of memory.

    >>> check_memory("a model of 1e6 parameters", 8e6)
    """
    if number_of_bytes > MAX_BYTES:
        needed, limit = number_of_bytes / 2**30, MAX_BYTES / 2**30
        raise ValueError(
            f"{what} would take {needed:.3g} GiB of memory, more than {limit:.3g} GiB: choose a smaller one"
        )


def check_input_file(path: Path) -> None:
    """Raise ValueError if ``path`` is a device or a pipe, which may never end; OSError if it cannot be looked at."""
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise ValueError(f"{path} must be a file, but is a device or a pipe: copy its content to a file first")


def check_k(k: object, n: object) -> None:
    """Raise ValueError unless ``n`` is a positive integer and ``k`` an integer in 1..n."""
    check_count("n", n)
    if not (is_integer(k) and is_integer(n) and 1 <= k <= n):
        raise ValueError(f"k must be in 1..n, got k={k!r} with n={n} workers")


def check_positive(name: str, value: object) -> None:
    """Raise ValueError unless ``value`` is a finite number > 0."""
    if not (is_finite(value) and value > 0):
        raise ValueError(f"{name} must be a finite number > 0, got {name}={value!r}")


def check_nonnegative(name: str, value: object) -> None:
    """Raise ValueError unless ``value`` is a finite number >= 0."""
    if not (is_finite(value) and value >= 0):
        raise ValueError(f"{name} must be a finite number >= 0, got {name}={value!r}")


def check_rng(rng: object) -> None:
    """Raise ValueError unless ``rng`` is a numpy Generator."""
    if not isinstance(rng, np.random.Generator):
        raise ValueError(f"rng must be a numpy Generator such as np.random.default_rng(0), got {rng!r}")


def checked_array(
    name: str, value: ArrayLike | None, *, positive: bool = False, whole: bool = False
) -> NDArray[np.float64]:
    """``value`` as an array of floats; ValueError unless all are finite and >= 0.

    ``positive`` asks for > 0, ``whole`` for whole numbers.
    """
    try:
        array = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        array = np.array(np.nan)
    valid = np.isfinite(array) & ((array > 0) if positive else (array >= 0))
    if whole:
        valid &= array == np.floor(array)
    if not np.all(valid):
        kind = "whole numbers" if whole else "finite numbers"
        raise ValueError(f"{name} must be {kind} {'>' if positive else '>='} 0, got {name}={value!r}")
    return array


def check_max_staleness(value: object) -> None:
    """Raise ValueError unless ``value`` is a whole number >= 0, or None or inf for no bound."""
    unbounded = value is None or (isinstance(value, float) and value == math.inf)
    is_whole = is_integer(value) or (isinstance(value, float) and value.is_integer())
    if not (unbounded or (is_whole and value >= 0)):  # pyright: ignore[reportOperatorIssue]
        raise ValueError(f"max_staleness must be a whole number >= 0, or None for no bound, got {value!r}")
