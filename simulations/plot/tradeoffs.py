"""Time to a target with its interval, and what speed costs in messages or rounds."""

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from abs_theory.checks import explains_types
from simulations.plot.looks import Look, in_small_print, look, new_axes
from simulations.plot.runs import NamedRuns, Results, named_runs
from simulations.record import median, rises, to_target

if TYPE_CHECKING:  # matplotlib is loaded when something is drawn
    from matplotlib.axes import Axes

__all__ = ["SPENT", "Target", "interval", "to_targets", "tradeoff"]

Target = tuple[str, float]  # a column and the value that it must reach
LETTERS_OF_TITLE = 60  # in a line of the legend
BEYOND = 1.05  # length of an axis over the end of its longest interval
SPENT = {"time": "time (s)", "update": "rounds (updates)", "communication": "messages"}
TO_TARGET = {"time": "time to target (s)", "update": "rounds to target", "communication": "messages to target"}


@explains_types
def to_targets(
    runs: Results | NamedRuns, target: Target, time_budget: float | None = None, replicates: int | None = None
) -> pd.DataFrame:
    """Seconds, rounds and messages until the runs first reach ``target``, one row for each name.

    ``target`` is a column and a value: a loss or norm to fall to, an accuracy to rise to.  Each quantity has its
    Kaplan-Meier median and the ends of its 95 % interval (``time``, ``time_low``, ``time_high`` ...), of fewer than 6
    runs the ends of their range.  inf is "not reached".  ``reached`` of ``replicates`` runs reached the target.
    ``time_budget`` and ``replicates`` are as in ``record.to_target``: with them, runs that ended early or made no
    update count as misses of full length.

    >>> from simulations.experiment import simulate
    >>> from simulations.problems import NoisyQuadratic
    >>> from simulations.protocols import k_sync
    >>> from abs_theory.delays import Exponential
    >>> runs = simulate(k_sync(2), NoisyQuadratic((1.0,), sigma2=0.1), Exponential(1.0), 4, step_size=0.2,
    ...                 time_budget=20.0, eval_every=1.0, replicates=3, seed=0, n_jobs=1)
    >>> to_targets({"K-sync": runs}, ("loss", 0.1))[["name", "time", "reached", "replicates"]].round(2)
         name  time  reached  replicates
    0  K-sync  1.78        3           3
    """
    column, level = target
    rows = []
    for name, found in named_runs(runs).items():
        if column not in found.rounds:
            raise ValueError(f"a target is a column and a value; {name or 'the table'} has no column {column!r}")
        reached = to_target(found.rounds, column, level, time_budget=time_budget, replicates=replicates)
        row: dict[str, str | float | int] = {"name": name}
        for spent in SPENT:
            estimate = median(reached[spent], reached["reached"])
            row |= {spent: estimate.median, f"{spent}_low": estimate.low, f"{spent}_high": estimate.high}
        rows.append(row | {"reached": int(reached["reached"].sum()), "replicates": len(reached)})
    return pd.DataFrame(rows)


@explains_types
def interval(ax: "Axes", y: float, estimate: Sequence[float], end: float, look: Look, *, filled: bool = True) -> None:
    """Draw a median with its interval, ``estimate`` = (median, low, high), at the height ``y``.

    An interval without an end goes to ``end`` and has an arrow there.  Nothing is drawn if the median is infinite.

    >>> from matplotlib.figure import Figure
    >>> ax = Figure().subplots()
    >>> interval(ax, 0.0, (2.0, 1.0, float("inf")), 5.0, {"color": "black", "marker": "o"})
    >>> len(ax.lines)
    3
    """
    middle, low, high = estimate
    if not math.isfinite(middle):
        return
    color, marker = look.get("color"), look.get("marker")
    ax.plot([low, min(high, end)], [y, y], color=color, linewidth=1, solid_capstyle="butt")
    if math.isinf(high):
        ax.plot(end, y, marker=5, color=color, markersize=4)  # its tip at the end
    ax.plot(middle, y, marker=marker, color=color, markerfacecolor=color if filled else "white", markersize=5)


@explains_types
@in_small_print
def tradeoff(
    runs: Results | NamedRuns,
    target: Target,
    x: str = "communication",
    y: str = "time",
    *,
    time_budget: float | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw what it takes to reach ``target``, ``y`` against ``x``, with 95 % intervals, and return the axes.

    ``x`` and ``y`` are two of "time", "update" and "communication".  ``target`` and ``time_budget`` are as in
    ``to_targets``.  Methods that do not reach the target are named in the title of the legend.

    >>> from simulations.experiment import simulate
    >>> from simulations.problems import NoisyQuadratic
    >>> from simulations.protocols import k_async, k_sync
    >>> from abs_theory.delays import Exponential
    >>> options = dict(step_size=0.2, time_budget=30.0, eval_every=0.5, replicates=4, seed=0, n_jobs=1)
    >>> runs = {name: simulate(protocol, NoisyQuadratic((1.0,), sigma2=0.1), Exponential(1.0), 6, **options)
    ...         for name, protocol in {"K-sync": k_sync(3), "K-async": k_async(3)}.items()}
    >>> tradeoff(runs, ("loss", 0.1)).get_ylabel()
    'time to target (s)'
    """
    for name in (x, y):
        if name not in SPENT:
            raise ValueError(f"x and y must be two of {', '.join(SPENT)}, got {name!r}")
    table = to_targets(runs, target, time_budget)
    place_of_legend: dict[str, Any] = {"loc": "best"}
    if ax is None:  # there is room below, where it covers no point
        ax, place_of_legend = new_axes(1, 1, (5.0, 3.8))[0], {"loc": "upper center", "bbox_to_anchor": (0.5, -0.2)}
    missed = []
    reached = np.isfinite(table[x].to_numpy()) & np.isfinite(table[y].to_numpy())
    ends = {q: _end(table[[q, f"{q}_high"]].to_numpy()[reached]) for q in (x, y)}
    for place, row in enumerate(table.to_dict("records")):
        if not reached[place]:
            missed.append(str(row["name"]) or "the runs")
            continue
        own = look(place)
        errors = [[[row[q] - row[f"{q}_low"]], [min(row[f"{q}_high"], ends[q]) - row[q]]] for q in (x, y)]
        ax.errorbar(
            row[x], row[y], xerr=errors[0], yerr=errors[1], linestyle="none", color=own.get("color"),
            marker=own.get("marker"), markersize=6, elinewidth=1, label=row["name"],
        )  # fmt: skip
        for q, tip, marker in ((x, (ends[x], row[y]), 5), (y, (row[x], ends[y]), 6)):
            if math.isinf(row[f"{q}_high"]):
                ax.plot(*tip, marker=marker, color=own.get("color"), markersize=4)  # an arrow, its tip at the end
    limits = {f"{axis}lim": (0, BEYOND * ends[q]) for axis, q in (("x", x), ("y", y))}
    ax.set(title=f"target: {in_words(target)}", xlabel=TO_TARGET[x], ylabel=TO_TARGET[y], **limits)
    title = textwrap.fill(f"not reached: {', '.join(missed)}", LETTERS_OF_TITLE) if missed else None
    handles, labels = ax.get_legend_handles_labels()
    if labels or title:
        columns = 1 if max(map(len, labels), default=0) > LETTERS_OF_TITLE // 2 else 2
        ax.legend(handles, labels, title=title, ncols=columns, **place_of_legend)
    return ax


def in_words(target: Target) -> str:
    """The target as text: ``loss <= 0.1``."""
    column, level = target
    return f"{column.replace('_', ' ')} {'>=' if rises(column) else '<='} {level:g}"


def _end(values: np.ndarray) -> float:
    """Where an interval without an end stops: beyond all finite values."""
    finite = values[np.isfinite(values)]
    return 1.15 * float(finite.max()) if finite.size else 1.0
