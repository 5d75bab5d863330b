"""Fit the stated error of the mean field to random laws and fleets, and write it with its provenance.

    python -m benchmarks.calibrate [--cells N] [--check M] [--seed S]

For N random cells (``random_cells``) and some of known laws (``ANCHORS``) the mean field is compared with
``steady_state.abs_sgd``, which is exact or simulates.  The stated error of a quantity is a sum of signs of a poor
approximation (``steady_state.errors``) with coefficients >= 0.  They are found by linear programming: the least total
error that covers the differences, where one that is not covered costs as much as its excess in 60 cells (anchors are
always covered); then times 1.5.  M other cells show which share it covers.  The table in the docstring of ``errors``
is made from the file.
"""

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import linprog

from abs_theory import steady_state
from abs_theory.delays import Erlang, HyperExponential, LogNormal, Pareto, ShiftedExponential, Uniform
from abs_theory.steady_state import errors, mean_field  # pyright: ignore
from abs_theory.workers import as_workers
from benchmarks.random_cells import Cell, random_cell

MODULE = Path(errors.__file__)
FILE = MODULE.with_name("mean_field_errors.json")
BEFORE_TABLE, AFTER_TABLE = "(without a bound | with one):\n\n", "\n\nThe file says"
MARGIN = 1.5  # for cells not seen
PRICE, ANCHOR_PRICE = 60.0, 1e6  # of a difference that is not covered, in units of the stated error of a cell
MISPLACED = 0.4  # least coefficient of that sign in the error of the round time
BROAD = (((0.5, 0.5), (0.1, 1.9)), ((0.9, 0.1), (1 / 3, 7.0)))


ANCHORS = [
    Cell(delay, k, n, bound)
    for delay in (Erlang(2, 0.5), Erlang(4, 0.25), *(HyperExponential(p, m) for p, m in BROAD))
    for n in (3, 5, 8)
    for k in sorted({1, n // 2, n - 1})
    for bound in (1, 2, None)
] + [
    Cell(delay, k, n, bound)
    for delay in (ShiftedExponential(0.5, 0.5), Uniform(0.0, 2.0), LogNormal(0.6, 1.0), Pareto(0.5, 2.0))
    for k, n in ((1, 4), (2, 8), (5, 20), (15, 20))
    for bound in (1, 3, None)
]


def random_cells(cells: int, seed: int) -> list[Cell]:
    """So many random cells."""
    return [random_cell(np.random.default_rng([seed, number])) for number in range(cells)]


def differences(cells: list[Cell]) -> pd.DataFrame:
    """One row per cell: the signs of a poor approximation, and how far the mean field is from the truth."""
    rows = []
    for delay, k, n, bound in cells:
        workers, theta = as_workers(delay, n), np.array([math.inf if bound is None else bound])
        truth: Any = steady_state.abs_sgd(delay, k, n, bound)
        result, signs = mean_field.without_error(workers, np.array([k]), theta)
        state: Any = result
        error = errors.stated(workers, state, np.array([k]), theta, signs)
        share = (bound + 1) / n if bound is not None else 0.0
        size = min(state.staleness_pmf.shape[1], truth.staleness_pmf.size) - 1
        known = k == 1 and bound is None  # asynchronous SGD has exact times and participation
        apart = {
            "round_time": 0.0 if known else abs(state.round_time[0] / truth.round_time - 1),
            "restarts": abs(state.restarts[0] - truth.restarts) * share,
            "wasted_fraction": abs(state.wasted_fraction[0] - truth.wasted_fraction),
            "idle_fraction": abs(state.idle_fraction[0] - truth.idle_fraction),
            "staleness_pmf": np.abs(state.staleness_pmf[0, :size] - truth.staleness_pmf[:size]).max(initial=0.0),
            "participation": 0.0 if known else np.abs(state.participation[0] - truth.participation).max(),
        }
        largest = {f"{name} ±": float(np.max(getattr(error, name))) for name in errors.QUANTITIES}
        largest["round_time ±"] /= float(state.round_time[0])
        largest["restarts ±"] *= share
        named = dict(zip(errors.SIGNS, signs[0], strict=True))
        rows.append({"cell": repr((delay, k, n, bound)), "bounded": bound is not None, **named, **apart, **largest})
    return pd.DataFrame(rows)


def fit(anchors: pd.DataFrame, random: pd.DataFrame) -> dict[str, dict[str, list[float]]]:
    """Coefficients of the signs, by "bounded" or "unbounded" and by quantity."""
    fitted: dict[str, dict[str, list[float]]] = {}
    table = pd.concat([anchors.assign(price=ANCHOR_PRICE), random.assign(price=PRICE)])
    for bounded, rows in table.groupby("bounded"):
        signs = rows[list(errors.SIGNS)].to_numpy(float)
        part = fitted.setdefault("bounded" if bounded else "unbounded", {})
        for name in errors.QUANTITIES:
            size = rows[name].to_numpy(float)
            cost = np.append(signs.sum(axis=0), rows["price"])
            least = np.zeros(len(cost))
            if name == "round_time":  # a share of a round that is misplaced is an error of that share
                least[errors.SIGNS.index("misplaced")] = MISPLACED
            best = linprog(
                cost,
                A_ub=-np.hstack([signs, np.eye(len(size))]),
                b_ub=-size,
                bounds=np.column_stack([least, np.full(len(cost), np.inf)]),
            )
            part[name] = [float(f"{MARGIN * value:.3g}") for value in best.x[: len(errors.SIGNS)]]
    return fitted


def covered(table: pd.DataFrame) -> dict[str, float]:
    """Share of the cells in which the stated error holds, by quantity."""
    return {name: float((table[name] <= table[f"{name} ±"] + 1e-9).mean()) for name in errors.QUANTITIES}


def table_of(content: dict[str, Any]) -> str:
    """The coefficients as a table: a row for each sign, "without a bound | with one" in the column of a quantity."""
    provenance, coefficients = content["provenance"], content["coefficients"]
    rows: list[tuple[str, ...]] = [("sign", *errors.QUANTITIES)]
    for i, sign in enumerate(content["signs"]):
        pairs = ([coefficients[kind][name][i] for kind in ("unbounded", "bounded")] for name in errors.QUANTITIES)
        rows.append((sign, *(f"{without:g} | {bounded:g}" for without, bounded in pairs)))
    rows.append(("holds in", *(f"{100 * provenance['covered'][name]:.1f} %" for name in errors.QUANTITIES)))
    rows.append(("median error", *(f"{provenance['median error'][name]:g}" for name in errors.QUANTITIES)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = " ".join("=" * width for width in widths)
    lines = [" ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([rule, lines[0], rule, *lines[1:], rule])


def write_table(content: dict[str, Any]) -> None:
    """Put the table into the docstring of ``errors``."""
    text = MODULE.read_text()
    head, tail = text.split(BEFORE_TABLE)[0] + BEFORE_TABLE, AFTER_TABLE + text.split(AFTER_TABLE)[1]
    MODULE.write_text(head + table_of(content) + tail)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cells", type=int, default=700, help="random cells to fit")
    parser.add_argument("--check", type=int, default=500, help="random cells to check")
    parser.add_argument("--seed", type=int, default=1, help="of the cells; the check has the next one")
    arguments = parser.parse_args()
    fitted = fit(differences(ANCHORS), differences(random_cells(arguments.cells, arguments.seed)))
    provenance = {"program": "python -m benchmarks.calibrate", "cells": arguments.cells, "seed": arguments.seed}
    content = {"provenance": provenance, "signs": errors.SIGNS, "coefficients": fitted}
    FILE.write_text(json.dumps(content, indent=1) + "\n")
    errors.coefficients.cache_clear()
    check = differences(random_cells(arguments.check, arguments.seed + 1))
    provenance["check"] = arguments.check
    provenance["covered"] = {name: round(value, 4) for name, value in covered(check).items()}
    stated = check[[f"{name} ±" for name in errors.QUANTITIES]]
    provenance["median error"] = {
        str(name).rstrip(" ±"): float(f"{value:.2g}") for name, value in stated.median().items()
    }
    FILE.write_text(json.dumps(content, indent=1) + "\n")
    write_table(content)
    print(FILE, MODULE, sep="\n")


if __name__ == "__main__":
    main()
