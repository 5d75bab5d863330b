"""How much a gradient counts: by its staleness, the updates made since its model was sent, or by its worker."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

from abs_theory.checks import check_positive, explains_types
from simulations.server import Job, Protocol, Server, check_protocol

__all__ = ["by_root_of_staleness", "by_staleness", "inverse_participation", "uniform"]

Weight = Callable[[int], float]


def uniform(staleness: int) -> float:
    """Every gradient counts the same, however stale."""
    return 1.0


def by_staleness(staleness: int) -> float:
    """Weight 1 / (1 + staleness): the 1/tau step of Zhang, Gupta, Lian & Liu (2016), whose tau starts at 1."""
    return 1.0 / (1 + staleness)


def by_root_of_staleness(staleness: int) -> float:
    """Weight 1 / sqrt(1 + staleness), an option of FedBuff (Nguyen et al. 2022)."""
    return 1.0 / math.sqrt(1 + staleness)


class _Weighing:
    """A server whose ``accept`` also multiplies each gradient by the weight of its worker."""

    def __init__(self, server: Server, weight: Callable[[int], float], notes: SimpleNamespace):
        self._server, self._weight, self.notes = server, weight, notes

    def accept(self, job: Job, weight: float = 1.0) -> None:
        self._server.accept(job, weight * self._weight(job.worker))

    def __getattr__(self, name: str) -> object:
        return getattr(self._server, name)


@explains_types
def inverse_participation(protocol: Protocol, shares: Sequence[float] | None = None) -> Protocol:
    """``protocol`` with each gradient of worker i multiplied by 1 / (n p_i), p_i its share of the gradients applied.

    All workers then count the same in the long run, however fast they are.  That matters if their data differ: without
    weights, training settles where sum_i p_i grad F_i = 0.  ``shares`` are the p_i, up to a factor, where theory knows
    them: one over the mean task time under asynchronous SGD.  None: they are counted during the run, with one gradient
    of each worker before it, so that the first weights are near 1.
    A worker that a threshold always restarts is never heard, and no weight changes that.  Unequal weights add noise.

    Round time, staleness and restarts are those of ``protocol``: weights change the model only.
    Source: inverse probability weighting, Horvitz & Thompson (1952); per worker, as in the steps of Rescaled
    asynchronous SGD (Mahran, Maranjyan & Richtarik, arXiv 2605.13434).
    Raises ValueError unless the shares are positive, and at the first arrival unless there is one per worker.
    See also ``ringleader``, which hears every worker equally often.

    >>> from abs_theory.delays import Deterministic
    >>> from simulations.experiment import simulate
    >>> from simulations.problems import ShiftedQuadratic
    >>> from simulations.protocols import asynchronous
    >>> from simulations.protocols.weights import inverse_participation
    >>> laws, problem = [Deterministic(1.0), Deterministic(4.0)], ShiftedQuadratic((1.0,), 0.0, optima=(-1.0, 1.0))
    >>> for protocol in (asynchronous(), inverse_participation(asynchronous(), shares=(1.0, 0.25))):
    ...     run = simulate(protocol, problem, laws, 2, step_size=0.01, num_updates=2000, seed=0)
    ...     print(round(float(run["gradient_norm2"].iloc[-1]), 2))
    0.35
    0.0
    """
    check_protocol(protocol)
    if shares is not None:
        shares = tuple(shares)
        for share in shares:
            check_positive("shares", share)

    def weights_of(server: Server) -> Callable[[int], float]:
        if shares is None:
            heard: Counter[int] = server.notes.heard

            def measured(worker: int) -> float:
                heard[worker] += 1
                return (heard.total() + server.n) / (server.n * (heard[worker] + 1))

            return measured
        if len(shares) != server.n:
            raise ValueError(f"shares must be one per worker, got {len(shares)} with n={server.n} workers")
        told, mean = shares, sum(shares) / server.n
        return lambda worker: mean / told[worker]

    def view(server: Server) -> Server:
        """What ``protocol`` sees of the server."""
        return cast(Server, _Weighing(server, weights_of(server), server.notes.own))

    def weighing(act: Callable[[Server, Job], None]) -> Callable[[Server, Job], None]:
        return lambda server, job: act(view(server), job)

    starters = protocol.starters
    return replace(
        protocol, on_arrival=weighing(protocol.on_arrival), family=None,
        meanwhile=None if protocol.meanwhile is None else weighing(protocol.meanwhile),
        starters=None if starters is None else lambda server: starters(view(server)),
        notes=lambda: SimpleNamespace(own=protocol.notes(), heard=Counter()),
    )  # fmt: skip
