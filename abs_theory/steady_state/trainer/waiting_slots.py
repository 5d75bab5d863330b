r"""Mean field of ABS and K-async with updates of T seconds: a slot that has delivered waits until its task is trained.

With many slots every round takes the same r = t + T, where t is the time from the end of an update until k finished
tasks are there.  A task that starts at the end of an update is used in the j-th batch after it if it is done by
t + jr, so

.. math:: \sum_i \frac{F_i(t + \theta r)}{1 + \sum_{j<\theta} S_i(t + jr)} = k,

without a threshold with F = 1 and the sum over all j.  If the trainer is the bottleneck, r = T, and the same equation
has a root t < 0: -t is the time that tasks wait behind earlier ones.

With few slots the number of finished tasks fluctuates.  Given the ages, it is a sum of binomial numbers at s seconds
after an update; t is the mean time at which it reaches k, with a binomial number of the same mean and variance.  If a
batch often waits when an update is over, or the time of an update is random, t is a random number (``queue_chain``).
The ages fluctuate, too.  That matters as far as tasks of different ages differ in their chance to be done by t.
Times that are recorded, and so may be common, make rounds end at these times as far as rounds do not fluctuate.  The
round is computed with such times, and with everything between them (``spread``); it is taken in the middle, and half
of the difference is in its error.
Exact: k = n (a round is the longest task and T), max_staleness = 0 (``fresh_rounds``), exponential tasks without a
threshold (``memoryless``) if n - k is at most ``MOST_STATES``, and the mean staleness, because
k tau + R (theta + 1) = n - k.
Source: derived in notebooks/07_rollouts.ipynb.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import cast

import numpy as np
from scipy import optimize, special

from abs_theory import order_stats
from abs_theory.checks import explains_types
from abs_theory.delays import Delay, Exponential
from abs_theory.results import TrainerState
from abs_theory.steady_state.trainer import memoryless
from abs_theory.steady_state.trainer.arrays import added, shares_by_length
from abs_theory.steady_state.trainer.errors import doubt, is_exact, with_error
from abs_theory.steady_state.trainer.fresh_rounds import fresh_rounds
from abs_theory.steady_state.trainer.queue_chain import gathered, waiting_tasks
from abs_theory.steady_state.trainer.spread import spread
from abs_theory.typing import Array
from abs_theory.workers import Workers

__all__ = ["steady_state"]

MOST_AGES = 2048  # rounds that a task may last and still be counted one by one
NEGLIGIBLE = 1e-7  # survival probability below which later rounds do not count
SMALLEST_TIME = 1e-9  # of a mean task, the least time between an update and the next batch
NODES, STEPS = 160, 30  # of the integral over the next batch's time, and of the iteration
CLOSE = 1e-5  # relative change of a round at which the iteration ends
MOST_STATES = 1000  # of the chain of the tasks that wait for the trainer, which then takes seconds
OFTEN = 0.02  # probability that a batch waits when an update is over, above which this makes rounds differ
LONGEST_PMF = 1024  # entries
# Rounds are longer because ages fluctuate, by this times h (1 - h) (1 - k / n) / n, with h how much ages differ; and
# the error for that, over h^2 (1 - k / n) / n.  Fitted to 250 cells of 6 laws, n from 16 to 512.
AGES_FLUCTUATE, AGES_ERROR = 4.0, 11.0
STEADY_ROUNDS = 0.5  # error of a round, over it, of steady tasks
LOST_DOUBT, STEADY_IDLE = 0.2, 0.3  # errors of shares, for each doubt
# of the mean seconds of a trained task, and of the probability to be trained: the largest in 180 cells, rounded up
TRAINED_ERROR, PARTICIPATION_ERROR = 0.15, 0.02
LEAST_SHARE = 1e-3  # of a round, in place of a shorter time until the batch is complete


@explains_types
def steady_state(workers: Workers, k: int, max_staleness: float, update_seconds: Delay) -> TrainerState:
    """Steady state if updates take ``update_seconds``; ``max_staleness`` inf is no bound.

    Exact where the module says so, else the mean field; of more than ``MOST_STATES`` slots with the mean update time.

    >>> from abs_theory.delays import Deterministic
    >>> from abs_theory.workers import as_workers
    >>> state = steady_state(as_workers(Exponential(mean=1.0), 8), 2, math.inf, Deterministic(1.0))
    >>> round(state.round_time, 3), state.mean_staleness  # the trainer is the bottleneck
    (1.0, 3.0)
    """
    n, T, recorded = workers.n, float(update_seconds.mean), workers
    if max_staleness == 0 and k < n:
        return fresh_rounds(workers, k, update_seconds)
    exact, rough, batch = True, 0.0, (np.zeros(1), np.ones(1))
    if k == n:
        r = T + order_stats.mean(list(workers), k, n)
    elif math.isinf(max_staleness) and _is_small_memoryless(workers, k):
        r = memoryless.round_time(cast("Exponential", workers.laws[0]), k, n, update_seconds)
    else:
        exact, workers = False, spread(workers)
        r, rough, batch = _approximate(workers, k, max_staleness, update_seconds)
        if workers.laws != recorded.laws:
            locked = _approximate(recorded, k, max_staleness, update_seconds)[0]
            r, rough = (r + locked) / 2, rough + abs(r - locked) / (r + locked)
    state = _described(workers, k, max_staleness, r, T, *batch)
    bottleneck = r <= T * (1 + CLOSE) and update_seconds.var == 0
    together = k == n
    doubtful = 0.0 if together else doubt(recorded)
    steady = STEADY_ROUNDS if doubtful == 1 else 0.0
    error = 0.0 if exact or (bottleneck and math.isinf(max_staleness)) else (rough + steady) * r
    bounded = max_staleness < math.inf and not together
    lost = (0.01 + 0.1 / n + LOST_DOUBT * doubtful) * float(state.uplinks) if bounded else 0.0
    trained = 1 - float(state.lost_share)
    lost *= max(1.0, 0.5 / trained**2)  # restarts for each update, from their share of all tasks
    alike = together or (workers.equal and not bounded)  # all tasks are trained, or none is late
    trained_length = (TRAINED_ERROR + doubtful) * float(state.trained_length)
    state = with_error(
        state, round_time=error, mean_staleness=lost * (max_staleness + 1) / k if bounded else 0.0,
        restarts=lost, downlinks=lost, staleness_pmf=0.0 if together else min(0.03 + doubtful, 1.0),
        idle_fraction=0.0 if together else 0.02 + STEADY_IDLE * doubtful,
        wasted_fraction=0.02 + LOST_DOUBT * doubtful if bounded else 0.0,
        trainer_busy=error / r, trained_length=0.0 if alike else trained_length,
        participation=0.0 if together or workers.equal else PARTICIPATION_ERROR + LOST_DOUBT * doubtful,
        queued_staleness=0.0 if together else (0.1 + doubtful) * float(state.mean_staleness),
    )  # fmt: skip
    return replace(state, method="exact" if is_exact(state) else "mean-field")


def _is_small_memoryless(workers: Workers, k: int) -> bool:
    """Whether the chain of exponential tasks is exact and has few enough states to be solved."""
    return workers.equal and isinstance(workers.laws[0], Exponential) and workers.n - k <= MOST_STATES


def _approximate(
    workers: Workers, k: int, theta: float, update_seconds: Delay
) -> tuple[float, float, tuple[Array, Array]]:
    """The round time, its relative error, and ``gathered`` times at which batches are complete."""
    n, T = workers.n, float(update_seconds.mean)
    r, waits, batch = _finite_round(workers, k, theta, T)
    tight = 4 * waits * (1 - waits)
    fluctuates = update_seconds.var > 0 or (waits > OFTEN and any(law.var > 0 for law in workers.laws))
    if n - k <= MOST_STATES and fluctuates:
        tight = 0.0
        r, *batch = waiting_tasks(workers, k, theta, update_seconds, r)
    t = max(r - T, LEAST_SHARE * r)
    difference = _difference_of_ages(_cohorts(workers, k, theta, t, T, np.array([t])))
    few = (1 - k / n) * math.sqrt(max(1 - T / r, 0.0)) / n
    r *= 1 + AGES_FLUCTUATE * difference * (1 - difference) * few
    return r, 0.015 + 0.3 / n + 0.1 * tight + AGES_ERROR * difference**2 * few, (batch[0], batch[1])


def _difference_of_ages(groups: list[tuple[Array, Array]]) -> float:
    """How much ages differ: the variance, over the tasks of a group, of the probability p to be finished.

    It is 0 if all ages have the same p, as for exponential tasks, and 1 if each p is 0 or 1.
    """
    total, done, inside = np.zeros(3)
    for count, chance in groups:
        p = chance[:, 0]
        mean = (count @ p) / count.sum()
        total, done, inside = total + count.sum(), done + count @ p, inside + count @ (p - mean) ** 2
    return float(inside / max(done * (1 - done / total), 1e-300))


def _sum(law: Delay, t: Array, share: Array, r: float, terms: float) -> float:
    """Sum over j < ``terms`` of S(t + jr), the mean over ``t``."""
    first = float(share @ t)
    last = int(min(terms, MOST_AGES, _rounds_alive(law, float(t.min()), r)))
    total = float(share @ law.sf(t[:, None] + r * np.arange(last)).sum(axis=1))
    if last == MOST_AGES and terms > last:
        start, end = first + (last - 0.5) * r, first + (terms - 0.5) * r
        late = law.integrated_tail(start) if math.isinf(terms) else law.seconds_until(end) - law.seconds_until(start)
        total += float(late) / r
    return total


def _rounds_alive(law: Delay, t: float, r: float) -> float:
    return max((float(law.isf(NEGLIGIBLE)) - t) / r, 0.0) + 2


def _uses(workers: Workers, theta: float, t: Array, share: Array, r: float) -> float:
    """Tasks used per round if a round takes r and the batch is complete ``t`` after an update, with these shares."""
    total = 0.0
    for law, count in zip(workers.laws, workers.counts, strict=True):
        done = 1.0 if math.isinf(theta) else float(share @ law.cdf(t + theta * r))
        total += count * done / (1 + _sum(law, t, share, r, theta))
    return total


def _root(f: Callable[[float], float], low: float, high: float) -> float:
    """A root of the increasing ``f``; the brackets are widened upwards."""
    while f(high) < 0:
        low, high = high, 2 * high
    return float(optimize.root_scalar(f, bracket=(low, high), rtol=1e-11).root)


def _limit(workers: Workers, k: int, theta: float, T: float) -> float:
    """The t of many slots; 0 if the trainer is the bottleneck."""
    mean = float(np.average([law.ppf(0.5) for law in workers.laws], weights=workers.counts))
    least = SMALLEST_TIME * mean

    def excess(t: float) -> float:
        return _uses(workers, theta, np.array([t]), np.ones(1), t + T) - k

    return 0.0 if T > 0 and excess(least) >= 0 else _root(excess, least, mean)


def _finite_round(workers: Workers, k: int, theta: float, T: float) -> tuple[float, float, tuple[Array, Array]]:
    """The round time of ``n`` slots, T and the mean time until k tasks are finished; how often they are at once."""
    t, late, s = _limit(workers, k, theta, T), np.ones(1), np.zeros(1)
    shape = np.exp(np.linspace(-7.0, 3.0, NODES))
    for _ in range(STEPS):
        r = t + T
        s = shape * max(t, 0.05 * r)
        mean, square = np.zeros((2, NODES))
        for c, done in _cohorts(workers, k, theta, t, T, s):
            mean += c @ done
            square += c @ done**2
        trials = np.clip(mean**2 / np.maximum(square, 1e-300), k, workers.n)
        late = special.betainc(trials - k + 1, k, 1 - np.clip(mean / trials, 0.0, 1.0))
        following = float(late[0] * s[0] + np.trapezoid(late, s))
        change, t = following - t, (t + following) / 2
        if abs(change) < CLOSE * (t + T):
            break
    share = -np.diff(late, prepend=1.0, append=0.0)
    times = np.concatenate([s[:1], (s[1:] + s[:-1]) / 2, s[-1:]])
    return t + T, float(1 - late[0]), gathered(times, share)


def _cohorts(workers: Workers, k: int, theta: float, t: float, T: float, s: Array) -> list[tuple[Array, Array]]:
    """Tasks of each age at the end of an update, and the probability that one is finished ``s`` seconds later."""
    r, groups, weights = t + T, [], []
    for law, count in zip(workers.laws, workers.counts, strict=True):
        last = int(max(1, min(theta, MOST_AGES, _rounds_alive(law, t, r))))
        seen = np.maximum(t + r * np.arange(last), 0.0)  # ages j = 1, 2, ... when the last batch was complete
        alive = law.sf(seen)
        fresh = count / (1 + _sum(law, np.array([t]), np.ones(1), r, theta))
        busy = 1 - law.sf((seen + T)[:, None] + s) / np.maximum(alive, 1e-300)[:, None]
        groups.append(np.vstack([law.cdf(s), np.clip(busy, 0.0, 1.0)]))
        weights.append((fresh, fresh * alive))
    started = sum(fresh for fresh, _ in weights)
    old = sum(count.sum() for _, count in weights)
    if math.isinf(theta) and old:  # k start in each round, the others are older
        weights = [(f * k / started, c * (workers.n - k) / old) for f, c in weights]
    else:
        total = started + old
        weights = [(f * workers.n / total, c * workers.n / total) for f, c in weights]
    return [(np.append(f, c), done) for (f, c), done in zip(weights, groups, strict=True)]


def _described(
    workers: Workers, k: int, theta: float, r: float, T: float, times: Array, share: Array
) -> TrainerState:  # fmt: skip
    """All quantities, given the round time.

    A batch is complete ``times`` after an update, with these shares, all later by what makes it use k tasks.
    """
    n, bounded = workers.n, theta < math.inf and k < workers.n
    if k < n:
        low = -r * (n / k + 1) - float(times.max())
        times = times + _root(lambda t: _uses(workers, theta, times + t, share, r) - k, low, max(r, 1e-12))
    survive, in_flight, length, trained = np.zeros(1), 0.0, 0.0, np.zeros(n)
    lost = worked = 0.0
    deadlines = np.maximum(times + theta * r, 0.0) if bounded else np.full(1, math.inf)
    for g, (law, count) in enumerate(zip(workers.laws, workers.counts, strict=True)):
        unused = law.sf(deadlines) if bounded else np.zeros(share.size)
        used = 1 - float(share @ unused)
        if k == n:
            starts, above = count * 1.0, np.zeros(0)
        else:
            starts = count / (1 + _sum(law, times, share, r, theta))
            last = int(min(theta, LONGEST_PMF, _rounds_alive(law, float(times.min()), r)))
            above = np.maximum(share @ law.sf(times[:, None] + r * np.arange(last)) - (1 - used), 0.0)
            j = r * np.arange(1, last + 1)
            runs = law.sf(np.minimum(j, deadlines[:, None])) - unused[:, None]
            in_flight += starts * float((share @ np.maximum(runs, 0.0)).sum())
        survive = added(survive, starts * np.append(used, above))
        trained[workers.group == g] = starts * used / count
        lost += starts * (1 - used)
        if not bounded:
            length += starts * law.mean
            worked += starts * law.mean
        else:  # stopped when the update is over
            length += starts * float(share @ (law.seconds_until(deadlines) - deadlines * unused))
            worked += starts * float(law.seconds_until((theta + 1) * r))
    tau = (n - k - (lost * (theta + 1) if bounded else 0.0)) / k
    pmf = -np.diff(np.append(survive, 0.0)) / k
    shares = shares_by_length([deadlines] * bounded, [share] * bounded)
    return TrainerState(
        round_time=r, mean_staleness=max(tau, 0.0), staleness_pmf=np.maximum(pmf, 0.0) / max(pmf.sum(), 1e-300),
        restarts=lost, uplinks=float(k), downlinks=k + lost,
        idle_fraction=max(1 - worked / (n * r), 0.0), wasted_fraction=max(worked - length, 0.0) / (n * r),
        participation=trained * k / trained.sum(), queued_staleness=max(max(tau, 0.0) - in_flight / k, 0.0),
        trainer_busy=min(T / r, 1.0), trained_length=length / k,
        shares=shares,
    )  # fmt: skip
