"""The parameter server: a clock, the tasks in progress, and the verbs that protocols use.

``next_arrival`` drives the clock.  A protocol answers each arrival with ``accept`` or ``discard``, ``update`` and
``assign``, and if it needs them ``staler_than`` and ``collect``.  A job keeps the parameters that its worker received,
and nobody changes them.  So gradients are computed only when they are applied, all gradients of an update in one call;
or earlier, with those of other tasks, where every task is used (``Protocol.uses_all``).
"""

import inspect
import math
from bisect import bisect_right
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from types import SimpleNamespace
from typing import cast

import numpy as np

from abs_theory.checks import check_count, check_nonnegative, explains_types, is_finite
from abs_theory.delays import Delay, Deterministic, as_delay
from abs_theory.typing import DelayLike
from simulations.fleets import Fleet
from simulations.measuring import Meter
from simulations.problems import Problem, loss_at, metrics_at, rows_are_exact
from simulations.server.budget import RunBudget
from simulations.server.decisions import Decisions, Policy, check_policy, maker_of
from simulations.server.steps import (
    Checked,
    differences,
    gradients,
    in_words,
    models_of,
    remembered,
    slopes,
    steps_and_sizes,
    warn_of_nan,
    weighted_sum,
)
from simulations.server.tasks import (
    Books,
    EngineFactory,
    Entry,
    Job,
    NothingComes,
    Remembered,
    Round,
    ServerState,
    SimulatedClock,
    TaskPlanner,
)
from simulations.streams import streams, task_times

__all__ = ["Protocol", "Run", "Server", "check_protocol"]

AVERAGED_BATCHES = 100  # mini-batches over which the server averages the loss it sees; our choice
MOST_EARLY = 64  # tasks whose gradients are computed before they are done, in one call: more is not faster
MOST_ARRIVALS = 1_000_000  # without an update; then a run is given up, after seconds of computing
MOST_ARRIVALS_PER_WORKER = 100  # in addition
#: of the tables of runs and sweeps, which metrics must not take
OTHER_COLUMNS = {"loss", "replicate", "cell", "communication", *Round._fields}
MOST_QUEUED = 200_000  # gradients that wait for one update; then a run is given up, after seconds of computing


@dataclass(frozen=True)
class Family:
    """What ``on_arrival`` does in a protocol of the ABS family, whose replicates may advance in step.

    It accepts every gradient, times ``weight(staleness, n)``, and updates on the k-th.  Then the new model goes to the
    workers that have delivered since the last update, and to every busy worker staler than ``max_staleness``.  If
    ``continues``, a worker that has delivered does not wait: it receives the current model at once.
    """

    weight: Callable[[int, int], float] | None = None  #: None: all gradients count the same
    continues: bool = False  #: whether a worker that has delivered continues at once


@dataclass(frozen=True)
class Protocol:
    """What a server does when a gradient arrives, and the policies that it evaluates once per update.

    ``simulations.protocols`` has one for each published method; ``contract.check`` tests a new one.

    >>> def on_arrival(server, job):  # asynchronous SGD
    ...     server.accept(job)
    ...     server.assign(server.update())
    >>> Protocol(on_arrival).k
    1
    """

    on_arrival: Callable[["Server", Job], None]  #: called with the server and the job whose gradient has arrived
    k: Policy = 1  #: gradients that an update waits for
    #: largest staleness allowed, for ``server.staler_than`` and the tables; inf: no threshold
    max_staleness: Policy = math.inf
    local_steps: Policy = None  #: per task; None: those of the run
    batch: bool = False  #: a worker may deliver more than once to an update, so k may exceed n
    keeps_going: bool = False  #: a worker that has done its local steps continues until it is collected
    #: called with server and job on an arrival while the server updates, before ``on_arrival``; None: workers wait
    meanwhile: Callable[["Server", Job], None] | None = None
    #: no task is stopped, and every gradient goes into one update: so gradients may be computed before they arrive
    uses_all: bool = False
    #: the workers that begin when a run begins, or goes on after an interruption; None: all
    starters: Callable[["Server"], Iterable[int]] | None = None
    cut_off: Sequence[float] | None = None  #: seconds after which each worker gives a task up; None: never
    notes: Callable[[], SimpleNamespace] = SimpleNamespace  #: makes what it remembers during one run
    family: Family | None = None  #: what ``on_arrival`` does, if it is of the ABS family; None: it may do anything

    def __post_init__(self) -> None:
        for name in ("k", "max_staleness", "local_steps"):
            check_policy(name, getattr(self, name))


def check_protocol(protocol: object) -> None:
    """Raise ValueError unless ``protocol`` is a protocol, not the function that makes one.

    >>> from simulations.protocols import k_sync
    >>> check_protocol(k_sync(5))
    >>> check_protocol(k_sync)
    Traceback (most recent call last):
    ...
    ValueError: protocol must be a Protocol such as k_sync(5), k_sync makes one: call it, k_sync(...)
    """
    if isinstance(protocol, Protocol):
        return
    must, maker = "protocol must be a Protocol such as k_sync(5)", maker_of(protocol)
    if maker is not None and maker.makes == "protocols":
        raise ValueError(f"{must}, {maker.name} makes one: call it, {maker.name}(...)")
    if maker is not None or hasattr(protocol, "decides"):
        raise ValueError(
            f"{must}, got {'what makes a policy' if maker else 'a policy'}: a protocol takes policies, as "
            "abs_sgd(k, max_staleness), and self_tuning_abs() is the one with those of self_tuning()"
        )
    mend = ": Protocol(on_arrival) makes one of a function of server and job" if inspect.isfunction(protocol) else ""
    raise ValueError(f"{must}, got {protocol!r}{mend}")


def _no_problem(problem: object) -> str:
    """What was given for a problem, or what it lacks if it has a part of one."""
    names = ("initial", "loss", "gradients", "metrics")
    lacking = [name for name in names if not hasattr(problem, name)]
    if isinstance(problem, type) or not 0 < len(lacking) < len(names):
        return f"got {problem!r}"
    return f"{type(problem).__name__} lacks {' and '.join(lacking)}"


def _check_initial(problem: Problem) -> None:
    """Raise ValueError unless the model that a run begins with is a vector of finite numbers."""
    initial: object = problem.initial
    is_vector = isinstance(initial, np.ndarray) and initial.ndim == 1 and initial.dtype.kind in "fiu"
    if not (is_vector and np.isfinite(initial).all()):
        given = f"{np.count_nonzero(~np.isfinite(initial))} that are not finite" if is_vector else in_words(initial)
        name = type(problem).__name__
        raise ValueError(f"initial of {name} must be an array of finite numbers of shape (d,), got {given}")


@explains_types
@dataclass(frozen=True, kw_only=True)
class Run:
    """All that the replicates of a run have in common: what is trained, by whom, how, and until when.

    Raises ValueError for parts that are not of their kind or do not fit each other.
    See also ``simulations.experiment.simulate``, which makes a Run and its table in one call.

    >>> from abs_theory.delays import Exponential
    >>> from simulations.fleets import as_fleet
    >>> from simulations.problems import NoisyQuadratic
    >>> from simulations.protocols import k_sync
    >>> run = Run(
    ...     protocol=k_sync(2), problem=NoisyQuadratic((1.0, 0.5), sigma2=1.0), fleet=as_fleet(Exponential(1.0), 3),
    ...     step_size=0.1, seed=0, budget=RunBudget(num_updates=10),
    ... )
    >>> run.evaluated
    ['loss', 'gradient_norm2']
    """

    protocol: Protocol  #: what the server does when a gradient arrives
    problem: Problem  #: what it trains on
    fleet: Fleet  #: its workers
    step_size: Policy  #: of an update, or of a local step if there are several
    local_steps: int = 1  #: per task, unless the protocol says it
    seed: int  #: of all that is drawn
    budget: RunBudget  #: when it ends
    keep_tasks: bool = False  #: whether the books have a line for each task
    #: of an update, a number or a law: what arrives meanwhile queues, and the new model is there when it is over
    update_seconds: float | DelayLike = 0.0

    def __post_init__(self) -> None:
        check_protocol(self.protocol)
        check_policy("step_size", self.step_size)
        problem, n = self.problem, self.fleet.n
        if isinstance(problem, type) or not isinstance(problem, Problem):
            raise ValueError(f"problem must be a Problem such as perceptron_digits(n), {_no_problem(problem)}")
        _check_initial(problem)
        if getattr(problem, "n", n) != n:
            raise ValueError(f"the problem splits its data among {getattr(problem, 'n', None)} workers, got n={n}")
        check_count("local_steps", self.local_steps)
        check_count("seed", self.seed, minimum=0)
        self.budget.check_target(self.evaluated)
        if not math.isfinite(self.initial_loss):
            name = type(problem).__name__
            raise ValueError(f"loss of {name} must be finite for its initial parameters, got {self.initial_loss}")
        _ = self.update_law

    @cached_property
    def update_law(self) -> Delay | None:
        """The law of the time of an update; None if it takes no time."""
        seconds = self.update_seconds
        if isinstance(seconds, int | float | np.number):
            check_nonnegative("update_seconds", seconds)
            return Deterministic(float(seconds)) if seconds else None
        return as_delay(seconds, "update_seconds", "a number, a Delay")

    @property
    def one_step(self) -> bool:
        """Whether every task is one step, whatever the policies decide."""
        local_steps = self.local_steps if self.protocol.local_steps is None else self.protocol.local_steps
        return local_steps == 1 and not self.protocol.keeps_going

    @cached_property
    def evaluated(self) -> list[str]:
        """The columns of an evaluation: the loss and the problem's metrics."""
        names = list(metrics_at(self.problem, self.problem.initial))
        if taken := [name for name in names if name in OTHER_COLUMNS]:
            raise ValueError(
                f"metrics of {type(self.problem).__name__} must have names that no other column of the tables has, got "
                f"{taken[0]!r}: give it another name"
            )
        return ["loss", *names]

    @cached_property
    def initial_loss(self) -> float:
        """The loss of the model that a run begins with."""
        return loss_at(self.problem, self.problem.initial)


def checked_weight(weight: float, staleness: int) -> float:
    """``weight``; ValueError unless it is a finite number."""
    if not is_finite(weight):
        raise ValueError(f"the weight of a gradient must be finite, got {weight!r} at staleness {staleness}")
    return weight


def nothing_arrives(time: float, updates: int, n: int, waiting: bool = True) -> RuntimeError:
    """The error of a server that waits for gradients in vain; ``waiting`` says whether it has accepted some."""
    if waiting:
        why = f"the protocol waits for more gradients than its {n} workers will send"
    else:
        why = f"the protocol has given none of its {n} workers a task: does it call server.assign(server.update())?"
    return RuntimeError(f"no worker will ever deliver again at t={time:.3g}, after {updates} updates: {why}")


class RunEnds(Exception):  # noqa: N818 (no error)
    """The run ends before an update that has begun is over."""


@explains_types
class Server:
    """A clock, ``n`` workers with their jobs, the model, and the verbs accept / discard / update / assign.

    The fleet of the ``run`` gives the times of the workers in this ``replicate``.  All workers receive the first model
    at time 0.  A worker that has delivered is idle until ``assign`` gives it a model.  ``assign`` to a busy worker
    drops its unfinished work (a restart).  A worker that goes away loses its work and receives nothing; when it is
    back it receives the current model.

    A protocol may also read ``k`` and ``max_staleness`` in force, ``accepted``, ``arrivals`` (since the last update),
    the ``idle`` workers and the ``jobs`` of the others.  It may keep ``notes`` for the length of one run, and draw from
    ``rng``.

    >>> from abs_theory.delays import Deterministic
    >>> from simulations.fleets import as_fleet
    >>> from simulations.problems import NoisyQuadratic
    >>> from simulations.protocols import synchronous
    >>> run = Run(
    ...     protocol=synchronous(), problem=NoisyQuadratic((1.0,), sigma2=0.0), fleet=as_fleet(Deterministic(2.0), 3),
    ...     step_size=0.5, seed=0, budget=RunBudget(num_updates=1),
    ... )
    >>> server = Server(run)
    >>> while server.updates < 1:
    ...     server.protocol.on_arrival(server, server.next_arrival())
    >>> server.time, server.params.tolist()
    (2.0, [0.5])
    """

    def __init__(
        self, run: Run, replicate: int = 0, engine: EngineFactory = SimulatedClock, state: ServerState | None = None
    ):
        self.run = run
        self.problem, self.protocol = problem, protocol = run.problem, run.protocol
        self.replicate = replicate
        self.times = times = run.fleet.times(run.seed, replicate)
        self.rngs = streams(run.seed, replicate, "batch", run.fleet.n)  # of the samples each worker draws
        self.n, self.workers = len(times), range(len(times))
        if protocol.cut_off is not None and len(protocol.cut_off) != self.n:
            raise ValueError(f"the protocol was made for n={len(protocol.cut_off)} workers, the run has n={self.n}")
        if protocol.keeps_going and not all(t.upload is t.absences is None for t in times):
            raise ValueError(
                "partial work is collected at once: this protocol needs a fleet without upload times and absences"
            )
        self.params = problem.initial
        self.time, self.updates, self.arrivals = 0.0, 0, 0
        self.accepted: list[Job] = []  #: delivered since the last update
        self._weights: list[float] = []  # of the accepted gradients
        # not a dict, which would find the first only in O(n) after many deletions
        #: in flight, by worker, the oldest model first
        self.jobs: OrderedDict[int, Job] = OrderedDict()
        self.notes = protocol.notes()
        self.books = Books(run.keep_tasks)
        self.initial_loss = self.loss = run.initial_loss
        local_steps: Policy = run.local_steps if protocol.local_steps is None else protocol.local_steps
        most = math.inf if protocol.batch else self.n
        self._decisions = Decisions(protocol.k, protocol.max_staleness, run.step_size, local_steps, most)
        self._meter = Meter(1, self.params.size, self.params.dtype) if self._decisions.measuring else None
        self._single = run.one_step
        plain = self._single and protocol.cut_off is None
        self._steps = [
            t.step if plain and t.download is t.upload is t.absences is None else None for t in times
        ]  # fast path: workers without links, absences, cut-off or several local steps
        self._planner = TaskPlanner(times, protocol.cut_off)
        self._keeps_going = protocol.keeps_going
        stays = protocol.cut_off is None and all(t.absences is None for t in times)
        one_each = self._single or not protocol.batch  # else the local steps of a worker's tasks draw in turn
        self._looks_ahead = (
            protocol.uses_all and stays and one_each and run.update_law is None and rows_are_exact(problem)
        )
        self._idle_since = [0.0] * self.n
        self._holds = [-1] * self.n  # version of the model each worker has
        self.engine = engine(self.jobs)  #: what runs the workers
        self.queued: deque[Job] = deque()  #: delivered while the server updated, if their workers go on
        law = run.update_law
        self._update_times = None if law is None else task_times(law, streams(run.seed, replicate, "update", 1)[0])
        #: asked with the end of an update, in seconds, and the model in force until then: whether the run goes on
        self.goes_on: Callable[[float, int, np.ndarray], bool] = lambda time, version, params: True
        self._returns = 0  # of workers, since the last update
        self._patience = MOST_ARRIVALS + MOST_ARRIVALS_PER_WORKER * self.n  # arrivals, or returns, without an update
        self._applied: tuple = ()  # first columns of the round that the next event will close
        if state is None:
            self._decide(mean_staleness=0.0)
        else:
            self._go_on_from(state)
        self.assign(self.workers if protocol.starters is None else protocol.starters(self))

    @property
    def rng(self) -> np.random.Generator:
        """Random numbers of the protocol's own: another stream for each replicate, kept in the ``notes``.

        >>> from abs_theory.delays import Exponential
        >>> from simulations.experiment import simulate
        >>> from simulations.problems import TimingOnly
        >>> def on_arrival(server, job):  # each late worker restarts with probability 1/2
        ...     server.accept(job)
        ...     done = server.update()
        ...     server.assign(done + [worker for worker in server.jobs if server.rng.random() < 0.5])
        >>> law, protocol = Exponential(1.0), Protocol(on_arrival)
        >>> run = simulate(protocol, TimingOnly(), law, 3, step_size=1.0, num_updates=9, seed=0)
        >>> run["restarts"].tolist()
        [0, 1, 1, 1, 1, 2, 1, 2, 0]
        """
        notes = vars(self.notes)
        if "rng" not in notes:
            notes["rng"] = streams(self.run.seed, self.replicate, "protocol", 1)[0]
        return notes["rng"]

    # ------------------------------------------------------------------ the clock
    def next_arrival(self, until: float = math.inf) -> Job | None:
        """Advance the clock to the next arrival and return its job, or None if there is none up to ``until`` seconds.

        Of equal finish times the lower worker comes first.  Workers that come back on the way receive the current
        model.  Raises RuntimeError if nothing will ever arrive, or if the protocol never updates.
        """
        if self._applied:
            self._close_round()
        if self.queued:
            return self._arrived(self.queued.popleft())
        try:
            while (job := self.engine.next(until)) is not None:
                time = job.finish
                if time > self.time:  # else it has queued while the server updated
                    self.time = time
                if job.lost_at < math.inf:
                    self._come_back(job)
                    continue
                if not self._keeps_going:
                    self._deliver(job, time)
                return self._arrived(job)
            return None
        except NothingComes:
            waiting = bool(self.accepted or self.jobs)
            raise nothing_arrives(self.time, self.updates, self.n, waiting) from None

    @property
    def next_time(self) -> float:
        """No event comes before this time, in seconds; valid only after ``next_arrival`` returned None."""
        return self.engine.next_time

    # ------------------------------------------------------------------ the verbs
    def accept(self, job: Job, weight: float = 1.0) -> None:
        """Take this gradient into the next update, multiplied by a finite ``weight``."""
        try:
            refused = job.cut or job.discarded
        except AttributeError:
            raise ValueError(f"accept takes the job that has arrived, got {job!r}") from None
        if refused:
            why = "was discarded" if job.discarded else "was given up"
            raise ValueError(f"there is no gradient to accept: the task of worker {job.worker} {why}")
        if weight != 1.0:
            checked_weight(weight, self.staleness(job))
        self.accepted.append(job)
        self._weights.append(weight)

    def discard(self, job: Job) -> None:
        """Use this gradient in no update; one that was accepted or discarded cannot be discarded any more."""
        if not isinstance(job, Job):
            raise ValueError(f"discard takes the job that has arrived, got {job!r}")
        if job.discarded or job.applied or any(job is accepted for accepted in self.accepted):
            was = "discarded" if job.discarded else "accepted"
            raise ValueError(
                f"a gradient must be accepted or discarded, once: the one that worker {job.worker} finished at "
                f"t={job.finish:.3g} was {was} before"
            )
        job.contribution, job.discarded = None, True
        self.books.discard(job)

    def update(self, total: float | None = None, keep: bool = False) -> list[int]:
        """Step along the average of the accepted gradients; return the workers that sent them.

        The weighted sum is divided by the number of gradients, or by ``total`` > 0.  With ``keep`` the gradients stay
        with their jobs, which may be accepted again.  If none was accepted, the model counts as a new version only.
        """
        if total is not None and not (is_finite(total) and total > 0):
            raise ValueError(f"the total that a sum of gradients is divided by must be finite and > 0, got {total!r}")
        if self._update_times is not None:
            self._wait_for_the_update(self.time + next(self._update_times))
        jobs, version = self.accepted, self.updates
        staleness = [version - job.version for job in jobs] or [0]
        if jobs:
            self._step(jobs, total or len(jobs), keep)
        self.updates += 1
        self.books.apply(jobs, self.updates)
        mean = sum(staleness) / len(staleness)
        self._applied = (self.updates, self.time, self.k, self.max_staleness, mean, max(staleness))
        self.accepted, self._weights, self.arrivals, self._returns = [], [], 0, 0
        if self._decisions.moving:
            self._decide(mean)
        return [job.worker for job in jobs]

    def assign(self, workers: Iterable[int]) -> None:
        """Send the current model to ``workers``; busy workers drop their work and start again.

        A worker that has the current model already is not sent it again.
        """
        try:
            order = sorted(set(workers))  # in this order sums are the same to the last bit
            if order:  # a range takes only whole numbers
                _ = self.workers[order[0] % self.n], self.workers[order[-1] % self.n]
        except TypeError:
            hint = "; call it: server.assign(server.update())" if callable(workers) else ""
            raise ValueError(f"assign takes a list of workers, such as [0, 2], got {workers!r}{hint}") from None
        if order and not 0 <= order[0] <= order[-1] < self.n:
            raise ValueError(f"workers must be indices in 0..{self.n - 1}, got {order}")
        now, version, jobs, books = self.time, self.updates, self.jobs, self.books
        params, local_steps, step_size = self.params, self.local_steps, self.step_size
        steps, holds, idle_since = self._steps, self._holds, self._idle_since
        idle, models = 0.0, 0  # seconds, and sent
        run: list[Entry] = []
        meter, dropped = self._meter, []
        seconds: list[float] = []  # of the tasks that are dropped, if they are measured
        for worker in order:
            job, step = jobs.get(worker), steps[worker]
            if job is not None:
                if now >= job.lost_at:
                    continue  # away
                del jobs[worker]
                dropped.append(job)
                end = now
                if job.finish < now and not self._keeps_going:  # done while the server updated, and now too stale
                    end = job.finish
                    idle += now - end
                if meter is not None:
                    seconds.append(end - job.start)
                books.restart(job, end, version)
            elif step is not None:
                idle += now - idle_since[worker]
            else:
                self._rest(worker)
            if step is not None:
                finish = now + step(now, version)
                job = Job(worker, version, now, params, local_steps, step_size, finish)
            else:
                job = Job(worker, version, now, params, local_steps, step_size)
                finish = self._planner.plan(job)
            if holds[worker] != version and now < job.lost_at:
                holds[worker] = version
                models += 1
            jobs[worker] = job
            run.append((finish, worker, job, run))
        books.rest(idle)
        books.send(models)
        if seconds and meter is not None:
            meter.restart(np.zeros(len(seconds), int), np.array(seconds), np.full(len(seconds), now))
        if run:
            self.engine.start(run)
        if dropped:
            self.engine.drop(dropped)

    def assign_again(self, tasks: Mapping[int, Job]) -> None:
        """Send the current model to the workers in ``tasks``; each does its dropped task again, which takes as long.

        A worker with links, absences, a cut-off or several local steps draws new times.
        """
        usual = self._steps
        self._steps = list(usual)
        for worker, job in tasks.items():
            if usual[worker] is not None:
                seconds = job.finish - job.start
                self._steps[worker] = lambda now, version, seconds=seconds: seconds
        try:
            self.assign(tasks)
        finally:
            self._steps = usual

    def staleness(self, job: Job) -> int:
        """Updates made since the worker of this job received its model."""
        return self.updates - job.version

    def staler_than(self, bound: float) -> list[int]:
        """The busy workers whose job has a staleness above ``bound``, in O(1 + their number)."""
        oldest, stale = self.updates - bound, []
        for job in self.jobs.values():
            if job.version >= oldest:
                break
            stale.append(job.worker)
        return stale

    @property
    def updates_take_time(self) -> bool:
        """Whether an update lasts."""
        return self._update_times is not None

    @property
    def idle(self) -> list[int]:
        """The workers that have nothing to do, in order."""
        return [worker for worker in self.workers if worker not in self.jobs]

    def collect(self) -> list[Job]:
        """Stop all busy workers that have done at least one local step of their task; return their jobs."""
        collected = []
        for worker in self.workers:
            job = self.jobs.get(worker)
            if job is None or self.time >= job.lost_at or job.marks is None:
                continue
            while job.marks[-1] <= self.time:  # beyond its local steps
                job.marks.append(job.marks[-1] + self.times[worker].step(job.marks[-1], job.version))
            job.local_steps = bisect_right(job.marks, self.time)
            if job.local_steps:
                job.finish = job.marks[job.local_steps - 1]
                self._deliver(job, self.time)
                self.books.stop(self.time - job.finish)
                collected.append(job)
            else:
                job.local_steps = len(job.marks)
        return collected

    def finish(self) -> list[Round]:
        """Close the books and return the rounds; what happened since the last update is added to the last round."""
        if self._applied:
            self._close_round()
        for worker in self.idle:
            self._rest(worker)
        for job in self.jobs.values():
            if self.time < job.lost_at:
                end = self.time
                if job.finish < end and not self._keeps_going:  # it queues
                    end = job.finish
                    self.books.rest(self.time - end)
                self.books.leave_unfinished(job, end, self.updates)
            else:
                self._lose(job)
        self.books.extend_last_round()
        self.engine.clear()
        return self.books.rounds

    def state(self) -> ServerState:
        """What is kept so that another server can go on from here; to be asked for between two arrivals."""
        if self._applied:
            self._close_round()
        in_progress = [(job.worker, job.start, job.version, min(job.lost_at, self.time)) for job in self.jobs.values()]
        return ServerState(
            self.params, self.time, self.updates, self.loss, self._decisions.in_force, self.books.rounds,
            self.books.tasks, in_progress, self._idle_since,
            Remembered(
                self.notes, self.accepted, self._weights, list(self.queued), self._decisions.last_step,
                None if self._meter is None else self._meter.state(),
            ),
        )  # fmt: skip

    # ------------------------------------------------------------------ inside
    def _go_on_from(self, state: ServerState) -> None:
        """Take over the model and the books; tasks that were in progress are lost, as their workers are new."""
        self.params, self.time, self.updates, self.loss = state.params, state.time, state.updates, state.loss
        self.books = Books(self.run.keep_tasks, state.rounds, state.tasks)
        self._decisions.in_force = state.decisions
        self._take_decisions()
        if (remembered := state.remembered) is not None:
            self.notes, self.accepted, self._weights = remembered.notes, remembered.accepted, remembered.weights
            self.queued.extend(remembered.queued)
            self._decisions.last_step = remembered.last_step
            if self._meter is not None and remembered.measured is not None:
                self._meter.go_on_from(remembered.measured)
        drawn = Counter(line[0] for line in state.tasks or ())
        for worker, start, version, lost_at in state.in_progress:
            drawn[worker] += 1
            self.books.rest(0.0, self.time - lost_at)
            if start < lost_at:
                self.books.lose(Job(worker, version, start, self.params, 1, 1.0), lost_at, self.updates)
        for worker in set(self.workers) - {task[0] for task in state.in_progress}:
            self.books.rest(self.time - state.idle_since[worker])
        self._idle_since = [self.time] * self.n
        for worker, tasks in drawn.items():
            for _ in range(tasks * self.local_steps):  # the next task takes the next draw
                self.times[worker].step(0.0, 0)
        self._planner.go_on_from(self.time, drawn)
        if self._update_times is not None:
            deque(islice(self._update_times, state.updates), maxlen=0)

    def _step(self, jobs: list[Job], total: float, keep: bool) -> None:
        contributions = gradients if self._single else differences
        problem = self.problem if self.updates else cast(Problem, Checked(self.problem))
        if keep or self.engine.computes:
            rows, losses = remembered(contributions, problem, jobs, self.rngs)
        elif self._looks_ahead:
            running = islice(self.jobs.values(), MOST_EARLY)
            rows, losses = remembered(contributions, problem, jobs, self.rngs, running)
        else:
            rows, losses = contributions(problem, jobs, self.rngs)
        step = weighted_sum(self._weights, (self.step_size if self._single else 1.0) / total, rows)
        self.params = self.params - step
        self._decisions.watch(step)
        loss = sum(losses.tolist()) / len(jobs)
        if not self.updates or math.isnan(loss):
            warn_of_nan(self.problem, models_of(jobs), losses, rows if self._single else None, self.updates + 1)
        if self._meter is not None and not keep:
            self._measure(jobs, rows, step, loss)
        self.loss += min(len(jobs) / AVERAGED_BATCHES, 1.0) * (loss - self.loss)

    def _measure(self, jobs: list[Job], contributions: np.ndarray, step: np.ndarray, loss: float) -> None:
        assert self._meter is not None
        if not self._single:
            contributions = slopes(contributions, *steps_and_sizes(jobs))
        seconds = np.array([job.finish - job.start for job in jobs])
        versions, counts = np.array([job.version for job in jobs]), np.array([len(jobs)])
        now, losses = np.array([self.time]), np.array([loss])
        self._meter.update(contributions, counts, versions, seconds, now, step[None], losses)

    def _ages(self) -> list[float]:
        """Seconds since the tasks that are running began, in the order of the workers."""
        return [self.time - self.jobs[worker].start for worker in sorted(self.jobs)]

    def _decide(self, mean_staleness: float) -> None:
        decisions = self._decisions
        measured = None if self._meter is None else self._meter.of(0, self.time, self._ages)
        decisions.decide(self.n, self.updates, self.time, mean_staleness, self.loss, self.initial_loss, measured)
        self._take_decisions()

    def _take_decisions(self) -> None:
        decisions = self._decisions
        self.k, self.max_staleness = decisions.k, decisions.max_staleness
        if self.k > self._patience:
            raise ValueError(
                f"k must be at most {self._patience} with {self.n} workers, got k={self.k}: use a smaller k"
            )
        self.step_size, self.local_steps = decisions.step_size, decisions.local_steps

    def _arrived(self, job: Job) -> Job:
        self.arrivals += 1
        if self.arrivals > self._patience:
            raise self._no_update(f"{self.arrivals} gradients came: does the protocol ever call server.update()?")
        return job

    def _wait_for_the_update(self, end: float) -> None:
        """Pass the time until ``end``; what arrives queues, and if the protocol says so its worker goes on.

        Raises RunEnds if the run ends before, RuntimeError if too many arrive.
        """
        if not self.goes_on(end, self.updates, self.params):
            raise RunEnds
        meanwhile = self.protocol.meanwhile
        while meanwhile is not None and (job := self._next_until(end)) is not None:
            self.time = job.finish
            if job.lost_at < math.inf:
                self._come_back(job)
            else:
                self._deliver(job, self.time)
                self.queued.append(job)
                if len(self.queued) > MOST_QUEUED:
                    raise self._no_update(
                        f"{len(self.queued)} gradients wait: update_seconds must not be so much longer than a task"
                    )
                meanwhile(self, job)
        self.time = end

    def _next_until(self, end: float) -> Job | None:
        try:
            return self.engine.next(end)
        except NothingComes:
            return None

    def _deliver(self, job: Job, time: float) -> None:
        worker, books = job.worker, self.books
        del self.jobs[worker]
        self._idle_since[worker] = time
        if job.cut:
            books.cut_off(job, time, self.updates)
        else:
            books.deliver(job, self.updates)

    def _rest(self, worker: int) -> None:
        """Account for the time since this idle worker delivered."""
        since = self._idle_since[worker]
        self.books.rest(self.time - since)
        if self._steps[worker] is None:
            away = self._planner.away(worker, since, self.time)
            self.books.rest(-away, away)

    def _come_back(self, job: Job) -> None:
        self._returns += 1
        if self._returns > self._patience:
            stay = "they never stay long enough for what the protocol waits for"
            raise self._no_update(f"workers came back {self._returns} times: {stay}")
        del self.jobs[job.worker]
        self._idle_since[job.worker] = job.finish
        self._lose(job)
        self._planner.come_back(job.worker, job.finish)
        self.assign([job.worker])

    def _lose(self, job: Job) -> None:
        """Account for a worker that left before its job was done, and has been away until now."""
        self.books.rest(0.0, min(self.time, job.finish) - job.lost_at)
        if job.start < job.lost_at:
            version = bisect_right(self.books.rounds, job.lost_at, key=lambda row: row.time)
            self.books.lose(job, job.lost_at, version)

    def _no_update(self, what: str) -> RuntimeError:
        return RuntimeError(f"no update up to t={self.time:.3g}, after {self.updates} updates, though {what}")

    def _close_round(self) -> None:
        self.books.close_round(self._applied)
        self._applied = ()
