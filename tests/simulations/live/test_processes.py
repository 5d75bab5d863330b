"""Worker processes: what happens when one fails, or when the server ends, and that nothing is counted twice."""

import os
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest
from cases import every_case
from faults import ROOT, WITHIN, descendants, end_soon
from faulty_problems import FAULTY
from scripted import Scripted

from abs_theory.delays import Deterministic, ShiftedExponential
from simulations import contract, live, protocols
from simulations.fleets import as_fleet
from simulations.live.processes import Processes
from simulations.live.training import LiveSettings, Real, train
from simulations.problems import NoisyQuadratic
from simulations.server import Run, RunBudget

LAW = ShiftedExponential(0.5, 0.5)
QUADRATIC = NoisyQuadratic((1.0,), sigma2=0.1)
N = 6
ONE_IS_LAST = [Deterministic(1.0), Deterministic(1.5), *[Deterministic(1.0 + w / 10) for w in range(1, 5)]]


@pytest.fixture
def faulty(crew, mark):
    """A function that runs with a fault of worker 1, and returns the tables."""

    def a_run(fault="", protocol=None, laws=LAW, updates=30, **settings):
        if fault:
            mark.write_text(fault)
        run = Run(
            protocol=protocol or protocols.abs_sgd(4, 1), problem=contract.PROBLEM, step_size=0.1, seed=0,
            fleet=Real(N) if laws is None else as_fleet(laws, N), budget=RunBudget(num_updates=updates),
            keep_tasks=True,
        )  # fmt: skip
        settings = {"time_scale": 0.002, "grace": 60.0} | settings
        rounds, tasks, _ = train(run, [0], LiveSettings(**settings), crew)
        assert len(rounds) == updates
        contract.work_is_conserved(rounds, tasks, N)
        contract.workers_do_one_thing_at_a_time(tasks)
        contract.no_gradient_is_forgotten(rounds, tasks, N)
        contract.messages_are_counted(rounds, tasks, comes_back=True)
        contract.staleness_is_bounded(rounds)
        return rounds, tasks

    return a_run


@every_case("fault", ["killed", "not finite"])
def test_a_worker_that_dies_or_sends_nan_is_replaced_and_its_task_lost(fault, faulty):
    rounds, tasks = faulty(fault)
    assert (tasks["outcome"] == "lost").sum() <= 1
    assert rounds["away_seconds"].sum() > 0


@every_case("fault", ["hangs", "stopped"])
def test_a_worker_that_hangs_or_neither_reads_nor_answers_is_replaced(fault, faulty):
    _, tasks = faulty(fault, protocols.synchronous(), patience=1.0)
    assert (tasks["outcome"] == "lost").sum() >= 1


def test_a_worker_that_does_not_read_stops_nobody(crew, faulty):
    """Worker 1 is stopped, and 500 tasks are sent to it meanwhile, more than its pipe holds."""
    _, tasks = faulty("stopped", protocols.k_sync(5), ONE_IS_LAST, updates=500, time_scale=1e-6, grace=0.0)
    assert tasks["worker"].nunique() == N
    crew.replace(1)


def test_a_restart_takes_effect_at_once(crew):
    """Worker 1 would wait for 20 s by the clock; it is restarted after .05 s, and then the first to deliver."""
    times = Scripted(*[[400.0, 0.5, 1.0] if worker == FAULTY else [1.0] * 3 for worker in range(N)])
    run = Run(
        protocol=protocols.k_sync(5), problem=contract.PROBLEM, step_size=0.1, seed=0, fleet=times,
        budget=RunBudget(num_updates=2),
    )  # fmt: skip
    measured = train(run, [0], LiveSettings(time_scale=0.05, grace=60.0), crew).measured
    (message,) = [message for message in measured[0].messages if message.worker == FAULTY]
    assert message.to_worker < 10


def test_an_answer_to_a_dropped_task_is_not_counted(faulty):
    """Worker 1 computes for .3 s; meanwhile its task is dropped again and again."""
    rounds, tasks = faulty("slow", protocols.k_sync(5), ONE_IS_LAST, updates=100, time_scale=0.005)
    assert rounds["restarts"].tolist() == [1] * 100
    assert tasks[tasks["worker"] == 1]["outcome"].isin(["restarted", "unfinished"]).all()


def test_a_gradient_that_raises_an_error_ends_the_run_in_one_line(faulty):
    with pytest.raises(RuntimeError, match=r"worker 1 failed at t=.*: ArithmeticError: no gradient today"):
        faulty("raises")


def test_a_gradient_of_a_wrong_shape_ends_the_run_in_one_line(faulty, capfd):
    with pytest.raises(
        RuntimeError, match=r"worker 1 failed .* of shape \(1, 3\).*, got .* and shape \(1, 2\) of float64"
    ):
        faulty("too short")
    assert not capfd.readouterr().err


def test_delays_may_be_real(faulty):
    rounds, tasks = faulty(protocol=protocols.k_async(2), laws=None, grace=0.0)
    assert rounds["time"].is_monotonic_increasing
    assert (tasks["end"] >= tasks["start"]).all()


def test_real_tasks_are_cut_off(faulty):
    """A task that takes .3 s is given up after .2 s; the others take much less."""
    protocol = protocols.mindflayer(Deterministic(0.1), N, cut_off=0.2)
    _, tasks = faulty("slow", protocol, laws=None, updates=5)
    assert (tasks[tasks["outcome"] == "cut off"]["worker"] == 1).any()


@pytest.mark.slow
def test_a_problem_that_workers_cannot_load_ends_the_run_in_one_line(monkeypatch):
    unknown = types.ModuleType("known_to_the_server_only")
    exec("class Problem:\n    import numpy\n    initial = numpy.zeros(1)", unknown.__dict__)
    monkeypatch.setitem(sys.modules, unknown.__name__, unknown)
    with pytest.raises(RuntimeError, match="No module named 'known_to_the_server_only'"):
        Processes(unknown.Problem(), 1)


def test_what_cannot_run_live_is_refused():
    def a_run(protocol, delay=LAW, **options):
        live.run(protocol, QUADRATIC, delay, N, step_size=0.1, num_updates=1, seed=0, **options)

    with pytest.raises(ValueError, match="partial work"):
        a_run(protocols.stsyn(2))
    with pytest.raises(ValueError, match="update_seconds"):
        a_run(protocols.k_sync(1), None, update_seconds=1.0)
    for wrong in {"time_scale": 0.0}, {"grace": -1.0}, {"patience": float("nan")}, {"engine": "threads"}:
        with pytest.raises(ValueError, match=next(iter(wrong))):
            a_run(protocols.k_sync(1), **wrong)


@pytest.mark.skipif(not Path("/proc/net/unix").exists(), reason="sockets are told by Linux only")
def test_nothing_listens(crew):
    listening = set()
    for name in "tcp", "tcp6":
        rows = [line.split() for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
        listening |= {row[9] for row in rows if row[3] == "0A"}
    for name in "udp", "udp6", "raw", "raw6":
        listening |= {line.split()[9] for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]}
    rows = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    listening |= {row[6] for row in rows if int(row[3], 16) & 1 << 16}
    processes = {crew._nursery.pid, *descendants(crew._nursery.pid)}
    assert len(processes) == N + 1
    files = [os.readlink(file) for process in processes for file in Path(f"/proc/{process}/fd").iterdir()]
    sockets = {file[8:-1] for file in files if file.startswith("socket:[")}
    assert sockets
    assert not sockets & listening


# ---------------------------------------------------------------- the end of the server
LONG = """
import sys
sys.path.insert(0, "tests")
from simulations import live, protocols
from simulations.problems import NoisyQuadratic
from faulty_problems import Faulty
from abs_theory.delays import Deterministic
problem = Faulty((1.0,), 0.1, mark=sys.argv[1])
live.run(protocols.asynchronous(), problem, Deterministic(1.0), 4, step_size=.1, num_updates=10**6, seed=0,
         time_scale=.01)
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_all_workers_end_soon_after_the_server_also_one_that_hangs(how, tmp_path):
    mark = tmp_path / "mark"
    mark.write_text("hangs")
    server = subprocess.Popen([sys.executable, "-c", LONG, str(mark)], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    with server:
        end = time.monotonic() + 120
        while mark.exists() and time.monotonic() < end:  # until worker 1 hangs
            time.sleep(0.1)
        processes = descendants(server.pid)
        assert len(processes) == 5  # one that starts the others
        os.kill(server.pid, how)
        server.wait(WITHIN)
        assert end_soon(processes)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.0, 0.3, 0.6])
def test_a_server_killed_while_workers_start_leaves_no_process_and_no_words(seconds, tmp_path):
    """The seconds count from when there is a second process, which is still loading what it needs."""
    with subprocess.Popen(
        [sys.executable, "-c", LONG, str(tmp_path / "mark")], cwd=ROOT, stderr=subprocess.PIPE, text=True
    ) as server:
        while not descendants(server.pid) and server.poll() is None:
            time.sleep(0.005)
        time.sleep(seconds)
        processes = descendants(server.pid)
        server.kill()
        words = server.communicate(timeout=60)[1]  # until all have ended; what still loads first finishes that
    assert words == ""
    assert end_soon(processes)
