"""Tables of unknown names whose rows are perhaps attempts."""

from itertools import combinations

import numpy as np
import pandas as pd

from abs_theory.traces.columns import listed, numbers, one_line
from abs_theory.traces.names import CLOCK, ROUND, SECONDS, base_of, key_of

__all__ = ["refuse_rows_of_attempts"]

FEWEST_FOR_PAIRS, MOST_PAIRS = 6, 1.1  # rows, and pairs over rows, for two columns to number rounds and workers


def refuse_rows_of_attempts(frame: pd.DataFrame, names: list[str]) -> None:
    """Raise ValueError if two columns of unknown names number the rows as rounds x workers would: that is a question.

    Each value of one stands once beside each value of the other, as in a table with a row for each attempt.
    """
    if len(frame) < FEWEST_FOR_PAIRS:
        return
    codes = {name: pd.factorize(frame[name])[0] for name in names if _is_label(frame[name])}
    for first, second in combinations(codes, 2):
        counts = codes[first].max() + 1, codes[second].max() + 1
        pairs = codes[first] * counts[1] + codes[second]
        left = _likeliest_times([name for name in names if name not in (first, second)])
        complete = min(counts) > 1 and max(counts) < len(frame) <= counts[0] * counts[1] <= MOST_PAIRS * len(frame)
        if left and complete and np.unique(pairs).size == len(frame):
            in_order = numbers(frame[second])[0]
            by_second = bool(np.isfinite(in_order).all() and np.all(np.diff(in_order) >= 0))
            swap = key_of(second) in ROUND if (key_of(first) in ROUND) != (key_of(second) in ROUND) else by_second
            of_round, of_worker = (second, first) if swap else (first, second)
            names_shown = [one_line(str(name)) for name in (of_round, of_worker, left[-1])]
            raise ValueError(
                f"{listed(names_shown)} may be the round, the worker and the seconds of each row, or three workers: "
                f"say columns=round={names_shown[0]},worker={names_shown[1]},seconds={names_shown[2]}, or name the "
                "columns of all workers with columns=worker=..."
            )


def _likeliest_times(names: list[str]) -> list[str]:
    """The names without clocks, if any is left; one that is called value or seconds stands last."""
    left = [name for name in names if key_of(name) not in CLOCK] or names
    return sorted(left, key=lambda name: key_of(name) == "value" or base_of(name)[0] in SECONDS)


def _is_label(column: pd.Series) -> bool:
    """Whether the values repeat and are whole numbers or text, as numbers of rounds and names of workers are."""
    values, text = numbers(column)
    whole = np.isfinite(values) & (values == np.floor(values))
    return bool((whole | text).all() and column.duplicated().any())
