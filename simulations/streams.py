"""Randomness by address: (seed, replicate, role, worker) -> one stream of numbers.

The j-th task of a worker takes the same time under every protocol (common random numbers).  So differences between
protocols are not due to chance, and any replicate can be run again alone.
"""

from collections.abc import Callable, Iterator
from itertools import chain, count

import numpy as np

from abs_theory.delays import Delay

_ROLES = {
    "delay": 0,
    "batch": 1,
    "speed": 2,
    "common": 3,
    "stall": 4,
    "absence": 5,
    "download": 6,
    "upload": 7,
    "update": 8,
    "protocol": 9,
}


def streams(seed: int, replicate: int, role: str, n: int, level: int = 0) -> list[np.random.Generator]:
    """One generator for each of ``n`` workers.

    ``role`` is "delay", "batch", or another thing that is drawn for a worker (``fleets``).  ``level`` distinguishes two
    things of the same role.

    >>> from simulations.streams import streams
    >>> alone, among_others = streams(seed=0, replicate=3, role="delay", n=1), streams(0, 3, "delay", n=5)
    >>> alone[0].random() == among_others[0].random()
    True
    """
    last = (level,) if level else ()
    keys = [(replicate, _ROLES[role], worker, *last) for worker in range(n)]
    return [np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key)) for key in keys]


def in_blocks(draw: Callable[[int], np.ndarray]) -> Iterator[float]:
    """An endless sequence of numbers; ``draw(size)`` gives the next ``size`` of them, and blocks are fast.

    The block sizes are fixed, so the j-th number does not depend on when it is asked for.
    """
    return chain.from_iterable(np.asarray(draw(size)).tolist() for size in map(block_size, count()))


def block_size(number: int) -> int:
    """The size of block ``number``, from 0 on: small at first, since many workers begin few tasks."""
    return min(16 << number, 1024) if number < 6 else 1024


def task_times(delay: Delay, rng: np.random.Generator) -> Iterator[float]:
    """The endless sequence of delays of one worker, in seconds."""
    return in_blocks(lambda size: delay.sample(rng, size))
