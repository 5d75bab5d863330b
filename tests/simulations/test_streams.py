"""Numbers have an address, and blocks of fixed sizes: another size would give mixtures of laws other numbers."""

from itertools import islice

import numpy as np

from abs_theory.delays import Exponential, Mixture
from simulations.streams import block_size, in_blocks, streams, task_times


def test_blocks_have_fixed_sizes():
    assert [block_size(number) for number in range(9)] == [16, 32, 64, 128, 256, 512, 1024, 1024, 1024]
    asked = []
    numbers = in_blocks(lambda size: (asked.append(size), np.zeros(size))[1])
    assert list(islice(numbers, 49)) == [0.0] * 49
    assert asked == [16, 32, 64]


def test_the_numbers_of_a_worker_are_those_of_its_stream_block_by_block():
    law = Mixture(weights=(0.5, 0.5), components=(Exponential(1.0), Exponential(9.0)))
    rng = streams(5, 2, "delay", 4)[3]
    expected = np.concatenate([law.sample(rng, size) for size in (16, 32)])
    assert list(islice(task_times(law, streams(5, 2, "delay", 4)[3]), 48)) == expected.tolist()
