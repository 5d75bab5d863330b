r"""k and the threshold by the clock: which candidate to run when, as the gradient shrinks and noise takes over.

The mean squared gradient norm is g = D(x) + v.  D is its value under descent without noise, after a flow x of eta times
the updates; v is added by noise.  Near a quadratic (``bounds.expected``) each candidate pulls v towards its own floor
s, in rounds of T seconds:

.. math:: \frac{dx}{dt} = \frac{\eta}{T}, \qquad \frac{dv}{dt} = -2 h_1 \eta\, \frac{v - s}{T}, \qquad
    s = \frac{\eta \sigma^2}{2k} \left( h_1 + \eta (\bar\tau + 1/2)\, h_2 \right)

and the loss falls by eta (g - s) per round.  So the rule always runs the candidate with the largest (g - s) / T: short
noisy rounds first, long quiet ones last.  If D is an exponential of rate 2 h_1, the default, this greedy rule is
optimal: g falls as fast as it can at every height, so it is the least possible at every time.  If D is measured,
sigma2, h_1 and h_2 may change along the path.
Source: derived in notebooks/03_choosing_k.ipynb; the gain per time as a criterion, Dutta et al. (2021, AdaSync) and
Xu et al. (2020, arXiv 2004.14696).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from abs_theory.bounds import STEP_SLACK, Constants, expected
from abs_theory.checks import check_nonnegative
from abs_theory.choose.candidates import Candidates
from abs_theory.choose.goal import Budget, Goal, Target
from abs_theory.choose.start import seconds_to
from abs_theory.typing import Array

__all__ = ["Descent", "Timetable", "best_timetable", "exponential", "measured"]


NUM_STEPS, STEP_RANGE = 64, 1e3  # steps tried, in geometric progression; the longest over the shortest
TIME_GROWTH = 0.02  # each interval of time is this share of the time before it
UPDATES_TABULATED = 400  # in geometric progression, for those made by a time
MOST_ROUNDS = 1e7  # of the shortest candidate, after which the search gives up


class Point(NamedTuple):
    """A point on the path of descent without noise: |grad F|^2, and the noise relative to the constants."""

    norm2: Array
    noise: Array  # sigma2 h_1
    drift: Array  # sigma2 h_2
    curvature: Array  # h_1


Descent = Callable[[Array], Point]  # after a flow


@dataclass(frozen=True, eq=False)
class Timetable:
    """The k and the threshold for each time of a run; the step stays the same.

    To run it: ``protocols.abs_sgd(lambda p: table.k_at(p.time), lambda p: table.max_staleness_at(p.time))``.
    """

    step_size: float  #: of all updates
    seconds: float  #: until the mean of |grad F|^2 over time is at the target, or the time budget
    updates: float  #: until then, not rounded
    messages: float  #: uplinks and downlinks until then
    gradient_norm2: float  #: mean over time until then: the target, or what the budget buys
    stairs: pd.DataFrame = field(repr=False)  #: seconds from which k and max_staleness hold, round_time, gradient_norm2

    def k_at(self, seconds: float) -> int:
        """Gradients to wait for ``seconds`` after the start."""
        return int(self._at("k", seconds))

    def max_staleness_at(self, seconds: float) -> float:
        """The threshold ``seconds`` after the start; inf is none."""
        return float(self._at("max_staleness", seconds))

    def _at(self, column: str, seconds: float) -> float:
        check_nonnegative("seconds", seconds)
        row = int(np.searchsorted(self.stairs["seconds"].to_numpy(), seconds, side="right")) - 1
        return self.stairs[column].to_numpy()[max(row, 0)]


def exponential(constants: Constants) -> Descent:
    """D(x) = 2 h_1 gap exp(-2 h_1 x): the gradient of a loss that has one curvature, that of the noise."""
    rate = 2 * (constants.noise_curvature or 0.0)

    def at(flow: Array) -> Point:
        same = np.ones_like(flow)
        return Point(rate * constants.gap * np.exp(-rate * flow), same, same, same)

    return at


def measured(constants: Constants, path: pd.DataFrame) -> Descent:
    """Interpolated in a table with columns flow, gradient_norm2 and maybe sigma2, noise_curvature, noise_curvature2."""
    flow, norm2 = (path[name].to_numpy(dtype=float) for name in ("flow", "gradient_norm2"))
    if not (flow.size and flow[0] == 0 and np.all(np.diff(flow) > 0) and np.all(norm2 >= 0)):
        raise ValueError("descent must have a flow that increases from 0, and gradient_norm2 >= 0")
    noise = drift = curvature = np.ones_like(flow)
    if {"sigma2", "noise_curvature", "noise_curvature2"} <= set(path.columns):
        h1, h2 = expected.noise_curvatures(constants)
        curvature = path["noise_curvature"].to_numpy(dtype=float) / h1
        sigma2 = path["sigma2"].to_numpy(dtype=float) / (constants.sigma2 or 1.0)
        noise, drift = sigma2 * curvature, sigma2 * path["noise_curvature2"].to_numpy(dtype=float) / h2
        if not (np.all(noise >= 0) and np.all(drift >= 0) and np.all(curvature > 0)):
            raise ValueError("descent must have sigma2 >= 0 and curvatures > 0")
    columns = (norm2, noise, drift, curvature)
    return lambda x: Point(*(np.interp(x, flow, column) for column in columns))


def best_timetable(
    constants: Constants, compared: Candidates, goal: Goal, descent: Descent, steps: list[float] | None = None
) -> Timetable | None:
    """The timetable over the candidates ``compared`` at the step that serves the ``goal`` best; None if none does.

    ``steps`` None tries 64 of them.  A candidate is run with steps up to its ``expected.max_step_size`` only.
    Cost: about 800 times steps times candidates, .3 s for 250 candidates.
    """
    finite = np.isfinite(compared.charged)
    if not finite.any():
        return None
    target = goal.error if isinstance(goal, Target) else 0.0
    compared = compared.chosen(finite)
    terms = expected.tradeoff(constants, compared.k, compared.mean_staleness)
    limit = terms.limit * (1 + STEP_SLACK)
    if steps is None:
        level = target if target > 0 else float(descent(np.zeros(1)).norm2[0])
        longest = min(limit.max(), level / terms.noise.min()) if terms.noise.min() > 0 else limit.max()
        eta = longest * np.geomspace(1 / STEP_RANGE, 1, NUM_STEPS)
    else:
        eta = np.array(steps)
    eta = eta[eta <= limit.max()]
    if not eta.size:
        return None
    covered = np.where(limit >= eta[:, None], 0.0, math.inf)
    noise, drift = terms.noise * eta[:, None] + covered, terms.drift * eta[:, None] ** 2
    rate = 2 * (constants.noise_curvature or 0.0) * eta
    clock = _clock(compared, goal)
    runs = _runs(compared, (noise, drift), eta, rate, descent, clock)

    if isinstance(goal, Budget):
        end = np.full(eta.size, goal.seconds)
        at_end = np.array([np.interp(goal.seconds, clock, area) for area in runs.area.T]) / goal.seconds
        best = int(at_end.argmin())
    else:
        owed = runs.area - target * clock[:, None]  # rises, then falls to 0 where the mean is at the target
        end = np.array([_falls_to_zero(clock, debt) for debt in owed.T])
        at_end = np.full(eta.size, target)
        best = int(end.argmin())
    first = runs.cell[0, best]
    seconds = max(float(end[best]), float(compared.seconds_to(np.ones(compared.k.size))[first]))  # one update at least
    if not seconds <= clock[-1]:
        return None
    cell = runs.cell[:, best]
    changes = np.flatnonzero(np.diff(cell, prepend=-1))
    stairs = {
        "seconds": clock[changes],
        "k": compared.k[cell[changes]],
        "max_staleness": compared.max_staleness[cell[changes]],
        "round_time": compared.seconds[cell[changes]],
        "gradient_norm2": runs.norm2[changes, best],
    }
    rounds = np.diff(_worked(compared, first, clock)) / compared.charged[cell]
    updates, messages = (
        float(np.interp(seconds, clock, np.append(0.0, np.cumsum(part))))
        for part in (rounds, rounds * compared.messages[cell])
    )
    return Timetable(float(eta[best]), seconds, max(updates, 1.0), messages, float(at_end[best]), pd.DataFrame(stairs))


class _Runs(NamedTuple):
    """All steps at all times, times x steps; there is one time more at the end of the last interval."""

    cell: NDArray[np.intp]  # the candidate in force from each time on
    norm2: Array
    area: Array  # its integral over time so far


def _clock(compared: Candidates, goal: Goal) -> Array:
    """Times from 0 on, at first the shortest round and then a share of the time itself apart."""
    shortest = compared.charged.min()
    budget = goal.seconds if isinstance(goal, Budget) else 0.0
    longest = max(MOST_ROUNDS, 1.1 * budget / shortest)
    return shortest * np.expm1(TIME_GROWTH * np.arange(math.ceil(math.log1p(longest) / TIME_GROWTH) + 1))


def _worked(compared: Candidates, first: int, clock: Array) -> Array:
    """Seconds at the steady rate that amount to the updates by each time of the ``clock``, if ``first`` runs first.

    Updates are steps in time: by the time of the J-th there were J - 1/2 on average over this moment and the next.
    """
    candidate = compared.chosen(np.array([first]))
    charged = float(candidate.charged[0])
    updates = np.geomspace(1, max(10.0, 2 * clock[-1] / charged), UPDATES_TABULATED)
    seconds = seconds_to(candidate.start, candidate.seconds, candidate.charged, updates)
    begin = max(float(seconds[0]) - charged / 2, 0.0)
    made = np.interp(clock, np.append(begin, seconds), np.append(0.0, updates - 0.5), left=0.0)
    return made * charged


def _runs(
    compared: Candidates,
    floors: tuple[Array, Array],
    eta: Array,
    rate: Array,
    descent: Descent,
    clock: Array,
) -> _Runs:
    """All steps ``eta``; ``floors`` are the two terms of s, steps x candidates, ``rate`` is 2 h_1 eta."""
    every = np.arange(eta.size)
    flow, v, at = np.zeros(eta.size), np.zeros(eta.size), descent(np.zeros(eta.size))
    norm2, area, cells = [at.norm2], [np.zeros(eta.size)], []
    worked = np.zeros((clock.size - 1, eta.size))
    for seconds, at_work in zip(np.diff(clock), worked, strict=True):
        floor = floors[0] * at.noise[:, None] + floors[1] * at.drift[:, None]
        gain = (norm2[-1][:, None] - floor) / compared.charged
        cell = gain.argmax(axis=1)
        cell = np.where(gain[every, cell] > 0, cell, floor.argmin(axis=1))  # below every floor: towards the lowest
        if not cells:
            for first in np.unique(cell):
                worked[:, cell == first] = np.diff(_worked(compared, int(first), clock))[:, None]
        rounds, s = at_work / compared.charged[cell], floor[every, cell]
        v = s + (v - s) * np.exp(-rate * at.curvature * rounds)
        flow = flow + eta * rounds
        at = descent(flow)
        norm2.append(at.norm2 + v)
        area.append(area[-1] + seconds * (norm2[-2] + norm2[-1]) / 2)
        cells.append(cell)
    return _Runs(np.array(cells), np.array(norm2), np.array(area))


def _falls_to_zero(clock: Array, owed: Array) -> float:
    """When a curve that first rises comes back to 0; inf if never."""
    paid = np.flatnonzero(owed[1:] <= 0)
    if not paid.size:
        return math.inf
    i = int(paid[0])
    share = owed[i] / (owed[i] - owed[i + 1]) if owed[i] > owed[i + 1] else 0.0
    return float(clock[i] + share * (clock[i + 1] - clock[i]))
