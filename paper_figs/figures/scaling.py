"""Errors of the approximate round times for 4 to 1000 workers, and round times for up to a million."""

import itertools
import math

import joblib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from abs_theory import monte_carlo, order_stats, steady_state
from abs_theory.steady_state import limit_round_time
from paper_figs import laws, style
from paper_figs.parallel import in_parallel

CLAIM = (
    "The error of the limit of many workers falls like 1/n and is below 1 % from n = 256 on. The correction for "
    "finitely many workers stays within its stated error at every n. With a fixed share k/n the round time settles, "
    "while waiting for all workers takes ever longer."
)
SHOWN = ("increasing hazard", "decreasing hazard", "neither")  # under exponential delays a threshold changes nothing
MIN_PERCENT = 0.01  # the lower end of the axis of errors
APPROXIMATIONS = {
    "limit": {"color": "#0072B2", "linestyle": "none", "marker": "v"},
    "corrected": {"color": "#D55E00", "linestyle": "none", "marker": "o"},
}
LABELS = {"limit": "limit of many workers", "corrected": "corrected for n workers (stated error shaded)"}
SERVERS = {"synchronous": "-.", "K-sync": "--", "ABS": "-", "K-async": ":"}
QUICK = {
    "share": 0.25, "max_staleness": 2, "sizes": [4, 16, 256], "rounds": 200, "replicates": 64, "seed": 17,
}  # fmt: skip
DEFAULT = {
    "share": 0.25, "max_staleness": 2, "sizes": [4, 8, 16, 32, 64, 128, 256, 512, 1000], "rounds": 1000,
    "replicates": 128, "seed": 17,
}  # fmt: skip
FULL = DEFAULT | {"rounds": 6000}


def compute(
    share: float, max_staleness: int, sizes: list[int], rounds: int, replicates: int, seed: int
) -> pd.DataFrame:
    """Two tables in one, told apart by ``what``.

    "error": the relative error of an approximation of ABS's round time, measured by Monte Carlo, with the 95 %
    half-width of the measurement and the error it states.  "time": seconds per round of a server with n workers.
    """
    effort = {"rounds": rounds, "replicates": replicates, "seed": seed}
    larger = (4 * np.geomspace(1, 250_000, 13).round().astype(int)).tolist()
    calls = [
        joblib.delayed(errors)(law, max(1, round(share * n)), n, max_staleness, **effort)
        for law, n in itertools.product(SHOWN, sizes)
    ] + [
        joblib.delayed(times)(law, max(1, round(share * n)), n, max_staleness)
        for n, law in itertools.product(larger, SHOWN)
    ]
    rows = itertools.chain.from_iterable(in_parallel("scaling", calls))
    return pd.DataFrame(list(rows)).assign(share=share, max_staleness=max_staleness)


def errors(law: str, k: int, n: int, max_staleness: int, **effort: int) -> list[dict[str, object]]:
    """The rows of the errors of both approximations."""
    delay, (mean, half_width) = laws.LAWS[law], measured(law, k, n, max_staleness, **effort)
    mean_field = steady_state.abs_sgd(delay, k, n, max_staleness, "mean-field")
    limit, rows = float(limit_round_time(delay, k / n, max_staleness)), []
    for name, value, stated in (
        ("limit", limit, math.nan),
        ("corrected", mean_field.round_time, mean_field.error.round_time),
    ):
        row = {"what": "error", "law": law, "name": name, "n": n, "value": value / mean - 1}
        rows.append(row | {"half_width": value * half_width / mean**2, "stated": stated / mean})
    return rows


def times(law: str, k: int, n: int, max_staleness: int) -> list[dict[str, object]]:
    """The rows of the seconds per round."""
    delay = laws.LAWS[law]
    seconds = {
        "synchronous": order_stats.mean(delay, n, n),
        "K-sync": order_stats.mean(delay, k, n),
        "ABS": steady_state.abs_sgd(delay, k, n, max_staleness, "mean-field").round_time,
        "K-async": steady_state.abs_sgd(delay, k, n, None, "mean-field").round_time,
    }
    return [{"what": "time", "law": law, "name": name, "n": n, "value": value} for name, value in seconds.items()]


def measured(
    law: str, k: int, n: int, max_staleness: int, rounds: int, replicates: int, seed: int
) -> tuple[float, float]:
    """Round time of ABS by Monte Carlo, and its 95 % half-width; with more workers fewer rounds are as precise."""
    rounds = max(100, rounds * 16 // max(n, 16))
    state = monte_carlo.abs_sgd(
        laws.LAWS[law], k, n, max_staleness, np.random.default_rng([seed, n]), rounds, replicates
    )
    return float(state.round_time), float(state.error.round_time)


def draw(table: pd.DataFrame) -> Figure:
    fig = Figure(figsize=(style.PAGE, 4.4), layout="constrained")
    axes = fig.subplots(2, len(SHOWN), sharey="row")
    errors, times = table[table["what"] == "error"], table[table["what"] == "time"]
    for (top, bottom), law in zip(axes.T, SHOWN, strict=True):
        for name, look in APPROXIMATIONS.items():
            rows = errors[(errors["law"] == law) & (errors["name"] == name)]
            percent = 100 * rows[["value", "half_width", "stated"]].abs()
            shift = {"limit": 0.96, "corrected": 1.04}[name]  # so that intervals do not hide each other
            style.points(
                top, shift * rows["n"], percent["value"], percent["half_width"], **look | {"linestyle": "none"}
            )
            if name == "limit":
                guide = percent["value"].iloc[0] * rows["n"].iloc[0] / rows["n"]
                top.plot(rows["n"], guide, color="0.5", linestyle=":", linewidth=0.8, zorder=1)
            else:
                top.fill_between(
                    rows["n"], MIN_PERCENT, percent["stated"], color=look["color"], alpha=0.15, linewidth=0
                )
        top.set(title=laws.title(law, "\n"), xscale="log", xlabel="workers $n$")
        top.set(yscale="log", ylim=(MIN_PERCENT, 40))
        for name, dashes in SERVERS.items():
            rows = times[(times["law"] == law) & (times["name"] == name)]
            bottom.plot(rows["n"], rows["value"], **style.look(name) | {"linestyle": dashes, "marker": "none"})
        bottom.set(xscale="log", yscale="log", xlabel="workers $n$")
        bottom.yaxis.set_major_formatter("{x:g}")
        top.yaxis.set_major_formatter("{x:g}")
    axes[0, 0].set(ylabel="size of the error (%)")
    axes[1, 0].set(ylabel="round time (s), theory")
    approximations = [style.key(LABELS[name], **look) for name, look in APPROXIMATIONS.items()]
    approximations.append(style.key("proportional to 1/n", color="0.5", linestyle=":"))
    servers = [
        style.key(name, **style.look(name) | {"linestyle": dashes, "marker": "none"})
        for name, dashes in SERVERS.items()
    ]
    share, bound = table.loc[0, ["share", "max_staleness"]]
    fig.legend(
        handles=approximations, loc="outside upper center", ncols=3,
        title=f"$k = {share:g}\\,n$, ABS with max_staleness {bound:g}; errors of its round time, 95 % intervals",
    )  # fmt: skip
    fig.legend(handles=servers, loc="outside lower center", ncols=4)
    return fig
