r"""Time of the k-th event among n workers that start together and never pause: n ordinary renewal processes.

With N_i(t) the number of tasks that worker i has finished by t,

.. math:: E[T_k] = \int_0^\infty P\Big(\sum_i N_i(t) < k\Big)\,dt, \qquad P(N_i(t) \ge j) = P(S_{i,j} \le t),

where S_ij is the sum of j delays.  Counts of independent workers are added as products of polynomials, cut off at
degree k.  Source: derived above; Dutta et al. (2018) call this time "not tractable" unless delays are exponential.
"""

import math
from collections.abc import Sequence

import numpy as np

from abs_theory.checks import check_count, check_rng
from abs_theory.delays import Delay, Exponential, LocalSteps
from abs_theory.order_stats import counts, over_time
from abs_theory.results import Estimate
from abs_theory.typing import Array, Laws
from abs_theory.workers import Workers, as_workers

__all__ = ["mean_event_time", "simulated_event_time"]


MOST_BREAKS = 2**20  # different times of all sums
BOUNDS_AGREE = 1e-11  # relative difference of the lower and the upper bound


def mean_event_time(delay: Laws, k: int, n: int) -> float:
    """E[T_k], the mean time until ``n`` workers that always begin a new task at once have finished ``k`` tasks in all.

    It is inf if the fastest of n delays has an infinite mean, and has a closed form for exponential delays, also of
    unequal rates.  Otherwise it is as accurate as the laws of sums of up to J tasks (``LocalSteps``), where J grows
    until a lower and an upper bound agree; J is at least k / n plus a few standard deviations.  Cost: those laws (.02
    to .5 s each where no closed form is known), and k^2 log2(n) multiplications at each of about 4000 times.
    Raises ValueError if sums of a law with atoms take too many different times; see ``simulated_event_time``.

    >>> from abs_theory.delays import Uniform
    >>> round(mean_event_time(Uniform(low=1.0, high=2.0), k=3, n=2), 4)
    2.7667
    """
    check_count("k", k)
    workers = as_workers(delay, n)
    rates = np.array([1 / law.mean for law in workers.laws])
    if all(isinstance(law, Exponential) for law in workers.laws):
        return float(k / (rates @ workers.counts))
    if workers.n == 1:
        return float(k * workers.laws[0].mean)
    index = over_time.tail_indices(workers)[:1]
    if index[0] <= 1:
        return math.inf
    share = k * rates / (rates @ workers.counts) if rates.any() else np.ones_like(rates)
    tasks = np.ceil(share + 3 * np.sqrt(share) + 3)
    sums: list[list[Delay]] = [[] for _ in workers.laws]
    while True:
        tasks = np.minimum(tasks, k)
        for law, known, most in zip(workers.laws, sums, tasks, strict=True):
            while len(known) < most:
                known.append(LocalSteps(law, len(known) + 1))
                if sum(len(task_sum.breaks) for task_sum in known) > MOST_BREAKS:
                    raise ValueError(
                        f"the sums of {law!r} take more than {MOST_BREAKS} different times; "
                        "use renewal.simulated_event_time, which takes any law"
                    )
        every = tuple(law for known in sums for law in known)
        fleet = Workers(every, (1,) * len(every), np.arange(len(every)))
        cuts, noise = over_time.edges(fleet), over_time.noise(fleet)
        low, high = over_time.time_integral(
            lambda t: _too_few(sums, workers.counts, k, t), cuts, index.repeat(2), noise
        )
        if high - low <= BOUNDS_AGREE * high or np.all(tasks == k):
            return float((low + high) / 2)
        tasks = np.ceil(1.5 * tasks)


def _too_few(sums: Sequence[Sequence[Delay]], sizes: Sequence[int], k: int, t: Array) -> Array:
    """Lower and upper bound of P(fewer than ``k`` events by ``t``), shape 2 x t.size.

    A worker that has done J tasks or more is left out in the lower bound, and counts as J in the upper.
    """
    bounds = [np.ones((1, t.size)), np.ones((1, t.size))]
    for known, count in zip(sums, sizes, strict=True):
        done = np.array([law.cdf(t) for law in known])
        busy = np.array([law.sf(t) for law in known])
        between = np.where(done[:-1] < 0.5, done[:-1] - done[1:], busy[1:] - busy[:-1])
        exactly = np.concatenate([busy[:1], np.maximum(between, 0.0)])  # 0, ..., J - 1 tasks
        for i, pmf in enumerate((exactly, np.concatenate([exactly, done[-1:]]))):
            bounds[i] = counts.multiply(bounds[i], _power(pmf[:k], count, k))[:k]
    return np.array([law.sum(axis=0) for law in bounds])


def _power(pmf: Array, count: int, k: int) -> Array:
    """Distribution of the sum of ``count`` equal counts, cut off at ``k``."""
    if count == 1:
        return pmf
    half = _power(pmf, count // 2, k)
    square = counts.multiply(half, half)[:k]
    return counts.multiply(square, pmf)[:k] if count % 2 else square


def simulated_event_time(delay: Laws, k: int, n: int, rng: np.random.Generator, num_samples: int) -> Estimate:
    """E[T_k] by Monte Carlo, for any law.  Cost: ``num_samples`` x n x k draws, a sum of k tasks for each worker.

    >>> from abs_theory.delays import Exponential
    >>> estimate = simulated_event_time(Exponential(1.0), k=6, n=3, rng=np.random.default_rng(0), num_samples=10_000)
    >>> abs(estimate.mean - 2.0) < 4 * estimate.stderr
    True
    """
    check_count("k", k)
    check_count("num_samples", num_samples, minimum=2)
    check_rng(rng)
    workers = as_workers(delay, n)
    times = []
    block = max(1, 10**6 // (n * k))
    for start in range(0, num_samples, block):
        shape = min(block, num_samples - start), k
        ends = [workers.laws[g].sample(rng, shape).cumsum(axis=1) for g in workers.group]
        times.append(np.partition(np.concatenate(ends, axis=1), k - 1, axis=1)[:, k - 1])
    return Estimate.of(np.concatenate(times))
