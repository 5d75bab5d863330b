"""What a configuration can name: protocols, policies, weights, problems, data sets and fleets, as in Python.

``"module:factory"`` names a factory that the user has written.  A file alone never runs code: such a module is imported
only if the caller allows it by name, and a factory is called only if its annotation says that it makes what is wanted.
"""

import importlib
import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import ModuleType, UnionType
from typing import Any, Union

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
    written: str  #: how the code of a factory says so

    @property
    def factories(self) -> Mapping[str, Factory]:
        """All factories of this kind, by name."""
        return _factories(self)

    def find(self, name: object, key: str, or_else: str = "", allow: Sequence[str] = ()) -> Factory:
        """The factory of this name; ValueError, with the names there are and ``or_else`` what to do, if none has it.

        ``allow`` lists the modules of the user that may be imported.
        """
        if not isinstance(name, str):
            raise ValueError(f"{key} must be the name of a {self.what}, got {name!r}")
        if ":" in name:
            return _imported(self, name, key, allow)
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


def _imported(kind: Kind, name: str, key: str, allow: Sequence[str]) -> Factory:
    module, _, attribute = name.partition(":")
    if module not in allow:
        raise ValueError(
            f"{key}: {name!r} runs code of the module {module!r}, which is not allowed; if you trust it, add "
            f"--allow {module} to the command, or allow=[{module!r}] in Python"
        )
    try:
        factory = getattr(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as problem:  # whatever the module does when it is run
        raise ValueError(f"{key}: cannot import {name!r}: {type(problem).__name__}: {problem}") from None
    if not (inspect.isfunction(factory) or inspect.isclass(factory)) or factory.__module__ == "builtins":
        raise ValueError(f"{key}: {name!r} must be a function or class written in Python, it is {factory!r}")
    if not kind.belongs(factory):
        raise ValueError(f"{key}: {name!r} does not say that it makes a {kind.what}: {kind.written}")
    return factory


def _first_parameter(factory: Factory) -> str:
    parameters = [] if inspect.isclass(factory) else list(inspect.signature(factory).parameters)
    return parameters[0] if parameters else ""


def _result(factory: Factory) -> Any:
    """The class of the objects that a factory makes: a class makes its own, unless it is abstract."""
    if inspect.isclass(factory):
        abstract = getattr(factory, "_is_protocol", False) or inspect.isabstract(factory)
        return None if abstract else factory
    try:
        return typing.get_type_hints(factory).get("return")
    except Exception:  # an annotation that names nothing
        return None


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
    result = _result(factory)
    alternatives = typing.get_args(result) if typing.get_origin(result) in (Union, UnionType) else [result]
    makes_functions = any(typing.get_origin(alternative) is Callable for alternative in alternatives)
    return is_rule(factory) or (makes_functions and factory not in WEIGHT.factories.values())


def _is_weight(factory: Factory) -> bool:
    return _first_parameter(factory) == "staleness"


PROTOCOL = Kind(
    "protocol", "name", Protocol, (protocols,), _makes(Protocol),
    'annotate it with "-> Protocol" (simulations.server.Protocol)',
)  # fmt: skip
PROBLEM = Kind(
    "problem", "name", Problem, (problems,), _makes(Problem),
    'give the class all that simulations.problems.Problem has, or annotate the function with "-> Problem"',
)  # fmt: skip
FLEET = Kind(
    "fleet", "name", Fleet, (fleets,), _makes(Fleet),
    'give the class all that simulations.fleets.Fleet has, or annotate the function with "-> Fleet"',
)  # fmt: skip
POLICY = Kind(
    "policy", "policy", Callable, (policies,), _is_policy,
    'annotate it with "-> Callable[[Progress], float]", or make it a function whose first argument is progress',
)  # fmt: skip
WEIGHT = Kind(
    "weight", "weight", Callable, (weights,), _is_weight, "make it a function whose first argument is staleness"
)  # fmt: skip
DATA = Kind(
    "data set", "data", Data, (problems,), _makes(Data), 'annotate it with "-> Data" (simulations.problems.Data)'
)  # fmt: skip
