"""Faults that each of the three commands meets in the same way."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest
from faults import ROOT, all_have_ended, ended, members, started, written

COMMANDS = {
    "simulations": ["simulations", ROOT / "examples" / "run.toml"],
    "paper_figs": ["paper_figs", "timeline", "--quick"],
    "abs_theory": ["abs_theory", "plan", ROOT / "examples" / "trace.csv"],
}


@pytest.fixture
def read_only(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    tmp_path.chmod(0o500)
    yield tmp_path
    tmp_path.chmod(0o700)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="gives up its rights as only Linux can")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_that_cannot_be_written_to_is_one_line(command, read_only):
    for out in (read_only, read_only / "out"):
        status, complained = ended(started(*COMMANDS[command], "--out", out, mortal=True))
        assert (status, complained.count("\n")) == (2, 1), complained
        assert str(read_only) in complained
        assert written(read_only) == {Path("mine.txt"): b"mine"}


@pytest.mark.slow
def test_a_killed_worker_of_a_figure_is_one_line_and_the_next_run_goes_on(tmp_path):
    figure = ["paper_figs", "loss-time", "--quick", "--out", tmp_path]
    process = started(*figure)
    workers = set()
    while process.poll() is None and not workers:
        time.sleep(0.1)
        workers = {number for number in members(process.pid) if is_worker(number)}
    os.kill(workers.pop(), signal.SIGKILL)
    status, complained = ended(process)
    assert (status, complained.count("\n")) == (2, 1), complained
    assert complained.startswith("paper_figs: ")
    assert all_have_ended(process.pid)
    assert ended(started(*figure)) == (0, "")


def is_worker(number):
    """Whether a process is one of joblib that computes."""
    return "loky.backend.popen_loky" in Path(f"/proc/{number}/cmdline").read_text(errors="replace")
