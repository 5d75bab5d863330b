"""Steady states by simulation where the mean field is not good enough, always with the same luck."""

import math
from dataclasses import replace

import numpy as np

from abs_theory import monte_carlo
from abs_theory.checks import explains_types
from abs_theory.delays import Delay
from abs_theory.monte_carlo import Rules
from abs_theory.results import TrainerState
from abs_theory.steady_state.trainer.errors import doubt, is_exact
from abs_theory.workers import Workers

__all__ = ["accurate"]

MOST_ERROR = 0.02  # of a round, that a formula may state; beyond, "auto" simulates
MOST_SLOTS = 1024  # of a simulation that nobody has asked for, if tasks vary; it then takes some seconds
GOAL = 0.008  # of a round, the 95 % half-width of a simulated one
ROUNDS, REPLICATES = 60, 32  # of a first simulation
FEWEST_REPLICATES, MANY_SLOTS = 8, 8192  # slots of all replicates, beyond which there are fewer replicates
MOST_ROUNDS = 2000  # of a second one, if the error of the first is too large
MOST_EVENTS = 100_000  # of a replicate in the first simulation, which then takes some ten seconds


@explains_types
def accurate(state: TrainerState, workers: Workers, rules: Rules, update: Delay | None) -> TrainerState:
    """``state`` if it is exact, or its stated error is small and its ``doubt`` is 0, else that of a simulation.

    It is not exact enough if lost seconds are in doubt.
    Its random numbers are made from the numbers of slots and of tasks per update, so the same question has the same
    answer.  Errors are 95 % half-widths; what is known exactly stays.
    The state stays as it is with more than ``MOST_SLOTS`` slots whose tasks vary, or more events than one may wait for.

    >>> from abs_theory.delays import LogNormal
    >>> from abs_theory.steady_state.trainer.batches import abs_batch
    >>> from abs_theory.workers import as_workers
    >>> law = LogNormal(median=1.0, sigma=1.0)
    >>> rough = abs_batch(law, k=4, n=8, max_staleness=1, update_seconds=0.5, method="mean-field")
    >>> state = accurate(rough, as_workers(law, 8), Rules(4, max_staleness=1), None)
    >>> rough.error.round_time / rough.round_time > 0.02, state.error.round_time / state.round_time < 0.01
    (True, True)
    """
    doubtful = doubt(workers)
    settled = is_exact(state) and not (doubtful and state.error.wasted_fraction)
    if settled or (not doubtful and float(state.error.round_time) <= MOST_ERROR * float(state.round_time)):
        return state
    if (workers.n > MOST_SLOTS and doubtful < 1) or ROUNDS * float(state.uplinks + state.restarts) > MOST_EVENTS:
        return state
    replicates = max(min(REPLICATES, MANY_SLOTS // workers.n), FEWEST_REPLICATES)

    def simulated(rounds: int) -> TrainerState:
        rng = np.random.default_rng([workers.n, rules.k])
        return monte_carlo.played(workers, rules, update, rng, rounds, replicates)

    found = simulated(ROUNDS)
    missing = float(found.error.round_time) / (GOAL * float(found.round_time))
    if missing > 1:
        found = simulated(min(math.ceil(1.2 * missing**2 * ROUNDS), MOST_ROUNDS))
    known = [name for name in ("round_time", "mean_staleness", "restarts") if not getattr(state.error, name)]
    error = replace(found.error, **dict.fromkeys(known, 0.0))
    return replace(found, error=error, **{name: getattr(state, name) for name in known})
