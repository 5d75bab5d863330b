"""Monte Carlo estimates of the same quantities as the theory, for any delay law, in seconds.

There is no event queue: ``Fleet`` advances many independent replicates of the n workers together, one round at a
time.  Rounds of one replicate are correlated, so every error is taken over replicates.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from abs_theory.checks import check_count, check_k, is_integer
from abs_theory.delays import Delay

__all__ = ["Estimate", "Fleet", "Round", "SteadyState", "abs_sgd", "check_max_staleness", "order_statistic"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A mean over independent samples, with its standard error."""

    mean: float
    stderr: float
    num_samples: int

    @classmethod
    def of(cls, values: ArrayLike) -> Self:
        """Estimate from independent ``values``, at least two; the law must have a finite variance."""
        values = np.asarray(values, dtype=float)
        check_count("the number of values", values.size, minimum=2)
        return cls(float(values.mean()), float(values.std(ddof=1) / math.sqrt(values.size)), values.size)

    def half_width(self, confidence: float = 0.95) -> float:
        """Half the width of the confidence interval, by Student's t."""
        return float(stats.t.isf((1 - confidence) / 2, self.num_samples - 1)) * self.stderr


@dataclass(frozen=True, eq=False)
class SteadyState:
    """Long-run averages of a server that runs ABS for ever, per round (one update) unless said otherwise.

    Each field is a float, or an array over a grid of ``k`` and ``max_staleness``; ``staleness_pmf`` has one more axis,
    the staleness 0, 1, ..., whose last entry is the probability of that staleness *or more*.  ``error`` holds the
    half-widths of the same fields: 0 where exact, 95 % if by Monte Carlo, the documented bound if by mean field.
    """

    round_time: Any
    mean_staleness: Any  # of the gradients the server applies
    staleness_pmf: Array
    restarts: Any
    uplinks: Any
    downlinks: Any
    idle_fraction: Any  # share of worker time spent waiting for the round to end
    wasted_fraction: Any  # share of worker time thrown away by restarts
    participation: Any = None  # gradients each worker delivers per round, shape (..., n)
    method: Any = None
    error: Any = None  # a SteadyState


class Round(NamedTuple):
    """What one round did, per replicate: seconds have shape ``replicates``, masks ``replicates x n``."""

    duration: Array
    staleness: NDArray[np.int64]  # of the k applied gradients, shape replicates x k
    idle_seconds: Array
    useful_seconds: Array
    wasted_seconds: Array
    delivered: NDArray[np.bool_]
    restarted: NDArray[np.bool_]


class Fleet:
    """Independent replicates of n equal workers under an ABS server, all starting fresh at time 0."""

    def __init__(self, delay: Delay, n: int, rng: np.random.Generator, replicates: int) -> None:
        self.delay, self.rng = delay, rng
        self.updates = 0
        self.time = np.zeros(replicates)
        self.start = np.zeros((replicates, n))
        self.finish = delay.sample(rng, (replicates, n))
        self.version = np.zeros((replicates, n), dtype=np.int64)  # updates made when the worker got its model

    @property
    def staleness(self) -> NDArray[np.int64]:
        """Staleness of every gradient in flight, shape ``replicates x n``."""
        return self.updates - self.version

    def round(self, k: int, max_staleness: float) -> Round:
        """Wait for ``k`` gradients, update, restart whoever is now staler than ``max_staleness``.

        Equal finish times: lower worker index first.  Cost O(n) per replicate, whatever ``k``.
        """
        replicates = self.time.size
        now = np.partition(self.finish, k - 1, axis=1)[:, k - 1 : k]
        delivered = self.finish <= now
        if np.count_nonzero(delivered) > k * replicates:
            first = np.argsort(self.finish, axis=1, kind="stable")[:, :k]
            delivered = np.zeros_like(delivered)
            np.put_along_axis(delivered, first, True, axis=1)
        done = np.flatnonzero(delivered)
        finish, start = (each.take(done).reshape(replicates, k) for each in (self.finish, self.start))
        staleness = self.updates - self.version.take(done).reshape(replicates, k)
        self.updates += 1
        fresh, restarted, wasted = delivered, np.zeros_like(delivered), np.zeros(replicates)
        if max_staleness < self.updates:
            restarted = ~delivered & (self.version < self.updates - max_staleness)
            wasted = np.einsum("ij,ij->i", now - self.start, restarted)
            fresh = delivered | restarted
        workers = np.flatnonzero(fresh)
        begin = now[:, 0].take(workers // fresh.shape[1])
        self.start.put(workers, begin)
        self.finish.put(workers, begin + self.delay.sample(self.rng, workers.size))
        self.version.put(workers, self.updates)
        duration, self.time = now[:, 0] - self.time, now[:, 0]
        idle, useful = (now - finish).sum(axis=1), (finish - start).sum(axis=1)
        return Round(duration, staleness, idle, useful, wasted, delivered, restarted)


def order_statistic(delay: Delay, k: int, n: int, rng: np.random.Generator, num_samples: int) -> Estimate:
    """E[X_(k)], the mean time until ``k`` of ``n`` workers are done.

    Draws X_(k) = Q(U_(k)) with U_(k) ~ Beta(k, n-k+1) made of two gammas, and takes the quantile Q from the near end.
    Cost: ``num_samples`` quantiles, whatever ``n``.
    Source: David & Nagaraja (2003), Order Statistics, ch. 2.
    """
    _check(delay, k, n, rng)
    check_count("num_samples", num_samples, minimum=2)
    done, busy = rng.standard_gamma(k, num_samples), rng.standard_gamma(n - k + 1, num_samples)
    near = done < busy
    times = np.empty(num_samples)
    times[near] = delay.ppf(done[near] / (done + busy)[near])
    times[~near] = delay.isf(busy[~near] / (done + busy)[~near])
    return Estimate.of(times)


def abs_sgd(
    delay: Delay,
    k: int,
    n: int,
    max_staleness: float | None,
    rng: np.random.Generator,
    num_rounds: int = 1000,
    replicates: int = 128,
    warmup: int | None = None,
) -> SteadyState:
    """Steady state of ABS by simulation; ``max_staleness`` None or inf is K-async, 0 is K-sync.

    Each replicate starts with n fresh workers and forgets them during ``warmup`` rounds, by default 20 n / k, in which
    a worker delivers about 20 times; without a bound up to 80 n / k, until E[(X - t)+] < .002 E[X] if there are long
    stalls.  If the delay has no variance (Pareto with index <= 2) and there is no bound, the start fades only like a
    power of time, and the errors, 95 % half-widths over replicates, are too small.  So they are for constant delays:
    all replicates then do the same, and an average over a window that cuts a cycle is off by up to one cycle in
    ``num_rounds``.
    Cost O(n replicates) per round, 30 to 60 ns for each worker.
    Raises ValueError if E[X] is infinite and nothing stops the stragglers: there is no steady state.
    """
    _check(delay, k, n, rng)
    check_max_staleness(max_staleness)
    check_count("num_rounds", num_rounds)
    check_count("replicates", replicates, minimum=2)
    bound = math.inf if max_staleness is None else max_staleness
    if math.isinf(bound) and k < n and math.isinf(delay.mean):
        raise ValueError(f"E[X] must be finite if there is no bound, got {delay!r}; give a max_staleness")
    warmup = _warmup(delay, k, n, bound) if warmup is None else warmup
    check_count("warmup", warmup, minimum=0)

    fleet = Fleet(delay, n, rng, replicates)
    for _ in range(warmup):
        fleet.round(k, bound)
    seconds, idle, wasted, restarts = np.zeros((4, replicates))
    counts = np.zeros((replicates, 1))
    for _ in range(num_rounds):
        done = fleet.round(k, bound)
        seconds += done.duration
        idle += done.idle_seconds
        wasted += done.wasted_seconds
        restarts += np.count_nonzero(done.restarted, axis=1)
        if (longest := done.staleness.max() + 1) > counts.shape[1]:
            counts = np.pad(counts, ((0, 0), (0, longest - counts.shape[1])))
        cells = done.staleness + np.arange(replicates)[:, None] * counts.shape[1]
        np.add.at(counts.reshape(-1), cells.ravel(), 1.0)

    pmf = counts / (k * num_rounds)
    samples = {
        "round_time": seconds / num_rounds,
        "mean_staleness": pmf @ np.arange(pmf.shape[1]),
        "restarts": restarts / num_rounds,
        "uplinks": np.full(replicates, float(k)),
        "downlinks": k + restarts / num_rounds,
        "idle_fraction": idle / (n * seconds),
        "wasted_fraction": wasted / (n * seconds),
    }
    estimates = {name: Estimate.of(values) for name, values in samples.items()}
    entries = [Estimate.of(entry) for entry in pmf.T]

    def fields(part: Callable[[Estimate], float]) -> dict[str, Any]:
        return {name: part(e) for name, e in estimates.items()} | {
            "staleness_pmf": np.array([part(e) for e in entries])
        }

    error = SteadyState(**fields(Estimate.half_width))
    return SteadyState(**fields(lambda e: e.mean), method="monte-carlo", error=error)


def _warmup(delay: Delay, k: int, n: int, max_staleness: float) -> int:
    tasks = 20
    while (
        k < n
        and math.isinf(max_staleness)
        and tasks < 80
        and delay.integrated_tail(tasks * delay.mean) > 0.002 * delay.mean
    ):
        tasks *= 2
    return math.ceil(tasks * n / k)


def check_max_staleness(value: Any) -> None:
    """Raise ValueError unless ``value`` is a whole number >= 0, or None or inf for no bound."""
    whole = is_integer(value) or (isinstance(value, float) and (value.is_integer() or value == math.inf))
    if value is not None and not (whole and value >= 0):
        raise ValueError(f"max_staleness must be a whole number >= 0, or None for no bound, got {value!r}")


def _check(delay: Any, k: Any, n: Any, rng: Any) -> None:
    if not isinstance(delay, Delay):
        raise ValueError(f"delay must be a Delay such as Exponential(mean=1.0), got {delay!r}")
    check_k(k, n)
    if not isinstance(rng, np.random.Generator):
        raise ValueError(f"rng must be a numpy Generator such as np.random.default_rng(0), got {rng!r}")
