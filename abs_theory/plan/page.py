"""A plan as one self-contained page of HTML, with its pictures inside, and as JSON."""

import io
import json
from collections.abc import Iterable
from html import escape
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from abs_theory.plan import fit
from abs_theory.plan.result import Plan
from abs_theory.plan.words import advice, columns, limits, round_times, row_of, threshold_words

__all__ = ["page", "write"]

INK, CHOSEN, PALE = "#1b4965", "#c1440e", "#8a9ba8"
MOST_DOTS = 20_000  # delays drawn as single dots, so that the page stays small

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#222;max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin-bottom:.2rem}h2{font-size:1.1rem;margin:1.6rem 0 .3rem}
.answer{background:#eef4f7;border-left:5px solid #1b4965;padding:.6rem 1rem;font-size:1.05rem}
.answer p{margin:.3rem 0}.answer p:first-child{font-size:1.25rem;font-weight:600}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}td,th{padding:.15rem .7rem;text-align:right;
border-bottom:1px solid #ddd}tr.chosen{background:#fbeae3;font-weight:600}td:last-child,th:last-child{text-align:left}
svg{max-width:100%;height:auto}figure{margin:.5rem 0}figcaption,.small{color:#555;font-size:.9rem}
"""


def page(plan: Plan) -> str:
    """The whole page; pictures are inline SVG."""
    parts = [
        "<!DOCTYPE html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>Plan for {plan.n} workers</title>',
        f"<style>{STYLE}</style></head><body>",
        f"<h1>How many of {plan.n} workers to wait for</h1>",
        f'<p class="small">From a trace of {plan.rounds} rounds and {plan.trace_workers} workers; '
        f"{plan.diagnosis.complete} rounds are complete. Regime: {plan.diagnosis.regime}</p>",
        '<div class="answer">' + _paragraphs(advice(plan)) + "</div>",
        "<h2>Time and gradients per second for each k</h2>",
        _figure(
            _curves(plan),
            "Left: mean time of the k-th arrival, with its 95 % interval where one is identified, and the model's "
            "prediction. Right: gradients per second, with the choice in orange.",
        ),
        _table(plan),
        "<h2>Round time, predicted and replayed</h2>",
        _list(line.strip() for line in round_times(plan)[1:]),
        "<h2>Properties of the trace</h2>",
        _list(plan.diagnosis.sentences),
        _figure(_delays(plan), _delays_caption(plan)),
        "<h2>How the input was read</h2>",
        _list([*(plan.report or ("Nothing was changed.",)), plan.staleness]),
        "<h2>Limits</h2>",
        _list(limits(plan)),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def _paragraphs(lines: list[str]) -> str:
    return "".join(f"<p>{escape(line)}</p>" for line in lines)


def _list(lines: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def _figure(figure: Figure, caption: str) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    return f"<figure>{svg[svg.index('<svg') :]}<figcaption>{escape(caption)}</figcaption></figure>"


def _table(plan: Plan) -> str:
    head = ["k", "E[T(k)], s", "95 % interval", "by the model, s", "gradients/s", "not identified because"]
    rows = ["<tr>" + "".join(f"<th>{name}</th>" for name in head) + "</tr>"]
    for k in columns(plan):
        row = row_of(plan, k)
        interval = "" if row["reason"] else f"{row['low']:.4g} to {row['high']:.4g}"
        numbers = [f"{value:.4g}" if np.isfinite(value) else "" for value in (row["mean"], row["model"], row["rate"])]
        cells = [str(k), numbers[0], interval, numbers[1], numbers[2], escape(row["reason"])]
        chosen = ' class="chosen"' if k == plan.k else ""
        rows.append(f"<tr{chosen}>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return "<table>" + "".join(rows) + "</table>"


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
    if plan.policy is not None and plan.max_staleness != 0:
        rate = plan.k / plan.policy.played.round_time
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
        for fitted, style in ((fit.best(plan.model.fits[0]), "-"), (_baseline(plan), ":")):
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
