"""Protocols that wait for k gradients; unfinished work is dropped, kept, or dropped when it is too stale."""

from abs_theory.checks import check_function
from simulations.policies import all_but, every_worker
from simulations.protocols.weights import Weight, uniform
from simulations.server import Family, Job, Policy, Protocol, Server


def abs_sgd(k: Policy, max_staleness: Policy, weight: Weight = uniform) -> Protocol:
    """Adaptive bounded staleness: K-async SGD in which workers staler than ``max_staleness`` restart.

    A worker that has delivered waits for the update.  A busy worker restarts from the new model if more than
    ``max_staleness`` updates have been made since it received its model.  A gradient counts ``weight(staleness)``.

    Round: by ``steady_state.abs_sgd``; staleness: at most ``max_staleness``; restarts: workers staler than that.
    Source: Tan, Zhu & Zhang (arXiv 2301.08895), as reconstructed from its abstract (docs/abs.md).
    See also ``k_async``, which restarts nobody; ``k_sync``, which restarts all late workers.

    >>> from abs_theory.delays import Deterministic
    >>> from simulations.experiment import simulate
    >>> from simulations.problems import TimingOnly
    >>> laws = [Deterministic(s) for s in (2, 3, 4)]
    >>> run = simulate(abs_sgd(k=1, max_staleness=1), TimingOnly(), laws, 3, step_size=1.0, num_updates=4, seed=0)
    >>> print(run[["time", "largest_staleness", "restarts"]].to_string(index=False))
     time  largest_staleness  restarts
      2.0                  0         0
      3.0                  1         1
      4.0                  1         0
      6.0                  0         2
    """

    def on_arrival(server: Server, job: Job) -> None:
        server.accept(job, weight(server.staleness(job)))
        if len(server.accepted) == server.k:
            senders = server.update()
            server.assign(senders + server.staler_than(server.max_staleness))

    return Protocol(on_arrival, k, max_staleness, family=_family(weight))


def k_async(k: Policy, weight: Weight = uniform) -> Protocol:
    """Update on the first k gradients to arrive; the other workers continue and deliver stale gradients later.

    A worker that has delivered waits for the update.

    Round: by ``steady_state.abs_sgd``; staleness: mean (n - k) / k; restarts: nobody.
    Source: Dutta, Joshi, Ghosh, Dube & Nagpurkar (2018, AISTATS).
    See also ``k_batch_async``, in which workers do not wait for the update; ``k_sync``, which drops unfinished
    work.

    >>> from abs_theory.delays import Deterministic
    >>> from simulations.experiment import simulate
    >>> from simulations.problems import TimingOnly
    >>> laws = [Deterministic(s) for s in (1, 2, 4)]
    >>> run = simulate(k_async(k=2), TimingOnly(), laws, 3, step_size=1.0, num_updates=4, seed=0)
    >>> print(run[["time", "largest_staleness", "restarts"]].to_string(index=False))
     time  largest_staleness  restarts
      2.0                  0         0
      4.0                  0         0
      5.0                  2         0
      6.0                  1         0
    """

    def on_arrival(server: Server, job: Job) -> None:
        server.accept(job, weight(server.staleness(job)))
        if len(server.accepted) == server.k:
            server.assign(server.update())

    return Protocol(on_arrival, k, family=_family(weight))


def k_batch_async(k: Policy, weight: Weight = uniform) -> Protocol:
    """Update on the first k gradients; a worker that has delivered continues at once with the current model.

    One worker may deliver several gradients to an update, so k may exceed n.

    Round: k / R; staleness: mean (n - 1) / k; restarts: nobody.
    Source: Lian, Huang, Li & Liu (2015); Dutta et al. (2018).
    See also ``k_async``, in which a worker that has delivered waits for the update.

    >>> from abs_theory.delays import Deterministic
    >>> from simulations.experiment import simulate
    >>> from simulations.problems import TimingOnly
    >>> laws = [Deterministic(s) for s in (1, 2, 4)]
    >>> run = simulate(k_batch_async(k=2), TimingOnly(), laws, 3, step_size=1.0, num_updates=4, seed=0)
    >>> print(run[["time", "largest_staleness", "restarts"]].to_string(index=False))
     time  largest_staleness  restarts
      2.0                  0         0
      3.0                  1         0
      4.0                  1         0
      5.0                  3         0
    """

    def on_arrival(server: Server, job: Job) -> None:
        server.accept(job, weight(server.staleness(job)))
        if len(server.accepted) == server.k:
            server.update()
        server.assign([job.worker])

    return Protocol(on_arrival, k, batch=True, uses_all=True, family=_family(weight, continues=True))


def k_sync(k: Policy) -> Protocol:
    """Update on the first k gradients to arrive; then all workers start again from the new model.

    Round: E X(k); staleness: 0; restarts: all late workers.
    Source: Dutta et al. (2018); as m-synchronous SGD, Begunov & Tyurin (arXiv 2602.03802).
    See also ``k_async``, which keeps unfinished work; ``k_batch_sync``, in which nobody waits.

    >>> from abs_theory.delays import Deterministic
    >>> from simulations.experiment import simulate
    >>> from simulations.problems import TimingOnly
    >>> laws = [Deterministic(s) for s in (1, 2, 4)]
    >>> run = simulate(k_sync(k=2), TimingOnly(), laws, 3, step_size=1.0, num_updates=4, seed=0)
    >>> print(run[["time", "largest_staleness", "restarts"]].to_string(index=False))
     time  largest_staleness  restarts
      2.0                  0         1
      4.0                  0         1
      6.0                  0         1
      8.0                  0         1
    """

    def on_arrival(server: Server, job: Job) -> None:
        server.accept(job)
        if len(server.accepted) == server.k:
            server.update()
            server.assign(server.workers)

    return Protocol(on_arrival, k, max_staleness=0, family=_family())


def k_batch_sync(k: Policy) -> Protocol:
    """Update on the first k gradients of the current model; then all workers start again from the new one.

    A worker that has delivered begins another gradient of the same model, so k may exceed n.

    Round: k-th of all deliveries, by ``renewal``; staleness: 0; restarts: all others.
    Source: Dutta et al. (2018).
    See also ``k_sync``, which takes one gradient of each worker; ``rennala``, which does not stop unfinished work.

    >>> from abs_theory.delays import Deterministic
    >>> from simulations.experiment import simulate
    >>> from simulations.problems import TimingOnly
    >>> laws = [Deterministic(s) for s in (1, 2, 4)]
    >>> run = simulate(k_batch_sync(k=2), TimingOnly(), laws, 3, step_size=1.0, num_updates=4, seed=0)
    >>> print(run[["time", "largest_staleness", "restarts"]].to_string(index=False))
     time  largest_staleness  restarts
      2.0                  0         2
      4.0                  0         2
      6.0                  0         2
      8.0                  0         2
    """

    def on_arrival(server: Server, job: Job) -> None:
        server.accept(job)
        if len(server.accepted) == server.k:
            server.update()
            server.assign(server.workers)
        else:
            server.assign([job.worker])

    return Protocol(on_arrival, k, max_staleness=0, batch=True, family=_family(continues=True))


def synchronous() -> Protocol:
    """Wait for all workers, average their gradients, send the new model to all.

    Round: E X(n); staleness: 0; restarts: nobody, none is late.
    See also ``backup_workers``, which does not wait for the slowest; ``local_sgd``, for several local steps.

    >>> from abs_theory.delays import Deterministic
    >>> from simulations.experiment import simulate
    >>> from simulations.problems import TimingOnly
    >>> laws = [Deterministic(s) for s in (1, 2, 4)]
    >>> run = simulate(synchronous(), TimingOnly(), laws, 3, step_size=1.0, num_updates=4, seed=0)
    >>> print(run[["time", "largest_staleness", "restarts"]].to_string(index=False))
     time  largest_staleness  restarts
      4.0                  0         0
      8.0                  0         0
     12.0                  0         0
     16.0                  0         0
    """
    return k_sync(every_worker)


def backup_workers(spare: int) -> Protocol:
    """Synchronous SGD without the slowest ``spare`` workers of each round: K-sync with k = n - spare.

    Round: E X(n - spare); staleness: 0; restarts: all late workers.
    Source: Chen, Pan, Monga, Bengio & Jozefowicz (2016, arXiv 1604.00981).
    See also ``k_sync``, which says how many workers to wait for.

    >>> from abs_theory.delays import Deterministic
    >>> from simulations.experiment import simulate
    >>> from simulations.problems import TimingOnly
    >>> laws = [Deterministic(s) for s in (1, 2, 4)]
    >>> run = simulate(backup_workers(spare=1), TimingOnly(), laws, 3, step_size=1.0, num_updates=4, seed=0)
    >>> print(run[["time", "largest_staleness", "restarts"]].to_string(index=False))
     time  largest_staleness  restarts
      2.0                  0         1
      4.0                  0         1
      6.0                  0         1
      8.0                  0         1
    """
    return k_sync(all_but(spare))


def asynchronous() -> Protocol:
    """Update on every gradient as it arrives; no worker waits.

    Round: 1 / R; staleness: mean n - 1; restarts: nobody.
    See also ``k_async`` with k > 1; ``ringmaster``, which bounds the staleness.

    >>> from abs_theory.delays import Deterministic
    >>> from simulations.experiment import simulate
    >>> from simulations.problems import TimingOnly
    >>> laws = [Deterministic(s) for s in (1, 2, 4)]
    >>> run = simulate(asynchronous(), TimingOnly(), laws, 3, step_size=1.0, num_updates=4, seed=0)
    >>> print(run[["time", "largest_staleness", "restarts"]].to_string(index=False))
     time  largest_staleness  restarts
      1.0                  0         0
      2.0                  0         0
      2.0                  2         0
      3.0                  1         0
    """
    return k_async(1)


def _family(weight: Weight = uniform, continues: bool = False) -> Family:
    """What the protocols above do, for replicates in step."""
    check_function("weight", weight)
    return Family(None if weight is uniform else lambda staleness, n: weight(staleness), continues)
