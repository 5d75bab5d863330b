"""Stretches of rounds: how they are played and counted, and which of them show the long run."""

import math
import operator
from functools import reduce
from typing import NamedTuple

import numpy as np

from abs_theory.monte_carlo.ages import AgeControls
from abs_theory.monte_carlo.by_age import AgePool
from abs_theory.monte_carlo.conditional import age_state
from abs_theory.monte_carlo.fast import TaskPool
from abs_theory.monte_carlo.long_run import repeats
from abs_theory.monte_carlo.plain import PlainPool
from abs_theory.monte_carlo.tally import Tally
from abs_theory.typing import Array

__all__ = ["PARTS", "Pool", "Stretch", "joined", "play", "settled", "side_by_side"]

Pool = TaskPool | PlainPool | AgePool

PARTS = 128  # of the replicates, for the errors of the staleness law
LONGEST_CYCLE = 256  # rounds of a cycle that the cut of a window takes into account
ALIKE = 4.0  # standard errors
FORGOTTEN = 0.2  # share of the rounds, at most, that are not used because the start may linger


class Stretch(NamedTuple):
    """What was counted in some rounds."""

    rounds: int
    tally: Tally
    controls: Array
    expected: Array  # means of the next round given the state, summed over looks; seconds, idle, useful x replicates
    looks: int  # at the state
    by_age: Array  # controls of the tasks of each age, if any
    copies: int = 1  # of each replicate; each of them played these rounds
    resolution: float = 0.0  # relative, of all times
    windows: int = 1  # in which the same replicates were counted, one after another


def play(pool: Pool, rounds: int, entries: int, every: int, usual_round: float | None) -> Stretch:
    """Play and watch so many rounds; ``every`` few of them numbers of tasks are looked at.

    There are control variates by age if the seconds of a ``usual_round`` are given.
    """
    if isinstance(pool, AgePool):
        looks = max(1, rounds // every)
        played = pool.watch(looks * every, every, PARTS)
        none = np.zeros((pool.replicates, 0))
        return Stretch(looks * every, *played, looks, none, pool.copies, pool.mean.resolution)
    if isinstance(pool, PlainPool):
        tally = pool.watch(rounds, entries - 1, _cut_at(pool, rounds))
        none = np.zeros((tally.seconds.size, 0))
        return Stretch(rounds, tally, none, np.zeros((3, tally.seconds.size)), 0, none)
    parts, none = min(PARTS, pool.now.size), np.zeros((pool.now.size, 0))
    if pool.controls is not None:
        pool.controls.sums[:] = 0.0
    if usual_round is not None:
        state = age_state(pool) if pool.ages is None else pool.ages.state
        pool.ages = AgeControls(pool.workers.laws, state, usual_round)
    tally = pool.watch(rounds, entries - 1, parts)
    by_age = none if pool.ages is None else pool.ages.sums()
    controls = none if pool.controls is None else pool.controls.sums.copy()
    return Stretch(rounds, tally, controls, np.zeros((3, tally.seconds.size)), 0, by_age)


def _cut_at(pool: PlainPool, rounds: int) -> int:
    """Of how many rounds a random one is the first that is watched.

    Constant delays repeat a cycle for ever, of n // k rounds if they are equal.  A worker that is always restarted has
    one of theta + 1 rounds.  A random cut makes the mean that of the cycle, wherever it is cut.
    """
    workers, late = pool.fleet.workers, pool.max_staleness + 1
    if not repeats(workers):
        return 1
    cycle = workers.n // pool.k
    if late <= LONGEST_CYCLE:
        both = math.lcm(cycle, int(late))
        cycle = both if both <= LONGEST_CYCLE else max(cycle, int(late))
    return cycle * max(4, math.ceil(rounds / 4 / cycle))


def settled(stretches: list[Stretch], n: int, last: bool) -> tuple[list[Stretch], Array]:
    """Those at the end that are alike, without the first fifth of the rounds; and how much they still change.

    Seconds, idle and wasted time, restarts and the share of fresh gradients in the last stretch are compared with those
    before, for each part of the replicates.  If they differ by more than ``ALIKE`` standard errors the stretches before
    are not used, unless it is the ``last`` one; then the differences are returned.
    """
    total, begun = sum(s.rounds for s in stretches), 0
    used = []
    for stretch in stretches:
        begun += stretch.rounds
        if begun > FORGOTTEN * total:
            used.append(stretch)
    if len(used) < 2:
        return used, np.zeros(5)
    before, after = (_compared(part, n) for part in (joined(used[:-1]), used[-1]))
    growth = after - before
    change, noise = np.abs(growth.mean(axis=0)), growth.std(axis=0) / math.sqrt(len(after))
    change[change <= ALIKE * noise + 1e-9 * np.abs(after).mean(axis=0)] = 0.0
    if change.any() and not last:
        return used[-1:], np.zeros(5)
    return used, change


def _compared(stretch: Stretch, n: int) -> Array:
    """Seconds, idle and wasted time and restarts per round, and the share of fresh gradients; parts x 5."""
    tally, parts = stretch.tally, len(stretch.tally.histogram)
    times = [tally.seconds, tally.idle, tally.wasted]
    per_round = np.array([*times, tally.restarts]) / stretch.rounds
    if stretch.looks:  # means vary less than what was drawn
        seconds, idle, useful = stretch.expected / stretch.looks
        per_round[:3] = seconds, idle, n * seconds - idle - useful
    by_part = per_round.reshape(4, parts, -1).mean(axis=2).T
    return np.column_stack([by_part, tally.histogram[:, 0] / tally.histogram.sum(axis=1)])


def joined(stretches: list[Stretch]) -> Stretch:
    """One stretch of the same replicates for all ``stretches``, one after another."""
    if len(stretches) == 1:
        return stretches[0]
    return Stretch(
        sum(s.rounds for s in stretches),
        Tally.sum([s.tally for s in stretches]),
        reduce(operator.add, [s.controls for s in stretches]),
        reduce(operator.add, [s.expected for s in stretches]),
        sum(s.looks for s in stretches),
        reduce(operator.add, [s.by_age for s in stretches]),
        stretches[0].copies,
        stretches[0].resolution,
    )


def side_by_side(windows: list[Stretch]) -> Stretch:
    """Equally long stretches of the same replicates, one after another, as rows of one."""
    return windows[0]._replace(
        tally=Tally.joined([s.tally for s in windows]),
        controls=np.vstack([s.controls for s in windows]),
        expected=np.hstack([s.expected for s in windows]),
        by_age=np.vstack([s.by_age for s in windows]),
        windows=len(windows),
    )
