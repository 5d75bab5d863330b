"""Start and end of an attempt must come from one clock: the difference of two clocks contains their offset.

So does the difference of two times of a wall clock that was changed between them, as for summer time.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from abs_theory.results import percent
from abs_theory.traces.columns import Floats, Names, counted, numbers

__all__ = ["check_clocks", "without_clock_changes"]

MOST_WRONG_SHARE = 0.5  # of a worker's attempts, above which its clocks must differ
CHANGE_SECONDS = 3600.0  # by which summer time changes the clock
ZONE = r"(?:[zZ]|[+-]\d{2}:?\d{2})$"  # at the end of a date
FAR_APART_ATTEMPTS = 10  # median attempts between starts of one round, from which clocks have different origins


def check_clocks(
    rounds: NDArray[np.int64],
    worker: NDArray[np.int64],
    start: Floats,
    seconds: Floats,
    workers: Names,
    report: list[str],
) -> None:
    """Refuse times that must come from two clocks, and report clocks of different origin.

    Raises ValueError if for some worker most attempts end before they start, or most end after the same worker's next
    one has started.  An offset that is smaller than the attempts and the pauses between them cannot be seen.
    """
    table = pd.DataFrame({"round": rounds, "worker": worker, "start": start, "seconds": seconds}).dropna()
    if table.empty:
        return
    _refuse((table["seconds"] < 0).groupby(table["worker"]).mean(), workers, "end before they start")
    table = table.sort_values(["worker", "round"], kind="stable")
    following = (table["worker"].diff() == 0) & (table["round"].diff() == 1)
    pause = table["start"].diff() - table["seconds"].shift()
    overlap = (pause < 0)[following].groupby(table.loc[following, "worker"])
    _refuse(overlap.mean()[overlap.size() > 1], workers, "end after the worker's next one has started")
    starts = table.groupby("round")["start"]
    spread = (starts.max() - starts.min()).median()
    usual = table["seconds"].median()
    if spread > FAR_APART_ATTEMPTS * usual:
        report.append(
            f"starts of one round are {spread:.3g} s apart, an attempt takes {usual:.3g} s: clocks of different "
            "origin; only end - start of the same row is used"
        )


def without_clock_changes(frame: pd.DataFrame, start: Floats, seconds: Floats, report: list[str]) -> Floats:
    """``seconds`` without the hour that attempts seem to last more, or less, because summer time began or ended.

    Only of dates without a time zone, if all these attempts were running at one moment, and would be no shorter and no
    longer than all others without the hour.

    >>> frame = pd.DataFrame({"start": ["2025-03-30 01:59:58", "2025-03-30 03:00:05"], "end": ["", ""]})
    >>> without_clock_changes(frame, np.array([0.0, 3607.0, 3610.0]), np.array([3602.0, 1.0, 3.0]), []).tolist()
    [2.0, 1.0, 3.0]
    """
    if not _are_dates_without_zone(frame["start"]):
        return seconds
    with np.errstate(invalid="ignore"):
        others = seconds[(seconds > 0) & (seconds < CHANGE_SECONDS)]
    if not others.size or others.max() > CHANGE_SECONDS / 2:
        return seconds
    for hour, words in ((CHANGE_SECONDS, "an hour more"), (-CHANGE_SECONDS, "an hour less")):
        with np.errstate(invalid="ignore"):
            off = (seconds - hour >= others.min()) & (seconds - hour <= others.max())
        usual = seconds - hour
        if off.any() and start[off].max() <= (start + usual)[off].min():
            report.append(
                f"{counted(int(off.sum()), 'attempt')} at one moment would last {words} than all others: taken as a "
                "change of the clock (summer time), which dates with a time zone would show"
            )
            return np.where(off, usual, seconds)
    return seconds


def _are_dates_without_zone(column: pd.Series) -> bool:
    if pd.api.types.is_datetime64_any_dtype(column):
        return column.dt.tz is None
    if pd.api.types.is_numeric_dtype(column) or not np.isnan(numbers(column)[0]).all():
        return False
    return not column.dropna().astype(str).str.strip().str.contains(ZONE).any()


def _refuse(share: pd.Series, workers: Names, fault: str) -> None:
    wrong = share[share > MOST_WRONG_SHARE]
    if len(wrong):
        more = f" and of {len(wrong) - 1} more workers" if len(wrong) > 1 else ""
        raise ValueError(
            f"start and end must be read from one clock, but {percent(wrong.iloc[0])} of the attempts of worker "
            f"{workers[int(wrong.index[0])]}{more} {fault}: give seconds, or both times by the same clock"
        )
