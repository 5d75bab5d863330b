"""How much a gradient counts, by its staleness: functions of the updates made since its model was sent."""

import math
from collections.abc import Callable

__all__ = ["by_root_of_staleness", "by_staleness", "uniform"]

Weight = Callable[[int], float]


def uniform(staleness: int) -> float:
    """Every gradient counts the same, however stale."""
    return 1.0


def by_staleness(staleness: int) -> float:
    """Weight 1 / (1 + staleness): the 1/tau step of Zhang, Gupta, Lian & Liu (2016), whose tau starts at 1."""
    return 1.0 / (1 + staleness)


def by_root_of_staleness(staleness: int) -> float:
    """Weight 1 / sqrt(1 + staleness), an option of FedBuff (Nguyen et al. 2022)."""
    return 1.0 / math.sqrt(1 + staleness)
