"""SGD with stale gradients on a noisy quadratic, exactly: moments of the model given the staleness of each gradient.

F(w) = 1/2 sum_i lambda_i w_i^2, with gradient noise xi of variance sigma2 / d in each of d coordinates.  Update t
applies k_t gradients, each computed at the model of tau_i updates ago:

    w_(t+1) = w_t - (eta_t / k_t) sum_i (lambda w_(t - tau_i) + xi_i)

Given all k_t and tau_i, the moments E w_t and E w_t w_s obey a linear recursion over the models still in use.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg

from abs_theory.bounds.recorded import checked_staleness, checked_steps
from abs_theory.checks import check_nonnegative, checked_array, explains_types
from abs_theory.typing import Array

__all__ = ["Moments", "moments", "stationary"]


@dataclass(frozen=True, eq=False)
class Moments:
    """E w_t and E w_t^2 of each coordinate, shape (..., updates + 1, d), for t = 0, 1, ...; given the timing."""

    curvatures: Array  #: lambda_i, shape d
    mean: Array  #: E w_t
    square: Array  #: E w_t^2

    @property
    def loss(self) -> Array:
        """E F(w_t), shape (..., updates + 1)."""
        return self.square @ self.curvatures / 2

    @property
    def gradient_norm2(self) -> Array:
        """E|grad F(w_t)|^2, shape (..., updates + 1)."""
        return self.square @ self.curvatures**2

    @property
    def variance(self) -> Array:
        """Variance of each coordinate over the gradient noise."""
        return self.square - self.mean**2


@explains_types
def moments(
    curvatures: ArrayLike,
    sigma2: float,
    start: ArrayLike,
    step_size: ArrayLike,
    staleness: ArrayLike,
    weights: ArrayLike | None = None,
) -> Moments:
    """Moments of the model after every update, exact given the timing; average them over runs of a random timing.

    ``staleness`` is a table (..., updates, gradients) as in ``recorded``; ``weights``, of the same shape, multiply the
    gradients (1 if not given).  ``step_size`` is one number or one per update, ``start`` one number or one per
    coordinate.  Moments are inf after a run has overflowed.
    Cost O(S^2 d) per update and run, S the largest staleness.
    Source: derived in notebooks/03_choosing_k.ipynb.

    See also: ``stationary``, the long run without a table.

    >>> moments([2.0, 1.0], sigma2=1.0, start=1.0, step_size=0.25, staleness=[[0], [1]]).loss.round(3)
    array([1.5  , 0.578, 0.219])
    """
    curvature = _curvatures(curvatures)
    check_nonnegative("sigma2", sigma2)
    table = checked_staleness(staleness)
    runs, (updates, _) = table.shape[:-2], table.shape[-2:]
    w0 = np.asarray(start, dtype=float)
    if w0.shape not in ((), curvature.shape) or not np.all(np.isfinite(w0)):
        raise ValueError(
            f"start must be finite, one number or one for each of {curvature.size} coordinates, got {start!r}"
        )
    eta = checked_steps(step_size, table).reshape(-1, updates)
    share, noise = _shares(table, weights)
    noise = (noise * eta**2 * sigma2 / curvature.size)[..., None]

    replicates, slots = share.shape[0], share.shape[-1]
    mean = np.empty((replicates, updates + 1, curvature.size))
    square = np.empty_like(mean)
    mean[:, 0], square[:, 0] = w0, w0**2
    # both in a ring: the model after v updates is in slot v % slots, and overwrites one that is too old to be used
    first = np.zeros((replicates, curvature.size, slots))
    second = np.zeros((replicates, curvature.size, slots, slots))
    first[..., 0], second[..., 0, 0] = w0, w0**2
    with np.errstate(over="ignore", invalid="ignore"):
        for t in range(updates):
            now, new = t % slots, (t + 1) % slots
            used = share[:, t, (t - np.arange(slots)) % slots][:, None, :]  # (replicates, 1, slots)
            pull = eta[:, t, None] * curvature  # (replicates, d)
            with_all = (used[:, :, None, :] @ second)[:, :, 0, :]  # E[stale average x each model in the ring]
            with_itself = (used * with_all).sum(axis=-1)
            mean[:, t + 1] = mean[:, t] - pull * (used * first).sum(axis=-1)
            square[:, t + 1] = square[:, t] - 2 * pull * with_all[..., now] + pull**2 * with_itself + noise[:, t]
            cross = second[..., now, :] - pull[..., None] * with_all
            first[..., new] = mean[:, t + 1]
            second[..., new, :] = second[..., :, new] = cross
            second[..., new, new] = square[:, t + 1]
    diverged = np.logical_or.accumulate(~(np.isfinite(square) & np.isfinite(mean)), axis=1)
    shape = (*runs, updates + 1, curvature.size)
    return Moments(curvature, _or_inf(mean, diverged).reshape(shape), _or_inf(square, diverged).reshape(shape))


@explains_types
def stationary(
    curvatures: ArrayLike, sigma2: float, step_size: float, k: int, staleness_pmf: ArrayLike
) -> tuple[float, float]:
    """Long-run (E F, E|grad F|^2) if all stalenesses were independent draws from ``staleness_pmf``; inf if unstable.

    This is an approximation: a worker that is late now was not late before, so real stalenesses are dependent
    (typically 2 % off).  It is exact for K-sync, pmf (1,).
    Cost O(S^3) per distinct curvature, S the length of the pmf.
    Source: derived in notebooks/03_choosing_k.ipynb.

    >>> loss, norm2 = stationary([2.0, 1.0], sigma2=1.0, step_size=0.25, k=2, staleness_pmf=[0.7, 0.3])
    >>> round(loss, 4), round(norm2, 4)
    (0.0436, 0.1358)
    """
    curvature, pmf = _curvatures(curvatures), checked_array("staleness_pmf", staleness_pmf)
    check_nonnegative("sigma2", sigma2)
    if pmf.ndim != 1 or abs(pmf.sum() - 1) > 1e-6:
        raise ValueError("staleness_pmf must be one row, the probabilities of staleness 0, 1, ..., with sum 1")
    eta = float(checked_array("step_size", step_size, positive=True))
    waited = float(checked_array("k", k, positive=True, whole=True))
    values, counts = np.unique(curvature, return_counts=True)
    noise = eta**2 * sigma2 / (curvature.size * waited)
    square = np.array([_stationary_square(eta * value, noise, waited, pmf) for value in values])
    return float(counts * values @ square / 2), float(counts * values**2 @ square)


def _stationary_square(pull: float, noise: float, k: float, pmf: Array) -> float:
    """E w^2 from the linear equations for r_s = E w_t w_(t-s), s = 0, 1, ...; inf if there is no such state."""
    size = pmf.size
    lags = np.arange(size)
    companion = np.zeros((size, size))
    companion[0] = -pull * pmf
    companion[0, 0] += 1
    companion[lags[1:], lags[:-1]] = 1
    if np.abs(linalg.eigvals(companion)).max() >= 1:
        return np.inf
    # r_m = r_(m-1) - pull sum_s p_s r_|m-1-s| for m >= 1
    system = np.eye(size)
    for m in lags[1:]:
        system[m, m - 1] -= 1
        np.add.at(system[m], np.abs(m - 1 - lags), pull * pmf)
    # r_0 = r_0 - 2 pull sum_s p_s r_s + pull^2 (r_0 / k + (1 - 1/k) sum_(s,u) p_s p_u r_|s-u|) + noise
    both = np.correlate(pmf, pmf, mode="full")[size - 1 :] * np.where(lags == 0, 1, 2)
    system[0] = 2 * pull * pmf - pull**2 * (1 - 1 / k) * both
    system[0, 0] -= pull**2 / k
    square = float(linalg.solve(system, noise * (lags == 0))[0])
    # the spread of the stalenesses acts as noise in proportion to the state; if it grows without limit, the sign flips
    return square if square >= 0 else np.inf


def _shares(table: NDArray[np.int64], weights: ArrayLike | None) -> tuple[Array, Array]:
    """The weight of each staleness in each update, shape (runs, updates, S + 1), and the sum of squared weights."""
    applied = table >= 0
    weight = np.asarray(applied if weights is None else weights, dtype=float)
    if weight.shape != table.shape or not np.all(np.isfinite(weight)):
        raise ValueError(f"weights must be finite and of the shape of the staleness table {table.shape}")
    weight = weight * applied / np.count_nonzero(applied, axis=-1, keepdims=True)
    updates, slots = weight.size // table.shape[-1], int(table.max()) + 1
    cell = np.arange(updates)[:, None] * slots + np.maximum(table, 0).reshape(updates, -1)
    share = np.bincount(cell.ravel(), weight.ravel(), minlength=updates * slots).astype(float)
    return share.reshape(-1, table.shape[-2], slots), (weight**2).sum(axis=-1).reshape(-1, table.shape[-2])


def _curvatures(curvatures: ArrayLike) -> Array:
    array = checked_array("curvatures", curvatures, positive=True)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"curvatures must be a row of at least one number, got {curvatures!r}")
    return array


def _or_inf(values: Array, diverged: NDArray[np.bool_]) -> Array:
    return np.where(diverged, np.inf, values)
