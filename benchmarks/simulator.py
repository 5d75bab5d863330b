"""How fast is the event simulator?  ``python -m benchmarks simulator`` prints one table.

Against the gradient calls alone, against the same run written by hand with ``heapq`` and with SimPy, and against
itself as n grows.  A job is a task that was begun.  The set-up of a run (streams of random numbers) is not counted.
"""

import math
import multiprocessing
import resource
import time
from collections.abc import Callable

import numpy as np

from abs_theory.delays import Delay, ShiftedExponential
from benchmarks.measure import Line, ratio, seconds
from benchmarks.training_rivals import heap_training, simpy_training
from simulations import protocols
from simulations.experiment import simulate
from simulations.fleets import Independent
from simulations.problems import NoisyQuadratic, Problem, TimingOnly, perceptron_digits, softmax_digits
from simulations.server import Budget, Protocol, Run, Server, drive
from simulations.streams import streams, task_times
from simulations.threads import one_thread

LAW = ShiftedExponential(shift=0.5, scale=0.5)
QUADRATIC = NoisyQuadratic(tuple(np.geomspace(1.0, 0.1, 10).tolist()), sigma2=1.0)
STEP = 0.01
MOST_CALLS = 8  # of one task in ``seconds``


def run_of(problem: Problem, protocol: Protocol, n: int, updates: int, delay: Delay = LAW) -> Run:
    """What is run: ``n`` equal workers, ``updates`` updates."""
    return Run(
        protocol=protocol, problem=problem, fleet=Independent((delay,) * n), step_size=STEP, seed=0,
        budget=Budget(num_updates=updates),
    )  # fmt: skip


def our_run(problem: Problem, protocol: Protocol, n: int, updates: int, delay: Delay = LAW) -> Callable[[], Server]:
    """A run of ``updates`` updates, of a new server on each call; the servers are made beforehand."""
    run = run_of(problem, protocol, n, updates, delay)
    waiting = [Server(run) for _ in range(MOST_CALLS)]

    def go() -> Server:
        drive(waiting[-1])
        return waiting.pop()

    return go


def gradient_calls(problem: Problem, k: int, n: int, calls: int) -> Callable[[], None]:
    """As many gradients of k workers each, the workers in turn, at the first model."""
    rngs, params = streams(1, 0, "batch", n), np.tile(problem.initial, (k, 1))
    groups = [[(k * i + j) % n for j in range(k)] for i in range(n)]

    def go() -> None:
        for i in range(calls):
            workers = groups[i % n]
            problem.gradients(params, workers, [rngs[worker] for worker in workers])

    return go


def rival(train: Callable, problem: Problem, n: int, k: int, bound: float, updates: int) -> Callable[[], object]:
    """The same run as ``our_run`` of ABS, by one of ``training_rivals``."""
    delays = [task_times(LAW, rng) for rng in streams(0, 0, "delay", n)]
    return lambda: train(problem, delays, streams(0, 0, "batch", n), k, bound, STEP, updates)


def against_gradients() -> list[Line]:
    """A whole run, its table included, against its gradients: in the same batches, and called one by one.

    And the shortest loop that does the same (``training_rivals``) against the same batches: nothing that trains in
    Python is likely to come closer to its gradient calls than that.
    """
    lines = []
    for problem, n, k, bound, most in [
        *((QUADRATIC, 100, k, bound, 4.0 if k == 1 else 2.5) for bound in (math.inf, 3) for k in (1, 5, 10, 50)),
        (perceptron_digits(20, batch_size=32), 20, 10, 3, 1.6),
    ]:
        jobs = 10_000 if problem is QUADRATIC else 2_000
        tasks = {
            "ours": our_run(problem, protocols.abs_sgd(k, bound), n, jobs // k),
            "batches": gradient_calls(problem, k, n, jobs // k),
            "single": gradient_calls(problem, 1, n, jobs),
            "heapq": rival(heap_training, problem, n, k, bound, jobs // k),
        }
        times = seconds(tasks, 7)
        case = f"{'quadratic' if problem is QUADRATIC else 'digits'}, n={n}, k={k}, {named(bound)}"
        lines += [
            Line(f"{case}: run / its gradients in batches", ratio(times, "ours", "batches"), "x", maximum=most),
            Line(f"{case}: run / its gradients one by one", ratio(times, "ours", "single"), "x", maximum=most),
            Line(f"{case}: heapq / its gradients in batches", ratio(times, "heapq", "batches"), "x"),
            Line(f"{case}: per gradient", 1e6 * float(np.median(times["ours"])) / jobs, "us"),
        ]
    return lines


def against_rivals() -> list[Line]:
    """The same rounds, and the same training, by hand and with SimPy."""
    lines = []
    for n, k, bound in [(100, 5, math.inf), (100, 5, 3), (100, 1, math.inf), (1000, 50, 3)]:
        rounds = 6000 // k

        tasks = {
            "ours": our_run(QUADRATIC, protocols.abs_sgd(k, bound), n, rounds),
            "heapq": rival(heap_training, QUADRATIC, n, k, bound, rounds),
            "SimPy": rival(simpy_training, QUADRATIC, n, k, bound, rounds),
            "timing": our_run(TimingOnly(), protocols.abs_sgd(k, bound), n, rounds),
        }
        times = seconds(tasks, 5)
        case = f"training, n={n}, k={k}, {named(bound)}"
        lines += [
            Line(f"{case}: ours / heapq", ratio(times, "ours", "heapq"), "x", maximum=2),
            Line(f"{case}: SimPy / ours", ratio(times, "SimPy", "ours"), "x", minimum=3),
            Line(f"{case}: ours, timing only", 1e6 * float(np.median(times["timing"])) / (k * rounds), "us/gradient"),
        ]
    return lines


def per_job(n: int, k: int, bound: float) -> float:
    """Microseconds for each task that was begun: the median of three stretches of one run."""
    updates = max(20_000 // k, 4)  # of a stretch
    server = Server(run_of(TimingOnly(), protocols.abs_sgd(k, bound), n, 4 * updates))
    times, jobs = [], []
    for stretch in range(1, 5):
        start = time.process_time()
        while server.updates < stretch * updates and (job := server.next_arrival()):
            server.protocol.on_arrival(server, job)
        times.append(time.process_time() - start)
        jobs.append(sum(row.downlinks for row in server.books.rounds))
    return 1e6 * float(np.median(np.array(times[1:]) / np.diff(jobs)))


def growth() -> list[Line]:
    """Time per job as n grows a thousandfold, against log n."""
    lines = []
    for name, k_of, bound_of in (("k=1", lambda n: 1, lambda n: 2 * n), ("k=n/20", lambda n: n // 20, lambda n: 20)):
        each = {n: per_job(n, k_of(n), bound_of(n)) for n in (100, 1000, 10_000, 100_000)}
        lines += [Line(f"per job, {name}, n={n}", value, "us") for n, value in each.items()]
        most = math.log(100_000) / math.log(100)
        lines.append(Line(f"per job, {name}: n=100000 / n=100", each[100_000] / each[100], "x", maximum=most))
    return lines


def named(bound: float) -> str:
    return "no bound" if math.isinf(bound) else f"bound {bound:g}"


def peak_memory(n: int) -> float:
    """GB that a run of ``n`` workers on softmax digits takes at most, imports included."""
    simulate(
        protocols.abs_sgd(n // 10, 3), softmax_digits(n, split="all"), LAW, n, step_size=0.1, num_updates=20, seed=0
    )
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def memory() -> list[Line]:
    """In a process of its own, so that nothing else counts."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return [Line("softmax on digits, n=10^4: peak memory", pool.apply(peak_memory, (10_000,)), "GB", maximum=1)]


def main() -> None:
    with one_thread():  # as every replicate has it
        for part in (against_gradients, against_rivals, growth, memory):
            print(*part(), sep="\n", flush=True)
