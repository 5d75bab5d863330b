r"""The start of a run, for whole tables of candidates: the steady rate, corrected for workers that all begin afresh.

The J-th update comes after about

.. math:: E S_J = J r + c + (r_1 - r - c)\, (1 - k/n)^{J - 1},

with r the steady round time, r_1 = E X_(k:n) the first one, which is exact, and c the seconds that a run lags behind
the steady rate in the long run (ahead if c < 0).  The start is forgotten in about n / k updates, in which every worker
could deliver once.

The lag c follows from a worker that restarts at the age A = (threshold + 1) r.  Its times Y = min(X, A) are a renewal
process, and its deliveries by t, those with X <= A, number

.. math:: \frac{p\,t}{E Y} + p\, \frac{E Y^2}{2\, (E Y)^2} - 1 + \frac{A\, P(X > A)}{E Y}, \qquad p = P(X \le A),

in the long run, because the task in progress at t is longer than usual.  Without a threshold the constant is
(cv^2 - 1) / 2.  Summed over the workers it is the number of gradients by which the run is ahead; c is the time that
these take.  All this is exact for k = 1 without a threshold.  For larger k, where workers idle, it is an approximation,
and a lag c > 0 is taken to shrink like 1 - k/n, since c = 0 for k = n.  In the tests E S_J is within a third of a mean
task, or half of c, of the simulation (``round_time.time_of_update``) for k up to .8 n; beyond, a lead (c < 0) may be
taken up to 3 times too large.
Source: renewal-reward theory (Cox, 1962); that E S_J is not the inverse of E N(t), by Wald's identity.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from abs_theory import order_stats
from abs_theory.delays import Delay, Exponential
from abs_theory.typing import Array
from abs_theory.workers import Workers

__all__ = ["Start", "estimated", "no_start", "seconds_to", "updates_by"]

LONGEST_TURNS = 100  # a task counts with at most this many times n / k rounds, as if it was cut there
SMALLEST_PROBABILITY = 1e-9  # of a time in the table of a law
TABLE_SIZE = 300  # times in each half of the table of a law


class Start(NamedTuple):
    """One entry per candidate: how its first updates differ from the steady rate."""

    first: Array  #: r_1, seconds until the first update
    lag: Array  #: c, seconds
    memory: Array  #: share of the first difference that is left after each update

    def at(self, cells: NDArray[np.intp] | NDArray[np.bool_]) -> "Start":
        """Those of some candidates."""
        return Start(*(column[cells] for column in self))


def no_start(round_times: Array) -> Start:
    """A run that has the steady rate from its beginning."""
    return Start(round_times, np.zeros_like(round_times), np.zeros_like(round_times))


def seconds_to(start: Start, round_times: Array, charged: Array, updates: Array) -> Array:
    """Seconds until the ``updates`` >= 1; ``charged`` are those of a round with its messages."""
    with np.errstate(invalid="ignore"):  # inf - inf, where a round has no mean
        early = (start.first - round_times - start.lag) * start.memory ** (updates - 1)
        return np.where(np.isfinite(charged), updates * charged + start.lag + early, math.inf)


def updates_by(start: Start, round_times: Array, charged: Array, seconds: float) -> Array:
    """Updates, not rounded, whose ``seconds_to`` is ``seconds``; less than 1 if there is no time for one."""
    steady = seconds / charged
    same = (start.first == round_times) & (start.lag == 0)
    least, most = np.ones_like(steady), np.maximum(steady - np.minimum(start.lag, 0) / charged, 1.0) + 1
    for _ in range(60):
        middle = (least + most) / 2
        late = seconds_to(start, round_times, charged, middle) > seconds
        least, most = np.where(late, least, middle), np.where(late, middle, most)
    first = seconds_to(start, round_times, charged, np.ones_like(steady))
    return np.where(same, steady, np.where(first > seconds, 0.0, least))


def estimated(workers: Workers, k: NDArray[np.int64], max_staleness: Array, round_times: Array) -> Start:
    """The start of each candidate, by the formulas at the top of this module."""
    n = workers.n
    independent = _independent(workers, k, max_staleness)
    first = np.where(independent, round_times, order_stats.means(workers, n)[k - 1])
    turn = n / k * round_times
    age = np.minimum((max_staleness + 1) * round_times, LONGEST_TURNS * turn)
    ahead = np.zeros(k.size)  # gradients
    rate, spread = np.zeros(k.size), np.zeros(k.size)
    for law, count in zip(workers.laws, workers.counts, strict=True):
        mean, square, missed = _cut(law, np.where(np.isfinite(age), age, 0.0))
        delivered = 1 - missed
        with np.errstate(divide="ignore", invalid="ignore"):
            ahead += count * (delivered * square / (2 * mean**2) - 1 + age * missed / mean)
            rate += count * delivered / mean
            spread += count * delivered / mean * (square / mean**2 - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        gradients = -ahead + (spread / rate - 1) / 2
        lag = np.where(gradients > 0, gradients * round_times / k * (1 - k / n), gradients / rate)
        lag = np.where(independent | ~np.isfinite(lag), 0.0, lag)
        # each update takes time, so the difference is forgotten no faster than round_times / difference
        memory = np.maximum(1 - k / n, 1 - round_times / np.maximum(first - round_times - lag, 1e-300))
    return Start(first, lag, np.where(independent, 0.0, memory))


def _independent(workers: Workers, k: NDArray[np.int64], max_staleness: Array) -> NDArray[np.bool_]:
    """Where all workers begin each round alike, as at the start."""
    exponential = all(isinstance(law, Exponential) for law in workers.laws)
    return (max_staleness == 0) | (k == workers.n) | exponential


def _cut(law: Delay, age: Array) -> tuple[Array, Array, Array]:
    """Mean and mean square of min(X, ``age``), and P(X > ``age``)."""
    shares = np.geomspace(SMALLEST_PROBABILITY, 0.5, TABLE_SIZE)
    t = np.unique(np.concatenate([[0.0], law.ppf(shares), law.isf(shares)]))
    alive = np.asarray(law.sf(t), dtype=float)
    step = np.diff(t)
    mean = np.append(0.0, np.cumsum(step * (alive[1:] + alive[:-1]) / 2))
    square = np.append(0.0, np.cumsum(step * (t[1:] * alive[1:] + t[:-1] * alive[:-1])))
    return np.interp(age, t, mean), np.interp(age, t, square), np.asarray(law.sf(age), dtype=float)
