"""Protocols of optimal time complexity: Rennala, Ringmaster, Ringleader, and MindFlayer for random times."""

from collections import Counter
from collections.abc import Sequence
from types import SimpleNamespace

from abs_theory.checks import check_count, check_positive
from abs_theory.typing import Laws
from abs_theory.workers import as_workers
from simulations.protocols.waiting import abs_sgd
from simulations.server import Job, Policy, Protocol, Server


def rennala(batch: Policy) -> Protocol:
    """Update on ``batch`` gradients of the current model, from anybody; those of older models are ignored.

    Round: no formula; staleness: 0; restarts: nobody, what is too stale is ignored.
    Source: Tyurin & Richtarik (2023, NeurIPS).  With unfinished work stopped at an update it is ``k_batch_sync``.
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


def ringmaster(threshold: int, stops: bool = True) -> Protocol:
    """Asynchronous SGD without delays of ``threshold`` updates or more: stopped and started again, or ignored.

    Round: by ``steady_state.abs_sgd``; staleness: at most threshold - 1; restarts: the staler.
    Source: Maranjyan, Tyurin & Richtarik (2025, ICML; arXiv 2501.16168), Algorithms with and without stops; theirs are
    stopped just before the update at which ABS, with max_staleness = threshold - 1, restarts them just after it.
    """
    check_count("threshold", threshold)
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
    r"""Keep a table of gradients, step along the mean over workers of each worker's mean; for data that differ.

    A round first collects until every worker has an entry, then makes one update per worker, at its next delivery, with
    the table as it then is.  What a worker delivers after its update is kept for the next round.  Nobody waits, nothing
    is discarded, and no gradient is staler than 2n - 2 updates.
    Round: no formula; staleness: at most 2n - 2; restarts: nobody.
    Source: Maranjyan & Richtarik (2026, ICLR; arXiv 2509.22860), from a reading note; that a worker which has delivered
    always goes on with the current model is our choice where the note is silent.
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
    """Give worker i ``trials[i]`` tasks on each model, every one cut off after ``cut_off[i]`` seconds.

    What was delivered is summed and divided by the number expected, sum of trials[i] P(X_i <= cut_off[i]); when all
    trials are over, the next model is sent.  It cuts off by time where ABS restarts by version.  ``delay`` is the law
    of a task; the default cut-off is its median, for each worker its own.
    Round: no formula; staleness: 0; restarts: nobody, a task is cut off by time.
    Source: Maranjyan, Omar & Richtarik (2025, UAI; arXiv 2410.04285).
    Raises ValueError unless there are n of each, the trials are counts and every cut-off leaves a chance to deliver.
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
