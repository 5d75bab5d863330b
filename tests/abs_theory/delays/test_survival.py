"""Survival functions from a table: as near to the law as its doc says, also beyond its ends."""

import numpy as np
import pytest
from scipy import stats

from abs_theory.delays import Exponential, Gamma, HyperExponential, LocalSteps, LogNormal, Mixture, Pareto, as_delay
from abs_theory.delays.survival import survival, survival_of_sums, usual_survival


@pytest.mark.parametrize(
    "law",
    [
        Gamma(0.3, 3.0),
        Gamma(400.0, 0.01),
        LocalSteps(LogNormal(1.0, 1.0), 5),
        Mixture((0.9, 0.1), (Gamma(400.0, 1 / 400), Pareto(1.0, 1.5))),
        as_delay(stats.invgauss(0.5)),
    ],
    ids=repr,
)
def test_a_table_has_the_values_of_the_law(law):
    rng = np.random.default_rng(0)
    times = law.sample(rng, 8192)
    times[:40] *= np.geomspace(1e-40, 1e10, 40)
    times[40] = 0.0
    exact = law.sf(times)
    np.testing.assert_allclose(survival(law, times), exact, rtol=3e-4, atol=1e-300)
    np.testing.assert_array_equal(survival(law, times[:100]), survival(law, times)[:100])
    np.testing.assert_allclose(usual_survival(law, times), exact, rtol=3e-4, atol=1e-11)
    sums = survival_of_sums(law, times[None, 100:108, None], times[None, 108:118])
    np.testing.assert_allclose(sums[0, :, :, 0], law.sf(times[100:108, None] + times[108:118]), rtol=3e-4, atol=1e-11)


def test_usual_values_of_phases():
    for law in (HyperExponential(probs=(0.9, 0.1), means=(1 / 3, 7.0)), Exponential(2.0)):
        times = np.append(0.0, np.geomspace(1e-20, 1e4, 500))
        np.testing.assert_allclose(usual_survival(law, times), law.sf(times), rtol=3e-4, atol=1e-11)


def test_sums_of_phases():
    law = HyperExponential(probs=(0.9, 0.1), means=(1 / 3, 7.0))
    some, more = np.random.default_rng(0).random((3, 2, 4)), np.array([[0.0, 1.0, 1e3]] * 3)
    sums = survival_of_sums(law, some, more)
    np.testing.assert_allclose(sums, law.sf(some[:, :, None, :] + more[:, None, :, None]), rtol=1e-13)
