"""A fleet: n workers whose times can be drawn.

A fleet is a frozen value, and its repr says how a run was made.  ``Independent`` workers draw every time anew from
their laws.  A ``Wrapper`` adds something to the workers of another fleet, ``Where`` to some of them only.  Wrappers
draw from streams of their own, so the j-th step of a worker is the same draw with and without them.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from itertools import groupby
from numbers import Real
from typing import Any, NamedTuple, Protocol, cast, runtime_checkable

import numpy as np

from abs_theory.checks import MAX_WORKERS, check_count, check_positive, checked_array, explains_types, is_integer
from abs_theory.delays import Delay, Exponential, as_delay, check_mean
from abs_theory.typing import Laws
from simulations.streams import streams, task_times


class Times(NamedTuple):
    """The times of one worker, in seconds."""

    step: Callable[[float, int], float]
    """Seconds of its next local step, begun at ``time`` (s) with model ``version`` (updates made before)."""
    download: Iterator[float] | None = None
    """Seconds from the server sending a model to the worker starting on it; None: 0."""
    upload: Iterator[float] | None = None
    """Seconds from the end of a task to its arrival at the server; None: 0."""
    absences: Iterator[tuple[float, float]] | None = None
    """(leaves, is back), in seconds, increasing and disjoint; its work in progress is lost.  None: it never leaves."""


@runtime_checkable
class Fleet(Protocol):
    """``n`` workers.  The times of a replicate are drawn from streams of its own; two replicates share no state."""

    @property
    def n(self) -> int:
        """The number of workers."""
        ...

    def times(self, seed: int, replicate: int) -> list[Times]:
        """The times of each worker in this replicate."""
        ...


@dataclass(frozen=True, repr=False)
class Independent:
    """Workers whose step times are independent draws from their laws, one law per worker.

    >>> from abs_theory.delays import Exponential
    >>> Independent((Exponential(1.0), Exponential(2.0))).n
    2
    """

    laws: tuple[Delay, ...]  #: of a local step, one per worker

    def __post_init__(self) -> None:
        if not (isinstance(self.laws, Sequence) and self.laws):
            raise ValueError(f"laws must be a sequence of delay laws, one per worker, got {self.laws!r}")
        object.__setattr__(self, "laws", tuple(map(as_delay, self.laws)))
        for law in {id(law): law for law in self.laws}.values():
            check_mean(law)

    def __repr__(self) -> str:
        runs = [(law, len(list(same))) for law, same in groupby(self.laws)]
        return f"Independent({' + '.join(f'({law!r},) * {count}' for law, count in runs)})"

    @property
    def n(self) -> int:
        return len(self.laws)

    def times(self, seed: int, replicate: int) -> list[Times]:
        rngs = streams(seed, replicate, "delay", self.n)
        return [Times(_in_turn(task_times(law, rng))) for law, rng in zip(self.laws, rngs, strict=True)]


def as_fleet(delay: Laws | Fleet, n: int) -> Fleet:
    """``n`` workers from a law of their step times, a sequence of n laws, or a Fleet of n workers.

    A law is a Delay or a frozen scipy distribution.  Raises ValueError for anything else.

    >>> from abs_theory.delays import Exponential
    >>> as_fleet(Exponential(1.0), 3)
    Independent((Exponential(mean=1.0),) * 3)
    """
    check_count("n", n, maximum=MAX_WORKERS)
    if isinstance(delay, Fleet) and not isinstance(delay, type):
        if delay.n != n:
            raise ValueError(f"the fleet has {delay.n} workers, got n={n}")
        return delay
    laws: tuple[Any, ...] = tuple(delay) if isinstance(delay, Sequence) else (delay,) * n
    if len(laws) != n or not all(isinstance(law, Delay) or hasattr(law, "dist") for law in laws):
        text, number = "; abs_theory.delays.text.delay_law reads a text", "; give one such as Exponential(mean=1.0)"
        mend = text if isinstance(delay, str) else "" if isinstance(delay, Sequence) else number
        mend = ": give a list" if isinstance(delay, Iterator) else mend
        raise ValueError(f"delay must be one Delay or a sequence of n={n} of them, got {delay!r}{mend}")
    return Independent(laws if isinstance(delay, Sequence) else (as_delay(laws[0]),) * n)


@dataclass(frozen=True)
class Wrapper(ABC):
    """A fleet made of another one, with something added to its workers."""

    fleet: Fleet  #: the workers without it

    def __post_init__(self) -> None:
        _check_fleet("fleet", self.fleet)
        self._check()

    def _check(self) -> None:  # noqa: B027
        """Raise ValueError unless the other fields are valid; put them into their plain form."""

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    @property
    def n(self) -> int:
        return self.fleet.n

    def streams(self, seed: int, replicate: int, role: str) -> list[np.random.Generator]:
        """One generator per worker, not shared with inner wrappers of the same kind."""
        return streams(seed, replicate, role, self.n, level=_depth(self.fleet, type(self)))

    @abstractmethod
    def times(self, seed: int, replicate: int) -> list[Times]: ...


@dataclass(frozen=True)
class Scaled(Wrapper):
    """Every step of worker w takes ``factors[w]`` times as long: permanently slow, or fast, workers.

    >>> from abs_theory.delays import Exponential
    >>> Scaled(as_fleet(Exponential(1.0), 2), factors=(1.0, 4.0)).n
    2
    """

    factors: tuple[float, ...]  #: one per worker

    def _check(self) -> None:
        factors = checked_array("factors", self.factors, positive=True)
        if factors.shape != (self.n,):
            raise ValueError(f"factors must be n={self.n} numbers, one per worker, got {self.factors!r}")
        self._set("factors", tuple(factors.tolist()))

    def times(self, seed: int, replicate: int) -> list[Times]:
        def scaled(times: Times, factor: float) -> Times:
            step = times.step
            return times._replace(step=lambda time, version: factor * step(time, version))

        return list(map(scaled, self.fleet.times(seed, replicate), self.factors))


def one_slow(delay: Laws | Fleet, n: int, factor: float, worker: int = 0) -> Scaled:
    """``n`` workers as in ``as_fleet``; every step of one ``worker`` takes ``factor`` times as long.

    Raises ValueError unless 0 <= worker < n and factor > 0.

    >>> from abs_theory.delays import Exponential
    >>> one_slow(Exponential(1.0), 3, factor=4.0).factors
    (4.0, 1.0, 1.0)
    """
    fleet = as_fleet(delay, n)
    check_count("worker", worker, minimum=0)
    if worker >= n:
        raise ValueError(f"worker must be in 0..n-1, got worker={worker} with n={n} workers")
    check_positive("factor", factor)
    return Scaled(fleet, tuple(float(factor) if w == worker else 1.0 for w in range(n)))


@explains_types
@dataclass(frozen=True)
class Where:
    """A fleet whose ``workers`` are those of ``fleet``, and whose other workers are those of ``otherwise``.

    So something can be added to some workers only.

    >>> from abs_theory.delays import Exponential
    >>> fleet = as_fleet(Exponential(1.0), 4)
    >>> times = Where((3,), Scaled(fleet, (2.0,) * 4), fleet).times(seed=0, replicate=0)
    >>> same = fleet.times(seed=0, replicate=0)
    >>> [slow.step(0.0, 0) / usual.step(0.0, 0) for slow, usual in zip(times, same)]
    [1.0, 1.0, 1.0, 2.0]
    """

    workers: Collection[int]  #: numbers, from 0 on
    fleet: Fleet  #: with these workers
    otherwise: Fleet  #: with all others

    def __post_init__(self) -> None:
        _check_fleet("fleet", self.fleet)
        _check_fleet("otherwise", self.otherwise)
        if self.fleet.n != self.otherwise.n:
            raise ValueError(f"both fleets must have the same size, got {self.fleet.n} and {self.otherwise.n} workers")
        if not all(is_integer(worker) and 0 <= worker < self.n for worker in self.workers):
            raise ValueError(f"workers must be indices in 0..{self.n - 1}, got {self.workers!r}")
        object.__setattr__(self, "workers", tuple(sorted(set(map(int, self.workers)))))

    @property
    def n(self) -> int:
        return self.fleet.n

    def times(self, seed: int, replicate: int) -> list[Times]:
        chosen, times = self.fleet.times(seed, replicate), self.otherwise.times(seed, replicate)
        for worker in self.workers:
            times[worker] = chosen[worker]
        return times


def checked_law(name: str, value: object) -> Delay:
    """``value`` as a Delay; the error message names the argument."""
    try:
        return as_delay(cast("Delay", value))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def duration_law(name: str, value: object) -> Delay:
    """The law of a duration; a number is the mean of an exponential law."""
    if not isinstance(value, Real):
        return checked_law(name, value)
    check_positive(name, value)
    return Exponential(float(value))


# ---------------------------------------------------------------------- inside
def _in_turn(seconds: Iterator[float]) -> Callable[[float, int], float]:
    """Steps that take these ``seconds`` in order, whenever they begin."""
    following = seconds.__next__
    return lambda time, version: following()


def _check_fleet(name: str, value: Any) -> None:
    """Raise ValueError unless ``value`` is a fleet."""
    if not isinstance(value, Fleet) or isinstance(value, type):
        raise ValueError(f"{name} must be a Fleet such as as_fleet(Exponential(mean=1.0), n), got {value!r}")


def _depth(fleet: Any, kind: type) -> int:
    """How deep wrappers of this ``kind`` are nested in ``fleet``."""
    within = [getattr(fleet, field.name) for field in fields(fleet)] if is_dataclass(fleet) else []
    return isinstance(fleet, kind) + max((_depth(part, kind) for part in within if isinstance(part, Fleet)), default=0)
