"""Which number of slots, batch size and mode train most rollouts per second."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from abs_theory.checks import explains_types
from abs_theory.delays import Delay
from abs_theory.rollouts.comparison import Tolerance, compare
from abs_theory.rollouts.mode import USUAL_THRESHOLDS, Setup

__all__ = ["Settings", "best_settings"]


@explains_types
@dataclass(frozen=True, eq=False)
class Settings:
    """The best mode for each number of slots and batch size, and the best of all."""

    table: pd.DataFrame  #: one row for each number of slots and batch size: that of its best mode
    setup: Setup  #: with the slots and the batch to use
    mode: str  #: the mode to use
    seconds_per_rollout: float  #: for each trained rollout, in the long run


@explains_types
def best_settings(
    setup: Setup, slots: Sequence[int], batch: Sequence[int] | None = None, tolerance: Tolerance | None = None,
    group: int = 1, answer: Delay | None = None, in_order: bool = False, thresholds: Sequence[int] = USUAL_THRESHOLDS,
) -> Settings:  # fmt: skip
    """Search over numbers of ``slots`` and batch sizes (those of the ``setup``) for the fewest seconds per rollout.

    The GPUs stay those of the setup: give their number and the slowdown per task, or more slots always seem better.
    For each pair all modes are tried, with the ``thresholds``; those that train in order, or in a window, only with
    ``in_order``.  Pairs with fewer slots than a batch are skipped.
    Cost: about a second for a pair.
    Raises ValueError if no pair is left.

    >>> from abs_theory.delays import LogNormal
    >>> setup = Setup(LogNormal(median=1.0, sigma=1.0), 8, 16, seconds_per_token=0.5, slowdown=0.2, gpus=4)
    >>> found = best_settings(setup, slots=[16, 32, 64], batch=[8, 16], tolerance=Tolerance("mean", 2.0))
    >>> found.mode, found.setup.slots, found.setup.batch
    ('ahead 2', 64, 16)
    """
    rows, found = [], []
    for size in batch or [setup.batch]:
        for count in slots:
            if count < size:
                continue
            candidate = replace(setup, slots=count, batch=size)
            comparison = compare(candidate, tolerance, group, answer, in_order, thresholds=thresholds)
            best = comparison.table.set_index("mode").to_dict("index")[comparison.recommended]
            rows.append({"offered_slots": count, "batch": size, "mode": comparison.recommended, **best})
            found.append((float(best["rollouts_per_second"]), candidate, comparison.recommended))
    if not found:
        raise ValueError(f"slots must be at least a batch, got slots={list(slots)} and batch={batch or [setup.batch]}")
    speed, chosen, mode = max(found, key=lambda row: row[0])
    return Settings(pd.DataFrame(rows), chosen, mode, 1 / speed)
