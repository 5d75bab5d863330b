"""Sums of arrays of different length, and shares of the tasks by their length."""

import numpy as np

from abs_theory.typing import Array

__all__ = ["added", "shares_by_length"]


def added(a: Array, b: Array) -> Array:
    """``a`` + ``b``, the shorter one continued by zeros.

    >>> added(np.array([1.0]), np.array([1.0, 2.0])).tolist()
    [2.0, 2.0]
    """
    size = max(a.size, b.size)
    return np.pad(a, (0, size - a.size)) + np.pad(b, (0, size - b.size))


def shares_by_length(deadlines: list[Array], weights: list[Array]) -> tuple[Array, Array]:
    """Lengths, and the probability that a task has a deadline beyond; no deadline is none.

    >>> [values.round(6).tolist() for values in shares_by_length([np.array([2.0, 1.0])], [np.array([3.0, 1.0])])]
    [[0.0, 1.0, 2.0, 2.0], [1.0, 0.875, 0.375, 0.0]]
    """
    if not deadlines:
        return np.zeros(1), np.ones(1)
    at, weight = np.concatenate(deadlines), np.concatenate(weights)
    order = np.argsort(at)
    at, weight = at[order], weight[order] / weight.sum()
    beyond = 1 - np.cumsum(weight) + weight / 2 if at.size > 1 else np.ones(1)
    return np.concatenate([[0.0], at, [at[-1] * (1 + 1e-9)]]), np.concatenate([[1.0], beyond, [0.0]])
