"""Values as plain data and back, so that a run can go on with what its server remembers.  Reading them runs no code.

Tasks and arrays stand in lists of their own, once however often they are referred to.
"""

import base64
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import fields
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from simulations.server import Job

JOB_FIELDS = [field.name for field in fields(Job) if field.name != "line"]
SEQUENCES = {kind.__name__: kind for kind in (list, tuple, set, frozenset)}
MAPPINGS = {kind.__name__: kind for kind in (dict, Counter)}


class NotPlainError(ValueError):
    """A value is of a kind that cannot be kept as plain data."""


def written(value: object, lines: Sequence[list]) -> dict[str, object]:
    """A value as plain data, with all that it refers to; ``lines`` is the table of tasks, with a line for each.

    Values are numbers, texts, None, arrays, tasks, generators that ``np.random.default_rng`` makes, and the containers
    of Python.  Raises NotPlainError for others.

    >>> import json
    >>> read(json.loads(json.dumps(written({1: {2, 3}, "x": deque([0.5])}, []))), [])
    {1: {2, 3}, 'x': deque([0.5])}
    """
    writer = _Writer()
    try:
        plain = writer.of(value)
        place_of = {id(line): place for place, line in enumerate(lines)}
        jobs = []
        for job in writer.jobs:  # which may refer to others, that are added meanwhile
            jobs.append([*(writer.of(getattr(job, name)) for name in JOB_FIELDS), place_of.get(id(job.line))])
    except RecursionError:
        raise NotPlainError("it contains itself") from None
    arrays = [[array.dtype.str, array.shape, base64.b64encode(array.tobytes()).decode()] for array in writer.arrays]
    return {"value": plain, "jobs": jobs, "arrays": arrays}


class _Writer:
    """Makes plain data of values, and lists the tasks and arrays that they refer to."""

    def __init__(self):
        self.jobs: list[Job] = []
        self.arrays: list[np.ndarray] = []
        self._places: dict[int, int] = {}  # of a task or array in its list, by its identity

    def of(self, value: Any) -> object:
        """``value`` as plain data, which refers to tasks and arrays by their places."""
        if value is None or type(value) in (bool, int, float, str):
            return value
        kind, name = type(value), type(value).__name__
        if isinstance(value, np.generic):
            return value.item()
        if kind is Job:
            return {name: self._place(value, self.jobs)}
        if kind is np.ndarray and value.dtype != object:
            return {name: self._place(value, self.arrays)}
        if kind in SEQUENCES.values():
            return {name: [self.of(item) for item in value]}
        if kind in MAPPINGS.values():
            return {name: [[self.of(key), self.of(item)] for key, item in value.items()]}
        if kind is deque:
            return {name: [self.of(list(value)), value.maxlen]}
        if kind is SimpleNamespace:
            return {name: self.of(vars(value))}
        if kind is np.random.Generator and type(value.bit_generator) is np.random.PCG64:
            return {name: self.of(value.bit_generator.state)}
        raise NotPlainError(f"{name} is no plain data")

    def _place(self, value: Any, values: list[Any]) -> int:
        place = self._places.setdefault(id(value), len(values))
        if place == len(values):
            values.append(value)
        return place


def read(file: Mapping[str, object], lines: Sequence[list]) -> object:
    """The value that was ``written``; what becomes of its tasks is noted in the table ``lines``."""
    plain, job_rows, array_rows = (cast(Any, file[name]) for name in ("value", "jobs", "arrays"))
    arrays = [np.frombuffer(base64.b64decode(text), kind).reshape(shape).copy() for kind, shape, text in array_rows]
    jobs = [Job(0, 0, 0.0, np.zeros(0), 1, 0.0) for _ in job_rows]

    def value_of(data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        ((kind, content),) = data.items()
        if kind == "Job":
            return jobs[content]
        if kind == "ndarray":
            return arrays[content]
        if kind in SEQUENCES:
            return SEQUENCES[kind](map(value_of, content))
        if kind in MAPPINGS:
            return MAPPINGS[kind]({value_of(key): value_of(item) for key, item in content})
        if kind == "deque":
            return deque(value_of(content[0]), content[1])
        if kind == "Generator":
            rng = np.random.default_rng(0)
            rng.bit_generator.state = value_of(content)
            return rng
        return SimpleNamespace(**value_of(content))

    for job, (*row, place) in zip(jobs, job_rows, strict=True):
        for name, data in zip(JOB_FIELDS, row, strict=True):
            setattr(job, name, value_of(data))
        job.line = None if place is None else lines[int(place)]
    return value_of(plain)
