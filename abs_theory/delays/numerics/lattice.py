"""The step of a lattice of times."""

import numpy as np

from abs_theory.typing import Array

__all__ = ["common_step"]

SAME_TIME = 1e-9  # of the longest time; times that differ by less are the same but for rounding
FINEST_STEP = 1e-6  # of the longest time; a finer lattice is like none


def common_step(times: Array) -> float:
    """The largest step such that each of the ``times`` is a multiple of it.

    It is 0 if each such step is shorter than 1e-6 of the longest time.  The step is found by Euclid's algorithm: the
    largest distance of a time from a multiple is the next divisor.

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
