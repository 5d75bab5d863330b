"""From rows as they came to usable attempts; every step that changes something adds a sentence to the report."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from abs_theory.checks import explains_types, is_integer
from abs_theory.traces.cleaning.clocks import check_clocks, without_clock_changes
from abs_theory.traces.cleaning.lost import with_lost_calls
from abs_theory.traces.cleaning.notices import at_deadline, notices, silent
from abs_theory.traces.cleaning.units import units
from abs_theory.traces.columns import (
    NOT_ASKED,
    Floats,
    Mask,
    Names,
    check_since_1970,
    counted,
    delivers_not,
    durations,
    listed,
    numbered,
    numbers,
    one_dataset,
    statuses,
    unit_factors,
)

__all__ = ["clean", "warmup_rounds", "windows"]

OPTIONAL = ("k_waited", "version_read", "version_applied", "compute_s", "comm_s")
# Conventions: what a person who looks at the data would call an exception.
MOST_CONTRADICTING_SHARE, MOST_CONTRADICTING = 0.05, 3  # of the rows; with more, the numbering of rounds must be wrong
LONG_GAP_STEPS = 10  # usual steps between round numbers, from which a gap separates two windows
FEW_TEXTS = 2  # rows with text instead of a time that are left out without further ado
MOST_TEXT_SHARE = 0.01  # of the rows, above which text is no exception
MOST_TEXT_OF_ONE = 0.5  # of the rows with text, above which leaving them out would favour a worker
SHORTEST_S, LONGEST_S = 1e-15, 1e15  # seconds; a time outside is no measurement
WARMUP_FACTOR = 2.0  # times the median of the fastest arrivals, from which a first round is slow
WARMUP_SHARE = 0.1  # of the rounds, at most, are left out as warm-up


@explains_types
@np.errstate(all="ignore")  # of numbers at the ends of the range of floats; what comes of them is judged by its value
def clean(
    frame: pd.DataFrame, unit: str | None, warmup: int | str, dataset: str | None
) -> tuple[pd.DataFrame, Names, list[str], list[str], tuple[int, ...]]:
    """Attempts as ``traces.Trace`` has them, names of workers, the report, its doubts, and the rounds without arrivals.

    Raises ValueError if a column is not what its name says, or nothing was delivered.

    >>> seconds = [1.0, 2.0, 1.5, "failed"]
    >>> frame = pd.DataFrame({"round": [0, 0, 1, 1], "worker": ["a", "b", "a", "b"], "seconds": seconds})
    >>> attempts, workers, report, doubts, empty = clean(frame, "s", 0, None)
    >>> list(workers), attempts["observed"].tolist(), empty
    (['a', 'b'], [True, True, True, False], ())
    """
    if not (warmup == "auto" or (is_integer(warmup) and int(warmup) >= 0)):
        raise ValueError(f'warmup must be "auto" or a number of rounds >= 0, got {warmup!r}')
    report: list[str] = []
    frame = _placed(one_dataset(frame, dataset), report)
    table, workers = _attempts(frame, unit, report)
    table = _without_repeats(_sorted(table, report), report)
    table = _without_warmup(table, warmup, report)
    if not table["observed"].any():
        raise ValueError(f"no attempt was delivered, there is nothing to learn from; {'; '.join(report)}")
    tried = table[["round", "worker"]]  # also in rows that are not usable: such a worker did not join later
    table, empty = with_lost_calls(table, len(workers), report)
    table["window"] = windows(table["round"].to_numpy())
    arrived = table[table["observed"]]
    doubts = [*silent(table, workers), *units(arrived, workers), *at_deadline(arrived)]
    report += [*notices(table, workers, tried), *doubts]
    table = table.drop(columns=["usable", "start"], errors="ignore").reset_index(drop=True)
    return table, workers, report, doubts, empty


def _placed(frame: pd.DataFrame, report: list[str]) -> pd.DataFrame:
    """The rows that name a round and a worker, the round as int64."""
    values, text = numbers(frame["round"])
    known = np.isfinite(values)
    wrong = text | (known & ((values != np.floor(values)) | (np.abs(values) > 2**53)))
    if wrong.any():
        example, rows = frame["round"].to_numpy()[wrong][0], counted(int(wrong.sum()), "row")
        shown = repr(example) if isinstance(example, str) else example
        raise ValueError(f"round must be a whole number below 2**53, got {shown} in {rows}")
    nameless = frame["worker"].isna().to_numpy()
    left_out = ~known | nameless
    if left_out.any():
        report.append(f"{counted(int(left_out.sum()), 'row')} without a round or a worker left out")
        frame, values = frame[~left_out], values[~left_out]
    if frame.empty:
        raise ValueError("no row names both a round and a worker")
    return frame.assign(round=values.astype(np.int64))


def _attempts(frame: pd.DataFrame, unit: str | None, report: list[str]) -> tuple[pd.DataFrame, Names]:
    """Seconds, whether delivered, and whether usable; lost calls have NaN seconds until their round is known."""
    worker, workers = _worker_codes(frame["worker"])
    check_since_1970(frame, unit)
    factor = unit_factors(frame, unit, report)
    seconds, text, start = durations(frame, factor)
    status = statuses(frame)
    delivered = np.ones(len(frame), bool) if status is None else np.asarray(status == "ok")
    if start is not None:
        seconds = without_clock_changes(frame, start, seconds, report)
        check_clocks(frame["round"].to_numpy(), worker, start, seconds, workers, report)
    not_asked = np.zeros(len(frame), bool) if status is None else np.asarray(status == NOT_ASKED)
    failed_words = delivers_not(frame["seconds"]) if "seconds" in frame else np.zeros(len(frame), bool)
    delivered &= ~failed_words
    unknown = ~np.isfinite(seconds) & ~text
    _check_text(frame, text & ~not_asked, worker, workers)
    _check_text(frame, (seconds <= 0) & ~unknown & ~not_asked, worker, workers, "a number <= 0")
    reasons = {
        "text": text,
        "zero": seconds == 0,
        "negative": (seconds < 0) & ~unknown,
        "impossible": _is_impossible(seconds),
        "none though the status is ok": unknown & delivered & (status is not None),
    }
    reasons = {name: mask & ~not_asked for name, mask in reasons.items()}
    bad = np.logical_or.reduce(list(reasons.values()))
    if not_asked.any():
        report.append(f"{counted(int(not_asked.sum()), 'row')} of workers that were not asked left out")
    if bad.any():
        counts = ", ".join(f"{name} {mask.sum()}" for name, mask in reasons.items() if mask.any())
        report.append(f"{counted(int(bad.sum()), 'row')} left out, seconds must be a number > 0: {counts}")
    lost = unknown & ~bad & ~not_asked
    if lost.any():
        words = sorted(set(frame["seconds"][failed_words & lost].astype(str))) if failed_words.any() else []
        written = f", written as {listed(words, 3)}" if words else ""
        calls = f"{counted(int(lost.sum()), 'call')} without a time (lost{written})"
        report.append(f"{calls}: censored at the last arrival of the round")
    bad |= not_asked
    given_up = ~delivered & ~bad & ~lost
    if given_up.any() and status is not None:
        _report_given_up(seconds, status, given_up, delivered & ~bad & ~lost, report)
    table = pd.DataFrame(
        {
            "round": frame["round"].to_numpy(),
            "worker": worker,
            "seconds": np.where(lost, np.nan, seconds),
            "observed": delivered & ~lost & ~bad,
            "usable": ~bad,
        }
    )
    if start is not None:
        table["start"] = start
    if status is not None:
        table["status"] = status
    for name in OPTIONAL:
        if name in frame:
            table[name] = _extra(name, frame[name], report)
    if {"version_read", "version_applied"} <= set(table.columns):
        ahead = (table["version_applied"] < table["version_read"]).to_numpy()
        if ahead.any():
            report.append(f"{counted(int(ahead.sum()), 'row')} applied before the version read: both versions left out")
            table.loc[ahead, ["version_read", "version_applied"]] = np.nan
    return table, workers


def _is_impossible(seconds: Floats) -> Mask:
    with np.errstate(invalid="ignore"):
        return np.isfinite(seconds) & (seconds > 0) & ((seconds < SHORTEST_S) | (seconds > LONGEST_S))


def _check_text(frame: pd.DataFrame, text: Mask, worker: NDArray[np.int64], workers: Names, what: str = "text") -> None:
    """Raise ValueError if text stands for the time in more than a few rows, or mostly in those of one worker.

    ``text`` may also mark something else that is no duration, which ``what`` names, as -1 where a call failed.
    """
    count = int(text.sum())
    if count <= FEW_TEXTS:
        return
    if "seconds" in frame or what == "text":
        column = next((name for name in ("seconds", "start", "end") if name in frame), "seconds")
        written = frame[column][text].astype(str).str.strip()
    else:  # times that are too coarse begin and end in the same second
        what = "an end that is not after the start (are the times too coarse?)"
        written = (frame["start"].astype(str) + " to " + frame["end"].astype(str))[text]
    examples = listed(sorted(set(written))[:3])
    share = np.bincount(worker[text], minlength=len(workers)) / count
    if len(workers) > 1 and share.max() > MOST_TEXT_OF_ONE:
        who = f", most of them of worker {workers[int(share.argmax())]}"
    elif count > MOST_TEXT_SHARE * len(text):
        who = ""
    else:
        return
    raise ValueError(
        f"seconds must be numbers{'' if what == 'text' else ' > 0'}, but {count} of {len(text)} rows hold {what}{who}, "
        f"such as {examples}: mend it, or leave the cell empty where the worker did not deliver"
    )


def _worker_codes(column: pd.Series) -> tuple[NDArray[np.int64], Names]:
    """Codes 0..n-1 in the order of the names: numbers by size, text by the alphabet."""
    codes, names = pd.factorize(column)
    values, _ = numbers(pd.Series(names))
    are_numbers = bool(np.all((values == np.floor(values)) & (np.abs(values) < 2**53)))
    keys = values.astype(np.int64) if are_numbers else np.array([str(name).strip() for name in names], dtype=object)
    order, workers = pd.factorize(keys, sort=True)
    return order[codes].astype(np.int64), tuple(workers.tolist())


def _report_given_up(
    seconds: Floats, status: "pd.Categorical[str]", given_up: Mask, delivered: Mask, report: list[str]
) -> None:
    counts = status[given_up].value_counts()
    which = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    report.append(f"{counted(int(given_up.sum()), 'attempt')} not delivered ({which}): censored at the time given up")
    failed = given_up & np.asarray(status == "failed")
    if failed.any() and delivered.any():
        at, usual = float(np.median(seconds[failed])), float(np.median(seconds[delivered]))
        if at < usual / 2:
            report.append(
                f"failures come early (median {at:.3g} s against {usual:.3g} s of deliveries): not taken as fast"
            )


def _extra(name: str, column: pd.Series, report: list[str]) -> Floats:
    """An optional column; NaN where its value is impossible."""
    values, text = numbers(column)
    least = 1 if name == "k_waited" else -np.inf if name.startswith("version") else 0
    is_count = not name.endswith("_s")
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        wrong = text | np.isinf(values) | (known & ((values < least) | (is_count & (values != np.floor(values)))))
    if wrong.any():
        report.append(f"{name} is not used in {counted(int(wrong.sum()), 'row')} where its value is impossible")
    return np.where(wrong, np.nan, values)


def _sorted(table: pd.DataFrame, report: list[str]) -> pd.DataFrame:
    rounds, worker = table["round"].to_numpy(), table["worker"].to_numpy()
    if np.any(np.diff(rounds) < 0):
        report.append("rows do not come in the order of rounds: sorted (row order is not time)")
    if np.all(_steps(table) > 0):
        return table
    keys = (worker, rounds) if "start" not in table else (table["start"].to_numpy(), worker, rounds)
    return table.iloc[np.lexsort(keys)].reset_index(drop=True)


def _steps(table: pd.DataFrame) -> NDArray[np.int64]:
    """Difference of the round from row to row, or of the worker within a round."""
    step = np.diff(table["round"])
    return np.where(step == 0, np.diff(table["worker"]), step)


def _without_repeats(table: pd.DataFrame, report: list[str]) -> pd.DataFrame:
    """One delivery per round and worker: equal rows are dropped, of contradicting ones the first is kept.

    Rows with different starts or versions do not contradict each other: in K-batch-async a worker may deliver twice in
    a round.
    """
    where = ["round", "worker"]
    if np.all(_steps(table) > 0):
        return table
    equal = table.duplicated(where) & table.duplicated()
    if equal.any():
        report.append(f"{counted(int(equal.sum()), 'duplicate row')} dropped")
        table = table[~equal]
    distinguishable = "start" in table or "version_read" in table
    contradicting = table["observed"] & table.duplicated([*where, "observed"])
    if contradicting.any() and not distinguishable:
        count = int(contradicting.sum())
        if count > max(MOST_CONTRADICTING, MOST_CONTRADICTING_SHARE * len(table)):
            raise ValueError(
                f"round and worker must name one delivery, but {count} of {len(table)} rows repeat a pair with other "
                "seconds: number rounds through (epochs?), or tell several jobs apart by a column dataset"
            )
        report.append(f"{counted(count, 'row')} left out for contradicting an earlier one of the same round and worker")
        table = table[~contradicting]
    return table


def windows(rounds: NDArray[np.int64]) -> NDArray[np.int64]:
    """Window 0, 1, ... of each row, from its round number in ascending order.

    A window ends where the next round is more than 10 times the usual (median) step away, because conditions may have
    changed.  Traces that are sampled every few rounds, or that miss single rounds, stay in one window.
    """
    distinct, place = numbered(rounds)
    steps = np.diff(distinct)
    usual = np.median(steps) if len(steps) else 1
    return np.concatenate([[0], np.cumsum(steps > LONG_GAP_STEPS * usual)])[place].astype(np.int64)


def _without_warmup(table: pd.DataFrame, warmup: int | str, report: list[str]) -> pd.DataFrame:
    rounds, _ = numbered(table["round"].to_numpy())
    first = warmup_rounds(table) if warmup == "auto" else int(warmup)
    if first == 0:
        return table
    if first >= len(rounds):
        raise ValueError(f"warmup must leave at least one of {counted(len(rounds), 'round')}, got warmup={warmup}")
    why = " that are slow for every worker (warmup=0 keeps them)" if warmup == "auto" else ""
    report.append(f"{counted(first, 'warm-up round')} left out{why}: up to round {rounds[first - 1]}")
    return table[table["round"] >= rounds[first]]


def warmup_rounds(table: pd.DataFrame) -> int:
    """Number of first rounds that were slow for every worker, for example while caches fill and code is compiled.

    These are the first rounds, at most a tenth of all, whose *fastest* arrival took more than twice the median of the
    fastest arrivals, and longer than in any later round.  A stall of one worker does not count.
    """
    fastest = table.loc[table["observed"]].groupby("round")["seconds"].min().to_numpy()
    most = int(WARMUP_SHARE * len(fastest))
    slow = fastest > WARMUP_FACTOR * np.median(fastest) if len(fastest) else np.zeros(0, bool)
    first = int(np.argmin(slow)) if most and slow[0] else 0
    return first if 0 < first <= most and fastest[:first].min() > fastest[first:].max() else 0
