"""What docs/knobs.md states: its tables are computed again, and compared with the published runs that it names."""

import re
from pathlib import Path

import pytest

from abs_theory import order_stats, steady_state
from abs_theory.delays import Slowest
from abs_theory.results import TrainerState
from abs_theory.rollouts import Setup, compare
from paper_figs.figures import rollouts

PAGE = (Path(__file__).parents[3] / "docs" / "knobs.md").read_text(encoding="utf-8")
LENGTHS = rollouts.lengths()


def rows_of(heading: str) -> list[list[str]]:
    """The cells of the table below a heading of the page, without its own heading."""
    lines = [line for line in PAGE.split(f"## {heading}\n")[1].split("\n## ")[0].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def number(text: str) -> float:
    """The first number of a cell; "none" is infinite, and a share in per cent is a share."""
    if text == "none":
        return float("inf")
    found = re.search(r"[\d.]+", text)
    assert found is not None, text
    return float(found[0]) / (100 if "%" in text else 1)


@pytest.mark.slow
def test_the_worked_numbers_of_the_page():
    table = compare(Setup(LENGTHS, 32, 128, trainer_seconds=0.05), thresholds=(4, 16)).table.set_index("mode")
    speed = table.loc["synchronous", "seconds_per_update"] / table["seconds_per_update"]
    for mode, *cells in rows_of("Worked numbers"):
        theory = table.loc[mode.split(",")[0] if mode.startswith("tail") else mode]
        expected = [speed[str(theory.name)], theory["staleness_mean"], theory["staleness_p99"]]
        expected += [theory["staleness_largest"], theory["lost_share"], theory["longest_10"]]
        simulated = 0.05 if theory["method"] == "monte-carlo" else 0.0
        for cell, value in zip(cells, expected, strict=True):
            digits = 0.0051 if "%" in cell else 0.051 if "." in cell else 0.51
            assert number(cell) == pytest.approx(value, abs=digits, rel=simulated), (mode, cell, value)


def test_verl_with_one_published_time_for_the_unit_of_time_and_nothing_fitted():
    k, group, wait, update = 512, 16, 128.47, 98.77  # prompts, answers to each; seconds per step at threshold 0
    law = Slowest(LENGTHS, group)
    second = order_stats.mean(law, k, k) / wait
    for threshold, seconds, published, here, _, busy in rows_of("Against published runs"):
        if threshold == "0":
            assert number(here) == pytest.approx(wait + update, abs=0.51)
            continue
        T = number(seconds)
        state = steady_state.abs_sgd(
            law, k, round((1 + number(threshold)) * k), None, "mean-field", update_seconds=T * second
        )
        assert isinstance(state, TrainerState)
        step = float(state.round_time) / second
        assert step == pytest.approx(number(here), abs=0.51)
        assert state.trainer_busy == pytest.approx(number(busy), abs=0.0051)
        assert step == pytest.approx(number(published), rel=0.06)


# rounds in tokens of deepseek-r1 answers in batches of 64 with updates that take no time, by a simulation of its own
AHEAD = {0.5: (1635, 2, 7), 1: (1055, 3, 11), 2: (605, 5, 20), 4: (339, 10, 37)}  # round, 90 and 99 % of the staleness
ABORT = {1: (623, 0.42), 2: (593, 0.25), 4: (628, 0.12), 8: (705, 0.05), 16: (753, 0.01)}  # round, share stopped


@pytest.mark.slow
def test_first_numbers_for_long_answers():
    tokens = 1527.0
    assert order_stats.mean(LENGTHS, 64, 64) * tokens == pytest.approx(12_791, rel=0.01)
    for ahead, (seconds, p90, p99) in AHEAD.items():
        state = steady_state.abs_sgd(LENGTHS, 64, round(64 * (1 + ahead)))
        assert float(state.round_time) * tokens == pytest.approx(seconds, rel=0.02)
        assert (state.staleness_quantile(0.9), state.staleness_quantile(0.99)) == (p90, pytest.approx(p99, abs=1))
        assert state.mean_staleness == pytest.approx(ahead, rel=1e-3)
    for bound, (seconds, stopped) in ABORT.items():
        state = steady_state.abs_batch(LENGTHS, 64, 128, bound, method="mean-field")
        assert float(state.round_time) * tokens == pytest.approx(seconds, rel=0.02)
        assert state.lost_share == pytest.approx(stopped, abs=0.01)
