"""Processes of a run end with the process that started them, whatever ends it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cases import first_fast
from faults import members

ROOT = Path(__file__).parents[2]
WITHIN = 5.0  # seconds
SIMULATE = """
from simulations.experiment import simulate
from simulations.problems import TimingOnly
from simulations.protocols import asynchronous
from abs_theory.delays import Exponential

simulate(asynchronous(), TimingOnly(), Exponential(1.0), 4, step_size=1.0, num_updates=10**8, seed=0, replicates=4,
         n_jobs=2)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs a list of processes")
@pytest.mark.parametrize("workers", first_fast([2, 1], 1))  # 1: before all of them have begun, and at work
def test_no_worker_outlives_a_killed_simulation(workers):
    process = subprocess.Popen(
        [sys.executable, "-c", SIMULATE], cwd=ROOT, start_new_session=True, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    try:
        while len([pid for pid in members(process.pid) if b"LokyProcess" in command(pid)]) < workers:
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.01)
        if workers > 1:
            time.sleep(1.0)
        process.send_signal(signal.SIGKILL)
        process.wait()
        end = time.monotonic() + WITHIN
        while members(process.pid) and time.monotonic() < end:
            time.sleep(0.1)
        assert members(process.pid) == []
        process.stderr.read()  # whose other ends are closed
    finally:
        for pid in members(process.pid):
            os.kill(pid, signal.SIGKILL)
        process.stderr.close()


def command(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


ASK_PROCESSES = """
import signal
import joblib
from simulations.processes import parallel
ask = joblib.delayed(signal.pthread_sigmask)(signal.SIG_BLOCK, [])
print(all(signal.SIGINT in blocked for blocked in parallel(2, "generator")([ask, ask])))
"""


@pytest.mark.slow
def test_processes_do_not_see_ctrl_c_while_they_start():
    """They inherit what is blocked, also those that are the first to start."""
    output = subprocess.run([sys.executable, "-c", ASK_PROCESSES], capture_output=True, text=True, check=True)
    assert output.stdout.strip() == "True"
