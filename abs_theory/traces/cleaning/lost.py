"""Attempts that did not arrive, and attempts without a row.

Such an attempt is right-censored, not dropped, because without it the workers would look faster than they are.  It is
censored at the time it was given up.  If that time is unknown (a lost call, or no row), it is censored at the last
arrival of its round, because the server waited at least until then.
"""

import numpy as np
import pandas as pd

from abs_theory.checks import explains_types
from abs_theory.traces.columns import counted, numbered
from abs_theory.typing import Ints, places_within

__all__ = ["is_stale", "lacking_last", "membership", "with_lost_calls"]


FEWEST_FINISHED = 10  # rounds, from which one that lacks workers at the end is taken as unfinished
MOST_FILLED_ROWS = 20_000_000  # added for missing attempts; more would not fit into memory


def with_lost_calls(table: pd.DataFrame, n: int, report: list[str]) -> tuple[pd.DataFrame, tuple[int, ...]]:
    """Add times for lost calls (NaN seconds) and rows for missing workers; remove rows that are not usable.

    ``table`` is sorted by round and worker and has a delivery.  Also returns the rounds that are left out, because
    nothing arrived in them.
    """
    rounds, place = numbered(table["round"].to_numpy())
    last = np.full(len(rounds), -np.inf)
    np.maximum.at(last, place, np.where(table["observed"], table["seconds"], -np.inf))
    with_arrivals = last > 0
    if is_stale(table):  # rounds overlap: tasks of one in which nothing arrived were stopped in later ones
        with_arrivals[place[table["seconds"].notna().to_numpy()]] = True
    empty = tuple(rounds[~with_arrivals].tolist())
    if empty:
        report.append(f"{counted(int((~with_arrivals).sum()), 'round')} in which nothing arrived left out")
        table = table[with_arrivals[place]]
        rounds, last = rounds[with_arrivals], last[with_arrivals]
        place = numbered(table["round"].to_numpy())[1]
    missing = _missing(table, place, n, report)
    keep = table["usable"].to_numpy()
    lost = table["seconds"].isna().to_numpy()
    if lost.any():
        pair = place * n + table["worker"].to_numpy()
        answered = lost & np.isin(pair, pair[table["observed"].to_numpy()])
        if answered.any():
            report.append(f"{counted(int(answered.sum()), 'lost call')} left out as the worker delivered all the same")
        keep = keep & ~answered & ~(lost & (last[place] <= 0))
        table = table.assign(seconds=np.where(lost, last[place], table["seconds"]), lost=lost)
    if not keep.all():
        table = table[keep]
    if not len(missing):
        return table, empty
    at, who = missing.T
    extra = pd.DataFrame({"round": rounds[at], "worker": who, "seconds": last[at], "observed": False, "usable": True})
    if "k_waited" not in table:  # else the server did not wait for them
        table = table if "lost" in table else table.assign(lost=False)
        extra["lost"] = True
    elif "lost" in table:
        extra["lost"] = False
    if "k_waited" in table:
        extra["k_waited"] = extra["round"].map(table.groupby("round")["k_waited"].max())
    if "status" in table:
        extra["status"] = pd.Categorical(["censored"] * len(extra), table["status"].cat.categories)
    both = pd.concat([table, extra], ignore_index=True)
    return both.iloc[np.lexsort((both["worker"], both["round"]))], empty


def _missing(table: pd.DataFrame, place: Ints, n: int, report: list[str]) -> Ints:
    """Pairs (round index, worker) of members without a row, shape (count, 2)."""
    none = np.empty((0, 2), np.int64)
    worker = table["worker"].to_numpy()
    first, last = membership(place, worker, n)
    expected = int((last - first + 1).sum())
    present, _ = numbered(place * n + worker)
    absent = expected - len(present)
    if absent == 0:
        return none
    sizes = np.bincount(place[np.append(True, np.diff(place * n + worker) != 0)])
    if len(sizes) > 1 and sizes.min() == sizes.max() < n and "k_waited" not in table:
        report.append(
            f"every round has {sizes[0]} of {n} workers: the others are taken as not asked; if the server did not wait "
            "for them, say so in a column k_waited"
        )
        return none
    where = f"workers have no row in {absent} of {expected} rounds"
    if is_stale(table):
        report.append(f"{where}: still busy with an older version")
        return none
    k_known = "k_waited" in table
    if absent > MOST_FILLED_ROWS or (absent > expected / 2 and not k_known):
        hint = "; if the server did not wait for them, say so in a column k_waited"
        report.append(f"{where}: taken as not asked{'' if k_known else hint}")
        return none
    report.append(
        f"{counted(absent, 'attempt')} of {expected} without a row: censored at the last arrival of the round"
    )
    length = last - first + 1
    who = np.repeat(np.arange(n), length)
    at = np.repeat(first, length) + places_within(length)
    new = ~np.isin(at * n + who, present, assume_unique=True)
    return np.column_stack([at[new], who[new]])


def is_stale(table: pd.DataFrame) -> bool:
    """Whether some attempt read an older version than the one it was applied to, or stopped at."""
    return {"version_read", "version_applied"} <= set(table.columns) and bool(
        np.any(table["version_applied"] > table["version_read"])
    )


@explains_types
def lacking_last(table: pd.DataFrame, n: int) -> int:
    """How many of ``n`` workers the last round lacks, if it is the only one that does, as in a file cut short; else 0.

    Rows are sorted by round and worker.  With fewer than FEWEST_FINISHED rounds, it is 0.

    >>> rows = [(t, w) for t in range(12) for w in range(3)]
    >>> lacking_last(pd.DataFrame(rows[:-1], columns=["round", "worker"]), 3)
    1
    """
    rounds, place = numbered(table["round"].to_numpy())
    if len(rounds) < FEWEST_FINISHED:
        return 0
    pairs, _ = numbered(place * n + table["worker"].to_numpy())
    present = np.bincount(pairs // n)
    return int(n - present[-1]) if (present[:-1] == n).all() else 0


def membership(place: Ints, worker: Ints, n: int) -> tuple[Ints, Ints]:
    """First and last round (as an index) in which each worker took part, in ascending order of ``place`` per worker.

    A worker without a row in the first rounds joined later, unless it is absent equally long in between.  A worker
    without any row has its last round before its first.
    """
    num = int(place.max()) + 1
    first, last, longest = np.full(n, num), np.full(n, -1), np.ones(n, np.int64)
    np.minimum.at(first, worker, place)
    np.maximum.at(last, worker, place)
    if (last - first + 1).sum() > len(place):
        order = np.lexsort((place, worker))
        absence = np.diff(place[order])
        same = np.diff(worker[order]) == 0
        np.maximum.at(longest, worker[order][1:][same], absence[same])
    first[first < longest] = 0
    last[last > num - 1 - longest] = num - 1
    return first, last
