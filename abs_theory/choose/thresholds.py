"""The threshold with the shortest rounds: whether to restart a worker, decided from the delay law alone."""

import math

import numpy as np

from abs_theory.checks import check_k
from abs_theory.steady_state import limit_round_time
from abs_theory.typing import Laws
from abs_theory.workers import Workers, as_workers

__all__ = ["fleet_ageing", "time_optimal_threshold"]

NEGLIGIBLE_SHARE = 1e-6  # of attempts: a threshold that restarts fewer of them counts as none
LARGEST_THRESHOLD = 10**8  # that is searched
LARGEST_THRESHOLD_WITHOUT_MEAN = 256  # if the delays have no mean
BETWEEN_NEIGHBOURS = 41  # thresholds tried at once between the neighbours of the best


def time_optimal_threshold(delay: Laws, k: int, n: int) -> float:
    r"""The ``max_staleness`` with the shortest rounds, for many workers with k/n fixed; inf is no threshold.

    A worker that has missed j rounds should go on while its chance to finish in the next one,
    h_j = P(X <= (j+1) r \| X > j r), is at least the fleet's average k/n.  So the result is inf for an increasing
    hazard, and 0 for a decreasing one.  If delays are exponential or k = n, all thresholds give equal rounds, and inf
    is returned.  For other laws the chance may cross k/n more than once.  Then all thresholds to 64 are compared, and
    86 in geometric progression, with a finer search around the best.  If E[X] is infinite a threshold is needed, and
    none above 256 is tried.  ``delay``: one law, or a sequence of n laws, whose fleet is then repeated without limit.
    Cost: some 150 round times of the limit, about 20 ms for a cheap law.
    Source: derived in notebooks/proofs/staleness.ipynb.
    Raises ValueError for laws with atoms, which have no mean field.

    See also: ``best``, which weighs short rounds against fresh gradients.

    >>> from abs_theory.delays import Gamma, HyperExponential, LogNormal
    >>> laws = Gamma(shape=4.0, scale=0.25), HyperExponential(probs=(0.9, 0.1), means=(1 / 3, 7.0)), LogNormal(1.0, 1.0)
    >>> [time_optimal_threshold(law, k=5, n=10) for law in laws]
    [inf, 0.0, 1.0]
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
    longest_task = max(float(law.isf(NEGLIGIBLE_SHARE)) for law in workers.laws)
    longest = LARGEST_THRESHOLD if has_mean else LARGEST_THRESHOLD_WITHOUT_MEAN
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
        thetas = np.linspace(low, high, BETWEEN_NEIGHBOURS).astype(int) if high - low > 2 else thetas[:0]
    return float(best) if least < (1 - NEGLIGIBLE_SHARE) * unbounded else math.inf
