"""The docs: every public name has a docstring and one page, every name they use exists, nothing is fetched."""

import ast
import importlib
import inspect
import json
import re
import sys
from collections import Counter
from pathlib import Path

import pytest
from cases import every_case

from abs_theory import order_stats
from abs_theory.delays import Exponential
from simulations.fleets import Fleet
from simulations.problems import Problem

ROOT = Path(__file__).parents[1]
PACKAGES = ("abs_theory", "simulations", "paper_figs")
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
sys.path.insert(0, str(ROOT / "docs"))
import made  # noqa: E402
import rooms  # noqa: E402

LISTED = rooms.PAGES
SAID_ONCE = vars(Problem).keys() | vars(Fleet).keys()  # what all objects of their kind have


@every_case("path", FILES)
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


@every_case("name", LISTED)
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


DOORS = [
    ".".join(path.parent.relative_to(ROOT).parts)
    for package in PACKAGES
    for path in sorted((ROOT / package).glob("*/__init__.py"))
]


@every_case("door", DOORS)
def test_every_door_has_a_page_and_every_name_behind_it_is_explained_once(door):
    assert door in LISTED
    for key, thing in rooms.public(door).items():
        there = rooms.home(door, key, thing)
        assert there in LISTED, f"{door}.{key} needs a page in docs/reference.rst"
        page = rooms.contents(there)
        named = [*page.functions, *page.classes, *(constant[0] for constant in page.constants)]
        assert inspect.ismodule(thing) or key in named


def test_no_name_is_explained_on_two_pages():
    pages = {name: rooms.contents(name) for name in LISTED}
    things = Counter(
        id(getattr(importlib.import_module(name), key))
        for name, page in pages.items()
        for key in [*page.functions, *page.classes]
    )
    assert set(things.values()) == {1}


CLASSES = [(name, key) for name in LISTED for key in rooms.contents(name).classes]


@every_case("place", CLASSES)
def test_every_public_field_is_explained_beside_it(place):
    """By a comment that begins with ``#:``, or a text below, which the reference shows."""
    name, key = place
    source = inspect.getsource(getattr(importlib.import_module(name), key))
    lines = source.splitlines()
    for field in ast.parse(source).body[0].body:
        if isinstance(field, ast.AnnAssign) and not field.target.id.startswith("_"):
            *near, below = lines[field.lineno - 2 : field.end_lineno + 1]
            explained = any("#:" in line for line in near) or below.lstrip().startswith('"""')
            assert explained, f"{name}.{key}.{field.target.id} needs a comment #: ..."


WHICH = re.findall(r"{py:obj}`([\w.]+)`", (ROOT / "docs" / "which_function.md").read_text())


def test_the_page_which_function_names_what_the_reference_explains_and_leaves_out_no_room():
    for name in WHICH:
        if name in LISTED:
            continue
        page, _, key = name.rpartition(".")
        if page not in LISTED:  # a member of a class
            (page, _, owner), member = page.rpartition("."), key
            assert hasattr(getattr(importlib.import_module(page), owner), member), name
            key = owner
        there = rooms.contents(page)
        assert key in there.functions + there.classes, f"{name} is not explained under this name"
    rooms_named = {name for name in LISTED if any(f"{link}.".startswith(f"{name}.") for link in WHICH)}
    assert set(DOORS) - rooms_named == set()


def test_every_word_is_explained_once_in_a_few_sentences():
    text = (ROOT / "docs" / "glossary.md").read_text()
    entries = re.findall(r"^(\w[^\n]*)\n((?:  [^\n]*\n)+)", text.split(":sorted:")[1], flags=re.MULTILINE)
    words = [word for word, _ in entries]
    assert len(words) == len(set(words)) >= 50
    assert all(2 <= len(re.findall(r"[.:](?=\s)", explanation)) <= 6 for _, explanation in entries)
    used = set(re.findall(r":term:`(?:[^`<]*<)?([^`>]*)>?`", "".join(path.read_text() for path in FILES)))
    assert used <= set(words), "words that the docstrings link to, and the glossary lacks"


def test_the_answers_of_the_page_how_do_i_run_and_print_what_it_says(capsys):
    page, names = (ROOT / "docs" / "howto.md").read_text(), {"__name__": "howto"}
    examples = re.findall(r"```python\n(.*?)```(?:\n\n```text\n(.*?)```)?", page, flags=re.DOTALL)
    assert len(examples) == page.count("```python") >= 8
    for code, printed in examples:
        exec(compile(code, "howto.md", "exec"), names)
        assert capsys.readouterr().out.split() == printed.split(), code


def test_the_numbers_of_abs_in_five_minutes():
    page = (ROOT / "docs" / "abs.md").read_text()
    law = Exponential(1.0)
    waits = {"a round lasts 3.6 s": order_stats.mean(law, 20, 20), "a round lasts 0.28 s": order_stats.mean(law, 5, 20)}
    for said, seconds in waits.items():
        assert said in page
        assert float(said.split()[3]) == pytest.approx(seconds, rel=0.02)


def test_the_page_of_commands_shows_those_of_the_readme():
    commands = [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("python -m ")]
    assert commands == list(made.COMMANDS.values())
    page = (ROOT / "docs" / "commands.md").read_text()
    assert all(f"generated/{name}.txt" in page for name in made.COMMANDS)


def test_every_page_is_in_the_table_of_contents():
    listed = re.findall(r"^([\w/]+)$", (ROOT / "docs" / "index.md").read_text(), flags=re.MULTILINE)
    pages = {path.stem for path in (ROOT / "docs").glob("*") if path.suffix in (".md", ".rst")}
    assert set(listed) == pages - {"index"}
    tutorials = re.findall(r"^tutorials/([\w/]+)$", (ROOT / "docs" / "tutorials.md").read_text(), flags=re.MULTILINE)
    notebooks = [path.relative_to(ROOT / "notebooks").with_suffix("").as_posix() for path in NOTEBOOKS]
    assert sorted(tutorials) == sorted(notebooks)


def test_the_reference_has_a_page_for_whatever_notebooks_and_readme_import():
    sources = [ROOT / "README.md", *sorted((ROOT / "notebooks").glob("*.ipynb"))]
    text = "\n".join(path.read_text() for path in sources)
    used = set(re.findall(r"from ((?:abs_theory|simulations)\.\w+) import", text))
    assert used - {"abs_theory.workers"} <= set(LISTED)  # which is for those who derive


NOTEBOOKS = sorted((ROOT / "notebooks").rglob("[!.]*.ipynb"))
LONGEST_CELL = 25  # lines of code that one can take in at once


@every_case("path", NOTEBOOKS)
def test_a_notebook_begins_with_prose_has_short_cells_and_no_outputs(path):
    cells = json.loads(path.read_text())["cells"]
    assert cells[0]["cell_type"] == "markdown"
    assert cells[0]["source"][0].startswith("# ")
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
    assert len({cell["id"] for cell in cells}) == len(cells)
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert max(len(cell["source"]) for cell in code) <= LONGEST_CELL


@every_case("path", NOTEBOOKS)
def test_the_checks_of_a_notebook_are_folded(path):
    for cell in json.loads(path.read_text())["cells"]:
        if cell["cell_type"] == "code" and any(line.startswith("assert ") for line in cell["source"]):
            assert "hide-input" in cell["metadata"].get("tags", [])
            assert cell["metadata"]["jupyter"] == {"source_hidden": True}


def test_nothing_is_fetched_when_the_reference_is_built_or_read():
    sources = [path for path in (ROOT / "docs").glob("*") if path.suffix in (".py", ".md", ".rst")]
    for path in [*sources, *(ROOT / "docs" / "_templates").rglob("*.rst")]:
        assert not re.search(r"https?://", path.read_text()), path
