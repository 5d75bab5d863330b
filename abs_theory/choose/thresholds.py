"""The threshold with the shortest rounds: what the delay law alone says about restarting a worker."""

import math
from typing import Any

import numpy as np

from abs_theory.checks import check_k
from abs_theory.steady_state import limit_round_time
from abs_theory.workers import Workers, as_workers

__all__ = ["fleet_ageing", "time_optimal_threshold"]

INACTIVE = 1e-6  # a threshold that cuts a smaller share of attempts is no threshold
LONGEST, LONGEST_HEAVY = 10**8, 256  # no threshold beyond is searched; the second if the mean is infinite
FINER = 41  # thresholds tried at once between the neighbours of the best


def time_optimal_threshold(delay: Any, k: int, n: int) -> float:
    r"""``max_staleness`` with the shortest rounds, in the limit of many workers with k/n fixed; inf is no bound.

    A worker that has missed j rounds is worth keeping while its chance to finish in the next one,
    h_j = P(X <= (j+1) r \| X > j r), is at least the fleet's average k/n.  Increasing hazard: inf; decreasing: 0;
    exponential delays are indifferent, and so is k = n: inf.  Else the chance may cross k/n more than once, so all
    thresholds to 64 are compared, then 86 in geometric progression, refined around the best.  If E[X] is infinite there
    must be a bound, and none above 256 is tried.  ``delay``: one law, or a sequence of n laws, whose fleet is then
    repeated without limit.  Cost: some 150 round times of the limit, about 20 ms for a cheap law.
    Source: derived in notebooks/02_staleness.ipynb.
    Raises ValueError for laws with atoms, which have no mean field.
    """
    check_k(k, n)
    workers = as_workers(delay, n)
    if workers.has_atoms:
        raise ValueError(
            f"delay must be a law without atoms, such as LogNormal(median=1.0, sigma=1.0), got {delay!r}; compare "
            "thresholds by monte_carlo.abs_sgd instead"
        )
    ageing = fleet_ageing(workers)
    if k == n or ageing in ("increasing", "constant"):
        return math.inf
    if ageing == "decreasing":
        return 0.0
    return _best_root(workers, k / n)


def fleet_ageing(workers: Workers) -> str:
    """Hazard of the delays of all ``workers``: "increasing", "decreasing", "constant" or "neither"."""
    ageing = {law.ageing for law in workers.laws}
    if len(ageing) > 1:
        ageing -= {"constant"}
    return ageing.pop() if len(ageing) == 1 else "neither"


def _best_root(workers: Workers, share: float) -> float:
    has_mean = all(math.isfinite(law.mean) for law in workers.laws)
    unbounded = float(limit_round_time(workers, share, math.inf)) if has_mean else math.inf
    shortest = min(unbounded, float(limit_round_time(workers, share, 0)))
    longest_task = max(float(law.isf(INACTIVE)) for law in workers.laws)
    longest = LONGEST if has_mean else LONGEST_HEAVY
    most = math.ceil(min(longest, longest_task / max(shortest, longest_task / longest)))
    thetas = np.append(np.arange(min(65, most + 1)), np.geomspace(64, max(most, 64), 86).astype(int))
    best, least = 0, math.inf
    while thetas.size:
        thetas = np.unique(thetas)
        times = limit_round_time(workers, share, thetas)
        place = int(np.argmin(times))
        if times[place] < least:
            best, least = int(thetas[place]), float(times[place])
        low, high = thetas[max(place - 1, 0)], thetas[min(place + 1, thetas.size - 1)]
        thetas = np.linspace(low, high, FINER).astype(int) if high - low > 2 else thetas[:0]
    return float(best) if least < (1 - INACTIVE) * unbounded else math.inf
