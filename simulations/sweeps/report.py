"""The lines that a sweep prints: what is finished, and what went wrong."""

import os
from collections.abc import Iterator, Mapping

from simulations.sweeps.execution import Outcome, units
from simulations.sweeps.storage import Store
from simulations.sweeps.sweep import Sweep, label

__all__ = ["finished_lines", "kept_line", "problem_lines"]


def finished_lines(sweep: Sweep, out: str | os.PathLike) -> Iterator[str]:
    """One line per cell: how many of its replicates are finished in the folder ``out``."""
    store, wanted = Store(out), units(sweep)
    for number, (changed, experiment) in enumerate(sweep.experiments):
        finished = sum(store.has(unit.key) for unit in wanted if unit.cell == number)
        yield f"{_cell(number, changed)}: {finished} of {len(experiment.which)} runs finished"


def problem_lines(sweep: Sweep, outcome: Outcome) -> Iterator[str]:
    """What did not go well: damaged files, diverged runs, runs without an update, failures."""
    for path in outcome.damaged:
        yield f"{path} was damaged; the run has been computed again"
    for number, row in enumerate(outcome.cells.to_dict("records")):
        cell = _cell(number, sweep.experiments[number].changed)
        if row["diverged"]:
            yield f"{cell}: {row['diverged']} of {row['finished']} runs diverged (loss = inf)"
        if row["no_update"]:
            yield (
                f"{cell}: {row['no_update']} of {row['finished']} runs ended without an update: "
                "give a longer time_budget, or check that the protocol calls server.update()"
            )
        if row["error"]:
            failed = row["replicates"] - row["finished"]
            yield f"{cell}: {failed} of {row['replicates']} runs failed: {row['error']}"


def kept_line(sweep: Sweep, out: str | os.PathLike) -> str:
    """How many runs are finished and kept in ``out`` after an interruption, and how to continue."""
    store, keys = Store(out), {unit.key for unit in units(sweep)}
    finished = sum(store.has(key) for key in keys)
    return f"{finished} of {len(keys)} runs are finished and kept in {out}; the same command continues with the others"


def _cell(number: int, changed: Mapping[str, object]) -> str:
    words = ", ".join(f"{key}={label(value)}" for key, value in changed.items() if value is not None)
    return f"cell {number} ({words})" if words else f"cell {number}"
