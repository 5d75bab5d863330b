r"""The start of a run: updates of workers that all begin afresh, where the steady state counts from a running server.

Let S_J be the time of the J-th update and N(t) the number of updates by t.  In the long run E S_J = J r + c and
E N(t) = t / r + b, with r the steady round time; the start decides c and b.

- Rounds are independent if all workers begin each round alike: threshold 0, k = n, or exponential delays.  Then
  E S_J = J r exactly, and E N is the renewal function of the k-th order statistic.
- With k = 1 and no threshold every worker renews alone.  Then E N is the sum of n renewal functions, and E S_J is the
  mean time of the J-th of their events (``renewal.mean_event_time``).
- Otherwise the first rounds are simulated, until c or b has settled, with a generator made from k, n and the threshold.
  So the same question has the same answer, in any unit of time.

Source: renewal theory (Cox, 1962); the renewal equation by the rectangles of Xie (1989).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from abs_theory import order_stats, steady_state
from abs_theory.checks import check_k, check_max_staleness, checked_array, real_numbers
from abs_theory.delays import Exponential
from abs_theory.monte_carlo import Estimate, PlayedFleet
from abs_theory.order_stats import renewal
from abs_theory.results import above_rounding
from abs_theory.typing import Array, Laws
from abs_theory.workers import Workers, as_workers

__all__ = ["WithError", "expected_updates", "time_of_update"]

SETTLED_TURNS = 12  # turns (n / k rounds, in which every worker could deliver once) until the start is forgotten
TASKS_SIMULATED = 1e6  # workers x rounds x replicates; .2 s
REPLICATES = (64, 16384)  # least and most
MOST_ROUNDS_MORE = 4  # times the rounds to settle, for slow replicates to reach the mean time of the others
MOST_ROUNDS_RARE = 40  # times the rounds to settle, where rare long rounds leave no straight line to go on with
MOST_EXACT_UPDATES = 8  # E S_J by ``mean_event_time``, which needs the laws of sums of about J / n delays
RENEWAL_STEPS = 2000  # of the renewal equation
RENEWAL_ROUNDS = 40  # mean rounds until the renewal function is a straight line, except for heavy tails


class WithError(NamedTuple):
    """Values, and the half-widths of their errors: 95 % where simulated, the error of the numerics elsewhere."""

    value: Array  #: one for each question, a number for a single one
    error: Array  #: half-width, of the same shape; 0 where exact

    @classmethod
    def of(cls, value: ArrayLike, error: ArrayLike) -> "WithError":
        """Both as arrays, or as numbers if there is one question."""
        return cls(np.asarray(value, float)[()], above_rounding(error, value))


def time_of_update(
    delay: Laws, k: int, n: int, max_staleness: float | None = None, *, updates: ArrayLike = 1
) -> WithError:
    """Expected seconds until the J-th update, for each J of ``updates``, if all workers start afresh at time 0.

    ``updates`` need not be whole: between whole numbers the time is interpolated.  Infinite if a round has no mean.
    Raises ValueError unless all J >= 1.

    See also: ``expected_updates``, the number of updates by a time; ``abs_sgd``, the seconds per update in the long
    run.

    >>> from abs_theory.delays import ShiftedExponential
    >>> law = ShiftedExponential(shift=0.5, scale=0.5)
    >>> time_of_update(law, 1, 10, updates=[1, 2]).value.round(3)
    array([0.55 , 0.606])
    """
    workers, theta = _checked(delay, k, n, max_staleness)
    wanted = real_numbers(updates)
    if not np.all(np.isfinite(wanted) & (wanted >= 1)):
        raise ValueError(f"updates must be finite numbers >= 1, got updates={updates!r}")
    if not wanted.size:
        return WithError.of(wanted, wanted)
    if _independent_rounds(workers, k, theta):
        return WithError.of(wanted * order_stats.mean(workers, k, n), np.zeros_like(wanted))
    if math.isinf(order_stats.mean(workers, k, n)):  # of the first, and of all that follow it
        return WithError.of(np.full_like(wanted, math.inf), np.zeros_like(wanted))
    last = math.ceil(wanted.max())
    if k == 1 and math.isinf(theta) and last <= MOST_EXACT_UPDATES:
        whole = np.unique([np.floor(wanted), np.ceil(wanted)])
        means = np.array([renewal.mean_event_time(workers, int(j), n) for j in whole])
        return WithError.of(np.interp(wanted, whole, means), np.zeros_like(wanted))
    times = _simulated(workers, k, theta, min(last, _rounds_to_settle(n, k)), until=0.0)
    known = np.arange(1.0, len(times) + 1)
    result = _extended(wanted, known, times.T, workers, k, theta, time_per_update=True)
    first = wanted == 1
    exact = order_stats.mean(workers, k, n) if np.any(first) else 0.0
    return WithError.of(np.where(first, exact, result.value), np.where(first, 0.0, result.error))


def expected_updates(
    delay: Laws, k: int, n: int, max_staleness: float | None = None, *, seconds: ArrayLike
) -> WithError:
    """Expected number of updates by each time of ``seconds``, if all workers start afresh at time 0.

    See also: ``time_of_update``, the time of a given update.

    >>> from abs_theory.delays import ShiftedExponential
    >>> law = ShiftedExponential(shift=0.5, scale=0.5)
    >>> expected_updates(law, 1, 10, seconds=[0.3, 0.6, 1.0, 5.0]).value.round(2)
    array([ 0.  ,  1.81,  6.32, 46.25])
    """
    workers, theta = _checked(delay, k, n, max_staleness)
    wanted = checked_array("seconds", seconds)
    if not workers.has_atoms:
        if _independent_rounds(workers, k, theta):
            mean = order_stats.mean(workers, k, n)
            return _renewal_function(lambda t: order_stats.cdf(workers, k, n, t), mean, wanted)
        if k == 1 and math.isinf(theta):
            parts = [_renewal_function(law.cdf, law.mean, wanted) for law in workers.laws]
            counts = np.array(workers.counts).reshape(-1, *[1] * wanted.ndim)
            return WithError.of(*(np.sum(counts * np.array([part[i] for part in parts]), axis=0) for i in (0, 1)))
    rare = math.isinf(order_stats.var(workers, k, n))  # so long rounds that no number of rounds settles
    times = _simulated(workers, k, theta, _rounds_to_settle(n, k), until=float(wanted.max()) if rare else None)
    horizon = float(times[-1].min())  # the counts of all replicates are known up to here
    known = np.unique(np.concatenate([wanted[wanted <= horizon], [0.0, horizon / 2, horizon]]))
    counts = np.array([np.searchsorted(run, known, side="right") for run in times.T], dtype=float)
    return _extended(wanted, known, counts, workers, k, theta, time_per_update=False)


# ---------------------------------------------------------------- inside


def _checked(delay: Laws, k: int, n: int, max_staleness: float | None) -> tuple[Workers, float]:
    check_k(k, n)
    check_max_staleness(max_staleness)
    return as_workers(delay, n), math.inf if max_staleness is None else float(max_staleness)


def _independent_rounds(workers: Workers, k: int, theta: float) -> bool:
    """Whether all workers begin each round alike, as at the start."""
    return theta == 0 or k == workers.n or all(isinstance(law, Exponential) for law in workers.laws)


def _rounds_to_settle(n: int, k: int) -> int:
    return math.ceil(SETTLED_TURNS * n / k)


def _simulated(workers: Workers, k: int, theta: float, rounds: int, *, until: float | None) -> Array:
    """Times of the first ``rounds`` updates, shape updates x replicates.

    There are some more until every replicate has reached the time ``until``; None: the mean time of update ``rounds``.
    """
    replicates = int(np.clip(TASKS_SIMULATED / (workers.n * rounds), *REPLICATES))
    threshold = 2**32 if math.isinf(theta) else int(min(theta, 2**32 - 1))
    fleet = PlayedFleet(workers, workers.n, np.random.default_rng([workers.n, k, threshold]), replicates)
    times: list[Array] = []
    most = MOST_ROUNDS_MORE * rounds if until is None else MOST_ROUNDS_RARE * rounds
    while len(times) < rounds or (len(times) < most and times[-1].min() < until):
        fleet.round(k, theta)
        times.append(fleet.time.copy())
        if until is None and len(times) == rounds:
            until = float(times[-1].mean())
    return np.array(times)


def _extended(
    wanted: Array, known: Array, runs: Array, workers: Workers, k: int, theta: float, *, time_per_update: bool
) -> WithError:
    """Means over ``runs`` (replicates x ``known``) at the ``wanted`` places, extended by the steady state.

    ``time_per_update``: ``known`` are updates and ``runs`` times; else the reverse.
    """
    mean = runs.mean(axis=0)
    half = Estimate(0.0, 1.0, len(runs)).half_width() * runs.std(axis=0, ddof=1) / math.sqrt(len(runs))
    value, error = np.interp(wanted, known, mean), np.interp(wanted, known, half)
    beyond = wanted > known[-1]
    if np.any(beyond):
        rng = np.random.default_rng(workers.n) if workers.has_atoms else None
        state = steady_state.abs_sgd(workers, k, workers.n, theta, rng=rng)
        round_time, round_error = float(state.round_time), float(state.error.round_time)
        slope = round_time if time_per_update else 1 / round_time
        slope_error = slope * round_error / round_time
        middle = len(known) // 2
        straight = mean[middle] + slope * (known[-1] - known[middle])
        unsettled = max(0.0, abs(float(mean[-1] - straight)) - float(half[-1]))
        ahead = wanted - known[-1]
        if not time_per_update and math.isinf(order_stats.var(workers, k, workers.n)):  # ever further from a line
            unsettled = (unsettled + half[-1]) * np.maximum(1.0, ahead / (known[-1] - known[middle]))
        if math.isinf(round_time):  # ever fewer updates, and less than in proportion
            slope = slope_error = mean[-1] / known[-1] / 2
        value = np.where(beyond, mean[-1] + slope * ahead, value)
        error = np.where(beyond, half[-1] + slope_error * ahead + unsettled, error)
    return WithError.of(value, error)


def _renewal_function(cdf: Callable[[ArrayLike], Array], mean: float, t: Array) -> WithError:
    """Expected renewals by each time ``t``, of a law with this cdf and mean."""
    latest = min(float(t.max(initial=0.0)), RENEWAL_ROUNDS * mean)
    if latest == 0:
        return WithError.of(np.zeros_like(t), np.zeros_like(t))
    fine, coarse = (_renewals(cdf, latest / steps, steps) for steps in (RENEWAL_STEPS, RENEWAL_STEPS // 2))
    grid = np.linspace(0, latest, RENEWAL_STEPS + 1)
    rough = np.interp(grid, grid[::2], coarse)
    ahead = np.maximum(t - latest, 0.0) / mean
    middle = RENEWAL_STEPS // 2
    unsettled = abs(float(fine[-1] - fine[middle] - (grid[-1] - grid[middle]) / mean)) if np.any(ahead > 0) else 0.0
    error = np.interp(t, grid, np.abs(fine - rough)) + np.where(ahead > 0, unsettled, 0.0)
    return WithError.of(np.interp(t, grid, fine) + ahead, error)


def _renewals(cdf: Callable[[ArrayLike], Array], step: float, steps: int) -> Array:
    """The renewal function m at 0, ``step``, ..., from m = F + F * dm, with F taken at the middle of each step."""
    end = np.asarray(cdf(step * np.arange(steps + 1)), dtype=float)
    middle = np.asarray(cdf(step * (np.arange(steps) + 0.5)), dtype=float)
    total, gained = np.zeros(steps + 1), np.zeros(steps + 1)
    for i in range(1, steps + 1):
        earlier = middle[i - 1 : 0 : -1] @ gained[1:i]
        total[i] = (end[i] + earlier - middle[0] * total[i - 1]) / (1 - middle[0])
        gained[i] = total[i] - total[i - 1]
    return total
