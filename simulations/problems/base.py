"""What a server trains: a loss, and the gradients of many workers in one batched call.

Problems are values: all their random numbers come from the generators that they receive.
"""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

__all__ = ["DrawnAhead", "Problem", "TimingOnly", "drawn_ahead", "loss_at", "metrics_at", "rows_are_exact"]


@runtime_checkable
class Problem(Protocol):
    """What a server trains."""

    @property
    def initial(self) -> np.ndarray:
        """w_0, shape (d,)."""
        ...

    def loss(self, params: np.ndarray) -> float:
        """The loss F(w); infinite or NaN after training has diverged."""
        ...

    def gradients(
        self, params: np.ndarray, workers: Sequence[int], rngs: Sequence[np.random.Generator]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mini-batch losses, shape (k,), and gradients, shape (k, d).

        Job j is computed at ``params[j]`` with the data of ``workers[j]`` and random numbers from ``rngs[j]``.
        """
        ...

    def metrics(self, params: np.ndarray) -> dict[str, float]:
        """Other quantities to record whenever the loss is evaluated; the keys are always the same."""
        ...


@runtime_checkable
class DrawnAhead(Problem, Protocol):
    """A problem that draws all random numbers of a gradient before it looks at the parameters.

    Replicates in step then draw those of many gradients of a worker at once, which is faster.
    """

    def draws(self, worker: int, rng: np.random.Generator, count: int) -> np.ndarray:
        """What the next ``count`` gradients of a worker draw from its ``rng``, in turn, shape (count, ...)."""
        ...

    def gradients_from(
        self, params: np.ndarray, workers: Sequence[int], draws: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """``gradients`` with what they draw, a row of ``draws`` for each job; in new arrays, which are written over."""
        ...


def drawn_ahead(problem: Problem) -> DrawnAhead | None:
    """The problem, if it is a ``DrawnAhead`` whose ``gradients`` no subclass has changed; otherwise None.

    >>> from simulations.problems import NoisyQuadratic
    >>> problem = NoisyQuadratic((1.0, 0.5), sigma2=1.0)
    >>> drawn_ahead(problem) is problem, drawn_ahead(TimingOnly())
    (True, None)
    """
    if isinstance(problem, DrawnAhead):
        for kind in type(problem).__mro__:
            if "gradients_from" in vars(kind):
                return problem
            if "gradients" in vars(kind):
                return None
    return None


def rows_are_exact(problem: Problem) -> bool:
    """Whether a gradient is the same to the last bit whichever jobs it is computed with, in one call or in several.

    Then gradients of several replicates are computed in one call.  The class that defines ``gradients`` says so by
    ``exact_rows = True``, or a subclass of it does.

    >>> from simulations.problems import NoisyQuadratic
    >>> rows_are_exact(NoisyQuadratic((1.0, 0.5), sigma2=1.0))
    True
    """
    for kind in type(problem).__mro__:
        if "exact_rows" in vars(kind):
            return bool(vars(kind)["exact_rows"])
        if "gradients" in vars(kind):
            return False
    return False


def loss_at(problem: Problem, params: np.ndarray) -> float:
    """The loss of a problem at ``params``; ValueError unless it is a number, which may be infinite or NaN.

    >>> from simulations.problems import NoisyQuadratic
    >>> loss_at(NoisyQuadratic((1.0,), sigma2=1.0), np.array([2.0]))
    2.0
    """
    return _number(f"loss of {type(problem).__name__}", problem.loss(params))


def metrics_at(problem: Problem, params: np.ndarray) -> dict[str, float]:
    """The metrics of a problem at ``params``; ValueError unless they are numbers by name.

    >>> from simulations.problems import NoisyQuadratic
    >>> metrics_at(NoisyQuadratic((1.0,), sigma2=1.0), np.array([2.0]))
    {'gradient_norm2': 4.0}
    """
    metrics, name = problem.metrics(params), f"metrics of {type(problem).__name__}"
    if not (isinstance(metrics, Mapping) and all(isinstance(key, str) for key in metrics)):
        raise ValueError(f"{name} must return numbers by name, such as {{'test_accuracy': 0.9}}, got {metrics!r}")
    return {key: _number(f"{key} in {name}", value) for key, value in metrics.items()}


def _number(name: str, value: Any) -> float:
    """A number of Python, numpy or torch as a float; ValueError for anything else."""
    if type(value) is float:
        return value
    if not isinstance(value, str | bytes | bool | np.bool_) and np.ndim(value) == 0:
        with contextlib.suppress(TypeError, ValueError):
            return float(value)
    shape = f"an array of shape {np.shape(value)}" if np.ndim(value) else repr(value)
    raise ValueError(f"{name} must be a number, got {shape}")


class TimingOnly:
    """A problem without parameters, to study only time, staleness and traffic."""

    exact_rows: ClassVar[bool] = True  #: see ``rows_are_exact``
    initial = np.zeros(0)  #: no parameters

    def __repr__(self) -> str:
        return "TimingOnly()"

    def loss(self, params: np.ndarray) -> float:
        return 0.0

    def gradients(
        self, params: np.ndarray, workers: Sequence[int], rngs: Sequence[np.random.Generator]
    ) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros(len(params)), params

    def metrics(self, params: np.ndarray) -> dict[str, float]:
        return {}
