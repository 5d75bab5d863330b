"""What the figures of the theory share: a law of each ageing, averages of simulated rounds, and how both are drawn."""

import math
from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter
from numpy.typing import ArrayLike

from abs_theory.delays import Delay, Exponential, HyperExponential, LogNormal, ShiftedExponential
from abs_theory.results import Estimate
from simulations import protocols
from simulations.experiment import simulate
from simulations.problems import TimingOnly

# all of mean 1 s
LAWS: dict[str, Delay] = {
    "increasing hazard": ShiftedExponential(shift=0.5, scale=0.5),
    "constant hazard": Exponential(mean=1.0),
    "decreasing hazard": HyperExponential(probs=(0.9, 0.1), means=(1 / 3, 7.0)),
    "neither": LogNormal(median=math.exp(-0.5), sigma=1.0),
}
NAMES = {
    "increasing hazard": "shifted exponential",
    "constant hazard": "exponential",
    "decreasing hazard": "hyper-exponential",
    "neither": "lognormal",
}
_LOOKS: dict[str, dict[str, Any]] = {
    "increasing hazard": {"color": "#0072B2", "linestyle": "-", "marker": "v"},
    "constant hazard": {"color": "#000000", "linestyle": ":", "marker": "s"},
    "decreasing hazard": {"color": "#D55E00", "linestyle": (0, (5, 1.5, 1, 1.5)), "marker": "^"},
    "neither": {"color": "#009E73", "linestyle": (0, (4, 2)), "marker": "o"},
}


def title(law: Hashable, between: str = " ") -> str:
    """A law as a panel is headed or a line is labelled."""
    return f"{NAMES[str(law)]}{between}({law})"


def look(law: Hashable) -> dict[str, Any]:
    """Line properties of a law: colour, dash and marker all tell it apart."""
    return dict(_LOOKS[str(law)])


# ---------------------------------------------------------------------- simulation


def averages(
    delay: Any, k: int, n: int, max_staleness: float, *, tasks: int, replicates: int, seed: int, local_steps: int = 1
) -> dict[str, Estimate]:
    """Round time (s), mean staleness and restarts per round of ABS, by the event simulator.

    Over the second half of ``tasks`` delivered tasks in each replicate, so that the fresh start is forgotten;
    ``delay`` is one of the ``local_steps`` of a task.
    """
    updates = max(tasks // k, 4)
    rounds = simulate(
        protocols.abs_sgd(k, max_staleness), TimingOnly(), delay, n, step_size=1.0, num_updates=updates,
        replicates=replicates, seed=seed, local_steps=local_steps, n_jobs=1,
    )  # fmt: skip
    rounds["round_time"] = rounds.groupby("replicate")["time"].diff()
    late = rounds[rounds["update"] > updates // 2].groupby("replicate")
    means = late[["round_time", "mean_staleness", "restarts"]].mean()
    return {str(name): Estimate.of(values) for name, values in means.items()}


def staleness(
    delay: Any, k: int, n: int, max_staleness: float, *, tasks: int, replicates: int, seed: int, local_steps: int = 1
) -> np.ndarray:
    """Share of the applied gradients that have staleness 0, 1, ..., shape (replicates, ...); as ``averages``."""
    updates = max(tasks // k, 4)
    _, jobs = simulate(
        protocols.abs_sgd(k, max_staleness), TimingOnly(), delay, n, step_size=1.0, num_updates=updates,
        replicates=replicates, seed=seed, local_steps=local_steps, n_jobs=1, jobs=True,
    )  # fmt: skip
    applied = jobs[jobs["applied_version"] > updates // 2]
    stale = applied["applied_version"] - 1 - applied["read_version"]
    counts = pd.crosstab(applied["replicate"], stale).reindex(columns=range(int(stale.max()) + 1), fill_value=0)
    return counts.to_numpy() / counts.to_numpy().sum(axis=1, keepdims=True)


# ---------------------------------------------------------------------- drawing


def points(ax: Axes, x: ArrayLike, mean: ArrayLike, half_width: ArrayLike, **kind: Any) -> Any:
    """Simulated means with their 95 % intervals; on a logarithmic axis an interval down to 0 ends at the axis."""
    kind = {"linestyle": "none", "markersize": 3.5, "elinewidth": 0.8, "zorder": 4, "markeredgewidth": 0} | kind
    return ax.errorbar(x, mean, half_width, **kind)


def plain_log(axis: Axis) -> None:
    """A logarithmic axis with plain numbers at 1, 2, 5, 10, ..."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def key(label: str, **look: Any) -> Line2D:
    """A line of a legend."""
    look.setdefault("markersize", 3.5)
    return Line2D([], [], label=label, **look)


def band(ax: Axes, x: ArrayLike, middle: ArrayLike, error: ArrayLike, color: Any, least: float = 0.0) -> None:
    """The stated error of a theory, shaded; no deeper than ``least``."""
    middle, error = np.asarray(middle, dtype=float), np.asarray(error, dtype=float)
    ax.fill_between(
        np.asarray(x, dtype=float), np.maximum(middle - error, least), middle + error, color=color, alpha=0.15,
        linewidth=0,
    )  # fmt: skip
