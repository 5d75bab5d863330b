"""What to choose: the number of workers to wait for, and when to restart a worker."""

import math

import numpy as np

from abs_theory.checks import check_k
from abs_theory.delays import Delay
from abs_theory.mean_field import limit_round_time

__all__ = ["time_optimal_threshold"]

INACTIVE = 1e-6  # a threshold that cuts a smaller share of attempts is no threshold
LONGEST, LONGEST_HEAVY = 4096, 256  # no threshold beyond is searched; the second if the mean is infinite


def time_optimal_threshold(delay: Delay, k: int, n: int) -> float:
    r"""``max_staleness`` with the shortest rounds, in the limit of many workers with k/n fixed; inf is no bound.

    A worker that has missed j rounds is worth keeping while its chance to finish in the next one,
    h_j = P(X <= (j+1) r \| X > j r), is at least the fleet's average k/n.  The chance may cross k/n more than once, so
    all thresholds to 64 are compared, then every twentieth part more, refined around the best.  Increasing hazard: inf;
    decreasing: 0; exponential delays are indifferent, and so is k = n: inf.  If E[X] is infinite there must be a bound.
    Source: derived in notebooks/02_staleness.ipynb.
    Raises ValueError for laws with atoms, which have no mean field.
    """
    check_k(k, n)
    if not isinstance(delay, Delay) or delay.has_atoms:
        raise ValueError(
            f"delay must be a Delay without atoms, such as LogNormal(median=1.0, sigma=1.0), got {delay!r}"
        )
    if k == n:
        return math.inf
    share = k / n
    unbounded = float(limit_round_time(delay, share, math.inf)) if math.isfinite(delay.mean) else math.inf
    shortest = float(limit_round_time(delay, share, 0))
    longest = LONGEST if math.isfinite(delay.mean) else LONGEST_HEAVY
    most = min(longest, math.ceil(float(delay.isf(INACTIVE)) / min(shortest, unbounded)))
    thetas = np.unique(np.append(np.arange(min(65, most + 1)), np.geomspace(64, max(most, 64), 86).astype(int)))
    times = limit_round_time(delay, share, thetas)
    best = int(np.argmin(times))
    thetas = np.arange(thetas[max(best - 1, 0)], thetas[min(best + 1, thetas.size - 1)] + 1)
    times = limit_round_time(delay, share, thetas)
    best = int(np.argmin(times))
    return float(thetas[best]) if times[best] < (1 - INACTIVE) * unbounded else math.inf
