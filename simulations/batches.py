"""Mini-batches: which samples each job draws, and how many jobs are computed together."""

from collections.abc import Iterator, Sequence

import numpy as np

CACHE_BYTES = 1 << 20  # gradients are computed in chunks of jobs that stay in the processor's cache
PASS_BYTES = 1 << 23  # passes over all data go in chunks of this size


def draw(
    held: Sequence[np.ndarray], workers: Sequence[int], rngs: Sequence[np.random.Generator], size: int
) -> np.ndarray:
    """Rows of the data, shape (k, size): with replacement, each job from what its worker holds."""
    mine = [held[worker] for worker in workers]
    return np.array([rows[rng.integers(len(rows), size=size)] for rows, rng in zip(mine, rngs, strict=True)])


def chunks(count: int, bytes_each: int, at_once: int) -> Iterator[slice]:
    """Slices of 0..count-1 of at most ``at_once`` bytes, at least one element each."""
    step = max(1, at_once // bytes_each)
    return (slice(start, start + step) for start in range(0, count, step))
