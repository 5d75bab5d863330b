"""Randomness by address: (seed, replicate, role, worker) -> one stream of numbers.

A worker's j-th task takes the same time under every protocol (common random numbers), so differences
between protocols are not luck, and any replicate can be rerun alone.
"""

from collections.abc import Iterator

import numpy as np

from abs_theory.delays import Delay

_ROLES = {"delay": 0, "batch": 1}


def streams(seed: int, replicate: int, role: str, n: int) -> list[np.random.Generator]:
    """One generator for each of ``n`` workers; ``role`` is "delay" or "batch"."""
    keys = [(replicate, _ROLES[role], worker) for worker in range(n)]
    return [np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key)) for key in keys]


def task_times(delay: Delay, rng: np.random.Generator) -> Iterator[float]:
    """The endless sequence of one worker's delays, in seconds, drawn in blocks for speed.

    The block sizes are fixed, so the j-th delay does not depend on who asks for it when.
    """
    size = 16
    while True:
        yield from np.asarray(delay.sample(rng, size)).tolist()
        size = min(2 * size, 1024)
