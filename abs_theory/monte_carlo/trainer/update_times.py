"""The time of an update: a number of seconds or a law."""

import math

import numpy as np

from abs_theory.checks import check_nonnegative, explains_types
from abs_theory.delays import Delay, Deterministic, as_delay
from abs_theory.typing import DelayLike

__all__ = ["update_law"]


@explains_types
def update_law(update_seconds: float | DelayLike) -> Delay | None:
    """The law of an update time, None for no time; ValueError unless it is a law of finite mean or a number >= 0.

    >>> update_law(2.0), update_law(0)
    (Deterministic(value=2.0), None)
    """
    if isinstance(update_seconds, int | float | np.number):
        check_nonnegative("update_seconds", update_seconds)
        return Deterministic(float(update_seconds)) if update_seconds else None
    law = as_delay(update_seconds, "update_seconds", "a number, a Delay")
    if not math.isfinite(law.mean):
        raise ValueError(f"update_seconds must have a finite mean, got {law!r}")
    return law
