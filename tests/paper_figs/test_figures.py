"""The figures: each is drawn from a small run, and its claim holds on the numbers."""

import math
from functools import cache

import joblib
import numpy as np
import pandas as pd
import pytest

from abs_theory import steady_state
from abs_theory.choose.result import AS_GOOD
from abs_theory.delays import Exponential
from paper_figs import curves, study, style
from paper_figs.catalogue import FIGURES, SIZES
from paper_figs.figures import (
    ablation,
    adaptation,
    all_methods,
    budget,
    heterogeneity,
    loss_communication,
    loss_time,
    time_to_target,
    timeline,
)
from simulations.tuning import neighbours

TINY = {
    "n": 4, "laws": ["lognormal"], "easy": 0.5, "hard": 0.7, "replicates": 3, "path": 48,
    "tuning": {"budget": 1, "replicates": 1, "finals": 1},
}  # fmt: skip
CONFIGS = {
    "timeline": timeline.DEFAULT,
    "budget": budget.QUICK,
    "heterogeneity": heterogeneity.QUICK | {"seconds": 20.0, "replicates": 2, "steps": [0.25]},
    "ablation": {
        "n": 4, "laws": ["lognormal"], "hard": 0.5, "longest": 10.0, "replicates": 2,
        "tuning": {"budget": 1, "replicates": 1, "finals": 1},
    },
}  # fmt: skip
OF_THE_STUDY = [name for name, figure in FIGURES.items() if figure.compute == "paper_figs.study:compute"]
NAMES = [*CONFIGS, *OF_THE_STUDY]  # the others are tested with the theory


@pytest.fixture(scope="module")
def runs():
    with joblib.parallel_config("sequential"):  # other tests keep the other cores busy
        return study.compute(**TINY)


@pytest.fixture(scope="module")
def tables(request):
    def table(name):
        figure = FIGURES[name].load()
        with joblib.parallel_config("sequential"):
            shared = name in OF_THE_STUDY
            whole = request.getfixturevalue("runs") if shared else figure.compute(**CONFIGS[name])
        return getattr(figure, "summarise", lambda table: table)(whole)

    return cache(table)


LONG = [pytest.param(name, marks=pytest.mark.slow) if name in ("ablation", "heterogeneity") else name for name in NAMES]


@pytest.mark.slow
@pytest.mark.parametrize("name", LONG)
def test_every_figure_is_drawn_within_its_page_with_units_and_no_text_cut_off(name, tables, tmp_path):
    with style.applied():
        figure = FIGURES[name].load().draw(tables(name))
        figure.savefig(tmp_path / "figure.png")
        figure.canvas.draw()
        page = figure.bbox.padded(2)
        for ax in figure.axes:
            assert page.contains(*ax.get_tightbbox().min), f"{name}: {ax} leaves the page"
            assert page.contains(*ax.get_tightbbox().max), f"{name}: {ax} leaves the page"
            if "time" in ax.get_xlabel():
                assert "(s" in ax.get_xlabel()
    assert (tmp_path / "figure.png").stat().st_size > 5000


@pytest.mark.parametrize("name", FIGURES)
def test_sizes_have_the_same_knobs_and_what_is_read_from_the_source_is_what_the_file_defines(name):
    listed, figure = FIGURES[name], FIGURES[name].load()
    assert figure.QUICK.keys() == figure.DEFAULT.keys() == figure.FULL.keys()
    assert [listed.config(size) for size in SIZES] == [figure.QUICK, figure.DEFAULT, figure.FULL]
    assert listed.claim == figure.CLAIM
    assert listed.claim.endswith(".")
    assert listed.title == figure.__doc__.strip().splitlines()[0].rstrip(".")
    assert len(listed.title) > 39
    assert listed.compute == f"{figure.compute.__module__}:compute"


def test_the_study_names_its_laws():
    assert study.DEFAULT["laws"] == ablation.DEFAULT["laws"] == list(study.LAWS)


def test_every_method_has_a_colour_and_a_marker_of_its_own_and_the_marker_alone_tells_it():
    assert set(study.METHODS) | set(heterogeneity.METHODS) <= set(style.LOOKS)
    markers = [marker for _, _, marker in style.LOOKS.values()]
    assert len(set(markers)) == len(markers)
    same_panel = [*loss_time.FAMILIES.values(), *all_methods.FAMILIES.values(), loss_communication.SHOWN]
    assert max(map(len, same_panel)) <= 5
    assert {name for family in all_methods.FAMILIES.values() for name in family} == set(study.METHODS)
    same_panel.append(adaptation.METHODS)
    for methods in same_panel:
        lines = [style.LOOKS[method][:2] for method in methods]
        assert len(set(lines)) == len(lines)


# ---------------------------------------------------------------------- claims
def test_claim_of_timeline_abs_drops_the_stalled_work_k_async_keeps(tables):
    table = tables("timeline")
    restarted = table[table["outcome"] == "restarted"]["panel"].unique()
    assert len(restarted) == 1
    assert restarted[0].startswith("ABS")
    updates = table[table["outcome"] == "update"]["panel"].value_counts()
    assert updates["synchronous"] < updates.drop("synchronous").min()
    within = table[(table["outcome"] == "restarted") & (table["end"] <= timeline.DEFAULT["seconds"])]
    assert timeline.numbers(table).set_index("panel")["restarts"].to_dict() == {
        panel: len(within) if panel == restarted[0] else 0 for panel in table["panel"].unique()
    }


def test_claim_of_adaptation_k_never_falls_and_staleness_stays_below_a_threshold_that_never_rises():
    method = study.TUNED["ABS"]
    knobs = {"step_size": 0.354, "k0": 1, "c": 2.0}
    rounds = study.train(method, "lognormal", 6, [knobs], seed=1, replicates=range(2), num_updates=400)[0]
    for _, run in rounds.groupby("replicate"):
        assert run["k"].is_monotonic_increasing
        assert run["k"].iloc[-1] > 1
        assert run["max_staleness"].is_monotonic_decreasing
        assert (run["largest_staleness"] <= run["max_staleness"]).all()
    assert set(adaptation.METHODS) <= set(study.METHODS)


def test_claim_of_budget_thresholds_gain_with_the_tail_and_lose_with_the_noise(tables):
    table = tables("budget").sort_values(["noise", "index"])
    gain = table.pivot(index="index", columns="noise", values="gain")
    bound = table.pivot(index="index", columns="noise", values="max_staleness")
    tie = AS_GOOD * gain  # a choice is as fast as the fastest within this
    assert (gain.diff() <= tie).iloc[1:].all(axis=None)  # a larger index is a lighter tail
    assert (gain.diff(axis=1) <= tie).iloc[:, 1:].all(axis=None)
    few = [noise for noise in gain if noise <= 0.1]
    assert (gain[few].diff().iloc[1:] < 0).all(axis=None)
    assert (gain.loc[:, 10.0] < gain[few].min(axis=1)).all()
    assert (bound[0.01] <= 1).all()
    assert bound.loc[8.0, 10.0] == math.inf
    assert (table.loc[table["noise"].isin([0.1]) & (table["index"] == 8.0), "k"] > 1).all()
    assert (table.loc[table["noise"] == 10.0, "k"] == 1).all()


@pytest.mark.slow
def test_claim_of_heterogeneity_who_restarts_the_slow_does_not_hear_them(tables):
    table = heterogeneity.numbers(tables("heterogeneity")).set_index(["split", "method"])["slow_share"]
    assert (table.xs("K-sync", level="method") < 0.1).all()
    assert (table.xs("Ringmaster", level="method") < 0.1).all()
    assert table.xs("synchronous", level="method").to_numpy() == pytest.approx(0.5)
    assert table["by label", "ABS"] < table["by label", "K-async"] < 0.5


# ---------------------------------------------------------------------- tuning and curves
@pytest.mark.parametrize("law, same", [("increasing hazard", "none"), ("decreasing hazard", "restart all")])
@pytest.mark.parametrize("k_rule", study.K_RULES)
def test_rules_that_the_ablation_takes_for_the_same_make_the_same_runs(k_rule, law, same):
    assert ablation.same_as("time-optimal", law, 6) == same
    knobs, budget = {"step_size": 0.5, "k0": 2}, {"replicates": range(2), "time_budget": 12.0, "seed": 3}
    one, other = (
        study.train(study.ABLATION[f"{k_rule} / {rule}"], law, 6, [knobs], **budget)[0]
        for rule in ("time-optimal", same)
    )
    columns = one.columns.drop("max_staleness")  # recorded even where nobody is late
    pd.testing.assert_frame_equal(one[columns], other[columns], check_exact=True)


def test_rules_that_differ_are_not_taken_for_the_same():
    assert ablation.same_as("time-optimal", "lognormal", 6) == "time-optimal"
    assert ablation.same_as("relative", "increasing hazard", 6) == "relative"


def test_no_step_of_the_search_leaves_its_grid_and_both_directions_are_open_inside():
    knobs = {"step_size": 0.5, "k0": 3, "c": 1.0}
    points = list(neighbours(knobs, study.grids_of(knobs, 20)))
    assert {"step_size": 0.707, "k0": 3, "c": 1.0} in points
    assert {"step_size": 0.5, "k0": 4, "c": 1.0} in points
    assert {"step_size": 0.5, "k0": 3, "c": 0.5} in points
    assert (
        max(point["k0"] for point in neighbours({"k0": 4, "step_size": 1.0}, study.grids_of(["k0", "step_size"], 4)))
        == 4
    )


def test_the_search_finds_a_better_step_size_within_its_budget():
    method = study.TUNED["asynchronous"]
    tuned = study.tune(method, "lognormal", 4, target=0.6, longest=40.0, budget=8, replicates=2, finals=2)
    start = study.tune(method, "lognormal", 4, target=0.6, longest=40.0, budget=1, replicates=2, finals=2)
    assert tuned["evaluated"] <= 8
    assert tuned["median"] <= start["median"]
    assert tuned["step_size"] in study.GRIDS["step_size"][1:-1]


def test_tuned_values_are_shown_and_replicates_differ_from_those_of_the_tuning(runs):
    assert study.TUNING_SEED != study.SHOWN_SEED
    assert runs.groupby("method")["tuned_step_size"].nunique().eq(1).all()
    assert runs["tuned_k0"].notna().groupby(runs["method"]).all()["ABS"]


def test_curves_start_at_the_first_model_and_hold_the_last_value_known(runs):
    table = curves.on_grid(runs, "time", ["loss"])
    for _, rows in table.groupby("method"):
        assert rows["time"].iloc[0] == 0
        assert rows["loss_low"].iloc[0] == rows["loss_high"].iloc[0]
        assert (rows["loss_low"] <= rows["loss_median"]).all()
        assert (rows["loss_median"] <= rows["loss_high"]).all()


def test_a_diverged_run_is_the_worst_in_its_quartiles(runs):
    diverged = runs[runs["method"] == "K-sync"].copy()
    diverged.loc[diverged["time"] > 10, "loss"] = math.inf
    table = curves.on_grid(diverged, "time", ["loss"])
    assert table["loss_median"].iloc[-1] == math.inf


def test_ratios_count_never_as_infinite():
    times = pd.DataFrame({"time": [1.0, 2.0, 3.0], "reached": True})
    never = times.assign(reached=False)
    rng = np.random.default_rng(0)
    assert time_to_target.ratio_to(times, times.assign(time=2 * times["time"]), rng)["ratio"] == 2
    assert time_to_target.ratio_to(times, never, rng) == {
        "ratio": math.inf,
        "ratio_low": math.inf,
        "ratio_high": math.inf,
    }
    assert time_to_target.ratio_to(never, never, rng)["ratio"] == math.inf


def test_exponential_delays_hide_what_a_threshold_costs():
    """Why no figure shows exponential delays alone: every threshold has the same round time."""
    times = steady_state.abs_sgd(Exponential(1.0), 5, 20, np.array([0, 1, 5, math.inf])).round_time
    assert np.ptp(times) == 0
