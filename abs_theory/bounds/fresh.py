"""Bounds on the error of SGD with fresh gradients: K-sync, K-batch-sync and local SGD; as in ``guaranteed``."""

import numpy as np
from numpy.typing import ArrayLike

from abs_theory.bounds.arguments import checked_updates, covered_step, step_for_load, waited_for
from abs_theory.bounds.constants import Constants
from abs_theory.checks import check_nonnegative, checked_array, explains_types
from abs_theory.typing import Array

__all__ = [
    "contraction",
    "k_sync_error",
    "k_sync_gradient_norm",
    "k_sync_max_step_size",
    "local_sgd",
    "local_sgd_max_step_size",
]  # fmt: skip


@explains_types
def k_sync_max_step_size(constants: Constants, k: ArrayLike, *, M_G: float = 0.0) -> Array:
    """Largest step the K-sync bounds cover, 1 / (L (1 + M_G / k)), where E|g - grad F|^2 <= sigma2 + M_G |grad F|^2.

    Source: Bottou, Curtis & Nocedal (2018), Theorem 4.6; Dutta et al. (2018), Lemma 2, asks for half of it.

    >>> from abs_theory.bounds import Constants
    >>> known = Constants(L=1.0, sigma2=5.0, gap=10.0, c=0.1)
    >>> k_sync_max_step_size(known, [1, 4], M_G=2.0).round(3)
    array([0.333, 0.667])
    """
    check_nonnegative("M_G", M_G)
    return 1 / (constants.L * (1 + M_G / waited_for(k)))


@explains_types
def k_sync_error(
    constants: Constants, step_size: ArrayLike, k: ArrayLike, num_updates: ArrayLike, *, M_G: float = 0.0
) -> Array:
    """Bound on E[F(w_J)] - F* of K-sync and K-batch-sync.

    floor + (1 - eta c)^J (gap - floor), with floor = L eta sigma2 / (2 c k).
    Source: Dutta et al. (2018), Lemma 2.
    Raises ValueError unless c > 0 and 0 < step_size <= ``k_sync_max_step_size``.

    See also: ``k_sync_gradient_norm``, which needs no strong convexity.

    >>> from abs_theory.bounds import Constants
    >>> known = Constants(L=1.0, sigma2=5.0, gap=10.0, c=0.1)
    >>> float(k_sync_error(known, 0.1, k=4, num_updates=100).round(4))
    4.0566
    """
    eta = covered_step(step_size, k_sync_max_step_size(constants, k, M_G=M_G))
    return contraction(constants, eta, k, num_updates, 1.0)


@explains_types
def k_sync_gradient_norm(
    constants: Constants, step_size: ArrayLike, k: ArrayLike, num_updates: ArrayLike, *, M_G: float = 0.0
) -> Array:
    """Bound on the mean of E|grad F(w_t)|^2 over J updates of K-sync and K-batch-sync.

    2 gap / (eta J) + L eta sigma2 / k.
    Source: Bottou, Curtis & Nocedal (2018), Theorem 4.8.
    Raises ValueError unless 0 < step_size <= ``k_sync_max_step_size``.

    >>> from abs_theory.bounds import Constants
    >>> known = Constants(L=1.0, sigma2=5.0, gap=10.0, c=0.1)
    >>> float(k_sync_gradient_norm(known, 0.1, k=4, num_updates=1000))
    0.325
    """
    eta = covered_step(step_size, k_sync_max_step_size(constants, k, M_G=M_G))
    return 2 * constants.gap / (eta * checked_updates(num_updates)) + constants.L * eta * constants.sigma2 / waited_for(
        k
    )


@explains_types
def local_sgd_max_step_size(constants: Constants, local_steps: ArrayLike) -> Array:
    """Largest step that ``local_sgd`` covers: L eta + L^2 eta^2 U (U-1) <= 1, U = ``local_steps``.

    >>> from abs_theory.bounds import Constants
    >>> known = Constants(L=1.0, sigma2=5.0, gap=10.0, c=0.1)
    >>> local_sgd_max_step_size(known, local_steps=[1, 5]).round(3)
    array([1. , 0.2])
    """
    steps = checked_array("local_steps", local_steps, positive=True, whole=True)
    return step_for_load(constants, steps * (steps - 1) / 2)


@explains_types
def local_sgd(
    constants: Constants, step_size: ArrayLike, n: ArrayLike, num_updates: ArrayLike, local_steps: ArrayLike
) -> Array:
    """Bound on the mean of E|grad F|^2 at the average of the n models, over all U J local steps of J rounds.

    2 gap / (eta U J) + L eta sigma2 / n + L^2 eta^2 (U-1) sigma2, for workers that draw from the same data.
    Source: Wang & Joshi (2021, Cooperative SGD); derived in notebooks/03_choosing_k.ipynb.
    Raises ValueError unless 0 < step_size <= ``local_sgd_max_step_size``.

    >>> from abs_theory.bounds import Constants
    >>> known = Constants(L=1.0, sigma2=5.0, gap=10.0, c=0.1)
    >>> float(local_sgd(known, 0.05, n=8, num_updates=500, local_steps=5))
    0.24125000000000002
    """
    eta = covered_step(step_size, local_sgd_max_step_size(constants, local_steps))
    steps = np.asarray(local_steps, dtype=float)
    apart = (constants.L * eta) ** 2 * (steps - 1) * constants.sigma2
    averaged = constants.L * eta * constants.sigma2 / checked_array("n", n, positive=True, whole=True)
    return 2 * constants.gap / (eta * steps * checked_updates(num_updates)) + averaged + apart


def contraction(constants: Constants, eta: Array, k: ArrayLike, num_updates: ArrayLike, gamma_prime: float) -> Array:
    """The bound of ``k_sync_error`` with c ``gamma_prime`` in place of c.  Raises ValueError unless c > 0."""
    if constants.c == 0:
        raise ValueError("c must be > 0: this bound is for strongly convex objectives; use the gradient norm instead")
    rate = eta * constants.c * gamma_prime
    floor = eta**2 * constants.L * constants.sigma2 / (2 * rate * waited_for(k))
    return floor + (1 - rate) ** checked_updates(num_updates) * (constants.gap - floor)
