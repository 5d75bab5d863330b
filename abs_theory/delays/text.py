"""Delay laws as text: ``gamma:shape=4,scale=0.25``.

The form is NAME:PARAMETER=VALUE,... with the names of ``abs_theory.delays``, in upper or lower case, with or without
hyphens.  A value is a number or a fraction such as 1/3.  Several values are separated by ``|``, and a law inside a law
is written in parentheses:

    hyper-exponential:probs=.9|.1,means=1/3|7
    mixture:weights=.9|.1,components=(lognormal:median=1,sigma=.3)|(gamma:shape=100,scale=.1)
    empirical:delays.csv                      one measured delay per line, with or without a header
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
from abs_theory.checks import MAX_WORKERS, check_count, instead, plain_name
from abs_theory.delays.base import Delay, check_mean
from abs_theory.files import open_input
from abs_theory.typing import DelayLike

__all__ = ["delay_law", "delay_laws", "delay_text", "files_of_laws", "split_count"]


LAWS = {
    plain_name(name): law
    for name, law in vars(delays).items()
    if name in delays.__all__ and isinstance(law, type) and issubclass(law, Delay) and law is not Delay
}


MAX_DEPTH = 20  # laws within laws; each level is a sum or a mixture of the next
MAX_SAMPLES = 1_000_000  # of a file of measured delays, which take 8 MB
MAX_SAMPLE_BYTES = 100 * MAX_SAMPLES  # of such a file: as much as the longest numbers take


def delay_laws(texts: Sequence[str], n: int) -> Delay | list[Delay]:
    """One law for all ``n`` workers, or n laws, from texts such as "exponential:mean=1 x 15".

    Several texts, or a text with a count, must be for n workers in all.  Raises ValueError for an unknown law, a wrong
    parameter or another number of workers; OSError if a file cannot be read.

    >>> delay_laws(["exponential:mean=1 x 2", "exponential:mean=10"], n=3)
    [Exponential(mean=1.0), Exponential(mean=1.0), Exponential(mean=10.0)]
    """
    check_count("n", n, maximum=MAX_WORKERS)
    if not texts:
        raise ValueError("give a delay law such as exponential:mean=1")
    laws: list[Delay] = []
    total = 0
    for text in texts:
        law_text, count = split_count(text)
        if len(texts) == 1 and count is None:
            return delay_law(law_text)
        number = 1 if count is None else count
        total += number
        laws += [delay_law(law_text)] * (number if total <= n else 0)
    if total != n:
        raise ValueError(
            f"the delay laws are for {total} workers and n={n}; write how many workers have a law, as in "
            f'"exponential:mean=1 x {n}"'
        )
    return laws


def split_count(text: str) -> tuple[str, int | None]:
    """The text of a law and the number of workers that have it, which is None if the text states none.

    >>> split_count("exponential:mean=1 x 15")
    ('exponential:mean=1', 15)
    """
    law_text, _, count = text.rpartition("x")
    if count.strip().isdecimal() and law_text != law_text.rstrip():
        return law_text.rstrip(), int(count)
    return text.rstrip(), None


def delay_law(text: str) -> Delay:
    """The law that ``text`` describes; ``delay_text`` writes it back.

    Raises ValueError if there is no such law, OSError if a file cannot be read.

    >>> delay_law("hyper-exponential:probs=.9|.1,means=1/2|7")
    HyperExponential(probs=(0.9, 0.1), means=(0.5, 7.0))
    """
    name, _, parameters = text.strip().partition(":")
    law = LAWS.get(plain_name(name))
    if law is None:
        known_laws = f"there are {', '.join(map(_kebab, LAWS.values()))}"
        advice = instead(plain_name(name), LAWS, known_laws, lambda plain: _kebab(LAWS[plain]))
        raise ValueError(f"no delay law named {name!r}{advice}")
    if path := _file_of_samples(text):
        return delays.Empirical(_samples(path))
    known = {field.name: field for field in fields(law)}  # pyright: ignore[reportArgumentType]
    given: dict[str, Any] = {}
    for part in _split(parameters, ",") if parameters.strip() else []:
        key, equals, value = part.partition("=")
        key = key.strip()
        if not equals or key not in known or key in given:
            problem = "twice" if key in given else "not known" if equals else "without a value"
            raise ValueError(f"parameter {key!r} is {problem}: write {_signature(law)}")
        given[key] = _value(value.strip(), known[key], law)
    missing = [key for key, field in known.items() if field.default is MISSING and key not in given]
    if missing:
        raise ValueError(f"parameter {missing[0]!r} is missing: write {_signature(law)}")
    made = law(**given)
    check_mean(made)
    return made


def files_of_laws(texts: Sequence[str]) -> list[Path]:
    """The files that ``delay_laws`` would read, those of laws inside other laws included.

    >>> [path.name for path in files_of_laws(["empirical:calm.csv x 7", "exponential:mean=2"])]
    ['calm.csv']
    """
    return [path for text in texts for path in _files_of_law(split_count(text)[0])]


def _files_of_law(text: str) -> list[Path]:
    if path := _file_of_samples(text):
        return [Path(path)]
    inner_laws = re.findall(r"\(([^()]*)\)", text)
    return [Path(path) for law in inner_laws if (path := _file_of_samples(law))]


def _file_of_samples(text: str) -> str:
    """The file of a law such as "empirical:calm.csv"; "" for any other."""
    name, _, parameters = text.strip().partition(":")
    is_empirical = LAWS.get(plain_name(name)) is delays.Empirical
    return parameters.strip() if is_empirical and "=" not in parameters else ""


def delay_text(law: DelayLike) -> str:
    """The text that ``delay_law`` reads as ``law``.  Raises ValueError for a law that has no text.

    >>> delay_text(delays.LocalSteps(delays.Pareto(minimum=1.0, index=3.0), steps=4))
    'local-steps:delay=(pareto:minimum=1.0,index=3.0),steps=4'
    """
    if not isinstance(law, Delay) or type(law) not in LAWS.values():
        raise ValueError(f"only laws of abs_theory.delays can be written as text, got {law!r}")

    def value_text(value: Any) -> str:
        if isinstance(value, Delay):
            return f"({delay_text(value)})"
        return repr(float(value) if isinstance(value, float) else int(value))

    def parameter_text(name: str) -> str:
        given: Any = getattr(law, name)
        if isinstance(given, Delay) or np.ndim(given) == 0:
            return f"{name}={value_text(given)}"
        return f"{name}={'|'.join(value_text(value) for value in given)}"

    names = [field.name for field in fields(law)]  # pyright: ignore[reportArgumentType]
    given = [name for name in names if getattr(law, name) is not None]
    return f"{_kebab(type(law))}:{','.join(map(parameter_text, given))}"


def _value(text: str, field: Field, law: type) -> Any:
    parts = _split(text, "|")
    is_single = field.type in (int, float, DelayLike)  # not a sequence
    if is_single and len(parts) > 1:
        raise ValueError(f"{field.name} takes one value, got {text!r}: write {_signature(law)}")
    values = tuple(_single_value(part.strip(), field, law) for part in parts)
    return values[0] if is_single else values


def _single_value(text: str, field: Field, law: type) -> Any:
    if text.startswith("(") and text.endswith(")"):
        return delay_law(text[1:-1])
    numerator, slash, denominator = text.partition("/")
    try:
        if field.type is int:
            return int(text)
        number = float(numerator) / float(denominator) if slash else float(numerator)
    except (ValueError, ZeroDivisionError):
        kind = "a whole number" if field.type is int else "a number or (a law in parentheses)"
        raise ValueError(f"{field.name} must be {kind}, got {text!r}: write {_signature(law)}") from None
    if not math.isfinite(number):
        raise ValueError(f"{field.name} must be finite, got {text!r}")
    return number


def _split(text: str, separator: str) -> list[str]:
    """``text`` split at each ``separator`` outside parentheses."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if depth < 0:
            break
        if depth > MAX_DEPTH:
            raise ValueError(f"a law must have at most {MAX_DEPTH} laws within each other, it has more")
        if letter == separator and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    if depth:
        raise ValueError(f"parentheses do not match in {text!r}")
    return parts


def _samples(path: str) -> Any:
    try:
        with open_input(Path(path), MAX_SAMPLE_BYTES) as file:
            lines = pd.read_csv(file, header=None, dtype=str, skip_blank_lines=True, nrows=MAX_SAMPLES + 1)
    except ValueError as problem:
        raise ValueError(f"{path} must have one delay per line, and has not: {str(problem).strip()}") from None
    if len(lines) > MAX_SAMPLES:
        raise ValueError(f"{path} must have at most {MAX_SAMPLES} delays, it has more: take every tenth, say")
    if lines.shape[1] != 1:
        raise ValueError(f"{path} must have one delay per line, but it has {lines.shape[1]} columns")
    numbers = pd.to_numeric(lines[0], errors="coerce").to_numpy()
    if math.isnan(numbers[0]):
        numbers, lines = numbers[1:], lines[1:]  # a header
    for line, number in zip(lines[0], numbers, strict=True):
        if math.isnan(number):
            raise ValueError(f"{path} must have a number on each line except the first, but it has {line!r}")
    return tuple(numbers.tolist())


def _kebab(law: type) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", law.__name__).lower()


def _signature(law: type) -> str:
    names = [field.name for field in fields(law)]  # pyright: ignore[reportArgumentType]
    return f"{_kebab(law)}:{','.join(f'{name}=...' for name in names)}"
