"""Results of slow computations on disk, each good for one configuration and for the definitions it was made by."""

import datetime
import os
import pickle
import subprocess
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

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
    return folder / f"{name}.pickle"


def state(folder: Path, name: str, config: Mapping[str, object], sources: Callable[[], Mapping[str, str]]) -> State:
    """Whether the result called ``name`` can be used, and if not, what has changed since it was computed.

    ``sources`` returns what the result depends on, besides ``config``: a digest of each thing, by its name.
    """
    path = entry(folder, name)
    if not path.exists():
        return State(False, "never computed", None)
    try:
        with path.open("rb") as file:
            stored = pickle.load(file)
        config_then, sources_then, seconds = stored["config"], stored["source"], stored["seconds"]
    except Exception:  # whatever a damaged file makes of unpickling
        return State(False, "the stored result cannot be read", None)
    if why := _difference("configuration", config_then, config) or _difference("source", sources_then, sources()):
        return State(False, why, seconds)
    return State(True, "", seconds)


def load_or_compute(
    folder: Path,
    name: str,
    config: Mapping[str, object],
    sources: Callable[[], Mapping[str, str]],
    compute: Callable[..., "pd.DataFrame"],
) -> Result:
    """The result of ``compute(**config)``, from the cache if it is valid; a new one replaces that of the same name."""
    path, stored = entry(folder, name), state(folder, name, config, sources)
    if stored.valid:
        try:
            with path.open("rb") as file:
                made = pickle.load(file).get("made", "")
                return Result(pickle.load(file), True, stored.seconds or 0.0, made)
        except Exception:  # a table cut off is computed again
            pass
    source, begin = dict(sources()), time.perf_counter()  # as it is before: an edit on the way is noticed
    table = compute(**config)
    seconds, made = time.perf_counter() - begin, origin()
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}")
    with unfinished.open("wb") as file:
        pickle.dump({"config": dict(config), "source": source, "seconds": seconds, "made": made}, file)
        pickle.dump(table, file)
    unfinished.replace(path)  # atomic: a half-written file is never mistaken for a result
    return Result(table, False, seconds, made)


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
