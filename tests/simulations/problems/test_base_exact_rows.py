"""Which problems may compute the gradients of several replicates in one call: the bits must be the same."""

import numpy as np
import pytest

from simulations.problems import (
    DigitsClassifier,
    NoisyQuadratic,
    ShiftedQuadratic,
    TimingOnly,
    drawn_ahead,
    random_least_squares,
    rows_are_exact,
)
from simulations.threads import one_thread

N, COUNT = 12, 60
QUADRATICS = [NoisyQuadratic(tuple(np.geomspace(1.0, 0.1, d).tolist()), 1.0) for d in (1, 2, 3, 7, 10, 33, 100)]
SHAPES = [(1, 0), (2, 3), (4, 8), (16, 0), (16, 32), (32, 1), (33, 32)]  # batch size, hidden units
FEATURES = [(1, 1), (2, 3), (5, 16), (10, 1), (31, 7), (64, 33)]  # and batch size
PROBLEMS = [
    TimingOnly(),
    *QUADRATICS,
    ShiftedQuadratic((1.0, 0.3, 2.0), 0.5, optima=tuple(range(N))),
    *(
        DigitsClassifier(N, hidden, size, l2, dtype)
        for size, hidden in SHAPES
        for l2, dtype in ((0.0, "float32"), (0.1, "float64"))
    ),
    *(
        random_least_squares(N, d=d, samples=200, batch_size=size)
        for d, size in ((1, 1), (2, 3), (5, 16), (10, 1), (31, 7), (64, 33))
    ),
]


@pytest.mark.parametrize("problem", PROBLEMS, ids=repr)
def test_gradients_are_the_same_to_the_last_bit_alone_and_among_others(problem):
    assert rows_are_exact(problem)
    rng = np.random.default_rng(1)
    first = problem.initial
    params = (first + rng.standard_normal((COUNT, first.size))).astype(first.dtype)
    workers = [job % N for job in range(COUNT)]

    def gradients(jobs):
        rngs = [np.random.default_rng(job) for job in range(COUNT)[jobs]]
        return problem.gradients(np.array(list(params[jobs])), workers[jobs], rngs)

    with one_thread():
        losses, rows = gradients(slice(None))
        for k in (1, 2, 3, 5, 20):
            for begin in range(0, COUNT, k):
                jobs = slice(begin, begin + k)
                few_losses, few_rows = gradients(jobs)
                np.testing.assert_array_equal(few_losses, losses[jobs])
                np.testing.assert_array_equal(few_rows, rows[jobs])


@pytest.mark.parametrize("problem", PROBLEMS[1:], ids=repr)
def test_gradients_are_the_same_to_the_last_bit_if_they_are_drawn_ahead(problem):
    ahead = drawn_ahead(problem)
    assert ahead is not None
    params, rng, other = np.array([problem.initial] * 5), np.random.default_rng(3), np.random.default_rng(3)
    drawn = np.concatenate([ahead.draws(2, rng, count) for count in (1, 4)])
    for expected, computed in zip(
        problem.gradients(params, [2] * 5, [other] * 5), ahead.gradients_from(params, [2] * 5, drawn), strict=True
    ):
        np.testing.assert_array_equal(expected, computed)


def test_gradients_that_a_subclass_changes_are_not_drawn_ahead():
    class Changed(NoisyQuadratic):
        def gradients(self, params, workers, rngs):
            return super().gradients(params + 1, workers, rngs)

    assert drawn_ahead(Changed((1.0,), 0.0)) is None


def test_whoever_defines_the_gradients_has_to_say_that_they_are_exact():
    class Silent(NoisyQuadratic):
        def gradients(self, params, workers, rngs):
            return super().gradients(params, workers, rngs)

    class Speaking(Silent):
        exact_rows = True

    class Renamed(NoisyQuadratic):
        pass

    kinds = (Silent, Speaking, Renamed)
    assert [rows_are_exact(kind((1.0,), 0.0)) for kind in kinds] == [False, True, True]
