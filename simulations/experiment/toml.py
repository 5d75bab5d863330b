"""Plain values as they stand in a TOML file: tables that cannot change, and their text."""

import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

__all__ = ["Table", "from_toml", "frozen", "merged", "to_toml"]

_WHOLE = "written as a whole"
_STRING_OR_COMMENT = r"""
    "{3} (?: \\. | [^\\] )*? "{3,5} | '{3} .*? '{3,5} | " (?: \\. | [^"\\\n] )* " | ' [^'\n]* ' | \# [^\n]*
"""
_PARTS = re.compile(
    rf"({_STRING_OR_COMMENT}) | (^[ \t]* \[ \s* cell \s* \. [^\[\]\n]* \]) | {{(\s*}})?",
    flags=re.DOTALL | re.MULTILINE | re.VERBOSE,
)


class Table(Mapping[str, Any]):
    """A mapping from names to plain values (numbers, texts, tuples and tables of them) that cannot change."""

    def __init__(self, entries: Mapping[str, Any] | Iterable[tuple[str, Any]] = ()) -> None:
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


def frozen(value: Any) -> Any:
    """``value`` with every mapping in it a ``Table`` and every list a tuple."""
    if isinstance(value, Mapping):
        return Table(value)
    return tuple(map(frozen, value)) if isinstance(value, list | tuple) else value


def merged(table: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    """``table`` with ``value`` under the dotted ``key``: ``{"a": {"b": 1}}, "a.c", 2 -> {"a": {"b": 1, "c": 2}}``.

    Raises ValueError where the way leads through something that is no table.
    """
    first, dot, rest = key.partition(".")
    if not dot:
        return {**table, key: value}
    inner = table.get(first, {})
    if not isinstance(inner, Mapping):
        raise ValueError(f"{key} cannot be set: {first} is {inner!r}, not a table")
    return {**table, first: merged(inner, rest, value)}


def from_toml(text: str) -> dict[str, Any]:
    """The table that TOML says; in a ``[[cell]]`` dotted keys stay as they are written, to be told from tables.

    There ``a.b = 1`` is an entry "a.b", and ``a = { b = 1 }`` or a section ``[cell.a]`` an entry "a".  Raises
    ValueError.
    """
    table = tomllib.loads(text)
    if isinstance(table.get("cell"), list):
        cells = tomllib.loads(_PARTS.sub(_marked, text))["cell"]
        table["cell"] = [_dotted(cell) if isinstance(cell, dict) else cell for cell in cells]
    return table


def to_toml(table: Mapping[str, Any]) -> str:
    """TOML that reads back as ``table``; entries that are None are left out."""
    present = {key: value for key, value in table.items() if value is not None}
    sections = {key: value for key, value in present.items() if isinstance(value, Mapping)}
    lists = {key: value for key, value in present.items() if _is_list_of_tables(value)}
    lines = [f"{_key(key)} = {_text(value)}" for key, value in present.items() if key not in sections | lists]
    headed = [(f"[{_key(key)}]", section) for key, section in sections.items()]
    headed += [(f"[[{_key(key)}]]", section) for key, several in lists.items() for section in several]
    for head, section in headed:
        lines += ["", head]
        lines += [f"{_key(key)} = {_text(value)}" for key, value in section.items() if value is not None]
    return "\n".join(lines).lstrip("\n") + "\n"


def _marked(part: re.Match) -> str:
    """A string or comment as it is; a brace or section with an entry that tells it from a dotted key."""
    mark = f'"{_WHOLE}"=0'
    if part[2]:
        return f"{part[2]}\n{mark}\n"
    return part[1] or (f"{{{mark}}}" if part[3] else f"{{{mark},")


def _dotted(cell: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
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
        return {key: _unmarked(each) if deep else each for key, each in value.items() if key != _WHOLE}
    return [_unmarked(each) for each in value] if isinstance(value, list) else value


def _is_list_of_tables(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) > 0 and all(isinstance(each, Mapping) for each in value)


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _text(key)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):  # a JSON string is a TOML string, but for the delete character
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{_key(key)} = {_text(each)}' for key, each in value.items())} }}" if value else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_text, value))}]"
    raise ValueError(f"a configuration holds numbers, texts, lists and tables, got {value!r}")
