"""The definitions of the toolkit, and which of them a function uses: what the key of a cached result is made of.

Nothing is imported: the source is read.  A definition is a function, a class or a constant at the top level of a
module.  Its digest covers its code without docstrings, comments and annotations.  ``Toolkit.used_by`` follows names
and attributes of modules, through doors and lazy doors (their ``.pyi`` files).  Where the source does not say which
name of a module is meant, as in ``getattr(module, name)``, the whole module counts as used.
"""

import ast
import builtins
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple

from abs_theory.files import read_sealed, write_sealed

__all__ = ["PACKAGES", "Definition", "Module", "Toolkit"]

PACKAGES = ("abs_theory", "simulations", "paper_figs")
BODY = ""  # the name of the statements of a module that define nothing, but may have an effect
FORMAT = 2  # of the stored index; another number makes all source be read again
NAMED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.ExceptHandler, ast.MatchAs, ast.MatchStar)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
KEPT_OF_ANNOTATIONS = {"ClassVar", "InitVar", "KW_ONLY"}  # these change what a dataclass is
BUILT_IN = {"__file__", *dir(builtins)} - {"globals", "eval", "exec"}  # those may use any name of the module
SOURCE = (".py", ".pyi", ".pyc", ".typed")


class Definition(NamedTuple):
    """What one definition says, and what it refers to."""

    digest: str  #: of its code, and of what it takes from other libraries
    names: list[str]  #: used by it: "name" of the same module, or "module:name.attribute" of another
    words: list[str]  #: strings in it that may name a data file


class Module(NamedTuple):
    """One file: its definitions by name, and what it imports at its top level."""

    digest: str  #: of the whole file
    door: bool  #: whether it is the ``__init__.py`` of a folder
    imports: dict[str, str]  #: the local name, and the "module:name" it stands for
    definitions: dict[str, Definition]  #: by their names


class Toolkit:
    """The source of the packages in the folder ``root``; ``kept`` is a file that saves reading it all each time."""

    def __init__(self, root: Path, kept: Path | None = None) -> None:
        self.root, self.kept = root, kept

    @cached_property
    def modules(self) -> Mapping[str, Module]:
        """All modules by their dotted names; the stub of a lazy door counts as part of the door."""
        known = _read_index(self.kept)
        modules = {}
        for package in PACKAGES:
            for path in sorted((self.root / package).rglob("*.py")):
                stub = path.with_suffix(".pyi")
                source, listed = path.read_bytes(), stub.read_bytes() if stub.exists() else b""
                digest, parts = _hash(source + b"\0" + listed), path.relative_to(self.root).with_suffix("").parts
                door = parts[-1] == "__init__"
                name = ".".join(parts[:-1] if door else parts)
                old = known.get(name)
                modules[name] = old if old and old.digest == digest else _module(name, door, source, listed, digest)
                if "." in name:  # a folder may do without an ``__init__.py``
                    modules.setdefault(name.rpartition(".")[0], Module("", True, {}, {}))
        if self.kept is not None and modules != known:
            _write_index(self.kept, modules)
        return modules

    def used_by(self, *names: str) -> dict[str, str]:
        """The digest of each definition and data file that these ("module:name") need, directly or not.

        >>> from paper_figs.catalogue import FIGURES, ROOT
        >>> used = Toolkit(ROOT).used_by(FIGURES["timeline"].compute)
        >>> "simulations.protocols.waiting.abs_sgd" in used, "paper_figs.figures.timeline.draw" in used
        (True, False)
        """
        digests: dict[str, str] = {}
        entered: set[str] = set()
        waiting = [found for name in names for found in self._resolve(name)]
        while waiting:
            module, name = waiting.pop()
            if module not in entered:  # what runs when a module is imported counts, whatever is used of it
                entered.add(module)
                waiting += [(module, BODY), *((other, BODY) for other in self._imported_with(module))]
            label = f"{module}.{name}" if name else module
            definition = self.modules[module].definitions.get(name)
            if definition is None or label in digests:
                continue
            digests[label] = definition.digest
            for used in definition.names:
                waiting += self._resolve(used if ":" in used else f"{module}:{used}")
            for word in definition.words:
                files = self._data_files.get(Path(word).name, ())
                digests |= {path.relative_to(self.root).as_posix(): _hash(path.read_bytes()) for path in files}
        return dict(sorted(digests.items()))

    @cached_property
    def _data_files(self) -> Mapping[str, list[Path]]:
        """Files of the packages that are no source, by name."""
        files: dict[str, list[Path]] = {}
        for package in PACKAGES:
            for path in sorted((self.root / package).rglob("*.*")):
                if path.suffix not in SOURCE and path.is_file():
                    files.setdefault(path.name, []).append(path)
        return files

    def _imported_with(self, module: str) -> Iterator[str]:
        """The modules that are loaded because ``module`` is: the folders it stands in, and what it imports."""
        parts = module.split(".")
        yield from (".".join(parts[:end]) for end in range(1, len(parts)))
        for target in self.modules[module].imports.values():
            outer, _, name = target.partition(":")
            yield from (other for other in (outer, f"{outer}.{name}") if other in self.modules)

    def _resolve(self, reference: str, seen: frozenset[str] = frozenset()) -> list[tuple[str, str]]:
        """The definitions that "module:name.attribute" stands for: several if only the module is known."""
        module, _, names = reference.partition(":")
        attributes = names.split(".") if names else []
        if module not in self.modules:  # of another library
            return []
        while attributes:
            here, name = self.modules[module], attributes[0]
            if name in here.definitions:
                return [(module, name)]
            target = here.imports.get(name, "")
            if target and target != f"{module}:{name}" and reference not in seen:
                inner = ".".join(attributes[1:])
                joined = target + ("." if inner and not target.endswith(":") else "") + inner
                return self._resolve(joined, seen | {reference})
            if f"{module}.{name}" not in self.modules:  # a name that is made on the way
                break
            module, attributes = f"{module}.{name}", attributes[1:]
        here = self.modules[module]
        definitions = [(module, name) for name in (*here.definitions, BODY)]
        if here.door and module not in seen:  # the whole of a door is what it hands on as well
            for target in here.imports.values():
                definitions += self._resolve(target, seen | {module})
        return definitions


# ---------------------------------------------------------------------- reading a file
@cache
def _module(name: str, door: bool, source: bytes, stub: bytes, digest: str) -> Module:
    """What a file defines and imports."""
    package = name if door else name.rpartition(".")[0]
    body, imports = ast.parse(source).body, dict[str, str]()
    statements: dict[str, list[ast.AST]] = {}
    for statement in (*body, *ast.parse(stub).body):
        for part in ast.walk(statement) if isinstance(statement, ast.Try | ast.If) else [statement]:
            imports |= _imports(part, package)
    for statement in body:
        if not _has_no_effect(statement):
            for names, code in _definitions(statement):
                for defined in names:
                    statements.setdefault(defined, []).append(code)
    unnamed = BUILT_IN - statements.keys()
    definitions = {key: _definition(code, imports, package, unnamed) for key, code in statements.items()}
    return Module(digest, door, imports, definitions)


def _has_no_effect(statement: ast.stmt) -> bool:
    """Docstrings, imports, lists of public names, and what runs only for the type checker or as a program."""
    if isinstance(statement, ast.If):
        return ast.unparse(statement.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING", "__name__ == '__main__'")
    is_text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    is_list = isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__all__"
    bare = isinstance(statement, ast.AnnAssign) and statement.value is None
    return is_text or is_list or bare or isinstance(statement, ast.Import | ast.ImportFrom)


def _definitions(statement: ast.stmt) -> Iterator[tuple[list[str], ast.AST]]:
    """The names that a statement of a module defines, each with its code; ``a, b = x, y`` defines two things."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        registered = any(".register" in ast.unparse(decorator) for decorator in statement.decorator_list)
        yield [statement.name, BODY] if registered else [statement.name], statement
    elif isinstance(statement, ast.Assign):
        for target in statement.targets:
            parts = target.elts if isinstance(target, ast.Tuple) else [target]
            values = statement.value.elts if isinstance(statement.value, ast.Tuple) else [statement.value]
            if len(parts) != len(values):  # one value taken apart
                values = [statement.value] * len(parts)
            for part, value in zip(parts, values, strict=True):
                yield ([part.id], value) if isinstance(part, ast.Name) else ([BODY], statement)
    elif isinstance(statement, ast.AnnAssign | ast.AugAssign) and isinstance(statement.target, ast.Name):
        yield [statement.target.id], statement.value or statement
    else:
        stored = [x.id for x in ast.walk(statement) if isinstance(x, ast.Name) and isinstance(x.ctx, ast.Store)]
        yield [*stored, BODY], statement


def _imports(statement: ast.AST, package: str) -> dict[str, str]:
    """The names that an import statement binds, and the "module:name" they stand for."""
    if isinstance(statement, ast.Import):
        return {
            alias.asname or alias.name.split(".")[0]: f"{alias.name if alias.asname else alias.name.split('.')[0]}:"
            for alias in statement.names
        }
    if isinstance(statement, ast.ImportFrom):
        levels = package.split(".")[: len(package.split(".")) + 1 - statement.level] if statement.level else []
        base = ".".join([*levels, *([statement.module] if statement.module else [])])
        return {alias.asname or alias.name: f"{base}:{alias.name}" for alias in statement.names}
    return {}


def _definition(code: list[ast.AST], imports: Mapping[str, str], package: str, unnamed: set[str]) -> Definition:
    """The digest of some statements, and what they refer to, but for ``unnamed``."""
    reader = _References(imports, package)
    for statement in code:
        reader.visit(statement)
    text = "\n".join(ast.dump(_Bare().visit(statement)) for statement in code)
    beneath = sorted(
        name for name in reader.names if ":" in name and name.partition(":")[0].split(".")[0] not in PACKAGES
    )
    ours = [name for name in reader.names if name not in beneath and name not in unnamed]
    return Definition(_hash("\n".join([text, *beneath]).encode()), ours, sorted(reader.words))


class _References(ast.NodeVisitor):
    """Collects the names a definition takes from its module and from others, and leaves out its own variables."""

    def __init__(self, imports: Mapping[str, str], package: str) -> None:
        self.imports, self.package = dict(imports), package
        self.own: frozenset[str] = frozenset()
        self.names: dict[str, None] = {}  # a set that keeps its order
        self.words: set[str] = set()

    def within(self, own: Iterable[str], nodes: Iterable[ast.AST | None]) -> None:
        """Visit ``nodes`` where these names are local variables."""
        before, self.own = self.own, self.own.union(own)
        for node in nodes:
            if node is not None:
                self.visit(node)
        self.own = before

    def visit_Name(self, node: ast.Name) -> None:
        self._refer(node.id, [])

    def visit_Attribute(self, node: ast.Attribute) -> None:
        attributes, inner = [node.attr], node.value
        while isinstance(inner, ast.Attribute):
            attributes.append(inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name):
            self._refer(inner.id, attributes[::-1])
        else:
            self.visit(inner)

    def _refer(self, name: str, attributes: list[str]) -> None:
        if name not in self.own:
            imported = self.imports.get(name)
            inner = ".".join(attributes)
            if imported is None:
                self.names[name] = None
            else:
                self.names[imported + ("." if inner and not imported.endswith(":") else "") + inner] = None

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str) and "." in node.value and len(node.value) < 200 and "\n" not in node.value:
            self.words.add(node.value)

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        self.imports |= _imports(node, self.package)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self.visit_Import(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._visit_function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._visit_function(node)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._visit_function(node)

    def _visit_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> None:
        arguments = node.args
        outside = [] if isinstance(node, ast.Lambda) else node.decorator_list
        self.within((), [*outside, *arguments.defaults, *arguments.kw_defaults])
        parts = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
        names = {part.arg for part in parts if part is not None}
        body = [node.body] if isinstance(node, ast.Lambda) else node.body
        before = self.imports
        self.imports = {name: target for name, target in before.items() if name not in names}
        self.within((names | _stored(body)) - _imported_names(body), body)
        self.imports = before

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        body = [part.value if isinstance(part, ast.Assign) else part for part in node.body]
        self.within((), [*node.decorator_list, *node.bases, *(keyword.value for keyword in node.keywords), *body])

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.within((), [node.value])

    def generic_visit(self, node: ast.AST) -> None:
        if isinstance(node, COMPREHENSIONS):
            self._visit_comprehension(node)
        else:
            super().generic_visit(node)

    def _visit_comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> None:
        before = self.own
        for generator in node.generators:
            self.visit(generator.iter)
            self.own = self.own | _stored([generator.target])
            self.within((), generator.ifs)
        self.within((), [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt])
        self.own = before


def _scope(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """All nodes of one scope: nothing inside functions, classes and comprehensions within it."""
    for node in nodes:
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            if isinstance(node, COMPREHENSIONS):
                yield from (x for x in ast.walk(node) if isinstance(x, ast.NamedExpr))
            else:
                yield from _scope(ast.iter_child_nodes(node))


def _stored(nodes: Iterable[ast.AST]) -> set[str]:
    """The names that become variables in a scope."""
    names, shared = set[str](), set[str]()
    for node in _scope(nodes):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
            names.add(node.id)
        elif isinstance(node, ast.NamedExpr):
            names.add(node.target.id)
        elif isinstance(node, NAMED) and node.name:
            names.add(node.name)
        elif isinstance(node, ast.MatchMapping) and node.rest:
            names.add(node.rest)
        elif isinstance(node, ast.Global):
            shared.update(node.names)
    return names - shared


def _imported_names(nodes: Iterable[ast.AST]) -> set[str]:
    """The names that import statements bind in a scope."""
    return {name for node in _scope(nodes) for name in _imports(node, "")}


class _Bare(ast.NodeTransformer):
    """Removes docstrings and annotations.  It changes the tree, so references are collected before."""

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = node.type_comment = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        return None if isinstance(node.value, ast.Constant) else self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        words = {x.id for x in ast.walk(node.annotation) if isinstance(x, ast.Name)}
        words |= {x.attr for x in ast.walk(node.annotation) if isinstance(x, ast.Attribute)}
        node.annotation = ast.Constant(" ".join(sorted(words & KEPT_OF_ANNOTATIONS)))
        return self.generic_visit(node)


# ---------------------------------------------------------------------- the stored index
def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _read_index(path: Path | None) -> dict[str, Module]:
    """What was stored; nothing if it is missing, damaged, or of another format."""
    try:
        stored = json.loads(read_sealed(path, "definitions")) if path is not None else {}
        if stored.get("format") != FORMAT:
            return {}
        return {
            name: Module(digest, door, imports, {key: Definition(*parts) for key, parts in definitions.items()})
            for name, (digest, door, imports, definitions) in stored["modules"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _write_index(path: Path, modules: Mapping[str, Module]) -> None:
    """Store the index where that is possible; it only saves time."""
    content = json.dumps({"format": FORMAT, "modules": modules}, separators=(",", ":"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_sealed(path, "definitions", content.encode())
    except OSError:
        return
