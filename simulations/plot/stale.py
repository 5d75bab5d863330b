"""How stale the applied gradients were: shares by staleness, over replicates, beside what theory says."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats

from abs_theory.checks import explains_types
from abs_theory.results import SteadyState
from simulations.plot.looks import in_small_print, look, new_axes
from simulations.plot.runs import Results, named_runs

if TYPE_CHECKING:  # matplotlib is loaded when something is drawn
    from matplotlib.axes import Axes

__all__ = ["staleness", "staleness_shares"]

HIDDEN = 5e-3  # share of the gradients beyond the axis
Distribution = Results | SteadyState


@explains_types
def staleness_shares(tasks: pd.DataFrame, after_update: int = 0) -> pd.DataFrame:
    """Share of the applied gradients with staleness 0, 1, ... (columns) in each replicate (rows).

    ``tasks`` is the second table of ``simulate(..., jobs=True)``; gradients of updates up to ``after_update`` are left
    out.  The staleness is the number of updates since the worker received its model.

    >>> tasks = pd.DataFrame({"replicate": 0, "read_version": [0, 0, 1], "applied_version": [1, 2, -1]})
    >>> staleness_shares(tasks).to_numpy().tolist()
    [[0.5, 0.5]]
    """
    applied = tasks[tasks["applied_version"] > after_update]
    if applied.empty:
        raise ValueError(f"no gradient was applied after update {after_update}: there is no staleness to count")
    stale = applied["applied_version"] - 1 - applied["read_version"]
    counts = pd.crosstab(applied["replicate"], stale).reindex(columns=range(int(stale.max()) + 1), fill_value=0)
    return counts.div(counts.sum(axis=1), axis=0)


@explains_types
@in_small_print
def staleness(runs: Distribution | Mapping[str, Distribution], ax: "Axes | None" = None) -> "Axes":
    """Draw the distribution of the staleness of applied gradients and return the axes.

    ``runs`` is what ``simulate(..., jobs=True)`` or a sweep with ``jobs = true`` returns, or a SteadyState of the
    theory, or a mapping of names to these.  Simulated shares are points, with 95 % intervals if there are two
    replicates or more; theory is a line, with its stated error as a band.
    The axis ends where 5 of 1000 gradients are staler.
    Raises ValueError for runs without the table of tasks.

    >>> from abs_theory import steady_state
    >>> from abs_theory.delays import Exponential
    >>> from simulations.experiment import simulate
    >>> from simulations.problems import TimingOnly
    >>> from simulations.protocols import abs_sgd
    >>> law = Exponential(1.0)
    >>> runs = simulate(abs_sgd(2, 3), TimingOnly(), law, 6, step_size=1.0, num_updates=50, seed=0, jobs=True)
    >>> ax = staleness({"simulated": runs, "theory": steady_state.abs_sgd(law, 2, 6, 3)})
    >>> ax.get_legend_handles_labels()[1]
    ['theory', 'simulated']
    """
    named = runs if isinstance(runs, Mapping) else {"": runs}
    ax = new_axes(1, 1, (5.0, 3.0))[0] if ax is None else ax
    place, ends = 0, [1]
    for name, thing in named.items():
        if isinstance(thing, SteadyState):
            _theory(ax, str(name), thing, place)
            ends.append(_last_shown(thing.staleness_pmf))
            place += 1
            continue
        for label, found in named_runs({str(name): thing}).items():
            if found.tasks is None:
                raise ValueError(f"staleness is counted in the table of tasks: simulate {label or 'the runs'}"
                                 " with jobs=True")  # fmt: skip
            shares = staleness_shares(found.tasks).to_numpy()
            _simulated(ax, label, shares, place)
            ends.append(_last_shown(shares.mean(axis=0)))
            place += 1
    ax.set(xlim=(-0.5, max(ends) + 0.5))
    ax.set(xlabel="staleness of an applied gradient (updates)", ylabel="share of gradients", ylim=(0, None))
    ax.xaxis.get_major_locator().set_params(integer=True)  # pyright: ignore[reportCallIssue]
    if any(str(name) for name in named) or place > 1:
        ax.legend()
    return ax


def _last_shown(shares: np.ndarray) -> int:
    """The largest staleness worth a place: all but a share of ``HIDDEN`` of the gradients are no staler."""
    return int(np.searchsorted(np.cumsum(shares), 1 - HIDDEN))


def _simulated(ax: "Axes", name: str, shares: np.ndarray, place: int) -> None:
    replicates, size = shares.shape
    drawn, half_width = shares.mean(axis=0) > 0, None
    if replicates > 1:
        half_width = stats.t.isf(0.025, replicates - 1) / math.sqrt(replicates) * shares[:, drawn].std(axis=0, ddof=1)
    own = look(place)
    ax.errorbar(
        np.arange(size)[drawn], shares.mean(axis=0)[drawn], half_width, linestyle="none", color=own.get("color"),
        marker=own.get("marker"), markersize=4, elinewidth=0.8, label=name, zorder=3,
    )  # fmt: skip


def _theory(ax: "Axes", name: str, state: SteadyState, place: int) -> None:
    if state.staleness_pmf.ndim > 1:
        raise ValueError(f"a picture shows one steady state, {name!r} is a grid: {state.staleness_pmf.shape[:-1]}")
    own, x = look(place), np.arange(state.staleness_pmf.size)
    single = "_" if x.size == 1 else None  # a line of one point would not be seen
    ax.plot(x, state.staleness_pmf, color=own.get("color"), linewidth=1.2, label=name, marker=single, markersize=20)
    error = None if state.error is None else state.error.staleness_pmf
    if error is not None and np.any(error > 0):
        low, high = np.maximum(state.staleness_pmf - error, 0.0), state.staleness_pmf + error
        ax.fill_between(x, low, high, color=own.get("color"), alpha=0.15, linewidth=0)
