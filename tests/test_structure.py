"""The shape of the project: imports run one way, nothing is fetched, no global random state."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ALLOWED = {
    "abs_theory": {"abs_theory"},
    "simulations": {"abs_theory", "simulations"},
    "paper_figs": {"abs_theory", "simulations", "paper_figs"},
}
FILES = [path for package in ALLOWED for path in sorted((ROOT / package).rglob("*.py"))]


def imported(path):
    tree = ast.parse(path.read_text())
    names = [a.name for x in ast.walk(tree) if isinstance(x, ast.Import) for a in x.names]
    return names + [x.module or "" for x in ast.walk(tree) if isinstance(x, ast.ImportFrom)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path):
    package = path.relative_to(ROOT).parts[0]
    assert {name.split(".")[0] for name in imported(path)} & set(ALLOWED) <= ALLOWED[package]


def test_the_lock_is_plain_and_covers_every_dependency():
    lines = (ROOT / "requirements.lock").read_text().split()
    assert all(line.count("==") == 1 and "/" not in line for line in lines)
    locked = {line.split("==")[0].lower().replace("_", "-") for line in lines}
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["dev"]
    assert {requirement.split(">=")[0] for requirement in wanted} <= locked
