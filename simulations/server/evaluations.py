"""The evaluations of one run: on a common grid of seconds, until the time is over or the target is reached."""

import math
from collections.abc import Sequence

import numpy as np

from simulations.problems import loss_at, metrics_at
from simulations.record import rises
from simulations.server.server import Run
from simulations.server.steps import warn_of_nan


class Evaluations:
    """What has been evaluated of one replicate, and the ``pause`` in seconds at which the next look is due."""

    def __init__(self, run: Run, values: dict[int, dict[str, float]] | None = None, time: float = 0.0):
        self.problem, self.metrics, self.target = run.problem, run.evaluated[1:], run.budget.target
        self.every, self.time_limit = run.budget.eval_every, run.budget.time_limit
        self.with_loss, self.goes_on_until = not run.budget.final_loss_only, run.budget.goes_on_until
        self.values = values or {}  # by version of the model
        self.reached = any(map(self._reach_target, self.values.values()))
        self._due = self.every if time == 0 else _grid_point(self.every, time)
        self.pause = min(self._due, self.time_limit)

    def go_on(self, time: float, version: int, params: np.ndarray) -> bool:
        """Pass the ``pause``, since the next arrival is only at ``time``; whether the run goes on until there.

        The model of this ``version``, in force at the pause, is evaluated if that is a point of the grid.
        """
        if self._due < self.time_limit:
            values = self.evaluate(version, params, self.with_loss)
            self.reached = self.reached or self._reach_target(values)
            if values.get("loss") == math.inf or (self.reached and self._due >= self.goes_on_until):
                return False
            self._due = _grid_point(self.every, min(time, self.time_limit))
        if time > self.time_limit:
            return False
        self.pause = min(self._due, self.time_limit)
        return True

    def go_through(self, time: float, version: int, params: np.ndarray) -> bool:
        """Pass all pauses before ``time``, when an update will be over; whether the run goes on until there."""
        while self.pause < time:
            if not self.go_on(time, version, params):
                return False
        return True

    def lies_far_beyond(self, times: Sequence[float]) -> bool:
        """Whether the last of ``times`` is two points of the grid behind the others, and no end of the budget."""
        last = times[-1]
        return last <= self.time_limit and (len(times) == 1 or last > times[-2] + 2 * self.every)

    def evaluate(self, version: int, params: np.ndarray, with_loss: bool) -> dict[str, float]:
        """Record the metrics of the problem and the loss at ``params``, inf if it is not finite: once per version."""
        values = self.values.get(version)
        if values is None:
            values = self.values[version] = metrics_at(self.problem, params)
            if set(values) != set(self.metrics):
                raise ValueError(
                    f"metrics of {type(self.problem).__name__} must have the same names at all times, "
                    f"{', '.join(self.metrics) or 'none'}, got {', '.join(values) or 'none'}"
                )
        if with_loss and "loss" not in values:
            loss = loss_at(self.problem, params)
            warn_of_nan(self.problem, params[None], np.array([loss]), None, version)
            values["loss"] = loss if math.isfinite(loss) else math.inf
        return values

    def _reach_target(self, values: dict[str, float]) -> bool:
        if self.target is None:
            return False
        column, level = self.target
        return values[column] >= level if rises(column) else values[column] <= level

    def end(self, version: int, params: np.ndarray, loss: float) -> None:
        """Evaluate the last model; it has diverged if the ``loss`` that the server sees is not finite."""
        values = self.evaluate(version, params, with_loss=True)
        if not math.isfinite(loss):
            values["loss"] = math.inf


def _grid_point(every: float, time: float) -> float:
    """The first multiple of ``every`` that is not before ``time``; ``time`` if it is too near to tell."""
    if math.isinf(time / every):
        return time
    number = math.ceil(time / every)
    point = every * number if every * number >= time else every * (number + 1)  # the quotient may be rounded down
    return max(point, time)
