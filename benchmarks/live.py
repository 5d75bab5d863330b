"""What a live run costs: ``python -m benchmarks live`` prints one table.

Where tasks take no time, a run does nothing but send messages: its time per task is the overhead of a task.
"""

import resource
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

import numpy as np

from abs_theory.delays import Deterministic, ShiftedExponential
from benchmarks.measure import Line
from simulations import protocols
from simulations.fleets import as_fleet
from simulations.live.actors import LOCAL, Actors
from simulations.live.processes import Processes
from simulations.live.training import LiveSettings, LiveTables, train
from simulations.problems import Problem, TimingOnly, perceptron_digits
from simulations.server import Run, RunBudget

LAW = ShiftedExponential(shift=0.5, scale=0.5)  # mean 1 s


def spent(
    n: int, tasks: int, crew_of: Callable[[Problem, int], Processes | Actors] = Processes
) -> tuple[float, float, float]:
    """Seconds of ``tasks`` tasks of a nanosecond on ``n`` workers: clock, processor of the server, of the workers.

    The workers never wait, so this is all overhead.  What their processor does includes their start.
    """
    run = Run(
        protocol=protocols.asynchronous(), problem=TimingOnly(), fleet=as_fleet(Deterministic(1.0), n), step_size=1.0,
        seed=0, budget=RunBudget(num_updates=tasks),
    )  # fmt: skip
    settings, children = LiveSettings(time_scale=1e-9, grace=0.0), processor_of_children()
    with crew_of(run.problem, n) as crew:
        begin = time.process_time()
        live = train(run, [0], settings, crew)
        server = time.process_time() - begin
    return live.measured[0].clock_seconds, server, processor_of_children() - children


def processor_of_children() -> float:
    """Seconds of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def overhead(n: int, tasks: int) -> list[Line]:
    """Milliseconds per task, from the difference of a long and a short run."""
    short, long = spent(n, tasks // 4), spent(n, tasks)
    clock, server, workers = (1e3 * (b - a) / (tasks - tasks // 4) for a, b in zip(short, long, strict=True))
    name = f"n={n}, tasks that take no time, per task"
    return [
        Line(f"{name}: clock", clock, "ms", maximum=0.5),
        Line(f"{name}: processor of server and worker", server + workers, "ms", maximum=0.5),
        Line(f"{name}: processor of the server alone", server, "ms"),
    ]


def overhead_of_actors(n: int, tasks: int) -> list[Line]:
    """The same of Ray on this machine, whose processes end with it."""
    clock, server, _ = (1e3 * seconds / tasks for seconds in spent(n, tasks, partial(Actors, address=LOCAL)))
    name = f"Ray, n={n}, tasks that take no time, per task"
    return [Line(f"{name}: clock", clock, "ms", maximum=3), Line(f"{name}: processor of the server", server, "ms")]


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
    if find_spec("ray"):
        print(*overhead_of_actors(20, 500 if quick else 5000), sep="\n", flush=True)
    for n, k in ((20, 4), (100, 20)):
        print(*waiting(n, k, 20 if quick else 300, 0.1), sep="\n", flush=True)
