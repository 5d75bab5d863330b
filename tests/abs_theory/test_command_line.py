"""What the commands print, at a terminal and elsewhere."""

import sys
from pathlib import Path

import pytest

from abs_theory.command_line import all_or_none, check_outputs, warn

MESSAGE = "TRACE must be a file or a folder, there is no nowhere.csv; its columns: round, worker, seconds"


def test_a_complaint_is_one_line_unless_a_terminal_shows_it(monkeypatch, capsys):
    warn("abs_theory", MESSAGE)
    assert capsys.readouterr().err == f"abs_theory: {MESSAGE}\n"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    warn("abs_theory", MESSAGE)
    lines = capsys.readouterr().err.splitlines()
    assert " ".join(lines) == f"abs_theory: {MESSAGE}"
    assert len(lines) == 2
    assert max(map(len, lines)) <= 60


def test_options_that_belong_together_say_what_for():
    options = {"--L": 1.0, "--sigma2": None, "--gap": None}
    with pytest.raises(ValueError, match="to minimise the time, give --L, --sigma2 and --gap: --sigma2 is missing"):
        all_or_none("to minimise the time", options)
    assert not all_or_none("to minimise the time", dict.fromkeys(options))


def test_no_output_overwrites_an_input_or_another_output(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    log, folder = tmp_path / "log.csv", tmp_path / "logs"
    folder.mkdir()
    for path in (log, folder / "b.csv"):
        path.write_text("1\n")
    (tmp_path / "link.csv").symlink_to(log)
    (tmp_path / "hard.csv").hardlink_to(log)
    (tmp_path / "dangling.csv").symlink_to(tmp_path / "new.csv")
    for output in ("log.csv", "./logs/../log.csv", "link.csv", "hard.csv", log, folder / "b.csv"):
        with pytest.raises(ValueError, match=r"--csv would overwrite .*csv, which is read by TRACE: write to another"):
            check_outputs([("--json", None), ("--csv", Path(output))], [("TRACE", log), ("TRACE", folder)])
    for one, other in (("new.csv", tmp_path / "new.csv"), ("dangling.csv", "new.csv"), ("log.csv", "link.csv")):
        with pytest.raises(ValueError, match=r"^--csv and --json must be two files, both are .*csv$"):
            check_outputs([("--csv", Path(one)), ("--json", Path(other))])
    devices = [("--csv", Path("/dev/null")), ("--json", Path("/dev/null"))]
    check_outputs(
        [*devices, ("--page", Path("new.csv")), ("--x", folder / "new")], [("A", folder), ("B", Path("no\0name"))]
    )
