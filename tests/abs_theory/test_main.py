"""``python -m abs_theory``: what it prints is what the library says, and no bad input ends in a traceback."""

import io
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from in_process import ended

from abs_theory import __main__ as command
from abs_theory import choose, order_stats, steady_state
from abs_theory.bounds import Constants
from abs_theory.choose import Budget, Search, Target
from abs_theory.command_line import complaint, table_text
from abs_theory.delays import Deterministic, Exponential, Gamma, HyperExponential, LogNormal

CONSTANTS = ["--L", "1", "--sigma2", "5", "--gap", "10"]


@pytest.fixture
def run(monkeypatch, capsys):
    """The command with these arguments, in this process: status, what it printed, what it complained."""
    monkeypatch.setenv("COLUMNS", "120")  # for tables in one piece

    def call(*arguments):
        return ended(monkeypatch, capsys, command.run, "abs_theory", *arguments)

    return call


def table_in(text):
    """The table of ``text``, below its first lines: it begins with a column k."""
    return pd.read_csv(io.StringIO(text[re.search("^ *k ", text, re.MULTILINE).start() :].split("\n\n")[0]), sep=r"\s+")


def words(text):
    """``text`` without its line breaks."""
    return " ".join(text.split())


# ---------------------------------------------------------------- tables


def test_tables_fit_the_terminal(monkeypatch):
    table = pd.DataFrame({name: [1.5, 22.5] for name in ("k", "round_time", "mean_staleness", "messages")})
    monkeypatch.setenv("COLUMNS", "80")
    assert len(table_text(table, "{:.1f}").splitlines()) == 3
    monkeypatch.setenv("COLUMNS", "30")
    parts = table_text(table, "{:.1f}").split("\n\n")
    assert [part.split()[:2] for part in parts] == [["k", "round_time"], ["k", "mean_staleness"]]
    assert all(len(line) <= 30 for part in parts for line in part.splitlines())
    parts = table_text(table.set_index("k"), "{:.1f}", index=True).split("\n\n")
    assert len(parts) == 2
    assert all("22.5" in part for part in parts)
    monkeypatch.setenv("COLUMNS", "3")
    assert len(table_text(table, "{:.1f}").split("\n\n")) == 3, "a column is not broken"


# ---------------------------------------------------------------- round-time


def test_round_time_prints_the_steady_state(run, tmp_path):
    csv, picture = tmp_path / "a.csv", tmp_path / "a.png"
    status, out, err = run(
        "round-time", "--delay", "gamma:shape=4,scale=0.25", "-n", 6, "--max-staleness", 3, "--csv", csv,
        "--picture", picture,
    )  # fmt: skip
    assert (status, err) == (0, "")
    state = steady_state.abs_sgd(Gamma(4.0, 0.25), np.arange(1, 7), 6, 3)
    assert "error: half-width of round_time; staleness: mean, in updates; idle, wasted: shares" in words(out)
    short = {"staleness": "mean_staleness", "idle": "idle_share", "wasted": "wasted_share"}
    for table in (table_in(out.rsplit("\n", 3)[0]).rename(columns=short), pd.read_csv(csv)):
        assert table["k"].tolist() == [1, 2, 3, 4, 5, 6]
        assert table["method"].tolist() == state.method.tolist()
        expected = {
            "round_time": state.round_time, "error": state.error.round_time, "restarts": state.restarts,
            "mean_staleness": state.mean_staleness, "messages": state.uplinks + state.downlinks,
            "idle_share": state.idle_fraction, "wasted_share": state.wasted_fraction,
        }  # fmt: skip
        for name, values in expected.items():
            assert np.allclose(table[name], values, rtol=1e-3)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert str(csv) in out
    assert str(picture) in out


def test_round_time_of_unequal_workers_and_of_some_k(run):
    status, out, _ = run(
        "round-time", "--delay", "exponential:mean=1 x 3", "--delay", "exponential:mean=3 x 2", "-n", 5,
        "-k", 2, "-k", 4, "--max-staleness", 0,
    )  # fmt: skip
    assert status == 0
    delay = [Exponential(1.0)] * 3 + [Exponential(3.0)] * 2
    expected = steady_state.abs_sgd(delay, np.array([2, 4]), 5, 0).round_time
    assert np.allclose(table_in(out)["round_time"], expected, rtol=1e-3)


def test_laws_with_atoms_are_simulated_reproducibly(run):
    first, second = (run("round-time", "--delay", "deterministic:value=2", "-n", 3) for _ in range(2))
    assert first == second
    table = table_in(first[1])
    assert table["round_time"].iloc[-1] == Deterministic(2.0).value
    assert table["method"].tolist() == ["exact", "simulation", "exact"]


# ---------------------------------------------------------------- choose


def test_choose_prints_the_choice_the_alternatives_and_the_reason(run, tmp_path):
    csv = tmp_path / "curve.csv"
    law = "hyper-exponential:probs=.9|.1,means=1/3|7"
    status, out, err = run("choose", "--delay", law, "-n", 8, "--target", 0.3, *CONSTANTS, "--csv", csv)
    assert (status, err) == (0, "")
    choice = choose.best(HyperExponential((0.9, 0.1), (1 / 3, 7.0)), 8, Constants(1.0, 5.0, 10.0), Target(0.3))
    assert words(out).startswith(words(str(choice)))
    assert max(map(len, out.split("\n\n", maxsplit=1)[0].splitlines())) <= 100 < max(map(len, str(choice).splitlines()))
    assert "decreasing hazard" in out
    for name in choice.alternatives().index:
        assert f"\n{name} " in out
    curve = pd.read_csv(csv)
    assert np.allclose(curve["objective"], choice.curve["objective"])


def test_choose_says_how_far_round_times_are_known_and_rounds_updates_up(run):
    law, constants = "lognormal:median=1,sigma=1", ["--L", 1, "--sigma2", 1, "--gap", 1]
    status, out, err = run("choose", "--delay", law, "-n", 20, "--target", 0.05, *constants)
    assert (status, err) == (0, "")
    choice = choose.best(LogNormal(1.0, 1.0), 20, Constants(1.0, 1.0, 1.0), Target(0.05))
    table = choice.alternatives()
    mine, none, all_ = (table.loc[name] for name in ("this choice", "K-async: nobody restarts", "K-sync: all restart"))
    lines = out[out.index("Alternatives") :].splitlines()
    header = next(line for line in lines if line.split()[:1] == ["ratio"]).split()
    place = [header.index(name) - len(header) for name in ("round_time", "error", "updates")]
    for name, row in table.iterrows():
        shown = next(line for line in lines if line.startswith(f"{name} ")).split()
        assert [shown[i] for i in place[:2]] == [f"{row[name]:.4g}" for name in ("round_time", "round_time_error")]
        assert int(shown[place[2]]) == math.ceil(row["updates"])
    assert mine["round_time_error"] > 0 == all_["round_time_error"]
    assert f"a round lasts {mine['round_time']:.3g} ± {mine['round_time_error']:.2g} s, " in words(out)
    assert f"{math.ceil(none['updates'])} if nobody restarts" in words(out)
    exact = choose.best(Exponential(1.0), 20, Constants(1.0, 1.0, 1.0), Target(0.05))
    assert "±" not in str(exact)


def test_choose_passes_everything_on(run):
    status, out, _ = run(
        "choose", "--delay", "lognormal:median=1,sigma=1", "-n", 6, "--time-budget", 200, *CONSTANTS,
        "--max-staleness", 1, "--max-staleness", "none", "-k", 2, "-k", 3, "--step-size", 0.01, "--step-size", 0.02,
        "--message-seconds", 0.1, "--noise-curvature", 0.3, "--noise-curvature2", 0.2,
    )  # fmt: skip
    constants = Constants(1.0, 5.0, 10.0, noise_curvature=0.3, noise_curvature2=0.2)
    choice = choose.best(
        LogNormal(1.0, 1.0), 6, constants, Budget(200.0),
        Search(max_staleness=[1, None], k=[2, 3], step_size=[0.01, 0.02], message_seconds=0.1),
    )  # fmt: skip
    assert status == 0
    assert words(out).startswith(words(str(choice)))


@pytest.mark.parametrize("law", ["deterministic:value=1", "pareto:minimum=1,index=.9", "empirical:{}"])
def test_choose_copes_with_atoms_infinite_means_and_one_worker(run, tmp_path, law):
    (tmp_path / "a.csv").write_text("1\n2\n2\n9\n")
    law = law.format(tmp_path / "a.csv")
    status, out, err = run("choose", "--delay", law, "-n", 2, "--max-staleness", 1, "--target", 1, *CONSTANTS)
    assert (status, err) == (0, "")
    assert "k = " in out
    status, out, err = run("choose", "--delay", law, "-n", 1, "--target", 1, *CONSTANTS)
    assert (status, "infinitely long" in err) == ((2, True) if "pareto" in law else (0, False))


def test_choose_by_the_clock(run):
    curved = [*CONSTANTS, "--noise-curvature", 0.4, "--noise-curvature2", 0.2]
    status, out, err = run(
        "choose", "--delay", "exponential:mean=1", "-n", 5, "--target", 0.1, *curved, "--by-the-clock"
    )
    assert (status, err) == (0, "")
    known = Constants(1.0, 5.0, 10.0, noise_curvature=0.4, noise_curvature2=0.2)
    table = choose.timetable(Exponential(1.0), 5, known, Target(0.1))
    assert f"By the clock: step_size = {table.step_size:.4g}" in out
    assert f"mean squared gradient norm over time {table.gradient_norm2:.4g} " in words(out)
    assert max(map(len, out[out.index("By the clock") :].splitlines())) <= 100
    assert out.count("\n") >= len(table.stairs) + 12


def test_an_endless_threshold_is_none(run):
    status, out, err = run(
        "round-time", "--delay", "exponential:mean=1", "-n", 5, "-k", 2, "--max-staleness", "9" * 400
    )
    assert (status, err) == (0, "")
    assert f"{order_stats.mean(Exponential(1.0), 2, 5):.4g}" in out


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["round-time", "-n", 3], "Missing option '--delay': see --help$"),
        (["round-time", "--delay", "exponential:mean=1"], "Missing option '-n'"),
        (["round-time", "--delay", "exponential:mean=1", "-n", 0], "-n must be greater than or equal to 1, got 0$"),
        (["round-time", "--delay", "exponential:mean=1", "-n", 10**9, "-k", 1], "-n must be less .*, got 1000000000$"),
        (["round-time", "--delay", "exponential:mean=1", "-n", 3, "-k", 2, "-k", 0], "-k must be gr.* to 1, got 0$"),
        (["round-time", "--delay", "exponential:mean=1", "-n", 3, "-k", "two"], "-k must be a valid integer, got two$"),
        (["choose", "--L", "big"], "--L must be a valid number, got big$"),
        (
            ["choose", "--delay", "exponential:mean=1", "-n", 3, "--target", 1, *CONSTANTS, "--by-the-clock"],
            "noise-curv",
        ),
        (["round-time", "--delay", "exponential:mean=1", "-n", 3, "-k", 4], r"k must be a whole number in 1\.\.n"),
        (["round-time", "--delay", "exponential:mean=1", "-n", 3, "--max-staleness", "-1"], "max_staleness must be"),
        (["round-time", "--delay", "exponential:mean=1", "-n", 3, "--method", "guess"], "method must be one of"),
        (["round-time", "--delay", "empirical:/no/such/file", "-n", 3], "/no/such/file: No such file"),
        (
            ["round-time", "--delay", "exponential:mean=1", "-n", 3, "--csv", "/no/such/folder/a.csv"],
            "--csv must be in a folder that exists, there is no folder /no/such/folder$",
        ),
        (
            ["choose", "--delay", "exponential:mean=1", "-n", 3, "--target", 1, *CONSTANTS, "--csv", "/"],
            "--csv must be a file to write, / is a folder",
        ),
        (
            ["round-time", "--delay", "exponential:mean=1", "-n", 3, "--picture", "a.xyz"],
            "--picture must end in .*, got a.xyz",
        ),
        (["round-time", "--delay", "pareto:minimum=1,index=.9", "-n", 3], "give a max_staleness"),
        (["choose", "--delay", "exponential:mean=1", "-n", 3, *CONSTANTS], "give --target .* or --time-budget"),
        (["choose", "--delay", "exponential:mean=1", "-n", 3, "--target", 1], "Missing option"),
        (["choose", "--delay", "exponential:mean=1", "-n", 3, "--target", -1, *CONSTANTS], "target must be"),
        (["choose", "--delay", "exponential:mean=1", "-n", 3, "--time-budget", 0, *CONSTANTS], "--time-budget must be"),
        (
            ["choose", "--delay", "exponential:mean=1", "-n", 3, "--target", 1, *CONSTANTS, "--step-size", 9],
            "at most 1",
        ),
        (
            ["choose", "--delay", "exponential:mean=1", "-n", 3, "--time-budget", 1e-9, *CONSTANTS],
            "time for one update",
        ),
        (["train"], "No such command"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_status_2(run, arguments, message):
    status, out, err = run(*arguments)
    assert status == 2
    assert out == ""
    assert err.startswith("abs_theory: ")
    assert err.count("\n") == 1
    assert pd.Series([err]).str.contains(message, regex=True).all()


@pytest.mark.parametrize("arguments", [[], ["round-time"], ["choose"], ["plan"]], ids=" ".join)
def test_the_help_is_words_not_types(run, monkeypatch, arguments):
    monkeypatch.setenv("COLUMNS", "80")
    status, out, err = run(*arguments, "--help")
    assert (status, err) == (0, "")
    assert not re.search(r"<\w|[{}]|\w\.\.\.$", out, flags=re.MULTILINE), "a type, braces or a sentence cut short"
    assert max(map(len, out.splitlines())) <= 80
    if arguments == ["plan"]:
        assert " plan [OPTIONS] TRACE [AFTER]\n" in out


@pytest.mark.parametrize("arguments", [[], ["round-time"], ["choose"], ["plan"]], ids=" ".join)
def test_the_help_loads_nothing_heavy(arguments):
    code = f"""
import sys
sys.argv = ["abs_theory", *{arguments}, "--help"]
from abs_theory.__main__ import run
try:
    run()
finally:
    print("loaded:", *sys.modules)
"""
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = {name.split(".")[0] for name in printed.rpartition("loaded:")[2].split()}
    assert "Options:" in printed
    assert not loaded & {"pandas", "scipy", "matplotlib", "sklearn", "sympy", "seaborn", "joblib"}


LINE_BREAKS = ["\x0b", "\x0c", "\x1c", "\x1d", "\x85", "\u2028", "\r\n"]


@pytest.mark.parametrize("line_break", LINE_BREAKS, ids=repr)
def test_a_message_is_one_line_whatever_a_name_contains(run, tmp_path, line_break):
    name = f"sec{line_break}onds"
    (tmp_path / "a.csv").write_text(f'round,worker,"{name}"\n1,1,2\n1,2,2\n', newline="")
    status, out, err = run("plan", tmp_path / "a.csv", "--out", tmp_path / "out")
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert "sec onds" in err
    for problem in (ValueError(f"no column {name}"), FileNotFoundError(2, f"No such{line_break}file", name)):
        assert len(complaint(problem).splitlines()) == 1


def test_it_runs_as_a_module():
    arguments = ["round-time", "--delay", "exponential:mean=2", "-n", "2"]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "abs_theory", *arguments], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert np.allclose(table_in(done.stdout)["round_time"], [1.0, 3.0])
    assert math.isclose(table_in(done.stdout)["messages"].iloc[-1], 4.0)


# ---------------------------------------------------------------------- how it ends
def test_a_reader_that_closes_the_pipe_leaves_the_file_whole(tmp_path):
    command = [sys.executable, "-m", "abs_theory", "round-time", "--delay", "exponential:mean=1", "-n", "40"]
    with subprocess.Popen(
        [*command, "--csv", str(tmp_path / "table.csv")], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.close()
        assert (process.wait(timeout=60), process.stderr.read()) == (141, b"")
    assert len((tmp_path / "table.csv").read_text().splitlines()) == 41


def test_ctrl_c_while_a_command_loads_is_one_line():
    # a shell starts what runs in the background with Ctrl-C switched off
    code = "import os, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    code += "from abs_theory import loading; loading('name'); os.kill(os.getpid(), signal.SIGINT)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "name: interrupted\n")


def test_a_second_ctrl_c_ends_a_command_at_once_in_one_line():
    code = """
import os, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from abs_theory.command_line import new_app, run_app
app = new_app()
@app.command()
def main():
    try:
        os.kill(os.getpid(), signal.SIGINT)
    finally:
        os.kill(os.getpid(), signal.SIGINT)
run_app(app, "name")
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "name: interrupted twice: ended at once\n")


def test_a_file_replaces_no_device(run):
    assert run("round-time", "--delay", "exponential:mean=1", "-n", "2", "--csv", "/dev/null")[0] == 0
    assert Path("/dev/null").is_char_device()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_a_full_disk_is_told_with_the_file(run):
    status, _, complained = run("round-time", "--delay", "exponential:mean=1", "-n", "2", "--csv", "/dev/full")
    assert (status, complained) == (2, "abs_theory: /dev/full: No space left on device\n")


# ---------------------------------------------------------------- nothing that is read is overwritten


ROUND_TIME = ["round-time", "-n", 2]
CHOOSE = ["choose", "-n", 2, *CONSTANTS, "--target", "0.1"]
ROLLOUTS = ["rollouts", "--batch", 2, "--slots", 4]
MIXTURE = "mixture:weights=.5|.5,components=(exponential:mean=1)|(empirical:in.csv)"


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        ([*ROUND_TIME, "--delay", "empirical:in.csv", "--csv", "in.csv"], "--delay"),
        ([*ROUND_TIME, "--delay", MIXTURE, "--csv", "link.csv"], "--delay"),
        ([*ROUND_TIME, "--delay", "empirical:link.csv x 2", "--csv", "in.csv"], "--delay"),
        ([*ROUND_TIME, "--delay", "empirical:in.png", "--picture", "in.png"], "--delay"),
        ([*CHOOSE, "--delay", "empirical:in.csv", "--csv", "../here/in.csv"], "--delay"),
        ([*ROLLOUTS, "--lengths", "in.csv", "--csv", "in.csv"], "--lengths"),
        ([*ROLLOUTS, "--lengths", "in.csv", "--json", "link.csv"], "--lengths"),
        ([*ROLLOUTS, "--lengths", "empirical:in.html", "--page", "in.html"], "--lengths"),
        (["plan", "plan.json", "--out", "."], "TRACE"),
        (["plan", ".", "--out", "."], "TRACE"),
        (["plan", "in.csv", "comparison.json", "--out", "."], "AFTER"),
    ],
)
def test_an_output_that_is_an_input_is_refused_and_stays(run, tmp_path, monkeypatch, arguments, option):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    inputs = [Path(name) for name in ("in.csv", "in.png", "in.html", "plan.json", "comparison.json")]
    for path in inputs:
        path.write_text("800\n1200\n900\n")
    Path("link.csv").symlink_to("in.csv")
    status, out, err = run(*arguments)
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert "would overwrite" in err
    assert f"which is read by {option}: write to another place" in err
    assert all(path.read_text() == "800\n1200\n900\n" for path in inputs)


@pytest.mark.parametrize(
    "arguments",
    [
        [*ROUND_TIME, "--delay", "exponential:mean=1", "--csv", "a.png", "--picture", "./a.png"],
        [*ROLLOUTS, "--lengths", "exponential:mean=1", "--csv", "a.png", "--json", "a.png"],
        [*ROLLOUTS, "--lengths", "exponential:mean=1", "--page", "a.html", "--json", "a.html"],
    ],
)
def test_two_outputs_are_two_files(run, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert "must be two files, both are a." in err
    assert not list(tmp_path.iterdir())


def test_updates_that_nobody_will_count_have_four_digits(run):
    status, out, _ = run("choose", "--delay", "exponential:mean=1", "-n", 4, *CONSTANTS, "--target", "1e-30")
    assert status == 0
    assert max(map(len, re.findall(r"\d+", out))) < 10
