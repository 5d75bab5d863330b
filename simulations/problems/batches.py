"""Mini-batches: which samples each job draws, and how many jobs are computed together."""

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np

from abs_theory.checks import check_count
from simulations.problems.data import Data, Split, shares

CACHE_BYTES = 1 << 20  # gradients are computed in chunks of jobs that stay in the processor's cache
PASS_BYTES = 1 << 23  # passes over all data go in chunks of this size


class OnSharedData:
    """What problems have in common whose ``n`` workers draw ``batch_size`` samples per gradient from their shares."""

    data: Data
    n: int
    batch_size: int
    split: Split
    split_seed: int

    @cached_property
    def shares(self) -> list[np.ndarray]:
        """Of each worker, the rows of the training data it draws from."""
        return shares(self.data, self.n, self.split, self.split_seed)

    def check_shares(self) -> None:
        """Raise ValueError if the data cannot be shared as asked."""
        if not isinstance(self.data, Data):
            raise ValueError(f"data must be a Data such as digits(), got {self.data!r}")
        check_count("batch_size", self.batch_size)
        check_count("split_seed", self.split_seed, minimum=0)
        _ = self.shares

    def draw(self, workers: Sequence[int], rngs: Sequence[np.random.Generator]) -> np.ndarray:
        """Rows of the data, shape (k, batch_size): with replacement, each job from its worker's share."""
        held = [self.shares[worker] for worker in workers]
        size = self.batch_size
        return np.array([rows[rng.integers(len(rows), size=size)] for rows, rng in zip(held, rngs, strict=True)])


def chunks(count: int, bytes_each: int, at_once: int) -> Iterator[slice]:
    """Slices of 0..count-1 of at most ``at_once`` bytes, at least one element each."""
    step = max(1, at_once // bytes_each)
    return (slice(start, start + step) for start in range(0, count, step))
