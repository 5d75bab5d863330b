"""The distribution of staleness with and without a threshold, for four delay laws: theory against simulation."""

import itertools
import math

import joblib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from abs_theory import steady_state
from paper_figs import laws, simulated, style
from paper_figs.parallel import in_parallel

CLAIM = (
    "Without a threshold the mean staleness is (n - k)/k for every delay law, but the tail differs between laws. "
    "Theory gives the whole distribution within its stated error, and a threshold cuts the tail off."
)
METHODS = ("K-async", "ABS")
DASHES = {"K-async": ":", "ABS": "-"}
MIN_PROBABILITY, MAX_STALENESS = 8e-4, 24  # the ends of the axes
QUICK = {"n": 20, "k": 5, "max_staleness": 4, "tasks": 1500, "replicates": 6, "seed": 3}
DEFAULT = {"n": 20, "k": 5, "max_staleness": 4, "tasks": 6000, "replicates": 10, "seed": 3}
FULL = {"n": 20, "k": 5, "max_staleness": 4, "tasks": 20000, "replicates": 30, "seed": 3}


def compute(n: int, k: int, max_staleness: int, tasks: int, replicates: int, seed: int) -> pd.DataFrame:
    """Per law, method and staleness: probability by theory and by simulation, with half-widths; and the means."""
    effort = {"tasks": tasks, "replicates": replicates, "seed": seed}
    cells = list(itertools.product(laws.LAWS, zip(METHODS, (math.inf, float(max_staleness)), strict=True)))
    calls = [joblib.delayed(simulated.staleness)(laws.LAWS[law], k, n, bound, **effort) for law, (_, bound) in cells]
    tables = []
    for (law, (method, bound)), shares in zip(cells, in_parallel("staleness", calls), strict=True):
        state = steady_state.abs_sgd(laws.LAWS[law], k, n, bound, "fast")
        size = MAX_STALENESS + 2 if math.isinf(bound) else max_staleness + 1
        means = shares @ np.arange(shares.shape[1])
        columns = {
            "theory": state.staleness_pmf,
            "theory_error": state.error.staleness_pmf,
            "simulation": shares.mean(axis=0),
            "half_width": simulated.half_widths(shares),
        }
        # rule of three: the 95 % limit of a probability that none of so many gradients showed
        unseen = 3 / (replicates * tasks / 2)
        table = pd.DataFrame({name: np.pad(values, (0, size))[:size] for name, values in columns.items()})
        table["half_width"] = table["half_width"].where(table["simulation"] > 0, unseen)
        table = table.assign(mean=state.mean_staleness, mean_error=state.error.mean_staleness)
        table = table.assign(
            simulated_mean=means.mean(), mean_half_width=simulated.half_widths(means), solved=state.method
        )
        tables.append(table.assign(law=law, method=method, staleness=np.arange(size)))
    return pd.concat(tables, ignore_index=True)


def draw(table: pd.DataFrame) -> Figure:
    fig = Figure(figsize=(style.PAGE, 4.2), layout="constrained")
    axes = fig.subplots(2, 2, sharex=True, sharey=True)
    for ax, (law, rows) in zip(axes.flat, table.groupby("law", sort=False), strict=True):
        for method, curve in rows.groupby("method", sort=False):
            color, marker = (style.look(method)[name] for name in ("color", "marker"))
            ax.plot(curve["staleness"], curve["theory"], color=color, linestyle=DASHES[str(method)])
            dots = curve[curve["simulation"] > 0]
            style.points(ax, dots["staleness"], dots["simulation"], dots["half_width"], color=color, marker=marker)
        ax.set(title=laws.title(law), yscale="log", ylim=(MIN_PROBABILITY, 1), xlim=(-0.5, MAX_STALENESS + 0.5))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    for ax in axes[-1]:
        ax.set(xlabel="staleness of an applied gradient (updates)")
    for ax in axes[:, 0]:
        ax.set(ylabel="probability")
    bound = int(table.loc[table["method"] == "ABS", "staleness"].max())
    labels = {"K-async": "K-async (no limit)", "ABS": f"ABS (max. staleness {bound})"}
    handles = [style.key(text, **style.look(name) | {"linestyle": DASHES[name]}) for name, text in labels.items()]
    fig.legend(
        handles=handles, loc="outside upper center", ncols=2,
        title="lines: theory (exact or mean field); points: simulation with 95 % intervals",
    )  # fmt: skip
    return fig
