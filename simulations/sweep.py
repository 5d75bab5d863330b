"""Many experiments as one value: a base, the lists to go through, and cells that change several keys at once."""

import itertools
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, Self

from simulations.experiment import Experiment, made_from
from simulations.tables import Table, merged, to_toml

__all__ = ["Cell", "Sweep", "label"]

MOST_CELLS = 100_000
_HEADS = ("name", "policy", "law", "weight", "data")


class Cell(NamedTuple):
    """One experiment of a sweep, and what sets it apart: values by dotted key."""

    changed: dict[str, Any]
    experiment: Experiment


@dataclass(frozen=True)
class Sweep:
    """The experiments ``base`` with every combination of one value from each list of ``over`` and one of ``cells``.

    ``base`` is a table as for ``Experiment``, or an Experiment.  Keys lead into it by dots: ``{"protocol.k": [1, 5],
    "delay": ["exponential:mean=1", "uniform:low=0,high=2"]}`` are four experiments.  Each of ``cells`` sets several
    keys together, such as a protocol and the step size tuned for it.  A table that names something (``name``,
    ``policy``, ``law``) takes the place of what was there; any other is merged into it.  Raises ValueError, with the
    key, if an experiment could not be read.
    """

    base: Any
    over: Mapping[str, Any] = field(default_factory=Table)
    cells: Sequence[Mapping[str, Any]] = ()

    def __post_init__(self) -> None:
        base = self.base.as_table() if isinstance(self.base, Experiment) else Table(self.base)
        over = _flat(Table(self.over), "sweep")
        for key, values in over.items():
            if not isinstance(values, tuple) or not values:
                raise ValueError(f"sweep.{key} must be a list of values to go through, got {values!r}")
        if not isinstance(self.cells, list | tuple) or not all(isinstance(cell, Mapping) for cell in self.cells):
            raise ValueError(f"cell must be a list of tables, each of values to set, got {self.cells!r}")
        cells = tuple(Table(_flat(Table(cell), f"cell[{j}]")) for j, cell in enumerate(self.cells))
        if twice := [key for cell in cells for key in cell if key in over]:
            raise ValueError(f"{twice[0]} is set in a cell and swept over: choose one")
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
        """The sweep that a TOML file describes; ValueError with the file and the key if it does not."""
        return made_from(path, cls.of)

    def to_toml(self) -> str:
        """TOML that ``from_toml`` reads back as the same experiments; of a single one, with all defaults."""
        if not self.over and not self.cells:
            return self.experiments[0].experiment.to_toml()
        return to_toml({**self.base, "sweep": self.over or None, "cell": self.cells or None})

    @cached_property
    def experiments(self) -> tuple[Cell, ...]:
        """All cells, the first list of ``over`` changing slowest and ``cells`` fastest."""
        return tuple(self._read())

    def _read(self) -> Iterator[Cell]:
        keys = list(dict.fromkeys([*self.over, *itertools.chain.from_iterable(self.cells)]))
        for combination in itertools.product(*self.over.values(), self.cells or (Table(),)):
            *values, cell = combination
            table, changes = self.base, {**dict(zip(self.over, values, strict=True)), **cell}
            try:
                for key, value in changes.items():
                    table = merged(table, key, value)
                experiment = Experiment.of(table)
            except ValueError as problem:
                where = f" (with {', '.join(f'{key} = {label(value)}' for key, value in changes.items())})"
                raise ValueError(f"{problem}{where if changes else ''}") from None
            yield Cell({key: _at(table, key) for key in keys}, experiment)


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


def _flat(table: Mapping[str, Any], where: str, prefix: str = "") -> dict[str, Any]:
    """``{"protocol": {"k": 5}}`` -> ``{"protocol.k": 5}``; tables that name something stay whole."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        inner = isinstance(value, Mapping) and not any(head in value for head in _HEADS)
        for path, leaf in (_flat(value, where, f"{prefix}{key}.") if inner else {f"{prefix}{key}": value}).items():
            if path in flat:
                raise ValueError(f"{where}.{path} is given twice")
            flat[path] = leaf
    return flat
