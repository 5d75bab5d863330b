"""Tables with a row for each attempt."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from abs_theory.traces.columns import FEWEST_FOR_CONTENT, NEEDED, one_line
from abs_theory.traces.headers.outcomes import with_outcomes
from abs_theory.traces.headers.wishes import Wishes, shown_names
from abs_theory.traces.names import base_of
from abs_theory.traces.numerals import check_cells, decimal_mark, with_plain_numbers

__all__ = ["from_rows", "is_long"]


def is_long(frame: pd.DataFrame, roles: Mapping[str, str]) -> bool:
    """Whether the columns with roles make a table with a row for each attempt."""
    timed = "seconds" in roles or {"start", "end"} <= set(roles)
    if "worker" not in roles:
        return False
    return timed or ("round" in roles and bool(frame[roles["round"]].duplicated().any()))


def from_rows(
    frame: pd.DataFrame, roles: dict[str, str], synonyms: Mapping[str, str], wishes: Wishes, report: list[str]
) -> pd.DataFrame:
    """The columns with roles, under the names of their roles, their times as numbers; notes go to ``report``."""
    named_otherwise = [f"{one_line(str(name))} is {role}" for role, name in roles.items() if role in synonyms]
    if named_otherwise:
        report.append(f"columns understood: {', '.join(named_otherwise)}")
    missing = [role for role in ("round", "worker") if role not in roles]
    if "seconds" not in roles and not {"start", "end"} <= set(roles):
        missing.append("seconds (or start and end)")
    if missing:
        if "worker" in roles and len(missing) > 1 and _is_transposed(frame, roles["worker"]):
            raise ValueError(
                f"{NEEDED}; each row seems to be a worker and each column a round: transpose the table, so that each "
                "column is a worker"
            )
        shown = ", ".join(shown_names(frame)[:12]) or "no columns"
        say = ",".join(f"{role.partition(' ')[0]}=NAME" for role in missing)
        raise ValueError(
            f"{NEEDED}; {', '.join(missing)} not found among {shown}: if they have other names, say columns={say}"
        )
    if frame.empty:
        raise ValueError(f"{NEEDED}, and rows; there are none below the header")
    frame = with_outcomes(frame, roles, report)
    renamed = frame[list(roles.values())].set_axis(list(roles), axis=1)
    for role in renamed:
        check_cells(str(role), renamed[role])
    time_names = [role for role in ("seconds", "start", "end") if role in renamed]
    units = {unit for role in time_names if (unit := base_of(roles[role])[1]) is not None and role in synonyms}
    if len(units) == 1 and "unit" not in renamed:
        unit = units.pop()
        report.append(f"times are in {unit}, by the name of their column")
        renamed["unit"] = pd.Categorical.from_codes(np.zeros(len(renamed), np.int8), pd.Index([unit]))
    numeric = [role for role in ("round", *time_names) if role in renamed]
    mark = decimal_mark([renamed[role] for role in numeric if not _is_dates(renamed[role])], wishes.decimal)
    return renamed.assign(**{role: with_plain_numbers(renamed[role], mark) for role in numeric})


def _is_transposed(frame: pd.DataFrame, worker: str) -> bool:
    """Whether each worker has one row, and all other columns are numbers, several of them."""
    others = [name for name in frame.columns if name != worker]
    return (
        len(others) >= FEWEST_FOR_CONTENT
        and not frame[worker].duplicated().any()
        and all(pd.api.types.is_numeric_dtype(frame[name]) for name in others)
    )


def _is_dates(column: pd.Series) -> bool:
    return pd.api.types.is_datetime64_any_dtype(column) or isinstance(column.dtype, pd.DatetimeTZDtype)
