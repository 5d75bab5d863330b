"""Results of theory and simulations: a mean with its error, and the steady state of a server."""

import math
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from abs_theory.checks import check_count, explains_types
from abs_theory.typing import Array, Law, Values

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Estimate", "SteadyState", "TrainerState", "percent"]

_VECTORS = ("staleness_pmf", "participation")  # fields with one more axis than the grid
ROUNDING = 1e-13  # of a value by computing with it, as a share of it
SMALLEST = 1e-200  # half-width that is not 0; delays of any unit have larger ones
QUANTILES_OF_LENGTH = 2048  # over which the share of long tasks is averaged


@explains_types
def percent(share: float, digits: int = 0) -> str:
    """A share in percent, as text.

    >>> percent(0.304, 1)
    '30.4 %'
    """
    return f"{100 * share:.{digits}f} %"


def above_rounding(error: ArrayLike, value: ArrayLike) -> Array:
    """Half-widths with 0 for those that are less than what rounding does to the ``value``.

    >>> above_rounding([1.9e-14, 1.3e-213, 0.1], [3.6, 0.0, 2.0]).tolist()
    [0.0, 0.0, 0.1]
    """
    error = np.asarray(error, dtype=float)
    return np.where(error < np.maximum(ROUNDING * np.abs(value), SMALLEST), 0.0, error)[()]


@dataclass(frozen=True)
class Estimate:
    """A mean over independent samples, with its standard error.

    >>> estimate = Estimate.of([1.0, 2.0, 3.0])
    >>> estimate.mean, round(estimate.stderr, 4), round(estimate.half_width(), 3)
    (2.0, 0.5774, 2.484)
    """

    mean: float  #: mean of the samples
    stderr: float  #: standard error of the mean
    num_samples: int  #: number of independent samples

    @classmethod
    def of(cls, values: ArrayLike) -> Self:
        """Estimate from independent ``values``, at least two; the law must have a finite variance."""
        values = np.asarray(values, dtype=float)
        check_count("the number of values", values.size, minimum=2)
        return cls(float(values.mean()), float(values.std(ddof=1) / math.sqrt(values.size)), values.size)

    def half_width(self, confidence: float = 0.95) -> float:
        """Half the width of the confidence interval of the mean, by Student's t."""
        return float(stats.t.isf((1 - confidence) / 2, self.num_samples - 1)) * self.stderr

    def _repr_html_(self) -> str:
        """For Jupyter."""
        return f"{self.mean:.5g} &plusmn; {self.half_width():.2g} (95 %, {self.num_samples} samples)"


@dataclass(frozen=True, eq=False)
class SteadyState:
    """Long-run averages of a server that runs ABS for ever, per round (one update) unless stated otherwise.

    Each field is a float, or an array over a grid of ``k`` and ``max_staleness``.  ``staleness_pmf`` has one more axis,
    the staleness 0, 1, ...; its last entry is the probability of that staleness *or more*.  ``error`` holds the
    half-widths of the same fields: 0 where exact, 95 % for Monte Carlo, all but 1e-5 for the simulation of "auto", and
    an empirical bound for the mean field, meant for 95 % of cells.

    >>> from abs_theory import steady_state
    >>> from abs_theory.delays import Exponential
    >>> state = steady_state.abs_sgd(Exponential(mean=1.0), k=2, n=4, max_staleness=1)
    >>> round(state.round_time, 4), round(state.mean_staleness, 4), state.method
    (0.5833, 0.3333, 'exact')
    """

    round_time: Values  #: mean seconds from one update to the next
    mean_staleness: Values  #: mean staleness of the gradients that the server applies
    staleness_pmf: Array  #: probabilities of the staleness of such a gradient
    restarts: Values  #: number of workers that restart
    uplinks: Values  #: number of gradients sent to the server
    downlinks: Values  #: number of models sent to workers
    idle_fraction: Values  #: share of worker time spent waiting for the round to end
    wasted_fraction: Values  #: share of worker time lost by restarts
    participation: Array | None = None  #: gradients per round of each worker, shape (..., n)
    method: str | NDArray[np.str_] | None = None  #: method by which each cell was computed
    #: half-widths of the same fields, which have no ``error`` themselves
    error: "SteadyState" = None  # pyright: ignore[reportAssignmentType]

    def __post_init__(self) -> None:
        if self.error is not None:
            names = [field.name for field in fields(self) if field.name not in ("shares", "method", "error")]
            pairs = {name: (getattr(self.error, name), getattr(self, name)) for name in names}
            clean = {
                name: above_rounding(error, value) if np.ndim(error) else float(above_rounding(error, value))
                for name, (error, value) in pairs.items()
                if error is not None and value is not None and np.shape(error) == np.shape(value)
            }
            object.__setattr__(self, "error", replace(self.error, **clean))

    def to_frame(self) -> pd.DataFrame:
        """One row per cell of the grid, in the order of the flattened arrays; each result with its half-width."""
        names = [field.name for field in fields(self) if field.name not in (*_VECTORS, "shares", "method", "error")]
        columns: dict[str, Any] = {}
        for name in names:
            columns[name] = np.ravel(getattr(self, name))
            if self.error is not None:
                columns[f"{name} ±"] = np.ravel(getattr(self.error, name))
        if self.method is not None:
            columns["method"] = np.ravel(self.method)
        return pd.DataFrame(columns)

    def staleness_quantile(self, q: float) -> float | NDArray[np.int64]:
        """The smallest staleness that at least a share ``q`` of the gradients do not exceed; one for each cell.

        It is inf where the distribution was cut before; then its last entry stands for that staleness or more.
        Raises ValueError unless 0 <= q <= 1.

        >>> from abs_theory import steady_state
        >>> from abs_theory.delays import Exponential
        >>> steady_state.abs_sgd(Exponential(mean=1.0), k=2, n=8).staleness_quantile(0.9)
        8
        """
        if not 0 <= q <= 1:
            raise ValueError(f"q must be in [0, 1], got {q!r}")
        below = np.cumsum(self.staleness_pmf, axis=-1)
        place = np.sum(below < q * below[..., -1:] * (1 - 1e-12), axis=-1)
        return place if place.ndim else int(place)

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the distribution of the staleness, with its half-widths, and return the matplotlib axes.

        Raises ValueError for a grid.
        """
        if self.staleness_pmf.ndim > 1:
            raise ValueError(f"a plot shows one cell, this is a grid of shape {self.staleness_pmf.shape[:-1]}")
        if ax is None:
            from matplotlib import pyplot  # here, because the theory itself draws nothing

            ax = pyplot.subplots(figsize=(5, 2.5), layout="constrained")[1]
        half_widths = None if self.error is None else self.error.staleness_pmf
        ax.bar(np.arange(self.staleness_pmf.size), self.staleness_pmf, yerr=half_widths, capsize=2)
        ax.xaxis.get_major_locator().set_params(integer=True)  # pyright: ignore[reportCallIssue]
        last = "; the last bar: or more" if self._staler_than_drawn() else ""
        ax.set(xlabel=f"staleness (updates{last})", ylabel="share of gradients")
        return ax

    def _staler_than_drawn(self) -> bool:
        """Whether the last entry of one cell's distribution stands for staler gradients as well.

        Restarts show that there is a bound.  The distribution then ends at it, unless it was cut before; a cut makes
        its mean smaller than the mean staleness.  Without restarts nothing limits the staleness, except where all
        gradients have the last staleness (as with k = n), or none has.
        """
        pmf, mean = self.staleness_pmf, float(self.mean_staleness)
        if float(self.restarts) == 0:
            return bool(0 < pmf[-1] < 1)
        return bool(pmf @ np.arange(pmf.size) < mean * (1 - 1e-6))

    def _repr_html_(self) -> str:
        """For Jupyter: a column of numbers for one cell, one row per cell for a grid."""
        frame = self.to_frame()
        if len(frame) > 1:
            return frame.to_html(float_format="{:.4g}".format)
        values: dict[str, Any] = {str(name): column[0] for name, column in frame.items()}
        rows = [(name.replace("_", " "), value, values.get(f"{name} ±", "")) for name, value in values.items()]
        table = pd.DataFrame([row for row in rows if "±" not in row[0]], columns=["per round", "", "±"])
        return table.to_html(index=False, float_format="{:.4g}".format)


@dataclass(frozen=True, eq=False)
class TrainerState(SteadyState):
    """Long-run averages, per update unless stated otherwise, where updates take time: finished tasks queue.

    A task is *trained* if an update uses it.  ``restarts`` counts tasks that are stopped, ``dropped`` finished ones
    that no update uses although their slot went on.  Staleness is counted when the trainer takes the task.

    >>> from abs_theory import steady_state
    >>> from abs_theory.delays import Exponential
    >>> state = steady_state.abs_batch(Exponential(mean=1.0), k=4, n=16, max_staleness=1)
    >>> round(state.lost_share, 2), state.trained_share([0.1, 9.0]).round(2).tolist()
    (0.62, [1.0, 0.0])
    """

    queued_staleness: Values = 0.0  #: the part of the mean staleness that passes in the queue; the rest in flight
    dropped: Values = 0.0  #: finished tasks that no update uses
    trainer_busy: Values = 0.0  #: share of time in which the trainer is busy
    trained_length: Values = 0.0  #: mean seconds of a trained task
    #: lengths in seconds, and the probability that a started task of this length is trained; shape (..., lengths)
    shares: tuple[Array, Array] = (np.zeros(1), np.ones(1))

    @property
    def lost_share(self) -> Values:
        """Share of the tasks that are not trained, among those that end in any way."""
        return (self.restarts + self.dropped) / (self.uplinks + self.restarts)

    def trained_share(self, at: ArrayLike) -> Array:
        """Probability that a started task of this length in seconds is trained: 1 for all if nothing is lost.

        A grid has one row for each cell: the axes of the lengths ``at`` come last.
        """
        at, (lengths, shares) = np.asarray(at, float), self.shares
        if lengths.ndim == 1:
            return np.interp(at, lengths, shares)
        cells = np.broadcast_arrays(lengths, shares)
        rows = [np.interp(at, *row) for row in zip(*(cell.reshape(-1, cell.shape[-1]) for cell in cells), strict=True)]
        return np.reshape(rows, (*lengths.shape[:-1], *at.shape))

    def long_share(self, law: Law, longest: float) -> Values:
        """Share of the ``longest`` tasks (.1 is the longest tenth) among the trained ones, over their share of all.

        1 is fair; 0 says that none of them is trained.
        """
        middle = (np.arange(QUANTILES_OF_LENGTH) + 0.5) / QUANTILES_OF_LENGTH
        of_long, of_all = (self.trained_share(law.isf(part * middle)).mean(axis=-1) for part in (longest, 1.0))
        share = np.divide(of_long, of_all, out=np.zeros_like(of_all), where=of_all > 0)
        return share if share.ndim else float(share)
