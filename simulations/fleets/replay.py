"""Replay of a measured trace: the times are those of a table (round, worker, seconds); nothing is drawn."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from abs_theory.checks import check_count, explains_types
from abs_theory.files import open_input
from abs_theory.traces import Trace
from simulations.fleets.base import Times

COLUMNS = ["round", "worker", "seconds"]
BY = ("task", "round")


@explains_types
@dataclass(frozen=True, repr=False)
class Replay:
    """Workers whose steps take measured ``seconds``: one row per round, in it one number for each worker.

    With ``by="task"`` the j-th step of a worker takes the seconds of row j, so each worker has its own series.  With
    ``by="round"`` a step takes the seconds of row v, where v is the version of the model it starts on.  So what made
    all workers slow in one round still does.  After the last row it starts again from the first.  All replicates are
    the same.
    Raises ValueError unless the rows have equal lengths and finite numbers > 0.
    See also ``from_trace``, which reads it from a table.

    >>> Replay(((1.0, 2.0), (1.5, 4.0))).n
    2
    """

    seconds: tuple[tuple[float, ...], ...]  #: a row per round, in it one number for each worker
    by: str = "task"  #: "task" or "round"

    def __post_init__(self) -> None:
        try:
            rows = np.array(self.seconds, dtype=float)
        except (TypeError, ValueError):
            rows = np.empty(0)
        if rows.ndim != 2 or not rows.size:
            raise ValueError("seconds must be rows of equal length, one number per worker; read a table by from_trace")
        wrong = ~(np.isfinite(rows) & (rows > 0))
        if wrong.any():
            row, worker = np.argwhere(wrong)[0]
            raise ValueError(
                f"seconds must be finite numbers > 0, got {rows[row, worker]} for worker {worker} in row {row}"
            )
        if self.by not in BY:
            raise ValueError(f"by must be one of {', '.join(BY)}, got {self.by!r}")
        plain: Any = rows.tolist()
        object.__setattr__(self, "seconds", tuple(map(tuple, plain)))

    def __repr__(self) -> str:
        digest = hashlib.sha256(np.array(self.seconds).tobytes()).hexdigest()[:12]
        return f"Replay(<{len(self.seconds)} rounds of {self.n} workers, {digest}>, by={self.by!r})"

    @property
    def n(self) -> int:
        return len(self.seconds[0])

    def times(self, seed: int, replicate: int) -> list[Times]:
        rule = _one_after_the_other if self.by == "task" else _by_version
        return [Times(rule(column)) for column in zip(*self.seconds, strict=True)]


@explains_types
def from_trace(trace: Trace | pd.DataFrame | str | os.PathLike, n: int | None = None, by: str = "task") -> Replay:
    """The replay of a Trace, of a table with columns round, worker and seconds, or of a CSV file with such a table.

    Rounds and workers are whole numbers, which may have gaps, in any order.  ``n`` takes the n workers with the lowest
    numbers, None all.  Raises ValueError unless every worker has one finite time > 0 in every round; OSError if the
    file cannot be read.
    See also ``abs_theory.traces.read``, which reads other formats and repairs incomplete tables.

    >>> import pandas as pd
    >>> table = pd.DataFrame({"round": [0, 0, 1, 1], "worker": [0, 1, 0, 1], "seconds": [1.0, 2.0, 1.5, 4.0]})
    >>> from_trace(table).seconds
    ((1.0, 2.0), (1.5, 4.0))
    """
    if isinstance(trace, Trace):
        name, table = "the trace", trace.deliveries
        if trace.rounds != len(trace.complete):
            raise ValueError(
                f"every worker must deliver once in every round, but only {len(trace.complete)} of {trace.rounds} "
                "rounds are complete; Replay(trace.complete) leaves the others out"
            )
    elif isinstance(trace, pd.DataFrame):
        name, table = "the table", trace
    else:
        name, table = str(trace), _read(Path(trace))
    if table.empty or any(list(table.columns).count(column) != 1 for column in COLUMNS):
        given = f"columns {', '.join(map(str, table.columns))} and {len(table)} rows"
        raise ValueError(f"{name} must have rows with columns {', '.join(COLUMNS)}, got {given}")
    rounds, workers, seconds = (_numbers(name, table, column) for column in COLUMNS)
    labels, workers = np.unique(workers, return_inverse=True)
    if n is not None:
        check_count("n", n)
        if n > labels.size:
            raise ValueError(f"{name} has {labels.size} workers, got n={n}; run at most as many as were measured")
        chosen = workers < n
        labels, rounds, workers, seconds = labels[:n], rounds[chosen], workers[chosen], seconds[chosen]
    numbers, rounds = np.unique(rounds, return_inverse=True)
    place = rounds * labels.size + workers

    def check(valid: bool, at: int, count: int, advice: str) -> None:
        if not valid:
            where = f"round {numbers[at // labels.size]:.0f} has {count} of worker {labels[at % labels.size]:.0f}"
            raise ValueError(f"{name} must have one time per round and worker, but {where}: {advice}")

    cells, counts = np.unique(place, return_counts=True)
    most = int(np.argmax(counts))
    check(counts[most] == 1, int(cells[most]), int(counts[most]), "choose one data set of the table")
    gap = int(np.argmax(np.append(cells, -1) != np.arange(cells.size + 1)))
    complete = f'table.groupby("round").filter(lambda rows: len(rows) == {labels.size})'
    advice = f"keep whole rounds only, {complete}, or repair it by abs_theory.traces"
    check(cells.size == numbers.size * labels.size, gap, 0, advice)
    return Replay(seconds[np.argsort(place)].reshape(-1, labels.size), by)  # pyright: ignore[reportArgumentType]


def _numbers(name: str, table: pd.DataFrame, column: str) -> np.ndarray:
    numbers = pd.to_numeric(table[column], errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    if column == "seconds":
        fine, kind = numbers > 0, "finite numbers > 0"
    else:
        fine, kind = numbers == np.floor(numbers), "whole numbers (pandas.factorize makes them of names)"
    wrong = ~(fine & np.isfinite(numbers))
    if wrong.any():
        row = int(np.argmax(wrong))
        given = table[column].iloc[row]
        raise ValueError(f"{column} must be {kind}, got {given} in row {row + 1} of {name}; correct or drop it")
    return numbers


def _read(path: Path) -> pd.DataFrame:
    try:
        with open_input(path) as file:
            table = pd.read_csv(file)
        if not isinstance(table.index, pd.RangeIndex):
            raise ValueError("rows have more values than there are columns")
    except ValueError as error:  # what pandas makes of no text, no table, half an archive
        raise ValueError(f"{path} is no table of {', '.join(COLUMNS)}: {str(error).strip()}") from None
    return table


def _one_after_the_other(seconds: tuple[float, ...]) -> Callable[[float, int], float]:
    following = cycle(seconds).__next__
    return lambda time, version: following()


def _by_version(seconds: tuple[float, ...]) -> Callable[[float, int], float]:
    rounds = len(seconds)
    return lambda time, version: seconds[version % rounds]
