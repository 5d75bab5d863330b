"""Asynchronous protocols that bound the staleness, or weigh or drop stale gradients."""

import math
from collections import Counter
from types import SimpleNamespace

from abs_theory.checks import check_function, check_nonnegative, check_positive, explains_types
from simulations.protocols.waiting import k_batch_async
from simulations.protocols.weights import Weight, by_root_of_staleness, by_staleness
from simulations.server import Family, Job, Policy, Protocol, Server


@explains_types
def ssp(slack: int) -> Protocol:
    """Stale synchronous parallel: a worker waits while it is more than ``slack`` tasks ahead of the slowest.

    Every gradient is applied on arrival.  A worker begins with the model of the moment at which it begins.  With
    ``slack`` = 0 all workers move in step; an infinite slack is asynchronous SGD.
    Round: ``round_time.ssp`` / n; staleness: at most (2 slack + 1) (n - 1); restarts: nobody.
    Source: Ho et al. (2013, NIPS).
    See also ``abs_sgd``, which bounds staleness by restarts, not by waiting.

    >>> from abs_theory.delays import Deterministic
    >>> from simulations.experiment import simulate
    >>> from simulations.problems import TimingOnly
    >>> laws = [Deterministic(s) for s in (1, 2, 4)]
    >>> run = simulate(ssp(slack=1), TimingOnly(), laws, 3, step_size=1.0, num_updates=6, seed=0)
    >>> print(run[["time", "idle_seconds"]].to_string(index=False))
     time  idle_seconds
      1.0           0.0
      2.0           0.0
      2.0           0.0
      4.0           0.0
      4.0           2.0
      5.0           0.0
    """
    if slack != math.inf:
        check_nonnegative("slack", slack)

    def may_begin(server: Server) -> list[int]:
        done = server.notes.done
        most = min(done[worker] for worker in server.workers) + slack
        return [worker for worker in server.idle if done[worker] <= most]

    def on_arrival(server: Server, job: Job) -> None:
        server.accept(job)
        server.update()
        server.notes.done[job.worker] += 1
        server.assign(may_begin(server))

    return Protocol(on_arrival, uses_all=True, starters=may_begin, notes=lambda: SimpleNamespace(done=Counter()))


def staleness_aware(k: Policy = 1) -> Protocol:
    """n-softsync: update on every ``k`` gradients, each multiplied by 1 / (1 + staleness).

    Round: k / R; staleness: mean (n - 1) / k; restarts: nobody.
    Source: Zhang, Gupta, Lian & Liu (2016, IJCAI; arXiv 1511.05950), whose staleness starts at 1.  Their n is
    our floor(workers / k).
    See also ``k_batch_async``, without the weights; ``staleness_aware_adasync``, whose k moves.

    >>> from abs_theory.delays import Deterministic
    >>> from simulations.experiment import simulate
    >>> from simulations.problems import TimingOnly
    >>> laws = [Deterministic(s) for s in (1, 2, 4)]
    >>> run = simulate(staleness_aware(k=2), TimingOnly(), laws, 3, step_size=1.0, num_updates=4, seed=0)
    >>> print(run[["time", "largest_staleness"]].to_string(index=False))
     time  largest_staleness
      2.0                  0
      3.0                  1
      4.0                  1
      5.0                  3
    """
    return k_batch_async(k, by_staleness)


def delay_adaptive() -> Protocol:
    """Asynchronous SGD in which a gradient counts n / max(n, staleness).

    Round: 1 / R; staleness: mean n - 1; restarts: nobody.
    Source: Mishchenko, Bach, Even & Woodworth (2022, NeurIPS), the step of their published experiments.
    See also ``delay_dropping``, which drops stale gradients; ``staleness_aware``, whose weights fall faster.

    >>> from abs_theory.delays import Deterministic
    >>> from simulations.experiment import simulate
    >>> from simulations.problems import TimingOnly
    >>> laws = [Deterministic(s) for s in (1, 2, 4)]
    >>> run = simulate(delay_adaptive(), TimingOnly(), laws, 3, step_size=1.0, num_updates=4, seed=0)
    >>> print(run[["time", "largest_staleness"]].to_string(index=False))
     time  largest_staleness
      1.0                  0
      2.0                  0
      2.0                  2
      3.0                  1
    """

    def on_arrival(server: Server, job: Job) -> None:
        server.accept(job, server.n / max(server.n, server.staleness(job)))
        server.assign(server.update())

    return Protocol(on_arrival, uses_all=True, family=Family(lambda staleness, n: n / max(n, staleness)))


def delay_dropping() -> Protocol:
    """Asynchronous SGD that drops gradients staler than the number of workers.

    Round: at least 1 / R; staleness: at most n; restarts: nobody, what is too stale is ignored.
    Source: Koloskova, Stich & Jaggi (2022, NeurIPS), Theorem 8, with step 0 above staleness n.  At most half of the
    gradients are staler than twice the mean staleness, which is below n.
    See also ``delay_adaptive``, which weighs stale gradients; ``ringmaster``, whose limit is free.

    >>> from abs_theory.delays import Deterministic
    >>> from simulations.experiment import simulate
    >>> from simulations.problems import TimingOnly
    >>> laws = [Deterministic(s) for s in (1, 2, 4)]
    >>> run = simulate(delay_dropping(), TimingOnly(), laws, 3, step_size=1.0, num_updates=6, seed=0)
    >>> print(run[["time", "largest_staleness", "discarded"]].to_string(index=False))
     time  largest_staleness  discarded
      1.0                  0          0
      2.0                  0          0
      2.0                  2          0
      3.0                  1          0
      4.0                  0          0
      4.0                  2          0
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
    """Add ``server_step`` times the mean model difference of the first ``buffer`` clients to report; nobody waits.

    A client takes ``local_steps`` steps (an argument of the run), and its difference counts ``weight(staleness)``.
    Round: local steps x k / R; staleness: mean (n - 1) / k; restarts: nobody.
    Source: Nguyen et al. (2022, AISTATS), without secure aggregation.
    See also ``local_sgd``, which waits for everybody.

    >>> from abs_theory.delays import Deterministic
    >>> from simulations.experiment import simulate
    >>> from simulations.problems import TimingOnly
    >>> laws = [Deterministic(s) for s in (1, 2, 4)]
    >>> run = simulate(
    ...     fedbuff(buffer=2), TimingOnly(), laws, 3, step_size=1.0, local_steps=2, num_updates=4, seed=0
    ... )
    >>> print(run[["time", "largest_staleness"]].to_string(index=False))
     time  largest_staleness
      4.0                  0
      6.0                  1
      8.0                  1
     10.0                  3
    """
    check_positive("server_step", server_step)
    check_function("weight", weight)
    return k_batch_async(buffer, lambda staleness: server_step * weight(staleness))
