"""Start and end of an attempt must come from one clock: the difference of two clocks contains their offset."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from abs_theory.results import percent
from abs_theory.traces.columns import Floats, Names

__all__ = ["check_clocks"]

MOST_WRONG_SHARE = 0.5  # of a worker's attempts, above which its clocks must differ
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


def _refuse(share: pd.Series, workers: Names, fault: str) -> None:
    wrong = share[share > MOST_WRONG_SHARE]
    if len(wrong):
        more = f" and of {len(wrong) - 1} more workers" if len(wrong) > 1 else ""
        raise ValueError(
            f"start and end must be read from one clock, but {percent(wrong.iloc[0])} of the attempts of worker "
            f"{workers[int(wrong.index[0])]}{more} {fault}: give seconds, or both times by the same clock"
        )
