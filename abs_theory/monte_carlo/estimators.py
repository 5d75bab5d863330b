"""Monte Carlo estimates of the same quantities as the theory, for any delay law, in seconds.

There is no event queue.  Many independent replicates of the n workers are played together, one round at a time, by
``fast``, or by ``plain`` where two workers may finish at the same time.  Rounds of one replicate are correlated,
so every error is taken over replicates.
"""

import math
from typing import Any

import numpy as np

from abs_theory.checks import check_count, check_k, check_max_staleness, check_rng, explains_types
from abs_theory.monte_carlo import fast, plain
from abs_theory.monte_carlo.long_run import forgets, long_run
from abs_theory.monte_carlo.summary import summary
from abs_theory.monte_carlo.tally import Tally
from abs_theory.monte_carlo.trainer import Rules, played, update_law
from abs_theory.order_stats import from_near_end
from abs_theory.results import Estimate, SteadyState, TrainerState
from abs_theory.typing import Array, DelayLike, Laws
from abs_theory.workers import Workers, as_workers

__all__ = ["abs_batch", "abs_sgd", "order_statistic", "steady_state"]


OUTSIDE = 0.05  # probability that a half-width is exceeded by chance
MOST_LABEL_BITS = 32  # ends then keep 6 digits
TASKS_IN_CACHE, TASKS_IN_MEMORY = 1 << 14, 1 << 23  # tasks that are played together
TASKS_WORTH_A_CALL = 1 << 12  # tasks that are worth a call of numpy


def order_statistic(delay: Laws, k: int, n: int, rng: np.random.Generator, num_samples: int) -> Estimate:
    """E[X_(k)], the mean time until ``k`` of ``n`` workers are done.

    Equal workers: X_(k) = Q(U_(k)) with U_(k) ~ Beta(k, n-k+1) made of two gammas, and the quantile Q taken from the
    near end.  Cost: ``num_samples`` quantiles, whatever ``n``.  Unequal workers: n delays are drawn and sorted.
    Source: David & Nagaraja (2003), Order Statistics, ch. 2.
    Raises ValueError unless 1 <= k <= n, ``rng`` is a numpy Generator and ``num_samples`` at least 2.

    >>> from abs_theory.delays import Exponential
    >>> estimate = order_statistic(Exponential(mean=1.0), 2, 3, np.random.default_rng(0), 100_000)
    >>> abs(estimate.mean - (1 / 3 + 1 / 2)) < 4 * estimate.stderr
    True

    See also ``order_stats.mean``, which computes this mean without simulation.
    """
    workers = _checked(delay, k, n, rng)
    check_count("num_samples", num_samples, minimum=2)
    if not workers.equal:
        return Estimate.of(_sorted_draws(workers, k, rng, num_samples))
    law = workers.laws[0]
    done, busy = rng.standard_gamma(k, num_samples), rng.standard_gamma(n - k + 1, num_samples)
    return Estimate.of(from_near_end(law, done / (done + busy), busy / (done + busy)))


def _sorted_draws(workers: Workers, k: int, rng: np.random.Generator, num_samples: int) -> Array:
    """X_(k) of unequal workers, ``num_samples`` times."""
    times = np.empty(num_samples)
    step = max(1, TASKS_IN_CACHE // workers.n)
    for first in range(0, num_samples, step):
        part = times[first : first + step]
        groups = zip(workers.laws, workers.counts, strict=True)
        draws = np.concatenate([law.sample(rng, (part.size, count)) for law, count in groups], axis=1)
        draws.partition(k - 1, axis=1)
        part[:] = draws[:, k - 1]
    return times


def abs_sgd(  # noqa: PLR0913
    delay: Laws,
    k: int,
    n: int,
    max_staleness: float | None,
    rng: np.random.Generator,
    num_rounds: int = 1000,
    replicates: int = 128,
    warmup: int | None = None,
    update_seconds: float | DelayLike = 0.0,
) -> SteadyState:
    """Steady state of ABS by simulation; ``max_staleness`` None or inf is K-async, 0 is K-sync.

    ``delay`` is one law, or a sequence of ``n`` laws.  Errors are 95 % half-widths over the independent
    ``replicates``.  ``participation``: equal workers that never tie have equal shares.  Of several laws, the workers
    with the same law get their average.

    Each replicate starts in a state of the long run (``long_run``; constant delays: n fresh workers).  It forgets the
    rest of its start during a warm-up, so long that the slowest worker delivers about 20 times (20 n / k for equal
    workers), without a bound up to 80 times, until E[(X - t)+] < .002 E[X] if there are long stalls; but 1000 n / k
    rounds at most, and none where every round starts afresh.  Given ``warmup``, it starts with n fresh workers and
    forgets them during so many rounds.
    Constant delays repeat a cycle: there each replicate is watched from
    a random round on, so that the error covers where the cycle was cut.

    Cost: at k = n / 2 about 20 ns for each delivered task, and the draw; without a bound this grows like log(n / k).
    A bound makes all n workers begin again within ``max_staleness`` + 1 rounds, and each beginning costs as much.
    Laws with atoms, or more than 2^32 pairs of law and round: 30 to 60 ns for each worker and round.
    If updates take ``update_seconds``, a number or a law, the result is a ``TrainerState``; about 1 us for each task.
    Raises ValueError if E[X] is infinite and nothing stops the stragglers, for there is no steady state; and if the
    delays exceed floating point.

    >>> from abs_theory.delays import Exponential
    >>> state = abs_sgd(Exponential(mean=1.0), 2, 4, 1, np.random.default_rng(0), num_rounds=200, replicates=32)
    >>> abs(state.round_time - (1 / 4 + 1 / 3)) < 3 * state.error.round_time
    True

    See also ``steady_state.abs_sgd``, which takes this route where no formula is good enough.
    """
    workers = _checked(delay, k, n, rng)
    check_max_staleness(max_staleness)
    bound = math.inf if max_staleness is None else max_staleness
    if (update := update_law(update_seconds)) is not None:
        return played(workers, Rules(k, n, bound), update, rng, num_rounds, replicates, warmup)
    return steady_state(workers, k, bound, rng, num_rounds, replicates, warmup)


@explains_types
def abs_batch(
    delay: Laws, k: int, n: int, max_staleness: float | None, rng: np.random.Generator,
    update_seconds: float | DelayLike = 0.0, in_flight: bool = True, num_rounds: int = 200,
) -> TrainerState:  # fmt: skip
    """Steady state of K-batch-async with a threshold by simulation: 32 replicates of ``num_rounds`` updates each.

    Errors are 95 % half-widths.  Cost: about 1 us for each task and replicate.
    Raises ValueError if the queue before the trainer grows without end.

    >>> from abs_theory.delays import Exponential
    >>> state = abs_batch(Exponential(mean=1.0), 4, 16, 1, np.random.default_rng(0), num_rounds=50)
    >>> abs(state.round_time - 1 / 4) < 3 * state.error.round_time
    True

    See also ``steady_state.abs_batch``, which computes it.
    """
    check_count("k", k)
    check_rng(rng)
    check_max_staleness(max_staleness)
    bound = math.inf if max_staleness is None else max_staleness
    rules = Rules(k, max_staleness=bound, in_flight=in_flight)
    return played(as_workers(delay, n), rules, update_law(update_seconds), rng, num_rounds)


@explains_types
def steady_state(
    workers: Workers,
    k: int,
    bound: float,
    rng: np.random.Generator,
    num_rounds: int = 1000,
    replicates: int = 128,
    warmup: int | None = None,
) -> SteadyState:
    """What ``abs_sgd`` returns, of ``workers`` made before; ``bound`` inf is none.

    >>> from abs_theory.delays import Exponential
    >>> state = steady_state(as_workers(Exponential(mean=1.0), 4), 2, 0, np.random.default_rng(0), 100, 16)
    >>> state.restarts
    2.0
    """
    check_count("num_rounds", num_rounds)
    check_count("replicates", replicates, minimum=2)
    for law in workers.laws:
        if math.isinf(bound) and k < workers.n and math.isinf(law.mean):
            raise ValueError(f"E[X] must be finite if there is no bound, got {law!r}; give a max_staleness")
    stationary = warmup is None and k < workers.n and bound > 0 and forgets(workers)
    start = long_run(workers, k, bound) if stationary else None
    warmup = _warmup(workers, k, bound) if warmup is None else warmup
    check_count("warmup", warmup, minimum=0)

    oldest = 0 if start is None else start.oldest
    many_labels = fast.label_bits(workers, warmup + num_rounds + oldest) > MOST_LABEL_BITS
    play = plain if workers.has_atoms or many_labels else fast
    parts = math.ceil(replicates / _together(workers, k, bound))
    sizes = [replicates // parts + (part < replicates % parts) for part in range(parts)]
    with np.errstate(over="ignore", invalid="ignore"):
        tally = Tally.joined([play.watch(workers, k, bound, rng, size, warmup, num_rounds, start) for size in sizes])
    if not np.isfinite(tally.seconds).all():
        raise ValueError(f"delays must not be too long for floating point, got {workers.laws!r}")
    return summary(tally, num_rounds, workers, k, bound, OUTSIDE)


def _together(workers: Workers, k: int, bound: float) -> int:
    """Replicates to play at a time: their near future should stay in the cache, and all of it in memory."""
    near = workers.n if workers.has_atoms else min(workers.n, 16 * (k + (workers.n - k) / (bound + 1)))
    all_of_it = workers.n + (bound if math.isfinite(bound) else 0)
    return max(1, int(min(max(TASKS_IN_CACHE / near, TASKS_WORTH_A_CALL / k), TASKS_IN_MEMORY / all_of_it)))


def _warmup(workers: Workers, k: int, bound: float) -> int:
    """Rounds after which the start is forgotten."""
    n, means = workers.n, np.array([law.mean for law in workers.laws])
    if k == n or bound == 0:
        return 0
    slowest = float(means.max())
    if math.isfinite(bound):
        longest = 20 * max(n / k, bound + 1)
        tasks = 20
    else:
        longest = 1000 * n / k
        tasks = next(
            (t for t in (20, 40) if all(law.integrated_tail(t * slowest) <= 0.002 * law.mean for law in workers.laws)),
            80,
        )
    if math.isinf(slowest):
        return math.ceil(longest)
    # at most so many tasks end in a second
    rate = float(np.sum(np.array(workers.counts) / means))
    return math.ceil(min(tasks * slowest * rate / k, longest))


def _checked(delay: Any, k: Any, n: Any, rng: Any) -> Workers:
    check_k(k, n)
    check_rng(rng)
    return as_workers(delay, n)
