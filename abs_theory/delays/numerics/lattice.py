"""The step of a lattice of times."""

import numpy as np

from abs_theory.typing import Array

__all__ = ["common_step"]

SAME_TIME = 1e-9  # of the longest time; times that differ by less are the same but for rounding
FINEST_STEP = 1e-6  # of the longest time; a finer lattice is like none


def common_step(times: Array) -> float:
    """The largest step of which all ``times`` are multiples; 0 if there is none that is at least 1e-6 of the longest.

    By Euclid's algorithm, with the farthest from a multiple as the next divisor.

    >>> round(common_step(np.array([1.5, 2.0, 4.0])), 9)
    0.5
    """
    longest = float(np.max(times))
    step = longest
    while step > FINEST_STEP * longest:
        left = np.abs(times - step * np.rint(times / step))
        if float(left.max()) <= SAME_TIME * longest:
            return step
        step = float(left.max())
    return 0.0
