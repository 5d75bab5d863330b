"""How often the stated 95 % intervals of E[T_(k)] contain the truth, in every regime, also if calls are lost.

    python -m benchmarks coverage [--repetitions 500] [--regime NAME ...] [--csv FILE]

Calls are lost in four ways: any call or the slowest ones, without a word of when; any call, which fails at a random
moment before it would have been delivered; the slowest ones, given up at a deadline.  A cell of the table is the
share of identified intervals that contain the exact mean, and in brackets the number of intervals per repetition.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from abs_theory.plan.arrivals import mean_arrivals
from abs_theory.plan.effects import RoundTable, effects
from abs_theory.typing import Array
from benchmarks.regimes import REGIMES, Regime

__all__ = ["WAYS", "coverage", "measured"]

SHARES = (0.01, 0.03, 0.1, 0.2)  # of the calls, lost
WAYS = ("any, end unknown", "slowest, end unknown", "any, failed early", "slowest, at a deadline")
NONE_LOST = "none lost"


def measured(seconds: Array, way: str, share: float, windows: int, rng: np.random.Generator) -> RoundTable:
    """Rounds in which ``share`` of the calls are lost in a ``way``; rounds without a delivery are only counted."""
    window = np.arange(len(seconds)) * windows // len(seconds)
    if way == NONE_LOST:
        return RoundTable(seconds, np.ones(seconds.shape, dtype=bool), window)
    deadline = np.quantile(seconds, 1 - share)
    lost = seconds > deadline if way.startswith("slowest") else rng.random(seconds.shape) < share
    last = np.where(lost, -np.inf, seconds).max(axis=1, keepdims=True)
    given_up = last
    if way == "any, failed early":
        given_up = seconds * rng.random(seconds.shape)
    elif way == "slowest, at a deadline":
        given_up = deadline
    unknown = lost if way.endswith("unknown") else None
    data = RoundTable(np.where(lost, given_up, seconds), ~lost, window, failed=lost, unknown=unknown)
    some = ~lost.all(axis=1)
    if some.all():
        return data
    return replace(
        data,
        seconds=data.seconds[some],
        observed=data.observed[some],
        window=window[some],
        failed=lost[some],
        unknown=None if unknown is None else unknown[some],
        empty=int(np.count_nonzero(~some)),
    )


def coverage(
    regime: Regime, way: str = NONE_LOST, share: float = 0.0, repetitions: int = 500, seed: int = 0
) -> pd.DataFrame:
    """For each k, how many intervals were identified, and how many of those contained the truth."""
    rng = np.random.default_rng(seed)
    counts = np.zeros((2, regime.truth.size), dtype=int)
    for _ in range(repetitions):
        data = measured(regime.draw(rng, regime.rounds), way, share, regime.windows, rng)
        table = mean_arrivals(data, effects(data.delivered), rng)
        identified = (table["reason"] == "").to_numpy()
        low, high = table["low"].to_numpy(), table["high"].to_numpy()
        counts += identified, identified & (low <= regime.truth) & (regime.truth <= high)
    return pd.DataFrame(counts.T, columns=["identified", "hold"], index=pd.RangeIndex(1, counts.shape[1] + 1, name="k"))


def compare(names: Sequence[str], repetitions: int, seed: int = 0) -> pd.DataFrame:
    """One row for each regime, way of losing calls, share lost and k."""
    parts = []
    for name in names:
        for way, share in [(NONE_LOST, 0.0), *((way, share) for way in WAYS for share in SHARES)]:
            part = coverage(REGIMES[name], way, share, repetitions, seed)
            parts.append(part.reset_index().assign(regime=name, way=way, share=share, repetitions=repetitions))
            print(f"{name:<18}{way:<24}{share:>5.0%}  {_cell(parts[-1])}", flush=True)
    return pd.concat(parts, ignore_index=True)


def _cell(part: pd.DataFrame) -> str:
    """Share of the identified intervals that hold, and their number per repetition."""
    identified = int(part["identified"].sum())
    if not identified:
        return "- (0)"
    return f"{part['hold'].sum() / identified:.3f} ({identified / part['repetitions'].iloc[0]:.1f})"


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="benchmarks coverage", description="Intervals that contain the truth.")
    parser.add_argument("--repetitions", type=int, default=500, help="traces per regime and way of losing calls")
    parser.add_argument("--regime", action="append", choices=REGIMES, help="only this one; repeat for several")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--csv", help="write the counts for every k to this file")
    options = parser.parse_args(arguments)
    outcome = compare(options.regime or list(REGIMES), options.repetitions, options.seed)
    cells = [(*key, _cell(part)) for key, part in outcome.groupby(["way", "share", "regime"], sort=False)]
    table = pd.DataFrame(cells, columns=["way", "share", "regime", "cell"])
    print("\nShare of the intervals that hold the truth (intervals per repetition); stated: 0.95")
    print(table.pivot(index="regime", columns=["way", "share"], values="cell").to_string())
    if options.csv:
        outcome.to_csv(options.csv, index=False)
