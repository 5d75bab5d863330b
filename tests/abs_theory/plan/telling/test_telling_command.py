"""What ``python -m abs_theory plan`` prints of costs, recipes and comparisons, and what it refuses."""

import json

import numpy as np
import pytest
import synthetic_traces
from in_process import ended

from abs_theory import __main__ as command
from abs_theory.delays.text import delay_laws


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    def call(*arguments):
        return ended(monkeypatch, capsys, command.run, "abs_theory", "plan", *arguments, "--out", tmp_path / "out")

    return call


@pytest.fixture
def files(tmp_path):
    paths = tmp_path / "before.csv", tmp_path / "after.csv"
    for seed, (path, slowest) in enumerate(zip(paths, (5.0, 1.0), strict=True)):
        frame = synthetic_traces.unequal_workers(np.random.default_rng(seed), num=30, n=3, slowest=slowest)
        frame.to_csv(path, index=False)
    return paths


def test_cost_and_recipe_end_the_answer(run, files, tmp_path):
    status, out, err = run(files[0], "--rounds", 10_000, "--price", "2.5/h", "--for", "ray")
    assert (status, err) == (0, "")
    *_, page, data = out.splitlines()
    assert out.index("gradients/s  loss, %\n") < out.index("Cost of 10,000 rounds") < out.index("What to type: Ray")
    assert "K, N, MAX_STALENESS = 2, 3, " in out
    assert "Checked against: Ray 2.60" in out
    assert page.endswith("plan.html")
    read = json.loads((tmp_path / "out" / "plan.json").read_text())
    assert data.endswith("plan.json")
    assert read["cost"]["price_per_worker_hour"] == 2.5
    assert read["origin"]["file"] == str(files[0])
    assert read["origin"]["command"].startswith("python -m abs_theory plan ")
    assert delay_laws(read["delay"], 3)


def test_without_a_framework_the_answer_says_where_the_recipes_are(capsys):
    command._print_recipe(None, None)
    out = " ".join(capsys.readouterr().out.split())
    assert out == "What to type: --for ray, pytorch, flower, rollouts, python; plan.html has them all"


def test_two_traces_are_compared(run, files, tmp_path):
    status, out, err = run(*files)
    assert (status, err) == (0, "")
    assert out.startswith("Round time, waiting for everybody: ")
    assert "Worker 2: " in out
    assert "Wait for" not in out
    assert out.splitlines()[-2:] == [str(tmp_path / "out" / f"comparison.{kind}") for kind in ("html", "json")]
    assert "<script" not in (tmp_path / "out" / "comparison.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--price", "2/h"], "--price takes --rounds as well"),
        (["--rounds", "10", "--price", "2"], "price must be of one worker, as 2.5/h"),
        (["--rounds", "0"], "--rounds"),
        (["--for", "mpi"], "--for must be one of ray, pytorch, flower, rollouts, python, got 'mpi'"),
        (["{before}", "--rounds", "10"], "two traces are compared without a plan: leave out --rounds, or AFTER"),
        (["none.csv"], "AFTER must be a file or a folder, there is no none.csv"),
    ],
)
def test_wrong_options_are_refused_in_one_line(run, files, arguments, message):
    status, out, err = run(files[0], *(argument.format(before=files[0]) for argument in arguments))
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
