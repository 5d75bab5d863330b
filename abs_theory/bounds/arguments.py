"""What all guaranteed bounds ask of their arguments, and the longest step for a load."""

import numpy as np
from numpy.typing import ArrayLike

from abs_theory.bounds.constants import Constants
from abs_theory.checks import check_count, checked_array, explains_types
from abs_theory.typing import Array

__all__ = ["STEP_SLACK", "checked_updates", "covered_step", "step_for_load", "waited_for"]

STEP_SLACK = 1e-12  # a step may exceed its limit by this share of it, which rounding can cause


def waited_for(k: ArrayLike, n: int | None = None) -> Array:
    """The numbers ``k``; ValueError unless they are whole numbers >= 1, and at most ``n`` if it is given."""
    array = checked_array("k", k, positive=True, whole=True)
    if n is not None:
        check_count("n", n)
        if np.any(array > n):
            raise ValueError(f"k must be a whole number in 1..n, got k={k!r} with n={n} workers")
    return array


def checked_updates(num_updates: ArrayLike | None) -> Array:
    """The numbers of updates; ValueError unless they are positive."""
    return checked_array("num_updates", num_updates, positive=True)


@explains_types
def step_for_load(constants: Constants, load: ArrayLike) -> Array:
    """The step eta with L eta + 2 L^2 eta^2 load = 1; 0 for an infinite load.

    >>> from abs_theory.bounds import Constants
    >>> step_for_load(Constants(L=1.0, sigma2=5.0, gap=10.0), [0, 1, 6]).round(3)
    array([1.  , 0.5 , 0.25])
    """
    return 2 / (1 + np.sqrt(1 + 8 * np.asarray(load, dtype=float))) / constants.L


def covered_step(step_size: ArrayLike, limit: Array, *, zero: bool = False) -> Array:
    """The step sizes, checked against their limit."""
    eta = checked_array("step_size", step_size, positive=not zero)
    bad = eta > limit * (1 + STEP_SLACK)
    if np.any(bad):
        worst = np.unravel_index(np.argmax(bad), bad.shape)
        given, most = np.broadcast_to(eta, bad.shape)[worst], np.broadcast_to(limit, bad.shape)[worst]
        advice = "reduce it" if most > 0 else "without a limit on the staleness only 0 is: see staleness_quantile"
        raise ValueError(f"step_size must be at most {most:.6g} for this bound to hold, got {given:.6g}; {advice}")
    return eta
