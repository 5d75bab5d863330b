"""Faults of every kind: a process killed at any moment, damaged files, two runs at once, folders one cannot write to.

After each, the same command gives the same bytes as a run that nothing disturbed; nothing is lost or left behind.
"""

import sys
from pathlib import Path

import faults
import numpy as np
import pytest
from faults import ended, killed, status_here, working_seconds, written

from abs_theory.files import UNFINISHED
from simulations.sweeps import Sweep, provenance

ROOT = Path(__file__).parents[3]
SWEEP = """
n = 3
delay = "weibull:scale=1,shape=.7"
step_size = 0.1
num_updates = 1000
replicates = 3
seed = 3
protocol = { name = "abs_sgd", k = 2, max_staleness = 1 }
problem = { name = "NoisyQuadratic", curvatures = [1.0], sigma2 = 0.1 }
[sweep]
protocol.k = [1, 2, 3]
"""
SOURCE = "that of this test, lest an edit while it runs be noticed"
KEPT = {"table.csv", "cells.csv", "config.toml", "report.html", "results"}
KILLS = 32


def started(path, out, jobs=1):
    """The command as a process and group of its own."""
    same = f"from simulations.sweeps import provenance; provenance.source_hash = lambda: {SOURCE!r}"
    return faults.started("simulations", path, "--out", out, "--jobs", jobs, before=same)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A run that nothing has disturbed: its file, the bytes of all that it has written, and seconds."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "run.toml").write_text(SWEEP)
    seconds = working_seconds(started(folder / "run.toml", folder / "out"), (folder / "out").exists)
    return folder / "run.toml", written(folder / "out"), seconds


def finished(path, out):
    """Run to the end: what is said on stderr."""
    status, complained = ended(started(path, out))
    assert status == 0, complained
    return complained


def nothing_is_left(out):
    assert {path.name for path in out.iterdir()} <= KEPT
    assert not list(out.rglob(UNFINISHED))


@pytest.mark.slow
def test_killed_at_any_moment_it_ends_with_the_same_bytes(undisturbed, tmp_path, monkeypatch):
    path, expected, seconds = undisturbed
    monkeypatch.setattr(provenance, "source_hash", lambda: SOURCE)
    runs = killed(
        lambda number: started(path, tmp_path / str(number), jobs=1 + number % 2),
        seconds, KILLS, lambda number: (tmp_path / str(number)).exists(),
    )  # fmt: skip
    for number in runs:
        out = tmp_path / str(number)
        kept = {name: content for name, content in written(out).items() if name.suffix == ".result"}
        assert all(expected[name] == content for name, content in kept.items())
        assert status_here("simulations", path, "--out", out, "--jobs", 1) == 0
        assert written(out) == expected
        nothing_is_left(out)


@pytest.mark.parametrize("number", [4, pytest.param(200, marks=pytest.mark.slow)])
def test_no_flipped_bit_of_any_file_is_believed(undisturbed, tmp_path, number, monkeypatch):
    """In results, tables and the note; a note that is no longer that of this sweep is refused, by name."""
    from simulations import __main__ as command

    path, expected, _ = undisturbed
    monkeypatch.setattr(provenance, "source_hash", lambda: SOURCE)
    rng = np.random.default_rng(0)
    names = sorted(name for name in expected if name.name != ".lock")
    kinds = sorted({name.suffix for name in names})
    for i in range(number):
        for name, content in expected.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(content)
        of_this_kind = [name for name in names if name.suffix == kinds[i % len(kinds)]]
        name = of_this_kind[rng.integers(len(of_this_kind))]
        damaged = bytearray(expected[name])
        damaged[rng.integers(len(damaged))] ^= 1 << int(rng.integers(8))
        (tmp_path / name).write_bytes(damaged)
        monkeypatch.setattr(sys, "argv", ["simulations", str(path), "--out", str(tmp_path), "--jobs", "1"])
        with pytest.raises(SystemExit) as end:
            command.run()
        if name.name == "config.toml" and end.value.code == 2:
            (tmp_path / name).unlink()
            continue
        assert end.value.code == 0
        assert written(tmp_path) == expected, name
    nothing_is_left(tmp_path)


@pytest.mark.slow
def test_of_two_sweeps_into_one_new_folder_one_wins_and_is_whole(undisturbed, tmp_path):
    path, expected, _ = undisturbed
    (tmp_path / "another.toml").write_text(SWEEP.replace("seed = 3", "seed = 4"))
    for number in range(8):
        out = tmp_path / f"out{number}"
        both = [started(path, out), started(tmp_path / "another.toml", out)]
        complained = [process.communicate(timeout=300)[1] for process in both]
        codes = [process.returncode for process in both]
        assert sorted(codes) == [0, 2], complained
        loser = complained[codes.index(2)]
        assert "another run is writing to" in loser or "holds results of another configuration: seed" in loser
        assert Sweep.from_toml(out / "config.toml").experiments[0].experiment.seed == (3 if codes[0] == 0 else 4)
        if codes[0] == 0:
            assert written(out) == expected
        finished([path, tmp_path / "another.toml"][codes.index(0)], out)
        nothing_is_left(out)


def test_a_foreign_folder_is_left_as_it_is(undisturbed, tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "source_hash", lambda: SOURCE)
    foreign = {"results/notes.txt": b"mine", "table.csv.bak": b"mine", ".hidden": b"mine", "results/x.result": b"mine"}
    for name, content in foreign.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    assert faults.status_here("simulations", undisturbed[0], "--out", tmp_path, "--jobs", 1) == 0
    found = {str(name): content for name, content in written(tmp_path).items()}
    assert foreign.items() <= found.items()
    assert undisturbed[1].items() <= written(tmp_path).items()
