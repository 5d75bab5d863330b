"""Finished tasks that wait for a trainer, one queue for each replicate."""

import numpy as np
from numpy.typing import NDArray

from abs_theory.typing import Array

__all__ = ["Queues"]

Rows = NDArray[np.intp]


class Queues:
    """Queues that are served first in, first out; a task is a column of ``fields`` numbers, its version first.

    The tasks of a queue stand side by side, so that an arrival, or taking a batch, costs the same for a long queue.

    >>> queues = Queues(replicates=2, places=1, fields=2)
    >>> queues.put(np.array([0, 1]), np.array([[5, 6], [0.5, 0.25]]))  # version and length of a task in each queue
    >>> queues.put(np.array([0]), np.array([[4], [0.125]]))
    >>> queues.remove_older(np.array([0, 1]), np.array([5, 5]))  # replicates, and the tasks
    (array([0]), array([[4.   ],
           [0.125]]))
    >>> queues.take(np.array([0]), 1).tolist(), queues.waiting.tolist()
    ([[[5.0]], [[0.5]]], [0, 1])
    """

    def __init__(self, replicates: int, places: int, fields: int) -> None:
        self.tasks = np.zeros((fields, replicates, places))
        self.head, self.waiting = np.zeros((2, replicates), np.int64)  # first place in use; tasks

    def put(self, rows: Rows, tasks: Array) -> None:
        """Append a task to each of these queues; ``tasks`` has one column for each."""
        place = self.head[rows] + self.waiting[rows]
        if place.size and place.max() >= self.tasks.shape[2]:
            self._make_room()
            place = self.head[rows] + self.waiting[rows]
        self.tasks[:, rows, place] = tasks
        self.waiting[rows] += 1

    def take(self, rows: Rows, count: int) -> Array:
        """Remove the oldest ``count`` tasks of these queues, shape ``fields x rows x count``."""
        place = self.head[rows][:, None] + np.arange(count)
        self.head[rows] += count
        self.waiting[rows] -= count
        return self.tasks[:, rows[:, None], place]

    def remove_older(self, rows: Rows, version: NDArray[np.number]) -> tuple[Rows, Array]:
        """Remove the tasks of these queues of an older version than that of the queue: their queues, and the tasks."""
        last = int((self.head[rows] + self.waiting[rows]).max(initial=0))
        place: Rows = np.arange(last)
        waits = (place >= self.head[rows][:, None]) & (place < (self.head + self.waiting)[rows][:, None])
        old = waits & (self.tasks[0, rows, :last] < version[:, None])
        queue, place = np.nonzero(old)
        gone = rows[queue]
        removed = self.tasks[:, gone, place]
        affected = np.flatnonzero(old.any(axis=1))
        if affected.size:
            kept = waits[affected] & ~old[affected]
            self._gather(rows[affected], kept)
        return gone, removed

    def _gather(self, rows: Rows, kept: NDArray[np.bool_]) -> None:
        """Move the ``kept`` places of these queues to the front."""
        queue, place = np.nonzero(kept)
        sizes = kept.sum(axis=1)
        target = np.arange(queue.size) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        self.tasks[:, rows[queue], target] = self.tasks[:, rows[queue], place]
        self.head[rows], self.waiting[rows] = 0, sizes

    def _make_room(self) -> None:
        """Move all queues to the front; double the places if the longest queue fills half of them."""
        place = np.arange(self.tasks.shape[2])
        waits = (place >= self.head[:, None]) & (place < (self.head + self.waiting)[:, None])
        self._gather(np.arange(self.head.size), waits)
        if 2 * self.waiting.max() >= self.tasks.shape[2]:
            self.tasks = np.concatenate([self.tasks, np.zeros_like(self.tasks)], axis=2)
