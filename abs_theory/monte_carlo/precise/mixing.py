"""How many rounds the phases of workers take to mix."""

import math
from typing import NamedTuple

from abs_theory.monte_carlo.precise.rare import RareRounds
from abs_theory.workers import Workers

__all__ = ["STEADY_ENOUGH", "Cell", "least_spread", "warmup"]

MOST_BEGINNINGS = 40  # of every worker in a warm-up
FEW = 8  # workers; so few need twice the warm-up of many
LEAST_BEGINNINGS = 3  # of every worker in a warm-up of rounds that a bound limits
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
