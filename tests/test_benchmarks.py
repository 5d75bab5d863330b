"""The rivals of the benchmarks play the same game, so that the ratios mean something."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from agreement import assert_agrees, noise
from laws import SHIFTED, STALLS
from steady_states import half_widths_as_estimates

from abs_theory import monte_carlo, order_stats
from abs_theory.monte_carlo import Estimate
from benchmarks.measure import Line, seconds
from benchmarks.rivals import heap_loop, simpy_model
from benchmarks.training_rivals import heap_training, simpy_training
from simulations import protocols
from simulations.experiment import simulate
from simulations.problems import NoisyQuadratic
from simulations.streams import streams, task_times

CASES = [(3, 10, 2), (1, 6, math.inf), (1, 6, 1), (4, 9, 0), (5, 5, 3), (2, 7, math.inf)]


@pytest.mark.parametrize("k, n, bound", CASES)
def test_heap_and_simpy_play_the_same_rounds(k, n, bound):
    """Workers that begin together draw in another order, but they are equal: the sums agree to the last bits."""
    pytest.importorskip("simpy")
    one, other = (rival(SHIFTED, k, n, bound, np.random.default_rng(0), 300) for rival in (heap_loop, simpy_model))
    assert one == pytest.approx(other, rel=1e-12)


@pytest.mark.parametrize("delay", [SHIFTED, STALLS], ids=repr)
@pytest.mark.parametrize("k, n, bound", CASES)
def test_the_heap_agrees_with_the_monte_carlo(delay, k, n, bound):
    rounds, replicates = 600, 48
    runs = [heap_loop(delay, k, n, bound, np.random.default_rng([1, r]), rounds) for r in range(replicates)]
    ours = monte_carlo.abs_sgd(delay, k, n, bound, np.random.default_rng(2), rounds, 256, warmup=0)
    found = half_widths_as_estimates(ours, 256)
    for name, values in zip(("round_time", "mean_staleness"), np.array(runs).T, strict=True):
        rival = Estimate.of(values / rounds / (1 if name == "round_time" else k))
        assert abs(found[name].mean - rival.mean) <= noise(rival) + noise(found[name]) <= 0.25 * rival.mean or (
            found[name].mean == rival.mean
        )


def test_the_heap_without_staleness_is_the_order_statistic():
    runs = [heap_loop(SHIFTED, 3, 8, 0, np.random.default_rng([3, r]), 500)[0] / 500 for r in range(64)]
    assert_agrees(Estimate.of(runs), order_stats.mean(SHIFTED, 3, 8), 0.02)


def test_a_line_says_whether_the_requirement_is_met():
    assert str(Line("speed", 20.0, "x", minimum=15)).split() == ["speed", "20", "x", ">=", "15", "yes"]
    assert str(Line("speed", 14.0, "x", minimum=15)).split()[-1] == "NO"
    assert str(Line("time", 0.5, "s", maximum=1)).split() == ["time", "0.5", "s", "<=", "1", "yes"]
    assert str(Line("time", 2.0, "s", maximum=1)).split()[-1] == "NO"
    assert str(Line("time", 2.0, "s")).split() == ["time", "2", "s"]


def test_tasks_take_turns_and_the_first_round_does_not_count():
    turns = []
    times = seconds({"a": lambda: turns.append("a"), "b": lambda: turns.append("b")}, 3)
    assert "".join(turns) == "abababab"
    assert {name: each.size for name, each in times.items()} == {"a": 3, "b": 3}


@pytest.mark.parametrize("k, n, bound", CASES)
def test_the_rivals_train_the_same_model(k, n, bound):
    """From the same streams, to the last bits: the ratios compare the same work."""
    pytest.importorskip("simpy")
    problem, rounds = NoisyQuadratic((1.0, 0.3), sigma2=1.0), 40
    ours = simulate(protocols.abs_sgd(k, bound), problem, SHIFTED, n, step_size=0.1, num_updates=rounds, seed=0)
    for train in (heap_training, simpy_training):
        delays = [task_times(SHIFTED, rng) for rng in streams(0, 0, "delay", n)]
        time, params = train(problem, delays, streams(0, 0, "batch", n), k, bound, 0.1, rounds)
        assert time == pytest.approx(ours["time"].iloc[-1], rel=1e-12)
        assert problem.loss(params) == pytest.approx(ours["loss"].iloc[-1], rel=1e-9)


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1],
    )  # fmt: skip


def test_help_lists_the_parts_and_runs_none():
    printed = command("--help")
    assert printed.returncode == 0
    for part in ("theory", "simulator", "choice", "traces", "reading"):
        assert f"  {part} " in printed.stdout
    assert "--problem" in command("choice", "--help").stdout  # a part that has options tells them itself


def test_an_unknown_part_is_told_in_one_line():
    refused = command("choices")
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)
