"""What the optimizer is asked: the goal of a run, and which candidates to compare.

The help texts of the command line are those of the fields here.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from abs_theory.checks import (
    check_count,
    check_k,
    check_max_staleness,
    check_nonnegative,
    check_positive,
    explains_types,
    store_floats,
)
from abs_theory.typing import Array

__all__ = ["MODELS", "OBJECTIVES", "SEARCH", "Budget", "Goal", "Search", "Target"]

MODELS = ("expected", "bound")
OBJECTIVES = {"time": "seconds", "communication": "messages"}  # of a Target -> column of the table that is minimised
SEARCH = "search"  # as max_staleness: try many thresholds


def _option(metavar: str, help: str) -> dict[str, str]:
    """The metadata of a field that is an option of a command."""
    return {"metavar": metavar, "help": help}


@dataclass(frozen=True, kw_only=True)
class Goal(ABC):
    """How errors are predicted: what ``Target`` and ``Budget`` have in common.

    Raises ValueError unless ``model`` is known, 0 < ``delta`` < 1, and ``gamma`` comes with the model "bound".
    """

    #: "expected": the error expected near a quadratic; "bound": an error that is never exceeded
    model: str = field(
        default="expected",
        metadata=_option("WORD", "updates as expected near a quadratic, or guaranteed: expected, bound"),
    )
    delta: float = 0.01  #: of a bound: probability that some gradient is staler than the bound assumes
    gamma: float | None = None  #: of a bound: the assumption of Dutta et al. (2018), which replaces the staleness

    def __post_init__(self) -> None:
        if self.model not in MODELS:
            raise ValueError(f"model must be one of {', '.join(MODELS)}, got {self.model!r}")
        check_positive("delta", self.delta)
        if not self.delta < 1:
            raise ValueError(f"delta must be in (0, 1), got {self.delta}")
        if self.gamma is not None and self.model != "bound":
            raise ValueError('gamma is an assumption of a bound: give model="bound" with it')

    @property
    @abstractmethod
    def minimised(self) -> str:
        """The column of the table of candidates that the best choice minimises."""


@explains_types
@dataclass(frozen=True)
class Target(Goal):
    """Reach the mean squared gradient norm ``error``: as soon as possible, or with the fewest messages.

    Raises ValueError unless ``error`` > 0 and ``objective`` is "time" or "communication".

    >>> Target(0.05, objective="communication").minimised
    'messages'
    """

    #: mean of E|grad F|^2 over the updates of the run
    error: float = field(metadata=_option("NUMBER", "mean squared gradient norm to reach"))
    objective: str = field(
        default="time", metadata=_option("WORD", "what to save until then: time, or communication")
    )  #: what to save

    def __post_init__(self) -> None:
        check_positive("error", self.error)
        store_floats(self, "error")
        super().__post_init__()
        if self.objective not in OBJECTIVES:
            raise ValueError(f"objective must be one of {', '.join(OBJECTIVES)}, got {self.objective!r}")

    @property
    def minimised(self) -> str:
        return OBJECTIVES[self.objective]


@explains_types
@dataclass(frozen=True)
class Budget(Goal):
    """Train for ``seconds`` and reach the least mean squared gradient norm in that time.

    Raises ValueError unless ``seconds`` > 0.

    >>> Budget(60.0).minimised
    'gradient_norm2'
    """

    seconds: float = field(metadata=_option("NUMBER", "or: seconds to train"))  #: to train

    def __post_init__(self) -> None:
        check_positive("seconds", self.seconds)
        store_floats(self, "seconds")
        super().__post_init__()

    @property
    def minimised(self) -> str:
        return "gradient_norm2"


@dataclass(frozen=True, eq=False)
class Search:
    """The candidates to compare, and what a round of each costs.

    By default all k are candidates (for n > 128 about 100 of them, then finer around the best).  With each k, the
    thresholds 0, 1, 2, 3, 4, 6, 8, 12, 16, 32, ... up to 8 n / k and none; with each of these, the best step.
    Raises ValueError for an empty list, a k or threshold that is no whole number, a step that is not > 0, or
    ``message_seconds`` < 0.

    >>> Search(k=[1, 2, 4], max_staleness=[0, None]).thresholds()
    array([ 0., inf])
    """

    #: one value or several; None: all
    k: int | Sequence[int] | None = field(
        default=None, metadata=_option("K", "gradients waited for; repeat for several")
    )
    #: one value or several, None is no threshold; "search": many
    max_staleness: float | str | Sequence[float | None] | None = field(
        default=SEARCH, metadata=_option("UPDATES", "candidates, repeat for several; none: nobody restarts")
    )
    #: one value or several, as far as the model covers them; None: the best for each k and threshold
    step_size: float | Sequence[float] | None = field(
        default=None, metadata=_option("NUMBER", "candidates, repeat for several")
    )
    #: seconds that replace the round times of the theory under every threshold: a function of k, or values over 1..n
    round_time: Callable[[int], float] | ArrayLike | None = None
    #: seconds charged for each message, one after another, as by a server that waits while its link is busy
    message_seconds: float = field(default=0.0, metadata=_option("NUMBER", "charged for each message"))

    def __post_init__(self) -> None:
        check_nonnegative("message_seconds", self.message_seconds)
        for k in _several("k", self.k):
            if k is not None:
                check_count("k", k)
        self.thresholds()
        for step in self.steps():
            if self.step_size is not None:
                check_positive("step_size", step)

    def ks(self, n: int) -> NDArray[np.int64] | None:
        """The k to compare, in order; None: all.  Raises ValueError unless they are in 1..``n``."""
        if self.k is None:
            return None
        ks = _several("k", self.k)
        for k in ks:
            check_k(k, n)
        return np.unique(ks).astype(np.int64)

    def thresholds(self) -> Array | None:
        """The thresholds to compare, in order, inf for none; None: many."""
        if isinstance(self.max_staleness, str) and self.max_staleness == SEARCH:
            return None
        thresholds = _several("max_staleness", self.max_staleness)
        for threshold in thresholds:
            check_max_staleness(threshold)
        return np.unique([math.inf if threshold is None else float(threshold) for threshold in thresholds])

    def steps(self) -> list[float | None]:
        """The steps to compare; [None]: the best for each k and threshold."""
        return _several("step_size", self.step_size)

    def round_times(self, n: int) -> Array | None:
        """The round times given for k = 1..``n``, None if there are none; raises ValueError unless all are > 0."""
        if self.round_time is None:
            return None
        given = self.round_time
        times = np.asarray([given(k) for k in range(1, n + 1)] if callable(given) else given, dtype=float)
        if times.shape != (n,) or not np.all(times > 0):
            raise ValueError(f"round_time must be a function of k, or n={n} times in seconds > 0, got {given!r}")
        return times


def _several(name: str, value: Any) -> list[Any]:
    """One value or several, as a list."""
    values = list(value) if np.ndim(value) else [value]
    if not values:
        raise ValueError(f"{name} must not be empty")
    return values
