"""Protocols with optimal time complexity: Rennala, Ringmaster, Ringleader, and MindFlayer for random times."""

from collections import Counter
from collections.abc import Sequence
from types import SimpleNamespace

from abs_theory.checks import check_count, check_flag, check_positive, explains_types
from abs_theory.typing import Laws
from abs_theory.workers import as_workers
from simulations.protocols.waiting import abs_sgd
from simulations.server import Job, Policy, Protocol, Server


def rennala(batch: Policy) -> Protocol:
    """Update on ``batch`` gradients of the current model; gradients of older models are discarded.

    A worker that has delivered continues at once with the current model.

    Round: no formula; staleness: 0; restarts: nobody, what is too stale is ignored.
    Source: Tyurin & Richtarik (2023, NeurIPS).
    See also ``k_batch_sync``, which stops unfinished work at an update.

    >>> from abs_theory.delays import Deterministic
    >>> from simulations.experiment import simulate
    >>> from simulations.problems import TimingOnly
    >>> laws = [Deterministic(s) for s in (1, 2, 4)]
    >>> run = simulate(rennala(batch=2), TimingOnly(), laws, 3, step_size=1.0, num_updates=4, seed=0)
    >>> print(run[["time", "largest_staleness", "discarded"]].to_string(index=False))
     time  largest_staleness  discarded
      2.0                  0          0
      4.0                  0          1
      6.0                  0          2
      8.0                  0          1
    """

    def on_arrival(server: Server, job: Job) -> None:
        if server.staleness(job) == 0:
            server.accept(job)
        else:
            server.discard(job)
        if len(server.accepted) == server.k:
            server.update()
        server.assign([job.worker])

    return Protocol(on_arrival, batch, max_staleness=0, batch=True)


@explains_types
def ringmaster(threshold: int, stops: bool = True) -> Protocol:
    """Asynchronous SGD that uses no gradient with a staleness of ``threshold`` or more.

    With ``stops`` a worker restarts as soon as its gradient would be too stale; without, the gradient is discarded.

    Round: by ``steady_state.abs_sgd``; staleness: at most threshold - 1; restarts: workers staler than that.
    Source: Maranjyan, Tyurin & Richtarik (2025, ICML; arXiv 2501.16168), both algorithms.  They stop a worker just
    before an update, ABS with max_staleness = threshold - 1 restarts it just after the same update.
    See also ``abs_sgd``, for k > 1; ``delay_dropping``, which allows a staleness of n.

    >>> from abs_theory.delays import Deterministic
    >>> from simulations.experiment import simulate
    >>> from simulations.problems import TimingOnly
    >>> laws = [Deterministic(s) for s in (2, 3, 4)]
    >>> run = simulate(ringmaster(threshold=2), TimingOnly(), laws, 3, step_size=1.0, num_updates=4, seed=0)
    >>> print(run[["time", "largest_staleness", "restarts"]].to_string(index=False))
     time  largest_staleness  restarts
      2.0                  0         0
      3.0                  1         1
      4.0                  1         0
      6.0                  0         2
    """
    check_count("threshold", threshold)
    check_flag("stops", stops)
    if stops:
        return abs_sgd(1, threshold - 1)

    def on_arrival(server: Server, job: Job) -> None:
        if server.staleness(job) < threshold:
            server.accept(job)
            server.update()
        else:
            server.discard(job)
        server.assign([job.worker])

    return Protocol(on_arrival, max_staleness=threshold - 1)


def ringleader() -> Protocol:
    r"""Keep a table of gradients; step along the mean over workers of each worker's mean.  For data that differ.

    A round first collects gradients until every worker has an entry.  Then it makes one update for each worker, at the
    next delivery of that worker, with the table of that moment.  What a worker delivers after its update is kept for
    the next round.  No worker waits and no gradient is discarded.
    Round: no formula; staleness: at most 2n - 2; restarts: nobody.
    Source: Maranjyan & Richtarik (2026, ICLR; arXiv 2509.22860), from a reading note.  The note does not say
    with which model a worker continues; here it is always the current one.
    See also ``ringmaster``, for data that do not differ between workers.

    >>> from abs_theory.delays import Deterministic
    >>> from simulations.experiment import simulate
    >>> from simulations.problems import TimingOnly
    >>> laws = [Deterministic(s) for s in (1, 2, 4)]
    >>> run = simulate(ringleader(), TimingOnly(), laws, 3, step_size=1.0, num_updates=4, seed=0)
    >>> print(run[["time", "largest_staleness", "used"]].to_string(index=False))
     time  largest_staleness  used
      4.0                  0     7
      5.0                  1     1
      6.0                  2     1
      8.0                  2     5
    """

    def on_arrival(server: Server, job: Job) -> None:
        notes = server.notes
        if notes.waiting and job.worker not in notes.waiting:
            notes.later.append(job)
        else:
            notes.table.append(job)
            entries = Counter(entry.worker for entry in notes.table)
            if not notes.waiting and len(entries) == server.n:
                notes.waiting = set(server.workers)
            if notes.waiting:
                for entry in notes.table:
                    server.accept(entry, 1 / entries[entry.worker])
                server.update(total=server.n, keep=True)
                notes.waiting.remove(job.worker)
                if not notes.waiting:
                    notes.table, notes.later = notes.later, []
        server.assign([job.worker])

    return Protocol(on_arrival, notes=lambda: SimpleNamespace(table=[], later=[], waiting=set()))


def mindflayer(
    delay: Laws, n: int, trials: int | Sequence[int] = 1, cut_off: float | Sequence[float] | None = None
) -> Protocol:
    """Give worker i ``trials[i]`` tasks on each model; a task is given up after ``cut_off[i]`` seconds.

    When all trials are over, the server steps along the sum of the gradients that arrived, divided by their expected
    number, sum of trials[i] P(X_i <= cut_off[i]).  ``delay`` is the law of a task; the default cut-off of a worker is
    the median of its law.
    Round: no formula; staleness: 0; restarts: nobody, a task is cut off by time.
    Source: Maranjyan, Omar & Richtarik (2025, UAI; arXiv 2410.04285).
    Raises ValueError unless there are n of each, the trials are counts and every cut-off leaves a chance to deliver.
    See also ``k_sync`` and ``abs_sgd``, which restart by version.

    >>> from abs_theory.delays import Uniform
    >>> from simulations.experiment import simulate
    >>> from simulations.problems import TimingOnly
    >>> law = Uniform(0.0, 2.0)
    >>> run = simulate(mindflayer(law, 3, cut_off=1.0), TimingOnly(), law, 3, step_size=1.0, num_updates=3, seed=0)
    >>> run["used"].tolist()
    [1, 1, 1]
    """
    workers = as_workers(delay, n)
    laws = [workers.laws[group] for group in workers.group]
    chosen = list(trials) if isinstance(trials, Sequence) else [trials] * n
    if cut_off is None:
        limits = [float(law.ppf(0.5)) for law in laws]
    else:
        limits = list(cut_off) if isinstance(cut_off, Sequence) else [cut_off] * n
    if not len(chosen) == len(limits) == n:
        raise ValueError(f"trials and cut_off must be one number or n={n}, got {len(chosen)} and {len(limits)}")
    for count, limit in zip(chosen, limits, strict=True):
        check_count("trials", count)
        check_positive("cut_off", limit)
    chances = [float(law.cdf(limit)) for law, limit in zip(laws, limits, strict=True)]
    if not all(chance > 0 for chance in chances):
        raise ValueError(f"every cut_off must leave a chance to deliver, got cut_off={cut_off} s for {delay!r}")
    expected = sum(count * chance for count, chance in zip(chosen, chances, strict=True))

    def on_arrival(server: Server, job: Job) -> None:
        tried = server.notes.tried
        tried[job.worker] += 1
        if not job.cut:
            server.accept(job)
        if tried[job.worker] < chosen[job.worker]:
            server.assign([job.worker])
        elif not server.jobs:
            tried.clear()
            server.update(total=expected)
            server.assign(server.workers)

    return Protocol(
        on_arrival, max_staleness=0, batch=True, cut_off=tuple(limits), notes=lambda: SimpleNamespace(tried=Counter())
    )
