"""Column names to roles: which column is the round, the worker or the time, which are workers, which are neither.

What the names leave open is decided by the content where that allows one reading only; else it is refused.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import pandas as pd

from abs_theory.checks import instead
from abs_theory.traces.columns import (
    NEEDED,
    Mask,
    counted,
    is_status,
    listed,
    numbers,
    one_line,
    shortened,
    unit_name,
    unknown_statuses,
)
from abs_theory.traces.names import (
    CLOCK,
    CODES,
    DERIVED,
    END,
    ERRORS,
    FLAGS,
    METRIC,
    NO,
    ROUND,
    ROW_NUMBER,
    SECONDS,
    START,
    STATUS,
    SUMMARIES,
    UNIT_AT_END,
    WORKER,
    YES,
    alike,
    base_of,
    key_of,
    words_of,
)
from abs_theory.traces.numerals import (
    MISSING,
    check_cells,
    decimal_mark,
    seconds_of_durations,
    with_plain_cells,
    with_plain_numbers,
)

__all__ = ["ROLES", "Wishes", "attempts_of"]

ROLES = (
    "round", "worker", "seconds", "start", "end", "status", "unit", "dataset", "k_waited", "version_read",
    "version_applied", "compute_s", "comm_s", "start_clock", "end_clock",
)  # fmt: skip

CURVE = re.compile(r"(.+\S)\s+-\s+(\S.*)")  # run - metric, as trackers name the columns of a chart
BRACKETS = re.compile(r"(.+?)\s*[\[(]\s*([^\s\])]+)\s*[\])]")
FEWEST_FOR_PAIRS, MOST_PAIRS = 6, 1.1  # rows, and pairs over rows, for two columns to number rounds and workers
FEWEST_FOR_CONTENT = 5  # rows from which the content of a column may decide what it is
LONGEST_NAME = 300  # characters of the name of a column; patterns take long to match much longer ones
FIRST_ROWS = 1000  # that are enough to see that a column is no summary
AGREEMENT = 1e-3  # relative rounding with which a summary agrees with the columns that it summarises


@dataclass(frozen=True)
class Wishes:
    """What the caller says about the columns of a table."""

    columns: Mapping[str, str | Sequence[str]] = field(default_factory=dict)  #: role -> name of the column
    ignore: Sequence[str] = ()  #: names of columns to leave out
    decimal: str | None = None  #: "." or ",": the mark of decimals in text; None: by the content


@np.errstate(all="ignore")  # of numbers at the ends of the range of floats; what comes of them is judged by its value
def attempts_of(
    frame: pd.DataFrame, layout: str | None, wishes: Wishes
) -> tuple[pd.DataFrame, list[str], tuple[str, ...]]:
    """The table with a row per attempt and the columns of ``ROLES``, notes for the report, and the columns read.

    ``layout`` is "long" (a row per attempt), "wide" (a row per round) or None (by names and content).
    Raises ValueError if the columns allow two readings, with both.
    """
    frame, roles = _chosen(_differing(frame), wishes)
    longest = max((len(str(name)) for name in frame.columns), default=0)
    if longest > LONGEST_NAME:
        raise ValueError(f"names of columns must have at most {LONGEST_NAME} characters, got one of {longest}")
    report: list[str] = []
    by_key = {key_of(name): name for name in frame.columns}
    exact = {role: by_key[key_of(role)] for role in ROLES if key_of(role) in by_key and role not in roles}
    exact = {role: name for role, name in exact.items() if str(name).strip().lower() == role}
    long_roles = {"worker", "seconds", "start", "end"}
    many = isinstance(wishes.columns.get("worker"), list | tuple)
    if layout != "wide" and not many:
        is_long = layout == "long" or bool(long_roles & (set(exact) | set(roles)))
        synonyms = _synonyms(frame, {**exact, **roles}, wishes, is_long)
        if is_long or _is_long(frame, {**synonyms, **exact, **roles}):
            roles = {**synonyms, **exact, **roles}
            return _long(frame, roles, synonyms, wishes, report), report, tuple(map(_shown_name, roles.values()))
    if layout != "wide" and not many:
        _refuse_rows_of_attempts(
            frame, [name for name in frame.columns if name not in (*exact.values(), *roles.values())]
        )
    attempts, names = _wide(frame, {**exact, **roles}, wishes, report)
    return attempts, report, tuple(map(_shown_name, names))


def _shown_name(name: object) -> str:
    return one_line(str(name))


def _differing(frame: pd.DataFrame) -> pd.DataFrame:
    if not isinstance(frame, pd.DataFrame):
        raise ValueError(f"a trace must be a pandas DataFrame, got {type(frame).__name__}")
    names = [str(name).strip().lower() for name in frame.columns]
    twice = sorted({name or "''" for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"column names must differ, got {listed(twice)} more than once")
    if isinstance(frame.index, pd.MultiIndex) or (frame.index.name is not None and str(frame.index.name) not in names):
        index = [name for name in frame.index.names if name is not None]
        if index and not {str(name).strip().lower() for name in index} & set(names):
            frame = frame.reset_index()
    return with_plain_cells(frame)


def _chosen(frame: pd.DataFrame, wishes: Wishes) -> tuple[pd.DataFrame, dict[str, str]]:
    """The table without the columns to ignore, and the names of the columns with a role by the caller's word."""
    known = {str(name).strip().lower(): name for name in frame.columns}

    def find(name: str) -> str:
        if name.strip().lower() not in known:
            raise ValueError(
                f"no column named {name!r}"
                + instead(name, map(str, frame.columns), f"there are {listed(_shown(frame))}")
            )
        return known[name.strip().lower()]

    roles: dict[str, str] = {}
    for role, name in wishes.columns.items():
        if role not in ROLES:
            raise ValueError(f"no role named {role!r}" + instead(role, ROLES, f"there are {', '.join(ROLES)}"))
        if isinstance(name, str):
            roles[role] = find(name)
    ignored = [find(name) for name in wishes.ignore]
    if both := [str(name) for name in ignored if name in roles.values()]:
        raise ValueError(f"a column can be used or ignored, not both: {listed(both)}")
    return frame.drop(columns=ignored), roles


def _shown(frame: pd.DataFrame) -> list[str]:
    return [one_line(str(name)) for name in frame.columns]


def _synonyms(frame: pd.DataFrame, known: Mapping[str, str], wishes: Wishes, is_long: bool) -> dict[str, str]:
    """Columns whose names mean a role that no column has by its own name."""
    left = [name for name in frame.columns if name not in known.values()]
    timed = "seconds" in known or {"start", "end"} <= set(known)
    chosen: dict[str, str] = {}
    counters: list[str] = []
    for role, words in (("round", ROUND), ("worker", WORKER), ("seconds", SECONDS), ("start", START), ("end", END),
                        ("status", STATUS)):  # fmt: skip
        if role in known or (role in ("seconds", "start", "end") and timed):
            continue
        meant = [
            name
            for name in left
            if (base_of(name)[0] if role in ("seconds", "start", "end") else key_of(name)) in words
        ]
        if role == "status":
            for name in meant:
                _check_words(name, frame[name])
            meant = [name for name in meant if is_status(frame[name])]
        if role == "worker":
            meant = _names_of_workers(frame, meant)
        if role == "round" and len(meant) > 1:
            counters = _finest(frame, meant)
            meant = counters[:1]
        if role == "worker" and len(meant) > 1:
            meant = _joined(frame, meant, {**chosen, **known}.get("round"))
        if len(meant) > 1:
            _ask_which(role, meant)
        if meant:
            chosen[role] = meant[0]
    if len(counters) > 1:
        worker = {**chosen, **known}.get("worker")
        numbered = {} if worker is None else _numbered_through(frame, counters, worker)
        if not numbered and (is_long or _is_long(frame, {**chosen, **known})):
            _ask_which("round", counters)
        chosen |= numbered
    if "seconds" in chosen and {"start", "end"} & set(chosen):
        chosen = {role: name for role, name in chosen.items() if role not in ("start", "end")}
    if not timed and not {"seconds", "start", "end"} & set(chosen) and ({**chosen, **known}.get("worker") is not None):
        _time_of_ambiguous_name(frame, left, {**chosen, **known}, chosen)
    return chosen


def _ask_which(role: str, names: list[str]) -> None:
    """Raise the question which of the columns has a role."""
    two = [one_line(str(name)) for name in names[:2]]
    raise ValueError(
        f"{' and '.join(two)} may each be the column {role}: say columns={role}={two[0]} or columns={role}={two[1]}, "
        "or ignore one of them"
    )


def _names_of_workers(frame: pd.DataFrame, meant: list[str]) -> list[str]:
    """Without columns that hold one value only, or that number what another one names."""
    several = [name for name in meant if frame[name].astype(str).nunique() > 1] or meant
    if len(several) > 1:
        codes = {name: pd.factorize(frame[name].astype(str))[0] for name in several}
        finest = max(several, key=lambda name: codes[name].max())
        same = [name for name in several if pd.Series(codes[name]).groupby(codes[finest]).nunique().max() == 1]
        if len(same) == len(several) and sum(codes[name].max() == codes[finest].max() for name in several) == 1:
            return [finest]  # the others follow from it, as a host from a rank
        if len(same) == len(several):
            return several[:1]  # one to one: either names the same workers
    return several


def _finest(frame: pd.DataFrame, meant: list[str]) -> list[str]:
    """The only counter that differs where another one does; several if no counter decides."""
    codes = {name: pd.factorize(frame[name].astype(str))[0] for name in meant}
    finest = max(meant, key=lambda name: codes[name].max())
    if all(pd.Series(codes[name]).groupby(codes[finest]).nunique().max() == 1 for name in meant):
        rivals = [name for name in meant if codes[name].max() == codes[finest].max()]
        return rivals[:1]
    return meant


def _numbered_through(frame: pd.DataFrame, counters: list[str], worker: str) -> dict[str, str]:
    """The role of a new column that numbers the rounds by all ``counters``, as epoch and batch; none if it does not.

    It does if no counter alone tells the attempts of a worker apart, and all together do.  The counter that changes
    least often from row to row counts first.
    """
    codes = {name: pd.factorize(frame[name], sort=True)[0] for name in counters}
    if (
        any(not frame.duplicated([name, worker]).any() for name in counters)
        or frame.duplicated([*counters, worker]).any()
    ):
        return {}
    slow_first = sorted(counters, key=lambda name: np.count_nonzero(np.diff(codes[name])))
    name = " and ".join(one_line(str(name)) for name in slow_first)
    frame[name] = frame.groupby(slow_first).ngroup()
    return {"round": name}


def _joined(frame: pd.DataFrame, names: list[str], of_round: str | None) -> list[str]:
    """A new column of the names together, as node and GPU, if only together they tell the attempts of a round apart."""
    if of_round is None or any(not frame.duplicated([name, of_round]).any() for name in names):
        return names
    if frame.duplicated([*names, of_round]).any():
        return names
    joined = "/".join(one_line(str(name)) for name in names)
    frame[joined] = ["/".join(map(str, cells)) for cells in frame[names].itertuples(index=False, name=None)]
    return [joined]


def _check_words(name: str, column: pd.Series) -> None:
    """Raise ValueError if some words of a column such as state say what became of an attempt, and some do not."""
    unknown = unknown_statuses(column)
    if unknown and len(unknown) < column.nunique():
        raise ValueError(
            f"{one_line(str(name))} says what became of an attempt, but not all its words are known: "
            f"{listed(unknown, 3)}; write ok, failed, cancelled or censored, or leave it out with "
            f"ignore={one_line(str(name))}"
        )


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


def _with_outcomes(frame: pd.DataFrame, roles: dict[str, str], report: list[str]) -> pd.DataFrame:
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


def _time_of_ambiguous_name(
    frame: pd.DataFrame, left: Sequence[str], known: Mapping[str, str], chosen: dict[str, str]
) -> None:
    """A column called time: durations if some worker's values ever fall, else perhaps a clock, which is refused."""
    times = [name for name in left if base_of(name)[0] in ("time", "zeit")]
    if len(times) != 1:
        return
    values, text = numbers(frame[times[0]])
    falls = pd.Series(values).groupby(frame[known["worker"]].astype(str).to_numpy()).diff() < 0
    if text.mean() > 0.5:
        return
    if not falls.any():
        raise ValueError(
            f"{times[0]} may be the seconds of each attempt or a clock: say columns=seconds={times[0]}, or give start "
            "and end"
        )
    chosen["seconds"] = times[0]


def _is_long(frame: pd.DataFrame, roles: Mapping[str, str]) -> bool:
    timed = "seconds" in roles or {"start", "end"} <= set(roles)
    if "worker" not in roles:
        return False
    return timed or ("round" in roles and bool(frame[roles["round"]].duplicated().any()))


def _long(
    frame: pd.DataFrame, roles: dict[str, str], synonyms: Mapping[str, str], wishes: Wishes, report: list[str]
) -> pd.DataFrame:
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
        shown = ", ".join(_shown(frame)[:12]) or "no columns"
        say = ",".join(f"{role.partition(' ')[0]}=NAME" for role in missing)
        raise ValueError(
            f"{NEEDED}; {', '.join(missing)} not found among {shown}: if they have other names, say columns={say}"
        )
    if frame.empty:
        raise ValueError(f"{NEEDED}, and rows; there are none below the header")
    frame = _with_outcomes(frame, roles, report)
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


def _wide(
    frame: pd.DataFrame, roles: Mapping[str, str], wishes: Wishes, report: list[str]
) -> tuple[pd.DataFrame, list[str]]:
    """One row per filled cell of a table rounds x workers, and the names of the columns read."""
    frame = frame.drop(columns=[name for name in frame.columns if key_of(name) == "" and frame[name].isna().all()])
    shown = ", ".join(_shown(frame)[:12])
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


def _refuse_rows_of_attempts(frame: pd.DataFrame, names: list[str]) -> None:
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
    workers, summarising = _without_summaries(frame, [name for name in workers if name not in counting])
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


def _without_summaries(frame: pd.DataFrame, names: list[str]) -> tuple[list[str], list[str]]:
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


def _worker_names(columns: list[str]) -> tuple[list[str], list[str], str | None]:
    """Names of workers without a metric and a unit at their end, the metric of each column, and the common unit."""
    shown = [one_line(str(name)) for name in columns]
    curves = [CURVE.fullmatch(name) for name in shown]
    names = list(columns)
    metrics = [""] * len(columns)
    if all(curves):
        names, metrics = ([curve[part] for curve in curves if curve] for part in (1, 2))
    bracketed = [
        re.fullmatch(r"(.+?)\s*[\[(]\s*([^\s\])]+)\s*[\])]", text) for text in (metrics if all(curves) else shown)
    ]
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
