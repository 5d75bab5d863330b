"""What the key of a cached figure is made of: all that its ``compute`` uses, and nothing else.

Edits are planted in a copy of the source, and the keys of all figures before and after are compared.
"""

import ast
import inspect
import os
import shutil
import subprocess
import sys
from pathlib import Path

import joblib
import pytest
from cases import first_fast

from paper_figs.catalogue import FIGURES, ROOT
from paper_figs.definitions import PACKAGES, Toolkit
from paper_figs.making import sources_of

STUDY = {"loss-time", "loss-communication", "adaptation", "time-to-target", "all-methods"}
TRAINED = STUDY | {"ablation", "heterogeneity", "bound", "choice", "paper-setting", "robustness"}
SIMULATED = TRAINED | {
    "rollouts",
    "self-tuning",
    "timeline",
    "round-time",
    "staleness",
    "threshold",
    "local-steps",
    "live",
}
TOOLKIT = Toolkit(ROOT)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    root = tmp_path_factory.mktemp("copy")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    return root, keys_in(root)


@pytest.fixture
def copied(original):
    """A copy of the source, and the keys of all figures in it; what a test changes in it is undone afterwards."""
    root, keys = original
    before = {path: path.read_bytes() for path in files(root)}
    yield root, keys
    for path in set(files(root)) - before.keys():
        path.unlink()
    for path, content in before.items():
        if path.read_bytes() != content:
            path.write_bytes(content)


def files(root):
    return [path for package in PACKAGES for path in (root / package).rglob("*.py*") if path.suffix != ".pyc"]


def keys_in(root):
    """The keys of all figures, from the source in a folder."""
    toolkit = Toolkit(root, root / "definitions.json")
    return {name: toolkit.used_by(figure.compute) for name, figure in FIGURES.items()}


def changed(before, after):
    return {name for name in before if before[name] != after[name]}


def home(reference):
    """Module and name of the one definition that "module:name" stands for."""
    (definition,) = TOOLKIT._resolve(reference)
    return definition


def path_of(root, module):
    path = root.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def plant(root, reference, method=None):
    """Add a statement to a function, or to a method of a class, found by the name it is imported by."""
    module, name = home(reference)
    path = path_of(root, module)
    text = path.read_text()
    node = next(node for node in ast.parse(text).body if getattr(node, "name", None) == name)
    if method is not None:
        node = next(node for node in node.body if getattr(node, "name", None) == method)
    first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
    decorators = getattr(first, "decorator_list", [])
    line = min([first.lineno, *(decorator.lineno for decorator in decorators)])
    lines = text.split("\n")
    lines.insert(line - 1, " " * first.col_offset + "assert True")
    path.write_text("\n".join(lines))
    return f"{module}.{name}"


COUNTING = {  # what is changed, a method of it, and the figures to compute again
    "the loop of the server": ("simulations.server:drive", None, SIMULATED),
    "a verb of the server": ("simulations.server:Server", "update", SIMULATED),
    "a protocol of few": ("simulations.protocols:ringmaster", None, STUDY | {"heterogeneity", "robustness"}),
    "a protocol made by a rule": ("simulations.protocols:adasync", None, STUDY | {"paper-setting", "robustness"}),
    "a policy": ("simulations.policies:loss_ratio", None, STUDY | {"ablation", "paper-setting", "robustness"}),
    "a problem": ("simulations.problems:perceptron_digits", None, STUDY | {"ablation", "self-tuning", "robustness"}),
    "the steady state": (
        "abs_theory.steady_state:abs_sgd", None,
        set(FIGURES) - {"timeline", "heterogeneity", "self-tuning"},
    ),
    "the optimizer": ("abs_theory.choose:best", None, STUDY | {"choice", "budget"}),
    "a law that all may use": ("abs_theory.delays:Exponential", "cdf", set(FIGURES)),
    "the search of the study": ("paper_figs.study:tune", None, STUDY | {"ablation"}),
    "a helper of one figure": ("paper_figs.figures.scaling:measured", None, {"scaling"}),
    **{f"compute of {name}": (figure.compute, None, STUDY if name in STUDY else {name})
       for name, figure in FIGURES.items()},
}  # fmt: skip


def test_changed_lines_ask_for_the_figures_that_use_them_and_are_named(copied):
    """All changes at once: the key of each figure says which of them it uses."""
    root, before = copied
    labels = {plant(root, reference, method): expected for reference, method, expected in COUNTING.values()}
    after = keys_in(root)
    for name, used in before.items():
        expected = {label for label, figures in labels.items() if name in figures}
        assert {key for key in used if used[key] != after[name][key]} == expected


@pytest.mark.parametrize("what", first_fast(COUNTING, 2))
def test_a_changed_line_asks_for_the_figures_that_use_it(what, copied):
    (root, before), (reference, method, expected) = copied, COUNTING[what]
    label = plant(root, reference, method)
    after = keys_in(root)
    assert changed(before, after) == expected
    for name in expected:  # and the key says which definition it was
        assert {key for key in before[name] if before[name][key] != after[name][key]} == {label}


def rewrite_docstrings(root):
    """New words in every docstring, and a comment at both ends of every file."""
    for path in files(root):
        lines = path.read_text().split("\n")
        for node in ast.walk(ast.parse("\n".join(lines))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                text = node.body[0] if node.body else None
                if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and ast.get_docstring(node):
                    line = lines[text.lineno - 1]
                    lines[text.lineno - 1] = line.replace('"""', '"""Planted words. ', 1)
        path.write_text("\n".join(["# planted", *lines, "# planted", ""]))


def rewrite_drawings(root):
    """Another claim, another drawing and other short numbers of every figure; other colours."""
    for figure in FIGURES.values():
        path = path_of(root, figure.module)
        path.write_text(path.read_text().replace("CLAIM = (", 'CLAIM = (\n    "Planted. "', 1))
        plant(root, f"{figure.module}:draw")
    for path in (root / "paper_figs" / "style.py", root / "paper_figs" / "page.py"):
        path.write_text(path.read_text().replace("#0072B2", "#123456").replace("<h1>", "<h1>Planted: "))
    plant(root, "paper_figs.laws:title")


def add_new_ones(root):
    """A protocol, a policy, a law, a problem and a figure, offered by their doors and used by nothing else."""
    for module, code in {
        "simulations.protocols.waiting": "def planted() -> Protocol:\n    return k_sync(2)\n",
        "simulations.policies.plain": "def planted(progress):\n    return 1\n",
        "abs_theory.delays.heavy": "class Planted(LogNormal):\n    def mean_of_it(self):\n        return 1.0\n",
        "simulations.problems.quadratic": "class Planted(NoisyQuadratic):\n    weight = 1.0\n",
    }.items():
        path, name = path_of(root, module), "Planted" if "class" in code else "planted"
        path.write_text(f"{path.read_text()}\n\n{code}")
        door = path.with_name("__init__.pyi")
        door = door if door.exists() else path.with_name("__init__.py")
        relative = f".{path.stem}" if door.suffix == ".pyi" else module
        text = door.read_text().replace("__all__ = [", f'from {relative} import {name}\n\n__all__ = [\n    "{name}",')
        door.write_text(text)
    names = root / "paper_figs" / "figures" / "__init__.py"
    names.write_text(names.read_text().replace("NAMES = (", 'NAMES = (\n    "planted",'))


EDITS = [rewrite_docstrings, rewrite_drawings, add_new_ones]


@pytest.mark.parametrize("edits", first_fast([EDITS, *([edit] for edit in EDITS)], 1))
def test_words_drawings_and_new_things_ask_for_nothing(edits, copied):
    root, before = copied
    for edit in edits:
        edit(root)
    assert any(path.read_bytes() != (ROOT / path.relative_to(root)).read_bytes() for path in files(root))
    assert changed(before, keys_in(root)) == set()


# ---------------------------------------------------------------------- how source is read
def toolkit_of(tmp_path, sources):
    """A toolkit of a few files, of abs_theory."""
    for name, text in {"__init__.py": "", **sources}.items():
        path = tmp_path / "abs_theory" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Toolkit(tmp_path)


LAZY = "import lazy_loader\n\n__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)"
OTHER_FILES = {
    "b.py": "x = 1\nz = 2\n\ndef y():\n    return z",
    "effect.py": "print()",
    "room/__init__.py": "from abs_theory.room.inner import x\n\n__all__ = ['x']",
    "room/inner.py": "x = 1",
    "lazy/__init__.py": LAZY,
    "lazy/__init__.pyi": "from .inner import x\n\n__all__ = ['x']",
    "lazy/inner.py": "x = 1",
}


@pytest.mark.parametrize(
    "code, used",
    [
        ("from abs_theory import b\n\ndef f():\n    return b.x", {"b.x"}),
        ("from abs_theory import b\n\ndef f():\n    return getattr(b, 'x')", {"b.x", "b.y", "b.z"}),
        ("from abs_theory.b import x as y\n\ndef f():\n    return y", {"b.x"}),
        ("import abs_theory.b\n\ndef f():\n    return abs_theory.b.x", {"b.x"}),
        ("import abs_theory.b as c\n\ndef f():\n    return c.y", {"b.y", "b.z"}),
        ("def f():\n    from abs_theory.b import x\n    return x", {"b.x"}),
        ("from abs_theory.b import x\n\ndef f(x):\n    return x", set()),
        ("from abs_theory.b import x\n\ndef f(a=x):\n    return a", {"b.x"}),
        ("from abs_theory.b import x\n\ndef f(a: x) -> x:\n    return a", set()),
        ("from abs_theory.b import x\n\ndef f():\n    return [x for x in (1, 2)]", set()),
        ("from abs_theory.b import x\n\ndef f():\n    return [x for x in (1, 2)], x", {"b.x"}),
        ("from abs_theory.b import x\n\ndef f():\n    g = lambda: x\n    return g", {"b.x"}),
        ("from abs_theory.room import x\n\ndef f():\n    return x", {"room.inner.x"}),
        ("from abs_theory.lazy import x\n\ndef f():\n    return x", {"lazy.inner.x"}),
        (
            "from abs_theory import lazy\n\ndef f():\n    return vars(lazy)",
            {"lazy.inner.x", "lazy.__getattr__", "lazy.__dir__", "lazy.__all__"},
        ),
        (
            "from abs_theory import b\n\nclass C:\n    def m(self):\n        return b.x\n\ndef f():\n    return C",
            {"a.C", "b.x"},
        ),
        ("from abs_theory import b\n\ng, f = b.x, b.y", {"b.y", "b.z"}),
        ("h = 1\n\ndef f():\n    return globals()", {"a.h"}),
        ("from abs_theory import effect\n\ndef f():\n    return 1", {"effect"}),
    ],
)  # fmt: skip
def test_names_are_followed(code, used, tmp_path):
    toolkit = toolkit_of(tmp_path, OTHER_FILES | {"a.py": code})
    used_names = {name.removeprefix("abs_theory.") for name in toolkit.used_by("abs_theory.a:f")}
    assert used_names - {"a.f", "a"} == used


def test_a_file_of_numbers_that_is_named_counts(tmp_path):
    toolkit = toolkit_of(tmp_path, {"a.py": "def f():\n    return open('fitted.json')\n\ndef g():\n    return 1"})
    (tmp_path / "abs_theory" / "fitted.json").write_text("1")
    with_data = toolkit.used_by("abs_theory.a:f")
    assert "abs_theory/fitted.json" in with_data
    (tmp_path / "abs_theory" / "fitted.json").write_text("2")
    assert Toolkit(tmp_path).used_by("abs_theory.a:f") != with_data
    assert list(Toolkit(tmp_path).used_by("abs_theory.a:g")) == ["abs_theory.a.g"]


@pytest.mark.parametrize(
    "one, other, same",
    [
        ("def f():\n    return 1", "def f():\n    '''Words.'''\n    return 1  # and more", True),
        ("def f(x):\n    return x", "def f(x: int) -> int:\n    return x", True),
        ("x = 1", "x: int = 1", True),
        ("class C:\n    x: int = 1", "class C:\n    x: float = 1", True),
        ("class C:\n    x: int = 1", "class C:\n    x: ClassVar[int] = 1", False),
        ("import numpy as np\nx = np.pi", "import cupy as np\nx = np.pi", False),
        ("x = 1\nx += 1", "x = 1\nx += 2", False),
        ("x = {}\nx['a'] = 1", "x = {}\nx['a'] = 2", False),
        ("def f():\n    return 1", "@cache\ndef f():\n    return 1", False),
    ],
)  # fmt: skip
def test_the_digest_is_that_of_the_code(one, other, same, tmp_path):
    keys = []
    for text in (one, other):
        toolkit = toolkit_of(tmp_path, {"a.py": text})
        keys.append(toolkit.used_by("abs_theory.a:x", "abs_theory.a:f", "abs_theory.a:C"))
    assert (keys[0] == keys[1]) == same


def test_the_stored_index_is_the_one_that_is_read_and_a_damaged_one_does_no_harm(tmp_path):
    toolkit_of(tmp_path, OTHER_FILES)
    stored = tmp_path / "definitions.json"
    read = Toolkit(tmp_path, stored).modules
    assert Toolkit(tmp_path, stored).modules == read
    text = stored.read_text()
    for damaged in ("", "[]", "{}", text[:500], text.replace('"format":', '"format":1')):
        stored.write_text(damaged)
        assert Toolkit(tmp_path, stored).modules == read


# ---------------------------------------------------------------------- nothing is missed
def test_the_key_of_a_figure_holds_all_its_definitions_and_the_versions_beneath():
    used, key = TOOLKIT.used_by(FIGURES["timeline"].compute), sources_of(TOOLKIT, "timeline")
    assert used.items() <= key.items()
    assert {"numpy", "scipy"} <= key.keys() - used.keys()


def functions_run(compute, config):
    """The functions, and the classes of the methods, that run while a figure is computed, as "module.name"."""
    roots = {str(ROOT / package) + os.sep for package in PACKAGES}
    seen = set()

    def note(frame, event, argument):
        if event == "call" and frame.f_code.co_flags & inspect.CO_OPTIMIZED:  # not what runs as a module is loaded
            seen.add(frame.f_code)

    with joblib.parallel_config("sequential"):
        before = sys.getprofile()
        sys.setprofile(note)
        try:
            compute(**config)
        finally:
            sys.setprofile(before)
    ours = {
        (code.co_filename, code.co_qualname.split(".")[0]) for code in seen if code.co_filename.startswith(tuple(roots))
    }
    names = {f"{'.'.join(Path(path).relative_to(ROOT).with_suffix('').parts)}.{name}" for path, name in ours}
    return {name for name in names if "<" not in name}


QUICK_ONES = {"timeline": {}, "budget": {"noise": [0.1], "index": [3.0]}}  # what is less than in the quick size
TRACED = [name if name in QUICK_ONES else pytest.param(name, marks=pytest.mark.slow) for name in FIGURES
          if name not in STUDY - {"loss-time"}]  # fmt: skip


@pytest.mark.parametrize("name", TRACED)
def test_what_runs_is_in_the_key(name):
    figure = FIGURES[name]
    run = functions_run(figure.load().compute, figure.config("quick") | QUICK_ONES.get(name, {}))
    assert len(run) > 10
    assert run <= set(TOOLKIT.used_by(figure.compute))


@pytest.mark.slow
def test_the_command_says_what_has_changed(copied):
    root, _ = copied

    def command(*arguments):
        result = subprocess.run(
            [sys.executable, "-m", "paper_figs", "timeline", *arguments, "--out", str(root / "out")],
            cwd=root, env=os.environ | {"PYTHONPATH": str(root)}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return result.stdout

    assert "computed in" in command()
    rewrite_docstrings(root)
    rewrite_drawings(root)
    assert " cached (took " in command("--list")
    label = plant(root, "simulations.server:drive")
    assert f"to be computed (source changed: {label}; took" in command("--list")
