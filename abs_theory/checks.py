"""Checks of arguments: each raises ValueError, with what must hold and what was given."""

import collections.abc
import difflib
import functools
import inspect
import itertools
import math
import re
import reprlib
import stat
import sys
import types
from collections.abc import Callable, Iterable
from numbers import Integral, Real
from pathlib import Path
from typing import Annotated, Any, ForwardRef, Literal, TypeGuard, TypeVar, Union, get_args, get_origin, is_typeddict

import numpy as np
from numpy.typing import ArrayLike, NDArray

MAX_WORKERS = 1_000_000  # an array per worker and quantity then takes 8 MB, and a law per worker 8 MB
FEWEST_LETTERS = 3  # of the beginning of a name, from which it is guessed
MAX_BYTES = 1 << 30  # of one thing that a user asks for, so that a computer of 4 GB still answers


def is_integer(value: object) -> TypeGuard[int]:
    """True for Python and numpy integers; False for booleans and for all floats, also 2.0."""
    return type(value) is int or (isinstance(value, Integral) and not isinstance(value, bool))  # the first is fast


def is_finite(value: object) -> TypeGuard[float]:
    """True for a finite real number that is not a boolean."""
    if type(value) is float or type(value) is int:  # a fast answer for most
        return math.isfinite(value)
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def plain_name(name: str) -> str:
    """``name`` in lower case, without hyphens, underscores and spaces, to compare names that users write.

    >>> plain_name("Hyper-Exponential")
    'hyperexponential'
    """
    return re.sub(r"[-_ ]", "", name).lower()


def instead(given: str, known: Iterable[str], otherwise: str, shown: Callable[[str], str] = str) -> str:
    """End of a message about the unknown name ``given``: "; did you mean ...?" if a known one is close, ``otherwise``.

    ``shown`` turns the known name into what the user would write.

    >>> instead("gama", ["gamma", "pareto"], "there are gamma, pareto")
    "; did you mean 'gamma'? there are gamma, pareto"
    """
    known = list(known)
    begun = [name for name in known if len(given) >= FEWEST_LETTERS and name.startswith(given)]
    close = begun or difflib.get_close_matches(given, known, n=1)
    return f"; did you mean {shown(close[0])!r}? {otherwise}" if close else f"; {otherwise}"


def check_count(name: str, value: object, minimum: int = 1, maximum: int | None = None) -> None:
    """Raise ValueError unless ``value`` is an integer from ``minimum`` to ``maximum``, if there is one."""
    if not (is_integer(value) and value >= minimum):
        raise ValueError(f"{name} must be an integer >= {minimum}, got {name}={value!r}")
    if maximum is not None and value > maximum:
        raise ValueError(f"{name} must be at most {maximum}, got {name}={value!r}: choose a smaller one")


def check_memory(what: str, number_of_bytes: float) -> None:
    """Raise ValueError if ``what``, which is about to be made, takes more than 1 GiB of memory.

    >>> check_memory("a model of 1e6 parameters", 8e6)
    """
    if number_of_bytes > MAX_BYTES:
        needed, limit = number_of_bytes / 2**30, MAX_BYTES / 2**30
        raise ValueError(
            f"{what} would take {needed:.3g} GiB of memory, more than {limit:.3g} GiB: choose a smaller one"
        )


def check_input_file(path: Path) -> None:
    """Raise ValueError if ``path`` is a device or a pipe, which may never end; OSError if it cannot be looked at."""
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise ValueError(f"{path} must be a file, but is a device or a pipe: copy its content to a file first")


def check_k(k: object, n: object) -> None:
    """Raise ValueError unless ``n`` is a positive integer and ``k`` an integer in 1..n."""
    check_count("n", n)
    if not (is_integer(k) and is_integer(n) and 1 <= k <= n):
        mend = f": write {int(k)}" if isinstance(k, float) and k.is_integer() else ""
        raise ValueError(f"k must be a whole number in 1..n, got k={k!r} with n={n} workers{mend}")


def check_positive(name: str, value: object) -> None:
    """Raise ValueError unless ``value`` is a finite number > 0."""
    if not (is_finite(value) and value > 0):
        raise ValueError(f"{name} must be a finite number > 0, got {name}={value!r}")


def check_nonnegative(name: str, value: object) -> None:
    """Raise ValueError unless ``value`` is a finite number >= 0."""
    if not (is_finite(value) and value >= 0):
        raise ValueError(f"{name} must be a finite number >= 0, got {name}={value!r}")


def check_flag(name: str, value: object) -> None:
    """Raise ValueError unless ``value`` is True or False."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be True or False, got {name}={value!r}")


def check_function(name: str, value: object) -> None:
    """Raise ValueError unless ``value`` can be called."""
    if not callable(value):
        raise ValueError(f"{name} must be a function, got {name}={value!r}")


def check_n_jobs(value: object) -> None:
    """Raise ValueError unless ``value`` is a number of processes as joblib counts them: not 0, and -1 for all cores."""
    if not is_integer(value) or value == 0:
        raise ValueError(f"n_jobs must be a number of processes, or -1 for all cores, got n_jobs={value!r}")


def store_floats(values: object, *names: str) -> None:
    """Replace fractions and other exact numbers in the attributes ``names`` of a frozen dataclass by floats.

    numpy does not compute with them.  Integers stay, and so does what is no number.
    """
    for name in names:
        value = getattr(values, name)
        if isinstance(value, Real) and not isinstance(value, int | float):
            object.__setattr__(values, name, float(value))


def check_rng(rng: object) -> None:
    """Raise ValueError unless ``rng`` is a numpy Generator."""
    if not isinstance(rng, np.random.Generator):
        raise ValueError(f"rng must be a numpy Generator such as np.random.default_rng(0), got {rng!r}")


def checked_array(
    name: str, value: ArrayLike | None, *, positive: bool = False, whole: bool = False
) -> NDArray[np.float64]:
    """``value`` as an array of floats; ValueError unless all are finite and >= 0.

    ``positive`` asks for > 0, ``whole`` for whole numbers.  Texts, booleans and complex numbers are no numbers here.
    """
    array = real_numbers(value)
    valid = np.isfinite(array) & ((array > 0) if positive else (array >= 0))
    if whole:
        valid &= array == np.floor(array)
    if not np.all(valid):
        kind = "whole numbers" if whole else "finite numbers"
        raise ValueError(f"{name} must be {kind} {'>' if positive else '>='} 0, got {name}={value!r}")
    return array


def real_numbers(value: object) -> NDArray[np.float64]:
    """``value`` as an array of floats; a single NaN if something in it is no real number.

    numpy would also take texts such as "2" and booleans, and drop the imaginary part of a complex number.

    >>> real_numbers([1, 2.5]).tolist(), real_numbers(["1", "2"]).tolist(), real_numbers(True).tolist()
    ([1.0, 2.5], nan, nan)
    """
    entries = value if isinstance(value, list | tuple) else ()
    try:
        array = np.asarray(value)
        if array.dtype.kind == "O":
            entries = array.ravel().tolist()
        if array.dtype.kind in "iufO" and not any(isinstance(entry, str | bool | np.bool_) for entry in entries):
            return array.astype(float)
    except (TypeError, ValueError, OverflowError):
        pass
    return np.array(np.nan)


def check_max_staleness(value: object) -> None:
    """Raise ValueError unless ``value`` is a whole number >= 0, or None or inf for no bound."""
    unbounded = value is None or (isinstance(value, float) and value == math.inf)
    is_whole = is_integer(value) or (isinstance(value, float) and value.is_integer())
    if not (unbounded or (is_whole and value >= 0)):  # pyright: ignore[reportOperatorIssue]
        raise ValueError(f"max_staleness must be a whole number >= 0, or None for no bound, got {value!r}")


def on_one_grid(k: ArrayLike, max_staleness: ArrayLike | None) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
    """Both as arrays of the grid to which they broadcast; ValueError if there is none, or it is empty."""
    ks, bounds = np.asarray(k, dtype=object), np.asarray(max_staleness, dtype=object)
    if not (ks.size and bounds.size):
        raise ValueError(f"k and max_staleness must not be empty, got k={k!r}, max_staleness={max_staleness!r}")
    try:
        ks, bounds = np.broadcast_arrays(ks, bounds)
    except ValueError:
        raise ValueError(
            f"k and max_staleness must broadcast to one grid, got shapes {ks.shape} and {bounds.shape}"
        ) from None
    return ks, bounds


# ---------------------------------------------------------------- arguments of a wrong type

Explained = TypeVar("Explained", bound=Callable[..., object])
_WORDS: dict[object, str] = {
    "float": "a number", "int": "an integer", "str": "a text", "bool": "True or False", "NoneType": "None",
    "None": "None", "Path": "a pathlib.Path", "PathLike": "a path", "Law": "a delay law such as Exponential(1.0)",
    "Generator": "a numpy Generator such as np.random.default_rng(0)", "DataFrame": "a pandas DataFrame",
    "Callable": "a function", "Mapping": "a mapping such as a dict", "ndarray": "an array of numbers",
}  # fmt: skip
_PACKAGES = ("abs_theory", "simulations", "paper_figs")
_MOST_ENTRIES = 100  # of a sequence or mapping, in which one of a wrong type is looked for


def explains_types(function: Explained) -> Explained:
    """Decorate a public function or class, so that a failure inside it names the argument of a wrong type.

    A call that works costs nothing more.  When one ends in TypeError, AttributeError, LookupError, or a ValueError of
    another library, and an argument does not fit its annotation, ValueError says which and what it must be.

    >>> @explains_types
    ... def halves(k: int) -> list[int]:
    ...     return [k // 2, k - k // 2]
    >>> halves("8")
    Traceback (most recent call last):
    ValueError: k of halves must be an integer, got '8'
    """
    if isinstance(function, type):
        setattr(function, "__init__", _explaining(function.__init__, function.__name__))  # noqa: B010
        return function  # pyright: ignore[reportReturnType]
    return _explaining(function, function.__name__)


def _explaining(function: Any, name: str) -> Any:
    signature = inspect.signature(function)

    @functools.wraps(function)
    def explained(*args: Any, **keywords: Any) -> Any:
        try:
            return function(*args, **keywords)
        except (TypeError, AttributeError, ValueError, LookupError, EOFError) as problem:
            if isinstance(problem, ValueError) and _is_ours(problem):
                raise
            try:
                given = signature.bind(*args, **keywords).arguments
            except TypeError:  # an argument is missing or unknown, or there are too many: Python's message is clear
                known = [argument for argument in signature.parameters if argument != "self"]
                if (unknown := next((word for word in keywords if word not in known), None)) is not None:
                    there_are = f"there are {', '.join(known)}" if known else "it takes none"
                    raise TypeError(f"{problem}{instead(unknown, known, there_are)}") from None
                raise problem from None
            for argument, value in given.items():
                parameter = signature.parameters[argument]
                if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                    continue
                wanted = _resolved(parameter.annotation, function.__module__)
                if not _fits(value, wanted):
                    shown = reprlib.repr(value)
                    raise ValueError(f"{argument} of {name} must be {_in_words(wanted)}, got {shown}") from problem
            raise

    return explained


def _is_ours(problem: ValueError) -> bool:
    """Whether this package has raised ``problem``, and so with words about the argument."""
    place = problem.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    raised_by = "" if place is None else place.tb_frame.f_globals.get("__name__", "")
    converted = str(problem).startswith("could not convert")  # by float or numpy, called from here
    return raised_by.partition(".")[0] in _PACKAGES and not converted


def _resolved(annotation: object, module: str) -> object:
    """``annotation`` as a type; as its text where it is one that is imported for type checkers only."""
    if isinstance(annotation, ForwardRef):
        annotation = annotation.__forward_arg__
    if isinstance(annotation, str):
        try:
            return eval(annotation, vars(sys.modules[module]).copy())  # what typing.get_type_hints does, one by one
        except Exception:
            return annotation
    return annotation


def _fits(value: object, wanted: Any) -> bool:
    """False if ``value`` is certainly none of ``wanted``, an annotation."""
    origin, inner = get_origin(wanted), get_args(wanted)
    if wanted in (Any, object, inspect.Parameter.empty) or isinstance(wanted, TypeVar):
        return True
    if isinstance(wanted, str):  # the names of types that are not loaded
        names = {kind.__name__ for kind in type(value).__mro__}
        return any(part.partition("[")[0].rpartition(".")[2] in names | {str(value)} for part in _parts(wanted))
    if origin in (Union, types.UnionType):
        if _says_array(inner):
            others = [kind for kind in inner if kind not in get_args(ArrayLike)]
            return _is_numeric(value) or any(_fits(value, kind) for kind in others)
        return any(_fits(value, kind) for kind in inner)
    if origin is Annotated:
        return _fits(value, inner[0])
    if origin is Literal:
        return isinstance(value, str | int) and value in inner
    if is_typeddict(wanted):
        return isinstance(value, collections.abc.Mapping) and set(value) <= set(wanted.__annotations__)
    if wanted in (None, types.NoneType):
        return value is None
    if wanted is int:
        return is_integer(value)
    if wanted is float:
        return isinstance(value, Real) and not isinstance(value, bool)
    if wanted is bool:
        return isinstance(value, bool | np.bool_)
    if origin is np.ndarray:
        return isinstance(value, np.ndarray) and _is_numeric(value)
    kind = origin or wanted
    if kind is collections.abc.Callable:
        return callable(value)
    if getattr(kind, "_is_protocol", False):
        return all(hasattr(value, name) for name in vars(kind) if not name.startswith("_"))
    if not isinstance(kind, type):
        return True
    if not isinstance(value, kind) or (isinstance(value, str | bytes) and kind not in (str, bytes)):
        return False
    return _entries_fit(value, kind, inner)


def _entries_fit(value: Any, kind: type, inner: tuple[object, ...]) -> bool:
    """Whether the first entries of a sequence or mapping fit; ``inner`` has what they must be."""
    if issubclass(kind, collections.abc.Mapping) and len(inner) == 2:
        pairs = itertools.islice(value.items(), _MOST_ENTRIES)
        return all(_fits(key, inner[0]) and _fits(entry, inner[1]) for key, entry in pairs)
    if issubclass(kind, tuple) and inner[-1:] != (...,):
        return not inner or (len(value) == len(inner) and all(map(_fits, value, inner)))
    if issubclass(kind, collections.abc.Collection) and inner:
        return all(_fits(entry, inner[0]) for entry in itertools.islice(value, _MOST_ENTRIES))
    return True


def _parts(text: str) -> list[str]:
    """The types of a union that is written as text."""
    return [part.strip() for part in text.split("|")]


def _says_array(kinds: tuple[object, ...]) -> bool:
    return set(get_args(ArrayLike)) <= set(kinds)


def _is_numeric(value: Any) -> bool:
    try:
        np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        return False
    return value is not None


def _in_words(wanted: Any) -> str:
    """An annotation as a message says it: "a number or None"."""
    origin, inner = get_origin(wanted), get_args(wanted)
    if origin in (Union, types.UnionType):
        numbers = ["a number or an array of numbers"] if _says_array(inner) else []
        others = [kind for kind in inner if not numbers or kind not in get_args(ArrayLike)]
        return " or ".join(dict.fromkeys([*numbers, *map(_in_words, others)]))
    if origin is Annotated:
        return _in_words(inner[0])
    if origin is Literal:
        return " or ".join(map(repr, inner))
    if isinstance(wanted, str) and len(_parts(wanted)) > 1:
        return " or ".join(map(_in_words, _parts(wanted)))
    text = wanted if isinstance(wanted, str) else getattr(origin or wanted, "__name__", str(wanted))
    kind = text.partition("[")[0].rpartition(".")[2]
    if kind in _WORDS:
        return _WORDS[kind]
    if not inner or inner[0] is ...:
        return f"{'an' if kind[0] in 'AEIOU' else 'a'} {kind if kind[0].isupper() else kind.lower()}"
    entry = _in_words(inner[0]).removeprefix("an ").removeprefix("a ")
    return f"a {kind.lower()} of {entry}s"
