"""``python -m simulations``: what it writes is what the library computes, whatever happens to it on the way."""

import importlib
import os
import re
import resource
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pandas as pd
import pytest
from in_process import ended
from joblib.externals.loky import get_reusable_executor

from simulations import __main__ as command
from simulations.experiment import configuration
from simulations.summary import report
from simulations.sweeps import folder, provenance
from simulations.sweeps.execution import run_sweep
from simulations.sweeps.storage import Store
from simulations.sweeps.sweep import Sweep

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.toml"))
RUN = """
n = 3
delay = "weibull:scale=1,shape=.7"
step_size = 0.1
num_updates = 30
replicates = 3
seed = 3
protocol = { name = "abs_sgd", k = 2, max_staleness = 1 }
problem = { name = "NoisyQuadratic", curvatures = [1.0], sigma2 = 0.1 }
"""
SOURCE = "that of this test, lest an edit while it runs be noticed"
SWEEP = RUN + '[sweep]\nprotocol.k = [1, 2, 3]\ndelay = ["exponential:mean=1", "gamma:shape=4,scale=.25"]\n'


@pytest.fixture
def run(monkeypatch, capsys):
    """The command with these arguments, in this process: status, what it printed, what it complained."""

    monkeypatch.setattr(provenance, "source_hash", lambda: SOURCE)
    monkeypatch.setattr(report, "inline_svg", lambda figure: "")  # its pictures are tested beside it
    monkeypatch.setattr(report.plot, "compare", lambda *_, **__: [])
    monkeypatch.setattr(report.plot, "timeline", lambda *_, **__: [])

    def call(*arguments):
        return ended(monkeypatch, capsys, command.run, "simulations", *arguments)

    return call


@pytest.fixture
def toml(tmp_path):
    def write(text, name="run.toml"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def started(path, out, *options):
    """The command as a process and group of its own."""
    same = f"from simulations.sweeps import provenance; provenance.source_hash = lambda: {SOURCE!r};"
    code = f"{same}from simulations.__main__ import run; run()"
    return subprocess.Popen(
        [sys.executable, "-c", code, str(path), "--out", str(out), *options], cwd=ROOT, start_new_session=True,
        text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def results(out):
    return sorted((out / "results").glob("*.result"))


def wait_for(out, number, process):
    while len(results(out)) < number:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.005)


def paths_in(printed):
    """The paths that come first; after an empty line follows the table of results."""
    return printed.split("\n\n")[0].split()


# ---------------------------------------------------------------------- what it writes
def test_one_experiment(run, toml, tmp_path):
    out = tmp_path / "out"
    status, printed, complained = run(toml(RUN), "--out", out, "--jobs", 1)
    assert (status, complained) == (0, "")
    assert paths_in(printed) == [f"{out}/table.csv", f"{out}/config.toml", f"{out}/report.html"]
    expected = Sweep.from_toml(toml(RUN)).experiments[0].experiment.run(n_jobs=1)
    assert (out / "table.csv").read_text() == expected.to_csv(index=False)


def test_the_configuration_it_writes_gives_the_same_run_again(run, toml, tmp_path):
    for text in (RUN, SWEEP):
        first, second = tmp_path / f"first{len(text)}", tmp_path / f"second{len(text)}"
        assert run(toml(text), "--out", first, "--jobs", 1)[0] == 0
        assert run(first / "config.toml", "--out", second, "--jobs", 1)[0] == 0
        assert (first / "table.csv").read_bytes() == (second / "table.csv").read_bytes()
        assert (first / "config.toml").read_bytes() == (second / "config.toml").read_bytes()
    note = (first / "config.toml").read_text()
    assert all(f"\n{name} = " in note.split("[versions]")[1] for name in ("python", "numpy", "scipy", "toolkit"))


def test_jobs_and_cells_have_tables_of_their_own(run, toml, tmp_path):
    out = tmp_path / "out"
    status, printed, _ = run(toml("jobs = true\n" + SWEEP), "--out", out, "--jobs", 1)
    assert status == 0
    names = ("table.csv", "tasks.csv", "cells.csv", "config.toml", "report.html")
    assert paths_in(printed) == [f"{out}/{name}" for name in names]
    tasks, cells = pd.read_csv(out / "tasks.csv"), pd.read_csv(out / "cells.csv")
    assert list(tasks.columns[:3]) == ["cell", "protocol.k", "delay"]
    assert cells["finished"].tolist() == [3] * 6
    assert (tasks["cell"].map(cells["protocol.k"]) == tasks["protocol.k"]).all()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_run(run, tmp_path, path):
    status, _, complained = run(path, "--out", tmp_path, "--jobs", 1)
    assert (status, complained) == (0, "")
    table, sweep = pd.read_csv(tmp_path / "table.csv"), Sweep.from_toml(path)
    assert table["test_accuracy"].max() > 0.85
    assert len(results(tmp_path)) == sum(len(cell.experiment.which) for cell in sweep.experiments)


def test_the_list_says_what_is_finished(run, toml, tmp_path):
    path, out = toml(SWEEP), tmp_path / "out"
    status, printed, _ = run(path, "--out", out, "--list")
    assert status == 0
    assert printed.splitlines()[1] == "cell 1 (protocol.k=1, delay=gamma:shape=4,scale=.25): 0 of 3 runs finished"
    assert not out.exists()
    run(path, "--out", out, "--jobs", 1)
    results(out)[0].unlink()
    printed = run(path, "--out", out, "--list")[1]
    assert sorted(line.split(": ")[1] for line in printed.splitlines()) == [
        "2 of 3 runs finished", *["3 of 3 runs finished"] * 5
    ]  # fmt: skip


def test_times_are_measured_to_the_target_that_is_asked_for(run, toml, tmp_path):
    path = toml(RUN.replace("num_updates = 30", "time_budget = 30.0\neval_every = 1.0"))
    status, printed, _ = run(path, "--out", tmp_path / "out", "--jobs", 1, "--target", "loss=0.4")
    assert status == 0
    assert "messages to loss <= 0.4, as asked" in printed
    for words, message in (
        ("loss", "must be COLUMN=VALUE"),
        ("zeal=1", "must name an evaluated column, got 'zeal': loss"),
    ):
        status, _, complained = run(path, "--out", tmp_path / "other", "--jobs", 1, "--target", words)
        assert (status, complained.count("\n")) == (2, 1)
        assert message in complained
        assert not (tmp_path / "other").exists()  # before anything is run


# ---------------------------------------------------------------------- what it says
def test_a_failing_cell_is_reported_at_the_end_with_status_1(run, toml, tmp_path):
    path = toml(SWEEP.replace("[1, 2, 3]", '[1, { policy = "relative_to_mean", c = 1.5 }, 3]'))  # k: 3, then 0
    status, printed, complained = run(path, "--out", tmp_path, "--jobs", 1)
    assert status == 1
    lines = complained.splitlines()
    assert len(lines) == 2
    cell = "cell 2 (protocol.k=relative_to_mean(c=1.5), delay=exponential:mean=1)"
    start = f"simulations: {cell}: 3 of 3 runs failed: k must be a whole number in 1..n, its policy gave k=0"
    assert lines[0].startswith(start)
    assert "table.csv" in printed
    assert set(pd.read_csv(tmp_path / "table.csv")["cell"]) == {0, 1, 4, 5}
    assert pd.read_csv(tmp_path / "cells.csv")["error"].notna().sum() == 2


def test_diverged_runs_are_reported_and_kept(run, toml, tmp_path):
    status, _, complained = run(
        toml(RUN.replace("0.1\nnum_updates = 30", "1e6\nnum_updates = 300")), "--out", tmp_path, "--jobs", 1
    )
    assert status == 0
    assert complained == "simulations: cell 0: 3 of 3 runs diverged (loss = inf)\n"
    assert (pd.read_csv(tmp_path / "table.csv").groupby("replicate")["loss"].last() == float("inf")).all()


def test_runs_without_any_update_are_reported(run, toml, tmp_path):
    path = toml(RUN.replace("num_updates = 30", "time_budget = 1e-9"))
    status, printed, complained = run(path, "--out", tmp_path, "--jobs", 1)
    assert status == 0
    assert complained == (
        "simulations: cell 0: 3 of 3 runs ended without an update: give a longer time_budget, or check that the "
        "protocol calls server.update()\n"
    )
    assert "table.csv" in printed


def test_cells_that_cannot_begin_are_told_at_once_and_do_not_lose_the_others(run, toml, tmp_path):
    bad = SWEEP.replace("3]", "3, 9]")
    status, printed, complained = run(toml(bad), "--out", tmp_path / "out", "--jobs", 1)
    assert status == 1
    assert "table.csv" in printed
    first, *each = complained.splitlines()
    start = f"simulations: {tmp_path}/run.toml: protocol: k must be a whole number in 1..n, got k=9 with n=3 workers"
    assert first.startswith(f"{start} (cell 6: protocol.k = 9, delay = exponential:mean=1; cell 7: ")
    assert first.endswith("; the other cells run")
    assert all("runs failed: k must be a whole number" in line for line in each)
    good = tmp_path / "good"
    run(toml(SWEEP), "--out", good, "--jobs", 1)
    assert len(pd.read_csv(tmp_path / "out" / "table.csv")) == len(pd.read_csv(good / "table.csv"))


@pytest.mark.parametrize(
    "text, message",
    [
        (RUN.replace("abs_sgd", "abs_sdg"), "run.toml: protocol.name: there is no protocol named 'abs_sdg'; did you"),
        (RUN.replace("k = 2", "k = 9"), "run.toml: protocol: k must be a whole number in 1..n, got k=9 with n=3"),
        (RUN.replace("seed = 3", "seed = -1"), "run.toml: seed must be an integer >= 0, got seed=-1"),
        (RUN.replace("k = 2", 'k = { policy = "relative_to_mean", c = 1.5 }'), "run.toml: k must be a whole number"),
        (RUN.replace("seed", "sede"), "run.toml: sede: a run has no 'sede'; did you mean 'seed'"),
        (RUN + "seed = 4", "run.toml is not valid TOML: Cannot overwrite a value"),
        (RUN.replace("num_updates = 30", ""), "a run needs an end"),
        (RUN + '[fleet]\nname = "from_trace"\ntrace = "/no/such/file.csv"', "No such file or directory"),
        (RUN + "[sweep]\nseed = 4", "sweep.seed must be a list"),
    ],
    ids=range(9),
)
def test_bad_input_is_one_line_and_status_2(run, toml, tmp_path, text, message):
    status, printed, complained = run(toml(text), "--out", tmp_path / "out", "--jobs", 1)
    assert (status, printed) == (2, "")
    assert complained.startswith("simulations: ")
    assert complained.count("\n") == 1
    assert message in complained


@pytest.mark.parametrize("line_break", ["\x0b", "\x0c", "\x1c", "\x1d", "\x85", "\u2028"], ids=repr)
def test_a_message_is_one_line_whatever_a_key_contains(run, toml, tmp_path, line_break):
    text = RUN + f'"num\\u{ord(line_break):04x}rounds" = 3\n'
    status, out, err = run(toml(text), "--out", tmp_path)
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert "num rounds" in err


def test_bad_options_are_one_line_and_status_2(run, toml, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    path, out = toml(RUN), tmp_path / "out"
    for arguments, message in (
        ([path], "--out"),
        ([tmp_path / "none.toml", "--out", out], "none.toml"),
        ([tmp_path, "--out", out], "is a directory"),
        ([path, "--out", path], "is a file"),
        ([path, "--out", out, "--backend", "joblb"], "did you mean 'joblib'"),
        ([path, "--out", out, "--backend", "ray"], "Ray is not installed"),
        ([path, "--out", out, "--jobs", "0"], "--jobs must be"),
        ([path, "--out", out, "--jobs", "many"], "--jobs must be a valid integer, got many"),
        ([path, "--out", out, "--address", "auto"], "give --backend ray"),
        ([path, "--out", out, "--format", "xls"], "must be one of csv, parquet"),
    ):
        status, printed, complained = run(*arguments)
        assert (status, printed) == (2, "")
        assert complained.count("\n") == 1
        assert message in complained
        assert not out.exists()


def test_a_mended_configuration_may_use_the_folder_of_the_wrong_one(run, toml, tmp_path):
    assert run(toml(RUN.replace("k = 2", "k = 9")), "--out", tmp_path / "out", "--jobs", 1)[0] == 2
    assert run(toml(RUN), "--out", tmp_path / "out", "--jobs", 1)[0] == 0
    status, _, complained = run(toml(RUN.replace("k = 2", "k = 1")), "--out", tmp_path / "out", "--jobs", 1)
    assert status == 2
    assert "another configuration: protocol.k = 2 there, 1 here; give another folder" in complained


def test_a_damaged_result_is_named(run, toml, tmp_path):
    run(toml(RUN), "--out", tmp_path, "--jobs", 1)
    table = (tmp_path / "table.csv").read_bytes()
    results(tmp_path)[1].write_bytes(results(tmp_path)[1].read_bytes()[:-7])
    status, _, complained = run(toml(RUN), "--out", tmp_path, "--jobs", 1)
    assert (status, complained) == (
        0,
        f"simulations: {results(tmp_path)[1]} was damaged; the run has been computed again\n",
    )
    assert (tmp_path / "table.csv").read_bytes() == table


# ---------------------------------------------------------------------- what may happen to it
@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The table of the sweep that nothing has interrupted."""
    path = tmp_path_factory.mktemp("whole") / "run.toml"
    path.write_text(SWEEP)
    return run_sweep(Sweep.from_toml(path), n_jobs=1).table.to_csv(index=False)


def test_killed_in_the_middle_of_a_sweep_it_goes_on_where_it_was(run, toml, tmp_path, whole):
    path, out = toml(SWEEP), tmp_path / "out"
    with started(path, out, "--jobs", "1") as process:
        wait_for(out, 2, process)
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = {result: result.stat().st_mtime_ns for result in results(out)}
    assert 2 <= len(done) < 18
    assert not (out / "table.csv").exists()
    assert run(path, "--out", out, "--jobs", 1)[0] == 0
    assert (out / "table.csv").read_text() == whole
    assert {result: result.stat().st_mtime_ns for result in done} == done  # not written again


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on(toml, tmp_path):
    path, out = toml(SWEEP.replace("num_updates = 30", "num_updates = 3000")), tmp_path / "out"
    with started(path, out, "--jobs", "2") as process:
        wait_for(out, 1, process)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all processes of the command
        printed, complained = process.communicate(timeout=60)
    assert process.returncode == 130
    assert printed == ""
    assert complained.count("\n") == 1, complained
    kept = len(results(out))
    message = (
        f"interrupted; {kept} of 18 runs are finished and kept in {out}; the same command continues with the others\n"
    )
    assert complained == f"simulations: {message}"
    assert kept < 18


def test_a_full_disk_is_one_line_and_keeps_what_is_finished(run, toml, tmp_path):
    """A limit on the size of a file stands for a disk that is full when the longer runs are written."""
    path, out = toml(RUN + "[sweep]\nnum_updates = [3, 3000]\n"), tmp_path / "out"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
        status, printed, complained = run(path, "--out", out, "--jobs", 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (status, printed) == (2, "")
    assert complained.count("\n") == 1, complained
    assert "File too large" in complained
    assert f"3 of 6 runs are finished and kept in {out}" in complained
    assert [each.suffix for each in (out / "results").iterdir() if each.name != ".lock"] == [".result"] * 3
    assert run(path, "--out", out, "--jobs", 1)[0] == 0
    assert len(results(out)) == 6


@pytest.mark.slow
def test_a_killed_worker_is_one_line_and_keeps_what_is_finished(run, toml, tmp_path, monkeypatch):
    deadly = "import os\nfrom simulations.protocols import synchronous\nfrom simulations.server import Protocol\n"
    deadly += "def deadly(armed: bool) -> Protocol:\n"
    deadly += "    kill = Protocol(lambda server, job: os.kill(os.getpid(), 9))\n"
    deadly += "    return kill if armed else synchronous()\n"
    (tmp_path / "deadly_protocol.py").write_text(deadly)
    monkeypatch.syspath_prepend(tmp_path)
    get_reusable_executor().shutdown(wait=True)  # processes of earlier tests do not know that path
    text = RUN.replace('"abs_sgd", k = 2, max_staleness = 1', '"deadly_protocol:deadly"')
    path = toml(text.replace("= 30", "= 3000") + "[sweep]\nprotocol.armed = [false, true]\n")
    status, printed, complained = run(path, "--out", tmp_path / "out", "--jobs", 2, "--allow", "deadly_protocol")
    assert (status, printed) == (2, "")
    assert complained.count("\n") == 1
    assert "runs are finished and kept in" in complained


def test_progress_with_the_time_that_remains_goes_to_a_terminal(run, toml, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    complained = run(toml(SWEEP), "--out", tmp_path, "--jobs", 1)[2]
    assert re.search(r"\d+/18 \[\d\d:\d\d<", complained)
    results(tmp_path)[0].unlink()
    assert " 17/18 [00:00<" in run(toml(SWEEP), "--out", tmp_path, "--jobs", 1)[2]


def test_a_table_that_cannot_be_written_leaves_the_old_one(run, toml, tmp_path, monkeypatch):
    path = toml(RUN)
    assert run(path, "--out", tmp_path / "out", "--jobs", 1)[0] == 0
    table = (tmp_path / "out" / "table.csv").read_bytes()

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder.pd.DataFrame, "to_csv", full)
    status, printed, complained = run(path, "--out", tmp_path / "out", "--jobs", 1)
    assert (status, printed) == (2, "")
    assert "No space left on device" in complained
    assert "3 of 3 runs are finished and kept" in complained
    assert (tmp_path / "out" / "table.csv").read_bytes() == table


def test_a_second_run_in_the_same_folder_is_refused(run, toml, tmp_path):
    with Store(tmp_path / "out"):
        status, _, complained = run(toml(RUN), "--out", tmp_path / "out", "--jobs", 1)
    assert status == 2
    assert "another run is writing to" in complained
    assert not (tmp_path / "out" / "config.toml").exists()


def test_ctrl_c_while_it_reads_is_one_line(run, toml, tmp_path, monkeypatch):
    def interrupted(table, allow):
        raise KeyboardInterrupt

    monkeypatch.setattr(Sweep, "of", interrupted)
    status, printed, complained = run(toml(RUN), "--out", tmp_path / "out")
    assert (status, printed, complained.strip()) == (130, "", "simulations: interrupted")


def test_the_file_is_read_once_so_it_may_change_while_it_runs(run, toml, tmp_path, monkeypatch):
    read, texts = configuration.from_toml, []
    monkeypatch.setattr(configuration, "from_toml", lambda text: texts.append(text) or read(text))
    assert run(toml(RUN), "--out", tmp_path / "out", "--jobs", 1)[0] == 0
    assert len(texts) == 1


# ---------------------------------------------------------------------- how long it takes to begin
def test_the_help_loads_no_heavy_library():
    code = (
        "import sys; sys.argv = ['simulations', '--help']\n"
        "from simulations.__main__ import run\n"
        "try:\n    run()\nexcept SystemExit:\n    print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert "--backend" in loaded
    assert {"pandas", "scipy", "matplotlib", "sklearn", "joblib", "numpy"}.isdisjoint(loaded.split())


# ---------------------------------------------------------------------- code of the user's own
def test_a_module_of_the_users_own_must_be_allowed(run, toml, tmp_path, monkeypatch):
    own = "from simulations.protocols import k_sync\nfrom simulations.server import Protocol\n"
    (tmp_path / "allowed_by_name.py").write_text(f"{own}def patient(k: int) -> Protocol:\n    return k_sync(k)\n")
    monkeypatch.syspath_prepend(tmp_path)
    path = toml(RUN.replace('"abs_sgd", k = 2, max_staleness = 1', '"allowed_by_name:patient", k = 2'))
    for options in ([], ["--list"], ["--allow", "allowed"], ["--allow", "allowed_by_name.inner"]):
        status, printed, complained = run(path, "--out", tmp_path / "out", *options)
        assert (status, printed, complained.count("\n")) == (2, "", 1)
        assert "add --allow allowed_by_name to the command" in complained
        assert "allowed_by_name" not in sys.modules
        assert not (tmp_path / "out").exists()
    allowed = ("--allow", "allowed", "--allow", "allowed_by_name")
    assert run(path, "--out", tmp_path / "out", "--jobs", 1, *allowed)[0] == 0
    assert run(tmp_path / "out" / "config.toml", "--out", tmp_path / "out", "--list", *allowed)[:2] == (
        0, "cell 0: 3 of 3 runs finished\n"
    )  # fmt: skip


@pytest.mark.parametrize("package", ["abs_theory", "simulations", "paper_figs"])
def test_the_version_is_the_same_everywhere(package, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [package, "--version"])
    with pytest.raises(SystemExit) as end:
        importlib.import_module(f"{package}.__main__").run()
    version = importlib.import_module(package).__version__
    assert (end.value.code, capsys.readouterr().out) == (0, f"{package} {version}\n")
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()


def test_the_source_distribution_holds_what_the_tests_need():
    manifest = (ROOT / "MANIFEST.in").read_text().split()
    assert {"tests", "docs", "examples", "notebooks", "benchmarks", "Makefile", "requirements.lock"} <= set(manifest)
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    for entry in scripts.values():
        module, _, function = entry.partition(":")
        assert callable(getattr(importlib.import_module(module), function))


@pytest.mark.parametrize("name", ["table.csv", "table.parquet", "tasks.csv", "cells.csv.gz", "report.html"])
def test_what_the_file_names_is_not_overwritten(run, toml, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text("1.0\n2.0\n")
    file = toml(RUN.replace("weibull:scale=1,shape=.7", f"empirical:{name}"))
    status, printed, complained = run(file, "--out", ".", "--jobs", 1)
    assert (status, printed) == (2, "")
    assert complained == f"simulations: --out would overwrite {name}, which is read by FILE: write to another place\n"
    assert (tmp_path / name).read_text() == "1.0\n2.0\n"
    assert {path.name for path in tmp_path.iterdir()} == {name, "run.toml"}


def test_a_file_of_the_user_is_not_replaced_by_the_configuration_that_a_run_writes(run, toml, tmp_path):
    file = toml(f"# why these numbers\n{RUN}", "config.toml")
    status, _, complained = run(file, "--out", tmp_path, "--jobs", 1)
    assert status == 2
    assert f"--out would overwrite {file}, which is read by FILE" in complained
    assert file.read_text().startswith("# why")
    assert run(file, "--out", tmp_path / "out", "--jobs", 1)[0] == 0
    assert run(tmp_path / "out" / "config.toml", "--out", tmp_path / "out", "--jobs", 1)[0] == 0, (
        "that of a run goes on"
    )
