"""A delay that follows one of several laws, chosen by chance for each task."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from abs_theory.checks import check_positive
from abs_theory.delays.base import Ageing, Array, Delay, Size, quantile
from abs_theory.delays.from_scipy import as_delay
from abs_theory.delays.numerics.ageing import numerical_ageing
from abs_theory.delays.numerics.bisection import first_time


@dataclass(frozen=True)
class Mixture(Delay):
    """A draw from ``components[i]`` with probability ``weights[i]``.

    Components are any laws, also fixed or measured times and frozen scipy distributions.  Quantiles are found by
    bisection to the last bit, so that gaps, jumps and unlike scales do no harm.
    """

    weights: Sequence[float]  #: probability of each component, sum 1
    components: Sequence[Any]  #: laws

    def _check(self) -> None:
        weights = np.atleast_1d(self.weights).tolist()
        for i, weight in enumerate(weights):
            check_positive(f"weights[{i}]", weight)
        if not isinstance(self.components, Sequence):
            raise ValueError(f"components must be a sequence of delay laws, got {self.components!r}")
        object.__setattr__(self, "weights", tuple(map(float, weights)))
        object.__setattr__(self, "components", tuple(map(as_delay, self.components)))
        if len(self.weights) != len(self.components) or not math.isclose(math.fsum(self.weights), 1, abs_tol=1e-9):
            raise ValueError(f"weights must sum to 1 and be as many as components, got {self}")

    @cached_property
    def _parts(self) -> list[tuple[float, Delay]]:
        """Weights and laws, the largest weight last and such that adding up in this order gives exactly 1."""
        parts = sorted(zip(self.weights, self.components, strict=True), key=lambda part: part[0])
        total = math.fsum(self.weights)
        rest = [weight / total for weight, _ in parts[:-1]]
        return list(zip([*rest, 1.0 - sum(rest)], (law for _, law in parts), strict=True))

    def _mean_of(self, f: Any) -> Any:
        return sum(weight * f(law) for weight, law in self._parts)

    def cdf(self, t: ArrayLike) -> Array:
        return self._mean_of(lambda law: law.cdf(t))

    def sf(self, t: ArrayLike) -> Array:
        return self._mean_of(lambda law: law.sf(t))

    # The quantile of a mixture is between those of its components.
    @quantile
    def ppf(self, q: Array) -> Array:
        each = [law.ppf(q) for law in self.components]
        low, high = np.min(each, axis=0), np.max(each, axis=0)
        return first_time(lambda t: (self.cdf(t) >= q) & (q < 1), low, high)

    @quantile
    def isf(self, q: Array) -> Array:
        each = [law.isf(q) for law in self.components]
        low, high = np.min(each, axis=0), np.max(each, axis=0)
        return first_time(lambda t: (self.sf(t) <= q) & (q > 0), low, high)

    @cached_property
    def has_atoms(self) -> bool:
        return any(law.has_atoms for law in self.components)

    @cached_property
    def breaks(self) -> tuple[float, ...]:
        return tuple(sorted({t for law in self.components for t in law.breaks}))

    @cached_property
    def resolution(self) -> float:
        return max(law.resolution for law in self.components)

    @cached_property
    def ageing(self) -> Ageing:
        """Mixtures of constant and decreasing hazard rates decrease (Proschan 1963); else found on a fine grid."""
        ageings = {law.ageing for law in self.components}
        if len(set(self.components)) == 1 or (
            ageings == {"constant"} and len({law.mean for law in self.components}) == 1
        ):
            return self.components[0].ageing
        if ageings <= {"constant", "decreasing"}:
            return "decreasing"
        return numerical_ageing(self)

    @cached_property
    def mean(self) -> float:
        return float(self._mean_of(lambda law: law.mean))

    @cached_property
    def var(self) -> float:
        if math.isinf(self.mean):
            return math.inf
        return float(self._mean_of(lambda law: law.var + (law.mean - self.mean) ** 2))

    def sample(self, rng: np.random.Generator, size: Size = None) -> Array:
        component = np.searchsorted(np.cumsum(self.weights)[:-1], rng.random(size), side="right")
        draws = np.empty(np.shape(component))
        for i, law in enumerate(self.components):
            chosen = component == i
            draws[chosen] = law.sample(rng, int(np.sum(chosen)))
        return draws

    # The heaviest component decides: a moment of X_(k) is finite if it is for the least of n - k + 1 of its draws.
    def mean_order_statistic(self, k: int, n: int) -> float:
        finite = all(math.isfinite(law.mean_order_statistic(1, n - k + 1)) for law in self.components)
        return super().mean_order_statistic(k, n) if finite else math.inf

    def var_order_statistic(self, k: int, n: int) -> float:
        finite = all(math.isfinite(law.var_order_statistic(1, n - k + 1)) for law in self.components)
        return super().var_order_statistic(k, n) if finite else math.inf

    def integrated_tail(self, t: ArrayLike) -> Array:
        return self._mean_of(lambda law: law.integrated_tail(t))
