"""What the caller says about the columns of a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from abs_theory.checks import instead
from abs_theory.traces.columns import listed, one_line

__all__ = ["ROLES", "Wishes", "chosen_columns", "shown_names"]

ROLES = (
    "round", "worker", "seconds", "start", "end", "status", "unit", "dataset", "k_waited", "version_read",
    "version_applied", "compute_s", "comm_s", "start_clock", "end_clock",
)  # fmt: skip


@dataclass(frozen=True)
class Wishes:
    """What the caller says about the columns of a table."""

    columns: Mapping[str, str | Sequence[str]] = field(default_factory=dict)  #: role -> name of the column
    ignore: Sequence[str] = ()  #: names of columns to leave out
    decimal: str | None = None  #: "." or ",": the mark of decimals in text; None: by the content


def chosen_columns(frame: pd.DataFrame, wishes: Wishes) -> tuple[pd.DataFrame, dict[str, str]]:
    """The table without the columns to ignore, and the names of the columns with a role by the caller's word."""
    known = {str(name).strip().lower(): name for name in frame.columns}

    def find(name: str) -> str:
        if name.strip().lower() not in known:
            raise ValueError(
                f"no column named {name!r}"
                + instead(name, map(str, frame.columns), f"there are {listed(shown_names(frame))}")
            )
        return known[name.strip().lower()]

    roles: dict[str, str] = {}
    for role, name in wishes.columns.items():
        if role not in ROLES:
            raise ValueError(f"no role named {role!r}" + instead(role, ROLES, f"there are {', '.join(ROLES)}"))
        if isinstance(name, str):
            roles[role] = find(name)
    ignored = [find(name) for name in wishes.ignore]
    if both := [str(name) for name in ignored if name in roles.values()]:
        raise ValueError(f"a column can be used or ignored, not both: {listed(both)}")
    return frame.drop(columns=ignored), roles


def shown_names(frame: pd.DataFrame) -> list[str]:
    """The names of the columns, each on one line."""
    return [one_line(str(name)) for name in frame.columns]
