"""What a server trains on: a loss, and the gradients of many workers in one batched call.

Problems are values: everything they draw comes from the generators they are handed.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

__all__ = ["Problem", "TimingOnly"]


@runtime_checkable
class Problem(Protocol):
    """What a server trains on."""

    @property
    def initial(self) -> np.ndarray:
        """w_0, shape (d,)."""
        ...

    def loss(self, params: np.ndarray) -> float:
        """F(w); infinite or NaN once training has diverged."""
        ...

    def gradients(
        self, params: np.ndarray, workers: Sequence[int], rngs: Sequence[np.random.Generator]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mini-batch losses, shape (k,), and gradients, (k, d): job j at ``params[j]`` on its worker's data."""
        ...

    def metrics(self, params: np.ndarray) -> dict[str, float]:
        """What else to record whenever the loss is evaluated, always the same keys."""
        ...


class TimingOnly:
    """A problem with nothing to learn, for studying time, staleness and traffic alone."""

    initial = np.zeros(0)  #: no parameters

    def loss(self, params: np.ndarray) -> float:
        return 0.0

    def gradients(self, params, workers, rngs):
        return np.zeros(len(params)), params

    def metrics(self, params: np.ndarray) -> dict[str, float]:
        return {}
