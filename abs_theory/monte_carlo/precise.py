"""Simulation of a steady state until its errors are small: what ``steady_state.abs_sgd`` does where no formula holds.

The replicates start in a state of the long run (``long_run``), and the rest of the start is forgotten in a warm-up.
They are played in stretches until the goals are met or the effort is spent; the first fifth of the rounds is not used.
Regression on control variates reduces the noise: the growth of the ages in flight, which is 0 in the long run, and
capped delays of the tasks that begin (``controls``).  The first makes the results obey the conservation of staleness.
Under a small threshold others are what tasks of each age did, less what was to be expected of them (``ages``).
Where single rounds differ by orders of magnitude, or many would be needed, the replicates go on as numbers of tasks by
age (``by_age``), which is faster, and the means of the next rounds are averaged instead of their lengths
(``conditional``).  Sums of hazards are their control variates.
Where the beginning is remembered for longer than that, the errors also cover workers that began fresh (``memory``).
"""

import math
import operator
from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from typing import NamedTuple

import numpy as np
from scipy import special

from abs_theory.checks import check_memory, explains_types
from abs_theory.monte_carlo import two_ages
from abs_theory.monte_carlo.ages import AgeControls, well_spread
from abs_theory.monte_carlo.by_age import AgePool
from abs_theory.monte_carlo.conditional import MOST_DELIVERED, MeanRound, age_state
from abs_theory.monte_carlo.controls import Controls, capped_means
from abs_theory.monte_carlo.draws import SharedDelays, SharedDraws
from abs_theory.monte_carlo.fast import TaskPool
from abs_theory.monte_carlo.long_run import LongRun, forgets, long_run, repeats
from abs_theory.monte_carlo.memory import agree, in_first_phase, of_either_beginning, remembers, resolves
from abs_theory.monte_carlo.plain import PlainPool
from abs_theory.monte_carlo.summary import half_widths, regressed, summary
from abs_theory.monte_carlo.tally import MOST_ENTRIES, Tally
from abs_theory.results import SteadyState
from abs_theory.typing import Array, Ints
from abs_theory.workers import Workers

__all__ = ["steady_state_to_goal", "steady_states_to_goal"]

OUTSIDE = 1e-5  # two-sided probability that a stated error is exceeded by chance
PARTS = 128  # of the replicates, for the errors of the staleness law
TASKS_TOGETHER = 1 << 13  # of all replicates
FEWEST, MOST = 128, 1024  # replicates
CALL_SECONDS, TASK_SECONDS = 60e-6, 60e-9  # cost of a round, and of each task that begins in it; rough
UNEQUAL_SECONDS = 150e-9  # the same for unequal workers
# control variates by age: cost of each law and age in a round; they are used if a round costs at most this times more
# in all, and if so many workers are late for each delivery
CLASS_SECONDS, WORTH_CLASSES, FEWEST_LATE = 60e-9, 1.5, 1 / 12
PLAIN_SECONDS = 60e-9  # of each worker in a round, where tasks may tie
STRETCH_SECONDS = 2e-3  # of the first stretch of rounds
LAST_SECONDS = 0.2  # effort from which on changes are stated, not waited for
ALIKE = 4.0  # standard errors
# effort in seconds of the estimated cost, up to which the goal is this relative error of the round time
GOALS = ((0.04, 0.01), (0.1, 0.02), (0.45, 0.03))
SHARE_GOAL, PMF_GOAL = 0.0095, 0.019  # of idle, wasted and participation; of the probability of a staleness
STALENESS_GOALS = 0.028, 0.019  # relative, absolute
FEW_ENTRIES = 10  # of the staleness law, which a limit of none has all the same
NEGLIGIBLE_MASS = 1e-8  # the staleness law ends where less remains
MOST_ROUNDS = 1 << 24
UNEVEN = 2.0  # squared coefficient of variation of a round, from sums over many correlated rounds
LONGEST_CYCLE = 256  # rounds of a cycle that the cut of a window takes into account
MOST_BETWEEN_LOOKS = 32  # rounds between two looks at the state
WORTH_NUMBERS_SECONDS = 0.03  # that are left to play, from which on numbers of tasks and their means are faster
MOST_TERMS = 48  # k times the classes of tasks of one law and age, for which numbers of tasks are simulated
CONTRADICTED = 3.0  # errors of the simulated round time, which is skewed where rounds are uneven
MOST_UNSEEN = 12.0  # rounds that are expected but may not be seen: their absence has a probability of exp(-12)
RARE_NODES = 150  # of the integral over long rounds
LIVES_REMEMBERED = 5  # longest lives of a task, after which phases should be forgotten
SPREAD_BY = 3.0  # deliveries per worker, by which workers that began together have spread over the phases if they do
MIXED_BY = 100.0  # the same, by which those that mix soon have mixed
RESOLVED = 0.02  # error of the round time, relative, and of the idle fraction, up to which they can agree with others
LATER = 2  # times so many rounds they are watched again
FRESH_SECONDS, LATEST_SECONDS = 0.05, 0.45  # effort to watch them; effort before, at most
MOST_BEGINNINGS = 40  # of every worker in a warm-up
# errors where the phases of workers are not mixed by the warm-up: of the probability of a staleness; under a bound
# of the idle fraction and, relative, of the round time, in coefficients of variation of steady delays
LINGERING_PROBABILITY, LINGERING_DEVIATIONS, STEADY = 2e-3, 0.2, 0.05
# steady workers drift for hundreds of deliveries, however they began: the same errors at STEADY, from long runs of
# random fleets; they fall where delays vary less, and so do rounds, or more, for then phases mix soon
DRIFT = 0.005
# coefficient of variation of delays below which workers that begin together may wait for each other for ever, even
# where workers of random phases soon forget theirs
STEADY_ENOUGH = 0.2
FEW = 8  # workers; so few need twice the warm-up of many
LEAST_BEGINNINGS = 3  # of every worker in a warm-up of rounds that a bound limits
AGES_FORGOTTEN = 2.0  # warm-up in mean ages of the tasks at work, where rare long ones make up the start
MOST_WARMUP_SECONDS = 0.05  # effort for that
MIXING_SECONDS = 0.1  # effort for a warm-up in which every worker delivers, under a bound
MOST_REMEMBERED = 1000  # rounds for which the long tasks are remembered, to be a control variate of the restarts
LATE_ENOUGH = 1000  # rounds; a smaller bound is never taken for none
GROWTH = 0.3, 3  # length of the next stretch of rounds, relative to all before: least and most
MARGIN = 1.1  # effort that is added to what the errors so far ask for
MOST_BEYOND, MOST_TILT = 1e-3, 0.005  # probability in the last entry; change of a probability, to give the law its mean
LARGEST_EXPONENT = 50.0  # of such a change, so that nothing overflows where it fails
BYTES_PER_TASK = 128.0  # delays in blocks of twice the tasks, sums of four controls of each, times and versions
FORGOTTEN = 0.2  # share of the rounds, at most, that are not used because the start may linger


class _Cell(NamedTuple):
    """What is simulated."""

    workers: Workers
    k: int
    bound: float
    run: LongRun
    late: Array  # probability that a round is longer than seconds that are ``steps`` apart
    late_if_fresh: Array  # the same of workers that all begin
    steps: Array
    unmixed: bool  # whether phases may differ from those of the long run for longer than the warm-up

    def unseen(self, rounds: int, fresh: bool) -> float:
        """Mean seconds per round that rounds too rare to have been seen may add, of ``fresh`` workers or of all ages.

        They are E[(X_(k) - t)+], with t exceeded once in all ``rounds``.
        """
        late = self.late_if_fresh if fresh else self.late
        return float(np.where(late * rounds < MOST_UNSEEN, late, 0.0) @ self.steps)


class _Stretch(NamedTuple):
    """What was counted in some rounds."""

    rounds: int
    tally: Tally
    controls: Array
    expected: Array  # means of the next round given the state, summed over looks; seconds, idle, useful x replicates
    looks: int  # at the state
    by_age: Array  # controls of the tasks of each age, if any
    copies: int = 1  # of each replicate; each of them played these rounds
    resolution: float = 0.0  # relative, of all times


@explains_types
def steady_states_to_goal(
    workers: Workers, cells: Sequence[tuple[int, float]], rng: np.random.Generator, quick: bool = False
) -> list[SteadyState]:
    """Those of many ``cells``, pairs of k and bound, as by ``steady_state_to_goal``.

    All cells share their random numbers, so a cell has the same result alone and with others.  Equal workers share
    their delays, which makes this faster than cell by cell.

    >>> from abs_theory.delays import ShiftedExponential
    >>> from abs_theory.workers import as_workers
    >>> workers = as_workers(ShiftedExponential(shift=0.8, scale=0.2), 3)
    >>> states = steady_states_to_goal(workers, [(1, 1.0), (2, 1.0)], np.random.default_rng(0))
    >>> [round(float(state.uplinks)) for state in states]
    [1, 2]
    """
    tasks = _replicates(workers.n) * workers.n
    check_memory(f"a simulation of n={workers.n} workers", BYTES_PER_TASK * tasks)
    seed = int(rng.integers(1 << 62))
    shared = None
    if workers.equal and not workers.has_atoms:
        caps, means = capped_means(workers)
        shared = SharedDelays(workers.laws[0], caps, means[0], seed, tasks)
    return [_to_goal(workers, k, bound, np.random.default_rng(seed), quick, shared) for k, bound in cells]


@explains_types
def steady_state_to_goal(
    workers: Workers, k: int, bound: float, rng: np.random.Generator, quick: bool = False
) -> SteadyState:
    """Steady state with errors that hold but for a chance of 1e-5; ``bound`` inf is none, and 1 <= ``k`` < n.

    Effort is counted in tasks, not in seconds, so the same generator gives the same result everywhere.  It ends as soon
    as all errors are small: the relative one of the round time below 1 % at first, below 3 % later or if ``quick``.

    >>> from abs_theory.delays import ShiftedExponential
    >>> from abs_theory.workers import as_workers
    >>> workers = as_workers(ShiftedExponential(shift=0.8, scale=0.2), 3)
    >>> state = steady_state_to_goal(workers, 2, math.inf, np.random.default_rng(0))
    >>> bool(abs(state.round_time - 0.901) < state.error.round_time < 0.01)
    True
    """
    return steady_states_to_goal(workers, [(k, bound)], rng, quick)[0]


def _to_goal(
    workers: Workers, k: int, bound: float, rng: np.random.Generator, quick: bool, shared: SharedDelays | None
) -> SteadyState:
    run, n = long_run(workers, k, bound), workers.n
    bound = math.inf if max(LATE_ENOUGH, 4 * run.oldest) < bound else bound  # nobody gets so late
    replicates = _replicates(n)
    cost = _cost(workers, k, bound, replicates)
    if workers.has_atoms and cost * _warmup(workers, k, bound, math.inf) > MIXING_SECONDS:
        replicates = FEWEST  # and more rounds: each costs all workers
        cost = _cost(workers, k, bound, replicates)
    restart = (int(bound) + 1, (int(bound) + 1) * run.round_time) if bound < MOST_REMEMBERED else None
    classes_seconds = CLASS_SECONDS * replicates * (bound + 1) * len(workers.laws)
    by_age = not workers.has_atoms and classes_seconds <= WORTH_CLASSES * cost and FEWEST_LATE * k <= n - k
    task_cost = cost = cost + (classes_seconds if by_age else 0.0)

    def pool_from(start: LongRun | None) -> TaskPool | PlainPool:
        if workers.has_atoms:
            return PlainPool(workers, k, bound, rng, replicates, start)
        draws = None if shared is None else SharedDraws(shared)
        controls = Controls(workers, replicates, None if by_age else restart, draws)
        return TaskPool(workers, k, bound, rng, replicates, MOST_ROUNDS, start, controls)

    def play(pool: TaskPool | PlainPool | AgePool, rounds: int, every: int) -> _Stretch:
        usual_round = run.round_time if by_age else None
        return _play(pool, rounds, _entries(run, bound), every, usual_round)

    def of_workers_that_begin(state: SteadyState) -> SteadyState:
        """The ``state``, unless workers that all began together differ from it for long."""
        fresh, cycle = pool_from(None), int(bound) + 1  # of long and short rounds
        before, done, last = math.ceil(SPREAD_BY * n / k), 0, math.ceil(MIXED_BY * n / k)
        rounds = math.ceil(max(cycle, min(last, FRESH_SECONDS / task_cost)) / cycle) * cycle

        def watched() -> SteadyState:
            return _state(play(fresh, rounds, every), cell, np.zeros(5))

        while True:
            fresh.run(before - done)
            together = watched()
            lingering = _with_lingering(state, cell, together)
            if resolves(together, RESOLVED) and agree(state, together):
                return lingering
            if before == last or before * task_cost > LATEST_SECONDS:
                return of_either_beginning(lingering, together, watched())
            done = before + rounds
            before = max(done, min(LATER * done, last))
            last = max(last, before)

    mixes, steady = forgets(workers), _spread(workers) < STEADY_ENOUGH**2
    pool: TaskPool | PlainPool | AgePool = pool_from(run if mixes else None)
    begun = _in_first_phase(pool) if mixes and bound < MOST_REMEMBERED else None
    warmup = _warmup(workers, k, bound, MIXING_SECONDS / cost)
    unmixed = warmup < _warmup(workers, k, bound, math.inf)
    cell = _Cell(workers, k, bound, run, *_rare_rounds(run, workers, k), unmixed)
    warmup = max(warmup, math.ceil(min(AGES_FORGOTTEN * run.mean_age, MOST_WARMUP_SECONDS / cost)))
    pool.run(warmup)
    stretches: list[_Stretch] = []
    turn = n // k if steady and n // k <= FEW else 1  # rounds after which steady workers deliver again
    spent, rounds = warmup * cost, math.ceil(max(4, STRETCH_SECONDS / cost) / turn) * turn
    computed: tuple[float, float] | None = None  # round time and its error
    every = 2
    while True:
        stretches.append(play(pool, rounds, every))
        spent += rounds * cost
        if len(stretches) > 1:
            settled, change = _settled(stretches, n, last=spent > LAST_SECONDS)
            watched = _joined(settled)
            state = _state(watched, cell, change, computed)
            excess = _excess(state, spent, quick)
            if excess <= 1 and len(settled) > 1:
                played = warmup + sum(stretch.rounds for stretch in settled)
                if begun is None or computed is not None:
                    return _with_lingering(state, cell)
                if not steady:
                    short = played < LIVES_REMEMBERED * (bound + 1) or played * task_cost > LAST_SECONDS
                    if short or not remembers(begun, _in_first_phase(pool)):
                        return state
                return of_workers_that_begin(state)
            stretches = settled
            uneven = _is_uneven(watched)
            much = excess**2 * watched.rounds * cost > WORTH_NUMBERS_SECONDS
            if isinstance(pool, TaskPool) and (uneven or much) and _has_smooth_means(pool):
                mean = MeanRound(pool, float(state.round_time))
                if uneven and two_ages.applies(mean):
                    computed = two_ages.mean_round(mean)
                stretches, pool = [], AgePool(pool, mean, rng)
                every = max(2, min(MOST_BETWEEN_LOOKS, math.ceil(pool.looking_seconds / pool.seconds)))
                cost = pool.seconds + pool.looking_seconds / every
            used = sum(stretch.rounds for stretch in stretches)
            more = math.ceil(max(MARGIN * excess**2 - 1, GROWTH[0]) * used)
            next_goal = next((most for most, _ in GOALS if spent < most), spent)
            before_next_goal = math.ceil((next_goal - spent) / cost)
            most = before_next_goal
            if spent < GOALS[-2][0] or len(settled) < 3:
                most = max(used, min(most, GROWTH[1] * used))
            rounds = math.ceil(max(2 * every, min(more, most)) / turn) * turn


def _replicates(n: int) -> int:
    return max(FEWEST, min(MOST, TASKS_TOGETHER // n)) // PARTS * PARTS


def _cost(workers: Workers, k: int, bound: float, replicates: int) -> float:
    """Estimated seconds of a round."""
    if workers.has_atoms:
        return CALL_SECONDS + PLAIN_SECONDS * replicates * workers.n
    seconds = TASK_SECONDS if workers.equal else UNEQUAL_SECONDS
    return CALL_SECONDS + seconds * replicates * (k + (workers.n - k) / (bound + 1))


def _play(
    pool: TaskPool | PlainPool | AgePool, rounds: int, entries: int, every: int, usual_round: float | None
) -> _Stretch:
    """Play and watch so many rounds; ``every`` few of them numbers of tasks are looked at.

    There are control variates by age if the seconds of a ``usual_round`` are given.
    """
    if isinstance(pool, AgePool):
        looks = max(1, rounds // every)
        played = pool.watch(looks * every, every, PARTS)
        none = np.zeros((pool.replicates, 0))
        return _Stretch(looks * every, *played, looks, none, pool.copies, pool.mean.resolution)
    if isinstance(pool, PlainPool):
        tally = pool.watch(rounds, entries - 1, _cut_at(pool, rounds))
        none = np.zeros((tally.seconds.size, 0))
        return _Stretch(rounds, tally, none, np.zeros((3, tally.seconds.size)), 0, none)
    assert pool.controls is not None
    pool.controls.sums[:] = 0.0
    if usual_round is not None:
        state = age_state(pool) if pool.ages is None else pool.ages.state
        pool.ages = AgeControls(pool.workers.laws, state, usual_round)
    tally = pool.watch(rounds, entries - 1, PARTS)
    by_age = np.zeros((tally.seconds.size, 0)) if pool.ages is None else pool.ages.sums()
    return _Stretch(rounds, tally, pool.controls.sums.copy(), np.zeros((3, tally.seconds.size)), 0, by_age)


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


def _in_first_phase(pool: TaskPool | PlainPool | AgePool) -> Ints:
    return in_first_phase(pool) if isinstance(pool, TaskPool) else pool.in_first_phase()


def _has_smooth_means(pool: TaskPool) -> bool:
    """Whether the mean of the next round, given numbers of tasks by age, is an integral of few terms without kinks.

    Steady laws rise too fast for the tables of such integrals.
    """
    laws = pool.workers.laws
    if _spread(pool.workers) < STEADY_ENOUGH**2:
        return False
    many = pool.k > MOST_DELIVERED or pool.k * pool.late * len(laws) > MOST_TERMS
    return not (many or any(0 < t < math.inf for law in laws for t in law.breaks))


def _is_uneven(seen: _Stretch) -> bool:
    """Whether single rounds differ so much in length that numbers of tasks and their means are worth their cost."""
    seconds = seen.tally.seconds
    return bool(seconds.var() * seen.rounds > UNEVEN * seconds.mean() ** 2)


def _warmup(workers: Workers, k: int, bound: float, affordable: float) -> int:
    """Rounds in which every worker delivers or, if that is not ``affordable``, begins several times.

    The more, the steadier its delays, which keep in step, and the fewer workers: the start is that of many.  After m
    tasks each, the phases of two workers differ by a time of variance 2 m Var[X], which leaves a part of
    exp(-(2 pi)^2 m Var[X] / E[X]^2) of their first harmonic: 4e-4 after as many tasks as two workers have at least.
    Many workers that wait for each other mix ten times more slowly, which is waited for if it is affordable.
    """
    spread, few = max(_spread(workers), 1e-9), 1 + FEW / workers.n
    least, mixed = min(1.5 + 0.04 / spread, MOST_BEGINNINGS) * few, (1.5 + 0.4 / spread) * few
    least = min(least * workers.n / k, max(least, LEAST_BEGINNINGS) * (bound + 1))
    return math.ceil(min(mixed * workers.n / k, max(least, affordable)))


def _spread(workers: Workers) -> float:
    """Squared coefficient of variation of the steadiest law that is not constant."""
    spreads = [law.var / law.mean**2 if math.isfinite(law.var) else 1.0 for law in workers.laws]
    return min((spread for spread in spreads if spread > 0), default=1.0)


def _settled(stretches: list[_Stretch], n: int, last: bool) -> tuple[list[_Stretch], Array]:
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
    before, after = (_compared(part, n) for part in (_joined(used[:-1]), used[-1]))
    growth = after - before
    change, noise = np.abs(growth.mean(axis=0)), growth.std(axis=0) / math.sqrt(len(after))
    change[change <= ALIKE * noise + 1e-9 * np.abs(after).mean(axis=0)] = 0.0
    if change.any() and not last:
        return used[-1:], np.zeros(5)
    return used, change


def _compared(stretch: _Stretch, n: int) -> Array:
    """Seconds, idle and wasted time and restarts per round, and the share of fresh gradients; parts x 5."""
    tally, parts = stretch.tally, len(stretch.tally.histogram)
    times = [tally.seconds, tally.idle, tally.wasted]
    per_round = np.array([*times, tally.restarts]) / stretch.rounds
    if stretch.looks:  # means vary less than what was drawn
        seconds, idle, useful = stretch.expected / stretch.looks
        per_round[:3] = seconds, idle, n * seconds - idle - useful
    by_part = per_round.reshape(4, parts, -1).mean(axis=2).T
    return np.column_stack([by_part, tally.histogram[:, 0] / tally.histogram.sum(axis=1)])


def _joined(stretches: list[_Stretch]) -> _Stretch:
    if len(stretches) == 1:
        return stretches[0]
    return _Stretch(
        sum(s.rounds for s in stretches),
        Tally.sum([s.tally for s in stretches]),
        reduce(operator.add, [s.controls for s in stretches]),
        reduce(operator.add, [s.expected for s in stretches]),
        sum(s.looks for s in stretches),
        reduce(operator.add, [s.by_age for s in stretches]),
        stretches[0].copies,
        stretches[0].resolution,
    )


def _state(seen: _Stretch, cell: _Cell, change: Array, computed: tuple[float, float] | None = None) -> SteadyState:
    """The steady state of what was ``seen``; a round time that was ``computed`` stands unless it is contradicted."""
    workers, k, bound = cell.workers, cell.k, cell.bound
    controls = np.hstack([seen.controls, well_spread(seen.by_age)])
    state = summary(seen.tally, seen.rounds, workers, k, bound, OUTSIDE, controls, skewed=True)
    assert state.error is not None
    rounds = seen.rounds * seen.tally.seconds.size * seen.copies
    unseen = cell.unseen(rounds, fresh=False)
    if seen.looks:
        given, means_error = _of_means(seen.expected / seen.looks, controls / seen.rounds, workers.n)
        # rare long rounds are in the means of all states, so they need not be seen
        unseen = cell.unseen(rounds, fresh=bool(means_error["round_time"] < state.error.round_time))
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
    more["round_time"] += (_lingering(cell) + _drift(cell)) * state.round_time
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


def _lingering(cell: _Cell) -> float:
    """Errors for phases that the warm-up did not mix, if a bound makes steady workers wait."""
    deviation = math.sqrt(_spread(cell.workers))
    steady = cell.unmixed and math.isfinite(cell.bound) and deviation < STEADY
    return LINGERING_DEVIATIONS * deviation if steady else 0.0


def _drift(cell: _Cell) -> float:
    """Errors for phases that go on to mix for longer than is simulated, if a bound makes steady workers wait."""
    ratio = math.sqrt(_spread(cell.workers)) / STEADY
    drifts = math.isfinite(cell.bound) and 0 < ratio < STEADY_ENOUGH / STEADY
    return DRIFT * min(ratio, ratio**-2) if drifts else 0.0


def _with_lingering(state: SteadyState, cell: _Cell, together: SteadyState | None = None) -> SteadyState:
    """``state`` with the errors of idle time and restarts for phases that the warm-up did not mix, or that drift.

    Workers that began ``together`` show that the first is no larger than what they resolve.  That of the round time
    stays, for the mean of some rounds also depends on where in a cycle they begin and end.
    """
    assert state.error is not None
    idle, drift = state.error.idle_fraction, _drift(cell)
    more_idle = idle + _lingering(cell)
    if together is not None:
        assert together.error is not None
        more_idle = min(more_idle, max(idle, together.error.idle_fraction))
    errors = {"idle_fraction": more_idle + drift}
    if drift:  # what changes the rounds by so much moves some tasks over the threshold
        restarts = min(drift * cell.k / 2, float(state.restarts))
        more = {"restarts": restarts, "downlinks": restarts, "mean_staleness": restarts * (cell.bound + 1) / cell.k}
        more["wasted_fraction"] = min(drift / 2, float(state.wasted_fraction))
        errors |= {name: getattr(state.error, name) + value for name, value in more.items()}
    return replace(state, error=replace(state.error, **errors))


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


def _excess(state: SteadyState, spent: float, quick: bool) -> float:
    """The largest error, relative to what it may be after so much effort."""
    goal = next((goal for most, goal in GOALS if spent < most), math.inf)
    if math.isinf(goal):
        return 0.0
    goal = max(goal, GOALS[-1][1]) if quick else goal
    error, (relative, absolute) = state.error, STALENESS_GOALS
    assert error.participation is not None
    return float(
        max(
            error.round_time / (goal * state.round_time),
            error.mean_staleness / max(relative * state.mean_staleness, absolute),
            error.restarts / max(relative * state.restarts, absolute),
            max(error.idle_fraction, error.wasted_fraction, error.participation.max()) / SHARE_GOAL,
            error.staleness_pmf.max() / PMF_GOAL,
        )
    )


def _entries(run: LongRun, bound: float) -> int:
    """Entries of the staleness law: twice as many as in the limit of many workers, whose rounds all last the same."""
    last = max(int(np.flatnonzero(s > NEGLIGIBLE_MASS)[-1]) for s in run.survive)
    return int(min(bound + 1, MOST_ENTRIES, 2 * (run.low[last] + run.size[last]) + FEW_ENTRIES))


def _rare_rounds(run: LongRun, workers: Workers, k: int) -> tuple[Array, Array, Array]:
    """Bounds on the probability that a round is longer than t, in the long run and if all workers begin, and dt.

    At most n - k tasks are old when a round begins.  So one of the n - k + 1 that are longer than t is fresh, and its
    delay does not depend on the others.
    Source: Hoeffding (1956), On the distribution of the number of successes in independent trials, for unequal workers.
    """
    log_t = np.linspace(math.log(run.round_time), max(table.log_time[-1] for table in run.tables), RARE_NODES)
    t, worked = np.exp(log_t), (run.low + (run.size - 1) / 2) * run.round_time
    survive = np.array(
        [
            (run.size @ table.sf_at(np.log(worked[:, None] + t)) / (run.size @ alive), table.sf_at(log_t))
            for table, alive in zip(run.tables, run.survive, strict=True)
        ]
    )
    # of unequal workers the tail is no heavier than that of equal ones with the mean of their probabilities
    mean = np.tensordot(np.array(workers.counts) / workers.n, survive, 1)
    late, late_if_fresh = special.betainc(workers.n - k + 1, k, np.minimum(mean, 1.0))
    begin = [count / (run.size @ alive) for count, alive in zip(workers.counts, run.survive, strict=True)]
    one_is_fresh = np.array(begin) @ survive[:, 1]
    others = np.minimum(mean[0] * workers.n / (workers.n - 1), 1.0)
    late = np.minimum(late, one_is_fresh * special.betainc(workers.n - k, k, others))
    return late, late_if_fresh, t * (log_t[1] - log_t[0])
