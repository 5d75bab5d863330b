"""The closed forms in sympy: exact numbers from integers and rationals, formulas from symbols.

The rest of the package computes in floating point; here the same quantities come as fractions, for tests to compare
with, or as expressions, for notebooks to print, differentiate and simplify.  ``k`` and ``n`` may be symbols where a
formula does not sum over them.
"""

from typing import Any, NamedTuple

import sympy as sp

__all__ = [
    "SteadyState",
    "abs_sgd",
    "erlang",
    "exponential",
    "exponential_var",
    "lomax",
    "pareto",
    "uniform",
    "weibull",
]


# ---------------------------------------------------------------- E[X_(k)], the k-th smallest of n


def exponential(k: Any, n: Any, mean: Any = 1) -> Any:
    """mean (H_n - H_(n-k)).

    Source: Renyi (1953); Dutta et al. (2018), Lemma 3.
    """
    return mean * (sp.harmonic(n) - sp.harmonic(n - k))


def exponential_var(k: Any, n: Any, mean: Any = 1) -> Any:
    """Variance of the k-th smallest: mean^2 (H_n^(2) - H_(n-k)^(2)), the spacings being independent.

    Source: Renyi (1953).
    """
    return sp.sympify(mean) ** 2 * (sp.harmonic(n, 2) - sp.harmonic(n - k, 2))


def uniform(k: Any, n: Any, low: Any = 0, high: Any = 1) -> Any:
    """low + (high - low) k / (n + 1).

    Source: David & Nagaraja (2003), ch. 3.
    """
    return low + (sp.sympify(high) - low) * k / (n + 1)


def pareto(k: Any, n: Any, minimum: Any, index: Any) -> Any:
    """minimum n! / (n-k)! Gamma(n-k+1-1/index) / Gamma(n+1-1/index), finite if index (n-k+1) > 1.

    Source: David & Nagaraja (2003), ch. 3.
    """
    return minimum * _tail(k, n, index)


def lomax(k: Any, n: Any, scale: Any, index: Any) -> Any:
    """A Pareto time of minimum ``scale`` less its minimum."""
    return scale * (_tail(k, n, index) - 1)


def _tail(k: Any, n: Any, index: Any) -> Any:
    """The ratio of gamma functions as one of products of k factors, which stays a fraction."""
    return sp.ff(n, k) / sp.ff(n - 1 / sp.sympify(index), k)


def weibull(k: int, n: int, scale: Any, shape: Any) -> Any:
    """scale Gamma(1+1/c) k C(n,k) sum_r (-1)^r C(k-1,r) (n-k+1+r)^(-1-1/c), c the ``shape``.

    The terms alternate, so only exact arithmetic can sum them if k is large.
    Source: Lieblein (1955).
    """
    inverse = 1 / sp.sympify(shape)
    terms = ((-1) ** r * sp.binomial(k - 1, r) * sp.Integer(n - k + 1 + r) ** (-1 - inverse) for r in range(k))
    return scale * sp.gamma(1 + inverse) * k * sp.binomial(n, k) * sp.Add(*terms)


def erlang(k: int, n: int, steps: int, scale: Any = 1) -> Any:
    """Of sums of ``steps`` exponential times: the integral of P(fewer than k done by t), term by term.

    With S = exp(-t) p(t) for P(X > t) the binomial probabilities are sums of powers of S, and the integral of
    t^a exp(-m t) is a! / m^(a+1).  Exact where ``scale`` is; cost grows like n^2 steps.
    """
    t = sp.Symbol("t", positive=True)
    p: Any = sp.Poly(sum(t**i / sp.factorial(i) for i in range(steps)), t)
    power: Any = sp.Poly(1, t)
    areas: list[Any] = [0]  # of S^m, from m = 1 on
    for m in range(1, n + 1):
        power = power * p
        areas.append(sp.Add(*(c * sp.factorial(a) / sp.Integer(m) ** (a + 1) for (a,), c in power.terms())))
    return scale * sp.Add(
        *((-1) ** i * sp.binomial(n, j) * sp.binomial(j, i) * areas[n - j + i] for j in range(k) for i in range(j + 1))
    )


# ---------------------------------------------------------------- ABS with exponential delays


class SteadyState(NamedTuple):
    """Per round, as in ``results.SteadyState``; ``staleness`` is a function of j."""

    round_time: Any  #: mean time from one update to the next
    mean_staleness: Any  #: of the gradients the server applies
    staleness: Any  #: P(staleness = j) of such a gradient, a function of j
    restarts: Any  #: workers told to start again
    uplinks: Any  #: gradients sent
    downlinks: Any  #: models sent
    idle_fraction: Any  #: share of worker time spent waiting for the round to end
    wasted_fraction: Any  #: share of worker time thrown away by restarts


def abs_sgd(k: Any, n: Any, max_staleness: Any, mean: Any = 1) -> SteadyState:
    """ABS with equal exponential delays; ``max_staleness`` sp.oo is K-async, 0 K-sync.

    With p = k/n, q = 1 - p and theta the bound, P(tau = j) = p q^j / (1 - q^(theta+1)), R = k q^(theta+1) / (1 -
    q^(theta+1)); a restart throws away theta + 1 rounds.
    Source: derived in notebooks/02_staleness.ipynb.
    """
    p = sp.sympify(k) / n
    q, bounded = 1 - p, max_staleness != sp.oo
    cut = q ** (max_staleness + 1) if bounded else sp.Integer(0)
    lost = (max_staleness + 1) * cut / (1 - cut) if bounded else sp.Integer(0)
    time, restarts = exponential(k, n, mean), k * cut / (1 - cut)
    return SteadyState(
        round_time=time,
        mean_staleness=q / p - lost,
        staleness=lambda j: p * q**j / (1 - cut),
        restarts=restarts,
        uplinks=k,
        downlinks=k + restarts,
        idle_fraction=1 - p * mean / time,
        wasted_fraction=p * lost,
    )
