"""Candidates for a choice, as tables: what a round of each takes and sends, and how far it gets."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from abs_theory import bounds, monte_carlo, steady_state
from abs_theory.bounds import Constants, Tradeoff, expected
from abs_theory.typing import Array
from abs_theory.workers import as_workers

__all__ = ["Goal", "between", "coarse", "grid", "outcomes", "rounds", "tradeoff"]

Counts = NDArray[np.int64]

DENSE = 128  # up to so many workers every k is tried
FINER = 9  # values of k tried between two neighbours of the best, beyond
SHORT = {"num_rounds": 200, "replicates": 64}  # of a simulated candidate
REACH = 8  # thresholds are tried up to so many times n / k


# ---------------------------------------------------------------- which


def coarse(n: int) -> Counts:
    """Values of k to try first: all, or about 100 in geometric progression."""
    if n <= DENSE:
        return np.arange(1, n + 1)
    return np.unique(np.append(np.geomspace(1, n, 3 * DENSE // 4).round(), n)).astype(np.int64)


def between(curve: pd.DataFrame) -> Counts:
    """Values of k not yet tried between the best one and its neighbours; none if they are adjacent."""
    objective = curve["objective"].to_numpy()
    if not np.isfinite(objective).any():
        return np.array([], dtype=np.int64)
    tried, best = np.unique(curve["k"]), curve["k"].iloc[int(objective.argmin())]
    gaps = [gap for gap in pairwise(tried) if best in gap]
    finer = [np.linspace(low, high, FINER + 2).round() for low, high in gaps]
    return np.setdiff1d(np.concatenate([*finer, tried]), tried).astype(np.int64)


def grid(ks: Counts, n: int, thresholds: Array | None, has_mean: bool) -> tuple[Counts, Array]:
    """All (k, max_staleness) to try, as two arrays.

    With each k the ``thresholds`` given, or 0, 1, 2, 3, 4, 6, 8, 12, 16, 32, ... up to REACH n / k, and none.
    Delays of infinite mean have no steady state without a threshold; at k = n nobody is ever late.
    """
    powers = 2.0 ** np.arange(math.ceil(math.log2(REACH * n)) + 1)
    every = np.unique([0.0, 3.0, 6.0, 12.0, *powers])
    cells = []
    for k in ks:
        if thresholds is not None:
            tried = thresholds
        elif k == n:
            tried = [0.0]
        else:
            tried = [*every[every <= REACH * n / k], *([math.inf] if has_mean else [])]
        cells += [(k, theta) for theta in tried]
    k, theta = np.array(cells).T
    return k.astype(np.int64), theta


# ---------------------------------------------------------------- what a round takes


@dataclass(frozen=True, eq=False)
class Rounds:
    """One entry per candidate, and per round."""

    k: Counts  #: workers waited for
    max_staleness: Array  #: the threshold, inf for none
    seconds: Array  #: of a round, on average
    error: Array  #: half-width of the round time
    mean_staleness: Array  #: of an applied gradient, in updates
    messages: Array  #: uplinks and downlinks
    charged: Array  #: seconds with those of the messages
    staleness_pmf: Array  #: one row each; all in the last entry where not known, or not needed for the threshold


def rounds(
    delay: Any,
    n: int,
    cells: tuple[Counts, Array],
    times: Array | None,
    message_seconds: float,
    method: str,
    rng: np.random.Generator | None,
) -> Rounds:
    """Rounds of all candidates, by ``steady_state``; ``times`` over k = 1..n replace its round times.

    Where "auto" has nothing but Monte Carlo (laws with atoms), each candidate is simulated for SHORT only, 1 to 2 %.
    """
    k, theta = cells
    delay = tuple(delay) if isinstance(delay, Sequence) else delay
    atoms = method == "auto" and rng is not None and as_workers(delay, n).has_atoms
    simulate = (theta > 0) & (k < n) if atoms else np.zeros(k.size, dtype=bool)
    seconds, error, stale, messages = np.zeros((4, k.size))
    pmf = np.ones((k.size, 1))

    def put(which: Any, state: steady_state.SteadyState) -> None:
        seconds[which], error[which] = state.round_time, state.error.round_time
        stale[which], messages[which] = state.mean_staleness, state.uplinks + state.downlinks

    for unbounded in (False, True):  # apart, because the law of the staleness is long without a bound
        which = np.flatnonzero((np.isinf(theta) == unbounded) & ~simulate)
        if which.size:
            about = (delay, tuple(k[which].tolist()), n, tuple(theta[which].tolist()), method)
            state = _steady_state(*about) if rng is None else steady_state.abs_sgd(*about, rng)
            put(which, state)
            if unbounded:
                known = state.method != "monte-carlo"  # no sample shows how rare the rarest staleness is
                pmf = np.zeros((k.size, state.staleness_pmf.shape[1]))
                pmf[:, -1] = 1.0
                pmf[which[known]] = state.staleness_pmf[known]
    for cell in np.flatnonzero(simulate):
        assert rng is not None
        put(cell, monte_carlo.abs_sgd(delay, int(k[cell]), n, theta[cell], rng, **SHORT))
    # at most this on every run, and equal to it without a threshold, whatever the error of the steady state
    in_flight = (n - k) / k
    stale = np.where(np.isinf(theta), in_flight, np.clip(stale, 0, np.minimum(theta, in_flight)))
    if times is not None:
        seconds, error = times[k - 1], np.zeros(k.size)
    return Rounds(k, theta, seconds, error, stale, messages, seconds + message_seconds * messages, pmf)


# nearly all the time goes here, and other constants, goals and steps leave it as it is
_steady_state = lru_cache(maxsize=16)(steady_state.abs_sgd)


# ---------------------------------------------------------------- how far it gets


@dataclass(frozen=True)
class Goal:
    """What is given, and the column of the table to be minimised."""

    target: float | None  #: mean squared gradient norm
    time_budget: float | None  #: seconds; one of the two is None
    column: str  #: "seconds", "messages" or "gradient_norm2"
    model: str  #: "expected" or "bound"
    delta: float = 0.01  #: of a bound: probability allowed for a gradient staler than is reckoned with
    gamma: float | None = None  #: of a bound: the assumption of Dutta et al. (2018), in place of the staleness


def tradeoff(constants: Constants, k: Counts, n: int, mean_staleness: Array, largest: Array, goal: Goal) -> Tradeoff:
    """Mean of E|grad F|^2 as a function of the step, if no gradient is staler than ``largest``."""
    if goal.model == "expected":
        return expected.abs_sgd(constants, k, mean_staleness)
    if goal.gamma is None:
        return bounds.abs_sgd_tradeoff(constants, k, n, mean_staleness, largest)
    # Dutta's bound is that of fresh gradients for other constants, up to half the step
    limit = bounds.k_async_max_step_size(constants, k)
    bounds.k_async_gradient_norm(constants, limit, k, 1, gamma=goal.gamma)  # checks gamma
    prime = 1 - goal.gamma
    worse = replace(constants, sigma2=constants.sigma2 / prime, gap=constants.gap / prime)
    return bounds.abs_sgd_tradeoff(worse, k, n, np.zeros(k.size), np.zeros(k.size))._replace(limit=limit)


def outcomes(constants: Constants, n: int, each: Rounds, step: float | None, goal: Goal) -> pd.DataFrame:
    """One row per candidate, at ``step`` or its best: updates, seconds, messages, error, objective (inf: fails)."""
    about = _Outlook(constants, n, each, step, goal)
    largest = each.max_staleness.copy() if goal.gamma is None else np.zeros(each.k.size)
    reckoned = goal.model == "bound" and goal.gamma is None
    if reckoned and (none := np.flatnonzero(np.isinf(each.max_staleness) & (each.k < n))).size:
        largest[none] = _largest_staleness(about, none, each.staleness_pmf[none], goal.delta)
    eta, updates, norm2 = about.at(np.arange(each.k.size), largest)
    reached = (eta > 0) & np.isfinite(updates) & about.enough
    table = pd.DataFrame(
        {
            "k": each.k,
            "max_staleness": each.max_staleness,
            "step_size": np.where(eta > 0, eta, math.nan),  # nan: longer than the model covers
            "round_time": each.seconds,
            "round_time_error": each.error,
            "mean_staleness": each.mean_staleness,
            "largest_staleness": largest,  # that the bound reckons with
            "messages": np.where(reached, updates * each.messages, math.inf),
            "updates": np.where(reached, updates, math.inf),
            "seconds": np.where(reached, np.where(reached, updates, 1.0) * each.charged, math.inf),
            "gradient_norm2": np.where(reached, norm2, math.inf),
        }
    )
    return table.assign(objective=table[goal.column])


class _Outlook:
    """Step, updates and error of candidates, given how stale their gradients can be."""

    def __init__(self, constants: Constants, n: int, each: Rounds, step: float | None, goal: Goal) -> None:
        self.constants, self.n, self.each, self.step, self.goal = constants, n, each, step, goal
        if goal.time_budget is None:
            self.updates = None
            self.enough = np.isfinite(each.charged) | (goal.column == "messages")
        else:
            self.enough = goal.time_budget >= each.charged  # seconds for an update
            self.updates = goal.time_budget / np.where(self.enough, each.charged, goal.time_budget)

    def at(self, cells: NDArray[np.intp], largest: Array) -> tuple[Array, Array, Array]:
        """Of some ``cells`` if no gradient is staler than ``largest``: step (0: none is covered), updates and error."""
        stale = self.each.mean_staleness[cells]
        about = tradeoff(self.constants, self.each.k[cells], self.n, stale, largest, self.goal)
        eta = np.where(self.step <= about.limit * (1 + bounds.STEP_SLACK), self.step, 0.0) if self.step else None
        if (target := self.goal.target) is not None:
            eta = about.best_step_to(target) if eta is None else eta
            return eta, np.maximum(about.updates_to(target, eta), 1.0), np.full(eta.shape, target)
        assert self.updates is not None
        updates = self.updates[cells]
        eta = about.best_step_in(updates) if eta is None else eta
        return eta, updates, about.value(eta, updates)


def _largest_staleness(about: _Outlook, cells: NDArray[np.intp], pmf: Array, delta: float) -> Array:
    """The staleness that with probability 1 - ``delta`` no gradient exceeds before the target or in the budget.

    The longer a run, the staler its stalest gradient; the staler that, the smaller the step and the longer the run.
    From below, in whole steps, to the least staleness that agrees with itself: there is one, because the run grows only
    like the square root of its staleness, which is less than the number of its updates.
    """
    k, largest, growing = about.each.k[cells], np.zeros(cells.size), np.ones(cells.size, dtype=bool)
    while growing.any():
        eta, updates, _ = about.at(cells[growing], largest[growing])
        at = np.flatnonzero(growing)
        growing[at] = False
        runs = (eta > 0) & np.isfinite(updates)
        at, updates = at[runs], updates[runs]
        if at.size:
            found = bounds.staleness_quantile(pmf[at], k[at], updates, delta)
            growing[at] = found > largest[at]
            largest[at] = np.maximum(largest[at], found)
    return largest
