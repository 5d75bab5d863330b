"""The one place where delay law, problem, protocol and policy meet."""

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

import joblib
import pandas as pd
from tqdm import tqdm

from abs_theory.checks import check_count, check_positive, is_finite, is_integer
from abs_theory.delays import Delay
from simulations.fleets import Fleet, as_fleet
from simulations.job import check_protocol
from simulations.names import FLEET, PROBLEM, PROTOCOL
from simulations.problems import Problem
from simulations.reading import Reading, check_names, read_arguments, read_call
from simulations.run import begin, run_replicate
from simulations.server import Policy, Protocol
from simulations.tables import Table, from_toml, to_toml

Made = TypeVar("Made")


def simulate(
    protocol: Protocol,
    problem: Problem,
    delay: Delay | Sequence[Delay] | Fleet,
    n: int,
    *,
    step_size: Policy,
    num_updates: int | None = None,
    time_budget: float | None = None,
    local_steps: int = 1,
    seed: int,
    replicates: int | Sequence[int] = 1,
    eval_every: float = math.inf,
    target: tuple[str, float] | None = None,
    jobs: bool = False,
    n_jobs: int = -1,
) -> Any:
    """Train ``replicates`` times (a number, or which ones) and return a table with one row per update.

    Columns: replicate, update, time (s), k and max_staleness in force (inf if none), mean_staleness and
    largest_staleness of the gradients applied; and since the previous update, what is assigned right after
    this one included: uplinks, downlinks (the first row counts the n of the start), restarts, computed (gradients
    delivered), used, discarded (computed - used), idle_seconds (between a delivery and the next model),
    wasted_seconds (thrown away: restarted, cut off, discarded, lost), away_seconds (of workers that left); then loss
    and the problem's metrics for the model in force at each multiple of ``eval_every`` seconds, on the row of the
    update that made it, and for the last model, else NaN.

    ``delay`` is the law of one local step; a task sums ``local_steps`` draws.  A sequence gives each worker its
    own.  A run ends after ``num_updates``, before the first update past ``time_budget`` seconds, at an evaluation that
    reaches ``target`` (column, value: a loss or gradient norm to fall to, an accuracy to rise to), or when its
    loss is no longer finite: its last row then has loss = inf, the mark of a diverged run.  Replicates run in
    parallel on ``n_jobs`` processes (-1: all cores) with the same numbers on any.  With ``jobs=True`` returns also a
    table with one row per task: replicate, worker, start, end (s), read_version, end_version (updates made when it
    ended), applied_version (the update it first went into, -1: none), outcome (applied, discarded, restarted, cut off,
    lost or unfinished).
    A replicate that makes no update in its budget has no row.  Raises ValueError for bad arguments; policies are
    checked as they decide.
    """
    fleet = _checked(protocol, problem, delay, n, target)
    _check_numbers(
        n=n, num_updates=num_updates, time_budget=time_budget, local_steps=local_steps, seed=seed,
        eval_every=eval_every, target=target,
    )  # fmt: skip
    chosen = _chosen(replicates)

    def one(replicate: int) -> tuple[pd.DataFrame, pd.DataFrame]:
        server_of = partial(
            begin, protocol, problem, fleet, seed=seed, replicate=replicate, step_size=step_size,
            local_steps=local_steps, jobs=jobs,
        )  # fmt: skip
        return run_replicate(
            server_of, replicate, num_updates=num_updates or math.inf, time_budget=time_budget or math.inf,
            eval_every=eval_every, target=target,
        )  # fmt: skip

    parallel = joblib.Parallel(n_jobs=1 if len(chosen) == 1 else n_jobs, return_as="generator")
    results = parallel(joblib.delayed(one)(replicate) for replicate in chosen)
    several = len(chosen) > 1  # a single run is often one of many, in a process that has no use for a bar
    bar = tqdm(results, total=len(chosen), unit="run", disable=None, leave=False) if several else results
    rounds, tasks = zip(*bar, strict=True)
    table = pd.concat(rounds, ignore_index=True)
    return (table, pd.concat(tasks, ignore_index=True)) if jobs else table


def _checked(protocol: Any, problem: Any, delay: Any, n: Any, target: Any) -> Fleet:
    """The workers.  Raises ValueError for what is not of its kind, or does not go together."""
    check_protocol(protocol)
    if isinstance(problem, type) or not isinstance(problem, Problem):
        raise ValueError(f"problem must be a Problem such as perceptron_digits(n), got {problem!r}")
    fleet = as_fleet(delay, n)
    if getattr(problem, "n", n) != n:
        raise ValueError(f"the problem splits its data among {getattr(problem, 'n', None)} workers, got n={n}")
    if target is not None:
        names = ["loss", *problem.metrics(problem.initial)]
        if not (isinstance(target, tuple) and len(target) == 2 and target[0] in names and is_finite(target[1])):
            raise ValueError(
                f"target must be a column and a finite number to reach, such as {('loss', 0.1)}, got {target!r}; "
                f"the columns of this problem are {', '.join(names)}"
            )
    return fleet


def _check_numbers(
    *, n: Any, num_updates: Any, time_budget: Any, local_steps: Any, seed: Any, eval_every: Any, target: Any
) -> None:
    check_count("n", n)
    if num_updates is None and time_budget is None:
        raise ValueError("give num_updates or time_budget (seconds), or both: a run needs an end")
    if num_updates is not None:
        check_count("num_updates", num_updates)
    if time_budget is not None:
        check_positive("time_budget", time_budget)
    if eval_every != math.inf:
        check_positive("eval_every", eval_every)
    check_count("local_steps", local_steps)
    check_count("seed", seed, minimum=0)
    if target is not None and eval_every == math.inf:
        raise ValueError("a target is looked for at evaluations: give eval_every (seconds)")


def _chosen(replicates: Any) -> Sequence[int]:
    """Which replicates to run.  Raises ValueError unless they are at least one, none of them twice."""
    chosen = range(replicates) if is_integer(replicates) else replicates
    if not isinstance(chosen, Iterable):
        raise ValueError(f"replicates must be a number >= 1 or which ones to run, got {replicates!r}")
    chosen = tuple(chosen)
    for replicate in chosen:
        check_count("replicate", replicate, minimum=0)
    if not chosen or len(set(chosen)) < len(chosen):
        raise ValueError(f"replicates must be a number >= 1 or which ones to run, each once, got {replicates!r}")
    return chosen


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Everything a run needs, as plain values that go by the names they have in Python: what a TOML file says.

    ``protocol`` and ``problem`` are tables such as ``{"name": "abs_sgd", "k": 5, "max_staleness": 3}``: a factory of
    ``simulations.protocols`` or ``.problems``, or ``"module:factory"``, and its arguments; a policy among them is
    ``{"policy": "relative_to_mean", "c": 1.0}``.  ``delay`` is the law of a local step as text or table (see
    ``abs_theory.parse``), a Delay, or a list of them for unequal workers; ``fleet`` one or several tables, each of
    which changes the workers made so far (``fleets``, ``links``, ``stragglers``), or makes them (``replay``).  The rest
    is as in ``simulate``.  Factories that are not given ``n``, ``delay``, ``step_size``, ``fleet`` or the ``constants``
    of the problem get the run's own.

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
        _check_numbers(
            n=self.n, num_updates=self.num_updates, time_budget=self.time_budget, local_steps=self.local_steps,
            seed=self.seed, eval_every=self.eval_every, target=self.target,
        )  # fmt: skip
        _chosen(self.replicates)
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
        return tuple(_chosen(self.replicates))

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
        protocol, problem, step_size = made["protocol"], made["problem"], made["step_size"]
        fleet = _checked(protocol, problem, made["delay"], self.n, made.get("target"))
        try:
            begin(
                protocol, problem, fleet, seed=self.seed, replicate=self.which[0], step_size=step_size,
                local_steps=self.local_steps,
            )  # fmt: skip
        except ValueError as refused:
            own = str(refused).startswith("step_size")
            raise ValueError(f"{'' if own else 'protocol: '}{refused}") from None

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
