"""When tasks will end, for many workers at once: rows are replicates, and a worker of a row has a number of its own."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from abs_theory.delays import Delay
from simulations.fleets import Fleet, Independent, Times
from simulations.streams import block_size, streams

AHEAD = 16  # draws that every worker has in stock after a look at the stocks; the next look is after as many steps


class NextSteps(Protocol):
    """The next local steps of all workers; worker w of row r is number r n + w."""

    def ends(self, numbers: np.ndarray, begin: np.ndarray, counts: np.ndarray | None, version: int) -> np.ndarray:
        """When tasks of ``counts`` local steps (None: one each), begun at ``begin`` seconds, will end.

        ``numbers`` are different workers, in order; ``version`` is the number of updates made.
        """
        ...

    def keep(self, numbers: np.ndarray) -> None:
        """Forget all but these workers, which are numbered anew."""
        ...


def next_steps(fleet: Fleet, seed: int, replicates: Sequence[int]) -> NextSteps | None:
    """The steps of this fleet in these replicates; None if messages take time or workers leave."""
    if isinstance(fleet, Independent):
        rngs = [streams(seed, replicate, "delay", fleet.n) for replicate in replicates]
        return Drawn(list(fleet.laws), rngs)
    times = [fleet.times(seed, replicate) for replicate in replicates]
    return Called(times) if all(is_plain(row) for row in times) else None


def is_plain(times: Sequence[Times]) -> bool:
    """Whether a task of each of these workers is nothing but its local steps."""
    return all(worker.download is worker.upload is worker.absences is None for worker in times)


class Drawn:
    """Steps of independent workers, drawn from each worker's own stream in the blocks of ``streams.in_blocks``."""

    def __init__(self, laws: Sequence[Delay], rngs: Sequence[Sequence[np.random.Generator]]):
        count = len(laws) * len(rngs)
        self._laws = list(laws) * len(rngs)
        self._rngs = [rng for row in rngs for rng in row]
        self._blocks = [0] * count  # drawn so far
        self._stock = np.empty((count, 0))
        self._begin, self._end = np.zeros(count, int), np.zeros(count, int)  # of what is left in the stock of each
        self._steps_to_look = 0

    def ends(self, numbers: np.ndarray, begin: np.ndarray, counts: np.ndarray | None, version: int) -> np.ndarray:
        if counts is None:
            return begin + self._take(numbers)
        ends = begin.copy()
        for taken in range(counts.max()):
            going = np.flatnonzero(counts > taken)
            ends[going] += self._take(numbers[going])
        return ends

    def keep(self, numbers: np.ndarray) -> None:
        for name in ("_laws", "_rngs", "_blocks"):
            values = getattr(self, name)
            setattr(self, name, [values[number] for number in numbers.tolist()])
        self._stock, self._begin, self._end = self._stock[numbers], self._begin[numbers], self._end[numbers]

    def _take(self, numbers: np.ndarray) -> np.ndarray:
        if self._steps_to_look == 0:
            self._look()
        self._steps_to_look -= 1
        at = self._begin[numbers]
        self._begin[numbers] = at + 1
        return self._stock[numbers, at]

    def _look(self) -> None:
        """Fill up the stocks of less than ``AHEAD`` draws."""
        short = np.flatnonzero(self._end - self._begin < AHEAD)
        places = zip(short.tolist(), self._begin[short].tolist(), self._end[short].tolist(), strict=True)
        for number, begin, end in places:
            left = end - begin
            self._stock[number, :left] = self._stock[number, begin:end]
            while left < AHEAD:
                size = block_size(self._blocks[number])
                self._blocks[number] += 1
                if left + size > self._stock.shape[1]:
                    wider = np.empty((len(self._stock), left + size))
                    wider[:, : self._stock.shape[1]] = self._stock
                    self._stock = wider
                self._stock[number, left : left + size] = self._laws[number].sample(self._rngs[number], size)
                left += size
            self._begin[number], self._end[number] = 0, left
        self._steps_to_look = AHEAD


class Called:
    """Steps of workers whose times depend on more than a law: each is asked for, as the event server does."""

    def __init__(self, times: Sequence[Sequence[Times]]):
        self._steps: list[Callable[[float, int], float]] = [worker.step for row in times for worker in row]

    def ends(self, numbers: np.ndarray, begin: np.ndarray, counts: np.ndarray | None, version: int) -> np.ndarray:
        ends = begin.tolist()
        steps = [1] * len(ends) if counts is None else counts.tolist()
        for place, (number, count) in enumerate(zip(numbers.tolist(), steps, strict=True)):
            step, now = self._steps[number], ends[place]
            for _ in range(count):
                now += step(now, version)
            ends[place] = now
        return np.array(ends)

    def keep(self, numbers: np.ndarray) -> None:
        self._steps = [self._steps[number] for number in numbers.tolist()]
