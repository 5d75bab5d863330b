"""Plain values as a TOML file holds them: tables that cannot change, and how they are read and written."""

import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from abs_theory.checks import explains_types

__all__ = ["TomlTable", "from_toml", "frozen", "merged", "to_toml"]

_WHOLE = "written as a whole"  # an entry that marks a table in braces or a section, as against dotted keys
_STRING_OR_COMMENT = r"""
    "{3} (?: \\. | [^\\] )*? "{3,5} | '{3} .*? '{3,5} | " (?: \\. | [^"\\\n] )* " | ' [^'\n]* ' | \# [^\n]*
"""
_PARTS = re.compile(
    rf"({_STRING_OR_COMMENT}) | (^[ \t]* \[ \s* cell \s* \. [^\[\]\n]* \]) | {{(\s*}})?",
    flags=re.DOTALL | re.MULTILINE | re.VERBOSE,
)


class TomlTable(Mapping[str, Any]):
    """A mapping from names to plain values (numbers, texts, tuples and tables of them) that cannot change."""

    def __init__(self, entries: Mapping[str, object] | Iterable[tuple[str, object]] = ()) -> None:
        self._entries = {key: frozen(value) for key, value in dict(entries).items()}

    def __getitem__(self, key: str) -> Any:
        return self._entries[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __hash__(self) -> int:
        return hash(frozenset(self._entries.items()))

    def __repr__(self) -> str:
        return repr(self._entries)


def frozen(value: object) -> object:
    """``value`` with every mapping in it as a ``TomlTable`` and every list as a tuple."""
    if isinstance(value, Mapping):
        return TomlTable(value)
    return tuple(map(frozen, value)) if isinstance(value, list | tuple) else value


@explains_types
def merged(table: Mapping[str, object], key: str, value: object) -> dict[str, object]:
    """``table`` with ``value`` under the dotted ``key``.

    Raises ValueError where the key leads through an entry that is not a table.

    >>> merged({"a": {"b": 1}}, "a.c", 2)
    {'a': {'b': 1, 'c': 2}}
    """
    first, dot, remainder = key.partition(".")
    if not dot:
        return {**table, key: value}
    inner = table.get(first, {})
    if not isinstance(inner, Mapping):
        raise ValueError(f"{key} cannot be set: {first} is {inner!r}, not a table")
    return {**table, first: merged(inner, remainder, value)}


def from_toml(text: str) -> dict[str, object]:
    """The table in a TOML text.  In a ``[[cell]]`` a dotted key stays as it is written.

    There ``a.b = 1`` gives an entry "a.b"; ``a = { b = 1 }`` and a section ``[cell.a]`` give an entry "a".  Raises
    ValueError if the text is not TOML.
    """
    table = tomllib.loads(text)
    if isinstance(table.get("cell"), list):
        cells = tomllib.loads(_PARTS.sub(_marked, text))["cell"]
        table["cell"] = [_dotted(cell) if isinstance(cell, dict) else cell for cell in cells]
    return table


@explains_types
def to_toml(table: Mapping[str, object]) -> str:
    """TOML that reads back as ``table``; entries that are None are left out.

    Raises ValueError for values that TOML cannot hold.

    >>> print(to_toml({"n": 8, "protocol": {"name": "k_sync", "k": 3}}), end="")
    n = 8
    <BLANKLINE>
    [protocol]
    name = "k_sync"
    k = 3
    """
    present = {key: value for key, value in table.items() if value is not None}
    sections = {key: value for key, value in present.items() if isinstance(value, Mapping)}
    lists = {key: value for key, value in present.items() if _is_list_of_tables(value)}
    lines = [f"{_key(key)} = {_text(value)}" for key, value in present.items() if key not in sections | lists]
    headed = [(f"[{_key(key)}]", section) for key, section in sections.items()]
    headed += [
        (f"[[{_key(key)}]]", section)
        for key, several in lists.items()
        for section in cast(Sequence[Mapping[str, object]], several)
    ]
    for header, section in headed:
        lines += ["", header]
        lines += [f"{_key(key)} = {_text(value)}" for key, value in section.items() if value is not None]
    return "\n".join(lines).lstrip("\n") + "\n"


def _marked(part: re.Match) -> str:
    """A string or comment unchanged; a brace or a section with the entry ``_WHOLE`` added."""
    mark = f'"{_WHOLE}"=0'
    if part[2]:
        return f"{part[2]}\n{mark}\n"
    return part[1] or (f"{{{mark}}}" if part[3] else f"{{{mark},")


def _dotted(cell: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The entries of a ``[[cell]]`` by the dotted key under which they were written."""
    dotted: dict[str, Any] = {}
    for key, value in _unmarked(cell, deep=False).items():
        within = isinstance(value, dict) and _WHOLE not in value
        for path, leaf in (_dotted(value, f"{prefix}{key}.") if within else {f"{prefix}{key}": value}).items():
            if path in dotted:
                raise ValueError(f"cell.{path} is given twice")
            dotted[path] = _unmarked(leaf)
    return dotted


def _unmarked(value: Any, deep: bool = True) -> Any:
    if isinstance(value, dict):
        return {key: _unmarked(entry) if deep else entry for key, entry in value.items() if key != _WHOLE}
    return [_unmarked(entry) for entry in value] if isinstance(value, list) else value


def _is_list_of_tables(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) > 0 and all(isinstance(entry, Mapping) for entry in value)


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _text(key)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):  # a JSON string is a TOML string, except for the delete character
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{_key(key)} = {_text(entry)}' for key, entry in value.items())} }}" if value else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_text, value))}]"
    raise ValueError(f"a configuration holds numbers, texts, lists and tables, got {value!r}")
