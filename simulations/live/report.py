"""What a live run shows beside what was predicted: theory, simulation with the same seeds, and measurement."""

import math
from collections.abc import Callable, Sequence
from textwrap import fill
from typing import cast

import numpy as np
import pandas as pd

from abs_theory import steady_state
from abs_theory.delays import LocalSteps
from abs_theory.monte_carlo import Estimate
from abs_theory.steady_state import SteadyState
from simulations.fleets import Independent
from simulations.live.engine import Measured, Message
from simulations.server import Run

BATCHES = 10  # of successive rounds of a replicate, whose means are taken as independent
FEWEST_ROUNDS = 5  # of a batch
ROUND_TIME = "round time (s)"
PAGE = 80  # characters of a line of the text
TOO_FEW = "There are too few rounds for a comparison."
ERROR = (
    "The error is the 95 % half-width of the live mean, from the means of batches of rounds; the difference is live - "
    "simulated."
)


def round_times(rounds: pd.DataFrame) -> pd.Series:
    """Seconds of each round of a replicate."""
    return rounds["time"].diff().fillna(rounds["time"])


QUANTITIES: dict[str, Callable[[pd.DataFrame, int], pd.Series]] = {  # of each round, from the table of a replicate
    ROUND_TIME: lambda rounds, n: round_times(rounds),
    "mean staleness": lambda rounds, n: rounds["mean_staleness"],
    "restarts per round": lambda rounds, n: rounds["restarts"],
    "messages per round": lambda rounds, n: rounds["uplinks"] + rounds["downlinks"],
    "idle seconds per round": lambda rounds, n: rounds["idle_seconds"],
    "wasted seconds per round": lambda rounds, n: rounds["wasted_seconds"],
}


def predicted(run: Run, rounds: pd.DataFrame) -> SteadyState | None:
    """The steady state by theory; None if k or the threshold moved in these ``rounds``, or there is no formula.

    There is one for the ABS family, in which workers wait after a delivery, under independent delays.
    """
    family, fleet = run.protocol.family, run.fleet
    constant = rounds["k"].nunique() == rounds["max_staleness"].nunique() == 1
    if family is None or not constant or not isinstance(fleet, Independent) or run.update_law is not None:
        return None
    laws = fleet.laws if run.local_steps == 1 else [LocalSteps(law, run.local_steps) for law in fleet.laws]
    law = laws[0] if len(set(laws)) == 1 else list(laws)
    k, bound = int(rounds["k"].iloc[0]), float(rounds["max_staleness"].iloc[0])
    threshold = None if math.isinf(bound) else int(bound)
    if family.continues:
        return steady_state.abs_batch(law, k, fleet.n, threshold)
    return steady_state.abs_sgd(law, k, fleet.n, threshold)


def estimates(rounds: pd.DataFrame, n: int) -> dict[str, Estimate]:
    """Each of the QUANTITIES with its standard error, from the means of batches of rounds."""
    means: dict[str, list[float]] = {name: [] for name in QUANTITIES}
    for _, own in rounds.groupby("replicate"):
        count = max(min(BATCHES, len(own) // FEWEST_ROUNDS), 1)
        for name, of in QUANTITIES.items():
            means[name] += [float(part.mean()) for part in np.array_split(of(own, n).to_numpy(float), count)]
    return {name: Estimate.of(values) for name, values in means.items() if len(values) > 1}


def comparison(run: Run, live: pd.DataFrame, simulated: pd.DataFrame, theory: SteadyState | None) -> pd.DataFrame:
    """One row per quantity: by theory, simulated and live, the difference, and the 95 % half-width of live."""
    n = run.fleet.n
    by_simulation, by_workers = estimates(simulated, n), estimates(live, n)
    rows = []
    for name in (name for name in QUANTITIES if name in by_simulation and name in by_workers):
        measured, expected = by_workers[name], by_simulation[name]
        exact = math.nan if theory is None else _of_theory(theory, name, n)
        rows.append((name, exact, expected.mean, measured.mean, measured.mean - expected.mean, measured.half_width()))
    columns = ["quantity", "theory", "simulated", "live", "live - simulated", "error (95 %)"]
    return pd.DataFrame(rows, columns=columns)


def messages_table(replicates: Sequence[int], measured: Sequence[Measured]) -> pd.DataFrame:
    """One row per delivered task, with the number of its replicate in front."""
    rows = [(number, *message) for number, part in zip(replicates, measured, strict=True) for message in part.messages]
    return pd.DataFrame(rows, columns=["replicate", *Message._fields])


OVERHEADS = {
    "to_worker": "from the start of a task until its worker has the model",
    "computing": "the gradient",
    "late": "the end of a task after its planned end",
    "to_server": "from the end of a task until the server has the gradient",
}


def overheads(messages: pd.DataFrame) -> pd.DataFrame:
    """The measured time of tasks and messages, in milliseconds of the clock: one row for each of the OVERHEADS."""
    rows = []
    for column, words in OVERHEADS.items():
        values = 1e3 * messages[column].dropna().to_numpy()
        if len(values):
            rows.append((words, float(np.median(values)), float(np.quantile(values, 0.95))))
    return pd.DataFrame(rows, columns=["per task (ms)", "median", "95 % are below"])


def events(replicates: Sequence[int], measured: Sequence[Measured]) -> list[str]:
    """What happened to workers and to the run, and how long it took; one line each."""
    deaths, late = (sum(getattr(part, name) for part in measured) for name in ("deaths", "late_answers"))
    lines = [f"Workers replaced: {deaths}; answers to tasks that had been dropped, not used: {late}."]
    for number, part in zip(replicates, measured, strict=True):
        lines += [f"Replicate {number} was interrupted, and went on from a checkpoint at {at}." for at in part.resumed]
    seconds, planned = (sum(getattr(part, name) for part in measured) for name in ("clock_seconds", "planned_seconds"))
    return [*lines, f"By the clock of the machine the run took {seconds:.3f} s, by its tables {planned:.3f} s."]


def text(table: pd.DataFrame, costs: pd.DataFrame, lines: Sequence[str], runs: int) -> str:
    """The report in plain text: the comparison, the overheads, the events."""
    narrow = table.rename(columns={"live - simulated": "difference"})  # live - simulated, on 80 columns
    shown = narrow.to_string(index=False, na_rep="", float_format=lambda value: f"{value:.4g}")
    shown = TOO_FEW if table.empty else f"{shown}\n{fill(ERROR, PAGE)}"
    measured = [
        f"  {words:<56} {median:8.3f} {most:8.3f}" for words, median, most in costs.itertuples(index=False, name=None)
    ]
    return "\n".join([
        f"Predicted, simulated with the same seeds, and live: {runs} run{'s' * (runs > 1)}", shown, "",
        "Measured per task, in milliseconds of the clock: median, and 95 % are below", *measured, *lines,
    ])  # fmt: skip


def _of_theory(theory: SteadyState, quantity: str, n: int) -> float:
    worker_seconds = n * float(theory.round_time)
    values = {
        ROUND_TIME: theory.round_time,
        "mean staleness": theory.mean_staleness,
        "restarts per round": theory.restarts,
        "messages per round": cast(float, theory.uplinks) + cast(float, theory.downlinks),
        "idle seconds per round": cast(float, theory.idle_fraction) * worker_seconds,
        "wasted seconds per round": cast(float, theory.wasted_fraction) * worker_seconds,
    }
    return float(values[quantity])
