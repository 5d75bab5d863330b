"""Candidates for a choice, as tables: seconds and messages per round, and progress towards the goal."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from abs_theory import bounds, monte_carlo, steady_state
from abs_theory.bounds import Constants, Tradeoff, expected
from abs_theory.choose.goal import Budget, Goal, Target
from abs_theory.typing import Array, Laws
from abs_theory.workers import as_workers

__all__ = ["Candidates", "between", "coarse", "grid", "outcomes", "rounds", "tradeoff"]

Counts = NDArray[np.int64]

EVERY_K_UP_TO = 128  # workers: with more, about 3/4 of this many k are tried, then those around the best
K_BETWEEN_NEIGHBOURS = 9  # tried in each gap around the best k, with more workers than that
FEW_ROUNDS = {"num_rounds": 200, "replicates": 64}  # of one simulated candidate: 1 to 2 % in the round time
LARGEST_THRESHOLD = 8  # n / k: with a threshold of 8 n / k restarts are rare


# ---------------------------------------------------------------- which candidates


def coarse(n: int) -> Counts:
    """Values of k to try first: all, or about 100 in geometric progression."""
    if n <= EVERY_K_UP_TO:
        return np.arange(1, n + 1)
    return np.unique(np.append(np.geomspace(1, n, 3 * EVERY_K_UP_TO // 4).round(), n)).astype(np.int64)


def between(curve: pd.DataFrame) -> Counts:
    """Values of k not yet tried between the best one and its neighbours; none if they are adjacent."""
    objective = curve["objective"].to_numpy()
    if not np.isfinite(objective).any():
        return np.array([], dtype=np.int64)
    tried, best = np.unique(curve["k"]), curve["k"].iloc[int(objective.argmin())]
    gaps = [gap for gap in pairwise(tried) if best in gap]
    finer = [np.linspace(low, high, K_BETWEEN_NEIGHBOURS + 2).round() for low, high in gaps]
    return np.setdiff1d(np.concatenate([*finer, tried]), tried).astype(np.int64)


def grid(ks: Counts, n: int, thresholds: Array | None, has_mean: bool) -> tuple[Counts, Array]:
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

    k: Counts  #: gradients waited for
    max_staleness: Array  #: the threshold; inf: none
    seconds: Array  #: mean round time
    error: Array  #: half-width of the round time
    mean_staleness: Array  #: of the gradients applied
    messages: Array  #: uplinks and downlinks
    charged: Array  #: seconds, with those of the messages
    staleness_pmf: Array  #: one row each; where unknown, or not needed because of a threshold, all in the last entry


def rounds(
    delay: Laws,
    n: int,
    cells: tuple[Counts, Array],
    costs: tuple[Array | None, float],
    method: str,
    rng: np.random.Generator | None,
) -> Candidates:
    """What a round of each of the ``cells`` (k, max_staleness) takes and sends, by ``steady_state.abs_sgd``.

    ``costs`` are round times for k = 1..n that replace those of the steady state (None: do not), and the seconds
    charged for a message.  Where "auto" can only simulate (laws with atoms), it simulates each candidate briefly.
    """
    k, theta = cells
    times, message_seconds = costs
    laws = tuple(delay) if isinstance(delay, Sequence) else delay
    atoms = method == "auto" and rng is not None and as_workers(laws, n).has_atoms
    simulate = (theta > 0) & (k < n) if atoms else np.zeros(k.size, dtype=bool)
    seconds, error, stale, messages = np.zeros((4, k.size))
    pmf = np.ones((k.size, 1))

    def put(which: NDArray[np.intp] | np.intp, state: steady_state.SteadyState) -> None:
        seconds[which], error[which] = state.round_time, state.error.round_time
        stale[which], messages[which] = state.mean_staleness, state.uplinks + state.downlinks

    for unbounded in (False, True):  # apart, because the law of the staleness is long without a bound
        which = np.flatnonzero((np.isinf(theta) == unbounded) & ~simulate)
        if which.size:
            question = (laws, tuple(k[which].tolist()), n, tuple(theta[which].tolist()), method)
            state = _remembered_state(*question) if rng is None else steady_state.abs_sgd(*question, rng)
            put(which, state)
            if unbounded:
                known = state.method != "monte-carlo"  # no sample shows how rare the rarest staleness is
                pmf = np.zeros((k.size, state.staleness_pmf.shape[1]))
                pmf[:, -1] = 1.0
                pmf[which[known]] = state.staleness_pmf[known]
    for cell in np.flatnonzero(simulate):
        assert rng is not None
        put(cell, monte_carlo.abs_sgd(laws, int(k[cell]), n, theta[cell], rng, **FEW_ROUNDS))
    # holds on every run, with equality if there is no threshold, whatever the error of the steady state
    in_flight = (n - k) / k
    stale = np.where(np.isinf(theta), in_flight, np.clip(stale, 0, np.minimum(theta, in_flight)))
    if times is not None:
        seconds, error = times[k - 1], np.zeros(k.size)
    return Candidates(k, theta, seconds, error, stale, messages, seconds + message_seconds * messages, pmf)


@lru_cache(maxsize=16)
def _remembered_state(
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


# ---------------------------------------------------------------- progress towards the goal


def tradeoff(constants: Constants, k: Counts, n: int, mean_staleness: Array, largest: Array, goal: Goal) -> Tradeoff:
    """Mean of E|grad F|^2 as a function of the step, if no gradient is staler than ``largest``."""
    if goal.model == "expected":
        return expected.tradeoff(constants, k, mean_staleness)
    if goal.gamma is None:
        return bounds.abs_sgd_tradeoff(constants, k, n, mean_staleness, largest)
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
            "mean_staleness": compared.mean_staleness,
            "largest_staleness": largest,  # that the bound reckons with
            "messages": np.where(reached, updates * compared.messages, math.inf),
            "updates": np.where(reached, updates, math.inf),
            "seconds": np.where(reached, np.where(reached, updates, 1.0) * compared.charged, math.inf),
            "gradient_norm2": np.where(reached, norm2, math.inf),
        }
    )
    return table.assign(objective=table[goal.minimised])


class _Outlook:
    """Step, updates and error of candidates, given how stale their gradients can be."""

    def __init__(self, constants: Constants, n: int, compared: Candidates, step: float | None, goal: Goal) -> None:
        self.constants, self.n, self.compared, self.step, self.goal = constants, n, compared, step, goal
        if isinstance(goal, Budget):
            self.enough = goal.seconds >= compared.charged  # for one update
            self.updates = goal.seconds / np.where(self.enough, compared.charged, goal.seconds)
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

    The longer a run, the staler its stalest gradient; the staler it is, the smaller the step and the longer the run.
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
