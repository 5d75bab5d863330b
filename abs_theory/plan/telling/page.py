"""A plan as one self-contained page of HTML, with its pictures inside, and as JSON."""

import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from abs_theory.checks import explains_types
from abs_theory.pages import inline_svg, render
from abs_theory.plan import fit
from abs_theory.plan.result import Plan
from abs_theory.plan.telling.words import advice, columns, limits, properties, round_times, row_of, threshold_words

__all__ = ["page", "write"]

INK, CHOSEN, PALE = "#1b4965", "#c1440e", "#8a9ba8"
MOST_DOTS = 20_000  # delays drawn as single dots, so that the page stays small


def page(plan: Plan) -> str:
    """The whole page; pictures are inline SVG."""
    return render(
        Path(__file__).with_name("plan.html"), title=f"Plan for {plan.n} workers", plan=plan, advice=advice(plan),
        rows=[_row(plan, k) for k in columns(plan)], round_times=[line.strip() for line in round_times(plan)[1:]],
        input=[*(plan.report or ("Nothing was changed.",)), plan.staleness], limits=limits(plan),
        properties=properties(plan), curves=inline_svg(_curves(plan)),
        delays=inline_svg(_delays(plan)), delays_caption=_delays_caption(plan),
    )  # fmt: skip


def _row(plan: Plan, k: int) -> dict[str, object]:
    """The row of a k in the table, as texts."""
    row = row_of(plan, k)
    interval = "" if row["reason"] else f"{row['low']:.4g} to {row['high']:.4g}"
    mean, model, rate = (
        f"{value:.4g}" if np.isfinite(value) else "" for value in (row["mean"], row["model"], row["rate"])
    )
    return {"k": k, "cells": [mean, interval, model, rate, row["reason"]]}


def _curves(plan: Plan) -> Figure:
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    curve, k = plan.curve, plan.curve.index.to_numpy()
    left.plot(k, curve["mean"], ".", color=INK, label="trace", zorder=3)
    left.vlines(k, curve["low"], curve["high"], color=INK, lw=1.2)
    if plan.model is not None:
        left.plot(k, curve["model"], "-", color=PALE, lw=1, label="model")
    left.axvline(plan.k, color=CHOSEN, lw=1)
    left.set(xlabel="k, workers waited for", ylabel="E[T(k)] (s)", ylim=(0, None))
    left.legend(frameon=False)
    right.plot(k, curve["rate"], ".-", color=INK, lw=0.8)
    right.plot(plan.k, curve["rate"][plan.k], "o", color=CHOSEN, label=f"k = {plan.k}")
    if plan.setting is not None and plan.max_staleness != 0:
        rate = plan.k / plan.setting.played.round_time
        words = f"with max_staleness {threshold_words(plan.max_staleness)}"
        right.plot(plan.k, rate, "^", color=CHOSEN, label=words)
    right.set(xlabel="k, workers waited for", ylabel="gradients per second", ylim=(0, None))
    right.legend(frameon=False)
    for ax in (left, right):
        ax.xaxis.get_major_locator().set_params(integer=True)  # k is a whole number
    return figure


def _delays(plan: Plan) -> Figure:
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    x, seen = plan.table.seconds, plan.table.observed
    rounds = np.broadcast_to(np.arange(x.shape[0])[:, None], x.shape)
    step = max(1, int(seen.sum()) // MOST_DOTS)
    left.plot(rounds[seen][::step], x[seen][::step], ".", color=INK, ms=2, alpha=0.5, rasterized=seen.sum() > 2000)
    breaks = np.flatnonzero(np.diff(plan.table.window)) + 0.5
    for place in breaks:
        left.axvline(place, color=PALE, lw=0.8, ls="--")
    left.set(xlabel="round, in order (dashed: gaps)", ylabel="delay (s)", yscale="log")
    tried = np.isfinite(x)
    times, done = fit.kaplan_meier(x[tried], seen[tried])
    right.step(times, 1 - done, where="post", color=INK, label="all delays")
    if plan.model is not None and len(plan.model.fits) == 1 and plan.model.factor == 1:
        for fitted, style in ((fit.best_fit(plan.model.fits[0]), "-"), (_baseline(plan), ":")):
            if fitted is not None:
                right.plot(times, fitted.law.sf(times), style, color=CHOSEN, lw=1, label=fitted.name)
    right.set(xlabel="t (s)", ylabel="share of delays longer than t", yscale="log", xscale="log")
    right.set_ylim(0.5 / max(int(seen.sum()), 2), 1.2)
    right.legend(frameon=False)
    return figure


def _baseline(plan: Plan) -> fit.Fit | None:
    assert plan.model is not None
    return next((fitted for fitted in plan.model.fits[0] if fitted.name == fit.BASELINE), None)


def _delays_caption(plan: Plan) -> str:
    model = "" if plan.model is None else f" Model: {plan.model.words}."
    return f"Left: every delivery. Right: their tail, by Kaplan and Meier (1958) if some are censored.{model}"


@explains_types
def write(plan: Plan, folder: Path) -> list[Path]:
    """Write plan.html and plan.json into ``folder``, which is created if it does not exist; returns both paths.

    >>> import tempfile
    >>> import pandas as pd
    >>> from abs_theory import plan, traces
    >>> rows = [(t, w, 9.0 if w == 2 else 1.0) for t in range(30) for w in range(3)]
    >>> trace = traces.from_frame(pd.DataFrame(rows, columns=["round", "worker", "seconds"]))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     [path.name for path in plan.write(plan.plan(trace), Path(folder))]
    ['plan.html', 'plan.json']
    """
    folder.mkdir(parents=True, exist_ok=True)
    contents = {"plan.html": page(plan), "plan.json": json.dumps(plan.to_dict(), indent=1, allow_nan=False) + "\n"}
    for name, text in contents.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in contents]
