"""Run a sweep: replicates in any order on many processes, each kept once it is finished, tables in a fixed order."""

import hashlib
import itertools
import os
from collections.abc import Generator, Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import NamedTuple, cast
from warnings import catch_warnings, filterwarnings

import joblib
import numpy as np
import pandas as pd
from tqdm import tqdm

from abs_theory.checks import check_n_jobs, explains_types, instead
from simulations.experiment import Experiment, to_toml
from simulations.processes import imported_ray, parallel
from simulations.record import diverged
from simulations.sweeps import ray_cluster
from simulations.sweeps.choices import BACKENDS
from simulations.sweeps.provenance import content_hash, versions
from simulations.sweeps.storage import Store, Tables
from simulations.sweeps.sweep import Sweep, error_line, label

__all__ = ["Outcome", "Unit", "run_sweep", "units"]

MOST_TOGETHER = 10  # replicates that are kept at the same time; more are hardly faster in step
KEY_LETTERS = 32  # hexadecimal digits of a key: 128 bits, so that two different runs never share one


class Unit(NamedTuple):
    """One replicate of one cell: computed, kept and resumed as a whole."""

    cell: int  #: its number in the sweep
    experiment: Experiment  #: of this cell
    replicate: int  #: its number
    key: str  #: hash of everything that the result depends on


class Outcome(NamedTuple):
    """The tables of a sweep."""

    table: pd.DataFrame  #: that of ``simulate``; in a sweep, with ``cell`` and the values of its cell as first columns
    tasks: pd.DataFrame | None  #: the same for the table of tasks, where an experiment has jobs = true
    cells: pd.DataFrame  #: one row per cell: its values, its numbers of replicates (wanted, finished ...), its error
    damaged: tuple[Path, ...]  #: files of results that had changed since they were written; computed again


def units(sweep: Sweep) -> list[Unit]:
    """All replicates of all cells, in the order of the tables."""
    made_by, contents = repr(versions()), {}
    replicates = []
    for number, (_, experiment) in enumerate(sweep.experiments):
        files = experiment.files
        if files not in contents:
            contents[files] = content_hash(files)
        cell = to_toml({**experiment.as_table(), "replicates": None}) + contents[files] + made_by
        for replicate in experiment.which:
            key = hashlib.sha256(f"{cell} replicate {replicate}".encode()).hexdigest()[:KEY_LETTERS]
            replicates.append(Unit(number, experiment, replicate, key))
    return replicates


@explains_types
def run_sweep(
    sweep: Sweep,
    out: str | os.PathLike | Store | None = None,
    *,
    backend: str = "joblib",
    address: str | None = None,
    n_jobs: int = -1,
) -> Outcome:
    """Run all replicates of ``sweep`` that the folder ``out`` does not hold yet, and return the tables of all.

    Replicates run on ``n_jobs`` processes (-1: all cores), or with ``backend="ray"`` on the Ray cluster at ``address``
    (None: the one of this process, or a new one on this computer).  The numbers are the same everywhere.  Each
    replicate is written to ``out`` when it is finished (None: keep nothing), so that after any interruption the same
    call continues; up to ten of one cell advance in step and finish together.  A replicate that fails is reported in
    ``cells``; the others run.  Nobody else can write to ``out`` meanwhile; a Store that is open keeps its lock.

    Raises ValueError for a backend that is unknown or not installed and, before anything runs, if no cell could begin
    (``Sweep.check``); OSError if a result cannot be written, or another run is writing to ``out``.

    >>> base = {"n": 2, "delay": "exponential:mean=1", "problem": "TimingOnly", "protocol": {"name": "k_sync", "k": 1},
    ...         "step_size": 1.0, "num_updates": 3, "seed": 0}
    >>> outcome = run_sweep(Sweep(base, {"protocol.k": [1, 2]}), n_jobs=1)
    >>> outcome.table[["cell", "protocol.k", "update", "time"]].round(3).tail(3)
       cell  protocol.k  update   time
    3     1           2       1  0.561
    4     1           2       2  1.169
    5     1           2       3  2.342
    """
    check_backend(backend)
    check_n_jobs(n_jobs)
    sweep.check()
    wanted = units(sweep)
    with nullcontext(_Memory()) if out is None else Store.of(out) as store:
        kept = {unit.key: tables for unit in wanted if (tables := store.load(unit.key)) is not None}
        missing = list({unit.key: unit for unit in wanted if unit.key not in kept}.values())
        errors: dict[str, str] = {}
        progress = tqdm(total=len(missing) + len(kept), initial=len(kept), unit="run", disable=None, leave=False)
        with catch_warnings(), progress, closing(_results(missing, backend, address, n_jobs)) as results:
            filterwarnings("ignore", message=".* tasks which were still being processed")  # an interruption is meant to
            for group in results:
                for key, tables, error in group:
                    if tables is None:
                        errors[key] = error
                    else:
                        kept[key] = store.save(key, tables)
                    progress.update()
    return _outcome(sweep, wanted, kept, errors)._replace(damaged=tuple(store.damaged))


Attempt = tuple[str, Tables | None, str]


def attempt(group: Sequence[Unit]) -> list[Attempt]:
    """The keys of some units of one cell with their tables, or with what went wrong.

    A failure must not stop the other units.
    """
    try:
        result = group[0].experiment.run(n_jobs=1, replicates=[unit.replicate for unit in group])
    except (Exception, SystemExit) as problem:  # the user's code may do either
        if len(group) > 1:
            return [attempted for unit in group for attempted in attempt([unit])]
        return [(group[0].key, None, error_line(problem))]
    tables = result if isinstance(result, tuple) else (result,)
    if len(group) == 1:
        return [(group[0].key, tables, "")]
    parts = [[table[table["replicate"] == unit.replicate] for table in tables] for unit in group]
    return [
        (unit.key, tuple(part.reset_index(drop=True) for part in of_unit), "")
        for unit, of_unit in zip(group, parts, strict=True)
    ]


def groups(missing: Sequence[Unit], processes: int) -> list[list[Unit]]:
    """Replicates of the same cell that may advance in step, at most ``MOST_TOGETHER``; all other units alone.

    There is work for all ``processes``.
    """
    most = min(MOST_TOGETHER, -(-len(missing) // processes))
    result: list[list[Unit]] = []
    for _, of_cell in itertools.groupby(missing, lambda unit: unit.cell):
        replicates = list(of_cell)
        size = min(most, len(replicates))
        if size > 1:
            size = max(1, min(size, _most_in_step(replicates[0].experiment)))
        result += [replicates[begin : begin + size] for begin in range(0, len(replicates), size)]
    return result


def _most_in_step(experiment: Experiment) -> int:
    try:
        return experiment.most_in_step
    except Exception:  # it cannot begin, which ``attempt`` tells
        return 0


def check_backend(backend: str) -> None:
    """Raise ValueError unless there is a backend of this name, and it is installed."""
    if backend not in BACKENDS:
        raise ValueError(f"there is no backend {backend!r}{instead(backend, BACKENDS, 'there are joblib and ray')}")
    if backend == "ray":
        imported_ray()


class _Memory:
    """A store that keeps nothing."""

    damaged = ()

    def load(self, key: str) -> None:
        return None

    def save(self, key: str, tables: Tables) -> Tables:
        return tables


def _results(missing: Sequence[Unit], backend: str, address: str | None, n_jobs: int) -> Generator[list[Attempt]]:
    """What ``attempt`` returns for each group of units, in the order in which they finish."""
    if backend == "ray":
        return ray_cluster.results(attempt, [[unit] for unit in missing], address)
    processes = joblib.effective_n_jobs(n_jobs)
    chosen = groups(missing, processes)
    run = parallel(1 if len(chosen) <= 1 else n_jobs, "generator_unordered")
    return cast(Generator[list[Attempt]], run(joblib.delayed(attempt)(group) for group in chosen))


def _outcome(sweep: Sweep, wanted: Sequence[Unit], kept: dict[str, Tables], errors: dict[str, str]) -> Outcome:
    cells = sweep.experiments
    settings = pd.DataFrame([{key: label(value) for key, value in cell.changed.items()} for cell in cells])
    settings.insert(0, "cell", range(len(cells)))
    finished = [unit for unit in wanted if unit.key in kept]

    def joined(number: int) -> pd.DataFrame | None:
        """Table ``number`` (0: updates, 1: tasks) of all replicates."""
        parts = [(unit.cell, kept[unit.key][number]) for unit in finished if len(kept[unit.key]) > number]
        if not parts:
            return None
        table = pd.concat([part for _, part in parts], ignore_index=True)
        if len(settings.columns) == 1:  # a single experiment
            return table
        rows = settings.iloc[np.repeat([cell for cell, _ in parts], [len(part) for _, part in parts])]
        rows = rows.rename(columns={name: f"cell.{name}" for name in settings if name in table}).reset_index(drop=True)
        return pd.concat([rows, table], axis=1)

    errors_of: list[dict[str, None]] = [{} for _ in cells]
    for unit in wanted:
        if unit.key in errors:
            errors_of[unit.cell][errors[unit.key]] = None
    infinite = [unit for unit in finished if diverged(kept[unit.key][0]).any()]
    no_update = [unit for unit in finished if kept[unit.key][0].empty]

    def count(which: Sequence[Unit]) -> list[int]:
        return np.bincount([unit.cell for unit in which], minlength=len(cells)).tolist()

    summary = settings.assign(
        replicates=count(wanted), finished=count(finished), diverged=count(infinite), no_update=count(no_update),
        error=list(map("; ".join, errors_of)),
    )  # fmt: skip
    table = joined(0)
    return Outcome(pd.DataFrame() if table is None else table, joined(1), summary, ())
