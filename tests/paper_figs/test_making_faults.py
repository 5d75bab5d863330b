"""Faults while figures are made: the same command then makes the same files, and two versions never stand mixed."""

import json
import shutil
import signal
import time

import numpy as np
import pytest
from faults import all_have_ended, ended, started, written

from abs_theory.files import UNFINISHED

KINDS = (".csv", ".pdf", ".png")
KILLS = 32
FILES = 8  # a run replaces at most so many


def figures(out, *options, **faults):
    return started("paper_figs", "timeline", "--out", out, *options, **faults)


def drawn(out):
    """The table and the pictures."""
    return {name.name: content for name, content in written(out).items() if name.suffix in KINDS}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A folder with the quick figure, the files of the quick and of the default one, and how long it took, in s."""
    out = tmp_path_factory.mktemp("figures") / "out"
    begin = time.monotonic()
    assert ended(figures(out, "--quick"))[0] == 0
    seconds, quick = time.monotonic() - begin, drawn(out)
    shutil.copytree(out, out.with_name("quick"))
    assert ended(figures(out))[0] == 0
    assert all(drawn(out)[name] != quick[name] for name in quick)
    return out.with_name("quick"), quick, drawn(out), seconds


def is_as_undisturbed(out, expected):
    assert ended(figures(out)) == (0, "")
    assert drawn(out) == expected
    assert json.loads((out / "timeline.json").read_text())["size"] == "default"
    assert not list(out.rglob(UNFINISHED))


@pytest.mark.slow
@pytest.mark.parametrize("number", range(1, FILES + 1))
def test_killed_at_any_file_no_two_versions_stand_mixed(number, undisturbed, tmp_path):
    folder, quick, default, _ = undisturbed
    out = shutil.copytree(folder, tmp_path / "out")
    status, _ = ended(figures(out, number=number))
    assert status in (0, -signal.SIGKILL)
    there = drawn(out)
    assert there == quick or there.items() <= default.items()
    is_as_undisturbed(out, default)


@pytest.mark.slow
def test_killed_at_any_moment_it_ends_with_the_same_bytes(undisturbed, tmp_path):
    folder, quick, default, seconds = undisturbed
    rng, hits = np.random.default_rng(0), 0
    for number in range(4 * KILLS):
        out = shutil.copytree(folder, tmp_path / str(number))
        process = figures(out)
        time.sleep(float(rng.uniform(0.1, 1.0)) * seconds)
        alive = process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if not alive:
            continue
        hits += 1
        assert all_have_ended(process.pid)
        assert drawn(out) == quick or drawn(out).items() <= default.items()
        is_as_undisturbed(out, default)
        shutil.rmtree(out)
        if hits == KILLS:
            return
    pytest.fail(f"only {hits} of {4 * KILLS} kills hit a run")


@pytest.mark.slow
@pytest.mark.parametrize("signal_", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_at_any_moment_it_says_one_line_and_leaves_no_process(signal_, tmp_path):
    for seconds in (0.3, 1.0, 3.0, 5.0, 7.0, 9.0):
        process = started("paper_figs", "loss-time", "budget", "--quick", "--out", tmp_path / str(seconds))
        time.sleep(seconds)
        process.send_signal(signal_)
        status, complained = ended(process)
        if status == 0:
            break
        assert status in (128 + signal_, -signal_), complained  # the second: Python itself had not yet begun
        assert status < 0 or complained == "paper_figs: interrupted; what was computed is cached\n"
        assert all_have_ended(process.pid)


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_leaves_what_was_there(undisturbed, tmp_path):
    folder, quick, default, _ = undisturbed
    out = shutil.copytree(folder, tmp_path / "out")
    status, complained = ended(figures(out, largest_file=10_000))
    assert (status, complained.count("\n")) == (2, 1)
    assert str(out) in complained
    assert drawn(out) == quick
    is_as_undisturbed(out, default)


@pytest.mark.slow
def test_of_two_runs_at_once_one_waits_for_nobody_and_both_leave_a_whole_folder(undisturbed, tmp_path):
    _, _, default, _ = undisturbed
    for number in range(4):
        out = tmp_path / str(number)
        both = [figures(out), figures(out)]
        results = sorted(ended(process) for process in both)
        assert results[0] == (0, "")
        assert results[1] == (0, "") or "another run is writing to" in results[1][1]
        is_as_undisturbed(out, default)


@pytest.mark.slow
def test_no_flipped_bit_of_any_file_stays(undisturbed, tmp_path, monkeypatch, capsys):
    from paper_figs.making import make

    folder, quick, _, _ = undisturbed
    names = sorted(name for name, content in written(folder).items() if content and name.name != "index.html")
    rng = np.random.default_rng(0)
    for number in range(200):
        out = shutil.copytree(folder, tmp_path / str(number))
        path = out / names[rng.integers(len(names))]
        damaged = bytearray(path.read_bytes())
        damaged[rng.integers(len(damaged))] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        make(["timeline"], "quick", out)
        assert drawn(out) == quick, path
        assert not list(out.rglob(UNFINISHED))
        shutil.rmtree(out)
    capsys.readouterr()
