"""The figures: each is drawn from a small run, its claim holds on the numbers, and the command is well behaved."""

import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from abs_theory import steady_state
from abs_theory.delays import Exponential
from paper_figs import cache, curves, study, style
from paper_figs.__main__ import draw
from paper_figs.figures import FIGURES, ablation, adaptation, round_time, time_to_target, timeline

TINY = {
    "n": 4, "laws": ["decreasing hazard"], "easy": 0.3, "hard": 0.5, "replicates": 3,
    "tuning": {"budget": 1, "replicates": 1, "finals": 1},
}  # fmt: skip
CONFIGS = {
    "timeline": timeline.DEFAULT,
    "round-time": {"n": 4, "ks": [1, 2, 4], "tasks": 400, "replicates": 2, "seed": 1},
    "ablation": {
        "n": 4, "laws": ["lognormal"], "hard": 0.5, "longest": 10.0, "replicates": 2,
        "tuning": {"budget": 1, "replicates": 1, "finals": 1},
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def runs():
    return study.compute(**TINY)


@pytest.fixture(scope="module")
def tables(runs):
    def table(name):
        figure = FIGURES[name]
        whole = runs if figure.compute is study.compute else figure.compute(**CONFIGS[name])
        return getattr(figure, "summarise", lambda table: table)(whole)

    return {name: table(name) for name in FIGURES}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_drawn_within_its_page_with_units_and_no_text_cut_off(name, tables, tmp_path):
    with style.applied():
        figure = FIGURES[name].draw(tables[name])
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
def test_profiles_have_the_same_knobs_and_the_claim_is_written_down(name):
    figure = FIGURES[name]
    assert figure.QUICK.keys() == figure.DEFAULT.keys()
    assert "Claim:" in figure.__doc__


# ---------------------------------------------------------------------- claims
def test_claim_of_timeline_abs_drops_the_stalled_work_k_async_keeps(tables):
    table = tables["timeline"]
    restarted = table[table["outcome"] == "restarted"]["panel"].unique()
    assert len(restarted) == 1
    assert restarted[0].startswith("ABS")
    updates = table[table["outcome"] == "update"]["panel"].value_counts()
    assert updates["synchronous"] < updates.drop("synchronous").min()


def test_claim_of_round_time_a_threshold_costs_time_where_the_hazard_increases_and_saves_it_where_it_decreases():
    n, ks = 20, np.arange(1, 20)
    times = {
        law: [steady_state.abs_sgd(delay, ks, n, np.full(19, bound)) for bound in (0, 2, math.inf)]
        for law, delay in round_time.LAWS.items()
    }
    for law, (sync, bounded, free) in times.items():
        if "increasing" in law:
            assert (sync.round_time > free.round_time).all()
        if "decreasing" in law:
            assert (sync.round_time < free.round_time).all()
            assert (bounded.round_time - bounded.error.round_time <= free.round_time + free.error.round_time).all()
        if "constant" in law:
            np.testing.assert_allclose(sync.round_time, free.round_time, rtol=1e-12)
            np.testing.assert_allclose(bounded.round_time, free.round_time, rtol=1e-12)


def test_claim_of_adaptation_k_never_falls_and_staleness_stays_below_a_threshold_that_never_rises():
    method = study.METHODS["ABS"]
    knobs = {"step_size": 0.354, "k0": 1, "c": 2.0}
    rounds = study.train(method, "lognormal", 6, knobs, seed=1, replicates=2, num_updates=400)
    for _, run in rounds.groupby("replicate"):
        assert run["k"].is_monotonic_increasing
        assert run["k"].iloc[-1] > 1
        assert run["max_staleness"].is_monotonic_decreasing
        assert (run["largest_staleness"] <= run["max_staleness"]).all()
    assert set(adaptation.METHODS) <= set(study.METHODS)


@pytest.mark.slow
def test_claims_of_the_training_figures_and_numbers_of_the_readme_hold_on_the_default_runs():
    """On another processor rounding may change a run, so the README's medians need only lie in the new intervals."""
    table = time_to_target.summarise(study.compute(**study.DEFAULT)).set_index(["target", "law", "method"])
    hard = table.loc["hard"]
    ratio = hard["ratio"].unstack("law")
    others = ratio.drop(["synchronous", "local SGD"])
    assert (others.max() < ratio.loc["synchronous"]).all()
    assert ratio.loc["AdaSync", "decreasing hazard"] > 3 * ratio.loc["ABS, time-optimal", "decreasing hazard"]
    assert 2 * ratio.loc["ABS, time-optimal", "decreasing hazard"] < 1
    assert hard.loc[("increasing hazard", "K-sync"), "ratio"] < 1  # where ABS loses
    assert (
        hard.loc[("increasing hazard", "ABS, time-optimal"), "time"]
        == hard.loc[("increasing hazard", "AdaSync"), "time"]
    )
    messages = hard.loc["decreasing hazard", "communication"]
    assert messages["ABS, time-optimal"] > 3 * messages["AdaSync"]
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    rows = re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \| (.+?) \|$", readme, flags=re.MULTILINE)
    names = {"ABS, threshold relative to mean staleness": "ABS", "ABS, time-optimal threshold": "ABS, time-optimal"}
    checked = 0
    for name, *cells in rows:
        method = names.get(name, name.removesuffix(" (our reading)"))
        for law, cell in zip(study.DEFAULT["laws"], cells, strict=True):
            if (law, method) in hard.index:
                checked += 1
                found = hard.loc[(law, method)]
                if cell.startswith("not reached"):
                    assert math.isinf(found["time"]), (law, method)
                else:
                    stated = float(cell.split(" [")[0].strip("*"))
                    assert 0.99 * found["time_low"] <= stated <= 1.01 * found["time_high"], (law, method)
    assert checked == 27


@pytest.mark.slow
def test_claim_of_ablation_the_threshold_decides_where_the_hazard_decreases():
    table = ablation.compute(**ablation.DEFAULT).pivot(index=["law", "k_rule"], columns="threshold", values="median")
    assert (table.loc["decreasing hazard", "none"] > 2 * table.loc["decreasing hazard", "time-optimal"]).all()
    increasing = table.loc["increasing hazard"].drop("loss ratio")
    assert (increasing.max(axis=1) < 1.5 * increasing.min(axis=1)).all()
    assert (table.loc["lognormal", "restart all"] < table.loc["lognormal", "time-optimal"]).all()  # said in the README


@pytest.mark.slow
def test_tuned_values_lie_inside_their_grids_unless_the_domain_ends_there():
    knobs = study.tune_all(study.METHODS, list(study.LAWS), 20, 0.94, study.LONGEST, study.DEFAULT["tuning"])
    for (method, law), found in knobs.items():
        for name in ("step_size", "c"):
            if name in found:
                assert found[name] in study.GRIDS[name][1:-1], (method, law, name)
        if "local_steps" in found:
            assert found["local_steps"] < study.GRIDS["local_steps"][-1], law


# ---------------------------------------------------------------------- tuning and curves
def test_no_step_of_the_search_leaves_its_grid_and_both_directions_are_open_inside():
    knobs = {"step_size": 0.5, "k0": 3, "c": 1.0}
    points = list(study.neighbours(knobs, 20))
    assert {"step_size": 0.707, "k0": 3, "c": 1.0} in points
    assert {"step_size": 0.5, "k0": 4, "c": 1.0} in points
    assert {"step_size": 0.5, "k0": 3, "c": 0.5} in points
    assert max(point["k0"] for point in study.neighbours({"k0": 4, "step_size": 1.0}, 4)) == 4


def test_the_search_finds_a_better_step_size_within_its_budget():
    method = study.METHODS["asynchronous"]
    found = study.tune(method, "lognormal", 4, target=0.6, longest=40.0, budget=8, replicates=2, finals=2)
    start = study.tune(method, "lognormal", 4, target=0.6, longest=40.0, budget=1, replicates=2, finals=2)
    assert found["evaluated"] <= 8
    assert found["median"] <= start["median"]
    assert found["step_size"] in study.GRIDS["step_size"][1:-1]


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
    one = runs[runs["method"] == "K-sync"].copy()
    one.loc[one["time"] > 10, "loss"] = math.inf
    table = curves.on_grid(one, "time", ["loss"])
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


# ---------------------------------------------------------------------- cache and command
def test_same_config_same_bytes_of_csv_and_pdf_and_the_second_time_from_the_cache(tmp_path, capsys):
    for folder in ("one", "two"):
        draw("timeline", timeline.DEFAULT, tmp_path / folder)
    for suffix in ("csv", "pdf", "png"):
        one, two = ((tmp_path / folder / f"timeline.{suffix}").read_bytes() for folder in ("one", "two"))
        assert one == two, suffix
    assert "cache" not in capsys.readouterr().out
    draw("timeline", timeline.DEFAULT, tmp_path / "one")
    assert "timeline.csv  (from the cache)" in capsys.readouterr().out


def test_the_cache_asks_for_config_and_source_and_survives_a_half_written_file(tmp_path, monkeypatch):
    calls = []

    def compute(x):
        calls.append(x)
        return pd.DataFrame({"x": [x]})

    assert cache.load_or_compute(tmp_path, "t", {"x": 1}, compute)[1] is False
    assert cache.load_or_compute(tmp_path, "t", {"x": 1}, compute)[1] is True
    assert cache.load_or_compute(tmp_path, "t", {"x": 2}, compute)[0]["x"].tolist() == [2]
    cache.entry(tmp_path, "t", {"x": 3}).with_suffix(".123").write_bytes(b"half")
    assert cache.load_or_compute(tmp_path, "t", {"x": 3}, compute)[0]["x"].tolist() == [3]
    monkeypatch.setattr(cache, "source_hash", lambda: "changed")
    assert cache.load_or_compute(tmp_path, "t", {"x": 3}, compute)[1] is False
    assert calls == [1, 2, 3, 3]


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "paper_figs", *arguments], capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["nonsense"], "no figure named nonsense; there are timeline, round-time"),
        (["--nonsense"], "No such option"),
        (["--out"], "requires an argument"),
    ],
)
def test_a_bad_command_ends_with_status_2_and_one_line(arguments, words):
    result = command(*arguments)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert words in result.stderr
    assert result.stdout == ""


def test_the_command_refuses_a_file_as_folder_and_lists_what_is_cached(tmp_path):
    (tmp_path / "file").write_text("")
    refused = command("timeline", "--out", str(tmp_path / "file"))
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "must be a folder" in refused.stderr
    drawn = command("timeline", "--out", str(tmp_path / "figures"))
    assert drawn.returncode == 0, drawn.stderr
    assert [line.rsplit(".")[-1] for line in drawn.stdout.split()] == ["csv", "pdf", "png"]
    listed = command("--list", "--out", str(tmp_path / "figures"))
    assert "timeline: cached" in listed.stdout
    assert "ablation: to be computed" in listed.stdout


def test_exponential_delays_hide_what_a_threshold_costs():
    """Why no figure shows exponential delays alone: every threshold has the same round time."""
    times = steady_state.abs_sgd(Exponential(1.0), 5, 20, np.array([0, 1, 5, math.inf])).round_time
    assert np.ptp(times) == 0
