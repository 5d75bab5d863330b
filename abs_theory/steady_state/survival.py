"""Survival functions for the mean field, which needs a million values of one law for a grid of cells."""

import math
from functools import lru_cache

import numpy as np

from abs_theory.delays import (
    Delay,
    Exponential,
    HyperExponential,
    LogNormal,
    Lomax,
    Pareto,
    ShiftedExponential,
    Uniform,
    Weibull,
)
from abs_theory.typing import Array

__all__ = ["survival"]

CHEAP = (Exponential, HyperExponential, LogNormal, Lomax, Pareto, ShiftedExponential, Uniform, Weibull)
MANY_TIMES = 50_000  # from which on a table is made; it costs one value for each node
NODES = 1 << 14  # a relative error of about 1e-6
END_MASS = 1e-12  # that lies before the first node, and beyond the last; there the law itself is asked


def survival(law: Delay, times: Array) -> Array:
    """P(X > t), for many ``times`` from a table unless the law has a cheap formula."""
    if times.size < MANY_TIMES or isinstance(law, CHEAP):
        return law.sf(times)
    table = _table(law)
    if table is None:
        return law.sf(times)
    first, last, scale, log_survival, steps = table
    within = np.minimum(np.maximum(times, first), last)
    place = np.log(within)
    place -= math.log(first)
    place *= scale
    node = place.astype(np.int32)
    place -= node
    place *= steps.take(node, mode="clip")
    place += log_survival.take(node)
    np.exp(place, out=place)
    if (outside := within != times).any():
        place[outside] = law.sf(times[outside])
    return place


@lru_cache(maxsize=32)
def _table(law: Delay) -> tuple[float, float, float, Array, Array] | None:
    """First and last time, nodes per unit of log time, log survival there, its differences; None if it has no span."""
    first, last = float(law.ppf(END_MASS)), float(law.isf(END_MASS))
    if not 0 < first < last < math.inf:
        return None
    log_t = np.linspace(math.log(first), math.log(last), NODES)
    log_survival = np.log(law.sf(np.exp(log_t)))
    if not np.isfinite(log_survival).all():
        return None
    return first, last, (NODES - 1) / math.log(last / first), log_survival, np.diff(log_survival)
