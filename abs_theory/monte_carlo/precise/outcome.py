"""The steady state that a stretch of rounds shows, with its errors."""

import math
from dataclasses import replace

import numpy as np

from abs_theory.monte_carlo.ages import well_spread
from abs_theory.monte_carlo.precise.mixing import Cell
from abs_theory.monte_carlo.precise.stretches import Stretch
from abs_theory.monte_carlo.summary import half_widths, regressed, summary
from abs_theory.results import SteadyState
from abs_theory.typing import Array

__all__ = ["OUTSIDE", "state_of"]

OUTSIDE = 1e-5  # two-sided probability that a stated error is exceeded by chance
LINGERING_PROBABILITY = 2e-3  # error of that of a staleness, where phases are not mixed by the warm-up
CONTRADICTED = 3.0  # errors of the simulated round time, which is skewed where rounds are uneven
MOST_BEYOND, MOST_TILT = 1e-3, 0.005  # probability in the last entry; change of a probability, to give the law its mean
LARGEST_EXPONENT = 50.0  # of such a change, so that nothing overflows where it fails


def state_of(seen: Stretch, cell: Cell, change: Array, computed: tuple[float, float] | None = None) -> SteadyState:
    """The steady state of what was ``seen``; a round time that was ``computed`` stands unless it is contradicted."""
    workers, k, bound = cell.workers, cell.k, cell.bound
    controls = np.hstack([seen.controls, well_spread(seen.by_age)])
    state = summary(seen.tally, seen.rounds, workers, k, bound, OUTSIDE, controls, skewed=True, windows=seen.windows)
    assert state.error is not None
    rounds = seen.rounds * seen.tally.seconds.size * seen.copies
    unseen = cell.rare.unseen(rounds, fresh=False)
    if seen.looks:
        given, means_error = _of_means(seen.expected / seen.looks, controls / seen.rounds, workers.n)
        # rare long rounds are in the means of all states, so they need not be seen
        unseen = cell.rare.unseen(rounds, fresh=bool(means_error["round_time"] < state.error.round_time))
        better = {name: given[name] for name, error in means_error.items() if error < getattr(state.error, name)}
        errors = replace(state.error, **{name: means_error[name] for name in better})
        state = replace(state, **better, error=errors)
    assert state.error is not None
    if computed is not None and abs(computed[0] - state.round_time) <= CONTRADICTED * state.error.round_time:
        state, unseen, change = _with_round_time(state, *computed), 0.0, np.append(0.0, change[1:])
    assert state.error is not None
    time, available = state.round_time, workers.n * state.round_time
    if math.isinf(bound):  # conservation of work
        time = max(time, k / sum(count / law.mean for law, count in zip(workers.laws, workers.counts, strict=True)))
    more = {
        "round_time": change[0] + unseen + seen.resolution * time,
        "idle_fraction": change[1] / available + 2 * seen.resolution * state.idle_fraction,
        "wasted_fraction": change[2] / available + 2 * seen.resolution * (1 - state.wasted_fraction),
        "restarts": change[3],
        "downlinks": change[3],
        "mean_staleness": change[3] * (bound + 1) / k if change[3] else 0.0,
        "staleness_pmf": change[4],
    }
    if cell.unmixed:
        more["staleness_pmf"] += LINGERING_PROBABILITY
    errors = {name: getattr(state.error, name) + value for name, value in more.items()}
    state = replace(state, staleness_pmf=_with_mean(state.staleness_pmf, float(state.mean_staleness)))
    return replace(state, round_time=time, method="simulation", error=replace(state.error, **errors))


def _of_means(expected: Array, controls: Array, n: int) -> tuple[dict[str, float], dict[str, float]]:
    """Round time and shares of time from means of seconds, idle and useful time, 3 x replicates, and their errors."""
    seconds, idle, useful = expected
    mean, residual, freedom = regressed(np.column_stack([seconds, idle, n * seconds - idle - useful]), controls)
    shares = mean[1:] / (n * mean[0])
    residual[:, 1:] = (residual[:, 1:] - shares * n * residual[:, :1]) / (n * mean[0])
    errors = half_widths(residual, freedom, OUTSIDE, skewed=False)
    names: list[str] = ["round_time", "idle_fraction", "wasted_fraction"]
    return dict(zip(names, [float(mean[0]), *shares.tolist()], strict=True)), dict(
        zip(names, errors.tolist(), strict=True)
    )


def _with_round_time(state: SteadyState, seconds: float, error: float) -> SteadyState:
    assert state.error is not None
    return replace(state, round_time=seconds, error=replace(state.error, round_time=error))


def _with_mean(pmf: Array, mean: float) -> Array:
    """``pmf`` times exp(slope j), which has this ``mean``; itself if too much of it lies beyond its last entry."""
    j = np.arange(pmf.size)
    gap = mean - float(pmf @ j)
    if pmf[-1] > MOST_BEYOND and abs(gap) > 0.05 * mean:
        return pmf
    slope, tilted = 0.0, pmf
    for _ in range(20):
        tilted = pmf * np.exp(np.clip(slope * (j - mean), -LARGEST_EXPONENT, LARGEST_EXPONENT))
        tilted /= tilted.sum()
        centre = float(tilted @ j)
        variance = float(tilted @ (j - centre) ** 2)
        if variance == 0 or abs(mean - centre) <= 1e-12 * mean:
            break
        slope += (mean - centre) / variance
    return tilted if np.abs(tilted - pmf).max() < MOST_TILT else pmf
