"""Summaries of the table of a run: time, updates and communication to a target, with censoring.

A run that never reaches its target, because its budget ended or it diverged, is right-censored: it counts as longer
than the time for which it was watched.  It is not left out, so a method that often fails cannot look fast.
"""

import math
import re
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from abs_theory.checks import check_count, check_positive, explains_types, is_finite

ROUNDING = 1e-9  # by which a time may exceed its limit, as a share of it
RISING = {"accuracy", "score", "auc", "precision", "recall", "reward"}  # words in names of what should rise
FALLING = {"loss", "error", "norm", "distance", "gap", "regret", "perplexity", "mse", "rmse", "mae"}  # what should fall


def rises(column: str) -> bool:
    """Whether a target in this column is reached from below (accuracies) or from above (losses, norms).

    The last word of the name that tells decides.  Raises ValueError if none does.

    >>> rises("test_accuracy"), rises("loss"), rises("gradient_norm2"), rises("auc")
    (True, False, False, True)
    """
    if (rising := direction(column)) is None:
        raise ValueError(
            "the name of a target must tell whether it rises (accuracy, score, auc) or falls (loss, error, norm), got "
            f"{column!r}: call the metric {column}_score or {column}_error"
        )
    return rising


def direction(column: str) -> bool | None:
    """Whether good values of a column are high; None if its name does not tell.

    >>> direction("f1_score"), direction("gradient_norm2"), direction("time")
    (True, False, None)
    """
    for word in reversed(re.split(r"[^a-z]+", column.lower())):
        if word in RISING or word in FALLING:
            return word in RISING
    return None


def with_totals(table: pd.DataFrame, run: Sequence[str] = ("replicate",)) -> pd.DataFrame:
    """The table with a column ``communication``: uplinks + downlinks so far in each run.

    ``run`` lists the columns that identify a run.  See also ``with_bytes``.
    """
    return table.assign(communication=_messages(table).groupby([table[column] for column in run]).cumsum())


def _messages(table: pd.DataFrame) -> pd.Series:
    return table["uplinks"] + table["downlinks"]


def with_bytes(
    table: pd.DataFrame, size: int, *, up: float = 8.0, down: float = 8.0, run: Sequence[str] = ("replicate",)
) -> pd.DataFrame:
    """The table with columns ``bytes_up`` and ``bytes_down``: bytes sent so far in each run.

    A message has ``size`` numbers of ``up`` or ``down`` bytes: 8 in double and 4 in single precision, less if
    compressed.  ``run`` lists the columns that identify a run.  How long a message takes is a matter of the fleet
    (``fleets.Links``): size * up / r seconds over a link of r bytes per second.
    """
    check_count("size", size)
    for name, value in ("up", up), ("down", down):
        check_positive(name, value)
    sent = table[["uplinks", "downlinks"]].groupby([table[column] for column in run]).cumsum() * size
    return table.assign(bytes_up=sent["uplinks"] * up, bytes_down=sent["downlinks"] * down)


COUNTS = [  # columns that count something since the previous update
    "uplinks", "downlinks", "restarts", "computed", "used", "discarded", "idle_seconds", "wasted_seconds",
    "away_seconds",
]  # fmt: skip


def thinned(table: pd.DataFrame, column: str = "loss") -> pd.DataFrame:
    """Only the rows in which ``column`` was evaluated, each with the totals since the previous such row.

    Counts are summed; mean_staleness is averaged, largest_staleness is the maximum.
    """
    kept = table[column].notna()
    block = (
        kept[::-1].groupby(table["replicate"][::-1]).cumsum()[::-1]
    )  # numbers the blocks, each of which ends in a kept row
    groups = table.groupby(["replicate", block])
    columns = {name: groups[name].transform("sum") for name in COUNTS}
    columns["mean_staleness"] = groups["mean_staleness"].transform("mean")
    columns["largest_staleness"] = groups["largest_staleness"].transform("max")
    return table.assign(**columns)[kept].reset_index(drop=True)


def diverged(table: pd.DataFrame) -> pd.Series:
    """Whether the loss became infinite, for each replicate."""
    return (table["loss"] == math.inf).groupby(table["replicate"]).any()


def to_target(
    table: pd.DataFrame,
    column: str,
    level: float,
    *,
    time_budget: float | None = None,
    replicates: int | Sequence[int] | None = None,
) -> pd.DataFrame:
    """Time (s), update and communication at which ``column`` first reached ``level``, one row per replicate.

    The column ``reached`` says whether it did.  Where it is False, ``time`` is how long the run was watched: until
    ``time_budget`` (None: its last update), or for ever if it diverged; ``update`` and ``communication`` are infinite.
    ``replicates`` says which were run, as in ``simulate``: a replicate that made no update in its budget has no row in
    ``table``, but it did not reach the target either.  See also ``median``, which summarises the result.
    Raises ValueError if there is no such column, if its name does not tell whether it rises, or if a run went on after
    ``time_budget``.
    """
    if time_budget is not None:
        check_positive("time_budget", time_budget)
        latest = float(table["time"].max()) if len(table) else 0.0
        if latest > time_budget * (1 + ROUNDING):
            raise ValueError(f"time_budget must be that of the runs, which last {latest:.6g} s, got {time_budget!r}")
    if column not in table:
        raise ValueError(f"column must be one of the table, {', '.join(map(str, table.columns))}, got {column!r}")
    if not is_finite(level):
        raise ValueError(f"level must be a finite number to reach, got {level!r}")
    places, value = table.groupby("replicate").indices, table[column].to_numpy()
    reaching = value >= level if rises(column) else value <= level
    infinite = table["loss"].to_numpy() == math.inf
    time, update, sent = table["time"].to_numpy(), table["update"].to_numpy(), _messages(table).to_numpy()
    if replicates is None:
        run = table["replicate"].unique().tolist()
    else:
        run = list(range(replicates) if isinstance(replicates, int) else replicates)
    spent, reached = np.full((len(run), 3), math.inf), np.zeros(len(run), bool)  # time, update, communication
    for row, replicate in enumerate(run):
        own = places.get(replicate, np.zeros(0, int))
        first = reaching[own].argmax() if len(own) else 0
        if len(own) and reaching[own[first]]:
            spent[row] = time[own[first]], update[own[first]], sent[own[: first + 1]].sum()
            reached[row] = True
        elif not infinite[own].any():
            last = time[own[-1]] if len(own) else 0.0
            spent[row, 0] = last if time_budget is None else time_budget
    columns = dict(zip(("time", "update", "communication"), spent.T, strict=True))
    return pd.DataFrame({"replicate": run, **columns, "reached": reached})


class Median(NamedTuple):
    """A Kaplan-Meier median with its confidence interval; inf means "not reached"."""

    median: float  #: of the time (s); inf if less than half of the replicates reached the target
    low: float  #: lower end of the interval
    high: float  #: upper end of the interval
    reached: int  #: replicates that reached the target
    replicates: int  #: all replicates


@explains_types
def median(values: ArrayLike, reached: ArrayLike, confidence: float = 0.95) -> Median:
    """Median of right-censored ``values`` (Kaplan-Meier), with a log-log confidence interval.

    ``reached``, as long as ``values``, is False for a value that is only a lower bound.  The interval holds all t whose
    pointwise interval for P(not reached by t) contains 1/2.  It is approximate: of r < 6 replicates it is from the
    least to the largest, which holds the median with probability 1 - 2**(1 - r) only.
    Source: Kaplan & Meier (1958); Brookmeyer & Crowley (1982) for the interval.

    >>> times, reached = pd.Series([2.0, 3.0, 5.0, 9.0, 9.0]), pd.Series([True, True, True, False, False])
    >>> median(times, reached).median
    5.0
    """
    numbers, is_reached = np.asarray(values, dtype=float), np.asarray(reached)
    if is_reached.dtype != bool or numbers.ndim != 1 or numbers.shape != is_reached.shape or not len(numbers):
        raise ValueError(
            f"values and reached must be as many numbers as True and False, at least one, got {numbers.size} and "
            f"{is_reached.size}"
        )
    if np.isnan(numbers).any():
        raise ValueError("values must be numbers, got NaN among them")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be in (0, 1), got {confidence!r}")
    if not is_reached.any():
        return Median(math.inf, float(numbers.min()), math.inf, 0, len(numbers))
    largest = numbers[np.isfinite(numbers)].max() + 1  # a diverged run lasts longer than all others
    censored = stats.CensoredData.right_censored(np.minimum(numbers, largest), ~is_reached)
    survival = stats.ecdf(censored).sf
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # no interval exists where the curve is 0 or 1
        band = survival.confidence_interval(confidence, method="log-log")

    def first_below(curve) -> float:
        below = np.flatnonzero(curve <= 0.5)
        return float(survival.quantiles[below[0]]) if len(below) else math.inf

    low = np.where(np.isnan(band.low.probabilities), survival.probabilities, band.low.probabilities)
    high = np.where(np.isnan(band.high.probabilities), survival.probabilities, band.high.probabilities)
    return Median(
        first_below(survival.probabilities),
        first_below(low),
        first_below(high),
        int(is_reached.sum()),
        len(numbers),
    )
