"""What a configuration can name: protocols, policies, weights, problems, data and fleets, by their names in Python.

``"module:factory"`` names a factory of the user's own, in any module that can be imported.
"""

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from abs_theory.checks import instead
from simulations import fleets, policies, problems, protocols
from simulations.fleets import Fleet
from simulations.problems import Data, Problem
from simulations.protocols import weights
from simulations.server import Protocol

__all__ = ["DATA", "FLEET", "POLICY", "PROBLEM", "PROTOCOL", "WEIGHT", "Kind"]


@dataclass(frozen=True)
class Kind:
    """One kind of thing that a table names: the key that holds the name, and where the factories are."""

    what: str
    head: str
    type: Any
    modules: tuple[Any, ...]
    belongs: Callable[[Any], bool]

    @property
    def factories(self) -> Mapping[str, Any]:
        return _factories(self)

    def find(self, name: Any, key: str, or_else: str = "") -> Any:
        """The factory of this name; ValueError, saying what there is, ``or_else`` what to do, if there is none."""
        if not isinstance(name, str):
            raise ValueError(f"{key} must be the name of a {self.what}, got {name!r}")
        if ":" in name:
            return _imported(name, key)
        plain = {_plain(known): known for known in self.factories}
        if _plain(name) not in plain:
            there_are = instead(name, self.factories, f"there are {', '.join(self.factories)}")
            raise ValueError(f"{key}: there is no {self.what} named {name!r}{there_are}{or_else and f', {or_else}'}")
        return self.factories[plain[_plain(name)]]


def is_rule(factory: Any) -> bool:
    """Whether this is itself a policy, a function of ``progress``, and not a factory of one."""
    return _first_parameter(factory) == "progress"


@cache
def _factories(kind: Kind) -> dict[str, Any]:
    public = {
        name: thing
        for module in kind.modules
        for name in module.__all__
        if callable(thing := getattr(module, name)) and getattr(thing, "__module__", "").startswith("simulations")
    }
    return {name: thing for name, thing in sorted(public.items()) if kind.belongs(thing)}


def _plain(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()


def _imported(name: str, key: str) -> Any:
    module, _, factory = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), factory)
    except Exception as problem:  # whatever the module does when it is run
        raise ValueError(f"{key}: cannot import {name!r}: {type(problem).__name__}: {problem}") from None
    if not (inspect.isfunction(found) or inspect.isclass(found)) or found.__module__ == "builtins":
        raise ValueError(f"{key}: {name!r} must be a function or class written in Python, it is {found!r}")
    return found


def _first_parameter(factory: Any) -> str:
    parameters = [] if inspect.isclass(factory) else list(inspect.signature(factory).parameters)
    return parameters[0] if parameters else ""


def _result(factory: Any) -> Any:
    """The class of what a factory makes; for a class, itself unless it is abstract."""
    if inspect.isclass(factory):
        abstract = getattr(factory, "_is_protocol", False) or inspect.isabstract(factory)
        return None if abstract else factory
    return inspect.signature(factory).return_annotation


def _makes(expected: Any) -> Callable[[Any], bool]:
    """Whether a factory returns ``expected``, or a class with all that it has."""
    wanted = [name for name in vars(expected) if not name.startswith("_")]

    def belongs(factory: Any) -> bool:
        result = _result(factory)
        if getattr(expected, "_is_protocol", False):
            return result is expected or (inspect.isclass(result) and all(hasattr(result, name) for name in wanted))
        return result is expected and not inspect.isclass(factory)

    return belongs


def _is_policy(factory: Any) -> bool:
    made = getattr(_result(factory), "__origin__", None)
    return is_rule(factory) or (made is Callable and factory not in WEIGHT.factories.values())


PROTOCOL = Kind("protocol", "name", Protocol, (protocols,), _makes(Protocol))
PROBLEM = Kind("problem", "name", Problem, (problems,), _makes(Problem))
FLEET = Kind("fleet", "name", Fleet, (fleets,), _makes(Fleet))
POLICY = Kind("policy", "policy", Callable, (policies,), _is_policy)
WEIGHT = Kind("weight", "weight", Callable, (weights,), lambda factory: _first_parameter(factory) == "staleness")
DATA = Kind("data set", "data", Data, (problems,), _makes(Data))
