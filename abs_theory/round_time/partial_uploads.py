r"""Who uploads in STSyn, and how much was done: exact for any law, equal or unequal workers.

A round ends at T, when ``k`` of n workers have done ``local_steps`` = U steps; nobody stops before, and all who have
done at least one step upload (Zhu, Zhang & Wang 2024).  Worker i has done j steps when S_i(j) is over.  If S_i(j) > T
and j <= U, then i is not among the k, and T is the k-th of the *others*; if j > U, it is among them, and T is the
(k-1)-th of the others.  Either way i's steps and the others' tasks are independent:

.. math:: P(S_i(j) \le T) = \int P(\text{fewer than } k' \text{ others are done by } t) \, dF_{S_i(j)}(t), \qquad
          k' = k \text{ if } j \le U, \text{ else } k - 1.

Source: ours, as derived above.
"""

from typing import Any

import numpy as np

from abs_theory import order_stats
from abs_theory.checks import check_k
from abs_theory.delays import Exponential, LocalSteps
from abs_theory.order_stats import counts, over_time
from abs_theory.typing import Array
from abs_theory.workers import as_workers, local_steps_of, together

__all__ = ["mean_local_steps", "mean_uploads"]


NEGLIGIBLE = 1e-10  # probability that a worker has done so many steps
MOST_STEPS = 200


def mean_uploads(delay: Any, k: int, n: int, local_steps: int) -> float:
    """Mean number of workers who have done a step when ``k`` of ``n`` have done ``local_steps``; n for k = n.

    A step that ends together with the round (atoms) is done.  Good to 1e-10; cost as ``first_k_probabilities``.
    """
    check_k(k, n)
    tasks, steps = local_steps_of(delay, n, local_steps), as_workers(delay, n)
    if k == n:
        return float(n)
    return float(_done_in_time(tasks, steps.laws, k) @ steps.counts)


def mean_local_steps(delay: Any, k: int, n: int, local_steps: int) -> float:
    """Mean number of steps that a worker has done when the round ends, the average over all n workers.

    E[T] / E[X] for exponential steps (optional stopping; averaged over unequal rates), else the sum over j of
    P(S_i(j) <= T).  Good to 1e-9; cost: a law of a sum for each j.
    Raises ArithmeticError if more than 200 steps matter.
    """
    check_k(k, n)
    tasks, steps = local_steps_of(delay, n, local_steps), as_workers(delay, n)
    weight = np.array(steps.counts) / n
    if all(isinstance(law, Exponential) for law in steps.laws):
        return float(order_stats.mean(tasks, k, n) * (weight @ [1 / law.mean for law in steps.laws]))
    total = 0.0
    for j in range(1, MOST_STEPS + 1):
        if j > local_steps and k == 1:
            return total
        sums = tuple(LocalSteps(law, j) for law in steps.laws)
        term = _done_in_time(tasks, sums, k if j <= local_steps else k - 1) @ weight
        total += float(term)
        if j >= local_steps and term < NEGLIGIBLE * total:
            return total
    raise ArithmeticError(f"more than {MOST_STEPS} steps of {delay!r} matter; use simulation")


def _done_in_time(tasks: Any, sums: Any, k: int) -> Array:
    """For each group, P(its sum is over before ``k`` of the other workers have done their tasks)."""
    fleet = as_workers(tasks, len(tasks))
    own = type(fleet)(sums, fleet.counts, fleet.group)

    def late(t: Array) -> Array:
        return counts.first_of_others(fleet, k, t)

    times, sizes = over_time.jumps(own)
    at_once = (sizes * late(over_time.before(times))).sum(axis=1) if times.size else 0.0
    return over_time.law_integral(own, late, over_time.edges(together(own, fleet), latest=1e300)) + at_once
