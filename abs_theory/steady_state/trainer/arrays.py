"""Sums of arrays of different length."""

import numpy as np

from abs_theory.typing import Array

__all__ = ["added"]


def added(a: Array, b: Array) -> Array:
    """``a`` + ``b``, the shorter one continued by zeros.

    >>> added(np.array([1.0]), np.array([1.0, 2.0])).tolist()
    [2.0, 2.0]
    """
    size = max(a.size, b.size)
    return np.pad(a, (0, size - a.size)) + np.pad(b, (0, size - b.size))
