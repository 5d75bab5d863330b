"""Admission control with a window, one replicate at a time: tasks are trained nearly in the order of their starts.

Every step depends on which task is the oldest, so there is nothing to play side by side: a heap of the running tasks
and plain numbers are faster here than arrays.
"""

import heapq
import math
from collections import deque
from collections.abc import Callable

import numpy as np

from abs_theory.monte_carlo.trainer.records import LONGEST_STALENESS, Record, Rules
from abs_theory.typing import Array

__all__ = ["play_in_windows"]


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
            finished[heapq.heappop(running)[1]] = updates
            idle += 1
        if until == math.inf:
            while finished and taken < k and (number := min(finished)) < oldest[0] + window:
                take(number)
            if taken == k:
                taken, until = 0, now + update()
        if until > now:
            start()
    bins = np.bincount(edges.searchsorted(lengths), minlength=edges.size + 1)
    record.trained[row] += bins
    record.offered[row] += bins
    record.participation[row] += (last - first) * k / n
