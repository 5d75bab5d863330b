r"""Mean round of equal workers under a threshold of one, from a Markov chain that knows only numbers and ages.

At the start of a round all m old tasks have the same age a, the length of the last round, and f = n - m tasks are
fresh.  If D of the k deliveries are old, the next round has f - (k - D) old tasks, whose age is this round, for the
m - D old tasks that are left restart.  So (m, a) is a Markov chain.  With q the probability that a task lasts t
seconds more, o = (1 - q)/q its odds and h its hazard,

.. math:: P(N_t < k) = q_m^m q_f^f \sum_{i+j<k} \binom mi o_m^i \binom fj o_f^j, \qquad
          P(D = d, T \in dt) \propto \Big[m h_m \binom{m-1}{d-1} o_m^{d-1} \binom f{k-d} o_f^{k-d}
          + f h_f \binom md o_m^d \binom{f-1}{k-d-1} o_f^{k-d-1}\Big] dt

The ages are cut at equal steps in log t.  Where the density is infinite at 0, a round takes f^(-1/shape) or so, and
the slow walk of m makes long simulations vary; here it costs nothing.
Source: the chain follows from the rules of ABS; its stationary law by iterative aggregation, Stewart (1994),
Introduction to the Numerical Solution of Markov Chains, ch. 6.
"""

import math

import numpy as np
from scipy import special

from abs_theory.monte_carlo.conditional import LEAST_LOG_SURVIVAL, MeanRound
from abs_theory.typing import Array

__all__ = ["applies", "mean_round"]

MOST_DELIVERED = 4  # k
STEP, COARSE_STEP = 0.8, 1.2  # in log t
SHORTEST, LONGEST = 1e-4, 1e-9  # probability of a shorter round of fresh workers; of a longer task
SPREAD_OF_OLD = 3.0  # numbers of old tasks that are considered, in square roots of n around half of them
ITERATIONS, CONVERGED = 60, 1e-5  # at most; relative change of the round time
UNRESOLVED = 1e-3  # relative error that is stated in any case


def applies(mean: MeanRound) -> bool:
    """Whether the chain is that of the server."""
    pool = mean.pool
    return pool.workers.equal and pool.late == 2 and pool.k <= MOST_DELIVERED and pool.workers.n > 2 * pool.k


def mean_round(mean: MeanRound) -> tuple[float, float]:
    """Seconds of a round, and an error: the change by a coarser grid."""
    fine, coarse = (_Chain(mean, step).round_time() for step in (STEP, COARSE_STEP))
    return fine, abs(fine - coarse) + UNRESOLVED * fine


class _Chain:
    """The chain on a grid of ages, and the mean round in each of its states."""

    def __init__(self, mean: MeanRound, step: float) -> None:
        k, n, law = mean.pool.k, mean.pool.workers.n, mean.pool.workers.laws[0]
        first = float(law.ppf(special.betaincinv(k, n - k + 1, SHORTEST)))
        last = float(law.isf(LONGEST))
        first = max(first, math.exp(mean.log_first))
        nodes = math.ceil(math.log(last / first) / step) + 1
        self.k, self.n = k, n
        self.t = np.geomspace(first, last, nodes)
        self.log_step = math.log(last / first) / (nodes - 1)
        self.ages = np.concatenate([[self.t[0]], np.sqrt(self.t[1:] * self.t[:-1]), [self.t[-1]]])
        table = mean.tables[0]
        old = mean.log_survival(table, self.ages[:, None] + self.t) - mean.log_survival(table, self.ages)[:, None]
        self.old = np.clip(old, LEAST_LOG_SURVIVAL, 0.0)
        self.fresh = np.broadcast_to(np.clip(mean.log_survival(table, self.t), LEAST_LOG_SURVIVAL, 0.0), old.shape)
        low = max(0, math.floor(n / 2 - SPREAD_OF_OLD * math.sqrt(n)))
        self.numbers = np.arange(low, min(n - k, math.ceil(n / 2 + SPREAD_OF_OLD * math.sqrt(n))) + 1)

    def round_time(self) -> float:
        """Mean of a round in the long run."""
        lasting, moves = zip(*(self._row(int(m)) for m in self.numbers), strict=True)
        law = np.full((self.numbers.size, self.ages.size), 1.0)
        law /= law.sum()
        value = 0.0
        for _ in range(ITERATIONS):
            before, value = value, float(sum(p @ times for p, times in zip(law, lasting, strict=True)))
            if abs(value - before) <= CONVERGED * value:
                break
            law = self._aggregated(law, moves)
        return value

    def _row(self, m: int) -> tuple[Array, Array]:
        """Mean round for each age, and P(D, bin of the round | age), (k + 1) x ages x bins, if m tasks are old."""
        k, f = self.k, self.n - m
        none = m * self.old + f * self.fresh
        odds_old, odds_fresh = np.expm1(-self.old), np.expm1(-self.fresh)
        ways = sum(
            special.binom(m, i) * odds_old**i * special.binom(f, j) * odds_fresh**j
            for i in range(k)
            for j in range(k - i)
        )
        fewer = np.minimum(np.exp(none) * ways, 1.0)
        weight = self.t * self.log_step
        seconds = self.t[0] + fewer @ weight - (fewer[:, 0] * weight[0] + fewer[:, -1] * weight[-1]) / 2
        edges = np.concatenate([np.ones((len(fewer), 1)), fewer, np.zeros((len(fewer), 1))], axis=1)
        bins = -np.diff(edges, axis=1)
        return seconds, bins * self._shares(m, f, odds_old, odds_fresh)

    def _shares(self, m: int, f: int, odds_old: Array, odds_fresh: Array) -> Array:
        """P(D = d | age, bin), from the middle of the bin."""
        k = self.k
        hazard_old, hazard_fresh = (_between(-np.diff(x, axis=1, prepend=0.0)) for x in (self.old, self.fresh))
        o, u = (_between(np.sqrt(x * np.concatenate([x[:, :1], x[:, :-1]], axis=1))) for x in (odds_old, odds_fresh))
        shares = np.zeros((k + 1, *o.shape))
        for d in range(min(k, m) + 1):
            if d:
                others = special.binom(m - 1, d - 1) * o ** (d - 1) * special.binom(f, k - d) * u ** (k - d)
                shares[d] += m * hazard_old * others
            if d < k:
                others = special.binom(m, d) * o**d * special.binom(f - 1, k - d - 1) * u ** (k - d - 1)
                shares[d] += f * hazard_fresh * others
        shares[0] += shares.sum(axis=0) == 0  # too early for any task to end
        return shares / shares.sum(axis=0)

    def _aggregated(self, law: Array, moves: tuple[Array, ...]) -> Array:
        """One step of the chain, then the numbers of old tasks in their stationary proportions given the ages."""
        size, low = self.numbers.size, int(self.numbers[0])
        step, between = np.zeros_like(law), np.zeros((size, size))
        for i, (m, move) in enumerate(zip(self.numbers, moves, strict=True)):
            mass = law[i].sum()
            for d, part in enumerate(law[i] @ move):
                j = min(max(self.n - int(m) - self.k + d - low, 0), size - 1)
                step[j] += part
                between[i, j] += part.sum() / mass if mass > 0 else 1 / (self.k + 1)
        equations = np.vstack([(between.T - np.eye(size))[:-1], np.ones(size)])
        numbers = np.maximum(np.linalg.solve(equations, np.append(np.zeros(size - 1), 1.0)), 0.0)
        given = step.sum(axis=1, keepdims=True)
        return np.where(given > 0, step / np.where(given > 0, given, 1.0), 1 / law.shape[1]) * numbers[:, None]


def _between(values: Array) -> Array:
    """With a column for the last bin, beyond the grid."""
    return np.concatenate([values, values[:, -1:]], axis=1)
