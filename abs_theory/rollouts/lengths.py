"""Lengths of answers in tokens: from a training log, or from a law as text."""

import csv
import io
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from abs_theory.checks import check_input_file, explains_types, instead
from abs_theory.delays import Delay, Empirical, Slowest
from abs_theory.delays.text import delay_law
from abs_theory.files import last_line, open_input
from abs_theory.rollouts.names import ROLES
from abs_theory.traces import UNITS, base_of, read_table
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
def read_lengths(text: str, group: int = 1, columns: Mapping[str, str] | None = None) -> Lengths:
    """Lengths from a file (CSV, Parquet or JSON lines) or a law such as "lognormal:median=800,sigma=1".

    A file needs a column ``tokens``, or has one column.  Optional columns: ``probability``, ``weight`` or ``count``;
    ``group``, the prompt of an answer; ``seconds``.  Their usual other names are known, such as response_length,
    prompt_id and latency_ms; ``columns`` says the others, as {"tokens": "n_out"}.  With ``group`` > 1 answers to a
    prompt are drawn from its own answers, so that those that resemble each other still do.
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
        if columns:
            raise ValueError(f"columns are those of a file, but the lengths are the law {text!r}: leave them out")
        law = delay_law(text)
        return Lengths(law, text)
    check_input_file(path)
    if path.is_dir():
        raise ValueError(f"--lengths must be a file or a law such as lognormal:median=800,sigma=1, {path} is a folder")
    if path.stat().st_size == 0:
        raise ValueError(f"{path.name} must have a column of token lengths, it is empty")
    return _of_table(_table(path), path.name, group, columns or {})


def _table(path: Path) -> pd.DataFrame:
    kind = path.suffix.lower()
    if kind in (".parquet", ".pq"):
        table = read_table(path).drop(columns="", errors="ignore")  # a stored index has no name
        return table.set_axis(pd.RangeIndex(1, len(table) + 1, name="row"))
    if kind in (".jsonl", ".ndjson", ".json"):
        table = read_table(path, "json")
        _check_size(table, path)
        return table.set_axis(pd.RangeIndex(1, len(table) + 1, name="record"))
    try:
        table, first = _csv(path), 2
        if table.shape[1] == 1 and pd.to_numeric(pd.Series(table.columns), errors="coerce").notna().all():
            table, first = _csv(path, header=None, names=["tokens"]), 1
    except ValueError as problem:
        raise ValueError(f"{path.name} must hold a table, and does not: {problem}") from None
    _check_size(table, path)
    cut, note = last_line(path, table.shape[1], lambda line: next(csv.reader([line]), []))
    if note and len(table) > 1:
        table = table.iloc[: len(table) - cut]
        table.attrs["notes"] = [note]
    table.attrs["path"] = path
    return table.set_axis(pd.RangeIndex(first, len(table) + first, name="line"))


def _csv(path: Path, **options: Any) -> pd.DataFrame:
    with open_input(path) as file:
        return pd.read_csv(file, nrows=MOST_ANSWERS + 1, **options)


def _line_number(path: Path, number: int) -> int:
    """The line that an editor shows for the line with this number, where blank lines do not count."""
    with open_input(path) as file, io.TextIOWrapper(file, encoding="utf-8", errors="replace", newline="") as text:
        lines = csv.reader(text)
        with suppress(csv.Error):
            for fields in lines:
                number -= len(fields) > 1 or bool(fields and fields[0].strip())
                if not number:
                    break
        return lines.line_num


def _check_size(table: pd.DataFrame, path: Path) -> None:
    if len(table) > MOST_ANSWERS:
        raise ValueError(f"{path.name} has more than {MOST_ANSWERS} rows: take every tenth, say")


def _of_table(table: pd.DataFrame, name: str, group: int, columns: Mapping[str, str]) -> Lengths:
    table = table.rename(columns={column: str(column).strip() for column in table.columns})
    if twice := table.columns[table.columns.str.lower().duplicated()].tolist():
        raise ValueError(f"the columns of {name} must have different names, it has {twice[0]} twice (case is ignored)")
    if table.shape[1] == 1 and not columns:
        table = table.set_axis(["tokens"], axis=1)
    place = _places(table, name, columns)
    if "tokens" not in place:
        raise ValueError(
            f"{name} must have a column tokens, it has {', '.join(table.columns)}; say which one: --columns tokens=NAME"
        )
    if "dataset" in place and table[place["dataset"]].nunique() > 1:
        raise ValueError(f"{name} has {table[place['dataset']].nunique()} datasets: keep the rows of one of them")
    tokens = _positive(table, place["tokens"], name)
    if not tokens.size:
        raise ValueError(f"the column {place['tokens']} of {name} must have finite numbers > 0 only, and at least one")
    weighed = next((place[role] for role in WEIGHTS if role in place), None)
    weights = np.ones(tokens.size) if weighed is None else _positive(table, weighed, name)
    law = _law(tokens, weights)
    slowest = seconds_per_token = None
    if group > 1 and "group" in place:
        prompts = table[place["group"]].factorize()[0]
        if np.unique(prompts).size == tokens.size > 1:
            raise ValueError(
                f"the column {place['group']} of {name} must say which answers have the same prompt, but each answer "
                "has one of its own: name another with --columns group=NAME, or leave the column out of the file"
            )
        slowest = slowest_of_prompt(tokens, prompts, group)
    if "seconds" in place:
        unit = base_of(place["seconds"])[1]
        seconds = _positive(table, place["seconds"], name) * UNITS[unit or "s"]
        seconds_per_token = float(weights @ seconds / (weights @ tokens))
    used = {role: column for role, column in place.items() if role != "dataset" and (role != "group" or group > 1)}
    renamed = ", ".join(f"{role}: {column}" for role, column in used.items() if role != column.lower())
    words = f"{tokens.size} lengths of {name}{f' ({renamed})' * bool(renamed)}"
    words += f" ({'; '.join(notes)})" if (notes := table.attrs.get("notes")) else ""
    return Lengths(law, words, slowest, seconds_per_token)


def _places(table: pd.DataFrame, name: str, columns: Mapping[str, str]) -> dict[str, str]:
    """The column of each role: the one that ``columns`` says, that is called like the role, or has a usual name."""
    given = {column.lower(): column for column in table.columns}
    place = {}
    for role, column in columns.items():
        if role not in ROLES:
            raise ValueError(f"no column has the role {role!r}{instead(role, ROLES, 'roles: ' + ', '.join(ROLES))}")
        if column.lower() not in given:
            there = f"there are {', '.join(table.columns)}"
            raise ValueError(f"{name} has no column {column!r}{instead(column, table.columns, there)}")
        place[role] = given[column.lower()]
    for role, names in ROLES.items():
        usual = [column for column in table.columns if base_of(column)[0] in names and column not in place.values()]
        usual.sort(key=lambda column: names.index(base_of(column)[0]))
        if role in place or not usual:
            continue
        if role not in given and len(usual) > 1 and role in ("tokens", "seconds"):
            raise ValueError(
                f"{usual[0]} and {usual[1]} of {name} may each be the {role}: say which one, "
                f"--columns {role}={usual[0]} or --columns {role}={usual[1]}"
            )
        place[role] = given.get(role, usual[0])
    return place


def _positive(table: pd.DataFrame, column: str, name: str) -> Array:
    """The numbers of a column; raises ValueError unless they are finite and > 0."""
    values = pd.to_numeric(table[column], errors="coerce").to_numpy(float)
    bad = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
    if bad.size:
        cell = table[column].iloc[bad[0]]
        shown = "an empty cell" if pd.isna(cell) else repr(cell) if isinstance(cell, str) else str(cell)
        more = f" (there are {bad.size} such cells)" if bad.size > 1 else ""
        number = table.index.to_numpy()[bad[0]]
        if table.index.name == "line":
            number = _line_number(table.attrs["path"], int(number))
        place = f"{table.index.name} {number}"
        raise ValueError(
            f"the column {column} of {name} must have finite numbers > 0 only, {place} has {shown}{more}: correct or "
            "leave out such rows"
        )
    return values


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
