"""Loss and metrics of several methods against seconds, rounds and messages, with the time to a target."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from abs_theory.checks import explains_types
from simulations.plot.curves import band, quartiles
from simulations.plot.looks import in_small_print, look, new_axes
from simulations.plot.runs import NamedRuns, Results, Runs, metrics_of, named_runs, with_start
from simulations.plot.tradeoffs import SPENT, TO_TARGET, Target, in_words, interval, to_targets
from simulations.problems import Problem
from simulations.record import direction, with_totals

if TYPE_CHECKING:  # matplotlib is loaded when something is drawn
    from matplotlib.axes import Axes

__all__ = ["compare", "curve"]

GRID_POINTS = 200  # of a curve
LABEL_LETTERS = 26  # of the name of a method beside its interval
MOST_RANGE_WITH_2_AND_5 = 1e4  # of values whose axis has ticks at 1, 2 and 5 times a power of ten
LOG_RANGE = 5.0  # a quantity whose largest value is more than this many times its smallest has a logarithmic axis


@explains_types
@in_small_print
def compare(
    runs: Results | NamedRuns,
    columns: str | Sequence[str] | None = None,
    against: str | Sequence[str] = tuple(SPENT),
    *,
    target: Target | None = None,
    time_budget: float | None = None,
    problem: Problem | None = None,
    axes: "list[Axes] | None" = None,
) -> "list[Axes]":
    """Draw the loss and the metrics of several runs against seconds, rounds and messages, and return the panels.

    ``runs`` is what ``simulate`` or a sweep returns, or a mapping of names to these.  A line is the median over
    replicates, its band reaches from quartile to quartile, and it ends where the shortest of its runs does.  With the
    ``problem`` that was trained, all lines begin at 0 with its initial model; a table does not have that model, so
    without it each line begins at its first evaluated update.
    ``columns`` are the quantities to draw (None: all that were evaluated), ``against`` is one or several of "time",
    "update" and "communication".  With a ``target``, a column and a value to reach, a last row of panels has the
    median time, rounds and messages to it with 95 % intervals; runs that miss it count as longer than they were
    watched (``record.to_target``, which explains ``time_budget``).  A run reaches the target when its curve first does.
    Of fewer than 6 runs these are their range (``record.median``).  ``axes`` are panels to draw in, row by row.

    Raises ValueError if runs were evaluated less than twice: give ``eval_every`` to ``simulate``.

    >>> from abs_theory.delays import Exponential
    >>> from simulations.experiment import simulate
    >>> from simulations.problems import NoisyQuadratic
    >>> from simulations.protocols import abs_sgd, synchronous
    >>> options = dict(step_size=0.2, time_budget=20.0, eval_every=1.0, replicates=3, seed=0, n_jobs=1)
    >>> problem = NoisyQuadratic((1.0,), sigma2=0.1)
    >>> runs = {name: simulate(protocol, problem, Exponential(1.0), 4, **options)
    ...         for name, protocol in {"ABS": abs_sgd(2, 1), "synchronous": synchronous()}.items()}
    >>> axes = compare(runs, "loss", "time", target=("loss", 0.1), problem=problem)
    >>> [(ax.get_xlabel(), ax.get_ylabel()) for ax in axes]
    [('time (s)', 'loss'), ('time to target (s)', '')]
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    named = named_runs(runs)
    wanted = [columns] if isinstance(columns, str) else list(columns or _metrics(named))
    against = [against] if isinstance(against, str) else list(against)
    for x in against:
        if x not in SPENT:
            raise ValueError(f"against must be of {', '.join(SPENT)}, got {x!r}")
    rows = len(wanted) + (target is not None)
    if axes is None:
        width = 4.6 if len(against) == 1 else min(2.9 * len(against), 9.0)
        height = 2.2 * len(wanted) + (0 if target is None else 0.7 + 0.22 * len(named)) + 0.5
        axes = new_axes(rows, len(against), (width, height))
    begun = {name: found if problem is None else _from_the_start(found, problem) for name, found in named.items()}
    looks = {name: look(place) for place, name in enumerate(named)}
    for row, column in enumerate(wanted):
        panels = axes[row * len(against) : (row + 1) * len(against)]
        for ax, x in zip(panels, against, strict=True):
            lowest, highest = math.inf, 0.0
            for name, found in begun.items():
                points = curve(found, x, column, name)
                band(ax, points, x, column, name, looks[name])
                values = points[f"{column}_median"].to_numpy()
                values = values[np.isfinite(values)]
                lowest, highest = values.min(initial=lowest), values.max(initial=highest)
            ax.set(xlabel=SPENT[x])
            if not direction(column) and 0 < LOG_RANGE * lowest < highest:
                ax.set(yscale="log")
                wide = highest > MOST_RANGE_WITH_2_AND_5 * lowest  # the locator would leave out all ticks
                ax.yaxis.set_major_locator(LogLocator(subs=(1,) if wide else (1, 2, 5)))
                ax.yaxis.set_major_formatter("{x:g}")
                ax.yaxis.set_minor_formatter(NullFormatter())
        panels[0].set(ylabel=column.replace("_", " "))
    if target is not None:
        _draw_targets(axes[-len(against) :], named, target, against, time_budget)
    figure = axes[0].get_figure(root=True)
    assert figure is not None
    if len(named) > 1 or "" not in named:
        handles, labels = axes[0].get_legend_handles_labels()
        longest = max(map(len, labels))
        columns_of_legend = max(1, min(len(labels), int(figure.get_figwidth() * 14 / (longest + 8))))
        figure.legend(handles, labels, loc="outside upper center", ncols=columns_of_legend)
    return axes


def curve(runs: Runs, x: str, column: str, name: str = "") -> pd.DataFrame:
    """The quartiles over replicates of a column, on a grid of the column ``x`` of ``SPENT``.

    The grid begins where the last replicate is first evaluated, and ends where the first replicate ends that has not
    diverged.
    """
    rounds = with_totals(runs.rounds)
    if column not in rounds:
        raise ValueError(f"there is no column {column!r} in the runs{_of(name)}: there are {', '.join(rounds.columns)}")
    evaluated = rounds[rounds[column].notna()]
    replicates = [rows for _, rows in evaluated.groupby("replicate")]
    if not replicates or max(map(len, replicates)) < 2:
        raise ValueError(
            f"the {column} of the runs{_of(name)} was evaluated less than twice, which makes no curve: give simulate "
            "eval_every, the seconds between evaluations"
        )
    ends = [rows[x].iloc[-1] for rows in replicates if np.isfinite(rows["loss"].iloc[-1])]
    begin = max(float(rows[x].iloc[0]) for rows in replicates)
    grid = np.linspace(begin, max(min(ends, default=begin), begin), GRID_POINTS)
    return pd.DataFrame({x: grid, **quartiles(replicates, x, grid, [column])})


def _from_the_start(runs: Runs, problem: Problem) -> Runs:
    """The runs with a row for the initial model in front of each, where all that was evaluated can be compared."""
    started = with_start(runs.rounds, problem)
    return runs._replace(rounds=started[[column for column in started if column in runs.rounds]])


def _metrics(named: dict[str, Runs]) -> list[str]:
    """The columns that all runs have evaluated, in their order."""
    first, *others = (metrics_of(runs.rounds) for runs in named.values())
    common = [column for column in first if all(column in other for other in others)]
    if not common:
        raise ValueError("the runs have no evaluated column in common: give eval_every, in seconds, to simulate")
    return common


def _draw_targets(
    axes: "list[Axes]", named: dict[str, Runs], target: Target, against: Sequence[str], time_budget: float | None
) -> None:
    """A row per method with its median and 95 % interval, or the words that it did not reach the target."""
    table = to_targets(dict(named), target, time_budget)
    axes[0].set_title(f"target: {in_words(target)}", loc="left")
    for ax, x in zip(axes, against, strict=True):
        values = table[[x, f"{x}_low", f"{x}_high"]].to_numpy()
        finite = values[np.isfinite(values)]
        end = 1.15 * float(finite.max()) if finite.size else 1.0
        for place, (row, estimate) in enumerate(zip(table.to_dict("records"), values, strict=True)):
            interval(ax, place, tuple(estimate), end, look(place))
            if not math.isfinite(estimate[0]):
                words = f"reached by {row['reached']} of {row['replicates']}"
                ax.annotate(words, (end, place), ha="right", va="center", color="0.2", backgroundcolor="white")
        ax.set(xlabel=TO_TARGET[x])
        ax.set(ylim=(len(named) - 0.5, -0.5), xlim=(0, 1.05 * end), yticks=range(len(named)))
        ax.set_yticklabels([_short(name) for name in named] if ax is axes[0] else [])
        ax.grid(axis="y", color="0.92", linewidth=0.6)


def _short(name: str) -> str:
    """A name in one line, without its middle if it is long."""
    half = LABEL_LETTERS // 2
    return name if len(name) <= LABEL_LETTERS + 3 else f"{name[:half].rstrip()} ... {name[-half:].lstrip()}"


def _of(name: str) -> str:
    return f" of {name!r}" if name else ""
