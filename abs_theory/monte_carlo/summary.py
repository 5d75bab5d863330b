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
from scipy import special

from abs_theory.monte_carlo.tally import Tally
from abs_theory.results import SteadyState
from abs_theory.typing import Array
from abs_theory.workers import Workers

__all__ = ["half_widths", "regressed", "summary"]


ROUNDING = 1e-14  # relative, of a share
MOST_STANDARD_ERRORS = 4.5  # of the mean of a control from 0, exceeded by chance in one of 100 000
LEAST_SHARE_OF_ITS_OWN = 0.05  # of the deviation of a replicate, that the regression through it does not explain
# singular value, relative, of a combination of controls: what varies less may be all error of the tables they come from
LEAST_DIRECTION = 1e-3
LEAST_FREEDOM = 7.0  # if one replicate has all the variance: t is then the quantile for a Poisson count of 1
LINGERING_SHARE = 5e-4  # gradients per round of a worker that hardly ever delivers: its phase stays what it was


def summary(  # noqa: PLR0913
    tally: Tally,
    rounds: int,
    workers: Workers,
    k: int,
    bound: float,
    outside: float,
    controls: Array | None = None,
    skewed: bool = False,
    windows: int = 1,
) -> SteadyState:
    """Means over the replicates of ``tally``, with half-widths that are exceeded with probability ``outside``.

    Given ``controls``, sums of mean 0 with shape replicates x any, regression on them and on what is conserved in the
    long run reduces the noise.  Else the errors of staleness and restarts cover how far they are from conservation.
    If replicates may be ``skewed``, errors have the degrees of freedom that their kurtosis leaves.  If the rows are the
    same replicates in several ``windows``, one after another, all are used for the regression, and errors are those of
    the replicates, for their windows depend on each other.
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
    histogram = tally.histogram[:, : int(np.flatnonzero(tally.histogram.any(axis=0))[-1]) + 1]
    columns, frequencies = np.column_stack(sums) / rounds, histogram / histogram.sum(axis=1, keepdims=True)
    together, number = len(frequencies) == len(known), columns.shape[1]
    mean, residual, freedom = regressed(np.hstack([columns, frequencies]) if together else columns, known)
    if windows > 1:
        residual = residual.reshape(windows, -1, residual.shape[1]).mean(axis=0)
        freedom = len(residual) - 1

    seconds, restarts = float(mean[0]), max(float(mean[3]), 0.0)
    shares = np.maximum(mean[1:3], 0.0) / (n * seconds)  # idle and wasted: ratios of sums
    residual[:, 1:3] -= shares * n * residual[:, :1]
    widths = half_widths(residual, freedom, outside, skewed)
    shares_error = np.maximum(widths[1:3] / (n * seconds), ROUNDING * shares)
    numbers: dict[str, Any] = {"round_time": seconds, "uplinks": float(k)}
    errors: dict[str, Any] = {"round_time": float(widths[0]), "uplinks": 0.0}
    numbers |= {"idle_fraction": float(shares[0]), "wasted_fraction": float(shares[1])}
    errors |= {"idle_fraction": float(shares_error[0]), "wasted_fraction": float(shares_error[1])}
    numbers |= {"restarts": restarts, "downlinks": k + restarts, "mean_staleness": float(mean[4]) / k}
    errors |= {"restarts": float(widths[3]), "downlinks": float(widths[3]), "mean_staleness": float(widths[4]) / k}
    unseen = -math.log(outside) / (rounds * tally.seconds.size)  # how often per round what was never seen may happen
    if controls is None:  # from a start that is not forgotten
        drift = abs(float(tally.aged.mean())) - 3 * float(tally.aged.std()) / math.sqrt(tally.aged.size)
        drift = max(drift, 0.0) / rounds
        errors["mean_staleness"] += drift / k
        if math.isfinite(bound):
            errors["restarts"] += drift / (bound + 1)
            errors["downlinks"] += drift / (bound + 1)
            if k < n and not tally.restarts.any():
                errors["restarts"] = errors["downlinks"] = errors["restarts"] + unseen
                errors["mean_staleness"] += unseen * (bound + 1) / k
                errors["wasted_fraction"] += unseen * (bound + 1) / n
    else:
        missed = 0.0 if math.isinf(bound) else bound + 1
        if missed and numbers["restarts"] < n - k:
            errors["restarts"] = errors["downlinks"] = errors["restarts"] + unseen
            errors["mean_staleness"] += unseen * missed / k
            errors["wasted_fraction"] += unseen * missed / n
        numbers["restarts"] = min(restarts, (n - k) / missed) if missed else 0.0
        numbers["mean_staleness"] = (n - k - missed * numbers["restarts"]) / k
    probabilities, pmf_error = mean[number:], widths[number:]
    if not together:  # parts of the replicates
        parts = known.reshape(len(frequencies), -1, known.shape[1]).sum(axis=1)
        probabilities, part_residual, part_freedom = regressed(frequencies, parts)
        pmf_error = half_widths(part_residual, part_freedom, outside, skewed)
    probabilities = np.maximum(probabilities, 0.0)
    numbers["staleness_pmf"] = probabilities / probabilities.sum()
    never_seen = -math.log(outside) / int(histogram.sum())  # frequency of what was seen nowhere
    errors["staleness_pmf"] = np.maximum(pmf_error, never_seen)
    column = np.arange(n) if by_worker else workers.group
    share, error = mean[5:number] / sizes, widths[5:number] / sizes
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


def regressed(columns: Array, controls: Array) -> tuple[Array, Array, int]:
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
    inverse = np.linalg.pinv(standard, rcond=LEAST_DIRECTION)
    slope = inverse @ (columns - mean)
    leverage = 1 / replicates + np.sum(standard * inverse.T, axis=1)
    weight = 1 - replicates * (centre @ inverse)  # of each replicate in the result, times their number
    factor = weight / np.maximum(1 - leverage, LEAST_SHARE_OF_ITS_OWN)
    left_out = (columns - mean - standard @ slope) * factor[:, None]
    bias = left_out.mean(axis=0)
    mean = mean - centre @ slope + bias * (replicates - 1) / replicates
    return mean, left_out - bias, replicates - 1 - controls.shape[1]


def half_widths(residual: Array, freedom: int, outside: float, skewed: bool) -> Array:
    """Half-widths of means from deviations, replicates x any, that are exceeded with probability ``outside``.

    The squared standard error has a relative variance of (kurtosis - 1) / replicates.  If it is ``skewed``, Student's t
    has the degrees of freedom of a chi-squared number of this variance: few where few replicates saw rare events.
    Source: Satterthwaite (1946), An approximate distribution of estimates of variance components.
    """
    squares = residual**2
    variance = squares.mean(axis=0)
    deviation = np.sqrt(variance)
    left = np.full(deviation.shape, float(freedom))
    if skewed:
        squares /= np.where(variance > 0, variance, 1.0)
        kurtosis = np.mean(np.square(squares, out=squares), axis=0)
        left = np.clip(2 * freedom / np.maximum(kurtosis - 1, 1.0), LEAST_FREEDOM, freedom)
    values, place = np.unique(left, return_inverse=True)  # many have the same, and the quantile is slow
    quantile = special.stdtrit(values, outside / 2)[place].reshape(left.shape)
    return -quantile / math.sqrt(freedom) * deviation
