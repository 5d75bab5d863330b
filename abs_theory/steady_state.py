"""Steady state of the ABS family: round time, staleness, restarts, traffic, idle and wasted time, for equal workers.

``max_staleness`` 0 is K-sync, None is K-async, ``k = n`` is synchronous SGD.  Exact where a formula is known,
mean field or Monte Carlo elsewhere; every result carries its error.
"""

import math
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from abs_theory import mean_field, monte_carlo, order_stats
from abs_theory.checks import check_k
from abs_theory.delays import Delay, Exponential
from abs_theory.monte_carlo import SteadyState, check_max_staleness

__all__ = ["SteadyState", "abs_sgd"]

Array = NDArray[np.float64]

METHODS = ("auto", "exact", "mean-field", "monte-carlo")
RESULTS = tuple(f.name for f in fields(SteadyState) if f.name not in ("method", "error", "participation"))


def abs_sgd(
    delay: Delay,
    k: int | ArrayLike,
    n: int,
    max_staleness: float | ArrayLike | None = None,
    method: str = "auto",
    rng: np.random.Generator | None = None,
) -> SteadyState:
    """Steady state of ABS that waits for ``k`` of ``n`` workers and restarts those staler than ``max_staleness``.

    Arrays of ``k`` and ``max_staleness`` (inf, or None, is no bound) broadcast to a grid, and so do the fields of the
    result.  ``method``:

    - "exact": exponential delays, ``k = n``, ``max_staleness = 0``; without a bound also ``k = 1``, save for the
      staleness law, which is the mean field's;
    - "mean-field": any law without atoms (see ``mean_field.abs_sgd`` for its error), exact at ``k = n``;
    - "monte-carlo": any law (without a bound: of finite mean), needs ``rng``; ``monte_carlo.abs_sgd`` lets you choose
      the effort;
    - "auto": exact, else Monte Carlo if there is an ``rng``, else mean field.

    If the k-th delay has an infinite mean, so has an exact round time.
    """
    if not isinstance(delay, Delay):
        raise ValueError(f"delay must be a Delay such as Exponential(mean=1.0), got {delay!r}")
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    if method == "monte-carlo" and rng is None:
        raise ValueError('method="monte-carlo" needs rng, such as np.random.default_rng(0)')
    k, theta = _grid(k, n, max_staleness)
    shape, k, theta = k.shape, k.ravel(), theta.ravel()
    routes = np.array([_route(delay, *cell, n, method, rng) for cell in zip(k.tolist(), theta.tolist(), strict=True)])

    parts = []
    if (cells := np.flatnonzero(routes == "exact")).size:
        parts.append((cells, _closed_form(delay, k[cells], n, theta[cells])))
    for bound in np.unique(theta):
        for route in ("asynchronous", "mean-field"):
            if (cells := np.flatnonzero((routes == route) & (theta == bound))).size:
                parts.append((cells, mean_field.abs_sgd(delay, k[cells], n, bound)))
    for cell in np.flatnonzero(routes == "monte-carlo"):
        assert rng is not None
        parts.append(([cell], monte_carlo.abs_sgd(delay, int(k[cell]), n, theta[cell], rng)))

    labels = np.where(routes == "asynchronous", "exact", routes).reshape(shape)
    error = SteadyState(**_joined([(cells, part.error) for cells, part in parts], shape))
    return SteadyState(**_joined(parts, shape), method=labels if shape else str(labels), error=error)


def _grid(k: Any, n: Any, max_staleness: Any) -> tuple[NDArray[np.int64], Array]:
    """``k`` and ``max_staleness`` checked and broadcast, with inf for None."""
    ks, thetas = np.asarray(k, dtype=object), np.asarray(max_staleness, dtype=object)
    if not (ks.size and thetas.size):
        raise ValueError(f"k and max_staleness must not be empty, got k={k!r}, max_staleness={max_staleness!r}")
    for each in ks.flat:
        check_k(each, n)
    for each in thetas.flat:
        check_max_staleness(each)
    bounds = np.where(thetas == None, math.inf, thetas).astype(float)  # noqa: E711
    try:
        return tuple(np.broadcast_arrays(ks.astype(np.int64), bounds))  # pyright: ignore
    except ValueError:
        raise ValueError(
            f"k and max_staleness must broadcast to one grid, got shapes {ks.shape} and {thetas.shape}"
        ) from None


def _route(delay: Delay, k: int, theta: float, n: int, method: str, rng: Any) -> str:
    """How to solve one cell."""
    has_mean_field = not delay.has_atoms and (math.isfinite(theta) or math.isfinite(delay.mean))
    if method == "monte-carlo":
        return method
    if k == n or (method != "mean-field" and (theta == 0 or isinstance(delay, Exponential))):
        return "exact"
    if k == 1 and math.isinf(theta) and has_mean_field:
        return "asynchronous"
    cell = f"{delay!r} with k={k} of n={n} and max_staleness={theta:g}"
    if method == "exact":
        raise ValueError(
            f'no exact steady state is known for {cell}; use method="mean-field", or "monte-carlo" with an rng'
        )
    if method == "auto" and rng is not None:
        return "monte-carlo"
    if not has_mean_field:
        if delay.has_atoms:
            problem = 'the law has atoms; use steady_state.abs_sgd with method="monte-carlo" and an rng'
        else:
            problem = "E[X] is infinite, so without a bound there is no steady state; give a max_staleness"
        raise ValueError(f"no mean field for {cell}: {problem}")
    return "mean-field"


def _closed_form(delay: Delay, k: NDArray[np.int64], n: int, theta: Array) -> SteadyState:
    r"""Exact where a round starts as if all were fresh: memoryless delays, nobody late, or all restart.

    With q = 1 - K/n, staleness is a geometric number given that it is at most theta:

    .. math:: P(\tau = j) = \frac{K}{n} \frac{q^j}{1 - q^{\theta+1}}, \qquad R = K \frac{q^{\theta+1}}{1 - q^{\theta+1}}

    and the share of idle time is sum_{j <= K} (E[X_(K)] - E[X_(j)]) / (n E[X_(K)]).
    Source: derived in notebooks/02_staleness.ipynb; round time: Dutta et al. (2018), Lemmas 3 and 5.
    """
    means = order_stats.means(delay, n)
    q, attempts = 1 - k / n, theta + 1
    cut = q**attempts
    restarts = k * cut / (1 - cut)
    dropped = np.where(np.isinf(theta), 0.0, restarts) * np.where(np.isinf(theta), 0.0, attempts)

    enough = np.max(np.log(mean_field.NEGLIGIBLE) / np.log(np.maximum(q, 1e-300)))
    entries = int(min(attempts.max(), mean_field.LONGEST, math.ceil(enough) + 1))
    survive = q[:, None] ** np.minimum(np.arange(entries + 1), attempts[:, None])
    survive[:, -1] = cut
    pmf = (survive[:, :-1] - survive[:, 1:]) / (1 - cut)[:, None]

    last = means[k - 1]
    # finishing before a time of infinite mean is to idle all the round
    early = np.where(np.isinf(last), 1.0, np.cumsum(np.where(np.isinf(means), 0.0, means))[k - 1] / last)
    result = SteadyState(
        round_time=last,
        mean_staleness=(n - k - dropped) / k,
        staleness_pmf=pmf,
        restarts=restarts,
        uplinks=k.astype(float),
        downlinks=k + restarts,
        idle_fraction=(k - early) / n,
        wasted_fraction=dropped / n,
    )
    error = SteadyState(**{name: np.zeros_like(getattr(result, name)) for name in RESULTS})
    return replace(result, error=error)


def _joined(parts: list[Any], shape: tuple[int, ...]) -> dict[str, Any]:
    """Fields of the ``parts``, (cells, SteadyState) each, as arrays of ``shape``; floats if it is ()."""
    size = math.prod(shape)
    width = max(part.staleness_pmf.shape[-1] for _, part in parts)
    joined: dict[str, Any] = {name: np.zeros((size, width) if name == "staleness_pmf" else size) for name in RESULTS}
    for cells, part in parts:
        for name, whole in joined.items():
            values = np.asarray(getattr(part, name))
            whole[cells] = (
                np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, width - values.shape[-1])])
                if whole.ndim == 2
                else values
            )
    return {
        name: whole.reshape((*shape, *whole.shape[1:])) if shape or whole.ndim == 2 else float(whole[0])
        for name, whole in joined.items()
    }
