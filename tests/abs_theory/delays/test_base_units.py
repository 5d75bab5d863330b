"""Units of time in which the arithmetic of every route works, and those that are refused."""

import numpy as np
import pytest
from scipy import stats

from abs_theory import order_stats, steady_state
from abs_theory.delays import Exponential, Weibull
from simulations.experiment import simulate
from simulations.problems import TimingOnly
from simulations.protocols import abs_sgd, self_tuning_abs


@pytest.mark.parametrize("mean", [1e-300, 1e-200, 1e101, 1e200, 1e300])
@pytest.mark.parametrize("law", [Exponential, lambda mean: stats.gamma(4, scale=mean / 4)])
def test_a_mean_whose_powers_are_no_numbers_is_refused_on_every_route(law, mean):
    routes = [
        lambda law: steady_state.abs_sgd(law, 3, 8, 2),
        lambda law: steady_state.abs_sgd([law] * 7 + [Exponential(1.0)], 3, 8, 2),
        lambda law: order_stats.mean(law, 3, 8),
        lambda law: simulate(self_tuning_abs(), TimingOnly(), law, 8, step_size=0.1, num_updates=2, seed=0),
    ]
    refusal = r"the mean of a delay law must be 1e-100 to 1e\+100, got .*: use another unit of time"
    for route in routes:
        with pytest.raises(ValueError, match=refusal):
            route(law(mean))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("mean", [1e-99, 1e99])
def test_a_mean_that_is_allowed_scales_the_results(mean):
    def times(law):
        run = simulate(abs_sgd(3, 2), TimingOnly(), law, 8, step_size=0.1, num_updates=50, seed=0)
        state, theory = steady_state.abs_sgd(law, 3, 8, 2), steady_state.abs_sgd(law, 3, 8, 2, "fast")
        return np.array([run["time"].iloc[-1], state.round_time, theory.round_time, order_stats.mean(law, 3, 8)])

    np.testing.assert_allclose(times(Weibull(mean, 0.7)) / mean, times(Weibull(1.0, 0.7)), rtol=1e-3)
