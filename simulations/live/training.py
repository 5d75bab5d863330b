"""Train with real workers: the same protocols, policies, books and tables as in a simulation."""

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import NamedTuple, cast

import pandas as pd
from tqdm import tqdm

from abs_theory.checks import check_flag, check_nonnegative, check_positive, explains_types
from abs_theory.typing import DelayLike, Laws
from simulations.experiment import checked_replicates
from simulations.fleets import Fleet, Times, as_fleet
from simulations.live.actors import Actors
from simulations.live.checkpoint import Checkpoints, Finished, Kept
from simulations.live.engine import Crew, LiveEngine, Measured
from simulations.live.messages import packed_stream
from simulations.live.processes import Processes
from simulations.problems import Problem
from simulations.processes import imported_ray
from simulations.server import Evaluations, Job, Policy, Protocol, Run, RunBudget, Server, drive, numbered
from simulations.streams import streams
from simulations.threads import one_thread

ENGINES = ("processes", "ray")
GRACE_SECONDS = 0.1  # a hundred times what a sleeping process needs to wake up on an idle machine
PATIENCE_SECONDS = 60.0  # for a task that should have ended


@dataclass(frozen=True)
class Real:
    """A fleet of ``n`` workers whose tasks take as long as they take: nothing is planned."""

    n: int  #: number of workers

    def times(self, seed: int, replicate: int) -> list[Times]:
        return [Times(lambda time, version: math.inf) for _ in range(self.n)]


TIME_SCALES = 1e-12, 1e12  # beyond them the times of a run, or of the clock, are no numbers that a page can show


@dataclass(frozen=True, kw_only=True)
class LiveSettings:
    """How a live run is made, beside what a simulation needs to know.

    Raises ValueError for numbers that make no sense, and for an engine that is not installed.
    """

    engine: str = "processes"  #: what runs the workers: "processes" of this machine, or actors of "ray"
    address: str | None = None  #: of the Ray cluster; "local": a new one on this computer
    time_scale: float = 1.0  #: seconds of the clock for one second of the run, if delays are emulated
    grace: float = GRACE_SECONDS  #: seconds of the clock by which an emulated task may end late and count as in time
    patience: float = PATIENCE_SECONDS  #: seconds of the clock that a worker may be late before it is replaced

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise ValueError(f"engine must be one of {', '.join(ENGINES)}, got {self.engine!r}")
        if self.address is not None and self.engine != "ray":
            raise ValueError("address is that of a Ray cluster: choose the engine ray")
        if self.engine == "ray":
            imported_ray()
        check_positive("time_scale", self.time_scale)
        if not TIME_SCALES[0] <= self.time_scale <= TIME_SCALES[1]:
            least, most = TIME_SCALES
            raise ValueError(f"time_scale must be {least:g} to {most:g}, got time_scale={self.time_scale:g}")
        check_nonnegative("grace", self.grace)
        check_positive("patience", self.patience)


class LiveTables(NamedTuple):
    """What a live run leaves: the tables of a simulation, and what was measured beside them."""

    rounds: pd.DataFrame  #: one row per update, as from ``simulate``
    tasks: pd.DataFrame  #: one row per task, as from ``simulate``
    measured: list[Measured]  #: of each replicate


def train(
    run: Run,
    replicates: Sequence[int],
    settings: LiveSettings,
    crew: Crew | None = None,
    checkpoints: Checkpoints | None = None,
) -> LiveTables:
    """Make ``run`` live, one replicate after the other on the same workers.  Progress is shown on a terminal.

    Delays are real if the fleet of the run is ``Real``, else they are emulated.  Workers are started for this run
    unless there is a ``crew``.  What the ``checkpoints`` have kept is not done again.
    """
    check_run(run)
    kept = {replicate: checkpoints.load(replicate) if checkpoints else None for replicate in replicates}
    parts: list[Finished] = []
    with ExitStack() as workers:
        for replicate, before in kept.items():
            if isinstance(before, Finished):
                parts.append(before)
                continue
            if crew is None:  # only once there is something to do
                crew = workers.enter_context(_new_crew(run, settings))
            parts.append(_one_replicate(run, replicate, settings, crew, checkpoints, before))
            if checkpoints is not None:
                checkpoints.finish(replicate, parts[-1])
    rounds, tasks, measured = zip(*parts, strict=True)
    return LiveTables(pd.concat(rounds, ignore_index=True), pd.concat(tasks, ignore_index=True), list(measured))


def check_run(run: Run) -> None:
    """Raise ValueError if ``run`` cannot be made live."""
    if run.protocol.keeps_going:
        raise ValueError("a live run cannot use partial work: choose a protocol that waits until tasks are done")
    if isinstance(run.fleet, Real) and run.update_law is not None:
        raise ValueError("with real delays an update takes as long as it takes: leave out update_seconds")


def _new_crew(run: Run, settings: LiveSettings) -> Processes | Actors:
    if settings.engine == "ray":
        return Actors(run.problem, run.fleet.n, settings.address)
    return Processes(run.problem, run.fleet.n)


def _one_replicate(
    run: Run, replicate: int, settings: LiveSettings, crew: Crew, checkpoints: Checkpoints | None, before: Kept | None
) -> Finished:
    """Make one replicate, or go on with it from what there is ``before``."""
    emulated, most = not isinstance(run.fleet, Real), run.budget.num_updates
    at_first = map(packed_stream, streams(run.seed, replicate, "batch", crew.n))
    crew.forget()
    if before is not None:
        before.measured.resumed.append(before.words)
    with tqdm(total=most, unit="update", disable=None, leave=False) as bar:

        def engine(jobs: Mapping[int, Job]) -> LiveEngine:
            return LiveEngine(
                crew, run.problem, before.streams if before else list(at_first), one_step=run.one_step,
                emulated=emulated, time_scale=settings.time_scale if emulated else 1.0, grace=settings.grace,
                patience=settings.patience, watch=lambda version: bar.update(version - bar.n),
                measured=before.measured if before else None,
            )  # fmt: skip

        def keep(server: Server, evaluations: Evaluations) -> None:
            if checkpoints is not None:
                checkpoints.keep(replicate, server, evaluations, cast(LiveEngine, server.engine))

        with one_thread():
            server = Server(run, replicate, engine, before.state if before else None)
            values = Evaluations(run, before.values, before.state.time) if before else None
            rounds = drive(server, values, keep)
    tables = numbered(rounds, server.books.tasks or [], replicate)
    return Finished(*tables, cast(LiveEngine, server.engine).measured)


@explains_types
def run(  # noqa: PLR0913
    protocol: Protocol,
    problem: Problem,
    delay: Laws | Fleet | None,
    n: int,
    *,
    step_size: Policy,
    num_updates: int | None = None,
    time_budget: float | None = None,
    local_steps: int = 1,
    update_seconds: float | DelayLike = 0.0,
    seed: int,
    replicates: int | Sequence[int] = 1,
    eval_every: float = math.inf,
    target: tuple[str, float] | None = None,
    jobs: bool = False,
    engine: str = "processes",
    address: str | None = None,
    time_scale: float = 1.0,
    grace: float = GRACE_SECONDS,
    patience: float = PATIENCE_SECONDS,
) -> pd.DataFrame | tuple[pd.DataFrame, pd.DataFrame]:
    """Train with ``n`` real worker processes; the arguments and the tables are those of ``simulate``.

    ``engine`` "ray" runs actors of the Ray cluster at ``address`` instead; "local" starts one on this computer.

    ``delay`` None: a task takes as long as its gradient takes.  Otherwise delays are emulated: the worker computes the
    gradient, and then waits until the time is over that the law draws, multiplied by ``time_scale``.  The times in the
    tables are divided by ``time_scale`` again.  The draws are those of ``simulate`` with the same seed.  A task that
    ends at most ``grace`` seconds late counts as in time; with ``grace`` = 0 all times are measured.

    If no task is later, all numbers are those of the simulation: arrivals, restarts, and the iterates, if gradients of
    the problem do not depend on what they are computed with.  Two cases differ in which mini-batch is whose: several
    tasks of several local steps of one worker in one update, and a gradient that is discarded after its worker has
    begun another.

    A worker process that ends, sends numbers that are not finite, or does not answer for ``patience`` seconds is
    replaced; its task is lost, and the worker is away until its successor has started.
    Raises ValueError for invalid arguments; RuntimeError if a gradient raises an error, or a worker fails repeatedly.
    See also ``simulate``, which needs no workers and no time.

    >>> from abs_theory.delays import Deterministic
    >>> from simulations.problems import NoisyQuadratic
    >>> from simulations.protocols import k_sync
    >>> table = run(
    ...     k_sync(2), NoisyQuadratic((1.0,), sigma2=0.0), [Deterministic(s) for s in (1, 2, 4)], 3, step_size=0.5,
    ...     num_updates=3, seed=0, time_scale=0.001,
    ... )
    >>> print(table[["time", "restarts"]].to_string(index=False))
     time  restarts
      2.0         1
      4.0         1
      6.0         1
    """
    check_flag("jobs", jobs)
    settings = LiveSettings(engine=engine, address=address, time_scale=time_scale, grace=grace, patience=patience)
    budget = RunBudget(num_updates=num_updates, time_budget=time_budget, eval_every=eval_every, target=target)
    the_run = Run(
        protocol=protocol, problem=problem, fleet=Real(n) if delay is None else as_fleet(delay, n),
        step_size=step_size, local_steps=local_steps, update_seconds=update_seconds, seed=seed, keep_tasks=jobs,
        budget=budget,
    )  # fmt: skip
    tables = train(the_run, checked_replicates(replicates), settings)
    return (tables.rounds, tables.tasks) if jobs else tables.rounds
