"""Delay laws written as text: ``gamma:shape=4,scale=0.25``.

NAME:PARAMETER=VALUE,... with the names of ``abs_theory.delays``, in any case, with or without hyphens.  A value is a
number, or a fraction such as 1/3; several values are separated by ``|``; a law within a law stands in parentheses:

    hyper-exponential:probs=.9|.1,means=1/3|7
    mixture:weights=.9|.1,components=(lognormal:median=1,sigma=.3)|(gamma:shape=100,scale=.1)
    empirical:delays.csv                      one measured delay per line, a header allowed
"""

import math
import re
from collections.abc import Sequence
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from abs_theory import delays
from abs_theory.checks import check_count, instead
from abs_theory.delays.base import Delay

__all__ = ["delay_law", "delay_laws", "delay_text"]


def _plain(name: str) -> str:
    return re.sub(r"[-_ ]", "", name).lower()


LAWS = {
    _plain(name): law
    for name, law in vars(delays).items()
    if name in delays.__all__ and isinstance(law, type) and issubclass(law, Delay) and law is not Delay
}


def delay_laws(texts: Sequence[str], n: int) -> Delay | list[Delay]:
    """One law for all ``n`` workers, or n laws, from texts such as "exponential:mean=1 x 15", whose counts add up to n.

    Raises ValueError for an unknown law, a wrong parameter or another number of workers, with what there is instead.
    """
    check_count("n", n)
    if not texts:
        raise ValueError("give a delay law such as exponential:mean=1")
    laws: list[Delay] = []
    for text in texts:
        name, times = re.fullmatch(r"(.*?)(?:\s+x\s*(\d+))?\s*", text, flags=re.DOTALL).groups()  # pyright: ignore
        if len(texts) == 1 and times is None:
            return delay_law(name)
        laws += [delay_law(name)] * int(times or 1)
    if len(laws) != n:
        raise ValueError(
            f"the delay laws are for {len(laws)} workers and n={n}; write how many have each, as in "
            f'"exponential:mean=1 x {n}"'
        )
    return laws


def delay_law(text: str) -> Delay:
    """The law that ``text`` describes.  Raises ValueError if there is none, OSError if a file cannot be read."""
    name, _, parameters = text.strip().partition(":")
    law = LAWS.get(_plain(name))
    if law is None:
        there_are = f"there are {', '.join(map(_kebab, LAWS.values()))}"
        raise ValueError(
            f"no delay law named {name!r}{instead(_plain(name), LAWS, there_are, lambda plain: _kebab(LAWS[plain]))}"
        )
    if law is delays.Empirical and parameters and "=" not in parameters:
        return delays.Empirical(_samples(parameters.strip()))
    known = {each.name: each for each in fields(law)}  # pyright: ignore[reportArgumentType]
    given: dict[str, Any] = {}
    for part in _split(parameters, ",") if parameters.strip() else []:
        key, equals, value = part.partition("=")
        key = key.strip()
        if not equals or key not in known or key in given:
            problem = "twice" if key in given else "not known" if equals else "without a value"
            raise ValueError(f"parameter {key!r} is {problem}: write {_signature(law)}")
        given[key] = _value(value.strip(), known[key], law)
    missing = [key for key, each in known.items() if each.default is MISSING and key not in given]
    if missing:
        raise ValueError(f"parameter {missing[0]!r} is missing: write {_signature(law)}")
    return law(**given)


def delay_text(law: Any) -> str:
    """The text that ``delay_law`` reads as ``law``.  Raises ValueError for a law that cannot be named."""
    if type(law) not in LAWS.values():
        raise ValueError(f"only laws of abs_theory.delays can be written as text, got {law!r}")

    def value(given: Any) -> str:
        if isinstance(given, Delay):
            return f"({delay_text(given)})"
        return repr(float(given) if isinstance(given, float) else int(given))

    def values(given: Any) -> str:
        return value(given) if isinstance(given, Delay) or np.ndim(given) == 0 else "|".join(map(value, given))

    return f"{_kebab(type(law))}:{','.join(f'{each.name}={values(getattr(law, each.name))}' for each in fields(law))}"


def _value(text: str, field: Field, law: type) -> Any:
    parts = _split(text, "|")
    scalar = field.type in (int, float, Any, Delay)  # or a sequence
    if scalar and len(parts) > 1:
        raise ValueError(f"{field.name} takes one value, got {text!r}: write {_signature(law)}")
    values = tuple(_one(part.strip(), field, law) for part in parts)
    return values[0] if scalar else values


def _one(text: str, field: Field, law: type) -> Any:
    if text.startswith("(") and text.endswith(")"):
        return delay_law(text[1:-1])
    above, slash, below = text.partition("/")
    try:
        if field.type is int:
            return int(text)
        number = float(above) / float(below) if slash else float(above)
    except (ValueError, ZeroDivisionError):
        kind = "a whole number" if field.type is int else "a number or (a law in parentheses)"
        raise ValueError(f"{field.name} must be {kind}, got {text!r}: write {_signature(law)}") from None
    if not math.isfinite(number):
        raise ValueError(f"{field.name} must be finite, got {text!r}")
    return number


def _split(text: str, separator: str) -> list[str]:
    """``text`` cut at each ``separator`` outside parentheses."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if depth < 0:
            break
        if letter == separator and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    if depth:
        raise ValueError(f"parentheses do not match in {text!r}")
    return parts


def _samples(path: str) -> Any:
    lines = pd.read_csv(Path(path), header=None, dtype=str, skip_blank_lines=True)
    if lines.shape[1] != 1:
        raise ValueError(f"{path} must have one delay per line, it has {lines.shape[1]} columns")
    numbers = pd.to_numeric(lines[0], errors="coerce").to_numpy()
    if math.isnan(numbers[0]):
        numbers, lines = numbers[1:], lines[1:]  # a header
    for line, number in zip(lines[0], numbers, strict=True):
        if math.isnan(number):
            raise ValueError(f"{path} must have a number on each line but the first, it has {line!r}")
    return tuple(numbers.tolist())


def _kebab(law: type) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", law.__name__).lower()


def _signature(law: type) -> str:
    names = [each.name for each in fields(law)]  # pyright: ignore[reportArgumentType]
    return f"{_kebab(law)}:{','.join(f'{name}=...' for name in names)}"
