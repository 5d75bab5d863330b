"""Steady state of the ABS family: round time, staleness, restarts, traffic, participation, idle and wasted time.

``max_staleness`` 0 is K-sync, None is K-async, ``k = n`` is synchronous SGD.  Exact where a formula is known
(``closed_form``) or a Markov chain is small enough (``markov_chain``), mean field or Monte Carlo elsewhere; every
result carries its error.
"""

import math
from dataclasses import fields, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from abs_theory import monte_carlo, order_stats
from abs_theory.checks import (
    MAX_WORKERS,
    check_count,
    check_k,
    check_max_staleness,
    check_rng,
    explains_types,
    on_one_grid,
)
from abs_theory.delays import Delay
from abs_theory.monte_carlo import Rules
from abs_theory.results import SteadyState, TrainerState
from abs_theory.steady_state import closed_form, markov_chain, mean_field, trainer
from abs_theory.steady_state.methods import METHODS
from abs_theory.typing import Array, DelayLike, Laws
from abs_theory.workers import Workers, as_workers

__all__ = ["SteadyState", "abs_sgd"]


RESULTS = tuple(f.name for f in fields(SteadyState) if f.name not in ("method", "error"))
MOST_STATES_UNASKED = 4000  # states of a Markov chain that "auto" solves without being asked, in .1 s
MOST_SIMULATED = 3000  # workers; "auto" leaves more to the mean field
MOST_AT_ONCE = 0.99999  # of the rounds take no time; with more, a simulation of many updates may see no time pass
MANY_CELLS = 200  # to simulate, above which each is computed to 3 % instead of 1 %
LONGEST_SIMULATED = 1 << 16  # bounds, in rounds; so many update times must be kept

State = TypeVar("State", bound=SteadyState)


@explains_types
def abs_sgd(
    delay: Laws,
    k: int | ArrayLike,
    n: int,
    max_staleness: float | ArrayLike | None = None,
    method: str = "auto",
    rng: np.random.Generator | None = None,
    update_seconds: float | DelayLike = 0.0,
) -> SteadyState:
    """Steady state of ABS that waits for ``k`` of ``n`` workers and restarts those staler than ``max_staleness``.

    ``delay`` is one law, or a sequence of ``n`` laws, one per worker.  Arrays of ``k`` and ``max_staleness`` (inf, or
    None, is no bound) broadcast to a grid, and so do the fields of the result.  ``method``:

    - "exact": by formula for exponential delays, ``k = n`` and ``max_staleness = 0``; by Markov chain for phase-type
      delays (``markov_chain``: up to 200 000 states, seconds); without a bound also ``k = 1`` for any law, but there
      the law of the staleness is simulated;
    - "mean-field": any law without atoms, exact at ``k = n`` and ``max_staleness = 0``; its error: ``errors``;
    - "fast": exact where that is quick (chains of up to 4000 states), else the mean field, but a simulation for laws
      with atoms.  For whole grids: a millisecond or less for each cell;
    - "monte-carlo": any law (without a bound: of finite mean), needs ``rng``; ``monte_carlo.abs_sgd`` lets you choose
      the effort;
    - "auto": exact where that is quick (chains of up to 4000 states), else by a simulation that goes on until its
      errors are small (``monte_carlo.steady_state_to_goal``).  Its random numbers are made from the fleet, so the same
      question has the same answer, unless you give an ``rng``.  The error of the round time is mostly below
      1 % and at most 3 %, heavy tails down to an index of 1.5 included; grids of more than 200 such cells are computed
      to 3 %.  Under a bound, steady workers (coefficients of variation below .2) can stay in step for thousands of
      rounds, or for ever.  Then results depend on how they began: with Uniform(1, 1.01) and two of Uniform(1.6, 1.616),
      k = 1 and a bound of 1, a round lasts .754 s for ever if all begin together, and .67 s if the slow ones begin in
      turn.  So they begin together, and the result is what they do from the 500th to the 1000th delivery of each, or
      earlier if that takes too long.  If even 200 deliveries of each take too long, random phases are the start,
      and errors cover both.  A few fleets drift on, by some percent in a hundred times as many rounds.
      Above 3000 workers: the mean field.

    If an update takes ``update_seconds`` (a number or a law), deliveries queue meanwhile, slots restart when the update
    is over, and the result is a ``TrainerState``.  "mean-field" and "fast" are then the same: exact where that is
    known.  "auto" simulates, mostly in 1 s, where they state an error of the round above 2 %, and as ``abs_batch`` with
    few slots or steady tasks.  A grid is computed one cell after another.

    Of equal finish times the lower worker number comes first.  Where they are frequent, as under ``Empirical`` laws of
    few or rounded times, workers of the same law take part unequally.

    The method taken in each cell is the result's ``method``; "simulation" is that of "auto", whose errors hold but for
    a chance of 1e-5.  If the k-th delay has an infinite mean, so has the round (``order_stats.first_infinite``).
    Raises ValueError if the method does not apply, and says what does.

    >>> from abs_theory.delays import Exponential
    >>> state = abs_sgd(Exponential(mean=1.0), 5, 20, [0, 3])
    >>> state.round_time.round(4).tolist(), state.mean_staleness.round(4).tolist(), state.method.tolist()
    ([0.2795, 0.2795], [0.0, 1.1486], ['exact', 'exact'])

    See also ``monte_carlo.abs_sgd`` and, for the round time alone, ``round_time.abs_sgd``.
    """
    check_count("n", n, maximum=MAX_WORKERS)  # results have an entry for each worker
    workers = as_workers(delay, n)
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    if rng is not None:
        check_rng(rng)
    if method == "monte-carlo" and rng is None:
        raise ValueError('method="monte-carlo" needs rng, such as np.random.default_rng(0)')
    k, theta = _grid(k, n, max_staleness)
    if (update := monte_carlo.update_law(update_seconds)) is not None:

        def with_updates(k: int, bound: float) -> TrainerState:
            return _without_end(workers, np.array(k), _with_updates(workers, k, bound, update, method, rng))

        return trainer.over_cells(with_updates, k, theta)
    shape, k, theta = k.shape, k.ravel(), theta.ravel()
    cells = zip(k.tolist(), theta.tolist(), strict=True)
    routes = np.array([_route(workers, *cell, method) for cell in cells], dtype=object)

    parts = []
    for cell in np.flatnonzero((routes == "chain") | (routes == "monte-carlo")):
        pair = int(k[cell]), float(theta[cell])
        try:
            parts.append(([cell], _one_cell(workers, *pair, routes[cell], rng)))
        except markov_chain.StiffChainError:
            if method == "exact":
                raise
            routes[cell] = _route(workers, *pair, method, chain=False)
    if (cells := np.flatnonzero(routes == "exact")).size:
        parts.append((cells, closed_form.steady_state(workers, k[cells], theta[cells])))
    for unbounded in (False, True):
        cells = np.flatnonzero((routes == "mean-field") & (np.isinf(theta) == unbounded))
        if cells.size:
            part = mean_field.steady_state(workers, k[cells], theta[cells])
            parts.append((cells, _asynchronous(workers, part, k[cells] == 1) if unbounded else part))
    simulated = np.flatnonzero((routes == "simulation") | (routes == "asynchronous"))
    parts += zip(simulated[:, None], _simulated(workers, k[simulated], theta[simulated], rng), strict=True)

    exact = (routes == "chain") | (routes == "asynchronous")
    exact |= (routes == "mean-field") & (k == 1) & np.isinf(theta)
    labels = np.where(exact, "exact", routes).astype(str).reshape(shape)
    error = SteadyState(**_joined([(cells, part.error) for cells, part in parts], shape))
    state = SteadyState(**_joined(parts, shape), method=labels if shape else str(labels), error=error)
    return _without_end(workers, k.reshape(shape), state)


def _without_end(workers: Workers, k: NDArray[np.int64], state: State) -> State:
    """``state`` where the rounds of some cells have no mean, which no simulation can see.

    In the long run all seconds then belong to endless rounds: k - 1 workers wait, one is awaited, the others restart.
    """
    n = workers.n
    endless = k >= order_stats.first_infinite(workers, n)
    if not endless.any():
        return state
    assert state.error is not None
    known: dict[str, Any] = {"round_time": math.inf, "idle_fraction": (k - 1) / n, "wasted_fraction": (n - k) / n}
    if isinstance(state, TrainerState):
        known |= {"trainer_busy": 0.0, "trained_length": math.inf}

    def put(values: Any, exact: dict[str, Any]) -> Any:
        filled = {name: np.where(endless, value, getattr(values, name)) for name, value in exact.items()}
        return replace(values, **{name: value if k.ndim else float(value) for name, value in filled.items()})

    return replace(put(state, known), error=put(state.error, dict.fromkeys(known, 0.0)))


def _with_updates(
    workers: Workers, k: int, bound: float, update: Delay, method: str, rng: np.random.Generator | None
) -> TrainerState:
    """The steady state of one cell if an update takes time."""
    if method != "monte-carlo":
        state = trainer.steady_state(workers, k, bound, update)
        errors = state.error.round_time, state.error.mean_staleness, state.error.restarts
        if method == "exact" and any(errors):
            raise ValueError(
                f"no exact steady state is known for k={k} of n={workers.n} and max_staleness={bound:g} if updates "
                'take time; use method="auto"'
            )
        if method == "exact":
            return replace(state, method="exact")
        return trainer.accurate(state, workers, Rules(k, workers.n, bound), update) if method == "auto" else state
    assert rng is not None
    state = monte_carlo.abs_sgd(workers, k, workers.n, bound, rng, 200, 32, None, update)
    assert isinstance(state, TrainerState)
    return state


def _one_cell(workers: Workers, k: int, bound: float, route: str, rng: np.random.Generator | None) -> SteadyState:
    """The steady state as one row of a grid."""
    if route == "chain":
        state = markov_chain.steady_state(workers, k, bound)
        zeros: dict[str, Any] = {name: np.zeros_like(np.asarray(getattr(state, name))) for name in RESULTS}
        return replace(_as_row(state), error=_as_row(SteadyState(**zeros)))
    assert rng is not None
    state = monte_carlo.steady_state(workers, k, bound, rng)
    return replace(_as_row(state), error=_as_row(state.error))


def _simulated(
    workers: Workers, ks: NDArray[np.int64], bounds: Array, rng: np.random.Generator | None
) -> list[SteadyState]:
    """Steady states to an error goal, each as one row of a grid."""
    if not ks.size:
        return []
    cells = list(zip(ks.tolist(), bounds.tolist(), strict=True))
    if workers.has_atoms:
        _check_that_time_passes(workers, min(ks.tolist()))
    quick = len(cells) > MANY_CELLS
    rows = []
    for (k, bound), state in zip(
        cells, monte_carlo.steady_states_to_goal(workers, cells, rng or _seeded(workers), quick), strict=True
    ):
        row = replace(_as_row(state), error=_as_row(state.error))
        alone = k == 1 and math.isinf(bound)
        rows.append(_asynchronous(workers, row, np.array([True])) if alone else row)
    return rows


def _check_that_time_passes(workers: Workers, k: int) -> None:
    """Refuse laws under which nearly every round ends at once, because ``k`` fresh tasks take 0 s."""
    at_once = float(order_stats.cdf(workers, k, workers.n, 0.0))
    if at_once > MOST_AT_ONCE:
        raise ValueError(
            f"with k={k} of n={workers.n} workers all but {1 - at_once:.1g} of the rounds take 0 s, because so many "
            "task times are 0: take a larger k, or delays that are measured more finely"
        )


def _as_row(state: SteadyState) -> SteadyState:
    rows: dict[str, Any] = {name: np.asarray(getattr(state, name))[None] for name in RESULTS}
    return SteadyState(**rows)


def _seeded(workers: Workers) -> np.random.Generator:
    """A generator made from the fleet: all cells and laws share their luck, whatever the unit of time."""
    return np.random.default_rng(list(workers.counts))


def _grid(k: Any, n: Any, max_staleness: Any) -> tuple[NDArray[np.int64], Array]:
    """``k`` and ``max_staleness`` checked and broadcast, with inf for None."""
    ks, thetas = on_one_grid(k, max_staleness)
    for number in ks.flat:
        check_k(number, n)
    for threshold in thetas.flat:
        check_max_staleness(threshold)
    return ks.astype(np.int64), np.where(thetas == None, math.inf, thetas).astype(float)  # noqa: E711


def _route(workers: Workers, k: int, theta: float, method: str, chain: bool = True) -> str:
    """How to solve one cell, with or without a Markov chain where it is small enough."""
    finite_mean = all(math.isfinite(law.mean) for law in workers.laws)
    steady, few = math.isfinite(theta) or finite_mean, workers.n <= MOST_SIMULATED
    if method == "monte-carlo":
        return method
    if k == workers.n or theta == 0 or (method != "mean-field" and closed_form.applies(workers, k, theta)):
        return "exact"
    if method != "mean-field":
        most = markov_chain.MOST_STATES if method == "exact" else MOST_STATES_UNASKED
        if chain and markov_chain.number_of_states(workers, k, theta) <= most:
            return "chain"
        if k == 1 and math.isinf(theta) and finite_mean and method != "fast" and few:
            return "asynchronous"
    laws = repr(workers.laws[0]) if workers.equal else f"{workers.n} workers of {len(workers.laws)} laws"
    cell = f"{laws} with k={k} of n={workers.n} and max_staleness={theta:g}"
    if method == "exact":
        raise ValueError(
            f"no exact steady state is known for {cell}: the delays are not of phase type, or their Markov chain has "
            f'more than {markov_chain.MOST_STATES} states; use method="auto", which simulates'
        )
    if not steady:
        raise ValueError(f"no steady state for {cell}: E[X] is infinite and there is no bound; give a max_staleness")
    if method == "mean-field" and workers.has_atoms:
        raise ValueError(f'no mean field for {cell}: the law has atoms; use method="auto", which simulates')
    small = few and (math.isinf(theta) or theta <= LONGEST_SIMULATED)
    return "simulation" if workers.has_atoms or (method == "auto" and small) else "mean-field"


def _asynchronous(workers: Workers, state: SteadyState, cells: NDArray[np.bool_]) -> SteadyState:
    """``state`` with what is exact without a bound in ``cells`` of k = 1: nobody idles, and each worker renews."""
    assert state.error is not None
    rates = np.array([1 / law.mean for law in workers.laws])[workers.group]
    exact = {"round_time": 1 / rates.sum(), "idle_fraction": 0.0, "participation": rates / rates.sum()}
    parts = []
    for values, known in ((state, exact), (state.error, dict.fromkeys(exact, 0.0))):
        changed = {}
        for name, value in known.items():
            changed[name] = np.array(getattr(values, name))
            changed[name][cells] = value
        parts.append(replace(values, **changed))
    return replace(parts[0], error=parts[1])


def _joined(parts: list[Any], shape: tuple[int, ...]) -> dict[str, Any]:
    """Fields of the ``parts``, (cells, SteadyState) each, as arrays of ``shape``; floats if it is ()."""
    joined: dict[str, Any] = {}
    for name in RESULTS:
        rows = [(cells, np.asarray(getattr(part, name))) for cells, part in parts]
        if name in ("staleness_pmf", "participation"):
            grid = np.zeros((math.prod(shape), max(values.shape[-1] for _, values in rows)))
            for cells, values in rows:
                if values.any():  # a large array of zeros takes no memory until it is written to
                    grid[cells, : values.shape[-1]] = values
            joined[name] = grid.reshape(*shape, -1)
        else:
            grid = np.zeros(math.prod(shape))
            for cells, values in rows:
                grid[cells] = values
            joined[name] = grid.reshape(shape) if shape else float(grid[0])
    return joined
