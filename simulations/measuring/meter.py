"""All that a server measures, for several rows (replicates) at once."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import cast

import numpy as np

from simulations.measuring.gradients import GradientMeter
from simulations.measuring.life_table import LifeTables, Survival
from simulations.measuring.losses import LossMeter
from simulations.measuring.quantity import Quantity

_PARTS = ("tables", "gradients", "losses", "latest")  # of a Meter
LATEST = 5.0  # the power of time with which the latest loss forgets

Ages = Callable[[], Sequence[float] | np.ndarray]  # of the running tasks, in seconds


class Measured:
    """What has been measured in one run up to a decision; a policy may use it during that decision.

    >>> import numpy as np
    >>> meter = Meter(1, 1, np.dtype(float))
    >>> measured = meter.of(0, 0.0, lambda: [])
    >>> measured.gradient_variance
    Quantity(value=nan, stderr=inf)
    """

    def __init__(self, meter: "Meter", row: int, time: float, ages: Ages):
        self._meter, self._row, self._time, self._ages = meter, row, time, ages

    @cached_property
    def delay(self) -> Survival:
        """The law of the task times, of all workers together."""
        return self._meter.tables.of(self._row, np.asarray(self._ages(), dtype=float), self._time)

    @cached_property
    def gradient_variance(self) -> Quantity:
        """S = E|g - E g|^2 of one gradient, that between workers with different data included."""
        return self._meter.gradients.variance(self._row)

    @cached_property
    def gradient_norm2(self) -> Quantity:
        """G = |E g|^2, the squared norm of the mean gradient."""
        return self._meter.gradients.norm2(self._row)

    @cached_property
    def gradient_square(self) -> Quantity:
        """E|g|^2 of one gradient, S + G."""
        return self._meter.gradients.square(self._row)

    @cached_property
    def curvature(self) -> Quantity:
        """g H g / g g along the steps g that were made."""
        return self._meter.gradients.curvature(self._row)

    @cached_property
    def loss(self) -> Quantity:
        """The mean loss of the latest mini-batches, over about the last half of the run."""
        return self._meter.losses.of(self._row)

    @cached_property
    def latest_loss(self) -> Quantity:
        """The same over about the last sixth of the run."""
        return self._meter.latest.of(self._row)

    @property
    def messages(self) -> int:
        """Gradients received and models sent so far, without those of the start."""
        return int(self._meter.messages[self._row])


class Meter:
    """Measures several rows (replicates), the same to the last bit as if each were alone.

    >>> meter = Meter(1, 1, np.dtype(float))
    >>> one, gradients = np.array([1]), np.array([[2.0], [4.0]])
    >>> meter.update(gradients, 2 * one, np.zeros(2, int), np.array([0.5, 0.9]), np.array([0.9]), np.array([[0.3]]),
    ...              losses=np.array([0.7]))
    >>> measured = meter.of(0, 0.9, lambda: [0.9])
    >>> float(measured.gradient_variance.value), measured.messages
    (2.0, 4)
    """

    def __init__(self, rows: int, dimension: int, dtype: np.dtype):
        self.tables, self.gradients = LifeTables(rows), GradientMeter(rows, dimension, dtype)
        self.losses, self.latest = LossMeter(rows), LossMeter(rows, LATEST)
        self.messages = np.zeros(rows, int)

    def update(
        self,
        gradients: np.ndarray,
        counts: np.ndarray,
        versions: np.ndarray,
        seconds: np.ndarray,
        now: np.ndarray,
        steps: np.ndarray,
        losses: np.ndarray,
    ) -> None:
        """Note an update of each row at ``now`` seconds, with ``counts`` gradients, one after the other.

        Each has a version of its model and the seconds its task took; ``steps`` are the steps of the rows, and
        ``losses`` the mean losses of their mini-batches.
        """
        self.gradients.add(gradients, counts, versions, steps)
        self.losses.add(losses, counts, now)
        self.latest.add(losses, counts, now)
        row = np.repeat(np.arange(len(counts)), counts)
        self.tables.add(row, seconds, now[row], delivered=True)
        self.messages += 2 * counts

    def restart(self, row: np.ndarray, seconds: np.ndarray, now: np.ndarray) -> None:
        """Note tasks that are restarted after ``seconds``, each at ``now`` seconds of its row."""
        self.tables.add(row, seconds, now, delivered=False)
        self.messages += np.bincount(row, minlength=len(self.messages))

    def of(self, row: int, time: float, ages: Ages) -> Measured:
        """What has been measured of a row up to ``time``; ``ages`` are those of its running tasks."""
        return Measured(self, row, time, ages)

    def state(self) -> dict[str, object]:
        """All numbers that it keeps, by part and name; ``go_on_from`` takes them."""
        self.tables.count()
        return {**{name: dict(vars(getattr(self, name))) for name in _PARTS}, "messages": self.messages}

    def go_on_from(self, state: Mapping[str, object]) -> None:
        """Take over what another meter has measured."""
        for name in _PARTS:
            vars(getattr(self, name)).update(cast(dict, state[name]))
        self.messages = cast(np.ndarray, state["messages"])

    def keep(self, rows: np.ndarray) -> None:
        """Forget all but these rows, which are numbered anew."""
        self.tables.keep(rows)
        self.gradients.keep(rows)
        self.losses.keep(rows)
        self.latest.keep(rows)
        self.messages = self.messages[rows]
