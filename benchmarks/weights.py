"""Find the best numbers to weigh the fast route by, in the mean field and in the search, beside those in use.

    python -m benchmarks.weights [--cells N] [--seed S]

The mean field has two estimates of a round time and a limit.  ``TRUST_IN_WORK`` is the part of the conservation of work
that it takes where much is thrown away, by the ageing of the law.  From ``LOGS_APART`` on the limit begins to replace
estimates that are so far apart.  For N random cells the logarithm of the round time is compared with that of
``steady_state.abs_sgd`` by "auto"; the best value has the least mean distance.

The search for a choice computes a candidate accurately if its objective could be the least, were it off by its stated
error, but at least by ``LEAST_ERROR`` and at most by ``MOST_ERROR``.  The program shows how often the fast objective of
random laws is too large by more than that.
"""

import argparse
import math
from unittest.mock import patch

import numpy as np
import pandas as pd

from abs_theory import steady_state
from abs_theory.bounds import Constants
from abs_theory.choose import Target, candidates, search
from abs_theory.steady_state import mean_field  # pyright: ignore
from abs_theory.typing import Array
from abs_theory.workers import as_workers
from benchmarks.random_cells import Cell, random_cell, random_law

TRUSTED = np.arange(0.0, 1.01, 0.05)
APART = (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.6, 1e9)
THRESHOLDS = np.array([0.0, 1.0, 3.0, math.inf])


def log_round_time(cell: Cell, trust: float | None = None, apart: float | None = None) -> float:
    """Of the mean field, with other weights if they are given."""
    theta = np.array([math.inf if cell.max_staleness is None else float(cell.max_staleness)])
    weights = mean_field.TRUST_IN_WORK if trust is None else dict.fromkeys(mean_field.TRUST_IN_WORK, trust)
    logs = mean_field.LOGS_APART if apart is None else apart
    with patch.object(mean_field, "TRUST_IN_WORK", weights), patch.object(mean_field, "LOGS_APART", logs):
        state, _ = mean_field.without_error(as_workers(cell.delay, cell.n), np.array([cell.k]), theta)
    return math.log(float(np.asarray(state.round_time)[0]))


def distances(cells: list[Cell]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Distance from the truth in logarithms: by ageing for each trust, and for each value of ``LOGS_APART``."""
    by_trust, by_apart = [], []
    for cell in cells:
        truth = math.log(float(steady_state.abs_sgd(*cell).round_time))
        ageing = {law.ageing for law in as_workers(cell.delay, cell.n).laws}
        if len(ageing) == 1 and cell.max_staleness is not None:
            none, full = (log_round_time(cell, trust) for trust in (0.0, 1.0))
            if abs(full - none) > 1e-9:  # linear in between
                apart = np.abs(none + TRUSTED * (full - none) - truth)
                by_trust.append({"ageing": ageing.pop(), **dict(zip(TRUSTED.round(2), apart, strict=True))})
        if cell.n > 8:
            by_apart.append({apart: abs(log_round_time(cell, apart=apart) - truth) for apart in APART})
    return pd.DataFrame(by_trust), pd.DataFrame(by_apart)


def trust_table(by_trust: pd.DataFrame) -> pd.DataFrame:
    """For each ageing the value in use and the best one, with their mean distances, and those of none and all."""
    rows = []
    for ageing, cells in by_trust.groupby("ageing"):
        mean = cells.drop(columns="ageing").to_numpy(float).mean(axis=0)
        used, best = mean_field.TRUST_IN_WORK[str(ageing)], int(mean.argmin())
        at_used = float(np.interp(used, TRUSTED, mean))
        rows.append((ageing, len(cells), used, at_used, TRUSTED[best], mean[best], mean[0], mean[-1]))
    return pd.DataFrame(rows, columns=["ageing", "cells", "used", "distance", "best", "its distance", "none", "all"])


def too_large(laws: int, seed: int) -> Array:
    """How much the fast objective of each candidate is too large, as a share of it, and its stated error; two rows."""
    columns = []
    for number in range(laws):
        rng = np.random.default_rng([seed, number])
        law, n = random_law(rng), int(rng.choice([4, 8, 16, 30]))
        constants = Constants(L=1.0, sigma2=float(np.exp(rng.uniform(-2, 3))), gap=10.0)
        target = Target(float(np.exp(rng.uniform(-3, 0))))
        ks, thetas = candidates.grid(np.unique(np.geomspace(1, n, 4).astype(int)), n, THRESHOLDS, True)
        objectives = []
        states = [steady_state.abs_sgd(law, ks, n, thetas, method) for method in ("fast", "auto")]
        for state in states:
            measured = candidates.Candidates.measured(
                ks, thetas, *map(np.asarray, (state.round_time, state.mean_staleness, state.uplinks + state.downlinks))
            )
            objectives.append(candidates.outcomes(constants, n, measured, None, target)["objective"].to_numpy())
        fast, accurate = objectives
        use = np.isfinite(fast) & np.isfinite(accurate) & (states[0].method == "mean-field")
        stated = np.asarray(states[0].error.round_time / states[0].round_time)
        columns.append(np.stack([1 - accurate / fast, stated])[:, use])
    return np.concatenate(columns, axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cells", type=int, default=600, help="random cells, and a tenth as many laws for choices")
    parser.add_argument("--seed", type=int, default=3)
    arguments = parser.parse_args()
    cells = [random_cell(np.random.default_rng([arguments.seed, number])) for number in range(arguments.cells)]
    by_trust, by_apart = distances(cells)
    print(trust_table(by_trust).to_string(index=False, float_format="%.3g"))
    print(f"\nLOGS_APART: {mean_field.LOGS_APART:g} in use; mean and largest distance in {len(by_apart)} cells")
    print(by_apart.agg(["mean", "max"]).to_string(float_format="%.4f"))
    larger, stated = too_large(arguments.cells // 10, arguments.seed)
    used = np.clip(stated, search.LEAST_ERROR, search.MOST_ERROR)
    print(f"\nfast objectives of {larger.size} candidates are too large by more than")
    for text, size in (
        ("nothing", 0.0),
        (f"LEAST_ERROR {search.LEAST_ERROR:g}", search.LEAST_ERROR),
        ("their stated error", stated),
        ("it, within LEAST_ERROR and MOST_ERROR", used),
        (f"MOST_ERROR {search.MOST_ERROR:g}", search.MOST_ERROR),
    ):
        print(f"  {text}: {100 * np.mean(larger > size):.1f} %")


if __name__ == "__main__":
    main()
