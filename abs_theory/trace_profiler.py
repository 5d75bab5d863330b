"""Timelines of profilers to rows."""

from pathlib import Path

import pandas as pd

__all__ = ["read_timeline"]


def read_timeline(path: Path, kind: str | None) -> tuple[pd.DataFrame, tuple[str, ...]]:
    raise ValueError(f"{path}: timelines are not read yet")
