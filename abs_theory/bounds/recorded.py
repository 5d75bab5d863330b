"""Recorded runs: the staleness of every gradient of every update, and the error bound that follows.

A *staleness table* is an integer array of shape (..., updates, gradients).  Row t holds the staleness of the gradients
that update t (0, 1, ...) applied; an update that applied fewer gradients than others has -1 in the unused places.
Leading axes are runs.  Timings do not depend on the samples of the gradients, so one may condition on them.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from abs_theory.bounds.arguments import STEP_SLACK, step_for_load
from abs_theory.bounds.constants import Constants
from abs_theory.checks import check_count, check_k, check_max_staleness, check_rng, checked_array, explains_types
from abs_theory.monte_carlo import PlayedFleet
from abs_theory.typing import Array, Laws, places_within

__all__ = ["checked_staleness", "checked_steps", "gradient_norm", "max_step_size", "sample", "staleness_table"]

Versions = NDArray[np.int64]


def sample(
    delay: Laws,
    k: int,
    n: int,
    max_staleness: float | None,
    rng: np.random.Generator,
    num_updates: int,
    replicates: int,
) -> Versions:
    """Staleness tables of ABS, shape (replicates, num_updates, k), every run starting with n fresh workers.

    ``delay``: one law for all workers, or a sequence of n.  Cost O(n) per update and run.

    >>> from abs_theory.delays import Exponential
    >>> sample(Exponential(mean=1.0), 2, 4, None, np.random.default_rng(0), num_updates=100, replicates=3).shape
    (3, 100, 2)
    """
    check_k(k, n)
    check_rng(rng)
    check_count("num_updates", num_updates)
    check_count("replicates", replicates)
    check_max_staleness(max_staleness)
    fleet = PlayedFleet(delay, n, rng, replicates)
    bound = np.inf if max_staleness is None else max_staleness
    return np.stack([fleet.round(k, bound).staleness for _ in range(num_updates)], axis=1)


def staleness_table(update: ArrayLike, staleness: ArrayLike) -> Versions:
    """The table of one run, from two columns with one entry per applied gradient.

    ``update`` (0, 1, ...) is the update that applied it.  In the table of tasks of a simulation, the gradients with
    ``applied_version`` > 0 have update = applied_version - 1 and staleness = applied_version - 1 - read_version.
    Raises ValueError unless both are columns of whole numbers and of equal length.

    >>> staleness_table(update=[0, 1, 1], staleness=[0, 0, 1])
    array([[ 0, -1],
           [ 0,  1]])
    """
    update, staleness = np.asarray(update), np.asarray(staleness)
    if update.ndim != 1 or update.shape != staleness.shape or update.size == 0:
        raise ValueError(f"update and staleness must be columns of equal length, got {update.shape}, {staleness.shape}")
    if not (
        np.issubdtype(update.dtype, np.integer) and np.issubdtype(staleness.dtype, np.integer) and update.min() >= 0
    ):
        raise ValueError("update and staleness must be whole numbers, the updates from 0 on")
    counts = np.bincount(update)
    order = np.argsort(update, kind="stable")
    table = np.full((counts.size, counts.max()), -1)
    table[update[order], places_within(counts)] = staleness[order]
    return checked_staleness(table)


@explains_types
def gradient_norm(constants: Constants, step_size: ArrayLike, staleness: ArrayLike) -> Array:
    r"""Bound on the mean of E|grad F(w_t)|^2, weighted by the steps eta_t, given the timing; k and step may move.

    .. math:: \frac{2\,gap + L \sigma^2 \sum_t \eta_t^2/k_t
              + 2 L^2\sigma^2 \sum_t (\eta_t/k_t) \sum_i \sum_{j=t-\tau_i}^{t-1} \eta_j^2/k_j}{\sum_t \eta_t}

    One value per run; ``step_size`` is one number or one per update.  Covers any protocol that applies a gradient once,
    with weight 1.  Constant step and k: ``bounds.abs_sgd`` with the mean staleness of this very run.
    Source: Lian et al. (2015), Theorem 1, for the sum of gradients; derived in notebooks/03_choosing_k.ipynb.
    Raises ValueError unless L eta_j + 2 L^2 eta_j sum_i eta_(t_i) tau_i / k_(t_i) <= 1 at every update j, where i runs
    over the gradients in flight across it: read up to j, applied at t_i > j.

    See also: ``bounds.abs_sgd``, before a run, from its mean staleness.

    >>> from abs_theory.bounds import Constants
    >>> known = Constants(L=1.0, sigma2=5.0, gap=10.0)
    >>> float(gradient_norm(known, 0.1, staleness=[[0], [0], [1], [1]]).round(3))
    50.55
    """
    table = checked_staleness(staleness)
    eta = checked_steps(step_size, table)
    stretch = constants.L * eta * (1 + 2 * constants.L * _load(table, eta))
    if np.any(stretch > 1 + STEP_SLACK):
        raise ValueError(
            f"L eta_j + 2 L^2 eta_j sum_i eta tau_i / k must be at most 1 at every update, got {stretch.max():.6g}; "
            "reduce the step: recorded.max_step_size is the largest constant one"
        )
    k = np.count_nonzero(table >= 0, axis=-1)
    noise = eta**2 / k
    before = np.cumsum(noise, axis=-1) - noise  # of the updates 0..t-1
    read = _read_version(table).reshape(*k.shape[:-1], -1)
    since_read = before[..., None] - np.take_along_axis(before, read, -1).reshape(table.shape)
    drift = eta / k * np.where(table > 0, since_read, 0.0).sum(axis=-1)
    total = constants.L * constants.sigma2 * (noise + 2 * constants.L * drift).sum(axis=-1)
    return (2 * constants.gap + total) / eta.sum(axis=-1)


@explains_types
def max_step_size(constants: Constants, staleness: ArrayLike) -> Array:
    """Largest constant step that ``gradient_norm`` covers, one per run; at least ``bounds.abs_sgd_max_step_size``.

    >>> from abs_theory.bounds import Constants
    >>> float(max_step_size(Constants(L=1.0, sigma2=5.0, gap=10.0), staleness=[[0], [0], [1], [1]]))
    0.5
    """
    table = checked_staleness(staleness)
    return step_for_load(constants, _load(table, np.ones(table.shape[:-1])).max(axis=-1))


def _load(table: Versions, eta: Array) -> Array:
    """For each update j, the sum of eta_t tau / k_t over the gradients in flight across it."""
    weight = (eta / np.count_nonzero(table >= 0, axis=-1))[..., None] * np.maximum(table, 0)
    run = np.arange(eta.size).reshape(eta.shape) // table.shape[-2] * table.shape[-2]
    begins = np.bincount((run[..., None] + _read_version(table)).ravel(), weight.ravel(), minlength=eta.size)
    change = begins.reshape(eta.shape) - weight.sum(axis=-1)
    return np.maximum(np.cumsum(change, axis=-1), 0.0)


def _read_version(table: Versions) -> Versions:
    return np.arange(table.shape[-2])[:, None] - np.maximum(table, 0)


def checked_staleness(staleness: ArrayLike) -> Versions:
    """The staleness table as an integer array.

    Raises ValueError unless every update applies at least one gradient, and none is staler than its update's number.
    """
    table = np.asarray(staleness)
    if table.ndim < 2 or table.size == 0 or not np.issubdtype(table.dtype, np.integer):
        raise ValueError(
            "staleness must be a table of integers, updates x gradients (-1: no gradient), "
            f"got shape {table.shape} of {table.dtype}"
        )
    if np.any(table < -1) or np.any(table > np.arange(table.shape[-2])[:, None]):
        raise ValueError("the staleness at update t = 0, 1, ... must be in 0..t (or -1: no gradient)")
    if not np.all((table >= 0).any(axis=-1)):
        raise ValueError("every update must apply at least one gradient, got a row of -1 only")
    return table


def checked_steps(step_size: ArrayLike, table: Versions) -> Array:
    """The step of every update of a staleness table, from one number, one per update, or one per update and run.

    Raises ValueError unless they are finite, > 0 and of such a shape.
    """
    eta = checked_array("step_size", step_size, positive=True)
    if eta.shape not in ((), table.shape[-2:-1], table.shape[:-1]):
        raise ValueError(f"step_size must be one number or one for each of {table.shape[-2]} updates, got {eta.shape}")
    return np.broadcast_to(eta, table.shape[:-1])
