"""What the error bounds of SGD need to know about a problem."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Constants:
    """Of an objective F with stochastic gradients g: E g = grad F, E |g - grad F|^2 <= sigma2."""

    L: float  # smoothness: |grad F(v) - grad F(w)| <= L |v - w|
    sigma2: float  # variance of one worker's gradient, summed over coordinates
    gap: float  # F(w_0) - inf F
    c: float = 0.0  # strong convexity, 2c (F - F*) <= |grad F|^2; 0 if not strongly convex


def abs_sgd_max_step_size(constants: Constants, k: ArrayLike, n: int, max_staleness: ArrayLike) -> Array:
    """Largest step size eta that ``abs_sgd`` covers: L eta + 2 L^2 eta^2 theta^2 <= 1; 0 if theta is inf."""
    theta, _ = np.broadcast_arrays(np.asarray(max_staleness, float), np.asarray(k))
    with np.errstate(over="ignore", divide="ignore"):
        return np.where(np.isinf(theta), 0.0, 2 / (1 + np.sqrt(1 + 8 * theta**2))) / constants.L


def abs_sgd(
    constants: Constants,
    step_size: ArrayLike,
    k: ArrayLike,
    n: int,
    num_updates: ArrayLike,
    mean_staleness: ArrayLike,
    max_staleness: ArrayLike,
) -> Array:
    """Bound on the mean of E|grad F(w_t)|^2 over updates t: 2 gap / (eta J) + L eta s2 / k + 2 L^2 eta^2 tau s2 / k."""
    eta, k = np.asarray(step_size, float), np.asarray(k, float)
    if np.any(eta > abs_sgd_max_step_size(constants, k, n, max_staleness) * (1 + 1e-12)):
        raise ValueError("step size too large for the bound")
    noise = constants.L * eta * constants.sigma2 / k
    return 2 * constants.gap / (eta * num_updates) + noise * (1 + 2 * constants.L * eta * np.asarray(mean_staleness))
