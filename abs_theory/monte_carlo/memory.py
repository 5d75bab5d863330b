r"""Whether a simulated server remembers how it began, and results that hold for either beginning.

Suppose a worker hardly ever delivers before its threshold restarts it, or just then: all its tasks take theta + 1
rounds.  Then it always begins in the same of theta + 1 rounds, its *phase*, and the numbers of workers in each phase
hardly ever change.  The long run is reached after more updates than training ever makes, and until then
workers that all begin together make long and short rounds in turn.  So both beginnings count: phases at random, as in
the long run, and all workers fresh.  For steady workers (``precise.STEADY_ENOUGH``) both are always played: workers of
random phases may soon forget theirs, and workers that begin together still go on in their own way.
Source: notebooks/proofs/staleness.ipynb, section on what "auto" does, with the lemma on phases.
"""

import math
from dataclasses import fields
from typing import Any

import numpy as np

from abs_theory.monte_carlo.fast import TaskPool
from abs_theory.monte_carlo.tally import counts
from abs_theory.results import SteadyState
from abs_theory.typing import Array, Ints

__all__ = ["in_first_phase", "of_either_beginning", "remembers"]

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


def of_either_beginning(mixed: SteadyState, soon: SteadyState, later: SteadyState) -> SteadyState:
    """The middle of the long run, ``mixed``, and of workers that began together, ``soon``; ``mixed`` if it is reached.

    It is reached if the workers that began together hardly differ from it ``later``.  The errors cover all three.  What
    is conserved in each is conserved in the middle.
    """
    values: dict[str, Any] = {}
    errors: dict[str, Any] = {}
    differ = False
    for name in (f.name for f in fields(SteadyState) if f.name not in ("method", "error")):
        size = max(np.size(getattr(state, name)) for state in (mixed, soon, later))
        (a, a_error), (b, b_error), (c, c_error) = (
            _value_and_error(state, name, size) for state in (mixed, soon, later)
        )
        differ |= bool(np.any(np.abs(a - c) > LEAST_DIFFERENCE * np.maximum(a_error, c_error) + NO_DIFFERENCE))
        middle = (a + b) / 2
        error = np.abs(a - b) / 2 + np.maximum(a_error, b_error)
        error = np.maximum(error, np.abs(middle - c) + c_error)
        scalar = np.ndim(getattr(mixed, name)) == 0
        values[name], errors[name] = (x[0].item() if scalar else x for x in (middle, error))
    return SteadyState(**values, method=mixed.method, error=SteadyState(**errors)) if differ else mixed


def _value_and_error(state: SteadyState, name: str, size: int) -> tuple[Array, Array]:
    """A field and its error, with zeros up to ``size`` for a staleness never seen."""
    assert state.error is not None
    value, error = (_padded(np.atleast_1d(getattr(part, name)), size) for part in (state, state.error))
    return value, error


def _padded(values: Array, size: int) -> Array:
    """``values`` with zeros up to ``size``: a staleness never seen."""
    return np.pad(values, (0, size - values.size))
