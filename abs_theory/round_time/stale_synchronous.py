"""Stale synchronous parallel (SSP): seconds per clock tick, that is per n steps, by simulation of its recursion.

A worker that has finished c steps begins the next one only when the slowest worker has finished at least c - s steps.
With D_i(c) the time when worker i has finished c steps,

    D_i(c + 1) = max(D_i(c), max_j D_j(c - s)) + X_i(c + 1),     D_j(c) = 0 for c <= 0,

computed for all workers and replicates at once.  No closed form is known for random X.
Source: Ho et al. (2013) for the protocol; the recursion is its definition.
"""

import math
from collections import deque

import numpy as np

from abs_theory.checks import check_count, check_rng
from abs_theory.results import Estimate
from abs_theory.typing import Laws
from abs_theory.workers import as_workers

__all__ = ["ssp"]

MOST_WARMUP_TICKS = 1_000_000  # of the default warm-up; some 10 s for few workers


def ssp(
    delay: Laws,
    n: int,
    bound: float | None,
    rng: np.random.Generator,
    num_ticks: int = 1000,
    replicates: int = 128,
    warmup: int | None = None,
) -> Estimate:
    """Long-run seconds in which ``n`` workers make n steps in all, if none may lead by more than ``bound`` steps.

    With a ``bound`` each worker makes one of the n steps, because all must keep up with the slowest; 0 is synchronous
    SGD, E[X_(n)].  Without a bound (None or inf) it is asynchronous SGD, n / sum of 1 / E[X_i].  This is exact, as is
    inf if there is a bound and some mean is infinite.  A step is an update, so a round of the protocol takes 1 / n of
    the result.  The ``warmup`` (by default 50 + 4 (bound + 1)^2 ticks) lets the workers drift as far apart as they may.
    The error is taken over replicates.  Cost: n draws per tick and replicate.

    >>> from abs_theory.delays import Deterministic
    >>> ssp([Deterministic(1.0), Deterministic(3.0)], n=2, bound=2, rng=np.random.default_rng(0), num_ticks=9).mean
    3.0
    """
    workers = as_workers(delay, n)
    unbounded = bound is None or (isinstance(bound, float) and bound == math.inf)
    if not unbounded:
        check_count("bound", bound, minimum=0)
    check_rng(rng)
    check_count("num_ticks", num_ticks)
    check_count("replicates", replicates, minimum=2)
    if bound is None or unbounded:
        rate = sum(count / law.mean for law, count in zip(workers.laws, workers.counts, strict=True))
        return Estimate(float(n / rate) if rate else math.inf, 0.0, replicates)
    if any(math.isinf(law.mean) for law in workers.laws):
        return Estimate(math.inf, 0.0, replicates)
    lead = int(bound)
    if warmup is None:
        warmup = 50 + 4 * (lead + 1) ** 2
        if warmup > MOST_WARMUP_TICKS:
            most = math.isqrt((MOST_WARMUP_TICKS - 50) // 4) - 1
            raise ValueError(
                f"bound must be at most {most}, or the workers need too long to drift "
                f"apart, got {bound}; give a warmup in ticks, or no bound"
            )
    check_count("warmup", warmup, minimum=0)

    places = [np.flatnonzero(workers.group == g) for g in range(len(workers.laws))]
    done = np.zeros((n, replicates))
    everybody_done = deque([np.zeros(replicates)] * (lead + 1), maxlen=lead + 1)
    begin = done[0]
    for tick in range(warmup + num_ticks):
        np.maximum(done, everybody_done[0], out=done)
        for law, place in zip(workers.laws, places, strict=True):
            done[place] += law.sample(rng, (place.size, replicates))
        everybody_done.append(done.max(axis=0))
        if tick + 1 == warmup:
            begin = everybody_done[-1]
    return Estimate.of((everybody_done[-1] - begin) / num_ticks)
