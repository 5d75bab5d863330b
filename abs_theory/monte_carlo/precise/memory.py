r"""Whether a simulated server remembers how it began, and how much what it does still changes.

Suppose a worker hardly ever delivers before its threshold restarts it, or just then: all its tasks take theta + 1
rounds.  Then it always begins in the same of theta + 1 rounds, its *phase*, and the numbers of workers in each phase
hardly ever change.  If delays are bounded, they may never change, even if the delays have densities.  Otherwise the
long run is reached after more updates than training ever makes.
Source: notebooks/proofs/staleness.ipynb, section on what "auto" does, with the lemma on phases.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from itertools import pairwise
from typing import Any

import numpy as np

from abs_theory.monte_carlo.fast import TaskPool
from abs_theory.monte_carlo.tally import counts
from abs_theory.results import SteadyState
from abs_theory.typing import Array, Ints

__all__ = ["in_first_phase", "or_near", "remembers", "with_change"]

LEAST_CORRELATION = 0.25  # of the numbers in a phase, then and now
SIGNIFICANT = 4.0  # errors, from which on a change explains a difference
STANDARD_ERRORS = 5.0  # of the correlation of independent numbers; in a stated error


def in_first_phase(pool: TaskPool) -> Ints:
    """Tasks at work that began at a multiple of theta + 1 updates, replicates x groups."""
    first = (pool.tasks & pool.version) == pool.updates - pool.updates % int(pool.late)
    if pool.workers.equal:
        return first.sum(axis=1)[:, None]
    groups, mine = len(pool.workers.laws), (pool.tasks & pool.group) >> pool.shift
    return counts(np.where(first, mine, groups), groups + 1)[:, :groups]


def remembers(then: Ints, now: Ints) -> bool:
    """Whether the phases of a group, ``then`` and ``now`` (replicates x groups), are correlated."""
    then, now = then - then.mean(axis=0), now - now.mean(axis=0)
    scale = np.sqrt((then**2).sum(axis=0) * (now**2).sum(axis=0))
    correlation = (then * now).sum(axis=0)[scale > 0] / scale[scale > 0]
    return bool(np.any(correlation > max(LEAST_CORRELATION, STANDARD_ERRORS / math.sqrt(len(now)))))


def with_change(state: SteadyState, windows: Sequence[SteadyState], times: float) -> SteadyState:
    """The ``state``, whose errors also cover ``times`` the largest change of ``windows``, one after another.

    A change is what the difference is beyond its noise, for the squares of both add up.
    """
    errors: dict[str, Any] = {}
    for name, ((_, error), *seen) in _aligned(state, *windows):
        changes = [
            np.sqrt(np.maximum((b - a) ** 2 - (a_error**2 + b_error**2) / STANDARD_ERRORS**2, 0.0))
            for (a, a_error), (b, b_error) in pairwise(seen)
        ]
        wider = error + times * np.max(changes, axis=0)
        errors[name] = wider[0].item() if np.ndim(getattr(state, name)) == 0 else wider[: np.size(getattr(state, name))]
    return replace(state, error=replace(state.error, **errors))


def or_near(state: SteadyState, other: SteadyState, changed: SteadyState) -> SteadyState:
    """The ``state``, whose errors also cover the ``other``, unless the change of that explains the difference.

    ``changed`` is the other with errors for its change.
    """
    errors: dict[str, Any] = {}
    for name, ((a, error), (b, b_error), (_, changing)) in _aligned(state, other, changed):
        apart, change = np.abs(a - b), changing - b_error
        explained = (change > apart) & (change > SIGNIFICANT * b_error)
        wider = np.maximum(error, np.where(explained, 0.0, apart + b_error))
        errors[name] = wider[0].item() if np.ndim(getattr(state, name)) == 0 else wider[: np.size(getattr(state, name))]
    return replace(state, error=replace(state.error, **errors))


def _aligned(*states: SteadyState) -> Iterator[tuple[str, list[tuple[Array, Array]]]]:
    """Name of each field, and its value and error in each of the states."""
    for name in (f.name for f in fields(SteadyState) if f.name not in ("method", "error")):
        size = max(np.size(getattr(state, name)) for state in states)
        yield name, [_value_and_error(state, name, size) for state in states]


def _value_and_error(state: SteadyState, name: str, size: int) -> tuple[Array, Array]:
    """A field and its error, with zeros up to ``size`` for a staleness never seen."""
    assert state.error is not None
    value, error = (_padded(np.atleast_1d(getattr(part, name)), size) for part in (state, state.error))
    return value, error


def _padded(values: Array, size: int) -> Array:
    """``values`` with zeros up to ``size``: a staleness never seen."""
    return np.pad(values, (0, size - values.size))
