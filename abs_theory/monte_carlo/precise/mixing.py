"""How many rounds the phases of steady workers take to mix, and what results may be off by meanwhile."""

import math
from dataclasses import replace
from typing import NamedTuple

from abs_theory.monte_carlo.precise.rare import RareRounds
from abs_theory.results import SteadyState
from abs_theory.workers import Workers

__all__ = ["FEW", "STEADY_ENOUGH", "Cell", "drift", "least_spread", "lingering", "warmup", "with_lingering"]

MOST_BEGINNINGS = 40  # of every worker in a warm-up
FEW = 8  # workers; so few need twice the warm-up of many
LEAST_BEGINNINGS = 3  # of every worker in a warm-up of rounds that a bound limits
# errors where the phases of workers are not mixed by the warm-up, under a bound: of the idle fraction and, relative, of
# the round time, in coefficients of variation of steady delays
LINGERING_DEVIATIONS, STEADY = 0.2, 0.05
# steady workers drift for hundreds of deliveries, however they began: the same errors at STEADY, from long runs of
# random fleets; they fall where delays vary less, and so do rounds, or more, for then phases mix soon
DRIFT = 0.005
# coefficient of variation of delays below which workers that begin together may wait for each other for ever, even
# where workers of random phases soon forget theirs
STEADY_ENOUGH = 0.2


class Cell(NamedTuple):
    """What is simulated."""

    workers: Workers
    k: int
    bound: float
    rare: RareRounds
    unmixed: bool  # whether phases may differ from those of the long run for longer than the warm-up


def least_spread(workers: Workers) -> float:
    """Squared coefficient of variation of the steadiest law that is not constant."""
    spreads = [law.var / law.mean**2 if math.isfinite(law.var) else 1.0 for law in workers.laws]
    return min((spread for spread in spreads if spread > 0), default=1.0)


def warmup(workers: Workers, k: int, bound: float, affordable: float) -> int:
    """Rounds in which every worker delivers or, if that is not ``affordable``, begins several times.

    The more, the steadier its delays, which keep in step, and the fewer workers: the start is that of many.  After m
    tasks each, the phases of two workers differ by a time of variance 2 m Var[X], which leaves a part of
    exp(-(2 pi)^2 m Var[X] / E[X]^2) of their first harmonic: 4e-4 after as many tasks as two workers have at least.
    Many workers that wait for each other mix ten times more slowly, which is waited for if it is affordable.
    """
    spread, few = max(least_spread(workers), 1e-9), 1 + FEW / workers.n
    least, mixed = min(1.5 + 0.04 / spread, MOST_BEGINNINGS) * few, (1.5 + 0.4 / spread) * few
    least = min(least * workers.n / k, max(least, LEAST_BEGINNINGS) * (bound + 1))
    return math.ceil(min(mixed * workers.n / k, max(least, affordable)))


def lingering(cell: Cell) -> float:
    """Errors for phases that the warm-up did not mix, if a bound makes steady workers wait."""
    deviation = math.sqrt(least_spread(cell.workers))
    steady = cell.unmixed and math.isfinite(cell.bound) and deviation < STEADY
    return LINGERING_DEVIATIONS * deviation if steady else 0.0


def drift(cell: Cell) -> float:
    """Errors for phases that go on to mix for longer than is simulated, if a bound makes steady workers wait."""
    ratio = math.sqrt(least_spread(cell.workers)) / STEADY
    drifts = math.isfinite(cell.bound) and 0 < ratio < STEADY_ENOUGH / STEADY
    return DRIFT * min(ratio, ratio**-2) if drifts else 0.0


def with_lingering(state: SteadyState, cell: Cell, together: SteadyState | None = None) -> SteadyState:
    """``state`` with the errors of idle time and restarts for phases that the warm-up did not mix, or that drift.

    Workers that began ``together`` show that the first is no larger than what they resolve.  That of the round time
    stays, for the mean of some rounds also depends on where in a cycle they begin and end.
    """
    assert state.error is not None
    idle, drifted = state.error.idle_fraction, drift(cell)
    more_idle = idle + lingering(cell)
    if together is not None:
        assert together.error is not None
        more_idle = min(more_idle, max(idle, together.error.idle_fraction))
    errors = {"idle_fraction": more_idle + drifted}
    if drifted:  # what changes the rounds by so much moves some tasks over the threshold
        restarts = min(drifted * cell.k / 2, float(state.restarts))
        more = {"restarts": restarts, "downlinks": restarts, "mean_staleness": restarts * (cell.bound + 1) / cell.k}
        more["wasted_fraction"] = min(drifted / 2, float(state.wasted_fraction))
        errors |= {name: getattr(state.error, name) + value for name, value in more.items()}
    return replace(state, error=replace(state.error, **errors))
