"""Which attempts failed, by columns of codes, flags and messages."""

import numpy as np
import pandas as pd

from abs_theory.traces.columns import Mask, numbers, one_line
from abs_theory.traces.names import CODES, ERRORS, FLAGS, NO, YES, key_of
from abs_theory.traces.numerals import MISSING

__all__ = ["with_outcomes"]


def with_outcomes(frame: pd.DataFrame, roles: dict[str, str], report: list[str]) -> pd.DataFrame:
    """The table with a column status, if columns of other names or codes say which attempts failed."""
    unused = [name for name in frame.columns if name not in roles.values()]
    columns = [roles["status"]] if "status" in roles else unused
    delivered = {
        name: mask for name in columns if (mask := _delivered(name, frame[name])) is not None and not mask.all()
    }
    if not delivered:
        return frame
    failed = ~np.logical_and.reduce(list(delivered.values()))
    names = " and ".join(one_line(str(name)) for name in delivered)
    report.append(f"{names} says which attempts failed: {int(failed.sum())} of {len(frame)}")
    roles["status"] = names
    return frame.assign(**{names: np.where(failed, "failed", "ok")})


def _delivered(name: object, column: pd.Series) -> Mask | None:
    """Whether each row was delivered, by a code, a flag or a message; None if the column says nothing of it.

    Codes are those of HTTP (failed from 400 on), or 0 for success.
    """
    key = key_of(name)
    if key not in CODES | ERRORS | FLAGS.keys():
        return None
    codes, distinct = pd.factorize(column)
    if not len(distinct):
        return None
    verdicts = _verdicts(key, pd.Series(distinct, dtype=object), bool((codes < 0).any()))
    return None if verdicts is None else np.append(verdicts, True)[codes]


def _verdicts(key: str, values: pd.Series, any_empty: bool) -> Mask | None:
    """The same for the distinct ``values`` of a column.  A column may have empty cells; an empty one is delivered."""
    texts = values.astype(str).str.strip().str.lower()
    missing = texts.isin(MISSING).to_numpy(bool)
    if missing.all():
        return None
    if key in FLAGS and texts[~missing].isin(YES | NO).all():
        return texts.isin(YES if FLAGS[key] else NO).to_numpy(bool) | missing
    found, _ = numbers(values)
    if key in CODES and np.all(found[~missing] % 1 == 0):
        known = found[~missing]
        if known.min() >= 100 and known.max() < 600:
            return (found < 400) | missing
        if (known == 0).any():
            return (found == 0) | missing
    if key in ERRORS and (any_empty or missing.any()) and np.isnan(found).all():
        return missing
    return None
