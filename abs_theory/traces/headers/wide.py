"""Tables with a row for each round and a column for each worker."""

import re
from collections.abc import Mapping

import numpy as np
import pandas as pd

from abs_theory.traces.columns import (
    FEWEST_FOR_CONTENT,
    NEEDED,
    counted,
    listed,
    numbers,
    one_line,
    shortened,
    unit_name,
)
from abs_theory.traces.headers.summaries import without_summaries
from abs_theory.traces.headers.wishes import Wishes, shown_names
from abs_theory.traces.names import (
    CLOCK,
    DERIVED,
    METRIC,
    ROUND,
    ROW_NUMBER,
    UNIT_AT_END,
    alike,
    base_of,
    key_of,
    words_of,
)
from abs_theory.traces.numerals import check_cells, decimal_mark, seconds_of_durations, with_plain_numbers

__all__ = ["from_cells"]

CURVE = re.compile(r"(.+\S)\s+-\s+(\S.*)")  # run - metric, as trackers name the columns of a chart
BRACKETS = re.compile(r"(.+?)\s*[\[(]\s*([^\s\])]+)\s*[\])]")  # name (unit)


def from_cells(
    frame: pd.DataFrame, roles: Mapping[str, str], wishes: Wishes, report: list[str]
) -> tuple[pd.DataFrame, list[str]]:
    """One row per filled cell of a table rounds x workers, and the names of the columns read."""
    frame = frame.drop(columns=[name for name in frame.columns if key_of(name) == "" and frame[name].isna().all()])
    shown = ", ".join(shown_names(frame)[:12])
    kept = {role: name for role, name in roles.items() if role in ("dataset", "unit")}
    index = roles.get("round")
    rest = [name for name in frame.columns if name not in (index, *kept.values())]
    if isinstance(wishes.columns.get("worker"), list | tuple):
        workers = [name for name in rest if str(name) in wishes.columns["worker"]]
    else:
        index, workers = _roles_of_cells(frame, index, rest, report)
    if not workers or frame.empty:
        raise ValueError(f"{NEEDED}, or one column per worker; found {shown or 'no columns'}")
    cells = frame[workers]
    for name in (*kept.values(), *([] if index is None else [index]), *workers):
        check_cells(one_line(str(name)), frame[name])
    written = [seconds_of_durations(cells[name]) for name in cells]
    if all(column is not None for column in written):
        cells = pd.DataFrame(dict(zip(cells, written, strict=True)))
    mark = decimal_mark([cells[name] for name in cells], wishes.decimal)
    cells = cells.apply(with_plain_numbers, mark=mark) if mark is not None else cells
    for name in cells:
        values, text = numbers(cells[name])
        if np.isnan(values).all() and text.any():
            raise ValueError(
                f"{NEEDED}, or one column of seconds per worker; found {shortened(shown)}, and no number in "
                f"{shortened(one_line(str(name)))}: leave it out with ignore=..., if it is no worker"
            )
    rounds = np.arange(len(frame)) if index is None else frame[index].to_numpy()
    order = " (rounds are its lines)" if index is None else ""
    report.insert(0, f"read as a table of {counted(len(frame), 'round')} x {counted(len(workers), 'worker')}{order}")
    names, metrics, unit = _worker_names(workers)
    if unit is not None and "unit" not in kept:
        report.append(f"times are in {unit}, by the names of the columns")
    row, column = np.nonzero(cells.notna().to_numpy())
    attempts = {
        "round": rounds[row],
        "worker": np.array(names, dtype=object)[column],
        "seconds": cells.to_numpy()[row, column],
        **{name: frame[original].to_numpy()[row] for name, original in kept.items()},
    }
    if len(set(metrics)) > 1 and "dataset" not in kept:
        attempts["dataset"] = np.array(metrics, dtype=object)[column]
    if unit is not None and "unit" not in kept:
        attempts["unit"] = pd.Categorical.from_codes(np.zeros(len(row), np.int8), pd.Index([unit]))
    return pd.DataFrame(attempts), [*kept.values(), *([] if index is None else [index]), *workers]


def _roles_of_cells(
    frame: pd.DataFrame, index: str | None, names: list[str], report: list[str]
) -> tuple[str | None, list[str]]:
    """The column of the round (None: the rows count) and those of workers; the others are left out and reported."""
    counters = [name for name in names if key_of(name) in ROUND | ROW_NUMBER]
    if index is None:
        words = [name for name in counters if key_of(name) not in ROW_NUMBER] or counters
        distinct = [name for name in words if not frame[name].duplicated().any()]
        candidates = distinct or words
        if len(candidates) > 1 and not all(_agrees(frame, candidates[0], name) for name in candidates[1:]):
            two = [one_line(str(name)) for name in candidates[:2]]
            raise ValueError(
                f"{two[0]} and {two[1]} may each be the round: say columns=round={two[0]} or columns=round={two[1]}"
            )
        index = candidates[0] if candidates else None
    left_out = [name for name in counters if name != index]
    left_out += [
        name
        for name in names
        if name not in counters
        and (key_of(name) in CLOCK or DERIVED.search(str(name)) or METRIC.search(words_of(name)))
    ]
    workers = [name for name in names if name not in (*counters, *left_out)]
    if index is None and workers and _counts(frame[workers[0]]) and workers[0] == names[0]:
        index = workers.pop(0)
    elif index is not None:
        frame = frame.iloc[np.argsort(numbers(frame[index])[0], kind="stable")]
    _check_alike(workers)
    counting = [name for name in workers if _counts(frame[name])]
    workers, summarising = without_summaries(frame, [name for name in workers if name not in counting])
    left_out += counting + summarising
    for name in workers:
        if len(workers) > 1 and _is_clock(frame[name]):
            raise ValueError(
                f"{one_line(str(name))} may be a worker that gets slower, or a clock that no worker is: leave it out "
                f"with ignore={one_line(str(name))}, or name the columns of all workers with columns=worker=..."
            )
    if index is not None and key_of(index) not in {"round", "step", "iteration", "index", ""}:
        report.append(f"{one_line(str(index))} is the round")
    if left_out:
        report.append(f"columns that are no workers left out: {listed([one_line(str(name)) for name in left_out])}")
    return index, workers


def _check_alike(names: list[str]) -> None:
    """Raise ValueError if the names have paths that are not alike, as those of several metrics of one run."""
    paths = [str(name) for name in names if "/" in str(name)]
    if len(paths) > 1 and not alike(paths):
        two = [one_line(paths[0]), next(one_line(path) for path in paths if not alike([paths[0], path]))]
        raise ValueError(
            f"{two[0]} and {two[1]} may be two workers, or two metrics of one: name the columns of all workers with "
            "columns=worker=..., or leave others out with ignore=..."
        )


def _agrees(frame: pd.DataFrame, name: str, other: str) -> bool:
    """Whether two counters rise together, so that either may number the rounds."""
    x, y = (numbers(frame[column])[0] for column in (name, other))
    if len(x) < 2 or not np.isfinite([x, y]).all():
        return False
    steps = np.diff(x), np.diff(y)
    return all(bool(np.all(step == step[0])) and step[0] > 0 for step in steps)


def _counts(column: pd.Series) -> bool:
    """Whether the values are whole numbers in equal steps: a counter, which delays are not."""
    if len(column) < FEWEST_FOR_CONTENT:
        return False
    values, _ = numbers(column)
    steps = np.diff(values)
    return bool(np.isfinite(values).all() and np.all(values % 1 == 0) and steps[0] != 0 and np.all(steps == steps[0]))


def _is_clock(column: pd.Series) -> bool:
    """Whether the values rise in every row, and are far above their steps or start a count of time."""
    values, _ = numbers(column)
    values = values[np.isfinite(values)]
    if len(values) < 2 * FEWEST_FOR_CONTENT:
        return False
    return bool(np.all(np.diff(values) > 0))


def _worker_names(columns: list[str]) -> tuple[list[str], list[str], str | None]:
    """Names of workers without a metric and a unit at their end, the metric of each column, and the common unit."""
    shown = [one_line(str(name)) for name in columns]
    curves = [CURVE.fullmatch(name) for name in shown]
    names = list(columns)
    metrics = [""] * len(columns)
    if all(curves):
        names, metrics = ([curve[part] for curve in curves if curve] for part in (1, 2))
    bracketed = [BRACKETS.fullmatch(text) for text in (metrics if all(curves) else shown)]
    units = {unit_name(match[2]) for match in bracketed if match}
    unit = units.pop() if all(bracketed) and len(units) == 1 else None
    if unit is not None and not all(curves):
        names = [match[1] for match in bracketed if match]
    if unit is None and all(curves) and len(set(metrics)) == 1:
        unit = base_of(metrics[0])[1]
    at_end = [UNIT_AT_END.fullmatch(text) for text in shown]
    if unit is None and not any(curves) and all(at_end):  # rank0_ms, rank1_ms
        units = {unit_name(match[2] or match[3]) for match in at_end if match}
        unit = units.pop() if len(units) == 1 else None
        names = [match[1] for match in at_end if match] if unit is not None else names
    return names, metrics, unit
