r"""Mean field of ABS for any delay laws without atoms, and its correction for finitely many workers.

With many workers every round takes the same time r.  A worker's attempt survives j rounds with probability
S(jr), is cut after theta+1 of them, and the successes of all workers in a round must number K, which determines r:

.. math:: \sum_i F_i((\theta+1) r) \Big/ \sum_{j=0}^\theta S_i(jr) = K

A worker's term is its participation, the gradients he delivers per round.  The root is unique if the F_i increase
strictly from 0 to 1; where they have a flat piece, as for delays uniform on (2, 3) with K/n = 1/2, a whole interval
may solve the equation and one point of it is returned.

With few workers rounds fluctuate.  ``finite_rounds`` finds the law of a round, and T_j, what j rounds last for a
worker that is busy all along.  Staleness, restarts and participation follow from the same equation with E[S(T_j)] for
S(jr), all T_j scaled by one factor that makes the successes K.
Source: derived in notebooks/proofs/staleness.ipynb.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import elementwise

from abs_theory import order_stats
from abs_theory.checks import explains_types
from abs_theory.delays import Delay
from abs_theory.delays.survival import survival
from abs_theory.results import SteadyState
from abs_theory.steady_state import errors
from abs_theory.steady_state.finite_rounds import fluctuating_rounds
from abs_theory.steady_state.past import RESOLVED_AGES, Past
from abs_theory.typing import Array, Laws
from abs_theory.workers import Workers, as_workers

__all__ = ["limit_round_time", "steady_state"]


NEGLIGIBLE_MASS, MOST_ENTRIES = 1e-9, 4096  # a staleness law ends where less mass remains, or after so many entries
# trust in the conservation of work; ``benchmarks.weights`` compares other values of these two
TRUST_IN_WORK = {"increasing": 0.85, "constant": 0.5, "decreasing": 0.25, "neither": 0.6}
LOGS_APART = 0.25  # distance of its two estimates, in logarithms, from which on they are replaced by the limit
FEW_RANKS = 0.002  # times n; the means of fewer order statistics are computed one by one, which is then faster
BOUNDS_APART = (6.0, 24.0, math.inf)  # between them the roots are found together, with the ages of the largest bound
LEGENDRE_NODES = 48  # nodes of a sum over many ages
LEAST_LOG_TIME = -690.0  # log of the shortest round that floating point can tell from 0


@explains_types
def limit_round_time(delay: Laws, share: ArrayLike, max_staleness: ArrayLike) -> Array:
    """Round time with infinitely many workers when the server waits for a ``share`` of them.

    ``delay`` is one law, or ``Workers`` whose groups keep their proportions; ``max_staleness`` inf is no bound.
    Solved for a whole grid at once, about 15 times 64 survival probabilities per cell.
    Source: derived in notebooks/proofs/staleness.ipynb.
    Raises ValueError unless 0 < share < 1, no law has atoms, and E[X] is finite where there is no bound.

    >>> from abs_theory.delays import Exponential
    >>> limit_round_time(Exponential(mean=1.0), 0.5, [0, 3]).round(6).tolist()  # ln 2, whatever the threshold
    [0.693147, 0.693147]
    """
    workers = delay if isinstance(delay, Workers) else as_workers(delay, 1)
    share, theta = np.broadcast_arrays(np.asarray(share, dtype=float), np.asarray(max_staleness, dtype=float))
    if not np.all((share > 0) & (share < 1) & (theta >= 0)):
        raise ValueError(f"share must be in (0, 1) and max_staleness >= 0, got share={share}, max_staleness={theta}")
    _check(workers, bool(np.any(np.isinf(theta))))
    return _limit(workers, share.ravel(), theta.ravel()).reshape(share.shape)


def steady_state(workers: Workers, k: NDArray[np.int64], max_staleness: ArrayLike) -> SteadyState:
    r"""Steady state for an array of ``k`` in 1..n-1 and of ``max_staleness``, all finite or all inf, with its error.

    Exact in the limit of many workers.  At any n it is exact in the round time of exponential delays (to 1e-4), in
    mean staleness and restarts (none) without a bound, and in round and idle time at ``k = 1`` without a bound.  The
    round time is that of ``finite_rounds``, corrected by the conservation of work: n r (1 - idle fraction) = attempts
    per round times E[min(X, T_(theta+1))].  The correction is taken in full where little is thrown away, else in part
    (``TRUST_IN_WORK``); where the two estimates are far apart, the limit takes their place.

    ``error`` is an empirical bound, fitted to random laws and fleets (``errors``); where it is wide, let
    ``steady_state.abs_sgd`` simulate.

    Cost: .3 to .5 ms for each cell of a grid of 100 k and 20 bounds at n = 1000; for few workers several times as
    much, and up to twice as much again for two groups of unequal workers, growing with n and the groups.
    Raises ValueError if a law has atoms (or one at 0 within floating point), or if E[X] is infinite without a bound.
    """
    theta = np.broadcast_to(np.asarray(max_staleness, dtype=float), k.shape)
    state, signs = without_error(workers, k, theta)
    return replace(state, error=errors.stated(workers, state, k, theta, signs))


def without_error(workers: Workers, k: NDArray[np.int64], theta: Array) -> tuple[SteadyState, Array]:
    """The steady state, and the signs from which its error is made (``errors``)."""
    n = workers.n
    bounded = bool(np.isfinite(theta).all())
    _check(workers, not bounded)
    limit = _limit(workers, k / n, theta)
    rounds = fluctuating_rounds(workers, k, n, theta, limit)
    idle = rounds.idle_seconds / (n * rounds.mean)

    def paths(scale: Array, cell: NDArray[np.int64]) -> list[Past]:
        return [past.scaled(scale, cell) for past in rounds.past]

    scale = np.exp(_balance(workers, k / n, theta, paths, np.zeros(k.size)))
    entries = {float(bound): _entries(workers, rounds.mean[theta == bound].min(), bound) for bound in np.unique(theta)}
    pmf, restarts = np.zeros((k.size, max(entries.values()))), np.zeros(k.size)
    participation = np.empty((k.size, n))
    work, trusted = np.zeros(k.size), np.zeros(k.size)
    for g, (law, count, past) in enumerate(
        zip(workers.laws, workers.counts, paths(scale, np.arange(k.size)), strict=True)
    ):
        attempts, cut = _attempts(law, past, theta)
        for bound, size in entries.items():
            cells = np.flatnonzero(theta == bound)
            survive = _survival(law, past.at(cells), cut[cells], size)
            share = count * attempts[cells] / k[cells]
            pmf[cells, :size] += share[:, None] * np.maximum(survive[:, :-1] - survive[:, 1:], 0.0)
        restarts += count * attempts * cut
        participation[:, workers.group == g] = (attempts * (1 - cut))[:, None]
        done = count * attempts * _worked(law, past, theta)
        work += done
        trusted += TRUST_IN_WORK[law.ageing] * done
    dropped = (theta + 1) * restarts if bounded else np.zeros(k.size)
    # a second estimate of the round time: work is conserved
    conserved = work / (n * (1 - idle))
    usable = np.isfinite(conserved) & (conserved > 0)
    apart = np.log(np.where(usable, conserved, rounds.mean) / rounds.mean)
    share = np.divide(trusted, work, out=np.ones(k.size), where=usable)
    trust = 1 - (1 - share) * np.minimum(10 * dropped / n, 1)
    # where the two estimates disagree, fall back to the limit n -> infinity
    lost = np.clip((np.abs(apart) - LOGS_APART) / LOGS_APART, 0.0, 1.0) * min(max((n - 8) / 12, 0.0), 1.0)
    round_time = np.exp((1 - lost) * (np.log(rounds.mean) + trust * apart) + lost * np.log(limit))
    round_time = _guarded(workers, k, theta, round_time)
    result = SteadyState(
        round_time=round_time,
        # fresh, not the rounding of a difference, where all restart
        mean_staleness=np.where(theta > 0, (n - k - dropped) / k, 0.0),
        staleness_pmf=pmf,
        restarts=restarts,
        uplinks=k.astype(float),
        downlinks=k + restarts,
        idle_fraction=idle,
        wasted_fraction=dropped / n,
        participation=participation,
        method="mean-field",
    )
    return result, errors.signs(workers, result, k, np.abs(apart), lost, rounds.misplaced)


def _guarded(workers: Workers, k: NDArray[np.int64], theta: Array, round_time: Array) -> Array:
    """Within what holds for any number of workers.

    Without a bound work is conserved.  If all hazards increase no round is longer than that of K-sync, if all decrease
    none is shorter: who has worked finishes sooner, or later, than who starts afresh.
    """
    if np.isinf(theta).all():
        rate = sum(count / law.mean for law, count in zip(workers.laws, workers.counts, strict=True))
        round_time = np.maximum(round_time, k / rate)
    ageing = {law.ageing for law in workers.laws} - {"constant"}
    if workers.equal and ageing in ({"increasing"}, {"decreasing"}):
        if k.size < FEW_RANKS * workers.n:
            k_sync = np.array([order_stats.mean(workers.laws[0], int(rank), workers.n) for rank in k])
        else:
            k_sync = order_stats.means(workers.laws[0], workers.n)[k - 1]
        return (np.minimum if ageing == {"increasing"} else np.maximum)(round_time, k_sync)
    return round_time


def _worked(law: Delay, past: Past, theta: Array) -> Array:
    """E[min(X, T_(theta+1))], the work put into an attempt; inf where E[X] is."""
    if math.isinf(law.mean) or np.isinf(theta).all():
        return np.full(past.mean.size, law.mean)
    end = _end(past, theta + 1)
    return law.mean - _mean(law.integrated_tail(end), past.weights)


def _entries(workers: Workers, shortest: float, max_staleness: float) -> int:
    rounds = max(float(law.isf(NEGLIGIBLE_MASS)) for law in workers.laws) / shortest
    return int(min(max_staleness + 1, MOST_ENTRIES, rounds + 4 * math.sqrt(rounds) + 1))


def _survival(law: Delay, past: Past, cut: Array, entries: int) -> Array:
    """P(an attempt survives j rounds), j = 0, 1, ...; the last is P(``cut``), cells x entries + 1."""
    survive = np.ones((past.mean.size, entries + 1))
    survive[:, 1:] = np.einsum("cej,e->cj", survival(law, past.length(np.arange(1.0, entries + 1))), past.weights)
    survive[:, -1] = cut
    return survive


def _check(workers: Workers, unbounded: bool) -> None:
    for law in workers.laws:
        if law.has_atoms or (unbounded and math.isinf(law.mean)):
            raise ValueError(f"no mean field for {law!r}: it has atoms, or an infinite mean and no bound")


def _limit(workers: Workers, share: Array, theta: Array) -> Array:
    def paths(scale: Array, cell: NDArray[np.int64]) -> list[Past]:
        none = np.zeros((scale.size, 1))
        return [Past(scale, none[:, 0], none, none, np.ones((scale.size, RESOLVED_AGES)))] * len(workers.laws)

    middle = max(float(law.ppf(0.5)) for law in workers.laws)
    guess = np.full(share.size, max(math.log(middle) if middle > 0 else LEAST_LOG_TIME, LEAST_LOG_TIME + 1))
    return np.exp(_balance(workers, share, theta, paths, guess))


def _balance(
    workers: Workers, share: Array, theta: Array, paths: Callable[[Array, NDArray[np.int64]], list[Past]], guess: Array
) -> Array:
    """Log of the scale of ``paths(scale, cell)`` at which successes per worker and round are ``share``."""

    def excess(log_scale: Array, share: Array, theta: Array, cell: NDArray[np.int64]) -> Array:
        total = 0.0
        for law, count, past in zip(workers.laws, workers.counts, paths(np.exp(log_scale), cell), strict=True):
            attempts, cut = _attempts(law, past, theta)
            total = total + count / workers.n * attempts * (1 - cut)
        return total - share

    ends = {"xmin": LEAST_LOG_TIME, "xmax": -LEAST_LOG_TIME}
    roots = np.empty(share.size)
    size = np.digitize(theta, BOUNDS_APART)
    for alike in np.unique(size):
        cells = np.flatnonzero(size == alike)
        args, start = (share[cells], theta[cells], cells), guess[cells]
        bracket = elementwise.bracket_root(excess, start - 0.1, start + 0.1, **ends, args=args, maxiter=400)
        # absolute in the logarithm: relative in the time, also where the root is 0
        root = elementwise.find_root(excess, bracket.bracket, args=args, tolerances={"xatol": 1e-13, "xrtol": 1e-15})
        if not np.all(root.success):
            raise ValueError(
                f"no mean field for {workers.laws!r}: no round time balances the successes, "
                "as if a law had an atom, or one at 0 within floating point; use Monte Carlo"
            )
        roots[cells] = root.x
    return roots


def _attempts(law: Delay, past: Past, theta: Array) -> tuple[Array, Array]:
    """Attempts of a worker per round, and the probability that one is cut."""
    end = np.where(np.isinf(theta), 0.0, theta)
    cut = np.where(np.isinf(theta), 0.0, _mean(law.sf(_end(past, end + 1)), past.weights))
    return 1 / (1 + _busy(law, past, theta)), cut


def _mean(values: Array, weights: Array) -> Array:
    return values @ weights


def _end(past: Past, j: Array) -> Array:
    """T_j for another j in each cell, cells x bins."""
    s = np.take_along_axis(past.spread, np.minimum(j, RESOLVED_AGES).astype(int)[:, None] - 1, axis=1)
    deviation = past.deviation + (past.first - past.deviation) / np.minimum(j, RESOLVED_AGES)[:, None]
    return np.maximum((past.mean * j + past.start)[:, None] + deviation * s, 0.0)


def _busy(law: Delay, past: Past, theta: Array) -> Array:
    """Sum over j = 1..theta of E[S(T_j)]."""
    last = int(min(theta.max(), RESOLVED_AGES))
    j = np.arange(1.0, last + 1)
    times, limit = past.length(j), past.deviation.shape[1] == 1  # the limit is exact to rounding
    survive = np.einsum("cej,e->cj", law.sf(times) if limit else survival(law, times), past.weights)
    total = np.sum(np.where(j <= theta[:, None], survive, 0.0), axis=1)
    if np.any(theta > RESOLVED_AGES):
        far = np.where(theta > RESOLVED_AGES, theta, RESOLVED_AGES + 1.0)
        if math.isfinite(law.mean):
            more = _beyond(law, past, np.full(theta.size, float(RESOLVED_AGES)))
            more -= np.where(np.isinf(far), 0.0, _beyond(law, past, np.where(np.isinf(far), RESOLVED_AGES, far)))
        else:
            more = _between(law, past, far)
        total += np.where(theta > RESOLVED_AGES, more, 0.0)
    return total


def _beyond(law: Delay, past: Past, j: Array) -> Array:
    """Sum beyond age ``j`` of E[S(T_i)] by the Euler-Maclaurin formula."""
    here, after = (law.sf(_end(past, j + i)) for i in (0, 1))
    with np.errstate(over="ignore"):  # rounds too short to count: infinitely many of them
        integral = law.integrated_tail(_end(past, j + 0.5)) / past.mean[:, None]
    return _mean(integral + (after - here) / 24, past.weights)


def _between(law: Delay, past: Past, far: Array) -> Array:
    """Sum over j = RESOLVED_AGES + 1..``far`` of E[S(T_j)] as an integral over log j, for laws of infinite mean."""
    u, weight = np.polynomial.legendre.leggauss(LEGENDRE_NODES)
    start, end = np.log(RESOLVED_AGES + 0.5), np.log(far + 0.5)
    half = (end - start) / 2
    total = np.zeros(far.size)
    for node, w in zip(u, weight, strict=True):
        j = np.exp(start + half * (1 + node))
        total += w * half * j * _mean(law.sf(_end(past, j)), past.weights)
    return total
