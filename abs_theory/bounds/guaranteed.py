"""Bounds on the error of SGD with stale gradients after J updates, each with the steps it holds for.

Two measures: the mean over updates of E|grad F(w_t)|^2 (F smooth), and E[F(w_J)] - F* (F strongly convex as well).
Arguments broadcast as arrays, except ``constants``, ``n`` and assumptions.  A step that a bound does not cover is
refused.  Bounds for a recorded run are in ``recorded``, bounds on seconds in ``fixed_times``.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from abs_theory.bounds.constants import Constants
from abs_theory.bounds.tradeoff import Tradeoff
from abs_theory.checks import check_count, check_nonnegative, checked_array, explains_types
from abs_theory.typing import Array

__all__ = [
    "abs_sgd",
    "abs_sgd_max_step_size",
    "abs_sgd_tradeoff",
    "best_step_size",
    "k_async_error",
    "k_async_gradient_norm",
    "k_async_max_step_size",
    "k_sync_error",
    "k_sync_gradient_norm",
    "k_sync_max_step_size",
    "local_sgd",
    "local_sgd_max_step_size",
    "staleness_quantile",
    "step_for_load",
    "updates_to",
]  # fmt: skip

MEASURED_SLACK = 0.05  # by which a mean staleness that was simulated may exceed its limit
STEP_SLACK = 1e-12  # a step may exceed its limit by this share of it, which rounding can cause


# ---------------------------------------------------------------- fresh gradients


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
    return 1 / (constants.L * (1 + M_G / _k(k)))


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
    eta = _covered(step_size, k_sync_max_step_size(constants, k, M_G=M_G))
    return _contraction(constants, eta, k, num_updates, 1.0)


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
    eta = _covered(step_size, k_sync_max_step_size(constants, k, M_G=M_G))
    return 2 * constants.gap / (eta * _updates(num_updates)) + constants.L * eta * constants.sigma2 / _k(k)


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
    eta = _covered(step_size, local_sgd_max_step_size(constants, local_steps))
    steps = np.asarray(local_steps, dtype=float)
    apart = (constants.L * eta) ** 2 * (steps - 1) * constants.sigma2
    averaged = constants.L * eta * constants.sigma2 / checked_array("n", n, positive=True, whole=True)
    return 2 * constants.gap / (eta * steps * _updates(num_updates)) + averaged + apart


# ---------------------------------------------------------------- stale gradients, with an assumption on their error


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
    eta = _covered(step_size, k_async_max_step_size(constants, k, M_G=M_G))
    return _contraction(constants, eta, k, num_updates, _gamma_prime(gamma, p0))


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
    eta = _covered(step_size, k_async_max_step_size(constants, k, M_G=M_G))
    return k_sync_gradient_norm(constants, eta, k, num_updates, M_G=M_G) / _gamma_prime(gamma, p0)


# ---------------------------------------------------------------- stale gradients, with a limit on the staleness


@explains_types
def abs_sgd_max_step_size(constants: Constants, k: ArrayLike, n: int, max_staleness: ArrayLike | None) -> Array:
    """Largest step eta that ``abs_sgd`` covers: L eta + 2 L^2 eta^2 theta min(theta, (n-k)/k) <= 1.

    It is 0 if the staleness theta has no limit; ``staleness_quantile`` gives a limit that holds with high probability.
    Source: derived in notebooks/03_choosing_k.ipynb; with theta^2, Lian et al. (2015), Theorem 1.

    >>> from abs_theory.bounds import Constants
    >>> known = Constants(L=1.0, sigma2=5.0, gap=10.0, c=0.1)
    >>> abs_sgd_max_step_size(known, 4, n=8, max_staleness=[0, 2, np.inf]).round(3)
    array([1.  , 0.39, 0.  ])
    """
    k, theta = _k(k, n), _threshold(max_staleness)
    waiting = (n - k) / k  # gradients in flight across an update, per gradient applied
    with np.errstate(invalid="ignore"):
        load = np.where(waiting * theta == 0, 0.0, theta * np.minimum(theta, waiting))
    return step_for_load(constants, np.where(waiting == 0, 0.0, load))


@explains_types
def abs_sgd(
    constants: Constants,
    step_size: ArrayLike,
    k: ArrayLike,
    n: int,
    num_updates: ArrayLike,
    mean_staleness: ArrayLike,
    max_staleness: ArrayLike | None,
) -> Array:
    """Bound on the mean of E|grad F(w_t)|^2 over J updates of ABS with constant k and ``max_staleness``.

    2 gap / (eta J) + L eta sigma2 / k + 2 L^2 eta^2 tau sigma2 / k, with tau the mean staleness of the gradients
    applied in the run: without a threshold at most (n-k)/k, on every run.  It covers K-sync (threshold 0), K-async and
    Ringmaster (k = 1).  It covers every server that applies k gradients at a time, each with weight 1, from n workers
    that wait for the update after they have delivered.  K-batch-async, where they do not wait, has n + k - 1 for n.
    It assumes that who is late does not depend on the samples.  A step of 0 gives inf: nothing is learnt.
    Source: Lian et al. (2015), Theorem 1; with the mean staleness, derived in notebooks/03_choosing_k.ipynb.
    Raises ValueError unless 0 <= step_size <= ``abs_sgd_max_step_size``, and if the mean staleness exceeds
    ``max_staleness``.

    See also: ``expected.tradeoff``, an estimate that may be exceeded; ``recorded.gradient_norm``, for one run.

    >>> from abs_theory.bounds import Constants
    >>> known = Constants(L=1.0, sigma2=5.0, gap=10.0, c=0.1)
    >>> float(abs_sgd(known, 0.1, k=4, n=8, num_updates=1000, mean_staleness=0.8, max_staleness=2))
    0.34500000000000003
    """
    terms = abs_sgd_tradeoff(constants, k, n, mean_staleness, max_staleness)
    return terms.value(_covered(step_size, terms.limit, zero=True), _updates(num_updates))


@explains_types
def updates_to(
    constants: Constants,
    target: ArrayLike,
    step_size: ArrayLike,
    k: ArrayLike,
    n: int,
    mean_staleness: ArrayLike,
    max_staleness: ArrayLike | None,
) -> Array:
    """Updates, not rounded, after which ``abs_sgd`` has fallen to ``target``; inf if this step never gets there.

    Raises ValueError unless target > 0 and 0 <= step_size <= ``abs_sgd_max_step_size``.

    >>> from abs_theory.bounds import Constants
    >>> known = Constants(L=1.0, sigma2=5.0, gap=10.0, c=0.1)
    >>> float(updates_to(known, 0.5, 0.1, k=4, n=8, mean_staleness=0.8, max_staleness=2).round(1))
    563.4
    """
    terms = abs_sgd_tradeoff(constants, k, n, mean_staleness, max_staleness)
    return terms.updates_to(_target(target), _covered(step_size, terms.limit, zero=True))


@explains_types
def best_step_size(
    constants: Constants,
    k: ArrayLike,
    n: int,
    mean_staleness: ArrayLike,
    max_staleness: ArrayLike | None,
    *,
    target: ArrayLike | None = None,
    num_updates: ArrayLike | None = None,
) -> Array:
    """The step with the fewest ``updates_to`` a ``target``, or with the least ``abs_sgd`` after ``num_updates``.

    With a = L sigma2 / k and b = 2 L^2 sigma2 tau / k it solves 2 a eta + 3 b eta^2 = target, or
    a eta^2 + 2 b eta^3 = 2 gap / J, and is cut at ``abs_sgd_max_step_size``: 0, if no step is covered.
    Source: derived in notebooks/03_choosing_k.ipynb.
    Raises ValueError unless exactly one of target > 0 and num_updates > 0 is given, the latter with gap > 0.

    >>> from abs_theory.bounds import Constants
    >>> known = Constants(L=1.0, sigma2=5.0, gap=10.0, c=0.1)
    >>> float(best_step_size(known, 4, 8, 0.8, 2, target=0.5).round(4))
    0.1477
    """
    terms = abs_sgd_tradeoff(constants, k, n, mean_staleness, max_staleness)
    if (target is None) == (num_updates is None):
        raise ValueError("give one of target and num_updates: the best step depends on it")
    if target is not None:
        return terms.best_step_to(_target(target))
    if constants.gap == 0:
        raise ValueError("gap must be > 0: from an optimal start every step is a loss, got gap=0")
    return terms.best_step_in(_updates(num_updates))


@explains_types
def staleness_quantile(
    staleness_pmf: ArrayLike,
    k: ArrayLike,
    num_updates: ArrayLike,
    delta: float = 0.01,
    max_staleness: ArrayLike = math.inf,
) -> Array:
    """T such that with probability >= 1 - ``delta`` no gradient of J updates is staler, for runs that start afresh.

    It is the smallest T with k J P(tau > T) <= delta, or J - 1 if that is less.  Timings do not depend on the samples,
    so given this event ``abs_sgd`` holds with T for ``max_staleness``.  This is how a server without threshold gets a
    bound.  (Its ``mean_staleness`` is at most (n-k)/k, on every run.)
    ``staleness_pmf`` as in ``SteadyState``: staleness on its last axis, the last entry for that much *or more*; the
    other arguments broadcast against the axes before.  It is the long-run law; a run that starts afresh is less stale.
    A pmf that ends too early to tell gives J - 1.

    >>> float(staleness_quantile([0.5, 0.25, 0.125, 0.125], k=1, num_updates=4, delta=0.5))
    2.0
    """
    pmf = checked_array("staleness_pmf", staleness_pmf)
    if pmf.ndim == 0 or np.any(np.abs(pmf.sum(axis=-1) - 1) > 1e-6):
        raise ValueError("staleness_pmf must have the staleness 0, 1, ... on its last axis, with sum 1")
    if not 0 < delta < 1:
        raise ValueError(f"delta must be in (0, 1), got delta={delta}")
    updates = _updates(num_updates)
    at_least = np.flip(np.cumsum(np.flip(pmf, -1), axis=-1), -1)
    rare = at_least <= np.asarray(delta / (_k(k) * updates))[..., None]
    quantile = np.where(rare.any(axis=-1), np.maximum(rare.argmax(axis=-1) - 1.0, 0), np.inf)
    return np.minimum(np.minimum(quantile, np.ceil(updates) - 1), _threshold(max_staleness))


# ---------------------------------------------------------------- inside


def _k(k: ArrayLike, n: int | None = None) -> Array:
    array = checked_array("k", k, positive=True, whole=True)
    if n is not None:
        check_count("n", n)
        if np.any(array > n):
            raise ValueError(f"k must be a whole number in 1..n, got k={k!r} with n={n} workers")
    return array


def _check_mean_staleness(mean_staleness: ArrayLike, max_staleness: ArrayLike | None) -> None:
    """Raise ValueError if the mean exceeds the largest; a little more is taken for the error of a simulation."""
    tau, most = np.broadcast_arrays(checked_array("mean_staleness", mean_staleness), _threshold(max_staleness))
    too_large = tau > most * (1 + MEASURED_SLACK)
    if np.any(too_large):
        given, limit = tau[too_large][0], most[too_large][0]
        raise ValueError(f"mean_staleness must be at most max_staleness = {limit:.6g}, got {given:.6g}")


def _updates(num_updates: ArrayLike | None) -> Array:
    return checked_array("num_updates", num_updates, positive=True)


def _target(target: ArrayLike) -> Array:
    return checked_array("target", target, positive=True)


def _threshold(max_staleness: ArrayLike | None) -> Array:
    theta = np.asarray(math.inf if max_staleness is None else max_staleness, dtype=float)
    if not np.all(theta >= 0):
        raise ValueError(f"max_staleness must be >= 0, or None or inf for no bound, got {max_staleness!r}")
    return theta


def _gamma_prime(gamma: float, p0: float) -> float:
    if not (0 <= gamma <= 1 and 0 <= p0 <= 1 and 1 - gamma + p0 / 2 > 0):
        raise ValueError(f"gamma and p0 must be in [0, 1] with 1 - gamma + p0 / 2 > 0, got gamma={gamma}, p0={p0}")
    return 1 - gamma + p0 / 2


@explains_types
def step_for_load(constants: Constants, load: ArrayLike) -> Array:
    """The step eta with L eta + 2 L^2 eta^2 load = 1; 0 for an infinite load.

    >>> from abs_theory.bounds import Constants
    >>> step_for_load(Constants(L=1.0, sigma2=5.0, gap=10.0), [0, 1, 6]).round(3)
    array([1.  , 0.5 , 0.25])
    """
    return 2 / (1 + np.sqrt(1 + 8 * np.asarray(load, dtype=float))) / constants.L


def _covered(step_size: ArrayLike, limit: Array, *, zero: bool = False) -> Array:
    """The step sizes, checked against their limit."""
    eta = checked_array("step_size", step_size, positive=not zero)
    bad = eta > limit * (1 + STEP_SLACK)
    if np.any(bad):
        worst = np.unravel_index(np.argmax(bad), bad.shape)
        given, most = np.broadcast_to(eta, bad.shape)[worst], np.broadcast_to(limit, bad.shape)[worst]
        advice = "reduce it" if most > 0 else "without a limit on the staleness only 0 is: see staleness_quantile"
        raise ValueError(f"step_size must be at most {most:.6g} for this bound to hold, got {given:.6g}; {advice}")
    return eta


def _contraction(constants: Constants, eta: Array, k: ArrayLike, num_updates: ArrayLike, gamma_prime: float) -> Array:
    if constants.c == 0:
        raise ValueError("c must be > 0: this bound is for strongly convex objectives; use the gradient norm instead")
    rate = eta * constants.c * gamma_prime
    floor = eta**2 * constants.L * constants.sigma2 / (2 * rate * _k(k))
    return floor + (1 - rate) ** _updates(num_updates) * (constants.gap - floor)


@explains_types
def abs_sgd_tradeoff(
    constants: Constants, k: ArrayLike, n: int, mean_staleness: ArrayLike, max_staleness: ArrayLike | None
) -> Tradeoff:
    """The bound of ``abs_sgd`` as a function of the step.

    Raises ValueError if the mean staleness exceeds ``max_staleness``.

    >>> from abs_theory.bounds import Constants
    >>> known = Constants(L=1.0, sigma2=5.0, gap=10.0, c=0.1)
    >>> float(abs_sgd_tradeoff(known, 4, 8, mean_staleness=0.8, max_staleness=2).value(0.1, 1000))
    0.34500000000000003
    """
    _check_mean_staleness(mean_staleness, max_staleness)
    noise = constants.L * constants.sigma2 / _k(k)
    drift = 2 * constants.L * noise * checked_array("mean_staleness", mean_staleness)
    limit = abs_sgd_max_step_size(constants, k, n, max_staleness)
    return Tradeoff(np.asarray(2 * constants.gap), noise, drift, limit)
