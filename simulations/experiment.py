"""The one place where delay law, problem, protocol and policy meet."""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

import joblib
import pandas as pd
from tqdm import tqdm

from abs_theory.checks import check_count, check_positive, is_finite
from abs_theory.delays import Delay
from simulations.fleets import Fleet, as_fleet
from simulations.job import check_protocol
from simulations.names import FLEET, PROBLEM, PROTOCOL
from simulations.problems import Problem
from simulations.reading import Reading, check_names, read_arguments, read_call
from simulations.run import run_replicate
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
    check_protocol(protocol)
    if isinstance(problem, type) or not isinstance(problem, Problem):
        raise ValueError(f"problem must be a Problem such as perceptron_digits(n), got {problem!r}")
    fleet = as_fleet(delay, n)
    if getattr(problem, "n", n) != n:
        raise ValueError(f"the problem splits its data among {getattr(problem, 'n', None)} workers, got n={n}")
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
    chosen = range(replicates) if isinstance(replicates, int) else list(replicates)
    if not chosen:
        raise ValueError(f"replicates must be a number >= 1 or which ones to run, got {replicates}")
    for replicate in chosen:
        check_count("replicate", replicate, minimum=0)
    if target is not None:
        names = ["loss", *problem.metrics(problem.initial)]
        if not (isinstance(target, tuple) and len(target) == 2 and target[0] in names and is_finite(target[1])):
            raise ValueError(f"target must be (one of {', '.join(names)}; a finite number), got {target!r}")
        if eval_every == math.inf:
            raise ValueError("a target is looked for at evaluations: give eval_every (seconds)")

    def one(replicate: int) -> tuple[pd.DataFrame, pd.DataFrame]:
        return run_replicate(
            protocol, problem, fleet, seed=seed, replicate=replicate, step_size=step_size, local_steps=local_steps,
            jobs=jobs, num_updates=num_updates or math.inf, time_budget=time_budget or math.inf,
            eval_every=eval_every, target=target,
        )  # fmt: skip

    parallel = joblib.Parallel(n_jobs=1 if len(chosen) == 1 else n_jobs, return_as="generator")
    results = parallel(joblib.delayed(one)(replicate) for replicate in chosen)
    several = len(chosen) > 1  # a single run is often one of many, in a process that has no use for a bar
    bar = tqdm(results, total=len(chosen), unit="run", disable=None, leave=False) if several else results
    rounds, tasks = zip(*bar, strict=True)
    table = pd.concat(rounds, ignore_index=True)
    return (table, pd.concat(tasks, ignore_index=True)) if jobs else table


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
    arguments; values that a factory refuses are found by ``run``.
    """

    protocol: Annotated[Any, PROTOCOL]
    problem: Annotated[Any, PROBLEM]
    n: int
    step_size: Annotated[Any, Policy]
    seed: int
    delay: Annotated[Any, Delay, Sequence[Delay]] = None
    fleet: Annotated[Any, FLEET, Sequence[FLEET]] = None
    num_updates: int | None = None
    time_budget: float | None = None
    local_steps: int = 1
    replicates: int | Sequence[int] = 1
    eval_every: float = math.inf
    target: tuple[str, float] | None = None
    jobs: bool = False

    def __post_init__(self) -> None:
        if self.delay is None and self.fleet is None:
            raise ValueError("give delay, the law of a local step, or a fleet")
        for name, value in self._reading.plain.items():
            object.__setattr__(self, name, value)

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
        return tuple(range(self.replicates)) if isinstance(self.replicates, int) else tuple(self.replicates)

    @property
    def files(self) -> tuple[str, ...]:
        """The files the run will read."""
        return self._reading.files

    def run(self, n_jobs: int = -1, replicates: int | Sequence[int] | None = None) -> Any:
        """What ``simulate`` returns for these arguments; ``replicates`` (None: its own) as there."""
        reading = self._reading
        own: dict[str, Any] = {"n": self.n, "step_size": self.step_size if is_finite(self.step_size) else None}
        made: Any = reading.parts["delay"].make(own) if self.delay is not None else None
        own["delay"] = made
        for j, table in enumerate([self.fleet] if isinstance(self.fleet, Table) else self.fleet or []):
            so_far = None if made is None else as_fleet(made, self.n)
            made = read_call(FLEET, table, f"fleet[{j}]").make({**own, "fleet": so_far, "otherwise": so_far})
        problem = reading.parts["problem"].make(own)
        own["constants"] = getattr(problem, "constants", None)
        rest = {name: part.make(own) for name, part in reading.parts.items() if name not in _MADE_FIRST}
        if replicates is not None:
            rest["replicates"] = replicates
        return simulate(rest.pop("protocol"), problem, made, **rest, n_jobs=n_jobs)

    @cached_property
    def _reading(self) -> Reading:
        return read_arguments(type(self), self.as_table(), "", "a run", supplied=())


_MADE_FIRST = ("delay", "fleet", "problem")


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
