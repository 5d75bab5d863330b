"""The numbers of a plan for each k: what its curve has, as a short table."""

import numpy as np
import pandas as pd

from abs_theory.plan.result import Plan

__all__ = ["columns", "not_identified", "row_of", "table"]

ROWS_SHOWN = 12  # of the curve


def row_of(plan: Plan, k: int) -> pd.Series:
    """The row of the curve for ``k``."""
    return plan.curve.loc[[k]].iloc[0]


def columns(plan: Plan) -> list[int]:
    """The values of k in a short table."""
    if plan.n <= ROWS_SHOWN:
        return list(range(1, plan.n + 1))
    keep = set(np.unique(np.geomspace(1, plan.n, ROWS_SHOWN).round().astype(int)).tolist())
    return sorted(keep | {plan.k, plan.choice.best, plan.choice.largest, plan.n})


def table(plan: Plan) -> str:
    """Rows of the short table, as text."""
    shown = plan.curve.loc[columns(plan), ["mean", "low", "high", "model", "rate"]]
    shown = shown.rename(columns={"mean": "E[T_(k)]", "rate": "gradients/s"})
    shown["loss, %"] = 100 * plan.curve["expected_loss"]
    return shown.to_string(float_format="{:.4g}".format, na_rep="-")


def not_identified(plan: Plan) -> list[str]:
    """Why some k have no interval; k with the same reason share a sentence."""
    ks: dict[str, list[str]] = {}
    for k in columns(plan):
        ks.setdefault(row_of(plan, k)["reason"], []).append(str(k))
    return [f"No interval for k = {', '.join(values)}: {reason}." for reason, values in ks.items() if reason]
