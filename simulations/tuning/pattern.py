"""The search: move to the first better neighbour on grids, then compare the best few again on new replicates."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from abs_theory.checks import check_count, check_positive, explains_types
from simulations.record import median, to_target

__all__ = ["GRIDS", "Found", "Knobs", "neighbours", "pattern_search"]

Knobs = dict[str, float]  # step_size, and the knobs of the method
Train = Callable[[list[Knobs], range, float], Sequence[pd.DataFrame]]  # (points, replicates, seconds) -> their runs
FINALISTS = 3  # points that are compared again
HOPELESS, FINAL_ALLOWANCE = 1.5, 3.0  # times the best time, after which a run of the search, of the finals, is stopped

WORKERS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 18, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 128, 160, 192, 256)
GRIDS: Mapping[str, tuple[float, ...]] = {  # of the usual knobs
    "step_size": tuple(float(f"{2 ** (j / 2):.3g}") for j in range(-24, 13)),  # 0.000244 to 64
    "k": WORKERS,
    "k0": WORKERS,
    "max_staleness": (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, math.inf),
    "local_steps": (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48),
    "threshold": (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256),
    "batch": (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48),
    "slack": (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48),
    "trials": (1, 2, 3, 4, 6, 8, 12),
    "c": (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0),
}


class Found(NamedTuple):
    """The winner of a search, and all that was tried (``Tuned`` says which columns it has)."""

    best: Knobs  #: the winner of the final comparison
    time: float  #: its median time to the target there (s); inf: not reached
    tried: pd.DataFrame  #: one row per point


@explains_types
def neighbours(knobs: Knobs, grids: Mapping[str, Sequence[float]]) -> Iterator[Knobs]:
    """Points one step away on the grid of each knob, two steps for the step size, and both knobs moved together.

    >>> grids = {"step_size": (0.1, 0.2, 0.4), "k": (1, 2, 4)}
    >>> list(neighbours({"step_size": 0.1, "k": 4}, grids))[:2]
    [{'step_size': 0.2, 'k': 4}, {'step_size': 0.4, 'k': 4}]
    """

    def moved(name: str, by: int, point: Knobs) -> Knobs | None:
        grid = list(grids[name])
        at = grid.index(point[name]) + by
        return {**point, name: grid[at]} if 0 <= at < len(grid) else None

    for name in knobs:
        for by in (1, -1, 2, -2) if name == "step_size" else (1, -1):
            if (point := moved(name, by, knobs)) is not None:
                yield point
                if name != "step_size" and (point := moved("step_size", by, point)) is not None:
                    yield point


@explains_types
def pattern_search(
    train: Train, start: Knobs, grids: Mapping[str, Sequence[float]], target: tuple[str, float], *, time_budget: float,
    tries: int = 18, replicates: int = 2, finals: int = 8,
) -> Found:  # fmt: skip
    """The knobs with the shortest median time to ``target``, by moving to the first better neighbour of ``start``.

    ``train(points, replicates, seconds)`` returns the runs of each point, as ``simulate`` does, of these replicates and
    up to this time.  A run of the search is stopped when it has taken 1.5 times as long as the best so far: it can no
    longer win.  The best 3 of at most ``tries`` points are compared again on ``finals`` replicates that the search has
    not seen, so that luck does not decide.  No run is longer than ``time_budget`` seconds.

    Raises ValueError if a knob of ``start`` is not on its grid.

    >>> def train(points, which, seconds):  # reaches the target after (k - 4)**2 + 1 seconds
    ...     ends = [(point["k"] - 4.0) ** 2 + 1 for point in points]
    ...     return [pd.DataFrame({"replicate": j, "update": 1, "time": min(end, seconds), "loss": float(end > seconds),
    ...                           "uplinks": 1, "downlinks": 1} for j in which) for end in ends]
    >>> grids = {"step_size": (0.1,), "k": (1, 2, 3, 4, 5, 6)}
    >>> found = pattern_search(train, {"step_size": 0.1, "k": 1}, grids, ("loss", 0.0), time_budget=100.0)
    >>> found.best, found.time
    ({'step_size': 0.1, 'k': 4}, 1.0)
    """
    check_positive("time_budget", time_budget)
    for name, count in (("tries", tries), ("replicates", replicates), ("finals", finals)):
        check_count(name, count)
    for name, value in start.items():
        if value not in grids.get(name, ()):
            raise ValueError(f"start must be on the grids, got {name} = {value} and the grid {grids.get(name)}")
    column, level = target
    scores: dict[tuple[float, ...], tuple[float, float]] = {}

    def evaluate(points: list[Knobs], which: range, seconds: float) -> list[tuple[float, float]]:
        """Median time to the target, and the final loss, which ranks points that never reach it; of each point."""
        results = []
        for runs in train(points, which, seconds):
            reached = to_target(runs, column, level, replicates=which, time_budget=seconds)
            last = runs.groupby("replicate")["loss"].last().mean() if len(runs) else math.inf
            results.append((median(reached["time"], reached["reached"]).median, last))
        return results

    def score(knobs: Knobs) -> tuple[float, float]:
        key = tuple(knobs.values())
        if key not in scores:
            best = min((time for time, _ in scores.values()), default=math.inf)
            scores[key] = evaluate([knobs], range(replicates), min(time_budget, HOPELESS * best))[0]
        return scores[key]

    best, improved = dict(start), True
    while improved and len(scores) < tries:
        improved = False
        for candidate in neighbours(best, grids):
            if score(candidate) < score(best):
                best, improved = candidate, True
                break
            if len(scores) >= tries:
                break
    finalists = [dict(zip(best, key, strict=True)) for key in sorted(scores, key=scores.__getitem__)[:FINALISTS]]
    fresh = range(replicates, replicates + finals)
    results = evaluate(finalists, fresh, min(time_budget, FINAL_ALLOWANCE * score(best)[0]))
    winner = min(range(len(finalists)), key=results.__getitem__)
    rows = [(*key, *values, replicates, False) for key, values in scores.items()] + [
        (*knobs.values(), *values, finals, True) for knobs, values in zip(finalists, results, strict=True)
    ]
    tried = pd.DataFrame(rows, columns=[*best, "time", "loss", "replicates", "final"])
    return Found(finalists[winner], results[winner][0], tried)
