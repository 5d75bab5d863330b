"""Ties: whether the number of a worker, not its time, often decides who is among the first k."""

import numpy as np

from abs_theory.checks import explains_types
from abs_theory.results import percent
from abs_theory.typing import Array
from abs_theory.workers import Workers

__all__ = ["of_law", "often_tied"]

OFTEN_TIED = 0.1  # of the rounds, from which on ties at the k-th arrival are told
ROUNDS, MOST_DRAWN = 1000, 1_000_000  # rounds that are drawn of a law, and times


@explains_types
def often_tied(times: Array, k: int, time: str) -> str:
    """A sentence without its full stop if the ``k``-th of ``times`` is often that of the next as well; else "".

    ``times`` have a row for each round, and inf where a worker did not deliver; ``time`` is what they are.

    >>> often_tied(np.array([[1.0, 2.0, 2.0], [3.0, 1.0, 1.0]]), 1, "recorded time").split(",")[0]
    'at k = 1 the next arrival has the same recorded time in 50 % of the rounds'
    """
    times = np.sort(times, axis=1)
    if k >= times.shape[1]:
        return ""
    saw_more = np.isfinite(times[:, k])
    tied = saw_more & (times[:, k - 1] == times[:, k])
    if tied.sum() <= OFTEN_TIED * saw_more.sum():
        return ""
    return (
        f"at k = {k} the next arrival has the same {time} in {percent(tied.sum() / saw_more.sum())} of the rounds, "
        "so the lower worker number decides who takes part; finer times would tell"
    )


@explains_types
def of_law(workers: Workers, k: int) -> str:
    """``often_tied`` of rounds, drawn with a fixed seed, in which all ``workers`` begin together.

    >>> from abs_theory.delays import Deterministic
    >>> from abs_theory.workers import as_workers
    >>> of_law(as_workers(Deterministic(1.0), 4), 2).split(",")[0]
    'at k = 2 the next arrival has the same time in 100 % of the rounds'
    """
    if not workers.has_atoms or k == workers.n:
        return ""
    rng, rounds = np.random.default_rng(0), max(1, min(ROUNDS, MOST_DRAWN // workers.n))
    times = np.empty((rounds, workers.n))
    for group, law in enumerate(workers.laws):
        times[:, workers.group == group] = law.sample(rng, (rounds, workers.counts[group]))
    return often_tied(times, k, "time")
