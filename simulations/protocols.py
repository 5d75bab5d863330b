"""One small factory per published method; each answer to an arrival reads like the published algorithm.

K-async waits for the first k to finish and lets stragglers deliver stale gradients later; K-sync restarts
them at once; ABS restarts those that became too stale.  The rest are special cases or other rules for k.
"""

from collections.abc import Callable

from abs_theory.delays import Delay
from simulations.policies import adasync_rule, every_worker
from simulations.server import Job, Policy, Protocol, Server

Weight = Callable[[int], float]


def uniform(staleness: int) -> float:
    """Every gradient counts the same, however stale."""
    return 1.0


def by_staleness(staleness: int) -> float:
    """Weight 1 / (1 + staleness): the 1/tau step of Zhang, Gupta, Lian & Liu (2016), whose tau starts at 1."""
    return 1.0 / (1 + staleness)


def abs_sgd(k: Policy, max_staleness: Policy, weight: Weight = uniform) -> Protocol:
    """Adaptive bounded staleness: K-async SGD in which a worker staler than ``max_staleness`` starts afresh.

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

    Source: Dutta, Joshi, Ghosh, Dube & Nagpurkar (2018, AISTATS).
    """

    def on_arrival(server: Server, job: Job) -> None:
        server.accept(job, weight(server.staleness(job)))
        if len(server.accepted) == server.k:
            server.assign(server.update())

    return Protocol(on_arrival, k)


def k_sync(k: Policy) -> Protocol:
    """Update on the first k to finish; all workers start again from the new model.

    Source: Dutta et al. (2018); with n - k backup workers, Chen et al. (2016); m-synchronous SGD.
    """

    def on_arrival(server: Server, job: Job) -> None:
        server.accept(job)
        if len(server.accepted) == server.k:
            server.update()
            server.assign(server.workers)

    return Protocol(on_arrival, k, max_staleness=0)


def synchronous() -> Protocol:
    """Wait for all workers, average, broadcast."""
    return k_sync(every_worker)


def asynchronous() -> Protocol:
    """Update on every gradient, however stale; its sender alone receives the new model."""
    return k_async(1)


def adasync(delay: Delay, n: int, k0: int, *, variant: str = "k_async", interval: float = 0.0) -> Protocol:
    """K-async (or ``variant="k_sync"``) SGD whose k grows as the loss falls.

    Every ``interval`` seconds (0: at every update) k minimises the error bound per time under ``delay``.
    Source: Dutta, Wang & Joshi (2021, AdaSync, arXiv 2003.10579).
    """
    protocols = {"k_sync": k_sync, "k_async": k_async}
    if variant not in protocols:
        raise ValueError(f"protocol must be one of {', '.join(protocols)}, got {variant!r}")
    return protocols[variant](adasync_rule(delay, n, k0, variant, interval))


def staleness_aware_adasync(delay: Delay, n: int, k0: int, *, interval: float = 0.0) -> Protocol:
    """AdaSync on K-async with each gradient scaled by 1 / (1 + staleness).

    No definition of SA-AdaSync, a rival in the ABS paper, is public; this is our reading of the name.
    """
    return k_async(adasync_rule(delay, n, k0, "k_async", interval), by_staleness)


def local_sgd() -> Protocol:
    """Every worker takes ``local_steps`` steps (an argument of the run), then all models are averaged.

    Source: McMahan et al. (2017); Stich (2019).
    """
    return synchronous()
