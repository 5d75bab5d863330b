"""Asynchronous protocols that bound, weigh or drop what is stale."""

import math
from collections import Counter
from types import SimpleNamespace

from abs_theory.checks import check_nonnegative, check_positive
from simulations.protocols.waiting import k_batch_async
from simulations.protocols.weights import Weight, by_root_of_staleness, by_staleness
from simulations.server import Job, Policy, Protocol, Server


def ssp(slack: int) -> Protocol:
    """Stale synchronous parallel: a worker waits when it is more than ``slack`` tasks ahead of the slowest.

    Every gradient is applied on arrival, and a worker begins with the model of that moment.  ``slack`` = 0 moves
    everybody in step, infinite is asynchronous SGD.
    Round: ``round_time.ssp`` / n; staleness: at most (2 slack + 1) (n - 1); restarts: nobody.
    Source: Ho et al. (2013, NIPS).
    """
    if slack != math.inf:
        check_nonnegative("slack", slack)

    def on_arrival(server: Server, job: Job) -> None:
        server.accept(job)
        server.update()
        done = server.notes.done
        done[job.worker] += 1
        most = min(done[worker] for worker in server.workers) + slack
        server.assign(worker for worker in server.idle if done[worker] <= most)

    return Protocol(on_arrival, notes=lambda: SimpleNamespace(done=Counter()))


def staleness_aware(k: Policy = 1) -> Protocol:
    """n-softsync: update on every ``k`` gradients, each scaled by 1 / (1 + staleness).

    Round: k / R; staleness: mean (n - 1) / k; restarts: nobody.
    Source: Zhang, Gupta, Lian & Liu (2016, IJCAI; arXiv 1511.05950), whose staleness starts at 1; with n of theirs,
    k = floor(workers / n).
    """
    return k_batch_async(k, by_staleness)


def delay_adaptive() -> Protocol:
    """Asynchronous SGD with step n / max(n, staleness) of the full one.

    Round: 1 / R; staleness: mean n - 1; restarts: nobody.
    Source: Mishchenko, Bach, Even & Woodworth (2022, NeurIPS), the step of their published experiments.
    """

    def on_arrival(server: Server, job: Job) -> None:
        server.accept(job, server.n / max(server.n, server.staleness(job)))
        server.assign(server.update())

    return Protocol(on_arrival)


def delay_dropping() -> Protocol:
    """Asynchronous SGD that drops gradients staler than the number of workers.

    Round: at least 1 / R; staleness: at most n; restarts: nobody, what is too stale is ignored.
    Source: Koloskova, Stich & Jaggi (2022, NeurIPS), Theorem 8 with step 0 beyond the concurrency: at most half of the
    gradients are staler than twice the mean staleness, which is below n.
    """

    def on_arrival(server: Server, job: Job) -> None:
        if server.staleness(job) <= server.n:
            server.accept(job)
            server.update()
        else:
            server.discard(job)
        server.assign([job.worker])

    return Protocol(on_arrival)


def fedbuff(buffer: Policy, server_step: float = 1.0, weight: Weight = by_root_of_staleness) -> Protocol:
    """Average the model differences of the first ``buffer`` clients to report, times ``server_step``; nobody waits.

    A client takes ``local_steps`` steps (an argument of the run).
    Round: local steps x k / R; staleness: mean (n - 1) / k; restarts: nobody.
    Source: Nguyen et al. (2022, AISTATS), without secure aggregation.
    """
    check_positive("server_step", server_step)
    return k_batch_async(buffer, lambda staleness: server_step * weight(staleness))
