r"""Noise, signal and curvature from the gradients that arrive, without computing any other.

Two gradients whose models do not depend on each other have independent noise, so the mean of their product is the
squared norm of the mean gradient, G.  The mean square of a gradient is G plus the variance S of one gradient.  Two
such gradients are those of one update; or, if it has one only, the new one and a step that its model does not contain.
If the model of a gradient contains the step eta g, their product is smaller by eta g H g.  The difference measures the
curvature along the steps: that of the noise where noise dominates them.

Means forget: after t updates they are over about the last t / ``FORGETTING``.
Source: the second moments of an update, McCandlish et al. (2018, arXiv 1812.06162); the curvature, derived in
notebooks/09_self_tuning.ipynb.
"""

import math

import numpy as np

from abs_theory.checks import explains_types
from simulations.measuring.quantity import UNKNOWN, Quantity, weighted_mean

FORGETTING = 5.0  # the mean after t updates is over the last t / 5
DEPTH = 32  # steps that are remembered; products with older ones are not measured
LAG = 10  # updates after which a single fresh gradient has forgotten most of a step's effect; our choice
OF_SINGLE = 1.5  # the true drop over the one seen by single fresh gradients: 1 far from equilibrium, 2 - eta h in it
SQUARE, PRODUCT, NOISE, BENT, MOVED = range(5)  # the channels whose means are kept


@explains_types
class GradientMeter:
    """The moments of the gradients of several rows (replicates), the same to the last bit as if each were alone.

    >>> meter = GradientMeter(1, dimension=2, dtype=np.dtype(float))
    >>> pair = np.array([[1.0, 1.0], [1.0, -1.0]])
    >>> meter.add(pair, counts=np.array([2]), versions=np.array([0, 0]), steps=np.array([[0.1, 0.0]]))
    >>> float(meter.variance(0).value), float(meter.norm2(0).value)
    (2.0, 0.0)
    """

    def __init__(self, rows: int, dimension: int, dtype: np.dtype):
        self.updates = 0
        self.sums, self.squares = np.zeros((5, rows)), np.zeros((5, rows))  # weighted sums of each channel
        self.across = np.zeros(rows)  # of the last two channels' product
        self.weight, self.weight2 = np.zeros((5, rows)), np.zeros((5, rows))
        self.means = np.zeros((rows, DEPTH, dimension), dtype)  # gradients, by number of the update
        self.moved = np.zeros((rows, DEPTH))  # step times mean gradient

    def add(self, gradients: np.ndarray, counts: np.ndarray, versions: np.ndarray, steps: np.ndarray) -> None:
        """Note an update: ``counts`` gradients of each row, one after the other, and the step of each row.

        ``versions`` are the numbers of updates that the model of each gradient contains.
        """
        rows, t = len(counts), self.updates + 1
        begins = np.concatenate([[0], np.cumsum(counts)[:-1]])
        row = np.repeat(np.arange(rows), counts)
        square = np.einsum("md,md->m", gradients, gradients).astype(float)
        total = np.add.reduceat(square, begins)
        if len(gradients) == rows:
            mean, pairs = gradients, np.full(rows, math.nan)
        else:
            mean = np.add.reduceat(gradients, begins, axis=0) / counts[:, None].astype(gradients.dtype)
            norm2 = np.einsum("md,md->m", mean, mean).astype(float)
            many = np.maximum(counts, 2)
            pairs = np.where(counts > 1, (counts**2 * norm2 - total) / (many * (many - 1)), math.nan)
        # products with a step that the model of each gradient contains, and with one that it does not
        fresh = versions == t - 1
        alone = fresh & (counts[row] == 1)
        other = np.where(alone, versions - LAG + 1, versions + 1)
        other = np.where(other < t - DEPTH, t - 1, other)  # the model of so stale a gradient does not contain this one
        within = self._products(gradients, row, versions, t)
        outside = self._products(gradients, row, np.where(fresh & ~alone, t, other), t)
        outside = np.where(fresh & ~alone, pairs[row], outside)
        measured = np.isfinite(within) & np.isfinite(outside)
        drop = np.where(alone, OF_SINGLE, 1.0) * np.where(measured, outside - within, 0.0)
        share = 1 / np.maximum(np.add.reduceat(measured.astype(float), begins), 1.0)
        bent = np.add.reduceat(drop, begins) * share
        moved = np.where(measured, self.moved[row, versions % DEPTH], 0.0)
        moved = np.add.reduceat(moved, begins) * share
        product = np.where(counts > 1, pairs, outside[begins])
        values = np.array([total / counts, product, total / counts - product, bent, moved])
        known = np.isfinite(product)
        some = np.add.reduceat(measured, begins, dtype=int) > 0
        self._average(values, np.array([np.ones(rows, bool), known, known, some, some]), t)
        self.means[:, t % DEPTH] = mean
        self.moved[:, t % DEPTH] = np.einsum("rd,rd->r", steps, mean)
        self.updates = t

    def variance(self, row: int) -> Quantity:
        """S = E|g - E g|^2 of one gradient."""
        return self._quantity(NOISE, row)

    def square(self, row: int) -> Quantity:
        """E|g|^2 of one gradient, S + G."""
        return self._quantity(SQUARE, row)

    def norm2(self, row: int) -> Quantity:
        """G = |E g|^2, the squared norm of the mean gradient."""
        return self._quantity(PRODUCT, row)

    def curvature(self, row: int) -> Quantity:
        """E[g H g] / E[g g] for the steps g: a ratio of means, with the standard error of the delta method."""
        bent, moved = self._quantity(BENT, row), self._quantity(MOVED, row)
        if not (bent.stderr < math.inf and moved.value > 0):
            return UNKNOWN
        ratio, weight = bent.value / moved.value, self.weight[BENT, row]
        across = self.across[row] / weight - bent.value * moved.value
        effective = weight**2 / self.weight2[BENT, row]
        spread = bent.stderr**2 + ratio**2 * moved.stderr**2 - 2 * ratio * across / max(effective - 1, 1.0)
        return Quantity(ratio, math.sqrt(max(spread, 0.0)) / moved.value)

    def keep(self, rows: np.ndarray) -> None:
        """Forget all but these rows, which are numbered anew."""
        for name in ("sums", "squares", "weight", "weight2"):
            setattr(self, name, getattr(self, name)[:, rows])
        self.across, self.means, self.moved = self.across[rows], self.means[rows], self.moved[rows]

    def _products(self, gradients: np.ndarray, row: np.ndarray, number: np.ndarray, t: int) -> np.ndarray:
        """The product of each gradient with the mean gradient of an update; nan if that is not remembered."""
        there = (number >= 1) & (number < t) & (number >= t - DEPTH)
        products = np.full(len(row), math.nan)
        if there.all():
            products[:] = np.einsum("md,md->m", gradients, self.means[row, number % DEPTH])
        elif there.any():
            steps = self.means[row[there], number[there] % DEPTH]
            products[there] = np.einsum("md,md->m", gradients[there], steps)
        return products

    def _average(self, values: np.ndarray, known: np.ndarray, t: int) -> None:
        rate = min(1.0, (FORGETTING + 1) / (FORGETTING + t))
        values = np.where(known, values, 0.0)
        for sums, new in (
            (self.sums, values),
            (self.squares, values * values),
            (self.across, values[BENT] * values[MOVED]),
            (self.weight, known),
        ):
            sums *= 1 - rate
            sums += rate * new
        self.weight2 *= (1 - rate) ** 2
        self.weight2 += rate**2 * known

    def _quantity(self, channel: int, row: int) -> Quantity:
        weight = self.weight[channel, row]
        if weight <= 0:
            return UNKNOWN
        mean, square = self.sums[channel, row] / weight, self.squares[channel, row] / weight
        return weighted_mean(mean, square, weight, self.weight2[channel, row])
