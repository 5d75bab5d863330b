r"""Exact steady state of ABS for phase-type delays: the server as a finite Markov chain, for few workers.

Workers of one law are alike, so all that matters is how many of them are busy in each *bin*, a phase of their task at
an age, the number of updates since they read the model.  Those in no bin have delivered and wait.  Within a round
tasks only move to later phases and ends: the states, sorted by rank, make a triangular system.  The K-th end of a round
is the update: ages grow by one, tasks beyond the bound are dropped, and all idle workers start afresh, so the counts of
the *old* tasks are a Markov chain from round to round, whose stationary law is found by GMRES.  Without a bound ages do
not matter for the dynamics, and the law of staleness follows from one worker watched apart from its like.
Source: derived in notebooks/proofs/exact_chain.ipynb.
"""

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import lu_factor, lu_solve
from scipy.sparse import linalg

from abs_theory.results import SteadyState
from abs_theory.steady_state.occupancy import (
    Group,
    Occupancy,
    first_phases,
    groups_of,
    number_of_states,
    splits,
)
from abs_theory.typing import Array, Ints
from abs_theory.workers import Workers

__all__ = ["StiffChainError", "number_of_states", "steady_state"]


MOST_STATES = 200_000
MOST_DENSE_STARTS = 400  # starts of rounds whose transition matrix is made explicit
NEGLIGIBLE_MASS, MOST_ENTRIES = 1e-12, 4096  # a staleness law ends where less mass remains, or after so many entries
CONSERVATION_TOLERANCE = 1e-9  # relative, of the conservation laws


class StiffChainError(ArithmeticError):
    """The rates of a chain are so far apart that rounding spoils its solution."""


def steady_state(workers: Workers, k: int, max_staleness: float) -> SteadyState:
    """Exact steady state of ABS for workers of phase-type delay, equal or not; ``max_staleness`` inf is no bound.

    Fields are as in ``SteadyState``, without error: linear systems are solved to rounding.  The result is checked
    against the conservation laws.  Cost: about 20 microseconds a state; 8 workers of 2 phases, k = 4 and
    max_staleness = 3: 3 420 states, .05 s; 3 phases 29 770 states, .7 s; 20 workers without a bound .03 s.
    Raises ValueError if a law has no phases (``phases.phases``) or ``number_of_states`` is above 200 000, and
    StiffChainError if the rates are so far apart that the conservation laws fail by more than 1e-9.
    """
    size = number_of_states(workers, k, max_staleness)
    if size > MOST_STATES:
        what = f"it would have {size:.3g} states" if math.isfinite(size) else "the delays have no phases, or it is huge"
        raise ValueError(
            f"no Markov chain of at most {MOST_STATES} states for {workers.n} workers of "
            f"{', '.join(map(repr, workers.laws))} with k={k} and max_staleness={max_staleness:g}: {what}; "
            "use exponential phases, fewer workers or a smaller max_staleness"
        )
    groups = groups_of(workers)
    if math.isfinite(max_staleness):
        chain = _Chain(groups, k, int(max_staleness))
        pmf = chain.deliveries_by_age() / k
        mean_staleness = float(pmf @ np.arange(pmf.size))
        delivered = chain.deliveries_by_group()
    else:
        chain, pmf, delivered = _watched(groups, k)
        mean_staleness = (workers.n - k) / k
    restarts, wasted = chain.restarts(), chain.wasted_seconds()
    available = workers.n * chain.round_time
    result = SteadyState(
        round_time=chain.round_time,
        mean_staleness=mean_staleness,
        staleness_pmf=pmf,
        restarts=restarts,
        uplinks=float(k),
        downlinks=k + restarts,
        idle_fraction=chain.idle_seconds / available,
        wasted_fraction=wasted / available,
        participation=(delivered / workers.counts)[workers.group],
        method="exact",
    )
    _check_conservation(result, workers, k, max_staleness)
    return result


def _watched(groups: list[Group], k: int) -> tuple["_Chain", Array, Array]:
    """A chain without a bound, the law of staleness, and the deliveries per round of each group."""
    law, delivered, chain = np.zeros(1), [], None
    for g, split in splits(groups):
        if chain is None or len(split) > len(groups) or len(chain.groups) > len(groups):
            chain = _Chain(split, k, None)
        part = groups[g].size * chain.staleness_of(g) / k
        size = max(law.size, part.size)
        law = np.pad(law, (0, size - law.size)) + np.pad(part, (0, size - part.size))
        delivered.append(groups[g].size * chain.deliveries_by_group()[g])
    assert chain is not None
    return chain, law, np.array(delivered)


def _check_conservation(state: SteadyState, workers: Workers, k: int, max_staleness: float) -> None:
    """Of staleness if there is a bound, of work if not: K E[X] = busy time, for each law its own deliveries."""
    if math.isfinite(max_staleness):
        kept, due = k * state.mean_staleness + state.restarts * (max_staleness + 1), workers.n - k
    else:
        means = np.array([law.mean for law in workers.laws])[workers.group]
        kept, due = state.participation @ means, workers.n * state.round_time * (1 - state.idle_fraction)
    if not abs(kept - due) <= CONSERVATION_TOLERANCE * max(due, 1e-300 if math.isinf(max_staleness) else 1.0):
        raise StiffChainError(
            f"the Markov chain is too stiff: {kept:.12g} is not conserved as {due:.12g}; use method='auto'"
        )


class _Chain(Occupancy):
    """The dynamics: within a round, from round to round, and what is asked of their stationary law."""

    @cached_property
    def _moves(self) -> tuple[Any, Ints, NDArray[np.intp], Array]:
        """Minus the generator within a round, transposed; the tasks left at an update, from which state, its rate."""
        states = self.states
        leaving = np.array([-self.groups[g].law.generator[p, p] for g, _, p in self.bins])
        entries = [(np.arange(len(states)), np.arange(len(states)), states @ leaving)]
        left, sources, rates = [], [], []
        for b, (g, _, p) in enumerate(self.bins):
            source = np.flatnonzero(states[:, b])
            rows = states[source]
            rows[:, b] -= 1
            for q in range(p + 1, self.groups[g].law.start.size):
                if rate := self.groups[g].law.generator[p, q]:
                    moved = rows.copy()
                    moved[:, b + q - p] += 1
                    entries.append((self.find(moved), source, -rate * states[source, b]))
            if rate := self.ends[b]:
                ended = rows.sum(axis=1) == self.n - self.k
                going = source[~ended]
                entries.append((self.find(rows[~ended]), going, -rate * states[going, b]))
                left.append(rows[ended])
                sources.append(source[ended])
                rates.append(rate * states[source[ended], b])
        i, j, values = (np.concatenate(part) for part in zip(*entries, strict=True))
        system = sparse.csc_array((values, (i, j)), shape=(len(states), len(states)))
        return system, np.concatenate(left), np.concatenate(sources), np.concatenate(rates)

    @cached_property
    def _factors(self) -> Any:
        """Upper triangular, so the factors are the matrix itself."""
        return linalg.splu(self._moves[0], permc_spec="NATURAL", diag_pivot_thresh=0.0)

    def sojourn(self, begin: Array) -> Array:
        """Mean seconds of a round in each state if it begins in these with probability ``begin``."""
        return self._factors.solve(begin)

    # -- from round to round -----------------------------------------------------------------------------------------

    @cached_property
    def _update(self) -> tuple[Ints, Any]:
        """Old tasks at the start of a round, and the rates of getting there from the states within a round."""
        _, left, source, rate = self._moves
        old = np.zeros_like(left)
        for b, later in self.older.items():
            old[:, later] = left[:, b]
        _, first, start = np.unique(self.rank(old), return_index=True, return_inverse=True)
        return old[first], sparse.csr_array((rate, (start, source)), shape=(first.size, len(self.states)))

    @cached_property
    def idle(self) -> Ints:
        """Workers of each group that read the model at the start of a round, starts x groups."""
        old = self._update[0]
        which = np.array([g for g, _, _ in self.bins])
        return np.array([count - old[:, which == g].sum(axis=1) for g, (count, _) in enumerate(self.groups)]).T

    @cached_property
    def _begin(self) -> Any:
        """Probability of each state once the idle workers have chosen their first phases."""
        old, entries = self._update[0], []
        for number in np.unique(self.idle, axis=0):
            starts = np.flatnonzero((self.idle == number).all(axis=1))
            fresh, chance = np.zeros((1, 0), np.int64), np.ones(1)
            for (_, law), count in zip(self.groups, number, strict=True):
                mine, probability = first_phases(int(count), law.start)
                none = np.zeros((len(mine), law.start.size * (self.bound or 0)), np.int64)
                part = np.hstack([none, mine])
                fresh = np.hstack([np.repeat(fresh, len(part), axis=0), np.tile(part, (len(fresh), 1))])
                chance = np.repeat(chance, len(part)) * np.tile(probability, len(chance))
            rows = (old[starts][:, None] + fresh).reshape(-1, len(self.bins))
            entries.append((self.find(rows), np.repeat(starts, len(fresh)), np.tile(chance, starts.size)))
        i, j, values = (np.concatenate(part) for part in zip(*entries, strict=True))
        return sparse.csr_array((values, (i, j)), shape=(len(self.states), len(old)))

    @cached_property
    def step(self) -> Callable[[Array], Array]:
        """The next start of a round, from probabilities of this one."""
        old, update = self._update
        if len(old) > MOST_DENSE_STARTS:
            return lambda start: update @ self.sojourn(self._begin @ start)
        matrix = update @ self.sojourn(self._begin.toarray())
        return lambda start: matrix @ start

    @cached_property
    def start(self) -> Array:
        """Stationary law of the starts of rounds: p = P p with sum 1, as (I - P + u 1') p = u."""
        size = len(self._update[0])
        u = np.full(size, 1 / size)
        if size <= MOST_DENSE_STARTS:
            matrix = np.eye(size) - self.step(np.eye(size)) + u[:, None]
            factors = lu_factor(matrix)
            p = lu_solve(factors, u)
            p = np.maximum(p + lu_solve(factors, u - matrix @ p), 0.0)
            return p / p.sum()
        system = linalg.LinearOperator((size, size), lambda p: p - self.step(p) + u * p.sum())  # pyright: ignore
        p = u
        for _ in range(3):  # the second and third are refinements
            change, _ = linalg.gmres(system, u - system @ p, rtol=1e-10, atol=1e-17, restart=min(size, 60), maxiter=50)
            p = p + change
        p = np.maximum(p, 0.0)
        return p / p.sum()

    @cached_property
    def seconds(self) -> Array:
        """Mean seconds of a round in each state."""
        return self.sojourn(self._begin @ self.start)

    # -- what is asked -----------------------------------------------------------------------------------------------

    @cached_property
    def round_time(self) -> float:
        return float(self.seconds.sum())

    @cached_property
    def idle_seconds(self) -> float:
        return float(self.seconds @ (self.n - self.states.sum(axis=1)))

    def restarts(self) -> float:
        return 0.0 if self.bound is None else float(self.start @ self.idle.sum(axis=1)) - self.k

    def wasted_seconds(self) -> float:
        """What is dropped at an update has run since the start of the round ``bound`` rounds ago.

        ``lasted`` holds the mean of that time on the event that the next round has each start.
        """
        if self.bound is None:
            return 0.0
        round_length = self._update[1] @ self.sojourn(self.seconds)  # on each event
        lasted = round_length
        for _ in range(self.bound):
            lasted = self.step(lasted) + round_length
        return float(lasted @ (self.idle.sum(axis=1) - self.k))

    def _deliveries(self) -> Array:
        return (self.seconds @ self.states) * self.ends

    def deliveries_by_age(self) -> Array:
        return np.bincount([age for _, age, _ in self.bins], self._deliveries()).astype(float)

    def deliveries_by_group(self) -> Array:
        return np.bincount([g for g, _, _ in self.bins], self._deliveries()).astype(float)

    def staleness_of(self, g: int) -> Array:
        """Gradients of each staleness that the single worker of group ``g`` delivers per round, the last or staler."""
        delivered = self.idle[:, g] == 1  # in the round before
        start, law = np.where(delivered, self.start, 0.0), []
        enough = NEGLIGIBLE_MASS * start.sum()
        while start.sum() > enough and len(law) < MOST_ENTRIES - 1:
            start = self.step(start)
            law.append(start[delivered].sum())
            start = np.where(delivered, 0.0, start)
        return np.array([*law, start.sum()])
