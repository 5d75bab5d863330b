"""A measured number with its error."""

import math
from typing import NamedTuple


class Quantity(NamedTuple):
    """A measured number and its standard error; nan and inf if it has not been measured yet.

    >>> Quantity(2.0, 0.5).stderr
    0.5
    """

    value: float  #: the estimate
    stderr: float  #: its standard error


UNKNOWN = Quantity(math.nan, math.inf)


def weighted_mean(mean: float, square: float, weight: float, weight2: float) -> Quantity:
    """The mean of weighted values: theirs, that of their squares, the sum of the weights and of their squares.

    The weight is as good as that of weight^2 / weight2 equal values.
    """
    if weight <= 0:
        return UNKNOWN
    effective = weight * weight / weight2
    if effective < 2:  # one value has no spread
        return Quantity(float(mean), math.inf)
    return Quantity(float(mean), math.sqrt(max(square - mean * mean, 0.0) / (effective - 1)))
