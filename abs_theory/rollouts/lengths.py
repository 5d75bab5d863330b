"""Lengths of answers in tokens: from a training log, or from a law as text."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import special, stats

from abs_theory.checks import check_input_file, explains_types, instead
from abs_theory.delays import Delay, Empirical, Slowest
from abs_theory.delays.text import delay_law
from abs_theory.rollouts.log_table import log_table, one_row_each, positive
from abs_theory.rollouts.names import ROLES
from abs_theory.rollouts.stopped import not_whole_numbers, of_whole_answers, told_of_stopped, were_stopped
from abs_theory.traces import UNITS, base_of, counted
from abs_theory.typing import Array, Ints

__all__ = ["Lengths", "read_lengths", "slowest_of_prompt"]

WEIGHTS = ("probability", "weight", "count")  # columns that say how often a length occurs
NUMBERS = ("tokens", "seconds")  # other columns of numbers > 0
ROUNDED = 0.005  # of a sum of probabilities that were rounded
MOST_LENGTHS = 2000  # different ones that are kept; more are gathered, each group at its mean
FEWEST_STEPS = 3  # of a trend
LUCK, LEAST_CHANGE = 0.01, 0.05  # probability and size of a trend, from which on it is said
TOKENS_OF_LOST_GROUPS = (
    "In modes that lose groups, tokens/s takes the answers of a group as independent given the longest: it is too "
    "high, by up to a third, if they resemble each other."
)
INDEPENDENT = (
    "The lengths do not say which answers have the same prompt: the answers of a group are taken as independent. Those "
    "to one prompt mostly resemble each other, so that real groups differ more in length."
)


@explains_types
@dataclass(frozen=True)
class Lengths:
    """The law of the tokens of an answer, and what the log says about groups and speed."""

    law: Delay  #: tokens of one answer
    words: str  #: what the law is, in a few words
    slowest: Delay | None = None  #: tokens of the longest answer of a group, if the log has groups
    seconds_per_token: float | None = None  #: if the log has seconds
    notes: tuple[str, ...] = ()  #: what was assumed, or what the log says that nobody asked for

    def task(self, group: int) -> Delay:
        """The law of a task: the longest of ``group`` answers to one prompt."""
        if group == 1:
            return self.law
        return self.slowest if self.slowest is not None else Slowest(self.law, group)


@explains_types
def read_lengths(text: str, group: int = 1, columns: Mapping[str, str] | None = None) -> Lengths:
    """Lengths from a file (CSV, Parquet or JSON lines) or a law such as "lognormal:median=800,sigma=1".

    A file, also one compressed by gzip, needs a column ``tokens``, or has one column.  Optional columns:
    ``probability``, ``weight`` or ``count``; ``group``, the prompt of an answer; ``seconds``; ``step``; ``status``, as
    of answers that were aborted, which would have been longer.  Their usual other names are known, such as
    response_length, prompt_id and latency_ms; ``columns`` says the others, as
    {"tokens": "n_out"}.  With ``group`` > 1 answers to a prompt are drawn from its own answers, each once, so that
    those that resemble each other still do.  A few damaged rows are left out; ``Lengths.words`` says so.
    Raises ValueError for anything else, and OSError if a file cannot be read.

    >>> read_lengths("exponential:mean=1000").law.mean
    1000.0
    """
    path = Path(text)
    if not text.strip() or not path.exists():
        if ":" not in text:
            raise ValueError(
                f"no file is named {text!r}, and --lengths must be one, or a law: lognormal:median=800,sigma=1"
            )
        if columns:
            raise ValueError(f"columns are those of a file, but the lengths are the law {text!r}: leave them out")
        law = delay_law(text)
        return Lengths(law, text, notes=(INDEPENDENT,) if group > 1 else ())
    check_input_file(path)
    if path.is_dir():
        raise ValueError(f"--lengths must be a file or a law such as lognormal:median=800,sigma=1, {path} is a folder")
    if path.stat().st_size == 0:
        raise ValueError(f"{path.name} must have a column of token lengths, it is empty")
    return _of_table(log_table(path), path.name, group, columns or {})


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
    table = one_row_each(table, place, name)
    if "dataset" in place and table[place["dataset"]].nunique() > 1:
        raise ValueError(f"{name} has {table[place['dataset']].nunique()} datasets: keep the rows of one of them")
    table, numbers = positive(table, [place[role] for role in (*NUMBERS, *WEIGHTS) if role in place], name)
    tokens = numbers[place["tokens"]]
    if not tokens.size:
        raise ValueError(f"the column {place['tokens']} of {name} must have finite numbers > 0 only, and at least one")
    weighed = next((role for role in WEIGHTS if role in place), None)
    weights = np.ones(tokens.size) if weighed is None else numbers[place[weighed]]
    if weighed == "probability" and abs(weights.sum() - 1) > ROUNDED:
        raise ValueError(
            f"the column {place[weighed]} of {name} must sum to 1, it sums to {weights.sum():.4g}: correct it, or call "
            "it weight if only its proportions count"
        )
    notes = _growth(tokens, weights, table, place) + (() if weighed in WEIGHTS[:2] else not_whole_numbers(tokens))
    stopped = were_stopped(table[place["status"]]) if "status" in place else np.zeros(tokens.size, dtype=bool)
    if stopped.all():
        raise ValueError(f"by the column {place['status']} of {name} no answer has ended, so that no length is known")
    whole = of_whole_answers(tokens, weights, stopped) if stopped.any() else weights
    law = _law(tokens[whole > 0], whole[whole > 0])
    if stopped.any():
        notes += (told_of_stopped(stopped, place["status"], groups=group > 1 and "group" in place),)
    slowest = seconds_per_token = None
    if "group" in place:
        prompts = table[place["group"]].factorize(use_na_sentinel=False)[0]
        times = weights if weighed == "count" else np.ones(tokens.size)
        if group > 1:
            if empty := int(table[place["group"]].isna().sum()):
                raise ValueError(
                    f"the column {place['group']} of {name} must name the prompt of each answer, it has "
                    f"{counted(empty, 'empty cell')}: fill them, or leave out such rows"
                )
            slowest, said = _of_groups(tokens, prompts, times, group, f"{place['group']} of {name}")
            notes += said
            if weighed not in (None, "count"):
                notes += (f"The {weighed} of an answer does not count in the groups.",)
        elif (recorded := np.bincount(prompts, times)).max() > 1:
            most = f"{'up to ' * bool(np.ptp(recorded))}{recorded.max():g}"
            notes += (
                f"The column {place['group']} has {most} answers for a prompt. If your trainer takes groups, give "
                f"their size, such as --group {recorded.max():g}: here each answer is a task of its own.",
            )
    elif group > 1:
        notes += (INDEPENDENT,)
    if "seconds" in place:
        seconds = numbers[place["seconds"]] * UNITS[base_of(place["seconds"])[1] or "s"]
        seconds_per_token = float(weights @ seconds / (weights @ tokens))
    used = {role: column for role, column in place.items() if role in NUMBERS or (role == "group" and group > 1)}
    renamed = ", ".join(f"{role}: {column}" for role, column in used.items() if role != column.lower())
    words = f"{counted(tokens.size, 'length')} of {name}{f' ({renamed})' * bool(renamed)}"
    words += f" ({'; '.join(said)})" if (said := table.attrs.get("notes")) else ""
    return Lengths(law, words, slowest, seconds_per_token, notes)


def _of_groups(tokens: Array, prompts: Ints, times: Array, group: int, column: str) -> tuple[Delay, tuple[str, ...]]:
    """The law of the longest of a ``group``, and what to say about prompts with too few answers."""
    recorded = np.bincount(prompts, times)
    if recorded.size > 1 and recorded.max() == 1:
        raise ValueError(
            f"the column {column} must say which answers have the same prompt, but each answer "
            "has one of its own: name another with --columns group=NAME, or leave the column out of the file"
        )
    few = int((recorded < group).sum())
    if few == recorded.size:
        raise ValueError(
            f"the column {column} must have at least {group} answers to some prompt, to tell how long the longest of "
            f"{group} is, it has at most {recorded.max():g}: take --group {recorded.max():g} or fewer, or leave the "
            "column out of the file, which takes the answers of a group as independent"
        )
    note = f"{counted(few, 'prompt')} of {recorded.size} with fewer than {group} answers left out of the groups."
    return slowest_of_prompt(tokens, prompts, group, times), (*(note,) * (few > 0), TOKENS_OF_LOST_GROUPS)


def _growth(tokens: Array, weights: Array, table: pd.DataFrame, place: Mapping[str, str]) -> tuple[str, ...]:
    """A note if answers become longer, or shorter, from step to step, by more than luck and in all by more than 5 %.

    A straight line through the mean lengths of prompts, or through the lengths if prompts are not known.
    """
    if "step" not in place:
        return ()
    steps = pd.to_numeric(table[place["step"]], errors="coerce").to_numpy(float)
    if not np.isfinite(steps).all():
        return ()
    frame = pd.DataFrame({"step": steps, "tokens": tokens * weights, "weight": weights})
    if "group" in place:
        frame = frame.groupby([steps, table[place["group"]].to_numpy()], sort=False).agg(
            {"step": "first", "tokens": "sum", "weight": "sum"}
        )
    if frame["step"].nunique() < FEWEST_STEPS or len(frame) <= FEWEST_STEPS:
        return ()
    line: Any = stats.linregress(frame["step"], frame["tokens"] / frame["weight"])
    first, last = float(steps.min()), float(steps.max())
    at_first, at_last = line.intercept + line.slope * first, line.intercept + line.slope * last
    change = abs(at_last - at_first) / max(at_first, at_last)
    if not (line.pvalue < LUCK and change > LEAST_CHANGE):
        return ()
    return (
        f"Answers become {'longer' if line.slope > 0 else 'shorter'}: about {max(at_first, 0):.0f} tokens in "
        f"{place['step']} {first:g}, {max(at_last, 0):.0f} in {last:g}. Here all are taken together: for what comes "
        "next, keep the rows of the last steps.",
    )


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


@explains_types
def slowest_of_prompt(tokens: Array, prompt: Ints, count: int, times: Array | None = None) -> Delay:
    """The law of the longest of ``count`` answers to a random prompt, drawn from its recorded answers, each once.

    ``tokens`` and ``prompt``, a number from 0 on, have one entry for each answer; ``times`` says how often each is
    recorded, once by default.  Prompts with fewer answers than ``count`` are left out: they cannot tell how long the
    longest of so many is.  With m answers, that of rank i is the longest of so many drawn ones with probability
    C(i - 1, count - 1) / C(m, count).
    Raises ValueError if no prompt has ``count`` answers.

    >>> law = slowest_of_prompt(np.array([1.0, 2.0, 5.0, 6.0, 9.0]), np.array([0, 0, 1, 1, 1]), count=2)
    >>> law.cdf([2.0, 6.0, 9.0]).round(6).tolist()
    [0.5, 0.666667, 1.0]
    """
    times = np.ones(tokens.size) if times is None else times
    recorded = np.bincount(prompt, times)
    if not (recorded >= count).any():
        raise ValueError(
            f"no prompt has {count} recorded answers, so the log cannot tell how long the longest of {count} is: it "
            f"has at most {recorded.max():g} for each"
        )
    enough = recorded[prompt] >= count
    order = np.lexsort((tokens[enough], prompt[enough]))
    tokens, prompt, times = tokens[enough][order], prompt[enough][order], times[enough][order]
    total = np.cumsum(times)
    first = np.searchsorted(prompt, prompt)
    rank = total - (total - times)[first]  # of the last answer of this length, among those to its prompt

    def at_most(rank: Array) -> Array:
        """P(the longest has at most this rank)."""
        left = np.maximum(rank - count, 0.0)
        logs = special.gammaln(rank + 1) - special.gammaln(left + 1)
        size = recorded[prompt]
        logs -= special.gammaln(size + 1) - special.gammaln(size - count + 1)
        return np.where(rank >= count, np.exp(logs), 0.0)

    weights: Array = np.asarray(at_most(rank) - at_most(rank - times), float)
    return _law(tokens[weights > 0], weights[weights > 0])


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
