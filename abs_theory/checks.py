"""Argument checks shared by the public functions: ValueError, saying what must hold and what was given."""

import math
from numbers import Integral, Real
from typing import Any


def is_integer(value: Any) -> bool:
    """True for Python and numpy integers; False for booleans and for floats, even whole ones."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_finite(value: Any) -> bool:
    """True for a finite real number that is not a boolean."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def check_count(name: str, value: Any, minimum: int = 1) -> None:
    """Raise ValueError unless ``value`` is an integer of at least ``minimum``."""
    if not (is_integer(value) and value >= minimum):
        raise ValueError(f"{name} must be an integer >= {minimum}, got {name}={value!r}")


def check_k(k: Any, n: Any) -> None:
    """Raise ValueError unless ``n`` is a positive integer and ``k`` an integer in 1..n."""
    check_count("n", n)
    if not (is_integer(k) and 1 <= k <= n):
        raise ValueError(f"k must be in 1..n, got k={k!r} with n={n} workers")


def check_positive(name: str, value: Any) -> None:
    """Raise ValueError unless ``value`` is a finite number > 0."""
    if not (is_finite(value) and value > 0):
        raise ValueError(f"{name} must be a finite number > 0, got {name}={value!r}")


def check_nonnegative(name: str, value: Any) -> None:
    """Raise ValueError unless ``value`` is a finite number >= 0."""
    if not (is_finite(value) and value >= 0):
        raise ValueError(f"{name} must be a finite number >= 0, got {name}={value!r}")
