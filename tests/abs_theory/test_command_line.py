"""What the commands print, at a terminal and elsewhere."""

import sys

import pytest

from abs_theory.command_line import all_or_none, warn

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
