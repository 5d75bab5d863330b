"""Tables of distributions of scipy whose quantiles are slow, and what is used of a frozen distribution."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
from scipy import special, stats

from abs_theory.delays.numerics import convolution
from abs_theory.delays.numerics.upper_tail import DensityLaw
from abs_theory.typing import Array, Size

__all__ = [
    "LARGEST_TABLE_ERROR",
    "SLOW_PROBABILITIES",
    "SLOW_QUANTILES",
    "Frozen",
    "Quick",
    "is_slow",
    "own_name",
    "parameters",
    "table_of",
]

# laws of scipy whose own quantiles take half a millisecond each; those without one take longer
SLOW_QUANTILES = ("ksone", "kstwo")
SLOW_PROBABILITIES = ("studentized_range",)  # 5 ms for each P(X <= t), and 70 ms for a quantile
# seconds, from the shape, between whose multiples a law is a polynomial
KINKS = {"ksone": lambda n: 1 / n, "kstwo": lambda n: 0.5 / n, "irwinhall": lambda _: 1.0}
MOST_KINKS = 24  # the others are too weak to matter
REACHES = 100.0, 23.0  # logits up to which a table of a law with slow quantiles is tried; beyond, scipy is asked
SHORT_REACH = 18.0  # where probabilities are slow, too, and have few digits beyond: there the table is continued
LEAST_INDEX = 3.0  # of the tail of the studentized range; scipy computes its P(X > t) down to 1e-8 only
NODES, FEW_NODES = (64, 128, 360), (48, 64, 128)  # of the table
CHECKED_SHARE, CHECKED_LOGITS = 0.65, 24  # where the table is compared with the law
LARGEST_TABLE_ERROR = 1e-7  # of a logit, hence relative of small probabilities

Logit = Callable[[Array], Array]


class Frozen(DensityLaw, Protocol):
    """What the wrappers use of a frozen distribution of scipy."""

    args: tuple[float, ...]  #: positional parameters
    kwds: dict[str, float]  #: keyword parameters
    dist: stats.rv_continuous | stats.rv_discrete  #: the distribution that was frozen

    def mean(self) -> float:
        """E[X]."""
        ...

    def var(self) -> float:
        """Var[X]."""
        ...

    def rvs(self, size: Size, random_state: np.random.Generator) -> Array:
        """Independent draws."""
        ...


def own_name(law: Frozen) -> str:
    """The name of scipy's own distribution; empty for one that somebody else has defined."""
    name = law.dist.name
    return name if type(getattr(stats, name, None)) is type(law.dist) else ""


def parameters(law: Frozen) -> tuple[tuple[float, ...], float, float]:
    """Shapes, loc and scale."""
    return cast("Any", law.dist)._parse_args(*law.args, **law.kwds)


def is_slow(law: Frozen) -> bool:
    """Whether it is a continuous law of scipy whose quantiles are slow."""
    name = own_name(law)
    no_quantiles = type(law.dist)._ppf is stats.rv_continuous._ppf
    return bool(name) and (no_quantiles or name in (*SLOW_QUANTILES, *SLOW_PROBABILITIES))


class Quick(NamedTuple):
    """The table of a law with slow quantiles."""

    table: convolution.TabulatedSum
    reach: float  # logit up to which it holds

    def joined(self, near: Array, x: Array, exact: Callable[[Array], Array], argument: Array) -> Array:
        """``near``, from the table, where the logit ``x`` is within its reach, else ``exact`` of the ``argument``."""
        far = ~(np.abs(x) <= self.reach) | np.isinf(x)
        if far.any():
            near = np.array(near, float)
            near[far] = exact(argument[far])
        return near


def table_of(law: Frozen, logit: Logit, described: str) -> Quick | None:
    """The table of a law with slow quantiles, compared with its ``logit`` between its nodes; None if they differ."""
    shapes = parameters(law)[0]
    if own_name(law) in SLOW_PROBABILITIES:
        index = float(shapes[1])
        if index < LEAST_INDEX:
            raise ArithmeticError(
                f"{described} has a heavy tail (index {index:g}), and scipy knows P(X > t) of it only up to t = 1000; "
                "use Empirical with samples"
            )
        table = _checked_table(law, logit, SHORT_REACH, FEW_NODES)
        if table is None or math.isinf(index):
            return None if table is None else Quick(table, math.inf)
        # the tail of the studentized range falls like t to the power of minus its degrees of freedom
        x_of_y = replace(table.x_of_y, slopes=(table.x_of_y.slopes[0], index))
        y_of_x = replace(table.y_of_x, slopes=(table.y_of_x.slopes[0], 1 / index))
        return Quick(replace(table, x_of_y=x_of_y, y_of_x=y_of_x), math.inf)
    tables = ((reach, _checked_table(law, logit, reach, NODES)) for reach in REACHES)
    return next((Quick(table, reach) for reach, table in tables if table is not None), None)


def _checked_table(
    law: Frozen, logit: Logit, reach: float, nodes: tuple[int, int, int]
) -> convolution.TabulatedSum | None:
    """The table up to logits of ``reach``, if between its nodes it is the law."""
    (low, high), name = map(float, law.support()), own_name(law)
    shapes, loc, scale = parameters(law)
    kinks = loc + scale * KINKS[name](shapes[0]) * np.arange(1, MOST_KINKS + 1) if name in KINKS else np.zeros(0)
    within = tuple(float(t) for t in kinks if low < t < high)
    x = np.linspace(-CHECKED_SHARE * reach, CHECKED_SHARE * reach, CHECKED_LOGITS)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        least = special.expit(-reach)
        times = float(law.ppf(least)) - low, float(law.isf(least))
        try:
            table = convolution.tabulated(logit, convolution.Scale(low, high, within), times, reach, nodes)
        except (ArithmeticError, ValueError):
            return None
        t = table.at_logit(x)
        apart = np.abs(logit(t) - table.logit(t))
    return table if np.all(apart <= LARGEST_TABLE_ERROR) else None
