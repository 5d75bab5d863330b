"""Processes of a run end with the process that started them, whatever ends it."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from cases import first_fast
from faults import members

from abs_theory.delays import Exponential
from simulations import live
from simulations.experiment import simulate
from simulations.problems import NoisyQuadratic
from simulations.protocols import abs_sgd

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


class Locked(NoisyQuadratic):
    """A problem with a lock, which belongs to this process."""

    def __init__(self):
        super().__init__((1.0,), sigma2=0.1)
        object.__setattr__(self, "lock", threading.Lock())


@pytest.mark.parametrize("name", ["problem", "step_size", "protocol"])
def test_what_cannot_be_sent_is_named_and_one_process_is_advised(name):
    lock = threading.Lock()

    def k(progress):
        return 1 + lock.locked()

    given = {"protocol": abs_sgd(1, 1), "problem": NoisyQuadratic((1.0,), sigma2=0.1), "step_size": 0.1}
    unsendable = {"problem": Locked(), "step_size": lambda progress: 0.1 * k(progress), "protocol": abs_sgd(k, 1)}
    given[name] = unsendable[name]
    setting = {"delay": Exponential(1.0), "n": 3, "num_updates": 3, "seed": 0, "replicates": 3, "update_seconds": 0.1}
    with pytest.raises(ValueError, match=rf"^{name} cannot be sent to other processes \(.*lock.*\): give n_jobs=1$"):
        simulate(**given, **setting, n_jobs=2)
    assert len(simulate(**given, **setting, n_jobs=1)) == 9


def test_a_live_run_names_a_problem_that_cannot_be_sent():
    with pytest.raises(ValueError, match=r"^problem cannot be sent to other processes \(.*lock.*\): leave out what"):
        live.run(abs_sgd(1, 1), Locked(), Exponential(1.0), 3, step_size=0.1, num_updates=3, seed=0)


CACHED = """
from functools import cache
from abs_theory.delays import Exponential
from simulations.experiment import simulate
from simulations.problems import TimingOnly
from simulations.protocols import abs_sgd

@cache
def two(progress):
    return 2

if __name__ == "__main__":
    try:
        simulate(abs_sgd(two, 1), TimingOnly(), Exponential(1.0), 4, step_size=1.0, num_updates=3, seed=0, replicates=4,
                 n_jobs=2)
    except ValueError as problem:
        print(problem)
"""


def test_a_function_that_only_its_script_has_is_told_in_words(tmp_path):
    (tmp_path / "script.py").write_text(CACHED)
    words = [sys.executable, tmp_path / "script.py"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    printed = subprocess.run(words, capture_output=True, text=True, check=True, env=environment).stdout
    assert printed.startswith("one of protocol, problem, delay, step_size, update_seconds cannot be read by other proc")
    assert "'two'" in printed
    assert printed.endswith(": give n_jobs=1\n")
