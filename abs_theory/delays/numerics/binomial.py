"""How many of n equal workers are done: at least k, or fewer than k.

The number done is binomial, so both probabilities are incomplete beta functions.  ``done`` and ``busy`` are the
probabilities that one worker is done, or still busy; the smaller one is used, because 1 minus it has lost its digits.
Source: David & Nagaraja (2003), ch. 2.
"""

import numpy as np
from scipy import special

from abs_theory.typing import Array


def at_least(k: int, n: int, done: Array, busy: Array) -> Array:
    """P(X_(k) <= t), the probability that at least ``k`` of ``n`` are done."""
    after = n - k + 1
    return np.where(done < busy, special.betainc(k, after, done), special.betaincc(after, k, busy))


def fewer_than(k: int, n: int, done: Array, busy: Array) -> Array:
    """P(X_(k) > t), the probability that fewer than ``k`` of ``n`` are done."""
    after = n - k + 1
    return np.where(done < busy, special.betaincc(k, after, done), special.betainc(after, k, busy))
