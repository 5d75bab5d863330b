"""Survival functions from tables, for programs that need a million values of one law."""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from abs_theory.delays.base import Delay
from abs_theory.delays.exponential import Exponential, HyperExponential
from abs_theory.typing import Array, Ints

__all__ = ["survival", "survival_of_sums", "usual_survival"]

CHEAP = (Exponential, HyperExponential)
MOST_NODES, FEW_NODES = 1 << 14, 1 << 11  # of a table; it costs one value for each, which may take milliseconds
CLOSED_FORM = 5e-11  # resolution of a law, beyond which its values may be expensive
# nodes for each factor of 2 in time; with so many survival itself is linear between them, to 1e-5 or so, else its log
MANY_NODES = 1 << 9
END_MASS = 1e-12  # that lies before the first node, and beyond the last; there the law itself is asked
MANTISSA_BITS = 52


class Table(NamedTuple):
    """Survival, or its log, linear between nodes.

    The nodes are the numbers whose last ``shift`` bits are 0, so the place of a time is read from its first bits.
    """

    shift: int
    before: int  # place of the entry for times before the table, where nobody is done; the last is for those beyond
    at_zero: Array  # of the straight line in each interval
    slope: Array
    logarithmic: bool

    def places(self, times: Array) -> Ints:
        """The interval of each of the ``times``, or one beyond the ends of the table."""
        place = times.view(np.int64) >> self.shift
        place -= self.before
        return place

    def at(self, times: Array, places: Ints) -> Array:
        """Survival in these intervals."""
        survive = self.slope.take(places, mode="clip")
        survive *= times
        survive += self.at_zero.take(places, mode="clip")
        return np.exp(survive, out=survive) if self.logarithmic else survive


def survival(law: Delay, times: Array) -> Array:
    """P(X > t), from a table unless the law has a cheap formula."""
    table = None if isinstance(law, CHEAP) else _table(law)
    if table is None:
        return law.sf(times)
    places = table.places(times)
    survive = table.at(times, places)
    outside = (places <= 0) | (places >= table.slope.size - 1)
    if outside.any():
        survive[outside] = law.sf(times[outside])
    return survive


def usual_survival(law: Delay, times: Array) -> Array:
    """P(X > t), not resolved where it is below END_MASS or above 1 - END_MASS; this is faster."""
    table = None if isinstance(law, Exponential) else _table(law)
    return law.sf(times) if table is None else table.at(times, table.places(times))


def survival_of_sums(law: Delay, some: Array, more: Array) -> Array:
    """P(X > some + more) for all pairs; cells x bins x ages and cells x nodes make cells x bins x nodes x ages.

    It is not resolved below END_MASS, where it is no part of a sum.
    """
    if isinstance(law, HyperExponential):
        total = np.zeros((*some.shape[:2], more.shape[1], some.shape[2]))
        for prob, mean in zip(law.probs, law.means, strict=True):
            total += (prob * np.exp(-some / mean))[:, :, None, :] * np.exp(-more / mean)[:, None, :, None]
        return total
    return usual_survival(law, some[:, :, None, :] + more[:, None, :, None])


@lru_cache(maxsize=32)
def _table(law: Delay) -> Table | None:
    """The table of a law; None if it has no span."""
    ends = np.array([law.ppf(END_MASS), law.isf(END_MASS)], dtype=float)
    if not 0 < ends[0] < ends[1] < math.inf:
        return None
    bits = ends.view(np.int64)
    most = MOST_NODES if law.resolution < CLOSED_FORM else FEW_NODES
    shift = next(s for s in range(MANTISSA_BITS + 11) if (bits[1] >> s) - (bits[0] >> s) < most)
    first, last = bits >> shift
    nodes = (np.arange(first, last + 2) << shift).view(np.float64)
    values = np.asarray(law.sf(nodes), dtype=float)
    if not (np.isfinite(values).all() and values[-1] > 0):
        return None
    logarithmic = 1 << (MANTISSA_BITS - min(shift, MANTISSA_BITS)) < MANY_NODES
    at_ends = [1.0, 0.0]
    if logarithmic:
        values, at_ends = np.log(values), [0.0, math.log(END_MASS)]
    slope = np.diff(values) / np.diff(nodes)
    at_zero = np.concatenate([at_ends[:1], values[:-1] - slope * nodes[:-1], at_ends[1:]])
    return Table(shift, int(first) - 1, at_zero, np.concatenate([[0.0], slope, [0.0]]), logarithmic)
