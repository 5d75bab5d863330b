"""Many values of k and of the threshold at once: one steady state after another, gathered in arrays."""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from abs_theory.checks import explains_types, on_one_grid
from abs_theory.results import TrainerState
from abs_theory.typing import Array

__all__ = ["over_cells"]


@explains_types
def over_cells(
    solve: Callable[[int, float], TrainerState], k: ArrayLike, max_staleness: ArrayLike | None
) -> TrainerState:
    """``solve(k, max_staleness)`` in each cell of the grid to which ``k`` and ``max_staleness`` broadcast.

    A single cell is the state itself.  Laws of the staleness are continued by zeros, shares by their last value.
    Raises ValueError if there is no cell, or no such grid.

    >>> from abs_theory.delays import Exponential
    >>> from abs_theory.monte_carlo import abs_batch
    >>> law, rng = Exponential(mean=1.0), np.random.default_rng(0)
    >>> over_cells(lambda k, bound: abs_batch(law, k, 8, bound, rng, num_rounds=20), [2, 4], [[0], [1]]).restarts.shape
    (2, 2)
    """
    ks, bounds = on_one_grid(k, max_staleness)
    states = [solve(*cell) for cell in zip(ks.ravel().tolist(), bounds.ravel().tolist(), strict=True)]
    if not ks.ndim:
        return states[0]
    error = _gathered([state.error for state in states], ks.shape)
    return replace(
        _gathered(states, ks.shape), error=error,
        method=np.array([str(state.method) for state in states]).reshape(ks.shape),
    )  # fmt: skip


def _gathered(states: list[Any], shape: tuple[int, ...]) -> TrainerState:
    """The fields of ``states`` as arrays of this shape."""
    names = [field.name for field in fields(TrainerState) if field.name not in ("method", "error", "shares")]
    columns: dict[str, Any] = {name: _rows([getattr(state, name) for state in states], shape) for name in names}
    lengths, shares = (_rows([state.shares[part] for state in states], shape, mode="edge") for part in (0, 1))
    return TrainerState(**columns, shares=(lengths, shares))


def _rows(values: list[Any], shape: tuple[int, ...], mode: Any = "constant") -> Array:
    """Numbers as an array of this shape; arrays of different length with one more axis, as long as the longest."""
    arrays = [np.asarray(value, dtype=float) for value in values]
    if not arrays[0].ndim:
        return np.reshape(arrays, shape)
    size = max(array.size for array in arrays)
    return np.reshape([np.pad(array, (0, size - array.size), mode=mode) for array in arrays], (*shape, size))
