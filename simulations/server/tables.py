"""The tables of a run: one row per update, one row per task."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from simulations.server.server import Run
from simulations.server.tasks import Round

TASK_COLUMNS = ["worker", "start", "end", "read_version", "end_version", "applied_version", "outcome"]


def rounds_table(
    columns: Mapping[str, Sequence[float] | np.ndarray], evaluations: Mapping[int, Mapping[str, float]], run: Run
) -> pd.DataFrame:
    """One row per round from the fields of ``Round``, with the evaluation of the model that its update made, if any."""
    rows = len(columns.get("update", ()))
    table = {name: np.array(columns.get(name, ()), kind) for name, kind in Round.__annotations__.items()}
    versions = np.array([version for version in evaluations if version], int)  # 0 is the model of no update
    for name in run.evaluated:
        table[name] = np.full(rows, np.nan)
        table[name][versions - 1] = [evaluations[version].get(name, np.nan) for version in versions.tolist()]
    return pd.DataFrame(table)
