"""Sums of independent times: download, compute and upload, or several local steps."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations_with_replacement
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike

from abs_theory.checks import check_count
from abs_theory.delays import atoms
from abs_theory.delays.base import Ageing, Array, Delay, Shifted, Size, quantile
from abs_theory.delays.bounded import Deterministic, IrwinHall, Uniform
from abs_theory.delays.discrete import Discrete
from abs_theory.delays.exponential import Erlang, Exponential, Gamma, HyperExponential
from abs_theory.delays.from_scipy import ScipyContinuous, as_delay
from abs_theory.delays.mixture import Mixture
from abs_theory.delays.numerics import convolution
from abs_theory.delays.numerics.ageing import numerical_ageing
from abs_theory.typing import DelayLike, Law

Parts = Counter[Delay]  # each law, and how many draws of it

MOST_CASES = 256  # sums in a mixture of sums, at most
EASY_CASES = 16  # sums in a mixture of sums that costs less than a convolution
NEGLIGIBLE_LOG_WEIGHT = -46.0  # exp(-46) = 1e-20: a sum with a smaller weight is left out
MOST_UNIFORM_TERMS = 64  # uniform times that are summed in closed form
MOST_ATOMS_EXACT = 16  # atoms that are summed exactly with a continuous law


@dataclass(frozen=True)
class Sum(Shifted):
    """Sum of independent draws, one from each of ``terms``.

    Terms are any laws, also frozen scipy distributions.  Mean and variance are exact.  Fixed times are added
    separately.  Gammas of one scale and up to 64 uniforms of one width have closed forms.  A sum of mixtures is a
    mixture of sums where that is little work, or where a component has atoms or kinks.  Measured times are added one by
    one, or on a fine lattice (``atoms``).  All other sums are numerical convolutions, with the accuracy stated in
    ``convolution``: 1e-9 of the time for smooth laws.

    See also ``LocalSteps``, the sum of several draws from one law.

    >>> from abs_theory.delays import Deterministic, Exponential
    >>> Sum(terms=(Deterministic(0.5), Exponential(1.0), Exponential(1.0))).mean
    2.5
    """

    terms: Sequence[DelayLike]  #: laws; a draw from each is added

    def _check(self) -> None:
        if not isinstance(self.terms, Sequence) or not self.terms:
            raise ValueError(f"terms must be a sequence of at least one delay law, got {self.terms!r}")
        object.__setattr__(self, "terms", tuple(map(as_delay, self.terms)))

    @cached_property
    def laws(self) -> tuple[Delay, ...]:
        """The terms, all as laws of ``abs_theory.delays``."""
        return cast("tuple[Delay, ...]", self.terms)

    @cached_property
    def _normal_form(self) -> tuple[float, Delay]:
        return _added(Counter(self.laws))

    @cached_property
    def fixed_part(self) -> float:
        return self._normal_form[0]

    @cached_property
    def random_part(self) -> Delay:
        return self._normal_form[1]

    @cached_property
    def mean(self) -> float:
        return sum(law.mean for law in self.laws)

    @cached_property
    def var(self) -> float:
        return sum(law.var for law in self.laws)

    @cached_property
    def ageing(self) -> Ageing:
        return _ageing_of_sum(self, self.laws)

    def sample(self, rng: np.random.Generator, size: Size = None) -> Array:
        """Sums of draws, shape ``size``: all draws of the first term, then all draws of the second, and so on."""
        return np.asarray(sum(law.sample(rng, size) for law in self.laws))


@dataclass(frozen=True)
class LocalSteps(Shifted):
    """Sum of ``steps`` independent draws from ``delay``, a task of several local steps.

    ``delay`` is any law, also a frozen scipy distribution.  As for ``Sum``, the law has a closed form where one is
    known, and is a numerical convolution elsewhere.  Mean and variance are exact.

    >>> from abs_theory.delays import Exponential
    >>> LocalSteps(Exponential(mean=0.5), steps=4).var
    1.0
    """

    delay: DelayLike  #: law of one local step
    steps: int  #: number of local steps, >= 1

    def _check(self) -> None:
        object.__setattr__(self, "delay", as_delay(self.delay))
        check_count("steps", self.steps)

    @cached_property
    def law(self) -> Delay:
        """The law of one local step, as a law of ``abs_theory.delays``."""
        return cast("Delay", self.delay)

    @cached_property
    def _normal_form(self) -> tuple[float, Delay]:
        return _added(Counter({self.law: int(self.steps)}))

    @cached_property
    def fixed_part(self) -> float:
        return self._normal_form[0]

    @cached_property
    def random_part(self) -> Delay:
        return self._normal_form[1]

    @cached_property
    def mean(self) -> float:
        return self.steps * self.law.mean

    @cached_property
    def var(self) -> float:
        return self.steps * self.law.var

    @cached_property
    def ageing(self) -> Ageing:
        return _ageing_of_sum(self, (self.law,) * min(self.steps, 2))

    def sample(self, rng: np.random.Generator, size: Size = None) -> Array:
        """Sums of draws, shape ``size``; the draws of one task follow one another in the stream."""
        shape = () if size is None else (size,) if isinstance(size, int | np.integer) else tuple(size)
        return self.law.sample(rng, (*shape, self.steps)).sum(axis=-1)


def _ageing_of_sum(law: Shifted, terms: Sequence[Delay]) -> Ageing:
    """Increasing if all terms are increasing or constant (Barlow & Proschan 1975); otherwise found on a fine grid."""
    if len(terms) == 1:
        return terms[0].ageing
    if {term.ageing for term in terms} <= {"increasing", "constant"}:
        return "increasing"
    return numerical_ageing(law)


@dataclass(frozen=True)
class After(Shifted):
    """``law`` after a fixed time of ``shift`` seconds."""

    shift: float
    law: Delay

    @cached_property
    def fixed_part(self) -> float:
        return self.shift

    @cached_property
    def random_part(self) -> Delay:
        return self.law


@dataclass(frozen=True)
class NumericalSum(Delay):
    """Sum of independent draws, ``count`` from each law of ``parts``, tabulated by numerical convolution.

    Parts have no atoms, except that the first may be a discrete law with a count of 1.
    """

    parts: tuple[tuple[Delay, int], ...]

    @cached_property
    def _table(self) -> Any:
        (first, _), *others = self.parts
        if not isinstance(first, Discrete):
            return convolution.sum_of_laws([(_quick(law), count) for law, count in self.parts])
        other = NumericalSum(tuple(others)) if len(others) > 1 or others[0][1] > 1 else others[0][0]
        return atoms.plus_continuous(first, other)

    def cdf(self, t: ArrayLike) -> Array:
        return self._table.cdf(t)

    def sf(self, t: ArrayLike) -> Array:
        return self._table.sf(t)

    @quantile
    def ppf(self, q: Array) -> Array:
        return self._table.ppf(q)

    @quantile
    def isf(self, q: Array) -> Array:
        return self._table.isf(q)

    @cached_property
    def breaks(self) -> tuple[float, ...]:
        ends = zip(*((count * law.breaks[0], count * law.breaks[-1]) for law, count in self.parts), strict=True)
        return tuple(map(sum, ends))

    @cached_property
    def resolution(self) -> float:
        return 1e-9 if not isinstance(self.parts[0][0], Discrete) else 1e-5

    @cached_property
    def ageing(self) -> Ageing:
        return _ageing_of_sum(self, [law for law, count in self.parts for _ in range(min(count, 2))])  # pyright: ignore

    @cached_property
    def mean(self) -> float:
        return sum(count * law.mean for law, count in self.parts)

    @cached_property
    def var(self) -> float:
        return sum(count * law.var for law, count in self.parts)

    # A moment of a sum is finite if it is for the term of heaviest tail.
    def mean_order_statistic(self, k: int, n: int) -> float:
        finite = all(math.isfinite(law.mean_order_statistic(1, n - k + 1)) for law, _ in self.parts)
        return super().mean_order_statistic(k, n) if finite else math.inf

    def var_order_statistic(self, k: int, n: int) -> float:
        finite = all(math.isfinite(law.var_order_statistic(1, n - k + 1)) for law, _ in self.parts)
        return super().var_order_statistic(k, n) if finite else math.inf

    def integrated_tail(self, t: ArrayLike) -> Array:
        return super().integrated_tail(t) if math.isfinite(self.mean) else np.full(np.shape(t), math.inf)


def _quick(law: Delay) -> Law:
    """``law``, or its table if its quantiles take long."""
    if isinstance(law, ScipyContinuous):
        return law if law.quick is None else law.quick.table
    return convolution.table(law) if isinstance(law, Mixture | HyperExponential) else law


def _added(terms: Parts) -> tuple[float, Delay]:
    """A fixed time and a law whose sum is the sum of ``terms``."""
    fixed, parts = 0.0, Parts()
    for shift, law, count in _leaves(terms):
        fixed += shift
        if law is not None:
            parts[law] += count
    for law, count in parts.items():
        if isinstance(law, Mixture) and _to_expand(law, count):
            return fixed, _mixture_of_sums(law, count, parts - Parts({law: count}))
    discrete = Counter({law: count for law, count in parts.items() if isinstance(law, Discrete)})
    smooth = _grouped(Parts({law: count for law, count in parts.items() if law not in discrete}))
    continuous = next(iter(smooth)) if smooth.total() == 1 else NumericalSum(tuple(smooth.items()))
    if not discrete:
        return (fixed, continuous) if smooth else (0.0, Deterministic(fixed))
    measured = atoms.summed(discrete)
    if not smooth:
        return fixed, measured
    if measured.times.size <= MOST_ATOMS_EXACT:
        return fixed, Mixture(
            measured.weights / measured.weights.sum(), [After(float(t), continuous) for t in measured.times]
        )
    return fixed, NumericalSum(((measured, 1), *smooth.items()))


def _leaves(terms: Parts) -> Iterator[tuple[float, Delay | None, int]]:
    """Fixed times, and laws that are no sums and have no fixed part, with their numbers of draws."""
    for law, count in terms.items():
        if (measured := atoms.as_atoms(law)) is not None:
            is_fixed = measured.times.size == 1
            yield (count * float(measured.times[0]), None, 0) if is_fixed else (0.0, measured, count)
            continue
        match law:
            case Uniform(low=low, high=high):
                yield count * low, IrwinHall(1, high - low), count
            case NumericalSum(parts=parts):
                yield from _leaves(Parts({part: count * draws for part, draws in parts}))
            case HyperExponential(probs=probs, means=means) if count > 1 and not convolution.is_smooth(law):
                yield 0.0, Mixture(probs, [Exponential(mean) for mean in means]), count
            case Shifted(fixed_part=shift, random_part=random_part):
                yield count * shift, None, 0
                yield from _leaves(Parts({random_part: count}))
            case _:
                yield 0.0, law, count


def _grouped(parts: Parts) -> Parts:
    """The same sum, written with as few draws as closed forms allow."""
    gammas: dict[float, float] = {}
    widths, grouped = Counter[float](), Parts()
    for law, count in parts.items():
        match law:
            case Exponential(mean=scale):
                gammas[scale] = gammas.get(scale, 0) + count
            case Gamma(shape=shape, scale=scale):
                gammas[scale] = gammas.get(scale, 0) + count * shape
            case IrwinHall(steps=steps, width=width):
                widths[width] += count * steps
            case _:
                grouped[law] += count
    for scale, shape in gammas.items():
        is_erlang = shape == int(shape)
        law = Exponential(scale) if shape == 1 else Erlang(int(shape), scale) if is_erlang else Gamma(shape, scale)
        grouped[law] += 1
    for width, steps in widths.items():
        if 1 < steps <= MOST_UNIFORM_TERMS:
            grouped[IrwinHall(steps, width)] += 1
        else:
            grouped[Uniform(0.0, width)] += steps
    return grouped


def _to_expand(law: Mixture, count: int) -> bool:
    """Whether to write a sum over ``law`` as a mixture of sums: convolution cannot do it, or it is little work."""
    if law.has_atoms or len(law.breaks) > 2 or math.comb(count + len(law.laws) - 1, count) <= EASY_CASES:
        return True
    return not convolution.is_smooth(law)


def _mixture_of_sums(law: Mixture, count: int, others: Parts) -> Delay:
    """Sum of ``count`` draws from ``law`` and of ``others``, by how many draws come from each component."""
    groups = list(zip(law.weights, law.laws, strict=True))
    if math.comb(count + len(groups) - 1, count) > MOST_CASES:
        groups = [_gathered(law, discrete) for discrete in (True, False)] if law.has_atoms else _smooth_groups(law)
        if len(groups) == 2 and groups[1][1].has_atoms:
            raise ValueError(
                f"a sum of {count} draws from {law} has too many cases; each component must be "
                "purely continuous or purely discrete"
            )
    log_weights, sums = [], []
    total = math.fsum(weight for weight, _ in groups)
    for chosen in combinations_with_replacement(range(len(groups)), count):
        draws = Counter(chosen)
        log_weight = math.lgamma(count + 1)
        for i, times in draws.items():
            log_weight += times * math.log(groups[i][0] / total) - math.lgamma(times + 1)
        if log_weight > NEGLIGIBLE_LOG_WEIGHT:
            log_weights.append(log_weight)
            fixed, random_part = _added(others + Parts({groups[i][1]: times for i, times in draws.items()}))
            sums.append(After(fixed, random_part) if fixed else random_part)
    weights = np.exp(log_weights)
    return Mixture(weights / weights.sum(), sums)


def _smooth_groups(law: Mixture) -> list[tuple[float, Delay]]:
    """Total weights and mixtures of components that lie close enough together to have no gaps between them."""
    parts = sorted(zip(law.weights, law.laws, strict=True), key=lambda part: float(part[1].ppf(0.5)))
    groups: list[list[tuple[float, Delay]]] = []
    for part in parts:
        together = [*groups[-1], part] if groups else [part]
        if groups and convolution.is_smooth(_of_group(together)[1]):
            groups[-1] = together
        else:
            groups.append([part])
    return [_of_group(group) for group in groups]


def _of_group(group: Sequence[tuple[float, Delay]]) -> tuple[float, Delay]:
    """Total weight and mixture of weighted laws."""
    weights, laws = zip(*group, strict=True)
    total = math.fsum(weights)
    return total, laws[0] if len(laws) == 1 else Mixture([weight / total for weight in weights], laws)


def _gathered(law: Mixture, discrete: bool) -> tuple[float, Delay]:
    """Total weight and mixture of the components that are discrete, or that are not."""
    chosen = [(w, c) for w, c in zip(law.weights, law.laws, strict=True) if (atoms.as_atoms(c) is None) != discrete]
    return _of_group(chosen)
