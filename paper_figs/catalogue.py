"""What there is to draw: names, titles, claims and sizes of all figures, read from their source.

A figure's file is imported only when it is computed or drawn, so listing the figures takes no time.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from paper_figs.figures import NAMES

if TYPE_CHECKING:  # loading these takes longer than a list of figures should
    import pandas as pd
    from matplotlib import figure

__all__ = ["FIGURES", "ROOT", "SIZES", "Config", "Entry", "FigureFile"]

ROOT = Path(__file__).parents[1]  # the folder of the packages
SIZES = ("quick", "default", "full")
Config = dict[str, object]


class FigureFile(Protocol):
    """What the file of a figure defines; some also define ``summarise`` and ``numbers``."""

    CLAIM: str  #: what the figure shows
    QUICK: Config  #: for a look
    DEFAULT: Config  #: what the claim is about
    FULL: Config  #: for print

    def compute(self, **config: object) -> pd.DataFrame:
        """The table behind the figure; it is cached."""
        ...

    def draw(self, table: pd.DataFrame) -> figure.Figure:
        """The picture of this table."""
        ...


@dataclass(frozen=True)
class Entry:
    """One figure: what its source says of it, and its file once that is needed.

    >>> FIGURES["timeline"].config("quick")["n"]
    5
    """

    name: str  #: as the command and the page call it

    @property
    def module(self) -> str:
        """The dotted name of its file."""
        return f"paper_figs.figures.{self.name.replace('-', '_')}"

    @property
    def title(self) -> str:
        """The first line of its docstring."""
        return (ast.get_docstring(_tree(self.module)) or "").splitlines()[0].rstrip(".")

    @property
    def claim(self) -> str:
        """What it shows, in a sentence or two; a test holds it."""
        return str(_constant(self.module, "CLAIM"))

    def config(self, size: str) -> Config:
        """What ``compute`` is given for a figure of this size."""
        return cast(Config, _constant(self.module, size.upper()))

    @property
    def compute(self) -> str:
        """Where its ``compute`` stands, as "module:name"; figures that share a computation name the same."""
        shared = dict(_assignments(_tree(self.module))).get("compute")
        if not isinstance(shared, ast.Attribute):
            return f"{self.module}:compute"
        return f"{dict(_modules(_tree(self.module)))[ast.unparse(shared.value)]}:{shared.attr}"

    def defines(self, name: str) -> bool:
        """Whether its file has a function or a constant of this name."""
        functions = {part.name for part in _tree(self.module).body if isinstance(part, ast.FunctionDef)}
        return name in functions or name in dict(_assignments(_tree(self.module)))

    def load(self) -> FigureFile:
        """Import its file."""
        return cast(FigureFile, importlib.import_module(self.module))


FIGURES = {name.replace("_", "-"): Entry(name.replace("_", "-")) for name in NAMES}


# ---------------------------------------------------------------------- constants of a file
@cache
def _tree(module: str) -> ast.Module:
    return ast.parse((ROOT / Path(*module.split("."))).with_suffix(".py").read_bytes())


def _constant(module: str, name: str) -> object:
    """The value of a constant of a file, made from its source and that of the constants it is made of."""
    expression = next((value for target, value in _assignments(_tree(module)) if target == name), None)
    if expression is None:
        raise ValueError(f"{module} must define {name} at its top level")
    code = compile(ast.fix_missing_locations(ast.Expression(expression)), f"{module}.{name}", "eval")
    known = {target for target, _ in _assignments(_tree(module))}
    used = {node.id for node in ast.walk(expression) if isinstance(node, ast.Name)}
    values = {other: _constant(module, other) for other in used & known}
    modules = {other: _Constants(path) for other, path in _modules(_tree(module)) if other in used}
    return eval(code, values | modules)


@dataclass(frozen=True)
class _Constants:
    """Stands for a module of this package; only its constants are needed."""

    path: str

    def __getattr__(self, name: str) -> object:
        return _constant(self.path, name)


def _assignments(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """The constants of a file with the expressions of their values; ``a, b = x, y`` are two."""
    for statement in tree.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
            yield statement.target.id, statement.value
        elif isinstance(statement, ast.Assign):
            for target in statement.targets:
                pairs = [(target, statement.value)]
                if isinstance(target, ast.Tuple) and isinstance(statement.value, ast.Tuple):
                    pairs = list(zip(target.elts, statement.value.elts, strict=True))
                yield from ((part.id, value) for part, value in pairs if isinstance(part, ast.Name))


def _modules(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """The modules of this package that a file imports, as ``from paper_figs import name``."""
    for statement in tree.body:
        if isinstance(statement, ast.ImportFrom) and statement.module == "paper_figs":
            yield from ((alias.asname or alias.name, f"paper_figs.{alias.name}") for alias in statement.names)
