r"""Moments of order statistics by the trapezoid rule in x = logit(u).

With u the k-th smallest of n uniform numbers, E[g(X_(k))] is the mean of g(Q(u)) under the weight
u^k (1 - u)^(n-k+1) dx.  In x the weight is smooth, bell-shaped and decreases exponentially on both sides.  For such
weights the trapezoid rule converges geometrically (Trefethen & Weideman 2014).  Both u and 1 - u are known, so the
quantile Q is always taken from the near end.  The weights are normalised by their sum, so there are no factorials and
nothing cancels, for any n.

The quantile must be smooth in x.  That of a law of several parts is not, so the laws themselves use
``delays.numerics.moments``.  The functions here are a second way, with which tests compare.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit

from abs_theory.checks import explains_types
from abs_theory.typing import Array, Law

SETTLED_CHANGE = 1e-10  # relative, between one step size and half of it; the remaining error is far smaller
NEGLIGIBLE_LOG_WEIGHT = -45.0  # exp(-45) = 3e-20: the ends are left out below this share of the centre
LARGEST_LOGIT = 690.0  # exp(-690) is still a normal floating-point number
MAX_NODES = 2**18


def quantile_at_logit(law: Law, x: Array) -> Array:
    """Quantile of ``law`` at u = 1 / (1 + exp(-x)), for increasing ``x``, from the near end."""
    middle = np.searchsorted(x, 0.0)
    return np.concatenate([law.ppf(expit(x[:middle])), law.isf(expit(-x[middle:]))])


@explains_types
def from_near_end(law: Law, below: Array, above: Array) -> Array:
    """Quantile of ``law`` at u = ``below``, where ``above`` = 1 - u, from whichever is smaller.

    Both are given because 1 - u has lost its digits where it is tiny.

    >>> from abs_theory.delays import Exponential
    >>> from_near_end(Exponential(1.0), np.array([0.5, 1.0]), np.array([0.5, 1e-20])).round(4).tolist()
    [0.6931, 46.0517]
    """
    below, above = np.broadcast_arrays(np.asarray(below, float), np.asarray(above, float))
    near = below < above
    times = np.zeros(near.shape)
    times[near] = law.ppf(below[near])
    times[~near] = law.isf(above[~near])
    return times


def log_weight(d: Array, k: int | Array, n: int) -> Array:
    """Log weight of the k-th of n at x = logit(k / (n + 1)) + ``d``, relative to its peak at d = 0."""
    after = n - k + 1
    return -k * np.log1p(after / (n + 1) * np.expm1(-d)) - after * np.log1p(k / (n + 1) * np.expm1(d))


def mean_order_statistic(law: Law, k: int, n: int) -> float:
    """E[X_(k)] of ``n`` independent draws from a law without atoms; inf if infinite.

    Raises ArithmeticError if the quantile is not smooth, or its tail too heavy for floating point.
    """
    return _moment(law, k, n, 1)


def var_order_statistic(law: Law, k: int, n: int) -> float:
    """Var[X_(k)] of ``n`` independent draws; like ``mean_order_statistic``."""
    return _moment(law, k, n, 2)


def _moment(law: Law, k: int, n: int, order: int) -> float:
    """Mean (``order`` 1) or variance (2) of the k-th of n, with the step halved until it settles."""
    peak, width = math.log(k / (n - k + 1)), math.sqrt(1 / k + 1 / (n - k + 1))
    ends = _range(law, k, n, order, peak, width)
    if ends is None:
        return math.inf
    previous, intervals = math.nan, math.ceil(2 * (ends[1] - ends[0]) / width)
    while intervals < MAX_NODES:
        d = np.linspace(*ends, intervals + 1)
        t = quantile_at_logit(law, peak + d)
        weight = np.exp(log_weight(d, k, n))
        weight /= weight.sum()
        value = float(weight @ t)
        if order == 2:
            value = float(weight @ (t - value) ** 2)
        if abs(value - previous) <= SETTLED_CHANGE * value:
            return value
        previous, intervals = value, 2 * intervals
    raise ArithmeticError(
        f"moment {order} of the {k}-th of {n} draws from {law!r} has not settled to {SETTLED_CHANGE:g} with "
        f"{MAX_NODES} nodes: its quantile function is not smooth"
    )


def _range(law: Law, k: int, n: int, order: int, peak: float, width: float) -> tuple[float, float] | None:
    """Where weight times quantile**order is not negligible, relative to the peak; None if it diverges."""
    far = width * np.arange(1.0, 64.0)
    left = far[np.argmax(log_weight(-far, k, n) < NEGLIGIBLE_LOG_WEIGHT)]
    right = far[np.argmax(log_weight(far, k, n) < NEGLIGIBLE_LOG_WEIGHT)]

    def log_size(d: float) -> float:
        quantile = quantile_at_logit(law, np.array([peak + d]))[0]
        if math.isinf(quantile):
            raise ArithmeticError(f"the {k}-th of {n} draws from {law!r} is infinite, or too large for floating point")
        return float(log_weight(np.array(d), k, n)) + order * math.log(max(quantile, 1e-300))

    floor = log_size(0.0) + NEGLIGIBLE_LOG_WEIGHT
    while log_size(right) > floor:
        if peak + right == LARGEST_LOGIT:
            if log_size(right) >= log_size(right - 10):
                return None
            raise ArithmeticError(
                f"moment {order} of the {k}-th of {n} draws from {law!r} is finite only just, or not at all: "
                "its tail is too heavy for quadrature"
            )
        right = min(1.5 * right, LARGEST_LOGIT - peak)
    return -left, right


def mean_order_statistics(law: Law, n: int) -> Array:
    """E[X_(1)], ..., E[X_(n)] of ``n`` independent draws from a law without atoms.

    Ranks share one fine grid of quantiles; each uses 97 nodes at a stride fitted to its width.  A rank is computed
    separately if that does not cover its tails, or if every second node gives another mean.
    """
    k = np.arange(1.0, n + 1)
    peak, width = np.log(k / (n - k + 1)), np.sqrt(1 / k + 1 / (n - k + 1))
    fine = width.min() / 12
    stride, centre = (width / (3 * fine)).astype(int), np.rint(peak / fine).astype(int)
    nodes = np.arange(-48, 49)
    first, last = centre[0] - 48 * stride[0], centre[-1] + 48 * stride[-1]
    quantile = quantile_at_logit(law, fine * np.arange(first, last + 1))
    means, settled = np.empty(n), np.empty(n, bool)
    for start in range(0, n, 256):  # so that one block fits the cache
        block = slice(start, start + 256)
        at = centre[block, None] + stride[block, None] * nodes
        weight = np.exp(log_weight(fine * at - peak[block, None], k[block, None], n))
        with np.errstate(
            divide="ignore", invalid="ignore"
        ):  # a quantile may overflow; that rank is computed separately
            part = weight * quantile[at - first]
            means[block] = part.sum(axis=1) / weight.sum(axis=1)
            coarse = part[:, ::2].sum(axis=1) / weight[:, ::2].sum(axis=1)
            ends = (part[:, [0, -1]] + means[block, None] * weight[:, [0, -1]]).sum(axis=1)
            settled[block] = (abs(coarse / means[block] - 1) <= SETTLED_CHANGE / 10) & (
                ends <= 1e-16 * part.sum(axis=1)
            )
    for i in np.flatnonzero(~settled):
        means[i] = mean_order_statistic(law, int(k[i]), n)
    return means


def integrated_tail(law: Law, t: ArrayLike) -> Array:
    """E[(X - t)+]: sf(t) times the mean of isf(sf(t) v) - t over v = exp(-y) uniform in (0, 1).

    The trapezoid rule in z, y = exp(z - exp(-z)): double exponential at y = 0, exponential at infinity.
    Source: Takahasi & Mori (1974).
    """
    step = 1 / 32
    z = np.arange(-4, 6.5, step)
    y = np.exp(z - np.exp(-z))
    weight = y * (1 + np.exp(-z)) * np.exp(-y) * step
    start, sf = np.maximum(t, 0.0), law.sf(t)
    excess = law.isf(np.maximum(sf[..., None] * np.exp(-y), 1e-300)) - start[..., None]
    return sf * (np.maximum(excess, 0.0) @ weight) - np.minimum(t, 0.0)
