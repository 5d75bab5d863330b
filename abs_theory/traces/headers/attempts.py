"""Column names to roles: which column is the round, the worker or the time, which are workers, which are neither.

What the names leave open is decided by the content where that allows one reading only; else it is refused.
"""

import numpy as np
import pandas as pd

from abs_theory.checks import explains_types
from abs_theory.traces.columns import listed, one_line
from abs_theory.traces.headers.long import from_rows, is_long
from abs_theory.traces.headers.pairs import refuse_rows_of_attempts
from abs_theory.traces.headers.synonyms import roles_of_synonyms
from abs_theory.traces.headers.wide import from_cells
from abs_theory.traces.headers.wishes import ROLES, Wishes, chosen_columns
from abs_theory.traces.names import key_of
from abs_theory.traces.numerals import with_plain_cells

__all__ = ["attempts_of"]

LONGEST_NAME = 300  # characters of the name of a column; patterns take long to match much longer ones


@explains_types
@np.errstate(all="ignore")  # of numbers at the ends of the range of floats; what comes of them is judged by its value
def attempts_of(
    frame: pd.DataFrame, layout: str | None, wishes: Wishes
) -> tuple[pd.DataFrame, list[str], tuple[str, ...]]:
    """The table with a row per attempt and the columns of ``ROLES``, notes for the report, and the columns read.

    ``layout`` is "long" (a row per attempt), "wide" (a row per round) or None (by names and content).
    Raises ValueError if the columns allow two readings, with both.

    >>> wide = pd.DataFrame({"step": [0, 1], "rank0_ms": [10.0, 12.0], "rank1_ms": [11.0, 30.0]})
    >>> attempts, report, _ = attempts_of(wide, None, Wishes())
    >>> attempts["seconds"].tolist(), report[1]
    ([10.0, 11.0, 12.0, 30.0], 'times are in ms, by the names of the columns')
    """
    frame, roles = chosen_columns(_differing(frame), wishes)
    longest = max((len(str(name)) for name in frame.columns), default=0)
    if longest > LONGEST_NAME:
        raise ValueError(f"names of columns must have at most {LONGEST_NAME} characters, got one of {longest}")
    report: list[str] = []
    by_key = {key_of(name): name for name in frame.columns}
    exact = {role: by_key[key_of(role)] for role in ROLES if key_of(role) in by_key and role not in roles}
    exact = {role: name for role, name in exact.items() if str(name).strip().lower() == role}
    long_roles = {"worker", "seconds", "start", "end"}
    many = isinstance(wishes.columns.get("worker"), list | tuple)
    if layout != "wide" and not many:
        has_rows = layout == "long" or bool(long_roles & (set(exact) | set(roles)))
        synonyms = roles_of_synonyms(frame, {**exact, **roles}, has_rows)
        if has_rows or is_long(frame, {**synonyms, **exact, **roles}):
            roles = {**synonyms, **exact, **roles}
            return from_rows(frame, roles, synonyms, wishes, report), report, tuple(map(_shown_name, roles.values()))
    if layout != "wide" and not many:
        refuse_rows_of_attempts(
            frame, [name for name in frame.columns if name not in (*exact.values(), *roles.values())]
        )
    attempts, names = from_cells(frame, {**exact, **roles}, wishes, report)
    return attempts, report, tuple(map(_shown_name, names))


def _shown_name(name: object) -> str:
    return one_line(str(name))


def _differing(frame: pd.DataFrame) -> pd.DataFrame:
    if not isinstance(frame, pd.DataFrame):
        raise ValueError(f"a trace must be a pandas DataFrame, got {type(frame).__name__}")
    names = [str(name).strip().lower() for name in frame.columns]
    twice = sorted({name or "''" for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"column names must differ, got {listed(twice)} more than once")
    if isinstance(frame.index, pd.MultiIndex) or (frame.index.name is not None and str(frame.index.name) not in names):
        index = [name for name in frame.index.names if name is not None]
        if index and not {str(name).strip().lower() for name in index} & set(names):
            frame = frame.reset_index()
    return with_plain_cells(frame)
