"""An experiment as plain values: all arguments of ``simulate`` as a TOML file gives them."""

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar, cast

import pandas as pd

from abs_theory.checks import (
    MAX_WORKERS,
    check_count,
    check_input_file,
    check_nonnegative,
    check_positive,
    explains_types,
    is_finite,
)
from abs_theory.delays import Delay
from abs_theory.delays.text import files_of_laws
from simulations.experiment.names import FLEET, PROBLEM, PROTOCOL
from simulations.experiment.reading import ONLY_IN_PYTHON, Reading, check_names, read_arguments, read_call
from simulations.experiment.simulator import checked_replicates, simulate
from simulations.experiment.toml import TomlTable, from_toml, to_toml
from simulations.fleets import as_fleet
from simulations.server import Policy, Run, RunBudget, Server, most_in_step

MAX_TOML_BYTES = 10_000_000  # of a file: 100,000 cells of a sweep, written out
Made = TypeVar("Made")
Named = str | Mapping[str, object]  # a table that names something, or the name alone
WrittenLaw = str | Mapping[str, object] | Delay
RunTables = pd.DataFrame | tuple[pd.DataFrame, pd.DataFrame]  # with jobs=True, that of the tasks too


@explains_types
@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Everything that a run needs, as plain values with the names they have in Python: the content of a TOML file.

    - ``protocol`` and ``problem`` are tables such as ``{"name": "abs_sgd", "k": 5, "max_staleness": 3}``: a factory of
      ``simulations.protocols`` or ``.problems``, or ``"module:factory"``, and its arguments.  A policy among the
      arguments is ``{"policy": "relative_to_mean", "c": 1.0}``.
    - ``delay`` is the law of one local step: a text or table (``abs_theory.delays.text``), a Delay, or a list of these
      for unequal workers.
    - ``fleet`` is one or several tables.  Each changes the workers made so far (``Links``, ``one_slow`` ...), or makes
      them (``from_trace``).
    - ``allow`` lists the modules that ``"module:factory"`` may name.  No file can set it: a module runs only if the
      caller trusts it.
    - All other fields are as in ``simulate``.

    A factory that is not given ``n``, ``delay``, ``step_size``, ``fleet`` or the ``constants`` of the problem gets
    those of the run.  Experiments are compared by value, with defaults filled in.

    Raises ValueError, with the key, for unknown, missing and ill-typed arguments and for impossible numbers.  What a
    factory refuses is found by ``check`` and ``run``.  See also ``simulate``, which takes objects instead of tables.

    >>> experiment = Experiment(protocol={"name": "k_sync", "k": 2}, problem="TimingOnly", n=4, seed=0, step_size=1.0,
    ...                         delay="exponential:mean=1", num_updates=3)
    >>> experiment.run(n_jobs=1)["update"].tolist()
    [1, 2, 3]
    """

    protocol: Annotated[Named, PROTOCOL]  #: table of a protocol, or its name alone
    problem: Annotated[Named, PROBLEM]  #: table of a problem, or its name alone
    n: int  #: number of workers
    step_size: Annotated[float | Named, Policy]  #: number, or table of a policy
    seed: int  #: of all random numbers, an integer >= 0
    #: law of a local step, or a list with the law of each worker; None: the fleet says it
    delay: Annotated[WrittenLaw | Sequence[WrittenLaw] | None, Delay, Sequence[Delay]] = None
    #: table, or list of tables, of what happens to the workers; None: nothing more
    fleet: Annotated[Named | Sequence[Named] | None, FLEET, Sequence[FLEET]] = None
    num_updates: int | None = None  #: after which a run ends; None: no limit
    time_budget: float | None = None  #: seconds after which a run ends; None: no limit
    local_steps: int = 1  #: per task
    update_seconds: float | None = None  #: of an update, during which arrivals queue; None: it takes no time
    replicates: int | Sequence[int] = 1  #: how many, or which ones
    eval_every: float = math.inf  #: seconds between evaluations; inf: only the last model
    target: tuple[str, float] | None = None  #: column and value at which a run ends; None: none
    jobs: bool = False  #: whether to return the table of tasks, too
    #: modules of the user that may be imported; not part of the value
    allow: Annotated[Sequence[str], ONLY_IN_PYTHON] = field(default=(), compare=False, repr=False)

    def __post_init__(self) -> None:
        if isinstance(self.allow, str) or not all(isinstance(module, str) for module in self.allow):
            raise ValueError(f"allow must be a list of names of modules, got {self.allow!r}")
        object.__setattr__(self, "allow", tuple(self.allow))
        if self.delay is None and self.fleet is None:
            raise ValueError("give delay, the law of a local step, or a fleet")
        for name, value in cast(Mapping[str, object], self._reading.plain).items():
            object.__setattr__(self, name, value)
        check_count("n", self.n, maximum=MAX_WORKERS)
        check_count("local_steps", self.local_steps)
        check_count("seed", self.seed, minimum=0)
        if self.update_seconds is not None:
            check_nonnegative("update_seconds", self.update_seconds)
        _ = self._budget
        checked_replicates(self.replicates)
        if isinstance(self.step_size, int | float):
            check_positive("step_size", self.step_size)

    def __getstate__(self) -> dict[str, Any]:  # without the functions in _reading, which cannot be pickled
        return {**self.as_table(), "allow": self.allow}

    @classmethod
    def of(cls, table: Mapping[str, object], allow: Sequence[str] = ()) -> Self:
        """The experiment of a table whose keys are the fields.  Raises ValueError for any other table.

        ``allow`` lists the modules that the table may name in ``"module:factory"``.
        """
        if (several := next((key for key in ("sweep", "cell") if key in table), None)) is not None:
            raise ValueError(
                f"{several!r} makes a sweep of many runs, and this takes one: python -m simulations runs sweeps"
            )
        check_names(cls, table, "", "a run", supplied=())
        return cls(**cast(Mapping[str, Any], table), allow=allow)

    @classmethod
    def from_toml(cls, path: str | os.PathLike, allow: Sequence[str] = ()) -> Self:
        """The experiment that a TOML file describes; ValueError, with the file and the key, if it describes none.

        Reading a file runs no code but that of the modules in ``allow``, if the file names them.
        """
        return made_from(path, lambda table: cls.of(table, allow))

    def to_toml(self) -> str:
        """TOML that ``from_toml`` reads back as the same value."""
        return to_toml(self.as_table())

    def as_table(self) -> TomlTable:
        """The plain values by name, without those that are None."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.compare}
        return TomlTable({name: value for name, value in values.items() if value is not None})

    @property
    def which(self) -> tuple[int, ...]:
        """The replicates to run."""
        return checked_replicates(self.replicates)

    @property
    def files(self) -> tuple[str, ...]:
        """The files that the run will read, those with code of the user included."""
        return self._reading.files

    def run(self, n_jobs: int = -1, replicates: int | Sequence[int] | None = None) -> RunTables:
        """What ``simulate`` returns for these arguments; ``replicates`` (None: those of the experiment) as there."""
        made = self._make()
        if replicates is not None:
            made["replicates"] = replicates
        return simulate(**made, n_jobs=n_jobs)

    def check(self) -> None:
        """Raise ValueError, with the key, if a run would refuse to begin.

        Builds all objects and lets one replicate make its first decisions.  This takes milliseconds, unless a policy
        has much to compute.
        """
        run = self.as_run
        try:
            Server(run, self.which[0])
        except ValueError as refused:
            names_its_key = str(refused).startswith("step_size")
            raise ValueError(f"{'' if names_its_key else 'protocol: '}{refused}") from None

    @property
    def most_in_step(self) -> int:
        """How many replicates may advance in step, which is faster: 0 if none may, see ``server.most_in_step``."""
        return most_in_step(self.as_run)

    @property
    def as_run(self) -> Run:
        """All that its replicates have in common, as a server needs it."""
        made = self._make()
        return Run(
            protocol=made["protocol"], problem=made["problem"], fleet=as_fleet(made["delay"], self.n),
            step_size=made["step_size"], local_steps=self.local_steps, seed=self.seed, budget=self._budget,
            update_seconds=self.update_seconds or 0.0,
            keep_tasks=self.jobs,
        )  # fmt: skip

    @property
    def _budget(self) -> RunBudget:
        return RunBudget(
            num_updates=self.num_updates, time_budget=self.time_budget, eval_every=self.eval_every, target=self.target
        )

    def _make(self) -> dict[str, Any]:
        """The arguments of ``simulate``."""
        reading = self._reading
        own: dict[str, Any] = {"n": self.n, "step_size": self.step_size if is_finite(self.step_size) else None}
        made: Any = reading.parts["delay"].make(own) if self.delay is not None else None
        own["delay"] = made
        one_table = isinstance(self.fleet, Mapping | str)
        fleets = {"fleet": self.fleet} if one_table else _numbered("fleet", cast(Any, self.fleet))
        for key, table in fleets.items():
            so_far = None if made is None else as_fleet(made, self.n)
            made = read_call(FLEET, table, key, allow=self.allow).make({**own, "fleet": so_far, "otherwise": so_far})
        problem = reading.parts["problem"].make(own)
        own["constants"] = getattr(problem, "constants", None)
        others = {name: part.make(own) for name, part in reading.parts.items() if name not in _MADE_FIRST}
        return {"problem": problem, "delay": made, **others}

    @cached_property
    def _reading(self) -> Reading:
        return read_arguments(type(self), self.as_table(), "", "a run", supplied=(), allow=self.allow)


_MADE_FIRST = ("delay", "fleet", "problem")  # by Experiment._make: the other arguments may ask for them


def _numbered(key: str, tables: Sequence[Any] | None) -> dict[str, Any]:
    return {f"{key}[{j}]": table for j, table in enumerate(tables or [])}


@explains_types
def made_from(path: str | os.PathLike, make: Callable[[dict[str, object]], Made]) -> Made:
    """What ``make`` makes of the table in a TOML file, with the file in front of its ValueErrors.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "run.toml")
    ...     _ = path.write_text("n = 8")
    ...     made_from(path, lambda table: table["n"])
    8
    """
    table = read_toml(path)
    try:
        return make(table)
    except (ValueError, OverflowError) as problem:
        raise ValueError(f"{path}: {problem}") from None
    except RecursionError:
        raise ValueError(f"{path} is nested too deeply") from None


@explains_types
def files_named(table: Mapping[str, object]) -> list[Path]:
    """All files that the table of a TOML file may name: each text in it as a path, and the files of its delay laws.

    >>> [file.name for file in files_named({"delay": "empirical:calm.csv"})]
    ['empirical:calm.csv', 'calm.csv']
    """
    texts = list(_texts(table))
    return [*map(Path, texts), *files_of_laws(texts)]


def _texts(value: object) -> Iterator[str]:
    """The texts among the values of nested tables and lists."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(inner)


@explains_types
def read_toml(path: str | os.PathLike) -> dict[str, object]:
    """The table in a TOML file (see ``experiment.toml.from_toml``).

    Raises ValueError, naming the file, if it is not TOML; OSError if it cannot be read.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "run.toml")
    ...     _ = path.write_text("n = 8")
    ...     read_toml(path)
    {'n': 8}
    """
    path = Path(path)
    check_input_file(path)
    if (size := path.stat().st_size) > MAX_TOML_BYTES:
        raise ValueError(f"{path} must have at most {MAX_TOML_BYTES} bytes, it has {size}: it is no configuration")
    try:
        return from_toml(path.read_bytes().decode())
    except UnicodeDecodeError as problem:
        raise ValueError(f"{path} is not text in UTF-8: {problem}") from None
    except ValueError as problem:
        raise ValueError(f"{path} is not valid TOML: {problem}") from None
    except RecursionError:
        raise ValueError(f"{path} is nested too deeply") from None
