"""Schedules over time: how k and the threshold should move as the error falls.

Pure functions of what a server can know; ``simulations.policies`` makes policies of them.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from abs_theory import bounds
from abs_theory.bounds import Constants
from abs_theory.checks import check_count, check_k, check_nonnegative, explains_types
from abs_theory.typing import Array

__all__ = ["balanced_threshold", "greedy_k", "switching_times"]


# ---------------------------------------------------------------- AdaSync: greedy in the bound


@explains_types
def greedy_k(round_times: ArrayLike, k0: int, loss_ratio: ArrayLike) -> NDArray[np.int64]:
    r"""The k that minimises the error bound per time when the loss has fallen to ``loss_ratio`` = F(w_t) / F(w_0).

    .. math:: k_t = \arg\min_k \frac{F(w_t)}{F(w_0)} T(k) + \frac{k_0^2\, T'(k_0)}{k}

    Here ``round_times[k - 1]`` = T(k) is the mean round time in seconds, of any law and protocol.  T' is a central
    difference (one-sided at 1 and n), so a constant added to all round times has no effect.  The last term makes k0 the
    choice at the start, so the constants of the objective cancel.  If T' <= 0 (a threshold that falls with k may
    shorten rounds), k0 cannot be a minimum, and the average slope T(k0) / k0 replaces T'.
    Source: Dutta, Wang & Joshi (2021, AdaSync): exponential K-sync, K^2 / (n - K) = F(w_0) / F(w_t) K_0^2 / (n - K_0),
    and the batch variants, K = K_0 sqrt(F(w_0) / F(w_t)); the constant for any T is derived here.
    Raises ValueError unless 1 <= k0 <= n, the round times are finite and the loss ratio is >= 0.

    >>> greedy_k(round_times=[1.0, 1.5, 2.5, 5.0], k0=1, loss_ratio=[1.0, 0.5, 0.1])
    array([1, 1, 2])
    """
    times = np.asarray(round_times, dtype=float)
    if times.ndim != 1 or not np.isfinite(times).all():
        raise ValueError("greedy_k needs finite mean round times; this delay law has no mean, bound the staleness")
    check_k(k0, times.size)
    ratio = np.asarray(loss_ratio, dtype=float)
    if not np.all(ratio >= 0):
        raise ValueError(f"loss_ratio must be >= 0, got {loss_ratio!r}")
    return np.argmin(ratio[..., None] * times + noise_cost(times, k0), axis=-1) + 1


def noise_cost(times: Array, k0: int) -> Array:
    """The second term of the objective of ``greedy_k``, for k = 1, ..., n; it does not depend on the loss."""
    low, high = max(k0 - 1, 1), min(k0 + 1, times.size)
    slope = (times[high - 1] - times[low - 1]) / max(high - low, 1)
    return k0**2 * (slope if slope > 0 else times[k0 - 1] / k0) / np.arange(1, times.size + 1)


# ---------------------------------------------------------------- fastest-k: the bound falls fastest at all times


@explains_types
def switching_times(constants: Constants, step_size: float, round_times: ArrayLike) -> Array:
    r"""Seconds from which to wait for at least 1, 2, ..., n workers, so that the bound falls fastest at all times.

    While the server waits for k, the bound on E[F - F*] falls as

    .. math:: \phi(t) = E_k + (1 - \eta c)^{t / T_k} (\phi(0) - E_k), \qquad E_k = \frac{\eta L \sigma^2}{2 c k},

    with ``round_times[k - 1]`` = T_k seconds.  Under m > k it falls faster once it is below
    (T_m E_k - T_k E_m) / (T_m - T_k), or always if T_m <= T_k.  The first m for which this happens is next; the values
    of k that are passed over share its time.  If T is convex in k, as under K-sync with most laws, m = k + 1 and

    .. math:: t_k - t_{k-1} = \frac{T_k}{-\ln(1 - \eta c)}
              \ln \frac{(T_{k+1} - T_k)\,(\phi(t_{k-1}) - E_k)}{T_k\,(E_k - E_{k+1})},

    or 0 if that is negative.  It starts from phi(0) = ``constants.gap``.  Shape n; inf means never.  A k with infinite
    T_k is never waited for.
    Source: Kas Hanna et al. (2020, ICASSP; arXiv 2208.03134), Theorem 2; which k to pass over, derived here.
    Raises ValueError unless c > 0, 0 < step_size <= ``bounds.k_sync_max_step_size`` and the round times are > 0.

    >>> from abs_theory.bounds import Constants
    >>> known = Constants(L=1.0, sigma2=5.0, gap=10.0, c=0.1)
    >>> switching_times(known, 0.1, round_times=[1.0, 1.5, 2.5]).round(1)
    array([  0. , 109.3, 376.7])
    """
    times = np.asarray(round_times, dtype=float)
    if times.ndim != 1 or not np.all(times > 0) or not np.isfinite(times).any():
        raise ValueError(f"round_times must be n times in seconds > 0, some of them finite, got {round_times!r}")
    bounds.k_sync_error(constants, step_size, 1, 1)  # checks the step and c
    eta, c = step_size, constants.c
    floors = eta * constants.L * constants.sigma2 / (2 * c * np.arange(1, times.size + 1))
    per_round = -math.log1p(-eta * c) if eta * c < 1 else math.inf
    starts = np.full(times.size, math.inf)
    k, now, error = int(np.isfinite(times).argmax()), 0.0, constants.gap  # k counts from 0
    starts[: k + 1] = 0.0
    while np.isfinite(times[k + 1 :]).any():
        longer = times[k + 1 :] - times[k]
        crossing = floors[k] + times[k] * (floors[k] - floors[k + 1 :]) / np.where(longer > 0, longer, 1.0)
        crossing[longer <= 0] = math.inf
        crossing[np.isinf(longer)] = -math.inf
        level = crossing.max()
        if error > level:
            if level <= floors[k]:  # no noise: one worker is as good as many
                break
            now += times[k] / per_round * math.log((error - floors[k]) / (level - floors[k]))
            error = level
        following = k + 1 + int(crossing.argmax())
        starts[k + 1 : following + 1] = now
        k = following
    return starts


# ---------------------------------------------------------------- balance: batching and staleness share one budget


def balanced_threshold(sigma2: float, squared_gradient: float, k: int) -> float:
    r"""max_staleness with k (max_staleness + 1) = sigma2 / |grad F|^2, rounded up; at least 0, inf if grad F = 0.

    In the bounds of ABS, noise outweighs staleness while k (max_staleness + 1) is below sigma2 / eps: up to this limit
    staleness costs almost nothing.  So the threshold falls as k grows, and rises as the error eps falls.  With k = 1
    and eps the target it is the optimal threshold of Ringmaster ASGD, R = max_staleness + 1.  To use the current
    squared gradient norm for eps is a heuristic, as in AdaSync.
    Source: Maranjyan, Tyurin & Richtarik (2025, Ringmaster ASGD), for k = 1; k > 1, notebooks/03_choosing_k.ipynb.

    >>> balanced_threshold(sigma2=5.0, squared_gradient=0.1, k=4)
    12.0
    """
    check_nonnegative("sigma2", sigma2)
    check_nonnegative("squared_gradient", squared_gradient)
    check_count("k", k)
    if squared_gradient == 0:
        return math.inf if sigma2 else 0.0
    return float(max(math.ceil(sigma2 / squared_gradient / k), 1) - 1)
