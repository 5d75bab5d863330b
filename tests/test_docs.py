"""The reference: every public name has a docstring, every module it lists exists, nothing is fetched."""

import ast
import importlib
import inspect
import json
import re
from pathlib import Path

import pytest

from simulations.fleets import Fleet
from simulations.problems import Problem

ROOT = Path(__file__).parents[1]
PACKAGES = ("abs_theory", "simulations", "paper_figs")
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
LISTED = re.findall(r"^   ((?:\w+\.)+\w+)$", (ROOT / "docs" / "reference.rst").read_text(), flags=re.MULTILINE)
SAID_ONCE = vars(Problem).keys() | vars(Fleet).keys()  # what all objects of their kind have


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_class_and_function_says_what_it_is(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree) or not tree.body
    listed = [ast.literal_eval(x.value) for x in tree.body if isinstance(x, ast.Assign) and _is_all(x)]
    for thing in tree.body:
        if isinstance(thing, ast.FunctionDef | ast.ClassDef) and not (
            thing.name.startswith("_") or _is_overload(thing)
        ):
            public = thing.name in listed[0] if listed else thing.name not in EXPECTED
            assert ast.get_docstring(thing) or not public, f"{thing.name} is public and has no docstring"


EXPECTED = {"main", "run", "draw", "summarise", "numbers"}  # of every command, of every figure: said in the package


def _is_overload(thing):
    return any(getattr(decorator, "id", "") == "overload" for decorator in thing.decorator_list)


def _is_all(assignment):
    return [getattr(target, "id", None) for target in assignment.targets] == ["__all__"]


@pytest.mark.parametrize("name", LISTED)
def test_the_reference_leaves_nothing_without_words(name):
    module = importlib.import_module(name)
    public = getattr(module, "__all__", None) or [
        key for key, value in vars(module).items() if getattr(value, "__module__", None) == name and key[0] != "_"
    ]
    for key in public:
        thing = getattr(module, key)
        if inspect.isclass(thing) and thing.__module__.split(".")[0] in PACKAGES:
            members = {member: value for member, value in vars(thing).items() if member[0] != "_"}
            for member, value in members.items():
                if callable(value) or isinstance(value, property) or hasattr(value, "func"):
                    said = member in SAID_ONCE or any(inspect.getdoc(vars(base).get(member)) for base in thing.__mro__)
                    assert said, f"{name}.{key}.{member} is public and has no docstring"


def test_the_reference_has_a_page_for_whatever_notebooks_and_readme_import():
    sources = [ROOT / "README.md", *sorted((ROOT / "notebooks").glob("*.ipynb"))]
    text = "\n".join(path.read_text() for path in sources)
    used = set(re.findall(r"from ((?:abs_theory|simulations)\.\w+) import", text))
    assert used - {"abs_theory.workers"} <= set(LISTED)  # which is for those who derive


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_begins_with_prose_is_short_and_has_no_outputs(path):
    cells = json.loads(path.read_text())["cells"]
    assert cells[0]["cell_type"] == "markdown"
    assert cells[0]["source"][0].startswith("# ")
    assert len(cells) <= 12
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)


def test_nothing_is_fetched_when_the_reference_is_built_or_read():
    sources = [path for path in (ROOT / "docs").glob("*") if path.suffix in (".py", ".md", ".rst")]
    for path in [*sources, *(ROOT / "docs" / "_templates").rglob("*.rst")]:
        assert not re.search(r"https?://", path.read_text()), path
