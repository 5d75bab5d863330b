"""The upper tail of a law from its density, accurate however small its probabilities are.

Many libraries compute P(X > t) as 1 - cdf(t), which has no digits left below 1e-16.  The density usually keeps its
digits, and so does its integral beyond t.  The coordinate is y = log(t - start).  Panels of y are halved until the
integrand is a polynomial on each of them; its integral is then a polynomial, too.  Where the density becomes too small
for floating point, the tail continues as the power law that it has become.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import legendre

from abs_theory.delays.numerics.panels import LATEST_LOG_TIME, LEGENDRE, NODES, ORDER
from abs_theory.typing import Array

WIDEST_PANEL = 3.0  # in y
NARROWEST_PANEL = 1e-7  # in y; a density that is not smooth on it is noise
MOST_PANELS = 2**12
ROUGHNESS = 1e-12  # highest Legendre coefficients, relative to the largest value on the panel
LARGEST_FALL = 1e3  # ratio of the largest and the smallest value on a panel
SMALLEST_DENSITY = 1e-285  # smaller ones lose digits to underflow
SAME_INDEX = 1e-6  # relative difference between the indices of a power law at two times
LIGHT_INDEX = 20.0  # a tail that falls faster has nothing left beyond the smallest density

# turns Legendre coefficients of a polynomial into those of its integral from -1 on
INTEGRAL = legendre.legint(np.eye(ORDER), lbnd=-1, axis=1)


@dataclass(frozen=True, eq=False)
class DensityTail:
    """P(X > t) for t >= ``first``."""

    first: float  #: the time at which the tail begins
    start: float  #: the time at which the law begins
    edges: Array  #: of the panels in y, increasing
    coefficients: Array  #: Legendre coefficients of the integral from the left edge of each panel
    beyond: Array  #: P(X > right edge) of each panel
    index: float  #: of the power law beyond the last panel

    def __call__(self, t: Array) -> Array:
        """P(X > t), shape of ``t``."""
        y = np.log(np.maximum(np.ravel(t), self.first) - self.start)
        i = np.clip(np.searchsorted(self.edges, y, side="right") - 1, 0, self.edges.size - 2)
        s = np.clip(2 * (y - self.edges[i]) / (self.edges[i + 1] - self.edges[i]) - 1, -1.0, 1.0)
        before = (legendre.legvander(s, ORDER) * self.coefficients[i]).sum(axis=1)
        within = np.maximum(self.coefficients[i].sum(axis=1) - before, 0.0)
        later = np.maximum(y - self.edges[-1], 0.0)
        return ((self.beyond[i] + within) * np.exp(-self.index * later)).reshape(np.shape(t))


def density_tail(pdf: Callable[[Array], Array], start: float, first: float, probability: float) -> DensityTail:
    """The tail from ``first`` on, where P(X > t) is ``probability``, of a law that begins at ``start`` and has no end.

    Raises ArithmeticError if the density is not smooth, contradicts the ``probability``, or has a heavy tail that is
    no power law.
    """

    def density(y: Array) -> Array:
        values = np.asarray(pdf(start + np.exp(y)), float)
        return np.where(np.isfinite(values), values, 0.0)

    near = math.log(first - start)
    far = _last_positive(density, near)
    edges = np.linspace(near, far, math.ceil((far - near) / WIDEST_PANEL) + 1)
    low, high, values = _polynomials(lambda y: density(y) * np.exp(y), edges[:-1], edges[1:])
    coefficients = (values * (high - low)[:, None] / 2) @ LEGENDRE.T @ INTEGRAL
    index = _index(density, far)
    last = float(density(np.array(far))) * math.exp(far) / index
    area = coefficients.sum(axis=1)
    total = float(area.sum()) + last
    if not math.isclose(total, probability, rel_tol=1e-7):
        raise ArithmeticError(
            f"the integral of the density is {total:.10g} where the probability is {probability:.10g}"
        )
    scale = probability / total
    beyond = scale * (np.append(np.cumsum(area[:0:-1])[::-1], 0.0) + last)
    return DensityTail(first, start, np.append(low, high[-1]), scale * coefficients, beyond, index)


def _last_positive(density: Callable[[Array], Array], near: float) -> float:
    """The last y at which the density is large enough for floating point."""
    first, last = near, LATEST_LOG_TIME
    for _ in range(3):
        y = np.linspace(first, last, 32)
        small = density(y) < SMALLEST_DENSITY
        if not small.any():
            return last
        i = max(int(np.argmax(small)), 1)
        first, last = float(y[i - 1]), float(y[i])
    if first == near:
        raise ArithmeticError("the density is too small for floating point")
    return first


def _polynomials(integrand: Callable[[Array], Array], low: Array, high: Array) -> tuple[Array, Array, Array]:
    """Panels on which ``integrand`` is a polynomial, in order, and its values at their nodes."""
    finished: list[tuple[Array, Array, Array]] = []
    panels = low.size
    while low.size:
        values = integrand((low + high)[:, None] / 2 + (high - low)[:, None] / 2 * NODES)
        largest = values.max(axis=1)
        rough = abs(values @ LEGENDRE[-2:].T).max(axis=1) > ROUGHNESS * largest
        rough |= largest > LARGEST_FALL * values.min(axis=1)
        finished.append((low[~rough], high[~rough], values[~rough]))
        panels += int(rough.sum())
        if panels > MOST_PANELS or (high - low)[rough].min(initial=1.0) < NARROWEST_PANEL:
            raise ArithmeticError("the density is not smooth")
        middle = (low + high)[rough] / 2
        low, high = np.concatenate([low[rough], middle]), np.concatenate([middle, high[rough]])
    low, high, values = (np.concatenate(parts) for parts in zip(*finished, strict=True))
    order = np.argsort(low)
    return low[order], high[order], values[order]


def _index(density: Callable[[Array], Array], far: float) -> float:
    """The index a of the tail t^-a at y = ``far``."""
    y = far - np.array([20.0, 10.0, 0.1, 0.0])
    with np.errstate(divide="ignore"):
        slope = -np.diff(np.log(density(y)) + y) / np.diff(y)
    if slope[2] >= LIGHT_INDEX:
        return float(slope[2])
    if not (slope[1] > 0 and math.isclose(slope[0], slope[1], rel_tol=SAME_INDEX)):
        raise ArithmeticError("the tail is heavy and no power law")
    return float(slope[1])
