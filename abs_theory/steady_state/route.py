"""Steady state of the ABS family: round time, staleness, restarts, traffic, participation, idle and wasted time.

``max_staleness`` 0 is K-sync, None is K-async, ``k = n`` is synchronous SGD.  Exact where a formula is known
(``closed_form``) or a Markov chain is small enough (``markov_chain``), mean field or Monte Carlo elsewhere; every
result carries its error.
"""

import math
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from abs_theory import monte_carlo
from abs_theory.checks import check_k, check_max_staleness
from abs_theory.results import SteadyState
from abs_theory.steady_state import closed_form, markov_chain, mean_field
from abs_theory.steady_state.methods import METHODS
from abs_theory.typing import Array, Laws
from abs_theory.workers import Workers, as_workers

__all__ = ["SteadyState", "abs_sgd"]


RESULTS = tuple(f.name for f in fields(SteadyState) if f.name not in ("method", "error"))
MOST_STATES_UNASKED = 4000  # states of a Markov chain that "auto" solves without being asked, in .1 s
COARSE_TIME = 0.018  # relative error of the round time from which "auto" prefers simulation to the mean field


def abs_sgd(
    delay: Laws,
    k: int | ArrayLike,
    n: int,
    max_staleness: float | ArrayLike | None = None,
    method: str = "auto",
    rng: np.random.Generator | None = None,
) -> SteadyState:
    """Steady state of ABS that waits for ``k`` of ``n`` workers and restarts those staler than ``max_staleness``.

    ``delay`` is one law, or a sequence of ``n`` laws, one per worker.  Arrays of ``k`` and ``max_staleness`` (inf, or
    None, is no bound) broadcast to a grid, and so do the fields of the result.  ``method``:

    - "exact": by formula for exponential delays, ``k = n`` and ``max_staleness = 0``; by Markov chain for phase-type
      delays (``markov_chain``: up to 200 000 states, seconds); without a bound also ``k = 1`` for any law, save for
      the staleness law and its error, which are the mean field's;
    - "mean-field": any law without atoms (see ``mean_field.steady_state`` for its error), exact at ``k = n``;
    - "monte-carlo": any law (without a bound: of finite mean), needs ``rng``; ``monte_carlo.abs_sgd`` lets you choose
      the effort;
    - "auto": exact, by chains of up to 4000 states; else the mean field, but Monte Carlo if there is an ``rng`` and
      the mean field does not apply or states an error of the round time above 1.8 %.

    The method taken in each cell is the result's ``method``.  If the k-th delay has an infinite mean, so has an exact
    round time.  Raises ValueError if the method does not apply, and says what does.

    >>> from abs_theory.delays import Exponential
    >>> state = abs_sgd(Exponential(mean=1.0), 5, 20, [0, 3])
    >>> state.round_time.round(4).tolist(), state.mean_staleness.round(4).tolist(), state.method.tolist()
    ([0.2795, 0.2795], [0.0, 1.1486], ['exact', 'exact'])

    See also ``monte_carlo.abs_sgd`` and, for the round time alone, ``round_time.abs_sgd``.
    """
    workers = as_workers(delay, n)
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    if method == "monte-carlo" and rng is None:
        raise ValueError('method="monte-carlo" needs rng, such as np.random.default_rng(0)')
    k, theta = _grid(k, n, max_staleness)
    shape, k, theta = k.shape, k.ravel(), theta.ravel()
    cells = zip(k.tolist(), theta.tolist(), strict=True)
    routes = np.array([_route(workers, *cell, method, rng) for cell in cells], dtype=object)

    parts = []
    if (cells := np.flatnonzero(routes == "exact")).size:
        parts.append((cells, closed_form.steady_state(workers, k[cells], theta[cells])))
    for cell in np.flatnonzero(routes == "chain"):
        parts.append(([cell], _without_error(markov_chain.steady_state(workers, int(k[cell]), theta[cell]))))
    for bound in np.unique(theta):
        for route in ("asynchronous", "mean-field"):
            if (cells := np.flatnonzero((routes == route) & (theta == bound))).size:
                part = mean_field.steady_state(workers, k[cells], bound)
                if route == "asynchronous":
                    part = _asynchronous(workers, part)
                elif method == "auto" and rng is not None:
                    coarse = part.error.round_time > COARSE_TIME * part.round_time
                    routes[cells[coarse]] = "monte-carlo"
                parts.append((cells, part))
    for cell in np.flatnonzero(routes == "monte-carlo"):
        assert rng is not None
        parts.append(([cell], monte_carlo.steady_state(workers, int(k[cell]), theta[cell], rng)))

    labels = np.where((routes == "asynchronous") | (routes == "chain"), "exact", routes).astype(str).reshape(shape)
    error = SteadyState(**_joined([(cells, part.error) for cells, part in parts], shape))
    return SteadyState(**_joined(parts, shape), method=labels if shape else str(labels), error=error)


def _grid(k: Any, n: Any, max_staleness: Any) -> tuple[NDArray[np.int64], Array]:
    """``k`` and ``max_staleness`` checked and broadcast, with inf for None."""
    ks, thetas = np.asarray(k, dtype=object), np.asarray(max_staleness, dtype=object)
    if not (ks.size and thetas.size):
        raise ValueError(f"k and max_staleness must not be empty, got k={k!r}, max_staleness={max_staleness!r}")
    for number in ks.flat:
        check_k(number, n)
    for threshold in thetas.flat:
        check_max_staleness(threshold)
    bounds = np.where(thetas == None, math.inf, thetas).astype(float)  # noqa: E711
    try:
        return tuple(np.broadcast_arrays(ks.astype(np.int64), bounds))  # pyright: ignore
    except ValueError:
        raise ValueError(
            f"k and max_staleness must broadcast to one grid, got shapes {ks.shape} and {thetas.shape}"
        ) from None


def _route(workers: Workers, k: int, theta: float, method: str, rng: Any) -> str:
    """How to solve one cell."""
    finite_mean = all(math.isfinite(law.mean) for law in workers.laws)
    has_mean_field = not workers.has_atoms and (math.isfinite(theta) or finite_mean)
    if method == "monte-carlo":
        return method
    if k == workers.n or (method != "mean-field" and closed_form.applies(workers, k, theta)):
        return "exact"
    if method != "mean-field":
        most = markov_chain.MOST_STATES if method == "exact" else MOST_STATES_UNASKED
        if markov_chain.number_of_states(workers, k, theta) <= most:
            return "chain"
    if k == 1 and math.isinf(theta) and has_mean_field:
        return "asynchronous"
    laws = repr(workers.laws[0]) if workers.equal else f"{workers.n} workers of {len(workers.laws)} laws"
    cell = f"{laws} with k={k} of n={workers.n} and max_staleness={theta:g}"
    if method == "exact":
        raise ValueError(
            f"no exact steady state is known for {cell}: the delays are not of phase type, or their Markov chain has "
            f'more than {markov_chain.MOST_STATES} states; use method="mean-field", or "monte-carlo" with an rng'
        )
    if has_mean_field:
        return "mean-field"
    if method == "auto" and rng is not None:
        return "monte-carlo"
    if workers.has_atoms:
        problem = 'the law has atoms; use steady_state.abs_sgd with method="monte-carlo" and an rng'
    else:
        problem = "E[X] is infinite, so without a bound there is no steady state; give a max_staleness"
    raise ValueError(f"no mean field for {cell}: {problem}")


def _asynchronous(workers: Workers, state: SteadyState) -> SteadyState:
    """``state`` with what is exact at k = 1 without a bound: nobody idles, and deliveries are n renewal processes."""
    assert state.error is not None
    rates = np.array([1 / law.mean for law in workers.laws])[workers.group]
    ones = np.ones_like(state.round_time)
    exact = {
        "round_time": ones / rates.sum(),
        "idle_fraction": 0 * ones,
        "participation": ones[:, None] * rates / rates.sum(),
    }
    return replace(state, **exact, error=replace(state.error, **{name: 0 * values for name, values in exact.items()}))


def _without_error(state: SteadyState) -> SteadyState:
    """The exact ``state`` of one cell as one row of a grid, with errors 0."""
    rows: dict[str, Any] = {name: np.asarray(getattr(state, name))[None] for name in RESULTS}
    error = SteadyState(**{name: np.zeros_like(row) for name, row in rows.items()})
    return replace(state, **rows, error=error)


def _joined(parts: list[Any], shape: tuple[int, ...]) -> dict[str, Any]:
    """Fields of the ``parts``, (cells, SteadyState) each, as arrays of ``shape``; floats if it is ().

    A later part replaces an earlier one in cells they share.
    """
    joined: dict[str, Any] = {}
    for name in RESULTS:
        rows = [(cells, np.asarray(getattr(part, name))) for cells, part in parts]
        if name in ("staleness_pmf", "participation"):
            grid = np.zeros((math.prod(shape), max(values.shape[-1] for _, values in rows)))
            for cells, values in rows:
                grid[cells] = 0.0
                grid[cells, : values.shape[-1]] = values
            joined[name] = grid.reshape(*shape, -1)
        else:
            grid = np.zeros(math.prod(shape))
            for cells, values in rows:
                grid[cells] = values
            joined[name] = grid.reshape(shape) if shape else float(grid[0])
    return joined
