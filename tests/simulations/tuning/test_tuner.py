"""The tuner finds what an exhaustive search finds, counts misses, and says what it tried."""

import math

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot

import simulations
from abs_theory.delays import Exponential, HyperExponential
from simulations import protocols
from simulations.experiment import simulate
from simulations.problems import NoisyQuadratic
from simulations.record import median, to_target
from simulations.tuning import GRIDS, Tuned, pattern_search, tune

PROBLEM, LAW = NoisyQuadratic((1.0, 0.3), sigma2=0.1), HyperExponential(probs=(0.9, 0.1), means=(1 / 3, 7.0))
OPTIONS = {"time_budget": 40.0, "eval_every": 0.5, "seed": 0}


def test_the_winner_is_timed_on_replicates_that_the_search_has_not_seen():
    found = tune(
        protocols.abs_sgd, PROBLEM, LAW, 8, {"step_size": 0.25, "k": 2, "max_staleness": 1}, ("loss", 0.05), tries=5,
        replicates=2, finals=3, **OPTIONS,
    )  # fmt: skip
    assert isinstance(found, Tuned)
    assert set(found.best) == {"step_size", "k", "max_staleness"}
    finals = found.tried[found.tried["final"]]
    assert len(finals) == 3
    assert found.time == finals["time"].min()
    assert (~found.tried["final"]).sum() <= 5
    knobs = dict(found.best)
    runs = simulate(
        protocols.abs_sgd(int(knobs["k"]), knobs["max_staleness"]), PROBLEM, LAW, 8, step_size=knobs["step_size"],
        replicates=range(2, 5), target=("loss", 0.05), **OPTIONS,
    )  # fmt: skip
    reached = to_target(runs, "loss", 0.05, replicates=range(2, 5), time_budget=40.0)
    assert found.time == median(reached["time"], reached["reached"]).median


def landscape(points, which, seconds):
    """Runs that reach the target after a time with one valley, never if that is longer than ``seconds``."""
    tables = []
    for point in points:
        time = 1 + math.log(point["step_size"] / 0.5) ** 2 + (point["k"] - 4) ** 2 / 4
        loss = 0.0 if time <= seconds else time
        row = {"update": 1, "time": min(time, seconds), "loss": loss, "uplinks": 1, "downlinks": 1}
        tables.append(pd.DataFrame([{"replicate": j, **row} for j in which]))
    return tables


@pytest.mark.parametrize("start", [{"step_size": 0.0625, "k": 1}, {"step_size": 2.0, "k": 12}])
def test_the_search_finds_the_valley_from_either_side(start):
    grids = {"step_size": GRIDS["step_size"], "k": GRIDS["k"]}
    found = pattern_search(landscape, start, grids, ("loss", 0.0), time_budget=1e3, tries=200)
    assert found.best == {"step_size": 0.5, "k": 4}
    assert found.time == 1.0


def test_points_that_miss_the_target_are_ranked_by_their_loss_and_drawn_as_misses():
    grids = {"step_size": GRIDS["step_size"], "k": GRIDS["k"]}
    found = pattern_search(landscape, {"step_size": 8.0, "k": 16}, grids, ("loss", 0.0), time_budget=2.0, tries=200)
    assert found.best == {"step_size": 0.5, "k": 4}
    assert np.isinf(found.tried["time"]).any()
    axes = Tuned(*found, ("loss", 0.0)).plot()
    assert [ax.get_xlabel() for ax in axes] == ["step size", "k"]
    assert "target not reached" in axes[0].get_legend_handles_labels()[1]
    found = pattern_search(landscape, {"step_size": 0.5, "k": 4}, grids, ("loss", 0.0), time_budget=1e3, tries=6)
    axes = Tuned(*found, ("loss", 0.0)).plot()
    if axes[1].get_xscale() == "linear":
        assert all(tick == int(tick) for tick in axes[1].get_xticks())
    pyplot.close("all")


def test_a_best_value_at_the_end_of_what_was_tried_is_named():
    grids = {"step_size": (0.125, 0.25), "k": GRIDS["k"]}
    found = pattern_search(landscape, {"step_size": 0.125, "k": 2}, grids, ("loss", 0.0), time_budget=1e3, tries=200)
    assert Tuned(*found, ("loss", 0.0)).at_an_end == ["step_size"]


def test_it_is_offered_where_one_looks_for_it_and_refuses_what_it_cannot_tune():
    assert simulations.tune is tune
    arguments = (protocols.k_sync, PROBLEM, Exponential(1.0), 4)
    with pytest.raises(ValueError, match="must have a step_size"):
        tune(*arguments, {"k": 2}, ("loss", 0.1), **OPTIONS)
    with pytest.raises(ValueError, match="no grid of values for 'zeal'"):
        tune(*arguments, {"step_size": 0.1, "zeal": 2}, ("loss", 0.1), **OPTIONS)
    with pytest.raises(ValueError, match="must be on the grids"):
        pattern_search(landscape, {"k": 7}, {"k": (1, 2)}, ("loss", 0.0), time_budget=1.0)
