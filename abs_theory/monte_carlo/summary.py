"""From the sums of a simulation to a steady state with its errors.

Regression on control variates, whose means are 0 in the long run, reduces the noise.  One of them is the growth of the
ages in flight: with it the results obey the conservation of staleness.  Without a bound another is the growth of the
work in progress: with it they obey the conservation of work.  Shares of time are ratios of sums, not means of
ratios, with errors by the delta method.
Source: Asmussen & Glynn (2007), Stochastic Simulation, ch. 3.4 and 5.2, for ratios and for control variates; Efron &
Tibshirani (1993), An Introduction to the Bootstrap, ch. 11, for the jackknife.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from abs_theory.monte_carlo.tally import Tally
from abs_theory.results import SteadyState
from abs_theory.typing import Array
from abs_theory.workers import Workers

__all__ = ["summary"]


ROUNDING = 1e-14  # relative, of a share
MOST_STANDARD_ERRORS = 4.5  # of the mean of a control from 0, exceeded by chance in one of 100 000
LEAST_SHARE_OF_ITS_OWN = 0.05  # of the deviation of a replicate, that the regression through it does not explain
LINGERING_SHARE = 5e-4  # gradients per round of a worker that hardly ever delivers: its phase stays what it was


def summary(
    tally: Tally,
    rounds: int,
    workers: Workers,
    k: int,
    bound: float,
    outside: float,
    controls: Array | None = None,
) -> SteadyState:
    """Means over the replicates of ``tally``, with half-widths that are exceeded with probability ``outside``.

    Given ``controls``, sums of mean 0 with shape replicates x any, regression on them and on what is conserved in the
    long run reduces the noise.  Else the errors of staleness and restarts cover how far they are from conservation.
    """
    n = workers.n
    by_worker = tally.delivered.shape[1] > len(workers.laws)
    sizes = np.ones(n) if by_worker else np.array(workers.counts)
    sums = [tally.seconds, tally.idle, tally.wasted, tally.restarts, tally.staleness, tally.delivered]
    known = [np.zeros((tally.seconds.size, 0)) if controls is None else _informative(controls)]
    if controls is not None and k < n:
        known.append(tally.aged)
        if math.isinf(bound):  # all that is begun is delivered
            means = np.array([law.mean for law in workers.laws])
            due = tally.delivered @ (means[workers.group] if by_worker else means)
            due = k * rounds * means[0] if workers.equal else due
            known.append(n * tally.seconds - tally.idle - due)
    known = np.column_stack(known) / rounds
    mean, residual, freedom = _regressed(np.column_stack(sums) / rounds, known)
    unit = _student(outside, freedom) / math.sqrt(freedom)

    def half_width(values: Array) -> float:
        return unit * float(np.sqrt(np.mean(values**2)))

    seconds = float(mean[0])
    numbers: dict[str, Any] = {"round_time": seconds, "uplinks": float(k)}
    errors: dict[str, Any] = {"round_time": half_width(residual[:, 0]), "uplinks": 0.0}
    for column, name in ((1, "idle_fraction"), (2, "wasted_fraction")):
        share = max(float(mean[column]), 0.0) / (n * seconds)
        numbers[name] = share
        error = half_width(residual[:, column] - share * n * residual[:, 0]) / (n * seconds)
        errors[name] = max(error, ROUNDING * share)
    restarts, error = max(float(mean[3]), 0.0), half_width(residual[:, 3])
    numbers |= {"restarts": restarts, "downlinks": k + restarts, "mean_staleness": float(mean[4]) / k}
    errors |= {"restarts": error, "downlinks": error, "mean_staleness": half_width(residual[:, 4]) / k}
    unseen = -math.log(outside) / (rounds * tally.seconds.size)  # how often per round what was never seen may happen
    if controls is None:  # from a start that is not forgotten
        drift = abs(float(tally.aged.mean())) - 3 * float(tally.aged.std()) / math.sqrt(tally.aged.size)
        drift = max(drift, 0.0) / rounds
        errors["mean_staleness"] += drift / k
        if math.isfinite(bound):
            errors["restarts"] += drift / (bound + 1)
            errors["downlinks"] += drift / (bound + 1)
    else:
        missed = 0.0 if math.isinf(bound) else bound + 1
        if missed and numbers["restarts"] < n - k:
            errors["restarts"] = errors["downlinks"] = errors["restarts"] + unseen
            errors["mean_staleness"] += unseen * missed / k
            errors["wasted_fraction"] += unseen * missed / n
        numbers["restarts"] = min(restarts, (n - k) / missed) if missed else 0.0
        numbers["mean_staleness"] = (n - k - missed * numbers["restarts"]) / k
    numbers["staleness_pmf"], errors["staleness_pmf"] = _pmf(tally.histogram, known, outside)
    column = np.arange(n) if by_worker else workers.group
    share, error = mean[5:] / sizes, np.array([half_width(values) for values in residual[:, 5:].T]) / sizes
    if controls is not None:
        error = error + LINGERING_SHARE + unseen
    if workers.equal and not by_worker:
        share, error = np.array([k / n]), np.zeros(1)
    numbers["participation"], errors["participation"] = share[column], error[column]
    return SteadyState(**numbers, method="monte-carlo", error=SteadyState(**errors))


def _informative(controls: Array) -> Array:
    """Those of the controls whose mean is 0 as far as their own spread tells.

    Of very rare events only the absence may have been seen; then the spread says nothing of the mean.
    """
    standard_error = controls.std(axis=0) / math.sqrt(len(controls))
    return controls[:, np.abs(controls.mean(axis=0)) <= MOST_STANDARD_ERRORS * standard_error]


def _regressed(columns: Array, controls: Array) -> tuple[Array, Array, int]:
    """Means of the columns where the controls are 0, deviations to take errors from, and degrees of freedom.

    Both are those of the jackknife: leaving out one replicate at a time shows the bias of the regression, and what
    single replicates with unusual controls contribute to the error.
    """
    replicates = len(columns)
    mean = columns.mean(axis=0)
    spread = controls.std(axis=0)
    varied = spread > ROUNDING * replicates * np.abs(controls).max(axis=0, initial=0.0)
    controls, spread = controls[:, varied], spread[varied]
    if controls.shape[1] == 0 or replicates < 4 * (controls.shape[1] + 2):
        return mean, columns - mean, replicates - 1
    centre = controls.mean(axis=0) / spread
    standard = controls / spread - centre
    inverse = np.linalg.pinv(standard, rcond=1e-8)
    slope = inverse @ (columns - mean)
    leverage = 1 / replicates + np.sum(standard * inverse.T, axis=1)
    weight = 1 - replicates * (centre @ inverse)  # of each replicate in the result, times their number
    factor = weight / np.maximum(1 - leverage, LEAST_SHARE_OF_ITS_OWN)
    left_out = (columns - mean - standard @ slope) * factor[:, None]
    bias = left_out.mean(axis=0)
    mean = mean - centre @ slope + bias * (replicates - 1) / replicates
    return mean, left_out - bias, replicates - 1 - controls.shape[1]


def _student(outside: float, freedom: int) -> float:
    """What Student's t exceeds in size with probability ``outside``."""
    return -float(special.stdtrit(freedom, outside / 2))


def _pmf(histogram: NDArray[np.int64], controls: Array, outside: float) -> tuple[Array, Array]:
    """Frequencies, with errors over the rows, which are parts of the replicates of the ``controls``."""
    histogram = histogram[:, : int(np.flatnonzero(histogram.any(axis=0))[-1]) + 1]
    rows, total = len(histogram), int(histogram.sum())
    unseen = -math.log(outside) / total  # frequency of what was seen nowhere
    if controls.shape[1] == 0:
        unit = _student(outside, rows - 1) / math.sqrt(rows)
        spread = (histogram / histogram.sum(axis=1, keepdims=True)).std(axis=0, ddof=1)
        return histogram.sum(axis=0) / total, np.maximum(unit * spread, unseen)
    parts = controls.reshape(rows, -1, controls.shape[1]).sum(axis=1)
    mean, residual, freedom = _regressed(histogram / histogram.sum(axis=1, keepdims=True), parts)
    error = _student(outside, freedom) * np.sqrt(np.mean(residual**2, axis=0) / freedom)
    pmf = np.maximum(mean, 0.0)
    return pmf / pmf.sum(), np.maximum(error, unseen)
