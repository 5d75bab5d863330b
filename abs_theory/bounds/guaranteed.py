"""Bounds on the error of SGD with stale gradients after J updates, each with the steps it holds for.

Two measures: the mean over updates of E|grad F(w_t)|^2 (F smooth), and E[F(w_J)] - F* (F strongly convex as well).
Arguments broadcast as arrays, except ``constants``, ``n`` and assumptions.  A step that a bound does not cover is
refused.  Here the staleness has a limit.  Bounds for fresh gradients are in ``fresh``, those with an assumption on the
error of stale ones in ``assumed``, those for a recorded run in ``recorded``, and bounds on seconds in ``fixed_times``.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from abs_theory.bounds.arguments import checked_updates, covered_step, step_for_load, waited_for
from abs_theory.bounds.constants import Constants
from abs_theory.bounds.tradeoff import Tradeoff
from abs_theory.checks import checked_array, explains_types
from abs_theory.typing import Array

__all__ = [
    "abs_sgd",
    "abs_sgd_max_step_size",
    "abs_sgd_tradeoff",
    "best_step_size",
    "staleness_quantile",
    "updates_to",
]

MEASURED_SLACK = 0.05  # by which a mean staleness that was simulated may exceed its limit


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
    k, theta = waited_for(k, n), _threshold(max_staleness)
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
    return terms.value(covered_step(step_size, terms.limit, zero=True), checked_updates(num_updates))


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
    return terms.updates_to(_target(target), covered_step(step_size, terms.limit, zero=True))


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
    return terms.best_step_in(checked_updates(num_updates))


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
    updates = checked_updates(num_updates)
    at_least = np.flip(np.cumsum(np.flip(pmf, -1), axis=-1), -1)
    rare = at_least <= np.asarray(delta / (waited_for(k) * updates))[..., None]
    quantile = np.where(rare.any(axis=-1), np.maximum(rare.argmax(axis=-1) - 1.0, 0), np.inf)
    return np.minimum(np.minimum(quantile, np.ceil(updates) - 1), _threshold(max_staleness))


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
    noise = constants.L * constants.sigma2 / waited_for(k)
    drift = 2 * constants.L * noise * checked_array("mean_staleness", mean_staleness)
    limit = abs_sgd_max_step_size(constants, k, n, max_staleness)
    return Tradeoff(np.asarray(2 * constants.gap), noise, drift, limit)


def _check_mean_staleness(mean_staleness: ArrayLike, max_staleness: ArrayLike | None) -> None:
    """Raise ValueError if the mean exceeds the largest; a little more is taken for the error of a simulation."""
    tau, most = np.broadcast_arrays(checked_array("mean_staleness", mean_staleness), _threshold(max_staleness))
    too_large = tau > most * (1 + MEASURED_SLACK)
    if np.any(too_large):
        given, limit = tau[too_large][0], most[too_large][0]
        raise ValueError(f"mean_staleness must be at most max_staleness = {limit:.6g}, got {given:.6g}")


def _target(target: ArrayLike) -> Array:
    return checked_array("target", target, positive=True)


def _threshold(max_staleness: ArrayLike | None) -> Array:
    theta = np.asarray(math.inf if max_staleness is None else max_staleness, dtype=float)
    if not np.all(theta >= 0):
        raise ValueError(f"max_staleness must be >= 0, or None or inf for no bound, got {max_staleness!r}")
    return theta
