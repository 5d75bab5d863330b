r"""Tail batching: short rounds put their late tasks off, long rounds catch up on them.

In a short round all n slots start a new task, the first k to finish are trained, and the n - k late ones are stopped
and put off.  Whenever k tasks have been put off, a long round starts the oldest of them again, each with the length
that it had, and waits for all k.  Every task is trained in the end and none is stale.

A long round may take only c of the n - k late tasks of a short round.  With M the number of the n tasks that are longer
than x, which is binomial(n, S(x)), none of these c is longer with probability

.. math:: P_c(x) = \sum_{m \le n - k - c} P(M = m) \binom{n-k-m}{c} \Big/ \binom{n-k}{c},

which is F(x)^n for c = n - k.  The time of a long round is the integral of 1 minus the product of P_c over the short
rounds that its tasks come from.  Which numbers c occur repeats after (n - k) / gcd(k, n - k) long rounds.
Source: Gao et al. (2025, RollPacker) for the protocol; derived above, because late tasks are exchangeable.
"""

import math
from itertools import pairwise

import numpy as np
from scipy import special, stats

from abs_theory import monte_carlo, order_stats
from abs_theory.checks import check_k, explains_types
from abs_theory.delays import Delay, as_delay
from abs_theory.order_stats import over_time
from abs_theory.results import TrainerState
from abs_theory.steady_state.trainer import nodes
from abs_theory.steady_state.trainer.errors import with_error
from abs_theory.typing import Array, DelayLike
from abs_theory.workers import as_workers

__all__ = ["tail_batching"]


@explains_types
def tail_batching(delay: DelayLike, k: int, n: int, update_seconds: float | DelayLike = 0.0) -> TrainerState:
    """Steady state of tail batching: ``k`` tasks per update, on ``n`` equal slots, late tasks in rounds of their own.

    Exact; averages are over short and long rounds.  An update takes ``update_seconds`` (a number or a law); late tasks
    are stopped when it is over.  Raises ValueError if the mean delay is infinite.
    Cost: n - k binomial probabilities at some thousand times.

    >>> from abs_theory.delays import Exponential
    >>> state = tail_batching(Exponential(mean=1.0), k=1, n=2)  # rounds of 1/2 and of 3/2 in turn
    >>> round(state.round_time, 9), state.mean_staleness
    (1.0, 0.0)

    See also ``abs_sgd`` with ``max_staleness=0``, which loses the late tasks.
    """
    law, update = as_delay(delay), monte_carlo.update_law(update_seconds)
    check_k(k, n)
    if not math.isfinite(law.mean):
        raise ValueError(f"E[X] must be finite, got {law!r}")
    T = 0.0 if update is None else float(update.mean)
    means = order_stats.means(law, n)
    short, put_off = float(means[k - 1]), n - k
    long = _long_round(law, k, n) if put_off else 0.0
    share = put_off / n  # of the rounds that are long: k tasks leave the late ones, n - k join them in a short round
    seconds = (1 - share) * short + share * long
    r = seconds + T
    late = float(means[k:].mean()) if put_off else 0.0
    wasted = (1 - share) * put_off * (short + _late_seconds(law, k, n, update))
    worked = (1 - share) * float(means[:k].sum()) + share * k * late + wasted
    state = TrainerState(
        round_time=r, mean_staleness=0.0, staleness_pmf=np.ones(1), restarts=(1 - share) * put_off, uplinks=float(k),
        downlinks=k + (1 - share) * put_off, idle_fraction=1 - worked / (n * r), wasted_fraction=wasted / (n * r),
        method="exact", participation=np.full(n, k / n), trainer_busy=T / r, trained_length=float(law.mean),
    )  # fmt: skip
    return with_error(state)


def _late_seconds(law: Delay, k: int, n: int, update: Delay | None) -> float:
    """Mean seconds for which a late task runs while the server updates."""
    if update is None:
        return 0.0
    quantiles, weights = nodes.of_quantiles()
    later = stats.beta.ppf(quantiles, n - k + 1, k)  # share of all tasks that would end after the k-th
    first = law.isf(later)  # nodes of the time of the k-th task
    seconds, update_weights = nodes.of_law(update)
    ran = law.integrated_tail(first) - law.integrated_tail(np.add.outer(seconds, first))
    return float(update_weights @ (ran / later) @ weights)


def _long_round(law: Delay, k: int, n: int) -> float:
    """Mean time until ``k`` put-off tasks are done, over all patterns of where they come from."""
    put_off = n - k
    patterns = _patterns(k, put_off)
    m: Array = np.arange(put_off + 1.0)
    parts = sorted({part for pattern in patterns for part in pattern})
    some_longer = {c: 1 - _all_pass(m, c, put_off) for c in parts}  # given that m of the n tasks are longer than x
    workers = as_workers(law, 1)

    def late(t: Array) -> Array:
        sf = law.sf(t)
        longer = stats.binom.pmf(m[:, None], n, sf)
        beyond = stats.binom.sf(put_off, n, sf)
        logs = {c: np.log1p(-np.minimum(some_longer[c] @ longer + beyond, 1 - 1e-16)) for c in parts}
        return np.mean([-np.expm1(sum(logs[c] for c in pattern)) for pattern in patterns], axis=0)[None]

    index = over_time.tail_indices(workers)[:1]
    return float(over_time.time_integral(late, over_time.edges(workers), index, over_time.noise(workers))[0])


def _all_pass(m: Array, c: int, put_off: int) -> Array:
    """P(none of ``c`` of the ``put_off`` late tasks is among the m longest)."""
    left = np.maximum(put_off - m, 0)
    logs = special.gammaln(left + 1) - special.gammaln(np.maximum(left - c, 0) + 1)
    logs += special.gammaln(put_off - c + 1) - special.gammaln(put_off + 1)
    return np.where(left >= c, np.exp(logs), 0.0)


def _patterns(k: int, put_off: int) -> list[list[int]]:
    """For each long round of a period, how many tasks it takes of each short round.

    >>> _patterns(3, 2)
    [[2, 1], [1, 2]]
    """
    period = put_off // math.gcd(k, put_off)
    ends = range(put_off, k * period + 1, put_off)  # of the late tasks of each short round
    rounds = [(k * j, k * (j + 1)) for j in range(period)]
    cuts = [[start, *(end for end in ends if start < end < last), last] for start, last in rounds]
    return [[end - start for start, end in pairwise(places)] for places in cuts]
