"""The same server, as one would write it by hand: with the heap of the standard library, and with SimPy.

Both wait for ``k`` of ``n`` equal workers and restart those staler than ``max_staleness`` (inf: nobody), in one
replicate; both draw their delays in bulk, and return the seconds and the staleness of the gradients, summed over all
``rounds``.
"""

from collections import deque
from collections.abc import Iterator
from heapq import heapify, heappop, heappush, heapreplace
from itertools import chain, count, takewhile

import numpy as np

from abs_theory.delays import Delay

__all__ = ["heap_loop", "simpy_model"]

Sums = tuple[float, int]


def drawn_ahead(delay: Delay, rng: np.random.Generator, size: int = 10_000) -> Iterator[float]:
    """Delays without end, as Python floats; a call for one costs much more than its share of a call for many."""
    return chain.from_iterable(delay.sample(rng, size).tolist() for _ in count())


def heap_loop(delay: Delay, k: int, n: int, max_staleness: float, rng: np.random.Generator, rounds: int) -> Sums:
    """A heap of the tasks in progress, by the time they end."""
    delays = drawn_ahead(delay, rng)
    if max_staleness < rounds:
        return _heap_loop_with_restarts(delays, k, n, int(max_staleness), rounds)
    heap = [(next(delays), 0) for _ in range(n)]  # end, update at which it began
    heapify(heap)
    now, staleness = 0.0, 0
    if k == 1:
        for updates in range(rounds):
            now, version = heap[0]
            staleness += updates - version
            heapreplace(heap, (now + next(delays), updates + 1))
        return now, staleness
    for updates in range(rounds):
        for _ in range(k):
            now, version = heappop(heap)
            staleness += updates - version
        for _ in range(k):
            heappush(heap, (now + next(delays), updates + 1))
    return now, staleness


def _heap_loop_with_restarts(delays: Iterator[float], k: int, n: int, max_staleness: int, rounds: int) -> Sums:
    heap = [(next(delays), worker, 0) for worker in range(n)]  # end, worker, update at which it began
    heapify(heap)
    current = [0] * n  # the version each worker is busy with; tasks in the heap with another were given up
    begun = deque([list(range(n))])  # workers by the update at which they began, oldest first
    now, staleness = 0.0, 0
    for updates in range(rounds):
        idle = []
        while len(idle) < k:
            now, worker, version = heappop(heap)
            if current[worker] == version:
                staleness += updates - version
                current[worker] = -1
                idle.append(worker)
        if len(begun) > max_staleness:
            too_old = updates - max_staleness
            idle += [worker for worker in begun.popleft() if current[worker] == too_old]
        for worker in idle:
            current[worker] = updates + 1
            heappush(heap, (now + next(delays), worker, updates + 1))
        begun.append(idle)
    return now, staleness


def simpy_model(delay: Delay, k: int, n: int, max_staleness: float, rng: np.random.Generator, rounds: int) -> Sums:
    """A process for each worker, which the end of a round wakes or interrupts."""
    import simpy

    env, delays = simpy.Environment(), drawn_ahead(delay, rng)
    round_over, finished = env.event(), env.event()
    updates, delivered, staleness = 0, 0, 0
    busy: dict[int, int] = {}  # version of the model that each computing worker has, oldest first
    processes: list[simpy.Process] = []

    def work(worker: int):
        while True:
            busy[worker] = updates
            try:
                yield env.timeout(next(delays))
                this_round = round_over
                deliver(busy.pop(worker))
                yield this_round
            except simpy.Interrupt:
                pass

    def deliver(version: int):
        nonlocal delivered, staleness
        delivered, staleness = delivered + 1, staleness + updates - version
        if delivered == k:
            update()

    def update():
        nonlocal delivered, round_over, updates
        updates, delivered = updates + 1, 0
        for worker in list(takewhile(lambda worker: updates - busy[worker] > max_staleness, busy)):
            del busy[worker]
            processes[worker].interrupt()
        round_over.succeed()
        round_over = env.event()
        if updates == rounds:
            finished.succeed()

    processes += [env.process(work(worker)) for worker in range(n)]
    env.run(until=finished)
    return env.now, staleness
