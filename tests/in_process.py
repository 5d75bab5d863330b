"""A command in this process, which has loaded what it needs."""

import sys

import pytest


def ended(monkeypatch, capsys, run, *words):
    """The status of a command with these words, its name first, what it printed, and what it said on stderr."""
    monkeypatch.setattr(sys, "argv", [*map(str, words)])
    with pytest.raises(SystemExit) as end:
        run()
    return end.value.code or 0, *capsys.readouterr()
