"""The closed forms in sympy: exact numbers from integers and rationals, formulas from symbols.

All other modules compute in floating point.  Here the same quantities are fractions, with which tests compare, or
expressions, which notebooks print, differentiate and simplify.  ``k`` and ``n`` may be symbols where a formula does not
sum over them.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import sympy as sp

from abs_theory.checks import explains_types

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

Symbolic = int | float | sp.Expr  # a number or an expression


# ---------------------------------------------------------------- E[X_(k)], the k-th smallest of n


@explains_types
def exponential(k: Symbolic, n: Symbolic, mean: Symbolic = 1) -> sp.Expr:
    """mean (H_n - H_(n-k)).

    Source: Renyi (1953); Dutta et al. (2018), Lemma 3.

    >>> exponential(2, 3)
    5/6
    """
    return sp.sympify(mean) * (sp.harmonic(n) - sp.harmonic(n - k))


@explains_types
def exponential_var(k: Symbolic, n: Symbolic, mean: Symbolic = 1) -> sp.Expr:
    """Variance of the k-th smallest: mean^2 (H_n^(2) - H_(n-k)^(2)), because the spacings are independent.

    Source: Renyi (1953).

    >>> exponential_var(2, 3)
    13/36
    """
    return sp.sympify(mean) ** 2 * (sp.harmonic(n, 2) - sp.harmonic(n - k, 2))


@explains_types
def uniform(k: Symbolic, n: Symbolic, low: Symbolic = 0, high: Symbolic = 1) -> sp.Expr:
    """low + (high - low) k / (n + 1).

    Source: David & Nagaraja (2003), ch. 3.

    >>> uniform(sp.Symbol("k"), sp.Symbol("n"))
    k/(n + 1)
    """
    return low + (sp.sympify(high) - low) * k / (n + 1)


@explains_types
def pareto(k: Symbolic, n: Symbolic, minimum: Symbolic, index: Symbolic) -> sp.Expr:
    """minimum n! / (n-k)! Gamma(n-k+1-1/index) / Gamma(n+1-1/index), finite if index (n-k+1) > 1.

    Source: David & Nagaraja (2003), ch. 3.

    >>> pareto(1, 1, minimum=1, index=3)
    3/2
    """
    return minimum * _tail(k, n, index)


@explains_types
def lomax(k: Symbolic, n: Symbolic, scale: Symbolic, index: Symbolic) -> sp.Expr:
    """A Pareto time of minimum ``scale``, minus that minimum.

    >>> lomax(1, 1, scale=1, index=3)
    1/2
    """
    return sp.sympify(scale) * (_tail(k, n, index) - 1)


def _tail(k: Symbolic, n: Symbolic, index: Symbolic) -> Any:
    """The ratio of gamma functions as a ratio of products of k factors, which stays a fraction."""
    return sp.ff(n, k) / sp.ff(n - 1 / sp.sympify(index), k)


@explains_types
def weibull(k: int, n: int, scale: Symbolic, shape: Symbolic) -> sp.Expr:
    """scale Gamma(1+1/c) k C(n,k) sum_r (-1)^r C(k-1,r) (n-k+1+r)^(-1-1/c), c the ``shape``.

    The signs of the terms alternate, so for large k only exact arithmetic can sum them.
    Source: Lieblein (1955).

    >>> weibull(1, 1, scale=1, shape=sp.Rational(1, 2))
    2
    """
    inverse = 1 / sp.sympify(shape)
    terms = ((-1) ** r * sp.binomial(k - 1, r) * sp.Integer(n - k + 1 + r) ** (-1 - inverse) for r in range(k))
    return sp.sympify(scale) * sp.gamma(1 + inverse) * k * sp.binomial(n, k) * sp.Add(*terms)


@explains_types
def erlang(k: int, n: int, steps: int, scale: Symbolic = 1) -> sp.Expr:
    """The k-th smallest of sums of ``steps`` exponentials: the integral of P(fewer than k done by t), term by term.

    With S = exp(-t) p(t) = P(X > t), the binomial probabilities are sums of powers of S, and the integral of
    t^a exp(-m t) is a! / m^(a+1).  Exact if ``scale`` is.  Cost: about n^2 steps.

    >>> erlang(2, 2, steps=2)
    11/4
    """
    t = sp.Symbol("t", positive=True)
    p: Any = sp.Poly(sum(t**i / sp.factorial(i) for i in range(steps)), t)
    power: Any = sp.Poly(1, t)
    areas: list[Any] = [0]  # of S^m, from m = 1 on
    for m in range(1, n + 1):
        power = power * p
        areas.append(sp.Add(*(c * sp.factorial(a) / sp.Integer(m) ** (a + 1) for (a,), c in power.terms())))
    return sp.sympify(scale) * sp.Add(
        *((-1) ** i * sp.binomial(n, j) * sp.binomial(j, i) * areas[n - j + i] for j in range(k) for i in range(j + 1))
    )


# ---------------------------------------------------------------- ABS with exponential delays


class SteadyState(NamedTuple):
    """Per round, as in ``results.SteadyState``; ``staleness`` is a function of j."""

    round_time: sp.Expr  #: mean time from one update to the next
    mean_staleness: sp.Expr  #: mean staleness of the gradients that the server applies
    staleness: Callable[[Symbolic], sp.Expr]  #: P(staleness = j) of such a gradient, a function of j
    restarts: sp.Expr  #: number of workers that restart
    uplinks: Symbolic  #: number of gradients sent
    downlinks: Symbolic  #: number of models sent
    idle_fraction: sp.Expr  #: share of worker time spent waiting for the round to end
    wasted_fraction: sp.Expr  #: share of worker time lost by restarts


@explains_types
def abs_sgd(k: Symbolic, n: Symbolic, max_staleness: Symbolic, mean: Symbolic = 1) -> SteadyState:
    """ABS with equal exponential delays; ``max_staleness`` sp.oo is K-async, 0 is K-sync.

    With p = k/n, q = 1 - p and theta the bound, P(tau = j) = p q^j / (1 - q^(theta+1)), and there are
    k q^(theta+1) / (1 - q^(theta+1)) restarts per round.  A restart loses theta + 1 rounds of work.
    Source: derived in notebooks/proofs/staleness.ipynb.

    >>> abs_sgd(2, 4, 1).round_time, abs_sgd(2, 4, 1).mean_staleness
    (7/12, 1/3)
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
