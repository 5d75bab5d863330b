"""A law, a protocol and a figure, added to a copy of the project as ``docs/extending.md`` says, work and are tested."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from matplotlib import pyplot

from simulations import protocols

ROOT = Path(__file__).parents[1]
FOLDERS = ("abs_theory", "simulations", "paper_figs", "tests", "docs", "benchmarks", "examples", "notebooks")
NOT_COPIED = shutil.ignore_patterns(
    "__pycache__", "site", "reference", "generated", "tutorials", "jupyter_execute"
)  # what is made from the rest
GUIDE = (ROOT / "docs" / "extending.md").read_text()
SECTIONS = {part.split("\n")[0]: part for part in GUIDE.split("\n## ")[1:]}
CHANGE = re.compile(r"^`([\w/.]+)`(, new)?[^\n]*:\n\n```(python|diff)\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)


def changes(section):
    """The files it touches: path, whether new, and the text or the lines to insert."""
    return [(path, bool(new), text) for path, new, _, text in CHANGE.findall(section)]


def insert(text, patch):
    """``text`` with each line marked + after the unmarked line that precedes it in ``patch``."""
    lines, at = text.split("\n"), -1
    for line in patch.strip("\n").split("\n"):
        if line.startswith("+"):
            at += 1
            lines.insert(at, line[1:])
        else:
            assert lines.count(line[1:]) == 1, f"{line[1:]!r} must be there once"
            at = lines.index(line[1:])
    return "\n".join(lines)


@pytest.fixture(scope="module")
def changed(tmp_path_factory):
    copy = tmp_path_factory.mktemp("copy")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, copy / folder, ignore=NOT_COPIED)
    for file in ("README.md", "Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / file, copy / file)
    for section in SECTIONS.values():
        for path, new, text in changes(section):
            assert (copy / path).exists() != new, path
            (copy / path).write_text(text if new else insert((copy / path).read_text(), text))
    return copy


def run(copy, command):
    python, *words = shlex.split(command)
    assert python == "python"
    if words[:2] == ["-m", "pytest"]:
        words[2:2] = ["-q", "-p", "no:xdist", "-p", "no:cacheprovider"]
    result = subprocess.run(
        [sys.executable, *words], cwd=copy, capture_output=True, text=True, timeout=300, check=False,
        env={**os.environ, "PYTHONPATH": str(copy)},
    )  # fmt: skip
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]


@pytest.mark.parametrize("name", SECTIONS)
def test_it_takes_three_files_at_most(name):
    assert 2 <= len({path for path, _, _ in changes(SECTIONS[name])}) <= 3


@pytest.mark.slow  # each starts processes; continuous integration runs them
@pytest.mark.parametrize("name", SECTIONS)
def test_its_commands_run_in_the_changed_copy(name, changed):
    commands = re.findall(r"^python .*$", SECTIONS[name], flags=re.MULTILINE)
    assert commands
    for command in commands:
        run(changed, command)


SCRIPT = """
from abs_theory.delays import Exponential
from simulations import live, protocols
from simulations.experiment import simulate
from simulations.problems import NoisyQuadratic

if __name__ == "__main__":
    law, setting = LogLogistic(1.0, 3.0), {"step_size": 0.2, "seed": 0}
    method, problem = protocols.abs_sgd(2, 1), NoisyQuadratic((1.0,), sigma2=0.1)
    one, two = (simulate(method, problem, law, 3, num_updates=20, replicates=4, n_jobs=j, **setting) for j in (1, 2))
    assert one.equals(two)
    assert len(one) == 80
    assert abs(law.mean - 1.2092) < 1e-4
    simulate(method, problem, Exponential(1.0), 3, num_updates=2, replicates=4, update_seconds=law, n_jobs=2, **setting)
    print(len(live.run(method, problem, law, 3, num_updates=3, time_scale=0.001, **setting)))
"""
CLOSED_FORM = """
    @cached_property
    def mean(self):
        return self.median * math.pi / self.shape / math.sin(math.pi / self.shape)
"""


def test_a_law_in_a_script_is_simulated_by_several_processes_and_live(tmp_path):
    """As in a notebook, its class can only be sent by value."""
    (law,) = [text for path, _, text in changes(SECTIONS["A delay law"]) if path.endswith("log_logistic.py")]
    head, imports, rest = law.partition("from dataclasses import dataclass\n")
    script = tmp_path / "script.py"
    script.write_text(f"{head}import math\n{imports}from functools import cached_property\n{rest}{CLOSED_FORM}{SCRIPT}")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-W", "error", script]
    ended = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False, env=environment)
    assert (ended.returncode, ended.stdout) == (0, "3\n"), ended.stderr[-3000:]


def test_a_protocol_of_ones_own_is_compared_and_drawn_in_ten_lines(monkeypatch):
    """The protocol is defined as in the file, here without becoming a part of the project."""
    section = SECTIONS["A protocol"]
    (protocol,) = [
        text for path, _, text in changes(section) if path.startswith("simulations/protocols/") and "def" in text
    ]
    (example,) = re.findall(r"in one of\nits cells\.\n\n```python\n(.*?)```", section, flags=re.DOTALL)
    assert len([line for line in example.splitlines() if line]) <= 11
    names: dict = {}
    exec(protocol, names)
    monkeypatch.setattr(protocols, "abs_by_the_clock", names["abs_by_the_clock"], raising=False)
    exec(example.replace('"seed": 0', '"seed": 0, "n_jobs": 1'), names)
    drawn = [pyplot.figure(number) for number in pyplot.get_fignums()]
    assert [ax.get_title() for ax in drawn[-2].axes] == ["by the clock", "ABS"]
    assert [text.get_text() for text in drawn[-1].legends[0].get_texts()] == ["by the clock", "ABS"]
    assert (drawn[-1].axes[-3].get_xlabel()) == "time to target (s)"
    pyplot.close("all")


@pytest.mark.slow
def test_the_changed_copy_is_as_the_linter_and_the_structure_demand(changed):
    run(changed, "python -m ruff check --no-cache .")
    run(changed, "python -m ruff format --no-cache --check .")
    run(changed, "python -m pytest tests/test_structure.py tests/test_docs.py tests/test_extending.py")


@pytest.mark.slow
def test_the_new_protocol_goes_into_the_table_of_methods(changed):
    run(changed, "python docs/methods.py")
    assert (
        "| [`abs_by_the_clock`](../simulations/protocols/by_the_clock.py) | no formula |"
        in (changed / "docs" / "methods.md").read_text()
    )
