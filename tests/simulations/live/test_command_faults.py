"""The command killed, interrupted, or on a full disk: it ends in one line, and the same command goes on.

Nothing is counted twice, and no process is left.
"""

import signal
import time

import faults
import pandas as pd
import pytest
from faults import descendants, end_soon, ended

from simulations import contract

pytestmark = pytest.mark.slow
N, UPDATES = 3, 1500
RUN = f"""
n = {N}
delay = "shifted-exponential:shift=.5,scale=.5"
step_size = 0.1
num_updates = {UPDATES}
seed = 3
protocol = {{ name = "abs_sgd", k = 2, max_staleness = 1 }}
problem = {{ name = "NoisyQuadratic", curvatures = [1.0], sigma2 = 0.1 }}
"""
OUTPUT = {"table.csv", "tasks.csv", "trace.csv", "messages.csv", "report.txt", "report.html", "kept"}
TOO_SMALL = 100_000  # bytes of the largest file on a full disk: less than the table of tasks has


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(RUN)
    return path


def started(file, out, **options):
    words = "live", file, "--out", out, "--time-scale", "0.004", "--grace", "60", "--every", "0.2"
    return faults.started("simulations", *words, **options)


def goes_on(file, out):
    """The same command again: it must end well, with whole books; what the report says."""
    status, complained = ended(started(file, out))
    assert status == 0, complained
    assert {path.name for path in out.iterdir() if path.name != ".lock"} == OUTPUT
    rounds, tasks = (pd.read_csv(out / f"{name}.csv") for name in ("table", "tasks"))
    assert rounds["update"].tolist() == list(range(1, UPDATES + 1))
    contract.work_is_conserved(rounds, tasks, N)
    contract.workers_do_one_thing_at_a_time(tasks)
    contract.messages_are_counted(rounds, tasks, comes_back=True)
    contract.staleness_is_bounded(rounds)
    return (out / "report.txt").read_text()


def once_a_checkpoint_is_kept(process, out, seconds=0.5):
    end = time.monotonic() + 120
    while not list((out / "kept").glob("*.kept")) and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    time.sleep(seconds)
    assert process.poll() is None, process.communicate()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed_or_interrupted_it_goes_on_from_the_last_checkpoint(how, file, tmp_path):
    out = tmp_path / "out"
    process = started(file, out)
    once_a_checkpoint_is_kept(process, out)
    processes = descendants(process.pid)
    assert len(processes) == N + 1  # one that starts the others
    process.send_signal(how)
    status, complained = ended(process)
    assert end_soon(processes)
    if how == signal.SIGINT:
        assert (status, complained.count("\n")) == (130, 1)
        assert "the same command goes on from the last checkpoint" in complained
    assert "Replicate 0 was interrupted, and went on from a checkpoint at t=" in goes_on(file, out)


def test_a_full_disk_ends_it_in_one_line_and_it_goes_on_when_there_is_room(file, tmp_path):
    out = tmp_path / "out"
    status, complained = ended(started(file, out, largest_file=TOO_SMALL))
    assert (status, complained.count("\n")) == (2, 1)
    assert "File too large; the same command goes on from the last checkpoint" in complained
    assert [path.name for path in out.iterdir() if path.name != ".lock"] == ["kept"]
    assert "went on from a checkpoint" in goes_on(file, out)
