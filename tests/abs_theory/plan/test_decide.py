"""Parts of the choice of k that stand alone."""

import numpy as np

from abs_theory.plan.decide import within_noise


def test_the_best_rate_is_within_its_own_noise_to_the_last_bit():
    rates = np.random.default_rng(0).lognormal(size=(5000, 7))
    for rate in rates:
        best = int(rate.argmax())
        assert within_noise(rate, best, np.zeros(7)).tolist() == [best]


def test_rates_are_alike_up_to_two_standard_errors_and_unknown_ones_never():
    rate, error = np.array([0.99, 1.0, 0.9, np.nan]), np.array([0.01, 0.0, 0.01, 0.01])
    assert within_noise(rate, 1, error).tolist() == [0, 1]
