"""Who works, and where each worker's seconds come from: a fleet is n workers whose times can be drawn.

A fleet is a frozen value, and its repr says how a run was made.  ``Independent`` workers draw each time afresh from
their laws; a ``Wrapper`` lets more happen to the workers of another fleet, and ``Where`` to some of them only.
Wrappers draw from streams of their own, so the j-th step of a worker is the same draw with and without them.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from itertools import groupby
from numbers import Real
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from abs_theory.checks import check_count, check_positive, checked_array, is_integer
from abs_theory.delays import Delay, Exponential, as_delay
from abs_theory.typing import Laws
from simulations.streams import streams, task_times


class Times(NamedTuple):
    """Where the seconds of one worker come from."""

    step: Callable[[float, int], float]
    """Seconds of its next local step, begun at ``time`` (s) with model ``version`` (updates made before)."""
    download: Iterator[float] | None = None
    """From the server sending a model to the worker starting on it; None: no time at all."""
    upload: Iterator[float] | None = None
    """From finishing a task to its arrival at the server; None: no time at all."""
    absences: Iterator[tuple[float, float]] | None = None
    """(leaves, is back), in seconds, increasing and disjoint: work in progress when it leaves is lost."""


@runtime_checkable
class Fleet(Protocol):
    """``n`` workers.  The times of one replicate are drawn from streams of its own, and never share a state."""

    @property
    def n(self) -> int:
        """The number of workers."""
        ...

    def times(self, seed: int, replicate: int) -> list[Times]:
        """Where the seconds of each worker come from in this replicate."""
        ...


@dataclass(frozen=True, repr=False)
class Independent:
    """Workers whose step times are independent draws from their laws, one law per worker."""

    laws: tuple[Delay, ...]  #: of a local step, one per worker

    def __post_init__(self) -> None:
        if not (isinstance(self.laws, Sequence) and self.laws):
            raise ValueError(f"laws must be a sequence of delay laws, one per worker, got {self.laws!r}")
        object.__setattr__(self, "laws", tuple(map(as_delay, self.laws)))

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
    """``n`` workers: a Fleet of that size, one law of the step times of all, or a sequence of n laws.

    A law is a Delay or a frozen scipy distribution.  Raises ValueError for anything else.
    """
    check_count("n", n)
    if isinstance(delay, Fleet) and not isinstance(delay, type):
        if delay.n != n:
            raise ValueError(f"the fleet has {delay.n} workers, got n={n}")
        return delay
    laws: tuple[Any, ...] = tuple(delay) if isinstance(delay, Sequence) else (delay,) * n
    if len(laws) != n or not all(isinstance(law, Delay) or hasattr(law, "dist") for law in laws):
        text, number = "; abs_theory.delays.text.delay_law reads a text", "; give one such as Exponential(mean=1.0)"
        mend = text if isinstance(delay, str) else "" if isinstance(delay, Sequence) else number
        raise ValueError(f"delay must be one Delay or a sequence of n={n} of them, got {delay!r}{mend}")
    return Independent(laws if isinstance(delay, Sequence) else (as_delay(delay),) * n)


@dataclass(frozen=True)
class Wrapper(ABC):
    """A fleet made of another one, to whose workers something more happens."""

    fleet: Fleet  #: to whose workers it happens

    def __post_init__(self) -> None:
        _check_fleet("fleet", self.fleet)
        self._check()

    def _check(self) -> None:  # noqa: B027
        """Raise ValueError unless the other fields are fine; put them into their plain form."""

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    @property
    def n(self) -> int:
        return self.fleet.n

    def streams(self, seed: int, replicate: int, role: str) -> list[np.random.Generator]:
        """One generator per worker, not shared with wrappers of the same kind within."""
        return streams(seed, replicate, role, self.n, level=_depth(self.fleet, type(self)))

    @abstractmethod
    def times(self, seed: int, replicate: int) -> list[Times]: ...


@dataclass(frozen=True)
class Scaled(Wrapper):
    """Every step of worker w takes ``factors[w]`` times as long: permanently slow, or fast, workers."""

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
    """``n`` workers as in ``as_fleet``, one of which takes ``factor`` times as long for every step."""
    fleet = as_fleet(delay, n)
    check_count("worker", worker, minimum=0)
    if worker >= n:
        raise ValueError(f"worker must be in 0..n-1, got worker={worker} with n={n} workers")
    check_positive("factor", factor)
    return Scaled(fleet, tuple(float(factor) if w == worker else 1.0 for w in range(n)))


@dataclass(frozen=True)
class Where:
    """A fleet in which ``workers`` are those of ``fleet``, and all others of ``otherwise``.

    So that something happens to some workers only: ``Where((3,), Absences(fleet, up=100.0, down=5.0), fleet)``.
    """

    workers: Collection[int]  #: numbers, from 0 on
    fleet: Fleet  #: where these are from
    otherwise: Fleet  #: where all others are from

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
    """``value`` as a Delay; an error says which argument is wrong."""
    try:
        return as_delay(value)
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
    """Steps that take these ``seconds`` one after the other, whenever they begin."""
    following = seconds.__next__
    return lambda time, version: following()


def _check_fleet(name: str, value: Any) -> None:
    """Raise ValueError unless ``value`` is a fleet."""
    if not isinstance(value, Fleet) or isinstance(value, type):
        raise ValueError(f"{name} must be a Fleet such as as_fleet(Exponential(mean=1.0), n), got {value!r}")


def _depth(fleet: Any, kind: type) -> int:
    """How many wrappers of this ``kind`` lie within one another in ``fleet``."""
    within = [getattr(fleet, field.name) for field in fields(fleet)] if is_dataclass(fleet) else []
    return isinstance(fleet, kind) + max((_depth(each, kind) for each in within if isinstance(each, Fleet)), default=0)
