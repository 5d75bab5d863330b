"""Results of slow computations on disk, addressed by what they depend on: configuration and source code."""

import hashlib
import json
import os
import pickle
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

import abs_theory
import paper_figs
import simulations

_PACKAGES = (abs_theory, simulations, paper_figs)
_DRAWING_ONLY = {"style.py", "__main__.py"}


@cache
def source_hash() -> str:
    """Hash of all source that can change a result."""
    digest = hashlib.sha256()
    for package in _PACKAGES:
        root = Path(package.__path__[0])
        for path in sorted(root.rglob("*.py")):
            if path.name not in _DRAWING_ONLY:
                digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def entry(folder: Path, name: str, config: dict[str, Any]) -> Path:
    """Where the result of ``name`` under ``config`` and the present source is kept."""
    key = hashlib.sha256((json.dumps(config, sort_keys=True) + source_hash()).encode()).hexdigest()
    return folder / f"{name}-{key[:16]}.pickle"


def load_or_compute(
    folder: Path, name: str, config: dict[str, Any], compute: Callable[..., pd.DataFrame]
) -> tuple[pd.DataFrame, bool]:
    """Return (the table, whether it was cached); a new result replaces older ones of that name."""
    path = entry(folder, name, config)
    if path.exists():
        return pd.read_pickle(path), True
    table = compute(**config)
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}")
    unfinished.write_bytes(pickle.dumps(table))
    for old in folder.glob(f"{name}-{'?' * 16}.pickle"):
        old.unlink()
    unfinished.replace(path)  # atomic: a half-written file is never mistaken for a result
    return table, False
