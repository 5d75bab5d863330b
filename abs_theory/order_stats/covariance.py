r"""Covariance of two order statistics of equal workers.

Given that the k-th smallest of n uniform numbers is v, the j-th is v B with B ~ Beta(j, k - j) (David & Nagaraja
2003, ch. 2).  So with Q the quantile function and j < k

.. math:: \operatorname{Cov}[X_{(j)}, X_{(k)}] = E[(Q(V) - E X_{(k)}) (g(V) - E X_{(j)})], \qquad g(v) = E[Q(v B)],

one trapezoid rule in logit(v) around another in logit(b), as in ``by_quantile``; centred, so that nothing cancels.
"""

import math

import numpy as np

from abs_theory.delays import Delay
from abs_theory.order_stats.by_quantile import LARGEST_LOGIT, NEGLIGIBLE_LOG_WEIGHT, log_weight, quantile_at_logit
from abs_theory.typing import Array

__all__ = ["covariance"]


SETTLED_CHANGE = 1e-10  # between one step size and half of it, relative to sqrt(var var)
MAX_NODES = 2**11


def covariance(law: Delay, j: int, k: int, n: int) -> float:
    """Cov[X_(j), X_(k)] of ``n`` independent draws, j < k; inf unless Var[X_(j)] and E[X_(k)] are finite.

    Raises ArithmeticError if the quantile is not smooth enough, or its tail too heavy for floating point.
    """
    variances = law.var_order_statistic(j, n), law.var_order_statistic(k, n)
    if math.isinf(variances[0]) or math.isinf(law.mean_order_statistic(k, n)):
        return math.inf
    (x_low, x_high), (z_low, z_high) = _range(k, n, law, k - j), _range(j, k - 1)
    previous, nodes = math.nan, 64
    while nodes <= MAX_NODES:
        x, z = np.linspace(x_low, x_high, nodes + 1), np.linspace(z_low, z_high, nodes + 1)
        outer, inner = (np.exp(log_weight(at - _peak(*rank), *rank)) for at, rank in ((x, (k, n)), (z, (j, k - 1))))
        outer, inner = outer / outer.sum(), inner / inner.sum()
        late = quantile_at_logit(law, x)
        early = np.array([quantile_at_logit(law, _logit_of_product(logit_v, z)) @ inner for logit_v in x])
        terms = outer * (late - outer @ late) * (early - outer @ early)
        value = float(terms.sum())
        scale = math.sqrt(variances[0] * variances[1]) if math.isfinite(variances[1]) else abs(value)
        if abs(value - previous) <= SETTLED_CHANGE * scale and abs(terms[-1]) <= SETTLED_CHANGE * scale:
            return value
        previous, nodes = value, 2 * nodes
    raise ArithmeticError(
        f"the covariance of the {j}-th and the {k}-th of {n} draws from {law!r} has not settled to {SETTLED_CHANGE:g}: "
        "the quantile function is not smooth, or the tail too heavy"
    )


def _peak(k: int, n: int) -> float:
    return math.log(k / (n - k + 1))


def _range(k: int, n: int, law: Delay | None = None, gap: int = 0) -> tuple[float, float]:
    """Logits between which the weight of the k-th of n is not negligible.

    With a ``law``, the weight includes Q(v) g(v), where g grows at most as Q(v) (1 - v)^gap.
    """
    d = math.sqrt(1 / k + 1 / (n - k + 1)) * np.arange(1.0, 2000.0)
    d = d[d < LARGEST_LOGIT - abs(_peak(k, n))]
    left, right = log_weight(-d, k, n), log_weight(d, k, n)
    if law is not None:
        size = np.log(np.maximum(quantile_at_logit(law, _peak(k, n) + np.append(0.0, d)), 1e-300))
        growth = size[1:] - size[0]
        right = right + growth + np.maximum(growth - gap * d, 0.0)
    past = right < NEGLIGIBLE_LOG_WEIGHT
    last = d[np.argmax(past)] if past.any() else d[-1]
    return _peak(k, n) - d[np.argmax(left < NEGLIGIBLE_LOG_WEIGHT)], _peak(k, n) + last


def _logit_of_product(x: float, z: Array) -> Array:
    """logit of expit(x) expit(z)."""
    return -np.logaddexp(np.logaddexp(-x, -z), -x - z)
