"""Mini-batches: which samples a job draws, and how many jobs are computed together."""

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np

from abs_theory.checks import check_count, check_memory
from simulations.problems.data import Data, Split, shares

CACHE_BYTES = 1 << 20  # of a chunk of jobs: what fits into the second-level cache of a usual processor
PASS_BYTES = 1 << 23  # of a chunk in a pass over all data: large enough for BLAS, small beside the data


class OnSharedData:
    """What problems share in which each of ``n`` workers draws ``batch_size`` samples per gradient from its share."""

    data: Data
    n: int
    batch_size: int
    split: Split
    split_seed: int

    @cached_property
    def shares(self) -> list[np.ndarray]:
        """The rows of the training data that each worker draws from."""
        return shares(self.data, self.n, self.split, self.split_seed)

    def check_shares(self) -> None:
        """Raise ValueError if the data cannot be shared as asked."""
        if not isinstance(self.data, Data):
            raise ValueError(f"data must be a Data such as digits(), got {self.data!r}")
        check_count("batch_size", self.batch_size)
        check_count("split_seed", self.split_seed, minimum=0)
        row_bytes = 8.0 * (self.n + self.data.x.shape[1])
        check_memory(f"batches of {self.batch_size} samples", row_bytes * self.batch_size)
        _ = self.shares

    def draws(self, worker: int, rng: np.random.Generator, count: int) -> np.ndarray:
        """Rows of the data, shape (count, batch_size): with replacement, from the worker's share."""
        rows = self.shares[worker]
        return rows[rng.integers(len(rows), size=(count, self.batch_size))]

    def draw(self, workers: Sequence[int], rngs: Sequence[np.random.Generator]) -> np.ndarray:
        """Rows of the data, shape (k, batch_size): with replacement, each job from its worker's share."""
        return np.concatenate([self.draws(worker, rng, 1) for worker, rng in zip(workers, rngs, strict=True)])


def chunks(count: int, bytes_each: int, chunk_bytes: int) -> Iterator[slice]:
    """Slices of 0..count-1 of at most ``chunk_bytes`` bytes, with at least one element in each."""
    step = max(1, chunk_bytes // bytes_each)
    return (slice(start, start + step) for start in range(0, count, step))
