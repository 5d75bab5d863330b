"""Candidates for a choice, as tables: seconds and messages per round, and progress towards the goal."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from itertools import pairwise
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from abs_theory import bounds, monte_carlo, steady_state
from abs_theory.bounds import Constants, Tradeoff, expected
from abs_theory.checks import check_memory
from abs_theory.choose.goal import Budget, Goal, Target
from abs_theory.choose.start import Start, estimated, no_start, seconds_to, updates_by
from abs_theory.delays import Exponential
from abs_theory.typing import Array, Ints, Laws
from abs_theory.workers import as_workers

__all__ = ["Candidates", "between", "coarse", "grid", "joined", "outcomes", "rounds", "settle", "tradeoff"]


EVERY_K_UP_TO = 128  # workers: with more, about 3/4 of this many k are tried, then those around the best
K_BETWEEN_NEIGHBOURS = 9  # tried in each gap around the best k, with more workers than that
FEW_ROUNDS = {"num_rounds": 200, "replicates": 64}  # of one simulated candidate: 1 to 2 % in the round time
ARRAYS_PER_WORKER = 3  # with a number for each pair and worker, at the same time
LARGEST_THRESHOLD = 8  # n / k: with a threshold of 8 n / k restarts are rare


# ---------------------------------------------------------------- which candidates


def coarse(n: int) -> Ints:
    """Values of k to try first: all, or about 100 in geometric progression."""
    if n <= EVERY_K_UP_TO:
        return np.arange(1, n + 1)
    return np.unique(np.append(np.geomspace(1, n, 3 * EVERY_K_UP_TO // 4).round(), n)).astype(np.int64)


def between(curve: pd.DataFrame) -> Ints:
    """Values of k not yet tried between the best one and its neighbours; none if they are adjacent."""
    objective = curve["objective"].to_numpy()
    if not np.isfinite(objective).any():
        return np.array([], dtype=np.int64)
    tried, best = np.unique(curve["k"]), curve["k"].iloc[int(objective.argmin())]
    gaps = [gap for gap in pairwise(tried) if best in gap]
    finer = [np.linspace(low, high, K_BETWEEN_NEIGHBOURS + 2).round() for low, high in gaps]
    return np.setdiff1d(np.concatenate([*finer, tried]), tried).astype(np.int64)


def grid(ks: Ints, n: int, thresholds: Array | None, has_mean: bool) -> tuple[Ints, Array]:
    """All (k, max_staleness) to try, as two arrays.

    With each k the ``thresholds`` given, or 0, 1, 2, 3, 4, 6, 8, 12, 16, 32, ... up to 8 n / k, and none.
    Delays of infinite mean have no steady state without a threshold; at k = n no worker is ever late.
    """
    powers = 2.0 ** np.arange(math.ceil(math.log2(LARGEST_THRESHOLD * n)) + 1)
    every = np.unique([0.0, 3.0, 6.0, 12.0, *powers])
    cells = []
    for k in ks:
        if thresholds is not None:
            tried = thresholds
        elif k == n:
            tried = [0.0]
        else:
            tried = [*every[every <= LARGEST_THRESHOLD * n / k], *([math.inf] if has_mean else [])]
        cells += [(k, theta) for theta in tried]
    k, theta = np.array(cells).T
    return k.astype(np.int64), theta


# ---------------------------------------------------------------- what a round takes


@dataclass(frozen=True, eq=False)
class Candidates:
    """One entry per candidate, a k and a threshold; per round unless said otherwise."""

    k: Ints  #: gradients waited for
    max_staleness: Array  #: the threshold; inf: none
    seconds: Array  #: mean round time
    error: Array  #: half-width of the round time
    mean_staleness: Array  #: of the gradients applied
    messages: Array  #: uplinks and downlinks
    charged: Array  #: seconds, with those of the messages
    staleness_pmf: Array  #: one row each; where unknown, or not needed because of a threshold, all in the last entry
    start: Start  #: how the first updates differ from the steady rate
    settled: NDArray[np.bool_]  #: whether the steady state is exact, or as accurate as it is going to be

    @classmethod
    def measured(cls, k: Ints, max_staleness: Array, seconds: Array, mean_staleness: Array, messages: Array) -> Self:
        """Candidates whose rounds were measured: exact, without a start of their own."""
        zeros, pmf = np.zeros(k.size), np.ones((k.size, 1))
        return cls(
            k, max_staleness, seconds, zeros, mean_staleness, messages, seconds, pmf, no_start(seconds), zeros == 0
        )

    def chosen(self, cells: NDArray[np.intp] | NDArray[np.bool_]) -> "Candidates":
        """Some of these candidates."""
        columns = {part.name: getattr(self, part.name)[cells] for part in fields(self) if part.name != "start"}
        return Candidates(**columns, start=self.start.at(cells))

    def seconds_to(self, updates: Array) -> Array:
        """Seconds until each candidate has made so many ``updates`` >= 1, workers beginning afresh."""
        return seconds_to(self.start, self.seconds, self.charged, updates)

    def updates_by(self, seconds: float) -> Array:
        """Updates of each candidate, not rounded, in so many ``seconds``; less than 1 if there is no time for one."""
        return updates_by(self.start, self.seconds, self.charged, seconds)


def joined(some: Candidates, more: Candidates) -> Candidates:
    """All candidates of both."""
    width = max(some.staleness_pmf.shape[1], more.staleness_pmf.shape[1])
    columns = {}
    for part in fields(Candidates):
        one, other = getattr(some, part.name), getattr(more, part.name)
        if part.name == "start":
            columns["start"] = Start(*map(np.append, one, other))
        elif part.name == "staleness_pmf":
            columns["staleness_pmf"] = np.concatenate([_widened(one, width), _widened(other, width)])
        else:
            columns[part.name] = np.append(one, other)
    return Candidates(**columns)


def _widened(pmf: Array, width: int) -> Array:
    """``pmf`` with more columns; what its last entry stands for, that staleness or more, stays in the last entry."""
    wider = np.zeros((pmf.shape[0], width))
    wider[:, : pmf.shape[1] - 1] = pmf[:, :-1]
    wider[:, -1] = pmf[:, -1]
    return wider


def rounds(
    delay: Laws,
    n: int,
    cells: tuple[Ints, Array],
    costs: tuple[Array | None, float],
    method: str,
    rng: np.random.Generator | None,
) -> Candidates:
    """What a round of each of the ``cells`` (k, max_staleness) takes and sends, and how the first ones differ.

    ``costs`` are round times for k = 1..n that replace those of the theory (None: do not), and the seconds charged for
    a message.  The ``method`` is one of ``steady_state.METHODS``.  For "auto" this is the fast route: exact where that
    is quick, else the mean field, or a short simulation of laws with atoms; ``settle`` computes single candidates
    accurately.
    """
    k, theta = cells
    times, message_seconds = costs
    laws = tuple(delay) if isinstance(delay, Sequence) else delay
    workers = as_workers(laws, n)
    size = 8 * ARRAYS_PER_WORKER * k.size * n
    check_memory(
        f"a search of {k.size} pairs of k and max_staleness for n={n} workers (k=..., max_staleness=...)", size
    )
    exact = (theta == 0) | (k == n) | all(isinstance(law, Exponential) for law in workers.laws)
    simulate = np.zeros(k.size, dtype=bool)
    routes = np.full(k.size, method, dtype=object)
    if method == "auto":
        simulate = ~exact & workers.has_atoms
        routes[~exact] = "mean-field"
    seconds, error, stale, messages = np.zeros((4, k.size))
    pmf = np.ones((k.size, 1))
    for route in dict.fromkeys(routes[~simulate]):
        for unbounded in (False, True):  # apart, because the law of the staleness is long without a bound
            which = np.flatnonzero((routes == route) & (np.isinf(theta) == unbounded) & ~simulate)
            if not which.size:
                continue
            question = (laws, tuple(k[which].tolist()), n, tuple(theta[which].tolist()), route)
            state = _remembered_state(*question) if rng is None else steady_state.abs_sgd(*question, rng)
            seconds[which], error[which] = state.round_time, state.error.round_time
            stale[which], messages[which] = state.mean_staleness, state.uplinks + state.downlinks
            if unbounded:
                rows = np.zeros((k.size, state.staleness_pmf.shape[1]))
                rows[:, -1] = 1.0
                known = ~np.isin(
                    np.asarray(state.method), ("monte-carlo", "simulation")
                )  # no sample has the rarest staleness
                rows[which[known]] = state.staleness_pmf[known]
                width = max(rows.shape[1], pmf.shape[1])
                pmf = np.where(np.isin(np.arange(k.size), which)[:, None], _widened(rows, width), _widened(pmf, width))
    for cell in np.flatnonzero(simulate):
        generator = np.random.default_rng(n) if rng is None else rng
        state = monte_carlo.abs_sgd(laws, int(k[cell]), n, theta[cell], generator, **FEW_ROUNDS)
        seconds[cell], error[cell] = state.round_time, state.error.round_time
        stale[cell], messages[cell] = state.mean_staleness, state.uplinks + state.downlinks
    stale = _possible_staleness(stale, k, theta, n)
    if times is None:
        start = estimated(workers, k, theta, seconds)
    else:
        seconds, error = times[k - 1], np.zeros(k.size)
        start = no_start(seconds)
    charged = seconds + message_seconds * messages
    settled = exact | (method != "auto") | (times is not None)
    return Candidates(k, theta, seconds, error, stale, messages, charged, pmf, start, settled)


def settle(
    delay: Laws,
    n: int,
    compared: Candidates,
    cells: NDArray[np.intp],
    message_seconds: float,
    rng: np.random.Generator | None,
) -> Candidates:
    """``compared``, with the accurate steady state of some ``cells``, by ``steady_state.abs_sgd``."""
    laws = tuple(delay) if isinstance(delay, Sequence) else delay
    seconds, error, stale, messages = (
        np.array(column) for column in (compared.seconds, compared.error, compared.mean_staleness, compared.messages)
    )
    for cell in cells:
        question = (laws, (int(compared.k[cell]),), n, (float(compared.max_staleness[cell]),), "auto")
        state = _remembered_cell(*question) if rng is None else steady_state.abs_sgd(*question, rng)
        assert state.error is not None
        seconds[cell], error[cell] = np.ravel(state.round_time)[0], np.ravel(state.error.round_time)[0]
        stale[cell], messages[cell] = np.ravel(state.mean_staleness)[0], np.ravel(state.uplinks + state.downlinks)[0]
    stale = _possible_staleness(stale, compared.k, compared.max_staleness, n)
    start = estimated(as_workers(laws, n), compared.k, compared.max_staleness, seconds)
    settled = compared.settled.copy()
    settled[cells] = True
    return replace(
        compared, seconds=seconds, error=error, mean_staleness=stale, messages=messages, start=start, settled=settled,
        charged=seconds + message_seconds * messages,
    )  # fmt: skip


def _possible_staleness(mean_staleness: Array, k: Ints, max_staleness: Array, n: int) -> Array:
    """The mean staleness within what holds on every run, with equality if there is no threshold."""
    in_flight = (n - k) / k
    return np.where(
        np.isinf(max_staleness), in_flight, np.clip(mean_staleness, 0, np.minimum(max_staleness, in_flight))
    )


def _read_only_state(
    laws: Laws, k: tuple[int, ...], n: int, max_staleness: tuple[float, ...], method: str
) -> steady_state.SteadyState:
    """``steady_state.abs_sgd``, computed once: it takes nearly all the time, and goals and steps do not change it.

    The arrays are read-only, because all callers share them.
    """
    state = steady_state.abs_sgd(laws, k, n, max_staleness, method)
    for result in (state, state.error):
        for array in vars(result).values():
            if isinstance(array, np.ndarray):
                array.flags.writeable = False
    return state


_remembered_state = lru_cache(maxsize=32)(_read_only_state)  # whole grids
_remembered_cell = lru_cache(maxsize=1024)(_read_only_state)


# ---------------------------------------------------------------- progress towards the goal


def tradeoff(constants: Constants, k: Ints, n: int, mean_staleness: Array, largest: Array, goal: Goal) -> Tradeoff:
    """Mean of E|grad F|^2 as a function of the step, if no gradient is staler than ``largest``."""
    if goal.model == "expected":
        return expected.tradeoff(constants, k, mean_staleness)
    if goal.gamma is None:
        return bounds.abs_sgd_tradeoff(constants, k, n, np.minimum(mean_staleness, largest), largest)
    # Dutta's bound is that of fresh gradients for other constants, up to half the step
    limit = bounds.k_async_max_step_size(constants, k)
    bounds.k_async_gradient_norm(constants, limit, k, 1, gamma=goal.gamma)  # checks gamma
    prime = 1 - goal.gamma
    worse = replace(constants, sigma2=constants.sigma2 / prime, gap=constants.gap / prime)
    return bounds.abs_sgd_tradeoff(worse, k, n, np.zeros(k.size), np.zeros(k.size))._replace(limit=limit)


def outcomes(constants: Constants, n: int, compared: Candidates, step: float | None, goal: Goal) -> pd.DataFrame:
    """One row per candidate: updates, seconds, messages, error, and the objective, inf if it misses the goal.

    ``step`` None is the best step for each candidate.
    """
    outlook = _Outlook(constants, n, compared, step, goal)
    largest = compared.max_staleness.copy() if goal.gamma is None else np.zeros(compared.k.size)
    reckoned = goal.model == "bound" and goal.gamma is None
    if reckoned and (none := np.flatnonzero(np.isinf(compared.max_staleness) & (compared.k < n))).size:
        largest[none] = _largest_staleness(outlook, none, compared.staleness_pmf[none], goal.delta)
    eta, updates, norm2 = outlook.at(np.arange(compared.k.size), largest)
    reached = (eta > 0) & np.isfinite(updates) & outlook.enough
    table = pd.DataFrame(
        {
            "k": compared.k,
            "max_staleness": compared.max_staleness,
            "step_size": np.where(eta > 0, eta, math.nan),  # nan: longer than the model covers
            "round_time": compared.seconds,
            "round_time_error": compared.error,
            "first_update": compared.seconds_to(np.ones(compared.k.size)),
            "mean_staleness": compared.mean_staleness,
            "largest_staleness": largest,  # that the bound reckons with
            "messages": np.where(reached, updates * compared.messages, math.inf),
            "updates": np.where(reached, updates, math.inf),
            "seconds": np.where(reached, compared.seconds_to(np.where(reached, updates, 1.0)), math.inf),
            "gradient_norm2": np.where(reached, norm2, math.inf),
        }
    )
    return table.assign(objective=table[goal.minimised])


class _Outlook:
    """Step, updates and error of candidates, given how stale their gradients can be."""

    def __init__(self, constants: Constants, n: int, compared: Candidates, step: float | None, goal: Goal) -> None:
        self.constants, self.n, self.compared, self.step, self.goal = constants, n, compared, step, goal
        if isinstance(goal, Budget):
            updates = compared.updates_by(goal.seconds)
            self.enough = updates >= 1
            self.updates = np.maximum(updates, 1.0)
        else:
            self.updates = None
            self.enough = np.isfinite(compared.charged) | (goal.minimised == "messages")

    def at(self, cells: NDArray[np.intp], largest: Array) -> tuple[Array, Array, Array]:
        """Step (0: none is covered), updates and error of ``cells``, if no gradient is staler than ``largest``."""
        stale = self.compared.mean_staleness[cells]
        terms = tradeoff(self.constants, self.compared.k[cells], self.n, stale, largest, self.goal)
        eta = np.where(self.step <= terms.limit * (1 + bounds.STEP_SLACK), self.step, 0.0) if self.step else None
        if isinstance(self.goal, Target):
            eta = terms.best_step_to(self.goal.error) if eta is None else eta
            return eta, np.maximum(terms.updates_to(self.goal.error, eta), 1.0), np.full(eta.shape, self.goal.error)
        assert self.updates is not None
        updates = self.updates[cells]
        eta = terms.best_step_in(updates) if eta is None else eta
        return eta, updates, terms.value(eta, updates)


def _largest_staleness(outlook: _Outlook, cells: NDArray[np.intp], pmf: Array, delta: float) -> Array:
    """The staleness that with probability 1 - ``delta`` no gradient exceeds before the target or in the budget.

    A longer run has a larger largest staleness, which asks for a smaller step, which makes the run longer.
    The search goes up in whole steps to the least staleness that agrees with itself.  There is one: the length of the
    run grows like the square root of its staleness, which is less than the number of its updates.
    """
    k, largest, growing = outlook.compared.k[cells], np.zeros(cells.size), np.ones(cells.size, dtype=bool)
    while growing.any():
        eta, updates, _ = outlook.at(cells[growing], largest[growing])
        open_cells = np.flatnonzero(growing)
        growing[open_cells] = False
        runs = (eta > 0) & np.isfinite(updates)
        open_cells, updates = open_cells[runs], updates[runs]
        if open_cells.size:
            quantile = bounds.staleness_quantile(pmf[open_cells], k[open_cells], updates, delta)
            growing[open_cells] = quantile > largest[open_cells]
            largest[open_cells] = np.maximum(largest[open_cells], quantile)
    return largest
