"""Times of several independent parts, one after another: download, compute, upload; or several local steps."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from abs_theory.checks import check_count
from abs_theory.delays import atoms
from abs_theory.delays.base import Ageing, Array, Delay, Shifted, Size, quantile
from abs_theory.delays.bounded import Deterministic, IrwinHall, Uniform
from abs_theory.delays.discrete import Discrete
from abs_theory.delays.exponential import Erlang, Exponential, Gamma
from abs_theory.delays.from_scipy import as_delay
from abs_theory.delays.mixture import Mixture
from abs_theory.delays.numerics import convolution
from abs_theory.delays.numerics.ageing import numerical_ageing

Parts = Counter[Delay]  # each law, and how many draws of it

MOST_TERMS, EASY_TERMS = 256, 16  # of a mixture of sums
FAINT = -46.0  # log weight of a term that may be left out
MOST_UNIFORM = 64  # summed exactly
FEW_ATOMS = 16  # summed exactly with a continuous law


@dataclass(frozen=True)
class Sum(Shifted):
    """Sum of independent draws, one from each of ``terms``.

    Terms are any laws, also frozen scipy distributions.  Mean and variance are exact.  Fixed times add up apart; gammas
    of one scale and up to 64 uniforms of one width have a closed form; a sum of mixtures is a mixture of sums wherever
    that is little work or a component has atoms or kinks.  Measured times are added one by one, or on a fine lattice
    (``atoms.py``).  What is left goes by numerical convolution, with the accuracy that ``convolution.py`` states: 1e-9
    in the time between smooth laws.
    """

    terms: Sequence[Any]  #: laws, of each of which a draw is added

    def _check(self) -> None:
        if not isinstance(self.terms, Sequence) or not self.terms:
            raise ValueError(f"terms must be a sequence of at least one delay law, got {self.terms!r}")
        object.__setattr__(self, "terms", tuple(map(as_delay, self.terms)))

    @cached_property
    def _normal_form(self) -> tuple[float, Delay]:
        return _added(Counter(self.terms))

    @cached_property
    def fixed_part(self) -> float:
        return self._normal_form[0]

    @cached_property
    def random_part(self) -> Delay:
        return self._normal_form[1]

    @cached_property
    def mean(self) -> float:
        return sum(law.mean for law in self.terms)

    @cached_property
    def var(self) -> float:
        return sum(law.var for law in self.terms)

    @cached_property
    def ageing(self) -> Ageing:
        return _ageing_of_sum(self, self.terms)

    def sample(self, rng: np.random.Generator, size: Size = None) -> Array:
        """Sums of real draws, shape ``size``: all of the first term, then all of the second, ..."""
        return np.asarray(sum(law.sample(rng, size) for law in self.terms))


@dataclass(frozen=True)
class LocalSteps(Shifted):
    """Sum of ``steps`` independent draws from ``delay``, a task of several local steps.

    Any law, also a frozen scipy distribution.  Like ``Sum``, a closed form where there is one, numerical convolution
    elsewhere; mean and variance are exact.
    """

    delay: Any  #: law of one local step
    steps: int  #: number of local steps

    def _check(self) -> None:
        object.__setattr__(self, "delay", as_delay(self.delay))
        check_count("steps", self.steps)

    @cached_property
    def _normal_form(self) -> tuple[float, Delay]:
        return _added(Counter({self.delay: int(self.steps)}))

    @cached_property
    def fixed_part(self) -> float:
        return self._normal_form[0]

    @cached_property
    def random_part(self) -> Delay:
        return self._normal_form[1]

    @cached_property
    def mean(self) -> float:
        return self.steps * self.delay.mean

    @cached_property
    def var(self) -> float:
        return self.steps * self.delay.var

    @cached_property
    def ageing(self) -> Ageing:
        return _ageing_of_sum(self, (self.delay,) * min(self.steps, 2))

    def sample(self, rng: np.random.Generator, size: Size = None) -> Array:
        """Sums of real draws, shape ``size``: the draws of one task follow one another in the stream."""
        shape = () if size is None else (size,) if isinstance(size, int | np.integer) else tuple(size)
        return self.delay.sample(rng, (*shape, self.steps)).sum(axis=-1)


def _ageing_of_sum(law: Shifted, terms: Sequence[Delay]) -> Ageing:
    """Sums of increasing (or constant) hazard rates increase (Barlow & Proschan 1975); else found on a fine grid."""
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

    Parts have no atoms, but for one with a count of 1 that comes first.
    """

    parts: tuple[tuple[Delay, int], ...]

    @cached_property
    def _table(self) -> Any:
        (first, _), *others = self.parts
        if not isinstance(first, Discrete):
            quick = [(convolution.table(law) if isinstance(law, Mixture) else law, n) for law, n in self.parts]
            return convolution.sum_of_laws(quick)
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

    # A sum has the moments that its heaviest term has.
    def mean_order_statistic(self, k: int, n: int) -> float:
        finite = all(math.isfinite(law.mean_order_statistic(1, n - k + 1)) for law, _ in self.parts)
        return super().mean_order_statistic(k, n) if finite else math.inf

    def var_order_statistic(self, k: int, n: int) -> float:
        finite = all(math.isfinite(law.var_order_statistic(1, n - k + 1)) for law, _ in self.parts)
        return super().var_order_statistic(k, n) if finite else math.inf

    def integrated_tail(self, t: ArrayLike) -> Array:
        return super().integrated_tail(t) if math.isfinite(self.mean) else np.full(np.shape(t), math.inf)


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
    rest = next(iter(smooth)) if smooth.total() == 1 else NumericalSum(tuple(smooth.items()))
    if not discrete:
        return (fixed, rest) if smooth else (0.0, Deterministic(fixed))
    measured = atoms.summed(discrete)
    if not smooth:
        return fixed, measured
    if measured.times.size <= FEW_ATOMS:
        return fixed, Mixture(
            measured.weights / measured.weights.sum(), [After(float(t), rest) for t in measured.times]
        )
    return fixed, NumericalSum(((measured, 1), *smooth.items()))


def _leaves(terms: Parts) -> Iterator[tuple[float, Delay | None, int]]:
    """Fixed times, and laws that neither have a fixed part nor are sums, with their numbers of draws."""
    for law, count in terms.items():
        if (measured := atoms.as_atoms(law)) is not None:
            one = measured.times.size == 1
            yield (count * float(measured.times[0]), None, 0) if one else (0.0, measured, count)
            continue
        match law:
            case Uniform(low=low, high=high):
                yield count * low, IrwinHall(1, high - low), count
            case NumericalSum(parts=parts):
                yield from _leaves(Parts({part: count * draws for part, draws in parts}))
            case Shifted(fixed_part=shift, random_part=rest):
                yield count * shift, None, 0
                yield from _leaves(Parts({rest: count}))
            case _:
                yield 0.0, law, count


def _grouped(parts: Parts) -> Parts:
    """The same sum with as few draws as closed forms allow."""
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
        whole = shape == int(shape)
        law = Exponential(scale) if shape == 1 else Erlang(int(shape), scale) if whole else Gamma(shape, scale)
        grouped[law] += 1
    for width, steps in widths.items():
        if 1 < steps <= MOST_UNIFORM:
            grouped[IrwinHall(steps, width)] += 1
        else:
            grouped[Uniform(0.0, width)] += steps
    return grouped


def _to_expand(law: Mixture, count: int) -> bool:
    """Whether a sum over ``law`` is to be a mixture of sums: if convolution cannot do it, or if that is little work."""
    return law.has_atoms or len(law.breaks) > 2 or math.comb(count + len(law.components) - 1, count) <= EASY_TERMS


def _mixture_of_sums(law: Mixture, count: int, others: Parts) -> Delay:
    """Sum of ``count`` draws from ``law`` and of ``others``, by how many draws come from each component."""
    groups = list(zip(law.weights, law.components, strict=True))
    if math.comb(count + len(groups) - 1, count) > MOST_TERMS:
        groups = [_gathered(law, discrete) for discrete in (True, False)]
        if groups[1][1].has_atoms:
            raise ValueError(
                f"a sum of {count} draws from {law} has too many cases; let each component be "
                "wholly continuous or wholly discrete"
            )
    log_weights, sums = [], []
    total = math.fsum(weight for weight, _ in groups)
    for chosen in combinations_with_replacement(range(len(groups)), count):
        draws = Counter(chosen)
        log_weight = math.lgamma(count + 1)
        for i, times in draws.items():
            log_weight += times * math.log(groups[i][0] / total) - math.lgamma(times + 1)
        if log_weight > FAINT:
            log_weights.append(log_weight)
            fixed, rest = _added(others + Parts({groups[i][1]: times for i, times in draws.items()}))
            sums.append(After(fixed, rest) if fixed else rest)
    weights = np.exp(log_weights)
    return Mixture(weights / weights.sum(), sums)


def _gathered(law: Mixture, discrete: bool) -> tuple[float, Delay]:
    """Total weight and mixture of the components that are discrete, or that are not."""
    chosen = [
        (w, c) for w, c in zip(law.weights, law.components, strict=True) if (atoms.as_atoms(c) is None) != discrete
    ]
    weights, components = zip(*chosen, strict=True)
    total = math.fsum(weights)
    return total, components[0] if len(components) == 1 else Mixture([w / total for w in weights], components)
