"""Lengths of answers in tokens: from a training log, or from a law as text."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd

from abs_theory.checks import check_input_file, explains_types
from abs_theory.delays import Delay, Empirical, Slowest
from abs_theory.delays.text import delay_law
from abs_theory.files import open_input
from abs_theory.traces import read_table
from abs_theory.typing import Array, Ints

__all__ = ["Lengths", "read_lengths", "slowest_of_prompt"]

WEIGHTS = ("probability", "weight", "count")  # columns that say how often a length occurs
MOST_ANSWERS = 5_000_000  # of a log, which then take some 100 MB
MOST_LENGTHS = 2000  # different ones that are kept; more are gathered, each group at its mean


@explains_types
@dataclass(frozen=True)
class Lengths:
    """The law of the tokens of an answer, and what the log says about groups and speed."""

    law: Delay  #: tokens of one answer
    words: str  #: what the law is, in a few words
    slowest: Delay | None = None  #: tokens of the longest answer of a group, if the log has groups
    seconds_per_token: float | None = None  #: if the log has seconds

    def task(self, group: int) -> Delay:
        """The law of a task: the longest of ``group`` answers to one prompt."""
        if group == 1:
            return self.law
        return self.slowest if self.slowest is not None else Slowest(self.law, group)


@explains_types
def read_lengths(text: str, group: int = 1) -> Lengths:
    """Lengths from a file (CSV, Parquet or JSON lines) or a law such as "lognormal:median=800,sigma=1".

    A file needs a column ``tokens``, or has one column.  Optional columns: ``probability``, ``weight`` or ``count``;
    ``group``, the prompt of an answer; ``seconds``.  With ``group`` > 1 answers to a prompt are drawn from its own
    answers, so that those that resemble each other still do.
    Raises ValueError for anything else, and OSError if a file cannot be read.

    >>> read_lengths("exponential:mean=1000").law.mean
    1000.0
    """
    path = Path(text)
    if not path.exists():
        if ":" not in text:
            raise ValueError(
                f"no file is named {text!r}, and --lengths must be one, or a law: lognormal:median=800,sigma=1"
            )
        law = delay_law(text)
        return Lengths(law, text)
    check_input_file(path)
    if path.is_dir():
        raise ValueError(f"--lengths must be a file or a law such as lognormal:median=800,sigma=1, {path} is a folder")
    if path.stat().st_size == 0:
        raise ValueError(f"{path.name} must have a column of token lengths, it is empty")
    return _of_table(_table(path), path.name, group)


def _table(path: Path) -> pd.DataFrame:
    kind = path.suffix.lower()
    if kind in (".parquet", ".pq"):
        return read_table(path).drop(columns="", errors="ignore")  # a stored index has no name
    lines = kind in (".jsonl", ".ndjson", ".json")
    try:
        if lines:
            return _read(path, lambda file: pd.read_json(file, lines=True, nrows=MOST_ANSWERS + 1))
        table = _read(path, lambda file: pd.read_csv(file, nrows=MOST_ANSWERS + 1))
        if table.shape[1] == 1 and pd.to_numeric(pd.Series(table.columns), errors="coerce").notna().all():
            table = _read(path, lambda file: pd.read_csv(file, header=None, names=["tokens"], nrows=MOST_ANSWERS + 1))
    except ValueError as problem:
        must = "have a JSON object on each line, and does not" if lines else "hold a table, and does not"
        raise ValueError(f"{path.name} must {must}: {problem}") from None
    return table


def _read(path: Path, parse: Callable[[IO[bytes]], pd.DataFrame]) -> pd.DataFrame:
    with open_input(path) as file:
        table = parse(file)
    if len(table) > MOST_ANSWERS:
        raise ValueError(f"it has more than {MOST_ANSWERS} rows: take every tenth, say")
    return table


def _of_table(table: pd.DataFrame, name: str, group: int) -> Lengths:
    table = table.rename(columns={column: str(column).strip().lower() for column in table.columns})
    if twice := table.columns[table.columns.duplicated()].tolist():
        raise ValueError(f"the columns of {name} must have different names, it has {twice[0]} twice (case is ignored)")
    if "tokens" not in table and table.shape[1] == 1:
        table = table.set_axis(["tokens"], axis=1)
    if "tokens" not in table:
        raise ValueError(f"{name} must have a column tokens, it has {', '.join(map(str, table.columns))}")
    if "dataset" in table and table["dataset"].nunique() > 1:
        raise ValueError(f"{name} has {table['dataset'].nunique()} datasets: keep the rows of one of them")
    tokens = pd.to_numeric(table["tokens"], errors="coerce").to_numpy(float)
    if not (tokens.size and np.all(np.isfinite(tokens) & (tokens > 0))):
        raise ValueError(f"the column tokens of {name} must have finite numbers > 0 only, and at least one")
    column = next((column for column in WEIGHTS if column in table), None)
    weights = np.ones(tokens.size) if column is None else pd.to_numeric(table[column], errors="coerce").to_numpy(float)
    if not np.all(np.isfinite(weights) & (weights > 0)):
        raise ValueError(f"the column {column} of {name} must have finite numbers > 0 only")
    law = _law(tokens, weights)
    slowest = seconds_per_token = None
    if group > 1 and "group" in table:
        slowest = slowest_of_prompt(tokens, table["group"].factorize()[0], group)
    if "seconds" in table:
        seconds = pd.to_numeric(table["seconds"], errors="coerce").to_numpy(float)
        if not np.all(np.isfinite(seconds) & (seconds > 0)):
            raise ValueError(f"the column seconds of {name} must have finite numbers > 0 only")
        seconds_per_token = float(weights @ seconds / (weights @ tokens))
    words = f"{tokens.size} lengths of {name}"
    return Lengths(law, words, slowest, seconds_per_token)


@explains_types
def slowest_of_prompt(tokens: Array, prompt: Ints, count: int) -> Delay:
    """The law of the longest of ``count`` answers to a random prompt, drawn from the recorded answers to that prompt.

    ``tokens`` and ``prompt``, a number from 0 on, have one entry for each answer.

    >>> law = slowest_of_prompt(np.array([1.0, 2.0, 5.0, 6.0]), np.array([0, 0, 1, 1]), count=2)
    >>> float(law.cdf(2.0)), float(law.cdf(5.0))
    (0.5, 0.625)
    """
    order = np.lexsort((tokens, prompt))
    tokens, prompt = tokens[order], prompt[order]
    sizes = np.bincount(prompt)[prompt]
    rank = np.arange(tokens.size) - np.searchsorted(prompt, prompt)
    weights = ((rank + 1) / sizes) ** count - (rank / sizes) ** count
    return _law(tokens, np.maximum(weights, 1e-300))


def _law(tokens: Array, weights: Array) -> Delay:
    """A law of at most ``MOST_LENGTHS`` lengths; neighbours are gathered at their mean."""
    order = np.argsort(tokens, kind="stable")
    tokens, weights = tokens[order], weights[order]
    if tokens.size > MOST_LENGTHS:
        # half of the places by rank, half by length, so that the tail stays fine
        share = (np.cumsum(weights) - weights / 2) / weights.sum()
        reach = np.log(tokens / tokens[0]) / max(np.log(tokens[-1] / tokens[0]), 1e-300)
        place = np.floor((share + reach) / 2 * (MOST_LENGTHS - 1)).astype(int)
        total = np.bincount(place, weights)
        mean = np.bincount(place, weights * tokens)
        tokens, weights = mean[total > 0] / total[total > 0], np.asarray(total[total > 0], float)
    return Empirical(tokens, weights)
