r"""K-batch-async with a threshold: no slot ever waits, an update takes the first k finished tasks.

A running task that is staler than theta restarts at once (``in_flight``), or runs on and is dropped when it ends.
Between updates r seconds pass.  A task that starts u seconds before the next update is cut at L = u + theta r, and used
if it is done T + w before that, where T is the time of an update and w the time that finished tasks wait behind earlier
ones (0 unless the trainer is the bottleneck).  With pi, the long-run law of u,

.. math:: \frac{k}{n r} = \frac{P_\pi(X \le L - T - w)}{E_\pi[\min(X, L)]}

determines r, or w if r = T.  The chain of u: a task that ends after x < L starts the next one at (u - x) mod r, one
that is cut at r.  Dropping at arrival: u is uniform, and the denominator is E[X].

The next deliveries do not come at equal distances.  The time of the d-th delivery from now is taken to be gamma, with
mean d and variance d (1 - k/n) in units of the mean distance.
Exact: r = k E[X] / n for exponential tasks and without a threshold, if T is shorter and E[X] finite; with threshold 0
in flight the time of the k-th of all deliveries, and T, because all slots start afresh; and
k tau + R (theta + 1) = n - 1 if T = 0.  A result is called exact if its staleness and lost tasks are, too.
Source: derived in notebooks/07_rollouts.ipynb.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize

from abs_theory import monte_carlo
from abs_theory.checks import check_count, check_max_staleness, check_rng, explains_types
from abs_theory.delays import Delay, Exponential
from abs_theory.monte_carlo import Rules
from abs_theory.order_stats import renewal
from abs_theory.results import TrainerState
from abs_theory.steady_state.trainer.arrays import added, shares_by_length
from abs_theory.steady_state.trainer.errors import doubt, is_exact, with_error
from abs_theory.steady_state.trainer.grids import over_cells
from abs_theory.steady_state.trainer.simulated import accurate
from abs_theory.steady_state.trainer.spread import spread
from abs_theory.typing import Array, DelayLike, Laws
from abs_theory.workers import Workers, as_workers

__all__ = ["abs_batch"]

INSTANT = 1e-12  # of a mean task: an update that is shorter takes no time
BINS = 64  # of the time to the next update
HERMITE = np.polynomial.hermite_e.hermegauss(7)  # nodes of an average over a normal number
WEIGHTS = HERMITE[1] / HERMITE[1].sum()
GENTLE_SLOPE = 2.5  # growth of the tasks used with the length of a round, both in logarithms
FULL_QUEUE, FULL_DOUBT = 1.5, 0.1  # updates that a task waits if the trainer is the bottleneck, and the doubt left then
STEADY_ROUNDS = 0.35  # error of a round, over it, of steady tasks
LOST_SHARE, LOST_DOUBT = 0.012, 0.2  # errors of the share of lost tasks, and that for each doubt
SMALL_BATCH = 2.4  # error of the mean length of a trained task, over it, times k; the largest in 140 cells of 7 laws
PARTICIPATION_ERROR = 0.02  # of the probability that a task of a slot is trained, if slots are unequal
LEAST_NOISE = 0.1  # of deliveries, where nearly all slots deliver in each round
ROUNDS_SEEN = 400  # updates after which a task is taken to be done; more thresholds are none
MOST_DISPERSION = 10.0  # variance of a task over the square of its mean; heavier tails do not show in a few rounds
MOST_QUEUED = 0.1  # of the threshold: the wait for an idle trainer that is busy now and then
NEGLIGIBLE_WAIT = 1e-6  # probability that a finished task waits for a further update
REGULAR = 1e-9  # dispersion of deliveries at equal distances
MOST_BUSY = 1 - 1e-9  # of a trainer that is the bottleneck, but for rounding
MOST_SUMMED = 128  # tasks of an update; the time of the k-th of all deliveries then takes 2 s or less


@explains_types
def abs_batch(
    delay: Laws, k: int | ArrayLike, n: int, max_staleness: float | ArrayLike | None = None,
    update_seconds: float | DelayLike = 0.0, in_flight: bool = True, method: str = "auto",
    rng: np.random.Generator | None = None,
) -> TrainerState:  # fmt: skip
    """Steady state of K-batch-async with a threshold: ``n`` slots never wait, an update takes the first ``k`` tasks.

    A running task that is staler than ``max_staleness`` updates restarts at once; with ``in_flight`` False it runs on
    and is dropped when it ends.  While the server updates, for ``update_seconds`` (a number or a law), finished tasks
    queue; those that are too stale after the update are dropped.  ``method``: "mean-field" is exact where known, and
    takes up to 2 s with ``max_staleness`` 0; "auto" simulates, mostly in 1 s, where that states an error of the round
    above 2 %, with fewer than 32 slots, and if tasks vary by less than .3 of their mean: then rounds may lock to each
    other, and results are those of slots that begin together.  "monte-carlo" needs ``rng``.  Arrays of ``k`` and
    ``max_staleness`` (inf, or None, is no bound) broadcast to a grid, and so do the fields of the result.

    Raises ValueError if updates take longer than the slots need for a batch and nothing bounds the queue.

    >>> from abs_theory.delays import LogNormal
    >>> law = LogNormal(median=0.6065, sigma=1.0)  # mean 1 s
    >>> abs_batch(law, 16, 64, [1, 4, None]).round_time.round(2).tolist()
    [0.25, 0.22, 0.25]

    See also ``abs_sgd``, in which a slot that has delivered waits for the update.
    """
    if rng is not None:
        check_rng(rng)
    workers, update = as_workers(delay, n), monte_carlo.update_law(update_seconds)

    def one_cell(k: int, max_staleness: float | None) -> TrainerState:
        return _one_cell(workers, k, max_staleness, update, in_flight, method, rng)

    return over_cells(one_cell, k, max_staleness)


def _one_cell(
    workers: Workers, k: int, max_staleness: float | None, update: Delay | None, in_flight: bool, method: str,
    rng: np.random.Generator | None,
) -> TrainerState:  # fmt: skip
    check_count("k", k)
    check_max_staleness(max_staleness)
    n, theta = workers.n, math.inf if max_staleness is None else float(max_staleness)
    if not all(math.isfinite(law.mean) for law in workers.laws):
        raise ValueError(f"E[X] must be finite, got {workers.laws!r}")
    T = 0.0 if update is None else float(update.mean)
    if min(law.mean for law in workers.laws) * INSTANT > T:
        T = 0.0
    least = k / sum(count / law.mean for law, count in zip(workers.laws, workers.counts, strict=True))
    if least <= T and math.isinf(theta):
        raise ValueError(
            f"the queue grows without end: an update takes {T:.4g} s on average, but {n} slots finish k={k} tasks "
            f"every {least:.4g} s; use fewer slots, a max_staleness, or a limit of tasks that are started and not yet "
            "trained (steady_state.abs_sgd)"
        )
    if method == "monte-carlo":
        check_rng(rng)
        assert rng is not None
        return monte_carlo.abs_batch(workers, k, n, theta, rng, update or 0.0, in_flight)
    if method not in ("auto", "mean-field"):
        raise ValueError(f'method must be "auto", "mean-field" or "monte-carlo", got {method!r}')
    memoryless = T == 0 and in_flight and all(isinstance(law, Exponential) for law in workers.laws)
    known = None
    if math.isinf(theta) or memoryless:
        known = least
    elif theta == 0 and in_flight and k <= MOST_SUMMED and not any(law.has_atoms for law in workers.laws):
        known = T + renewal.mean_event_time(workers, k, n)
    state = _mean_field(workers, k, theta, T, in_flight, known)
    if method == "mean-field":
        return state
    return accurate(state, workers, Rules(k, max_staleness=theta, in_flight=in_flight), update if T else None)


class _Chain(NamedTuple):
    """What the tasks of one group do between their start and their end, in the long run."""

    phases: Array  #: long-run law of the deliveries to the next update at the start of a task
    deliveries: Array  #: these numbers of deliveries
    busy: float  #: mean seconds that a task runs
    cut: float  #: probability that it is stopped in flight
    missed: float  #: probability that it is not used


class _Clock(NamedTuple):
    """The deliveries of a fleet, as one task sees them."""

    k: int  #: deliveries that an update uses
    spacing: float  #: mean seconds between two of them
    noise: float  #: variance of the time of d deliveries, over d and the square of the spacing
    own: float  #: 1 if the delivery of the task itself may complete a batch (updates take no time)

    def times(self, deliveries: Array) -> Array:
        """Seconds until so many deliveries, at the nodes of ``HERMITE``; one more axis at the end.

        Source: Wilson & Hilferty (1931), the cube root of a gamma number is nearly normal.
        """
        d = np.maximum(deliveries, 1e-12)[..., None]
        spread = self.noise / (9 * d)
        cube = np.maximum(1 - spread + HERMITE[0] * np.sqrt(spread), 0.0) ** 3
        return np.where(deliveries[..., None] > 0, d * self.spacing * cube, 0.0)

    def survive(self, law: Delay, deliveries: Array, lag: float = 0.0) -> Array:
        """P(X > time of so many deliveries - lag)."""
        times = self.times(deliveries) - lag
        alive = np.where(times < 0, 1.0, law.sf(np.maximum(times, 0.0)))
        alive = np.where(deliveries[..., None] > 0, alive, 1.0)
        return alive @ WEIGHTS


def _chain(law: Delay, clock: _Clock, theta: float, lag: float, in_flight: bool) -> _Chain:
    """The long-run law of the phase at which tasks start, and what becomes of them."""
    k, own, bins = clock.k, clock.own, min(clock.k, BINS) if clock.own else BINS
    size = k / bins
    start = np.append((np.arange(bins) + 0.5) * size + own / 2, k)  # deliveries to the next update
    if in_flight and math.isfinite(theta):
        end = start + theta * k
        cut = clock.survive(law, end)
        phases = _stationary(_moves(law, clock, theta, bins, cut), cut)
        seconds = clock.times(end)
        busy = float(phases @ ((law.mean - law.integrated_tail(seconds)) @ WEIGHTS))
        missed = clock.survive(law, end, lag) if lag else cut
        return _Chain(phases, start, busy, float(phases @ cut), float(phases @ missed))
    phases = np.append(np.full(bins, 1 / bins), 0.0)
    missed = 0.0 if math.isinf(theta) else float(phases @ clock.survive(law, start + theta * k, lag))
    return _Chain(phases, start, float(law.mean), 0.0, missed)


def _moves(law: Delay, clock: _Clock, theta: float, bins: int, cut: Array) -> Array:
    """Probabilities that a task that starts in one phase ends in another, (bins + 1) x bins."""
    k, own = clock.k, clock.own
    size = k / bins
    alive = int(min(theta + 1, math.ceil(float(law.isf(1e-9)) / (k * clock.spacing)) + 1))
    places: Array = np.arange(-bins, (alive + 1) * bins + 1, dtype=float)
    at_middle = clock.survive(law, (places - 0.5) * size - own / 2)
    at_edge = clock.survive(law, places * size - own)
    moves = np.zeros((bins + 1, bins))
    i, b = np.arange(bins)[:, None], np.arange(bins)
    for j in range(alive + 1):
        place = i - b + j * bins + bins
        moves[:bins] += np.maximum(at_middle[place] - np.maximum(at_middle[place + 1], cut[:bins, None]), 0.0)
        edge = (j + 1) * bins - b + bins
        inside = edge < at_edge.size
        edge = np.minimum(edge, at_edge.size - 1)
        moves[bins] += np.where(inside, np.maximum(at_edge[edge - 1] - np.maximum(at_edge[edge], cut[bins]), 0.0), 0.0)
    return moves


def _stationary(moves: Array, cut: Array) -> Array:
    """The long-run law of a chain that moves like this, or is ``cut`` and starts in the last state."""
    step = np.column_stack([moves, cut])
    step /= step.sum(axis=1, keepdims=True)
    balance = (step.T - np.eye(len(step)))[:-1]
    balance = np.vstack([balance, np.ones(len(step))])
    target = np.append(np.zeros(len(step) - 1), 1.0)
    try:
        law = np.linalg.solve(balance, target)
    except np.linalg.LinAlgError:  # tasks are so short that all end in the phase in which they start
        law = np.linalg.lstsq(balance, target, rcond=None)[0]
    return np.maximum(law, 0.0)


def _root(f: Callable[[float], float], low: float, high: float) -> float:
    return float(optimize.root_scalar(f, bracket=(low, high), rtol=1e-8).root)


def _mean_field(workers: Workers, k: int, theta: float, T: float, in_flight: bool, known: float | None) -> TrainerState:
    """All quantities; ``known`` is the round time if it is known exactly."""
    n, common, recorded = workers.n, any(law.has_atoms for law in workers.laws), workers
    workers = spread(workers)

    def chains(r: float, lag: float) -> tuple[_Clock, list[_Chain]]:
        spacing = r / k * (1.0 if T else n / max(n - 1, 1))
        noise = max(1 - k / n, LEAST_NOISE) * max(1 - T / r, 0.0) ** 2  # an update takes a fixed part of the round
        if theta == 0 and in_flight:  # all tasks start together, so k of them end in any round
            noise = 0.0
        clock = _Clock(k, spacing, max(noise, 1e-12), 0.0 if T else 1.0)
        return clock, [_chain(law, clock, theta, lag, in_flight) for law in workers.laws]

    def excess(r: float, lag: float) -> float:
        """Log of the tasks that are used in a round, over k."""
        used = sum(c * r * (1 - x.missed) / x.busy for c, x in zip(workers.counts, chains(r, lag)[1], strict=True))
        return math.log(max(used, 1e-300) / k)

    lag, r = T, known
    if r is None and T and excess(T, T) >= 0:  # the trainer is the bottleneck
        r = T
        lag = _root(lambda lag: excess(T, lag), T, (theta + 2) * T)
    elif r is None:
        low = high = math.log(k / sum(c / law.mean for law, c in zip(workers.laws, workers.counts, strict=True)))
        while excess(math.exp(low), T) > 0:
            low -= 1.0
        while excess(math.exp(high), T) < 0:
            high += 1.0
        r = math.exp(_root(lambda x: excess(math.exp(x), T), low, high))
    clock, found = chains(r, lag)
    state = _described(workers, clock, found, theta, r, T, lag)
    rough = 0.015 + 0.1 / math.sqrt(k * n) + (0.0 if in_flight else 0.1 / k)
    if theta == 0 and common:  # a common length may decide when a round ends
        rough += 0.015
    if known is None:  # few tasks are done in time, and many would be if there were a little more
        step = 0.02
        slope = (excess(r * (1 + step), lag) - excess(r * (1 - step), lag)) / (2 * step)
        rough += 0.015 * max(slope - GENTLE_SLOPE, 0.0)
    if T:  # rounds that are now and then bound by the trainer are longer than the mean field says
        # the time of the deliveries for which a task may wait, over that of a batch
        varies = max(math.sqrt((1 - k / n) * max(theta, 1) / k), 0.1) if theta < math.inf else 0.1
        few = max(0.03, 0.14 * math.sqrt(max(1 - k / n, 0.0) / k))  # the time of a small batch varies most
        rough = few * math.exp(-(lag / T - 1) / varies) if r == T else rough + 0.03 * (T / r) ** 2
    queue_error = 0.0
    if T and math.isinf(theta):
        queue_error = _queue_updates(workers, k, r, T)[1]
    elif r > T:  # the mean field has no queue then
        queue_error = min(_queue_updates(workers, k, r, T)[0], MOST_QUEUED * theta) if T else 0.0
    doubtful = doubt(recorded)
    if r == T and lag >= FULL_QUEUE * T:  # the trainer is never idle, whatever the slots do
        doubtful *= FULL_DOUBT
    return _with_errors(state, k, theta, known is not None, rough, queue_error, doubtful)


def _with_errors(
    state: TrainerState, k: int, theta: float, known: bool, rough: float, queue_error: float, doubtful: float
) -> TrainerState:
    """The state with its errors: ``rough`` is the relative one of a round that is not ``known``."""
    r, tau, lost = float(state.round_time), float(state.mean_staleness), float(state.restarts + state.dropped)
    instant = not state.trainer_busy
    fresh = theta == 0 and (instant or not state.dropped)
    round_error = 0.0 if known else (rough + (STEADY_ROUNDS if doubtful == 1 else 0.0)) * r
    stale = 0.03 + 0.03 * tau + queue_error + doubtful
    if fresh or (instant and math.isinf(theta)):
        stale = 0.0
    lost_error = 0.0
    if theta < math.inf and not fresh:
        share = LOST_SHARE + LOST_DOUBT * doubtful
        lost_error = share * k * (1 + lost / k) ** 2
    dropped = lost_error if state.dropped else 0.0
    unequal = np.unique(np.asarray(state.participation)).size > 1
    restarts = lost_error if state.restarts else 0.0
    state = with_error(
        state, round_time=round_error, mean_staleness=stale,
        staleness_pmf=0.0 if fresh else min(0.03 + doubtful, 1.0), restarts=restarts, dropped=dropped, uplinks=dropped,
        downlinks=restarts + dropped, wasted_fraction=0.02 + LOST_DOUBT * doubtful if lost else 0.0,
        trainer_busy=float(state.trainer_busy) * round_error / r, queued_staleness=stale * bool(state.trainer_busy),
        trained_length=0.0 if math.isinf(theta) else (0.05 + SMALL_BATCH / k + doubtful) * float(state.trained_length),
        participation=PARTICIPATION_ERROR + LOST_DOUBT * doubtful if unequal and not math.isinf(theta) else 0.0,
    )  # fmt: skip
    return replace(state, method="exact" if is_exact(state) else "mean-field")


def _queue_updates(workers: Workers, k: int, r: float, T: float) -> tuple[float, float]:
    """Updates for which a finished task waits because batches come irregularly, without a threshold; and its error.

    The queue of batches is nearly one of fixed service times.  Deliveries are as irregular as the tasks are in the long
    run, and as a Poisson process in the short run; the waiting is between those of both.
    Source: Kraemer & Langenbach-Belz (1976).
    """
    mean = float(np.average([law.mean for law in workers.laws], weights=workers.counts))
    var = float(np.average([law.var for law in workers.laws], weights=workers.counts))
    busy, waits = min(T / r, MOST_BUSY), []
    for dispersion in (1.0, min(var / mean**2, MOST_DISPERSION)):
        irregular = max(dispersion / k, REGULAR)
        calm = math.exp(-2 * (1 - busy) * (1 - irregular) ** 2 / (3 * busy * irregular)) if irregular < 1 else 1.0
        waits.append(busy / (1 - busy) * irregular / 2 * calm)
    estimate = math.sqrt(waits[0] * waits[1])
    return estimate, max(max(waits) - estimate, estimate - min(waits))


def _delayed(pmf: Array, updates: float) -> Array:
    """The law of the staleness if tasks wait for a geometric number of ``updates`` more."""
    again = updates / (1 + updates)
    if again < NEGLIGIBLE_WAIT:
        return pmf
    more = again ** np.arange(min(math.ceil(math.log(NEGLIGIBLE_WAIT) / math.log(again)), ROUNDS_SEEN))
    return np.convolve(pmf, more / more.sum()).astype(float)


def _described(
    workers: Workers, clock: _Clock, chains: list[_Chain], theta: float, r: float, T: float, lag: float
) -> TrainerState:
    n, k = workers.n, clock.k
    above, later, lost, dropped, length, worked = np.zeros(1), 0.0, 0.0, 0.0, 0.0, 0.0
    share, deadlines, weights = np.zeros(n), [], []
    for g, (law, count, chain) in enumerate(zip(workers.laws, workers.counts, chains, strict=True)):
        starts = count * r / chain.busy
        rounds = int(min(theta, math.ceil(float(law.isf(1e-7)) / r) + math.ceil(lag / r) + 2, ROUNDS_SEEN))
        ages = chain.deliveries + k * np.arange(rounds)[:, None]
        used = 1 - chain.missed
        stale = np.maximum(clock.survive(law, ages, lag) @ chain.phases - chain.missed, 0.0)
        above = added(above, starts * np.append(used, stale))
        later += starts * float(np.maximum(clock.survive(law, ages) @ chain.phases - chain.missed, 0.0).sum())
        lost += starts * chain.cut
        dropped += starts * (chain.missed - chain.cut)
        share[workers.group == g] = starts * used / count
        worked += starts * chain.busy
        if math.isfinite(theta):
            seconds = np.maximum(clock.times(chain.deliveries + theta * k) - lag, 0.0)
            useful = law.mean - law.integrated_tail(seconds) - seconds * law.sf(seconds)
            length += starts * float(chain.phases @ (useful @ WEIGHTS))
            deadlines.append(seconds.ravel())
            weights.append((starts * chain.phases[:, None] * WEIGHTS).ravel())
        else:
            length += starts * law.mean
    pmf = -np.diff(np.append(above, 0.0)) / above[0]
    if T and math.isinf(theta):
        pmf = _delayed(pmf, _queue_updates(workers, k, r, T)[0])
    tau = float(pmf @ np.arange(pmf.size))
    if not T and (lost or math.isinf(theta)):  # conserved
        tau = max((n - 1 - (lost * (theta + 1) if lost else 0.0)) / k, 0.0)
    if theta == 0:
        tau, lost = 0.0, float(n - 1) if lost and not T else lost
    return TrainerState(
        round_time=r, mean_staleness=tau, staleness_pmf=pmf, restarts=lost, uplinks=k + dropped,
        downlinks=k + dropped + lost, idle_fraction=0.0, wasted_fraction=max(worked - length, 0.0) / (n * r),
        participation=share * k / share.sum(), queued_staleness=max(tau - later / k, 0.0) if T else 0.0,
        dropped=dropped, trainer_busy=min(T / r, 1.0), trained_length=length / k,
        shares=shares_by_length(deadlines, weights),
    )  # fmt: skip
