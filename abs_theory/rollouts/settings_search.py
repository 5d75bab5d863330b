"""Which number of slots, batch size and mode train most rollouts per second, or reach a target soonest."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from abs_theory.checks import explains_types
from abs_theory.delays import Delay
from abs_theory.rollouts.comparison import Tolerance, compare, fastest
from abs_theory.rollouts.mode import USUAL_THRESHOLDS, Setup
from abs_theory.rollouts.progress import Objective

__all__ = ["Settings", "best_settings"]


@explains_types
@dataclass(frozen=True, eq=False)
class Settings:
    """The best mode for each number of slots and batch size, and the best of all."""

    table: pd.DataFrame  #: one row for each number of slots and batch size: that of its best mode
    setup: Setup  #: with the slots and the batch to use
    mode: str  #: the mode to use
    seconds_per_rollout: float  #: for each trained rollout, in the long run
    seconds_to_target: float | None = None  #: if a target was given
    settings: tuple[str, ...] = ()  #: what to type, in the trainers that are known to have the mode


@explains_types
def best_settings(  # noqa: PLR0913
    setup: Setup, slots: Sequence[int], batch: Sequence[int] | None = None, tolerance: Tolerance | None = None,
    group: int = 1, answer: Delay | None = None, in_order: bool = False, thresholds: Sequence[int] = USUAL_THRESHOLDS,
    objective: Objective | None = None,
) -> Settings:  # fmt: skip
    """Search over numbers of ``slots`` and batch sizes (those of the ``setup``) for the fewest seconds per rollout.

    Pairs that are equally good, but for their errors, are told apart as in ``compare``.
    With an ``objective``, for the fewest seconds until its target is reached instead: a larger batch or fresher
    rollouts then need fewer updates.  The GPUs stay those of the setup: give their number and
    the slowdown per task, or more slots always seem better.
    For each pair all modes are tried, with the ``thresholds``; those that train in order, or in a window, only with
    ``in_order``.
    Cost: about a second for a pair, with fewer slots than a batch up to half a minute.
    Raises ValueError if there is no pair.

    See also: ``choose.best``, for workers that wait for the update and share no GPUs.

    >>> from abs_theory.bounds import Constants
    >>> from abs_theory.choose import Target
    >>> from abs_theory.delays import LogNormal
    >>> setup = Setup(LogNormal(median=1.0, sigma=1.0), 8, 16, seconds_per_token=0.5, slowdown=0.2, gpus=4)
    >>> search = {"slots": [16, 32, 64], "batch": [8, 16], "tolerance": Tolerance("mean", 2.0)}
    >>> fastest = best_settings(setup, **search)
    >>> fastest.mode, fastest.setup.slots, fastest.setup.batch
    ('ahead 2', 64, 16)
    >>> objective = Objective(Constants(L=1.0, sigma2=0.5, gap=10.0), Target(0.3))
    >>> soonest = best_settings(setup, **search, objective=objective)
    >>> soonest.mode, soonest.setup.slots, soonest.setup.batch
    ('ahead 0.5', 16, 8)
    """
    rows, compared = [], []
    for size in batch or [setup.batch]:
        for count in slots:
            candidate = replace(setup, slots=count, batch=size)
            comparison = compare(candidate, tolerance, group, answer, in_order, (), thresholds, objective=objective)
            best = comparison.table.set_index("mode").to_dict("index")[comparison.recommended]
            rows.append({"offered_slots": count, "batch": size, "mode": comparison.recommended, **best})
            compared.append(comparison)
    if not rows:
        raise ValueError(f"slots must have at least one number, got slots={list(slots)}")
    table = pd.DataFrame(rows).drop(columns="recommended")
    cost = 1 / table["rollouts_per_second"] if objective is None else table["seconds_to_target"]
    place = fastest(table)
    chosen = compared[place]
    return Settings(
        table, chosen.setup, chosen.recommended, 1 / float(table["rollouts_per_second"].iloc[place]),
        None if objective is None else float(cost.iloc[place]), chosen.settings,
    )  # fmt: skip
