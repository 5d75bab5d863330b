"""Which candidate a choice takes of those that their errors do not tell apart."""

import numpy as np
import pandas as pd
import pytest

from abs_theory.bounds import Constants
from abs_theory.choose import Search, Target, best, ties
from abs_theory.choose.result import Choice
from abs_theory.delays import Deterministic, Empirical, Exponential, Weibull
from abs_theory.workers import as_workers


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


@pytest.mark.parametrize(
    "law, tied",
    [
        (Empirical([1.0, 1.0, 2.0, 2.0]), True),
        (Deterministic(1.0), True),
        ([Deterministic(1.0), Exponential(1.0), Exponential(1.0)], False),
        (Empirical(np.arange(1.0, 100.0)), False),
        (Exponential(1.0), False),
    ],
    ids=repr,
)
def test_a_law_under_which_the_number_of_a_worker_often_decides_is_doubted(law, tied):
    search = Search(k=1, max_staleness=0)
    choice = best(law, 3, Constants(L=1, sigma2=1, gap=1), Target(0.5), search)
    assert (". Doubt: at k = 1 the next arrival has the same time in " in choice.reason) == tied
    assert str(choice).endswith("finer times would tell.") == tied
    with_times = Search(k=1, max_staleness=0, round_time=[0.5, 1.0, 2.0])
    assert "Doubt" not in best(law, 3, Constants(L=1, sigma2=1, gap=1), Target(0.5), with_times).reason


def test_ties_of_a_law_are_as_frequent_as_they_are():
    """The first arrival is alone if one worker is fast and the others are slow: with probability 1/2, or 3/8."""
    for n, expected in ((2, 1 / 2), (3, 5 / 8)):
        words = ties.of_law(as_workers(Empirical([1.0, 2.0]), n), 1)
        assert float(words.split(" in ")[1].split(" %")[0]) == pytest.approx(100 * expected, abs=6)
    assert ties.of_law(as_workers(Empirical([1.0, 2.0]), 3), 3) == ""
