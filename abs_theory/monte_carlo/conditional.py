r"""Means of the next round given the state of the server, for small k: integrals instead of draws.

At the start of a round the task of a worker has run for a seconds, 0 if it is fresh, and P(it lasts t more) =
S(a+t)/S(a).  The round lasts longer than t if N_t, the number of tasks that end by then, is below k, so

.. math:: E[T \mid state] = \int_0^\infty P(N_t < k)\,dt, \qquad
          P(N_t < k) = \sum_{i<k} [z^i] \prod_c (q_c + (1 - q_c) z)^{m_c}

over the classes c of tasks of one law and age, m_c of them, q_c = S_c(a_c+t)/S_c(a_c).  The workers who are done idle
for the integral of E[N_t; N_t < k].  With h the hazard, and L_t tasks of a class at work after t seconds, the work of
the tasks that are delivered is

.. math:: E[useful \mid state] = \sum_c \int_0^\infty E[L_t; N_t < k] \, (a_c + t) \, h_c(a_c + t) \, dt

What is neither idle nor useful is wasted, in the long run.  Where many workers have a density that is infinite at 0,
the lengths of single rounds differ by many orders of magnitude, these means do not.
Source: Asmussen & Glynn (2007), Stochastic Simulation, ch. 5.4, for conditional Monte Carlo.
"""

import math

import numpy as np
from scipy import special

from abs_theory.delays import Delay
from abs_theory.monte_carlo.ages import AgeState
from abs_theory.monte_carlo.fast import TaskPool
from abs_theory.monte_carlo.tally import counts
from abs_theory.typing import Array, Ints

__all__ = ["HARDLY_ANY", "LEAST_LOG_SURVIVAL", "MANY", "MOST_DELIVERED", "MeanRound", "age_state"]

NODES, LOG_STEP = 4096, 0.02  # of a table of log survival, and between its times; times before are linear in t
LEAST_LOG_SURVIVAL, MOST_DELIVERED = -100.0, 7  # deliveries k: exp(100)^(k-1) must not overflow
INTEGRAL_STEP = 2.0  # between the nodes of the integral, in log t; their random offset keeps its mean right
SPAN_IN_LOGS = -9.0, 25.0  # its range around the round time
NODES_AT_ONCE, NEGLIGIBLE_PART = 4, 1e-6  # it ends where so many nodes add no more than this part of it
HARDLY_ANY, MANY = 1e-3, 10.0  # tasks of all workers that end soon; cumulative hazard, that few outlast
TERM_SECONDS, USUAL_NODES = 19e-9, 10
TERMS_AT_ONCE = 1 << 13  # which fit the cache


def age_state(pool: TaskPool) -> AgeState:
    """The state of the replicates of a pool."""
    ages, laws = int(pool.late), len(pool.workers.laws)
    age = np.minimum(pool.updates - (pool.tasks & pool.version), ages - 1)
    group = (pool.tasks & pool.group) >> pool.shift
    numbers = counts(age + ages * group, ages * laws).T.reshape(laws, ages, -1)
    begun = pool.updated[np.arange(pool.updates, pool.updates - ages, -1) % len(pool.updated)]
    worked = np.maximum(pool.elapsed + pool.now - begun, 0.0)
    worked[0] = 0.0
    return AgeState(numbers.astype(float), worked)


class MeanRound:
    """E[T | state], idle time and useful work of a server like that of a pool."""

    def __init__(self, pool: TaskPool, about: float) -> None:
        """Tables of the laws; ``about`` is a round time."""
        self.pool = pool
        laws, n = pool.workers.laws, pool.workers.n
        last = max(float(law.isf(1e-9)) for law in laws)
        first = min(about * 1e-9, *(max(float(law.ppf(1e-4 / n)), 1e-290) for law in laws))
        self.step = max(LOG_STEP, (math.log(last) - math.log(first)) / NODES)
        self.log_first = math.log(first)
        nodes = math.ceil((math.log(last) - self.log_first) / self.step) + 2
        times = np.exp(self.log_first + self.step * np.arange(nodes))
        self.tables = [_log_survival(law, times) for law in laws]
        self.slopes = [np.diff(table, append=table[-1]) / self.step for table in self.tables]
        # relative error of the means: what is before the first node of the integral; and between two nodes of a table
        # H ~ t^a is too large by up to (a step)^2 / 8, times by a part 1 / a of that
        power = max(_largest_step(-table, HARDLY_ANY / n) / self.step for table in self.tables)
        self.resolution = math.exp(SPAN_IN_LOGS[0]) + power * self.step**2 / 8
        low, high = (math.log(about) + shift for shift in SPAN_IN_LOGS)
        self.log_t = np.arange(max(self.log_first, low), min(math.log(last), high) + INTEGRAL_STEP, INTEGRAL_STEP)
        terms = USUAL_NODES * pool.now.size * int(pool.late) * len(laws) * pool.k
        self.seconds = TERM_SECONDS * terms  # rough cost of a call

    def __call__(self, state: AgeState, rng: np.random.Generator) -> Array:
        """Means of the seconds, and of the idle and the useful worker-seconds, 3 x replicates.

        The nodes of the integrals have a random offset in each replicate; together they are dense.
        """
        replicates = state.worked.shape[1]
        offset = INTEGRAL_STEP * ((np.arange(replicates) / replicates + rng.random()) % 1.0)[:, None]
        few = max(1, TERMS_AT_ONCE // (NODES_AT_ONCE * len(state.worked)))
        parts = [slice(first, first + few) for first in range(0, replicates, few)]
        return np.hstack([self._means(AgeState(*(x[..., part] for x in state)), offset[part]) for part in parts])

    def _means(self, state: AgeState, offset: Array) -> Array:
        """The same for some of the replicates, with the offsets of their nodes."""
        before = np.array([self.log_survival(table, state.worked) for table in self.tables])
        means = np.zeros((3, len(offset)))
        for start in range(0, self.log_t.size, NODES_AT_ONCE):
            t = np.exp(self.log_t[start : start + NODES_AT_ONCE] + offset)
            weight = INTEGRAL_STEP * t
            if start == 0:  # all is constant before the first node
                weight[:, 0] /= -math.expm1(-INTEGRAL_STEP)
            parts = np.array([np.sum(values * weight, axis=1) for values in self._integrands(state, before, t)])
            means += parts
            if np.all(parts[0] <= NEGLIGIBLE_PART * means[0]):
                break
        return means

    def _integrands(self, state: AgeState, before: Array, t: Array) -> tuple[Array, Array, Array]:
        """P(N_t < k), E[N_t; N_t < k] and the useful work per second, replicates x times."""
        k = self.pool.k
        log_none = np.zeros_like(t)
        classes = []  # of one law: number of each age times age x hazard, and odds to end
        later = state.worked[:, :, None] + t
        node, part = self._place(later)
        part *= self.step
        for table, slope, numbers, started in zip(self.tables, self.slopes, state.numbers, before, strict=True):
            slopes = slope[node]
            log_q = slopes * part
            log_q += table[node]
            log_q -= started[:, :, None]
            np.clip(log_q, LEAST_LOG_SURVIVAL, 0.0, out=log_q)
            log_none += np.einsum("ar,art->rt", numbers, log_q)
            slopes *= -numbers[:, :, None]
            classes.append((slopes, np.expm1(-log_q) if k > 1 else log_q))
        if k <= 2:
            none, hazard = np.exp(log_none), np.sum([ends.sum(axis=0) for ends, _ in classes], axis=0)
            if k == 1:
                return none, np.zeros_like(t), none * hazard
            one = none * sum(
                np.einsum("ar,art->rt", numbers, odds)
                for (_, odds), numbers in zip(classes, state.numbers, strict=True)
            )
            its_own = none * sum(np.einsum("art,art->rt", *of_law) for of_law in classes)
            return np.minimum(none + one, 1.0), one, (none + one) * hazard - its_own
        ways = np.zeros((k, *t.shape))
        ways[0] = 1.0
        for (_, odds), numbers in zip(classes, state.numbers, strict=True):
            for of_age, m in zip(odds, numbers, strict=True):
                ways = _times(ways, m, of_age)
        ways *= np.exp(log_none)  # P(N_t = i)
        useful = np.zeros_like(t)
        for ends, odds in classes:
            for of_age, odds_of_age in zip(ends, odds, strict=True):
                useful += of_age * _without_one(ways, odds_of_age)
        return np.minimum(ways.sum(axis=0), 1.0), np.tensordot(np.arange(float(k)), ways, 1), useful

    def log_survival(self, table: Array, t: Array) -> Array:
        """Log survival at ``t``, linear in log t between the nodes; before the first proportional to t."""
        node, part = self._place(t)
        return table[node] * (1 - part) + table[node + 1] * part

    def _place(self, t: Array) -> tuple[Ints, Array]:
        """The node before each of the times, and the part of the step beyond it."""
        with np.errstate(divide="ignore"):
            place = (np.log(t) - self.log_first) / self.step
        place = np.clip(place, 0.0, self.tables[0].size - 1.000001)
        node = place.astype(int)
        return node, place - node


def _largest_step(hazard: Array, least: float) -> float:
    """Largest step of the log of the cumulative hazard where it is between ``least`` and ``MANY``."""
    some = np.flatnonzero((hazard > least) & (hazard < MANY))
    return float(np.diff(np.log(hazard[some])).max(initial=0.0))


def _log_survival(law: Delay, times: Array) -> Array:
    """Accurate where survival is nearly 1 and where it is nearly 0."""
    cdf, sf = np.asarray(law.cdf(times), float), np.asarray(law.sf(times), float)
    with np.errstate(divide="ignore"):
        return np.maximum(np.where(cdf < 0.5, np.log1p(-np.minimum(cdf, 0.6)), np.log(sf)), 4 * LEAST_LOG_SURVIVAL)


def _times(ways: Array, m: Array, odds: Array) -> Array:
    """Coefficients of z^0, ..., z^(k-1) of ``ways`` times (1 + odds z)^m."""
    k = len(ways)
    power = [np.ones_like(odds)]
    for i in range(1, k):
        power.append(special.binom(m, i)[:, None] * odds**i)
    return np.array([sum(ways[i - j] * power[j] for j in range(i + 1)) for i in range(k)])


def _without_one(ways: Array, odds: Array) -> Array:
    """Sum of the coefficients of ``ways`` / (1 + odds z): the same ways if one task is known not to end."""
    without = total = ways[0]
    for more in ways[1:]:
        without = more - odds * without
        total = total + without
    return total
