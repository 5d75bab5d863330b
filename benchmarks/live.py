"""What a live run costs: ``python -m benchmarks live`` prints one table.

Where tasks take no time, a run does nothing but send messages: its time per task is the overhead of a task.
"""

import resource
import time

import numpy as np

from abs_theory.delays import Deterministic, ShiftedExponential
from benchmarks.measure import Line
from simulations import protocols
from simulations.fleets import as_fleet
from simulations.live.processes import Processes
from simulations.live.training import LiveSettings, LiveTables, train
from simulations.problems import TimingOnly, perceptron_digits
from simulations.server import Run, RunBudget

LAW = ShiftedExponential(shift=0.5, scale=0.5)  # mean 1 s


def overhead(n: int, tasks: int) -> list[Line]:
    """Seconds of a task that takes a nanosecond, on ``n`` workers that never wait."""
    settings = LiveSettings(time_scale=1e-9, grace=0.0)
    run = Run(
        protocol=protocols.asynchronous(), problem=TimingOnly(), fleet=as_fleet(Deterministic(1.0), n), step_size=1.0,
        seed=0, budget=RunBudget(num_updates=tasks),
    )  # fmt: skip
    with Processes(run.problem, n) as crew:
        train(run, [0], settings, crew)
        before = time.process_time()
        live = train(run, [1], settings, crew)
        server = time.process_time() - before
    workers = resource.getrusage(resource.RUSAGE_CHILDREN)
    name = f"n={n}, tasks without duration, per task"
    return [
        Line(f"{name}: clock", 1e3 * live.measured[0].clock_seconds / tasks, "ms", maximum=0.5),
        Line(f"{name}: processor, server alone", 1e3 * server / tasks, "ms"),
        Line(f"n={n}: processor of all workers, start included", workers.ru_utime + workers.ru_stime, "s"),
    ]


def waiting(n: int, k: int, updates: int, time_scale: float) -> list[Line]:
    """How late emulated tasks end, and what the run takes beyond what its tables say."""
    run = Run(
        protocol=protocols.abs_sgd(k, 2), problem=perceptron_digits(n, split="all"), fleet=as_fleet(LAW, n),
        step_size=0.1, seed=0, budget=RunBudget(num_updates=updates),
    )  # fmt: skip
    begin = time.monotonic()
    live: LiveTables = train(run, [0], LiveSettings(time_scale=time_scale))
    started = time.monotonic() - begin - live.measured[0].clock_seconds
    late = [1e3 * message.late for message in live.measured[0].messages]
    took, planned = live.measured[0].clock_seconds, live.measured[0].planned_seconds
    name = f"perceptron, n={n}, k={k}, tasks of {1e3 * time_scale:g} ms on average"
    return [
        Line(f"{name}: a task ends late by, median", float(np.median(late)), "ms"),
        Line(f"{name}: 95 % end late by less than", float(np.quantile(late, 0.95)), "ms"),
        Line(f"{name}: clock / tables", took / planned, "x"),
        Line(f"{name}: start and end of the workers", started, "s"),
    ]


def main(quick: bool = False) -> None:
    print(*overhead(20, 500 if quick else 20_000), sep="\n", flush=True)
    for n, k in ((20, 4), (100, 20)):
        print(*waiting(n, k, 20 if quick else 300, 0.1), sep="\n", flush=True)
