"""A delay that follows one of several laws, drawn at random for each task."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike

from abs_theory.checks import check_positive
from abs_theory.delays.base import Ageing, Array, Delay, Size, quantile
from abs_theory.delays.from_scipy import as_delay
from abs_theory.delays.numerics.ageing import numerical_ageing
from abs_theory.delays.numerics.bisection import first_time
from abs_theory.delays.numerics.lattice import common_step
from abs_theory.typing import DelayLike

FEW_JUMPS = 64  # of a cdf; of more, only those that can be seen count


@dataclass(frozen=True)
class Mixture(Delay):
    """A draw from ``components[i]`` with probability ``weights[i]``.

    Components are any laws, also fixed or measured times and frozen scipy distributions.  Quantiles are found by
    bisection to the last bit, so gaps, jumps and different scales are no problem.

    >>> from abs_theory.delays import Deterministic, Exponential
    >>> Mixture(weights=(0.5, 0.5), components=(Exponential(1.0), Deterministic(3.0))).mean
    2.0
    """

    weights: Sequence[float]  #: probabilities of the components, > 0, with sum 1
    components: Sequence[DelayLike]  #: laws

    def _check(self) -> None:
        weights = np.atleast_1d(self.weights).tolist()
        for i, weight in enumerate(weights):
            check_positive(f"weights[{i}]", weight)
        if not isinstance(self.components, Sequence):
            raise ValueError(f"components must be a sequence of delay laws, got {self.components!r}")
        object.__setattr__(self, "weights", tuple(map(float, weights)))
        object.__setattr__(self, "components", tuple(map(as_delay, self.components)))
        if len(self.weights) != len(self.components) or not math.isclose(math.fsum(self.weights), 1, abs_tol=1e-9):
            raise ValueError(f"weights must sum to 1 and have the same length as components, got {self}")

    @cached_property
    def laws(self) -> tuple[Delay, ...]:
        """The components, all as laws of ``abs_theory.delays``."""
        return cast("tuple[Delay, ...]", self.components)

    @cached_property
    def _parts(self) -> list[tuple[float, Delay]]:
        """Weights and laws, the largest weight last; the weights add up to exactly 1 in this order."""
        parts = sorted(zip(self.weights, self.laws, strict=True), key=lambda part: part[0])
        total = math.fsum(self.weights)
        smaller = [weight / total for weight, _ in parts[:-1]]
        return list(zip([*smaller, 1.0 - sum(smaller)], (law for _, law in parts), strict=True))

    def _mean_of(self, f: Callable[[Delay], Any]) -> Any:
        return sum(weight * f(law) for weight, law in self._parts)

    def cdf(self, t: ArrayLike) -> Array:
        return self._mean_of(lambda law: law.cdf(t))

    def sf(self, t: ArrayLike) -> Array:
        return self._mean_of(lambda law: law.sf(t))

    # The quantile of a mixture is between those of its components.
    @quantile
    def ppf(self, q: Array) -> Array:
        of_laws = [law.ppf(q) for law in self.laws]
        low, high = np.min(of_laws, axis=0), np.max(of_laws, axis=0)
        return first_time(lambda t: (self.cdf(t) >= q) & (q < 1), low, high)

    @quantile
    def isf(self, q: Array) -> Array:
        of_laws = [law.isf(q) for law in self.laws]
        low, high = np.min(of_laws, axis=0), np.max(of_laws, axis=0)
        return first_time(lambda t: (self.sf(t) <= q) & (q > 0), low, high)

    @cached_property
    def has_atoms(self) -> bool:
        return any(law.has_atoms for law in self.laws)

    @cached_property
    def lattice(self) -> float:
        return common_step(np.array(self.breaks)) if all(law.lattice for law in self.laws) else 0.0

    @cached_property
    def breaks(self) -> tuple[float, ...]:
        """Those of all components, but for jumps that are lost in the rounding of the other components."""
        times = np.array(sorted({t for law in self.laws for t in law.breaks}))
        jumps = np.array(sorted({t for law in self.laws if law.has_atoms for t in law.breaks}))
        if jumps.size <= FEW_JUMPS or all(law.lattice for law in self.laws):
            return tuple(times.tolist())
        before = np.nextafter(jumps, 0.0)
        cdf, sf = self.cdf(jumps), self.sf(jumps)
        seen = np.where(cdf < sf, self.cdf(before) != cdf, self.sf(before) != sf)
        lost = jumps[~seen & (jumps > times[0]) & (jumps < times[-1])]
        kinks = [t for law in self.laws if not law.has_atoms for t in law.breaks]
        return tuple(times[~np.isin(times, np.setdiff1d(lost, kinks))].tolist())

    @cached_property
    def resolution(self) -> float:
        return max(law.resolution for law in self.laws)

    @cached_property
    def ageing(self) -> Ageing:
        """Decreasing if all components are constant or decreasing (Proschan 1963); otherwise found on a fine grid."""
        ageings = {law.ageing for law in self.laws}
        if len(set(self.laws)) == 1 or (ageings == {"constant"} and len({law.mean for law in self.laws}) == 1):
            return self.laws[0].ageing
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
        for i, law in enumerate(self.laws):
            chosen = component == i
            draws[chosen] = law.sample(rng, int(np.sum(chosen)))
        return draws

    # A moment of X_(k) is finite if that of the smallest of n - k + 1 draws is, for the component of heaviest tail.
    def mean_order_statistic(self, k: int, n: int) -> float:
        finite = all(math.isfinite(law.mean_order_statistic(1, n - k + 1)) for law in self.laws)
        return super().mean_order_statistic(k, n) if finite else math.inf

    def var_order_statistic(self, k: int, n: int) -> float:
        finite = all(math.isfinite(law.var_order_statistic(1, n - k + 1)) for law in self.laws)
        return super().var_order_statistic(k, n) if finite else math.inf

    def integrated_tail(self, t: ArrayLike) -> Array:
        return self._mean_of(lambda law: law.integrated_tail(t))
