"""Things timed in turn in one run, and the lines that say whether they are fast enough."""

import math
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np


class Line(NamedTuple):
    """One measured number, and what it should be; ``minimum`` and ``maximum`` are None if there is no such bound."""

    what: str
    value: float
    unit: str
    minimum: float | None = None
    maximum: float | None = None

    def __str__(self) -> str:
        if self.minimum is None and self.maximum is None:
            return f"{self.what:<72}{self.value:>9.3g} {self.unit}"
        wanted = f">= {self.minimum:g}" if self.minimum is not None else f"<= {self.maximum:g}"
        met = (self.minimum or -math.inf) <= self.value <= (self.maximum or math.inf)
        return f"{self.what:<72}{self.value:>9.3g} {self.unit:<10}{wanted:<8}{'yes' if met else 'NO'}"


def seconds(tasks: Mapping[str, Callable[[], object]], repetitions: int = 5) -> dict[str, np.ndarray]:
    """CPU seconds of each of the ``tasks``, which take turns; a first round, to warm up, is not counted."""
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(repetitions + 1):
        for name, task in tasks.items():
            start = time.process_time()
            task()
            times[name].append(time.process_time() - start)
    return {name: np.array(seconds_of[1:]) for name, seconds_of in times.items()}


def ratio(times: Mapping[str, np.ndarray], numerator: str, denominator: str) -> float:
    """The median over repetitions of how many times as long ``numerator`` took as ``denominator``."""
    return float(np.median(times[numerator] / times[denominator]))
