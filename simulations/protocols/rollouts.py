"""Protocols of asynchronous reinforcement learning, where a trainer waits for k of n generation slots."""

from bisect import insort
from collections import deque
from itertools import takewhile
from types import SimpleNamespace

from abs_theory.checks import check_count, check_nonnegative, explains_types
from simulations.server import Job, Policy, Protocol, Server


@explains_types
def abs_batch(k: Policy, max_staleness: Policy, in_flight: bool = True) -> Protocol:
    """K-batch-async with the threshold of ABS: no slot waits, also not while the server updates.

    After an update, running tasks staler than ``max_staleness`` restart.  With ``in_flight`` False they run on, and are
    dropped when they arrive.  What arrives while the server updates queues; it is dropped if it is then too stale.

    Round: by ``steady_state.abs_batch``; staleness: at most ``max_staleness``; restarts: workers staler than that.
    Source: max_off_policy_steps of prime-rl (stopped in flight), and slime (dropped at arrival), 2025.
    See also ``abs_sgd``, in which a worker that has delivered waits; ``admission``, which bounds what is started.

    >>> from abs_theory.delays import Deterministic
    >>> from simulations.experiment import simulate
    >>> from simulations.problems import TimingOnly
    >>> laws = [Deterministic(s) for s in (1, 2, 4)]
    >>> run = simulate(abs_batch(k=2, max_staleness=0), TimingOnly(), laws, 3, step_size=1.0, num_updates=3, seed=0)
    >>> print(run[["time", "largest_staleness", "restarts"]].to_string(index=False))
     time  largest_staleness  restarts
      2.0                  0         2
      4.0                  0         2
      6.0                  0         2
    """

    def on_arrival(server: Server, job: Job) -> None:
        waits = job.worker not in server.jobs
        if waits and server.updates_take_time:  # goes on before the update, with the old model
            server.assign([job.worker])
            waits = False
        restarts = [job.worker] if waits else []
        if server.staleness(job) > server.max_staleness:
            server.discard(job)
        else:
            server.accept(job)
            if len(server.accepted) == server.k:
                server.update()
                restarts += server.staler_than(server.max_staleness) if in_flight else []
        server.assign(restarts)

    def meanwhile(server: Server, job: Job) -> None:
        server.assign([job.worker])

    return Protocol(on_arrival, k, max_staleness, batch=True, meanwhile=meanwhile)


@explains_types
def admission(k: int, ahead: float, window: int | None = None) -> Protocol:
    """A task starts only while fewer than ``(ahead + 1) k`` are started and not yet used; nobody restarts.

    An update uses the first ``k`` finished tasks.  With a ``window`` it uses tasks nearly in the order of their starts:
    a finished task is taken only if fewer than ``window`` tasks have started from the oldest unused one on (1: strictly
    in order).

    Round: by ``steady_state.abs_sgd`` with (ahead + 1) k workers if there are so many; staleness: mean ``ahead`` then,
    with a window at most ((ahead + 1) k + window - 2) // k; restarts: nobody.
    Source: max_head_offpolicyness of AReaL (2025); windowed first-in-first-out of MiniMax Forge (2026).
    See also ``k_async``, the same if there are (ahead + 1) k workers; ``abs_batch``, which bounds the staleness.

    >>> from abs_theory.delays import Deterministic
    >>> from simulations.experiment import simulate
    >>> from simulations.problems import TimingOnly
    >>> laws = [Deterministic(s) for s in (1, 2, 4, 4)]
    >>> run = simulate(admission(k=1, ahead=1), TimingOnly(), laws, 4, step_size=1.0, num_updates=4, seed=0)
    >>> run["time"].tolist()  # two workers
    [1.0, 2.0, 2.0, 3.0]
    """
    check_count("k", k)
    check_nonnegative("ahead", ahead)
    most = int((ahead + 1) * k)
    if window is not None:
        check_count("window", window)

    def may_start(server: Server, workers: list[int]) -> list[int]:
        """As many of these idle workers as may start."""
        started = len(server.jobs) + len(server.accepted) + len(server.queued) + len(server.notes.finished)
        return sorted(workers)[: max(most - started, 0)]

    def on_arrival(server: Server, job: Job) -> None:
        finished: list[Job] = server.notes.finished
        if window is None:
            finished.append(job)
        else:
            _number_starts(server, job)
            insort(finished, job, key=server.notes.places.__getitem__)
        while len(server.accepted) < k and _is_usable(server, window):
            server.accept(finished.pop(0))
        if len(server.accepted) == k:
            if server.updates_take_time and job.worker not in server.jobs:  # goes on before the update
                server.assign(may_start(server, [job.worker]))
            server.update()
            if window is not None and finished:
                _number_starts(server)
            if _is_usable(server, window):  # the first of the next batch is there already
                server.queued.appendleft(finished.pop(0))
            server.assign(may_start(server, server.idle))
        elif job.worker not in server.jobs:
            server.assign(may_start(server, [job.worker]))

    def meanwhile(server: Server, job: Job) -> None:
        server.assign(may_start(server, [job.worker]))

    def notes() -> SimpleNamespace:
        return SimpleNamespace(finished=[], places={}, started=0)

    bound = None if window is None else (most + window - 2) // k
    return Protocol(
        on_arrival, k, bound, batch=True, notes=notes, meanwhile=meanwhile,
        starters=lambda server: may_start(server, server.idle),
    )  # fmt: skip


def _number_starts(server: Server, *arrived: Job) -> None:
    """Number the tasks in the order of their starts; of those that start together, by worker."""
    notes = server.notes
    running = takewhile(lambda job: job not in notes.places, reversed(server.jobs.values()))  # the last to start
    new = [*running, *(job for job in (*server.queued, *arrived) if job not in notes.places)]
    for job in sorted(new, key=lambda job: (job.start, job.worker)):
        notes.places[job] = notes.started
        notes.started += 1


def _is_usable(server: Server, window: int | None) -> bool:
    """Whether an update may use the first finished task, if there is one; or it has to wait for older ones."""
    finished: list[Job] = server.notes.finished
    if window is None or not finished:
        return bool(finished)
    places: dict[Job, int] = server.notes.places  # in the order of their starts
    while not _is_unused(server, oldest := next(iter(places))):
        del places[oldest]
    return places[finished[0]] < places[oldest] + window


def _is_unused(server: Server, job: Job) -> bool:
    return server.jobs.get(job.worker) is job or job in server.notes.finished or job in server.queued


@explains_types
def tail_batching(k: int) -> Protocol:
    """Rounds in which the first ``k`` are used and the late tasks put off, and long rounds that catch up on these.

    In a short round all workers start a new task, and the late ones are stopped after ``k`` gradients.  Whenever ``k``
    tasks have been put off, the oldest of them start again from the current model, and the server waits for all.  A
    task that starts again takes as long as it would have.  At most 2 k workers, so that nobody is busy with anything
    else in a long round.

    Round: by ``steady_state.tail_batching``; staleness: 0; restarts: late workers of short rounds.
    Source: Gao et al. (2025), RollPacker.
    See also ``backup_workers``, which loses the late tasks.

    >>> from abs_theory.delays import Deterministic
    >>> from simulations.experiment import simulate
    >>> from simulations.problems import TimingOnly
    >>> laws = [Deterministic(s) for s in (1, 2, 4)]
    >>> run = simulate(tail_batching(k=2), TimingOnly(), laws, 3, step_size=1.0, num_updates=4, seed=0)
    >>> run["time"].tolist()  # after two short rounds both late tasks are done, for 4 s
    [2.0, 4.0, 8.0, 10.0]
    """
    check_count("k", k)

    def on_arrival(server: Server, job: Job) -> None:
        if server.n > 2 * k:
            raise ValueError(f"tail_batching takes at most 2 k workers, got k={k} and n={server.n}")
        put_off: deque[Job] = server.notes.put_off
        server.accept(job)
        if len(server.accepted) == k:
            if not server.notes.is_long:
                put_off.extend(server.jobs.values())
            server.update()
            server.notes.is_long = len(put_off) >= k
            if server.notes.is_long:
                busy = [late.worker for late in server.jobs.values() if server.time < late.lost_at]
                server.assign_again({worker: put_off.popleft() for worker in [*busy, *server.idle][:k]})
            else:
                server.assign(server.workers)

    return Protocol(on_arrival, k, 0, notes=lambda: SimpleNamespace(put_off=deque(), is_long=False))
