"""The pictures of a plan.  Long traces are aggregated, so that a picture stays small and readable."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from abs_theory.plan import fit
from abs_theory.plan.result import Plan
from abs_theory.plan.telling.advice import threshold_words
from abs_theory.plan.telling.comparison import Comparison
from abs_theory.typing import Array

__all__ = ["compared", "curve", "heat_map", "over_time", "per_worker", "rates", "tail"]

INK, CHOSEN, PALE = "#1b4965", "#c1440e", "#8a9ba8"
SIZE = (4.7, 3.3)  # inches: two side by side on a page, and readable on a telephone
MOST_COLUMNS, MOST_ROWS = 300, 60  # cells of the heat map; more rounds or workers are averaged
MOST_POINTS = 400  # of round time over time
MOST_BOXES = 40  # workers with a box of their own
MOST_LABELS = 13  # names of workers on an axis
MOST_RATIO_IN_STEPS = 300  # of the ends of a logarithmic axis that has ticks between powers of ten
LONGEST_NAME = 14  # letters of a name on an axis


def _figure() -> tuple[Figure, Axes]:
    figure = Figure(figsize=SIZE, layout="constrained")
    return figure, figure.subplots()


def heat_map(plan: Plan) -> Figure:
    """Mean delay of each worker over time; white: nothing was delivered."""
    figure, ax = _figure()
    delivered = plan.table.delivered
    rounds, n = delivered.shape
    columns, rows = _bins(rounds, MOST_COLUMNS), _bins(n, MOST_ROWS)
    total, count = np.zeros((2, rows[-1] + 1, columns[-1] + 1))
    where = np.isfinite(delivered)
    place = np.broadcast_to(rows, (rounds, n))[where], np.broadcast_to(columns[:, None], (rounds, n))[where]
    np.add.at(total, place, delivered[where])
    np.add.at(count, place, 1)
    with np.errstate(invalid="ignore"):
        mean = total / count
    low, high = np.nanquantile(mean, [0.01, 0.99])
    norm = LogNorm(low, high) if 0 < low < high else None
    extent = (-0.5, rounds - 0.5, n - 0.5, -0.5)
    image = ax.imshow(mean, aspect="auto", interpolation="nearest", cmap="viridis", norm=norm, extent=extent)
    bar = figure.colorbar(image, ax=ax, label="delay (s)")
    if norm is not None:
        _plain_seconds(bar.ax.yaxis, low, high)
    _mark_changes(ax, plan, of_workers=True)
    ax.set(xlabel="round, in order", ylabel="worker")
    _name_workers(ax.yaxis, plan, np.arange(n))
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    return figure


def over_time(plan: Plan) -> Figure:
    """Time until the chosen k and until the last of the arrivals seen, over time, with the change points."""
    figure, ax = _figure()
    arrivals = plan.table.arrivals
    rounds = len(arrivals)
    group = _bins(rounds, MOST_POINTS)
    x = _means(np.arange(rounds, dtype=float), group)
    largest = min(plan.choice.largest, arrivals.shape[1])
    kind = "o" if rounds <= MOST_POINTS else "-"
    for k, color in ((largest, PALE), (min(plan.k, largest), CHOSEN)):
        y = arrivals[:, k - 1]
        label = "everybody" if k == plan.n else f"k = {k}"
        ax.plot(x, _means(y, group), kind, color=color, ms=2, lw=0.8, label=f"until {label}", rasterized=True)
        if plan.k == largest:
            break
    changed = {change.row for change in plan.changes}
    for row in set((np.flatnonzero(np.diff(plan.table.window)) + 1).tolist()) - changed:
        ax.axvline(row - 0.5, color=PALE, lw=0.8, ls="--")
    _mark_changes(ax, plan, of_workers=False)
    averaged = "" if rounds <= MOST_POINTS else f" (means of {math.ceil(rounds / MOST_POINTS)})"
    ax.set(xlabel=f"round, in order{averaged}", ylabel="round time (s)", yscale="log")
    _plain_seconds(ax.yaxis, *ax.get_ylim())
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    _legend_above(ax)
    return figure


def per_worker(plan: Plan) -> Figure:
    """Delays of each worker, the slowest first: median, half and 90 % of them; slow workers are marked."""
    figure, ax = _figure()
    delivered = plan.table.delivered
    some = np.isfinite(delivered).any(axis=0)
    typical = np.full(delivered.shape[1], -np.inf)
    typical[some] = np.nanmedian(delivered[:, some], axis=0)
    shown = np.argsort(-typical, kind="stable")[: min(MOST_BOXES, int(some.sum()))]
    low, lower, median, upper, high = np.nanquantile(delivered[:, shown], [0.05, 0.25, 0.5, 0.75, 0.95], axis=0)
    slow = {slow["worker"] for slow in plan.slow_workers}
    colors = [CHOSEN if plan.workers[worker] in slow else INK for worker in shown]
    y = np.arange(shown.size)
    ax.hlines(y, low, high, color=colors, lw=1)
    thick = min(4.0, 120 / shown.size)  # points; bars do not touch
    ax.hlines(y, lower, upper, color=colors, lw=thick)
    ax.plot(median, y, "|", color="white", ms=1.7 * thick, mew=1.5)
    ax.set(xlabel="delay (s)", ylabel="worker", xscale="log", ylim=(shown.size - 0.5, -0.5))
    _plain_seconds(ax.xaxis, *ax.get_xlim())
    _name_workers(ax.yaxis, plan, shown)
    if shown.size < len(plan.workers):
        ax.set_title(f"the {shown.size} slowest of {len(plan.workers)} workers", fontsize="medium")
    return figure


def curve(plan: Plan) -> Figure:
    """E[T_(k)] with its intervals, and by the model."""
    figure, ax = _figure()
    table, k = plan.curve, plan.curve.index.to_numpy()
    known = table["low"].notna().to_numpy()
    if plan.model is not None:
        ax.plot(k, table["model"], "-", color=PALE, lw=1, label="model")
    ax.vlines(k[known], table["low"][known], table["high"][known], color=INK, lw=1.2)
    ax.plot(k[known], table["mean"][known], ".", color=INK, label="trace, 95 %", zorder=3)
    if not known.all():
        ax.plot(k[~known], table["mean"][~known], "o", color=INK, mfc="white", ms=4, label="trace, no interval")
    ax.axvline(plan.k, color=CHOSEN, lw=1)
    ax.set(xlabel=f"k, workers waited for (line: {plan.k})", ylabel="mean time of the k-th arrival (s)", ylim=(0, None))
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    _legend_above(ax)
    return figure


def rates(plan: Plan) -> Figure:
    """Gradients per second for each k, with the choice."""
    figure, ax = _figure()
    table, k = plan.curve, plan.curve.index.to_numpy()
    ax.plot(k, table["rate"], ".-", color=INK, lw=0.8)
    ax.plot(plan.k, table["rate"][plan.k], "o", color=CHOSEN, label=f"k = {plan.k}, all start together")
    if plan.setting is not None and plan.max_staleness != 0:
        rate = plan.k / plan.setting.played.round_time
        ax.plot(plan.k, rate, "^", color=CHOSEN, label=f"max_staleness {threshold_words(plan.max_staleness)}")
    ax.set(xlabel="k, workers waited for", ylabel="gradients per second", ylim=(0, None))
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    _legend_above(ax)
    return figure


def tail(plan: Plan) -> Figure:
    """Share of delays longer than t, by Kaplan and Meier, and by the fitted laws where there is one for all."""
    figure, ax = _figure()
    x, seen = plan.table.seconds, plan.table.observed
    tried = np.isfinite(x)
    times, done = fit.kaplan_meier(x[tried], seen[tried])
    keep = np.unique(np.linspace(0, times.size - 1, 2 * MOST_POINTS).round().astype(int))
    keep = np.union1d(keep, np.arange(max(times.size - MOST_POINTS, 0), times.size))  # the tail in full
    longer = np.append(1.0, 1 - done[keep])
    ax.step(np.append(times[0], times[keep]), longer, where="post", color=INK, label="all delays")
    if plan.model is not None and len(plan.model.fits) == 1 and plan.model.factor == 1:
        fits = plan.model.fits[0]
        baseline = [fitted for fitted in fits if fitted.name == fit.BASELINE]
        for fitted, line in zip([fit.best_fit(fits), *baseline], ("-", ":"), strict=False):
            ax.plot(times[keep], fitted.law.sf(times[keep]), line, color=CHOSEN, lw=1, label=fitted.name)
    ax.set(xlabel="t (s)", ylabel="share of delays longer than t", yscale="log", xscale="log")
    ax.set_ylim(0.5 / max(int(seen.sum()), 2), 1.2)
    _plain_seconds(ax.xaxis, *ax.get_xlim())
    ax.legend(frameon=False, loc="lower left", fontsize="small")
    return figure


def compared(comparison: Comparison) -> Figure:
    """E[T_(k)] of two traces with its intervals."""
    figure, ax = _figure()
    curves, k = comparison.curves, comparison.curves.index.to_numpy()
    for when, color, shift in (("before", PALE, -0.1), ("after", INK, 0.1)):
        ax.vlines(k + shift, curves[f"{when}_low"], curves[f"{when}_high"], color=color, lw=1.2)
        ax.plot(k + shift, curves[f"{when}_mean"], ".", color=color, label=when)
    ax.set(xlabel="k, workers waited for", ylabel="mean time of the k-th arrival (s)", ylim=(0, None))
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    _legend_above(ax)
    return figure


def _bins(size: int, most: int) -> NDArray[np.int64]:
    """The bin of each of ``size`` places, at most ``most`` bins of nearly equal size."""
    return np.arange(size, dtype=np.int64) * min(size, most) // max(size, 1)


def _means(values: Array, group: NDArray[np.int64]) -> Array:
    """Mean of the known values of each group; NaN without any."""
    known = np.isfinite(values)
    count = np.bincount(group, known)
    total = np.bincount(group, np.where(known, values, 0.0))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _mark_changes(ax: Axes, plan: Plan, *, of_workers: bool) -> None:
    """A line at each change of the fleet; with ``of_workers`` also a mark at those of single workers."""
    for change in plan.changes:
        if change.worker is None:
            ax.axvline(change.row - 0.5, color=CHOSEN, lw=1.2)
        elif of_workers:
            row = plan.workers.index(change.worker)
            ax.plot([change.row - 0.5] * 2, [row - 0.5, row + 0.5], color=CHOSEN, lw=2.5, solid_capstyle="butt")


def _name_workers(axis, plan: Plan, workers: NDArray[np.integer]) -> None:
    """Names of ``workers``, which stand at 0, 1, 2, ...; of many, only some."""
    shown = np.unique(np.linspace(0, workers.size - 1, min(workers.size, MOST_LABELS)).round().astype(int))
    names = [str(plan.workers[workers[place]]) for place in shown]
    short = [name if len(name) <= LONGEST_NAME else f"…{name[1 - LONGEST_NAME :]}" for name in names]
    axis.set_ticks(shown, [name.replace("$", r"\$") for name in short])


def _plain_seconds(axis: Axis, low: float, high: float) -> None:
    """Ticks at 1, 2 and 5 times powers of ten on a logarithmic axis; evenly spaced ones where it is short."""
    powers = np.arange(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [step * 10.0**power for power in powers for step in (1, 2, 5) if low <= step * 10.0**power <= high]
    ticks = ticks if high / low < MOST_RATIO_IN_STEPS else [tick for tick in ticks if f"{tick:e}"[0] == "1"]
    axis.set_major_locator(FixedLocator(ticks) if len(ticks) > 1 else MaxNLocator(4))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter("{x:g}")


def _legend_above(ax: Axes) -> None:
    ax.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.2, fontsize="small")
