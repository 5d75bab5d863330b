"""The one place where delay law, problem, protocol and policy meet."""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from abs_theory.checks import check_count, check_positive, is_finite
from abs_theory.delays import Delay
from simulations.experiment.names import FLEET, PROBLEM, PROTOCOL
from simulations.experiment.reading import Reading, check_names, read_arguments, read_call
from simulations.experiment.simulator import checked_replicates, simulate
from simulations.experiment.toml import Table, from_toml, to_toml
from simulations.fleets import as_fleet
from simulations.server import Budget, Policy, Run, Server

Made = TypeVar("Made")


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Everything a run needs, as plain values that go by the names they have in Python: what a TOML file says.

    ``protocol`` and ``problem`` are tables such as ``{"name": "abs_sgd", "k": 5, "max_staleness": 3}``: a factory of
    ``simulations.protocols`` or ``.problems``, or ``"module:factory"``, and its arguments; a policy among them is
    ``{"policy": "relative_to_mean", "c": 1.0}``.  ``delay`` is the law of a local step as text or table (see
    ``abs_theory.delays.text``), a Delay, or a list of them for unequal workers; ``fleet`` one or several tables, each
    of which changes the workers made so far (``fleets``, ``links``, ``stragglers``), or makes them (``replay``).  The
    rest is as in ``simulate``.  Factories that are not given ``n``, ``delay``, ``step_size``, ``fleet`` or the
    ``constants`` of the problem get the run's own.

    Compared by value, defaults filled in.  Raises ValueError, with the key, for unknown, missing and ill-typed
    arguments and for numbers that cannot be; what a factory refuses is found by ``check`` and ``run``.
    """

    protocol: Annotated[Any, PROTOCOL]  #: table of a protocol, or its name alone
    problem: Annotated[Any, PROBLEM]  #: table of a problem, or its name alone
    n: int  #: number of workers
    step_size: Annotated[Any, Policy]  #: number, or table of a policy
    seed: int  #: of all that is drawn, an integer >= 0
    #: law of a local step, for each worker if it is a list; None: the fleet says it
    delay: Annotated[Any, Delay, Sequence[Delay]] = None
    #: table, or list of them, of what happens to the workers; None: nothing more
    fleet: Annotated[Any, FLEET, Sequence[FLEET]] = None
    num_updates: int | None = None  #: after which a run ends; None: no limit
    time_budget: float | None = None  #: seconds after which a run ends; None: no limit
    local_steps: int = 1  #: per task
    replicates: int | Sequence[int] = 1  #: their number, or which ones
    eval_every: float = math.inf  #: seconds between evaluations; inf: none but the last
    target: tuple[str, float] | None = None  #: column and value at which a run ends; None: none
    jobs: bool = False  #: whether to return the table of tasks, too

    def __post_init__(self) -> None:
        if self.delay is None and self.fleet is None:
            raise ValueError("give delay, the law of a local step, or a fleet")
        for name, value in self._reading.plain.items():
            object.__setattr__(self, name, value)
        check_count("n", self.n)
        check_count("local_steps", self.local_steps)
        check_count("seed", self.seed, minimum=0)
        _ = self._budget
        checked_replicates(self.replicates)
        if isinstance(self.step_size, int | float):
            check_positive("step_size", self.step_size)

    def __getstate__(self) -> dict[str, Any]:  # without what was read, which is functions
        return dict(self.as_table())

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> Self:
        """The experiment of a table with these keys.  Raises ValueError for any other table."""
        check_names(cls, table, "", "a run", supplied=())
        return cls(**table)

    @classmethod
    def from_toml(cls, path: str | os.PathLike) -> Self:
        """The experiment that a TOML file describes; ValueError with the file and the key if it does not."""
        return made_from(path, cls.of)

    def to_toml(self) -> str:
        """TOML that ``from_toml`` reads back as the same value."""
        return to_toml(self.as_table())

    def as_table(self) -> Table:
        """The plain values by name, without those that are None."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return Table({name: value for name, value in values.items() if value is not None})

    @property
    def which(self) -> tuple[int, ...]:
        """The replicates to run."""
        return checked_replicates(self.replicates)

    @property
    def files(self) -> tuple[str, ...]:
        """The files the run will read."""
        return self._reading.files

    def run(self, n_jobs: int = -1, replicates: int | Sequence[int] | None = None) -> Any:
        """What ``simulate`` returns for these arguments; ``replicates`` (None: its own) as there."""
        made = self._make()
        if replicates is not None:
            made["replicates"] = replicates
        return simulate(**made, n_jobs=n_jobs)

    def check(self) -> None:
        """Raise ValueError, with the key, if a run would refuse to begin.

        Builds all that it needs, and lets one replicate make its first decisions: milliseconds, where no policy has
        much to compute.
        """
        made = self._make()
        run = Run(
            protocol=made["protocol"], problem=made["problem"], fleet=as_fleet(made["delay"], self.n),
            step_size=made["step_size"], local_steps=self.local_steps, seed=self.seed, budget=self._budget,
        )  # fmt: skip
        try:
            Server(run, self.which[0])
        except ValueError as refused:
            own = str(refused).startswith("step_size")
            raise ValueError(f"{'' if own else 'protocol: '}{refused}") from None

    @property
    def _budget(self) -> Budget:
        return Budget(
            num_updates=self.num_updates, time_budget=self.time_budget, eval_every=self.eval_every, target=self.target
        )

    def _make(self) -> dict[str, Any]:
        """The arguments of ``simulate``."""
        reading = self._reading
        own: dict[str, Any] = {"n": self.n, "step_size": self.step_size if is_finite(self.step_size) else None}
        made: Any = reading.parts["delay"].make(own) if self.delay is not None else None
        own["delay"] = made
        fleets = {"fleet": self.fleet} if isinstance(self.fleet, Table | str) else _numbered("fleet", self.fleet)
        for key, table in fleets.items():
            so_far = None if made is None else as_fleet(made, self.n)
            made = read_call(FLEET, table, key).make({**own, "fleet": so_far, "otherwise": so_far})
        problem = reading.parts["problem"].make(own)
        own["constants"] = getattr(problem, "constants", None)
        rest = {name: part.make(own) for name, part in reading.parts.items() if name not in _MADE_FIRST}
        return {"problem": problem, "delay": made, **rest}

    @cached_property
    def _reading(self) -> Reading:
        return read_arguments(type(self), self.as_table(), "", "a run", supplied=())


_MADE_FIRST = ("delay", "fleet", "problem")


def _numbered(key: str, tables: Sequence[Any] | None) -> dict[str, Any]:
    return {f"{key}[{j}]": table for j, table in enumerate(tables or [])}


def made_from(path: str | os.PathLike, make: Callable[[dict[str, Any]], Made]) -> Made:
    """What ``make`` makes of the table in a TOML file; its ValueErrors name the file."""
    table = read_toml(path)
    try:
        return make(table)
    except ValueError as problem:
        raise ValueError(f"{path}: {problem}") from None


def read_toml(path: str | os.PathLike) -> dict[str, Any]:
    """The table in a TOML file (``tables.from_toml``).

    Raises ValueError, naming the file, if it holds none; OSError if it cannot be read.
    """
    try:
        return from_toml(Path(path).read_bytes().decode())
    except UnicodeDecodeError as problem:
        raise ValueError(f"{path} is not text in UTF-8: {problem}") from None
    except ValueError as problem:
        raise ValueError(f"{path} is not valid TOML: {problem}") from None
    except RecursionError:
        raise ValueError(f"{path} is nested too deeply") from None
