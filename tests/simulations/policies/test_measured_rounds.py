"""Rounds under a measured law against the steady state of the law itself."""

import math

import numpy as np
import pytest

from abs_theory import order_stats, steady_state
from abs_theory.delays import Exponential, HyperExponential, LogNormal, ShiftedExponential
from simulations.measuring import Survival
from simulations.policies.measured_rounds import measured_rounds

LAWS = {
    "increasing hazard": ShiftedExponential(0.5, 0.5),
    "constant": Exponential(1.0),
    "decreasing hazard": HyperExponential(probs=(0.9, 0.1), means=(1 / 3, 7.0)),
    "lognormal": LogNormal(median=math.exp(-0.5), sigma=1.0),
}
EDGES = np.concatenate([[0.0], np.geomspace(1e-3, 60.0, 300)])


def survival_of(law):
    edges = EDGES[law.sf(EDGES) > 1e-9]
    hazard = np.diff(-np.log(law.sf(edges))) / np.diff(edges)
    return Survival(edges, hazard, np.zeros(len(hazard)), math.inf)


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_round_times_and_staleness_are_near_the_steady_state(law):
    rounds = measured_rounds(survival_of(law), 20)
    for bound in (0.0, 2.0, math.inf):
        column = rounds.max_staleness[0].tolist().index(bound)
        for k in (1, 2, 5, 12):
            steady = steady_state.abs_sgd(law, k, 20, bound, "fast")
            assert rounds.seconds[k - 1, column] == pytest.approx(steady.round_time, rel=0.06), (k, bound)
            assert rounds.mean_staleness[k - 1, column] == pytest.approx(steady.mean_staleness, abs=0.25), (k, bound)


@pytest.mark.parametrize("n", [1, 2, 7, 40])
@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_with_threshold_zero_a_round_is_an_order_statistic(law, n):
    rounds = measured_rounds(survival_of(law), n)
    expected = order_stats.means(law, n)[rounds.k[:, 0].astype(int) - 1]
    assert rounds.seconds[:, 0] == pytest.approx(expected, rel=0.06)


def test_messages_are_two_for_each_gradient_and_one_for_each_restart():
    rounds = measured_rounds(survival_of(LAWS["constant"]), 20)
    assert rounds.messages[4, 0] == pytest.approx(2 * 5 + 15)
    assert rounds.messages[4, -1] == pytest.approx(2 * 5)
