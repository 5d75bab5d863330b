"""Random laws, fleets, k and thresholds, to calibrate stated errors on and to test them: of every family and ageing."""

import math
from typing import NamedTuple

import numpy as np
from scipy import stats

from abs_theory.delays import (
    Delay,
    Erlang,
    Exponential,
    Gamma,
    HyperExponential,
    LocalSteps,
    LogNormal,
    Lomax,
    Mixture,
    Pareto,
    ShiftedExponential,
    Uniform,
    Weibull,
    as_delay,
)

__all__ = ["Cell", "random_cell", "random_law"]

SCIPY = (
    stats.genpareto(0.3),
    stats.fisk(3.0),
    stats.burr12(2.0, 2.0),
    stats.invgauss(0.5),
    stats.beta(2.0, 3.0),
    stats.halfnorm(),
    stats.rayleigh(),
    stats.invgamma(3.0),
)
SIMPLE = ("exponential", "shifted", "gamma", "weibull", "pareto", "lomax", "lognormal", "uniform", "hyper")
KINDS = (*SIMPLE, "erlang", "local steps", "stalls", "two laws", "scipy")
MOST_WORKERS, LARGEST_BOUND = 200, 20


class Cell(NamedTuple):
    """Arguments of ``steady_state.abs_sgd``."""

    delay: Delay | list[Delay]
    k: int
    n: int
    max_staleness: int | None


def random_cell(rng: np.random.Generator) -> Cell:
    """2 to 200 workers, three in ten fleets unequal; thresholds 1 to 20 and none; 1 <= k < n."""
    n = max(2, round(_between(rng, 2, MOST_WORKERS)))
    k = (1, n - 1, int(rng.integers(1, n)), int(rng.integers(1, n)), max(1, n // 2))[rng.integers(5)]
    bounds = (1, int(rng.integers(1, 4)), int(rng.integers(1, LARGEST_BOUND + 1)), None)
    bound = bounds[rng.integers(4)]
    if n == 2 or rng.random() > 0.3:
        return Cell(random_law(rng), k, n, bound)
    kinds = int(rng.integers(2, 4))
    sigma = rng.uniform(0.1, 1.2)
    similar = [LogNormal(math.exp(rng.normal()), sigma) for _ in range(kinds)]
    laws = similar if rng.random() < 0.5 else [random_law(rng) for _ in range(kinds)]
    return Cell([laws[g] for g in np.sort(rng.integers(kinds, size=n))], k, n, bound)


def random_law(rng: np.random.Generator, kinds: tuple[str, ...] = KINDS) -> Delay:
    """A law of one of the ``kinds``, with power tails down to index 1.5."""
    scale, part = math.exp(rng.normal() / 2), _between(rng, 0.003, 0.3)
    match kinds[rng.integers(len(kinds))]:
        case "exponential":
            return Exponential(scale)
        case "shifted":
            return ShiftedExponential(_between(rng, 0.05, 20) * scale, scale)
        case "gamma":
            return Gamma(_between(rng, 0.25, 30), scale)
        case "weibull":
            return Weibull(scale, _between(rng, 0.45, 6))
        case "pareto":
            return Pareto(scale, _between(rng, 1.5, 6))
        case "lomax":
            return Lomax(scale, _between(rng, 1.5, 6))
        case "lognormal":
            return LogNormal(scale, _between(rng, 0.05, 2))
        case "uniform":
            low = rng.uniform(0, 3) * scale
            return Uniform(low, low + _between(rng, 0.05, 3) * scale)
        case "hyper":
            return HyperExponential((1 - part, part), (scale, scale * _between(rng, 0.1, 60)))
        case "erlang":
            return Erlang(int(rng.integers(2, 60)), scale)
        case "local steps":
            return LocalSteps(random_law(rng, SIMPLE), int(rng.integers(2, 6)))
        case "stalls":
            usual = Gamma(_between(rng, 1, 400), scale / 10)
            return Mixture((1 - part, part), (usual, Exponential(scale * _between(rng, 2, 60))))
        case "two laws":
            return Mixture((0.5, 0.5), (random_law(rng, SIMPLE), random_law(rng, SIMPLE)))
        case _:
            return as_delay(SCIPY[rng.integers(len(SCIPY))])


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    """Uniform in the logarithm."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))
