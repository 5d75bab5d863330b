"""Who computes, waits, restarts or is away, second by second: a bar for each task, a line for each update."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from abs_theory.checks import check_count, check_positive, explains_types
from abs_theory.typing import Laws
from simulations import protocols
from simulations.experiment import simulate
from simulations.fleets import Fleet
from simulations.plot.looks import in_small_print, new_axes
from simulations.plot.runs import Results, named_runs
from simulations.problems import Problem, TimingOnly
from simulations.server import Protocol

if TYPE_CHECKING:  # matplotlib is loaded when something is drawn
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["OUTCOMES", "Bar", "bars", "outcome_legend", "spans", "timeline", "timeline_tables"]

Shown = Protocol | Results
TASKS_SHOWN = 5  # per worker on average, where nobody waits, unless the caller says how many seconds
LONGER = 4  # times the seconds shown are simulated, so that what a task led to is known where it is shown
PANEL_INCHES = (7.16, 0.6, 0.21, 4.0)  # width of the figure; height of a panel: fixed, per worker, at most
MOST_LABELS = 12  # workers that are all labelled; of more, some are
NARROWEST_LABEL = 0.028  # share of the width that a bar must have to carry its staleness


class Bar(NamedTuple):
    """How the tasks of one outcome are drawn, and what the legend says of them."""

    label: str
    color: str
    opacity: float = 1.0
    hatch: str = ""


BLUE, ORANGE, PURPLE, GREEN, BLACK = "#0173B2", "#DE8F05", "#CC78BC", "#029E73", "#000000"
OUTCOMES: Mapping[str, Bar] = {
    "applied": Bar("computes", BLUE),
    "unfinished": Bar("computes", BLUE),
    "restarted": Bar("computes, then told to restart", ORANGE, 0.35, "////"),
    "discarded": Bar("computes, gradient discarded", PURPLE, 0.45, "xxxx"),
    "cut off": Bar("computes, cut off", GREEN, 0.35, "\\\\\\\\"),
    "lost": Bar("computes, lost: it leaves", BLACK, 0.45, "...."),
    "idle": Bar("has delivered, waits", "#E0E0E0"),
    "away": Bar("is away", "#FFFFFF", 1.0, "...."),
}
IN_PROGRESS = {"unfinished"}  # drawn like applied ones


@explains_types
@in_small_print
def timeline(  # noqa: PLR0913
    shown: Shown | Mapping[str, Shown],
    delay: Laws | Fleet | None = None,
    n: int | None = None,
    *,
    seconds: float | None = None,
    problem: Problem | None = None,
    step_size: float = 1.0,
    seed: int = 0,
    replicate: int = 0,
    axes: "list[Axes] | None" = None,
) -> "list[Axes]":
    """Draw the first ``seconds`` of protocols or of recorded tasks, a panel for each, and return the panels.

    ``shown`` is a protocol, or what ``simulate(..., jobs=True)`` returns, or its table of tasks, or a mapping of names
    to these.  Protocols are run here: on ``n`` workers with the law or the fleet ``delay``, with the same task times
    for all, and without training unless there is a ``problem``, with this ``step_size``.  Without ``seconds`` the
    picture shows about five tasks per worker.  ``replicate`` is the one that is drawn.  ``axes`` are panels to draw in.

    A bar is a task; its number is the staleness of its gradient, in updates.  The other bars say that its work was not
    used, and why: the worker restarts, the gradient is discarded, the task is cut off, or the worker leaves.
    Raises ValueError if there are no tasks to draw, or protocols without ``delay`` and ``n``.

    >>> from abs_theory.delays import Exponential
    >>> from simulations.protocols import abs_sgd, synchronous
    >>> axes = timeline({"synchronous": synchronous(), "ABS": abs_sgd(2, 1)}, Exponential(1.0), 4, seconds=5.0)
    >>> [ax.get_title() for ax in axes], axes[-1].get_xlabel()
    (['synchronous', 'ABS'], 'time (s)')
    """
    panels = shown if isinstance(shown, Mapping) else {"": shown}
    if not panels:
        raise ValueError("give at least one protocol or table of tasks")
    if wrong := [thing for thing in panels.values() if isinstance(thing, list) or callable(thing)]:
        raise ValueError(
            "shown must be a protocol, several as {'ABS': protocols.abs_sgd(3, 0)}, or what simulate(..., jobs=True) "
            f"returns, got a {type(wrong[0]).__name__}"
        )
    if seconds is not None:
        check_positive("seconds", seconds)
    if any(isinstance(thing, Protocol) for thing in panels.values()):
        if delay is None or n is None:
            raise ValueError("a protocol is run to be drawn: give delay, the law of a task, and n, the workers")
        check_count("n", n)
        seconds = seconds or _seconds_shown(delay, n, seed, replicate)
    tables = {}
    for name, thing in panels.items():
        if isinstance(thing, Protocol):
            assert delay is not None
            assert n is not None
            assert seconds is not None
            tables[str(name)] = simulate(
                thing, problem or TimingOnly(), delay, n, step_size=step_size, time_budget=LONGER * seconds, seed=seed,
                replicates=[replicate], jobs=True, n_jobs=1,
            )  # fmt: skip
        else:
            tables |= timeline_tables(str(name), thing, replicate)
    if seconds is None:
        seconds = min(_seconds_of(tasks) for _, tasks in tables.values())
    if axes is None:
        workers = 1 + max(int(tasks["worker"].max()) for _, tasks in tables.values())
        width, fixed, each_worker, most = PANEL_INCHES
        height = min(fixed + each_worker * workers, most)
        axes = new_axes(len(tables), 1, (width, 0.5 + len(tables) * height), share_x=True)
    seen: dict[str, None] = {}
    numbered = False
    for ax, (name, (rounds, tasks)) in zip(axes, tables.items(), strict=True):
        updates = rounds["time"] if rounds is not None and len(rounds) else _update_times(tasks)
        drawn = spans(tasks)
        drawn = drawn[drawn["start"] < seconds]
        numbered |= bool((drawn["staleness"] >= 0).any())
        bars(ax, drawn, updates[updates <= seconds], seconds)
        ax.set(title=name)
        seen |= dict.fromkeys(drawn["outcome"])
    axes[-1].set(xlabel="time (s)")
    figure = axes[0].get_figure(root=True)
    assert figure is not None
    outcome_legend(figure, list(seen), numbered)
    return axes


def timeline_tables(name: str, result: Results, replicate: int) -> dict[str, tuple[pd.DataFrame | None, pd.DataFrame]]:
    """Updates, where they are known, and tasks of one replicate, by name: several of a sweep."""
    if isinstance(result, pd.DataFrame) and {"worker", "start", "end", "outcome"} <= set(result.columns):
        pairs = {name: (None, result)}
    else:
        pairs = {label: (runs.rounds, runs.tasks) for label, runs in named_runs({name: result}).items()}
    tables = {}
    for label, (rounds, tasks) in pairs.items():
        if tasks is None or tasks.empty:
            raise ValueError(f"a timeline needs the table of tasks: simulate with jobs=True{_of(label)}")
        if "replicate" in tasks:
            if replicate not in set(tasks["replicate"]):
                raise ValueError(f"there is no replicate {replicate}{_of(label)}: give one of those that were run")
            tasks = tasks[tasks["replicate"] == replicate]
            rounds = None if rounds is None else rounds[rounds["replicate"] == replicate]
        tables[label] = rounds, tasks
    return tables


@explains_types
def spans(tasks: pd.DataFrame) -> pd.DataFrame:
    """The tasks, and what workers do between them: "idle", or "away" after a task that was lost.

    Has the columns worker, start, end, outcome, and staleness: that of an applied gradient in updates, -1 elsewhere.

    >>> tasks = pd.DataFrame({"worker": [0, 0, 1], "start": [0, 2, 0], "end": [1, 3, 3], "outcome": "applied"})
    >>> spans(tasks)[["worker", "start", "end", "outcome"]].to_numpy().tolist()[-1]
    [0, 1, 2.0, 'idle']
    """
    tasks = tasks.sort_values(["worker", "start"], kind="stable")
    stale = np.full(len(tasks), -1)
    if {"read_version", "applied_version"} <= set(tasks.columns):
        is_applied = (tasks["outcome"] == "applied").to_numpy()
        stale[is_applied] = (tasks["applied_version"] - 1 - tasks["read_version"]).to_numpy()[is_applied]
    tasks = tasks.assign(staleness=stale)
    next_start = tasks.groupby("worker")["start"].shift(-1).fillna(tasks["end"].max())
    after = np.where(tasks["outcome"] == "lost", "away", "idle")
    gaps = tasks.assign(start=tasks["end"], end=next_start, outcome=after, staleness=-1)
    gaps = gaps[gaps["end"] > gaps["start"]]
    return pd.concat([tasks, gaps], ignore_index=True)[["worker", "start", "end", "outcome", "staleness"]]


@explains_types
def bars(ax: "Axes", spans: pd.DataFrame, updates: pd.Series, seconds: float) -> None:
    """Draw a bar for each span (columns worker, start, end, outcome) and a line at each of the times ``updates``.

    Where there is a column staleness, wide bars carry it; -1 is no staleness.

    >>> from matplotlib.figure import Figure
    >>> ax = Figure().subplots()
    >>> spans = pd.DataFrame({"worker": [0, 1], "start": 0.0, "end": [1.0, 2.0], "outcome": ["applied", "restarted"]})
    >>> bars(ax, spans, pd.Series([1.0]), seconds=3.0)
    >>> len(ax.patches), len(ax.lines), ax.get_ylabel()
    (2, 1, 'worker')
    """
    from matplotlib.patheffects import withStroke
    from matplotlib.ticker import FixedLocator, MaxNLocator

    for outcome in OUTCOMES:
        rows = spans[spans["outcome"] == outcome]
        ax.barh(rows["worker"], rows["end"] - rows["start"], left=rows["start"], height=0.8, **_bar(outcome))
    for time in updates:
        ax.axvline(time, color="black", linewidth=0.7)
    workers = int(spans["worker"].max()) + 1
    ax.set(ylabel="worker", ylim=(workers - 0.4, -0.6), xlim=(0, seconds))
    few = workers <= MOST_LABELS
    ax.yaxis.set_major_locator(
        FixedLocator(range(workers)) if few else MaxNLocator(MOST_LABELS, integer=True, steps=[1, 2, 5, 10])
    )
    if "staleness" in spans and workers <= 25:
        end = spans["end"].clip(upper=seconds)
        halo = [withStroke(linewidth=2, foreground=BLUE)]  # hides the line of an update behind the number
        wide = spans[(spans["staleness"] >= 0) & (end - spans["start"] > NARROWEST_LABEL * seconds)]
        for worker, begin, finish, stale in wide[["worker", "start", "end", "staleness"]].itertuples(index=False):
            ax.text(
                (begin + min(finish, seconds)) / 2, worker, f"{stale}", color="white", ha="center", va="center",
                fontsize=6, clip_on=True, path_effects=halo,
            )  # fmt: skip


@explains_types
def outcome_legend(figure: "Figure", outcomes: "list[str]", numbered: bool = False) -> None:
    """Put a legend of these outcomes, and of the line of an update, above the panels.

    ``numbered`` says whether bars carry the staleness of their gradients.

    >>> from matplotlib.figure import Figure
    >>> figure = Figure(layout="constrained")
    >>> outcome_legend(figure, ["applied", "idle"])
    >>> [text.get_text() for text in figure.legends[0].get_texts()]
    ['computes', 'has delivered, waits', 'update']
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    shown = [outcome for outcome in OUTCOMES if outcome in outcomes]
    if "applied" in shown and "unfinished" in shown:  # which look the same
        shown.remove("unfinished")
    handles: list[Patch | Line2D] = [Patch(**_bar(outcome), label=OUTCOMES[outcome].label) for outcome in shown]
    handles.append(Line2D([], [], color="black", linewidth=0.7, label="update"))
    if numbered:
        stale = "number: staleness of its gradient (updates)"
        handles.append(Line2D([], [], color=BLUE, marker="$0$", linestyle="none", label=stale))
    figure.legend(handles=handles, loc="outside upper center", ncols=4 if len(handles) in (1, 2, 3, 4, 7, 8) else 3)


def _bar(outcome: str) -> dict:
    """The properties of a bar, as matplotlib names them."""
    bar = OUTCOMES[outcome]
    look = {"facecolor": (bar.color, bar.opacity), "edgecolor": "white"}
    if outcome == "away":
        look["edgecolor"] = "0.6"
    return look | ({"hatch": bar.hatch} if bar.hatch else {})


def _of(name: str) -> str:
    return f" (for {name})" if name else ""


def _seconds_shown(delay: Laws | Fleet, n: int, seed: int, replicate: int) -> float:
    """The time by which workers that never wait have finished a few tasks each."""
    rounds = simulate(
        protocols.asynchronous(), TimingOnly(), delay, n, step_size=1.0, num_updates=TASKS_SHOWN * n, seed=seed,
        replicates=[replicate], n_jobs=1,
    )  # fmt: skip
    return _round_up(float(rounds["time"].iloc[-1]))


def _seconds_of(tasks: pd.DataFrame) -> float:
    """The time by which the recorded workers have finished a few tasks each, or the end of the record."""
    ends = np.sort(tasks["end"].to_numpy())
    wanted = TASKS_SHOWN * (int(tasks["worker"].max()) + 1)
    return _round_up(float(ends[min(wanted, len(ends)) - 1]))


def _round_up(seconds: float) -> float:
    """A little more, with two digits."""
    if not seconds > 0:
        return 1.0
    unit = 10.0 ** (math.floor(math.log10(seconds)) - 1)
    return math.ceil(seconds / unit) * unit


def _update_times(tasks: pd.DataFrame) -> pd.Series:
    """When updates were made, as far as tasks tell: when the last of its gradients came."""
    if "applied_version" not in tasks:
        return pd.Series([], dtype=float)
    applied = tasks[tasks["applied_version"] >= 0]
    return applied.groupby("applied_version")["end"].max()
