"""Results of slow computations on disk, each good for one configuration and one state of the source behind it."""

import ast
import hashlib
import os
import pickle
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

import abs_theory
import paper_figs
import simulations
from simulations.sweeps import versions

_ROOTS = {package.__name__: Path(package.__path__[0]) for package in (abs_theory, simulations, paper_figs)}
_DRAWING_ONLY = {_ROOTS["paper_figs"] / "style.py"}


class State(NamedTuple):
    """What the cache holds of a result."""

    valid: bool  #: whether the result can be used
    why: str  #: it has to be computed; empty if valid
    seconds: float | None  #: how long it took last time, if ever


class Result(NamedTuple):
    """A table, whether it came from the cache, and how long it took to compute (s)."""

    table: pd.DataFrame  #: the result
    cached: bool  #: whether it came from the cache
    seconds: float  #: how long it took to compute


def entry(folder: Path, name: str) -> Path:
    """Where the result called ``name`` is kept: what it depends on, then the table."""
    return folder / f"{name}.pickle"


def state(folder: Path, name: str, config: dict[str, Any], compute: Callable[..., pd.DataFrame]) -> State:
    """Whether the result of ``compute(**config)`` is in the cache, and if not, what has changed since it was."""
    path = entry(folder, name)
    if not path.exists():
        return State(False, "never computed", None)
    try:
        with path.open("rb") as file:
            kept = pickle.load(file)
        before, source, seconds = kept["config"], kept["source"], kept["seconds"]
    except Exception:  # whatever a damaged file makes of unpickling
        return State(False, "the stored result cannot be read", None)
    for what, old, new in (("configuration", before, config), ("source", source, sources(compute))):
        if changed := sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key)):
            more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
            return State(False, f"{what} changed: {', '.join(changed[:3])}{more}", seconds)
    return State(True, "", seconds)


def load_or_compute(folder: Path, name: str, config: dict[str, Any], compute: Callable[..., pd.DataFrame]) -> Result:
    """The result of ``compute(**config)``, from the cache if it is valid; a new one replaces that of the same name."""
    path, found = entry(folder, name), state(folder, name, config, compute)
    if found.valid:
        try:
            with path.open("rb") as file:
                pickle.load(file)
                return Result(pickle.load(file), True, found.seconds or 0.0)
        except Exception:  # a table cut off is computed again
            pass
    source, begin = sources(compute), time.perf_counter()  # as it is before: an edit on the way is noticed
    table = compute(**config)
    seconds = time.perf_counter() - begin
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}")
    with unfinished.open("wb") as file:
        pickle.dump({"config": config, "source": source, "seconds": seconds}, file)
        pickle.dump(table, file)
    unfinished.replace(path)  # atomic: a half-written file is never mistaken for a result
    return Result(table, False, seconds)


# ---------------------------------------------------------------------- what a result depends on
def sources(compute: Callable) -> dict[str, str]:
    """Hashes of all files of this toolkit that the module of ``compute`` imports, directly or not, and versions.

    So that a change of one figure does not ask for all others to be computed again.
    """
    first = Path(str(sys.modules[compute.__module__].__file__))
    found, left = {first}, [first]
    while left:
        new = set(_imports(left.pop())) - found - _DRAWING_ONLY
        found |= new
        left += new
    beneath = {name: version for name, version in versions().items() if name != "toolkit"}
    return {_short(path): _hash(path) for path in sorted(found)} | beneath


def _short(path: Path) -> str:
    """A file named from its package on."""
    inside = [root for root in _ROOTS.values() if root in path.parents]
    return path.relative_to(inside[0].parent).as_posix() if inside else path.name


@cache
def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


@cache
def _imports(path: Path) -> tuple[Path, ...]:
    """The files of this toolkit that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return tuple(file for name in names for file in _files(name))


def _files(name: str) -> Iterator[Path]:
    """The file of a module, where it is one of ours."""
    package, *rest = name.split(".")
    if package in _ROOTS:
        base = _ROOTS[package].joinpath(*rest)
        yield from (path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file())
