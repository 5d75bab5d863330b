"""The result of tuning: the best knobs, and everything that was tried."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from simulations.plot import in_small_print, new_axes

if TYPE_CHECKING:  # matplotlib is loaded when something is drawn
    from matplotlib.axes import Axes

__all__ = ["Tuned"]

LOGARITHMIC_FROM = 8.0  # ratio of the largest to the smallest value tried, from which its axis is logarithmic


@dataclass(frozen=True, eq=False)
class Tuned:
    """The best knobs of a method, and what was tried.

    ``tried`` has one row per point: the knobs, ``time`` (s) to the target (the Kaplan-Meier median; inf: not reached),
    ``loss`` at the end (it ranks points that miss the target), ``replicates``, and ``final``: whether the row is from
    the final comparison, on replicates of its own.
    """

    best: dict[str, float]  #: the winner of the final comparison: step_size and the other knobs
    time: float  #: its median time to the target in the final comparison (s); inf: not reached
    tried: pd.DataFrame  #: one row per point, in the order of trying
    target: tuple[str, float]  #: the column and the value to reach

    @property
    def at_an_end(self) -> list[str]:
        """The knobs whose best value is the largest or smallest that was tried: a better one may lie beyond."""
        searched = self.tried[~self.tried["final"]]
        ends = {name: (searched[name].min(), searched[name].max()) for name in self.best}
        return [name for name, value in self.best.items() if value in ends[name] and ends[name][0] < ends[name][1]]

    @in_small_print
    def plot(self, axes: "list[Axes] | None" = None) -> "list[Axes]":
        """Draw the time to the target against each knob, a panel for each, and return the panels.

        A dot is a point of the search, a ring at the top one that did not reach the target, the star is the winner.
        """
        from matplotlib.ticker import MaxNLocator

        names = list(self.best)
        axes = axes or new_axes(1, len(names), (2.6 * len(names) + 0.6, 2.6))
        searched = self.tried[~self.tried["final"]]
        finite = self.tried["time"][np.isfinite(self.tried["time"])]
        top = 1.1 * float(finite.max()) if len(finite) else 1.0
        for ax, name in zip(axes, names, strict=True):
            values = np.where(np.isfinite(searched[name]), searched[name], np.nan)
            reached = np.isfinite(searched["time"].to_numpy())
            ax.plot(values[reached], searched["time"][reached], "o", color="#0072B2", markersize=4, label="tried")
            if not reached.all():
                ax.plot(values[~reached], np.full((~reached).sum(), top), "o", color="#0072B2", markersize=5,
                        markerfacecolor="none", label="target not reached")  # fmt: skip
            if math.isfinite(self.time) and math.isfinite(self.best[name]):
                ax.plot(self.best[name], self.time, "*", color="#D55E00", markersize=11, label="winner")
            ax.set(xlabel=name.replace("_", " "), ylim=(0, 1.08 * top))
            shown = values[np.isfinite(values)]
            if len(shown) and 0 < LOGARITHMIC_FROM * shown.min() < shown.max():
                ax.set(xscale="log")
            elif np.all(shown == np.floor(shown)):
                ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes[0].set(ylabel="time to target (s)")
        axes[0].legend()
        return axes
