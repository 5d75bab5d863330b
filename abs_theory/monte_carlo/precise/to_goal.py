"""Simulation of a steady state until its errors are small: what ``steady_state.abs_sgd`` does where no formula holds.

The replicates start in a state of the long run (``long_run``), and the rest of the start is forgotten in a warm-up.
They are played in stretches until the goals are met or the effort is spent; the first fifth of the rounds is not used.
Regression on control variates reduces the noise: the growth of the ages in flight, which is 0 in the long run, and
capped delays of the tasks that begin (``controls``).  The first makes the results obey the conservation of staleness.
Under a small threshold others are what tasks of each age did, less what was to be expected of them (``ages``).
Where single rounds differ by orders of magnitude, or many would be needed, the replicates go on as numbers of tasks by
age (``by_age``), which is faster, and the means of the next rounds are averaged instead of their lengths
(``conditional``).  Sums of hazards are their control variates.
Where the beginning is remembered for longer than that, the errors also cover workers that began fresh (``memory``),
and phases that mix slowly (``mixing``).
"""

import math
from collections.abc import Sequence

import numpy as np

from abs_theory.checks import check_memory, explains_types
from abs_theory.monte_carlo import two_ages
from abs_theory.monte_carlo.by_age import AgePool
from abs_theory.monte_carlo.conditional import MOST_DELIVERED, MeanRound
from abs_theory.monte_carlo.controls import Controls, capped_means
from abs_theory.monte_carlo.draws import SharedDelays, SharedDraws
from abs_theory.monte_carlo.fast import TaskPool
from abs_theory.monte_carlo.long_run import LongRun, forgets, long_run
from abs_theory.monte_carlo.plain import PlainPool
from abs_theory.monte_carlo.precise.memory import agree, in_first_phase, of_either_beginning, remembers, resolves
from abs_theory.monte_carlo.precise.mixing import FEW, STEADY_ENOUGH, Cell, least_spread, warmup, with_lingering
from abs_theory.monte_carlo.precise.outcome import state_of
from abs_theory.monte_carlo.precise.rare import RareRounds
from abs_theory.monte_carlo.precise.stretches import PARTS, Pool, Stretch, joined, play, settled
from abs_theory.monte_carlo.tally import MOST_ENTRIES
from abs_theory.results import SteadyState
from abs_theory.typing import Ints
from abs_theory.workers import Workers

__all__ = ["steady_state_to_goal", "steady_states_to_goal"]

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
# effort in seconds of the estimated cost, up to which the goal is this relative error of the round time
GOALS = ((0.04, 0.01), (0.1, 0.02), (0.45, 0.03))
SHARE_GOAL, PMF_GOAL = 0.0095, 0.019  # of idle, wasted and participation; of the probability of a staleness
STALENESS_GOALS = 0.028, 0.019  # relative, absolute
FEW_ENTRIES = 10  # of the staleness law, which a limit of none has all the same
NEGLIGIBLE_MASS = 1e-8  # the staleness law ends where less remains
MOST_ROUNDS = 1 << 24
UNEVEN = 2.0  # squared coefficient of variation of a round, from sums over many correlated rounds
MOST_BETWEEN_LOOKS = 32  # rounds between two looks at the state
WORTH_NUMBERS_SECONDS = 0.03  # that are left to play, from which on numbers of tasks and their means are faster
MOST_TERMS = 48  # k times the classes of tasks of one law and age, for which numbers of tasks are simulated
LIVES_REMEMBERED = 5  # longest lives of a task, after which phases should be forgotten
SPREAD_BY = 3.0  # deliveries per worker, by which workers that began together have spread over the phases if they do
MIXED_BY = 100.0  # the same, by which those that mix soon have mixed
RESOLVED = 0.02  # error of the round time, relative, and of the idle fraction, up to which they can agree with others
LATER = 2  # times so many rounds they are watched again
FRESH_SECONDS, LATEST_SECONDS = 0.05, 0.45  # effort to watch them; effort before, at most
AGES_FORGOTTEN = 2.0  # warm-up in mean ages of the tasks at work, where rare long ones make up the start
MOST_WARMUP_SECONDS = 0.05  # effort for that
MIXING_SECONDS = 0.1  # effort for a warm-up in which every worker delivers, under a bound
MOST_REMEMBERED = 1000  # rounds for which the long tasks are remembered, to be a control variate of the restarts
LATE_ENOUGH = 1000  # rounds; a smaller bound is never taken for none
GROWTH = 0.3, 3  # length of the next stretch of rounds, relative to all before: least and most
MARGIN = 1.1  # effort that is added to what the errors so far ask for
BYTES_PER_TASK = 128.0  # delays in blocks of twice the tasks, sums of four controls of each, times and versions


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
    if workers.has_atoms and cost * warmup(workers, k, bound, math.inf) > MIXING_SECONDS:
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

    def watch(pool: Pool, rounds: int, every: int) -> Stretch:
        usual_round = run.round_time if by_age else None
        return play(pool, rounds, _entries(run, bound), every, usual_round)

    def of_workers_that_begin(state: SteadyState) -> SteadyState:
        """The ``state``, unless workers that all began together differ from it for long."""
        fresh, cycle = pool_from(None), int(bound) + 1  # of long and short rounds
        before, done, last = math.ceil(SPREAD_BY * n / k), 0, math.ceil(MIXED_BY * n / k)
        rounds = math.ceil(max(cycle, min(last, FRESH_SECONDS / task_cost)) / cycle) * cycle

        def watched() -> SteadyState:
            return state_of(watch(fresh, rounds, every), cell, np.zeros(5))

        while True:
            fresh.run(before - done)
            together = watched()
            lingering = with_lingering(state, cell, together)
            if resolves(together, RESOLVED) and agree(state, together):
                return lingering
            if before == last or before * task_cost > LATEST_SECONDS:
                return of_either_beginning(lingering, together, watched())
            done = before + rounds
            before = max(done, min(LATER * done, last))
            last = max(last, before)

    mixes, steady = forgets(workers), least_spread(workers) < STEADY_ENOUGH**2
    pool: Pool = pool_from(run if mixes else None)
    begun = _in_first_phase(pool) if mixes and bound < MOST_REMEMBERED else None
    skipped = warmup(workers, k, bound, MIXING_SECONDS / cost)
    unmixed = skipped < warmup(workers, k, bound, math.inf)
    cell = Cell(workers, k, bound, RareRounds.of(run, workers, k), unmixed)
    skipped = max(skipped, math.ceil(min(AGES_FORGOTTEN * run.mean_age, MOST_WARMUP_SECONDS / cost)))
    pool.run(skipped)
    stretches: list[Stretch] = []
    turn = n // k if steady and n // k <= FEW else 1  # rounds after which steady workers deliver again
    spent, rounds = skipped * cost, math.ceil(max(4, STRETCH_SECONDS / cost) / turn) * turn
    computed: tuple[float, float] | None = None  # round time and its error
    every = 2
    while True:
        stretches.append(watch(pool, rounds, every))
        spent += rounds * cost
        if len(stretches) > 1:
            used, change = settled(stretches, n, last=spent > LAST_SECONDS)
            watched = joined(used)
            state = state_of(watched, cell, change, computed)
            excess = _excess(state, spent, quick)
            if excess <= 1 and len(used) > 1:
                played = skipped + sum(stretch.rounds for stretch in used)
                if begun is None or computed is not None:
                    return with_lingering(state, cell)
                if not steady:
                    short = played < LIVES_REMEMBERED * (bound + 1) or played * task_cost > LAST_SECONDS
                    if short or not remembers(begun, _in_first_phase(pool)):
                        return state
                return of_workers_that_begin(state)
            stretches = used
            uneven = _is_uneven(watched)
            much = excess**2 * watched.rounds * cost > WORTH_NUMBERS_SECONDS
            if isinstance(pool, TaskPool) and (uneven or much) and _has_smooth_means(pool):
                mean = MeanRound(pool, float(state.round_time))
                if uneven and two_ages.applies(mean):
                    computed = two_ages.mean_round(mean)
                stretches, pool = [], AgePool(pool, mean, rng)
                every = max(2, min(MOST_BETWEEN_LOOKS, math.ceil(pool.looking_seconds / pool.seconds)))
                cost = pool.seconds + pool.looking_seconds / every
            done = sum(stretch.rounds for stretch in stretches)
            more = math.ceil(max(MARGIN * excess**2 - 1, GROWTH[0]) * done)
            next_goal = next((most for most, _ in GOALS if spent < most), spent)
            before_next_goal = math.ceil((next_goal - spent) / cost)
            most = before_next_goal
            if spent < GOALS[-2][0] or len(used) < 3:
                most = max(done, min(most, GROWTH[1] * done))
            rounds = math.ceil(max(2 * every, min(more, most)) / turn) * turn


def _replicates(n: int) -> int:
    return max(FEWEST, min(MOST, TASKS_TOGETHER // n)) // PARTS * PARTS


def _cost(workers: Workers, k: int, bound: float, replicates: int) -> float:
    """Estimated seconds of a round."""
    if workers.has_atoms:
        return CALL_SECONDS + PLAIN_SECONDS * replicates * workers.n
    seconds = TASK_SECONDS if workers.equal else UNEQUAL_SECONDS
    return CALL_SECONDS + seconds * replicates * (k + (workers.n - k) / (bound + 1))


def _in_first_phase(pool: Pool) -> Ints:
    return in_first_phase(pool) if isinstance(pool, TaskPool) else pool.in_first_phase()


def _has_smooth_means(pool: TaskPool) -> bool:
    """Whether the mean of the next round, given numbers of tasks by age, is an integral of few terms without kinks.

    Steady laws rise too fast for the tables of such integrals.
    """
    laws = pool.workers.laws
    if least_spread(pool.workers) < STEADY_ENOUGH**2:
        return False
    many = pool.k > MOST_DELIVERED or pool.k * pool.late * len(laws) > MOST_TERMS
    return not (many or any(0 < t < math.inf for law in laws for t in law.breaks))


def _is_uneven(seen: Stretch) -> bool:
    """Whether single rounds differ so much in length that numbers of tasks and their means are worth their cost."""
    seconds = seen.tally.seconds
    return bool(seconds.var() * seen.rounds > UNEVEN * seconds.mean() ** 2)


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
