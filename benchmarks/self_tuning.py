"""ABS that tunes itself, against every other method tuned for each problem and fleet: times to a target.

All methods of the figure ``time-to-target`` that need no constants of the problem, and all rules of the figure
``ablation``, are tuned for each cell of the figure ``robustness``.  Those whose tuned median is far from the best are
dropped; the others are run on fresh replicates.  The fastest of them are run once more, on more replicates that are
fresh again, paired with those of self-tuning and evaluated more often than in the search.
"""

import argparse
import math
import time

import pandas as pd

from paper_figs import study
from paper_figs.figures import robustness
from simulations.record import median
from simulations.tuning import Found

__all__ = ["compare", "main"]

METHODS = robustness.METHODS | study.TUNED | study.ABLATION  # those that are often fast come first
del METHODS["greedy bound / relative"], METHODS["greedy bound / time-optimal"]  # "ABS" and "ABS, time-optimal"
ALLOWANCE = 3.0  # times the best tuned median so far, which a run of the search may take
CLOSE = 1.25  # times the best tuned median, up to which a method is run again
FINALISTS = 3  # rivals that are run once more
FINER = 4  # times as many evaluations in the last runs
QUICK = {"replicates": 4, "final": 4, "tuning": {"tries": 2, "replicates": 1, "finals": 1}}
SHOWN = ["problem", "fleet", "step_size", "time", "rival", "rival_time", "ratio", "ratio_low", "ratio_high"]
ACCURACIES = robustness.FULL["accuracies"]


def tuned(cell: robustness.Cell, tuning: dict[str, int]) -> dict[str, Found]:
    """What the search found for each method."""
    results: dict[str, Found] = {}
    for name, method in METHODS.items():
        best = min((found.time for found in results.values()), default=math.inf)
        results[name] = cell.tune(method, tuning, min(ALLOWANCE * best, robustness.LONGEST_RUN))
    return results


def fastest(cell: robustness.Cell, results: dict[str, Found], replicates: int) -> list[str]:
    """The rivals with the least medians on ``replicates`` others, of those that are close after the search."""
    rivals = {name: found for name, found in results.items() if name != robustness.SELF_TUNING}
    best = min(found.time for found in rivals.values())
    medians: dict[str, float] = {}
    for name, found in rivals.items():
        if found.time <= CLOSE * best:
            shown = cell.show(name, METHODS[name], found, range(replicates))
            medians[name] = median(shown["time"], shown["reached"]).median
    return sorted(medians, key=medians.__getitem__)[:FINALISTS]


def finals(cell: robustness.Cell, results: dict[str, Found], names: list[str], which: range) -> pd.DataFrame:
    """One row per method, step and replicate, as in the figure ``robustness``, for self-tuning and the rivals named."""
    runs = [
        cell.show(name, METHODS[name], results[name], which, FINER, by_rule=True)
        for name in (robustness.SELF_TUNING, *names)
    ]
    return pd.concat(runs, ignore_index=True)


def compare(
    problem: str, fleet: str, replicates: int, final: int, tuning: dict[str, int], n: int = 20
) -> pd.DataFrame:  # fmt: skip
    """Tune all methods, find the fastest on ``replicates`` others, and run these on ``final`` more."""
    cell = robustness.Cell(problem, fleet, n, ACCURACIES)
    results = tuned(cell, tuning)
    return finals(cell, results, fastest(cell, results, replicates), range(replicates, replicates + final))


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="benchmarks self-tuning", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small size, to see that it runs")
    parser.add_argument("--replicates", type=int, default=200, help="fresh replicates of each close method")
    parser.add_argument("--final", type=int, default=400, help="further replicates, of the fastest methods")
    parser.add_argument("--problem", action="append", choices=robustness.PROBLEMS, help="only this one; repeatable")
    parser.add_argument("--fleet", action="append", choices=robustness.FLEETS, help="only this one; repeatable")
    parser.add_argument("--csv", help="write the time of every replicate to this file")
    options = parser.parse_args(arguments)
    problems, fleets = options.problem or list(robustness.PROBLEMS), options.fleet or list(robustness.FLEETS)
    sizes = {"replicates": options.replicates, "final": options.final, "tuning": robustness.FULL["tuning"]}
    if options.quick:
        problems, fleets, sizes = problems[:1], fleets[:1], QUICK
    tables = []
    for problem in problems:
        for fleet in fleets:
            begin = time.process_time()
            tables.append(compare(problem, fleet, **sizes))
            rows = robustness.summarise(tables[-1])[SHOWN]
            print(rows.round(3).to_string(header=len(tables) == 1, index=False), end="")
            print(f"   {time.process_time() - begin:.0f} s of CPU", flush=True)
            if options.csv:
                pd.concat(tables).to_csv(options.csv, index=False)
