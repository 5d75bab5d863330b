"""Admission control, mostly with a window: tasks are trained nearly in the order of their starts.

If every open task has a slot, tasks start only when an update is over.  Then ``play_rounds`` plays round after round,
in all replicates together.  Otherwise ``play_in_windows`` plays one event after another, in one replicate at a time.
"""

import heapq
import math
from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from abs_theory.delays import Delay
from abs_theory.monte_carlo.tally import counts
from abs_theory.monte_carlo.trainer.records import LONGEST_STALENESS, Record, Rules
from abs_theory.typing import Array

__all__ = ["play_in_windows", "play_rounds"]

NOT_ENDED = -1.0  # in place of the updates before the end of a task


def play_rounds(
    record: Record, rules: Rules, law: Delay, update: Delay | None, rng: np.random.Generator, edges: Array,
    first: NDArray[np.intp], num_rounds: int,
) -> None:  # fmt: skip
    """Add ``num_rounds`` of each replicate to the ``record``, from its ``first`` on; slots are fresh in round 0."""
    replicates, k, most = record.seconds.size, rules.k, int(rules.most_open)
    rows = np.arange(replicates)[:, None]

    def started(number: NDArray[np.intp], version: int, now: Array) -> Array:
        """New tasks: number, version, updates before their end, length, time of their end."""
        length = law.sample(rng, (replicates, number.size))
        same = [np.broadcast_to(values, length.shape) for values in (number, version, NOT_ENDED)]
        return np.array([*same, length, now[:, None] + length])

    now = np.zeros(replicates)
    tasks = started(np.arange(most), 0, now)  # untrained ones, in the order of their starts
    for updates in range(int(first.max()) + num_rounds):
        complete, taken = _batch(tasks[0], tasks[4], now, k, rules.window)
        seconds = np.zeros(replicates) if update is None else update.sample(rng, replicates)
        over = complete + seconds
        done = tasks[4] < over[:, None]
        done[rows, taken] = True
        tasks[2][done & (tasks[2] == NOT_ENDED)] = updates
        watched = np.flatnonzero((first <= updates) & (updates < first + num_rounds))
        if watched.size:
            _, version, ended, length, _ = tasks[:, rows[watched], taken[watched]]
            end = over[watched]
            waits = end[:, None] - np.maximum(tasks[4][watched], now[watched, None])
            record.seconds[watched] += end - now[watched]
            record.training[watched] += seconds[watched]
            record.idle[watched] += np.maximum(waits, 0.0).sum(axis=1)
            record.staleness[watched] += (updates - version).sum(axis=1)
            record.queued[watched] += (updates - ended).sum(axis=1)
            record.trained_seconds[watched] += length.sum(axis=1)
            record.histogram[watched] += counts((updates - version).astype(np.int64), LONGEST_STALENESS + 1)
            bins = counts(edges.searchsorted(length), edges.size + 1)
            record.trained[watched] += bins
            record.offered[watched] += bins
        kept = np.ones((replicates, most), bool)
        kept[rows, taken] = False
        now, number = over, most + k * updates
        new = started(np.arange(number, number + k), updates + 1, now)
        tasks = np.concatenate([tasks[:, kept].reshape(len(tasks), replicates, most - k), new], axis=2)
    record.participation[:] += num_rounds * k / most


def _batch(number: Array, end: Array, now: Array, k: int, window: float) -> tuple[Array, NDArray[np.intp]]:
    """When the next batch is complete, and the places of its tasks, shapes ``replicates`` and ``replicates x k``.

    By a time, the trainer has taken the finished tasks that are ``_free``.  A batch is complete when they are k.  Of
    those that become free at that time, it takes the first started.  Without a window, it takes the first finished.
    """
    times = np.sort(end, axis=1)
    rows = np.arange(now.size)
    if math.isinf(window):
        return np.maximum(times[:, k - 1], now), np.argsort(end, axis=1, kind="stable")[:, :k]
    low, high = np.full(now.size, k - 1), np.full(now.size, number.shape[1] - 1)
    while (low < high).any():  # bisection: more and more are free
        middle = (low + high) // 2
        enough = _free(number, end, times[rows, middle], window).sum(axis=1) >= k
        low, high = np.where(enough, low, middle + 1), np.where(enough, middle, high)
    complete = np.maximum(times[rows, low], now)
    free = _free(number, end, complete, window)
    before = np.where(complete > now, times[rows, low - 1], -math.inf)
    earlier = free & _free(number, end, before, window) & (low > 0)[:, None]
    order = np.argsort(np.where(earlier, 0, np.where(free, 1, 2)), axis=1, kind="stable")
    return complete, order[:, :k]


def _free(number: Array, end: Array, time: Array, window: float) -> NDArray[np.bool_]:
    """Which tasks have ended by a ``time`` and started before ``window`` tasks from the first unfinished one on."""
    finished = end <= time[:, None]
    first = np.where(finished, math.inf, number).min(axis=1)
    return finished & (number < first[:, None] + window)


def play_in_windows(
    record: Record, row: int, rules: Rules, n: int, delay: Callable[[], float], update: Callable[[], float],
    edges: Array, watched: range,
) -> None:  # fmt: skip
    """Add to a ``row`` of the ``record`` what happens in the rounds ``watched``, from fresh slots.

    The trainer may take a finished task if fewer than ``rules.window`` tasks have started from the oldest one on that
    it has not taken; a task starts if a slot is free and fewer than ``rules.most_open`` are started and not trained.
    """
    first, last = watched.start, watched.stop
    k, window, most_open = rules.k, rules.window, rules.most_open
    running: list[tuple[float, int]] = []  # end, number of the task
    versions: dict[int, tuple[int, float]] = {}  # of each task that is not taken: version, length
    finished: dict[int, int] = {}  # of each finished task that is not taken: updates when it finished
    waiting: list[int] = []  # the same tasks, a heap
    oldest = deque[int]()  # tasks by their start; taken ones are removed when they come first
    now, until, updates, started, opened, taken, idle = 0.0, math.inf, 0, 0, 0, 0, n
    lengths: list[float] = []

    def start() -> None:
        nonlocal started, opened, idle
        while idle and opened < most_open:
            length = delay()
            heapq.heappush(running, (now + length, started))
            versions[started] = updates, length
            oldest.append(started)
            started, opened, idle = started + 1, opened + 1, idle - 1

    def take(number: int) -> None:
        nonlocal taken
        version, length = versions.pop(number)
        ended = finished.pop(number)
        taken += 1
        while oldest and oldest[0] not in versions:
            oldest.popleft()
        if first <= updates < last:
            record.staleness[row] += updates - version
            record.queued[row] += updates - ended
            record.histogram[row, min(updates - version, LONGEST_STALENESS)] += 1
            record.trained_seconds[row] += length
            lengths.append(length)

    start()
    while updates < last:
        end = running[0][0] if running else math.inf
        following = min(end, until)
        if first <= updates:
            record.seconds[row] += following - now
            record.idle[row] += (following - now) * idle
            record.training[row] += (following - now) * (until < math.inf)
        now = following
        if until <= end:
            updates, until, opened = updates + 1, math.inf, opened - k
            start()
        else:
            number = heapq.heappop(running)[1]
            finished[number] = updates
            heapq.heappush(waiting, number)
            idle += 1
        if until == math.inf:
            while waiting and taken < k and waiting[0] < oldest[0] + window:
                take(heapq.heappop(waiting))
            if taken == k:
                taken, until = 0, now + update()
        if until > now:
            start()
    bins = np.bincount(edges.searchsorted(lengths), minlength=edges.size + 1)
    record.trained[row] += bins
    record.offered[row] += bins
    record.participation[row] += (last - first) * k / n
