"""From plain values, as in a TOML file, to objects: ``{name = "abs_sgd", k = 5}`` -> ``abs_sgd(k=5)``.

A table names a factory and gives its arguments, which are checked against its signature.  Reading builds nothing yet.
An argument that is missing takes the factory's default, or the run's own value: ``delay``, ``n``, ``step_size`` ...
"""

import collections.abc
import math
import os
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from functools import cache
from inspect import Parameter, getsourcefile, isclass, signature
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Union, cast

from numpy.typing import ArrayLike

from abs_theory.checks import instead
from abs_theory.delays import Delay
from abs_theory.delays.text import delay_law, delay_laws, delay_text, split_count
from abs_theory.typing import Law
from simulations.experiment.names import DATA, FLEET, POLICY, PROBLEM, PROTOCOL, WEIGHT, Factory, Kind, is_rule
from simulations.experiment.toml import TomlTable, frozen
from simulations.server import Progress

__all__ = ["ONLY_IN_PYTHON", "Reading", "check_names", "read_arguments", "read_call", "read_value"]

# arguments that the run supplies to a factory that was not given them
SUPPLIED = ("delay", "n", "constants", "step_size", "fleet", "otherwise")
_KINDS = {kind.type: kind for kind in (PROTOCOL, PROBLEM, FLEET, DATA)}
ONLY_IN_PYTHON = "an argument that no file can give"  # in an annotation
_LAW_PER_WORKER = Delay | Sequence[Delay]
_INTEGER_LIMIT = 2**63  # TOML promises integers of 64 bits with a sign


class Reading(NamedTuple):
    """A plain value and how to make the object that it describes."""

    plain: object  #: the value written out in full: defaults filled in, laws in one form
    make: Callable[[Mapping[str, object]], object]  #: makes the object, from what the run supplies
    files: tuple[str, ...] = ()  #: that the object will read
    parts: Mapping[str, "Reading"] = {}  #: arguments, if the value describes a call


def read_call(kind: Kind, given: object, key: str, or_else: str = "", *, allow: Sequence[str] = ()) -> Reading:
    """A table, or a name alone, as a call of a factory of this kind; ``or_else`` says what else could be there.

    ``allow``, here and below, lists the modules of the user that may be imported.
    """
    name_key = kind.name_key
    table = {name_key: given} if isinstance(given, str) else given
    if not isinstance(table, Mapping) or name_key not in table:
        raise ValueError(f'{key} must be a table that names a {kind.what}, {{ {name_key} = "..." }}, got {given!r}')
    name = table[name_key]
    factory: Any = kind.find(name, key if isinstance(given, str) else f"{key}.{name_key}", or_else, allow)
    arguments = {key: value for key, value in table.items() if key != name_key}
    foreign = ":" in name
    source = (getsourcefile(factory) or "",) if foreign else ()  # the user's code is part of the configuration
    name = name if foreign else factory.__name__
    if (kind is POLICY and is_rule(factory)) or kind is WEIGHT:
        if arguments:
            raise ValueError(f"{key}.{next(iter(arguments))}: {name} takes no arguments")
        return Reading(name, lambda run: factory, source)  # the function itself is the policy or the weight
    reading = read_arguments(factory, arguments, key, name, allow=allow)
    plain = cast(Mapping[str, object], reading.plain)
    return reading._replace(plain=TomlTable({name_key: name, **plain}), files=source + reading.files)


def read_arguments(
    factory: Factory, given: Mapping[str, object], key: str, name: str, supplied: Sequence[str] = SUPPLIED,
    *, allow: Sequence[str] = (),
) -> Reading:  # fmt: skip
    """The arguments of ``factory``, checked against its signature, and what it makes of them.  None means not given."""
    check_names(factory, given, key, name, supplied)
    prefix = f"{key}." if key else ""
    readings, plain = {}, {}
    for argument, (hint, default) in _parameters(factory).items():
        if given.get(argument) is not None:
            readings[argument] = read_value(hint, given[argument], prefix + argument, allow=allow)
            plain[argument] = readings[argument].plain
        elif argument in supplied:
            readings[argument] = Reading(None, _supplied(argument, f"{prefix}{argument}"))
        elif (default := _plain_default(default)) is not None:
            plain[argument] = default
    files = tuple(file for reading in readings.values() for file in reading.files)

    def make(run: Mapping[str, object]) -> object:
        arguments = {argument: reading.make(run) for argument, reading in readings.items()}
        return _naming_key(key, lambda: factory(**arguments))

    return Reading(TomlTable(plain), make, files, readings)


def check_names(
    factory: Factory, given: Mapping[str, object], key: str, name: str, supplied: Sequence[str] = SUPPLIED
) -> None:
    """Raise ValueError for an argument that ``factory`` does not have, and for one that it needs and is not given."""
    parameters, prefix = _parameters(factory), f"{key}." if key else ""
    takes = f"it takes {', '.join(parameters)}" if parameters else "it takes no arguments"
    for unknown in [argument for argument in given if argument not in parameters]:
        raise ValueError(f"{prefix}{unknown}: {name} has no {unknown!r}{instead(unknown, parameters, takes)}")
    for argument, (_, default) in parameters.items():
        if default is Parameter.empty and given.get(argument) is None and argument not in supplied:
            raise ValueError(f"{prefix}{argument} is missing: {name} needs it; {takes}")


def read_value(hint: object, given: object, key: str, *, allow: Sequence[str] = ()) -> Reading:
    """One argument, as its annotation asks for it; ValueError, with its ``key``, if it is something else."""
    options = _options(hint)
    kinds = [option for option in options if isinstance(option, Kind)]
    if isinstance(given, Mapping):
        for kind in kinds:
            if kind.name_key in given:
                return read_call(kind, given, key, allow=allow)
        unannotated = Any in options
        if unannotated and POLICY.name_key in given:
            return read_call(POLICY, given, key, allow=allow)
        if Delay in options or (unannotated and "law" in given):
            return _law(given, key)
        for option in options:
            if isclass(option) and is_dataclass(option):
                return read_arguments(option, given, key, option.__name__, allow=allow)
    elif isinstance(given, Delay) and Delay in options:
        return _law(_naming_key(key, delay_text, given), key)
    elif isinstance(given, str):
        if Delay in options:
            return _law(given, key)
        if str in options:
            return Reading(given, lambda run: given, (given,) if os.PathLike in options or Path in options else ())
        if kinds:
            return read_call(kinds[0], given, key, "or give a number" if float in options else "", allow=allow)
    elif isinstance(given, list | tuple):
        for option in options:
            origin, inner = typing.get_origin(option), typing.get_args(option)
            if origin is tuple and inner[-1] is not Ellipsis and len(inner) != len(given):
                continue
            if isclass(origin) and issubclass(origin, collections.abc.Collection):
                hints = inner if origin is tuple and inner[-1] is not Ellipsis else inner[:1]
                return _list(hints, given, key, allow)
    elif (number := _number(options, given)) is not None:
        return Reading(number, lambda run: number)
    if Any in options and given is not None:
        return Reading(frozen(given), lambda run: given)
    raise ValueError(f"{key} must be {_expected(options)}, got {given!r}")


# ---------------------------------------------------------------------- one value
def _law(given: str | Mapping[str, Any], key: str) -> Reading:
    law = _naming_key(key, delay_law, given if isinstance(given, str) else _text_of_table(given, key))
    return Reading(_naming_key(key, delay_text, law), lambda run: law)


def _text_of_table(given: Mapping[str, Any], key: str) -> str:
    """``{law = "gamma", shape = 4}`` -> ``gamma:shape=4``, which is then read like any text."""

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
    for j, written in enumerate(given):
        text, count = split_count(written) if isinstance(written, str) else (written, None)
        law = read_value(Delay, text, f"{key}[{j}]").plain
        texts.append(law if count is None else f"{law} x {count}")
    if not texts:
        raise ValueError(f"{key} must have at least one law, got {given!r}")
    return Reading(tuple(texts), lambda run: _naming_key(key, delay_laws, texts, run["n"]))


def _list(hints: Sequence[Any], given: Sequence[Any], key: str, allow: Sequence[str]) -> Reading:
    """A list whose elements have these hints, or all the same one."""
    if tuple(hints) == (Delay,):
        return _laws(given, key)
    hints = hints if len(hints) == len(given) > 1 else list(hints) * len(given)
    pairs = enumerate(zip(hints, given, strict=True))
    readings = [read_value(hint, value, f"{key}[{j}]", allow=allow) for j, (hint, value) in pairs]
    plain = tuple(reading.plain for reading in readings)
    return Reading(plain, lambda run: tuple(reading.make(run) for reading in readings))


def _number(options: Sequence[Any], given: Any) -> int | float | bool | None:
    """``given`` as a number of the expected kind; None if it is not one."""
    if isinstance(given, bool):
        return given if bool in options else None
    if isinstance(given, int) and abs(given) < _INTEGER_LIMIT:
        if int in options or POLICY in options:
            return given
        return float(given) if float in options else None
    return given if isinstance(given, float) and float in options and not math.isnan(given) else None


def _naming_key(key: str, function: Callable, *arguments: Any) -> Any:
    """``function(*arguments)``, with the key in front of its errors."""
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
    for name, parameter in signature(factory).parameters.items():
        if parameter.kind in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY):
            hint = hints.get(name, Any)
            if ONLY_IN_PYTHON in getattr(hint, "__metadata__", ()):
                continue
            law = name == "delay" and (hint is Any or Law in typing.get_args(hint))
            parameters[name] = (_LAW_PER_WORKER if law else hint, parameter.default)
    return parameters


def _options(hint: Any) -> list[Any]:
    """The alternatives of an annotation, with a Kind in place of a class whose objects are named."""
    if isinstance(hint, Kind):
        return [hint]
    if hint is ArrayLike:
        return [float, Sequence[float]]
    origin = typing.get_origin(hint)
    if origin is Annotated:  # the type for Python, then how it is written in a file
        return [option for written in hint.__metadata__ for option in _options(written)]
    if origin in (Union, types.UnionType):
        return [option for alternative in typing.get_args(hint) for option in _options(alternative)]
    if origin is collections.abc.Callable:
        return [POLICY if typing.get_args(hint)[0] == [Progress] else WEIGHT]
    return [_KINDS.get(origin or hint, hint) if (origin or hint) in _KINDS else hint]


def _expected(options: Sequence[Any]) -> str:
    names = {float: "a number", int: "a whole number", bool: "true or false", str: "a text"}
    names |= {Delay: 'a delay law such as "exponential:mean=1"', types.NoneType: ""}
    words = []
    for option in options:
        if isinstance(option, Kind):
            words.append(f'a {option.what} {{ {option.name_key} = "..." }}')
        elif option in names:
            words.append(names[option])
        elif is_dataclass(option):
            words.append("a table")
        else:
            words.append("a list")
    return " or ".join(dict.fromkeys(filter(None, words)))


def _plain_default(default: Any) -> Any:
    """A default as it would be written in a file; None if it cannot be written."""
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
            raise ValueError(f"{key} is missing, and the run has no {argument} to supply")
        return run[argument]

    return from_run
