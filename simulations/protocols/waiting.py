"""Protocols that wait for k gradients: of the same model or of any, with the stragglers dropped, kept, or bounded."""

from simulations.policies import all_but, every_worker
from simulations.protocols.weights import Weight, uniform
from simulations.server import Job, Policy, Protocol, Server


def abs_sgd(k: Policy, max_staleness: Policy, weight: Weight = uniform) -> Protocol:
    """Adaptive bounded staleness: K-async SGD in which a worker staler than ``max_staleness`` starts afresh.

    Round: by ``steady_state.abs_sgd``; staleness: at most ``max_staleness``; restarts: the staler.
    Source: Tan, Zhu & Zhang (arXiv 2301.08895), as reconstructed from its abstract (see the README).
    """

    def on_arrival(server: Server, job: Job) -> None:
        server.accept(job, weight(server.staleness(job)))
        if len(server.accepted) == server.k:
            senders = server.update()
            server.assign(senders + server.staler_than(server.max_staleness))

    return Protocol(on_arrival, k, max_staleness)


def k_async(k: Policy, weight: Weight = uniform) -> Protocol:
    """Update on the first k to finish; the others go on and deliver stale gradients later.

    Round: by ``steady_state.abs_sgd``; staleness: mean (n - k) / k; restarts: nobody.
    Source: Dutta, Joshi, Ghosh, Dube & Nagpurkar (2018, AISTATS).
    """

    def on_arrival(server: Server, job: Job) -> None:
        server.accept(job, weight(server.staleness(job)))
        if len(server.accepted) == server.k:
            server.assign(server.update())

    return Protocol(on_arrival, k)


def k_batch_async(k: Policy, weight: Weight = uniform) -> Protocol:
    """Update on the first k gradients from anybody; a worker that has delivered goes on with the current model.

    Round: k / R; staleness: mean (n - 1) / k; restarts: nobody.
    Source: Lian, Huang, Li & Liu (2015); Dutta et al. (2018).
    """

    def on_arrival(server: Server, job: Job) -> None:
        server.accept(job, weight(server.staleness(job)))
        if len(server.accepted) == server.k:
            server.update()
        server.assign([job.worker])

    return Protocol(on_arrival, k, batch=True)


def k_sync(k: Policy) -> Protocol:
    """Update on the first k to finish; all workers start again from the new model.

    Round: E X(k); staleness: 0; restarts: all late workers.
    Source: Dutta et al. (2018); as m-synchronous SGD, Begunov & Tyurin (arXiv 2602.03802).
    """

    def on_arrival(server: Server, job: Job) -> None:
        server.accept(job)
        if len(server.accepted) == server.k:
            server.update()
            server.assign(server.workers)

    return Protocol(on_arrival, k, max_staleness=0)


def k_batch_sync(k: Policy) -> Protocol:
    """Update on the first k gradients of the current model, several from a fast worker; then all start again.

    Round: k-th of all deliveries, by ``renewal``; staleness: 0; restarts: all others.
    Source: Dutta et al. (2018).
    """

    def on_arrival(server: Server, job: Job) -> None:
        server.accept(job)
        if len(server.accepted) == server.k:
            server.update()
            server.assign(server.workers)
        else:
            server.assign([job.worker])

    return Protocol(on_arrival, k, max_staleness=0, batch=True)


def synchronous() -> Protocol:
    """Wait for all workers, average, broadcast.

    Round: E X(n); staleness: 0; restarts: nobody, none is late.
    """
    return k_sync(every_worker)


def backup_workers(spare: int) -> Protocol:
    """Synchronous SGD that does not wait for the last ``spare`` workers of a round: K-sync with k = n - spare.

    Round: E X(n - spare); staleness: 0; restarts: all late workers.
    Source: Chen, Pan, Monga, Bengio & Jozefowicz (2016, arXiv 1604.00981).
    """
    return k_sync(all_but(spare))


def asynchronous() -> Protocol:
    """Update on every gradient; nobody waits.

    Round: 1 / R; staleness: mean n - 1; restarts: nobody.
    """
    return k_async(1)
