"""Protocols with several local steps: workers train on their own for a while, the server averages their models."""

from dataclasses import replace

from simulations.policies import adacomm_rule
from simulations.protocols.waiting import synchronous
from simulations.server import Job, Policy, Protocol, Server


def local_sgd() -> Protocol:
    """Every worker takes ``local_steps`` steps (an argument of the run), then all models are averaged.

    Round: E of the largest of n sums; staleness: 0; restarts: nobody, none is late.
    Source: McMahan et al. (2017); Stich (2019).
    See also ``stsyn``, which does not wait for everybody; ``adacomm``, whose local steps fall.

    >>> from abs_theory.delays import Deterministic
    >>> from simulations.experiment import simulate
    >>> from simulations.problems import TimingOnly
    >>> laws = [Deterministic(s) for s in (1, 2, 4)]
    >>> run = simulate(local_sgd(), TimingOnly(), laws, 3, step_size=1.0, local_steps=2, num_updates=3, seed=0)
    >>> print(run[["time", "computed"]].to_string(index=False))
     time  computed
      8.0         6
     16.0         6
     24.0         6
    """
    return synchronous()


def adacomm(steps0: int, interval: float = 0.0) -> Protocol:
    """Local SGD whose number of local steps falls from ``steps0`` with the loss (``policies.adacomm_rule``).

    Round: local SGD's, steps fall; staleness: 0; restarts: nobody, none is late.
    Source: Wang & Joshi (2019, MLSys; arXiv 1810.08313).
    See also ``local_sgd``, with a fixed number of local steps.

    >>> from abs_theory.delays import Deterministic
    >>> from simulations.experiment import simulate
    >>> from simulations.problems import NoisyQuadratic
    >>> problem = NoisyQuadratic((1.0, 0.5), sigma2=0.1)
    >>> laws = [Deterministic(s) for s in (1, 2, 4)]
    >>> run = simulate(adacomm(steps0=4), problem, laws, 3, step_size=0.1, num_updates=400, seed=0)
    >>> run["computed"].iloc[[0, -1]].tolist()
    [12, 3]
    """
    return replace(synchronous(), local_steps=adacomm_rule(steps0, interval))


def stsyn(k: Policy) -> Protocol:
    """When ``k`` workers have done their local steps, every worker uploads the steps it has done; then all start again.

    No worker stops before: a fast one does more than ``local_steps`` (an argument of the run), a slow one fewer.  A
    worker that has not done any uploads nothing.  Only unfinished local steps are lost.
    Round: E of the k-th of n sums; staleness: 0; restarts: nobody, all upload what they have.
    Source: Zhu, Zhang & Wang (2024, IEEE TSP; arXiv 2210.03521).
    See also ``local_sgd``, which waits for all local steps.

    >>> from abs_theory.delays import Deterministic
    >>> from simulations.experiment import simulate
    >>> from simulations.problems import TimingOnly
    >>> laws = [Deterministic(s) for s in (1, 2, 4)]
    >>> run = simulate(stsyn(k=2), TimingOnly(), laws, 3, step_size=1.0, local_steps=2, num_updates=3, seed=0)
    >>> print(run[["time", "uplinks", "computed"]].to_string(index=False))
     time  uplinks  computed
      4.0        3         7
      8.0        3         7
     12.0        3         7
    """

    def on_arrival(server: Server, job: Job) -> None:
        if server.arrivals == server.k:
            for stopped in server.collect():
                server.accept(stopped)
            server.update()
            server.assign(server.workers)

    return Protocol(on_arrival, k, max_staleness=0, keeps_going=True)
