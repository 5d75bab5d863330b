"""A delay that passes through exponential phases and may end after any of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from abs_theory.checks import check_positive
from abs_theory.delays.base import Ageing, Array, Delay, Size, at_the_ends, positive, quantile
from abs_theory.delays.numerics.ageing import numerical_ageing
from abs_theory.delays.numerics.bisection import first_time

TAYLOR_TERMS = 24  # of exp(x) for x <= 1/2; the first one left out is 1e-31
EXTINCT_PHASES = 1e4  # mean durations of the slowest phase after which P(busy) is 0 in floating point


@dataclass(frozen=True)
class Coxian(Delay):
    r"""Exponential phases of ``rates[i]``, one after another; after phase i the task goes on with ``go_on[i]``.

    These are the laws of finite Markov chains that only move forward (Cox 1955).  Examples are Erlang laws (all tasks
    go on, equal rates) and hyper-exponential laws (falling rates, some tasks end early).  The end of the task is one
    more state.  With Q the generator, cdf and sf are sums of entries of the first row of

    .. math:: P(t) = \exp(Qt) = \left(e^{-\lambda h} \exp((Q + \lambda) h)\right)^{t/h}

    by Taylor's series at h <= 1 / (2 lambda), lambda the largest rate, and repeated squaring.  No term is negative, and
    the diagonal is set to exp(-rates t) after each squaring, so even tiny entries keep their digits.
    Cost: about log2(rate t) products of matrices for each t; quantiles: 64 times that.

    >>> Coxian(rates=(2.0, 1.0), go_on=(0.5,)).mean  # 1/2 + 1/2 of 1
    1.0
    """

    rates: Sequence[float]  #: rates of the phases, 1 / seconds, > 0
    go_on: Sequence[float]  #: probability that the next phase follows, one fewer than the phases

    def _check(self) -> None:
        for name in ("rates", "go_on"):
            values = np.atleast_1d(getattr(self, name)).tolist()
            for i, value in enumerate(values):
                check_positive(f"{name}[{i}]", value)
            object.__setattr__(self, name, tuple(map(float, values)))
        if len(self.go_on) != len(self.rates) - 1 or any(p > 1 for p in self.go_on):
            raise ValueError(f"go_on must be probabilities > 0, one fewer than rates, got {self}")

    @cached_property
    def _exits(self) -> Array:
        """Rate at which a task in each phase ends."""
        return np.array(self.rates) * (1 - np.append(self.go_on, 0.0))

    @cached_property
    def generator(self) -> Array:
        """Rates between the phases, shape m x m; minus the sum of a row is the rate at which the task ends."""
        moves = np.array(self.rates[:-1]) * self.go_on
        return np.diag(moves, 1) - np.diag(self.rates)

    @at_the_ends
    def _first_row(self, t: ArrayLike) -> Array:
        """P(in each phase at ``t``), and P(done) last."""
        rates, m = np.append(self.rates, 0.0), len(self.rates)
        fastest = rates.max()
        seconds = np.minimum(positive(t).ravel(), EXTINCT_PHASES / min(self.rates))
        halvings = np.ceil(np.log2(np.maximum(2 * fastest * seconds, 1))).astype(int)
        h = seconds / 2.0**halvings
        jump = np.zeros((m + 1, m + 1))  # uniformised: jumps in place give all states the same rate
        jump[:m, :m], jump[:m, m] = self.generator / fastest, self._exits / fastest
        np.fill_diagonal(jump, 1 - rates / fastest)
        chance, term = np.zeros((2, h.size, m + 1, m + 1))
        term[:] = np.eye(m + 1)
        for j in range(1, TAYLOR_TERMS + 1):
            chance += term
            term = term @ jump * (fastest * h / j)[:, None, None]
        chance *= np.exp(-fastest * h)[:, None, None]
        for squaring in range(halvings.max(initial=0)):
            more = halvings > squaring
            h[more] *= 2
            square = chance[more] @ chance[more]
            square[:, range(m + 1), range(m + 1)] = np.exp(-h[more, None] * rates)
            chance[more] = square
        return chance[:, 0].reshape(*np.shape(t), m + 1)

    def cdf(self, t: ArrayLike) -> Array:
        return np.minimum(self._first_row(t)[..., -1], 1.0)

    def sf(self, t: ArrayLike) -> Array:
        return np.minimum(self._first_row(t)[..., :-1].sum(axis=-1), 1.0)

    # A task takes at least its first phase, and at most (in distribution) all phases at the slowest rate.
    @quantile
    def ppf(self, q: Array) -> Array:
        high = special.gammaincinv(len(self.rates), q) / min(self.rates) * (1 + 1e-12)
        return np.where(q > 0, first_time(lambda t: (self.cdf(t) >= q) & (q < 1), np.zeros(q.shape), high), 0.0)

    @quantile
    def isf(self, q: Array) -> Array:
        low = -np.log(q) / self.rates[0] * (1 - 1e-12)
        high = special.gammainccinv(len(self.rates), q) / min(self.rates) * (1 + 1e-12)
        return np.where(q < 1, first_time(lambda t: (self.sf(t) <= q) & (q > 0), low, np.maximum(low, high)), 0.0)

    @cached_property
    def ageing(self) -> Ageing:
        """An older task is in a later phase (Karlin 1968), so monotone rates of ending decide; else a fine grid."""
        change = np.diff(self._exits)
        if np.all(change >= 0):
            return "increasing" if np.any(change) else "constant"
        return "decreasing" if np.all(change <= 0) else numerical_ageing(self)

    @cached_property
    def _left(self) -> Array:
        """Mean time that a task still needs in each phase."""
        left = [1 / self.rates[-1]]  # of the last phase first
        for rate, p in zip(self.rates[-2::-1], self.go_on[::-1], strict=True):
            left.append(1 / rate + p * left[-1])
        return np.array(left[::-1])

    @cached_property
    def mean(self) -> float:
        return float(self._left[0])

    @cached_property
    def var(self) -> float:
        var = 1 / self.rates[-1] ** 2
        for rate, p, later in zip(self.rates[-2::-1], self.go_on[::-1], self._left[:0:-1], strict=True):
            var = 1 / rate**2 + p * var + p * (1 - p) * later**2
        return float(var)

    def sample(self, rng: np.random.Generator, size: Size = None) -> Array:
        seconds = rng.standard_exponential(size) / self.rates[0]
        going = np.ones(np.shape(seconds), bool)
        for rate, p in zip(self.rates[1:], self.go_on, strict=True):
            going &= rng.random(size) < p
            seconds = seconds + going * rng.standard_exponential(size) / rate
        return np.asarray(seconds)

    def integrated_tail(self, t: ArrayLike) -> Array:
        return self._first_row(t)[..., :-1] @ self._left - np.minimum(t, 0.0)
