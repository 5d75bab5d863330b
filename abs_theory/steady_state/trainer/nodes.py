"""Nodes and weights of averages over a law."""

import numpy as np

from abs_theory.delays import Delay
from abs_theory.typing import Array

__all__ = ["of_law", "of_quantiles"]

NODES = 64


def of_quantiles(count: int = NODES) -> tuple[Array, Array]:
    """Quantiles and weights of an average over any continuous law.

    >>> quantiles, weights = of_quantiles()
    >>> round(float(weights @ quantiles), 12)  # of a uniform law
    0.5
    """
    x, w = np.polynomial.legendre.leggauss(count)
    return (1 + x) / 2, w / 2


def of_law(law: Delay, count: int = NODES) -> tuple[Array, Array]:
    """Times and weights of an average over ``law``; a single time if it is constant.

    >>> from abs_theory.delays import Deterministic
    >>> of_law(Deterministic(2.0))
    (array([2.]), array([1.]))
    """
    if law.var == 0:
        return np.array([float(law.mean)]), np.ones(1)
    quantiles, weights = of_quantiles(count)
    return np.asarray(law.ppf(quantiles)), weights
