"""Bounds on the error of SGD with stale gradients under an assumption on their error: K-async and K-batch-async."""

from numpy.typing import ArrayLike

from abs_theory.bounds.arguments import covered_step
from abs_theory.bounds.constants import Constants
from abs_theory.bounds.fresh import contraction, k_sync_gradient_norm, k_sync_max_step_size
from abs_theory.checks import explains_types
from abs_theory.typing import Array

__all__ = ["k_async_error", "k_async_gradient_norm", "k_async_max_step_size"]


@explains_types
def k_async_max_step_size(constants: Constants, k: ArrayLike, *, M_G: float = 0.0) -> Array:
    """Largest step the K-async bounds cover, 1 / (2 L (1 + M_G / k)).

    Source: Dutta et al. (2018), Theorem 3, with the 1 that its inequality (36) supports where 1/K is printed.

    >>> from abs_theory.bounds import Constants
    >>> known = Constants(L=1.0, sigma2=5.0, gap=10.0, c=0.1)
    >>> float(k_async_max_step_size(known, 4))
    0.5
    """
    return k_sync_max_step_size(constants, k, M_G=M_G) / 2


@explains_types
def k_async_error(
    constants: Constants,
    step_size: ArrayLike,
    k: ArrayLike,
    num_updates: ArrayLike,
    *,
    gamma: float,
    p0: float = 0.0,
    M_G: float = 0.0,
) -> Array:
    """Bound on E[F(w_J)] - F* of K-async and K-batch-async: as ``k_sync_error`` with c gamma' in place of c.

    gamma' = 1 - gamma + p0 / 2.  ``gamma`` is an ASSUMPTION on the run, which is not checked here: every gradient
    applied has E|grad F(w_t) - grad F(w_(t-tau))|^2 <= gamma E|grad F(w_t)|^2.  It fails near the noise floor, where
    the models keep moving while grad F(w_t) stops falling.  ``p0`` is a lower bound on the probability that an applied
    gradient is fresh, given the models so far.  0 is always right; exponential delays have k/n (K-async), 1/n (k = 1).
    Source: Dutta et al. (2018), Theorem 3; derived in notebooks/03_choosing_k.ipynb.
    Raises ValueError unless c > 0, 0 < step_size <= ``k_async_max_step_size``, gamma and p0 are in [0, 1], gamma' > 0.

    >>> from abs_theory.bounds import Constants
    >>> known = Constants(L=1.0, sigma2=5.0, gap=10.0, c=0.1)
    >>> float(k_async_error(known, 0.1, k=4, num_updates=100, gamma=0.5).round(4))
    6.5505
    """
    eta = covered_step(step_size, k_async_max_step_size(constants, k, M_G=M_G))
    return contraction(constants, eta, k, num_updates, _gamma_prime(gamma, p0))


@explains_types
def k_async_gradient_norm(
    constants: Constants,
    step_size: ArrayLike,
    k: ArrayLike,
    num_updates: ArrayLike,
    *,
    gamma: float,
    p0: float = 0.0,
    M_G: float = 0.0,
) -> Array:
    """Bound on the mean of E|grad F(w_t)|^2 over J updates of K-async and K-batch-async.

    ``k_sync_gradient_norm`` divided by gamma'; ``gamma`` (an ASSUMPTION), ``p0`` and gamma' as in ``k_async_error``.
    Source: Dutta et al. (2018), Theorem 5, which counts J + 1 updates.
    Raises ValueError unless 0 < step_size <= ``k_async_max_step_size``, gamma and p0 are in [0, 1], gamma' > 0.

    See also: ``abs_sgd``, which needs no assumption on the error of stale gradients.

    >>> from abs_theory.bounds import Constants
    >>> known = Constants(L=1.0, sigma2=5.0, gap=10.0, c=0.1)
    >>> float(k_async_gradient_norm(known, 0.1, k=4, num_updates=1000, gamma=0.5))
    0.65
    """
    eta = covered_step(step_size, k_async_max_step_size(constants, k, M_G=M_G))
    return k_sync_gradient_norm(constants, eta, k, num_updates, M_G=M_G) / _gamma_prime(gamma, p0)


def _gamma_prime(gamma: float, p0: float) -> float:
    if not (0 <= gamma <= 1 and 0 <= p0 <= 1 and 1 - gamma + p0 / 2 > 0):
        raise ValueError(f"gamma and p0 must be in [0, 1] with 1 - gamma + p0 / 2 > 0, got gamma={gamma}, p0={p0}")
    return 1 - gamma + p0 / 2
