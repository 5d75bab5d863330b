"""Results of slow computations on disk, each good for one configuration and for the definitions it was made by."""

import datetime
import json
import subprocess
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from abs_theory.files import DamagedFileError, read_sealed, write_sealed

if TYPE_CHECKING:  # loading pandas takes longer than a look at the cache should
    import pandas as pd

__all__ = ["Result", "State", "entry", "load_or_compute", "origin", "state"]

NAMED = 3  # changes that are told by name; of more, the number


class State(NamedTuple):
    """What the cache holds of a result."""

    valid: bool  #: whether the result can be used
    why: str  #: it has to be computed; empty if valid
    seconds: float | None  #: how long it took last time, if ever


class Result(NamedTuple):
    """A table, whether it came from the cache, how long it took to compute (s), and when."""

    table: "pd.DataFrame"  #: the result
    cached: bool  #: whether it came from the cache
    seconds: float  #: how long it took to compute
    made: str  #: when it was computed, and by which version


def entry(folder: Path, name: str) -> Path:
    """Where the result called ``name`` is kept: what it depends on, then the table."""
    return folder / f"{name}.result"


def state(folder: Path, name: str, config: Mapping[str, object], sources: Callable[[], Mapping[str, str]]) -> State:
    """Whether the result called ``name`` can be used, and if not, what has changed since it was computed.

    ``sources`` returns what the result depends on, besides ``config``: a digest of each thing, by its name.
    """
    return _read(folder, name, config, sources)[0]


def load_or_compute(
    folder: Path,
    name: str,
    config: Mapping[str, object],
    sources: Callable[[], Mapping[str, str]],
    compute: Callable[..., "pd.DataFrame"],
) -> Result:
    """The result of ``compute(**config)``, from the cache if it is valid; a new one replaces that of the same name."""
    from simulations.sweeps import pack, unpack

    stored, made, packed = _read(folder, name, config, sources)
    if stored.valid:
        return Result(unpack(packed)[0], True, stored.seconds or 0.0, made)
    source, begin = dict(sources()), time.perf_counter()  # as it is before: an edit on the way is noticed
    table = compute(**config)
    seconds, made = time.perf_counter() - begin, origin()
    packed = pack((table,))
    if not unpack(packed)[0].equals(table):
        raise TypeError(f"the table of {name} must have only columns of numbers and of texts, got {table.dtypes}")
    folder.mkdir(parents=True, exist_ok=True)
    header = json.dumps({"config": dict(config), "source": source, "seconds": seconds, "made": made})
    write_sealed(entry(folder, name), name, header.encode() + b"\n" + packed)
    return Result(table, False, seconds, made)


def _read(
    folder: Path, name: str, config: Mapping[str, object], sources: Callable[[], Mapping[str, str]]
) -> tuple[State, str, bytes]:
    """The state of a result, when it was computed, and its packed table."""
    try:
        header, _, packed = read_sealed(entry(folder, name), name).partition(b"\n")
    except FileNotFoundError:
        return State(False, "never computed", None), "", b""
    except DamagedFileError:
        return State(False, "the stored result was damaged", None), "", b""
    stored = json.loads(header)
    config_now = json.loads(json.dumps(dict(config)))  # as the file has it
    why = _difference("configuration", stored["config"], config_now)
    why = why or _difference("source", stored["source"], sources())
    return State(not why, why, stored["seconds"]), stored["made"], packed


def origin() -> str:
    """Today, the version of the toolkit, and the commit of its source where that is known."""
    try:
        version = f"version {metadata.version('abs-toolkit')}"
    except metadata.PackageNotFoundError:  # run from its folder without installation
        version = "an unknown version"
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        commit = subprocess.run(git, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):  # no git here, or not a repository
        commit = ""
    return f"{datetime.date.today().isoformat()} by {version}" + (f", commit {commit}" if commit else "")


def _difference(what: str, then: Mapping[str, object], now: Mapping[str, object]) -> str:
    """What of this kind has changed, in words; empty if nothing has."""
    changed = sorted(key for key in then.keys() | now.keys() if then.get(key) != now.get(key))
    more = f" and {len(changed) - NAMED} more" if len(changed) > NAMED else ""
    return f"{what} changed: {', '.join(changed[:NAMED])}{more}" if changed else ""
