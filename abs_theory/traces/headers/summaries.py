"""Columns that are the maximum, mean or another summary of those of the workers."""

import numpy as np
import pandas as pd

from abs_theory.traces.columns import FEWEST_FOR_CONTENT, numbers, one_line
from abs_theory.traces.names import SUMMARIES, base_of

__all__ = ["without_summaries"]

FIRST_ROWS = 1000  # that are enough to see that a column is no summary
AGREEMENT = 1e-3  # relative rounding with which a summary agrees with the columns that it summarises


def without_summaries(frame: pd.DataFrame, names: list[str]) -> tuple[list[str], list[str]]:
    """The columns that are not the maximum, minimum, mean, median or sum of the others, and those that are.

    Raises ValueError for a column with the name of a summary that is none.
    """
    table = {name: numbers(frame[name])[0] for name in names}
    named = [name for name in names if SUMMARIES.get(base_of(name)[0]) is not None]
    workers = [name for name in names if name not in named]
    summaries = list(named)
    for name in named:
        kind = SUMMARIES[base_of(name)[0]]
        if kind != "std" and len(workers) > 1 and not _summarises(table[name], [table[w] for w in workers], (kind,)):
            raise ValueError(
                f"{one_line(str(name))} has the name of a summary but is not the {kind} of the other columns: leave it "
                f"out with ignore={one_line(str(name))}, or name the columns of all workers with columns=worker=..."
            )
    while len(workers) > 2 and len(frame) >= FEWEST_FOR_CONTENT:
        found = next(
            (
                name
                for name in workers
                if _summarises(table[name], [table[other] for other in workers if other != name])
            ),
            None,
        )
        if found is None:
            break
        workers.remove(found)
        summaries.append(found)
    return workers, summaries


def _summarises(
    values: np.ndarray, others: list[np.ndarray], kinds: tuple[str, ...] = ("max", "min", "mean", "median", "sum")
) -> bool:
    """Whether ``values`` are a summary of ``others`` in every row in which these differ by more than rounding."""
    first = [other[:FIRST_ROWS] for other in others]
    if len(values) > FIRST_ROWS and not _agreeing(values[:FIRST_ROWS], first, kinds)[0]:
        return False  # most columns are none, and the first rows show it
    agreeing, rows = _agreeing(values, others, kinds)
    if rows < (1 if len(kinds) == 1 else FEWEST_FOR_CONTENT):
        return len(kinds) == 1
    return bool(agreeing)


def _agreeing(values: np.ndarray, others: list[np.ndarray], kinds: tuple[str, ...]) -> tuple[list[str], int]:
    """The summaries that ``values`` may be, and the number of rows that decide it: those in which ``others`` differ."""
    table = np.column_stack(others)
    with np.errstate(invalid="ignore"):
        spread = table.max(axis=1) - table.min(axis=1) > 10 * AGREEMENT * np.abs(table.max(axis=1))
    rows = np.isfinite(table).all(axis=1) & np.isfinite(values) & spread
    values, table = values[rows], table[rows]
    functions = {"max": np.max, "min": np.min, "mean": np.mean, "median": np.median, "sum": np.sum}
    agreeing = [k for k in kinds if np.allclose(values, functions[k](table, axis=1), rtol=AGREEMENT, atol=0)]
    return agreeing, len(values)
