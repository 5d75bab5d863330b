"""Tune a method: the search on the usual grids, with simulated training."""

from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from abs_theory.checks import check_count, explains_types
from abs_theory.typing import Laws
from simulations.fleets import Fleet, as_fleet
from simulations.problems import Problem
from simulations.server import Protocol, Run, RunBudget, run_together
from simulations.tuning.pattern import GRIDS, Knobs, pattern_search
from simulations.tuning.tuned import Tuned

__all__ = ["tune"]

OF_THE_RUN = ("step_size", "local_steps")  # knobs that are not arguments of the method
UP_TO_N = ("k", "k0")  # knobs that count workers


@explains_types
def tune(  # noqa: PLR0913
    method: Callable[..., Protocol], problem: Problem, delay: Laws | Fleet, n: int, start: Mapping[str, float],
    target: tuple[str, float], *, time_budget: float, eval_every: float, seed: int,
    grids: Mapping[str, Sequence[float]] | None = None, tries: int = 18, replicates: int = 2, finals: int = 8,
) -> Tuned:  # fmt: skip
    """Find the knobs of ``method`` with which training reaches ``target`` soonest.

    ``method`` makes a protocol of its knobs: a factory of ``simulations.protocols``, or a function of your own.
    ``start`` has the knobs to begin with: ``step_size``, perhaps ``local_steps``, and arguments of ``method``.
    ``target`` is a column and a value, such as ("loss", 0.1).  The values tried are those of ``GRIDS``; ``grids`` gives
    those of other knobs.  A start between two of them is tried, too.

    It is the search of the figures of the project (``pattern_search``, which explains ``tries``, ``replicates`` and
    ``finals``).  It suits what is tuned here: few knobs on ordered values, runs that cost seconds and are noisy, and a
    start that is not far off.  All points train on the same task times and batches, hopeless runs are stopped, and the
    winner is found on new replicates.  A sampler such as optuna's needs more trials before it learns where to look; it
    serves better where there are many knobs, or no idea where to begin.

    Raises ValueError for a knob without a grid, and whatever ``method`` refuses.

    >>> from abs_theory.delays import Exponential
    >>> from simulations.problems import NoisyQuadratic
    >>> from simulations.protocols import k_sync
    >>> found = tune(k_sync, NoisyQuadratic((1.0, 0.3), sigma2=0.1), Exponential(1.0), 8, {"step_size": 0.1, "k": 4},
    ...              ("loss", 0.05), time_budget=60.0, eval_every=0.2, seed=0, tries=12)
    >>> found.best
    {'step_size': 1.0, 'k': 4}
    """
    check_count("n", n)
    if "step_size" not in start:
        raise ValueError(f"start must have a step_size to begin with, got {dict(start)}")
    grids, point = {**GRIDS, **(grids or {})}, dict(start)
    own = {}
    for name, value in point.items():
        if name not in grids:
            raise ValueError(f"there is no grid of values for {name!r}: give grids={{{name!r}: [...]}}")
        own[name] = sorted({value, *(x for x in grids[name] if name not in UP_TO_N or x <= n)})
    fleet, no_losses = as_fleet(delay, n), target[0] != "loss"

    def train(points: list[Knobs], which: range, seconds: float) -> list[pd.DataFrame]:
        runs = [
            Run(
                protocol=method(**{name: value for name, value in knobs.items() if name not in OF_THE_RUN}),
                problem=problem, fleet=fleet, seed=seed, step_size=knobs["step_size"],
                local_steps=int(knobs.get("local_steps", 1)),
                budget=RunBudget(
                    time_budget=seconds, eval_every=eval_every, target=target, final_loss_only=no_losses
                ),
            )
            for knobs in points
        ]  # fmt: skip
        return [pd.concat([rounds for rounds, _ in of_one], ignore_index=True) for of_one in run_together(runs, which)]

    found = pattern_search(
        train, point, own, target, time_budget=time_budget, tries=tries, replicates=replicates, finals=finals
    )
    return Tuned(found.best, found.time, found.tried, target)
