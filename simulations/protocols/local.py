"""Protocols of several local steps: the workers walk on their own, the server averages models."""

from simulations.policies import adacomm_rule, every_worker
from simulations.protocols.waiting import k_sync, synchronous
from simulations.server import Job, Policy, Protocol, Server


def local_sgd() -> Protocol:
    """Every worker takes ``local_steps`` steps (an argument of the run), then all models are averaged.

    Round: E of the largest of n sums; staleness: 0; restarts: nobody, none is late.
    Source: McMahan et al. (2017); Stich (2019).
    """
    return synchronous()


def adacomm(steps0: int, interval: float = 0.0) -> Protocol:
    """Local SGD whose number of local steps falls from ``steps0`` with the loss (``policies.adacomm_rule``).

    Round: local SGD's, steps fall; staleness: 0; restarts: nobody, none is late.
    Source: Wang & Joshi (2019, MLSys; arXiv 1810.08313).
    """
    return Protocol(k_sync(every_worker).on_arrival, every_worker, 0, local_steps=adacomm_rule(steps0, interval))


def stsyn(k: Policy) -> Protocol:
    """When ``k`` workers have done their local steps, all that have done at least one upload; then all start again.

    Nobody stops before: a fast worker does more than ``local_steps`` (an argument of the run), a slow one fewer, and
    only unfinished local steps are lost.
    Round: E of the k-th of n sums; staleness: 0; restarts: nobody, all upload what they have.
    Source: Zhu, Zhang & Wang (2024, IEEE TSP; arXiv 2210.03521).
    """

    def on_arrival(server: Server, job: Job) -> None:
        if server.arrivals == server.k:
            for stopped in server.collect():
                server.accept(stopped)
            server.update()
            server.assign(server.workers)

    return Protocol(on_arrival, k, max_staleness=0, keeps_going=True)
