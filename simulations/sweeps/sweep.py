"""Many experiments as one value: a base, lists of values to combine, and cells that change several keys together."""

import itertools
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from traceback import extract_tb
from typing import Any, NamedTuple, Self, cast

from abs_theory.checks import explains_types
from simulations.experiment import Experiment, TomlTable, made_from, merged, to_toml

__all__ = ["Cell", "Sweep", "error_line", "label"]

MOST_CELLS = 100_000  # a cell takes about 1 ms to read, so this many are read in two minutes
MOST_CELLS_NAMED = 10  # in one message about cells that all have the same mistake
_NAMED = ("protocol", "problem", "fleet")  # keys whose table may be written as its name alone
_NAME_KEYS = ("name", "policy", "law", "weight", "data")  # keys that name what a table stands for


class Cell(NamedTuple):
    """One experiment of a sweep, and the values in which it may differ from the others."""

    changed: dict[str, object]  #: these values, by dotted key
    experiment: Experiment  #: what to run


@explains_types
@dataclass(frozen=True)
class Sweep:
    """The experiment ``base``, changed to every combination of one value from each list of ``over`` and one cell.

    ``base`` is a table as for ``Experiment``, or an Experiment.  A dotted key leads into its tables:
    ``{"protocol.k": [1, 5], "delay": ["exponential:mean=1", "uniform:low=0,high=2"]}`` makes four experiments.  Each of
    ``cells`` sets several keys together, such as a protocol and the step size tuned for it.

    A table that names something (``name``, ``policy``, ``law``) replaces the table that was there.  Then the dotted
    keys that lead into it are set, wherever they are given: two ``cells`` that name a ``protocol`` and a list for
    ``protocol.k`` are two protocols at each of these k.  Any other table is merged into the one that was there.

    Raises ValueError, with the key and the cells, if an experiment cannot be read, a value is given twice, or two cells
    are the same experiment.

    >>> base = {"n": 4, "delay": "exponential:mean=1", "problem": "TimingOnly", "protocol": {"name": "k_sync", "k": 1},
    ...         "step_size": 1.0, "num_updates": 3, "seed": 0}
    >>> [cell.changed for cell in Sweep(base, {"protocol.k": [1, 4]}).experiments]
    [{'protocol.k': 1}, {'protocol.k': 4}]
    """

    base: Mapping[str, object] | Experiment  #: what all experiments have in common
    over: Mapping[str, object] = field(default_factory=TomlTable)  #: lists of values, by dotted key
    cells: Sequence[Mapping[str, object]] = ()  #: tables of values that are set together
    allow: Sequence[str] = field(default=(), compare=False, repr=False)  #: modules of the user, as in ``Experiment``

    def __post_init__(self) -> None:
        allow = self.allow
        if isinstance(self.base, Experiment):
            base, allow = self.base.as_table(), (*self.base.allow, *allow)
        else:
            base = TomlTable(self.base)
        over = _flat(TomlTable(self.over), "sweep")
        for key, values in over.items():
            if not isinstance(values, tuple) or not values:
                raise ValueError(f"sweep.{key} must be a list of values, got {values!r}")
        if not isinstance(self.cells, list | tuple) or not all(isinstance(cell, Mapping) for cell in self.cells):
            raise ValueError(f"cell must be a list of tables of values to set, got {self.cells!r}")
        cells = tuple(TomlTable(_flat(TomlTable(cell), f"cell[{j}]")) for j, cell in enumerate(self.cells))
        number = math.prod(len(cast(tuple, values)) for values in over.values()) * max(len(cells), 1)
        if number > MOST_CELLS:
            raise ValueError(f"a sweep can have up to {MOST_CELLS} cells, got {number}: shorten the lists")
        for name, value in (("base", base), ("over", TomlTable(over)), ("cells", cells), ("allow", allow)):
            object.__setattr__(self, name, value)
        _ = self.experiments  # find now what cannot be read

    @classmethod
    def of(cls, table: Mapping[str, object], allow: Sequence[str] = ()) -> Self:
        """The sweep of a table as for an Experiment that may also have ``sweep`` (lists) and ``cell`` (tables).

        ``allow`` lists the modules that the table may name in ``"module:factory"``.
        """
        base = {key: value for key, value in table.items() if key not in ("sweep", "cell", "versions")}
        over = table.get("sweep", {})
        if not isinstance(over, Mapping):
            raise ValueError(f"sweep must be a table of lists of values, got {over!r}")
        return cls(TomlTable(base), TomlTable(over), cast(Any, table.get("cell", ())), allow)

    @classmethod
    def from_toml(cls, path: str | os.PathLike, allow: Sequence[str] = ()) -> Self:
        """The sweep that a TOML file describes; ValueError, with the file and the key, if it describes none.

        In a ``[[cell]]``, ``protocol.name = "k_sync"`` changes only the name; ``protocol = { name = "k_sync" }``
        replaces the whole table.  Reading a file runs no code but that of the modules in ``allow``, if the file names
        them.
        """
        return made_from(path, lambda table: cls.of(table, allow))

    def to_toml(self) -> str:
        """TOML that ``from_toml`` reads back as the same experiments; a single one is written with all its defaults."""
        if not self.over and not self.cells:
            return self.experiments[0].experiment.to_toml()
        return to_toml({**cast(TomlTable, self.base), "sweep": self.over or None, "cell": self.cells or None})

    def check(self) -> str:
        """What is wrong with the cells whose runs would refuse to begin (``Experiment.check``); "" if nothing is.

        Raises ValueError if all cells would refuse.
        """
        return self._checked

    @cached_property
    def _checked(self) -> str:
        refused = Refused()
        for number, (changed, experiment) in enumerate(self.experiments):
            try:
                experiment.check()
            except (Exception, SystemExit) as problem:  # perhaps one of a factory or policy that the user has written
                refused.add(error_line(problem), number, changed)
        if refused.number == len(self.experiments):
            refused.raise_if_any()
        return str(refused)

    @cached_property
    def experiments(self) -> tuple[Cell, ...]:
        """All cells: the first list of ``over`` changes slowest, ``cells`` change fastest."""
        return tuple(self._read())

    def _read(self) -> Iterator[Cell]:
        keys = list(dict.fromkeys([*self.over, *itertools.chain.from_iterable(self.cells)]))
        lists = cast(Mapping[str, Sequence[object]], self.over)
        alternatives = [[{f"sweep.{key}": (key, value)} for value in values] for key, values in lists.items()] + [
            [{f"cell[{j}].{key}": (key, value) for key, value in cell.items()} for j, cell in enumerate(self.cells)]
        ]
        refused, seen = Refused(), dict[Experiment, int]()
        for number, combination in enumerate(itertools.product(*(choices or [{}] for choices in alternatives))):
            changes = {where: change for chosen in combination for where, change in chosen.items()}
            table: Mapping[str, object] = cast(TomlTable, self.base)
            try:
                _check_once(changes)
                for key, value in sorted(changes.values(), key=_depth):
                    table = merged(_opened(table, key), key, value)
                experiment = Experiment.of(table, self.allow)
                if (first := seen.setdefault(experiment, number)) != number:
                    same = "two cells are the same experiment: leave one out"
                    refused.add(same, f"{number}, as cell {first}", dict(changes.values()))
            except ValueError as problem:
                refused.add(str(problem), number, dict(changes.values()))
                continue
            yield Cell({key: _at(table, key) for key in keys}, experiment)
        refused.raise_if_any()


class Refused:
    """Mistakes and the cells that have them; each message occurs once."""

    def __init__(self) -> None:
        self._cells: dict[str, list[str]] = {}

    def add(self, message: str, number: int | str, changed: Mapping[str, object]) -> None:
        words = ", ".join(f"{key} = {label(value)}" for key, value in changed.items() if value is not None)
        self._cells.setdefault(message, []).append(f"cell {number}: {words}" if words else "")

    @property
    def number(self) -> int:
        return sum(map(len, self._cells.values()))

    def __str__(self) -> str:
        messages = []
        for message, cells in self._cells.items():
            more = [f"and {len(cells) - MOST_CELLS_NAMED} more"] if len(cells) > MOST_CELLS_NAMED else []
            where = "; ".join([*filter(None, cells[:MOST_CELLS_NAMED]), *more])
            messages.append(f"{message} ({where})" if where else message)
        return "; ".join(messages)

    def raise_if_any(self) -> None:
        """Raise ValueError with all messages, if there are any."""
        if self._cells:
            raise ValueError(str(self))


def error_line(problem: BaseException) -> str:
    """What went wrong, in one line; with the place in the source where the message alone may not explain it."""
    message = " ".join(str(problem).split())
    if isinstance(problem, ValueError | RuntimeError) and message:
        return message
    last = extract_tb(problem.__traceback__)[-1]
    return f"{type(problem).__name__}: {message} ({last.filename}, line {last.lineno})"


def label(value: object) -> object:
    """``value`` for a column of a table: a table that names something looks like a call, numbers stay as they are.

    >>> label({"name": "abs_sgd", "k": 5, "max_staleness": {"policy": "relative_to_mean"}})
    'abs_sgd(k=5, max_staleness=relative_to_mean())'
    """
    if isinstance(value, Mapping):
        name_key = next((key for key in _NAME_KEYS if key in value), None)
        arguments = ", ".join(f"{key}={label(argument)}" for key, argument in value.items() if key != name_key)
        return f"{value[name_key] if name_key else ''}({arguments})"
    return f"[{', '.join(str(label(entry)) for entry in value)}]" if isinstance(value, tuple) else value


def _at(table: Mapping[str, object], key: str) -> object:
    """The entry of ``table`` under the dotted ``key``; None if there is none."""
    here: object = table
    for part in key.split("."):
        here = here.get(part) if isinstance(here, Mapping) else None
    return here


def _depth(change: tuple[str, object]) -> int:
    return change[0].count(".")


def _opened(table: Mapping[str, object], key: str) -> Mapping[str, object]:
    """``table`` with the name alone that ``key`` leads into written as a table, so that ``key`` can be set in it.

    ``{"protocol": "k_async"}``, "protocol.k" -> ``{"protocol": {"name": "k_async"}}``.
    """
    first, dot, _ = key.partition(".")
    name = table.get(first)
    return {**table, first: {"name": name}} if dot and first in _NAMED and isinstance(name, str) else table


def _check_once(changes: Mapping[str, tuple[str, object]]) -> None:
    """Raise ValueError if one of ``changes``, by the place where it is given, sets something within another."""
    for (where, (key, value)), (other, (inner, _)) in itertools.permutations(changes.items(), 2):
        within = inner == key or (inner.startswith(f"{key}.") and _at({"": value}, inner[len(key) :]) is not None)
        if within:
            raise ValueError(f"{inner} is set twice, by {where} and by {other}: choose one")


def _flat(table: Mapping[str, object], where: str, prefix: str = "") -> dict[str, object]:
    """``{"protocol": {"k": 5}}`` -> ``{"protocol.k": 5}``; a table that names something, with a text, stays a table."""
    flat: dict[str, object] = {}
    for key, value in table.items():
        if isinstance(value, Mapping) and not any(isinstance(value.get(name), str) for name in _NAME_KEYS):
            entries = _flat(value, where, f"{prefix}{key}.")
        else:
            entries = {f"{prefix}{key}": value}
        for path, leaf in entries.items():
            if path in flat:
                raise ValueError(f"{where}.{path} is given twice")
            flat[path] = leaf
    return flat
