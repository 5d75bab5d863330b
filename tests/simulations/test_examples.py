"""The example files reach whoever has installed the package."""

from pathlib import Path

from in_process import ended

from simulations.__main__ import run
from simulations.examples import example_files

ROOT = Path(__file__).parents[2]


def test_the_command_copies_the_examples_and_leaves_other_files(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    status, printed, complained = ended(monkeypatch, capsys, run, "simulations", "examples")
    assert (status, complained) == (0, "")
    originals = {path.name: path.read_bytes() for path in (ROOT / "examples").iterdir()}
    assert {path.name: path.read_bytes() for path in Path("examples").iterdir()} == originals
    assert [Path(line).name for line in printed.splitlines()] == sorted(originals)
    assert {path.name for path in example_files()} == set(originals)
    Path("examples/run.toml").write_text("mine")
    status, _, complained = ended(monkeypatch, capsys, run, "simulations", "examples")
    assert (status, complained) == (0, "simulations examples: examples/run.toml is another file: left as it is\n")
    assert Path("examples/run.toml").read_text() == "mine"


def test_a_file_in_the_place_of_the_folder_is_refused(monkeypatch, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    status, _, complained = ended(monkeypatch, capsys, run, "simulations", "examples", "--out", str(tmp_path / "file"))
    assert (status, complained) == (2, f"simulations examples: --out must be a folder, {tmp_path / 'file'} is a file\n")
