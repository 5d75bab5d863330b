"""The house: every public name is a folder with a door, imports run one way and in no circle, tests mirror folders."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
import tomllib
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from cases import every_case

ROOT = Path(__file__).parents[1]
ALLOWED = {
    "abs_theory": {"abs_theory"},
    "simulations": {"abs_theory", "simulations"},
    "paper_figs": {"abs_theory", "simulations", "paper_figs"},
}
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in ALLOWED
    for path in sorted((ROOT / package).rglob("*.py"))
}
DOORS = {name: path for name, path in FILES.items() if path.name == "__init__.py" and name not in ALLOWED}
SIDE_DOORS = {  # modules that are entered past the door of their folder, and why
    "abs_theory.delays.text": "it lists all laws of the door, which therefore cannot import it",
    "abs_theory.delays.survival": "its tables are for loops that need a million values, and not as exact as a law",
    "abs_theory.delays.numerics.binomial": "it counts finished workers, whatever their law",
    "abs_theory.delays.numerics.bisection": "it inverts any increasing function, not only those of a law",
    "simulations.problems.constants": "it is a command of its own beside the problems, and asks for none of them",
    "simulations.protocols.weights": "each function in it weighs the gradients of a protocol, and is none itself",
}
MOST_MODULES = 14  # in a folder, so that one listing shows what there is
MOST_ON_TOP = 8  # files of a package outside its folders


@cache
def imported(path):
    """Modules that a file imports, wherever in it and under whatever condition, and the names it takes from each."""
    package = ".".join(path.relative_to(ROOT).parent.parts)
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = f"{package}.{node.module or ''}".rstrip(".") if node.level else node.module or ""
            for alias in node.names:
                inner = f"{module}.{alias.name}"
                found.append((inner, None) if inner in FILES else (module, alias.name))
    return found


def folder(module):
    """The folder with a door that a module stands in; None on the top level of its package."""
    inside = [door for door in DOORS if module == door or module.startswith(f"{door}.")]
    return max(inside, key=len, default=None)


def names_of(door):
    """What a door offers: its ``__all__``, which in a lazy door stands in the list of its names beside it."""
    stub = DOORS[door].with_suffix(".pyi")
    tree = ast.parse((stub if stub.exists() else DOORS[door]).read_text())
    lists = [x.value for x in tree.body if isinstance(x, ast.Assign) and getattr(x.targets[0], "id", "") == "__all__"]
    return ast.literal_eval(lists[0]) if lists else None


@every_case("module", FILES)
def test_imports_run_one_way(module):
    package = module.split(".")[0]
    assert {name.split(".")[0] for name, _ in imported(FILES[module])} & set(ALLOWED) <= ALLOWED[package]


def test_imports_run_in_no_circle_of_files():
    graph = {module: {name for name, _ in imported(path) if name in FILES} for module, path in FILES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as circle:
        pytest.fail(" -> ".join(circle.args[1]))


def test_imports_run_in_no_circle_of_folders():
    graph: dict[str, set[str]] = {}
    for module, path in FILES.items():
        here = folder(module) or module
        inner = [name for name, _ in imported(path) if name in FILES and name not in SIDE_DOORS]
        graph.setdefault(here, set()).update({folder(name) or name for name in inner} - {here})
    nested = [(outer, inner) for outer in DOORS for inner in DOORS if inner.startswith(f"{outer}.")]
    for outer, inner in nested:  # a folder within a folder is part of it
        graph[outer] = (graph[outer] | graph.pop(inner)) - {outer, inner}
        graph = {here: {outer if name == inner else name for name in there} - {here} for here, there in graph.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as circle:
        pytest.fail(" -> ".join(circle.args[1]))


@every_case("door", DOORS)
def test_a_door_lists_what_it_offers_and_defines_nothing(door):
    tree = ast.parse(DOORS[door].read_text())
    defined = [x for x in tree.body if isinstance(x, ast.FunctionDef | ast.ClassDef | ast.If)]
    if door in ("paper_figs.figures", "abs_theory.delays.numerics"):  # the list of figures; a folder within a folder
        return
    assert not defined
    assert names_of(door), "a door has __all__"


@pytest.mark.parametrize("door", [door for door, path in DOORS.items() if path.with_suffix(".pyi").exists()])
def test_a_lazy_door_offers_nothing_with_the_name_of_its_module(door):
    """Otherwise lazy_loader makes the door a module of its own kind, which no process can send to another."""
    modules = {path.stem for path in DOORS[door].parent.glob("*.py")}
    functions = {name for name in names_of(door) if not inspect.ismodule(getattr(importlib.import_module(door), name))}
    assert not modules & functions


@every_case("module", FILES)
def test_a_folder_is_entered_by_its_door(module):
    here = folder(module)
    for name, taken in imported(FILES[module]):
        there = folder(name) if name in FILES else None
        if there is None or there == here or name in SIDE_DOORS or (here or "").startswith(f"{there}."):
            continue
        outer = there.rpartition(".")[0]
        if outer == here:  # a folder within one's own
            continue
        offered = names_of(there) or []
        if name == there:
            assert taken is None or taken in offered, f"{module} takes {taken} from {there}, which does not offer it"
        else:
            parent, _, inner = name.rpartition(".")
            by_the_door = parent == there and inner in offered and taken is None
            assert by_the_door, f"{module} enters {there} past its door, at {name}"


def test_folders_are_small_enough_to_be_seen_at_once():
    for door, path in DOORS.items():
        if door != "paper_figs.figures":
            assert len([file for file in path.parent.glob("*.py") if file.name != "__init__.py"]) <= MOST_MODULES, door
    for package in ("abs_theory", "simulations"):
        assert len(list((ROOT / package).glob("*.py"))) <= MOST_ON_TOP, package


def test_tests_stand_where_what_they_test_stands():
    """The name of a test file begins with that of a module, or of the folder, that it tests."""
    for path in sorted((ROOT / "tests").glob("*/**/test_*.py")):
        inside = path.relative_to(ROOT / "tests").parent
        source = ROOT / inside
        assert source.is_dir(), f"{inside} is no folder of the project"
        modules = {file.stem.strip("_") for file in source.iterdir()}
        tested = path.stem.removeprefix("test_")
        assert any(tested == name or tested.startswith(f"{name}_") for name in modules | {source.name}), path


LIGHT = [  # statements of the simulator, which load no theory of runs and no reader of files
    "import simulations.protocols",
    "from simulations.protocols import k_sync, abs_sgd",
    "from simulations.policies import plain",
    "from simulations.experiment import simulate",
]
HEAVY = (
    *(f"abs_theory.{room}" for room in ("choose", "steady_state", "plan", "traces")),
    "simulations.experiment.toml",
)


def test_the_simulator_stands_on_the_ground():
    lines = [f"{statement}; print({statement!r}, *sys.modules, sep=',')" for statement in LIGHT]
    loaded = subprocess.run(
        [sys.executable, "-c", "\n".join(["import sys", *lines])], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.splitlines()
    assert len(loaded) == len(LIGHT)
    for statement, line in zip(LIGHT, loaded, strict=True):
        assert not [name for name in line.split(",") if name.startswith(HEAVY)], statement


def test_the_lock_is_plain_and_covers_every_dependency():
    lines = (ROOT / "requirements.lock").read_text().split()
    assert all(line.count("==") == 1 and "/" not in line for line in lines)
    locked = {line.split("==")[0].lower().replace("_", "-") for line in lines}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["dev"]
    assert {requirement.split(">=")[0] for requirement in wanted} <= locked


def public_signatures(path):
    """The annotations of the public functions, methods and fields of a file, each with where it stands."""

    def of(body, prefix=""):
        for node in body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                yield from of(node.body, f"{node.name}.")
            elif isinstance(node, ast.FunctionDef) and (not node.name.startswith("_") or node.name == "__init__"):
                a = node.args
                arguments = [*a.posonlyargs, *a.args, *a.kwonlyargs, a.vararg, a.kwarg]
                annotations = [argument.annotation for argument in arguments if argument] + [node.returns]
                yield from ((f"{prefix}{node.name}", annotation) for annotation in annotations if annotation)
            elif prefix and isinstance(node, ast.AnnAssign) and not getattr(node.target, "id", "_").startswith("_"):
                yield prefix + node.target.id, node.annotation

    return list(of(ast.parse(path.read_text()).body))


@every_case("module", FILES)
def test_no_public_signature_says_any(module):
    signatures = public_signatures(FILES[module])
    assert not [name for name, annotation in signatures if "Any" in re.findall(r"\w+", ast.unparse(annotation))]


@every_case("door", DOORS)
def test_every_function_behind_a_door_has_an_example(door):
    room = importlib.import_module(door)
    functions = [thing for name in names_of(door) or () if inspect.isfunction(thing := getattr(room, name))]
    assert not [thing.__qualname__ for thing in functions if ">>>" not in (thing.__doc__ or "")]
