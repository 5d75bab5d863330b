"""Roles of columns that have other names: by their names, and by their content where several are meant."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from abs_theory.traces.columns import is_status, listed, numbers, one_line, unknown_statuses
from abs_theory.traces.headers.long import is_long
from abs_theory.traces.names import END, ROUND, SECONDS, START, STATUS, WORKER, base_of, key_of

__all__ = ["roles_of_synonyms"]


def roles_of_synonyms(frame: pd.DataFrame, known: Mapping[str, str], has_rows: bool) -> dict[str, str]:
    """Columns whose names mean a role that no column has by its own name.

    ``has_rows`` says that the table is known to have a row for each attempt.
    """
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
        if not numbered and (has_rows or is_long(frame, {**chosen, **known})):
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
