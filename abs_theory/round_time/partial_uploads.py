r"""How many workers upload in STSyn, and how many steps they have done: exact for any laws.

A round ends at T, when ``k`` of n workers have done ``local_steps`` = U steps.  No worker stops before, and all that
have done at least one step upload (Zhu, Zhang & Wang 2024).  S_i(j) is the time at which worker i has done j steps.
If S_i(j) > T and j <= U, worker i is not among the k, and T is the k-th of the *other* workers.  If j > U, it may be
among them, and T is then the (k-1)-th of the others.  The steps of i and the tasks of the others are independent:

.. math:: P(S_i(j) \le T) = \int P(\text{fewer than } k' \text{ others are done by } t) \, dF_{S_i(j)}(t), \qquad
          k' = k \text{ if } j \le U, \text{ else } k - 1.

Source: ours, as derived above.
"""

import numpy as np

from abs_theory import order_stats
from abs_theory.checks import check_k
from abs_theory.delays import Exponential
from abs_theory.order_stats import counts, over_time
from abs_theory.typing import Array, Laws
from abs_theory.workers import Workers, as_workers, local_steps_of, together

__all__ = ["mean_local_steps", "mean_uploads"]


NEGLIGIBLE_PROBABILITY = 1e-10  # relative to the sum; numbers of steps that are less likely are left out
MOST_STEPS = 200  # steps of one worker in a round


def mean_uploads(delay: Laws, k: int, n: int, local_steps: int) -> float:
    """Mean number of workers that have done a step when ``k`` of ``n`` have done ``local_steps``; n for k = n.

    A step that ends at the same time as the round (atoms) counts.  Good to 1e-10.
    Cost: that of ``order_stats.first_k_probabilities``.

    >>> from abs_theory.delays import Exponential
    >>> round(mean_uploads(Exponential(mean=1.0), k=1, n=2, local_steps=2), 4)  # 1 + 1/2
    1.5
    """
    check_k(k, n)
    steps = as_workers(delay, n)
    tasks = local_steps_of(steps, n, local_steps)
    if k == n:
        return float(n)
    return float(_done_in_time(tasks, steps, k) @ steps.counts)


def mean_local_steps(delay: Laws, k: int, n: int, local_steps: int) -> float:
    """Mean number of steps that a worker has done when the round ends, averaged over all ``n`` workers.

    For exponential steps it is E[T] / E[X] (optional stopping), averaged over the workers; otherwise the sum over j of
    P(S_i(j) <= T).  Good to 1e-9.  Cost: the law of a sum for each j.
    Raises ArithmeticError if more than 200 steps matter.

    >>> from abs_theory.delays import Exponential
    >>> mean_local_steps(Exponential(mean=1.0), k=1, n=2, local_steps=2)
    1.25
    """
    check_k(k, n)
    steps = as_workers(delay, n)
    tasks = local_steps_of(steps, n, local_steps)
    weight = np.array(steps.counts) / n
    if all(isinstance(law, Exponential) for law in steps.laws):
        return float(order_stats.mean(tasks, k, n) * (weight @ [1 / law.mean for law in steps.laws]))
    total = 0.0
    for j in range(1, MOST_STEPS + 1):
        if j > local_steps and k == 1:
            return total
        sums = local_steps_of(steps, n, j)
        term = _done_in_time(tasks, sums, k if j <= local_steps else k - 1) @ weight
        total += float(term)
        if j >= local_steps and term < NEGLIGIBLE_PROBABILITY * total:
            return total
    raise ArithmeticError(f"more than {MOST_STEPS} steps of {delay!r} matter; use simulation")


def _done_in_time(tasks: Workers, sums: Workers, k: int) -> Array:
    """For each group, P(its sum is over before ``k`` of the other workers have done their tasks)."""

    def late(t: Array) -> Array:
        return counts.first_of_others(tasks, k, t)

    times, sizes = over_time.jumps(sums)
    at_atoms = (sizes * late(over_time.before(times))).sum(axis=1) if times.size else 0.0
    return over_time.law_integral(sums, late, over_time.edges(together(sums, tasks), latest=1e300)) + at_atoms
