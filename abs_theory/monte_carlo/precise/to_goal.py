"""Simulation of a steady state until its errors are small: what ``steady_state.abs_sgd`` does where no formula holds.

The replicates start in a state of the long run (``long_run``), and the rest of the start is forgotten in a warm-up.
They are played in stretches until the goals are met or the effort is spent; the first fifth of the rounds is not used.
Regression on control variates reduces the noise: the growth of the ages in flight, which is 0 in the long run, and
capped delays of the tasks that begin (``controls``).  The first makes the results obey the conservation of staleness.
Under a small threshold others are what tasks of each age did, less what was to be expected of them (``ages``).
Where single rounds differ by orders of magnitude, or many would be needed, the replicates go on as numbers of tasks by
age (``by_age``), which is faster, and the means of the next rounds are averaged instead of their lengths
(``conditional``).  Sums of hazards are their control variates.
Steady workers under a bound, and others that remember for long how they began, are simulated in another way
(``beginning``).
"""

import math
from collections.abc import Sequence

import numpy as np

from abs_theory.checks import check_memory, explains_types
from abs_theory.monte_carlo import by_age, two_ages
from abs_theory.monte_carlo.conditional import MOST_DELIVERED, MeanRound
from abs_theory.monte_carlo.controls import capped_means
from abs_theory.monte_carlo.draws import SharedDelays
from abs_theory.monte_carlo.fast import TaskPool
from abs_theory.monte_carlo.long_run import forgets, long_run
from abs_theory.monte_carlo.precise.beginning import of_workers_that_begin
from abs_theory.monte_carlo.precise.goals import GOALS, excess
from abs_theory.monte_carlo.precise.memory import in_first_phase, remembers, with_change
from abs_theory.monte_carlo.precise.mixing import STEADY_ENOUGH, Cell, least_spread, warmup
from abs_theory.monte_carlo.precise.outcome import state_of
from abs_theory.monte_carlo.precise.rare import RareRounds
from abs_theory.monte_carlo.precise.servers import MIXING_SECONDS, MOST_REMEMBERED, Servers, usual_replicates
from abs_theory.monte_carlo.precise.stretches import Pool, Stretch, joined, settled
from abs_theory.results import SteadyState
from abs_theory.typing import Ints
from abs_theory.workers import Workers

__all__ = ["steady_state_to_goal", "steady_states_to_goal"]

STRETCH_SECONDS = 2e-3  # of the first stretch of rounds
LAST_SECONDS = 0.2  # effort from which on changes are stated, not waited for
UNEVEN = 2.0  # squared coefficient of variation of a round, from sums over many correlated rounds
MOST_BETWEEN_LOOKS = 32  # rounds between two looks at the state
WORTH_NUMBERS_SECONDS = 0.03  # that are left to play, from which on numbers of tasks and their means are faster
MOST_TERMS = 48  # k times the classes of tasks of one law and age, for which numbers of tasks are simulated
LIVES_REMEMBERED = 5  # longest lives of a task, after which phases should be forgotten
AGES_FORGOTTEN = 2.0  # warm-up in mean ages of the tasks at work, where rare long ones make up the start
MOST_WARMUP_SECONDS = 0.05  # effort for that
# times the change from one window to the next by which their mean may be off.  If a correlation falls to .44, which 128
# replicates resolve, within three equal windows, it falls to q = .44^(1/3) = .76 in each; later changes are q / (1 - q)
# times this one, and the mean of both windows is half of it further off
CHANGES_LATER = 3.7
# coefficient of variation of delays from which on phases are forgotten in the end, and effort to wait for it
ROUGH_ENOUGH, FORGETTING_SECONDS = 0.35, 0.45
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
    tasks = usual_replicates(workers.n) * workers.n
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
    servers = Servers.many(workers, k, bound, run, rng, shared)
    mixes, cost = forgets(workers), servers.cost
    skipped = warmup(workers, k, bound, MIXING_SECONDS / cost)
    unmixed = skipped < warmup(workers, k, bound, math.inf)
    cell = Cell(workers, k, bound, RareRounds.of(run, workers, k), unmixed)
    if math.isfinite(bound) and least_spread(workers) < STEADY_ENOUGH**2:
        return of_workers_that_begin(servers, cell, quick)
    pool: Pool = servers.begin(run if mixes else None)
    begun = _in_first_phase(pool) if mixes and bound < MOST_REMEMBERED else None
    skipped = max(skipped, math.ceil(min(AGES_FORGOTTEN * run.mean_age, MOST_WARMUP_SECONDS / cost)))
    pool.run(skipped)
    stretches: list[Stretch] = []
    spent, rounds = skipped * cost, math.ceil(max(4, STRETCH_SECONDS / cost))
    computed: tuple[float, float] | None = None  # round time and its error
    every = 2
    while True:
        stretches.append(servers.play(pool, rounds, every))
        spent += rounds * cost
        if len(stretches) > 1:
            used, change = settled(stretches, n, last=spent > LAST_SECONDS)
            watched = joined(used)
            state = state_of(watched, cell, change, computed)
            above = excess(state, spent, quick)
            if above <= 1 and len(used) > 1:
                played = skipped + sum(stretch.rounds for stretch in used)
                if begun is None or computed is not None:
                    return state
                short = played < LIVES_REMEMBERED * (bound + 1) or played * servers.cost > LAST_SECONDS
                if short or not remembers(begun, _in_first_phase(pool)):
                    return state
                rough = least_spread(workers) >= ROUGH_ENOUGH**2
                if rough and spent + 2 * played * cost <= FORGETTING_SECONDS:
                    later = _later(servers, pool, cell, begun, math.ceil(played / every) * every, every)
                    if later is not None:
                        return later
                return of_workers_that_begin(servers, cell, quick)
            stretches = used
            uneven = _is_uneven(watched)
            much = above**2 * watched.rounds * cost > WORTH_NUMBERS_SECONDS
            if isinstance(pool, TaskPool) and (uneven or much) and _has_smooth_means(pool):
                mean = MeanRound(pool, float(watched.tally.seconds.mean()) / watched.rounds)
                if by_age.applies(mean):
                    if uneven and two_ages.applies(mean):
                        computed = two_ages.mean_round(mean)
                    stretches, pool = [], by_age.AgePool(pool, mean, rng)
                    every = max(2, min(MOST_BETWEEN_LOOKS, math.ceil(pool.looking_seconds / pool.seconds)))
                    cost = pool.seconds + pool.looking_seconds / every
            done = sum(stretch.rounds for stretch in stretches)
            more = math.ceil(max(MARGIN * above**2 - 1, GROWTH[0]) * done)
            next_goal = next((most for most, _ in GOALS if spent < most), spent)
            before_next_goal = math.ceil((next_goal - spent) / cost)
            most = before_next_goal
            if spent < GOALS[-2][0] or len(used) < 3:
                most = max(done, min(most, GROWTH[1] * done))
            rounds = math.ceil(max(2 * every, min(more, most)))


def _later(servers: Servers, pool: Pool, cell: Cell, begun: Ints, rounds: int, every: int) -> SteadyState | None:
    """The state in two windows of so many ``rounds``, or twice as many; None if phases are remembered that long.

    Many workers that are restarted take long to forget their phases, because few numbers change in a round.
    """

    def in_both(seen: list[Stretch]) -> SteadyState:
        state, *windows = (state_of(stretch, cell, np.zeros(5)) for stretch in (joined(seen), *seen))
        return with_change(state, windows, CHANGES_LATER)

    seen = [servers.play(pool, rounds, every) for _ in range(2)]
    if remembers(begun, _in_first_phase(pool)):
        return None
    state = in_both(seen)
    if excess(state, LAST_SECONDS, quick=False) <= 1:
        return state
    return in_both([joined(seen), servers.play(pool, 2 * rounds, every)])


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
