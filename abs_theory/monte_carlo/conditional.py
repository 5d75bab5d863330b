r"""Mean length of the next round given the state of the server, for small k: an integral instead of a draw.

At the start of a round the task of a worker has run for a seconds, 0 if it is fresh, and P(it lasts t more) =
S(a+t)/S(a).  The round lasts longer than t if fewer than k tasks end by then, so

.. math:: E[T \mid state] = \int_0^\infty P(N_t < k)\,dt, \qquad
          P(N_t < k) = \sum_{i<k} [z^i] \prod_c (q_c + (1 - q_c) z)^{m_c}

over the classes c of tasks of one law and age, m_c of them, q_c = S_c(a_c+t)/S_c(a_c).  Where many workers have a
density that is infinite at 0, the lengths of single rounds differ by many orders of magnitude, these means do not.
Source: Asmussen & Glynn (2007), Stochastic Simulation, ch. 5.4, for conditional Monte Carlo.
"""

import math

import numpy as np
from scipy import special

from abs_theory.delays import Delay
from abs_theory.monte_carlo.fast import TaskPool
from abs_theory.monte_carlo.tally import counts
from abs_theory.typing import Array

__all__ = ["LEAST_LOG_SURVIVAL", "MeanRound"]

NODES, LOG_STEP = 4096, 0.02  # of a table of log survival, and between its times; times before are linear in t
LEAST_LOG_SURVIVAL = -100.0
INTEGRAL_STEP = 0.4  # between the nodes of the integral, in log t
SPAN_IN_LOGS = -14.0, 25.0  # its range around the round time
TERM_SECONDS = 40e-9


class MeanRound:
    """E[T | state] of the replicates of a pool."""

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
        low, high = (math.log(about) + shift for shift in SPAN_IN_LOGS)
        self.log_t = np.arange(max(self.log_first, low), min(math.log(last), high), INTEGRAL_STEP)
        terms = self.log_t.size * pool.now.size * int(pool.late) * len(laws) * pool.k
        self.seconds = TERM_SECONDS * terms  # rough cost of a call

    def __call__(self) -> Array:
        """One mean for each replicate, in its state now."""
        pool, t = self.pool, np.exp(self.log_t)
        classes = int(pool.late)
        age = np.minimum(pool.updates - (pool.tasks & pool.version), classes - 1)
        group = (pool.tasks & pool.group) >> pool.shift
        number = counts(age + classes * group, classes * len(self.tables))
        now = pool.elapsed + pool.now
        begun = pool.updated[np.arange(pool.updates, pool.updates - classes, -1) % len(pool.updated)]
        worked = np.maximum(now - begun, 0.0)  # ages x replicates
        worked[0] = 0.0
        log_none = np.zeros((now.size, t.size))
        ways = np.zeros((pool.k, now.size, t.size))
        ways[0] = 1.0
        for g, table in enumerate(self.tables):
            for j in range(classes):
                m = number[:, g * classes + j].astype(float)
                if not m.any():
                    continue
                log_q = self.log_survival(table, worked[j][:, None] + t) - self.log_survival(table, worked[j])[:, None]
                log_q = np.clip(log_q, LEAST_LOG_SURVIVAL, 0.0)
                log_none += m[:, None] * log_q
                if pool.k > 1:
                    ways = _times(ways, m, np.expm1(-log_q))
        fewer = np.minimum(np.exp(log_none) * ways.sum(axis=0), 1.0)
        weight = t * INTEGRAL_STEP
        return t[0] + fewer @ weight - (fewer[:, 0] * weight[0] + fewer[:, -1] * weight[-1]) / 2

    def log_survival(self, table: Array, t: Array) -> Array:
        """Log survival at ``t``, linear in log t between the nodes; before the first proportional to t."""
        with np.errstate(divide="ignore"):
            place = (np.log(t) - self.log_first) / self.step
        place = np.clip(place, 0.0, table.size - 1.000001)
        i = place.astype(int)
        part = place - i
        return table[i] * (1 - part) + table[i + 1] * part


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
