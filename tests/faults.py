"""What the tests of faults share: a command as a process that is killed, interrupted, or finds the disk full."""

import ctypes
import importlib
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
WITHIN = 5.0  # seconds in which all processes of a killed command have ended
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE = 24, 1  # of Linux: a process that may not write everywhere, nor what it starts
UNKILLED = """
import os, signal
from {package}.__main__ import run
"""
KILLED_AT_A_FILE = """
import os, signal
replace, left = os.replace, [{number}]
def replaced(*paths):
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(*paths)
os.replace = replaced
from {package}.__main__ import run
"""


def started(package, *arguments, before="", code=UNKILLED, number=0, largest_file=None, mortal=False):
    """A command as a process and group of its own; killed before it finishes file ``number``, if that is given.

    If it is ``mortal``, the permissions of files hold for it, even if the administrator runs the tests.
    """

    def limit():
        if mortal:
            ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0)
        if largest_file is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    source = f"{before}\n{(KILLED_AT_A_FILE if number else code).format(package=package, number=number)}\nrun()"
    return subprocess.Popen(
        [sys.executable, "-c", source, *map(str, arguments)], cwd=ROOT, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=limit if mortal or largest_file is not None else None,
    )  # fmt: skip


def ended(process):
    """Wait for the end: the status, and what was said on stderr."""
    with process:
        _, complained = process.communicate(timeout=300)
    return process.returncode, complained


def status_here(package, *arguments):
    """The status of the same command in this process, which has loaded what it needs."""
    before, sys.argv = sys.argv, [package, *map(str, arguments)]
    try:
        importlib.import_module(f"{package}.__main__").run()
    except SystemExit as end:
        return end.code or 0
    finally:
        sys.argv = before


def members(group):
    """Processes of a group that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def descendants(process):
    """The processes that this one has started, and those that they have started."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended meanwhile
            continue
    found, new = set(), {process}
    while new:
        new = {child for child, parent in parents.items() if parent in new} - found
        found |= new
    return found


def is_running(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def end_soon(processes):
    """Whether none of these processes runs any more within a few seconds."""
    end = time.monotonic() + WITHIN
    while any(map(is_running, processes)) and time.monotonic() < end:
        time.sleep(0.05)
    return not any(map(is_running, processes))


def all_have_ended(group):
    end = time.monotonic() + WITHIN
    while members(group) and time.monotonic() < end:
        time.sleep(0.05)
    return not members(group)


def working_seconds(process, is_working):
    """Wait for the end of a command that must succeed: the seconds since ``is_working()`` was first true."""
    while not is_working() and process.poll() is None:
        time.sleep(0.005)
    begin = time.monotonic()
    status, complained = ended(process)
    assert status == 0, complained
    return time.monotonic() - begin


def killed(start, seconds, kills, is_working=None, seed=0):
    """Kill what ``start(number)`` begins at random moments of its ``seconds``; the number of each run that was hit.

    The seconds count from its start, or from when ``is_working(number)`` is true.
    """
    rng, hits = np.random.default_rng(seed), 0
    for number in range(4 * kills):
        process = start(number)
        while is_working is not None and not is_working(number) and process.poll() is None:
            time.sleep(0.005)
        time.sleep(float(rng.uniform(0.1 if is_working is None else 0.0, 1.0)) * seconds)
        alive = process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if not alive:
            continue
        hits += 1
        assert all_have_ended(process.pid), f"a worker outlives the command by {WITHIN} s"
        yield number
        if hits == kills:
            return
    pytest.fail(f"only {hits} of {4 * kills} kills hit a run")


def written(out):
    """The bytes of every file."""
    return {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()}
