"""What asks for too much, or never ends, is refused in one line before anything is allocated."""

import importlib
import os
import resource
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
ROOT = Path(__file__).parents[2]
BASE = """
n = 3
delay = "exponential:mean=1"
step_size = 0.1
num_updates = 4
seed = 3
protocol = { name = "k_sync", k = 2 }
problem = { name = "NoisyQuadratic", curvatures = [1.0], sigma2 = 0.1 }
"""
QUADRATIC = 'problem = { name = "NoisyQuadratic", curvatures = [1.0], sigma2 = 0.1 }'
NESTED = "mixture:weights=1,components=(" * 200 + "exponential:mean=1" + ")" * 200
CONSTANTS = ["--L", "1", "--sigma2", "1", "--gap", "1"]
TABLE = '{ law = "mixture", weights = [1], components = [' * 300 + '"exponential:mean=1"' + "] }" * 300
TOML = {
    "workers": (BASE.replace("n = 3", "n = 100000000000"), "n must be at most 1000000"),
    "workers of a law": (
        BASE.replace('"exponential:mean=1"', '["exponential:mean=1 x 100000000000"]'),
        "the delay laws are for 100000000000 workers and n=3",
    ),
    "replicates": (f"replicates = 10000000000\n{BASE}", "replicates must be at most 1000000"),
    "hidden units": (
        BASE.replace(QUADRATIC, 'problem = { name = "perceptron_digits", hidden = 1000000000 }'),
        "GiB of memory",
    ),
    "samples of a batch": (
        BASE.replace(QUADRATIC, 'problem = { name = "softmax_digits", batch_size = 10000000000 }'),
        "GiB of memory",
    ),
    "generated samples": (
        BASE.replace(QUADRATIC, 'problem = { name = "random_least_squares", samples = 10000000000 }'),
        "GiB of memory",
    ),
    "features": (BASE.replace(QUADRATIC, 'problem = { name = "random_least_squares", d = 1000000 }'), "GiB of memory"),
    "laws within laws": (BASE.replace("exponential:mean=1", NESTED), "at most 20 laws within each other"),
    "tables within tables": (BASE.replace('"exponential:mean=1"', TABLE), "nested too deeply|within each other"),
    "lists within lists": (BASE.replace("[1.0]", "[" * 5000 + "]" * 5000), "nested too deeply"),
    "cells": (BASE + f"[sweep]\nseed = {list(range(400))}\nstep_size = {list(range(1, 400))}\n", "up to 100000 cells"),
    "delays of a device": (BASE.replace("exponential:mean=1", "empirical:/dev/zero"), "is a device or a pipe"),
    "a replayed device": (BASE + '[fleet]\nname = "from_trace"\ntrace = "/dev/zero"\n', "is a device or a pipe"),
    "k": (BASE.replace('"k_sync", k = 2', '"k_batch_async", k = 10000000000'), "k must be at most"),
    "an endless queue": (
        "update_seconds = 1e12\n" + BASE.replace('"k_sync", k = 2', '"abs_batch", k = 2, max_staleness = 1'),
        "gradients wait: update_seconds must not",
    ),
    "a long text": (BASE.replace("k_sync", "k" * 100_000), "there is no protocol named"),
}


@pytest.fixture
def command(monkeypatch, capsys):
    """A command in this process, which may take 1 GiB more than it has."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30), before[1]))

    def call(*arguments, package="simulations"):
        monkeypatch.setattr(sys, "argv", [package, *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            importlib.import_module(f"{package}.__main__").run()
        return Ended(end.value.code or 0, *capsys.readouterr())

    yield call
    resource.setrlimit(resource.RLIMIT_AS, before)


class Ended(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def refused(ended, message):
    assert (ended.returncode, ended.stdout) == (2, ""), ended.stderr[-3000:]
    assert ended.stderr.count("\n") == 1
    assert len(ended.stderr) < 3000
    assert any(part in ended.stderr for part in message.split("|")), ended.stderr


@pytest.mark.parametrize(("text", "message"), TOML.values(), ids=TOML.keys())
def test_a_file_that_asks_for_too_much(command, text, message, tmp_path):
    (tmp_path / "run.toml").write_text(text)
    refused(command(tmp_path / "run.toml", "--out", tmp_path / "out"), message)
    assert not (tmp_path / "out" / "table.csv").exists()


def test_a_grid_of_evaluations_that_is_too_fine_for_the_clock_ends(command, tmp_path):
    (tmp_path / "run.toml").write_text(f"eval_every = 1e-300\n{BASE}")
    ended = command(tmp_path / "run.toml", "--out", tmp_path / "out")
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("package", ["simulations", "abs_theory"])
def test_a_pipe_or_a_device_is_no_input(command, package, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        arguments = [path, "--out", tmp_path / "out"] if package == "simulations" else ["plan", path]
        refused(command(*arguments, package=package), "is a device or a pipe|not a pipe, device or socket")


@pytest.mark.parametrize(
    "arguments",
    [
        ["plan", str(ROOT / "examples" / "trace.csv"), "-n", "1000000000"],
        ["round-time", "--delay", "exponential:mean=1 x 100000000000", "-n", "100000000000"],
        ["choose", "--delay", "exponential:mean=1", "-n", "100000", "--target", ".1", *CONSTANTS],
        ["choose", "--delay", "exponential:mean=1", "-n", "1000000000", "--target", ".1", *CONSTANTS],
        ["round-time", "--delay", "uniform:low=0,high=1e308", "-n", "4"],
        ["round-time", "--delay", "gamma:shape=1,scale=1e-308", "-n", "4", "--max-staleness", "1"],
        ["rollouts", "--lengths", "lognormal:median=800,sigma=1", "--batch", "2", "--slots", "99999999999"],
        ["rollouts", "--lengths", "exponential:mean=9", "--batch", "2", "--slots", "3", "--trainer-seconds", "1e20"],
        ["round-time", "--delay", NESTED, "-n", "4"],
        ["round-time", "--delay", "empirical:/dev/zero", "-n", "4"],
    ],
    ids=[
        "workers of a plan",
        "workers",
        "a search",
        "workers of a choice",
        "long tasks",
        "short tasks",
        "slots",
        "a long update",
        "laws within laws",
        "a device",
    ],
)
def test_a_command_that_asks_for_too_much(command, arguments):
    refused(
        command(*arguments, package="abs_theory"),
        "at most|or equal to|is a device or a pipe|GiB of memory|must be 1e-100 to 1e+100",
    )


def test_no_name_changes_the_terminal(command, tmp_path):
    (tmp_path / "run.toml").write_text(BASE.replace('"k_sync"', '"\\u001b[31mred\\u0007"'))
    ended = command(tmp_path / "run.toml", "--out", tmp_path / "out")
    refused(ended, "there is no protocol named")
    assert ended.stderr.removesuffix("\n").isprintable()
