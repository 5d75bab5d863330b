"""What to choose: how many workers to wait for, when to restart a worker, and how long a step to take.

Every candidate (k, max_staleness, step size) is one row of a table.  Its seconds and messages per round come from the
delay law (``steady_state``).  Its updates to a target, or its error after a time budget, come from the constants of the
objective: as expected near a quadratic (``bounds.expected``), or as guaranteed (``bounds``).  Nothing is trained.  A
choice is as good as its model *ranks* candidates; ``benchmarks/choice.py`` compares it with training.
"""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from abs_theory.bounds import Constants
from abs_theory.checks import MAX_WORKERS, check_count, check_rng, explains_types
from abs_theory.choose import candidates, ties
from abs_theory.choose.by_the_clock import Descent, Timetable, best_timetable, exponential, measured
from abs_theory.choose.candidates import Candidates
from abs_theory.choose.goal import Budget, Goal, Search, Target
from abs_theory.choose.result import Choice
from abs_theory.choose.thresholds import fleet_ageing
from abs_theory.typing import Laws
from abs_theory.workers import Workers, as_workers

__all__ = ["best", "best_k", "timetable"]

SETTLED_AT_ONCE = 4  # candidates, best first, whose accurate steady states are computed before the next look
MOST_SETTLED = 24  # candidates by an accurate but inexact steady state, some .05 s each
# of an objective by the fast route, taken for its stated error; ``benchmarks.weights`` shows how often they hold
LEAST_ERROR, MOST_ERROR = 0.05, 0.3


@explains_types
def best(
    delay: Laws,
    n: int,
    constants: Constants,
    goal: Goal,
    search: Search | None = None,
    method: str = "auto",
    rng: np.random.Generator | None = None,
) -> Choice:
    r"""The k, threshold and step that reach a ``Target`` soonest, or have the least error after a ``Budget``.

    The error is the mean over updates of E|grad F|^2.  With the model "expected" it is the estimate of
    ``bounds.expected.tradeoff``; with "bound" it is ``bounds.abs_sgd``, which is never exceeded but ranks candidates
    worse.  What is minimised:

    - ``Target(error)``: the seconds until the error is reached, after J >= 1 updates.  These are J (T + message_seconds
      (uplinks + downlinks)), with T the round time, and a correction because all workers start afresh (``start``);
    - ``Target(error, objective="communication")``: the messages J (uplinks + downlinks);
    - ``Budget(seconds)``: the error at the end.

    ``search`` lists the candidates; None is ``Search()``, all of them.  ``delay`` is one law or a sequence of n.
    ``method`` and ``rng`` go to ``steady_state.abs_sgd``.  With "auto" the search is fast, by formulas and the mean
    field; then the leading candidates are settled by the accurate steady state.  A difference within the error of the
    steady states, and of at most 1 %, decides nothing: the candidate of the least error is taken.

    Without a threshold, the bound covers a run with probability 1 - ``goal.delta``: it assumes the staleness that the
    run then does not exceed (``bounds.staleness_quantile``).  For heavy tails this is much, and in simulated cells it
    is the length of the run, so both look worse than they are.  ``goal.gamma`` replaces the staleness in the bound by
    the assumption of Dutta et al. (2018), see ``bounds.k_async_gradient_norm``.  It covers K-async and K-batch-async,
    so it needs ``Search(max_staleness=None)``.  For K-batch-sync give its round times and ``max_staleness=0``; the
    staleness and messages are then those of ABS.

    Cost: one fast steady state for each k and threshold, in total about 1 s at n = 20 and 4 s at n = 100, and up to
    some 24 accurate ones.  They are remembered, so other constants, goals and steps for the same delays are fast.
    Source: for k alone, Dutta, Wang & Joshi (2021, AdaSync); the bound, notebooks/03_choosing_k.ipynb.
    Raises ValueError unless gap > 0 and some candidate reaches the goal.

    See also: ``timetable`` lets k and the threshold move; ``time_optimal_threshold`` needs no constants.

    >>> from abs_theory.bounds import Constants
    >>> from abs_theory.delays import HyperExponential
    >>> stalls = HyperExponential(probs=(0.9, 0.1), means=(1 / 3, 7.0))
    >>> choice = best(stalls, 8, Constants(L=1.0, sigma2=5.0, gap=10.0), Target(0.3))
    >>> choice.k, choice.max_staleness, round(choice.seconds)
    (1, 0.0, 53)
    """
    search = Search() if search is None else search
    workers = _checked(delay, n, constants, goal, search)
    if rng is not None:
        check_rng(rng)
    ks, thresholds, steps, times = search.ks(n), search.thresholds(), search.steps(), search.round_times(n)
    if goal.gamma is not None and (thresholds is None or not np.isinf(thresholds).all()):
        raise ValueError("gamma is an assumption about K-async and K-batch-async: give max_staleness=None with it")
    has_mean = all(math.isfinite(law.mean) for law in workers.laws)

    def tried(ks: NDArray[np.int64]) -> Candidates:
        cells = candidates.grid(ks, n, thresholds, has_mean)
        return candidates.rounds(delay, n, cells, (times, search.message_seconds), method, rng)

    def table(compared: Candidates) -> pd.DataFrame:
        outcomes = [candidates.outcomes(constants, n, compared, step, goal) for step in steps]
        return pd.concat(outcomes, keys=range(len(steps)), names=["step", "candidate"])

    compared = tried(candidates.coarse(n) if ks is None else ks)
    while ks is None and (finer := candidates.between(table(compared))).size:
        compared = candidates.joined(compared, tried(finer))
    curve = table(compared)
    while (cells := _to_settle(curve, compared, n)).size:
        compared = candidates.settle(delay, n, compared, cells, search.message_seconds, rng)
        curve = table(compared)
    curve["settled"] = np.tile(compared.settled, len(steps))
    curve = curve.sort_values(["k", "max_staleness"], kind="stable", ignore_index=True)
    if not np.isfinite(curve["objective"]).any():
        raise ValueError(_nothing_works(curve, constants, n, goal))
    choice = Choice.of(curve, n, goal.model, goal.minimised, fleet_ageing(workers))
    tied = "" if times is not None else ties.of_law(workers, choice.k)
    return replace(choice, reason=f"{choice.reason} Doubt: {tied}.") if tied else choice


def _to_settle(curve: pd.DataFrame, compared: Candidates, n: int) -> NDArray[np.intp]:
    """Candidates whose accurate steady state may change the choice, or the ratios that are told beside it.

    These are the best of each familiar kind, and those that would be the best if they were better by their error.
    After MOST_SETTLED of them only those that are the best as they stand.
    """
    if compared.settled.all():
        return np.array([], dtype=np.intp)
    objective = curve["objective"].groupby("candidate").min().to_numpy()
    timed = (compared.seconds > 0) & np.isfinite(compared.seconds)
    error = np.divide(compared.error, compared.seconds, out=np.zeros_like(objective), where=timed)
    hopeful = objective * (1 - np.clip(error, LEAST_ERROR, MOST_ERROR))
    least = objective[compared.settled].min(initial=math.inf)
    wanted = ~compared.settled & (objective < least)
    if np.count_nonzero(compared.settled & (compared.error > 0)) < MOST_SETTLED:
        wanted |= ~compared.settled & (hopeful < least)
        none, first = np.isinf(compared.max_staleness), compared.k == 1
        for kind in (none & (compared.k < n), first, none & first):
            if (kind & np.isfinite(objective)).any():
                wanted[np.where(kind, objective, math.inf).argmin()] |= True
        wanted &= ~compared.settled
    wanted = np.flatnonzero(wanted & np.isfinite(objective))
    return wanted[np.argsort(objective[wanted], kind="stable")][:SETTLED_AT_ONCE]


@explains_types
def best_k(
    delay: Laws,
    n: int,
    constants: Constants,
    goal: Goal,
    max_staleness: float | None = None,
    method: str = "auto",
    rng: np.random.Generator | None = None,
) -> Choice:
    """The best k for a given threshold (None is none), at the best step: ``best`` with one threshold to search.

    See also: ``best`` compares thresholds as well.

    >>> from abs_theory.bounds import Constants
    >>> from abs_theory.delays import Gamma
    >>> best_k(Gamma(shape=4.0, scale=0.25), 8, Constants(L=1.0, sigma2=5.0, gap=10.0), Target(0.3), max_staleness=0).k
    6
    """
    return best(delay, n, constants, goal, Search(max_staleness=max_staleness), method, rng)


@explains_types
def timetable(
    delay: Laws,
    n: int,
    constants: Constants,
    goal: Goal,
    search: Search | None = None,
    descent: pd.DataFrame | None = None,
    method: str = "auto",
    rng: np.random.Generator | None = None,
) -> Timetable:
    """k and threshold by the clock, and the step: soonest at a ``Target``, or of least error after a ``Budget``.

    As ``best`` with the model "expected", but over all orders of the same candidates.  The error is the mean of
    E|grad F|^2 over *time* (for constant k this is the same).  The delays and the constants suffice: nothing is
    measured during the run.  Often the timetable starts with one gradient per update and ends with nearly all.

    ``constants.noise_curvature`` must be known.  ``descent`` tells how fast descent without noise shrinks the gradient:
    a table with columns flow (sum of the steps, from 0) and gradient_norm2, such as the ``path`` of
    ``simulations.problems.constants.estimate``.  With columns sigma2, noise_curvature and noise_curvature2 it also
    tells how the noise changes.  Beyond its end everything stays as it is there.  Without ``descent``, the gradient
    shrinks as on a quadratic that has the curvature of the noise in all directions; for many objectives this is too
    fast.

    Cost: that of ``best``, which shares the steady states, and up to a second.  The candidates that the timetable uses
    are settled by accurate steady states, as in ``best``.
    Source: derived in notebooks/03_choosing_k.ipynb.
    Raises ValueError unless gap and noise_curvature are > 0, the goal has the model "expected" and no objective but
    "time", and some step reaches the goal.

    See also: ``best``, for a constant k and threshold.

    >>> from abs_theory.bounds import Constants
    >>> from abs_theory.delays import Exponential
    >>> known = Constants(L=1.0, sigma2=5.0, gap=10.0, noise_curvature=0.4, noise_curvature2=0.2)
    >>> table = timetable(Exponential(mean=1.0), 8, known, Target(0.3), Search(max_staleness=0))
    >>> table.k_at(0.0), table.k_at(table.seconds)
    (1, 8)
    """
    search = Search() if search is None else search
    workers = _checked(delay, n, constants, goal, search)
    if rng is not None:
        check_rng(rng)
    if not constants.noise_curvature:
        raise ValueError(
            "a timetable needs constants with noise_curvature > 0, which says how fast noise is forgotten, got "
            f"noise_curvature={constants.noise_curvature}"
        )
    if goal.model != "expected" or goal.minimised == "messages" or search.round_time is not None:
        raise ValueError(
            'a timetable is for the model "expected", the objective "time" and the round times of the delay law, got '
            f"{goal} and round_time={search.round_time!r}"
        )
    ks = search.ks(n)
    has_mean = all(math.isfinite(law.mean) for law in workers.laws)
    cells = candidates.grid(candidates.coarse(n) if ks is None else ks, n, search.thresholds(), has_mean)
    compared = candidates.rounds(delay, n, cells, (None, search.message_seconds), method, rng)
    first = compared.seconds_to(np.ones(compared.k.size)).min()
    if isinstance(goal, Budget) and goal.seconds < first:
        raise ValueError(_too_short(goal, first))
    steps = [step for step in search.steps() if step]
    path = _descent(descent, constants)
    table = best_timetable(constants, compared, goal, path, steps or None)
    while table is not None and (used := _unsettled(table, compared)).size:
        compared = candidates.settle(delay, n, compared, used, search.message_seconds, rng)
        table = best_timetable(constants, compared, goal, path, steps or None)
    if table is None:
        raise ValueError(
            "no step and order of these candidates serves this goal: allow more k, shorter steps, or more time"
        )
    return table


def _unsettled(table: Timetable, compared: Candidates) -> NDArray[np.intp]:
    """Candidates that the timetable uses, and whose accurate steady states are not yet computed."""
    used = np.zeros(compared.k.size, dtype=bool)
    for k, threshold in zip(table.stairs["k"], table.stairs["max_staleness"], strict=True):
        used |= (compared.k == k) & (compared.max_staleness == threshold)
    return np.flatnonzero(used & ~compared.settled)


def _descent(path: pd.DataFrame | None, constants: Constants) -> Descent:
    if path is None:
        return exponential(constants)
    if not (isinstance(path, pd.DataFrame) and {"flow", "gradient_norm2"} <= set(path.columns)):
        raise ValueError("descent must be a table with columns flow and gradient_norm2")
    return measured(constants, path)


def _checked(delay: Laws, n: int, constants: object, goal: object, search: object) -> Workers:
    check_count("n", n, maximum=MAX_WORKERS)
    workers = as_workers(delay, n)
    if not isinstance(constants, Constants):
        raise ValueError(f"constants must be Constants(L=..., sigma2=..., gap=...), got {constants!r}")
    if constants.gap == 0:
        raise ValueError("gap must be > 0: at the optimum there is nothing left to choose, got gap=0")
    if not isinstance(goal, Target | Budget):
        raise ValueError(f"goal must be choose.Target(error) or choose.Budget(seconds), got {goal!r}")
    if not isinstance(search, Search):
        raise ValueError(f"search must be choose.Search(k=..., max_staleness=...), got {search!r}")
    return workers


def _too_short(budget: Budget, first_update: float) -> str:
    return f"a budget must leave time for one update, {first_update:.4g} s at least, got {budget.seconds:g} s"


def _nothing_works(curve: pd.DataFrame, constants: Constants, n: int, goal: Goal) -> str:
    """Why no candidate has a finite objective, and what to do."""
    if np.isinf(curve["round_time"]).all() and goal.minimised != "messages":
        return "every round lasts infinitely long on average: these delays have no mean; try a smaller k or a threshold"
    if isinstance(goal, Budget) and (curve["first_update"] > goal.seconds).all():
        return _too_short(goal, curve["first_update"].min())
    k, tau, largest = (curve[name].to_numpy() for name in ("k", "mean_staleness", "largest_staleness"))
    terms = candidates.tradeoff(constants, k, n, tau, largest, goal)
    if isinstance(goal, Target) and curve["step_size"].notna().any():  # given, and too long for the target
        longest = 2 * goal.error / (terms.noise + np.sqrt(terms.noise**2 + 4 * terms.drift * goal.error))
        return (
            f"a target of {goal.error:g} is below the noise floor of every candidate at this step_size; the step must "
            f"be below {longest.max():.4g}, and well below to get there soon"
        )
    return f"step_size must be at most {np.max(terms.limit):.6g} for the model to cover any of these candidates"
