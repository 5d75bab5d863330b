"""Many experiments as one value: a base, the lists to go through, and cells that change several keys at once."""

import itertools
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from traceback import extract_tb
from typing import Any, NamedTuple, Self

from simulations.experiment import Experiment, Table, made_from, merged, to_toml

__all__ = ["Cell", "Sweep", "label", "told"]

MOST_CELLS = 100_000
MOST_NAMED = 10  # cells in which the same is wrong
_NAMED = ("protocol", "problem", "fleet")  # what a name alone may stand for
_HEADS = ("name", "policy", "law", "weight", "data")


class Cell(NamedTuple):
    """One experiment of a sweep, and what sets it apart: values by dotted key."""

    changed: dict[str, Any]  #: values that set it apart, by dotted key
    experiment: Experiment  #: what to run


@dataclass(frozen=True)
class Sweep:
    """The experiments ``base`` with every combination of one value from each list of ``over`` and one of ``cells``.

    ``base`` is a table as for ``Experiment``, or an Experiment.  Keys lead into it by dots: ``{"protocol.k": [1, 5],
    "delay": ["exponential:mean=1", "uniform:low=0,high=2"]}`` are four experiments.  Each of ``cells`` sets several
    keys together, such as a protocol and the step size tuned for it.  A table that names something (``name``,
    ``policy``, ``law``) takes the place of what was there, and then what leads into it is set, wherever it is given:
    two ``cells`` that name a ``protocol`` and a list for ``protocol.k`` are two protocols at each of these k.  Any
    other table is merged into what was there.  Raises ValueError, with the key and the cells, if an experiment could
    not be read, a value is given twice, or two cells are the same.
    """

    base: Any  #: table of an experiment, or an Experiment
    over: Mapping[str, Any] = field(default_factory=Table)  #: lists of values, by dotted key
    cells: Sequence[Mapping[str, Any]] = ()  #: tables of values that are set together

    def __post_init__(self) -> None:
        base = self.base.as_table() if isinstance(self.base, Experiment) else Table(self.base)
        over = _flat(Table(self.over), "sweep")
        for key, values in over.items():
            if not isinstance(values, tuple) or not values:
                raise ValueError(f"sweep.{key} must be a list of values to go through, got {values!r}")
        if not isinstance(self.cells, list | tuple) or not all(isinstance(cell, Mapping) for cell in self.cells):
            raise ValueError(f"cell must be a list of tables, each of values to set, got {self.cells!r}")
        cells = tuple(Table(_flat(Table(cell), f"cell[{j}]")) for j, cell in enumerate(self.cells))
        number = math.prod(map(len, over.values())) * max(len(cells), 1)
        if number > MOST_CELLS:
            raise ValueError(f"a sweep may have up to {MOST_CELLS} cells, got {number}")
        for name, value in (("base", base), ("over", Table(over)), ("cells", cells)):
            object.__setattr__(self, name, value)
        _ = self.experiments  # so that what cannot be read is found now

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> Self:
        """The sweep of a table for an Experiment with ``sweep`` (lists) and ``cell`` (tables) in it, or without."""
        base = {key: value for key, value in table.items() if key not in ("sweep", "cell", "versions")}
        over = table.get("sweep", {})
        if not isinstance(over, Mapping):
            raise ValueError(f"sweep must be a table of lists to go through, got {over!r}")
        return cls(Table(base), Table(over), table.get("cell", ()))

    @classmethod
    def from_toml(cls, path: str | os.PathLike) -> Self:
        """The sweep that a TOML file describes; ValueError with the file and the key if it does not.

        In a ``[[cell]]``, ``protocol.name = "k_sync"`` changes the name alone, ``protocol = { name = "k_sync" }`` all.
        """
        return made_from(path, cls.of)

    def to_toml(self) -> str:
        """TOML that ``from_toml`` reads back as the same experiments; of a single one, with all defaults."""
        if not self.over and not self.cells:
            return self.experiments[0].experiment.to_toml()
        return to_toml({**self.base, "sweep": self.over or None, "cell": self.cells or None})

    def check(self) -> str:
        """What is wrong with the cells whose runs would refuse to begin (``Experiment.check``), "" if nothing is.

        Raises ValueError if that is all of them.
        """
        return self._checked

    @cached_property
    def _checked(self) -> str:
        refused = Refused()
        for number, (changed, experiment) in enumerate(self.experiments):
            try:
                experiment.check()
            except Exception as problem:  # of a factory or policy of the user's own, perhaps
                refused.add(told(problem), number, changed)
        if refused.number == len(self.experiments):
            refused.tell()
        return str(refused)

    @cached_property
    def experiments(self) -> tuple[Cell, ...]:
        """All cells, the first list of ``over`` changing slowest and ``cells`` fastest."""
        return tuple(self._read())

    def _read(self) -> Iterator[Cell]:
        keys = list(dict.fromkeys([*self.over, *itertools.chain.from_iterable(self.cells)]))
        given = [[{f"sweep.{key}": (key, value)} for value in values] for key, values in self.over.items()] + [
            [{f"cell[{j}].{key}": (key, value) for key, value in cell.items()} for j, cell in enumerate(self.cells)]
        ]
        refused, seen = Refused(), dict[Experiment, int]()
        for number, combination in enumerate(itertools.product(*(each or [{}] for each in given))):
            changes = {where: change for each in combination for where, change in each.items()}
            table = self.base
            try:
                _check_once(changes)
                for key, value in sorted(changes.values(), key=_depth):
                    table = merged(_opened(table, key), key, value)
                experiment = Experiment.of(table)
                if (first := seen.setdefault(experiment, number)) != number:
                    same = "two cells are the same experiment: leave one out"
                    refused.add(same, f"{number}, as cell {first}", dict(changes.values()))
            except ValueError as problem:
                refused.add(str(problem), number, dict(changes.values()))
                continue
            yield Cell({key: _at(table, key) for key in keys}, experiment)
        refused.tell()


class Refused:
    """What is wrong with which cells, each message once."""

    def __init__(self) -> None:
        self._cells: dict[str, list[str]] = {}

    def add(self, message: str, number: int | str, changed: Mapping[str, Any]) -> None:
        words = ", ".join(f"{key} = {label(value)}" for key, value in changed.items() if value is not None)
        self._cells.setdefault(message, []).append(f"cell {number}: {words}" if words else "")

    @property
    def number(self) -> int:
        return sum(map(len, self._cells.values()))

    def __str__(self) -> str:
        said = []
        for message, cells in self._cells.items():
            more = [f"and {len(cells) - MOST_NAMED} more"] if len(cells) > MOST_NAMED else []
            where = "; ".join([*filter(None, cells[:MOST_NAMED]), *more])
            said.append(f"{message} ({where})" if where else message)
        return "; ".join(said)

    def tell(self) -> None:
        """Raise ValueError if there is something to tell."""
        if self._cells:
            raise ValueError(str(self))


def told(problem: Exception) -> str:
    """What went wrong, in one line; with the place in the source, unless whoever raised it has explained it."""
    said = " ".join(str(problem).split())
    if isinstance(problem, ValueError | RuntimeError) and said:
        return said
    last = extract_tb(problem.__traceback__)[-1]
    return f"{type(problem).__name__}: {said} ({last.filename}, line {last.lineno})"


def label(value: Any) -> Any:
    """``value`` for a column of a table: ``{name = "abs_sgd", k = 5}`` as abs_sgd(k=5), numbers as they are."""
    if isinstance(value, Mapping):
        head = next((head for head in _HEADS if head in value), None)
        rest = ", ".join(f"{key}={label(each)}" for key, each in value.items() if key != head)
        return f"{value[head] if head else ''}({rest})"
    return f"[{', '.join(str(label(each)) for each in value)}]" if isinstance(value, tuple) else value


def _at(table: Mapping[str, Any], key: str) -> Any:
    """What ``table`` has under the dotted ``key``; None if nothing."""
    here: Any = table
    for part in key.split("."):
        here = here.get(part) if isinstance(here, Mapping) else None
    return here


def _depth(change: tuple[str, Any]) -> int:
    return change[0].count(".")


def _opened(table: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """``{"protocol": "k_async"}``, "protocol.k" -> ``{"protocol": {"name": "k_async"}}``, where k can be set."""
    first, dot, _ = key.partition(".")
    name = table.get(first)
    return {**table, first: {"name": name}} if dot and first in _NAMED and isinstance(name, str) else table


def _check_once(changes: Mapping[str, tuple[str, Any]]) -> None:
    """Raise ValueError if one of ``changes``, by where they are given, sets what is within another."""
    for (where, (key, value)), (other, (inner, _)) in itertools.permutations(changes.items(), 2):
        within = inner == key or (inner.startswith(f"{key}.") and _at({"": value}, inner[len(key) :]) is not None)
        if within:
            raise ValueError(f"{inner} is set twice, by {where} and by {other}: choose one")


def _flat(table: Mapping[str, Any], where: str, prefix: str = "") -> dict[str, Any]:
    """``{"protocol": {"k": 5}}`` -> ``{"protocol.k": 5}``; tables that name something, with a text, stay whole."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        inner = isinstance(value, Mapping) and not any(isinstance(value.get(head), str) for head in _HEADS)
        for path, leaf in (_flat(value, where, f"{prefix}{key}.") if inner else {f"{prefix}{key}": value}).items():
            if path in flat:
                raise ValueError(f"{where}.{path} is given twice")
            flat[path] = leaf
    return flat
