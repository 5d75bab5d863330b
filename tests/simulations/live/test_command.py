"""``python -m simulations live``: what it writes, and how it ends."""

import sys
from contextlib import nullcontext

import pandas as pd
import pytest
from in_process import ended

from abs_theory import traces
from abs_theory.files import locked
from simulations import __main__ as command
from simulations.experiment import Experiment
from simulations.live import training

RUN = """
n = 6
delay = "shifted-exponential:shift=.5,scale=.5"
step_size = 0.1
num_updates = 40
seed = 3
protocol = { name = "abs_sgd", k = 2, max_staleness = 1 }
problem = { name = "NoisyQuadratic", curvatures = [1.0, 0.3, 2.0], sigma2 = 0.5 }
"""  # the workers and the problem of ``contract``, so that those of all tests can do it


@pytest.fixture
def run(monkeypatch, capsys, tmp_path, crew):
    monkeypatch.setattr(training, "_new_crew", lambda run, settings: nullcontext(crew))

    def call(*words, text=RUN):
        file = tmp_path / "run.toml"
        file.write_text(text)
        out = tmp_path / "out"
        return out, *ended(monkeypatch, capsys, command.run, "simulations", "live", file, "--out", out, *words)

    return call


@pytest.mark.parametrize(
    "kept, words", [(0, "no checkpoint yet: the same command starts anew"), (1, "goes on from the")]
)
def test_an_interruption_says_where_the_same_command_begins(kept, words, run, monkeypatch):
    def interrupted(run, which, settings, crew, checkpoints):
        if kept:
            checkpoints._write(0, {})
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "train", interrupted)
    _, status, printed, complained = run()
    assert (status, printed, complained.count("\n")) == (130, "", 1)
    assert words in complained


def test_usage_names_the_subcommand(run, monkeypatch):
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", "of python -m", raising=False)  # not under some runners
    assert run("--help")[2].startswith("Usage: python -m simulations live [OPTIONS] FILE\n")


def test_it_writes_the_table_of_a_simulation_a_trace_and_a_report(run):
    out, status, printed, complained = run("--time-scale", "0.001", "--grace", "60", text=f"replicates = [4]\n{RUN}")
    assert (status, complained) == (0, "")
    assert set(pd.read_csv(out / "messages.csv")["replicate"]) == {4}
    simulated = Experiment.from_toml(out.parent / "run.toml").run(n_jobs=1)
    pd.testing.assert_frame_equal(pd.read_csv(out / "table.csv"), simulated, check_dtype=False, rtol=1e-12)
    trace = traces.read(out / "trace.csv")
    assert trace.n == 6
    assert not trace.attempts["observed"].all()  # restarted tasks are censored
    assert printed.split()[:6] == [str(out / name) for name in OUTPUT]
    report = (out / "report.txt").read_text()
    for words in (
        "round time (s)",
        "theory",
        "simulated",
        "live",
        "The error is the 95 % half-width",
        "Workers replaced: 0",
    ):
        assert words in report
    page = (out / "report.html").read_text()
    assert page.count("<svg") == 1
    for words in (
        "round time (s)",
        "the gradient",
        "Workers replaced: 0",
        "--time-scale=0.001 --grace=60.0",
        "[protocol]",
    ):
        assert words in page


OUTPUT = ["table.csv", "tasks.csv", "trace.csv", "messages.csv", "report.txt", "report.html"]


@pytest.mark.parametrize(
    "words, text, complaint",
    [
        ((), RUN.replace("n = 6", "n = 0"), "n must be"),
        (("--time-scale", "0"), RUN, "time_scale must be"),
        (("--time-scale", "1e-300"), RUN, "time_scale must be 1e-12 to 1e+12"),
        (("--time-scale", "1e300"), RUN, "time_scale must be 1e-12 to 1e+12"),
        (("--engine", "threads"), RUN, "engine must be one of processes"),
        (("--every", "-1"), RUN, "--every must be"),
        ((), RUN.replace('"abs_sgd", k = 2, max_staleness = 1', '"stsyn", k = 2'), "partial work"),
        ((), RUN.replace('name = "NoisyQuadratic"', 'name = "somebody:problem"'), "somebody"),
    ],
)
def test_what_it_cannot_do_it_says_in_one_line(run, words, text, complaint):
    out, status, _, complained = run(*words, text=text)
    assert status == 2
    assert complained.count("\n") == 1
    assert complaint in complained
    assert not out.exists()


def test_only_one_run_at_a_time_writes_to_a_folder(run, tmp_path):
    with locked(tmp_path / "out", "kept"):
        _, status, _, complained = run()
    assert (status, complained.count("\n")) == (2, 1)
    assert "another run is writing to" in complained


@pytest.mark.slow
def test_a_run_without_an_update_says_so_in_one_line(run):
    _, status, _, complained = run("--time-scale", "0.01", text=RUN.replace("num_updates = 40", "time_budget = 0.1"))
    assert (status, complained.count("\n")) == (2, 1)
    assert "before the first update" in complained


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"num_updates = 40": "num_updates = 1"},
        {"step_size = 0.1": "step_size = 1e200\neval_every = 1.0"},
        {'"abs_sgd", k = 2, max_staleness = 1': '"mindflayer", cut_off = 0.6', "seed = 3": "seed = 3\nreplicates = 2"},
        {"num_updates = 40": "time_budget = 0.7\nreplicates = 3", "k = 2": "k = 1"},
    ],
    ids=["one update", "diverged", "no theory", "few updates"],
)
def test_a_run_of_which_there_is_little_to_show_has_its_page(run, changes):
    text = RUN
    for words, instead in changes.items():
        text = text.replace(words, instead)
    out, status, printed, complained = run("--time-scale", "0.001", "--grace", "60", text=text)
    assert (status, complained) == (0, "")
    assert (out / "report.html").read_text().count("<svg") == 1
    if "num_updates = 1\n" in text:
        assert "too few rounds for a comparison" in printed


@pytest.mark.parametrize("name", ["trace.csv", "table.csv", "report.txt"])
def test_a_trace_that_the_file_names_is_not_overwritten(run, tmp_path, name):
    (tmp_path / "out").mkdir()
    trace = tmp_path / "out" / name
    trace.write_text("round,worker,seconds\n0,0,1\n0,1,2\n")
    fleet = f'fleet = {{ name = "from_trace", trace = "{trace}" }}\n'
    _, status, printed, complained = run(text=fleet + RUN.replace("n = 6", "n = 2").replace("delay =", "# delay ="))
    assert (status, printed, complained.count("\n")) == (2, "", 1)
    assert f"--out would overwrite {trace}, which is read by FILE" in complained
    assert trace.read_text().startswith("round,worker")
