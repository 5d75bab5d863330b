"""ABS that trains, as one would write it by hand: with the heap of the standard library, and with SimPy.

The same rounds, gradients and steps as ``simulations`` makes of ``protocols.abs_sgd``, from the same streams, and
nothing else: no books, no policies, no other protocol.  Both return the time in seconds and the model.
"""

from collections.abc import Iterator, Sequence
from heapq import heapify, heappop, heappush
from itertools import takewhile

import numpy as np

from simulations.problems import Problem

__all__ = ["heap_training", "simpy_training"]

Streams = Sequence[np.random.Generator]


class Model:
    """The current parameters, those each worker has, and the step along the mean of some workers' gradients."""

    def __init__(self, problem: Problem, rngs: Streams, step_size: float):
        self.problem, self.rngs, self.step_size = problem, rngs, step_size
        self.params = problem.initial
        self.sent = [self.params] * len(rngs)

    def update(self, workers: list[int]) -> None:
        params = np.array([self.sent[worker] for worker in workers])
        _, gradients = self.problem.gradients(params, workers, [self.rngs[worker] for worker in workers])
        share = np.full(len(workers), self.step_size / len(workers), gradients.dtype)
        self.params = self.params - share.dot(gradients)


def heap_training(
    problem: Problem, delays: Sequence[Iterator[float]], rngs: Streams, k: int, bound: float, step: float, rounds: int
) -> tuple[float, np.ndarray]:
    """A heap of the tasks in progress, by the time they end."""
    n = len(delays)
    model = Model(problem, rngs, step)
    heap = [(next(delays[worker]), worker, 0) for worker in range(n)]  # end, worker, update at which it began
    heapify(heap)
    current = dict.fromkeys(range(n), 0)  # version of the model that each computing worker has, oldest first
    now = 0.0
    for updates in range(1, rounds + 1):
        idle: list[int] = []
        while len(idle) < k:
            now, worker, version = heappop(heap)
            if current.get(worker) == version:
                del current[worker]
                idle.append(worker)
        model.update(idle)
        stale = list(takewhile(lambda worker, oldest=updates - bound: current[worker] < oldest, current))
        for worker in sorted(idle + stale):
            current.pop(worker, None)
            current[worker] = updates
            model.sent[worker] = model.params
            heappush(heap, (now + next(delays[worker]), worker, updates))
    return now, model.params


def simpy_training(
    problem: Problem, delays: Sequence[Iterator[float]], rngs: Streams, k: int, bound: float, step: float, rounds: int
) -> tuple[float, np.ndarray]:
    """A process for each worker, which the end of a round wakes or interrupts."""
    import simpy

    env = simpy.Environment()
    round_over, finished = env.event(), env.event()
    model, delivered, updates = Model(problem, rngs, step), [], 0
    busy: dict[int, int] = {}  # version of the model that each computing worker has, oldest first
    processes: list[simpy.Process] = []

    def work(worker: int):
        while True:
            busy[worker], model.sent[worker] = updates, model.params
            try:
                yield env.timeout(next(delays[worker]))
                this_round = round_over
                del busy[worker]
                delivered.append(worker)
                if len(delivered) == k:
                    update()
                yield this_round
            except simpy.Interrupt:
                pass

    def update():
        nonlocal round_over, updates
        model.update(delivered)
        delivered.clear()
        updates += 1
        for worker in list(takewhile(lambda worker: updates - busy[worker] > bound, busy)):
            del busy[worker]
            processes[worker].interrupt()
        round_over.succeed()
        round_over = env.event()
        if updates == rounds:
            finished.succeed()

    processes += [env.process(work(worker)) for worker in range(len(delays))]
    env.run(until=finished)
    return env.now, model.params
