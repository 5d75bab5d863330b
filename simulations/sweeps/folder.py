"""The folder of a sweep: which configuration it belongs to, and the tables at the end."""

import gzip
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

import pandas as pd

from abs_theory.files import replacing
from simulations.experiment import read_toml, to_toml
from simulations.sweeps.execution import Outcome, units
from simulations.sweeps.provenance import versions
from simulations.sweeps.storage import Store
from simulations.sweeps.sweep import Sweep

__all__ = ["CONFIGURATION", "REPORT", "claim", "outputs_in", "write_tables"]

COMPRESSED_FROM_ROWS = 200_000  # about 30 MB of CSV; smaller tables open in any program as they are
CONFIGURATION, REPORT = "config.toml", "report.html"
SUFFIXES = (".csv", ".csv.gz", ".parquet")  # of tables; a new one replaces those of an earlier run


def claim(out: str | os.PathLike | Store, sweep: Sweep) -> Path:
    """Write the configuration of ``sweep`` to the folder ``out`` and return the path of this file, which can be run.

    The sweep of a folder may only grow: to more replicates, or more cells.  Raises ValueError if the folder holds
    results that do not belong to this sweep, or were made by other versions; OSError if it cannot be written, or
    another run is writing to it.  To run the sweep under the same lock, open a ``Store`` of the folder and hand it to
    ``claim``, ``run_sweep`` and ``write_tables``; otherwise another run may claim the folder in between.
    """
    with Store.of(out) as store:
        folder = store.folder.parent
        note = folder / CONFIGURATION
        if note.exists() and any(folder.rglob("*.result")):
            _check_same(note, sweep)
        with replacing(note) as file:
            file.write(f"{sweep.to_toml()}\n{to_toml({'versions': versions()})}".encode())
    return note


def write_tables(out: str | os.PathLike | Store, outcome: Outcome, format: str = "csv") -> list[Path]:
    """Write the tables to the folder ``out`` and return their paths; the same bytes for the same tables.

    ``table`` and, if asked for, ``tasks``, as CSV, compressed if large, or parquet; ``cells.csv`` for a sweep.
    """
    with Store.of(out) as store:
        folder = store.folder.parent
        paths = [_write(folder, "table", outcome.table, format)]
        if outcome.tasks is not None:
            paths.append(_write(folder, "tasks", outcome.tasks, format))
        if len(outcome.cells) > 1 or outcome.cells["error"].any():
            paths.append(_write(folder, "cells", outcome.cells, "csv"))
    return paths


def outputs_in(folder: Path) -> list[Path]:
    """The files in the folder of a sweep that a run writes, or removes where it writes another format of tables."""
    tables = [folder / f"{name}{suffix}" for name in ("table", "tasks", "cells") for suffix in SUFFIXES]
    return [*tables, folder / REPORT, folder / CONFIGURATION]


def _check_same(note: Path, sweep: Sweep) -> None:
    mend = "; give another folder, or remove this one"
    try:
        before = read_toml(note)
        made_by, old = before.pop("versions", {}), Sweep.of(before, sweep.allow)
    except ValueError as problem:
        raise ValueError(
            f"{note.parent} holds results of a configuration that cannot be read any more: {problem}{mend}"
        ) from None
    if other := _differences(cast(Mapping[str, object], made_by), versions()):
        raise ValueError(f"{note.parent} holds results made with other versions: {other}{mend}")
    if not {unit.key for unit in units(old)} <= {unit.key for unit in units(sweep)}:
        other = _differences(before, tomllib.loads(sweep.to_toml()))
        raise ValueError(f"{note.parent} holds results of another configuration: {other or 'other files'}{mend}")


def _differences(before: Mapping[str, object], now: Mapping[str, object]) -> str:
    """The first few entries that differ, in words."""
    before, now = dict(_leaves(before)), dict(_leaves(now))
    different = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    words = [f"{key} = {before.get(key, 'not given')!r} there, {now.get(key, 'not given')!r} here" for key in different]
    return ", ".join(words[:3]) + (f" and {len(words) - 3} more" if len(words) > 3 else "")


def _leaves(table: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """The entries of nested tables, by dotted key."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _write(folder: Path, name: str, table: pd.DataFrame, format: str) -> Path:
    suffix = ".parquet" if format == "parquet" else ".csv.gz" if len(table) >= COMPRESSED_FROM_ROWS else ".csv"
    path = folder / f"{name}{suffix}"
    with replacing(path) as file:
        if suffix == ".parquet":
            table.to_parquet(file, index=False)
        elif suffix == ".csv":
            table.to_csv(file, index=False)
        else:  # without a name and a time inside, so that the bytes are always the same
            with gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
                table.to_csv(packed, index=False)  # pyright: ignore[reportArgumentType, reportCallIssue]
    for other in set(SUFFIXES) - {suffix}:  # of an earlier, smaller run
        (folder / f"{name}{other}").unlink(missing_ok=True)
    return path
