"""The comparison of modes: lengths from files, the table, the recommendation, shared GPUs, and the command."""

import importlib
import json
import math

import numpy as np
import pandas as pd
import pytest

from abs_theory import order_stats
from abs_theory.delays import Empirical, Exponential, LogNormal, Slowest
from abs_theory.rollouts import (
    Setup,
    Tolerance,
    admission,
    batches,
    best_settings,
    compare,
    modes,
    over_sampling,
    read_lengths,
    slowest_of_prompt,
    synchronous,
)

LAW = LogNormal(median=math.exp(-0.5), sigma=1.0)
TOKENS = [100.0, 200.0, 400.0, 800.0]


# ---------------------------------------------------------------------- lengths
@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl", "header", "plain"])
def test_lengths_are_read_from_any_kind_of_file(tmp_path, kind):
    table, path = pd.DataFrame({"tokens": TOKENS}), tmp_path / f"log.{kind}"
    if kind == "parquet":
        table.to_parquet(path)
    elif kind == "jsonl":
        table.to_json(path, orient="records", lines=True)
    elif kind == "header":
        path.write_text("answer_length\n100\n200\n400\n800\n")
    else:
        table.to_csv(path, index=False, header=kind != "plain")
    assert read_lengths(str(path)).law == Empirical(TOKENS, np.ones(4))


def test_weights_seconds_and_groups_of_a_log(tmp_path):
    table = pd.DataFrame({"tokens": TOKENS, "weight": [1, 1, 1, 5], "group": ["a", "a", "b", "b"], "seconds": 2.0})
    table.to_csv(tmp_path / "log.csv", index=False)
    lengths = read_lengths(str(tmp_path / "log.csv"), group=2)
    assert lengths.law.mean == pytest.approx((100 + 200 + 400 + 5 * 800) / 8)
    assert lengths.seconds_per_token == pytest.approx(16 / 4700)
    # of each prompt the longest of two draws: the shorter one once in four
    assert lengths.task(2).mean == pytest.approx((100 / 4 + 200 * 3 / 4 + 400 / 4 + 800 * 3 / 4) / 2)


@pytest.mark.parametrize(
    "text, message",
    [
        ("a,b\n1,2\n", "must have a column tokens, it has a, b"),
        ("tokens\n1\n-2\n", "must have finite numbers > 0 only"),
        ("tokens,weight\n1,0\n", "the column weight"),
        ("dataset,tokens\nx,1\ny,2\n", "has 2 datasets"),
        ("tokens,seconds\n1,nan\n", "the column seconds"),
    ],
)
def test_bad_lengths_are_refused(tmp_path, text, message):
    (tmp_path / "log.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_lengths(str(tmp_path / "log.csv"))


def test_many_lengths_are_gathered_with_mean_and_tail(tmp_path):
    lengths = LAW.sample(np.random.default_rng(0), 30_000)
    pd.DataFrame({"tokens": lengths}).to_csv(tmp_path / "log.csv", index=False)
    law = read_lengths(str(tmp_path / "log.csv")).law
    assert isinstance(law, Empirical)
    assert law.times.size <= 2000
    assert law.mean == pytest.approx(lengths.mean(), rel=1e-9)
    assert float(law.isf(0.001)) == pytest.approx(np.quantile(lengths, 0.999), rel=0.05)


def test_answers_to_one_prompt_that_are_equal_make_no_group_longer():
    law = slowest_of_prompt(np.array([1.0, 1.0, 5.0, 5.0]), np.array([0, 0, 1, 1]), count=8)
    assert law.mean == pytest.approx(3.0)


# ---------------------------------------------------------------------- modes
def test_what_is_between_is_simulated():
    setup = Setup(LAW, 16, 40)
    assert admission(setup, 2.0).solve(LAW, 0.1).method == "monte-carlo"
    assert str(admission(setup, 1.0).solve(LAW, 0.1).method) == "mean-field"
    assert admission(setup, 1.0).solve(LAW, 0.1).mean_staleness == 1


def test_running_ahead_is_fair_and_a_threshold_is_not():
    setup = Setup(LAW, 16, 64)
    assert admission(setup, 1.0).solve(LAW, 0.0).long_share(LAW, 0.1) == 1
    for mode in (batches(setup, 2), batches(setup, 2, in_flight=False), over_sampling(setup)):
        assert mode.solve(LAW, 0.0).long_share(LAW, 0.1) < 0.01


def test_over_sampling_waits_for_the_first_of_all_and_trains_on_nothing_stale():
    state = over_sampling(Setup(LAW, 16, 64)).solve(LAW, 0.0)
    assert state.round_time == pytest.approx(order_stats.mean(LAW, 16, 64), rel=1e-7)
    assert (state.mean_staleness, state.restarts) == (0, 48)


def test_over_sampling_loses_the_late_ones_of_lengths_that_are_common():
    law = Empirical([1.0, 2.0, 4.0])
    state = over_sampling(Setup(law, 8, 32)).solve(law, 0.1)
    assert (state.restarts, state.lost_share) == (24, pytest.approx(0.75))
    assert float(state.participation.sum()) == pytest.approx(8)


def test_slots_that_share_gpus_are_a_fixed_point():
    setup = Setup(LAW, 8, 32, trainer_seconds=0.1, seconds_per_token=0.5, slowdown=0.1, gpus=4)
    for mode in (synchronous(setup), batches(setup, 4), admission(setup, 1.0)):
        state, speed = mode.state(setup, LAW)
        assert speed == pytest.approx(0.5 + 0.1 * mode.slots * (1 - state.idle_fraction) / 4, rel=1e-3)
    busy = batches(setup, 4).state(setup, LAW)[1]
    assert busy == pytest.approx(0.5 + 0.1 * 32 / 4)  # no slot waits


def test_tokens_of_groups():
    """If none is lost, trained groups of independent answers have answers of the mean length."""
    comparison = compare(Setup(Slowest(LAW, 4), 8, 16), group=4, answer=LAW, in_order=False)
    rows = comparison.table.set_index("mode")
    per_rollout = rows["tokens_per_second"] / rows["rollouts_per_second"]
    assert per_rollout["ahead 1"] == pytest.approx(LAW.mean, rel=0.02)
    assert per_rollout["abort 1"] < 0.7 * LAW.mean


# ---------------------------------------------------------------------- which to use
@pytest.mark.parametrize(
    "what, most, fair",
    [
        ("p99", 8, 0.9),
        pytest.param("mean", 2, 0.9, marks=pytest.mark.slow),
        pytest.param("max", 2, 0.9, marks=pytest.mark.slow),
        pytest.param("max", 4, 0.0, marks=pytest.mark.slow),
    ],
)
def test_the_recommended_mode_is_the_fastest_within_the_tolerance(what, most, fair):
    found = compare(Setup(LAW, 8, 32), Tolerance(what, most, fair))
    rows = found.table.set_index("mode")
    column = {"p99": "staleness_p99", "mean": "staleness_mean", "max": "staleness_largest"}[what]
    good = rows[(rows[column] <= most) & (rows["longest_10"] >= fair)]
    assert found.recommended == good["rollouts_per_second"].idxmax()
    assert found.recommended in found.why


@pytest.mark.parametrize("text", ["p99", "p200:3", "mean:-1", "often:2", "p99:many"])
def test_a_tolerance_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match="toler"):
        Tolerance.of(text)


def test_more_slots_on_the_same_gpus_need_not_pay():
    setup = Setup(LAW, 8, 16, seconds_per_token=0.1, slowdown=1.0, gpus=4)
    found = best_settings(setup, slots=[8, 16, 32], tolerance=Tolerance("mean", 1.0))
    assert len(found.table) == 3
    assert found.seconds_per_rollout == pytest.approx(1 / found.table["rollouts_per_second"].max())
    with pytest.raises(ValueError, match="slots must be at least a batch"):
        best_settings(setup, slots=[4])


def test_every_mode_has_a_name_of_its_own():
    names = [mode.name for mode in modes(Setup(Exponential(1.0), 4, 24))]
    assert len(set(names)) == len(names)


# ---------------------------------------------------------------------- the command
def run(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["abs_theory", "rollouts", *arguments])
    with pytest.raises(SystemExit) as end:
        importlib.import_module("abs_theory.__main__").run()
    return end.value.code


def test_the_command_prints_and_writes(tmp_path, monkeypatch, capsys):
    files = {name: tmp_path / f"modes.{kind}" for name, kind in (("csv", "csv"), ("json", "json"), ("page", "html"))}
    options = ["--lengths", "exponential:mean=500", "--batch", "4", "--slots", "8", "--trainer-seconds", "2"]
    assert not run(monkeypatch, *options, *(text for name, path in files.items() for text in (f"--{name}", str(path))))
    assert "Recommended: " in capsys.readouterr().out
    table, content = pd.read_csv(files["csv"]), json.loads(files["json"].read_text())
    assert content["recommended"] in table["mode"].tolist()
    assert len(content["modes"]) == len(table)
    assert "<svg" in files["page"].read_text()


def test_a_mistake_is_one_line(monkeypatch, capsys):
    assert run(monkeypatch, "--lengths", "exponential:mean=500", "--batch", "9", "--slots", "8") == 2
    assert capsys.readouterr().err == "abs_theory: slots must be at least batch=9, got slots=8: use a smaller batch\n"
