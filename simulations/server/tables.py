"""The tables of a run: one row per update, one row per task."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from simulations.server.job import Round
from simulations.server.server import Run

TASK_COLUMNS = ["worker", "start", "end", "read_version", "end_version", "applied_version", "outcome"]


def rounds_table(
    columns: Mapping[str, Sequence[float] | np.ndarray], evaluations: dict[int, dict[str, float]], run: Run
) -> pd.DataFrame:
    """One row per round from the fields of ``Round``, with the evaluation of the model that its update made, if any."""
    kinds = Round.__annotations__
    table = pd.DataFrame({name: np.array(columns.get(name, ()), kind) for name, kind in kinds.items()})
    evaluated = pd.DataFrame.from_dict(evaluations, orient="index", columns=run.evaluated, dtype=float)
    return table.join(evaluated, on="update")
