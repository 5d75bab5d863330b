"""What a configuration can name: protocols, policies, weights, problems, data sets and fleets, as in Python.

``"module:factory"`` names a factory that the user has written, in any module that can be imported.
"""

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

from abs_theory.checks import instead, plain_name
from simulations import fleets, policies, problems, protocols
from simulations.fleets import Fleet
from simulations.problems import Data, Problem
from simulations.protocols import weights
from simulations.server import Protocol

__all__ = ["DATA", "FLEET", "POLICY", "PROBLEM", "PROTOCOL", "WEIGHT", "Factory", "Kind"]

Factory = Callable[..., object]  # a function or class that makes what a table describes


@dataclass(frozen=True)
class Kind:
    """A kind of object that a table can name, such as protocols."""

    what: str  #: in words, for messages
    name_key: str  #: key of the table that holds the name
    type: object  #: of the objects, as annotations give it
    modules: tuple[ModuleType, ...]  #: that define the factories
    belongs: Callable[[Factory], bool]  #: whether a factory makes objects of this kind

    @property
    def factories(self) -> Mapping[str, Factory]:
        """All factories of this kind, by name."""
        return _factories(self)

    def find(self, name: object, key: str, or_else: str = "") -> Factory:
        """The factory of this name; ValueError, with the names there are and ``or_else`` what to do, if none has it."""
        if not isinstance(name, str):
            raise ValueError(f"{key} must be the name of a {self.what}, got {name!r}")
        if ":" in name:
            return _imported(name, key)
        plain = {plain_name(known): known for known in self.factories}
        if plain_name(name) not in plain:
            there_are = instead(name, self.factories, f"there are {', '.join(self.factories)}")
            raise ValueError(f"{key}: there is no {self.what} named {name!r}{there_are}{or_else and f', {or_else}'}")
        return self.factories[plain[plain_name(name)]]


def is_rule(factory: Factory) -> bool:
    """Whether this is itself a policy, that is a function of ``progress``, and not a factory of policies."""
    return _first_parameter(factory) == "progress"


@cache
def _factories(kind: Kind) -> dict[str, Factory]:
    public = {
        name: value
        for module in kind.modules
        for name in module.__all__
        if callable(value := getattr(module, name)) and getattr(value, "__module__", "").startswith("simulations")
    }
    return {name: factory for name, factory in sorted(public.items()) if kind.belongs(factory)}


def _imported(name: str, key: str) -> Factory:
    module, _, attribute = name.partition(":")
    try:
        factory = getattr(importlib.import_module(module), attribute)
    except Exception as problem:  # whatever the module does when it is run
        raise ValueError(f"{key}: cannot import {name!r}: {type(problem).__name__}: {problem}") from None
    if not (inspect.isfunction(factory) or inspect.isclass(factory)) or factory.__module__ == "builtins":
        raise ValueError(f"{key}: {name!r} must be a function or class written in Python, it is {factory!r}")
    return factory


def _first_parameter(factory: Factory) -> str:
    parameters = [] if inspect.isclass(factory) else list(inspect.signature(factory).parameters)
    return parameters[0] if parameters else ""


def _result(factory: Factory) -> Any:
    """The class of the objects that a factory makes: a class makes its own, unless it is abstract."""
    if inspect.isclass(factory):
        abstract = getattr(factory, "_is_protocol", False) or inspect.isabstract(factory)
        return None if abstract else factory
    return inspect.signature(factory).return_annotation


def _makes(expected: type) -> Callable[[Factory], bool]:
    """Whether a factory makes objects of the class ``expected``, or of one with all methods of this protocol class."""
    wanted = [name for name in vars(expected) if not name.startswith("_")]

    def belongs(factory: Factory) -> bool:
        result = _result(factory)
        if getattr(expected, "_is_protocol", False):
            return result is expected or (inspect.isclass(result) and all(hasattr(result, name) for name in wanted))
        return result is expected and not inspect.isclass(factory)

    return belongs


def _is_policy(factory: Factory) -> bool:
    made = getattr(_result(factory), "__origin__", None)
    return is_rule(factory) or (made is Callable and factory not in WEIGHT.factories.values())


PROTOCOL = Kind("protocol", "name", Protocol, (protocols,), _makes(Protocol))
PROBLEM = Kind("problem", "name", Problem, (problems,), _makes(Problem))
FLEET = Kind("fleet", "name", Fleet, (fleets,), _makes(Fleet))
POLICY = Kind("policy", "policy", Callable, (policies,), _is_policy)
WEIGHT = Kind("weight", "weight", Callable, (weights,), lambda factory: _first_parameter(factory) == "staleness")
DATA = Kind("data set", "data", Data, (problems,), _makes(Data))
