"""Quantiles of any law from its cdf and sf, by bisection on the floating-point numbers themselves."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from abs_theory.typing import Array


def first_time(reached: Callable[[Array], NDArray[np.bool_]], low: Array, high: Array) -> Array:
    """Smallest double t in [``low``, ``high``] with ``reached(t)``, elementwise; ``high`` if there is none before.

    ``reached`` must turn from False to True once as t >= 0 grows.  Doubles are ordered as the integers of the same
    64 bits, so halving an interval of those integers finds the first such t at any scale, across flat
    pieces, jumps and far tails, without a tolerance.  Cost: at most 64 calls on arrays of this shape.
    """
    before, after = _bits(low) - 1, _bits(high)  # not reached before, reached after
    while np.any(after - before > 1):
        middle = before + (after - before + 1) // 2  # if there is no integer between them, middle is after
        is_reached = reached(middle.view(np.float64))
        before, after = np.where(is_reached, before, middle), np.where(is_reached, middle, after)
    return after.view(np.float64)


def _bits(t: Array) -> NDArray[np.int64]:
    return np.array(t + 0.0, np.float64).view(np.int64)  # + 0.0 makes a plain zero of -0.0
