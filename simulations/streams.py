"""Randomness by address: (seed, replicate, role, worker) -> one stream of numbers.

A worker's j-th task takes the same time under every protocol (common random numbers), so differences
between protocols are not luck, and any replicate can be rerun alone.
"""

from collections.abc import Callable, Iterator
from itertools import chain

import numpy as np

from abs_theory.delays import Delay

_ROLES = {"delay": 0, "batch": 1, "speed": 2, "common": 3, "stall": 4, "absence": 5, "download": 6, "upload": 7}


def streams(seed: int, replicate: int, role: str, n: int, level: int = 0) -> list[np.random.Generator]:
    """One generator for each of ``n`` workers.

    ``role`` is "delay", "batch", or what else happens to a worker (``fleets``); ``level`` tells two of a kind apart.
    """
    last = (level,) if level else ()
    keys = [(replicate, _ROLES[role], worker, *last) for worker in range(n)]
    return [np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key)) for key in keys]


def in_blocks(draw: Callable[[int], np.ndarray]) -> Iterator[float]:
    """An endless sequence of numbers, ``draw(size)`` giving the next ``size`` of them: blocks for speed.

    The block sizes are fixed, so the j-th number does not depend on who asks for it when.
    """
    sizes = chain((16, 32, 64, 128, 256, 512), iter(lambda: 1024, 0))
    return chain.from_iterable(np.asarray(draw(size)).tolist() for size in sizes)


def task_times(delay: Delay, rng: np.random.Generator) -> Iterator[float]:
    """The endless sequence of one worker's delays, in seconds."""
    return in_blocks(lambda size: delay.sample(rng, size))
