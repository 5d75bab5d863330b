"""Steady states by simulation where the mean field is not good enough, always with the same luck."""

import math

import numpy as np

from abs_theory import monte_carlo
from abs_theory.checks import explains_types
from abs_theory.delays import Delay
from abs_theory.monte_carlo import Rules
from abs_theory.results import TrainerState
from abs_theory.workers import Workers

__all__ = ["accurate"]

MOST_ERROR = 0.02  # of a round, that a formula may state; beyond, "auto" simulates
MOST_SLOTS = 1024  # of a simulation that nobody has asked for; it then takes some seconds
GOAL = 0.008  # of a round, the 95 % half-width of a simulated one
ROUNDS, REPLICATES = 60, 32  # of a first simulation
MOST_ROUNDS = 2000  # of a second one, if the error of the first is too large


@explains_types
def accurate(state: TrainerState, workers: Workers, rules: Rules, update: Delay | None) -> TrainerState:
    """``state`` if its stated error is small or there are many slots, else that of a simulation.

    Its random numbers are made from the numbers of slots and of tasks per update, so the same question has the same
    answer.  Errors are 95 % half-widths.

    >>> from abs_theory.delays import LogNormal
    >>> from abs_theory.steady_state.trainer.batches import abs_batch
    >>> from abs_theory.workers import as_workers
    >>> law = LogNormal(median=1.0, sigma=1.0)
    >>> rough = abs_batch(law, k=4, n=8, max_staleness=1, update_seconds=0.5, method="mean-field")
    >>> state = accurate(rough, as_workers(law, 8), Rules(4, max_staleness=1), None)
    >>> rough.error.round_time / rough.round_time > 0.02, state.error.round_time / state.round_time < 0.01
    (True, True)
    """
    if float(state.error.round_time) <= MOST_ERROR * float(state.round_time) or workers.n > MOST_SLOTS:
        return state

    def simulated(rounds: int) -> TrainerState:
        rng = np.random.default_rng([workers.n, rules.k])
        return monte_carlo.played(workers, rules, update, rng, rounds, REPLICATES)

    first = simulated(ROUNDS)
    missing = float(first.error.round_time) / (GOAL * float(first.round_time))
    return first if missing <= 1 else simulated(min(math.ceil(1.2 * missing**2 * ROUNDS), MOST_ROUNDS))
