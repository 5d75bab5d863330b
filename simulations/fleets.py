"""Who works, and where each worker's seconds come from: a fleet is n workers whose times can be drawn.

A fleet is a frozen value, and its repr says how a run was made.  ``Independent`` draws each time afresh from the
worker's law.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple, Protocol, runtime_checkable

from abs_theory.checks import check_count
from abs_theory.delays import Delay, as_delay
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
    def n(self) -> int: ...

    def times(self, seed: int, replicate: int) -> list[Times]: ...


@dataclass(frozen=True, repr=False)
class Independent:
    """Workers whose step times are independent draws from their laws, one law per worker."""

    laws: tuple[Delay, ...]

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


def as_fleet(delay: Any, n: Any) -> Fleet:
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
        raise ValueError(f"delay must be one Delay or a sequence of n={n} of them, got {delay!r}")
    return Independent(laws if isinstance(delay, Sequence) else (as_delay(delay),) * n)


def _in_turn(seconds: Iterator[float]) -> Callable[[float, int], float]:
    """Steps that take these ``seconds`` one after the other, whenever they begin."""
    following = seconds.__next__
    return lambda time, version: following()
