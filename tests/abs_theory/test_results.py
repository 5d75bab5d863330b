"""Results in a notebook: numbers with their errors as HTML, and curves drawn by ``plot``."""

import math
from dataclasses import replace

import numpy as np
import pytest
from laws import STALLS
from matplotlib.figure import Figure

from abs_theory import choose, monte_carlo, steady_state
from abs_theory.bounds import Constants
from abs_theory.delays import Exponential, Gamma
from abs_theory.results import Estimate


def axes():
    return Figure().subplots()


def test_an_estimate_shows_its_interval():
    estimate = Estimate(mean=0.5, stderr=0.01, num_samples=1_000_000)
    assert estimate._repr_html_() == "0.5 &plusmn; 0.02 (95 %, 1000000 samples)"


def test_a_steady_state_shows_every_number_with_its_half_width():
    state = steady_state.abs_sgd(STALLS, 5, 20, 1)
    row = state.to_frame().iloc[0]
    assert (row["round_time"], row["round_time ±"]) == (state.round_time, state.error.round_time)
    assert row["method"] == "simulation"
    html = state._repr_html_()
    for value in (state.round_time, state.error.round_time, state.restarts, state.wasted_fraction):
        assert f"<td>{value:.4g}</td>" in html


def test_a_grid_shows_a_row_per_cell():
    grid = steady_state.abs_sgd(Exponential(1.0), np.array([[1], [2], [5]]), 6, np.array([0, math.inf]))
    assert grid.to_frame()["restarts"].tolist() == grid.restarts.ravel().tolist()
    assert grid._repr_html_().count("<tr>") == 6
    with pytest.raises(ValueError, match=r"a plot shows one cell, this is a grid of shape \(3, 2\)"):
        grid.plot()


def test_the_plot_of_a_steady_state_is_the_law_of_its_staleness():
    state = steady_state.abs_sgd([Exponential(1.0)] * 3 + [Exponential(2.0)], 2, 4, 3)
    bars = [bar.get_height() for bar in state.plot(axes()).patches]
    assert bars == state.staleness_pmf.tolist()


@pytest.mark.parametrize(
    ("k", "bound", "or_more"),
    [(5, 0, False), (5, 2, False), (5, 20, False), (5, None, True), (20, 2, False), (20, None, False)],
)
def test_the_last_bar_is_or_more_only_where_a_gradient_may_be_staler(k, bound, or_more):
    chance = np.random.default_rng(0)
    for state in (
        steady_state.abs_sgd(STALLS, k, 20, bound),
        monte_carlo.abs_sgd(STALLS, k, 20, bound, chance, num_rounds=500, replicates=2),
    ):
        assert ("or more" in state.plot(axes()).get_xlabel()) == or_more


def test_the_last_bar_is_or_more_where_the_law_was_cut_below_the_bound():
    whole = steady_state.abs_sgd(STALLS, 5, 20, 5, method="mean-field")
    pmf = np.append(whole.staleness_pmf[:3], whole.staleness_pmf[3:].sum())
    assert "or more" not in whole.plot(axes()).get_xlabel()
    assert "or more" in replace(whole, staleness_pmf=pmf, error=None).plot(axes()).get_xlabel()


@pytest.mark.parametrize("goal, k", [(choose.Target(0.1), None), (choose.Budget(30.0), None), (choose.Target(0.1), 3)])
def test_a_choice_shows_its_words_and_alternatives_and_draws_its_curve(goal, k):
    choice = choose.best(STALLS, 8, Constants(L=1.0, sigma2=1.0, gap=1.0), goal, choose.Search(k=k))
    html = choice._repr_html_()
    assert f"k = {choice.k}, " in html
    assert "K-async: nobody restarts" in html
    drawn = choice.plot(axes())
    lines = {line.get_label(): line for line in drawn.get_lines()}
    assert lines["the choice"].get_xydata().tolist() == [[choice.k, choice.curve["objective"].min()]]
    assert lines["best threshold"].get_ydata().tolist() == choice.over_k()["objective"].tolist()


def test_a_choice_says_what_its_threshold_means_and_counts_updates_in_words():
    constants = Constants(1.0, 1.0, 1.0)
    steady = choose.best(Gamma(4.0, 0.25), 4, constants, choose.Target(0.05))
    assert "max_staleness = none (nobody restarts)" in str(steady)
    fresh = choose.best(Exponential(1.0), 4, constants, choose.Target(100.0))
    assert "max_staleness = 0 (every late worker restarts)" in str(fresh)
    assert "\n1 update, " in str(fresh)
    assert "0.25 s if nobody restarts" in str(fresh)
    assert "\n2e+24 updates, " in str(choose.best(Exponential(1.0), 4, constants, choose.Target(1e-12)))


def test_half_widths_below_rounding_are_0():
    state = steady_state.abs_sgd(Exponential(1.0), 2, 4, 1)
    noise = replace(state, error=None, round_time=1.9e-14, restarts=1.3e-213, idle_fraction=0.01)
    cleaned = replace(state, error=noise).error
    assert (cleaned.round_time, cleaned.restarts, cleaned.idle_fraction) == (0.0, 0.0, 0.01)
