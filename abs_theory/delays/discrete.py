"""Discrete delay laws, with finitely many times: measured times, and sums of them."""

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from abs_theory.checks import checked_array, real_numbers
from abs_theory.delays.base import Ageing, Array, Delay, quantile
from abs_theory.delays.numerics import binomial, moments
from abs_theory.delays.numerics.lattice import common_step
from abs_theory.delays.numerics.panels import LEGENDRE, NODES, ORDER, WIDEST_PANEL

MOST_ATOMS_AT_ONCE = 4000  # atoms; more are gathered at few nodes when all order statistics are computed
SHOWN_SAMPLES = 8  # samples in a repr


class Discrete(Delay):
    """A law of finitely many times: increasing ``times`` with positive ``weights``, which are probabilities or counts.

    Order statistics are exact finite sums, because X_(k) <= t is a binomial event.
    """

    times: Array
    weights: Array

    def __repr__(self) -> str:
        if self.times.size <= SHOWN_SAMPLES:
            return f"{type(self).__name__}(times={self.times.tolist()}, weights={self.weights.tolist()})"
        return (
            f"{type(self).__name__}(<{self.times.size} times from {self.times[0]} to {self.times[-1]}, {self.digest}>)"
        )

    @cached_property
    def digest(self) -> str:
        """Fingerprint of the law."""
        return hashlib.sha256(self.times.tobytes() + self.weights.tobytes()).hexdigest()[:12]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Discrete) or type(other) is not type(self):
            return False
        return np.array_equal(self.times, other.times) and np.array_equal(self.weights, other.weights)

    def __hash__(self) -> int:
        return hash(self.digest)

    @cached_property
    def _total(self) -> float:
        return float(self.weights.sum())

    @cached_property
    def _cdf(self) -> Array:
        """P(X <= t) before the first time, between the first and the second, and so on."""
        return np.append(0.0, np.minimum(np.append(np.cumsum(self.weights)[:-1] / self._total, 1.0), 1.0))

    @cached_property
    def _sf(self) -> Array:
        return np.append(np.append(1.0, np.minimum(np.cumsum(self.weights[:0:-1])[::-1] / self._total, 1.0)), 0.0)

    @cached_property
    def has_atoms(self) -> bool:
        return True

    @cached_property
    def lattice(self) -> float:
        return common_step(self.times)

    @cached_property
    def breaks(self) -> tuple[float, ...]:
        return tuple(self.times.tolist())

    def _steps_done(self, t: ArrayLike) -> Any:
        return np.searchsorted(self.times, np.asarray(t), side="right")

    def cdf(self, t: ArrayLike) -> Array:
        return self._cdf[self._steps_done(t)]

    def sf(self, t: ArrayLike) -> Array:
        return self._sf[self._steps_done(t)]

    @quantile
    def ppf(self, q: Array) -> Array:
        place = np.searchsorted(self._cdf[1:-1], q, side="left")
        return self.times[np.where(q < 1, place, self.times.size - 1)]

    @quantile
    def isf(self, q: Array) -> Array:
        at_most = np.searchsorted(self._sf[-1:0:-1], q, side="right")
        return self.times[self.times.size - at_most]

    @cached_property
    def mean(self) -> float:
        return float(self.times @ self.weights) / self._total

    @cached_property
    def var(self) -> float:
        return float((self.times - self.mean) ** 2 @ self.weights) / self._total

    @cached_property
    def ageing(self) -> Ageing:
        """A single time is increasing; several times have no hazard rate."""
        return "increasing" if self.times.size == 1 else "neither"

    def integrated_tail(self, t: ArrayLike) -> Array:
        area = np.append(np.cumsum((np.diff(self.times) * self._sf[1:-1])[::-1])[::-1], [0.0, 0.0])
        i, last = self._steps_done(t), self.times.size - 1
        left = np.maximum(self.times[np.minimum(i, last)] - np.minimum(t, self.times[-1]), 0.0)
        return left * self._sf[i] + area[i]

    def _law_of_rank(self, k: int, n: int) -> tuple[Array, Array]:
        """The times that X_(k) takes with probability above exp(-90), and their probabilities."""
        after = n - k + 1
        peak, width = math.log(k / after), math.sqrt(1 / k + 1 / after)
        low, high = special.expit([peak - max(14 * width, 100 / k), -peak - max(14 * width, 100 / after)])
        first = int(np.searchsorted(self._cdf, low, side="right")) - 1
        last = self._sf.size - int(np.searchsorted(self._sf[::-1], high, side="right"))
        cdf, sf = self._cdf[first : last + 1], self._sf[first : last + 1]
        early, late = binomial.at_least(k, n, cdf, sf), binomial.fewer_than(k, n, cdf, sf)
        early[0], late[-1] = 0.0, 0.0
        return self.times[first:last], np.where(early[1:] < 0.5, np.diff(early), -np.diff(late))

    def mean_order_statistic(self, k: int, n: int) -> float:
        """Sum of t [I_F(t)(k, n - k + 1) - I_F(t-)(k, n - k + 1)]."""
        times, probs = self._law_of_rank(k, n)
        return float(times @ probs) / float(probs.sum())

    def var_order_statistic(self, k: int, n: int) -> float:
        times, probs = self._law_of_rank(k, n)
        excess = times - times[np.argmax(probs)]
        probs = probs / probs.sum()
        return float(excess**2 @ probs) - float(excess @ probs) ** 2

    def mean_order_statistics(self, n: int) -> Array:
        gap, cdf, sf = np.diff(self.times), self._cdf[1:-1], self._sf[1:-1]
        log_cdf, log_sf = np.log(cdf), np.log(sf)
        weight, log_cdf, log_sf = (
            (gap, log_cdf, log_sf) if gap.size <= MOST_ATOMS_AT_ONCE else _gathered(gap, log_cdf - log_sf, n)
        )
        if not weight.size:
            return np.full(n, self.times[0])
        with np.errstate(divide="ignore"):
            spacing = moments.spacings(np.log(abs(weight)), log_cdf, log_sf, n, np.sign(weight))
        return self.times[0] + np.cumsum(spacing)


def _gathered(gap: Array, x: Array, n: int) -> tuple[Array, Array, Array]:
    """Weights at few nodes that replace ``gap`` at all ``x`` in sums of the probabilities of ranks of ``n``.

    The panels are narrow compared with the spread of a rank.  In each, a gap is divided among the 16 Gauss-Legendre
    nodes by Lagrange's polynomials.
    """
    edges = [float(x[0])]
    while edges[-1] < x[-1]:
        edges.append(edges[-1] + WIDEST_PANEL * float(moments.width(np.array(edges[-1] + 0.1), n)))
    start, end = np.array(edges[:-1]), np.array(edges[1:])
    first = np.searchsorted(x, start)
    used = np.diff(np.append(first, x.size)) > 0
    start, end, first = start[used], end[used], first[used]
    panel = np.repeat(np.arange(first.size), np.diff(np.append(first, x.size)))
    s = 2 * (x - start[panel]) / (end - start)[panel] - 1
    coefficients = np.add.reduceat(np.polynomial.legendre.legvander(s, ORDER - 1) * gap[:, None], first)
    weight = coefficients @ LEGENDRE
    nodes = (start + end)[:, None] / 2 + (end - start)[:, None] / 2 * NODES
    log_cdf, log_sf = -np.logaddexp(0, -nodes), -np.logaddexp(0, nodes)
    return weight.ravel(), log_cdf.ravel(), log_sf.ravel()


@dataclass(frozen=True, eq=False, repr=False)
class Atoms(Discrete):
    """Law of ``times`` with the given ``weights``, used inside other laws."""

    times: Array
    weights: Array


@dataclass(frozen=True, eq=False, repr=False)
class Empirical(Discrete):
    """The law of measured times: each of the ``samples`` is equally likely, or has a weight of its own.

    Samples must be finite and > 0, because a worker whose tasks take no time would deliver without end.  A measured 0
    means that the clock is too coarse; replace it by half a tick.  Equal samples make equal laws, in any order.
    Few or rounded samples make ties frequent.  Then the lower worker number comes first, so that equal workers take
    part unequally, by their number alone.
    The repr of more than 8 samples shows their number, range and fingerprint only.

    >>> Empirical(samples=(1.0, 2.0, 2.0, 5.0)).mean
    2.5
    >>> Empirical(samples=(1.0, 2.0, 5.0), sample_weights=(1.0, 2.0, 1.0)).mean
    2.5
    """

    samples: ArrayLike  #: measured seconds, in any order
    sample_weights: ArrayLike | None = None  #: > 0, one for each sample: counts or probabilities; None: all equal

    def _check(self) -> None:
        samples = real_numbers(self.samples)
        if samples.ndim > 1:
            shape = " x ".join(map(str, samples.shape))
            raise ValueError(f"samples must be one list of numbers, got {shape} of them: give one column, or .ravel()")
        samples = np.sort(samples.ravel())
        if not (samples.size and np.all(np.isfinite(samples)) and samples[0] > 0):
            wrong = np.count_nonzero(~(np.isfinite(samples) & (samples > 0)))
            got = f"{wrong} of {samples.size} that are not" if samples.size > SHOWN_SAMPLES else repr(self.samples)
            raise ValueError(f"samples must be finite numbers > 0, at least one, got {got}")
        if self.sample_weights is not None:
            weights = checked_array("sample_weights", self.sample_weights, positive=True).ravel()
            if weights.size != samples.size:
                raise ValueError(
                    f"sample_weights must be one for each of the {samples.size} samples, got {weights.size}"
                )
            weights = weights[np.argsort(real_numbers(self.samples).ravel(), kind="stable")]
            weights.flags.writeable = False
            object.__setattr__(self, "sample_weights", weights)
        samples.flags.writeable = False
        object.__setattr__(self, "samples", samples)

    @cached_property
    def _counted(self) -> tuple[Array, Array]:
        times, place, counts = np.unique(np.asarray(self.samples), return_inverse=True, return_counts=True)
        if self.sample_weights is None:
            return times, counts.astype(float)
        return times, np.bincount(place, np.asarray(self.sample_weights, float)).astype(float)

    @property
    def times(self) -> Array:  # pyright: ignore
        """The distinct samples in increasing order, seconds."""
        return self._counted[0]

    @property
    def weights(self) -> Array:  # pyright: ignore
        """Number, or sum of the weights, of the samples at each of ``times``."""
        return self._counted[1]

    def __repr__(self) -> str:
        samples = np.asarray(self.samples)
        if samples.size <= SHOWN_SAMPLES:
            weights = self.sample_weights
            shown = "" if weights is None else f", sample_weights={tuple(np.asarray(weights).tolist())}"
            return f"Empirical(samples={tuple(samples.tolist())}{shown})"
        return f"Empirical(<{samples.size} samples from {samples[0]:g} to {samples[-1]:g}, {self.digest}>)"
