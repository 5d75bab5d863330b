"""The page of a live run: predicted, simulated and measured side by side, in numbers and in pictures."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from abs_theory.pages import inline_svg, render
from abs_theory.steady_state import SteadyState
from simulations import plot
from simulations.live.report import ERROR, ROUND_TIME, TOO_FEW, estimates, round_times
from simulations.plot import Look, Runs
from simulations.problems import Problem
from simulations.sweeps import versions

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes

LOOKS: dict[str, Look] = {  # those that ``plot`` gives to three results in this order
    "simulated": {"color": "#D55E00", "marker": "o"},
    "live": {"color": "#0072B2", "marker": "s"},
    "theory": {"color": "#009E73", "marker": "v"},
}


def page(  # noqa: PLR0913
    title: str, how: str, runs: dict[str, Runs], theory: SteadyState | None, n: int, comparison: pd.DataFrame,
    overheads: pd.DataFrame, events: list[str], command: str, configuration: str, problem: Problem | None = None,
) -> str:  # fmt: skip
    """The page as HTML that needs nothing beside itself; ``runs`` are those that are "simulated", and "live".

    ``how`` says how it was run; tables and ``events`` are those of the report; ``command`` runs it again.
    Curves begin with the first model of ``problem``.
    """
    return render(
        Path(__file__).with_name("page.html"), title=title, how=how, comparison=_rows(comparison),
        overheads=_rows(overheads), events=events, pictures=pictures(runs, theory, n, problem), command=command,
        configuration=configuration, versions=versions(), theory=theory is not None,
        too_few=TOO_FEW,
        error=ERROR,
    )  # fmt: skip


@plot.in_small_print
def pictures(runs: dict[str, Runs], theory: SteadyState | None, n: int, problem: Problem | None = None) -> "Markup":
    """Mean round times, round times, staleness and, if the loss was evaluated twice, learning curves, as SVG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 5.4), layout="constrained")
    (means, rounds), (staleness, losses) = figure.subplots(2, 2)
    _mean_round_times(means, runs, theory, n)
    _round_times(rounds, runs, n)
    plot.staleness({**runs, **({} if theory is None else {"theory": theory})}, staleness)
    evaluations = [own.rounds["loss"].notna().groupby(own.rounds["replicate"]).sum().max() for own in runs.values()]
    if min(evaluations) > 1:
        plot.compare(runs, "loss", "time", problem=problem, axes=[losses])
        for legend in figure.legends:  # for the whole picture; its panels have their own
            legend.remove()
    else:
        losses.set_axis_off()
    return inline_svg(figure)


def _mean_round_times(ax: "Axes", runs: dict[str, Runs], theory: SteadyState | None, n: int) -> None:
    """A row each for theory, simulation and workers, with 95 % intervals, or the stated error of theory."""
    rows: dict[str, tuple[float, float]] = {}
    if theory is not None:
        error = 0.0 if theory.error is None else float(theory.error.round_time)
        rows["theory"] = float(theory.round_time), error
    for name, own in runs.items():
        estimate = estimates(own.rounds, n).get(ROUND_TIME)
        if estimate is not None:
            rows[name] = estimate.mean, estimate.half_width()
    for place, (name, (mean, error)) in enumerate(rows.items()):
        plot.interval(ax, place, (mean, mean - error, mean + error), np.inf, LOOKS[name])
    ends = [end for mean, error in rows.values() for end in (mean - error, mean + error)]
    if ends:
        margin = max(0.1 * (max(ends) - min(ends)), 0.02 * max(ends))
        ax.set(xlim=(min(ends) - margin, max(ends) + margin))
    ax.set(yticks=range(len(rows)), yticklabels=list(rows), ylim=(2.5, -0.5), xlabel="mean round time (s)")
    ax.grid(axis="y", color="0.92", linewidth=0.6)


def _round_times(ax: "Axes", runs: dict[str, Runs], n: int) -> None:
    """The share of rounds that were over by a time."""
    for name, own in runs.items():
        seconds = np.concatenate([round_times(rows) for _, rows in own.rounds.groupby("replicate")])
        ax.ecdf(seconds, label=name, color=LOOKS[name].get("color"), linestyle="--" if name == "live" else "-")
    ax.set(xlabel="time of a round (s)", ylabel="share of the rounds", xlim=(0, None))
    ax.legend(loc="lower right")


def _rows(table: pd.DataFrame) -> list[dict[str, str]]:
    """The rows of a table as texts."""
    return [{str(key): _text(value) for key, value in row.items()} for row in table.to_dict("records")]


def _text(value: object) -> str:
    if isinstance(value, float):
        return "" if np.isnan(value) else f"{value:.4g}"
    return str(value)
