r"""The loss from the mini-batches of the gradients that arrive.

The mean forgets as the life table does: an update at time s counts as the number of its gradients times s to a power.
With the power 1 the mean is over about the last half of the run, with 5 over about the last sixth, however many updates
are made in it.  A mean over a fixed number of mini-batches would be late where the loss falls fast, and noisy where it
hardly changes.
"""

import numpy as np

from simulations.measuring.quantity import Quantity, weighted_mean

FORGETTING = 1.0  # the power of time


class LossMeter:
    """The mean loss of several rows (replicates), the same to the last bit as if each were alone.

    >>> meter = LossMeter(rows=1)
    >>> for time, loss in (3.0, 8.0), (4.0, 4.0), (4.5, 3.0):
    ...     meter.add(np.array([loss]), counts=np.array([1]), now=np.array([time]))
    >>> loss = meter.of(0)
    >>> round(float(loss.value), 2), round(float(loss.stderr), 2)
    (4.65, 1.47)
    """

    def __init__(self, rows: int, forgetting: float = FORGETTING):
        self.forgetting = forgetting  # the power of time
        self.mean, self.square, self.until = np.zeros(rows), np.zeros(rows), np.zeros(rows)  # until: time of the last
        self.weight, self.weight2 = np.zeros(rows), np.zeros(rows)  # sums of weights, and of their squares

    def add(self, losses: np.ndarray, counts: np.ndarray, now: np.ndarray) -> None:
        """Note an update of each row at ``now`` seconds: the mean loss of its ``counts`` mini-batches."""
        faded = np.divide(self.until, now, out=np.ones(len(now)), where=now > 0) ** self.forgetting
        self.weight, self.weight2 = faded * self.weight + counts, faded**2 * self.weight2 + counts**2
        share = counts / self.weight
        self.mean = self.mean + share * (losses - self.mean)
        self.square = self.square + share * (losses * losses - self.square)
        self.until = now

    def of(self, row: int) -> Quantity:
        """The mean loss of a row."""
        return weighted_mean(self.mean[row], self.square[row], self.weight[row], self.weight2[row])

    def keep(self, rows: np.ndarray) -> None:
        """Forget all but these rows, which are numbered anew."""
        for name in ("mean", "square", "until", "weight", "weight2"):
            setattr(self, name, getattr(self, name)[rows])
