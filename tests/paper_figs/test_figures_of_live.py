"""The figure of worker processes: they do what the simulation does, and theory predicts both."""

import numpy as np
import pytest

from paper_figs.figures import live
from simulations import protocols
from simulations.experiment import simulate

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("config", [live.QUICK, live.DEFAULT], ids=["QUICK", "DEFAULT"])
def test_claim_of_live(config):
    table = live.compute(**config)
    assert table["live"].equals(table["simulation"])
    assert table["live_half_width"].equals(table["simulation_half_width"])
    times = table[table["quantity"] == "round_time"]
    assert ((times["live"] - times["theory"]).abs() <= 2 * times["live_half_width"]).all()
    if config is live.DEFAULT:
        assert (times["live_half_width"] <= 0.2 * times["theory"]).all()


@pytest.mark.parametrize("k", live.DEFAULT["ks"])
def test_the_predicted_curve_is_that_of_many_runs(k):
    n, bound, seconds = (live.DEFAULT[name] for name in ("n", "max_staleness", "seconds"))
    grid = np.linspace(0.0, seconds, live.POINTS)
    run = simulate(
        protocols.abs_sgd(k, bound), live.PROBLEM, live.DELAY, n, step_size=live.STEP_SIZE, time_budget=seconds,
        eval_every=0.1, seed=1, replicates=300, n_jobs=1,
    )  # fmt: skip
    norms = live._on_grid(run, grid)
    times, expected = live._predicted(k, n, bound, live._round_times(run).mean(), seconds, 1000)
    expected = np.interp(grid, times, expected)[1:]
    stderr = norms.std(axis=0, ddof=1)[1:] / np.sqrt(len(norms))
    difference = np.abs(norms.mean(axis=0)[1:] - expected)
    assert (difference <= 5 * stderr + 0.01 * expected).all()
    assert (stderr <= 0.1 * expected).all()
