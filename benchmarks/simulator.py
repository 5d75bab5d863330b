"""How fast is the event simulator?  ``python -m benchmarks simulator`` prints one table.

It is compared with its gradient calls alone, with the same run written by hand with ``heapq`` and with SimPy, and with
itself as n grows.  A job is a task that was begun.  The set-up of a run (streams of random numbers) is not counted.
The decisions of self-tuning are compared with the run that they are made for.
"""

import math
import multiprocessing
import resource
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from abs_theory.delays import Delay, LogNormal, ShiftedExponential
from benchmarks.measure import Line, ratio, seconds
from benchmarks.training_rivals import heap_training, simpy_training
from simulations import protocols
from simulations.experiment import simulate
from simulations.fleets import Independent
from simulations.policies import self_tuning
from simulations.problems import NoisyQuadratic, Problem, TimingOnly, perceptron_digits, softmax_digits
from simulations.server import Progress, Protocol, Run, RunBudget, Server, drive
from simulations.server.in_step import InStep
from simulations.server.next_steps import next_steps
from simulations.streams import streams, task_times
from simulations.threads import one_thread

LAW = ShiftedExponential(shift=0.5, scale=0.5)
QUADRATIC = NoisyQuadratic(tuple(np.geomspace(1.0, 0.1, 10).tolist()), sigma2=1.0)
STEP = 0.01
MOST_CALLS = 8  # of one task in ``seconds``
REPLICATES = 20


def run_of(problem: Problem, protocol: Protocol, n: int, updates: int, delay: Delay = LAW) -> Run:
    """What is run: ``n`` equal workers, ``updates`` updates."""
    return Run(
        protocol=protocol, problem=problem, fleet=Independent((delay,) * n), step_size=STEP, seed=0,
        budget=RunBudget(num_updates=updates),
    )  # fmt: skip


def our_run(problem: Problem, protocol: Protocol, n: int, updates: int, delay: Delay = LAW) -> Callable[[], Server]:
    """A run of ``updates`` updates, of a new server on each call; the servers are made beforehand."""
    run = run_of(problem, protocol, n, updates, delay)
    waiting = [Server(run) for _ in range(MOST_CALLS)]

    def go() -> Server:
        drive(waiting[-1])
        return waiting.pop()

    return go


def gradient_calls(problem: Problem, count: int, streams_of: int, calls: int, n: int) -> Callable[[], None]:
    """``calls`` batches of ``count`` gradients at the first model, by workers with ``streams_of`` streams in turn."""
    rngs, params = streams(1, 0, "batch", streams_of), np.tile(problem.initial, (count, 1))
    places = [[(count * i + j) % streams_of for j in range(count)] for i in range(n)]

    def go() -> None:
        for i in range(calls):
            batch = places[i % n]
            problem.gradients(params, [place % n for place in batch], [rngs[place] for place in batch])

    return go


def rival(train: Callable, problem: Problem, n: int, k: int, bound: float, updates: int) -> Callable[[], object]:
    """The same run as ``our_run`` of ABS, by one of ``training_rivals``."""
    delays = [task_times(LAW, rng) for rng in streams(0, 0, "delay", n)]
    return lambda: train(problem, delays, streams(0, 0, "batch", n), k, bound, STEP, updates)


class Case(NamedTuple):
    """What is trained, and the largest ratios and microseconds per gradient that are wanted."""

    problem: Problem
    n: int
    k: int
    bound: float
    gradients: int  # of a replicate
    to_heapq: float  # ours in step / heapq
    to_limit: float | None  # ours in step / its gradients in one batch
    microseconds: float | None  # of ours in step, for each gradient, on the machine where the goal was set

    def __str__(self) -> str:
        name = "quadratic" if self.problem is QUADRATIC else "perceptron"
        return f"{name}, n={self.n}, k={self.k}, {named(self.bound)}"


PERCEPTRON = perceptron_digits(20)
CASES = (
    Case(QUADRATIC, 100, 1, math.inf, 3000, 0.45, None, 4.0),
    Case(QUADRATIC, 100, 5, math.inf, 5000, 0.65, None, 2.2),
    Case(QUADRATIC, 100, 1, 3, 1000, 0.35, None, 8.0),
    Case(PERCEPTRON, 20, 1, math.inf, 1000, 0.4, 1.25, None),
    Case(PERCEPTRON, 20, 4, math.inf, 2000, 0.85, 1.25, None),
)


def in_step(case: Case) -> Callable[[], object]:
    """``REPLICATES`` runs that advance in step; the states at time 0 are made beforehand."""
    updates, replicates = case.gradients // case.k, range(REPLICATES)
    run = run_of(case.problem, protocols.abs_sgd(case.k, case.bound), case.n, updates)

    def state() -> InStep:
        steps = next_steps(run.fleet, run.seed, replicates)
        assert steps is not None
        return InStep([(run, replicate) for replicate in replicates], steps)

    waiting = [state() for _ in range(MOST_CALLS)]
    return lambda: waiting.pop().tables()


def limit(case: Case) -> Callable[[], None]:
    """What nothing can avoid: the gradients, those of all replicates in one batch, and as many drawn delays."""
    gradients = gradient_calls(case.problem, REPLICATES * case.k, REPLICATES * case.n, case.gradients // case.k, case.n)
    rng = np.random.default_rng(0)

    def go() -> None:
        gradients()
        LAW.sample(rng, REPLICATES * case.gradients)

    return go


def against_rivals(quick: bool = False) -> list[Line]:
    """Training, per gradient: ours in step and one replicate at a time, by hand with ``heapq``, with SimPy, the limit.

    Rivals run one replicate.  The limit (``limit``) is what a program costs that does nothing but compute gradients.
    """
    lines = []
    for case in [case._replace(gradients=case.gradients // 10) for case in CASES] if quick else CASES:
        updates, protocol = case.gradients // case.k, protocols.abs_sgd(case.k, case.bound)
        game = case.problem, case.n, case.k, case.bound, updates
        tasks = {
            "in step": in_step(case),
            "alone": our_run(case.problem, protocol, case.n, updates),
            "heapq": rival(heap_training, *game),
            "SimPy": rival(simpy_training, *game),
            "limit": limit(case),
        }
        times = seconds(tasks, 1 if quick else 5)
        for name in ("in step", "limit"):
            times[name] = times[name] / REPLICATES
        micro = {name: 1e6 * float(np.median(values)) / case.gradients for name, values in times.items()}
        lines += [
            Line(f"{case}: {REPLICATES} in step, per gradient", micro["in step"], "us", maximum=case.microseconds),
            Line(f"{case}: one alone, per gradient", micro["alone"], "us"),
            Line(f"{case}: in step / heapq", ratio(times, "in step", "heapq"), "x", maximum=case.to_heapq),
            Line(f"{case}: alone / heapq", ratio(times, "alone", "heapq"), "x"),
            Line(f"{case}: SimPy / in step", ratio(times, "SimPy", "in step"), "x"),
            Line(f"{case}: in step / the limit", ratio(times, "in step", "limit"), "x", maximum=case.to_limit),
            Line(f"{case}: share of the limit that is reached", 100 * ratio(times, "limit", "in step"), "%"),
        ]
    return lines


def few_replicates(quick: bool = False) -> list[Line]:
    """From how many replicates on it pays to advance in step (``run.FEWEST_IN_STEP``)."""
    lines = []
    for count in (2,) if quick else (2, 3, 4, 10):
        run = run_of(QUADRATIC, protocols.abs_sgd(5, math.inf), 100, 300)
        steps = [next_steps(run.fleet, run.seed, range(count)) for _ in range(MOST_CALLS)]
        states = [
            InStep([(run, replicate) for replicate in range(count)], moves) for moves in steps if moves is not None
        ]
        servers = [[Server(run, replicate) for replicate in range(count)] for _ in range(MOST_CALLS)]
        tasks = {
            "in step": lambda states=states: states.pop().tables(),
            "one by one": lambda servers=servers: [drive(server) for server in servers.pop()],
        }
        value = ratio(seconds(tasks, 1 if quick else 5), "in step", "one by one")
        lines.append(Line(f"quadratic, k=5, {count} replicates: in step / one by one", value, "x"))
    return lines


def per_job(n: int, k: int, bound: float, jobs_of_stretch: int = 20_000) -> float:
    """Microseconds for each task that was begun: the median of three stretches of one run."""
    updates = max(jobs_of_stretch // k, 4)  # of a stretch
    server = Server(run_of(TimingOnly(), protocols.abs_sgd(k, bound), n, 4 * updates))
    times, jobs = [], []
    for stretch in range(1, 5):
        start = time.process_time()
        while server.updates < stretch * updates and (job := server.next_arrival()):
            server.protocol.on_arrival(server, job)
        times.append(time.process_time() - start)
        jobs.append(sum(row.downlinks for row in server.books.rounds))
    return 1e6 * float(np.median(np.array(times[1:]) / np.diff(jobs)))


def growth(quick: bool = False) -> list[Line]:
    """Time per job as n grows a thousandfold, against log n."""
    lines, sizes, most = [], (100, 1000) if quick else (100, 1000, 10_000, 100_000), 1000 if quick else 20_000
    for name, k_of, bound_of in (("k=1", lambda n: 1, lambda n: 2 * n), ("k=n/20", lambda n: n // 20, lambda n: 20)):
        costs = {n: per_job(n, k_of(n), bound_of(n), most) for n in sizes}
        lines += [Line(f"per job, {name}, n={n}", value, "us") for n, value in costs.items()]
        lines.append(Line(f"per job, {name}: n={sizes[-1]} / n=100", costs[sizes[-1]] / costs[100], "x", maximum=2.5))
    return lines


def named(bound: float) -> str:
    return "no bound" if math.isinf(bound) else f"bound {bound:g}"


def peak_memory(n: int) -> float:
    """GB that a run of ``n`` workers on softmax digits takes at most, imports included."""
    simulate(
        protocols.abs_sgd(n // 10, 3), softmax_digits(n, split="all"), LAW, n, step_size=0.1, num_updates=20, seed=0
    )
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def memory(quick: bool = False) -> list[Line]:
    """In a process of its own, so that nothing else counts."""
    n = 1000 if quick else 10_000
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return [Line(f"softmax on digits, n={n}: peak memory", pool.apply(peak_memory, (n,)), "GB", maximum=1)]


class Timed:
    """A policy that measures, and the CPU seconds that its decisions take."""

    measures = True

    def __init__(self, policy: Callable[[Progress], float]):
        self.policy, self.seconds = policy, 0.0

    def __call__(self, progress: Progress) -> float:
        start = time.process_time()
        decided = self.policy(progress)
        self.seconds += time.process_time() - start
        return decided


def deciding(quick: bool = False) -> list[Line]:
    """What the decisions of self-tuning take of a run in real time, and of its simulation."""
    law, run_seconds = LogNormal(median=math.exp(-0.5), sigma=1.0), 2.0 if quick else 12.0
    tuning, problem = self_tuning(), perceptron_digits(20)
    k, bound = Timed(tuning.k), Timed(tuning.max_staleness)
    start = time.process_time()
    simulate(protocols.abs_sgd(k, bound), problem, law, 20, step_size=0.85, time_budget=run_seconds, seed=0, n_jobs=1)
    computing, decided = time.process_time() - start, k.seconds + bound.seconds
    what = f"self-tuning, perceptron, n=20, {run_seconds:g} s: deciding / "
    return [
        Line(what + "the seconds of the run", 100 * decided / run_seconds, "%", maximum=10),
        Line(what + "computing its simulation", 100 * decided / computing, "%"),
    ]


def main(quick: bool = False) -> None:
    with one_thread():  # as every replicate has it
        for part in (against_rivals, few_replicates, growth, memory, deciding):
            print(*part(quick), sep="\n", flush=True)
