"""Which candidate a choice takes of those that their errors do not tell apart."""

import pandas as pd
import pytest

from abs_theory.choose.result import Choice


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
