"""Seconds and updates to a target on E|grad F|^2 when a gradient takes worker i at most ``seconds[i]``.

This is the fixed-time model: there is no delay law, only an upper limit for each worker.  The limit is infinite for a
worker that may never deliver.  "Within a constant" marks results that leave a universal factor open; all others are
guarantees with their constants.  ``target``, and all that varies with it, broadcasts; ``seconds`` is one row.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from abs_theory.bounds.constants import Constants
from abs_theory.checks import checked_array, explains_types
from abs_theory.typing import Array

__all__ = [
    "lower_bound", "m_synchronous", "rennala", "rennala_batch", "rennala_step_size", "rennala_updates", "ringmaster",
    "ringmaster_delay_threshold", "ringmaster_step_size", "ringmaster_updates",
]  # fmt: skip


@explains_types
def lower_bound(constants: Constants, target: ArrayLike, seconds: ArrayLike) -> Array:
    """Seconds that any method needs on the worst objective, within a constant.

    min over m of h_m (L gap / eps + sigma2 L gap / (m eps^2)), h_m the harmonic mean of the m smallest ``seconds``.
    Source: Tyurin & Richtarik (2023, NeurIPS), who also show that Rennala SGD attains it.

    >>> from abs_theory.bounds import Constants
    >>> known = Constants(L=1.0, sigma2=5.0, gap=10.0)
    >>> float(lower_bound(known, 0.1, seconds=[1.0, 1.0, 4.0]))
    2355.5555555555557
    """
    eps = _positive("target", target)
    descent = constants.L * constants.gap / eps
    return _least_seconds(seconds, descent, descent * constants.sigma2 / eps)


# ---------------------------------------------------------------- Rennala SGD: batches of fresh gradients


@explains_types
def rennala_batch(constants: Constants, target: ArrayLike) -> Array:
    """Gradients per update of Rennala SGD, max(1, ceil(sigma2 / eps)): with these, noise adds no updates.

    Source: Tyurin & Richtarik (2023, NeurIPS).

    >>> from abs_theory.bounds import Constants
    >>> known = Constants(L=1.0, sigma2=5.0, gap=10.0)
    >>> rennala_batch(known, [0.1, 1.0])
    array([50.,  5.])
    """
    return np.maximum(1.0, np.ceil(constants.sigma2 / _positive("target", target)))


@explains_types
def rennala_step_size(constants: Constants, target: ArrayLike, batch: ArrayLike) -> Array:
    """min(1 / L, eps S / (2 L sigma2)): the step of SGD with ``batch`` S fresh gradients per update.

    Source: Tyurin & Richtarik (2023, NeurIPS); derived in notebooks/03_choosing_k.ipynb.

    >>> from abs_theory.bounds import Constants
    >>> known = Constants(L=1.0, sigma2=5.0, gap=10.0)
    >>> rennala_step_size(known, 0.1, batch=[10, 50, 200])
    array([0.1, 0.5, 1. ])
    """
    room = _positive("target", target) * _batch(batch)  # the noise term L eta sigma2 / S may take half of the target
    return np.minimum(1.0, room / np.maximum(2 * constants.sigma2, room)) / constants.L


@explains_types
def rennala_updates(constants: Constants, target: ArrayLike, batch: ArrayLike) -> Array:
    """Updates, not rounded, until the mean of E|grad F|^2 is at most the target: 4 gap / (eta eps), eta as above.

    At most 8 L gap / eps for ``rennala_batch``.  Serves K-sync and m-synchronous SGD too (S = k).
    Source: derived in notebooks/03_choosing_k.ipynb; our constant, Tyurin & Richtarik (2023) have a larger one.

    >>> from abs_theory.bounds import Constants
    >>> known = Constants(L=1.0, sigma2=5.0, gap=10.0)
    >>> float(rennala_updates(known, 0.1, batch=50))
    800.0
    """
    return 4 * constants.gap / (rennala_step_size(constants, target, batch) * _positive("target", target))


@explains_types
def rennala(constants: Constants, target: ArrayLike, seconds: ArrayLike, batch: ArrayLike | None = None) -> Array:
    """Seconds to the target by Rennala SGD (K-batch-sync), default ``rennala_batch``.

    ceil(``rennala_updates``) times min over m of h_m (1 + S/m): m fresh workers have delivered S gradients by then.
    Source: Tyurin & Richtarik (2023, NeurIPS); constants derived in notebooks/03_choosing_k.ipynb.

    >>> from abs_theory.bounds import Constants
    >>> known = Constants(L=1.0, sigma2=5.0, gap=10.0)
    >>> float(rennala(known, 0.1, seconds=[1.0, 1.0, 4.0]))
    18844.444444444445
    """
    size = rennala_batch(constants, target) if batch is None else _batch(batch)
    return np.ceil(rennala_updates(constants, target, size)) * _least_seconds(seconds, np.ones_like(size), size)


@explains_types
def m_synchronous(constants: Constants, target: ArrayLike, seconds: ArrayLike) -> tuple[NDArray[np.int64], Array]:
    """The best m for K-sync with k = m, and its seconds to the target.

    Each update has a batch of m and takes the m-th smallest of ``seconds``.  The result is at most 8 H_n times
    the ``lower_bound`` (up to rounding), H_n = 1 + 1/2 + ... + 1/n.
    Source: Begunov & Tyurin (arXiv 2602.03802) for the method; the factor derived in notebooks/03_choosing_k.ipynb.

    >>> from abs_theory.bounds import Constants
    >>> known = Constants(L=1.0, sigma2=5.0, gap=10.0)
    >>> m, total = m_synchronous(known, 0.1, seconds=[1.0, 1.0, 4.0])
    >>> int(m), float(total)
    (2, 20000.0)
    """
    slowest = _sorted(seconds)
    eps = _positive("target", target)
    m = np.arange(1, slowest.size + 1)
    times = np.ceil(rennala_updates(constants, eps[..., None], m)) * slowest
    return m[np.argmin(times, axis=-1)], times.min(axis=-1)


# ---------------------------------------------------------------- Ringmaster ASGD: one gradient, limited delay


@explains_types
def ringmaster_delay_threshold(constants: Constants, target: ArrayLike) -> Array:
    """Optimal R = max(1, ceil(sigma2 / eps)): gradients of staleness R or more are stopped; max_staleness is R - 1.

    Source: Maranjyan, Tyurin & Richtarik (2025, ICML).

    >>> from abs_theory.bounds import Constants
    >>> known = Constants(L=1.0, sigma2=5.0, gap=10.0)
    >>> ringmaster_delay_threshold(known, [0.1, 1.0])
    array([50.,  5.])
    """
    return rennala_batch(constants, target)


@explains_types
def ringmaster_step_size(constants: Constants, target: ArrayLike, R: ArrayLike) -> Array:
    """min(1 / (2 R L), eps / (4 L sigma2)).

    Source: Maranjyan, Tyurin & Richtarik (2025, ICML), Theorem 1.

    >>> from abs_theory.bounds import Constants
    >>> known = Constants(L=1.0, sigma2=5.0, gap=10.0)
    >>> ringmaster_step_size(known, 0.1, R=[1, 50])
    array([0.005, 0.005])
    """
    eps, largest = _positive("target", target), 1 / (2 * constants.L * _batch(R, "R"))
    return np.minimum(largest, eps / np.maximum(4 * constants.L * constants.sigma2, eps / largest))


@explains_types
def ringmaster_updates(constants: Constants, target: ArrayLike, R: ArrayLike) -> Array:
    """Updates, not rounded, until the mean of E|grad F|^2 is at most the target.

    8 R L gap / eps + 16 sigma2 L gap / eps^2.
    Source: Maranjyan, Tyurin & Richtarik (2025, ICML), Theorem 1; follows from ``bounds.updates_to`` with k = 1,
    max_staleness = R - 1 at this step, see notebooks/03_choosing_k.ipynb.

    >>> from abs_theory.bounds import Constants
    >>> known = Constants(L=1.0, sigma2=5.0, gap=10.0)
    >>> float(ringmaster_updates(known, 0.1, R=50))
    120000.0
    """
    eps = _positive("target", target)
    return 8 * constants.L * constants.gap / eps * (_batch(R, "R") + 2 * constants.sigma2 / eps)


@explains_types
def ringmaster(constants: Constants, target: ArrayLike, seconds: ArrayLike, R: ArrayLike | None = None) -> Array:
    """Seconds to the target by Ringmaster ASGD, default ``ringmaster_delay_threshold``.

    ceil(updates / R) blocks of R updates, each of at most t(R) = 2 min over m of h_m (1 + R/m) seconds.
    Source: Maranjyan, Tyurin & Richtarik (2025, ICML), Theorem 1 and the lemma on R consecutive updates.

    >>> from abs_theory.bounds import Constants
    >>> known = Constants(L=1.0, sigma2=5.0, gap=10.0)
    >>> float(ringmaster(known, 0.1, seconds=[1.0, 1.0, 4.0]))
    113066.66666666667
    """
    threshold = ringmaster_delay_threshold(constants, target) if R is None else _batch(R, "R")
    blocks = np.ceil(ringmaster_updates(constants, target, threshold) / threshold)
    return blocks * 2 * _least_seconds(seconds, np.ones_like(threshold), threshold)


# ---------------------------------------------------------------- inside


def _least_seconds(seconds: ArrayLike, per_worker: Array, shared: Array) -> Array:
    """min over m of h_m (per_worker + shared / m), with h_m the harmonic mean of the m smallest ``seconds``."""
    times = _sorted(seconds)
    rate = np.cumsum(1 / times)  # m / h_m
    m = np.arange(1, times.size + 1)
    return ((per_worker[..., None] * m + shared[..., None]) / rate).min(axis=-1)


def _sorted(seconds: ArrayLike) -> Array:
    times = np.asarray(seconds, dtype=float)
    if times.ndim != 1 or not (np.all(times > 0) and np.any(np.isfinite(times))):
        raise ValueError(f"seconds must be a row of numbers > 0, not all infinite, got {seconds!r}")
    return np.sort(times)


def _positive(name: str, value: ArrayLike) -> Array:
    return checked_array(name, value, positive=True)


def _batch(batch: ArrayLike, name: str = "batch") -> Array:
    return checked_array(name, batch, positive=True, whole=True)
