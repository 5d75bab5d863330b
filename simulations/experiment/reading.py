"""From plain values, as in a TOML file, to what they stand for: ``{name = "abs_sgd", k = 5}`` -> ``abs_sgd(k=5)``.

A table names a factory and gives its arguments, which are checked against its signature; reading builds nothing yet.
Arguments that are missing are the factory's defaults, or the run's own: ``delay``, ``n``, ``step_size`` ...
"""

import collections.abc
import math
import os
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from functools import cache
from inspect import Parameter, getsourcefile, isclass, signature
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Union

from numpy.typing import ArrayLike

from abs_theory.checks import instead
from abs_theory.delays import Delay
from abs_theory.delays.text import delay_law, delay_laws, delay_text
from abs_theory.typing import Law
from simulations.experiment.names import DATA, FLEET, POLICY, PROBLEM, PROTOCOL, WEIGHT, Kind, is_rule
from simulations.experiment.toml import Table, frozen
from simulations.server import Progress

__all__ = ["Reading", "check_names", "read_arguments", "read_call", "read_value"]

# by the run, to a factory that was not given them
SUPPLIED = ("delay", "n", "constants", "step_size", "fleet", "otherwise")
_KINDS = {kind.type: kind for kind in (PROTOCOL, PROBLEM, FLEET, DATA)}
_LAW_OF_EACH = Delay | Sequence[Delay]


class Reading(NamedTuple):
    """What a plain value stands for."""

    plain: Any  # the same, written out in full: defaults filled in, laws in one form
    make: Callable[[Mapping[str, Any]], Any]  # the value, from what the run supplies
    files: tuple[str, ...] = ()  # what it will read
    parts: Mapping[str, "Reading"] = {}  # of a call: its arguments


def read_call(kind: Kind, given: Any, key: str, or_else: str = "") -> Reading:
    """A table, or a name alone, as a call of a factory of this kind; ``or_else`` is what could be there as well."""
    table = {kind.head: given} if isinstance(given, str) else given
    if not isinstance(table, Mapping) or kind.head not in table:
        raise ValueError(f'{key} must be a table that names a {kind.what}, {{ {kind.head} = "..." }}, got {given!r}')
    name = table[kind.head]
    factory = kind.find(name, key if isinstance(given, str) else f"{key}.{kind.head}", or_else)
    arguments = {key: value for key, value in table.items() if key != kind.head}
    name = name if ":" in name else factory.__name__
    if (kind is POLICY and is_rule(factory)) or kind is WEIGHT:
        if arguments:
            raise ValueError(f"{key}.{next(iter(arguments))}: {name} takes no arguments")
        return Reading(name, lambda run: factory)  # itself a policy or a weight
    reading = read_arguments(factory, arguments, key, name)
    own = (getsourcefile(factory) or "",) if ":" in name else ()  # what it does is part of the configuration
    return reading._replace(plain=Table({kind.head: name, **reading.plain}), files=own + reading.files)


def read_arguments(
    factory: Any, given: Mapping[str, Any], key: str, name: str, supplied: Sequence[str] = SUPPLIED
) -> Reading:
    """The arguments of ``factory``, checked against its signature, and what it makes of them; None: not given."""
    check_names(factory, given, key, name, supplied)
    prefix = f"{key}." if key else ""
    readings, plain = {}, {}
    for argument, (hint, default) in _parameters(factory).items():
        if given.get(argument) is not None:
            readings[argument] = read_value(hint, given[argument], prefix + argument)
            plain[argument] = readings[argument].plain
        elif argument in supplied:
            readings[argument] = Reading(None, _supplied(argument, f"{prefix}{argument}"))
        elif (default := _plain_default(default)) is not None:
            plain[argument] = default
    files = tuple(file for reading in readings.values() for file in reading.files)

    def make(run: Mapping[str, Any]) -> Any:
        arguments = {argument: reading.make(run) for argument, reading in readings.items()}
        return _in(key, lambda: factory(**arguments))

    return Reading(Table(plain), make, files, readings)


def check_names(
    factory: Any, given: Mapping[str, Any], key: str, name: str, supplied: Sequence[str] = SUPPLIED
) -> None:
    """Raise ValueError for an argument that ``factory`` does not have, or needs and is not given."""
    parameters, prefix = _parameters(factory), f"{key}." if key else ""
    takes = f"it takes {', '.join(parameters)}" if parameters else "it takes no arguments"
    for unknown in [argument for argument in given if argument not in parameters]:
        raise ValueError(f"{prefix}{unknown}: {name} has no {unknown!r}{instead(unknown, parameters, takes)}")
    for argument, (_, default) in parameters.items():
        if default is Parameter.empty and given.get(argument) is None and argument not in supplied:
            raise ValueError(f"{prefix}{argument} is missing: {name} needs it; {takes}")


def read_value(hint: Any, given: Any, key: str) -> Reading:
    """One argument as its annotation asks; ValueError, with its ``key``, if it is something else."""
    options = _options(hint)
    kinds = [option for option in options if isinstance(option, Kind)]
    if isinstance(given, Mapping):
        for kind in kinds:
            if kind.head in given:
                return read_call(kind, given, key)
        if Delay in options:
            return _law(given, key)
        for option in options:
            if isclass(option) and is_dataclass(option):
                return read_arguments(option, given, key, option.__name__)
    elif isinstance(given, Delay) and Delay in options:
        return _law(_in(key, delay_text, given), key)
    elif isinstance(given, str):
        if Delay in options:
            return _law(given, key)
        if str in options:
            return Reading(given, lambda run: given, (given,) if os.PathLike in options or Path in options else ())
        if kinds:
            return read_call(kinds[0], given, key, "or give a number" if float in options else "")
    elif isinstance(given, list | tuple):
        for option in options:
            origin, inner = typing.get_origin(option), typing.get_args(option)
            if origin is tuple and inner[-1] is not Ellipsis and len(inner) != len(given):
                continue
            if isclass(origin) and issubclass(origin, collections.abc.Collection):
                return _list(inner if origin is tuple and inner[-1] is not Ellipsis else inner[:1], given, key)
    elif (number := _number(options, given)) is not None:
        return Reading(number, lambda run: number)
    if Any in options and given is not None:
        return Reading(frozen(given), lambda run: given)
    raise ValueError(f"{key} must be {_expected(options)}, got {given!r}")


# ---------------------------------------------------------------------- one value
def _law(given: str | Mapping[str, Any], key: str) -> Reading:
    law = _in(key, delay_law, given if isinstance(given, str) else _text_of_table(given, key))
    return Reading(_in(key, delay_text, law), lambda run: law)


def _text_of_table(given: Mapping[str, Any], key: str) -> str:
    """``{law = "gamma", shape = 4}`` -> ``gamma:shape=4``, which is then read as any text."""

    def part(value: Any) -> str:
        if isinstance(value, list | tuple):
            return "|".join(map(part, value))
        text = _text_of_table(value, key) if isinstance(value, Mapping) else str(value)
        return f"({text})" if isinstance(value, Mapping) or ":" in text else text

    if not isinstance(given.get("law"), str):
        raise ValueError(f'{key} must name a law, {{ law = "gamma", ... }}, got {given!r}')
    return f"{given['law']}:{','.join(f'{name}={part(value)}' for name, value in given.items() if name != 'law')}"


def _laws(given: Sequence[Any], key: str) -> Reading:
    """Laws of unequal workers; ``"exponential:mean=1 x 15"`` is the law of 15 of them."""
    texts = []
    for j, each in enumerate(given):
        text, times = each, None
        if isinstance(each, str):
            text, times = re.fullmatch(r"(.*?)(?:\s+x\s*(\d+))?\s*", each, flags=re.DOTALL).groups()  # pyright: ignore
        law = read_value(Delay, text, f"{key}[{j}]").plain
        texts.append(law if times is None else f"{law} x {times}")
    if not texts:
        raise ValueError(f"{key} must have at least one law, got {given!r}")
    return Reading(tuple(texts), lambda run: _in(key, delay_laws, texts, run["n"]))


def _list(hints: Sequence[Any], given: Sequence[Any], key: str) -> Reading:
    """A list whose elements have these hints, or all the same one."""
    if tuple(hints) == (Delay,):
        return _laws(given, key)
    hints = hints if len(hints) == len(given) > 1 else list(hints) * len(given)
    readings = [read_value(hint, each, f"{key}[{j}]") for j, (hint, each) in enumerate(zip(hints, given, strict=True))]
    return Reading(tuple(each.plain for each in readings), lambda run: tuple(each.make(run) for each in readings))


def _number(options: Sequence[Any], given: Any) -> int | float | bool | None:
    """``given`` as the number that is expected, None if it is none."""
    if isinstance(given, bool):
        return given if bool in options else None
    if isinstance(given, int) and abs(given) < 2**63:
        if int in options or POLICY in options:
            return given
        return float(given) if float in options else None
    return given if isinstance(given, float) and float in options and not math.isnan(given) else None


def _in(key: str, function: Callable, *arguments: Any) -> Any:
    """``function(*arguments)``, whose errors name the key."""
    try:
        return function(*arguments)
    except (ValueError, OSError, OverflowError) as problem:
        raise ValueError(f"{key}: {problem}") from None


# ---------------------------------------------------------------------- signatures
@cache
def _parameters(factory: Any) -> dict[str, tuple[Any, Any]]:
    """Annotation and default (or ``Parameter.empty``) of each argument that can be given by its name."""
    hints = typing.get_type_hints(factory, include_extras=True)
    parameters = {}
    for name, each in signature(factory).parameters.items():
        if each.kind in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY):
            hint = hints.get(name, Any)
            law = name == "delay" and (hint is Any or Law in typing.get_args(hint))
            parameters[name] = (_LAW_OF_EACH if law else hint, each.default)
    return parameters


def _options(hint: Any) -> list[Any]:
    """The alternatives of an annotation; a Kind for what has to be named."""
    if isinstance(hint, Kind):
        return [hint]
    if hint is ArrayLike:
        return [float, Sequence[float]]
    origin = typing.get_origin(hint)
    if origin is Annotated:  # what Python is told, then how it is written down
        return [option for each in hint.__metadata__ for option in _options(each)]
    if origin in (Union, types.UnionType):
        return [option for each in typing.get_args(hint) for option in _options(each)]
    if origin is collections.abc.Callable:
        return [POLICY if typing.get_args(hint)[0] == [Progress] else WEIGHT]
    return [_KINDS.get(origin or hint, hint) if (origin or hint) in _KINDS else hint]


def _expected(options: Sequence[Any]) -> str:
    names = {float: "a number", int: "a whole number", bool: "true or false", str: "a text"}
    names |= {Delay: 'a delay law such as "exponential:mean=1"', types.NoneType: ""}
    said = []
    for option in options:
        if isinstance(option, Kind):
            said.append(f'a {option.what} {{ {option.head} = "..." }}')
        elif option in names:
            said.append(names[option])
        elif is_dataclass(option):
            said.append("a table")
        else:
            said.append("a list")
    return " or ".join(dict.fromkeys(filter(None, said)))


def _plain_default(default: Any) -> Any:
    """A default as it would be written down, or None where it cannot be."""
    if isinstance(default, bool | int | float | str):
        return default
    if isinstance(default, tuple):
        return frozen(default)
    if default in WEIGHT.factories.values() or default in POLICY.factories.values():
        return default.__name__
    return None


def _supplied(argument: str, key: str) -> Callable[[Mapping[str, Any]], Any]:
    def from_run(run: Mapping[str, Any]) -> Any:
        if run.get(argument) is None:
            raise ValueError(f"{key} is missing: the run has no {argument} of its own to give")
        return run[argument]

    return from_run
