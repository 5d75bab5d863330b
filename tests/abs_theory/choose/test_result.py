"""Which candidate a choice takes of those that their errors do not tell apart."""

import pandas as pd
import pytest

from abs_theory.bounds import Constants
from abs_theory.choose import Target, best
from abs_theory.choose.result import Choice
from abs_theory.delays import Weibull


@pytest.mark.parametrize(
    "worse, errors, chosen",
    [
        (0.005, (0.02, 0.0), 2),  # within the errors: the one that is known better
        (0.015, (0.02, 0.0), 1),  # within the errors, too, but it would cost more than it is worth
        (0.005, (0.001, 0.0), 1),
        (0.005, (0.0, 0.02), 1),
    ],
)
def test_the_surest_of_those_that_are_alike(worse, errors, chosen):
    curve = pd.DataFrame({"k": [1, 2], "max_staleness": 0.0, "step_size": 0.1, "round_time": 1.0})
    curve = curve.assign(messages=1.0, updates=1.0, gradient_norm2=1.0, settled=True, round_time_error=list(errors))
    curve["seconds"] = curve["objective"] = [1.0, 1.0 + worse]
    choice = Choice.of(curve, 3, "expected", "seconds", "decreasing")
    assert choice.k == chosen


def test_one_update_is_no_reason_for_a_threshold():
    """All workers begin with the same model, so what restarts would save plays no part."""
    choice = best(Weibull(scale=1.0, shape=0.7), 10, Constants(L=1, sigma2=1, gap=1), Target(1e9))
    assert choice.updates <= 1
    assert "the first update needs no threshold, since all workers begin with the same model" in choice.reason
    assert "restarts save time" not in choice.reason
    assert "restarts save time" in best(Weibull(scale=1.0, shape=0.7), 10, Constants(1, 1, 1), Target(0.1)).reason
