"""Faults while figures are made: the same command then makes the same files, and two versions never stand mixed."""

import json
import shutil
import signal
import time

import numpy as np
import pytest
from faults import all_have_ended, ended, killed, started, status_here, written

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
    """A folder with files of an older version, these files, those of an undisturbed run, and how long it took, in s."""
    out, begin = tmp_path_factory.mktemp("figures") / "out", time.monotonic()
    assert ended(figures(out)) == (0, "")
    seconds, new = time.monotonic() - begin, drawn(out)
    older = out.with_name("older")
    older.mkdir()
    for name, content in new.items():
        (older / name).write_bytes(b"older " + content)
    return older, drawn(older), new, seconds


def is_as_undisturbed(out, expected):
    assert status_here("paper_figs", "timeline", "--out", out) == 0
    assert drawn(out) == expected
    assert json.loads((out / "timeline.json").read_text())["size"] == "default"
    assert not list(out.rglob(UNFINISHED))


@pytest.mark.slow
@pytest.mark.parametrize("number", range(1, FILES + 1))
def test_killed_at_any_file_no_two_versions_stand_mixed(number, undisturbed, tmp_path):
    folder, old, new, _ = undisturbed
    out = shutil.copytree(folder, tmp_path / "out")
    status, _ = ended(figures(out, number=number))
    assert status in (0, -signal.SIGKILL)
    there = drawn(out)
    assert there == old or there.items() <= new.items()
    is_as_undisturbed(out, new)


@pytest.mark.slow
def test_killed_at_any_moment_it_ends_with_the_same_bytes(undisturbed, tmp_path):
    folder, old, new, seconds = undisturbed
    for number in killed(lambda number: figures(shutil.copytree(folder, tmp_path / str(number))), seconds, KILLS):
        out = tmp_path / str(number)
        assert drawn(out) == old or drawn(out).items() <= new.items()
        is_as_undisturbed(out, new)
        shutil.rmtree(out)


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
    folder, old, new, _ = undisturbed
    out = shutil.copytree(folder, tmp_path / "out")
    status, complained = ended(figures(out, largest_file=10_000))
    assert (status, complained.count("\n")) == (2, 1)
    assert str(out) in complained
    assert drawn(out) == old
    is_as_undisturbed(out, new)


@pytest.mark.slow
def test_of_two_runs_at_once_one_waits_for_nobody_and_both_leave_a_whole_folder(undisturbed, tmp_path):
    new = undisturbed[2]
    for number in range(4):
        out = tmp_path / str(number)
        both = [figures(out), figures(out)]
        results = sorted(ended(process) for process in both)
        assert results[0] == (0, "")
        assert results[1] == (0, "") or "another run is writing to" in results[1][1]
        is_as_undisturbed(out, new)


@pytest.mark.slow
def test_no_flipped_bit_of_any_file_stays(undisturbed, tmp_path, capsys):
    from paper_figs.making import make

    new, whole = undisturbed[2], tmp_path / "whole"
    assert ended(figures(whole)) == (0, "")
    names = sorted(name for name, content in written(whole).items() if content and name.name != "index.html")
    rng = np.random.default_rng(0)
    for number in range(200):
        out = shutil.copytree(whole, tmp_path / str(number))
        path = out / names[rng.integers(len(names))]
        damaged = bytearray(path.read_bytes())
        damaged[rng.integers(len(damaged))] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        make(["timeline"], "default", out)
        assert drawn(out) == new, path
        assert not list(out.rglob(UNFINISHED))
        shutil.rmtree(out)
    capsys.readouterr()
