"""The figures that compare ABS with its rivals elsewhere: the setting of its paper, other problems and fleets."""

import struct
from functools import cache

import joblib
import numpy as np
import pytest
from in_process import ended

from paper_figs import style
from paper_figs.__main__ import run
from paper_figs.figures import paper_setting, robustness
from paper_figs.making import config_of
from simulations.problems import random_least_squares
from simulations.problems.image_files import IDX_NAMES

TINY = {
    "paper-setting": (paper_setting, paper_setting.QUICK | {
        "n": 4, "steps": [0.4], "replicates": 2, "seconds": 6.0, "targets": {"digits": 0.5, "IDX files": 0.99},
    }),
    "robustness": (robustness, robustness.QUICK | {
        "n": 4, "replicates": 2, "tuning": {"tries": 1, "replicates": 1, "finals": 1}, "accuracies": {
            "softmax regression": 0.5},
    }),
}  # fmt: skip


@cache
def tiny_runs(name):
    """The table of a tiny figure; not to be changed."""
    figure, config = TINY[name]
    with joblib.parallel_config("sequential"):
        return figure.compute(**config)


@pytest.mark.parametrize("name", TINY)
def test_the_figure_is_drawn_within_its_page(name):
    figure = TINY[name][0]
    table = figure.summarise(tiny_runs(name))
    with style.applied():
        drawing = figure.draw(table)
        drawing.draw_without_rendering()
    page = drawing.bbox.padded(2)
    for ax in drawing.axes:
        assert page.contains(*ax.get_tightbbox().min)
        assert page.contains(*ax.get_tightbbox().max)
    assert len(figure.numbers(table)) == {"paper-setting": 14, "robustness": 2}[name]


def test_paper_setting_counts_what_is_spent_up_to_the_target():
    (figure, config), runs = TINY["paper-setting"], tiny_runs("paper-setting")
    numbers = figure.numbers(figure.summarise(runs)).set_index(["split", "method"])
    for (split, method), rows in runs.groupby(["split", "method"]):
        assert (rows.groupby("replicate")["time"].first() == 0).all()
        ends = rows.groupby("replicate").last()
        reached = ends["test_accuracy"] >= config["targets"]["digits"]
        assert numbers.loc[(split, method), "reached"] == reached.sum()
        if reached.all():
            assert numbers.loc[(split, method), "time"] in ends["time"].to_numpy()
            sent = rows.groupby("replicate")[["uplinks", "downlinks"]].sum().sum(axis=1)
            assert numbers.loc[(split, method), "messages"] in sent.to_numpy()


# ---------------------------------------------------------------------- data of the user
def idx_folder(folder):
    """IDX files of a few random images."""
    rng = np.random.default_rng(0)
    for images, labels in IDX_NAMES.values():
        x, y = rng.integers(256, size=(60, 3, 2)), rng.integers(10, size=60)
        for name, array in ((images, x), (labels, y)):
            sizes = struct.pack(f">{array.ndim}I", *array.shape)
            (folder / name).write_bytes(bytes([0, 0, 8, array.ndim]) + sizes + array.astype("u1").tobytes())
    return folder


def test_paper_setting_trains_on_the_files_of_a_folder(tmp_path):
    figure, config = TINY["paper-setting"]
    folder = idx_folder(tmp_path)
    assert config_of("paper-setting", "quick", folder) == figure.QUICK | {"data": str(folder)}
    assert "data" not in config_of("timeline", "quick", folder)
    with joblib.parallel_config("sequential"):
        runs = figure.compute(**config | {"data": str(folder), "seconds": 2.0})
    assert set(runs["target"]) == {0.99}


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["timeline", "--data", "."], "--data is for the figure paper-setting, got timeline"),
        (["paper-setting", "--quick", "--data", "nowhere"], "a folder with data files; nowhere cannot be read"),
    ],
)
def test_other_uses_of_data_end_with_status_2_and_one_line(arguments, words, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    status, _, stderr = ended(monkeypatch, capsys, run, "paper_figs", *arguments)
    assert (status, stderr.count("\n")) == (2, 1)
    assert words in stderr


def test_a_link_to_the_data_is_not_written_through(monkeypatch, capsys, tmp_path):
    folder, images = idx_folder(tmp_path), IDX_NAMES["training"][0]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "paper-setting.csv").symlink_to(folder / images)
    before = (folder / images).read_bytes()
    arguments = ["paper-setting", "--quick", "--data", folder, "--out", tmp_path / "out"]
    status, printed, stderr = ended(monkeypatch, capsys, run, "paper_figs", *arguments)
    assert (status, printed, stderr.count("\n")) == (2, "", 1)
    assert "paper-setting.csv, which is read by --data" in stderr
    assert (folder / images).read_bytes() == before


# ---------------------------------------------------------------------- claims
@pytest.mark.slow
def test_claim_of_paper_setting_on_the_default_runs():
    numbers = paper_setting.numbers(paper_setting.summarise(paper_setting.compute(**paper_setting.DEFAULT)))
    check_claim_of_paper_setting(numbers.set_index(["split", "method"]))


def check_claim_of_paper_setting(numbers):
    even, skewed = numbers.loc["i.i.d. data"], numbers.loc["label-skewed data"]
    for of_split in (even, skewed):
        assert (of_split.loc[["local SGD", "STSyn"], "update_low"] < of_split.loc["ABS, loss ratio", "update"]).all()
    ours, local, tuned = (even.loc[name] for name in ("ABS, loss ratio", "local SGD", "ABS, self-tuning"))
    assert ours["time_high"] < even.loc["AdaSync", "time_low"]
    assert ours["time_low"] < local["time_high"]
    assert local["time_low"] < ours["time_high"]
    assert (even.loc[["STSyn", "FedBuff", "SA-AdaSync"], "time"] < ours["time"]).all()
    assert tuned["time_low"] < even["time_high"].min()
    first = ["ABS, loss ratio", "AdaSync"]
    for spent in ("time", "messages"):
        assert skewed.loc[first, spent].max() < skewed[spent].drop(first).min()
    assert tuned["reached"] == tuned["replicates"]
    tuned, rivals = skewed.loc["ABS, self-tuning"], skewed.loc[["STSyn", "FedBuff"]]
    assert tuned["reached"] == tuned["replicates"]
    assert (tuned["time_low"] < rivals["time_high"]).all()
    assert (tuned["time_high"] > rivals["time_low"]).all()
    assert tuned["messages_high"] < rivals.loc["STSyn", "messages_low"]


@pytest.mark.slow
def test_claim_of_robustness_on_the_default_runs():
    table = robustness.summarise(robustness.compute(**robustness.DEFAULT)).set_index(["step", "fleet"])
    assert (table.loc["tuned", "ratio_low"] < 1.15).all()
    assert table.loc[("one", "increasing hazard"), "ratio_low"] > 1


def test_the_target_of_least_squares_is_an_excess_over_the_least_loss():
    problem = random_least_squares(3, d=4, samples=50)
    column, level = robustness.target_of(problem, "least squares", {})
    least = problem.loss(problem.optimum)
    assert column == "loss"
    assert least < level < least + 0.01 * (problem.loss(problem.initial) - least)


def test_the_robustness_ratio_is_of_self_tuning_to_the_fastest_rival():
    figure, runs = TINY["robustness"][0], tiny_runs("robustness")
    table = figure.summarise(runs)
    medians = runs[runs["step"] == "tuned"].groupby("method")["time"].median()
    assert (table["rival_time"] <= medians.drop(figure.SELF_TUNING).min()).all()
    assert (table["ratio"] == table["time"] / table["rival_time"]).all()
    assert set(table["step"]) == {"tuned", "one"}
    assert (table.loc[table["step"] == "one", "step_size"] == figure.ONE_STEP).all()
