"""The explorer shows the numbers of the library, in time."""

import itertools
import math
import sys

import numpy as np
import pandas as pd
import pytest

from abs_theory import __main__ as theory_command
from abs_theory import steady_state
from simulations import protocols
from simulations.experiment import simulate
from simulations.explore import LAWS, THRESHOLDS, Setting, answer, answers, timeline_of
from simulations.explore.answers import MOST_POINTS
from simulations.problems import TimingOnly


@pytest.mark.parametrize("method", ["fast", "auto"])
def test_numbers_are_those_of_the_library_with_their_errors(method):
    setting = Setting(LAWS["lognormal"], n=9, k=4, max_staleness=2)
    found = answer(setting, method)
    state = steady_state.abs_sgd(setting.law, 4, 9, 2, method)
    assert found.numbers["round time (s)"] == (state.round_time, state.error.round_time)
    assert found.numbers["mean staleness (updates)"] == (state.mean_staleness, state.error.mean_staleness)
    assert found.numbers["messages per round"][0] == state.uplinks + state.downlinks
    assert found.numbers["gradients per second"][0] == pytest.approx(4 / state.round_time)
    for row in found.curve.to_dict("records"):
        each = steady_state.abs_sgd(setting.law, int(row["k"]), 9, 2, method)
        assert (row["round_time"], row["round_time_error"]) == (each.round_time, each.error.round_time)
    assert found.curve["rate"].max() == found.curve.set_index("k")["rate"][found.best]
    assert 4 in found.curve["k"].tolist()


def test_the_curve_has_both_ends_and_never_more_points_than_it_may():
    for n, k in ((2, 1), (7, 7), (100, 37)):
        curve = answer(Setting("exponential:mean=1", n, k, math.inf)).curve
        assert {1, k, n} <= set(curve["k"])
        assert curve["k"].is_monotonic_increasing
        assert len(curve) <= MOST_POINTS["fast"] + 4


def test_the_timeline_is_that_of_the_simulator():
    setting = Setting(LAWS["exponential"], 5, 2, 1)
    spans, updates, seconds = timeline_of(setting)
    rounds, tasks = simulate(
        protocols.abs_sgd(2, 1), TimingOnly(), setting.law, 5, step_size=1.0, time_budget=3 * seconds, seed=0, jobs=True
    )
    assert updates == rounds["time"][rounds["time"] <= seconds].tolist()
    shown = spans[spans["outcome"] != "idle"].sort_values(["worker", "start"])
    wanted = tasks[tasks["start"] < seconds].sort_values(["worker", "start"])
    assert np.array_equal(shown[["worker", "start", "end"]], wanted[["worker", "start", "end"]])


def test_command_and_python_give_the_numbers_that_are_shown(monkeypatch, capsys):
    setting = Setting(LAWS["gamma (several steps)"], 6, 2, 1)
    numbers = answer(setting, "auto").numbers
    assert (
        setting.command == "python -m abs_theory round-time --delay gamma:shape=4,scale=.25 -n 6 -k 2 --max-staleness 1"
    )
    monkeypatch.setattr(sys, "argv", setting.command.split()[2:])
    with pytest.raises(SystemExit):
        theory_command.run()
    printed = capsys.readouterr().out.splitlines()
    top = next(number for number, line in enumerate(printed) if line.split()[:2] == ["k", "round_time"])
    row = dict(zip(printed[top].split(), printed[top + 1].split(), strict=True))
    assert row["round_time"] == f"{numbers['round time (s)'][0]:.4g}"
    assert row["restarts"] == f"{numbers['restarts per round'][0]:.4g}"
    names: dict = {}
    exec(setting.python.replace("print(", "shown = ("), names)
    assert isinstance(names["shown"], pd.DataFrame)
    assert names["state"].round_time == numbers["round time (s)"][0]


@pytest.mark.parametrize("method, points", [("fast", 2), ("auto", 13)])
def test_no_further_point_of_the_curves_is_begun_when_time_is_up(monkeypatch, method, points):
    """On a clock that goes on by .1 s whenever it is asked; the answer of the setting itself comes first."""
    ticks = itertools.count(step=0.1)
    monkeypatch.setattr(answers.time, "perf_counter", lambda: next(ticks))
    found = answer(Setting(LAWS["exponential"], 64, 18, 3), method)
    assert len(found.curve) == points
    assert 18 in set(found.curve["k"])


@pytest.mark.parametrize(
    "options, words",
    [
        ({"k": 9, "n": 8}, "k must be a whole number in 1..n"),
        ({"delay": "expo:mean=1"}, "expo"),
        ({"max_staleness": -1}, "max_staleness"),
        ({"n": 0}, "n must be"),
    ],
)
def test_impossible_settings_are_refused_in_words(options, words):
    with pytest.raises(ValueError, match=words):
        Setting(**options)


def test_an_update_may_take_time():
    setting = Setting("exponential:mean=1", 8, 3, 2, update_seconds=0.5)
    state = steady_state.abs_sgd(setting.law, 3, 8, 2, "mean-field", update_seconds=0.5)
    assert answer(setting, "auto").numbers["round time (s)"] == (state.round_time, state.error.round_time)
    assert "update_seconds=0.5" in setting.python
    assert np.diff(timeline_of(setting)[1]).min() >= 0.5
    with pytest.raises(ValueError, match="update_seconds must be"):
        Setting(update_seconds=-1)


def test_thresholds_can_be_chosen_up_to_none():
    assert math.isinf(THRESHOLDS[-1])
    assert Setting(max_staleness=math.inf).threshold == "none"
