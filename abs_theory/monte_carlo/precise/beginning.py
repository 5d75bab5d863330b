"""Steady states of workers that keep in step: few replicates, played for long.

Steady workers under a bound keep in step for hundreds of deliveries, or for ever.  What they do then depends on how
they began (``memory``), so they begin as in training: all at once.  They are watched in windows, each as long as all
rounds before it.  The last window is the result.  Its errors are as if it went on to change, in each window up to the
1000th delivery, as much as it did in one of the last two, the larger of both.  Approaches to the long run that take
twice as long for each next step are the slowest that were seen.
Source: notebooks/proofs/staleness.ipynb, section on what "auto" does.
"""

import math

import numpy as np

from abs_theory.monte_carlo.long_run import LongRun, forgets
from abs_theory.monte_carlo.plain import PlainPool
from abs_theory.monte_carlo.precise.goals import excess
from abs_theory.monte_carlo.precise.memory import or_near, with_change
from abs_theory.monte_carlo.precise.mixing import Cell
from abs_theory.monte_carlo.precise.outcome import state_of
from abs_theory.monte_carlo.precise.servers import Servers
from abs_theory.monte_carlo.precise.stretches import side_by_side
from abs_theory.results import SteadyState

__all__ = ["of_workers_that_begin"]

FIRST, LAST = 4, 500  # deliveries of each worker before the first window, and before the last if that is affordable
CLAIMED = 1000  # deliveries of each worker, up to which errors are to hold
MOST_SECONDS, MOST_IF_QUICK = 0.4, 0.15  # effort
ENOUGH_IF_QUICK = 0.03  # effort before the last window, if errors may be large and are no larger
SPREAD_BY = 200  # deliveries of each worker, by which those that began together have mostly spread over the phases
# times the change from one window to the next that may still come if phases begin at random; what falls by a quarter in
# the first half of the rounds, or by more, then comes to less
CHANGES_OF_RANDOM_PHASES = 2.0
PARTS_OF_WINDOW = 8  # that are counted apart, so that there are more rows than control variates


def of_workers_that_begin(servers: Servers, cell: Cell, quick: bool) -> SteadyState:
    """The state from the 500th to the 1000th delivery of each worker, or earlier if that takes too long.

    All begin together.  If so few deliver in a round that their phases may go on to mix for longer than is affordable,
    random phases are the better start.  The errors then also cover workers that begin together, unless their change
    explains the difference.
    """
    servers = servers.few()
    affordable = (MOST_IF_QUICK if quick else MOST_SECONDS) / servers.cost
    turn = cell.workers.n / cell.k
    if affordable >= SPREAD_BY * turn or not forgets(cell.workers):
        return _watched(servers, cell, None, affordable, quick)[1]
    state, changed = _watched(servers, cell, None, affordable / 2, quick)
    _, spread = _watched(servers, cell, servers.run, affordable / 2, quick)
    return or_near(spread, state, changed)


def _watched(
    servers: Servers, cell: Cell, start: LongRun | None, affordable: float, quick: bool
) -> tuple[SteadyState, SteadyState]:
    """What is done in the last of so many rounds, and the same with the error of its change."""
    pool, turn = servers.begin(start), cell.workers.n / cell.k
    parts = 1 if isinstance(pool, PlainPool) else PARTS_OF_WINDOW
    step = parts * (int(cell.bound) + 1)  # cycles of long and short rounds
    doublings = max(2, int(math.log2(max(affordable / max(FIRST * turn, 4 * step), 1))))
    done = max(1, int(affordable / 2**doublings / step)) * step
    pool.run(done)
    windows: list[SteadyState] = []
    for _ in range(doublings):
        seen = [servers.play(pool, done // parts) for _ in range(parts)]
        windows.append(state_of(side_by_side(seen), cell, np.zeros(5)))
        long = done >= LAST * turn or (quick and done * servers.cost >= ENOUGH_IF_QUICK)
        done *= 2
        if len(windows) > 1 and (long or len(windows) == doublings):
            still = math.log2(max(2.0, CLAIMED * turn / done)) if start is None else CHANGES_OF_RANDOM_PHASES
            changed = with_change(windows[-1], windows[-3:], still)
            if len(windows) == doublings or excess(changed, done * servers.cost, quick) <= 1:
                return windows[-1], changed
    raise AssertionError("there are two windows at least")
