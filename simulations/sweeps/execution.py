"""A sweep carried out: replicates in any order on many processes, each kept once finished, tables in order."""

import hashlib
import os
import signal
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import closing, nullcontext
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, cast
from warnings import catch_warnings, filterwarnings

import joblib
import numpy as np
import pandas as pd
from tqdm import tqdm

from abs_theory.checks import instead
from simulations.experiment import Experiment, to_toml
from simulations.record import diverged
from simulations.sweeps import ray_cluster
from simulations.sweeps.provenance import content_hash, versions
from simulations.sweeps.storage import Store, Tables
from simulations.sweeps.sweep import Sweep, label, told

__all__ = ["BACKENDS", "Outcome", "Unit", "run_sweep", "units"]

BACKENDS = ("joblib", "ray")


class Unit(NamedTuple):
    """One replicate of one cell: what is computed, kept and resumed as a whole."""

    cell: int  #: its number in the sweep
    experiment: Experiment  #: of this cell
    replicate: int  #: its number
    key: str  #: hash of all that the result depends on


class Outcome(NamedTuple):
    """What a sweep leaves."""

    table: pd.DataFrame  #: as of ``simulate``, after ``cell`` and the values that set its cell apart, if it is a sweep
    tasks: pd.DataFrame | None  #: the same for the table of tasks, where an experiment has jobs = true
    cells: pd.DataFrame  #: per cell what sets it apart, how many replicates are wanted, finished ..., and its error
    damaged: tuple[Path, ...]  #: files of results that were not what had been written, and have been computed anew


def units(sweep: Sweep) -> list[Unit]:
    """All replicates of all cells, in the order of the tables."""
    made_by, contents = repr(versions()), {}
    found = []
    for number, (_, experiment) in enumerate(sweep.experiments):
        files = experiment.files
        if files not in contents:
            contents[files] = content_hash(files)
        every = to_toml({**experiment.as_table(), "replicates": None}) + contents[files] + made_by
        for replicate in experiment.which:
            key = hashlib.sha256(f"{every} replicate {replicate}".encode()).hexdigest()[:32]
            found.append(Unit(number, experiment, replicate, key))
    return found


def run_sweep(
    sweep: Sweep,
    out: str | os.PathLike | None = None,
    *,
    backend: str = "joblib",
    address: str | None = None,
    n_jobs: int = -1,
) -> Outcome:
    """Run what is not yet finished in the folder ``out`` (None: keep nothing) and return the tables of all.

    Replicates run on ``n_jobs`` processes (-1: all cores), or with ``backend="ray"`` on the Ray cluster at ``address``
    (None: the one of this process, or a new one on this computer), with the same numbers everywhere.  Each is
    written to ``out`` when it is finished, so after any interruption the same call goes on where it was.  A replicate
    that fails is reported in ``cells`` and stops nobody else.  Raises OSError if a result cannot be written, and
    ValueError for an unknown backend, and before anything runs if no cell could begin (``Sweep.check``).
    """
    if backend not in BACKENDS:
        raise ValueError(f"there is no backend {backend!r}{instead(backend, BACKENDS, 'there are joblib and ray')}")
    sweep.check()
    wanted = units(sweep)
    with nullcontext(_Memory()) if out is None else Store(out) as store:
        kept = {unit.key: tables for unit in wanted if (tables := store.load(unit.key)) is not None}
        missing = list({unit.key: unit for unit in wanted if unit.key not in kept}.values())
        errors: dict[str, str] = {}
        progress = tqdm(total=len(missing) + len(kept), initial=len(kept), unit="run", disable=None, leave=False)
        with catch_warnings(), progress, closing(_results(missing, backend, address, n_jobs)) as results:
            filterwarnings("ignore", message=".* tasks which were still being processed")  # that is what is wanted
            for key, tables, error in results:
                if tables is None:
                    errors[key] = error
                else:
                    kept[key] = store.save(key, tables)
                progress.update()
    return _outcome(sweep, wanted, kept, errors)._replace(damaged=tuple(store.damaged))


def attempt(unit: Unit) -> tuple[str, Tables | None, str]:
    """The key of a unit, and its tables or what went wrong: one that fails must not stop the others."""
    try:
        result = unit.experiment.run(n_jobs=1, replicates=[unit.replicate])
    except Exception as problem:
        return unit.key, None, told(problem)
    return unit.key, result if isinstance(result, tuple) else (result,), ""


class _Memory:
    """A store that keeps nothing."""

    damaged = ()

    def load(self, key: str) -> None:
        return None

    def save(self, key: str, tables: Tables) -> Tables:
        return tables


def _results(missing: Sequence[Unit], backend: str, address: str | None, n_jobs: int) -> Generator[Any]:
    """What ``attempt`` gives for each unit, as it comes."""
    if backend == "ray":
        return ray_cluster.results(attempt, missing, address)
    parallel = joblib.Parallel(n_jobs=1 if len(missing) <= 1 else n_jobs, return_as="generator_unordered")
    return cast(Generator, parallel(joblib.delayed(_attempt_for)(os.getpid(), unit) for unit in missing))


def _attempt_for(employer: int, unit: Unit) -> tuple[str, Tables | None, str]:
    if os.getpid() != employer:
        _end_with(employer)
    return attempt(unit)


@cache
def _end_with(employer: int) -> None:
    """End this process soon after the process it works for, and leave Ctrl-C to that one, which knows what is kept."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == employer:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _outcome(sweep: Sweep, wanted: Sequence[Unit], kept: dict[str, Tables], errors: dict[str, str]) -> Outcome:
    cells = sweep.experiments
    apart = pd.DataFrame([{key: label(value) for key, value in cell.changed.items()} for cell in cells])
    apart.insert(0, "cell", range(len(cells)))
    done = [unit for unit in wanted if unit.key in kept]

    def together(number: int) -> pd.DataFrame | None:
        parts = [(unit.cell, kept[unit.key][number]) for unit in done if len(kept[unit.key]) > number]
        if not parts:
            return None
        table = pd.concat([part for _, part in parts], ignore_index=True)
        if len(apart.columns) == 1:  # a single experiment
            return table
        rows = apart.iloc[np.repeat([cell for cell, _ in parts], [len(part) for _, part in parts])]
        rows = rows.rename(columns={name: f"cell.{name}" for name in apart if name in table}).reset_index(drop=True)
        return pd.concat([rows, table], axis=1)

    errors_of: list[dict[str, None]] = [{} for _ in cells]
    for unit in wanted:
        if unit.key in errors:
            errors_of[unit.cell][errors[unit.key]] = None
    ended = [unit for unit in done if diverged(kept[unit.key][0]).any()]
    stood_still = [unit for unit in done if kept[unit.key][0].empty]

    def count(which: Sequence[Unit]) -> list[int]:
        return np.bincount([unit.cell for unit in which], minlength=len(cells)).tolist()

    about = apart.assign(
        replicates=count(wanted), finished=count(done), diverged=count(ended), no_update=count(stood_still),
        error=list(map("; ".join, errors_of)),
    )  # fmt: skip
    table = together(0)
    return Outcome(pd.DataFrame() if table is None else table, together(1), about, ())
