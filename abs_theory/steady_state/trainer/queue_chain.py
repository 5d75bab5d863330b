r"""Slots that wait for a trainer that is often busy: the number of finished tasks at the end of an update is a chain.

Let w finished tasks wait when an update ends, after stale ones have been dropped.  The next batch needs m = k - w more,
which takes t(w), the m-th of n - w running tasks; it is complete at once if w >= k.  The trainer then works for T, and
more tasks end.  Of these running tasks the ages are known in the mean: a task of age jr has survived with S(jr).  So

.. math:: r = T + \sum_w \pi_w t(w)^+, \qquad \pi \text{ the long-run law of } w.

If w > k, the batch has been complete since the k-th of them ended, (w - k) r / k before: t(w) < 0.  A task that starts
at the end of an update is used in the j-th batch after it with probability sum_w pi_w F(t(w) + jr).  With a threshold
theta each waiting task is dropped at an update with the probability that makes this true for j = theta.
Source: derived in notebooks/07_rollouts.ipynb; exact for exponential tasks without a threshold.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy import special

from abs_theory.delays import Delay
from abs_theory.steady_state.trainer import nodes
from abs_theory.typing import Array
from abs_theory.workers import Workers

__all__ = ["WaitingTasks", "gathered", "waiting_tasks"]

NEGLIGIBLE = 1e-5  # survival probability below which an older task is not followed
MOST_AGES = 1024  # rounds that a running task is followed
TIMES = np.append(0.0, np.exp(np.linspace(-7.0, 3.0, 100)))  # of the mean wait for a batch, places of the integral
LEAST_WAIT = 0.02  # of a round, in place of a shorter mean wait
WIDTH = 7.0  # standard deviations of the number of tasks that end in an update
STEPS, CLOSE = 24, 1e-4  # of the iteration, and the relative change of a round at which it ends
MOST_DROPPED = 0.95  # of the waiting tasks
UPDATE_NODES = 8  # of an average over the time of an update
MOST_MOVES, MOVES_AT_ONCE = 100, 16  # of the chain, until its law does not change
LIKELY, MOST_TIMES = 1e-7, 32  # probability of a time that counts, and how many of them
# of the spread of the batch times if stale tasks are dropped: the oldest are, which makes them differ less than the
# chain says; the value for which the shares of dropped tasks fit best in 100 random cells
BOUNDED_SPREAD = 0.5


class WaitingTasks(NamedTuple):
    """What a task meets when its update ends."""

    round_time: float  #: mean seconds between two updates
    batch_times: Array  #: seconds after an update until the next batch is complete, negative if it was before
    probability: Array  #: of each of them


class _Running(NamedTuple):
    """The tasks that run when an update is over, s seconds later, at the places s of an integral."""

    times: Array  #: s
    ended: Array  #: share of them that has ended
    fewer: Array  #: trials that give the same variance of the number that has ended, over the number of tasks
    later: Array  #: share of those that still run that end in the next update, rows: the nodes of its time
    later_fewer: Array  #: trials as above


def waiting_tasks(workers: Workers, k: int, theta: float, update: Delay, round_time: float) -> WaitingTasks:
    """The long run, from a guess of the ``round_time``; ``theta`` inf is no threshold.

    >>> from abs_theory.delays import Deterministic, Exponential
    >>> from abs_theory.steady_state.trainer import memoryless
    >>> from abs_theory.workers import as_workers
    >>> law, update = Exponential(mean=1.0), Deterministic(0.4)
    >>> state = waiting_tasks(as_workers(law, 12), 4, math.inf, update, 0.5)
    >>> abs(state.round_time / memoryless.round_time(law, 4, 12, update) - 1) < 0.002
    True
    """
    T, T_weights = nodes.of_law(update, UPDATE_NODES)
    T = T * (update.mean / (T_weights @ T))
    w: Array = np.arange(workers.n - k + 1.0)
    r, dropped, waiting, change = max(round_time, float(update.mean)), 0.0, 0.0, math.inf
    times, pi = np.zeros(w.size), np.full(w.size, 1 / w.size)
    for step in range(STEPS):
        if step > 2 and change < CLOSE:
            break
        starts, running = _running(workers, theta, r, T, float(update.mean), waiting)
        times = _batch_times(workers.n, k, w, running, r)
        pi = _long_run(_moves(workers.n, k, w, times, running, T_weights, dropped), pi)
        waiting = float(pi @ w)
        if theta < math.inf:
            lost = 0.0
            for law, count in zip(workers.laws, starts, strict=True):
                lost += count * float(law.cdf((theta + 1) * r) - pi @ law.cdf(np.maximum(theta * r + times, 0.0)))
            share = lost / max(waiting / (1 - dropped), 1e-9)
            dropped = (dropped + min(max(share, 0.0), MOST_DROPPED)) / 2
        following = float(update.mean + pi @ np.maximum(times, 0.0))
        change = abs(following - r) / r
        r = following if step == 0 else (r + following) / 2
    times, pi = gathered(times, pi)
    if theta < math.inf:
        mean = float(pi @ times)
        times = mean + BOUNDED_SPREAD * (times - mean)
    return WaitingTasks(r, times, pi)


def _running(
    workers: Workers, theta: float, r: float, T: Array, mean_update: float, waiting: float
) -> tuple[list[float], _Running]:
    """Tasks of each group that start per round, and those that run when an update is over."""
    n, survival, ages = workers.n, [], []
    for law in workers.laws:
        last = int(min(theta, MOST_AGES, float(law.isf(NEGLIGIBLE)) / r + 2))
        ages.append(r * np.arange(last + 1.0))
        survival.append(law.sf(ages[-1]))
    alive = [float(values.sum()) for values in survival]  # rounds that a task of each group runs
    # all tasks wait for the same number of rounds, which leaves so many running
    held = waiting * sum(alive) / len(alive) / max(n - waiting, 1e-9)
    for _ in range(3 if len(alive) > 1 else 1):
        starts = [count / (rounds + held) for count, rounds in zip(workers.counts, alive, strict=True)]
        held = waiting / sum(starts)
    starts = [count / (rounds + held) for count, rounds in zip(workers.counts, alive, strict=True)]
    s = TIMES * max(r - mean_update, LEAST_WAIT * r)
    share = np.concatenate([count * values for count, values in zip(starts, survival, strict=True)])
    share /= share.sum()
    at = np.concatenate([s, *(s + seconds for seconds in T)])
    rest = np.concatenate(
        [
            law.sf(old[:, None] + at) / np.maximum(values, 1e-300)[:, None]
            for law, old, values in zip(workers.laws, ages, survival, strict=True)
        ]
    )
    rest, after = rest[:, : s.size], rest[:, s.size :].reshape(share.size, T.size, s.size)
    ended = 1 - share @ rest
    fewer = ended**2 / np.maximum(share @ (1 - rest) ** 2, 1e-300)
    left = np.maximum(share @ rest, 1e-300)
    ends = 1 - after / np.maximum(rest, 1e-300)[:, None]
    weight = share[:, None] * rest / left
    later = np.einsum("as,ajs->js", weight, ends)
    square = np.einsum("as,ajs->js", weight, ends**2)
    later_fewer = later**2 / np.maximum(square, 1e-300)
    fewer[0] = fewer[1]
    return starts, _Running(s, ended, np.clip(fewer, 1e-3, 1.0), later, np.clip(later_fewer, 1e-3, 1.0))


def _batch_times(n: int, k: int, w: Array, running: _Running, r: float) -> Array:
    """Mean seconds until a batch is complete if ``w`` tasks wait."""
    times = -(w - k) * r / k
    few = w[w < k, None]
    missing = k - few
    trials = np.maximum((n - few) * running.fewer, missing)
    chance = np.clip((n - few) * running.ended / trials, 0.0, 1.0)
    late = special.betainc(trials - missing + 1, missing, 1 - chance)
    times[: few.size] = np.trapezoid(late, running.times, axis=1)
    return times


def _moves(n: int, k: int, w: Array, times: Array, running: _Running, T_weights: Array, dropped: float) -> Array:
    """Probabilities that ``w`` tasks wait at an update and another number at the next one.

    The number of tasks that end in an update is binomial; waiting ones are dropped with the same probability each.
    """
    at, left = np.maximum(times, 0.0), np.maximum(w - k, 0.0)
    busy = n - np.maximum(w, k)
    moves = np.zeros((w.size, w.size))
    for weight, later, fewer in zip(T_weights, running.later, running.later_fewer, strict=True):
        chance = np.interp(at, running.times, later)
        mean = busy * chance
        var = mean * (1 - chance / np.interp(at, running.times, fewer))
        var = np.maximum((1 - dropped) ** 2 * var + dropped * (1 - dropped) * (left + mean), 1e-12)
        mean, least = (1 - dropped) * mean, (1 - dropped) * left
        chance = np.clip(1 - var / np.maximum(mean, 1e-300), 1e-3, 1 - 1e-12)
        trials = np.maximum(mean / chance, 1e-9)
        half = WIDTH * math.sqrt(var.max()) + 2
        first = np.floor(least + mean - half)
        numbers = first[:, None] + np.arange(math.ceil(2 * half) + 1)
        many = numbers - least[:, None]
        below = _binomial(many, trials[:, None], chance[:, None])
        share = np.diff(below, axis=1, prepend=0.0)
        place = np.clip(numbers, 0, w.size - 1).astype(int)
        np.add.at(moves, (np.arange(w.size)[:, None], place), weight * share)
    return moves / moves.sum(axis=1, keepdims=True)


def _binomial(number: Array, trials: Array, chance: Array) -> Array:
    """P(a binomial number is at most ``number``), for any real ``trials``."""
    inside = (number >= 0) & (number < trials)
    value = special.betainc(np.where(inside, trials - number, 1.0), np.where(inside, number + 1, 1.0), 1 - chance)
    return np.where(number < 0, 0.0, np.where(inside, value, 1.0))


def _long_run(moves: Array, pi: Array) -> Array:
    """The law that the chain keeps, from a first guess; the chain soon forgets where it was."""
    for _ in range(MOST_MOVES):
        following = pi
        for _ in range(MOVES_AT_ONCE):
            following = following @ moves
        change = float(np.abs(following - pi).sum())
        pi = following / following.sum()
        if change < NEGLIGIBLE:
            break
    return pi


def gathered(times: Array, pi: Array) -> tuple[Array, Array]:
    """At most ``MOST_TIMES`` times of the same mean, and their probabilities.

    >>> gathered(np.array([1.0, 2.0, 3.0]), np.array([0.5, 0.0, 0.5]))
    (array([1., 3.]), array([0.5, 0.5]))
    """
    place = np.minimum((np.cumsum(pi) - pi / 2) * MOST_TIMES, MOST_TIMES - 1).astype(int)
    share = np.bincount(place, pi)
    mean = np.bincount(place, pi * times)
    likely = share > LIKELY
    return mean[likely] / share[likely], share[likely] / share[likely].sum()
