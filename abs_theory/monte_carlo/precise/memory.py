r"""Whether a simulated server remembers how it began, and results that hold for either beginning.

Suppose a worker hardly ever delivers before its threshold restarts it, or just then: all its tasks take theta + 1
rounds.  Then it always begins in the same of theta + 1 rounds, its *phase*, and the numbers of workers in each phase
hardly ever change.  If delays are bounded, they may never change, even if the delays have densities.  Otherwise the
long run is reached after more updates than training ever makes.  So both beginnings count: the mean over phases at
random, and all workers fresh.  For steady workers (``mixing.STEADY_ENOUGH``) both are always played: workers of
random phases may soon forget theirs, and workers that begin together still go on in their own way.
Source: notebooks/proofs/staleness.ipynb, section on what "auto" does, with the lemma on phases.
"""

import math
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import numpy as np

from abs_theory.monte_carlo.fast import TaskPool
from abs_theory.monte_carlo.tally import counts
from abs_theory.results import SteadyState
from abs_theory.typing import Array, Ints

__all__ = ["agree", "in_first_phase", "of_either_beginning", "remembers", "resolves"]

LEAST_CORRELATION = 0.25  # of the numbers in a phase, then and now
# of two beginnings, in errors of one (3 standard errors of the difference), and absolute
LEAST_DIFFERENCE, NO_DIFFERENCE = 1.0, 1e-9
STANDARD_ERRORS = 5.0  # of the correlation of independent numbers


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


def agree(mixed: SteadyState, together: SteadyState) -> bool:
    """Whether workers that began ``together`` differ from those of random phases by at most LEAST_DIFFERENCE errors."""
    return not any(
        np.any(np.abs(a - b) > LEAST_DIFFERENCE * np.maximum(a_error, b_error) + NO_DIFFERENCE)
        for _, ((a, a_error), (b, b_error)) in _aligned(mixed, together)
    )


def resolves(state: SteadyState, error: float) -> bool:
    """Whether the errors of round time (relative) and idle fraction are at most this; wider ones agree with all."""
    assert state.error is not None
    of_time = state.error.round_time <= error * state.round_time
    return bool(of_time and state.error.idle_fraction <= error)


def of_either_beginning(mixed: SteadyState, soon: SteadyState, later: SteadyState) -> SteadyState:
    """The middle of phases at random, ``mixed``, and of workers that began together, ``soon``.

    The errors cover both, and ``later``, for workers that keep in step may have longer cycles than were watched.
    What is conserved in each is conserved in the middle.
    """
    values: dict[str, Any] = {}
    errors: dict[str, Any] = {}
    for name, ((a, a_error), (b, b_error), (c, c_error)) in _aligned(mixed, soon, later):
        middle = (a + b) / 2
        error = np.abs(a - b) / 2 + np.maximum(a_error, b_error)
        error = np.maximum(error, np.abs(middle - c) + c_error)
        scalar = np.ndim(getattr(mixed, name)) == 0
        values[name], errors[name] = (x[0].item() if scalar else x for x in (middle, error))
    return SteadyState(**values, method=mixed.method, error=SteadyState(**errors))


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
