"""Which page of the reference explains which name: every name behind a door has one home."""

import importlib
import inspect
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

PACKAGES = ("abs_theory", "simulations", "paper_figs")
ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # this source, whatever is installed

PAGES = re.findall(r"^   ((?:\w+\.)+\w+)$", (ROOT / "docs" / "reference.rst").read_text(), flags=re.MULTILINE)


class Contents(NamedTuple):
    """The names on one page, each in the order in which its door lists it."""

    functions: list[str]
    classes: list[str]
    constants: list[tuple[str, str, str]]  # name, value, comment in the source
    parts: list[str]  # modules with pages of their own
    elsewhere: list[str]  # full names of what the door offers and another page explains


def public(name: str) -> dict[str, object]:
    """What the module ``name`` offers: what ``__all__`` lists, or else what it defines."""
    module = importlib.import_module(name)
    listed = getattr(module, "__all__", None) or [
        key for key, value in vars(module).items() if getattr(value, "__module__", None) == name and key[0] != "_"
    ]
    return {key: getattr(module, key) for key in listed}


def is_written_here(key: str, thing: object) -> bool:
    """Whether it is a function or a class of this project, not a constant or a second name of a type."""
    package = str(getattr(thing, "__module__", "")).split(".")[0]
    return callable(thing) and package in PACKAGES and getattr(thing, "__name__", "") == key


def home(page: str, key: str, thing: object) -> str:
    """The page that explains ``thing``, which ``page`` offers as ``key``: the outermost room that it is written in."""
    if isinstance(thing, ModuleType):
        return thing.__name__
    if not is_written_here(key, thing):
        return page
    rooms = [name for name in PAGES if f"{thing.__module__}.".startswith(f"{name}.") and public(name).get(key) is thing]
    return min(rooms, key=len, default=page)


def contents(page: str) -> Contents:
    """What ``page`` explains and what it refers to."""
    found = Contents([], [], [], [], [])
    for key, thing in public(page).items():
        there = home(page, key, thing)
        if isinstance(thing, ModuleType):
            found.parts.append(there)
        elif there != page:
            found.elsewhere.append(f"{there}.{key}")
        elif not is_written_here(key, thing):
            found.constants.append((key, *written(page, key)))
        elif inspect.isclass(thing):
            found.classes.append(key)
        else:
            found.functions.append(key)
    return found


def written(page: str, key: str) -> tuple[str, str]:
    """The value and the comment of a constant, as the source has them."""
    folder = Path(str(importlib.import_module(page).__file__)).parent
    line = re.compile(rf"^{key} = (?P<value>.*?)(?:  #:? (?P<comment>.*))?$", flags=re.MULTILINE)
    for path in sorted(folder.glob("*.py")):
        if match := line.search(path.read_text()):
            return match["value"], match["comment"] or ""
    return "", ""
